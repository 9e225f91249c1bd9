//! Entries that say less.

use std::time::Duration;

use sim_core::Time;
use sim_net::plan::{
    Action, Clock, Condition, Deviation, Entry, EventId, FIN_KILL, FIN_RECEIVER, Fault, FaultSite,
    Incident, RESET_BOTH, RESET_RECEIVER, RESET_SENDER, Sides, Start,
};

/// Times as people say them, from short to long.
const TIMES: [Duration; 22] = {
    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
    [
        Duration::from_micros(1),
        Duration::from_micros(10),
        Duration::from_micros(100),
        ms(1),
        ms(2),
        ms(5),
        ms(10),
        ms(20),
        ms(50),
        ms(100),
        ms(200),
        ms(500),
        ms(1_000),
        ms(2_000),
        ms(5_000),
        ms(10_000),
        ms(20_000),
        ms(60_000),
        ms(120_000),
        ms(600_000),
        ms(1_800_000),
        ms(3_600_000),
    ]
};

/// By how much clocks run fast or slow, as people say it, in parts per billion.
const DRIFTS: [u64; 10] = [1, 10, 100, 1_000, 10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000];

/// Numbers as people say them.
const NUMBERS: [u64; 12] = [1, 2, 3, 4, 5, 8, 10, 16, 32, 64, 128, 1_000];

/// How many values between two of a table are tried, at most.
const BETWEEN_MAX: u64 = 20;

/// Numbers that are less than one, the least first, by a table of those that people say.
type Less = fn(u64, &[u64]) -> Vec<u64>;

/// Those of the table.
fn rounder(value: u64, table: &[u64]) -> Vec<u64> {
    table.iter().copied().take_while(|&it| it < value).collect()
}

/// For one that is not of the table some between it and the largest there that is less: from that on in tenths of it. So
/// they have two digits.
fn between(value: u64, table: &[u64]) -> Vec<u64> {
    let Some(&last) = table.iter().rfind(|&&it| it < value) else { return Vec::new() };
    if table.contains(&value) {
        return Vec::new();
    }
    let step = (last / 10).max(1);
    (1..=BETWEEN_MAX).map(|steps| last + steps * step).take_while(|&it| it < value).collect()
}

