//! Tasks: futures that a loop drives.

mod catch;
pub(crate) mod completions;
pub(crate) mod header;
pub(crate) mod scope;
mod sleep;
pub(crate) mod step;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub use self::catch::catch_cancel;
pub(crate) use self::header::AnyTask;
use self::header::{Header, Joinable};
use self::scope::{HeldScope, ScopeKind};
pub use self::sleep::Sleep;
pub(crate) use self::step::{spawn, step};
use crate::error::TaskError;
use crate::trace::TaskOutcome;

/// A task that a loop runs, as [`Loop::create_task`](crate::Loop::create_task) returns it.
///
/// Awaiting it yields the output, or why there is none; it may be awaited on another loop of its
/// world too (contract, ruling 6). The output is handed out once. Dropping the handle lets the
/// task run on.
///
/// A panic of the task ends the run, or, where the policy is to contain it, is reported at once
/// and handed to whoever awaits the task.
///
/// # Cancel safety
///
/// A task that awaits another and is cancelled passes the cancellation on and waits for the other
/// to end (B-17); drop the handle, or use [`combinators::shield`](crate::combinators::shield), to
/// leave it alone.
///
/// ```
/// use sim_core::{TaskError, testing};
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let outcome = lp.run_until_complete(async move {
///     let lp = handle.clone();
///     let task = handle.create_task(async move { lp.sleep(Duration::from_secs(60)).await });
///     task.cancel();
///     task.await
/// })?;
/// assert_eq!(outcome, Err(TaskError::Cancelled));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub struct Task<T> {
    inner: Rc<dyn Joinable<T>>,
    join: HeldScope,
}

impl<T: 'static> Task<T> {
    pub(crate) fn new(inner: Rc<dyn Joinable<T>>) -> Self {
        Self { inner, join: HeldScope::default() }
    }

    fn header(&self) -> &Header {
        self.inner.header()
    }

    /// Its name: given, or `task-N` by order of creation on its loop.
    pub fn name(&self) -> String {
        self.header().name()
    }

    /// Changes its name.
    pub fn set_name(&self, name: impl Into<String>) {
        self.header().set_name(name.into());
    }

    /// Asks for cancellation; false if the task is done (contract B-13).
    ///
    /// It takes the cancellation at its next step: the innermost pending
    /// [`catch_cancel`] gets it, a task that it awaits is cancelled first, and if nobody catches it
    /// the task's future is dropped. A second request before that step changes nothing. A task
    /// that has not begun never does (B-14); one that cancels itself is cancelled where it next
    /// waits, or when it returns (B-16). So is one that awaits the first of several things, if one of those is
    /// there in the step that it takes for the cancellation.
    pub fn cancel(&self) -> bool {
        self.header().cancel()
    }

    /// Declares that this task may be cancelled wherever it waits, so that a search may try it.
    ///
    /// Nothing is cancelled unless a simulation is asked to: by a plan, by
    /// [`FaultMix::streams`](crate::FaultMix::streams) with the word `cancel`, or by a profile of faults that has
    /// it. Then any of its awaits may be one at which the task is cancelled, as [`cancel`](Self::cancel) does: when it
    /// begins to wait, or when it was woken and has not gone on yet. Whoever awaits the task must expect
    /// [`TaskError::Cancelled`]. The tasks that it awaits are cancelled with it (B-17), unless they are
    /// [shielded](crate::combinators::shield). On the real loop this does nothing. Declaring it again
    /// does nothing.
    ///
    /// # Determinism
    ///
    /// What befalls it is keyed by its host, its name, and the how-manieth wait it is, so that other tasks have no part
    /// in it. A task without a name is called by the file and line that it was made on. Of several
    /// with one name each has a number, in the order in which they were declared.
    ///
    /// ```
    /// use sim_core::{TaskError, World};
    /// use std::time::Duration;
    ///
    /// async fn survives_its_worker(world: World) {
    ///     let lp = world.host("server");
    ///     let clock = lp.clone();
    ///     let work = async move { clock.sleep(Duration::from_secs(1)).await };
    ///     let worker = lp.create_named_task("worker", work).cancellable();
    ///     assert!(matches!(worker.await, Ok(()) | Err(TaskError::Cancelled)));
    /// }
    /// # drop(survives_its_worker);
    /// ```
    pub fn cancellable(self) -> Self {
        self.header().make_cancellable();
        self
    }

    /// Makes it a daemon, as threads may be: it serves its loop for as long as that lives.
    ///
    /// A runner that ends neither cancels it nor waits for it (contract I-05), it is nothing
    /// [left over](crate::engine::Turner::leftovers), and no report says that it was pending when the loop is dropped.
    ///
    /// ```
    /// use sim_core::{Runner, testing};
    ///
    /// let runner = Runner::new(testing::new_loop());
    /// runner.run(async |lp| {
    ///     lp.create_named_task("housekeeping", std::future::pending::<()>()).daemon();
    /// })?;
    /// runner.close()?;
    /// # Ok::<(), sim_core::RunError>(())
    /// ```
    pub fn daemon(self) -> Self {
        self.header().make_daemon();
        self
    }

    /// Takes one request back, and returns how many are left (B-18). It does not undo one that is
    /// on its way.
    pub fn uncancel(&self) -> u32 {
        self.header().take_request_back()
    }

    /// How many cancellations were asked for and not taken back.
    pub fn cancelling(&self) -> u32 {
        self.header().requests()
    }

    /// True when it has ended, one way or another.
    pub fn done(&self) -> bool {
        self.header().is_done()
    }

    /// True when it has ended by cancellation.
    pub fn cancelled(&self) -> bool {
        self.header().outcome() == Some(TaskOutcome::Cancelled)
    }

    pub(crate) fn panicked(&self) -> bool {
        self.header().outcome() == Some(TaskOutcome::Panicked)
    }

    /// The output, if the task is done and nobody has taken it yet: for those who do not await.
    pub fn take_result(&self) -> Option<Result<T, TaskError>> {
        self.inner.take_output()
    }

    /// Queues `callback` for when it is done; at once if it is.
    #[track_caller]
    pub fn on_done(&self, callback: impl FnOnce() + 'static) {
        self.header().call_when_done(Some(Location::caller()), Box::new(callback));
    }

    /// Whether it is done and its output is `wanted`.
    pub(crate) fn has_output(&self, wanted: fn(&T) -> bool) -> bool {
        self.inner.has_output(wanted)
    }

    /// Ends it without asking its scopes: what it belongs to is gone.
    pub(crate) fn cancel_now(&self) {
        let header = self.header();
        if header.is_done() {
            return;
        }
        if header.is_running() {
            header.cancel();
            return;
        }
        step::end_cancelled(&header.core, self.as_any());
    }

    pub(crate) fn as_any(&self) -> Rc<dyn AnyTask> {
        Rc::clone(&self.inner).as_task()
    }

    /// Polls without a scope: a cancellation of the task that polls does not reach this one.
    pub(crate) fn poll_apart(&self, cx: &Context<'_>) -> Poll<Result<T, TaskError>> {
        let header = self.header();
        if header.is_done() {
            return Poll::Ready(self.take_result().expect("a task's output is taken once"));
        }
        let current = step::current();
        let itself = current.is_some_and(|current| Rc::ptr_eq(&current, &self.as_any()));
        assert!(!itself, "task {} cannot await itself", header.name());
        header.wake_when_done(cx.waker());
        Poll::Pending
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    ///
    /// If a task awaits itself (contract B-19), or when polled again after it yielded the output.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.join.is_raised() {
            return Poll::Pending;
        }
        if self.header().is_done() && self.join.is_upcoming() {
            // The output stays where it is: a cancellation wins over it (B-33).
            self.join.wait_for_upcoming(cx.waker());
            return Poll::Pending;
        }
        let Poll::Ready(result) = self.poll_apart(cx) else {
            let task = self.as_any();
            if let Some(join) = self.join.enter(|| ScopeKind::Join(task)) {
                join.wait(cx.waker());
            }
            return Poll::Pending;
        };
        let cancelled = self.join.cancelled();
        match (cancelled, &result) {
            // The cancellation went through this await: it goes on to the scope around (B-17).
            (Some(sender), Err(TaskError::Cancelled)) => {
                self.join.raise(sender);
                Poll::Pending
            }
            _ => {
                self.join.end_with_value();
                Poll::Ready(result)
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.inner.header().forget_await();
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.inner.header();
        f.debug_struct("Task")
            .field("name", &header.name())
            .field("outcome", &header.outcome())
            .finish_non_exhaustive()
    }
}
