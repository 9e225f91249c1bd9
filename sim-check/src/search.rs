//! The runs of a check: in parallel, a world per thread at a time, in an order that does not depend on
//! how many threads there are.
//!
//! Plans of the corpus come first. Then seeds and the single faults of a calm run take turns, until
//! either is used up; so at most half of the runs are single faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sim_net::{Plan, PropertyCount, Sim};

use crate::corpus::Kept;
use crate::determinism;
use crate::settings::Settings;
use crate::single::Singles;
use crate::subject::{Ran, Runs, Subject};
use crate::verdict::{Failed, Origin, Verdict};

/// One in so many seeds is run twice, and the two runs are held against each other.
const PAIRED: u64 = 16;

/// What a check runs.
pub(crate) struct Search<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) corpus: &'a [Kept],
    pub(crate) singles: &'a Singles,
}

/// A run in its turn.
enum Case<'a> {
    Kept(&'a Kept, &'a Plan),
    Seed(u64),
    Single(Plan),
}

/// What came of one.
struct Done {
    index: u64,
    is_seed: bool,
    events: u64,
    time: Duration,
    faults: BTreeMap<&'static str, u64>,
    properties: BTreeMap<&'static str, PropertyCount>,
    /// The plan of the corpus did not find all that it names.
    is_stale: bool,
    failed: Option<Failed>,
}

/// What the threads share.
struct Shared {
    began: Instant,
    next: AtomicU64,
    /// The first case that failed so far; `u64::MAX` for none.
    first_failed: AtomicU64,
    cut_short: AtomicBool,
}

impl<'a> Search<'a> {
    /// How many single faults take turns with seeds.
    fn singles_in_turn(&self) -> u64 {
        (self.singles.len() as u64).min(self.settings.seeds)
    }

    fn total(&self) -> u64 {
        let seeds = self.settings.seeds.saturating_add(self.singles_in_turn());
        seeds.saturating_add(self.corpus.len() as u64)
    }

