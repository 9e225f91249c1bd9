//! Destructors of somebody else's, of which all must run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs what must all be run, and then goes on with the first panic in it: a second one while the first unwinds
/// would end the process.
///
/// ```
/// use sim_core::engine::FirstPanic;
///
/// let mut ran = 0;
/// let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
///     let mut panics = FirstPanic::default();
///     for number in 1..=3 {
///         panics.run(|| {
///             ran += 1;
///             assert!(number == 3, "number {number}");
///         });
///     }
///     panics.resume();
/// }));
/// let panic = outcome.unwrap_err();
/// assert_eq!((ran, panic.downcast_ref::<String>().unwrap().as_str()), (3, "number 1"));
/// ```
#[derive(Debug, Default)]
pub struct FirstPanic(Option<Box<dyn Any + Send>>);

impl FirstPanic {
    /// Runs `code`, which may panic.
    pub fn run(&mut self, code: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(code)) {
            self.0.get_or_insert(panic);
        }
    }

    /// Panics if anything did, unless this thread is panicking already.
    pub fn resume(self) {
        if let Some(panic) = self.0
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
