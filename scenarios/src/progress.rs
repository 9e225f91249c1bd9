//! A count that others wait for.

use sim_core::{Loop, LoopFuture};

/// A count that only grows, and that others can wait for: how a scenario follows a protocol.
///
/// ```
/// use scenarios::Progress;
/// use sim_core::testing;
///
/// let lp = testing::new_loop();
/// let mut lines = Progress::default();
/// let two_lines = lines.reaches(&lp, 2);
/// lines.add(1);
/// assert!(!two_lines.done());
/// lines.add(1);
/// assert!(two_lines.done());
/// ```
#[derive(Debug, Default)]
pub struct Progress {
    count: u64,
    waiting: Vec<(u64, LoopFuture<()>)>,
}

impl Progress {
    /// The count.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds `amount`, and completes what was waited for. No code of the waiting ones runs inside
    /// the call.
    pub fn add(&mut self, amount: u64) {
        self.count += amount;
        let count = self.count;
        self.waiting.retain(|(target, reached)| {
            if *target <= count {
                // Somebody who stopped waiting may have cancelled it.
                let _ = reached.set_result(());
            }
            *target > count
        });
    }

    /// A future of `lp` that completes when the count is `target` or more.
    pub fn reaches(&mut self, lp: &Loop, target: u64) -> LoopFuture<()> {
        let reached = lp.create_future();
        if self.count >= target {
            reached.set_result(()).expect("a new future is pending");
        } else {
            self.waiting.push((target, reached.clone()));
        }
        reached
    }
}
