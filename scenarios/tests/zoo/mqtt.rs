//! The scenario `mqtt`: Z42 by what it takes: one lost connection, between `PUBREL` and `PUBCOMP`.

use scenarios::zoo::mqtt::{Bug, scenario, with_bug};

use crate::keeper::{calm, found, green, holds, mutant};
use crate::trial::{finds, run_with_plan};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutant_while_the_network_is_calm() {
    green(&mutant("Z42"), calm);
}

#[test]
fn the_mutant_is_found() {
    found(&mutant("Z42"), &["was delivered"]);
}

/// Four packets take four milliseconds, and the first of them leaves with the fourth. The client gives up
/// a connection that is silent for more than a second.
#[test]
fn a_released_message_is_published_again() {
    for (from, is_caught) in [("5.5ms", false), ("6.5ms", false), ("7.5ms", true)] {
        let plan = format!("cut client broker {from}..2s");
        let outcome = run_with_plan(&with_bug(Bug::PublishesReleased), 1, &plan);
        if is_caught {
            finds(outcome, "a message was delivered twice");
        } else {
            assert!(outcome.is_ok(), "{plan}: {outcome:?}");
        }
        assert!(run_with_plan(&scenario(), 1, &plan).is_ok(), "{plan}");
    }
}
