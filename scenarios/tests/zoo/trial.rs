//! Runs on a calm network, but for one thing.

use std::future::Future;

use sim_core::{Scenario, World};
use sim_net::{Finding, Links, Plan, Sim};

use crate::keeper::calm;

/// A run on a network without faults, where every packet takes a millisecond, or as `change` has it.
pub(crate) fn run(
    scenario: &Scenario,
    seed: u64,
    change: impl FnOnce(Sim) -> Sim,
) -> Result<(), Finding> {
    change(calm(seed)).run(|world| scenario.run(world)).outcome
}

/// Such a run with scheduled faults.
pub(crate) fn run_with_plan(scenario: &Scenario, seed: u64, plan: &str) -> Result<(), Finding> {
    let plan: Plan = plan.parse().expect("it is a plan");
    run(scenario, seed, |sim| sim.plan(&plan).expect("its faults are scheduled"))
}

/// Such a run while somebody meddles with the links.
pub(crate) fn run_by_hand<F: Future<Output = ()> + 'static>(
    scenario: &Scenario,
    seed: u64,
    meddle: impl FnOnce(World, Links) -> F,
) -> Result<(), Finding> {
    let run = |world: World, links| {
        world.host("operator").create_task(meddle(world.clone(), links));
        scenario.run(world)
    };
    calm(seed).run_with_links(run).outcome
}

/// Holds if the run found something that says so.
#[track_caller]
pub(crate) fn finds(outcome: Result<(), Finding>, says: &str) {
    let finding = outcome.expect_err("it should have been caught").to_string();
    assert!(finding.contains(says), "{finding}");
}
