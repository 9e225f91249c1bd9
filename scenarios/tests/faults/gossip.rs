//! The scenario `gossip`, and its wrong twins.

use scenarios::gossip::{Flaw, Group, scenario, steady, with_flaw};
use sim_net::Sim;

use crate::trouble::{Kind, Trouble, holds, ms, run, trouble};

const HOSTS: [&str; 3] = ["host-0", "host-1", "host-2"];

/// Two crashes of one kind, one after the other, at moments all over the run.
fn crashes(kind: Kind) -> impl Iterator<Item = (u64, [Trouble; 2])> {
    (0..60).map(move |moment| {
        let host = |number: u64| HOSTS[(number % 3) as usize];
        let first = trouble(host(moment), kind, ms(5 + 17 * moment), ms(23 * (moment % 41)));
        let after = first.at + first.lasts + ms(13 * (moment % 29));
        (moment, [first, trouble(host(moment / 3), kind, after, ms(23 * (moment % 37)))])
    })
}

/// A host stands still for so long, at moments all over the run.
fn silences(kind: Kind, millis: u64) -> impl Iterator<Item = (u64, [Trouble; 1])> {
    (0..60).map(move |moment| (moment, [trouble("host-0", kind, ms(5 + 17 * moment), ms(millis))]))
}

#[test]
fn views_are_right_in_the_end_whoever_crashes() {
    for kind in [Kind::Crash, Kind::CrashAfter(5), Kind::Kill] {
        for (seed, troubles) in crashes(kind) {
            holds(&scenario(), seed, &troubles);
        }
    }
}

#[test]
fn a_silence_shorter_than_the_suspicion_kills_nobody() {
    for kind in [Kind::Pause, Kind::Freeze] {
        for (seed, troubles) in silences(kind, 100) {
            holds(&scenario(), seed, &troubles);
        }
    }
}

#[test]
fn every_flaw_is_caught() {
    for flaw in [Flaw::NoIncarnationCheck, Flaw::NoRefutation, Flaw::NoSuspicion] {
        let twin = with_flaw(flaw);
        let caught = silences(Kind::Freeze, 100).chain(silences(Kind::Pause, 100));
        let mut caught = caught.filter(|(seed, troubles)| run(&twin, *seed, troubles).is_err());
        assert!(caught.next().is_some(), "{flaw:?} was not caught");
    }
}

#[test]
fn a_steady_group_sends_two_datagrams_for_each_host_and_period() {
    let report = Sim::new(1)
        .run(|world| steady(world, Group { hosts: 200, period: ms(1_000), duration: ms(30_000) }));
    let datagrams = report.outcome.unwrap();
    assert!((11_600..=12_000).contains(&datagrams), "{datagrams}");
}
