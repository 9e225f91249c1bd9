//! Awaiting a task without putting it at risk.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Task;
use crate::error::TaskError;

/// Awaits `task`, given or lent, so that a cancellation of the caller does not cancel it (contract
/// B-36).
///
/// The task itself may be cancelled all the same, which the caller then hears. What becomes of it
/// after the caller was cancelled nobody hears: lend it, to ask later.
///
/// ```
/// use sim_core::{catch_cancel, combinators::shield, testing};
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let saved = lp.run_until_complete(async move {
///     let lp = handle.clone();
///     let mut save = handle.create_task(async move {
///         lp.sleep(Duration::from_secs(2)).await;
///         "saved"
///     });
///     let caller = handle.create_task(async move {
///         match catch_cancel(shield(&mut save)).await {
///             Ok(saved) => saved,
///             Err(_) => save.await, // not cancelled: it goes on
///         }
///     });
///     handle.sleep(Duration::from_secs(1)).await;
///     caller.cancel();
///     caller.await
/// })?;
/// assert_eq!(saved, Ok(Ok("saved")));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub fn shield<T: 'static, B: BorrowMut<Task<T>>>(task: B) -> Shield<T, B> {
    Shield { task, output: PhantomData }
}

/// The future of [`shield`].
#[must_use = "futures do nothing unless awaited"]
pub struct Shield<T, B = Task<T>> {
    task: B,
    output: PhantomData<fn() -> T>,
}

impl<T: 'static, B: BorrowMut<Task<T>>> Future for Shield<T, B> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().task.borrow_mut().poll_apart(cx)
    }
}

impl<T, B> Unpin for Shield<T, B> {}

impl<T, B: fmt::Debug> fmt::Debug for Shield<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("task", &self.task).finish()
    }
}
