//! The scenario `resp`: Z13.

use scenarios::zoo::resp::scenario;

use crate::keeper::{calm, found, green, holds, lossy, mutant, one_fault_shows};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutant_while_the_network_is_calm() {
    green(&mutant("Z13"), calm);
}

#[test]
fn the_mutant_is_found() {
    found(&mutant("Z13"), &["a key was answered with what belongs to another"]);
}

#[test]
fn one_lost_packet_shows_it() {
    one_fault_shows(&mutant("Z13"), &scenario(), "packet.loss", lossy);
}
