//! Scenarios under their own mixes of faults.

use sim_check::{Profile, check};
use sim_core::Scenario;

/// Holds if the scenario is green on its own mix, and the same when it is run again.
#[track_caller]
pub(crate) fn stands_its_mix(scenario: &Scenario) {
    let profile = Profile::of(scenario.fault_mix().unwrap()).unwrap();
    let check = check(scenario.name()).profile(profile).seeds(300);
    let verdict = check.verdict(|world| scenario.run(world));
    assert!(verdict.is_green(), "{verdict}");
}

/// Holds if a check finds a wrong twin, and it says what is wrong.
#[track_caller]
pub(crate) fn is_caught(scenario: &Scenario, says: &str) {
    let profile = Profile::of(scenario.fault_mix().unwrap()).unwrap();
    let check = check(scenario.name()).profile(profile).seeds(300);
    let verdict = check.verdict(|world| scenario.run(world));
    assert!(!verdict.is_green(), "{says}: not caught");
    assert!(verdict.to_string().contains(says), "{says}: {verdict}");
}
