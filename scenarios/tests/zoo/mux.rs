//! The scenario `mux`: Z25 by what it takes: one silence, while bodies are on their way.

use scenarios::zoo::mux::{Bug, scenario, with_bug};

use crate::keeper::{calm, found, green, holds, mutant};
use crate::trial::run_with_plan;

#[test]
fn the_twin_holds() {
    green(&scenario(), calm);
    holds(&scenario());
}

#[test]
fn nothing_is_seen_of_the_mutant_while_the_network_is_calm() {
    green(&mutant("Z25"), calm);
}

#[test]
fn the_mutant_is_found() {
    found(&mutant("Z25"), &["the next body did not happen", "credit is not whole in the end"]);
}

#[test]
fn a_silence_costs_the_connection_its_credit() {
    let mut caught = 0;
    for millis in 3..12 {
        let plan = format!("cut client server {millis}ms..{}ms", millis + 100);
        caught += u32::from(run_with_plan(&with_bug(Bug::KeepsCredit), 1, &plan).is_err());
        assert!(run_with_plan(&scenario(), 1, &plan).is_ok(), "{plan}");
    }
    assert!(caught > 4, "{caught} of 9");
}
