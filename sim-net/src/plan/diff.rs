//! Which entry is which, and what two plans do not share.

use std::collections::BTreeMap;
use std::fmt;

use super::{Entry, Plan};
use crate::decisions::NameHash;

/// The identity of an entry or a plan: a 64-bit hash of its text.
///
/// The same on every platform and in every version that prints the entry the same. It prints as 16
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(u64);

impl EntryId {
    pub(super) fn of(printed: &impl fmt::Display) -> Self {
        let mut hash = NameHash::new();
        fmt::write(&mut hash, format_args!("{printed}")).expect("a hasher takes every string");
        Self(hash.finish().bits())
    }

    /// The hash.
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How one plan differs from another. It prints a line for each entry, with `+` or `-` before it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Diff {
    /// Entries that only the first plan has, in its order.
    pub removed: Vec<Entry>,
    /// Entries that only the second plan has, in its order.
    pub added: Vec<Entry>,
}

impl Diff {
    /// True if the plans have the same entries.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.removed.iter().try_for_each(|entry| writeln!(f, "- {entry}"))?;
        self.added.iter().try_for_each(|entry| writeln!(f, "+ {entry}"))
    }
}

/// Entries count as often as they stand there; their order does not count.
pub(super) fn diff(old: &Plan, new: &Plan) -> Diff {
    Diff {
        removed: missing(&old.entries, &new.entries),
        added: missing(&new.entries, &old.entries),
    }
}

/// The entries that `other` does not have, or not as often.
fn missing(entries: &[Entry], other: &[Entry]) -> Vec<Entry> {
    let mut counts = BTreeMap::<String, usize>::new();
    for entry in other {
        *counts.entry(entry.to_string()).or_default() += 1;
    }
    let is_missing = |entry: &&Entry| match counts.get_mut(&entry.to_string()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    entries.iter().filter(is_missing).cloned().collect()
}
