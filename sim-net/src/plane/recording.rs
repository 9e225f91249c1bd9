//! The plan that a run amounts to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sim_core::Time;

use super::are_there;
use super::packets::PacketEvent;
use crate::flow::Flow;
use crate::plan::{
    Anchor, Deviation, Entry, Environment, EventId, Fault, FaultSite, Plan, Scope, Start, Stream,
};

/// How the plan of a run is written down; see [`Sim::record`](crate::Sim::record).
///
/// ```
/// use sim_net::Recording;
/// use sim_net::plan::{Environment, Scope, Stream};
///
/// let link = Scope::Link { from: "a".to_owned(), to: "b".to_owned() };
/// let recording = Recording::new()
///     .anchors()
///     .split(Environment::new(Stream::Jitter, link));
/// # drop(recording);
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[must_use = "give it to Sim::record"]
pub struct Recording {
    anchors: bool,
    split: Vec<Scope>,
    splits_all: bool,
}

impl Recording {
    /// Every fault that happened, an entry for the jitter of each link and for ties, and the scheduled
    /// faults and clocks as they were.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes with each scheduled fault which event it followed: the last packet that one of its hosts
    /// sent or got before.
    pub fn anchors(mut self) -> Self {
        self.anchors = true;
        self
    }

    /// Instead of leaving the jitter of this scope to the seed, says how long each of its packets
    /// took. Ties have no such form, and are left as they are.
    pub fn split(mut self, environment: Environment) -> Self {
        if environment.stream == Stream::Jitter {
            self.split.push(environment.scope);
        }
        self
    }

    /// As [`split`](Self::split), of every link: the plan then says by itself how long each packet took.
    pub fn split_all(mut self) -> Self {
        self.splits_all = true;
        self
    }

    pub(crate) fn has_anchors(&self) -> bool {
        self.anchors
    }
}

/// What has happened so far.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) options: Recording,
    deviations: Vec<Deviation>,
    /// The flows that had jitter, with their links, and whether they are split.
    jitter: BTreeMap<Flow, Jitter>,
    /// Hosts that were ready at the same instant, and those behind a plan's beginning.
    ties: BTreeSet<(u32, u32)>,
    ties_by_chance: BTreeSet<(u32, u32)>,
    /// The last packet of each host.
    last: BTreeMap<u32, (Time, PacketEvent)>,
    /// What scheduled faults followed, by their place in the plan.
    anchors: BTreeMap<usize, Anchor>,
}

/// The plan that a run had.
pub(crate) struct Base<'a> {
    pub(crate) plan: &'a Plan,
    /// It decided, and not the seed.
    pub(crate) decides: bool,
    /// It did until this time, if there is one.
    pub(crate) until: Option<Time>,
    /// Whether the entry at a place befell the run.
    pub(crate) is_bound: &'a dyn Fn(usize) -> bool,
}

#[derive(Clone, Copy, Debug)]
struct Jitter {
    link: (u32, u32),
    is_split: bool,
    /// A packet took longer than the least.
    has_happened: bool,
    /// One did behind a plan's beginning.
    has_by_chance: bool,
}

impl Recorder {
    pub(crate) fn new(options: Recording) -> Self {
        Self {
            options,
            deviations: Vec::new(),
            jitter: BTreeMap::new(),
            ties: BTreeSet::new(),
            ties_by_chance: BTreeSet::new(),
            last: BTreeMap::new(),
            anchors: BTreeMap::new(),
        }
    }

    /// Something has happened to a packet.
    pub(crate) fn packet(
        &mut self,
        site: FaultSite,
        event: &PacketEvent,
        value: u64,
        hosts: &[Arc<str>],
    ) {
        let near = Some(event.near());
        let event = event.id(hosts, site.name());
        self.deviations.push(Deviation { site, event, value, near });
    }

    /// Something has happened to a stream or a call.
    pub(crate) fn other(&mut self, site: FaultSite, event: EventId, value: u64) {
        self.deviations.push(Deviation { site, event, value, near: None });
    }

    /// The seed said how long a packet takes on a link, in a run from a plan because that left it, or did by chance
    /// what came behind it.
    pub(crate) fn delay(
        &mut self,
        link: (u32, u32),
        event: &PacketEvent,
        value: u64,
        is_by_chance: bool,
        hosts: &[Arc<str>],
    ) {
        let Recording { split, splits_all, .. } = &self.options;
        let jitter = self.jitter.entry(event.flow).or_insert_with(|| Jitter {
            link,
            is_split: *splits_all
                || split.iter().any(|scope| is_in(scope, event.flow, link, hosts)),
            has_happened: false,
            has_by_chance: false,
        });
        let happens =
            if is_by_chance { &mut jitter.has_by_chance } else { &mut jitter.has_happened };
        *happens |= value > 0;
        if jitter.is_split && value > 0 {
            self.packet(FaultSite::Delay, event, value, hosts);
        }
    }

