//! The scenario `proxy`, and its wrong twins.

use scenarios::proxy::{Flaw, scenario, with_flaw};

use crate::mixes::{is_caught, stands_its_mix};
use crate::trouble::{Kind, holds, ms, trouble};

/// Not a kill: the kernel ends the connections of a process that was killed in good order.
const KINDS: [Kind; 4] = [Kind::Crash, Kind::CrashAfter(7), Kind::Pause, Kind::Freeze];

#[test]
fn it_stands_its_mix() {
    stands_its_mix(&scenario());
}

#[test]
fn it_holds_whatever_befalls_the_proxy_and_the_origin() {
    for moment in 0..12 {
        for kind in KINDS {
            for host in ["proxy", "origin"] {
                let lasts = ms(11 * (moment % 23));
                holds(&scenario(), moment, &[trouble(host, kind, ms(9 * moment), lasts)]);
            }
        }
    }
}

#[test]
fn clients_that_stand_still_for_seconds_are_outlasted_or_given_up() {
    for seed in 0..5 {
        for kind in [Kind::Pause, Kind::Freeze] {
            for lasts in [1_000, 4_000, 9_000] {
                holds(&scenario(), seed, &[trouble("client-0", kind, ms(20), ms(lasts))]);
            }
        }
    }
}

#[test]
fn every_flaw_is_caught() {
    is_caught(&with_flaw(Flaw::NoBackPressure), "bytes waited in the proxy");
    is_caught(&with_flaw(Flaw::EndsTogether), "ended in good order after");
    is_caught(&with_flaw(Flaw::EndsCleanly), "ended in good order after");
}
