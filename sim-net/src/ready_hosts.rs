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
    /// Of many that were ranked together, what is left: the last one is the next.
    sorted: Vec<Reverse<u128>>,
}

/// From this many on, ranked hosts are sorted.
const MANY: usize = 16;

impl ReadyHosts {
    /// Makes it as new, but for its room.
    pub(crate) fn renew(&mut self) {
        let Self { fresh, ranked, sorted } = self;
        clear(fresh);
        clear(sorted);
        ranked.clear();
        if ranked.capacity() > ENTRIES_MAX {
            ranked.shrink_to(0);
        }
    }

    pub(crate) fn add(&mut self, index: u32) {
        self.fresh.push(index);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.ranked.is_empty() && self.sorted.is_empty()
    }

    /// Takes the next host, unless its rank must be drawn first: then `Err` has a host that needs
    /// one, for [`add_ranked`](Self::add_ranked).
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Result<u32, u32>> {
        match self.fresh.pop() {
            Some(index) if self.is_empty() => Some(Ok(index)),
            Some(index) => Some(Err(index)),
            None if self.ranked.is_empty() && self.sorted.is_empty() => None,
            None => self.take_ranked().map(|Reverse(entry)| Ok(entry as u32)),
        }
    }

    /// Takes the one with the lowest rank. Many are sorted once, so that it is known who comes.
    #[inline(never)]
    fn take_ranked(&mut self) -> Option<Reverse<u128>> {
        let Self { ranked, sorted, .. } = self;
        if sorted.is_empty() && ranked.len() >= MANY {
            sorted.extend(ranked.drain());
            sorted.sort_unstable();
        }
        match (sorted.last(), ranked.peek()) {
            (Some(first), Some(other)) if other > first => ranked.pop(),
            (Some(_), _) => sorted.pop(),
            (None, _) => ranked.pop(),
        }
    }

    /// The host that comes so many hosts after the one that was taken, unless another comes in between. It is known where many
    /// are ready.
    #[inline]
    pub(crate) fn upcoming(&self, distance: usize) -> Option<u32> {
        let place = self.sorted.len().checked_sub(distance)?;
        self.sorted.get(place).map(|&Reverse(entry)| entry as u32)
    }

    /// The host whose rank is drawn so many hosts after that of the last one.
    #[inline]
    pub(crate) fn upcoming_unranked(&self, distance: usize) -> Option<u32> {
        self.fresh.get(self.fresh.len().checked_sub(distance)?).copied()
    }

    /// Adds a host with the rank that it drew. Ranks are compared in a group; one group goes before
    /// the next.
    pub(crate) fn add_ranked(&mut self, index: u32, rank: u64, group: u32) {
        let entry = u128::from(group) << 96 | u128::from(rank) << 32 | u128::from(index);
        self.ranked.push(Reverse(entry));
    }

    /// A host that is ready, if there is one beside the one that was taken.
    pub(crate) fn other(&self) -> Option<u32> {
        let ranked =
            || self.ranked.peek().max(self.sorted.last()).map(|&Reverse(entry)| entry as u32);
        self.fresh.last().copied().or_else(ranked)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn take(ready: &mut ReadyHosts) -> Option<u32> {
        loop {
            match ready.take()? {
                Ok(index) => return Some(index),
                Err(index) => ready.add_ranked(index, u64::from(10 - index), 0),
            }
        }
    }

    proptest! {
        #[test]
        fn hosts_go_by_rank_however_many_there_are(
            steps in prop::collection::vec((0_u32..60, prop::collection::vec(any::<u64>(), 0..40)), 1..30),
        ) {
            let mut ready = ReadyHosts::default();
            let mut list = BTreeSet::new();
            let mut count = 0;
            for (takes, ranks) in steps {
                for rank in ranks {
                    count += 1;
                    // Few groups, and in one of them few ranks.
                    let (rank, group) = (rank % (1 << (rank % 20)), count / 100);
                    ready.add_ranked(count, rank, group);
                    list.insert((group, rank, count));
                }
                for _ in 0..takes {
                    let other = ready.other();
                    let expected = list.pop_first().map(|(_, _, index)| index);
                    prop_assert_eq!(other, expected);
                    prop_assert_eq!(ready.take().map(|it| it.expect("all are ranked")), expected);
                }
                prop_assert_eq!(ready.is_empty(), list.is_empty());
            }
        }
    }

    #[test]
    fn it_is_known_who_of_many_comes() {
        let mut ready = ReadyHosts::default();
        (0..40).for_each(|index| ready.add(index));
        assert_eq!((ready.upcoming_unranked(1), ready.upcoming_unranked(41)), (Some(39), None));
        loop {
            match ready.take() {
                Some(Err(index)) => ready.add_ranked(index, u64::from(index), 0),
                taken => break assert_eq!(taken, Some(Ok(0))),
            }
        }
        assert_eq!(
            [1, 2, 39, 40].map(|distance| ready.upcoming(distance)),
            [Some(1), Some(2), Some(39), None]
        );
        ready.add_ranked(77, 0, 0);
        assert_eq!([(); 3].map(|()| take(&mut ready)), [Some(77), Some(1), Some(2)]);
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
