//! A loop as an owned value, with asyncio's life cycle.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::rc::Rc;

use crate::driver::{Next, Readiness};
use crate::engine::Engine;
use crate::engine::core::Core;
use crate::error::TaskError;
use crate::{Loop, RunError, current};

/// A bare loop: it runs when told to, stops when told to, and is closed when dropped.
///
/// `sim_net::new_loop` and `real_net::new_loop` make one. It derefs to its [`Loop`] handle. The
/// hosts of a [`World`](crate::World) have no such life: they are always live.
///
/// ```
/// use sim_core::testing;
/// use std::{cell::Cell, rc::Rc};
///
/// let lp = testing::new_loop();
/// let ran = Rc::new(Cell::new(false));
/// let (stop, flag) = (lp.stop_handle(), ran.clone());
/// lp.call_soon(move || {
///     flag.set(true);
///     stop.stop();
/// });
/// lp.run_forever()?;
/// assert!(ran.get());
/// assert_eq!(lp.run_until_complete(async { 6 * 7 })?, 42);
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub struct EventLoop {
    engine: Engine,
    handle: Loop,
    events: RefCell<Vec<Readiness>>,
}

/// Stops a running [`EventLoop`]; see [`EventLoop::stop`]. It keeps no loop alive.
#[derive(Clone)]
pub struct StopHandle(Rc<Core>);

/// Resets the running flag, also when a panic ends the run.
struct Running<'a>(&'a Core);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
        self.0.stopping.set(false);
    }
}

impl EventLoop {
    /// A loop over an engine.
    pub fn new(engine: Engine) -> Self {
        let handle = engine.handle();
        Self { engine, handle, events: RefCell::default() }
    }

    /// Runs until [`stop`](Self::stop).
    ///
    /// A stop before the run lets exactly one iteration run (contract A-05).
    ///
    /// # Errors
    ///
    /// [`RunError::Closed`], [`RunError::AlreadyRunning`], and whatever the driver ends a run with:
    /// in a simulation [`RunError::Deadlock`] when nothing can ever happen again.
    ///
    /// # Panics
    ///
    /// With what a callback panicked with, under [`PanicPolicy::EndRun`](crate::PanicPolicy).
    pub fn run_forever(&self) -> Result<(), RunError> {
        let core = self.engine.core();
        let _running = self.begin()?;
        loop {
            let next = if core.stopping.get() { Next::Now } else { self.engine.next() };
            let mut events = self.events.take();
            let waited = core.driver.wait(next, &mut events);
            if waited.is_ok() {
                self.engine.turn(core.driver.now(), &mut events);
            }
            self.events.replace(events);
            waited?;
            if let Some(thread) = self.engine.foreign_wake() {
                return Err(RunError::ForeignWake { thread });
            }
            if core.stopping.get() {
                return Ok(());
            }
        }
    }

    /// Runs `future` as a task until it is done, and returns its value.
    ///
    /// # Errors
    ///
    /// As [`run_forever`](Self::run_forever); [`RunError::Stopped`] if the loop was stopped first
    /// (A-09); [`RunError::Cancelled`] and [`RunError::Panicked`] for the task's own end.
    ///
    /// # Panics
    ///
    /// As [`run_forever`](Self::run_forever).
    pub fn run_until_complete<F>(&self, future: F) -> Result<F::Output, RunError>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.check()?;
        let task = self.handle.create_named_task("main", future);
        // Inert once its run has ended, so that it cannot stop a later one (A-11).
        let run = Rc::new(());
        let (this_run, stop) = (Rc::downgrade(&run), self.stop_handle());
        task.on_done(move || {
            if this_run.upgrade().is_some() {
                stop.stop();
            }
        });
        let ran = self.run_forever();
        drop(run);
        match task.take_result() {
            Some(Ok(value)) => ran.map(|()| value),
            Some(Err(TaskError::Cancelled)) => Err(RunError::Cancelled),
            Some(Err(TaskError::Panicked(text))) => Err(RunError::Panicked(text.to_string())),
            None => Err(ran.err().unwrap_or(RunError::Stopped)),
        }
    }

    fn check(&self) -> Result<(), RunError> {
        let core = self.engine.core();
        if core.is_closed() {
            return Err(RunError::Closed);
        }
        let other = current::core().filter(|other| !Rc::ptr_eq(other, core));
        let excluded = core.driver.one_run_per_thread()
            && other.is_some_and(|it| it.driver.one_run_per_thread());
        if core.running.get() || excluded {
            return Err(RunError::AlreadyRunning);
        }
        Ok(())
    }

    fn begin(&self) -> Result<Running<'_>, RunError> {
        self.check()?;
        let core = self.engine.core();
        core.running.set(true);
        Ok(Running(core))
    }

    /// Ends the run after the iteration that is under way, or, before a run, after its first
    /// (A-03, A-05). Legal in every state (A-07).
    pub fn stop(&self) {
        self.engine.core().stopping.set(true);
    }

    /// What stops the loop from inside a callback.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Rc::clone(self.engine.core()))
    }

    /// True between entry to and exit from a `run_*` call (A-08).
    pub fn is_running(&self) -> bool {
        self.engine.core().running.get()
    }

    /// Closes the loop for good: what is queued is discarded without running (A-14). Again does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`] while it runs (A-13).
    pub fn close(&self) -> Result<(), RunError> {
        if self.is_running() {
            return Err(RunError::AlreadyRunning);
        }
        self.engine.close();
        Ok(())
    }
}

impl Deref for EventLoop {
    type Target = Loop;

    fn deref(&self) -> &Loop {
        &self.handle
    }
}

impl StopHandle {
    /// As [`EventLoop::stop`].
    pub fn stop(&self) {
        self.0.stopping.set(true);
    }

    /// As [`EventLoop::is_running`].
    pub fn is_running(&self) -> bool {
        self.0.running.get()
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").field("running", &self.is_running()).finish_non_exhaustive()
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle").field("running", &self.is_running()).finish_non_exhaustive()
    }
}
