//! Entries that say less.

use std::time::Duration;

use sim_core::Time;
use sim_net::plan::{
    Action, Condition, Deviation, Entry, EventId, FIN_KILL, FIN_RECEIVER, Fault, FaultSite,
    Incident, RESET_BOTH, RESET_RECEIVER, RESET_SENDER, Sides, Start,
};

/// Times as people say them, from short to long.
const TIMES: [Duration; 19] = {
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
    ]
};

/// Numbers as people say them.
const NUMBERS: [u64; 12] = [1, 2, 3, 4, 5, 8, 10, 16, 32, 64, 128, 1_000];

/// Entries that say less than this one, the simplest first. Times of faults are made rounder if that is wanted.
pub(super) fn simpler(entry: &Entry, rounds: bool) -> Vec<Entry> {
    match entry {
        Entry::Fault(fault) => faults(fault, rounds).into_iter().map(Entry::Fault).collect(),
        Entry::Deviation(deviation) => {
            deviations(deviation).into_iter().map(Entry::Deviation).collect()
        }
        Entry::Clock(clock) => {
            let mut simpler = Vec::new();
            if clock.is_permanent {
                simpler.push(sim_net::plan::Clock { is_permanent: false, ..clock.clone() });
            }
            for (offset_nanos, drift_ppb) in
                [(clock.offset_nanos, 0), (0, clock.drift_ppb), half(clock)]
            {
                let changed = (offset_nanos, drift_ppb) != (clock.offset_nanos, clock.drift_ppb);
                if changed && (offset_nanos, drift_ppb) != (0, 0) {
                    simpler.push(sim_net::plan::Clock { offset_nanos, drift_ppb, ..clock.clone() });
                }
            }
            simpler.into_iter().map(Entry::Clock).collect()
        }
        _ => Vec::new(),
    }
}

fn half(clock: &sim_net::plan::Clock) -> (i64, i64) {
    (clock.offset_nanos / 2, clock.drift_ppb / 2)
}

fn deviations(deviation: &Deviation) -> Vec<Deviation> {
    let value = deviation.value;
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let shorter = |least: u64| {
        let times = TIMES.iter().map(|&time| nanos(time) + least);
        times.take_while(|&time| time < value).collect::<Vec<u64>>()
    };
    let values: Vec<u64> = match deviation.site {
        FaultSite::Delay
        | FaultSite::Stall
        | FaultSite::DelayFin
        | FaultSite::NameDelay
        | FaultSite::JobDelay => shorter(0),
        // 1 is a copy at once, or news that wait for what comes next; 1 + n has a time of n nanoseconds.
        FaultSite::Duplicate | FaultSite::Coalesce => {
            if value > 1 {
                [vec![1], shorter(1)].concat()
            } else {
                Vec::new()
            }
        }
        FaultSite::Reset if value == RESET_BOTH => vec![RESET_SENDER, RESET_RECEIVER],
        // A stream that ends is less than a process that does.
        FaultSite::Fin
            if value == FIN_KILL && matches!(deviation.event, EventId::Stream { .. }) =>
        {
            vec![FIN_RECEIVER]
        }
        FaultSite::Reorder | FaultSite::ShortWrite => {
            NUMBERS.iter().copied().take_while(|&number| number < value).collect()
        }
        _ => Vec::new(),
    };
    values.into_iter().map(|value| Deviation { value, ..deviation.clone() }).collect()
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
        let least = |time: &Duration| *time >= Duration::from_millis(1);
        for time in TIMES.into_iter().filter(least) {
            if length.is_none_or(|length| time < length) {
                let action = Action::Interval { condition: condition.clone(), length: Some(time) };
                simpler.push(Fault { action, ..fault.clone() });
            }
        }
    }
    if let Action::Moment(Incident::ClockStep { host, step_nanos }) = &fault.action {
        let incident = Incident::ClockStep { host: host.clone(), step_nanos: step_nanos / 2 };
        if step_nanos / 2 != 0 {
            simpler.push(Fault { action: Action::Moment(incident), ..fault.clone() });
        }
    }
    if let (true, Start::At(time)) = (rounds, &fault.start) {
        simpler.extend(
            rounder(*time)
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
        Condition::Slow { host, cost } => {
            let lower = TIMES.into_iter().take_while(|time| time < cost);
            return lower.map(|cost| Condition::Slow { host: host.clone(), cost }).collect();
        }
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
fn rounder(time: Time) -> Vec<Time> {
    let nanos = time.as_nanos();
    let units = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000];
    let mut times = Vec::new();
    for unit in units {
        for near in [nanos / unit * unit, nanos.div_ceil(unit) * unit] {
            // What is round already is left alone.
            if near == nanos {
                return times;
            }
            times.push(Time::from_nanos(near));
        }
    }
    times
}
