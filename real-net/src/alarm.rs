//! What brings a waiting loop back: one `eventfd`, written once however often it is rung.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Registry, Token};
use sim_core::driver::Alarm;

/// The alarm of a driver.
///
/// Rings coalesce (contract A-71): until the loop has come out of its wait, the first one alone
/// costs a system call. The engine rings for wake-ups from other threads only; on its own thread the
/// loop is in a turn, not in a wait, and looks at its wake-ups before the next one.
pub(crate) struct Bell {
    waker: mio::Waker,
    /// Written to, and not yet seen by the loop.
    rung: AtomicBool,
}

impl Bell {
    /// The alarm of a loop whose selector is `registry`, reported as `token`.
    ///
    /// # Errors
    ///
    /// What `eventfd` gives.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = mio::Waker::new(registry, token)?;
        Ok(Self { waker, rung: AtomicBool::new(false) })
    }

    /// The loop has seen it: the next ring writes again.
    ///
    /// The loop calls this before it looks at its wake-ups. A thread queues its wake-up before it
    /// rings; so a ring that found `rung` still set is one whose wake-up the loop is about to see.
    pub(crate) fn heard(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl Alarm for Bell {
    fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.waker.wake() {
            // Let the next ring try again.
            self.rung.store(false, Ordering::Release);
            tracing::error!(target: "real_net", %error, "waking the loop failed");
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("rung", &self.rung).finish_non_exhaustive()
    }
}
