//! What a plan leaves to the seed, said choice by choice where that says more in as few lines.
//!
//! `jitter a->b` is one entry, so it is no more than any other to delta debugging, which cannot look into it. In a small
//! plan it tells nothing: mostly one packet of all came late, and a line about that one is what somebody wants to know.
//! Ties have no such form.

use std::mem;

use sim_net::plan::{Entry, Environment, Stream};

use super::{Shrinker, workload_last};

/// How many times as many windows may be needed as there may be entries in the end: it is given up where more are.
const NEEDED_MAX: usize = 4;

impl Shrinker<'_> {
    /// Says of the jitter that the plan leaves to the seed which packets it is about, if that takes no more entries.
    /// True if it does.
    pub(super) fn split_environment(&mut self) -> bool {
        let jitter = self.best.entries.iter().filter_map(|entry| match entry {
            Entry::Environment(left) if left.stream == Stream::Jitter => Some(left.clone()),
            _ => None,
        });
        let jitter: Vec<Environment> = jitter.collect();
        match &jitter[..] {
            [] => false,
            [_] => self.split(&jitter),
            all => self.split(all) || all.chunks(1).any(|one| self.split(one)),
        }
    }

    /// The best plan is one that says some of this packet by packet, if it has no more entries.
    fn split(&mut self, environment: &[Environment]) -> bool {
        let most = self.faults();
        let Some(split) = self.trials.split(&self.best, environment) else { return false };
        let before = mem::replace(&mut self.best, workload_last(&split));
        if self.begin() {
            self.take_out_windows(NEEDED_MAX * most);
            if self.faults() <= most || self.faults() <= NEEDED_MAX * most && self.keep_one() {
                return true;
            }
        }
        self.best = before;
        false
    }
}
