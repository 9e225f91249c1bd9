//! What a check found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sim_core::Time;
use sim_core::property::PropertyKind;
use sim_net::{Bindings, Log, Plan, PropertyCount, PropertyId};

use crate::determinism::first_difference;
use crate::explain::Explanation;
use crate::signature::Signature;
use crate::single::Coverage;
use crate::subject::Ran;

/// From how many seeds on what must happen sometimes is missed, and a fault that never bites is odd.
const SOMETIMES_FROM: u64 = 100;
/// So many failures are kept, the first ones,
pub(crate) const FAILURES_KEPT: usize = 100;
/// and behind them so many that are the first of their signature.
pub(crate) const KINDS_KEPT: usize = 100;

/// What a check found, and what a green one is worth.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// The check's name.
    pub name: String,
    /// How many seeds ran.
    pub seeds: u64,
    /// How much of what single faults could do was tried, by family.
    pub coverage: Vec<Coverage>,
    /// What came of the plans that were kept from earlier failures.
    pub corpus: CorpusVerdict,
    /// The runs that failed, the first first; only that one if the check was to stop there. Of more than a
    /// hundred these are the first hundred, and behind them the first of each further signature, up to a
    /// hundred of those. [`failed`](Self::failed) counts the others, too.
    pub failures: Vec<Failed>,
    /// How many runs failed.
    pub failed: u64,
    /// What the first failure comes down to, if it was looked into.
    pub explanation: Option<Explanation>,
    /// Why it was not, if it was tried.
    pub unexplained: Option<String>,
    /// What failed in ways of their own while the first failure was made small: bugs that no run of the check found, as it
    /// seems, one plan each. With a corpus these are [kept](Origin::Kept), too. None, if a twin says what the bug is.
    pub met: Vec<Failed>,
    /// What the first few further kinds of failures come down to, a small plan each. With a corpus these are
    /// [kept](Origin::Kept), too.
    pub others: Vec<Failed>,
    /// Where the plan of a new failure was kept, or why it was not; `None` without a corpus.
    pub kept: Option<Result<PathBuf, String>>,
    /// How many records the runs had together.
    pub events: u64,
    /// How much virtual time passed in all runs together.
    pub time: Duration,
    /// How often each fault bit in all runs together, by its name; 0 for one that could have and
    /// never did.
    pub faults: BTreeMap<&'static str, u64>,
    /// The properties that code came by in all runs together, by their names and kinds.
    pub properties: BTreeMap<PropertyId, PropertyCount>,
    /// What should have happened sometimes and never did, in a hundred seeds at least. Nothing, if the check was
    /// [interrupted](Self::interrupted).
    pub missed: Vec<String>,
    /// How long it took.
    pub wall: Duration,
    /// True if its budget, or somebody who told it to stop, ended it before its last run.
    pub cut_short: bool,
    /// True if that was somebody, or if somebody ended the shrinking: see
    /// [`Check::stop_flag`](crate::Check::stop_flag).
    pub interrupted: bool,
    /// What came of the one plan that was run instead of everything else: of [`Check::replay`](crate::Check::replay)
    /// and its siblings.
    pub replayed: Option<Replayed>,
}

/// What came of a plan that was replayed, beside what its check found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replayed {
    /// Which of its entries found what they are about.
    pub bindings: Bindings,
    /// The hosts of its world, in the order in which they were made.
    pub hosts: Vec<String>,
    /// Every record of its run, if [`Check::trace`](crate::Check::trace) asked for them.
    pub log: Option<Log>,
}

/// What came of the plans of a corpus.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CorpusVerdict {
    /// How many were run.
    pub replayed: u64,
    /// Those that passed and did not find all that they name: the code around them has changed.
    pub stale: Vec<PathBuf>,
    /// Files that are no plans, with what is wrong with them. They were passed over.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl CorpusVerdict {
    /// True if all its files are plans that find what they name.
    pub fn is_sound(&self) -> bool {
        self.stale.is_empty() && self.unreadable.is_empty()
    }
}

/// What was run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// A seed.
    Seed(u64),
    /// A single fault in a calm run.
    Single(Plan),
    /// The calm run itself, under what the check's own simulations plan.
    Calm(Plan),
    /// A plan that was kept, with its file.
    Kept(PathBuf, Plan),
    /// A plan that was tried while a failure was made small.
    Tried(Plan),
}

