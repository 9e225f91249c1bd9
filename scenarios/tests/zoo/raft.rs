//! The scenario `raft`: Z31 and Z34 by what they take: one late message, one crash.

use std::time::Duration;

use scenarios::zoo::raft::{Bug, raft3, scenario, with_bug};
use sim_core::{Scenario, World};
use sim_net::{Finding, Links, Sim};

use crate::keeper::{calm, found, green, holds, mutant};
use crate::trial::{run_by_hand, run_with_plan};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutants_while_the_network_is_calm() {
    green(&mutant("Z31"), calm);
    green(&mutant("Z34"), calm);
}

#[test]
fn the_mutants_are_found() {
    found(&mutant("Z31"), &["has left a log"]);
    found(&mutant("Z34"), &["two lead term"]);
}

/// Of all messages of n1 to n2 that have entries one is late: until others went by for so long.
async fn delay_one(world: World, links: Links) {
    let link = links.link("n1", "n2").expect("both are there");
    // The head of a message with entries, and an entry.
    let has_entries = |bytes: u32| bytes >= 33 + 16;
    let lp = world.host("operator");
    link.hold();
    let mut rest = 100;
    while rest > 0 {
        lp.sleep(Duration::from_millis(1)).await;
        let mut is_any_late = false;
        for packet in link.in_flight().iter().filter(|packet| packet.arrives.is_none()) {
            // The first of them: it has waited longest, so it is always the same.
            if !is_any_late && has_entries(packet.bytes) {
                is_any_late = true;
            } else {
                links.deliver(packet);
            }
        }
        rest -= u32::from(is_any_late);
    }
    link.release();
}

#[test]
fn a_late_and_shorter_message_takes_committed_entries_away() {
    let caught = |scenario: &Scenario| -> Vec<Finding> {
        (0..20).filter_map(|seed| run_by_hand(scenario, seed, delay_one).err()).collect()
    };
    let findings = caught(&with_bug(Bug::CutsLog));
    // Where n1 leads.
    assert!(findings.len() > 2, "{} of 20 seeds", findings.len());
    assert!(findings.iter().all(|finding| finding.to_string().contains("has left a log")));
    assert_eq!(caught(&scenario()), []);
}

#[test]
fn a_vote_that_is_forgotten_is_given_again() {
    let caught = |scenario: &Scenario| -> Vec<Finding> {
        let runs = (0..40).flat_map(|seed| (0..3).map(move |host| (seed, host)));
        let crashes = runs.flat_map(|run| (0..6).map(move |step| (run, 310 + 50 * step)));
        let outcome = |((seed, host), millis): ((u64, u32), u32)| {
            let plan = format!("crash n{} {millis}ms for 20ms", host + 1);
            run_with_plan(scenario, seed, &plan).err()
        };
        crashes.filter_map(outcome).collect()
    };
    let findings = caught(&with_bug(Bug::ForgetsVote));
    // Where two are candidates of one term, and the third is hit.
    assert!(findings.len() > 2, "{} of 40 seeds", findings.len());
    assert!(findings.iter().all(|finding| finding.to_string().contains("two lead term")));
    assert_eq!(caught(&scenario()), []);
}

#[test]
fn half_a_minute_of_heartbeats_is_steady() {
    for seed in 0..3 {
        let report = Sim::new(seed).run(|world| raft3().run(world));
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
        assert!(report.time.since_epoch() < Duration::from_secs(31));
    }
}
