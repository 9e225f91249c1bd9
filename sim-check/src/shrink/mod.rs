//! Makes a failing plan small: the fewest entries, with the simplest values, that still fail in the
//! same way; and of what the scenario does as little as it takes.
//!
//! A candidate is a plan with something taken out or made simpler. A [`Judge`] runs it and says whether
//! it is still interesting. The passes below go on until none of them finds anything, or a bound is
//! reached: of replays and of events, never of seconds.
//!
//! | pass | what it tries |
//! | --- | --- |
//! | nothing | the plan without any entry: a failure that needs no fault |
//! | alone | one entry and nothing else: what goes wrong after it may hide that it is enough |
//! | spans | without all entries of a kind, of a host, of a flow; then without halves, quarters, .. of what is left, down to single entries (delta debugging: Zeller and Hildebrandt, 2002) |
//! | values | entries that say less: shorter, rounder, at one end instead of both; stops of hosts as early as they can be |
//! | sizes | what [`World::size`](sim_core::World::size) draws: all at their least, each at its least, and what must be larger by bisection |
//! | operations | without all that [`World::ops`](sim_core::World::ops) makes, without halves, quarters, .. of it, down to single ones |
//! | environment | what is left to the seed (the jitter of a link) said packet by packet, if that takes no more entries |
//! | just enough | of times and counts for which nothing round is enough, the least in two digits |
//! | order | entries in the order in which they do what they do, what is about the workload last |
//!
//! A fault less is worth more than any smaller workload. So sizes and operations come when the passes before them find
//! nothing more, and faults once more when they have changed anything. The last three passes make nothing fewer, so they
//! come when all others are through. What a plan says of the workload is no entry that counts: neither before nor after.
//!
//! Candidates of a pass are judged in parallel, and the first in order that is interesting is accepted,
//! whoever was ready first. So any number of threads gives the same plan. What is judged once is
//! remembered. Candidates are made when they are judged: there are as many plans at a time as threads.

mod earlier;
mod environment;
mod order;
mod spans;
#[cfg(test)]
mod tests;
mod trials;
mod values;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sim_core::Time;
use sim_net::plan::{Entry, Environment};
use sim_net::{Census, OfferedWorkload, Plan};

use self::trials::{Key, Make, Trials, key};
use crate::signature::Signature;

/// How many entries are tried alone.
const ALONE_MAX: usize = 1_000;

/// Runs candidates.
pub trait Judge: Sync {
    /// Runs a plan.
    fn judge(&self, plan: &Plan) -> Trial;

    /// What a plan's run has that could be less, or be met by a fault earlier. Nothing by default: then nothing of the
    /// kind is tried.
    fn offered(&self, plan: &Plan) -> Offered {
        let _ = plan;
        Offered::default()
    }

    /// The plan with `environment`, of its entries, said choice by choice: an entry for each packet that took longer. Its
    /// run is the same. `None` by default, and if that cannot be said: then it stays as it is.
    fn split(&self, plan: &Plan, environment: &[Environment]) -> Option<Plan> {
        let _ = (plan, environment);
        None
    }

    /// Hears of a plan that failed in [another way](Trial::otherwise): a bug of its own, as it seems. Only what counts is
    /// told, in the order of the candidates, whatever the number of threads. Nothing is done with it by default.
    fn met(&self, plan: &Plan, otherwise: &Signature) {
        let _ = (plan, otherwise);
    }

    /// True if nobody waits for more: the shrinker ends with what it has, as at a bound, once the plan
    /// that it was given is judged. Never by default.
    fn is_over(&self) -> bool {
        false
    }
}

impl<F: Fn(&Plan) -> Trial + Sync> Judge for F {
    fn judge(&self, plan: &Plan) -> Trial {
        self(plan)
    }
}

/// What came of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trial {
    /// It failed, in the way that is looked for.
    pub interesting: bool,
    /// The entries that bound to nothing, by their place in the plan: they did nothing.
    pub unbound: Vec<usize>,
    /// How many events the run had.
    pub events: u64,
    /// What it failed with, if that is not what is looked for.
    pub otherwise: Option<Signature>,
}

/// What a plan's run has that a smaller plan could have less of, or meet earlier.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offered {
    /// What the scenario asked for of its workload, in order.
    pub workload: Vec<OfferedWorkload>,
    /// When each host did something, by its name and in order: at those moments a fault may meet it.
    pub turns: BTreeMap<String, Vec<Time>>,
    /// When each entry of the plan did what it does, in its order. Without them, entries stand as they stood.
    pub times: Vec<Option<Time>>,
}

