//! What clients may see.

use std::collections::BTreeMap;

use sim_core::history::Leaders;

use super::register::Node;
use crate::Violation;
use crate::violation::ensure;

/// Judges what clients see, as it happens, in one order that all of them agree on.
///
/// Each key has one writer, who writes greater and greater numbers. Then the store behaves like one
/// copy (it is linearizable) exactly if every read gets a number that was written or may have been,
/// not smaller than any that was acknowledged, or read, before the read began.
#[derive(Debug, Default)]
pub struct Oracle {
    keys: BTreeMap<u32, Seen>,
    primaries: Leaders<String>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The greatest number that was acknowledged or read.
    least: u64,
    /// The greatest number that somebody tried to write.
    most: u64,
}

impl Oracle {
    /// A write begins: the number to be written under `key`.
    pub fn writes(&mut self, key: u32) -> u64 {
        let seen = self.keys.entry(key).or_default();
        seen.most += 1;
        seen.most
    }

    /// A read begins: what it may get, at least.
    pub fn reads(&self, key: u32) -> u64 {
        self.keys.get(&key).map_or(0, |seen| seen.least)
    }

    /// A read or a write of `key` ends with `value`, where `least` is what it may get, at least.
    ///
    /// # Errors
    ///
    /// A lost write, or one that nobody made.
    pub fn saw(&mut self, key: u32, value: u64, least: u64) -> Result<(), Violation> {
        let seen = self.keys.entry(key).or_default();
        ensure!(
            value >= least,
            "key {key} was {least}, acknowledged or read, and is {value} now: a write was lost"
        );
        ensure!(value <= seen.most, "key {key} is {value}, but {} was written last", seen.most);
        seen.least = seen.least.max(value);
        Ok(())
    }

    /// `node` acknowledges something as the primary of a view.
    ///
    /// # Errors
    ///
    /// Another node did so before.
    pub fn acknowledged(&mut self, view: u64, node: Node) -> Result<(), Violation> {
        Ok(self.primaries.leads(view, format!("node-{node}"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_gets_what_was_acknowledged_or_what_is_being_written() {
        let mut oracle = Oracle::default();
        assert_eq!((oracle.writes(1), oracle.reads(1)), (1, 0));
        assert!(oracle.saw(1, 0, 0).is_ok());
        assert!(oracle.saw(1, 1, 0).is_ok());
        let least = oracle.reads(1);
        assert!(oracle.saw(1, 0, least).is_err(), "it was read before");
        assert!(oracle.saw(1, 2, least).is_err(), "nobody wrote it");
    }

    #[test]
    fn a_view_has_one_primary() {
        let mut oracle = Oracle::default();
        assert!(oracle.acknowledged(1, 0).is_ok());
        assert!(oracle.acknowledged(2, 1).is_ok());
        assert!(oracle.acknowledged(1, 0).is_ok());
        assert!(oracle.acknowledged(1, 1).is_err());
    }
}
