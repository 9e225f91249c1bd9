//! The scenario `http`, and its wrong twins.

use scenarios::http::{Flaw, scenario, with_flaw};

use crate::mixes::{is_caught, stands_its_mix};

#[test]
fn it_stands_its_mix() {
    stands_its_mix(&scenario());
}

#[test]
fn every_flaw_is_caught() {
    is_caught(&with_flaw(Flaw::EndCuts), "the end of the server cut");
    is_caught(&with_flaw(Flaw::KeepsIdle), "the end of the server cut");
    is_caught(&with_flaw(Flaw::MakesBodiesAhead), "of a body that nobody reads");
}
