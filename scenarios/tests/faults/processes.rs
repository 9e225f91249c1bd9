//! The scenarios `supervisor` and `graceful`, and their wrong twins.

use scenarios::{graceful, supervisor};

use crate::mixes::{is_caught, stands_its_mix};
use crate::trouble::{Kind, holds, ms, trouble};

#[test]
fn both_stand_their_mixes() {
    stands_its_mix(&supervisor::scenario());
    stands_its_mix(&graceful::scenario());
}

#[test]
fn both_hold_on_hosts_that_stand_still() {
    for moment in 0..20 {
        let at = |host, kind| [trouble(host, kind, ms(3 * moment), ms(7 * (moment % 11)))];
        holds(&supervisor::scenario(), moment, &at("supervisor", Kind::Pause));
        holds(&supervisor::scenario(), moment, &at("supervisor", Kind::Freeze));
        holds(&graceful::scenario(), moment, &at("server", Kind::Pause));
        holds(&graceful::scenario(), moment, &at("server", Kind::Freeze));
    }
}

#[test]
fn wrong_supervisors_are_caught() {
    use supervisor::{Flaw, with_flaw};
    is_caught(&with_flaw(Flaw::NoBackoff), "began after");
    is_caught(&with_flaw(Flaw::ForgetsTheJob), "these were done");
}

#[test]
fn wrong_servers_are_caught() {
    use graceful::{Flaw, with_flaw};
    is_caught(&with_flaw(Flaw::DropsWhatItTook), "and answered");
    is_caught(&with_flaw(Flaw::KeepsListening), "this one was not");
}
