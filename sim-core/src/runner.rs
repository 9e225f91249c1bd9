//! Running a program on a loop of its own.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;

use crate::{EventLoop, Loop, RunError, Signal, TaskError};

/// Runs a program on a loop, and closes the loop cleanly: asyncio's `Runner`.
///
/// Which loop that is, simulated or real, is the one value that it is made from (contract I-04). Several runs share
/// the loop. Closing it, or dropping it, cancels all tasks that are left, waits for them and for the jobs of the
/// executor, and closes the loop (I-05).
///
/// ```
/// use sim_core::{Loop, Runner, testing};
/// use std::time::Duration;
///
/// async fn program(lp: Loop) -> u32 {
///     lp.sleep(Duration::from_secs(1)).await;
///     42
/// }
///
/// // `sim_net::new_loop()`, or `real_net::new_loop()?`
/// let runner = Runner::new(testing::new_loop());
/// assert_eq!(runner.run(program)?, 42);
/// runner.close()?;
/// assert!(runner.run(program).is_err());
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub struct Runner {
    lp: EventLoop,
}

impl Runner {
    /// A runner of a loop that nobody else runs.
    pub fn new(lp: EventLoop) -> Self {
        Self { lp }
    }

    /// Runs a program to its end, and returns what it yields. What it leaves behind goes on in the next run.
    ///
    /// The first `SIGINT` (Ctrl-C) cancels the program, so that it can clean up; the second ends the run at once
    /// (contract I-06). Where the loop has a handler for it already, or the program adds one, that is left alone and
    /// has the signal.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::run_until_complete`]: [`RunError::AlreadyRunning`] inside a running loop,
    /// [`RunError::Closed`] after [`close`](Self::close). [`RunError::Interrupted`] after a `SIGINT`, unless the
    /// program caught its cancellation and went on to its end.
    pub fn run<F>(&self, program: impl FnOnce(Loop) -> F) -> Result<F::Output, RunError>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.lp.check()?;
        let main = self.lp.create_named_task("main", program((*self.lp).clone()));
        let (main, interrupts) = (Rc::new(RefCell::new(main)), Rc::new(Cell::new(0)));
        let (cancels, counts, stop) =
            (Rc::clone(&main), Rc::clone(&interrupts), self.lp.stop_handle());
        let interrupt = move || {
            counts.set(counts.get() + 1);
            if counts.get() == 1 {
                cancels.borrow().cancel();
            } else {
                stop.stop();
            }
        };
        let is_free = self.lp.signal_handler(Signal::INT).is_none();
        // A loop without signals runs all the same.
        let added = is_free && self.lp.add_signal_handler(Signal::INT, interrupt).is_ok();
        let own = self.lp.signal_handler(Signal::INT).filter(|_| added);
        let ran = self.lp.run_until_complete(async move {
            poll_fn(|cx| Pin::new(&mut *main.borrow_mut()).poll(cx)).await
        });
        let at_end = self.lp.signal_handler(Signal::INT);
        if let (Some(own), Some(at_end)) = (own, at_end)
            && Rc::ptr_eq(&own, &at_end)
        {
            self.lp.remove_signal_handler(Signal::INT);
        }
        match ran {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(TaskError::Cancelled)) if interrupts.get() > 0 => Err(RunError::Interrupted),
            Err(RunError::Stopped) if interrupts.get() > 1 => Err(RunError::Interrupted),
            Ok(Err(TaskError::Cancelled)) => Err(RunError::Cancelled),
            Ok(Err(TaskError::Panicked(text))) => Err(RunError::Panicked(text.to_string())),
            Err(error) => Err(error),
        }
    }

    /// The loop, to set up what runs on it.
    pub fn event_loop(&self) -> &EventLoop {
        &self.lp
    }

    /// Cancels all tasks, waits for them and for the jobs of the executor, and closes the loop. Again does nothing.
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`] while it runs; what ends the waiting, such as [`RunError::Deadlock`] in a
    /// simulation for a task that will not end. The loop is closed all the same.
    pub fn close(&self) -> Result<(), RunError> {
        if self.lp.is_closed() {
            return Ok(());
        }
        if self.lp.is_running() {
            return Err(RunError::AlreadyRunning);
        }
        let cancelled = self.lp.cancel_all();
        self.lp.close()?;
        cancelled
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(target: "sim_core", "closing a runner: {error}");
        }
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("lp", &self.lp).finish()
    }
}
