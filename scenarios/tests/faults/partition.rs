//! The scenario `partition`, and its wrong twins.

use scenarios::partition::{Flaw, scenario, with_flaw};

use crate::trouble::{Kind, Trouble, holds, ms, run, trouble};

const KINDS: [Kind; 5] = [Kind::Crash, Kind::CrashAfter(3), Kind::Kill, Kind::Pause, Kind::Freeze];

/// A crash of the server at moments all over the run, on a seed for each.
fn crashes(kind: Kind) -> impl Iterator<Item = (u64, [Trouble; 2])> {
    (0..60).map(move |moment| {
        let first = trouble("server", kind, ms(13 * moment), ms(7 * moment));
        let second = Trouble { at: first.at + first.lasts + ms(40 + moment), ..first };
        (moment, [first, second])
    })
}

#[test]
fn every_call_is_executed_once_whatever_befalls_the_server() {
    for kind in KINDS {
        for (seed, troubles) in crashes(kind) {
            holds(&scenario(), seed, &troubles);
        }
    }
}

/// A client that hears nothing for a while, and a crash of the server meanwhile.
fn crashes_unheard() -> impl Iterator<Item = (u64, [Trouble; 2])> {
    (0..200).map(move |moment| {
        let deaf = trouble("client-0", Kind::Freeze, ms(40 + 2 * moment), ms(300));
        let crash = trouble("server", Kind::Crash, deaf.at + ms(30), ms(20));
        (moment, [deaf, crash])
    })
}

#[test]
fn answers_that_nobody_heard_are_given_again_after_a_crash() {
    for (seed, troubles) in crashes_unheard() {
        holds(&scenario(), seed, &troubles);
    }
}

#[test]
fn a_silence_of_seconds_is_outlasted() {
    for seed in 0..10 {
        for kind in [Kind::Crash, Kind::Freeze, Kind::Pause] {
            holds(&scenario(), seed, &[trouble("server", kind, ms(100), ms(4_000))]);
        }
    }
}

#[test]
fn every_flaw_is_caught_by_some_crash() {
    for (flaw, says) in [
        (Flaw::NoRetry, "no answer"),
        (Flaw::NoDuplicateFilter, "executed twice"),
        (Flaw::NoSync, "is lost"),
        (Flaw::ForgetfulRestart, "executed twice"),
    ] {
        let twin = with_flaw(flaw);
        let mut findings =
            crashes(Kind::Crash).chain(crashes_unheard()).filter_map(|(seed, troubles)| {
                run(&twin, seed, &troubles).err().map(|finding| finding.to_string())
            });
        let caught = findings.any(|finding| finding.contains(says));
        assert!(caught, "{flaw:?} was not caught");
    }
}
