//! The runs of a check: in parallel, a world per thread at a time, in an order that does not depend on
//! how many threads there are.
//!
//! Plans of the corpus come first. Then seeds and the single faults of a calm run take turns, until
//! either is used up; so at most half of the runs are single faults. The very first is run before anything else is
//! looked at or started: a check that fails at once is done at once.
//!
//! What came of a run is added up in its turn, as if the runs had been one after the other, and is gone then:
//! a search of a million runs takes no more memory than one of a thousand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sim_net::{Plan, PropertyCount, PropertyId, Report, Sim};

use crate::corpus::Kept;
use crate::determinism;
use crate::jobs;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::single::Singles;
use crate::subject::{Runs, Subject};
use crate::turns::{Cut, Turns};
use crate::verdict::{Failed, Origin, Replayed, Verdict};

/// The first seed is run twice, and one in so many from the second on, and the two runs are held against each other.
const PAIRED: u64 = 16;

/// How often two runs with logs are to say where a seed goes otherwise.
const LOCATED_TRIES: usize = 3;
/// How many seeds are asked, at most, whether a fault that never bit befell one of them.
const ASKED_MAX: u64 = 1_000;

/// What a check runs.
pub(crate) struct Search<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) corpus: &'a [Kept],
    /// Whether there are single faults, beside seeds.
    pub(crate) has_singles: bool,
    /// Those, as soon as they are asked for.
    pub(crate) singles: OnceLock<Singles>,
    /// Ends it as soon as it is true.
    pub(crate) stop: Option<&'a AtomicBool>,
}

/// A run in its turn.
enum Case<'a> {
    Kept(&'a Kept, &'a Plan),
    Seed(u64),
    Single(Plan),
}

/// When a case is run a second time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// If it fails.
    IfItFails,
    /// In any case, without a log: the first run is to be quick.
    ToCompare,
    /// In any case, with the logs of both.
    WithLogs,
}

/// What came of one.
#[derive(Default)]
struct Done {
    is_seed: bool,
    events: u64,
    time: Duration,
    faults: BTreeMap<&'static str, u64>,
    properties: BTreeMap<PropertyId, PropertyCount>,
    /// The plan of the corpus did not find all that it names.
    is_stale: bool,
    /// What its run tells beside that.
    replayed: Option<Replayed>,
    failed: Option<Failed>,
}

/// What the threads share.
struct Shared {
    began: Instant,
    turns: Turns,
}

/// A case and what came of it, if it was one.
type Numbered = (u64, Option<Done>);

/// What a thread has run and not told yet. To tell wakes another thread, which costs as much as a short case.
struct Unsent<'a> {
    results: &'a mpsc::Sender<Vec<Numbered>>,
    cases: Vec<Numbered>,
    since: Instant,
}

/// At the end of a case that so much time has passed since it told the last, a thread tells what it has run; sooner if the
/// case has failed, or it must wait.
const SEND_AFTER: Duration = Duration::from_millis(5);

impl Unsent<'_> {
    fn send(&mut self) {
        self.since = Instant::now();
        if self.cases.is_empty() {
            return;
        }
        let cases = std::mem::take(&mut self.cases);
        // If nobody receives, the check has panicked, and hands out no more cases.
        let _ = self.results.send(cases);
    }
}

/// A thread that runs cases or gathers them; when it leaves, also by a panic, nobody waits for it.
struct Worker<'a>(&'a Turns);

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Adds up what came of the cases, as if they had been run one after the other.
struct Gathering<'a> {
    search: &'a Search<'a>,
    verdict: Verdict,
    /// How many single faults there were.
    singles: usize,
    /// The case whose turn it is.
    next: u64,
    /// What came of cases that were done before their turn; nothing of those that are no plans.
    early: BTreeMap<u64, Option<Done>>,
    /// It has ended with a failure: what comes behind counts for nothing.
    is_over: bool,
}

impl<'a> Gathering<'a> {
    fn new(search: &'a Search<'a>, name: &str) -> Self {
        let verdict = Verdict::new(name);
        Self { search, verdict, singles: 0, next: 0, early: BTreeMap::new(), is_over: false }
    }

    /// Takes what came of a case, and adds it when all before it are there.
    fn take(&mut self, index: u64, done: Option<Done>) {
        self.early.insert(index, done);
        while let Some(done) = self.early.remove(&self.next) {
            if let Some(done) = done.filter(|_| !self.is_over) {
                self.add(done);
            }
            self.next += 1;
        }
    }

    /// Adds the case whose turn it is.
    fn add(&mut self, case: Done) {
        let Self { search, verdict, .. } = self;
        if let Some(kept) = search.corpus.get(self.next as usize) {
            verdict.corpus.replayed += 1;
            if case.is_stale && case.failed.is_none() {
                verdict.corpus.stale.push(kept.path.clone());
            }
        } else if case.is_seed {
            verdict.seeds += 1;
        } else {
            self.singles += 1;
        }
        verdict.add(case.events, case.time, &case.faults, &case.properties);
        if let Some(failed) = case.failed {
            verdict.fail(failed);
            self.is_over = search.settings.stop_at_first;
        }
    }

