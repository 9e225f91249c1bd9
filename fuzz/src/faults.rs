//! What goes wrong in a scenario with a planted bug, six bytes for each entry of a plan.
//!
//! The bug is the canary's, or that of the specimen of the zoo which `FUZZ_SPECIMEN` names. What the
//! protocol does not claim to stand fails without the bug, too: only a run that the twin survives is a
//! finding.

use std::env;
use std::fmt::Write as _;
use std::sync::OnceLock;

use scenarios::{canary, zoo};
use sim_check::{Check, Files, Profile, artifacts, check};
use sim_core::Scenario;
use sim_net::{Census, Chance, Link, Plan, Probability, Report, Sim};

use crate::Finding;

/// A scenario with a bug, and the same without.
struct Planted {
    mutant: Scenario,
    twin: Scenario,
    /// A run in which nothing goes wrong.
    calm: Sim,
    /// What could have gone wrong in it.
    census: Census,
}

/// Runs the plan that some bytes stand for.
///
/// # Errors
///
/// What the bug does, the small plan that shows it, and the line that runs it again.
///
/// # Panics
///
/// If the zoo has no specimen of the name that `FUZZ_SPECIMEN` says.
pub fn run(bytes: &[u8]) -> Result<(), Finding> {
    static PLANTED: OnceLock<Planted> = OnceLock::new();
    let planted = PLANTED.get_or_init(Planted::wanted);
    let plan = planted.census.plan_of_bytes(bytes).seed(0);
    let sim = planted.calm.clone().replay(&plan);
    let sim = sim.map_err(|error| format!("bytes are no plan: {error}\n{plan}"))?;
    let fails = |scenario: &Scenario| ran(scenario, &sim).outcome.is_err();
    match fails(&planted.mutant) && !fails(&planted.twin) {
        true => Err(planted.tell(&plan)),
        false => Ok(()),
    }
}

fn ran(scenario: &Scenario, sim: &Sim) -> Report<()> {
    sim.run(|world| scenario.run(world))
}

impl Planted {
    #[expect(clippy::disallowed_methods, reason = "it is outside of all runs")]
    fn wanted() -> Self {
        match env::var("FUZZ_SPECIMEN") {
            Ok(id) => {
                let mut specimens = zoo::specimens().into_iter();
                let specimen = specimens.find(|specimen| specimen.id == id);
                let specimen = specimen.unwrap_or_else(|| panic!("the zoo has no {id}"));
                Self::new((specimen.mutant)(), (specimen.twin)())
            }
            Err(_) => Self::new(canary::scenario(), canary::twin()),
        }
    }

    fn new(mutant: Scenario, twin: Scenario) -> Self {
        // A run that panics is judged as others are, and not by a fuzzer that hears of the panic.
        std::panic::set_hook(Box::new(|_| {}));
        let link = mutant.fault_mix().map_or("", |mix| mix.link);
        let link: Link = link.parse().expect("a scenario's link is one");
        let never = |link: Link, chance| link.with_chance(chance, Probability::NEVER);
        let link = Chance::ALL.into_iter().fold(link, never);
        let calm = Sim::new(0).each_link(move |_| link.clone());
        let observed = calm.clone().replay(&Plan::new().seed(0)).expect("there is nothing in it");
        let census = ran(&mutant, &observed.census(true)).census.expect("it was asked for");
        Self { mutant, twin, calm, census }
    }

    fn check(&self) -> Check {
        let check = check(self.mutant.name()).jobs(1);
        match self.mutant.fault_mix() {
            Some(mix) => check.profile(Profile::of(mix).expect("its links are links")),
            None => check,
        }
    }

    /// What a plan comes down to.
    fn tell(&self, plan: &Plan) -> Finding {
        let (mutant, twin) = (&self.mutant, &self.twin);
        let (check, name) = (self.check(), mutant.name());
        let verdict = check.replay(plan, |world| mutant.run(world));
        let verdict = check.explained(verdict, |world| mutant.run(world), |world| twin.run(world));
        let mut text = format!("{verdict}\n");
        let Some(explanation) = &verdict.explanation else {
            return text + &plan.to_string();
        };
        let small = &explanation.shrunk.plan;
        let _ = write!(text, "the plan is\n{small}");
        match Files::write(&artifacts(), name, explanation) {
            Ok(Files { plan, .. }) => {
                let plan = plan.display();
                let _ = write!(text, "replay    cargo run --release -p scenarios -- replay {plan}");
            }
            Err(error) => _ = write!(text, "which could not be written: {error}"),
        }
        text
    }
}
