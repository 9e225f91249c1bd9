//! A flag that tasks wait for.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use super::waiters::Waiters;

/// asyncio's `Event`: a flag, and who waits for it to be set.
///
/// [`set`](Self::set) wakes all that wait at that moment, even if it is cleared before they run (contract H-44).
///
/// ```
/// use sim_core::sync::Event;
/// use sim_core::testing;
///
/// let lp = testing::new_loop();
/// let ready = Event::new();
/// let setter = ready.clone();
/// lp.call_soon(move || setter.set());
/// let waited = ready.clone();
/// lp.run_until_complete(async move { waited.wait().await })?;
/// assert!(ready.is_set());
/// # Ok::<(), sim_core::RunError>(())
/// ```
#[derive(Clone, Default)]
pub struct Event {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    set: Cell<bool>,
    waiters: Waiters,
}

impl Event {
    /// An event that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it, and wakes all that wait.
    pub fn set(&self) {
        self.shared.set.set(true);
        self.shared.waiters.grant_all();
    }

    /// Clears it: those that ask from now on wait.
    pub fn clear(&self) {
        self.shared.set.set(false);
    }

    /// True if it is set.
    pub fn is_set(&self) -> bool {
        self.shared.set.get()
    }

    /// Waits until it is set: not at all if it is.
    pub async fn wait(&self) {
        if !self.is_set() {
            self.shared.waiters.wait(|| ()).await;
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.shared.waiters.len();
        f.debug_struct("Event").field("set", &self.is_set()).field("waiting", &waiting).finish()
    }
}
