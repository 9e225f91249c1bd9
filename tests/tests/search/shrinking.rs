//! Failures of the zoo, made small: to what is known to be enough, on any number of threads.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use scenarios::zoo::{Specimen, specimens};
use sim_check::{Profile, Verdict, check};
use sim_core::World;

fn found(specimen: &Specimen, jobs: usize) -> Verdict {
    let (mutant, twin) = ((specimen.mutant)(), (specimen.twin)());
    let profile = Profile::of(mutant.fault_mix().expect("it has one")).expect("its link is one");
    let check = check(specimen.id).seeds(2_000).jobs(jobs).profile(profile).stop_at_first(true);
    let verdict = check.shrinks(false).verdict(|world| mutant.run(world));
    let check = sim_check::check(specimen.id)
        .jobs(jobs)
        .profile(Profile::of(mutant.fault_mix().expect("it has one")).expect("its link is one"));
    check.explained(verdict, |world| mutant.run(world), |world| twin.run(world))
}

/// The same failure, the same small plan and the same number of replays, whoever was ready first.
#[test]
fn one_thread_and_two_give_the_same_plan() {
    for specimen in specimens().iter().step_by(3) {
        let [one, two] = [1, 2].map(|jobs| {
            let verdict = found(specimen, jobs);
            let first = verdict.failures.first().unwrap_or_else(|| panic!("{}", specimen.id));
            let shrunk = verdict.explanation.as_ref().map(|it| it.shrunk.clone());
            (first.origin.clone(), shrunk.unwrap_or_else(|| panic!("{verdict}")))
        });
        assert_eq!(one, two, "{}", specimen.id);
    }
}

/// Every bug is found, and what it comes down to is the known minimum and passes for the twin.
#[test]
fn every_bug_comes_down_to_its_known_minimum() {
    for specimen in specimens() {
        let verdict = found(&specimen, 2);
        let explanation =
            verdict.explanation.as_ref().unwrap_or_else(|| panic!("{}: {verdict}", specimen.id));
        let plan = &explanation.shrunk.plan;
        assert_eq!(plan.faults().count(), specimen.minimum, "{}: {plan}", specimen.id);
        assert_eq!(explanation.bound, specimen.minimum, "{}: {plan}", specimen.id);
        assert_eq!(explanation.steps.len(), specimen.minimum, "{}: {plan}", specimen.id);
        let lines = plan.entries.len() + explanation.story.len() + 1;
        assert!(lines <= 25, "{}: {lines} lines", specimen.id);
    }
}

/// Counts each 100 ms, and fails if it forgets a three.
async fn counts(world: World) -> io::Result<()> {
    let (highest, forgotten) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let cells = (Rc::clone(&highest), Rc::clone(&forgotten));
    world.boot("a", move |host| {
        let (highest, forgotten) = cells.clone();
        async move {
            forgotten.set(highest.get());
            for count in 0.. {
                highest.set(count);
                host.sleep(Duration::from_millis(100)).await;
            }
            Ok::<(), io::Error>(())
        }
    });
    world.sleep(Duration::from_secs(20)).await;
    if forgotten.get() < 3 { Ok(()) } else { Err(io::Error::other("a three is forgotten")) }
}

/// At 300 ms the host counts to three: whenever a crash comes behind that, the first moment is told, and it is round.
#[test]
fn a_crash_is_moved_to_the_earliest_turn_behind_which_it_does_the_same() {
    for (late, early) in [
        ("crash a 7.7654321s for 3s", "crash a 310ms for 1ms"),
        ("crash a 300000001ns for 3s", "crash a 310ms for 1ms"),
    ] {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("earliest");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        let plan = format!("plan 1.0\nscenario counts\nseed 0x0\n{late}\n");
        fs::write(folder.join("counts.first.plan"), plan).unwrap();
        let small = |jobs: usize| {
            let verdict = check("counts").seeds(0).jobs(jobs).corpus(&folder).verdict(counts);
            let explanation = verdict.explanation.unwrap_or_else(|| panic!("{late}"));
            (explanation.shrunk.plan.entries[0].to_string(), explanation.shrunk.replays)
        };
        let one = small(1);
        assert_eq!(one.0, early, "{late}");
        assert_eq!(one, small(2), "{late}");
    }
}