impl Origin {
    /// The seed of everything that is left to one.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Seed(seed) => *seed,
            Self::Single(plan) | Self::Calm(plan) | Self::Kept(_, plan) | Self::Tried(plan) => {
                plan.seed.unwrap_or_default()
            }
        }
    }

    /// The plan, if it was one.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Seed(_) => None,
            Self::Single(plan) | Self::Calm(plan) | Self::Kept(_, plan) | Self::Tried(plan) => {
                Some(plan)
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed) => write!(f, "seed {seed}"),
            // What the check's simulations have themselves comes before it.
            Self::Single(plan) => match plan.entries.last() {
                Some(fault) => write!(f, "seed {} and nothing but {fault}", self.seed()),
                None => write!(f, "seed {} and no fault", self.seed()),
            },
            Self::Calm(plan) if plan.entries.is_empty() => {
                write!(f, "seed {} and no fault", self.seed())
            }
            Self::Calm(_) => write!(f, "seed {} and no fault but its own plan", self.seed()),
            Self::Kept(path, _) => write!(f, "the plan {}", path.display()),
            Self::Tried(plan) => {
                let (seed, count) = (self.seed(), plan.entries.len());
                write!(
                    f,
                    "seed {seed} and {count} {}",
                    if count == 1 { "entry" } else { "entries" }
                )
            }
        }
    }
}

/// A run that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// What was run.
    pub origin: Origin,
    /// What failed, in a line: the scenario's error, or the panic or the property with its place.
    pub error: String,
    /// What it is known by: failures of one signature found one thing.
    pub signature: Signature,
    /// The host on which it happened.
    pub host: String,
    /// The virtual time: of a property whose panic was taken, before the end of the run.
    pub time: Time,
    /// The run's trace hash.
    pub hash: u64,
    /// The last records of the run, a line each.
    pub tail: String,
    /// Where a second run of the same went differently, if one did: then no other line here can be trusted.
    pub difference: Option<String>,
}

impl Failed {
    /// A run that failed, or that went differently when it was run `again`.
    pub(crate) fn new(origin: Origin, ran: &Ran, again: Option<&Ran>) -> Self {
        let report = &ran.report;
        let difference = again.map(|again| {
            let logs = report.log.as_ref().zip(again.report.log.as_ref());
            logs.and_then(|(one, other)| first_difference(one, other)).unwrap_or_else(|| {
                if report.hash != again.report.hash {
                    return format!(
                        "trace hashes {:016x} and {:016x}",
                        report.hash, again.report.hash
                    );
                }
                let told = |ran: &Ran| match ran.report.finding() {
                    Some(finding) => finding.message.clone(),
                    None => "it succeeds".to_owned(),
                };
                format!("- {}\n+ {}", told(ran), told(again))
            })
        });
        let error = match report.finding() {
            Some(finding) => {
                let place = ran.place.as_ref().map(|place| format!(", at {place}"));
                format!("{}{}", finding.message, place.unwrap_or_default())
            }
            None => "two runs of the same differ".to_owned(),
        };
        let nondeterminism = Signature::nondeterminism();
        Self {
            origin,
            error,
            signature: if again.is_some() { None } else { ran.signature() }
                .unwrap_or(nondeterminism),
            host: report.finding().map_or("control", |finding| &finding.host).to_owned(),
            time: report.finding().map_or(report.time, |finding| finding.time),
            hash: report.hash,
            tail: report.tail.to_string(),
            difference,
        }
    }

    /// A run of what has failed before: it is not deterministic, unless it fails in the same way.
    pub(crate) fn once_more(origin: Origin, ran: &Ran, before: &Signature) -> Self {
        let now = ran.signature();
        let mut failed = Self::new(origin, ran, None);
        if now.as_ref() != Some(before) {
            let told = now.map_or("it succeeds".to_owned(), |now| now.to_string());
            failed.difference = Some(format!("- {before}\n+ {told}"));
            failed.signature = Signature::nondeterminism();
        }
        failed
    }

