//! How long packets travel.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::quantile;
use crate::decisions::below;
use crate::link::LinkError;

/// The longest delay that a distribution without a bound of its own gives.
const DELAY_MAX: Duration = Duration::from_secs(86_400);
/// The quantile of the standard normal distribution at 0.99.
const Z99: f64 = 2.326_347_874_040_840_8;

/// The one-way delay of a link: constant, or drawn for each packet.
///
/// ```
/// use std::time::Duration;
/// use sim_net::Latency;
///
/// let ms = Duration::from_millis;
/// let constant = Latency::from(ms(5));
/// let jittered = Latency::from(ms(5)..ms(9));
/// let long_tailed = Latency::log_normal(ms(20), ms(200))?;
/// assert_eq!(long_tailed.to_string(), "lognormal(20ms,p99=200ms)");
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latency(pub(super) Model);

/// What the delay of a packet is drawn from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Model {
    Constant(Duration),
    /// From the least on, less than `spread` nanoseconds more.
    Uniform {
        least: Duration,
        spread: u64,
    },
    Exponential {
        least: Duration,
        mean: Duration,
    },
    LogNormal {
        median: Duration,
        p99: Duration,
    },
    /// With the shape in thousandths.
    Pareto {
        least: Duration,
        alpha: u32,
        cap: Duration,
    },
    Table(Arc<[Duration]>),
}

impl Latency {
    /// `least`, and an exponentially distributed time with this mean on top: what a queue with
    /// random service adds.
    pub fn exponential(least: Duration, mean: Duration) -> Self {
        Self(Model::Exponential { least, mean })
    }

    /// A log-normal delay, given by its median and its 99th percentile: what round trips over the
    /// internet look like. At most a day.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] unless 0 < `median` < `p99`.
    pub fn log_normal(median: Duration, p99: Duration) -> Result<Self, LinkError> {
        if median.is_zero() || p99 <= median {
            let problem = format!(
                "a log-normal delay with median {median:?} and 99th percentile {p99:?}: the median \
                 must be above 0 and the percentile above the median"
            );
            return Err(LinkError::value("latency", problem));
        }
        Ok(Self(Model::LogNormal { median, p99 }))
    }

    /// A Pareto delay from `least` on with the shape `alpha`, in steps of a thousandth; what would
    /// be longer than `cap` takes `cap`. The smaller `alpha`, the heavier the tail.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] unless 0 < `least` < `cap` and 0.001 ≤ `alpha` ≤ 1000.
    pub fn pareto(least: Duration, alpha: f64, cap: Duration) -> Result<Self, LinkError> {
        if !(0.001..=1_000.0).contains(&alpha) {
            let problem = format!("a Pareto shape of {alpha}: it lies between 0.001 and 1000");
            return Err(LinkError::value("latency", problem));
        }
        Self::pareto_thousandths(least, (alpha * 1_000.0 + 0.5) as u32, cap)
    }

    pub(super) fn pareto_thousandths(
        least: Duration,
        alpha: u32,
        cap: Duration,
    ) -> Result<Self, LinkError> {
        let problem = if !(1..=1_000_000).contains(&alpha) {
            "a Pareto shape lies between 0.001 and 1000".to_owned()
        } else if least.is_zero() || cap <= least {
            format!(
                "a Pareto delay from {least:?} to {cap:?}: it begins above 0 and ends above where \
                 it begins"
            )
        } else {
            return Ok(Self(Model::Pareto { least, alpha, cap }));
        };
        Err(LinkError::value("latency", problem))
    }

    /// Each packet takes one of these delays, all equally likely: a measured sample.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if there is none.
    pub fn table(delays: impl IntoIterator<Item = Duration>) -> Result<Self, LinkError> {
        let delays: Arc<[Duration]> = delays.into_iter().collect();
        if delays.is_empty() {
            return Err(LinkError::value("latency", "an empty table: give at least one delay"));
        }
        Ok(Self(Model::Table(delays)))
    }

    /// True if packets differ.
    pub(crate) fn varies(&self) -> bool {
        match &self.0 {
            Model::Constant(_) => false,
            Model::Uniform { spread, .. } => *spread > 0,
            Model::Exponential { mean, .. } => !mean.is_zero(),
            Model::LogNormal { .. } | Model::Pareto { .. } => true,
            Model::Table(delays) => delays.iter().any(|delay| *delay != delays[0]),
        }
    }

    /// The least delay: what a packet takes whose draw is 0.
    pub(crate) fn least(&self) -> Duration {
        match &self.0 {
            Model::Constant(least)
            | Model::Uniform { least, .. }
            | Model::Exponential { least, .. }
            | Model::Pareto { least, .. } => *least,
            Model::LogNormal { .. } => Duration::ZERO,
            Model::Table(delays) => delays.iter().min().copied().unwrap_or_default(),
        }
    }

    /// The least delay and the spread, if that is all there is to know.
    pub(crate) fn plain(&self) -> Option<(Duration, u64)> {
        match self.0 {
            Model::Constant(least) => Some((least, 0)),
            Model::Uniform { least, spread } => Some((least, spread)),
            _ => None,
        }
    }

