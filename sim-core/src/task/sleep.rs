//! Waiting for time to pass.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::arena::Key;
use crate::{Loop, Task, Time, current};

/// The future of [`Loop::sleep`].
///
/// The time runs from the first poll, as asyncio's does. Dropping it cancels its timer.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    lp: Loop,
    delay: Duration,
    state: State,
}

enum State {
    New,
    /// A delay of zero gives up one iteration and uses no timer (contract B-12).
    Yielded,
    Waiting(Key),
}

impl Sleep {
    pub(crate) fn new(lp: &Loop, delay: Duration) -> Self {
        Self { lp: lp.clone(), delay, state: State::New }
    }

    /// A sleep on the loop whose turn it is, or else on the loop of `task`.
    pub(crate) fn here<T: 'static>(task: &Task<T>, delay: Duration) -> Self {
        let core = current::core().unwrap_or_else(|| Rc::clone(&task.header().core));
        Self::new(&Loop::new(core), delay)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let core = &self.lp.core;
        match self.state {
            // On a machine that died no time passes: whoever sleeps there from another one goes on.
            State::New if self.delay.is_zero() || core.is_gone() => {
                cx.waker().wake_by_ref();
                self.state = State::Yielded;
                Poll::Pending
            }
            State::New => {
                let at: Time = core.driver.now() + self.delay;
                let key = core.insert_timer(at, None, core.wake_up(cx.waker()));
                self.state = State::Waiting(key);
                Poll::Pending
            }
            State::Yielded => Poll::Ready(()),
            State::Waiting(key) if core.is_waiting(key) => {
                core.replace_waker(key, cx.waker());
                Poll::Pending
            }
            State::Waiting(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Waiting(key) = self.state {
            self.lp.core.cancel(key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("delay", &self.delay).finish_non_exhaustive()
    }
}
