//! Running a program on a loop of its own.

use std::fmt;
use std::future::Future;

use crate::{EventLoop, Loop, RunError};

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
    /// # Errors
    ///
    /// As [`EventLoop::run_until_complete`]: [`RunError::AlreadyRunning`] inside a running loop,
    /// [`RunError::Closed`] after [`close`](Self::close).
    pub fn run<F>(&self, program: impl FnOnce(Loop) -> F) -> Result<F::Output, RunError>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.lp.run_until_complete(program((*self.lp).clone()))
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
