//! Callbacks from other threads: asyncio's `call_soon_threadsafe`.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sim_core::{Loop, Time};

type Call = Box<dyn FnOnce(&Loop) + Send>;

/// A handle of a loop that other threads may have.
///
/// Everything else of a loop stays on its thread. A remote carries closures there: what they
/// capture is `Send`, and they are given the [`Loop`] when they arrive.
///
/// # Ordering
///
/// The calls of one thread run in their order (contract A-70), each as a callback of its own, some
/// iterations after the call. A panic in one costs that one, as in every callback.
///
/// ```
/// use std::thread;
/// use real_net::Remote;
///
/// let lp = real_net::new_loop()?;
/// let remote = Remote::new(&lp);
/// let answer = lp.create_future();
/// let (sender, receiver) = futures::channel::oneshot::channel();
/// let worker = thread::spawn(move || {
///     let six_by_seven = 6 * 7;
///     remote.call_soon(move |_lp| sender.send(six_by_seven).unwrap()).unwrap();
/// });
/// lp.run_until_complete(async move { answer.set_result(receiver.await.unwrap()) })?;
/// worker.join().unwrap();
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    waiting: VecDeque<Call>,
    /// The task that brings them over, while it sleeps.
    carrier: Option<Waker>,
    closed: bool,
}

/// The loop is closed: a call from another thread came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopClosed;

impl Remote {
    /// A remote of `lp`, made on its thread. It keeps nothing alive.
    ///
    /// The loop runs a task for it, a [daemon](sim_core::Task::daemon) called `remote`, as long as it is open. Clone the remote rather
    /// than making several.
    pub fn new(lp: &Loop) -> Self {
        let shared = Arc::new(Mutex::new(Calls { closed: lp.is_closed(), ..Calls::default() }));
        // Closing a loop discards its timers first: that is how the remote hears of it.
        let close = CloseOnDrop(Arc::clone(&shared));
        lp.call_at(Time::NEVER, move || drop(close)).detach();
        let (calls, carrier) = (Arc::clone(&shared), lp.clone());
        let carries = std::future::poll_fn(move |cx| carry(&calls, &carrier, cx));
        lp.create_named_task("remote", carries).daemon();
        Self { shared }
    }

    /// Runs `call` on the loop's thread, soon. Wakes the loop if it waits; never blocks for it.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] after the loop was closed; `call` is dropped then, here. A call that was taken
    /// just before the close is dropped with the loop.
    pub fn call_soon(&self, call: impl FnOnce(&Loop) + Send + 'static) -> Result<(), LoopClosed> {
        let mut calls = lock(&self.shared);
        if calls.closed {
            // The guard goes first: the destructor of what `call` captured may use this remote.
            drop(calls);
            return Err(LoopClosed);
        }
        calls.waiting.push_back(Box::new(call));
        let carrier = calls.carrier.take();
        drop(calls);
        if let Some(carrier) = carrier {
            carrier.wake();
        }
        Ok(())
    }

    /// True when calls are refused.
    pub fn is_closed(&self) -> bool {
        lock(&self.shared).closed
    }
}

/// The step of the task that brings calls over: it queues each as a callback of the loop.
fn carry(shared: &Mutex<Calls>, lp: &Loop, cx: &mut Context<'_>) -> Poll<()> {
    let waiting = {
        let mut calls = lock(shared);
        if calls.closed {
            return Poll::Ready(());
        }
        calls.carrier = Some(cx.waker().clone());
        std::mem::take(&mut calls.waiting)
    };
    for call in waiting {
        let target = lp.clone();
        lp.call_soon(move || call(&target));
    }
    Poll::Pending
}

/// Refuses further calls and drops those that wait, outside the lock.
struct CloseOnDrop(Arc<Mutex<Calls>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let waiting = {
            let mut calls = lock(&self.0);
            calls.closed = true;
            std::mem::take(&mut calls.waiting)
        };
        drop(waiting);
    }
}

/// No thread runs foreign code while it holds the lock, so what a panic left behind is whole.
fn lock(shared: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = lock(&self.shared);
        f.debug_struct("Remote")
            .field("waiting", &calls.waiting.len())
            .field("closed", &calls.closed)
            .finish()
    }
}

impl fmt::Display for LoopClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("event loop is closed")
    }
}

impl Error for LoopClosed {}

impl From<LoopClosed> for io::Error {
    fn from(error: LoopClosed) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests;
