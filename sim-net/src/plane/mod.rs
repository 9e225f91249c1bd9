//! Who decides what goes wrong in a run, the seed or a plan; and what is written down of it.
//!
//! A run from a seed that nobody observes has no plane, and every site asks the seed. A run from a
//! plan asks it first: there every fault is 0 that no deviation binds to, and so is the environment
//! that no entry leaves to the seed. Observers (the census, the recorder) see both kinds of run
//! alike, and change neither.
//!
//! | module | what |
//! | --- | --- |
//! | `packets` | content ids of packets |
//! | `claims`, `binding` | which entries found what they are about |
//! | `passage` | the way of a packet that somebody decides about or looks at |
//! | `question` | what everything else asks: streams, calls, disks, names |
//! | `recording` | the plan that a run amounts to |
//! | `census` | everything that a fault could have befallen |
//! | `exhaustive`, `bytes` | plans made of a census: all of a small scope, and what a fuzzer says |

pub(crate) mod binding;
mod bytes;
pub(crate) mod census;
pub(crate) mod claims;
pub(crate) mod exhaustive;
pub(crate) mod packets;
pub(crate) mod passage;
pub(crate) mod question;
pub(crate) mod recording;
pub(crate) mod stream_name;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use sim_core::Time;

use self::binding::Bindings;
use self::census::{Census, Moment};
use self::claims::{Claims, FlowClaims, Follower};
use self::packets::FlowPackets;
use self::recording::{Base, Recorder, Recording, is_in};
use crate::decisions::Entity;
use crate::flow::Flow;
use crate::plan::{Entry, Environment, Plan, Scope, Stream, Workload};

/// No flow, and no entry.
const NONE: u32 = u32::MAX;

/// Who decides, and who looks on.
#[derive(Debug)]
pub(crate) struct Plane {
    plan: Plan,
    seed: u64,
    /// The plan decides, until this time if there is one.
    is_planned: bool,
    until: Option<Time>,
    /// The faults of the run are over.
    is_calm: bool,
    claims: Claims,
    /// The entries that leave something to the seed, with their number.
    environment: Vec<(Environment, u32)>,
    groups: Groups,
    flows: Vec<Watched>,
    by_flow: BTreeMap<Flow, u32>,
    pub(crate) recorder: Option<Box<Recorder>>,
    pub(crate) census: Option<Box<Census>>,
}

/// A flow that somebody decides about or looks at.
#[derive(Debug)]
struct Watched {
    packets: FlowPackets,
    claims: Option<Box<FlowClaims>>,
    /// The other direction.
    peer: u32,
}

/// What is known of a flow once and for all; kept in its lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// Its place among those that are watched.
    flow: u32,
    /// The place among those of the environment of the entry that leaves its jitter to the seed.
    jitter: u32,
}

impl Plane {
    /// The plane of a run, if it needs one.
    pub(crate) fn new(
        plan: &Plan,
        seed: u64,
        is_planned: bool,
        until: Option<Time>,
        recording: Option<Recording>,
        census: bool,
    ) -> Option<Box<Self>> {
        let is_needed = is_planned || recording.is_some() || census || !plan.entries.is_empty();
        if !is_needed {
            return None;
        }
        let environment = (0..).zip(&plan.entries).filter_map(|(number, entry)| match entry {
            Entry::Environment(environment) => Some((environment.clone(), number)),
            _ => None,
        });
        Some(Box::new(Self {
            plan: plan.clone(),
            seed,
            is_planned,
            until,
            is_calm: false,
            claims: Claims::new(plan),
            environment: environment.collect(),
            groups: Groups::default(),
            flows: Vec::new(),
            by_flow: BTreeMap::new(),
            recorder: recording.map(|options| Box::new(Recorder::new(options))),
            census: census.then(Box::default),
        }))
    }

    /// Time goes on.
    pub(crate) fn advance(&mut self, now: Time) {
        self.claims.now = now;
    }

    /// True if packets must be shown to it.
    pub(crate) fn watches_packets(&self) -> bool {
        self.watches_all() || self.claims.names_packets
    }

    /// True if packets at the end of their way must be shown to it.
    pub(crate) fn watches_arrivals(&self) -> bool {
        let anchors = self.recorder.as_ref().is_some_and(|it| it.options.has_anchors());
        self.claims.follows_packets || self.census.is_some() || anchors
    }

    /// True if what applications do with streams must be shown to it.
    pub(crate) fn watches_streams(&self) -> bool {
        self.census.is_some() || self.claims.names_streams
    }

