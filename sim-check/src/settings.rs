//! How many seeds, on how many threads, for how long.

use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use sim_net::StopAt;

/// The bounds of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) first_seed: u64,
    pub(crate) seeds: u64,
    /// Threads; `None` is one per core.
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Wall time after which no further seed is started.
    pub(crate) budget: Option<Duration>,
    pub(crate) stop_at_first: bool,
    pub(crate) progress: bool,
    /// One seed was asked for by name: nothing else is run.
    pub(crate) is_one_seed: bool,
    /// A plan that is run instead of everything else.
    pub(crate) plan: Option<PathBuf>,
    /// Every record is printed, of one seed or one plan.
    pub(crate) trace: bool,
    /// Where the one seed or plan is to be stopped.
    pub(crate) stop_at: Option<StopAt>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            first_seed: 0,
            seeds: 100,
            jobs: None,
            budget: None,
            stop_at_first: false,
            progress: false,
            is_one_seed: false,
            plan: None,
            trace: false,
            stop_at: None,
        }
    }
}

/// A variable of the environment that says something else than a sweep can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    variable: &'static str,
    value: String,
    wanted: &'static str,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}: give it {}", self.variable, self.value, self.wanted)
    }
}

impl Error for SettingsError {}

const STOP_AT: &str = "SIM_STOP_AT";

/// Where `SIM_STOP_AT` says that a run is to be stopped, if it is set.
///
/// # Errors
///
/// A value that names no place in a run.
pub fn stop_at() -> Result<Option<StopAt>, SettingsError> {
    read_stop_at(|name| std::env::var(name).ok())
}

fn read_stop_at(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<StopAt>, SettingsError> {
    let wanted = "a step, such as 2844, or a virtual time, such as 1.2s";
    match variable(STOP_AT).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => match value.parse() {
            Ok(at) => Ok(Some(at)),
            Err(_) => Err(SettingsError { variable: STOP_AT, value, wanted }),
        },
    }
}

/// A seed as people write it: decimal, or hexadecimal with `0x`.
fn parse_seed(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        // A sign is no digit, though it may stand before a number.
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

impl Settings {
    /// These settings with what `variable` (the environment's, usually) overrides.
    pub(crate) fn overridden(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let read = |name: &'static str, wanted: &'static str| {
            let value = variable(name);
            move |parsed: fn(&str) -> Option<u64>| match value {
                None => Ok(None),
                Some(value) => match parsed(&value) {
                    Some(number) => Ok(Some(number)),
                    None => Err(SettingsError { variable: name, value, wanted }),
                },
            }
        };
        let positive = |text: &str| text.parse().ok().filter(|&number: &u64| number > 0);
        if let Some(seeds) = read("SIM_SEEDS", "a number of seeds from 1")(positive)? {
            self.seeds = seeds;
        }
        if let Some(seed) = read("SIM_SEED", "a seed, decimal or 0x..")(parse_seed)? {
            (self.first_seed, self.seeds, self.is_one_seed) = (seed, 1, true);
        }
        if let Some(seconds) = read("SIM_BUDGET", "a number of seconds from 1")(positive)? {
            self.budget = Some(Duration::from_secs(seconds));
        }
        if let Some(jobs) = read("SIM_JOBS", "a number of threads from 1")(positive)? {
            self.jobs = usize::try_from(jobs).ok().and_then(NonZeroUsize::new);
        }
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        self.plan = filled("SIM_PLAN").map(PathBuf::from).or(self.plan);
        self.trace |= filled("SIM_TRACE").is_some_and(|value| value != "0");
        self.stop_at = read_stop_at(&variable)?;
        if let (Some(_), false, None) = (self.stop_at, self.is_one_seed, &self.plan) {
            let wanted = "one run to stop, by SIM_SEED or SIM_PLAN";
            let value = variable(STOP_AT).unwrap_or_default();
            return Err(SettingsError { variable: STOP_AT, value, wanted });
        }
        Ok(self)
    }

    /// How many threads to start for so many runs.
    pub(crate) fn threads_for(&self, runs: u64) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let wanted = self.jobs.map_or_else(cores, NonZeroUsize::get);
        wanted.min(usize::try_from(runs).unwrap_or(usize::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::default().overridden(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn one_seed_beats_a_number_of_seeds() {
        let settings = with(&[("SIM_SEED", "0x1f"), ("SIM_SEEDS", "500")]).unwrap();
        assert_eq!((settings.first_seed, settings.seeds, settings.is_one_seed), (31, 1, true));
    }

    #[test]
    fn a_value_of_no_use_is_named_with_its_variable() {
        for (variable, value) in [
            ("SIM_SEED", "seven"),
            ("SIM_SEED", "0x+5"),
            ("SIM_SEED", "0x"),
            ("SIM_SEEDS", "0"),
            ("SIM_BUDGET", "-1"),
            ("SIM_JOBS", ""),
        ] {
            let error = with(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable}={value:?}: give it a ")), "{error}");
        }
    }

    #[test]
    fn a_place_to_stop_at_is_read_and_needs_one_run() {
        let settings = with(&[("SIM_SEED", "7"), ("SIM_STOP_AT", "#12")]).unwrap();
        assert_eq!(settings.stop_at, Some(StopAt::Step(12)));
        let settings = with(&[("SIM_PLAN", "x.plan"), ("SIM_STOP_AT", "1.5s")]).unwrap();
        assert_eq!(settings.stop_at, Some(StopAt::Time(Duration::from_millis(1_500))));
        for (value, wanted) in [("0", "a step"), ("1.5", "a step"), ("12", "one run to stop")] {
            let error = with(&[("SIM_STOP_AT", value)]).unwrap_err().to_string();
            let told = format!("SIM_STOP_AT={value:?}: give it {wanted}");
            assert!(error.starts_with(&told), "{error}");
        }
    }

    #[test]
    fn jobs_are_no_more_than_runs() {
        let settings = with(&[("SIM_SEEDS", "3"), ("SIM_JOBS", "16")]).unwrap();
        assert_eq!(settings.threads_for(3).min(4), settings.threads_for(3));
        assert!(settings.threads_for(1) == 1 && settings.threads_for(0) == 1);
    }
}
