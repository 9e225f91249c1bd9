//! Catching a cancellation, and letting it go on.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::scope::{HeldScope, ScopeKind, Sender};
use super::step;
use crate::Cancelled;

/// Awaits `future`, and catches a cancellation of the task meanwhile: the future is dropped then.
///
/// It is how a task cleans up, or goes on (contract B-15): asyncio's `except CancelledError`. To
/// clean up and then end cancelled after all, [raise](Cancelled::raise) what was caught. A
/// cancellation that comes in the iteration in which the future completes wins (B-33).
///
/// # Errors
///
/// [`Cancelled`] if the task was cancelled while this was the innermost scope that waited, or a
/// task that `future` awaited ended by the cancellation.
///
/// ```
/// use sim_core::{catch_cancel, testing};
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let said = lp.run_until_complete(async move {
///     let lp = handle.clone();
///     let task = handle.create_task(async move {
///         match catch_cancel(lp.sleep(Duration::from_secs(60))).await {
///             Ok(()) => "slept",
///             Err(_) => "woken, tidying up",
///         }
///     });
///     handle.sleep(Duration::from_secs(1)).await;
///     task.cancel();
///     task.await
/// })?;
/// assert_eq!(said, Ok("woken, tidying up"));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub fn catch_cancel<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Cancelled>> {
    CatchCancel { future: Some(future), held: HeldScope::default(), output: None }
}

pin_project! {
    // A type of its own, since an `async fn` would keep the future twice.
    struct CatchCancel<F: Future> {
        #[pin]
        future: Option<F>,
        held: HeldScope,
        // Of a future that was done in a step behind which a cancellation comes, which may yet go elsewhere.
        output: Option<F::Output>,
    }
}

impl<F: Future> Future for CatchCancel<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = poll_caught(this.future.as_mut(), this.held, this.output, cx);
        if polled.is_ready() {
            this.future.set(None);
        }
        polled
    }
}

fn poll_caught<F: Future>(
    mut future: Pin<&mut Option<F>>,
    held: &mut HeldScope,
    output: &mut Option<F::Output>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Cancelled>> {
    let mut poll = |cx: &mut Context<'_>| match output.take() {
        Some(output) => Poll::Ready(output),
        None => future.as_mut().as_pin_mut().expect("it is not done yet").poll(cx),
    };
    let Some(scope) = held.enter(|| ScopeKind::Catch) else {
        return poll(cx).map(Ok);
    };
    if scope.cancelled().is_none()
        && let Poll::Ready(done) = scope.poll_inside(|| poll(cx))
        && scope.cancelled().is_none()
    {
        if !scope.is_upcoming() {
            held.end();
            return Poll::Ready(Ok(done));
        }
        *output = Some(done);
        scope.wait_for_upcoming(cx.waker());
        return Poll::Pending;
    }
    if let Some(sender) = scope.cancelled() {
        scope.hear();
        held.end();
        return Poll::Ready(Err(Cancelled::caught(sender)));
    }
    scope.wait(cx.waker());
    Poll::Pending
}

impl Cancelled {
    fn caught(sender: Sender) -> Self {
        let task = step::current().map_or(0, |task| task.header().number());
        match sender {
            Sender::Request => Self::default(),
            Sender::Scope(scope) => Self { task, scope },
        }
    }

    /// Lets a cancellation that was caught go on, after cleaning up: asyncio's `raise`.
    ///
    /// It reaches the scope around: the next [`catch_cancel`] outwards, the
    /// [timeout](crate::Loop::timeout) that it came from, or the task, which ends cancelled. The
    /// future never completes, and has whatever output type the place needs.
    ///
    /// ```
    /// use sim_core::{TaskError, catch_cancel, testing};
    /// use std::time::Duration;
    ///
    /// let lp = testing::new_loop();
    /// let handle = (*lp).clone();
    /// let ended = lp.run_until_complete(async move {
    ///     let lp = handle.clone();
    ///     let task = handle.create_task(async move {
    ///         match catch_cancel(lp.sleep(Duration::from_secs(60))).await {
    ///             Ok(()) => 0,
    ///             Err(cancelled) => {
    ///                 lp.sleep(Duration::from_millis(5)).await; // says goodbye
    ///                 cancelled.raise().await
    ///             }
    ///         }
    ///     });
    ///     handle.sleep(Duration::from_secs(1)).await;
    ///     task.cancel();
    ///     task.await
    /// })?;
    /// assert_eq!(ended, Err(TaskError::Cancelled));
    /// # Ok::<(), sim_core::RunError>(())
    /// ```
    pub async fn raise<T>(self) -> T {
        poll_fn(|_| {
            if let Some(task) = step::current() {
                let header = task.header();
                let sender = if self.scope != 0 && self.task == header.number() {
                    Sender::Scope(self.scope)
                } else {
                    Sender::Request
                };
                if !header.raise(header.current_scope(), sender) {
                    header.doom();
                }
            }
            Poll::Ready(())
        })
        .await;
        pending().await
    }
}