    /// True if an entry is about a question to the name servers.
    pub(crate) fn names_questions(&self) -> bool {
        self.claims.names_questions
    }

    fn watches_all(&self) -> bool {
        self.recorder.is_some() || self.census.is_some()
    }

    /// True if the plan decides at this time, and not the seed.
    pub(crate) fn decides(&self, now: Time) -> bool {
        self.is_planned && self.until.is_none_or(|until| now < until)
    }

    /// The faults of the run are over: nothing new is injected.
    pub(crate) fn calm(&mut self) {
        self.is_calm = true;
    }

    /// True once they are.
    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm
    }

    /// What an entry was about was in the run.
    pub(crate) fn bind(&mut self, number: usize) {
        self.claims.bind(number);
    }

    pub(crate) fn bindings(&self) -> Bindings {
        self.claims.bindings()
    }

    /// The plan of the run, if it was written down.
    pub(crate) fn recorded(&self, hosts: &[Arc<str>]) -> Option<Plan> {
        let is_bound = |number| self.claims.is_bound(number);
        let Self { plan, is_planned: decides, until, .. } = self;
        let base = Base { plan, decides: *decides, until: *until, is_bound: &is_bound };
        Some(self.recorder.as_ref()?.plan(&base, self.seed, hosts))
    }

    // Flows.

    /// What is to be known of a flow, when its first packet begins its way on a link.
    fn watch(&mut self, flow: Flow, link: (u32, u32), hosts: &[Arc<str>]) -> Watch {
        let jitter = (0..).zip(&self.environment).filter(|(_, (environment, _))| {
            environment.stream == Stream::Jitter && is_in(&environment.scope, flow, link, hosts)
        });
        // Of those that begin first the first of the plan.
        let jitter = jitter.min_by_key(|(_, (environment, _))| environment.from);
        let jitter = jitter.map_or(NONE, |(place, _)| place);
        Watch { flow: self.find_or_watch(flow, hosts), jitter }
    }

    /// True if an entry leaves the jitter of a flow to the seed at this time. It has found what it is about.
    fn leaves_jitter(&mut self, watch: Watch, now: Time) -> bool {
        let Some((environment, number)) = self.environment.get(watch.jitter as usize) else {
            return false;
        };
        let leaves = environment.from <= now;
        if leaves {
            self.claims.bind(*number as usize);
        }
        leaves
    }

    /// True if the seed decides, and a plan did before.
    pub(crate) fn goes_on_by_chance(&self, now: Time) -> bool {
        self.is_planned && !self.decides(now)
    }

    fn find_or_watch(&mut self, flow: Flow, hosts: &[Arc<str>]) -> u32 {
        if let Some(&known) = self.by_flow.get(&flow) {
            return known;
        }
        let (own, back) = (flow.entity(hosts), flow.reversed().entity(hosts));
        let is_named = self.claims.names_flow(own) || self.claims.names_flow(back);
        if !is_named && !self.watches_all() {
            return NONE;
        }
        let first = self.flows.len() as u32;
        for (place, (flow, entity)) in
            [(flow, own), (flow.reversed(), back)].into_iter().enumerate()
        {
            let claims = self.claims.begin_flow(entity);
            let peer = first + 1 - place as u32;
            self.flows.push(Watched { packets: FlowPackets::new(flow), claims, peer });
            self.by_flow.insert(flow, first + place as u32);
        }
        first
    }

    /// What follows the place that a stream has come to on a host.
    pub(crate) fn stream_followers(
        &mut self,
        flow: Entity,
        place: u64,
        host: &str,
    ) -> Vec<Follower> {
        self.claims.stream_followers(flow, place, host)
    }

    /// The entries about what applications do.
    pub(crate) fn claims(&mut self) -> &mut Claims {
        &mut self.claims
    }

    // Ties.

    /// The group in which a host's rank is left to the seed; `None` if it is 0.
    pub(crate) fn tie_group(&mut self, host: u32, now: Time, hosts: &[Arc<str>]) -> Option<u32> {
        self.groups.fit(&self.environment, now, hosts);
        let group = self.groups.of_host.get(host as usize).copied().flatten()?;
        let name = &hosts[host as usize];
        for (environment, number) in &self.environment {
            let is_about =
                || names(&environment.scope, name) && are_there(&environment.scope, hosts);
            if is_of_ties(environment, now) && is_about() {
                self.claims.bind(*number as usize);
            }
        }
        Some(group)
    }

    // The workload.

    /// The size that the plan gives a part of the workload.
    pub(crate) fn size(&mut self, wanted: &str) -> Option<u64> {
        let found = self.plan.entries.iter().enumerate().find_map(|(number, entry)| match entry {
            Entry::Workload(Workload::Size { name, value }) if name == wanted => {
                Some((number, *value))
            }
            _ => None,
        });
        found.map(|(number, value)| {
            self.claims.bind(number);
            value
        })
    }

    /// True if the plan leaves an operation out.
    pub(crate) fn leaves_out(&mut self, wanted: &str, operation: u64) -> bool {
        let found = self.plan.entries.iter().position(|entry| match entry {
            Entry::Workload(Workload::Without { name, operations }) => {
                name == wanted && operations.iter().any(|range| range.contains(&operation))
            }
            _ => false,
        });
        if let Some(number) = found {
            self.claims.bind(number);
        }
        found.is_some()
    }

    /// Shows the census a size.
    pub(crate) fn offer_size(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        value: u64,
        drawn: u64,
    ) {
        if let Some(census) = &mut self.census {
            census.sized(name, range, value, drawn);
        }
    }

    /// Shows the census an operation.
    pub(crate) fn offer_operation(&mut self, name: &str, index: u64) {
        if let Some(census) = &mut self.census {
            census.operated(name, index);
        }
    }
}

