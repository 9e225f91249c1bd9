//! How long a scenario waits before it says what it waited for.

use std::future::Future;
use std::time::Duration;

use futures::TryFutureExt;
use sim_core::combinators::{TaskFailure, Timeout, gather};
use sim_core::{Failure, Loop, Task, TaskError, World};

use crate::Violation;

/// The longest that a scenario waits for any one thing. Generous: reaching it is a finding.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `future` yields, if it does within [`PATIENCE`] of this call on the clock of `lp`.
///
/// # Errors
///
/// A [`Violation`] that names `what` was waited for.
pub fn within<F: Future>(
    lp: &Loop,
    what: &str,
    future: F,
) -> impl Future<Output = Result<F::Output, Violation>> {
    told(what, lp.timeout(PATIENCE, future))
}

/// The same on the scenario's own clock, which goes on when a host dies.
pub(crate) fn within_world<F: Future>(
    world: &World,
    what: &str,
    future: F,
) -> impl Future<Output = Result<F::Output, Violation>> {
    told(what, world.timeout(PATIENCE, future))
}

// No `async fn`: its future would have the other one in it twice, and that of who waits for it twice again.
fn told<F: Future>(
    what: &str,
    waiting: Timeout<F>,
) -> impl Future<Output = Result<F::Output, Violation>> {
    waiting.map_err(move |_| Violation::new(format!("{what} did not happen within {PATIENCE:?}")))
}

/// Waits for every task, each within [`PATIENCE`], and hands on the first failure as soon as it is there.
pub(crate) async fn all_within(
    lp: &Loop,
    what: &str,
    tasks: Vec<Task<Result<(), Failure>>>,
) -> Result<(), Failure> {
    let waiting = tasks.into_iter().enumerate().map(|(index, task)| {
        let (at, what) = (lp.clone(), format!("{what} {index}"));
        lp.create_task(async move { within(&at, &what, task).await?? })
    });
    match gather(waiting).await {
        Ok(_) => Ok(()),
        Err(TaskFailure::Failed(failure)) => Err(failure),
        Err(TaskFailure::Cancelled) => Err(TaskError::Cancelled.into()),
        Err(TaskFailure::Panicked(message)) => Err(TaskError::Panicked(message).into()),
    }
}
