//! The scenarios `supervisor` and `graceful`, and their wrong twins.

use scenarios::{graceful, supervisor};
use sim_check::{Profile, check};
use sim_core::Scenario;

use crate::trouble::{Kind, holds, ms, trouble};

/// Holds if the scenario is green on its own mix, and the same when it is run again.
fn stands_its_mix(scenario: &Scenario) {
    let profile = Profile::of(scenario.fault_mix().unwrap()).unwrap();
    let check = check(scenario.name()).profile(profile).seeds(300);
    let verdict = check.verdict(|world| scenario.run(world));
    assert!(verdict.is_green(), "{verdict}");
}

/// Holds if a check finds a wrong twin, and it says what is wrong.
fn is_caught(scenario: &Scenario, says: &str) {
    let profile = Profile::of(scenario.fault_mix().unwrap()).unwrap();
    let check = check(scenario.name()).profile(profile).seeds(300);
    let verdict = check.verdict(|world| scenario.run(world));
    assert!(!verdict.is_green(), "{says}: not caught");
    assert!(verdict.to_string().contains(says), "{says}: {verdict}");
}

#[test]
fn both_stand_their_mixes() {
    stands_its_mix(&supervisor::scenario());
    stands_its_mix(&graceful::scenario());
}

#[test]
fn both_hold_on_hosts_that_stand_still() {
    for moment in 0..20 {
        let at = |host, kind| [trouble(host, kind, ms(3 * moment), ms(7 * (moment % 11)))];
        holds(&supervisor::scenario(), moment, &at("supervisor", Kind::Pause));
        holds(&supervisor::scenario(), moment, &at("supervisor", Kind::Freeze));
        holds(&graceful::scenario(), moment, &at("server", Kind::Pause));
        holds(&graceful::scenario(), moment, &at("server", Kind::Freeze));
    }
}

#[test]
fn wrong_supervisors_are_caught() {
    use supervisor::{Flaw, with_flaw};
    is_caught(&with_flaw(Flaw::NoBackoff), "began after");
    is_caught(&with_flaw(Flaw::ForgetsTheJob), "these were done");
}

#[test]
fn wrong_servers_are_caught() {
    use graceful::{Flaw, with_flaw};
    is_caught(&with_flaw(Flaw::DropsWhatItTook), "and answered");
    is_caught(&with_flaw(Flaw::KeepsListening), "this one was not");
}
