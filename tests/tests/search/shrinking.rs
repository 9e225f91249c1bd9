//! Failures of the zoo, made small: to what is known to be enough, on any number of threads.

use scenarios::zoo::{Specimen, specimens};
use sim_check::{Profile, Verdict, check};

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
