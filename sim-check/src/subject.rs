//! What a check runs: a scenario, the simulation that each seed has, and what befalls it.

use std::future::Future;
use std::sync::OnceLock;

use sim_core::{Outcome, World};
use sim_net::plan::PlanError;
use sim_net::{FindingKind, Memory, Plan, Recording, Report, Sim};

use crate::calm::{Calm, MOMENTS_MAX};
use crate::family::Family;
use crate::jobs::Permit;
use crate::panics::Listening;
use crate::profile::Profile;
use crate::signature::Signature;
use crate::single::Singles;

/// Runs a scenario in a simulation. What the scenario yields is dropped.
pub(crate) type Run<'a> = dyn Fn(&Sim, &Memory) -> Report<()> + Sync + 'a;

/// Makes the simulation of a seed, before anything befalls it.
pub(crate) type Simulate = dyn Fn(u64) -> Sim + Sync;

/// What the runs of a thread leave to each other, one after the other.
#[derive(Default)]
pub(crate) struct Runs {
    memory: Memory,
}

/// A scenario with everything that a run of it takes.
pub(crate) struct Subject<'a> {
    simulate: &'a Simulate,
    profile: &'a Profile,
    run: &'a Run<'a>,
    /// Looked at when it is asked for: some seeds need nothing of it.
    calm: OnceLock<Calm>,
}

/// A run, with what the report does not know.
pub(crate) struct Ran {
    pub(crate) report: Report<()>,
    /// Where what was found panicked, if it did.
    pub(crate) place: Option<String>,
}

/// A scenario as a function of a simulation.
pub(crate) fn erased<S, F>(scenario: &S) -> impl Fn(&Sim, &Memory) -> Report<()> + Sync
where
    S: Fn(World) -> F + Sync,
    F: Future + 'static,
    F::Output: Outcome + 'static,
{
    move |sim, memory| {
        sim.run_in(memory, |world| {
            let run = scenario(world);
            async move { run.await.into_result().map(drop) }
        })
    }
}

impl<'a> Subject<'a> {
    pub(crate) fn new(simulate: &'a Simulate, profile: &'a Profile, run: &'a Run<'a>) -> Self {
        Self { simulate, profile, run, calm: OnceLock::new() }
    }

    /// What the faults of a seed are aimed at.
    fn calm(&self) -> &Calm {
        self.calm.get_or_init(|| {
            // The same for all seeds, whichever of them asks first.
            let sim = self.profile.calmed((self.simulate)(0)).trace_first(MOMENTS_MAX);
            Calm::of(&self.run(&sim, &Runs::default()).report)
        })
    }

    /// The simulation of a seed, with what befalls it.
    pub(crate) fn simulation(&self, seed: u64) -> Sim {
        let sim = (self.simulate)(seed);
        if self.profile.is_calm() { sim } else { self.profile.applied(sim, seed, &|| self.calm()) }
    }

    /// The counters of the families that befall one of these seeds at least.
    pub(crate) fn counters(
        &self,
        seeds: impl Iterator<Item = u64> + Clone,
    ) -> impl Iterator<Item = &'static str> {
        let befalls = move |family: &Family| {
            seeds.clone().any(|seed| self.profile.families_of(seed).contains(family))
        };
        self.profile.families().filter(befalls).flat_map(Family::counters)
    }

    /// The simulation of a plan: links as they are when nothing befalls them, and what the plan says.
    pub(crate) fn replay(&self, plan: &Plan) -> Result<Sim, PlanError> {
        let seed = plan.seed.unwrap_or_default();
        let sim = (self.simulate)(seed);
        if self.profile.is_calm() || sim.planned().is_none() {
            return sim.replay(plan);
        }
        let quiesce = self.profile.quiesce(&sim, seed, plan, &|| self.calm());
        Ok(self.profile.calmed(sim).replay(plan)?.quiesce(quiesce))
    }

    /// How to write down a seed's run so that its plan can be replayed.
    pub(crate) fn recording(&self, seed: u64) -> Recording {
        // Where delays are not those of the check's own links, each packet's is written down.
        let on = self.profile.families_of(seed);
        let odd = on.contains(&Family::Delay) || on.contains(&Family::Ties);
        if odd { Recording::new().split_all() } else { Recording::new() }
    }

    /// The single faults of a calm run; the calm run itself, if it fails.
    pub(crate) fn singles(&self, seed: u64) -> Singles {
        let own = match (self.simulate)(seed).planned() {
            Some(own) if !self.profile.is_calm() => own.clone().seed(seed),
            _ => return Singles::default(),
        };
        let sim = self.replay(&own).expect("what a run from a seed takes can be replayed");
        let report = self.run(&sim.census(true), &Runs::default()).report;
        match (report.census, &report.outcome) {
            (Some(census), Ok(())) => Singles::new(self.profile, own, &census, &self.calm().timers),
            // What fails by itself needs no fault.
            _ => Singles::of_none(own),
        }
    }

    /// Runs a simulation, and hears where it panicked.
    pub(crate) fn run(&self, sim: &Sim, runs: &Runs) -> Ran {
        let _permit = Permit::wait();
        // What panics outside of a run is no finding, and is printed.
        let listening = Listening::begin();
        let report = (self.run)(sim, &runs.memory);
        let place = report.finding().and_then(|finding| match finding.kind {
            FindingKind::Property => finding.property.map(|claim| claim.place.to_string()),
            FindingKind::Panic => listening.place_of(&finding.message),
            _ => None,
        });
        Ran { report, place }
    }
}

impl Ran {
    /// What its failure is known by, if it failed.
    pub(crate) fn signature(&self) -> Option<Signature> {
        self.report.finding().map(|finding| Signature::of(finding, self.place.as_deref()))
    }
}
