//! The scenario `window`: Z19, Z21 and Z22 by what they take: one lost datagram.

use scenarios::zoo::window::{Bug, scenario, with_bug};
use sim_core::Scenario;
use sim_net::{Finding, LinkRule};

use crate::keeper::{calm, found, green, holds, mutant};
use crate::trial::{finds, run};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutants_while_the_network_is_calm() {
    green(&mutant("Z19"), calm);
    green(&mutant("Z21"), calm);
    green(&mutant("Z22"), calm);
}

#[test]
fn the_mutants_are_found() {
    found(
        &mutant("Z19"),
        &["the end of the body did not", "the acknowledgement of the end did not"],
    );
    found(
        &mutant("Z21"),
        &["the end of the body did not", "the acknowledgement of the end did not"],
    );
    found(
        &mutant("Z22"),
        &["the end of the body did not", "the acknowledgement of the end did not"],
    );
}

/// A run in which one datagram of one side is lost.
fn without(scenario: &Scenario, way: &str, number: u32) -> Result<(), Finding> {
    let rule: LinkRule = format!("{way}: loss=packets({number})").parse().expect("it is a rule");
    run(scenario, 1, |sim| sim.link(rule))
}

/// The first eight acknowledgements are of frames, and the next one tells of room.
#[test]
fn a_window_update_that_is_lost_is_never_made_up_for() {
    let mutant = with_bug(Bug::NoProbe);
    for number in 1..=12 {
        let outcome = without(&mutant, "receiver->sender", number);
        if number == 9 {
            finds(outcome, "the end of the body did not happen");
        } else {
            assert!(outcome.is_ok(), "{number}: {outcome:?}");
        }
    }
}

#[test]
fn a_frame_that_is_lost_before_others_is_never_sent_again() {
    for number in 1..=12 {
        let outcome = without(&with_bug(Bug::TimerTakenAway), "sender->receiver", number);
        // The last one before there is no room has none behind it.
        assert_eq!(outcome.is_err(), number % 8 != 0, "{number}: {outcome:?}");
    }
}

#[test]
fn a_full_window_that_is_acknowledged_at_once_is_sent_for_ever() {
    for number in 1..=12 {
        let outcome = without(&with_bug(Bug::FullLooksEmpty), "sender->receiver", number);
        // Of those after the fifth there is no full window before there is no room.
        assert_eq!(outcome.is_err(), matches!(number % 8, 1..=5), "{number}: {outcome:?}");
    }
}

#[test]
fn the_twin_makes_up_for_any_of_them() {
    for way in ["receiver->sender", "sender->receiver"] {
        for number in 1..=60 {
            let outcome = without(&scenario(), way, number);
            assert!(outcome.is_ok(), "{way} {number}: {outcome:?}");
        }
    }
}
