//! The hosts that are ready at this instant, and which of them is next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::memory::{ENTRIES_MAX, clear};

/// Ready hosts. A host that is alone goes without a draw; when there are several, each draws a rank,
/// and the lowest goes first. So the draws of a host do not depend on how many others there are.
#[derive(Debug, Default)]
pub(crate) struct ReadyHosts {
    fresh: Vec<u32>,
    /// Group, rank and index, from the high bits down: comparing entries is comparing numbers.
    ranked: BinaryHeap<Reverse<u128>>,
}

impl ReadyHosts {
    /// Makes it as new, but for its room.
    pub(crate) fn renew(&mut self) {
        let Self { fresh, ranked } = self;
        clear(fresh);
        ranked.clear();
        if ranked.capacity() > ENTRIES_MAX {
            ranked.shrink_to(0);
        }
    }

    pub(crate) fn add(&mut self, index: u32) {
        self.fresh.push(index);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.ranked.is_empty()
    }

    /// Takes the next host, unless its rank must be drawn first: then `Err` has a host that needs
    /// one, for [`add_ranked`](Self::add_ranked).
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Result<u32, u32>> {
        match self.fresh.pop() {
            Some(index) if self.ranked.is_empty() && self.fresh.is_empty() => Some(Ok(index)),
            Some(index) => Some(Err(index)),
            None => self.ranked.pop().map(|Reverse(entry)| Ok(entry as u32)),
        }
    }

    /// Adds a host with the rank that it drew. Ranks are compared in a group; one group goes before
    /// the next.
    pub(crate) fn add_ranked(&mut self, index: u32, rank: u64, group: u32) {
        let entry = u128::from(group) << 96 | u128::from(rank) << 32 | u128::from(index);
        self.ranked.push(Reverse(entry));
    }

    /// A host that is ready, if there is one beside the one that was taken.
    pub(crate) fn other(&self) -> Option<u32> {
        let ranked = || self.ranked.peek().map(|&Reverse(entry)| entry as u32);
        self.fresh.last().copied().or_else(ranked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(ready: &mut ReadyHosts) -> Option<u32> {
        loop {
            match ready.take()? {
                Ok(index) => return Some(index),
                Err(index) => ready.add_ranked(index, u64::from(10 - index), 0),
            }
        }
    }

    #[test]
    fn a_host_alone_draws_nothing_and_several_go_by_rank() {
        let mut ready = ReadyHosts::default();
        ready.add(4);
        assert_eq!(ready.take(), Some(Ok(4)));
        for index in [1, 2, 3] {
            ready.add(index);
        }
        assert_eq!(take(&mut ready), Some(3));
        ready.add(9);
        assert_eq!(take(&mut ready), Some(9));
        assert_eq!(
            [take(&mut ready), take(&mut ready), take(&mut ready)],
            [Some(2), Some(1), None]
        );
        assert!(ready.is_empty());
    }
}
