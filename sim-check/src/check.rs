//! What a test says.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::time::Duration;

use sim_core::{Outcome, World};
use sim_net::{Latency, Sim};

use crate::profile::Profile;
use crate::settings::{Settings, SettingsError};
use crate::subject::{self, Simulate, Subject};
use crate::sweep::sweep;
use crate::verdict::Verdict;

/// The latency of a check's links: some jitter, so that arrivals differ in order between seeds.
const LATENCY: std::ops::Range<Duration> = Duration::from_micros(500)..Duration::from_micros(1500);

/// A check of a scenario over many seeds; [`check`] makes one.
#[must_use = "a check does nothing until `run` or `verdict`"]
pub struct Check {
    name: String,
    settings: Settings,
    simulate: Box<Simulate>,
    profile: Profile,
}

/// A check called `name`, of 100 seeds on all cores. Give it the test's name: reports use it.
pub fn check(name: impl Into<String>) -> Check {
    Check {
        name: name.into(),
        settings: Settings::default(),
        simulate: Box::new(|seed| Sim::new(seed).latency(LATENCY)),
        profile: Profile::calm(),
    }
}

impl Check {
    /// How many seeds to run; 100 by default. 0 counts as 1.
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

    /// After how much wall time no further seed is started; the first always is. The verdict says
    /// so when it was cut short.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Shows a progress bar when a person watches, that is when standard error is a terminal.
    pub fn progress(mut self, progress: bool) -> Self {
        self.settings.progress = progress;
        self
    }

    /// The one-way delay between hosts: a duration, or a range that each packet draws from. 0.5 to
    /// 1.5 ms by default.
    pub fn latency(self, latency: impl Into<Latency>) -> Self {
        let latency = latency.into();
        self.sim(move |sim| sim.latency(latency.clone()))
    }

    /// Changes the simulations that it runs.
    pub fn sim(mut self, change: impl Fn(Sim) -> Sim + Sync + 'static) -> Self {
        let simulate = self.simulate;
        self.simulate = Box::new(move |seed| change(simulate(seed)));
        self
    }

    /// Says what befalls the seeds: nothing beyond the links' own by default.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Runs the check for a test, with what the environment overrides.
    ///
    /// A seed that fails is run again before it is reported, and so is one seed in 16 of the rest:
    /// two runs that differ are a failure, never green.
    ///
    /// # Panics
    ///
    /// If a seed fails: with the lowest one, what happened, the last records, and the line that runs
    /// it again. If the environment says something of no use.
    #[track_caller]
    pub fn run<S, F>(mut self, scenario: S)
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        self.settings.stop_at_first = true;
        match self.overridden() {
            Err(error) => panic!("{error}"),
            Ok(check) => {
                let verdict = check.verdict(scenario);
                if let Some(lowest) = verdict.failures.first() {
                    panic!("{verdict}\nreplay    {}", replay_line(lowest.seed));
                }
            }
        }
    }

    /// This check with what the environment overrides: `SIM_SEED`, `SIM_SEEDS`, `SIM_BUDGET` in
    /// seconds, `SIM_JOBS`.
    ///
    /// # Errors
    ///
    /// A variable whose value is of no use.
    pub fn overridden(mut self) -> Result<Self, SettingsError> {
        self.settings = self.settings.overridden(|name| std::env::var(name).ok())?;
        Ok(self)
    }

    /// Runs the check, and tells about every seed that failed.
    pub fn verdict<S, F>(&self, scenario: S) -> Verdict
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let run = subject::erased(&scenario);
        let subject = Subject::new(&*self.simulate, &self.profile, &run);
        sweep(&self.name, &self.settings, &subject)
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

/// The line that runs one seed of the running test again.
fn replay_line(seed: u64) -> String {
    let package = std::env::var("CARGO_PKG_NAME").map(|name| format!(" -p {name}"));
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    let exact = if test.is_empty() { String::new() } else { format!(" -- --exact {test}") };
    format!("SIM_SEED={seed} cargo test{}{exact}", package.unwrap_or_default())
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
            verdict.failures.iter().map(|failed| failed.seed).collect()
        };
        let (one, many) = (failed(1), failed(4));
        assert_eq!(one, many);
        assert!((4..32).contains(&one.len()), "{one:?}");
    }

    #[test]
    fn a_failed_check_reports_its_lowest_seed_and_how_to_replay_it() {
        let all = check("coin").seeds(64).verdict(fails_on_one_in_four);
        let lowest = all.failures[0].seed;
        let report = std::panic::catch_unwind(|| {
            check("coin").seeds(64).jobs(4).run(fails_on_one_in_four);
        });
        let text = *report.unwrap_err().downcast::<String>().unwrap();
        assert!(text.starts_with("coin: the coin fell on its edge"), "{text}");
        assert!(text.contains(&format!("seed {lowest}, host control, 1.000000000s")), "{text}");
        let replay = format!(
            "SIM_SEED={lowest} cargo test -p sim-check -- --exact \
             check::tests::a_failed_check_reports_its_lowest_seed_and_how_to_replay_it"
        );
        assert!(text.ends_with(&replay), "{text}");
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
            let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move { world.host("client").mark("call", call) }
        });
        assert!(!verdict.failures[0].deterministic);
    }

    #[test]
    fn a_budget_of_nothing_runs_one_seed_and_says_so() {
        let check = check("budget").jobs(1).budget(Duration::ZERO);
        let verdict = check.verdict(fails_on_one_in_four);
        assert_eq!((verdict.seeds, verdict.cut_short), (1, true));
    }
}
