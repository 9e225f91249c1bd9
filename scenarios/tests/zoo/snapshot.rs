//! The scenario `snapshot`: Z45 by what it takes: one lost segment, that of the subscription.

use std::time::Duration;

use scenarios::zoo::snapshot::{Bug, scenario, with_bug};
use sim_core::{Scenario, World};
use sim_net::{Finding, Links};

use crate::keeper::{calm, found, green, holds, mutant};
use crate::trial::run_by_hand;

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutant_while_the_network_is_calm() {
    green(&mutant("Z45"), calm);
}

#[test]
fn the_mutant_is_found() {
    found(&mutant("Z45"), &["the copy is another than the server's state"]);
}

/// The first data of the first connection are lost, once.
async fn drop_subscription(world: World, links: Links) {
    loop {
        world.sleep(Duration::from_micros(500)).await;
        let data = links.in_flight().into_iter().find(|packet| packet.bytes > 0);
        if let Some(packet) = data {
            assert_eq!(packet.flow, "client@1→server:7000#1");
            assert!(links.discard(&packet));
            return;
        }
    }
}

fn run(scenario: &Scenario, seed: u64) -> Result<(), Finding> {
    run_by_hand(scenario, seed, drop_subscription)
}

#[test]
fn what_changes_between_snapshot_and_subscription_is_lost() {
    let mutant = with_bug(Bug::AsksEarly);
    let caught = (0..40).filter(|seed| run(&mutant, *seed).is_err()).count();
    assert!(caught > 4, "{caught} of 40 seeds have a deposit in between");
    assert!((0..40).all(|seed| run(&scenario(), seed).is_ok()));
}
