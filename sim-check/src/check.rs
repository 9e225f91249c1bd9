//! What a test says.

mod telling;

use std::fmt;
use std::future::Future;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sim_core::{Outcome, World};
use sim_net::{Latency, Plan, Sim, StopAt};

use crate::corpus::{Corpus, Kept};
use crate::explain::{self, Effort, Explanation, SameFailure};
use crate::places;
use crate::plan_file::PlanFile;
use crate::profile::Profile;
use crate::search::Search;
use crate::settings::{Settings, SettingsError};
use crate::shrink::Bounds;
use crate::signature::Signature;
use crate::stop::Stopped;
use crate::subject::{self, Runs, Simulate, Subject};
use crate::verdict::{Failed, Origin, Verdict};

/// The latency of a check's links: some jitter, so that arrivals differ in order between seeds.
const LATENCY: std::ops::Range<Duration> = Duration::from_micros(500)..Duration::from_micros(1500);

/// How many kinds of failures are made small behind the first.
const OTHER_KINDS_MAX: usize = 4;

/// A check of a scenario over many runs; [`check`] makes one.
#[must_use = "a check does nothing until `run` or `verdict`"]
pub struct Check {
    name: String,
    settings: Settings,
    simulate: Box<Simulate>,
    profile: Profile,
    sometimes: Vec<String>,
    corpus: Option<PathBuf>,
    bounds: Bounds,
    shrinks: bool,
    singles: bool,
    stop: Option<Arc<AtomicBool>>,
    same: Option<Box<SameFailure>>,
}

/// A check called `name`, of 100 seeds on all cores. Give it the test's name: reports use it.
pub fn check(name: impl Into<String>) -> Check {
    Check {
        name: name.into(),
        settings: Settings::default(),
        simulate: Box::new(|seed| Sim::new(seed).latency(LATENCY)),
        profile: Profile::calm(),
        sometimes: Vec::new(),
        corpus: None,
        bounds: Bounds::default(),
        shrinks: true,
        singles: true,
        stop: None,
        same: None,
    }
}