/// True if an entry leaves ties to the seed at this time.
fn is_of_ties(environment: &Environment, now: Time) -> bool {
    environment.stream == Stream::Ties && environment.from <= now
}

fn names(scope: &Scope, host: &str) -> bool {
    match scope {
        Scope::Pair(a, b) | Scope::Link { from: a, to: b } => a == host || b == host,
        Scope::Flow(_) => false,
    }
}

/// True if both hosts that a scope of ties names are in the world.
fn are_there(scope: &Scope, hosts: &[Arc<str>]) -> bool {
    let is_there = |name: &String| hosts.iter().any(|host| **host == **name);
    match scope {
        Scope::Pair(a, b) | Scope::Link { from: a, to: b } => is_there(a) && is_there(b),
        Scope::Flow(_) => false,
    }
}

/// Which hosts have ties that are left to the seed, and with whom.
///
/// Pairs make groups. In a group ranks decide who goes first; of two groups it is the one with the
/// host that was made first, as it is of two hosts whose ranks are 0.
#[derive(Debug, Default)]
struct Groups {
    /// By host: the first host of its group.
    of_host: Vec<Option<u32>>,
    /// How many entries they are made of.
    made_of: usize,
}

impl Groups {
    /// Makes them fit the hosts and the time that there are.
    fn fit(&mut self, environment: &[(Environment, u32)], now: Time, hosts: &[Arc<str>]) {
        let ties = || environment.iter().filter(|(environment, _)| is_of_ties(environment, now));
        let made_of = ties().count();
        if (self.of_host.len(), self.made_of) == (hosts.len(), made_of) {
            return;
        }
        self.made_of = made_of;
        let index = |name: &str| hosts.iter().position(|host| **host == *name);
        self.of_host = vec![None; hosts.len()];
        for (environment, _) in ties() {
            let (Scope::Pair(a, b) | Scope::Link { from: a, to: b }) = &environment.scope else {
                continue;
            };
            let pair = [index(a), index(b)];
            let groups = pair.map(|host| host.and_then(|host| self.of_host[host]));
            let own = pair.iter().flatten().map(|&host| host as u32);
            let Some(first) = groups.into_iter().flatten().chain(own).min() else { continue };
            for group in &mut self.of_host {
                if group.is_some() && groups.contains(group) {
                    *group = Some(first);
                }
            }
            for host in pair.into_iter().flatten() {
                self.of_host[host] = Some(first);
            }
        }
    }
}

/// Where a run is.
pub(crate) fn moment(host: u32, time: Time, step: u64) -> Moment {
    Moment { host, time, step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_make_groups_that_are_called_after_their_first_host() {
        let hosts: Vec<Arc<str>> = ["control", "a", "b", "c", "d", "e", "f"].map(Arc::from).into();
        let at = Time::from_nanos;
        let tie = |a: &str, b: &str, from: u64| {
            let scope = Scope::Pair(a.to_owned(), b.to_owned());
            (Environment { stream: Stream::Ties, scope, from: at(from) }, 0)
        };
        let mut groups = Groups::default();
        let entries = [tie("e", "d", 0), tie("c", "e", 0), tie("b", "nobody", 0), tie("f", "c", 9)];
        let four = Some(3);
        for (now, last) in [(0, None), (8, None), (9, four)] {
            groups.fit(&entries, at(now), &hosts);
            assert_eq!(groups.of_host, [None, None, Some(2), four, four, four, last]);
        }
    }
}
