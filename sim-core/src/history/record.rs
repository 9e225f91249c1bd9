//! Which record something is of.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a record, so that what one has given out is not taken for another's.
///
/// It is compared and never shown: it depends on how many records the process has had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordId(u64);

impl RecordId {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordId")
    }
}