impl Check {
    /// How many seeds to run; 100 by default. 0 counts as 1. Under a [`profile`](Self::profile) at most
    /// as many single faults are tried beside them.
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.settings.seeds = seeds.max(1);
        self
    }

    /// The first of them; 0 by default.
    pub fn first_seed(mut self, seed: u64) -> Self {
        self.settings.first_seed = seed;
        self
    }

    /// On how many threads; one per core by default.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.settings.jobs = NonZeroUsize::new(jobs);
        self
    }

    /// After how much wall time no further run is started; the first always is. The verdict says
    /// so when it was cut short.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Ends it as soon as the flag is true, such as one that a handler of signals sets: no further run is started,
    /// but the first always is, what was found is told as ever, and what is being made small stays as small as it is
    /// by then. The verdict says that it was [interrupted](Verdict::interrupted). No check handles signals by itself.
    ///
    /// ```
    /// use sim_check::check;
    /// use sim_core::World;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let told = stop.clone();
    /// let verdict = check("patient").jobs(1).stop_flag(stop).verdict(move |_: World| {
    ///     told.store(true, Ordering::Relaxed);
    ///     async {}
    /// });
    /// assert_eq!((verdict.seeds, verdict.cut_short, verdict.interrupted), (1, true, true));
    /// ```
    pub fn stop_flag(mut self, flag: Arc<AtomicBool>) -> Self {
        self.stop = Some(flag);
        self
    }

    /// Says which failures are the same while a plan is made small, beside those of one signature: true if the second
    /// stands for the first. Two properties may show one bug, and any of them will do.
    ///
    /// ```
    /// use sim_check::check;
    ///
    /// let check = check("bank").same_failure(|wanted, found| {
    ///     [wanted, found].iter().all(|it| it.as_str().starts_with("property money"))
    /// });
    /// ```
    pub fn same_failure(
        mut self,
        same: impl Fn(&Signature, &Signature) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.same = Some(Box::new(same));
        self
    }

    /// Keeps every record of a plan that is replayed, in [`Replayed::log`](crate::Replayed::log).
    /// [`run`](Self::run) prints them, as it does with `SIM_TRACE=1`, and those of a single seed.
    ///
    /// ```
    /// use sim_check::check;
    /// use sim_core::World;
    /// use sim_net::Plan;
    ///
    /// async fn marks(world: World) {
    ///     world.host("n1").mark("done", 7);
    /// }
    ///
    /// let verdict = check("marks").trace(true).replay(&Plan::new(), marks);
    /// let log = verdict.replayed.and_then(|replayed| replayed.log).expect("it was asked for");
    /// assert!(log.to_string().contains("= 7"));
    /// ```
    pub fn trace(mut self, keep: bool) -> Self {
        self.settings.trace = keep;
        self
    }

    /// Shows a progress bar when a person watches, that is when standard error is a terminal, and it takes more than a
    /// second. [`run`](Self::run) always does.
    pub fn progress(mut self, progress: bool) -> Self {
        self.settings.progress = progress;
        self
    }

    /// Ends with the first run that fails, as [`run`](Self::run) does.
    pub fn stop_at_first(mut self, stop: bool) -> Self {
        self.settings.stop_at_first = stop;
        self
    }

    /// The one-way delay between hosts: a duration, or a range that each packet draws from. 0.5 to
    /// 1.5 ms by default.
    pub fn latency(self, latency: impl Into<Latency>) -> Self {
        let latency = latency.into();
        self.sim(move |sim| sim.latency(latency.clone()))
    }

    /// Changes the simulations that it runs. Beside what a [`profile`](Self::profile) draws, the plan stays that it
    /// sets ([`Sim::plan`]), the faults of streams ([`Sim::stream_faults`]; the profile draws those of other kinds) and
    /// the end of all faults ([`Sim::quiesce`]; without that a profile sets it, and nothing does without a profile). A
    /// [`Sim::replay`] is run as it is, without a profile.
    pub fn sim(mut self, change: impl Fn(Sim) -> Sim + Sync + 'static) -> Self {
        let simulate = self.simulate;
        self.simulate = Box::new(move |seed| change(simulate(seed)));
        self
    }

    /// Whether it fails a run if something is still there when its scenario has succeeded, such as a timer or
    /// a connection; see [`Sim::leftovers`]. It does not by default: a scenario that is written for it stops
    /// what it has started.
    ///
    /// ```
    /// use sim_check::check;
    /// use sim_core::World;
    /// use std::time::Duration;
    ///
    /// let forgets_its_timer = |world: World| async move {
    ///     world.host("client").call_later(Duration::from_secs(60), || {}).detach();
    /// };
    /// assert!(check("forgetful").seeds(1).verdict(forgets_its_timer).is_green());
    /// let verdict = check("forgetful").seeds(1).leftovers(true).verdict(forgets_its_timer);
    /// assert_eq!(verdict.failures[0].error.lines().next(), Some("left over: timers 1"));
    /// ```
    pub fn leftovers(self, find: bool) -> Self {
        self.sim(move |sim| sim.leftovers(find))
    }

    /// Says what befalls the runs: nothing beyond the links' own by default.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Demands that a [`sometimes!`](sim_core::sometimes) or [`reachable!`](sim_core::reachable) of
    /// this name holds at least once, if 100 seeds or more are run: a search that never gets there
    /// proves nothing about it. So it is where a budget ended the check, which is as much as was asked for; one
    /// that was told to [stop](Self::stop_flag) demands nothing.
    pub fn sometimes(mut self, name: impl Into<String>) -> Self {
        self.sometimes.push(name.into());
        self
    }

    /// Keeps the plans of failures in this folder, and runs those that are there before anything else. For
    /// [`run`](Self::run) it is the folder `sim-corpus` next to the test, unless this says otherwise.
    pub fn corpus(mut self, folder: impl Into<PathBuf>) -> Self {
        self.corpus = Some(folder.into());
        self
    }

    /// How much may be done to make a failure small: the first one, and as much again for each of the
    /// [further kinds](Verdict::others).
    pub fn shrink_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Whether single faults take turns with seeds, if there is a [`profile`](Self::profile); they do by
    /// default.
    pub fn singles(mut self, singles: bool) -> Self {
        self.singles = singles;
        self
    }

    /// Whether failures are made small: the first, which is looked into, and a few of [further kinds](Verdict::others).
    /// They are by default.
    pub fn shrinks(mut self, shrinks: bool) -> Self {
        self.shrinks = shrinks;
        self
    }

    /// Runs the check for a test, with what the environment overrides.
    ///
    /// A run that fails is run again before it is reported, and so are the first seed and one in 16 of the rest: two runs
    /// that differ are a failure, never green. What failed is made small; its plan, its timeline and its packets are left
    /// in `target/sim`, and the plan is kept next to the test, to be run first from then on.
    ///
    /// # Panics
    ///
    /// If a run fails: with what happened, what it comes down to, and the line that runs it again. If
    /// something that is demanded never happened. If the environment says something of no use. If it
    /// says that the run is to be stopped somewhere: with what was before.
    ///
    /// What a green check is worth is printed: `cargo test -- --show-output` shows it. Of plans in the corpus that no
    /// longer find what they name, or are no plans, standard error tells, and of a check of a hundred seeds
    /// in which no fault ever bit: also in a test that passes.
    #[track_caller]
    pub fn run<S, F>(mut self, scenario: S)
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        self.settings.stop_at_first = true;
        self.settings.progress = true;
        let test = Location::caller();
        self.corpus = self.corpus.or_else(|| places::corpus_of(test));
        let check = match self.overridden() {
            Ok(check) => check,
            Err(error) => panic!("{error}"),
        };
        let plan = check.settings.plan.as_ref().map(|path| match PlanFile::read(path) {
            Ok(file) => file,
            Err(error) => panic!("SIM_PLAN={}: {error}", path.display()),
        });
        if let Some(at) = check.settings.stop_at {
            match check.stopped(plan.as_ref(), at, &scenario) {
                Ok(stopped) if check.settings.trace => panic!("{stopped}\n{}", stopped.log()),
                Ok(stopped) => panic!("{stopped}"),
                Err(error) => panic!("SIM_STOP_AT ({at}): {error}"),
            }
        }
        let verdict = match &plan {
            Some(file) => match check.replay_file(file, &scenario) {
                Ok(verdict) => verdict,
                Err(error) => panic!("SIM_PLAN={}: {error}", file.path().display()),
            },
            None => check.verdict(&scenario),
        };
        if check.settings.trace {
            check.print_trace(&verdict, &scenario);
        }
        if !verdict.is_green() {
            panic!("{}", check.report(&verdict));
        }
        println!("{verdict}");
        if !verdict.corpus.is_sound() || verdict.is_idle() {
            // Not by a macro: what those print is shown for tests that fail.
            drop(writeln!(io::stderr(), "{verdict}"));
        }
    }

    /// This check with what the environment overrides: `SIM_SEED`, `SIM_SEEDS`, `SIM_BUDGET` in
    /// seconds, `SIM_JOBS`, `SIM_PLAN`, `SIM_TRACE`, `SIM_STOP_AT`.
    ///
    /// # Errors
    ///
    /// A variable whose value is of no use.
    pub fn overridden(mut self) -> Result<Self, SettingsError> {
        self.settings = self.settings.overridden(|name| std::env::var(name).ok())?;
        Ok(self)
    }

    /// Runs the check, and tells about every run that failed, and what the first comes down to.
    pub fn verdict<S, F>(&self, scenario: S) -> Verdict
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let run = subject::erased(&scenario);
        self.judge(&Subject::new(&*self.simulate, &self.profile, &run))
    }

    /// A verdict whose first failure is looked into. A plan counts as what it comes down to only if
    /// `twin`, a version of the scenario without the bug, passes under it: that keeps a small plan
    /// from being a network on which nothing could work.
    pub fn explained<S, F, T, G>(&self, mut verdict: Verdict, scenario: S, twin: T) -> Verdict
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
        T: Fn(World) -> G + Sync,
        G: Future + 'static,
        G::Output: Outcome + 'static,
    {
        let (run, run_twin) = (subject::erased(&scenario), subject::erased(&twin));
        let subject = Subject::new(&*self.simulate, &self.profile, &run);
        let twin = Subject::new(&*self.simulate, &self.profile, &run_twin);
        self.look_into(&mut verdict, &subject, Some(&twin));
        verdict
    }

    fn look_into(&self, verdict: &mut Verdict, subject: &Subject<'_>, twin: Option<&Subject<'_>>) {
        let Some(first) = verdict.failures.first() else { return };
        let jobs = self.settings.threads_for(u64::MAX);
        let stop = self.stop.as_deref();
        let effort = Effort { jobs, bounds: self.bounds, stop, same: self.same.as_deref() };
        let (explanation, met) = explain::explain(subject, twin, first, &effort);
        let is_new = !matches!(first.origin, Origin::Kept(..));
        let is_known =
            |it: &Failed| verdict.failures.iter().any(|known| known.signature == it.signature);
        let met = met.into_iter().filter(|failed| !is_known(failed));
        verdict.met = met.map(|failed| self.keep_tried(failed)).collect();
        if twin.is_none() {
            let small = self.other_kinds(verdict, subject, &effort);
            verdict.others = small.into_iter().map(|failed| self.keep_tried(failed)).collect();
        }
        match explanation {
            Ok(explanation) => {
                let is_told = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
                verdict.interrupted |= is_told && !explanation.shrunk.is_minimal;
                let explanation = self.named(explanation);
                if let Some(folder) = self.corpus.as_ref().filter(|_| is_new) {
                    let corpus = Corpus::new(folder.clone(), &self.name);
                    let kept = corpus.keep(&explanation.shrunk.plan);
                    let failed = |error| format!("{}: {error}", folder.display());
                    verdict.kept = Some(kept.map_err(failed));
                }
                verdict.explanation = Some(explanation);
            }
            Err(why) => verdict.unexplained = Some(why),
        }
    }

    /// The first few kinds of failures behind the first one, made small.
    fn other_kinds(
        &self,
        verdict: &Verdict,
        subject: &Subject<'_>,
        effort: &Effort<'_>,
    ) -> Vec<Failed> {
        let same = |one: &Signature, other: &Signature| {
            one == other || effort.same.is_some_and(|same| same(one, other))
        };
        let mut known: Vec<&Signature> = Vec::new();
        let kinds = verdict.failures.iter().filter(|failed| {
            let is_known = known.iter().any(|known| same(known, &failed.signature));
            if !is_known {
                known.push(&failed.signature);
            }
            !is_known
        });
        // That one is looked into.
        let kinds = kinds.skip(1);
        let is_new = |failed: &&Failed| {
            failed.is_deterministic() && !matches!(failed.origin, Origin::Kept(..))
        };
        let is_told = || effort.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        let kinds = kinds.filter(is_new).take(OTHER_KINDS_MAX).take_while(|_| !is_told());
        kinds.filter_map(|failed| explain::small(subject, failed, effort)).collect()
    }

    /// Keeps a plan that was tried while a failure was made small, if there is a corpus and it can be
    /// written there; else the plan is in the failure alone.
    fn keep_tried(&self, mut failed: Failed) -> Failed {
        // What may pass the next time is nothing to keep.
        if let Some(plan) = failed.origin.plan().filter(|_| failed.is_deterministic()) {
            let plan = plan.clone().scenario(&self.name);
            let corpus = self.corpus.as_ref().map(|it| Corpus::new(it.clone(), &self.name));
            failed.origin = match corpus.map(|corpus| corpus.keep(&plan)) {
                Some(Ok(path)) => Origin::Kept(path, plan),
                _ => Origin::Tried(plan),
            };
        }
        failed
    }

    fn judge(&self, subject: &Subject<'_>) -> Verdict {
        let settings = &self.settings;
        let corpus = match &self.corpus {
            // One seed that is asked for by name is all that is asked for.
            Some(folder) if !settings.is_one_seed => {
                Corpus::new(folder.clone(), &self.name).read().unwrap_or_else(|error| {
                    vec![Kept { path: folder.clone(), plan: Err(error.to_string()) }]
                })
            }
            _ => Vec::new(),
        };
        let has_singles = self.singles && !settings.is_one_seed && !self.profile.is_calm();
        let stop = self.stop.as_deref();
        let singles = OnceLock::new();
        let search = Search { settings, subject, corpus: &corpus, has_singles, singles, stop };
        let mut verdict = search.run(&self.name);
        if !settings.is_one_seed {
            verdict.miss(&self.sometimes);
        }
        if self.shrinks {
            self.look_into(&mut verdict, subject, None);
        }
        verdict
    }

    /// An explanation whose plan says what it is for.
    fn named(&self, mut explanation: Explanation) -> Explanation {
        explanation.shrunk.plan.scenario = Some(self.name.clone());
        explanation
    }

    /// Runs one plan, and tells what it does.
    ///
    /// ```
    /// use sim_check::check;
    /// use sim_core::World;
    /// use std::time::Duration;
    ///
    /// async fn is_on_time(world: World) {
    ///     let lp = world.host("n1");
    ///     lp.sleep(Duration::from_secs(2)).await;
    ///     sim_core::always!(world.time().since_epoch() < Duration::from_secs(3), "on time");
    /// }
    ///
    /// let paused = "pause n1 1s for 5s\n".parse()?;
    /// let verdict = check("is_on_time").replay(&paused, is_on_time);
    /// assert_eq!(verdict.failures[0].error.split(',').next(), Some("on time"));
    /// # Ok::<(), sim_net::plan::PlanErrors>(())
    /// ```
    pub fn replay<S, F>(&self, plan: &Plan, scenario: S) -> Verdict
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let run = subject::erased(&scenario);
        let subject = Subject::new(&*self.simulate, &self.profile, &run);
        self.replay_one(&subject, Path::new("(given)"), plan)
    }

    fn replay_one(&self, subject: &Subject<'_>, path: &Path, plan: &Plan) -> Verdict {
        let settings = Settings { seeds: 0, ..self.settings.clone() };
        let kept = [Kept { path: path.to_owned(), plan: Ok(plan.clone()) }];
        let (settings, corpus, singles) = (&settings, &kept, OnceLock::new());
        let search = Search { settings, subject, corpus, has_singles: false, singles, stop: None };
        let mut verdict = search.replay(&self.name);
        if let Some(first) = verdict.failures.first() {
            verdict.explanation = explain::explain_as_is(subject, first, self.same.as_deref()).ok();
        }
        verdict
    }

    /// Runs the plan in a file.
    ///
    /// # Errors
    ///
    /// A plan for another check, or one that no simulation can carry out; one that passes and names hosts
    /// that are not there.
    pub fn replay_file<S, F>(&self, file: &PlanFile, scenario: S) -> Result<Verdict, String>
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let run = subject::erased(&scenario);
        let subject = Subject::new(&*self.simulate, &self.profile, &run);
        self.replay_in(&subject, file)
    }

    /// Runs the plan of a file. One that passes and is about hosts that its world does not have
    /// tried nothing of that: it is no plan for this check, with the lines that say so.
    fn replay_in(&self, subject: &Subject<'_>, file: &PlanFile) -> Result<Verdict, String> {
        let plan = file.for_check(&self.name)?;
        subject.replay(plan).map_err(|error| error.to_string())?;
        let verdict = self.replay_one(subject, file.path(), plan);
        // A run that fails may be over before all hosts are there.
        if let Some(replayed) = verdict.replayed.as_ref().filter(|_| verdict.is_green()) {
            let hosts: Vec<&str> = replayed.hosts.iter().map(String::as_str).collect();
            file.check_hosts(&hosts)?;
        }
        Ok(verdict)
    }

    /// Runs the plan in a file, or else the first seed, until it comes to a place.
    ///
    /// # Errors
    ///
    /// As [`replay_file`](Self::replay_file).
    pub fn stopped<S, F>(
        &self,
        plan: Option<&PlanFile>,
        at: StopAt,
        scenario: S,
    ) -> Result<Stopped, String>
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let run = subject::erased(&scenario);
        let subject = Subject::new(&*self.simulate, &self.profile, &run);
        let sim = match plan {
            Some(file) => {
                let plan = file.for_check(&self.name)?;
                subject.replay(plan).map_err(|error| error.to_string())?
            }
            None => subject.simulation(self.settings.first_seed),
        };
        let ran = subject.run(&sim.trace(true).stop_at(at), &Runs::default());
        Ok(Stopped::new(&self.name, at, ran.report))
    }

    /// Makes the plan in a file small, by the failure that it has now.
    ///
    /// # Errors
    ///
    /// As [`replay_file`](Self::replay_file).
    pub fn shrink_file<S, F>(&self, file: &PlanFile, scenario: S) -> Result<Verdict, String>
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let run = subject::erased(&scenario);
        let subject = Subject::new(&*self.simulate, &self.profile, &run);
        let mut verdict = self.replay_in(&subject, file)?;
        self.look_into(&mut verdict, &subject, None);
        Ok(verdict)
    }

    /// The simulation of one seed, as the check runs it. If it has a profile, a calm run of the
    /// scenario says what its faults are aimed at.
    pub fn simulation<S, F>(&self, seed: u64, scenario: S) -> Sim
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let run = subject::erased(&scenario);
        Subject::new(&*self.simulate, &self.profile, &run).simulation(seed)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    async fn fails_on_one_in_four(world: World) -> io::Result<()> {
        world.host("client").sleep(Duration::from_secs(1)).await;
        match world.rng("coin").below(4) {
            0 => Err(io::Error::other("the coin fell on its edge")),
            _ => Ok(()),
        }
    }

    #[test]
    fn the_same_seeds_fail_on_one_thread_and_on_many() {
        let failed = |jobs: usize| -> Vec<u64> {
            let verdict = check("coin").seeds(64).jobs(jobs).verdict(fails_on_one_in_four);
            assert_eq!((verdict.seeds, verdict.time), (64, Duration::from_secs(64)));
            verdict.failures.iter().map(|failed| failed.seed()).collect()
        };
        let (one, many) = (failed(1), failed(4));
        assert_eq!(one, many);
        assert!((4..32).contains(&one.len()), "{one:?}");
    }

    /// A folder of its own below `target`, for one test.
    fn folder(test: &str) -> PathBuf {
        places::artifacts().join(format!("test-{test}-{}", std::process::id()))
    }

    #[test]
    fn a_failed_check_reports_its_lowest_seed_and_how_to_replay_it() {
        let all = check("coin").seeds(64).verdict(fails_on_one_in_four);
        let lowest = all.failures[0].seed();
        let corpus = folder("report");
        let fails = |scenario: fn(World) -> _| {
            let check = check("coin").seeds(64).jobs(4).corpus(&corpus);
            let run = std::panic::AssertUnwindSafe(|| check.run(scenario));
            let report = std::panic::catch_unwind(run);
            *report.unwrap_err().downcast::<String>().unwrap()
        };
        let coin = |world| -> std::pin::Pin<Box<dyn Future<Output = io::Result<()>>>> {
            Box::pin(fails_on_one_in_four(world))
        };
        let text = fails(coin);
        assert!(text.starts_with("coin: the coin fell on its edge"), "{text}");
        let where_ = format!("seed {lowest:#x}, host control, 1.000000000s");
        assert!(text.contains(&where_) && text.contains("it fails without any fault"), "{text}");
        let plan = places::artifacts().join("coin.plan");
        let replay = format!(
            "replay    SIM_PLAN={} cargo test -p sim-check -- --exact \
             check::tests::a_failed_check_reports_its_lowest_seed_and_how_to_replay_it",
            plan.display()
        );
        assert!(text.contains(&replay), "{text}");
        let file = PlanFile::read(&plan).unwrap();
        let replayed = check("coin").replay_file(&file, fails_on_one_in_four).unwrap();
        assert_eq!(replayed.failures[0].signature, all.failures[0].signature);
        // The second time the plan that was kept comes first.
        let again = fails(coin);
        assert!(again.contains("1 run failed, of 0 seeds"), "{again}");
        assert!(again.contains("\nfirst 1 plan of an earlier failure was replayed"), "{again}");
        std::fs::remove_dir_all(corpus).unwrap();
    }

    #[test]
    fn a_verdict_keeps_the_plan_of_its_failure_once() {
        let corpus = folder("verdict");
        let verdict = || check("coin").corpus(&corpus).verdict(fails_on_one_in_four);
        let kept = verdict().kept.expect("it is looked into").unwrap();
        assert!(kept.starts_with(&corpus) && kept.is_file(), "{kept:?}");
        let again = verdict();
        assert!(again.corpus.replayed == 1 && again.kept.is_none(), "{again}");
        std::fs::remove_dir_all(&corpus).unwrap();
        std::fs::write(&corpus, "no folder").unwrap();
        let error = verdict().kept.unwrap().unwrap_err();
        assert!(error.contains("test-verdict"), "{error}");
        std::fs::remove_file(&corpus).unwrap();
    }

    #[test]
    fn a_plan_for_another_check_is_refused_with_both_names() {
        let path = folder("other").join("x.plan");
        let plan = Plan::new().scenario("dice");
        places::write_whole(&path, |file| write!(file, "{plan}")).unwrap();
        let file = PlanFile::read(&path).unwrap();
        let error = check("coin").replay_file(&file, fails_on_one_in_four).unwrap_err();
        assert!(error.contains("dice") && error.contains("coin"), "{error}");
        for (text, told) in [("plan 99.0\n", "99"), ("", "empty")] {
            std::fs::write(&path, text).unwrap();
            let error = PlanFile::read(&path).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_should_happen_sometimes_and_never_does_is_missed_in_a_hundred_seeds() {
        let scenario = |world: World| async move {
            let luck = world.rng("luck").below(50);
            sim_core::sometimes!(luck == 7, "a lucky seven");
            sim_core::sometimes!(luck == 77, "an impossible number");
        };
        let check = |seeds| {
            let check = check("luck").seeds(seeds).sometimes("a lucky seven");
            check.sometimes("an impossible number").verdict(scenario)
        };
        assert!(check(99).is_green());
        let verdict = check(400);
        assert_eq!(verdict.missed, ["an impossible number"]);
        assert!(!verdict.is_green());
        let text = verdict.to_string();
        assert!(text.contains("never happened in 400 seeds: an impossible number"), "{text}");
    }

    #[test]
    fn a_panic_is_a_failure_with_its_place() {
        let verdict = check("panic").seeds(1).verdict(|world: World| async move {
            world.host("client").call_soon(|| panic!("out of luck"));
            world.settle().await;
        });
        let error = &verdict.failures[0].error;
        assert!(error.starts_with("out of luck, at sim-check"), "{error}");
    }

    #[test]
    fn a_scenario_that_looks_at_the_outside_is_reported_as_nondeterministic() {
        let calls = std::sync::atomic::AtomicU64::new(0);
        let verdict = check("leak").seeds(1).verdict(|world: World| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move { world.host("client").mark("call", call) }
        });
        assert!(!verdict.failures[0].is_deterministic());
        let difference = verdict.failures[0].difference.as_ref().unwrap();
        assert!(difference.lines().last().unwrap().starts_with("+ "), "{difference}");
    }

    #[test]
    fn a_budget_of_nothing_runs_one_seed_and_says_so() {
        let check = check("budget").jobs(1).budget(Duration::ZERO);
        let verdict = check.verdict(fails_on_one_in_four);
        assert_eq!((verdict.seeds, verdict.cut_short), (1, true));
    }
}
