//! The scenario `failover`, and its wrong twins.

use scenarios::failover::{Flaw, scenario, with_flaw};

use crate::trouble::{Kind, Trouble, holds, ms, run, trouble};

const HOSTS: [&str; 3] = ["node-0", "node-1", "witness"];
const KINDS: [Kind; 6] =
    [Kind::Crash, Kind::CrashAfter(1), Kind::CrashAfter(4), Kind::Kill, Kind::Pause, Kind::Freeze];

/// Two troubles of one kind, one after the other, at moments all over the run.
fn one_at_a_time(kind: Kind) -> impl Iterator<Item = (u64, [Trouble; 2])> {
    (0..60).map(move |moment| {
        let host = |number: u64| HOSTS[(number % 3) as usize];
        let first = trouble(host(moment), kind, ms(17 * moment), ms(11 * (moment % 41)));
        let after = first.at + first.lasts + ms(13 * (moment % 29));
        (moment, [first, trouble(host(moment / 3), kind, after, ms(11 * (moment % 37)))])
    })
}

/// Both nodes crash, the second soon after the first.
fn both_nodes() -> impl Iterator<Item = (u64, [Trouble; 2])> {
    (0..60).map(|moment| {
        let first = trouble("node-0", Kind::Crash, ms(150 + 11 * moment), ms(500));
        (moment, [first, trouble("node-1", Kind::Crash, first.at + ms(5 * (moment % 60)), ms(400))])
    })
}

#[test]
fn nothing_is_lost_whichever_host_is_in_trouble() {
    for kind in KINDS {
        for (seed, troubles) in one_at_a_time(kind) {
            holds(&scenario(), seed, &troubles);
        }
    }
}

#[test]
fn nothing_is_lost_when_both_nodes_crash() {
    for (seed, troubles) in both_nodes() {
        holds(&scenario(), seed, &troubles);
    }
}

#[test]
fn a_silence_of_seconds_is_outlasted() {
    for seed in 0..5 {
        for host in HOSTS {
            for kind in [Kind::Crash, Kind::Freeze, Kind::Pause] {
                holds(&scenario(), seed, &[trouble(host, kind, ms(300), ms(3_000))]);
            }
        }
    }
}

#[test]
fn every_flaw_is_caught_by_some_trouble() {
    for (flaw, says) in [
        (Flaw::AckBeforeBackup, "a write was lost"),
        (Flaw::NoSync, "a write was lost"),
        (Flaw::NoFence, "a write was lost"),
        (Flaw::NoWitness, "two lead term"),
    ] {
        let twin = with_flaw(flaw);
        let troubles = KINDS.into_iter().flat_map(one_at_a_time).chain(both_nodes());
        let mut findings = troubles.filter_map(|(seed, troubles)| {
            run(&twin, seed, &troubles).err().map(|finding| finding.to_string())
        });
        assert!(findings.any(|finding| finding.contains(says)), "{flaw:?} was not caught");
    }
}
