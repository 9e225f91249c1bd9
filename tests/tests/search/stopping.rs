//! A check that is told to stop tells what it has found.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sim_check::{Check, Verdict, check};
use sim_core::World;

const SEEDS: u64 = 1_000;

async fn fails_on_one_in_ten(world: World) -> io::Result<()> {
    match world.rng("coin").below(10) {
        0 => Err(io::Error::other("the coin fell on its edge")),
        _ => Ok(()),
    }
}

/// The verdict of a check that is told to stop when so many runs have begun.
fn stopped_after(runs: u64, check: Check) -> Verdict {
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let flag = Arc::clone(&stop);
    check.stop_flag(flag).verdict(move |world| {
        if begun.fetch_add(1, Ordering::Relaxed) + 1 >= runs {
            stop.store(true, Ordering::Relaxed);
        }
        fails_on_one_in_ten(world)
    })
}

#[test]
fn what_was_found_until_then_is_what_the_whole_check_finds_first() {
    let whole = check("coin").seeds(SEEDS).verdict(fails_on_one_in_ten);
    assert!(!whole.cut_short && !whole.interrupted);
    for jobs in [1, 2] {
        let verdict = stopped_after(200, check("coin").seeds(SEEDS).jobs(jobs));
        assert!(verdict.cut_short && verdict.interrupted);
        assert!((100..=200).contains(&verdict.seeds), "{verdict}");
        let found = |verdict: &Verdict, seeds: u64| -> Vec<(u64, u64)> {
            let before = verdict.failures.iter().filter(|failed| failed.seed() < seeds);
            before.map(|failed| (failed.seed(), failed.hash)).collect()
        };
        assert_eq!(found(&verdict, SEEDS), found(&whole, verdict.seeds));
        assert!(verdict.explanation.is_some(), "{verdict}");
        let text = verdict.to_string();
        let told = format!(" runs failed, of {} seeds (", verdict.seeds);
        assert!(
            text.contains(&told) && text.contains(", cut short: it was told to stop)"),
            "{text}"
        );
    }
}

#[test]
fn it_keeps_its_corpus_as_ever() {
    let corpus = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stopped-corpus");
    drop(std::fs::remove_dir_all(&corpus));
    let verdict = stopped_after(100, check("coin").seeds(SEEDS).corpus(&corpus));
    assert!(verdict.interrupted);
    assert!(verdict.kept.expect("it has a corpus").expect("it can be written").is_file());
}

#[test]
fn one_that_is_told_before_it_begins_runs_once() {
    let stop = Arc::new(AtomicBool::new(true));
    let verdict = check("coin").stop_flag(stop).seeds(SEEDS).verdict(|_: World| async {});
    assert_eq!((verdict.seeds, verdict.interrupted), (1, true));
    assert!(verdict.is_green() && verdict.to_string().contains("told to stop"), "{verdict}");
}

#[test]
fn one_that_is_told_behind_its_last_run_is_whole() {
    let verdict = stopped_after(1, check("coin").jobs(1).seeds(1));
    assert_eq!((verdict.seeds, verdict.cut_short, verdict.interrupted), (1, false, false));
}
