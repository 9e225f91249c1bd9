//! The seeds of a check, in parallel: a world per thread at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::settings::Settings;
use crate::subject::{self, Runs, Subject};
use crate::verdict::{Failed, Verdict};

/// One in so many seeds is run twice, and its two hashes compared.
const PAIRED: u64 = 16;

/// What came of one seed.
struct Ran {
    events: u64,
    time: Duration,
    faults: BTreeMap<&'static str, u64>,
    failed: Option<Failed>,
}

/// What the threads of a sweep share.
struct Shared<'a> {
    settings: &'a Settings,
    began: Instant,
    next: AtomicU64,
    /// The lowest seed that failed so far, counted from the first; `u64::MAX` for none.
    lowest_failed: AtomicU64,
    cut_short: AtomicBool,
}

impl Shared<'_> {
    /// The next seed to run, counted from the first; `None` when there is none left to run.
    fn take(&self) -> Option<u64> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.settings.seeds {
            return None;
        }
        // No verdict without a run: the first seed is free.
        let spent = |budget| index > 0 && self.began.elapsed() >= budget;
        if self.settings.budget.is_some_and(spent) {
            self.cut_short.store(true, Ordering::Relaxed);
            return None;
        }
        // Seeds are taken in order, so those below a failed one are all running or done.
        let failed = self.lowest_failed.load(Ordering::Relaxed) < index;
        (!failed || !self.settings.stop_at_first).then_some(index)
    }
}

/// Runs every seed and gathers what was found, lowest seed first.
pub(crate) fn sweep(name: &str, settings: &Settings, subject: &Subject<'_>) -> Verdict {
    let shared = Shared {
        settings,
        began: Instant::now(),
        next: AtomicU64::new(0),
        lowest_failed: AtomicU64::new(u64::MAX),
        cut_short: AtomicBool::new(false),
    };
    let mut verdict = Verdict::new(name);
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..settings.threads() {
            let (send, shared) = (send.clone(), &shared);
            let work = move || run_seeds(shared, subject, &send);
            let thread = thread::Builder::new().name(format!("sim-check-{number}"));
            thread.spawn_scoped(scope, work).expect("the system starts a thread");
        }
        drop(send);
        let bar = progress_bar(name, settings);
        for ran in receive {
            bar.inc(1);
            verdict.add(ran.events, ran.time, &ran.faults, ran.failed);
        }
        bar.finish_and_clear();
    });
    verdict.finish(shared.began.elapsed(), shared.cut_short.into_inner(), settings.stop_at_first);
    verdict
}

fn run_seeds(shared: &Shared<'_>, subject: &Subject<'_>, results: &mpsc::Sender<Ran>) {
    let runs = Runs::begin();
    while let Some(index) = shared.take() {
        let seed = shared.settings.first_seed.wrapping_add(index);
        let ran = run_seed(seed, &runs, subject);
        if ran.failed.is_some() {
            shared.lowest_failed.fetch_min(index, Ordering::Relaxed);
        }
        if results.send(ran).is_err() {
            return;
        }
    }
}

/// Runs one seed; twice if it fails, or is one of those that are held to their hash.
fn run_seed(seed: u64, runs: &Runs, subject: &Subject<'_>) -> Ran {
    let sim = subject.simulation(seed);
    let subject::Ran { report: first, place } = subject.run(&sim, runs);
    let (events, time) = (first.events, first.time.since_epoch());
    let faults = first.faults;
    let paired = seed.is_multiple_of(PAIRED) || first.outcome.is_err();
    let repeated = paired.then(|| subject.run(&sim, runs).report.hash);
    let same = repeated.is_none_or(|hash| hash == first.hash);
    let failed = match first.outcome {
        Ok(()) if same => None,
        Ok(()) => Some(Failed::nondeterministic(seed, first.hash, repeated.unwrap_or_default())),
        Err(finding) => Some(Failed::found(seed, &finding, place, first.hash, &first.tail, same)),
    };
    Ran { events, time, faults, failed }
}

fn progress_bar(name: &str, settings: &Settings) -> ProgressBar {
    if !settings.progress {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} seeds, {eta} left");
    let bar = ProgressBar::new(settings.seeds).with_message(name.to_owned());
    bar.with_style(style.expect("the template is well-formed"))
}
