//! Stops of hosts, moved to the earliest moment that has the same effect: behind as few of the host's turns as there
//! can be.
//!
//! Between two turns of a host its process does nothing that a stop could take from it. So of the moments there the
//! roundest is tried for all; what is under way to the host meanwhile may still tell them apart, and then it stays.

use std::iter;

use sim_core::Time;
use sim_net::plan::{Action, Condition, Entry, Fault, Incident, Start};

/// Up to how many turns each is tried; from more of them halves, quarters, .. are left behind first.
const EACH_MAX: usize = 32;

/// The host that an entry stops, and when, if it says so by a time.
pub(super) fn stop(entry: &Entry) -> Option<(&str, Time)> {
    let Entry::Fault(Fault { start: Start::At(time), action, .. }) = entry else { return None };
    let host = match action {
        Action::Interval {
            condition:
                Condition::Crash { host, .. } | Condition::Pause { host } | Condition::Freeze { host },
            ..
        }
        | Action::Moment(Incident::Kill { host }) => host,
        _ => return None,
    };
    Some((host, *time))
}

/// The entry at other moments: first those behind fewer turns of its host, the earliest first; and last the roundest
/// behind as many. `turns` are those of a run without it, in order; nothing is tried where there are none.
pub(super) fn earlier(entry: &Entry, turns: &[Time]) -> Vec<Entry> {
    let (Entry::Fault(fault), Some((_, time))) = (entry, stop(entry)) else { return Vec::new() };
    if turns.is_empty() {
        return Vec::new();
    }
    let mut turns: Vec<u64> = turns.iter().map(|turn| turn.as_nanos()).collect();
    turns.dedup();
    let behind = turns.partition_point(|&turn| turn < time.as_nanos());
    let mut moments: Vec<u64> = if behind <= EACH_MAX {
        (0..behind).map(|count| roundest(&turns, count)).collect()
    } else {
        let halves = iter::successors(Some(behind), |&left| Some(left / 2).filter(|&it| it > 0));
        halves.map(|left| roundest(&turns, behind - left)).collect()
    };
    moments.extend(Some(roundest(&turns, behind)).filter(|&moment| moment != time.as_nanos()));
    let at = |nanos| Fault { start: Start::At(Time::from_nanos(nanos)), ..fault.clone() };
    moments.into_iter().map(|nanos| Entry::Fault(at(nanos))).collect()
}

/// The roundest moment behind so many turns and before the next, in nanoseconds.
fn roundest(turns: &[u64], behind: usize) -> u64 {
    let first = behind.checked_sub(1).map_or(0, |last| turns[last] + 1);
    let last = turns.get(behind).map_or(u64::MAX, |next| next.saturating_sub(1));
    let units = (0..=9).rev().map(|digits| 10_u64.pow(digits));
    let mut in_units = units.filter_map(|unit| first.div_ceil(unit).checked_mul(unit));
    in_units.find(|&number| number <= last).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use sim_net::Plan;

    use super::*;

    fn entry(line: &str) -> Entry {
        let plan: Plan = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        plan.entries[0].clone()
    }

    fn moved(line: &str, turns: &[u64]) -> Vec<String> {
        let turns: Vec<Time> = turns.iter().map(|&ms| Time::from_nanos(ms * 1_000_000)).collect();
        earlier(&entry(line), &turns).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_stop_moves_behind_fewer_turns_and_to_the_roundest_moment_there() {
        assert_eq!(
            moved("crash a 2345678us for 1s", &[0, 40, 40, 990, 1_010, 2_300, 9_000]),
            [
                "crash a 0s for 1s",
                "crash a 10ms for 1s",
                "crash a 100ms for 1s",
                "crash a 1s for 1s",
                "crash a 2s for 1s",
                "crash a 3s for 1s",
            ]
        );
        // What is as early and round as it can be stays.
        assert_eq!(moved("kill a at 0s", &[0, 5]), [""; 0]);
        assert_eq!(moved("kill a at 3ms", &[3, 5]), ["kill a at 0s"]);
        assert_eq!(moved("kill a at 3000001ns", &[3, 5]), ["kill a at 0s", "kill a at 4ms"]);
        assert_eq!(moved("pause a 100us for 1s", &[0]), ["pause a 0s..1s", "pause a 1s..2s"]);
        assert_eq!(moved("freeze a 1ms for 1s", &[2]), ["freeze a 0s..1s"]);
    }

    #[test]
    fn what_is_no_stop_or_has_no_turns_or_no_time_stays_where_it_is() {
        for line in ["cut a b 1.23s..2s", "clock a at 1.23s step +1s", "slow a 1.23s for 1s by 1ms"]
        {
            assert_eq!(moved(line, &[1, 2, 3]), [""; 0], "{line}");
        }
        assert_eq!(moved("crash a 1.23s for 1s", &[]), [""; 0]);
        let anchored = "crash a for 1s after a@1→b:7000#1 data 1 on b +10ms";
        assert_eq!(moved(anchored, &[1, 2, 3]), [""; 0]);
    }

    #[test]
    fn of_many_turns_halves_are_left_behind_first_and_one_last() {
        let turns: Vec<u64> = (1..=1_000).collect();
        let times = moved("crash a 2s for 1s", &turns);
        assert_eq!(times.len(), 10);
        assert_eq!(times[..2], ["crash a 0s for 1s", "crash a 500.1ms for 1s"]);
        assert_eq!(times[9], "crash a 999.1ms for 1s");
    }

    /// Else the shrinker would go on for ever: each step is behind fewer turns, or behind as many and rounder.
    #[test]
    fn whatever_is_taken_it_comes_to_an_end() {
        let turns: Vec<Time> = (0..50).map(|n| Time::from_nanos(n * n * 7_654_321)).collect();
        for pick in 0..8 {
            let mut now = entry("crash a 3.456789s for 1s");
            let mut steps = 0;
            loop {
                let next = earlier(&now, &turns);
                let Some(next) = next.get(pick).or(next.last()) else { break };
                now = next.clone();
                steps += 1;
                assert!(steps < 120, "{now:?}");
            }
        }
    }
}
