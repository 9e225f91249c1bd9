//! The scenario `websocket`: Z01 and Z02.

use scenarios::zoo::websocket::scenario;
use sim_net::{Boundary, Probability, Sim, StreamFaults};

use crate::keeper::{calm, found_within, green, holds, mutant, shows};

const SAYS: [&str; 3] = ["messages came back", "came back as another", "did not happen within"];

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
    found_within(&mutant("Z01"), 40, &SAYS);
    found_within(&mutant("Z02"), 40, &SAYS);
}

fn byte_by_byte(seed: u64) -> Sim {
    let always = Probability::percent(100).expect("it is one");
    calm(seed).stream_faults(StreamFaults::new().boundaries(always, Boundary::Byte))
}

#[test]
fn reads_of_a_byte_show_them() {
    shows(&mutant("Z01"), &scenario(), byte_by_byte);
    shows(&mutant("Z02"), &scenario(), byte_by_byte);
}