    /// The seed of everything that is left to one.
    pub fn seed(&self) -> u64 {
        self.origin.seed()
    }

    /// False if a second run of the same went differently.
    pub fn is_deterministic(&self) -> bool {
        self.difference.is_none()
    }
}

impl Verdict {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seeds: 0,
            coverage: Vec::new(),
            corpus: CorpusVerdict::default(),
            failures: Vec::new(),
            failed: 0,
            explanation: None,
            unexplained: None,
            met: Vec::new(),
            others: Vec::new(),
            kept: None,
            events: 0,
            time: Duration::ZERO,
            faults: BTreeMap::new(),
            properties: BTreeMap::new(),
            missed: Vec::new(),
            wall: Duration::ZERO,
            cut_short: false,
            interrupted: false,
            replayed: None,
        }
    }

    /// Adds a run that failed, behind those before it.
    pub(crate) fn fail(&mut self, failed: Failed) {
        self.failed += 1;
        let is_new = || self.failures.iter().all(|known| known.signature != failed.signature);
        let kept = self.failures.len();
        if kept < FAILURES_KEPT || kept < FAILURES_KEPT + KINDS_KEPT && is_new() {
            self.failures.push(failed);
        }
    }

    /// True if there may be further kinds of failures among those that are not kept.
    pub(crate) fn may_miss_kinds(&self) -> bool {
        self.failures.len() == FAILURES_KEPT + KINDS_KEPT
    }

    /// Adds a run to what all runs did together.
    pub(crate) fn add(
        &mut self,
        events: u64,
        time: Duration,
        faults: &BTreeMap<&'static str, u64>,
        properties: &BTreeMap<PropertyId, PropertyCount>,
    ) {
        for (name, count) in faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (&property, count) in properties {
            let sum = self.properties.entry(property).or_default();
            sum.held += count.held;
            sum.failed += count.failed;
        }
        self.events += events;
        self.time = self.time.saturating_add(time);
    }

    /// Notes which of the things that should happen sometimes never did, if there were runs enough to
    /// expect them. Those of a search that somebody stopped are not: it may have been on its way there. A
    /// budget is part of what the check asks for.
    pub(crate) fn miss(&mut self, wanted: &[String]) {
        if self.seeds < SOMETIMES_FROM || self.interrupted || !self.failures.is_empty() {
            return;
        }
        // A claim that must hold is none of these, whatever its name.
        let happened = |name: &String| {
            self.properties.iter().any(|(&(known, kind), count)| {
                let may = matches!(kind, PropertyKind::Sometimes | PropertyKind::Reachable);
                may && known == name && count.held > 0
            })
        };
        self.missed = wanted.iter().filter(|name| !happened(name)).cloned().collect();
    }

    /// True when no run failed, and nothing was missed that should have happened.
    pub fn is_green(&self) -> bool {
        self.failures.is_empty() && self.missed.is_empty()
    }

    /// True if there were faults that could have bitten, and none ever did in a hundred seeds: it is worth no more than a
    /// calm check.
    pub fn is_idle(&self) -> bool {
        self.seeds >= SOMETIMES_FROM
            && !self.faults.is_empty()
            && self.faults.values().all(|&count| count == 0)
    }

    /// The faults that could have bitten and never did.
    pub fn idle_faults(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.faults.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_missed_unless_somebody_stopped_the_search() {
        let missed = |seeds: u64, cut_short: bool, interrupted: bool| {
            let mut verdict = Verdict { seeds, cut_short, interrupted, ..Verdict::new("luck") };
            verdict.miss(&["a lucky seven".to_owned()]);
            assert_eq!(verdict.is_green(), verdict.missed.is_empty());
            verdict.to_string().lines().next().expect("it says something").to_owned()
        };
        let told = "luck: never happened in 100 seeds";
        assert_eq!(missed(100, false, false), format!("{told}: a lucky seven"));
        let cut = format!("{told}, cut short by its budget: a lucky seven");
        assert_eq!(missed(100, true, false), cut);
        for (seeds, cut_short, interrupted) in [(99, true, false), (100, true, true)] {
            let told = missed(seeds, cut_short, interrupted);
            assert!(told.contains("green") && told.contains("cut short"), "{told}");
        }
    }
}
