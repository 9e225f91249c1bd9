//! How a wake-up of a task finds its host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sim_core::driver::Alarm;

/// Which hosts of a world were woken outside their turns since the scheduler last looked.
///
/// Wakers may cross threads, so this is the one part of a world that is shared by atomics. All rings
/// come from the world's own thread, unless a protocol breaks the rules (contract, ruling 8).
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    hosts: Mutex<Vec<u32>>,
}

/// A host's rope of the bell.
#[derive(Debug)]
pub(crate) struct HostAlarm {
    bell: Arc<Bell>,
    index: u32,
    /// The process that it wakes is gone.
    dead: AtomicBool,
}

impl Bell {
    pub(crate) fn alarm(self: &Arc<Self>, index: u32) -> Arc<HostAlarm> {
        Arc::new(HostAlarm { bell: Arc::clone(self), index, dead: AtomicBool::new(false) })
    }

    /// True if a host was woken; [`take`](Self::take) tells which.
    #[inline]
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Rings for the scheduler itself.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
    }

    /// Nobody has rung.
    pub(crate) fn renew(&self) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.rung.store(false, Ordering::Release);
    }

    /// Moves the hosts that were woken into `hosts`, in order.
    pub(crate) fn take(&self, hosts: &mut Vec<u32>) {
        let mut rung = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        self.rung.store(false, Ordering::Release);
        hosts.append(&mut rung);
    }
}

impl HostAlarm {
    /// It wakes nobody any more.
    pub(crate) fn silence(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// It is the alarm of another process, in another world.
    pub(crate) fn renew(&self) {
        self.dead.store(false, Ordering::Relaxed);
    }
}

impl Alarm for HostAlarm {
    fn ring(&self) {
        if self.dead.load(Ordering::Relaxed) {
            return;
        }
        self.bell.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
        self.bell.rung.store(true, Ordering::Release);
    }
}
