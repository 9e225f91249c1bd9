//! The outputs of several tasks, in the order in which they were given.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::failure::TaskFailure;
use crate::Task;
use crate::error::TaskError;
use crate::task::completions::Completions;
use crate::task::scope::{HeldScope, ScopeKind};

/// Waits for the values of `tasks`, in their order; the first failure is handed on at once.
///
/// The tasks run already, and go on running when one of them has failed (contract B-34). One that
/// panicked, or that somebody else cancelled, has failed. Without tasks the list is empty. To hear
/// of every outcome, use [`gather_all`]; to have the others cancelled, a
/// [task group](crate::Loop::task_group).
///
/// # Cancel safety
///
/// When the caller is cancelled, every task that is not done is cancelled too, and the caller's
/// cancellation goes on as soon as one has ended (B-35). Dropping the future leaves them alone.
///
/// # Panics
///
/// If the output of one of the tasks was taken before.
///
/// ```
/// use sim_core::{combinators::gather, testing};
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let values = lp.run_until_complete(async move {
///     let tasks = [30, 10, 20].map(|millis| {
///         let lp = handle.clone();
///         handle.create_task(async move {
///             lp.sleep(Duration::from_millis(millis)).await;
///             std::io::Result::Ok(millis)
///         })
///     });
///     gather(tasks).await
/// })?;
/// assert_eq!(values.unwrap(), [30, 10, 20]);
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub fn gather<T, E>(tasks: impl IntoIterator<Item = Task<Result<T, E>>>) -> Gather<T, E>
where
    T: 'static,
    E: 'static,
{
    let members = Members::new(tasks);
    let values = members.tasks.iter().map(|_| None).collect();
    Gather { members, values }
}

/// Waits for all of `tasks`, and yields what became of each, in their order: asyncio's `gather`
/// with `return_exceptions`.
///
/// # Cancel safety
///
/// When the caller is cancelled, every task that is not done is cancelled too, and the caller's
/// cancellation goes on when all have ended (B-35). Dropping the future leaves them alone.
///
/// # Panics
///
/// If the output of one of the tasks was taken before.
///
/// ```
/// use sim_core::{TaskError, combinators::gather_all, testing};
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let outcomes = lp.run_until_complete(async move {
///     let tasks = ["7", "x"].map(|text| handle.create_task(async move { text.parse::<u8>() }));
///     let cancelled = handle.create_task(async { Ok(0) });
///     cancelled.cancel();
///     gather_all(tasks.into_iter().chain([cancelled])).await
/// })?;
/// assert_eq!(outcomes[0], Ok(Ok(7)));
/// assert!(matches!(outcomes[1], Ok(Err(_))));
/// assert_eq!(outcomes[2], Err(TaskError::Cancelled));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub fn gather_all<T: 'static>(tasks: impl IntoIterator<Item = Task<T>>) -> GatherAll<T> {
    GatherAll { members: Members::new(tasks) }
}

/// The future of [`gather`].
#[must_use = "futures do nothing unless awaited"]
pub struct Gather<T, E> {
    members: Members<Result<T, E>>,
    values: Vec<Option<T>>,
}

/// The future of [`gather_all`].
#[must_use = "futures do nothing unless awaited"]
pub struct GatherAll<T> {
    members: Members<T>,
}

/// The gathered tasks, and the scope that passes a cancellation on to them.
struct Members<T> {
    tasks: Vec<Task<T>>,
    ends: Rc<Completions>,
    scope: HeldScope,
}

impl<T: 'static> Members<T> {
    fn new(tasks: impl IntoIterator<Item = Task<T>>) -> Self {
        let tasks: Vec<_> = tasks.into_iter().collect();
        let ends = Completions::of(&tasks);
        Self { tasks, ends, scope: HeldScope::default() }
    }

    /// The next outcome, and whose it is.
    fn next(&mut self) -> Option<(usize, Result<T, TaskError>)> {
        let place = self.ends.next()?;
        let outcome = self.tasks[place].take_result();
        Some((place, outcome.expect("a task's output is taken once")))
    }

    /// Waits for a cancellation that comes behind this step, if one does: it wins over what has ended by now, and
    /// goes to all that has not (B-33, B-35).
    fn yields_to_upcoming(&mut self, cx: &Context<'_>) -> bool {
        let yields = self.ends.ready() > 0 && self.scope.is_upcoming();
        if yields {
            self.ends.wait(cx.waker());
            self.scope.wait_for_upcoming(cx.waker());
        }
        yields
    }

    fn wait<R>(&mut self, cx: &Context<'_>) -> Poll<R> {
        self.ends.wait(cx.waker());
        let ends = &self.ends;
        if let Some(scope) = self.scope.enter(|| ScopeKind::JoinAll(Rc::clone(ends))) {
            scope.wait(cx.waker());
        }
        Poll::Pending
    }

    /// Ends it, unless the caller was cancelled, whose cancellation then goes on.
    fn end<R>(&mut self, result: R) -> Poll<R> {
        match self.scope.cancelled() {
            None => {
                self.scope.end();
                Poll::Ready(result)
            }
            Some(sender) => {
                self.scope.raise(sender);
                Poll::Pending
            }
        }
    }
}

impl<T: 'static, E: 'static> Future for Gather<T, E> {
    type Output = Result<Vec<T>, TaskFailure<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.members.scope.is_raised() || this.members.yields_to_upcoming(cx) {
            return Poll::Pending;
        }
        while let Some((place, outcome)) = this.members.next() {
            let failure = match outcome {
                Ok(Ok(value)) => {
                    this.values[place] = Some(value);
                    continue;
                }
                Ok(Err(error)) => TaskFailure::Failed(error),
                Err(error) => error.into(),
            };
            return this.members.end(Err(failure));
        }
        if !this.members.ends.is_done() {
            return this.members.wait(cx);
        }
        let values = std::mem::take(&mut this.values);
        this.members.end(Ok(values.into_iter().flatten().collect()))
    }
}

impl<T: 'static> Future for GatherAll<T> {
    type Output = Vec<Result<T, TaskError>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let members = &mut self.get_mut().members;
        if members.scope.is_raised() || members.yields_to_upcoming(cx) {
            return Poll::Pending;
        }
        if !members.ends.is_done() {
            return members.wait(cx);
        }
        let take = |task: &Task<T>| task.take_result().expect("a task's output is taken once");
        let outcomes = members.tasks.iter().map(take).collect();
        members.end(outcomes)
    }
}

impl<T, E> Unpin for Gather<T, E> {}

impl<T, E> fmt::Debug for Gather<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("tasks", &self.members.tasks).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for GatherAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherAll").field("tasks", &self.members.tasks).finish_non_exhaustive()
    }
}
