//! How long a scenario waits before it says what it waited for.

use std::future::Future;
use std::time::Duration;

use sim_core::{Failure, Loop, Task};

use crate::Violation;

/// The longest that a scenario waits for any one thing. Generous: reaching it is a finding.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `future` yields, if it does within [`PATIENCE`] on the clock of `lp`.
///
/// # Errors
///
/// A [`Violation`] that names `what` was waited for.
pub async fn within<F: Future>(lp: &Loop, what: &str, future: F) -> Result<F::Output, Violation> {
    let waited = lp.timeout(PATIENCE, future).await;
    waited.map_err(|_| Violation::new(format!("{what} did not happen within {PATIENCE:?}")))
}

/// Waits for every task, each within [`PATIENCE`], and hands on the first failure.
pub(crate) async fn all_within(
    lp: &Loop,
    what: &str,
    tasks: Vec<Task<Result<(), Failure>>>,
) -> Result<(), Failure> {
    for (index, task) in tasks.into_iter().enumerate() {
        within(lp, &format!("{what} {index}"), task).await???;
    }
    Ok(())
}
