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
    /// Those that are drawn, in the order of [`Site::ALL`], and a bit for each that can happen.
    drawn: [u64; Site::ALL.len()],
    drawable: u32,
    /// The others, of which there are a dozen at most: a look at each finds one faster than a tree.
    others: Vec<(&'static str, u64)>,
}

const _: () = assert!(Site::ALL.len() <= u32::BITS as usize, "each has a bit");

impl Faults {
    /// Nothing can happen.
    pub(crate) fn renew(&mut self) {
        let Self { drawn, drawable, others } = self;
        *drawn = Default::default();
        *drawable = 0;
        others.clear();
    }

    /// The fault can happen from now on.
    pub(crate) fn enable(&mut self, name: &'static str) {
        self.counter(name);
    }

    /// The fault happened.
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counter(name) += 1;
    }

    /// What is drawn at this site can happen from now on.
    pub(crate) fn enable_drawn(&mut self, site: Site) {
        self.drawable |= 1 << site as u32;
    }

    /// What is drawn at this site happened.
    #[inline]
    pub(crate) fn count_drawn(&mut self, site: Site) {
        self.enable_drawn(site);
        self.drawn[site as usize] += 1;
    }

    fn counter(&mut self, name: &'static str) -> &mut u64 {
        if let Some(site) = Site::ALL.into_iter().find(|site| site.name() == name) {
            self.enable_drawn(site);
            return &mut self.drawn[site as usize];
        }
        let place = self.others.iter().position(|&(known, _)| known == name);
        let place = place.unwrap_or_else(|| {
            self.others.push((name, 0));
            self.others.len() - 1
        });
        &mut self.others[place].1
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts: BTreeMap<_, _> = self.others.iter().copied().collect();
        let mut left = self.drawable;
        while left > 0 {
            let place = left.trailing_zeros() as usize;
            counts.insert(Site::ALL[place].name(), self.drawn[place]);
            left &= left - 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_counted_once_by_whichever_name() {
        let mut faults = Faults::default();
        faults.enable(LOSS);
        faults.enable_drawn(Site::PacketLoss);
        faults.enable_drawn(Site::ShortWrite);
        faults.count(LOSS);
        faults.count_drawn(Site::PacketLoss);
        faults.count(MTU);
        faults.enable(MTU);
        let counts = [(MTU, 1), (LOSS, 2), (Site::ShortWrite.name(), 0)];
        assert_eq!(faults.counts(), counts.into());
    }

    #[test]
    fn every_site_has_its_place() {
        for (place, site) in Site::ALL.into_iter().enumerate() {
            assert_eq!(site as usize, place, "{}", site.name());
        }
    }
}
