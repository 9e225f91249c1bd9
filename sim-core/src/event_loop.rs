//! A loop as an owned value, with asyncio's life cycle.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::driver::{Next, Readiness};
use crate::engine::Engine;
use crate::engine::core::Core;
use crate::error::TaskError;
use crate::task::AnyTask;
use crate::task::completions::Completions;
use crate::trace::TaskOutcome;
use crate::{ErrorContext, Loop, RunError, current};

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
        if self.0.driver.one_run_per_thread() {
            current::set_runs_alone(false);
        }
    }
}

impl EventLoop {
    /// A loop over an engine.
    pub fn new(engine: Engine) -> Self {
        let handle = engine.handle();
        Self { engine, handle, events: RefCell::default() }
    }

    /// Its engine, whose end is the loop's.
    ///
    /// ```
    /// use sim_core::testing;
    ///
    /// let lp = testing::new_loop();
    /// lp.call_soon(|| {});
    /// let engine = lp.into_engine();
    /// assert_eq!(engine.next(), sim_core::driver::Next::Now);
    /// ```
    pub fn into_engine(self) -> Engine {
        self.engine
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
        let mut next = self.engine.next();
        loop {
            if self.is_stopping() {
                next = Next::Now;
            }
            let mut events = self.events.take();
            let waited = core.driver.wait(next, &mut events);
            if waited.is_ok() {
                next = self.engine.turn(core.driver.now(), &mut events);
            }
            self.events.replace(events);
            waited.map_err(|error| self.name_pending(error))?;
            if let Some(thread) = self.engine.foreign_wake() {
                return Err(RunError::ForeignWake { thread });
            }
            if self.is_stopping() {
                return Ok(());
            }
        }
    }

    /// A stop was asked for, and the turn that it was asked for in is over: a handle that spent
    /// time may have cut it short.
    fn is_stopping(&self) -> bool {
        let core = self.engine.core();
        core.stopping.get() && !core.is_amid_turn()
    }

    /// Adds the tasks of this loop to a deadlock: its driver knows those of the other hosts.
    fn name_pending(&self, error: RunError) -> RunError {
        let RunError::Deadlock { pending: others } = error else {
            return error;
        };
        let host = self.engine.core().driver.host();
        let own = self.engine.pending_tasks().into_iter();
        let own = own.map(|task| format!("{host}: task {task:?}"));
        RunError::Deadlock { pending: own.chain(others).collect() }
    }

    /// Runs `future` as a task until it is done, and returns its value.
    ///
    /// The run ends with the iteration after the one in which the future is done, or, if it was
    /// done already, when it is first polled, with that one (contract A-10).
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
        // Inert once its run has ended, so that it cannot stop a later one (A-11).
        let run = Rc::new(());
        let (this_run, stop) = (Rc::downgrade(&run), self.stop_handle());
        let end = move || {
            if this_run.upgrade().is_some() {
                stop.stop();
            }
        };
        let task = self.handle.create_named_task("main", Ending { future, end: Some(end.clone()) });
        task.on_done(end);
        let ran = self.run_forever();
        drop(run);
        match task.take_result() {
            Some(Ok(value)) => ran.map(|()| value),
            Some(Err(TaskError::Cancelled)) => Err(RunError::Cancelled),
            Some(Err(TaskError::Panicked(text))) => Err(RunError::Panicked(text.to_string())),
            None => Err(ran.err().unwrap_or(RunError::Stopped)),
        }
    }

    /// Whether it may be run.
    pub(crate) fn check(&self) -> Result<(), RunError> {
        let core = self.engine.core();
        if core.is_closed() {
            return Err(RunError::Closed);
        }
        let excluded = core.driver.one_run_per_thread() && current::runs_alone();
        if core.running.get() || excluded {
            return Err(RunError::AlreadyRunning);
        }
        Ok(())
    }

    fn begin(&self) -> Result<Running<'_>, RunError> {
        self.check()?;
        let core = self.engine.core();
        core.running.set(true);
        if core.driver.one_run_per_thread() {
            current::set_runs_alone(true);
        }
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

    /// Cancels all tasks, and waits for them and for the jobs of the executor; reports those that panic (I-05).
    pub(crate) fn cancel_all(&self) -> Result<(), RunError> {
        let mut tasks = self.engine.core().all_tasks();
        tasks.retain(|task| !task.header().is_daemon());
        let (lp, core) = (self.handle.clone(), Rc::clone(self.engine.core()));
        self.run_until_complete(async move {
            let ends = Completions::of_any(tasks.clone());
            ends.cancel_all();
            poll_fn(|cx| {
                ends.wait(cx.waker());
                if ends.is_done() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let panicked =
                |task: &&Rc<dyn AnyTask>| task.header().outcome() == Some(TaskOutcome::Panicked);
            for task in tasks.iter().filter(panicked) {
                let name = task.header().name();
                let text = "unhandled exception during the shutdown of a runner";
                core.report(ErrorContext { task: Some(name), ..ErrorContext::message(text) });
            }
            lp.shutdown_default_executor().await;
        })
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

pin_project! {
    // `future`, which calls `end` if it is done when first polled. An `async fn` would keep it twice.
    struct Ending<F, E> {
        #[pin]
        future: F,
        end: Option<E>,
    }
}

impl<F: Future, E: FnOnce()> Future for Ending<F, E> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.future.poll(cx);
        let end = this.end.take();
        if polled.is_ready()
            && let Some(end) = end
        {
            end();
        }
        polled
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