    /// Two hosts were ready at the same instant.
    pub(crate) fn tie(&mut self, a: u32, b: u32, is_by_chance: bool) {
        let ties = if is_by_chance { &mut self.ties_by_chance } else { &mut self.ties };
        ties.insert((a.min(b), a.max(b)));
    }

    /// A host has sent or got a packet.
    pub(crate) fn last_packet(&mut self, host: u32, now: Time, event: &PacketEvent) {
        if self.options.anchors {
            self.last.insert(host, (now, *event));
        }
    }

    /// A fault begins that has the place `number` in the plan.
    pub(crate) fn begins(
        &mut self,
        number: usize,
        fault: &Fault,
        now: Time,
        find: impl Fn(&str) -> Option<u32>,
        hosts: &[Arc<str>],
    ) {
        if !self.options.anchors || fault.start.anchor().is_some() {
            return;
        }
        let known = fault.hosts().into_iter().find_map(|name| {
            let (at, event) = self.last.get(&find(name)?)?;
            Some((name, *at, event))
        });
        if let Some((name, at, event)) = known {
            let event = event.id(hosts, "packet.icmp");
            self.anchors.insert(number, Anchor { event, host: name.to_owned(), delay: now - at });
        }
    }

    /// The plan. What `base` schedules is in it if it was carried out.
    pub(crate) fn plan(&self, base: &Base<'_>, seed: u64, hosts: &[Arc<str>]) -> Plan {
        let scenario = base.plan.scenario.clone();
        let mut plan = Plan { scenario, seed: Some(seed), entries: Vec::new() };
        let scheduled = base.plan.entries.iter().enumerate();
        for (number, entry) in scheduled.filter(|(number, _)| (base.is_bound)(*number)) {
            match entry {
                Entry::Fault(fault) => {
                    let mut fault = fault.clone();
                    if let (Start::At(at), Some(anchor)) = (&fault.start, self.anchors.get(&number))
                    {
                        fault.start = Start::Both(*at, anchor.clone());
                    }
                    plan.entries.push(fault.into());
                }
                Entry::Clock(_) | Entry::Workload(_) => plan.entries.push(entry.clone()),
                Entry::Deviation(_) | Entry::Environment(_) => {}
            }
        }
        let mut environment = match base.decides {
            true => self.left_by(base, hosts),
            false => {
                let has_happened = |_: Flow, jitter: &Jitter| jitter.has_happened;
                self.left_to_seed(Time::ZERO, &self.ties, has_happened, hosts)
            }
        };
        if let Some(until) = base.until.filter(|_| base.decides) {
            let is_left = |flow, jitter: &Jitter| {
                let mut left = environment.iter().filter(|it| it.stream == Stream::Jitter);
                left.any(|it| is_in(&it.scope, flow, jitter.link, hosts))
            };
            let has_happened =
                |flow, jitter: &Jitter| jitter.has_by_chance && !is_left(flow, jitter);
            let by_chance = self.left_to_seed(until, &self.ties_by_chance, has_happened, hosts);
            environment.extend(by_chance);
        }
        plan.entries.extend(environment.into_iter().map(Entry::from));
        plan.entries.extend(self.deviations.iter().cloned().map(Entry::from));
        plan
    }

    /// What a run leaves to its seed from a time on: jitter and ties, where there were any.
    fn left_to_seed(
        &self,
        from: Time,
        ties: &BTreeSet<(u32, u32)>,
        has_happened: impl Fn(Flow, &Jitter) -> bool,
        hosts: &[Arc<str>],
    ) -> Vec<Environment> {
        let name = |index: u32| hosts[index as usize].to_string();
        let scopes = self.jitter_scopes(has_happened, hosts, name);
        let jitter = scopes.map(|scope| Environment { stream: Stream::Jitter, scope, from });
        let ties = spanning(ties).into_iter().map(|(a, b)| Environment {
            stream: Stream::Ties,
            scope: Scope::Pair(name(a), name(b)),
            from,
        });
        jitter.chain(ties).collect()
    }