    fn verdict(mut self, began: Instant, cut: Option<Cut>) -> Verdict {
        for kept in self.search.corpus {
            if let Err(error) = &kept.plan {
                self.verdict.corpus.unreadable.push((kept.path.clone(), error.clone()));
            }
        }
        let Search { subject, settings, .. } = self.search;
        let seeds = (0..self.verdict.seeds.min(ASKED_MAX))
            .map(|number| settings.first_seed.wrapping_add(number));
        for counter in subject.counters(seeds) {
            self.verdict.faults.entry(counter).or_default();
        }
        let known = self.search.singles.get();
        self.verdict.coverage = known.map(|all| all.coverage(self.singles)).unwrap_or_default();
        self.verdict.wall = began.elapsed();
        self.verdict.cut_short = cut.is_some();
        self.verdict.interrupted = cut == Some(Cut::Told);
        self.verdict
    }
}

impl<'a> Search<'a> {
    fn singles(&self) -> &Singles {
        let look = || self.subject.singles(self.settings.first_seed);
        self.singles.get_or_init(|| if self.has_singles { look() } else { Singles::default() })
    }

    /// How many single faults take turns with seeds.
    fn singles_in_turn(&self) -> u64 {
        (self.singles().len() as u64).min(self.settings.seeds)
    }

    fn total(&self) -> u64 {
        self.known_total().saturating_add(self.singles_in_turn())
    }

    /// How many cases there are beside single faults.
    fn known_total(&self) -> u64 {
        self.settings.seeds.saturating_add(self.corpus.len() as u64)
    }

