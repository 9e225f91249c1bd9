//! The canary dies: whatever seed a search begins with, it finds the bug, and makes it small.
//!
//! The other way round, none of what is found is there without the bug.

use scenarios::canary::{scenario, twin};
use sim_check::{Check, Family, Origin, Profile, Verdict, check};
use sim_core::Scenario;

/// How many searches there are.
const SEARCHES: u64 = 31;
/// So far apart are their first seeds.
const APART: u64 = 1 << 32;
/// How many seeds each has: some three times what the slowest of them needs.
const SEEDS: u64 = 1_000;

fn search(number: u64, canary: &Scenario) -> Check {
    let mix = canary.fault_mix().expect("it says what befalls it");
    check("canary")
        .seeds(SEEDS)
        .first_seed(number * APART)
        .stop_at_first(true)
        .profile(Profile::of(mix).expect("its links are links"))
}

fn lost(verdict: &Verdict) -> usize {
    let explanation = verdict.explanation.as_ref().expect("it was looked into");
    assert!(explanation.shrunk.reproduced && explanation.shrunk.is_minimal, "{verdict}");
    assert_eq!(explanation.bound, explanation.steps.len(), "{verdict}");
    let drops = explanation.steps.iter().filter(|step| {
        assert_eq!((step.necessary, step.sufficient), (Some(true), Some(false)), "{verdict}");
        step.entry.to_string().starts_with("drop ")
    });
    drops.count()
}

#[test]
fn every_search_finds_it_and_comes_down_to_two_lost_packets() {
    let canary = scenario();
    let mut slowest = 0;
    for number in 0..SEARCHES {
        let verdict = search(number, &canary).verdict(|world| canary.run(world));
        let first = verdict.failures.first().unwrap_or_else(|| panic!("{number}: {verdict}"));
        assert!(first.error.ends_with("were booked"), "{verdict}");
        assert!(matches!(first.origin, Origin::Seed(_)), "one fault cannot show it: {verdict}");
        assert_eq!(lost(&verdict), 2, "{number}: {verdict}");
        slowest = slowest.max(verdict.seeds);
    }
    println!("{SEARCHES} searches found it, the slowest in {slowest} seeds");
    assert!(slowest > 20, "it is not rare: {slowest} seeds at most");
    assert!(slowest < SEEDS / 2, "it is too rare to be relied on: {slowest} seeds");
}

#[test]
fn a_search_without_losses_does_not_find_it() {
    let canary = scenario();
    let mix = canary.fault_mix().expect("it says what befalls it");
    let profile = Profile::of(mix).expect("its links are links").without(Family::Drop);
    let verdict = search(0, &canary).profile(profile).verdict(|world| canary.run(world));
    assert!(verdict.is_green(), "{verdict}");
}

#[test]
fn what_is_found_is_the_bug() {
    let twin = twin();
    let verdict = search(0, &twin).verdict(|world| twin.run(world));
    assert!(verdict.is_green(), "{verdict}");
    assert!(verdict.faults["packet.loss"] > 0, "{verdict}");
}
