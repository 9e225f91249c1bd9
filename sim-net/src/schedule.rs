//! Partitions over time, as data.

use std::time::Duration;

use sim_core::{Loop, Rng};

use crate::link::LinkError;
use crate::links::Links;
use crate::partition::Partition;

/// A partition that holds for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interval {
    /// When it begins, in virtual time from the start of the schedule.
    pub from: Duration,
    /// When it is healed.
    pub until: Duration,
    /// What is cut.
    pub partition: Partition,
}

/// Partitions over time. It is data; [`Links::follow`] carries it out.
///
/// ```
/// use std::time::Duration;
/// use sim_net::{Partition, Schedule};
///
/// let ms = Duration::from_millis;
/// let flapping = Schedule::flap(&Partition::isolate("a"), ms(100), ms(50), ms(10), 3);
/// let times: Vec<_> = flapping.intervals.iter().map(|cut| (cut.from, cut.until)).collect();
/// assert_eq!(times, [(ms(100), ms(150)), (ms(160), ms(210)), (ms(220), ms(270))]);
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Schedule {
    /// In any order; they may overlap.
    pub intervals: Vec<Interval>,
}

impl Schedule {
    /// The partition comes and goes: from `start` on it is there for `down`, gone for `up`, and
    /// so on, `times` times.
    pub fn flap(
        partition: &Partition,
        start: Duration,
        down: Duration,
        up: Duration,
        times: u32,
    ) -> Self {
        let intervals = (0..times).map(|n| {
            let from = start + (down + up) * n;
            Interval { from, until: from + down, partition: partition.clone() }
        });
        Self { intervals: intervals.collect() }
    }

    /// Cuts each host off at a random moment of the first half of a span of time, and heals it at
    /// one of the second half: FoundationDB's swizzle. `rng` is a stream of the scenario's own, such
    /// as `world.rng("swizzle")`.
    pub fn swizzle(hosts: &[&str], start: Duration, span: Duration, rng: &mut Rng) -> Self {
        let half = u64::try_from((span / 2).as_nanos()).unwrap_or(u64::MAX / 2);
        let mut moment = |from| start + Duration::from_nanos(from + rng.range(0..half.max(1)));
        let intervals = hosts.iter().map(|host| {
            let (from, until) = (moment(0), moment(half));
            Interval { from, until, partition: Partition::isolate(host) }
        });
        Self { intervals: intervals.collect() }
    }

    /// Beginnings and ends in order of time: when, which interval, and whether it begins.
    fn steps(&self) -> Vec<(Duration, usize, bool)> {
        let begins = self.intervals.iter().enumerate().map(|(n, it)| (it.from, n, true));
        let ends = self.intervals.iter().enumerate().map(|(n, it)| (it.until, n, false));
        let mut steps: Vec<_> = begins.chain(ends).collect();
        // A beginning goes before an end of the same instant, so that flapping leaves no gap.
        steps.sort_by_key(|&(at, n, begins)| (at, !begins, n));
        steps
    }
}

impl Links {
    /// Carries a schedule out from now on, by the clock of a loop, and returns when it is over.
    ///
    /// # Errors
    ///
    /// A name that no host has; what was cut until then is healed.
    ///
    /// # Cancel safety
    ///
    /// What is cut when it is dropped stays cut until [`heal`](Self::heal).
    pub async fn follow(&self, clock: &Loop, schedule: &Schedule) -> Result<(), LinkError> {
        let start = clock.time();
        let mut cuts = vec![None; schedule.intervals.len()];
        for (at, index, begins) in schedule.steps() {
            clock.sleep((start + at).saturating_since(clock.time())).await;
            if let Some(cut) = cuts[index].take() {
                self.heal_one(cut);
            } else if begins && schedule.intervals[index].until > at {
                match self.partition(&schedule.intervals[index].partition) {
                    Ok(cut) => cuts[index] = Some(cut),
                    Err(error) => {
                        cuts.into_iter().flatten().for_each(|cut| self.heal_one(cut));
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swizzle_cuts_in_the_first_half_and_heals_in_the_second() {
        let ms = Duration::from_millis;
        let mut rng = Rng::from_seed([7; 32]);
        let hosts = ["a", "b", "c", "d", "e"];
        let schedule = Schedule::swizzle(&hosts, ms(1_000), ms(500), &mut rng);
        assert_eq!(schedule.intervals.len(), 5);
        for (interval, host) in schedule.intervals.iter().zip(hosts) {
            assert!((ms(1_000)..ms(1_250)).contains(&interval.from), "{interval:?}");
            assert!((ms(1_250)..ms(1_500)).contains(&interval.until), "{interval:?}");
            assert_eq!(interval.partition, Partition::isolate(host));
        }
        let again = Schedule::swizzle(&hosts, ms(1_000), ms(500), &mut rng);
        assert_ne!(again, schedule);
    }

    #[test]
    fn steps_come_in_order_of_time() {
        let ms = Duration::from_millis;
        let schedule = Schedule::flap(&Partition::isolate("a"), ms(1), ms(5), ms(0), 2);
        let expected = [(ms(1), 0, true), (ms(6), 1, true), (ms(6), 0, false), (ms(11), 1, false)];
        assert_eq!(schedule.steps(), expected);
    }
}
