//! What a check runs: a scenario, the simulation that each seed has, and what befalls it.

use std::future::Future;
use std::time::Duration;

use sim_core::{Outcome, World};
use sim_net::{Report, Sim};

use crate::panics::Listening;
use crate::profile::{Calm, Profile};

/// Runs a scenario in a simulation. What the scenario yields is dropped.
pub(crate) type Run<'a> = dyn Fn(&Sim) -> Report<()> + Sync + 'a;

/// Makes the simulation of a seed, before anything befalls it.
pub(crate) type Simulate = dyn Fn(u64) -> Sim + Sync;

/// The largest calm run of which all moments are looked at, in events.
const MOMENTS_MAX: u64 = 200_000;

/// A scenario with everything that a run of it takes.
pub(crate) struct Subject<'a> {
    simulate: &'a Simulate,
    profile: &'a Profile,
    run: &'a Run<'a>,
    calm: Calm,
}

/// A run, with what the report does not know.
pub(crate) struct Ran {
    pub(crate) report: Report<()>,
    /// Where the panic was that ended it, if one did.
    pub(crate) place: Option<String>,
}

/// A scenario as a function of a simulation.
pub(crate) fn erased<S, F>(scenario: &S) -> impl Fn(&Sim) -> Report<()> + Sync
where
    S: Fn(World) -> F + Sync,
    F: Future + 'static,
    F::Output: Outcome + 'static,
{
    move |sim| {
        sim.run(|world| {
            let run = scenario(world);
            async move { run.await.into_result().map(drop) }
        })
    }
}

impl<'a> Subject<'a> {
    /// A subject; a calm run of it says what faults are aimed at.
    pub(crate) fn new(simulate: &'a Simulate, profile: &'a Profile, run: &'a Run<'a>) -> Self {
        let mut subject = Self { simulate, profile, run, calm: Calm::default() };
        if !profile.is_calm() {
            subject.calm = subject.look();
        }
        subject
    }

    fn look(&self) -> Calm {
        let listening = Listening::begin();
        let sim = self.calm_simulation(0);
        let report = self.run(&sim, &listening).report;
        let (hosts, length) = (report.hosts, report.time.since_epoch());
        if report.events > MOMENTS_MAX {
            return Calm { hosts, length, moments: Vec::new() };
        }
        let log = self.run(&sim.trace(true), &listening).report.log;
        let moments = log.iter().flat_map(|log| log.entries()).map(|entry| entry.time).collect();
        Calm { hosts, length: length.max(Duration::from_millis(1)), moments }
    }

    /// The simulation of a seed in which nothing goes wrong.
    pub(crate) fn calm_simulation(&self, seed: u64) -> Sim {
        self.profile.calmed((self.simulate)(seed))
    }

    /// The simulation of a seed, with what befalls it.
    pub(crate) fn simulation(&self, seed: u64) -> Sim {
        let sim = (self.simulate)(seed);
        if self.profile.is_calm() { sim } else { self.profile.applied(sim, seed, &self.calm) }
    }

    /// Runs a simulation, and hears where it panicked.
    pub(crate) fn run(&self, sim: &Sim, listening: &Listening) -> Ran {
        let report = (self.run)(sim);
        Ran { report, place: listening.take_place() }
    }
}
