//! Plans against a world: do its hosts exist, can all of it happen?

use std::ops::RangeInclusive;

use sim_core::Time;

use super::deviation::{Environment, Scope};
use super::error::Problem;
use super::event::FlowName;
use super::fault::{Action, Condition, Fault, Incident, Sides};
use super::workload::Workload;
use super::{Entry, Plan};

/// A flow to nowhere has this server.
const NO_HOST: &str = "?";

/// What is wrong with a plan for a world with these hosts, each with the index of its entry.
pub(super) fn check(plan: &Plan, hosts: &[&str]) -> Vec<(usize, Problem)> {
    let mut found = Vec::new();
    let mut clocks: Vec<(usize, &str)> = Vec::new();
    for (index, entry) in plan.entries.iter().enumerate() {
        for name in hosts_of(entry) {
            if name != NO_HOST && !hosts.contains(&name) {
                let known = hosts.iter().map(|&host| host.to_owned()).collect();
                let problem = Problem::UnknownHost { name: name.to_owned(), known };
                if !found.contains(&(index, problem.clone())) {
                    found.push((index, problem));
                }
            }
        }
        match entry {
            Entry::Fault(fault) => {
                found.extend(check_fault(fault).map(|problem| (index, problem)));
            }
            Entry::Clock(clock) => {
                if let Some(&(other, _)) = clocks.iter().find(|(_, host)| *host == clock.host) {
                    let (host, other) = (clock.host.clone(), other + 1);
                    found.push((index, Problem::ClockSetTwice { host, other }));
                }
                clocks.push((index, &clock.host));
            }
            Entry::Deviation(deviation) if deviation.value == 0 => {
                found.push((index, Problem::Empty));
            }
            Entry::Workload(Workload::Without { operations, .. })
                if operations.is_empty() || operations.iter().any(RangeInclusive::is_empty) =>
            {
                found.push((index, Problem::Empty));
            }
            Entry::Deviation(_) | Entry::Environment(_) | Entry::Workload(_) => {}
        }
    }
    found.extend(without_process(plan));
    found.sort_by_key(|&(index, _)| index);
    found
}

fn hosts_of(entry: &Entry) -> Vec<&str> {
    match entry {
        Entry::Fault(fault) => {
            let mut hosts = fault.hosts();
            let anchor = fault.start.anchor();
            hosts.extend(anchor.and_then(|a| a.event.flow()).into_iter().flat_map(ends));
            hosts
        }
        Entry::Clock(clock) => vec![&clock.host],
        Entry::Deviation(deviation) => deviation.event.flow().into_iter().flat_map(ends).collect(),
        Entry::Environment(Environment { scope, .. }) => match scope {
            Scope::Flow(flow) => ends(flow).into(),
            Scope::Link { from: a, to: b } | Scope::Pair(a, b) => vec![a, b],
        },
        Entry::Workload(_) => Vec::new(),
    }
}

fn ends(flow: &FlowName) -> [&str; 2] {
    [&flow.client, &flow.server]
}

fn check_fault(fault: &Fault) -> Option<Problem> {
    let Action::Interval { condition, length } = &fault.action else { return None };
    if length.is_some_and(|length| length.is_zero()) {
        return Some(Problem::Empty);
    }
    match condition {
        Condition::Cut(cut) => {
            let (one, other) = cut.sides.groups();
            let both = one.iter().find(|host| other.contains(host));
            if let Some(host) = both {
                return Some(Problem::Sides { host: host.clone() });
            }
            let is_whole =
                one.is_empty() || other.is_empty() && !matches!(cut.sides, Sides::Isolate(_));
            is_whole.then_some(Problem::Empty)
        }
        Condition::Link { from, to, .. } if from == to => {
            Some(Problem::OwnLink { host: from.clone() })
        }
        Condition::Slow { cost, .. } if cost.is_zero() => Some(Problem::Empty),
        _ => None,
    }
}

/// A time in which a machine is off: nothing can happen to a process of its.
#[derive(Clone, Copy)]
struct Off<'a> {
    index: usize,
    host: &'a str,
    start: Time,
    end: Time,
}

impl<'a> Off<'a> {
    fn of(index: usize, fault: &'a Fault) -> Option<Self> {
        let Action::Interval { condition: Condition::Crash { host, .. }, length } = &fault.action
        else {
            return None;
        };
        let start = fault.start.time()?;
        let end = length.map_or(Time::NEVER, |length| start + length);
        Some(Self { index, host, start, end })
    }

    /// True if it leaves nothing for a fault to do: one that pauses a process, or kills it for now. One that kills it
    /// at its very beginning comes before it.
    fn forbids(&self, fault: &Fault) -> bool {
        let Some(at) = fault.start.time().filter(|&at| at < self.end) else { return false };
        match &fault.action {
            Action::Interval { condition: Condition::Pause { host }, .. } => {
                host == self.host && self.start <= at
            }
            Action::Moment(Incident::Kill { host }) => {
                host == self.host && self.start < at && !fault.is_permanent
            }
            Action::Interval { .. } | Action::Moment(_) => false,
        }
    }
}

/// Faults of processes that there are not then. All else that overlaps has a meaning.
fn without_process(plan: &Plan) -> impl Iterator<Item = (usize, Problem)> {
    let faults = || {
        let entries = plan.entries.iter().enumerate();
        entries.filter_map(|(index, entry)| match entry {
            Entry::Fault(fault) => Some((index, fault)),
            _ => None,
        })
    };
    let off: Vec<Off<'_>> = faults().filter_map(|(index, fault)| Off::of(index, fault)).collect();
    faults().filter_map(move |(index, fault)| {
        let off = off.iter().find(|off| off.forbids(fault))?;
        let (host, other) = (off.host.to_owned(), off.index + 1);
        Some((index, Problem::Off { host, other }))
    })
}