impl Offered {
    fn is_empty(&self) -> bool {
        self.workload.is_empty() && self.turns.is_empty() && self.times.is_empty()
    }
}

impl From<&Census> for Offered {
    fn from(census: &Census) -> Self {
        let mut turns: BTreeMap<u32, Vec<Time>> = BTreeMap::new();
        for turn in census.turns() {
            let times = turns.entry(turn.host).or_default();
            if times.last() != Some(&turn.time) {
                times.push(turn.time);
            }
        }
        let named = |(host, times)| (census.host(host).to_string(), times);
        let turns = turns.into_iter().map(named).collect();
        Self { workload: census.workload().to_vec(), turns, times: Vec::new() }
    }
}

/// How much a shrinker may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Replays.
    pub replays: u64,
    /// Events of all replays together.
    pub events: u64,
}

impl Bounds {
    /// What is left of it when so much is done.
    pub(crate) fn without(self, done: Self) -> Self {
        let (replays, events) = (self.replays, self.events);
        Self {
            replays: replays.saturating_sub(done.replays),
            events: events.saturating_sub(done.events),
        }
    }

    /// True if it leaves nothing to be done.
    pub(crate) fn is_none(self) -> bool {
        self.replays == 0 || self.events == 0
    }
}

impl Default for Bounds {
    /// 20 000 replays, 300 million events.
    fn default() -> Self {
        Self { replays: 20_000, events: 300_000_000 }
    }
}

/// What a shrinker made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Shrunk {
    /// The smallest plan that it found; the one that it was given if that is not interesting.
    pub plan: Plan,
    /// How many entries there were before, without those about the workload.
    pub before: usize,
    /// How many replays it took, those alone whose answers counted.
    pub replays: u64,
    /// How many events these had together.
    pub events: u64,
    /// True if nothing more can be taken out, as far as the passes know; false if a bound ended them.
    pub is_minimal: bool,
    /// False if the plan that was given is not interesting itself.
    pub reproduced: bool,
}

impl Shrunk {
    /// What it took.
    pub(crate) fn spent(&self) -> Bounds {
        Bounds { replays: self.replays, events: self.events }
    }

    /// The same, when it took so much more.
    pub(crate) fn and_spent(self, Bounds { replays, events }: Bounds) -> Self {
        Self { replays: self.replays + replays, events: self.events + events, ..self }
    }
}

/// Shrinks `plan` by the answers of `judge`, on `jobs` threads.
///
/// ```
/// use sim_check::shrink::{Bounds, Trial, shrink};
/// use sim_net::Plan;
///
/// let plan: Plan = "crash a 1s for 1s\ncut a b 1.2s..4.2s\ncrash b 9s for 2s\n".parse()?;
/// // It fails whenever b crashes.
/// let judge = |plan: &Plan| Trial {
///     interesting: plan.to_string().contains("crash b"),
///     ..Trial::default()
/// };
/// let shrunk = shrink(&plan, &judge, 1, Bounds::default());
/// assert_eq!(shrunk.plan.entries.len(), 1);
/// # Ok::<(), sim_net::plan::PlanErrors>(())
/// ```
pub fn shrink(plan: &Plan, judge: &dyn Judge, jobs: usize, bounds: Bounds) -> Shrunk {
    shrink_by(plan, judge, jobs, bounds, |shrinker| {
        let reproduced = shrinker.begin();
        if reproduced {
            shrinker.take_out_faults();
            shrinker.run_from_workload();
        }
        reproduced
    })
}

/// Shrinks as [`shrink`] does, but leaves the workload as it is.
pub(crate) fn shrink_faults(plan: &Plan, judge: &dyn Judge, jobs: usize, bounds: Bounds) -> Shrunk {
    shrink_by(plan, judge, jobs, bounds, |shrinker| {
        let reproduced = shrinker.begin();
        if reproduced {
            shrinker.take_out_faults();
        }
        reproduced
    })
}

/// Shrinks what [`shrink_faults`] has made further: the workload, and what that makes possible. The plan is interesting.
pub(crate) fn shrink_workload(
    plan: &Plan,
    judge: &dyn Judge,
    jobs: usize,
    bounds: Bounds,
) -> Shrunk {
    shrink_by(plan, judge, jobs, bounds, |shrinker| {
        shrinker.run_from_workload();
        true
    })
}

