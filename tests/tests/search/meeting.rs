//! A second bug that shows while the plan of a first is made small: a finding of its own.

use std::cell::Cell;
use std::fs;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use sim_check::{Failed, Origin, Verdict, check};
use sim_core::World;
use sim_net::Plan;

const BOTH: &str = "plan 1.0\nscenario twice\nseed 0x0\ncrash a 1s for 1s\ncrash b 4s for 1s\n";

/// Fails in one way if both hosts were started again, and in two others if one of them was: `b` by a panic.
async fn twice(world: World) -> io::Result<()> {
    let starts = ["a", "b"].map(|name| {
        let starts = Rc::new(Cell::new(0));
        let count = Rc::clone(&starts);
        world.boot(name, move |_| {
            count.set(count.get() + 1);
            pending::<io::Result<()>>()
        });
        starts
    });
    world.sleep(Duration::from_secs(10)).await;
    match starts.map(|starts| starts.get()) {
        [1, 1] => Ok(()),
        [2, 1] => Err(io::Error::other("one is lost")),
        [1, 2] => panic!("the other is lost"),
        _ => Err(io::Error::other("both are lost")),
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("twice.first.plan"), BOTH).unwrap();
    folder
}

fn errors(failures: &[Failed]) -> Vec<&str> {
    failures.iter().map(|failed| failed.error.split(',').next().unwrap_or_default()).collect()
}

fn shrunk(folder: &PathBuf, jobs: usize) -> Verdict {
    check("twice").seeds(0).jobs(jobs).corpus(folder).verdict(twice)
}

#[test]
fn what_fails_in_other_ways_while_a_plan_is_made_small_is_kept_as_findings_of_their_own() {
    let folder = folder("met");
    let verdict = shrunk(&folder, 1);
    assert_eq!(errors(&verdict.failures), ["both are lost"]);
    let small = &verdict.explanation.as_ref().expect("it is made small").shrunk.plan;
    assert_eq!(small.faults().count(), 2, "{small}");
    assert_eq!(errors(&verdict.met), ["the other is lost", "one is lost"]);
    let text = verdict.to_string();
    for met in &verdict.met {
        let Origin::Kept(path, plan) = &met.origin else { panic!("{:?}", met.origin) };
        assert!(text.contains(&format!("the plan {}", path.display())), "{text}");
        assert_eq!(fs::read_to_string(path).unwrap().parse(), Ok(plan.clone()));
        let again = check("twice").replay(plan, twice);
        assert_eq!(again.failures[0].signature, met.signature);
        assert_eq!(again.failures[0].hash, met.hash);
    }
    assert!(text.contains("\nmet while it was made small: one is lost"), "{text}");

    // From then on they are failures like any other.
    let later = shrunk(&folder, 1);
    assert_eq!(later.corpus.replayed, 3);
    assert_eq!((later.failures.len(), later.met.len()), (3, 0), "{later}");
}

#[test]
fn they_are_the_same_with_one_job_and_with_two() {
    let [one, two] = [1, 2].map(|jobs| {
        let verdict = shrunk(&folder(&format!("met-by-{jobs}")), jobs);
        let met = verdict.met.iter().map(|met| (met.origin.plan().cloned(), met.hash));
        met.collect::<Vec<(Option<Plan>, u64)>>()
    });
    assert_eq!(one.len(), 2);
    assert_eq!(one, two);
}

/// Whoever says that any lost host is one bug gets the smallest plan for that, and nothing that was met.
#[test]
fn a_test_may_say_which_failures_are_the_same() {
    let folder = folder("same");
    let check = check("twice").seeds(0).corpus(&folder);
    let verdict = check.same_failure(|_, found| found.as_str().contains("lost")).verdict(twice);
    let plan = &verdict.explanation.as_ref().expect("it is made small").shrunk.plan;
    let lines: Vec<String> = plan.entries.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["crash a 1s for 1ms"]);
    let met = verdict.met.iter().map(|failed| failed.error.as_str());
    assert!(met.clone().all(|error| error.contains("the other")), "{:?}", met.collect::<Vec<_>>());
}