/// Times that are less than `time`.
fn shorter(time: Duration, less: Less) -> impl Iterator<Item = Duration> {
    less(nanos(time), &TIMES.map(nanos)).into_iter().map(Duration::from_nanos)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Entries that say less than this one, the simplest first. Times of faults are made rounder if that is wanted.
pub(super) fn simpler(entry: &Entry, rounds: bool) -> Vec<Entry> {
    match entry {
        Entry::Fault(fault) => faults(fault, rounds).into_iter().map(Entry::Fault).collect(),
        Entry::Deviation(deviation) => {
            let ends = match (deviation.site, deviation.value) {
                (FaultSite::Reset, RESET_BOTH) => vec![RESET_SENDER, RESET_RECEIVER],
                // A stream that ends is less than a process that does.
                (FaultSite::Fin, FIN_KILL) if matches!(deviation.event, EventId::Stream { .. }) => {
                    vec![FIN_RECEIVER]
                }
                _ => Vec::new(),
            };
            let values = [ends, lower(deviation, rounder)].concat();
            with_values(deviation, values)
        }
        Entry::Clock(clock) => {
            let mut simpler = Vec::new();
            if clock.is_permanent {
                simpler.push(Clock { is_permanent: false, ..clock.clone() });
            }
            simpler.extend(clocks(clock, rounder));
            simpler.into_iter().map(Entry::Clock).collect()
        }
        _ => Vec::new(),
    }
}

/// Clocks that are less wrong: right in one way, or by less.
fn clocks(clock: &Clock, less: Less) -> Vec<Clock> {
    let &Clock { offset_nanos, drift_ppb, .. } = clock;
    let both = if offset_nanos != 0 && drift_ppb != 0 {
        &[(offset_nanos, 0), (0, drift_ppb)][..]
    } else {
        &[]
    };
    let offsets = smaller(offset_nanos, less, &TIMES.map(nanos)).map(|offset| (offset, drift_ppb));
    let drifts = smaller(drift_ppb, less, &DRIFTS).map(|drift| (offset_nanos, drift));
    let all = both.iter().copied().chain(offsets).chain(drifts);
    let with = |(offset_nanos, drift_ppb)| Clock { offset_nanos, drift_ppb, ..clock.clone() };
    all.map(with).collect()
}

/// Numbers of the same sign that are nearer to 0.
fn smaller(value: i64, less: Less, table: &[u64]) -> impl Iterator<Item = i64> + use<> {
    let magnitudes = less(value.unsigned_abs(), table).into_iter();
    magnitudes.filter_map(move |it| i64::try_from(it).ok()).map(move |it| it * value.signum())
}

/// Clocks that are set by less.
fn steps(action: &Action, less: Less) -> Vec<Action> {
    let Action::Moment(Incident::ClockStep { host, step_nanos }) = action else {
        return Vec::new();
    };
    let step = |step_nanos| Action::Moment(Incident::ClockStep { host: host.clone(), step_nanos });
    smaller(*step_nanos, less, &TIMES.map(nanos)).map(step).collect()
}

/// Entries that have just enough of what this one has more of than it takes, the least first: of times and counts, where
/// nothing rounder does.
pub(super) fn just_enough(entry: &Entry) -> Vec<Entry> {
    match entry {
        Entry::Deviation(deviation) => with_values(deviation, lower(deviation, between)),
        Entry::Clock(clock) => clocks(clock, between).into_iter().map(Entry::Clock).collect(),
        Entry::Fault(fault) => {
            let Action::Interval { condition, length } = &fault.action else {
                let steps = steps(&fault.action, between).into_iter();
                return steps
                    .map(|action| Entry::Fault(Fault { action, ..fault.clone() }))
                    .collect();
            };
            let costs = cheaper(condition, between).into_iter().map(|cheaper| (cheaper, *length));
            let lengths = length.iter().flat_map(|length| shorter(*length, between));
            let lengths = lengths.map(|length| (condition.clone(), Some(length)));
            let with = |(condition, length)| {
                let action = Action::Interval { condition, length };
                Entry::Fault(Fault { action, ..fault.clone() })
            };
            costs.chain(lengths).map(with).collect()
        }
        _ => Vec::new(),
    }
}

/// Values of a deviation that are less than its own, if less is simpler.
fn lower(deviation: &Deviation, less: Less) -> Vec<u64> {
    let (value, times) = (deviation.value, TIMES.map(nanos));
    match deviation.site {
        FaultSite::Delay
        | FaultSite::Stall
        | FaultSite::DelayFin
        | FaultSite::NameDelay
        | FaultSite::JobDelay => less(value, &times),
        // 1 is a copy at once, or news that wait for what comes next; 1 + n has a time of n nanoseconds.
        FaultSite::Duplicate | FaultSite::Coalesce => {
            let at_once = (value > 1).then_some(1);
            let delayed = less(value.saturating_sub(1), &times).into_iter().map(|it| it + 1);
            at_once.into_iter().chain(delayed).collect()
        }
        FaultSite::Reorder | FaultSite::ShortWrite => less(value, &NUMBERS),
        _ => Vec::new(),
    }
}

fn with_values(deviation: &Deviation, values: Vec<u64>) -> Vec<Entry> {
    let with = |value| Entry::Deviation(Deviation { value, ..deviation.clone() });
    values.into_iter().map(with).collect()
}

/// What costs less than a condition that costs something.
fn cheaper(condition: &Condition, less: Less) -> Vec<Condition> {
    let Condition::Slow { host, cost } = condition else { return Vec::new() };
    shorter(*cost, less).map(|cost| Condition::Slow { host: host.clone(), cost }).collect()
}

fn faults(fault: &Fault, rounds: bool) -> Vec<Fault> {
    let mut simpler = Vec::new();
    if fault.is_permanent {
        simpler.push(Fault { is_permanent: false, ..fault.clone() });
    }
    // A time or an event, not both.
    if let Start::Both(time, anchor) = &fault.start {
        for start in [Start::At(*time), Start::After(anchor.clone())] {
            simpler.push(Fault { start, ..fault.clone() });
        }
    }
    if let Action::Interval { condition, length } = &fault.action {
        for condition in conditions(condition) {
            let action = Action::Interval { condition, length: *length };
            simpler.push(Fault { action, ..fault.clone() });
        }
        let times =
            length.map_or_else(|| TIMES.to_vec(), |length| shorter(length, rounder).collect());
        for time in times.into_iter().filter(|&time| time >= Duration::from_millis(1)) {
            let action = Action::Interval { condition: condition.clone(), length: Some(time) };
            simpler.push(Fault { action, ..fault.clone() });
        }
    }
    let steps = steps(&fault.action, rounder).into_iter();
    simpler.extend(steps.map(|action| Fault { action, ..fault.clone() }));
    if let (true, Start::At(time)) = (rounds, &fault.start) {
        simpler.extend(
            rounder_times(*time)
                .into_iter()
                .map(|time| Fault { start: Start::At(time), ..fault.clone() }),
        );
    }
    simpler
}

/// The same with fewer hosts, in one direction, or at a lower cost.
fn conditions(condition: &Condition) -> Vec<Condition> {
    let cut = match condition {
        Condition::Cut(cut) => cut,
        Condition::Crash { host, changes_address: true } => {
            return vec![Condition::Crash { host: host.clone(), changes_address: false }];
        }
        Condition::Slow { .. } => return cheaper(condition, rounder),
        Condition::Link { from, to, is_mutual: true, link } => {
            let one_way = |from: &String, to: &String| Condition::Link {
                from: from.clone(),
                to: to.clone(),
                is_mutual: false,
                link: link.clone(),
            };
            return vec![one_way(from, to), one_way(to, from)];
        }
        _ => return Vec::new(),
    };
    let sides: Vec<Sides> = match &cut.sides {
        Sides::Between(one, other) => {
            let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
            let ways = pairs.flat_map(|(a, b)| [(a, b), (b, a)]);
            let smaller = one.len() + other.len() > 2;
            let one_way = ways.map(|(a, b)| Sides::OneWay(vec![a.clone()], vec![b.clone()]));
            let two_ways = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
            let two_ways = two_ways
                .filter(|_| smaller)
                .map(|(a, b)| Sides::Between(vec![a.clone()], vec![b.clone()]));
            one_way.chain(two_ways).collect()
        }
        Sides::OneWay(one, other) if one.len() + other.len() > 2 => {
            let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
            pairs.map(|(a, b)| Sides::OneWay(vec![a.clone()], vec![b.clone()])).collect()
        }
        Sides::Isolate(hosts) if hosts.len() > 1 => {
            hosts.iter().map(|host| Sides::Isolate(vec![host.clone()])).collect()
        }
        _ => Vec::new(),
    };
    let cut = |sides| Condition::Cut(sim_net::plan::Cut { sides, ..cut.clone() });
    sides.into_iter().map(cut).collect()
}

/// Times near this one that people would rather say, the roundest first.
fn rounder_times(time: Time) -> Vec<Time> {
    let nanos = time.as_nanos();
    let units = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000];
    let mut times = Vec::new();
    for unit in units {
        let later = nanos.div_ceil(unit).checked_mul(unit);
        for near in [Some(nanos / unit * unit), later].into_iter().flatten() {
            // What is round already is left alone.
            if near == nanos {
                return times;
            }
            times.push(Time::from_nanos(near));
        }
    }
    times
}
