//! Checks as a whole: what a failure is known by, and what is told of it.

use std::io;
use std::panic::{catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::Duration;

use sim_core::{PanicPolicy, World};

use crate::shrink::Bounds;
use crate::{Verdict, artifacts, check};

const SECOND: Duration = Duration::from_secs(1);

/// The verdict's kinds of failures.
fn kinds(verdict: &Verdict) -> Vec<&str> {
    let mut kinds: Vec<&str> =
        verdict.failures.iter().map(|failed| failed.signature.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

async fn unlucky(_: World) {
    panic!("of luck");
}

fn error(verdict: &Verdict) -> &str {
    &verdict.failures.first().expect("it fails").error
}

#[test]
fn a_property_whose_panic_is_contained_fails_the_check() {
    let check = check("claims").seeds(100).shrinks(false);
    let check = check.sim(|sim| sim.panic_policy(PanicPolicy::Contain));
    let verdict = check.verdict(|world: World| async move {
        let lp = world.host("n1");
        lp.call_soon(|| sim_core::always!(1 > 2, "order", "one is more than two"));
        lp.sleep(SECOND).await;
    });
    assert_eq!((verdict.is_green(), verdict.failed), (false, 100));
    assert_eq!(kinds(&verdict), ["property order"]);
    let failed = &verdict.failures[0];
    assert!(failed.error.starts_with("order: one is more than two, at "), "{}", failed.error);
    assert!(failed.error.contains("tests.rs"), "{}", failed.error);
    assert_eq!((&*failed.host, failed.time), ("n1", sim_core::Time::ZERO));
}

#[test]
fn properties_whose_names_begin_alike_are_two() {
    let verdict = check("alike").seeds(40).shrinks(false).verdict(|world: World| async move {
        match world.rng("coin").below(2) {
            0 => sim_core::always!(1 > 2, "log: no gap"),
            _ => sim_core::always!(1 > 2, "log: no fork in term 3", "at {}", 7),
        }
    });
    assert_eq!(kinds(&verdict), ["property log: no fork in term 3", "property log: no gap"]);
}

#[test]
fn the_place_of_a_failure_is_its_own() {
    let verdict = check("taken").seeds(1).shrinks(false).verdict(|_: World| async {
        drop(catch_unwind(|| panic!("taken")));
        Err::<(), _>(io::Error::other("the answer is wrong"))
    });
    assert_eq!(error(&verdict), "the answer is wrong");

    let contained = check("contained").seeds(1).shrinks(false);
    let contained = contained.sim(|sim| sim.panic_policy(PanicPolicy::Contain));
    let verdict = contained.verdict(|world: World| async move {
        let lp = world.host("n1");
        lp.call_soon(|| panic!("contained"));
        drop(lp.create_future::<()>().await);
    });
    assert!(!error(&verdict).contains("tests.rs"), "{}", error(&verdict));

    async fn resumes_the_first(_: World) {
        let first: Result<(), _> = catch_unwind(|| panic!("the first"));
        drop(catch_unwind(|| panic!("the second")));
        resume_unwind(first.expect_err("it panics"))
    }
    let verdict = check("again").seeds(1).shrinks(false).verdict(resumes_the_first);
    let line = include_str!("tests.rs").lines().position(|line| line.contains("\"the first\""));
    let place = format!("tests.rs:{}:", line.expect("it is above") + 1);
    assert!(error(&verdict).contains(&place), "{}", error(&verdict));
    assert!(kinds(&verdict)[0].contains(&place), "{verdict}");
}

#[test]
fn a_deadlock_is_one_however_many_workers_are_stuck() {
    let stuck = |job: &'static str| {
        check("stuck").seeds(40).shrinks(false).verdict(move |world: World| async move {
            let workers = 1 + world.rng("workers").below(4);
            let mut tasks = Vec::new();
            for number in 0..workers {
                let lp = world.host(&format!("n{number}"));
                let never = lp.create_future::<()>();
                let name = format!("{job}{number}");
                tasks.push(lp.create_named_task(name, async move { drop(never.await) }));
            }
            for task in tasks {
                drop(task.await);
            }
        })
    };
    let (readers, writers) = (stuck("reader-"), stuck("writer"));
    assert_eq!((readers.failed, kinds(&readers).len()), (40, 1), "{readers}");
    assert_eq!((writers.failed, kinds(&writers).len()), (40, 1), "{writers}");
    assert_ne!(kinds(&readers), kinds(&writers));
}

#[test]
fn the_reports_of_two_checks_of_one_name_are_written_side_by_side() {
    let corpus = artifacts().join(format!("test-twins-{}", std::process::id()));
    let reports = |seconds: u32| -> Vec<String> {
        let report = |_| {
            let check = check("twins").seeds(1).corpus(&corpus);
            let run = || {
                check.run(|world: World| async move {
                    world.host("n1").sleep(SECOND * seconds).await;
                    unlucky(world).await;
                });
            };
            let run = std::panic::AssertUnwindSafe(run);
            *catch_unwind(run).unwrap_err().downcast::<String>().expect("it is text")
        };
        (0..20).map(report).collect()
    };
    let reports: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> =
            (1..=8).map(|seconds| scope.spawn(move || reports(seconds))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("it is caught")).collect()
    });
    std::fs::remove_dir_all(&corpus).expect("it was made");
    assert_eq!(reports.len(), 160);
    for report in reports {
        assert!(report.contains("\nreplay ") && report.contains("\ntimeline"), "{report}");
        assert!(!report.contains("could not") && !report.contains("not:"), "{report}");
    }
}