    /// The case with a number; `None` for a file of the corpus that is no plan.
    fn case(&self, index: u64) -> Option<Case<'a>> {
        let kept = self.corpus.len() as u64;
        let Some(index) = index.checked_sub(kept) else {
            let kept = &self.corpus[index as usize];
            return kept.plan.as_ref().ok().map(|plan| Case::Kept(kept, plan));
        };
        let seed = |number: u64| Case::Seed(self.settings.first_seed.wrapping_add(number));
        if index == 0 {
            return Some(seed(0));
        }
        let singles = self.singles_in_turn();
        Some(if index >= singles.saturating_mul(2) {
            seed(index - singles)
        } else if index.is_multiple_of(2) {
            seed(index / 2)
        } else {
            Case::Single(self.singles().plan((index / 2) as usize))
        })
    }

    /// Runs everything, and gathers what was found, the first case first.
    pub(crate) fn run(&self, name: &str) -> Verdict {
        let began = Instant::now();
        let mut gathering = Gathering::new(self, name);
        // Up to the first that is a run: there is no verdict without one.
        let runs = Runs::default();
        while gathering.next < self.known_total() {
            let done = self.run_case_number(gathering.next, &runs);
            let has_run = done.is_some();
            gathering.take(gathering.next, done);
            if has_run {
                break;
            }
        }
        drop(runs);
        let cut = if gathering.is_over { None } else { self.run_rest(began, &mut gathering) };
        let cut = cut.filter(|_| !gathering.is_over);
        gathering.verdict(began, cut)
    }

    /// Runs all that is left. Says why it ended before the last, if it did.
    fn run_rest(&self, began: Instant, gathering: &mut Gathering<'_>) -> Option<Cut> {
        // What single faults there are takes runs to know.
        let may_be_more = gathering.next < self.known_total() || self.has_singles;
        let cut = self.reason_to_end(began).filter(|_| may_be_more);
        if cut.is_some() || !may_be_more {
            return cut;
        }
        let total = self.total();
        let shared = Shared { began, turns: Turns::new(gathering.next, total) };
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..self.settings.threads_for(total - gathering.next) {
                let (send, shared) = (send.clone(), &shared);
                let work = move || self.work(shared, &send);
                jobs::spawn(scope, format!("sim-check-{number}"), work);
            }
            drop(send);
            let _gatherer = Worker(&shared.turns);
            let mut bar = Progress::new(self.settings.progress, &gathering.verdict.name, total);
            bar.inc(gathering.next);
            for results in receive {
                bar.inc(results.len() as u64);
                results.into_iter().for_each(|(index, done)| gathering.take(index, done));
                shared.turns.gathered(gathering.next);
            }
            bar.finish();
        });
        shared.turns.cut()
    }

    /// Runs the one plan of its corpus and nothing else, and keeps what that run tells of it.
    pub(crate) fn replay(&self, name: &str) -> Verdict {
        let began = Instant::now();
        let mut gathering = Gathering::new(self, name);
        let mut done = self.run_case_number(0, &Runs::default());
        gathering.verdict.replayed = done.as_mut().and_then(|done| done.replayed.take());
        gathering.take(0, done);
        gathering.verdict(began, None)
    }

    fn work(&self, shared: &Shared, results: &mpsc::Sender<Vec<Numbered>>) {
        let _worker = Worker(&shared.turns);
        let runs = Runs::default();
        let mut unsent = Unsent { results, cases: Vec::new(), since: Instant::now() };
        while let Some(index) =
            shared.turns.take(|| unsent.send(), || self.reason_to_end(shared.began))
        {
            let done = self.run_case_number(index, &runs);
            let has_failed = done.as_ref().is_some_and(|done| done.failed.is_some());
            // Cases are taken in order, so those before one that failed are all running or done.
            if has_failed && self.settings.stop_at_first {
                shared.turns.end_with(index);
            }
            unsent.cases.push((index, done));
            if has_failed || unsent.since.elapsed() >= SEND_AFTER {
                unsent.send();
            }
        }
        unsent.send();
    }

    fn run_case_number(&self, index: u64, runs: &Runs) -> Option<Done> {
        self.case(index).map(|case| self.run_case(&case, runs))
    }

    /// Why no further case is to be run, if there is a reason.
    fn reason_to_end(&self, began: Instant) -> Option<Cut> {
        if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Some(Cut::Told);
        }
        let spent = |budget| began.elapsed() >= budget;
        self.settings.budget.is_some_and(spent).then_some(Cut::Budget)
    }

    fn run_case(&self, case: &Case<'_>, runs: &Runs) -> Done {
        let (sim, origin) = match case {
            Case::Seed(seed) => (Ok(self.subject.simulation(*seed)), Origin::Seed(*seed)),
            Case::Single(plan) => {
                let is_calm = self.singles().calm_fails();
                let origin = if is_calm { Origin::Calm } else { Origin::Single };
                (self.subject.replay(plan), origin(plan.clone()))
            }
            Case::Kept(kept, plan) => {
                let sim = self.subject.replay(plan).map(|sim| sim.trace(self.settings.trace));
                (sim, Origin::Kept(kept.path.clone(), (*plan).clone()))
            }
        };
        let is_seed = matches!(case, Case::Seed(_));
        let again = match case {
            Case::Seed(seed) => match seed.wrapping_sub(self.settings.first_seed) {
                0 => Again::ToCompare,
                number if number % PAIRED == 1 => Again::WithLogs,
                _ => Again::IfItFails,
            },
            Case::Single(_) | Case::Kept(..) => Again::IfItFails,
        };
        match sim {
            Ok(sim) => Done { is_seed, ..self.run_twice(&sim, origin, again, runs) },
            // A plan that says what no run can carry out binds to nothing.
            Err(_) => Done { is_seed, is_stale: true, ..Done::default() },
        }
    }

    /// Runs a case; twice if it fails, or is one of those that are held to be repeatable.
    fn run_twice(&self, sim: &Sim, origin: Origin, again: Again, runs: &Runs) -> Done {
        let kept;
        let sim = if again == Again::WithLogs {
            kept = sim.clone().trace_first(determinism::RECORDS_MAX);
            &kept
        } else {
            sim
        };
        let ran = self.subject.run(sim, runs);
        let run_again = again != Again::IfItFails || ran.report.outcome.is_err();
        let second = run_again.then(|| determinism::run_elsewhere(self.subject, sim));
        let mut failed = None;
        let differs = second.as_ref().is_some_and(|second| {
            // The last line of a scenario leaves no record of how it ended.
            let ends_otherwise = second.signature() != ran.signature();
            second.report.hash != ran.report.hash || ends_otherwise
        });
        if differs && again == Again::ToCompare && ran.report.outcome.is_ok() {
            // Two more runs say where they part, unless these happen to be alike.
            for _ in 0..LOCATED_TRIES {
                let located = self.run_twice(sim, origin.clone(), Again::WithLogs, runs);
                if located.failed.is_some() {
                    return located;
                }
            }
        }
        let is_kept = matches!(origin, Origin::Kept(..));
        if differs || ran.report.outcome.is_err() {
            let second = second.filter(|_| differs);
            failed = Some(Failed::new(origin, &ran, second.as_ref()));
        }
        let hosts = is_kept.then(|| ran.report.hosts().map(str::to_owned).collect());
        let Report { events, time, faults, properties, bindings, log, .. } = ran.report;
        Done {
            is_seed: false,
            events,
            time: time.since_epoch(),
            faults,
            properties,
            is_stale: bindings.bound() < bindings.len(),
            replayed: hosts.map(|hosts| Replayed { bindings, hosts, log }),
            failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::World;

    use super::*;
    use crate::profile::Profile;
    use crate::subject::erased;

    #[test]
    fn what_is_done_before_its_turn_waits_for_it() {
        let nothing_happens = |_: World| async {};
        let (run, profile) = (erased(&nothing_happens), Profile::calm());
        let search = Search {
            settings: &Settings::default(),
            subject: &Subject::new(&Sim::new, &profile, &run),
            corpus: &[],
            has_singles: false,
            singles: OnceLock::new(),
            stop: None,
        };
        let mut gathering = Gathering::new(&search, "nothing");
        for (index, gathered) in [(2, 0), (0, 1), (3, 1), (1, 4)] {
            gathering.take(index, Some(Done { is_seed: true, ..Done::default() }));
            assert_eq!((gathering.next, gathering.verdict.seeds), (gathered, gathered));
        }
        assert!(gathering.early.is_empty());
    }
}
