//! The scenario `pubsub`: Z18 by what it takes: one crash, at any time after the subscription.

use scenarios::zoo::pubsub::{Bug, scenario, with_bug};

use crate::keeper::{calm, found, green, holds, mutant};
use crate::trial::{finds, run_with_plan};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutant_while_the_network_is_calm() {
    green(&mutant("Z18"), calm);
}

#[test]
fn the_mutant_is_found() {
    found(&mutant("Z18"), &["the subscriber heard nothing"]);
}

#[test]
fn a_crash_is_never_noticed_by_who_only_listens() {
    for millis in [10, 100, 300, 400] {
        let plan = format!("crash server {millis}ms for 50ms");
        finds(run_with_plan(&with_bug(Bug::NoPings), 1, &plan), "the subscriber heard nothing");
        assert!(run_with_plan(&scenario(), 1, &plan).is_ok(), "{plan}");
    }
}
