//! The scheduled faults of a seed: what befalls whom, when, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use sim_core::Rng;
use sim_net::{NameFault, Plan};

use super::Profile;
use crate::calm::{AskCalm, Calm};
use crate::draws::{log_uniform, outage, rng};
use crate::family::Family;

/// How much a callback costs on a slow host, in nanoseconds.
const COST_MIN: u64 = 1_000;
const COST_MAX: u64 = 10_000_000;
/// How far a wall clock is off, or is set, in nanoseconds.
const OFFSET_MIN: u64 = 1_000_000;
const OFFSET_MAX: u64 = 3_600_000_000_000;
/// How much faster or slower clocks run, in parts per billion: up to ten times what a bad crystal does.
const DRIFT_MAX: u64 = 1_000_000;
/// How often a seed's wall clocks are set, at most.
const STEPS_MAX: u64 = 2;

/// What the faults of a seed are aimed at.
struct Target<'a> {
    calm: &'a Calm,
    /// The latest moment at which one begins.
    within: Duration,
}

impl Target<'_> {
    /// When something begins: half by an event of a calm run, since uniform times hit idle gaps most of the time.
    fn moment(&self, rng: &mut Rng) -> Duration {
        let moments = &self.calm.moments;
        let by_event = rng.ratio(1, 2) && !moments.is_empty();
        let (place, at) = (rng.next_u64(), rng.duration(Duration::ZERO..self.within));
        let event = || {
            let index = (u128::from(place) * moments.len() as u128) >> 64;
            moments[index as usize].since_epoch()
        };
        if by_event { event().min(self.within) } else { at }
    }

    fn host(&self, rng: &mut Rng) -> &str {
        &self.calm.hosts[rng.below(self.calm.hosts.len() as u64) as usize]
    }
}

/// A number from `least` to `most`, forward or back.
fn either_way(rng: &mut Rng, least: u64, most: u64) -> i64 {
    let (is_back, random) = (rng.ratio(1, 2), rng.next_u64());
    let amount = log_uniform(random, least, most) as i64;
    if is_back { -amount } else { amount }
}

impl Profile {
    /// The scheduled faults of a seed.
    pub(super) fn plan(&self, on: &BTreeSet<Family>, seed: u64, calm: AskCalm<'_>) -> Plan {
        let plan = Plan::new();
        if !on.iter().any(|family| family.has_time()) || calm().hosts.is_empty() {
            return plan;
        }
        let within = self.latest(calm).max(Duration::from_nanos(1));
        let target = Target { calm: calm(), within };
        let plan = self.cuts(plan, on, seed, &target);
        let plan = self.stops(plan, on, seed, &target);
        let plan = self.slowness(plan, on, seed, &target);
        let plan = self.names(plan, on, seed, &target);
        clocks(plan, on, seed, &target)
    }

    fn cuts(&self, mut plan: Plan, on: &BTreeSet<Family>, seed: u64, target: &Target<'_>) -> Plan {
        if !on.contains(&Family::Cut) {
            return plan;
        }
        let mut rng = rng(seed, "cuts");
        for _ in 0..rng.below(u64::from(self.cuts) + 1) {
            let host = target.host(&mut rng);
            let at = target.moment(&mut rng);
            plan = plan.isolate(at, host, outage(&mut rng, self.cut_for, &target.calm.timers));
        }
        plan
    }