fn shrink_by<'a>(
    plan: &Plan,
    judge: &'a dyn Judge,
    jobs: usize,
    bounds: Bounds,
    run: fn(&mut Shrinker<'a>) -> bool,
) -> Shrunk {
    let trials = Trials::new(judge, jobs, bounds);
    let mut shrinker = Shrinker { best: workload_last(plan), was_best: BTreeSet::new(), trials };
    let reproduced = run(&mut shrinker);
    let Shrinker { best, trials, .. } = shrinker;
    Shrunk {
        plan: if reproduced { best } else { plan.clone() },
        before: plan.faults().count(),
        replays: trials.spent().replays,
        events: trials.spent().events,
        is_minimal: reproduced && !trials.is_spent(),
        reproduced,
    }
}

/// The first of `count` plans that is interesting, in their order, and what it took to know. `make` makes them when they
/// are judged.
pub(crate) fn first_interesting(
    count: usize,
    make: &(dyn Fn(usize) -> Plan + Sync),
    judge: &dyn Judge,
    jobs: usize,
    bounds: Bounds,
) -> (Option<usize>, Bounds) {
    let mut trials = Trials::new(judge, jobs, bounds);
    let found = trials.first_interesting(count, make).map(|(index, _)| index);
    (found, trials.spent())
}

struct Shrinker<'a> {
    /// The smallest interesting plan so far. What it says of the workload is behind everything else.
    best: Plan,
    /// What the best plan was before its entries were made simpler: moving one stop moves the turns by which another is
    /// moved, and might go on for ever.
    was_best: BTreeSet<Key>,
    trials: Trials<'a>,
}

