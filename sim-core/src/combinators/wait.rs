//! Waiting for some or all of several tasks, without taking part in their fate.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::Task;
use crate::task::Sleep;
use crate::task::completions::Completions;

/// What [`wait`] waits for; asyncio's constants.
pub struct ReturnWhen<T>(Condition<T>);

enum Condition<T> {
    First,
    /// The first task that panicked, or whose output this names a failure.
    Failure(fn(&T) -> bool),
    All,
}

impl<T> ReturnWhen<T> {
    /// The first task that is done.
    pub const FIRST_COMPLETED: Self = Self(Condition::First);
    /// All tasks.
    pub const ALL_COMPLETED: Self = Self(Condition::All);
}

impl<T, E> ReturnWhen<Result<T, E>> {
    /// The first task that failed: it returned an `Err`, or panicked. A cancelled one has not
    /// failed. Without a failure, all tasks.
    pub const FIRST_EXCEPTION: Self = Self(Condition::Failure(Result::is_err));
}

impl<T: 'static> ReturnWhen<T> {
    fn is_met_by(&self, task: &Task<T>) -> bool {
        match self.0 {
            Condition::First => true,
            Condition::Failure(failed) => task.panicked() || task.has_output(failed),
            Condition::All => false,
        }
    }
}

/// Waits until `when`, or for `timeout` at most, and sorts `tasks`, in their order, into those that
/// are done and those that are pending.
///
/// A timeout is no error, and cancels nothing (contract B-30). It counts from the first poll, on
/// the clock of the loop that polls. A timeout of zero lets one iteration pass.
///
/// # Errors
///
/// `InvalidInput` if there are no tasks.
///
/// # Cancel safety
///
/// When the caller is cancelled, or the future dropped, the tasks run on.
///
/// ```
/// use sim_core::combinators::{ReturnWhen, wait};
/// use sim_core::testing;
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let (done, pending) = lp.run_until_complete(async move {
///     let tasks = [20, 10].map(|millis| {
///         let lp = handle.clone();
///         handle.create_task(async move { lp.sleep(Duration::from_millis(millis)).await })
///     });
///     wait(tasks, ReturnWhen::FIRST_COMPLETED, None).await
/// })??;
/// assert_eq!((done[0].name(), pending[0].name()), ("task-3".into(), "task-2".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn wait<T: 'static>(
    tasks: impl IntoIterator<Item = Task<T>>,
    when: ReturnWhen<T>,
    timeout: Option<Duration>,
) -> io::Result<(Vec<Task<T>>, Vec<Task<T>>)> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let Some(first) = tasks.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "wait: the set of tasks is empty"));
    };
    let mut deadline = timeout.map(|timeout| Sleep::here(first, timeout));
    let ends = Completions::of(&tasks);
    poll_fn(|cx| {
        while let Some(place) = ends.next() {
            if when.is_met_by(&tasks[place]) {
                return Poll::Ready(());
            }
        }
        let is_over = deadline.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(cx).is_ready());
        if ends.is_done() || is_over {
            return Poll::Ready(());
        }
        ends.wait(cx.waker());
        Poll::Pending
    })
    .await;
    Ok(tasks.into_iter().partition(Task::done))
}

impl<T> fmt::Debug for ReturnWhen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Condition::First => "FIRST_COMPLETED",
            Condition::Failure(_) => "FIRST_EXCEPTION",
            Condition::All => "ALL_COMPLETED",
        })
    }
}