    /// The case with a number; `None` for a file of the corpus that is no plan.
    fn case(&self, index: u64) -> Option<Case<'a>> {
        let kept = self.corpus.len() as u64;
        let Some(index) = index.checked_sub(kept) else {
            let kept = &self.corpus[index as usize];
            return kept.plan.as_ref().ok().map(|plan| Case::Kept(kept, plan));
        };
        let singles = self.singles_in_turn();
        let seed = |number: u64| Case::Seed(self.settings.first_seed.wrapping_add(number));
        Some(if index >= singles.saturating_mul(2) {
            seed(index - singles)
        } else if index.is_multiple_of(2) {
            seed(index / 2)
        } else {
            Case::Single(self.singles.plan((index / 2) as usize))
        })
    }

    /// Runs everything, and gathers what was found, the first case first.
    pub(crate) fn run(&self, name: &str) -> Verdict {
        let shared = Shared {
            began: Instant::now(),
            next: AtomicU64::new(0),
            first_failed: AtomicU64::new(u64::MAX),
            cut_short: AtomicBool::new(false),
        };
        let mut verdict = Verdict::new(name);
        let mut done = Vec::new();
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..self.settings.threads_for(self.total()) {
                let (send, shared) = (send.clone(), &shared);
                let thread = thread::Builder::new().name(format!("sim-check-{number}"));
                let work = move || self.work(shared, &send);
                thread.spawn_scoped(scope, work).expect("the system starts a thread");
            }
            drop(send);
            let bar = self.progress_bar(name);
            for case in receive {
                bar.inc(1);
                done.push(case);
            }
            bar.finish_and_clear();
        });
        let singles = self.gather(&mut verdict, done);
        verdict.coverage = self.singles.coverage(singles);
        verdict.wall = shared.began.elapsed();
        verdict.cut_short = shared.cut_short.into_inner();
        verdict
    }

    /// Adds up what came of the cases, as if they had been run one after the other; says how many single
    /// faults there were.
    fn gather(&self, verdict: &mut Verdict, mut done: Vec<Done>) -> usize {
        done.sort_by_key(|case| case.index);
        let first = self.corpus.len() as u64;
        let mut singles = 0;
        for case in done {
            if case.index < first {
                let path = &self.corpus[case.index as usize].path;
                verdict.corpus.replayed += 1;
                if case.is_stale && case.failed.is_none() {
                    verdict.corpus.stale.push(path.clone());
                }
            } else if case.is_seed {
                verdict.seeds += 1;
            } else {
                singles += 1;
            }
            verdict.add(case.events, case.time, &case.faults, &case.properties);
            let stops = case.failed.is_some() && self.settings.stop_at_first;
            verdict.failures.extend(case.failed);
            if stops {
                break;
            }
        }
        for kept in self.corpus {
            if let Err(error) = &kept.plan {
                verdict.corpus.unreadable.push((kept.path.clone(), error.clone()));
            }
        }
        singles
    }

    fn work(&self, shared: &Shared, results: &mpsc::Sender<Done>) {
        let runs = Runs::begin();
        while let Some(index) = self.take(shared) {
            let Some(case) = self.case(index) else { continue };
            let done = self.run_case(index, &case, &runs);
            if done.failed.is_some() {
                shared.first_failed.fetch_min(index, Ordering::Relaxed);
            }
            if results.send(done).is_err() {
                return;
            }
        }
    }

    /// The number of the next case to run; `None` when there is none left to run.
    fn take(&self, shared: &Shared) -> Option<u64> {
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.total() {
            return None;
        }
        // No verdict without a run: the first is free.
        let spent = |budget| index > 0 && shared.began.elapsed() >= budget;
        if self.settings.budget.is_some_and(spent) {
            shared.cut_short.store(true, Ordering::Relaxed);
            return None;
        }
        // Cases are taken in order, so those before one that failed are all running or done.
        let failed = shared.first_failed.load(Ordering::Relaxed) < index;
        (!failed || !self.settings.stop_at_first).then_some(index)
    }

    fn run_case(&self, index: u64, case: &Case<'_>, runs: &Runs) -> Done {
        let (sim, origin) = match case {
            Case::Seed(seed) => (Ok(self.subject.simulation(*seed)), Origin::Seed(*seed)),
            Case::Single(plan) => (self.subject.replay(plan), Origin::Single(plan.clone())),
            Case::Kept(kept, plan) => {
                (self.subject.replay(plan), Origin::Kept(kept.path.clone(), (*plan).clone()))
            }
        };
        let is_seed = matches!(case, Case::Seed(_));
        match sim {
            Ok(sim) => {
                let paired = match case {
                    Case::Seed(seed) => {
                        *seed == self.settings.first_seed || seed.is_multiple_of(PAIRED)
                    }
                    Case::Single(_) | Case::Kept(..) => false,
                };
                Done { index, is_seed, ..self.run_twice(&sim, origin, paired, runs) }
            }
            // A plan that says what no run can carry out binds to nothing.
            Err(_) => Done {
                index,
                is_seed,
                events: 0,
                time: Duration::ZERO,
                faults: BTreeMap::new(),
                properties: BTreeMap::new(),
                is_stale: true,
                failed: None,
            },
        }
    }

    /// Runs a case; twice if it fails, or is one of those that are held to be repeatable.
    fn run_twice(&self, sim: &Sim, origin: Origin, paired: bool, runs: &Runs) -> Done {
        let kept;
        let sim = if paired {
            kept = sim.clone().trace_first(determinism::RECORDS_MAX);
            &kept
        } else {
            sim
        };
        let ran = self.subject.run(sim, runs);
        let again = (paired || ran.report.outcome.is_err())
            .then(|| determinism::run_elsewhere(self.subject, sim));
        let mut failed = None;
        let differs = again.as_ref().is_some_and(|again| {
            // The last line of a scenario leaves no record of how it ended.
            let ends_otherwise = again.signature() != ran.signature();
            again.report.hash != ran.report.hash || ends_otherwise
        });
        if differs || ran.report.outcome.is_err() {
            let again = again.filter(|_| differs);
            failed = Some(Failed::new(origin, &ran, again.as_ref()));
        }
        let Ran { report, .. } = ran;
        Done {
            index: 0,
            is_seed: false,
            events: report.events,
            time: report.time.since_epoch(),
            faults: report.faults,
            properties: report.properties,
            is_stale: report.bindings.bound() < report.bindings.len(),
            failed,
        }
    }

    fn progress_bar(&self, name: &str) -> ProgressBar {
        if !self.settings.progress {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} runs, {eta} left");
        let bar = ProgressBar::new(self.total()).with_message(name.to_owned());
        bar.with_style(style.expect("the template is well-formed"))
    }
}
