//! How many worlds run at once in the whole process, whatever the number of checks: `cargo test` runs
//! tests in parallel, and each check has threads of its own.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// How many worlds run and wait. Process-wide by nature, as the machine is.
static WORLDS: Mutex<Worlds> = Mutex::new(Worlds { running: 0, waiting: 0 });
static ONE_LESS: Condvar = Condvar::new();

struct Worlds {
    running: usize,
    waiting: usize,
}

thread_local! {
    /// This thread runs a world already: one that is run inside another's needs no permit of its own.
    static HAS_PERMIT: Cell<bool> = const { Cell::new(false) };
}

/// The right to run a world, until it is dropped.
pub(crate) struct Permit {
    is_nested: bool,
}

impl Permit {
    /// Waits until fewer worlds run than the process may run at once: one for each core, or as many as
    /// `SIM_JOBS` says.
    pub(crate) fn wait() -> Self {
        if HAS_PERMIT.replace(true) {
            return Self { is_nested: true };
        }
        let most = most();
        let mut worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.waiting += 1;
        while worlds.running >= most {
            worlds = ONE_LESS.wait(worlds).unwrap_or_else(PoisonError::into_inner);
        }
        worlds.waiting -= 1;
        worlds.running += 1;
        Self { is_nested: false }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_nested {
            return;
        }
        HAS_PERMIT.set(false);
        let mut worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.running -= 1;
        let is_awaited = worlds.waiting > 0;
        drop(worlds);
        // To notify costs a system call even if nobody waits.
        if is_awaited {
            ONE_LESS.notify_one();
        }
    }
}

/// Starts a thread that may run worlds. From inside a world it needs no permits either: whoever waits for it has one,
/// and would keep it until it is done.
pub(crate) fn spawn<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    name: String,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let is_inside = HAS_PERMIT.get();
    let work = move || {
        HAS_PERMIT.set(is_inside);
        work()
    };
    Builder::new().name(name).spawn_scoped(scope, work).expect("the system starts a thread")
}

fn most() -> usize {
    static MOST: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *MOST.get_or_init(|| {
        let said = std::env::var("SIM_JOBS").ok().and_then(|jobs| jobs.parse().ok());
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        said.filter(|&jobs| jobs > 0).unwrap_or_else(cores)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_run_at_once_than_may() {
        let (now, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 * most() {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _permit = Permit::wait();
                        // Inside, another world may be run at once.
                        drop(Permit::wait());
                        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=most()).contains(&peak.into_inner()));
    }
}
