//! What chance does to packets, one by one: what a search turns up, down and off.

use super::lane::Lane;
use super::{Corruption, Link, Order, Probability};
use crate::decisions::{Decisions, Site};
use crate::link::loss;

/// Something that may or may not happen to a packet on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Chance {
    /// It is lost.
    Loss,
    /// A copy follows.
    Duplicate,
    /// It is corrupted.
    Corrupt,
    /// It is held back for later ones.
    Reorder,
}

impl Chance {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Loss, Self::Duplicate, Self::Corrupt, Self::Reorder];
}

impl Link {
    /// How likely it is that this happens to a packet. A list of lost packets is no chance: this is that of the others.
    ///
    /// ```
    /// use sim_net::{Chance, Link, Probability};
    ///
    /// let link: Link = "loss=burst(5%,4),dup=1%".parse()?;
    /// assert_eq!(link.chance(Chance::Loss), Probability::percent(5)?);
    /// let calmer = link.with_chance(Chance::Loss, Probability::percent(1)?);
    /// assert_eq!(calmer.to_string(), "loss=burst(1%,4),dup=1%");
    /// # Ok::<(), sim_net::LinkError>(())
    /// ```
    pub fn chance(&self, chance: Chance) -> Probability {
        match chance {
            Chance::Loss => match self.loss.0 {
                loss::Model::Each(mean) | loss::Model::Burst { mean, .. } => mean,
                loss::Model::Packets { others, .. } => others,
            },
            Chance::Duplicate => self.duplicate,
            Chance::Corrupt => self.corruption.probability,
            Chance::Reorder => self.reorder.probability,
        }
    }

    /// Sets how likely it is. Losses stay in bursts of the length that they have, if such bursts can
    /// add up to it. A list of lost packets stays, too: the chance is that of the others.
    #[must_use]
    pub fn with_chance(mut self, chance: Chance, likely: Probability) -> Self {
        match chance {
            Chance::Loss => self.loss = self.loss.with_chance(likely),
            Chance::Duplicate => self.duplicate = likely,
            Chance::Corrupt => {
                self.corruption = Corruption { probability: likely, ..self.corruption };
            }
            Chance::Reorder => self.reorder.probability = likely,
        }
        self
    }
}

/// What chance does to the packets of a link that does nothing else but delay them: the largest draw of
/// each site by which it happens, if it can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odds {
    loss: Option<u64>,
    duplicate: Option<u64>,
    corrupt: Option<u64>,
    reorder: Option<u64>,
}

impl Link {
    /// The odds of its packets, if each is on its own: no queue, no list and no other packet has a part in what
    /// becomes of it.
    pub(crate) fn odds(&self) -> Option<Odds> {
        let loss::Model::Each(loss) = self.loss.0 else { return None };
        let alone = self.rate.is_none() && self.mtu.is_none() && self.order == Order::Tcp;
        alone.then(|| Odds {
            loss: loss.largest(),
            duplicate: self.duplicate.largest(),
            corrupt: self.corruption.probability.largest(),
            reorder: self.reorder.probability.largest(),
        })
    }
}

impl Odds {
    /// True if anything befalls the packet with a number in a lane. Draws are functions of their keys: who
    /// asks again is told the same.
    #[inline]
    pub(crate) fn strike(&self, lane: &mut Lane, ordinal: u64, decisions: &Decisions) -> bool {
        let mut strikes = |largest: Option<u64>, site| {
            largest.is_some_and(|largest| lane.fault(site, ordinal, decisions) <= largest)
        };
        strikes(self.loss, Site::PacketLoss)
            || strikes(self.duplicate, Site::PacketDuplicate)
            || strikes(self.corrupt, Site::PacketCorrupt)
            || strikes(self.reorder, Site::PacketReorder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loss;

    #[test]
    fn each_chance_is_set_and_read_alone() {
        let one = Probability::percent(1).unwrap();
        for chance in Chance::ALL {
            let link = Link::default().with_chance(chance, one);
            let likely = Chance::ALL.map(|other| link.chance(other));
            let expected = Chance::ALL.map(|o| if o == chance { one } else { Probability::NEVER });
            assert_eq!(likely, expected);
            assert_eq!(link.with_chance(chance, Probability::NEVER), Link::default());
        }
    }

    #[test]
    fn a_list_of_losses_is_no_chance_and_bursts_that_cannot_be_become_single_losses() {
        let list = Link::default().loss(Loss::packets([1]));
        assert!(list.chance(Chance::Loss).is_never());
        assert_eq!(list.clone().with_chance(Chance::Loss, Probability::NEVER), list);
        let one = Probability::percent(1).unwrap();
        let both = list.clone().with_chance(Chance::Loss, one);
        assert_eq!(
            (both.chance(Chance::Loss), both.to_string()),
            (one, "loss=packets(1)+1%".to_owned())
        );
        assert_eq!(both.with_chance(Chance::Loss, Probability::NEVER), list);
        let burst: Link = "loss=burst(5%,1.1)".parse().unwrap();
        let most = burst.with_chance(Chance::Loss, Probability::percent(90).unwrap());
        assert_eq!(most.to_string(), "loss=90%");
    }
}