    /// What a packet takes beyond the least delay, in nanoseconds, by a draw.
    pub(crate) fn beyond_least(&self, draw: u64) -> u64 {
        match &self.0 {
            Model::Constant(_) => 0,
            Model::Uniform { spread, .. } => below(draw, *spread),
            Model::Exponential { mean, .. } => {
                nanos(quantile::exponential(quantile::unit(draw)) * float(*mean))
            }
            Model::LogNormal { median, p99 } => {
                let sigma = libm::log(float(*p99) / float(*median)) / Z99;
                let z = quantile::normal(quantile::unit(draw));
                nanos(float(*median) * libm::exp(sigma * z))
            }
            Model::Pareto { least, alpha, cap } => {
                let alpha = f64::from(*alpha) / 1_000.0;
                let delay = float(*least) * quantile::pareto(quantile::unit(draw), alpha);
                nanos(delay.min(float(*cap)) - float(*least))
            }
            Model::Table(delays) => {
                let delay = delays[below(draw, delays.len() as u64) as usize];
                whole(delay - self.least())
            }
        }
    }
}

/// A duration in nanoseconds; more than 584 years count as that.
fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn float(duration: Duration) -> f64 {
    whole(duration) as f64
}

/// Cuts off what is less than a nanosecond or more than [`DELAY_MAX`].
fn nanos(value: f64) -> u64 {
    (value as u64).min(whole(DELAY_MAX))
}

impl Default for Latency {
    /// A constant millisecond.
    fn default() -> Self {
        Duration::from_millis(1).into()
    }
}

impl From<Duration> for Latency {
    fn from(constant: Duration) -> Self {
        Self(Model::Constant(constant))
    }
}

impl From<Range<Duration>> for Latency {
    /// Uniform in `range`, in whole nanoseconds.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    #[track_caller]
    fn from(range: Range<Duration>) -> Self {
        assert!(!range.is_empty(), "latency {range:?}: the range is empty");
        Self(Model::Uniform { least: range.start, spread: whole(range.end - range.start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_draw_of_0_is_the_least_delay_and_larger_draws_are_longer() {
        let models = [
            Latency::from(MS),
            Latency::from(MS..9 * MS),
            Latency::exponential(MS, 5 * MS),
            Latency::log_normal(20 * MS, 200 * MS).unwrap(),
            Latency::pareto(5 * MS, 1.5, 1_000 * MS).unwrap(),
            Latency::table([3 * MS, 4 * MS, 9 * MS]).unwrap(),
        ];
        for latency in models {
            let all: Vec<u64> = (0..=256_u64)
                .map(|n| latency.beyond_least((n << 56).wrapping_sub(u64::from(n == 256))))
                .collect();
            assert!(all.is_sorted(), "{latency:?}: {all:?}");
            assert_eq!(latency.varies(), all[0] < all[256], "{latency:?}");
            // A billionth of a log-normal delay lies below a hundredth of its median.
            assert!(Duration::from_nanos(all[0]) < MS, "{latency:?}");
        }
    }

    /// The same on every platform: no system's own logarithm has a part in it. Computed by another
    /// program.
    #[test]
    fn values_never_change() {
        let draw = 0xb4a8_7628_0605_3eb6;
        let nanos = |latency: Latency| latency.beyond_least(draw);
        assert_eq!(nanos(Latency::from(MS..9 * MS)), 5_645_564);
        assert_eq!(nanos(Latency::exponential(MS, 5 * MS)), 6_115_701);
        assert_eq!(nanos(Latency::log_normal(20 * MS, 200 * MS).unwrap()), 34_160_178);
        assert_eq!(nanos(Latency::pareto(5 * MS, 1.5, 1_000 * MS).unwrap()), 6_300_701);
        assert_eq!(nanos(Latency::table([3 * MS, 4 * MS, 9 * MS]).unwrap()), 6_000_000);
    }

    #[test]
    fn impossible_distributions_are_refused() {
        assert!(Latency::log_normal(Duration::ZERO, MS).is_err());
        assert!(Latency::log_normal(MS, MS).is_err());
        assert!(Latency::pareto(MS, 0.0, 2 * MS).is_err());
        assert!(Latency::pareto(MS, f64::NAN, 2 * MS).is_err());
        assert!(Latency::pareto(MS, 1.0, MS).is_err());
        assert!(Latency::pareto(Duration::ZERO, 1.0, MS).is_err());
        assert!(Latency::table([]).is_err());
    }

    #[test]
    fn tails_are_bounded() {
        let wild = Latency::log_normal(MS, 80_000_000 * MS).unwrap();
        assert_eq!(wild.beyond_least(u64::MAX), whole(DELAY_MAX));
        let capped = Latency::pareto(MS, 0.1, 50 * MS).unwrap();
        assert_eq!(capped.beyond_least(u64::MAX), whole(49 * MS));
    }
}
