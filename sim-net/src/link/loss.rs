//! Which packets are lost.

use std::sync::Arc;

use crate::link::{LinkError, Probability};

/// How a link loses packets.
///
/// ```
/// use sim_net::{Loss, Probability};
///
/// let five = Probability::percent(5)?;
/// assert_eq!(Loss::from(five).to_string(), "5%");
/// assert_eq!(Loss::burst(five, 4.0)?.to_string(), "burst(5%,4)");
/// assert_eq!(Loss::packets([42, 17]).to_string(), "packets(17,42)");
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss(pub(super) Model);

/// What decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Model {
    /// Each packet alone (Bernoulli).
    Each(Probability),
    /// Gilbert–Elliott: mean loss, and the mean burst in thousandths of a packet.
    Burst { mean: Probability, burst: u32 },
    /// The packets with these numbers, and each of the others alone.
    Packets { numbers: Arc<[u64]>, others: Probability },
}

impl Loss {
    /// Nothing is lost.
    pub const NONE: Self = Self(Model::Each(Probability::NEVER));

    /// Losses in bursts: the model of Gilbert and Elliott in its two-state form, in which a bad
    /// state loses everything. `mean` is the share of packets that is lost in the long run, `burst`
    /// how many are lost in a row on average, in steps of a thousandth. Each flow has its own chain
    /// in each direction, and its first packet finds it in a state as likely as in the long run.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if `burst` is below 1 or above a million, or the two contradict each
    /// other: the chain leaves the bad state with r = 1/burst and enters it with
    /// p = mean · r / (1 − mean), which is at most 1.
    pub fn burst(mean: Probability, burst: f64) -> Result<Self, LinkError> {
        if !(1.0..=1e6).contains(&burst) {
            let problem =
                format!("a mean burst of {burst} packets: it lies between 1 and a million");
            return Err(LinkError::value("loss", problem));
        }
        Self::burst_thousandths(mean, (burst * 1_000.0 + 0.5) as u32)
    }

    pub(super) fn burst_thousandths(mean: Probability, burst: u32) -> Result<Self, LinkError> {
        let loss = u64::from(mean.as_billionths());
        let rest = u64::from(Probability::ALWAYS.as_billionths()) - loss;
        let problem = if !(1_000..=1_000_000_000).contains(&burst) {
            "a mean burst lies between 1 and a million packets".to_owned()
        } else if rest == 0 {
            "bursts that never end: ask for loss=100% instead".to_owned()
        } else if loss * 1_000 > rest * u64::from(burst) {
            let least = (loss * 1_000).div_ceil(rest);
            format!(
                "bursts this short cannot add up to such a loss: the mean burst must be at least \
                 {}.{:03} packets",
                least / 1_000,
                least % 1_000
            )
        } else {
            return Ok(Self(Model::Burst { mean, burst }));
        };
        Err(LinkError::value("loss", problem))
    }

    /// Exactly the packets with these numbers, counted from 1 on in each direction of each flow.
    /// Counting begins with the first packet that goes through a link with parameters.
    pub fn packets(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut numbers: Vec<u64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self(Model::Packets { numbers: numbers.into(), others: Probability::NEVER })
    }

    /// The same with another chance: bursts of the length that they have, if such bursts can add up to it, and a list
    /// beside it.
    pub(super) fn with_chance(&self, likely: Probability) -> Self {
        match &self.0 {
            Model::Each(_) => likely.into(),
            Model::Burst { burst, .. } => {
                Self::burst_thousandths(likely, *burst).unwrap_or_else(|_| likely.into())
            }
            Model::Packets { numbers, .. } => {
                Self(Model::Packets { numbers: Arc::clone(numbers), others: likely })
            }
        }
    }

    /// True if nothing is ever lost.
    pub fn is_none(&self) -> bool {
        match &self.0 {
            Model::Each(loss) | Model::Burst { mean: loss, .. } => loss.is_never(),
            Model::Packets { numbers, others } => numbers.is_empty() && others.is_never(),
        }
    }

    /// True if a packet with this number is lost whatever chance says.
    pub(crate) fn lists(&self, number: u64) -> bool {
        matches!(&self.0, Model::Packets { numbers, .. } if numbers.binary_search(&number).is_ok())
    }

    /// True if a packet with this number is lost; `draw` is asked if that is left to chance.
    pub(crate) fn takes(&self, number: u64, chain: &mut Chain, draw: impl FnOnce() -> u64) -> bool {
        match &self.0 {
            Model::Packets { .. } if self.lists(number) => true,
            Model::Each(loss) | Model::Packets { others: loss, .. } => {
                !loss.is_never() && u128::from(draw()) < loss.threshold()
            }
            Model::Burst { mean, .. } if mean.is_never() => false,
            Model::Burst { mean, burst } => chain.step(*mean, *burst, draw()),
        }
    }
}

impl Default for Loss {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Probability> for Loss {
    /// Each packet by itself is lost with this probability (Bernoulli).
    fn from(loss: Probability) -> Self {
        Self(Model::Each(loss))
    }
}

/// The state of a Gilbert–Elliott chain. It is nowhere recorded: what it did to a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Chain {
    /// It has seen no packet.
    #[default]
    Fresh,
    Good,
    Bad,
}

impl Chain {
    /// The state for the next packet; true if it is the bad one.
    fn step(&mut self, mean: Probability, burst: u32, draw: u64) -> bool {
        let draw = u128::from(draw);
        let leave = (1000_u128 << 64) / u128::from(burst);
        let bad = match self {
            Self::Fresh => draw < mean.threshold(),
            Self::Bad => draw >= leave,
            Self::Good => {
                let loss = u128::from(mean.as_billionths());
                let rest = u128::from(Probability::ALWAYS.as_billionths()) - loss;
                draw < leave * loss / rest
            }
        };
        *self = if bad { Self::Bad } else { Self::Good };
        bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(percent: u32) -> Probability {
        Probability::percent(percent).unwrap()
    }

    #[test]
    fn bursts_and_their_mean_must_agree() {
        assert!(Loss::burst(percent(50), 1.0).is_ok());
        let short = Loss::burst(percent(75), 2.999).unwrap_err().to_string();
        assert!(short.contains("at least 3.000 packets"), "{short}");
        assert!(Loss::burst(percent(75), 3.0).is_ok());
        assert!(Loss::burst(percent(5), 0.999).is_err());
        assert!(Loss::burst(percent(5), f64::NAN).is_err());
        assert!(Loss::burst(percent(100), 5.0).is_err());
    }

    #[test]
    fn a_list_takes_exactly_its_packets_and_no_draw() {
        let loss = Loss::packets([42, 17, 17]);
        let mut chain = Chain::default();
        let taken: Vec<u64> = (1..100)
            .filter(|&n| loss.takes(n, &mut chain, || unreachable!("a list draws nothing")))
            .collect();
        assert_eq!(taken, [17, 42]);
        assert!(Loss::packets([]).is_none() && Loss::NONE.is_none() && !loss.is_none());
    }

    #[test]
    fn a_chance_beside_a_list_is_drawn_for_the_others_alone() {
        let loss = Loss::packets([17]).with_chance(percent(50));
        let mut chain = Chain::default();
        assert!(loss.takes(17, &mut chain, || unreachable!("it is listed")));
        assert!(loss.takes(18, &mut chain, || 0) && !loss.takes(18, &mut chain, || u64::MAX));
        assert!(loss.lists(17) && !loss.lists(18));
        assert_eq!(loss.with_chance(Probability::NEVER), Loss::packets([17]));
        assert!(!Loss::packets([]).with_chance(percent(1)).is_none());
    }
}