impl Shrinker<'_> {
    /// True if the plan is interesting as it is; then it is without what did not bind.
    fn begin(&mut self) -> bool {
        self.try_first(1, &|best, _| best.clone()).is_some()
    }

    /// All passes, when those that leave the workload as it is find nothing more.
    fn run_from_workload(&mut self) {
        loop {
            let before = self.best.clone();
            self.make_workload_smaller();
            // Of a small workload there are few packets.
            if self.best == before && !self.split_environment() {
                self.make_simpler(|shrinker, place| {
                    values::just_enough(&shrinker.best.entries[place])
                });
            }
            if self.trials.is_spent() {
                return;
            }
            if self.best == before {
                return self.put_in_order();
            }
            self.take_out_faults();
        }
    }

    /// All that does not touch the workload.
    fn take_out_faults(&mut self) {
        if self.faults() == 0 || self.try_first(1, &|best, _| with_faults(best, &[])).is_some() {
            return;
        }
        loop {
            let before = self.best.clone();
            self.take_out_spans();
            self.take_out_windows(usize::MAX);
            self.make_simpler(Self::simpler);
            if self.trials.is_spent() {
                return;
            }
            if self.best == before && !self.keep_one() {
                return;
            }
        }
    }

    /// How many entries are not about the workload: they are the first ones.
    fn faults(&self) -> usize {
        self.best.faults().count()
    }

    /// Keeps a single entry, if one is enough. True if it is.
    fn keep_one(&mut self) -> bool {
        let faults = self.faults();
        if faults < 2 {
            return false;
        }
        let alone = |best: &Plan, n: usize| with_faults(best, &best.entries[n..=n]);
        self.try_first(faults.min(ALONE_MAX), &alone).is_some()
    }

    /// Takes out all entries of a kind, of a host, of a flow.
    fn take_out_spans(&mut self) {
        for span in spans::ALL {
            let mut done = 0;
            loop {
                let groups = spans::groups(&self.best.entries[..self.faults()], span);
                // One group is all there is, and without it there is nothing.
                if groups.len() < 2 {
                    break;
                }
                let left = groups.get(done..).unwrap_or_default();
                match self.try_first(left.len(), &|best, n| without(best, &left[n])) {
                    // What was before it is still needed, as far as one can tell for the moment.
                    Some(index) => done += index,
                    None => break,
                }
            }
        }
    }

    /// Takes out halves of what is left, quarters, and so on to single entries; no smaller ones when `most` of a size are
    /// needed and more.
    fn take_out_windows(&mut self, most: usize) {
        let mut size = self.faults().div_ceil(2);
        while size > 0 && self.faults() > 1 {
            let mut done = 0;
            loop {
                let count = self.faults();
                let windows = count.saturating_sub(done).div_ceil(size);
                let begin = done;
                let shorter = |best: &Plan, n: usize| {
                    let start = begin + n * size;
                    without(best, &(start..(start + size).min(count)).collect::<Vec<usize>>())
                };
                match self.try_first(windows, &shorter) {
                    Some(index) => done += index * size,
                    None => break,
                }
            }
            if self.faults().div_ceil(size) > most {
                return;
            }
            size = if size == 1 { 0 } else { size.div_ceil(2).min(size - 1) };
        }
    }

    /// Makes each entry simpler, as far as it goes. `simpler` says of the entry in a place what is, the simplest first.
    fn make_simpler(&mut self, simpler: fn(&mut Self, usize) -> Vec<Entry>) {
        let mut place = 0;
        while place < self.faults() {
            let mut simpler = simpler(self, place);
            let count = self.faults();
            let with = |best: &Plan, entry: &Entry| {
                let mut plan = best.clone();
                plan.entries[place] = entry.clone();
                plan
            };
            let Self { best, was_best, .. } = self;
            was_best.insert(key(best));
            simpler.retain(|entry| !was_best.contains(&key(&with(best, entry))));
            let with = |best: &Plan, n: usize| with(best, &simpler[n]);
            if self.try_first(simpler.len(), &with).is_none() || self.faults() < count {
                place += 1;
            }
        }
    }

    /// Entries that say less than the one in this place, the simplest first.
    fn simpler(&mut self, place: usize) -> Vec<Entry> {
        let Self { best, trials, .. } = self;
        let entry = &best.entries[place];
        let Some((host, _)) = earlier::stop(entry) else { return values::simpler(entry, true) };
        match trials.offered(&without(best, &[place])).turns.get(host) {
            // As early as it can be is worth more than round.
            Some(turns) => [earlier::earlier(entry, turns), values::simpler(entry, false)].concat(),
            None => values::simpler(entry, true),
        }
    }

    /// Makes the first of `count` candidates the best plan that is interesting, without what did not bind
    /// in it if it does without, and says which it was. `make` makes a candidate of the best plan.
    fn try_first(
        &mut self,
        count: usize,
        make: &(dyn Fn(&Plan, usize) -> Plan + Sync),
    ) -> Option<usize> {
        let Self { best, trials, .. } = self;
        let (index, trial) = trials.first_interesting(count, &|index| make(best, index))?;
        *best = make(best, index);
        if !trial.unbound.is_empty() {
            let bound: Make<'_> = &|_| without(best, &trial.unbound);
            if trials.first_interesting(1, bound).is_some() {
                *best = without(best, &trial.unbound);
            }
        }
        Some(index)
    }
}

fn with_entries(plan: &Plan, entries: Vec<Entry>) -> Plan {
    Plan { scenario: plan.scenario.clone(), seed: plan.seed, entries }
}

/// The plan with these entries and what it says of the workload.
fn with_faults(plan: &Plan, faults: &[Entry]) -> Plan {
    let workload = plan.entries.iter().filter(|entry| entry.is_workload());
    with_entries(plan, faults.iter().chain(workload).cloned().collect())
}

/// The plan with what it says of the workload behind everything else, which means the same.
fn workload_last(plan: &Plan) -> Plan {
    with_faults(plan, &plan.faults().cloned().collect::<Vec<Entry>>())
}

/// The plan without the entries in these places, which are in order.
fn without(plan: &Plan, places: &[usize]) -> Plan {
    let mut places = places.iter().peekable();
    let entries = plan.entries.iter().enumerate();
    let kept = entries.filter(|(place, _)| places.next_if(|&out| out == place).is_none());
    with_entries(plan, kept.map(|(_, entry)| entry.clone()).collect())
}

impl fmt::Display for Shrunk {
    /// What was done, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, before, replays, is_minimal, .. } = self;
        let entries = |count: usize| if count == 1 { "entry" } else { "entries" };
        let after = plan.faults().count();
        write!(f, "shrunk from {before} {} to {after} in {replays} replays", entries(*before))?;
        if *is_minimal { Ok(()) } else { f.write_str(" (a bound ended it)") }
    }
}
