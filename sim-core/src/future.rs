//! asyncio's future: a value that somebody will set.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::Loop;
use crate::engine::callbacks::Action;
use crate::engine::report::ErrorContext;
use crate::error::SharedError;

/// A value that will be set by hand: asyncio's `Future`, as [`Loop::create_future`] returns it.
///
/// Clones are handles of the same future; any number of tasks may await it, and each gets a clone
/// of the value. Completion queues the callbacks and wakes the waiters in the order of their
/// registration (contract B-03, B-11).
///
/// ```
/// use sim_core::testing;
///
/// let lp = testing::new_loop();
/// let answer = lp.create_future::<u32>();
/// let setter = answer.clone();
/// lp.call_soon(move || setter.set_result(42).expect("nobody else sets it"));
/// assert_eq!(lp.run_until_complete(answer)??, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LoopFuture<T: Clone + 'static>(Rc<Shared<T>>);

/// Why a [`LoopFuture`] has no value.
#[derive(Debug, Clone)]
pub enum FutureError {
    /// It was cancelled.
    Cancelled,
    /// It was given this error.
    Failed(SharedError),
    /// It is not done, or was done before (B-01, B-02).
    InvalidState,
}

impl fmt::Display for FutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the future was cancelled"),
            Self::Failed(error) => error.fmt(f),
            Self::InvalidState => {
                f.write_str("invalid state: the future's result is not what the call needs")
            }
        }
    }
}

impl Error for FutureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<FutureError> for std::io::Error {
    fn from(error: FutureError) -> Self {
        match error {
            FutureError::Failed(error) => error.to_io(),
            other => Self::other(other),
        }
    }
}

/// Names a callback that [`LoopFuture::add_done_callback`] registered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DoneCallbackId(u64);

type DoneCallback<T> = Box<dyn FnOnce(&LoopFuture<T>)>;

enum Waiter<T: Clone + 'static> {
    Callback(DoneCallbackId, DoneCallback<T>),
    Waker(Waker),
}

struct Shared<T: Clone + 'static> {
    lp: Loop,
    outcome: RefCell<Option<Result<T, FutureError>>>,
    retrieved: Cell<bool>,
    waiters: RefCell<Vec<Waiter<T>>>,
    next_id: Cell<u64>,
}

impl<T: Clone + 'static> LoopFuture<T> {
    pub(crate) fn new(lp: &Loop) -> Self {
        Self(Rc::new(Shared {
            lp: lp.clone(),
            outcome: RefCell::new(None),
            retrieved: Cell::new(false),
            waiters: RefCell::default(),
            next_id: Cell::new(0),
        }))
    }

    fn complete(&self, outcome: Result<T, FutureError>) -> Result<(), FutureError> {
        if self.done() {
            return Err(FutureError::InvalidState);
        }
        self.0.outcome.replace(Some(outcome));
        for waiter in self.0.waiters.take() {
            match waiter {
                Waiter::Callback(_, callback) => self.queue(callback),
                Waiter::Waker(waker) => waker.wake(),
            }
        }
        Ok(())
    }

    fn queue(&self, callback: DoneCallback<T>) {
        let this = self.clone();
        let callback = Box::new(move || callback(&this));
        drop(self.0.lp.core.call_soon(Action::Call(callback)));
    }

    /// Gives it its value.
    ///
    /// # Errors
    ///
    /// [`FutureError::InvalidState`] if it is done already.
    pub fn set_result(&self, value: T) -> Result<(), FutureError> {
        self.complete(Ok(value))
    }

    /// Gives it an error instead of a value. One that nobody looks at is reported when the future
    /// is dropped (B-07).
    ///
    /// # Errors
    ///
    /// [`FutureError::InvalidState`] if it is done already.
    pub fn set_exception(&self, error: std::io::Error) -> Result<(), FutureError> {
        self.complete(Err(FutureError::Failed(SharedError::new(error))))
    }

    /// Cancels it; false if it is done already.
    pub fn cancel(&self) -> bool {
        self.0.retrieved.set(true);
        self.complete(Err(FutureError::Cancelled)).is_ok()
    }

    /// True when it has a value, an error, or was cancelled.
    pub fn done(&self) -> bool {
        self.0.outcome.borrow().is_some()
    }

    /// True when it was cancelled.
    pub fn cancelled(&self) -> bool {
        matches!(*self.0.outcome.borrow(), Some(Err(FutureError::Cancelled)))
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// [`FutureError`]: pending, cancelled, or the error that it was given.
    pub fn result(&self) -> Result<T, FutureError> {
        self.0.retrieved.set(self.done());
        self.0.outcome.borrow().clone().unwrap_or(Err(FutureError::InvalidState))
    }

    /// The error that it was given; `None` if it has a value.
    ///
    /// # Errors
    ///
    /// [`FutureError`] when it is pending or was cancelled.
    pub fn exception(&self) -> Result<Option<SharedError>, FutureError> {
        match self.result() {
            Ok(_) => Ok(None),
            Err(FutureError::Failed(error)) => Ok(Some(error)),
            Err(other) => Err(other),
        }
    }

    /// Queues `callback` when it is done, with the future; at once if it is (B-03, B-04).
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + 'static) -> DoneCallbackId {
        let id = DoneCallbackId(self.0.next_id.get());
        self.0.next_id.set(id.0 + 1);
        let callback: DoneCallback<T> = Box::new(callback);
        if self.done() {
            self.queue(callback);
        } else {
            self.0.waiters.borrow_mut().push(Waiter::Callback(id, callback));
        }
        id
    }

    /// Removes a callback; says how many that were, 0 or 1. A callback that is queued already is
    /// not unscheduled (B-05).
    pub fn remove_done_callback(&self, id: DoneCallbackId) -> usize {
        let mut waiters = self.0.waiters.borrow_mut();
        let place = waiters
            .iter()
            .position(|waiter| matches!(waiter, Waiter::Callback(known, _) if *known == id));
        let removed = place.map(|place| waiters.remove(place));
        drop(waiters);
        usize::from(removed.is_some())
    }

    /// The loop it belongs to.
    pub fn event_loop(&self) -> &Loop {
        &self.0.lp
    }
}

impl<T: Clone + 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(Err(FutureError::Failed(error))) = &*self.outcome.borrow()
            && !self.retrieved.get()
        {
            let text = "Future exception was never retrieved";
            self.lp.call_exception_handler(ErrorContext::error(text, error.clone()));
        }
    }
}

impl<T: Clone + 'static> Future for LoopFuture<T> {
    type Output = Result<T, FutureError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.done() {
            return Poll::Ready(self.result());
        }
        let mut waiters = self.0.waiters.borrow_mut();
        let known = |waiter: &Waiter<T>| matches!(waiter, Waiter::Waker(waker) if waker.will_wake(cx.waker()));
        if !waiters.iter().any(known) {
            waiters.push(Waiter::Waker(cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl<T: Clone + 'static> Unpin for LoopFuture<T> {}

impl<T: Clone + 'static> Clone for LoopFuture<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: Clone + 'static> fmt::Debug for LoopFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopFuture")
            .field("done", &self.done())
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}
