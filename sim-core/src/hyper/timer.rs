//! hyper's time: the loop's.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "hyper's trait is made of `Instant`"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::hyper::rt::{Sleep, Timer};

use crate::arena::Key;
use crate::engine::core::Core;
use crate::engine::inbox::Inbox;
use crate::{Time, current};

/// hyper's timer, over the time of the loop that polls.
///
/// hyper counts in [`Instant`]s, which cannot be made but by looking at the wall clock. So a timer looks once, when it
/// is made, and counts the loop's time from there: what hyper sees are differences of the loop's time, and those repeat.
///
/// It finds its loop by the current turn, since hyper wants it to be `Send`.
///
/// # Panics
///
/// `now` and the futures panic outside a turn of any loop.
///
/// ```
/// use sim_core::hyper::LoopTimer;
/// use sim_core::hyper::hyper::rt::Timer;
/// use sim_core::testing;
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let waited = lp.run_until_complete(async {
///     let timer = LoopTimer::new();
///     let begin = timer.now();
///     timer.sleep(Duration::from_secs(25)).await;
///     timer.now() - begin
/// })?;
/// assert_eq!(waited, Duration::from_secs(25));
/// # Ok::<(), sim_core::RunError>(())
/// ```
#[derive(Clone, Copy)]
pub struct LoopTimer {
    /// What stands for the loops' time 0.
    origin: Instant,
}

impl LoopTimer {
    /// A timer for connections of any loop.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        // The one look, of which nothing can be seen.
        Self { origin: Instant::now() }
    }

    fn time_of(&self, instant: Instant) -> Time {
        Time::from_nanos(0) + instant.saturating_duration_since(self.origin)
    }
}

fn now() -> Time {
    let core = current::core().expect("hyper's time is asked for in a turn of a loop");
    core.driver.now()
}

impl Timer for LoopTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(LoopSleep::new(now() + duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(LoopSleep::new(self.time_of(deadline)))
    }

    fn now(&self) -> Instant {
        self.origin + now().since_epoch()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<LoopSleep>() {
            Some(mut sleep) => sleep.set(LoopSleep::new(self.time_of(new_deadline))),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

impl fmt::Debug for LoopTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopTimer").finish_non_exhaustive()
    }
}

/// Waits for a time on the loop that polls it first.
struct LoopSleep {
    deadline: Time,
    /// The timer, and what tells its loop from others: the loop itself is not `Send`.
    timer: Option<(Arc<Inbox>, Key)>,
}

impl LoopSleep {
    fn new(deadline: Time) -> Self {
        Self { deadline, timer: None }
    }

    /// The key of the timer, if it is one of this loop's.
    fn key_on(&self, core: &Core) -> Option<Key> {
        let (inbox, key) = self.timer.as_ref()?;
        Arc::ptr_eq(&core.inbox, inbox).then_some(*key)
    }
}

impl Sleep for LoopSleep {}

impl Future for LoopSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let core = current::core().expect("hyper's timers are polled in a turn of a loop");
        match self.key_on(&core) {
            Some(key) if core.is_waiting(key) => core.replace_waker(key, cx.waker()),
            Some(_) => return Poll::Ready(()),
            None => {
                let key = core.insert_timer(self.deadline, None, core.wake_up(cx.waker()));
                self.timer = Some((Arc::clone(&core.inbox), key));
            }
        }
        Poll::Pending
    }
}

impl Drop for LoopSleep {
    /// On another loop's turn the timer stays, and wakes nobody.
    fn drop(&mut self) {
        if self.timer.is_none() {
            return;
        }
        if let Some(core) = current::core()
            && let Some(key) = self.key_on(&core)
        {
            core.cancel(key);
        }
    }
}
