//! The scenario `starttls-lines`: Z08 and Z09.

use scenarios::zoo::starttls::scenario;

use crate::keeper::{calm, found, green, holds, lossy, mutant, one_fault_shows};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutants_while_the_network_is_calm() {
    green(&mutant("Z08"), calm);
    green(&mutant("Z09"), calm);
}

#[test]
fn the_mutants_are_found() {
    found(&mutant("Z08"), &["a command was executed that nobody sent in a record"]);
    found(&mutant("Z09"), &["a list has ended with"]);
}

#[test]
fn one_lost_packet_shows_z08() {
    one_fault_shows(&mutant("Z08"), &scenario(), "packet.loss", lossy);
}

#[test]
fn one_lost_packet_shows_z09() {
    one_fault_shows(&mutant("Z09"), &scenario(), "packet.loss", lossy);
}