    /// What a plan that decided left to the seed, and no more: the rest happens as it does by itself, again. What it
    /// was to leave only when chance had all is none of it.
    fn left_by(&self, base: &Base<'_>, hosts: &[Arc<str>]) -> Vec<Environment> {
        let all = base.plan.entries.iter().enumerate().filter_map(|(number, entry)| match entry {
            Entry::Environment(environment) => Some((environment, (base.is_bound)(number))),
            _ => None,
        });
        let all = all.filter(|(it, _)| base.until.is_none_or(|until| it.from < until));
        let (mut ties, jitter): (Vec<_>, Vec<_>) =
            all.partition(|(it, _)| it.stream == Stream::Ties);
        ties.retain(|(it, _)| are_there(&it.scope, hosts));
        let mut left = Vec::new();
        for (environment, _) in jitter.into_iter().filter(|(_, is_bound)| *is_bound) {
            let is_within = |(flow, jitter): &(&Flow, &Jitter)| {
                is_in(&environment.scope, **flow, jitter.link, hosts)
            };
            if self.jitter.iter().filter(is_within).any(|(_, jitter)| jitter.is_split) {
                let whole = self.jitter.iter().filter(is_within);
                let whole = whole.filter(|(_, jitter)| !jitter.is_split && jitter.has_happened);
                left.extend(whole.map(|(flow, _)| Environment {
                    stream: Stream::Jitter,
                    scope: Scope::Flow(flow.to_name(hosts)),
                    from: environment.from,
                }));
            } else {
                left.push(environment.clone());
            }
        }
        // Ties that nothing was about may still say which group those belong to that something was about.
        let bound = ties.iter().filter(|(_, is_bound)| *is_bound);
        let mut tied: BTreeSet<&str> = bound.flat_map(|(it, _)| ends(&it.scope)).collect();
        let mut known = 0;
        while tied.len() > known {
            known = tied.len();
            for (environment, _) in &ties {
                let ends = ends(&environment.scope);
                if ends.iter().any(|host| tied.contains(host)) {
                    tied.extend(ends);
                }
            }
        }
        ties.retain(|(it, _)| ends(&it.scope).iter().any(|host| tied.contains(host)));
        left.extend(ties.into_iter().map(|(environment, _)| environment.clone()));
        left
    }

    /// The links that had jitter; of one with flows that are split, the flows that are not.
    fn jitter_scopes(
        &self,
        has_happened: impl Fn(Flow, &Jitter) -> bool,
        hosts: &[Arc<str>],
        name: impl Fn(u32) -> String,
    ) -> impl Iterator<Item = Scope> {
        let mut links = BTreeMap::<(u32, u32), Vec<(Flow, Jitter)>>::new();
        for (&flow, &jitter) in &self.jitter {
            links.entry(jitter.link).or_default().push((flow, jitter));
        }
        let scopes: Vec<Scope> = links
            .into_iter()
            .flat_map(|((from, to), flows)| {
                let is_split = flows.iter().any(|(_, jitter)| jitter.is_split);
                let mut scopes = Vec::new();
                if is_split {
                    let whole =
                        flows.iter().filter(|(flow, it)| !it.is_split && has_happened(*flow, it));
                    scopes.extend(whole.map(|(flow, _)| Scope::Flow(flow.to_name(hosts))));
                } else if flows.iter().any(|(flow, jitter)| has_happened(*flow, jitter)) {
                    scopes.push(Scope::Link { from: name(from), to: name(to) });
                }
                scopes
            })
            .collect();
        scopes.into_iter()
    }
}

/// True if the packets of a flow on a link are in a scope.
pub(crate) fn is_in(scope: &Scope, flow: Flow, (from, to): (u32, u32), hosts: &[Arc<str>]) -> bool {
    let is_called =
        |index: u32, name: &str| hosts.get(index as usize).is_some_and(|it| **it == *name);
    match scope {
        Scope::Flow(name) => name.entity() == flow.entity(hosts),
        Scope::Link { from: a, to: b } => is_called(from, a) && is_called(to, b),
        Scope::Pair(a, b) => {
            is_called(from, a) && is_called(to, b) || is_called(from, b) && is_called(to, a)
        }
    }
}

/// The hosts that a scope of ties names.
fn ends(scope: &Scope) -> Vec<&str> {
    match scope {
        Scope::Pair(a, b) | Scope::Link { from: a, to: b } => vec![a, b],
        Scope::Flow(_) => Vec::new(),
    }
}

/// As few pairs as connect what all of them connect.
fn spanning(pairs: &BTreeSet<(u32, u32)>) -> Vec<(u32, u32)> {
    let mut roots = BTreeMap::<u32, u32>::new();
    fn root(roots: &mut BTreeMap<u32, u32>, mut host: u32) -> u32 {
        while let Some(&up) = roots.get(&host).filter(|&&up| up != host) {
            let above = roots.get(&up).copied().unwrap_or(up);
            roots.insert(host, above);
            host = up;
        }
        host
    }
    let mut kept = Vec::new();
    for &(a, b) in pairs {
        let (up_a, up_b) = (root(&mut roots, a), root(&mut roots, b));
        if up_a != up_b {
            roots.insert(up_a.max(up_b), up_a.min(up_b));
            kept.push((a, b));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_pairs_are_kept_than_connect_all() {
        let pairs = BTreeSet::from([(1, 2), (2, 3), (1, 3), (5, 6), (4, 6), (4, 5)]);
        assert_eq!(spanning(&pairs), [(1, 2), (1, 3), (4, 5), (4, 6)]);
        assert_eq!(spanning(&BTreeSet::new()), []);
    }
}
