//! What all specimens have in common.

use scenarios::zoo::specimens;

use crate::trial::{run, seeds, under_its_mix};

/// Within how many seeds each mutant is caught under its mix, and what its findings say.
const CAUGHT: [(&str, u64, &[&str]); 10] = [
    ("Z15", 20, &["resolved to the address of another name"]),
    ("Z18", 20, &["the subscriber heard nothing"]),
    ("Z19", 60, &["the end of the body did not happen"]),
    ("Z21", 20, &["the end of the body did not", "the acknowledgement of the end did not"]),
    ("Z22", 20, &["the end of the body did not happen"]),
    ("Z25", 20, &["the next body did not happen", "credit is not whole in the end"]),
    ("Z31", 60, &["has left a log"]),
    ("Z34", 300, &["two nodes lead term"]),
    ("Z42", 60, &["was delivered"]),
    ("Z45", 60, &["the copy is another than the server's state"]),
];

#[test]
fn every_twin_holds_under_its_mix() {
    let mut twins = Vec::new();
    for specimen in specimens() {
        let twin = (specimen.twin)();
        if !twins.contains(&twin.name()) {
            let verdict = under_its_mix(&twin).seeds(seeds()).verdict(|world| twin.run(world));
            assert!(verdict.is_green(), "{verdict}");
            twins.push(twin.name());
        }
    }
}

#[test]
fn every_mutant_is_green_on_a_network_without_faults() {
    for specimen in specimens() {
        let mutant = (specimen.mutant)();
        for seed in 0..50 {
            let outcome = run(&mutant, seed, |sim| sim);
            assert!(outcome.is_ok(), "{}, seed {seed}: {outcome:?}", specimen.id);
        }
    }
}

#[test]
fn every_mutant_is_caught_under_its_mix_by_the_property_that_it_breaks() {
    for (id, seeds, says) in CAUGHT {
        let mutant = scenarios::find(id).expect("it is a specimen");
        let verdict = under_its_mix(&mutant).seeds(seeds).verdict(|world| mutant.run(world));
        assert!(!verdict.is_green(), "{id} is not caught within {seeds} seeds");
        for failed in &verdict.failures {
            let is_known = says.iter().any(|says| failed.error.contains(says));
            assert!(
                is_known && failed.is_deterministic(),
                "{id}, seed {}: {}",
                failed.seed(),
                failed.error
            );
        }
    }
}

#[test]
fn specimens_are_in_order_and_found_by_their_ids() {
    let ids: Vec<_> = specimens().iter().map(|specimen| specimen.id).collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
    for specimen in specimens() {
        assert_eq!((specimen.mutant)().name(), specimen.id);
        assert_eq!(scenarios::find(specimen.id).expect("it is one").name(), specimen.id);
        let twin = (specimen.twin)();
        assert!(scenarios::all().iter().any(|known| known.name() == twin.name()));
        assert!(specimen.minimum > 0 && !specimen.bug.is_empty());
        assert!(specimen.seen_in.contains('#') || specimen.seen_in.starts_with("CVE-"));
    }
}
