//! Handles of scheduled callbacks.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::Time;
use crate::arena::Key;
use crate::engine::core::Core;

/// A callback queued by `call_soon`. Dropping the handle lets it run.
pub struct Handle {
    core: Rc<Core>,
    key: Option<Key>,
    cancelled: Cell<bool>,
}

impl Handle {
    pub(crate) fn new(core: Rc<Core>, key: Key) -> Self {
        Self { core, key: Some(key), cancelled: Cell::new(false) }
    }

    pub(crate) fn cancelled_one(core: Rc<Core>) -> Self {
        Self { core, key: None, cancelled: Cell::new(true) }
    }

    pub(crate) fn key(&self) -> Option<Key> {
        self.key
    }

    /// Keeps the callback from running, if it has not run yet; its destructor runs now. Harmless
    /// afterwards and a second time (contract A-47).
    pub fn cancel(&self) {
        if self.key.is_some_and(|key| self.core.cancel(key)) {
            self.cancelled.set(true);
        }
    }

    /// True if [`cancel`](Self::cancel) kept it from running, or the loop was closed already.
    pub fn cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("cancelled", &self.cancelled()).finish_non_exhaustive()
    }
}

/// A callback that waits for its time. Dropping the timer cancels it.
///
/// So re-arming is an assignment, and a protocol that is dropped takes its timers along.
/// [`detach`](Self::detach) is for fire-and-forget.
#[must_use = "dropping a timer cancels it; keep it, or call detach()"]
pub struct Timer {
    handle: Handle,
    when: Time,
    detached: bool,
}

impl Timer {
    pub(crate) fn new(core: Rc<Core>, key: Key, when: Time) -> Self {
        Self { handle: Handle::new(core, key), when, detached: false }
    }

    pub(crate) fn cancelled_one(core: Rc<Core>, when: Time) -> Self {
        Self { handle: Handle::cancelled_one(core), when, detached: false }
    }

    pub(crate) fn key(&self) -> Option<Key> {
        self.handle.key
    }

    /// The deadline, also after it passed or was cancelled (contract A-46).
    pub fn when(&self) -> Time {
        self.when
    }

    /// Keeps the callback from running, if it has not run yet.
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// True if [`cancel`](Self::cancel) kept it from running, or the loop was closed already.
    pub fn cancelled(&self) -> bool {
        self.handle.cancelled()
    }

    /// Lets it run whatever becomes of this handle.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if !self.detached {
            self.handle.cancel();
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("when", &self.when)
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}
