//! The order in which a small plan is told.

use sim_net::plan::Entry;

use super::{Shrinker, with_faults};

impl Shrinker<'_> {
    /// Puts the entries in the order of time of what they do, if the plan fails in that order, too. What does nothing
    /// stands behind the others, and what is about the workload last.
    pub(super) fn put_in_order(&mut self) {
        let count = self.faults();
        if count < 2 {
            return;
        }
        let offered = self.trials.offered(&self.best);
        if offered.times.is_empty() {
            return;
        }
        let time = |place: usize| offered.times.get(place).copied().flatten();
        let mut places: Vec<usize> = (0..count).collect();
        places.sort_by_key(|&place| (time(place).is_none(), time(place)));
        let entries = &self.best.entries;
        let faults: Vec<Entry> = places.into_iter().map(|place| entries[place].clone()).collect();
        if faults != self.best.entries[..count] {
            self.try_first(1, &|best, _| with_faults(best, &faults));
        }
    }
}
