//! How a specimen is looked at.

use std::time::Duration;

use sim_check::{Check, Profile, check};
use sim_core::Scenario;
use sim_net::{LinkRule, Sim};

/// The seeds of a sweep over a twin, unless `ZOO_SEEDS` says otherwise.
const SEEDS: u64 = 300;
/// How many seeds of a calm network, and of a trigger, are looked at.
const FEW: u64 = 20;

/// The mutant with this id.
#[track_caller]
pub(crate) fn mutant(id: &str) -> Scenario {
    scenarios::find(id).unwrap_or_else(|| panic!("the zoo has no {id}"))
}

/// The scenario under its own faults.
fn under_its_mix(scenario: &Scenario) -> Check {
    let mix = scenario.fault_mix().expect("it says what it stands");
    check(scenario.name()).profile(Profile::of(mix).expect("its links are links"))
}

/// Holds if the twin holds under everything that it says it stands.
#[track_caller]
pub(crate) fn holds(twin: &Scenario) {
    let seeds = std::env::var("ZOO_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number"));
    let verdict = under_its_mix(twin).seeds(seeds).verdict(|world| twin.run(world));
    assert!(verdict.is_green(), "{verdict}");
}

/// Holds if one of some hundreds of seeds shows the bug under what its protocol says it stands, and
/// what fails is always one of the properties that `says` names.
#[track_caller]
pub(crate) fn found(mutant: &Scenario, says: &[&str]) {
    let verdict = under_its_mix(mutant).seeds(SEEDS).verdict(|world| mutant.run(world));
    assert!(!verdict.failures.is_empty(), "{}: not found in {SEEDS} seeds", mutant.name());
    for failed in &verdict.failures {
        let error = &failed.error;
        assert!(says.iter().any(|says| error.contains(says)), "seed {}: {error}", failed.seed());
    }
}

/// A faultless network with a constant delay of a millisecond.
pub(crate) fn calm(seed: u64) -> Sim {
    Sim::new(seed).latency(Duration::from_millis(1))
}

/// That network, but for some packets that are lost.
pub(crate) fn lossy(seed: u64) -> Sim {
    let link: LinkRule = "latency=1ms,loss=2%".parse().expect("it is a link");
    Sim::new(seed).link(link)
}

/// Holds if a scenario holds in some simulations.
#[track_caller]
pub(crate) fn green(scenario: &Scenario, simulation: impl Fn(u64) -> Sim) {
    for seed in 0..FEW {
        let report = simulation(seed).run(|world| scenario.run(world));
        if let Err(finding) = report.outcome {
            panic!("{}, seed {seed}: {finding}", scenario.name());
        }
    }
}

/// Holds if a bug shows in all of some simulations, and its twin holds in them.
#[track_caller]
pub(crate) fn shows(mutant: &Scenario, twin: &Scenario, simulation: impl Fn(u64) -> Sim) {
    green(twin, &simulation);
    for seed in 0..FEW {
        let report = simulation(seed).run(|world| mutant.run(world));
        assert!(report.outcome.is_err(), "{}, seed {seed}: it holds", mutant.name());
    }
}

/// Holds if there is a simulation in which a bug shows although the fault called `name` is the only
/// one, and bites once; and the twin holds in all of them.
#[track_caller]
pub(crate) fn one_fault_shows(
    mutant: &Scenario,
    twin: &Scenario,
    name: &str,
    simulation: impl Fn(u64) -> Sim,
) {
    let mut shown = 0;
    for seed in 0..SEEDS {
        let held = simulation(seed).run(|world| twin.run(world));
        if let Err(finding) = held.outcome {
            panic!("{}, seed {seed}: {finding}", twin.name());
        }
        let ran = simulation(seed).run(|world| mutant.run(world));
        let bites: u64 = ran.faults.values().sum();
        shown += u64::from(ran.outcome.is_err() && bites == 1 && ran.faults[name] == 1);
    }
    assert!(shown > 0, "{}: it takes more than one {name}", mutant.name());
}
