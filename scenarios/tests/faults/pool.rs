//! The scenario `pool`, and its wrong twins.

use scenarios::pool::{Flaw, scenario, with_flaw};

use crate::mixes::{is_caught, stands_its_mix};
use crate::trouble::{Kind, holds, ms, trouble};

const KINDS: [Kind; 5] = [Kind::Crash, Kind::CrashAfter(5), Kind::Kill, Kind::Pause, Kind::Freeze];

#[test]
fn it_stands_its_mix() {
    stands_its_mix(&scenario());
}

#[test]
fn it_holds_whatever_befalls_the_server() {
    for moment in 0..40 {
        for kind in KINDS {
            let lasts = ms(7 * (moment % 31));
            holds(&scenario(), moment, &[trouble("server", kind, ms(5 * moment), lasts)]);
        }
    }
}

#[test]
fn every_flaw_is_caught() {
    is_caught(&with_flaw(Flaw::OpensMore), "there were");
    is_caught(&with_flaw(Flaw::KeepsOwing), "was answered with");
    is_caught(&with_flaw(Flaw::LosesSlots), "not answered, although nothing hinders it");
}
