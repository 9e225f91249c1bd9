//! The scenario `channel`: Z05, Z06 and Z12.

use scenarios::zoo::channel::scenario;

use crate::keeper::{calm, found, green, holds, lossy, mutant, one_fault_shows};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutants_while_the_network_is_calm() {
    for id in ["Z05", "Z06", "Z12"] {
        green(&mutant(id), calm);
    }
}

#[test]
fn the_mutants_are_found() {
    found(&mutant("Z05"), &["the channel has ended with"]);
    found(&mutant("Z06"), &["the channel has ended with"]);
    found(&mutant("Z12"), &["writing was resumed on a channel that was aborted"]);
}

#[test]
fn one_lost_packet_shows_z05() {
    one_fault_shows(&mutant("Z05"), &scenario(), "packet.loss", lossy);
}

#[test]
fn one_lost_packet_shows_z06() {
    one_fault_shows(&mutant("Z06"), &scenario(), "packet.loss", lossy);
}

#[test]
fn one_lost_packet_shows_z12() {
    one_fault_shows(&mutant("Z12"), &scenario(), "packet.loss", lossy);
}
