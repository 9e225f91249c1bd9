//! The scenario `websocket`: Z01 and Z02.

use scenarios::zoo::websocket::scenario;
use sim_net::{Boundary, Probability, Sim, StreamFaults};

use crate::keeper::{calm, found, green, holds, mutant, shows};

const SAYS: [&str; 4] =
    ["messages came back", "came back as another", "the server did not close", "did not happen"];

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutants_while_the_network_is_calm() {
    green(&mutant("Z01"), calm);
    green(&mutant("Z02"), calm);
}

#[test]
fn the_mutants_are_found() {
    found(&mutant("Z01"), &SAYS);
    found(&mutant("Z02"), &SAYS);
}

/// Every boundary is between two bytes: also the one that suffices.
#[test]
fn reads_of_a_byte_show_them() {
    let always = Probability::percent(100).expect("it is one");
    let bytes = StreamFaults::new().boundaries(always, Boundary::Byte);
    let simulation = |seed| -> Sim { calm(seed).stream_faults(bytes) };
    shows(&mutant("Z01"), &scenario(), simulation);
    shows(&mutant("Z02"), &scenario(), simulation);
}
