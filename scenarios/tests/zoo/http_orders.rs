//! The scenario `http-orders`: Z03 and Z14.

use scenarios::zoo::http_orders::scenario;
use sim_net::{Boundary, Probability, Sim, StreamFaults};

use crate::keeper::{calm, found, green, holds, mutant, one_fault_shows, shows};

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutants_while_the_network_is_calm() {
    green(&mutant("Z03"), calm);
    green(&mutant("Z14"), calm);
}

#[test]
fn the_mutants_are_found() {
    found(&mutant("Z03"), &["cannot be read"]);
    found(&mutant("Z14"), &["executed more than once"]);
}

/// Every boundary is between two bytes: also the one that suffices.
#[test]
fn reads_of_a_byte_show_z03() {
    let always = Probability::percent(100).expect("it is one");
    let bytes = StreamFaults::new().boundaries(always, Boundary::Byte);
    shows(&mutant("Z03"), &scenario(), |seed| -> Sim { calm(seed).stream_faults(bytes) });
}

#[test]
fn one_reset_shows_z14() {
    let seldom = Probability::percent(10).expect("it is one");
    let resets = StreamFaults::new().resets(seldom);
    let simulation = |seed| -> Sim { calm(seed).stream_faults(resets) };
    one_fault_shows(&mutant("Z14"), &scenario(), "stream.rst", simulation);
}
