//! The scenario `dns`: Z15 by what it takes: one answer that is late.

use std::time::Duration;

use scenarios::zoo::dns::{Bug, scenario, with_bug};
use sim_core::{Scenario, World};
use sim_net::{Finding, Links};

use crate::keeper::{calm, found, green, holds, mutant};
use crate::trial::{finds, run_by_hand};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutant_while_the_network_is_calm() {
    green(&mutant("Z15"), calm);
}

#[test]
fn the_mutant_is_found() {
    found(&mutant("Z15"), &["resolved to the address of another name"]);
}

/// Whatever the server sends is late, once, for so long.
async fn hold(world: World, links: Links) {
    world.sleep(Duration::from_millis(30)).await;
    let link = links.link("server", "client").expect("both are there");
    link.hold();
    world.sleep(Duration::from_millis(95)).await;
    link.release();
}

fn run(scenario: &Scenario) -> Result<(), Finding> {
    run_by_hand(scenario, 1, hold)
}

#[test]
fn an_answer_that_is_late_is_taken_for_another() {
    finds(run(&with_bug(Bug::AnyAnswer)), "resolved to the address of another name");
    assert!(run(&scenario()).is_ok());
}
