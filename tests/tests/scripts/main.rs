//! Random scripts of what two ends of a connection do, with one outcome on every loop.
//!
//! A [script](script::Script) is played in the simulator, on several seeds, and on real sockets; what
//! both ends see is the same, projected to what the contract determines:
//!
//! * the order of callbacks of each end, adjacent `data_received` as one;
//! * the data, byte by byte, and how much of it has come at every barrier;
//! * the class of the error of `connection_lost`: none, a reset of some kind, or another;
//! * what the transport says of itself at every barrier.
//!
//! `pause_writing` and `resume_writing` are held to their rules, but how often they come is the
//! kernels' affair, and so is how much of a flood still arrives when an end gives up in the middle of
//! it. [`tame`] says which scripts there are not, and why.
//!
//! `PROPTEST_CASES` plays more scripts, and `PROPTEST_RNG_SEED` others.

mod actor;
mod play;
mod script;
mod strategy;
mod tame;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sim_net::Sim;
use tests::cases;

use play::{Over, Seen, play};
use script::Script;

/// How many scripts are played unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 512;
const LATENCY: std::ops::Range<Duration> = Duration::from_micros(500)..Duration::from_micros(1500);

#[track_caller]
fn for_all_scripts(holds: impl Fn(&Script) -> Result<(), String>) {
    let ran = TestRunner::new(cases::fixed(CASES))
        .run(&strategy::scripts(), |script| holds(&script).map_err(TestCaseError::fail));
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

fn simulated(script: &Script, over: Over, seed: u64) -> Result<(Seen, u64), String> {
    let report = Sim::new(seed).latency(LATENCY).run(|world| play(world, script.clone(), over));
    let tail = report.tail;
    let seen = report.outcome.map_err(|finding| format!("seed {seed}: {finding}\n{tail}"))?;
    Ok((seen, report.hash))
}

fn real(script: &Script, over: Over) -> Result<Seen, String> {
    let runner = real_net::Runner::new().limit(Duration::from_secs(60));
    runner.run(|world| play(world, script.clone(), over)).map_err(|error| format!("real: {error}"))
}

fn same(one: &Seen, two: &Seen, what: &str) -> Result<(), String> {
    match one.difference(two) {
        None => Ok(()),
        Some(difference) => Err(format!("{what} differ:\n{difference}")),
    }
}

/// K-06, K-07: a seed gives one trace; another seed another trace, in which both ends see the same.
// on: sim
#[test]
fn what_the_ends_see_does_not_depend_on_the_seed() {
    for_all_scripts(|script| {
        let (first, hash) = simulated(script, Over::Tcp, 0)?;
        let (again, hash_again) = simulated(script, Over::Tcp, 0)?;
        if (&again, hash_again) != (&first, hash) {
            return Err(format!("two runs of a seed differ:\n{first:?}\nand\n{again:?}"));
        }
        for seed in 1..4 {
            let (other, other_hash) = simulated(script, Over::Tcp, seed)?;
            if other_hash == hash {
                return Err(format!("seeds 0 and {seed} have one hash"));
            }
            same(&first, &other, &format!("seeds 0 and {seed}"))?;
        }
        Ok(())
    });
}

/// K-08: what both ends see on real sockets is what they see in the simulator.
// on: sim, real
#[test]
fn what_the_ends_see_does_not_depend_on_the_loop() {
    for_all_scripts(|script| {
        same(&simulated(script, Over::Tcp, 7)?.0, &real(script, Over::Tcp)?, "sim and real")
    });
}

/// K-08, E-43: and so on a Unix stream, where both ends are on one host.
// on: sim, real
#[test]
fn what_the_ends_of_a_unix_stream_see_does_not_depend_on_the_loop() {
    for_all_scripts(|script| {
        same(&simulated(script, Over::Unix, 7)?.0, &real(script, Over::Unix)?, "sim and real")
    });
}
