//! Plans against a world: do its hosts exist, can all of it happen?

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
    let mut spells: Vec<Spell<'_>> = Vec::new();
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
                spells.extend(Spell::of(index, fault));
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
            Entry::Workload(Workload::Without { operations, .. }) if operations.is_empty() => {
                found.push((index, Problem::Empty));
            }
            Entry::Deviation(_) | Entry::Environment(_) | Entry::Workload(_) => {}
        }
    }
    found.extend(overlaps(&mut spells));
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
        Condition::Slow { cost, .. } if cost.is_zero() => Some(Problem::Empty),
        _ => None,
    }
}

/// A time in which a host is not as usual.
#[derive(Clone, Copy)]
struct Spell<'a> {
    index: usize,
    host: &'a str,
    state: State,
    start: Time,
    end: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Crashed or killed: nothing can happen to its process.
    Down,
    Paused,
    Frozen,
}

impl<'a> Spell<'a> {
    fn of(index: usize, fault: &'a Fault) -> Option<Self> {
        let (host, state, length) = match &fault.action {
            Action::Interval { condition, length } => match condition {
                Condition::Crash { host, .. } => (host, State::Down, *length),
                Condition::Pause { host } => (host, State::Paused, *length),
                Condition::Freeze { host } => (host, State::Frozen, *length),
                _ => return None,
            },
            Action::Moment(Incident::Kill { host }) => (host, State::Down, None),
            Action::Moment(Incident::Signal { .. } | Incident::ClockStep { .. }) => return None,
        };
        let start = fault.start.time()?;
        let end = length.map_or(Time::NEVER, |length| start + length);
        Some(Self { index, host, state, start, end })
    }

    /// Why `later`, which does not start before this one, cannot be.
    fn forbids(&self, later: &Self) -> Option<&'static str> {
        match self.state {
            _ if later.start >= self.end => None,
            State::Down => Some("down"),
            state if state != later.state => None,
            State::Paused => Some("paused"),
            State::Frozen => Some("frozen"),
        }
    }
}

/// Spells that begin while another of their host makes them impossible.
fn overlaps(spells: &mut [Spell<'_>]) -> Vec<(usize, Problem)> {
    spells.sort_by_key(|spell| (spell.host, spell.start, spell.index));
    let mut found = Vec::new();
    // Of each host and state, the spell that lasts longest so far.
    let mut longest: Vec<Spell<'_>> = Vec::new();
    for spell in spells.iter() {
        longest.retain(|other| other.host == spell.host);
        let forbidden = longest.iter().find_map(|other| Some((other, other.forbids(spell)?)));
        if let Some((other, state)) = forbidden {
            let (host, other) = (spell.host.to_owned(), other.index + 1);
            found.push((spell.index, Problem::Overlap { state, host, other }));
        }
        match longest.iter_mut().find(|other| other.state == spell.state) {
            Some(other) if other.end >= spell.end => {}
            Some(other) => *other = *spell,
            None => longest.push(*spell),
        }
    }
    found
}
