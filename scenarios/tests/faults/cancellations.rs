//! The scenario `dispatch`, whose workers may be cancelled, and its wrong twins.

use scenarios::dispatch::{self, Flaw};
use sim_check::{Family, Profile, Verdict, check};
use sim_core::Scenario;

use crate::trouble::{Kind, holds, ms, trouble};

fn verdict(scenario: &Scenario) -> Verdict {
    let profile = Profile::of(scenario.fault_mix().unwrap()).unwrap();
    check(scenario.name()).profile(profile).seeds(300).verdict(|world| scenario.run(world))
}

#[test]
fn it_stands_its_mix_and_its_workers_are_cancelled() {
    let verdict = verdict(&dispatch::scenario());
    assert!(verdict.is_green(), "{verdict}");
    assert!(verdict.faults["task.cancel"] > 300, "{verdict}");
    let single = verdict.coverage.iter().find(|covered| covered.family == Family::Cancel);
    assert!(single.is_some_and(|covered| covered.done == covered.total), "{verdict}");
}

#[test]
fn it_holds_on_hosts_that_stand_still() {
    for moment in 0..20 {
        let at = |host, kind| [trouble(host, kind, ms(3 * moment), ms(7 * (moment % 11)))];
        holds(&dispatch::scenario(), moment, &at("store", Kind::Pause));
        holds(&dispatch::scenario(), moment, &at("office", Kind::Freeze));
    }
}

/// Each is found, and comes down to cancellations and nothing else.
#[test]
fn wrong_twins_are_caught_by_cancellations() {
    let twins = [(Flaw::LosesTheJob, 1), (Flaw::KeepsTheSlot, SLOTS)];
    for (flaw, most) in twins {
        let verdict = verdict(&dispatch::with_flaw(flaw));
        let explanation =
            verdict.explanation.as_ref().unwrap_or_else(|| panic!("{flaw:?}: {verdict}"));
        assert!((1..=most).contains(&explanation.steps.len()), "{verdict}");
        for step in &explanation.steps {
            assert!(step.entry.to_string().starts_with("cancel office@1/"), "{verdict}");
        }
    }
}

/// With so many lost nobody gets one.
const SLOTS: usize = 2;
