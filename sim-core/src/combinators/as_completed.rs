//! The outcomes of several tasks, as they come.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;

use crate::Task;
use crate::error::{Elapsed, TaskError};
use crate::task::Sleep;
use crate::task::completions::Completions;

/// Yields the outcomes of `tasks` in the order of their completion, and [`Elapsed`] for each one
/// that is left when `timeout` has passed (contract B-37).
///
/// The time counts from the first poll, on the clock of the loop that polls.
///
/// # Cancel safety
///
/// When the caller is cancelled, or the stream dropped, the tasks run on; so they do after the
/// timeout.
///
/// # Panics
///
/// If the output of one of the tasks was taken before.
///
/// ```
/// use sim_core::{combinators::as_completed, testing};
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let order = lp.run_until_complete(async move {
///     let tasks = [30, 10, 20].map(|millis| {
///         let lp = handle.clone();
///         handle.create_task(async move {
///             lp.sleep(Duration::from_millis(millis)).await;
///             millis
///         })
///     });
///     let mut outcomes = as_completed(tasks, None);
///     let mut order = Vec::new();
///     while let Some(outcome) = outcomes.next().await {
///         order.push(outcome??);
///     }
///     Ok::<_, Box<dyn std::error::Error>>(order)
/// })?;
/// assert_eq!(order.unwrap(), [10, 20, 30]);
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub fn as_completed<T: 'static>(
    tasks: impl IntoIterator<Item = Task<T>>,
    timeout: Option<Duration>,
) -> AsCompleted<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let ends = Completions::of(&tasks);
    let left = tasks.len();
    AsCompleted { tasks, ends, left, timeout, deadline: None, timely: None }
}

/// The stream of [`as_completed`].
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<T> {
    tasks: Vec<Task<T>>,
    ends: Rc<Completions>,
    /// How many items it has yet to yield.
    left: usize,
    timeout: Option<Duration>,
    deadline: Option<Sleep>,
    /// Once the timeout has passed: how many of those that had ended are still to be yielded.
    timely: Option<usize>,
}

impl<T: 'static> AsCompleted<T> {
    /// The next outcome; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<Result<T, TaskError>, Elapsed>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Lets the time run, and sees whether it is up.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) {
        let (Some(timeout), Some(first)) = (self.timeout, self.tasks.first()) else {
            return;
        };
        let deadline = self.deadline.get_or_insert_with(|| Sleep::here(first, timeout));
        if self.timely.is_none() && Pin::new(deadline).poll(cx).is_ready() {
            self.timely = Some(self.ends.ready());
        }
    }

    /// The next one that ended, in time.
    fn next_place(&mut self) -> Option<usize> {
        if let Some(timely) = &mut self.timely {
            *timely = timely.checked_sub(1)?;
        }
        self.ends.next()
    }
}

impl<T: 'static> Stream for AsCompleted<T> {
    type Item = Result<Result<T, TaskError>, Elapsed>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        this.poll_deadline(cx);
        if let Some(place) = this.next_place() {
            this.left -= 1;
            let outcome = this.tasks[place].take_result();
            return Poll::Ready(Some(Ok(outcome.expect("a task's output is taken once"))));
        }
        if this.timely.is_some() {
            this.left -= 1;
            return Poll::Ready(Some(Err(Elapsed { after: this.timeout.unwrap_or_default() })));
        }
        this.ends.wait(cx.waker());
        Poll::Pending
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}