    /// The hosts that may be stopped.
    fn mortals_of<'a>(&self, target: &Target<'a>) -> Vec<&'a str> {
        let mortals = target.calm.hosts.iter().filter(|host| self.is_mortal(host));
        mortals.map(String::as_str).collect()
    }

    /// One at a time: each begins after the one before has ended.
    fn stops(&self, mut plan: Plan, on: &BTreeSet<Family>, seed: u64, target: &Target<'_>) -> Plan {
        let mortals = self.mortals_of(target);
        if mortals.is_empty() {
            return plan;
        }
        let kinds =
            [(Family::Crash, "crashes"), (Family::Pause, "pauses"), (Family::Freeze, "freezes")];
        let mut free_from = Duration::ZERO;
        for (family, name) in kinds {
            if !on.contains(&family) {
                continue;
            }
            let mut rng = rng(seed, name);
            let count = rng.below(u64::from(self.crashes) + 1);
            let mut times: Vec<Duration> = (0..count).map(|_| target.moment(&mut rng)).collect();
            times.sort_unstable();
            for at in times {
                let host = mortals[rng.below(mortals.len() as u64) as usize];
                let lasts = outage(&mut rng, self.down_for, &target.calm.timers);
                let at = at.max(free_from);
                plan = match family {
                    Family::Crash => plan.crash(at, host, lasts),
                    Family::Pause => plan.pause(at, host, lasts),
                    _ => plan.freeze(at, host, lasts),
                };
                free_from = at + lasts + Duration::from_nanos(1);
            }
        }
        plan
    }

    fn slowness(
        &self,
        mut plan: Plan,
        on: &BTreeSet<Family>,
        seed: u64,
        target: &Target<'_>,
    ) -> Plan {
        let mortals = self.mortals_of(target);
        if mortals.is_empty() || !on.contains(&Family::Slow) {
            return plan;
        }
        let mut rng = rng(seed, "slowness");
        for _ in 0..rng.below(u64::from(self.crashes) + 1) {
            let host = mortals[rng.below(mortals.len() as u64) as usize];
            let at = target.moment(&mut rng);
            let cost = Duration::from_nanos(log_uniform(rng.next_u64(), COST_MIN, COST_MAX));
            let lasts = outage(&mut rng, self.down_for, &target.calm.timers);
            plan = plan.slow(at, host, cost, lasts);
        }
        plan
    }

    fn names(&self, mut plan: Plan, on: &BTreeSet<Family>, seed: u64, target: &Target<'_>) -> Plan {
        if !on.contains(&Family::Names) {
            return plan;
        }
        const KINDS: [NameFault; 4] =
            [NameFault::TryAgain, NameFault::Unknown, NameFault::Empty, NameFault::Silent];
        let mut rng = rng(seed, "names");
        for _ in 0..rng.below(u64::from(self.cuts) + 1) {
            let host = target.host(&mut rng);
            let (at, kind) = (target.moment(&mut rng), KINDS[rng.below(4) as usize]);
            let lasts = outage(&mut rng, self.cut_for, &target.calm.timers);
            plan = plan.names(at, host, kind, lasts);
        }
        plan
    }
}

/// Half of the hosts have clocks that are off and run fast or slow; and now and then one is set.
fn clocks(mut plan: Plan, on: &BTreeSet<Family>, seed: u64, target: &Target<'_>) -> Plan {
    if !on.contains(&Family::Clock) {
        return plan;
    }
    let mut rng = rng(seed, "clocks");
    for host in &target.calm.hosts {
        let is_off = rng.ratio(1, 2);
        let offset = either_way(&mut rng, OFFSET_MIN, OFFSET_MAX);
        let drift = either_way(&mut rng, 1, DRIFT_MAX);
        if is_off {
            plan = plan.clock(host, offset, drift);
        }
    }
    for _ in 0..rng.below(STEPS_MAX + 1) {
        let host = target.host(&mut rng);
        let at = target.moment(&mut rng);
        plan = plan.clock_step(at, host, either_way(&mut rng, OFFSET_MIN, OFFSET_MAX));
    }
    plan
}

#[cfg(test)]
mod tests {
    use sim_core::Time;

    use super::*;

    #[test]
    fn each_family_makes_its_own_faults_within_their_bounds_and_moves_none_of_another() {
        let moments = (0..100).map(|n| Time::from_nanos(n * 1_000_000)).collect();
        let hosts = ["a", "b", "c"].map(String::from).to_vec();
        let calm = Calm { hosts, length: Duration::from_secs(1), moments, timers: Vec::new() };
        let profile = Profile::swarm().mortals(["a"]).lasting(Duration::from_secs(2));
        let lines = |on: &[Family], seed| -> Vec<String> {
            let plan = profile.plan(&on.iter().copied().collect(), seed, &|| &calm);
            plan.check(&["a", "b", "c"]).unwrap_or_else(|error| panic!("{error}\n{plan}"));
            plan.entries.iter().map(ToString::to_string).collect()
        };
        let kinds = [
            (Family::Cut, "isolate "),
            (Family::Crash, "crash a "),
            (Family::Pause, "pause a "),
            (Family::Freeze, "freeze a "),
            (Family::Slow, "slow a "),
            (Family::Names, "dns "),
            (Family::Clock, "clock "),
        ];
        let all = kinds.map(|(family, _)| family);
        let mut count = [0; 7];
        for seed in 0..200 {
            let together = lines(&all, seed);
            for ((family, begin), count) in kinds.into_iter().zip(&mut count) {
                let alone = lines(&[family], seed);
                assert!(alone.iter().all(|line| line.starts_with(begin)), "{alone:?}");
                *count += alone.len();
                // Hosts are stopped one after the other, so times of these depend on each other.
                if !matches!(family, Family::Pause | Family::Freeze) {
                    assert!(alone.iter().all(|line| together.contains(line)), "{together:?}");
                }
            }
        }
        assert!(count.iter().all(|&count| count > 100), "{count:?}");
        assert_eq!(lines(&[Family::Drop, Family::Spurious], 1), [""; 0]);
    }
}
