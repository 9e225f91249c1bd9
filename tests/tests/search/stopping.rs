//! A check that is told to stop tells what it has found.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sim_check::{Check, Profile, Verdict, check};
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

/// It may have been on its way there.
#[test]
fn one_that_is_told_misses_nothing() {
    let check = || check("patient").jobs(1).sometimes("a miracle").seeds(SEEDS);
    let whole = check().verdict(|_: World| async {});
    assert_eq!((whole.missed.len(), whole.is_green()), (1, false), "{whole}");
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let verdict = check().stop_flag(Arc::clone(&stop)).verdict(|_: World| {
        stop.fetch_or(begun.fetch_add(1, Ordering::Relaxed) > 200, Ordering::Relaxed);
        async {}
    });
    assert!((100..SEEDS).contains(&verdict.seeds) && verdict.interrupted, "{verdict}");
    assert!(verdict.is_green() && verdict.missed.is_empty(), "{verdict}");
}

/// What only tells what there is to do would take runs, too.
#[test]
fn one_that_is_told_before_it_begins_looks_at_nothing_more() {
    for singles in [false, true] {
        let (stop, runs) = (Arc::new(AtomicBool::new(true)), AtomicU64::new(0));
        let check = check("counted").profile(Profile::swarm()).singles(singles).stop_flag(stop);
        let verdict = check.verdict(|world: World| {
            runs.fetch_add(1, Ordering::Relaxed);
            async move { world.host("a").sleep(Duration::from_secs(1)).await }
        });
        // The first seed is run twice, and a profile without bounds asks a calm run how long its faults may last.
        assert!(runs.into_inner() <= 3 && verdict.seeds == 1 && verdict.interrupted, "{verdict}");
    }
}

#[test]
fn one_with_a_corpus_of_no_plans_runs_a_seed_all_the_same() {
    let corpus = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unreadable-corpus");
    let _none_yet = std::fs::remove_dir_all(&corpus);
    std::fs::create_dir_all(&corpus).unwrap();
    std::fs::write(corpus.join("coin.0.plan"), "plan 99.0\n").unwrap();
    let check = || check("coin").corpus(&corpus).shrinks(false);
    let stopped = check().stop_flag(Arc::new(AtomicBool::new(true)));
    for check in [stopped, check().budget(Duration::ZERO)] {
        let verdict = check.verdict(|_: World| async { Err::<(), _>(io::Error::other("always")) });
        assert_eq!((verdict.seeds, verdict.corpus.unreadable.len()), (1, 1), "{verdict}");
        assert!(!verdict.is_green() && verdict.cut_short, "{verdict}");
    }
}

#[test]
fn shrinking_ends_with_what_it_has() {
    let (stop, runs) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let flag = Arc::clone(&stop);
    let check = check("late").jobs(1).seeds(400).stop_at_first(true).singles(false);
    let verdict = check.profile(Profile::swarm()).stop_flag(flag).verdict(|world: World| {
        runs.fetch_add(1, Ordering::Relaxed);
        let stop = Arc::clone(&stop);
        async move {
            let (a, b) = (world.host("a"), world.host("b"));
            for _ in 0..5 {
                a.sleep(Duration::from_secs(1)).await;
                b.sleep(Duration::from_millis(300)).await;
            }
            if world.time().since_epoch() > Duration::from_millis(6_600) {
                stop.store(true, Ordering::Relaxed);
                return Err(io::Error::other("it is late"));
            }
            Ok(())
        }
    });
    let shrunk = &verdict.explanation.as_ref().expect("it is looked into").shrunk;
    assert!(shrunk.reproduced && shrunk.replays <= 2 && !shrunk.is_minimal, "{shrunk}");
    assert!(verdict.interrupted, "{verdict}");
}
