//! What chance does to packets, one by one: what a search turns up, down and off.

use super::{Corruption, Link, Loss, Probability};
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
    /// How likely it is that this happens to a packet. A list of lost packets is no chance.
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
                loss::Model::Packets(_) => Probability::NEVER,
            },
            Chance::Duplicate => self.duplicate,
            Chance::Corrupt => self.corruption.probability,
            Chance::Reorder => self.reorder.probability,
        }
    }

    /// Sets how likely it is. Losses stay in bursts of the length that they have, if such bursts can
    /// add up to it.
    #[must_use]
    pub fn with_chance(mut self, chance: Chance, likely: Probability) -> Self {
        match chance {
            Chance::Loss => {
                self.loss = match self.loss.0 {
                    loss::Model::Burst { burst, .. } => {
                        Loss::burst_thousandths(likely, burst).unwrap_or_else(|_| likely.into())
                    }
                    _ => likely.into(),
                }
            }
            Chance::Duplicate => self.duplicate = likely,
            Chance::Corrupt => {
                self.corruption = Corruption { probability: likely, ..self.corruption };
            }
            Chance::Reorder => self.reorder.probability = likely,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let burst: Link = "loss=burst(5%,1.1)".parse().unwrap();
        let most = burst.with_chance(Chance::Loss, Probability::percent(90).unwrap());
        assert_eq!(most.to_string(), "loss=90%");
    }
}
