//! How often each fault bit.

use std::collections::BTreeMap;

use crate::decisions::Site;

/// A packet was lost on its link.
pub(crate) const LOSS: &str = Site::PacketLoss.name();
/// A packet was sent twice.
pub(crate) const DUPLICATE: &str = Site::PacketDuplicate.name();
/// A packet was corrupted.
pub(crate) const CORRUPT: &str = Site::PacketCorrupt.name();
/// A packet was held back.
pub(crate) const REORDER: &str = Site::PacketReorder.name();
/// A packet found a link's queue full.
pub(crate) const QUEUE: &str = "link.queue";
/// A packet was larger than its link's MTU.
pub(crate) const MTU: &str = "link.mtu";
/// A partition dropped, held or rejected a packet.
pub(crate) const CUT: &str = "partition.drop";
pub(crate) const HOLD: &str = "partition.hold";
pub(crate) const REJECT: &str = "partition.reject";
/// The test dropped a packet.
pub(crate) const BY_HAND: &str = "hand.drop";

/// Counters by the name of the fault. A fault that could have happened and did not counts 0.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// A dozen at most, which a look at each finds faster than a tree; what is asked for often comes to the front.
    counts: Vec<(&'static str, u64)>,
}

impl Faults {
    /// The fault can happen from now on.
    pub(crate) fn enable(&mut self, name: &'static str) {
        self.counter(name);
    }

    /// The fault happened.
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counter(name) += 1;
    }

    fn counter(&mut self, name: &'static str) -> &mut u64 {
        let place = self.counts.iter().position(|&(known, _)| known == name);
        let place = place.unwrap_or_else(|| {
            self.counts.push((name, 0));
            self.counts.len() - 1
        });
        let nearer = place.saturating_sub(1);
        self.counts.swap(place, nearer);
        &mut self.counts[nearer].1
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.iter().copied().collect()
    }
}