#[test]
fn a_check_of_a_very_long_name_leaves_its_files() {
    let corpus = artifacts().join(format!("test-long-{}", std::process::id()));
    let name = "a long name ".repeat(25);
    let run = || {
        check(&*name).seeds(1).corpus(&corpus).run(unlucky);
    };
    let report = *catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_err()
        .downcast::<String>()
        .expect("it is text");
    let of = |what: &str| {
        let line = report.lines().find(|line| line.starts_with(what)).expect("it is told");
        PathBuf::from(line.trim_start_matches(what).trim())
    };
    assert!(of("timeline").is_file() && of("kept").is_file(), "{report}");
    std::fs::remove_dir_all(&corpus).expect("it was made");
}

#[test]
fn what_must_happen_sometimes_is_no_claim_of_another_kind() {
    let missed = |sometimes: bool, first: bool| {
        let verdict = check("luck").sometimes("luck").verdict(move |_: World| async move {
            if first {
                sim_core::always!(true, "luck");
            }
            sim_core::sometimes!(sometimes, "luck");
            sim_core::always!(true, "luck");
        });
        verdict.missed.len()
    };
    for first in [true, false] {
        assert_eq!((missed(false, first), missed(true, first)), (1, 0));
    }
}

#[test]
fn bounds_that_leave_no_replay_are_told() {
    let bounds = Bounds { replays: 0, events: 0 };
    let check = check("hurried").seeds(1).shrink_bounds(bounds);
    let verdict = check.verdict(unlucky);
    let why = verdict.unexplained.expect("it was not tried");
    assert!(why.contains("no replay"), "{why}");
}

#[test]
fn a_green_verdict_tells_how_often_properties_held_and_did_not() {
    let verdict = check("told").seeds(2).verdict(|_: World| async {
        for number in 0..10 {
            sim_core::always!(number < 10, "small");
            sim_core::sometimes!(number == 7, "seven");
        }
    });
    let text = verdict.to_string();
    let told = "properties: sometimes \"seven\" 2 of 20, always \"small\" 20";
    assert!(text.ends_with(told), "{text}");
}

#[test]
fn a_report_whose_files_cannot_be_written_says_how_to_run_it_again() {
    let corpus = artifacts().join(format!("test-blocked-{}", std::process::id()));
    let name = format!("blocked-{}", std::process::id());
    // A folder where the plan is to be.
    let folder = artifacts().join(format!("{name}.plan"));
    std::fs::create_dir_all(&folder).expect("it can be made");
    let report = |corpus: &PathBuf| {
        let run = || check(&*name).seeds(1).first_seed(7).corpus(corpus).run(unlucky);
        let report = catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
        *report.downcast::<String>().expect("it is text")
    };
    let kept = report(&corpus);
    assert!(
        kept.contains("\nreplay    SIM_PLAN=") && kept.contains("could not be written"),
        "{kept}"
    );
    // Nor is there a corpus: a folder cannot be where a file is.
    std::fs::remove_dir_all(&corpus).expect("it was made");
    std::fs::write(&corpus, "no folder").expect("it can be made");
    let seed = report(&corpus);
    assert!(seed.contains("\nreplay    SIM_SEED=7 cargo test"), "{seed}");
    std::fs::remove_file(&corpus).expect("it was made");
    std::fs::remove_dir_all(&folder).expect("it was made");
}
