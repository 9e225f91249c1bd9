//! What a test that fails says beside its verdict: where the files are, and the line that runs it again.

use std::fmt;
use std::future::Future;
use std::io;

use sim_core::{Outcome, World};

use super::Check;
use crate::corpus::Corpus;
use crate::files::Files;
use crate::places;
use crate::subject::{self, Runs, Subject};
use crate::verdict::{Origin, Verdict};

impl Check {
    /// What has a run of this origin run again.
    fn replay_of(&self, origin: &Origin) -> io::Result<String> {
        let path = match origin {
            Origin::Seed(seed) => return Ok(format!("SIM_SEED={seed}")),
            Origin::Kept(path, _) => path.clone(),
            Origin::Single(plan) | Origin::Calm(plan) | Origin::Tried(plan) => {
                let plan = plan.clone().scenario(&self.name);
                Corpus::new(places::artifacts(), &self.name).keep(&plan)?
            }
        };
        Ok(format!("SIM_PLAN={}", places::quoted(path.display())))
    }

    /// The line that runs a failure again when its small plan is not among the artifacts.
    fn replay_line(&self, verdict: &Verdict, origin: &Origin) -> String {
        let how = match &verdict.kept {
            Some(Ok(path)) => Ok(format!("SIM_PLAN={}", places::quoted(path.display()))),
            _ => self.replay_of(origin),
        };
        match how {
            Ok(how) => format!("{how} {}", this_test()),
            Err(error) => format!("its plan could not be written: {error}"),
        }
    }

    /// What a test that failed says: the verdict, where the files are, and how to run it again.
    pub(super) fn report(&self, verdict: &Verdict) -> String {
        let mut text = verdict.to_string();
        let mut line = |what: &str, told: &dyn fmt::Display| text += &format!("\n{what:<9} {told}");
        let Some(first) = verdict.failures.first() else { return text };
        match &verdict.explanation {
            None => line("replay", &self.replay_line(verdict, &first.origin)),
            Some(explanation) => {
                match Files::write(&places::artifacts(), &self.name, explanation) {
                    Ok(files) => {
                        let plan = places::quoted(files.plan.display());
                        line("replay", &format!("SIM_PLAN={plan} {}", this_test()));
                        files.each(|what, path| line(what, &path.display()));
                    }
                    Err(error) => {
                        line("replay", &self.replay_line(verdict, &first.origin));
                        line("files", &format!("could not be written: {error}"));
                    }
                }
                match &verdict.kept {
                    Some(Ok(path)) => line("kept", &path.display()),
                    Some(Err(error)) => line("kept", &format!("not: {error}")),
                    None => {}
                }
            }
        }
        let others = verdict.others.iter().map(|other| ("other", other));
        for (what, failed) in verdict.met.iter().map(|met| ("met", met)).chain(others) {
            match self.replay_of(&failed.origin) {
                Ok(how) => line(what, &format!("{how} {}", this_test())),
                Err(error) => line(what, &format!("its plan could not be written: {error}")),
            }
        }
        text
    }

    /// Prints every record of what one seed or one plan does.
    pub(super) fn print_trace<S, F>(&self, verdict: &Verdict, scenario: &S)
    where
        S: Fn(World) -> F + Sync,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let of_seed;
        let log = match (&verdict.replayed, &verdict.explanation) {
            (Some(replayed), _) => replayed.log.as_ref(),
            (None, _) if self.settings.is_one_seed => {
                let run = subject::erased(scenario);
                let subject = Subject::new(&*self.simulate, &self.profile, &run);
                let sim = subject.simulation(self.settings.first_seed).trace(true);
                of_seed = subject.run(&sim, &Runs::default()).report.log;
                of_seed.as_ref()
            }
            (None, explanation) => explanation.as_ref().and_then(|it| it.report.log.as_ref()),
        };
        if let Some(log) = log {
            if log.before() > 0 {
                eprintln!("the first {} records are left out", log.before());
            }
            eprint!("{log}");
        }
    }
}

/// The command that runs the running test and nothing else.
fn this_test() -> String {
    let package = std::env::var("CARGO_PKG_NAME").map(|name| format!(" -p {name}"));
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    let exact = if test.is_empty() { String::new() } else { format!(" -- --exact {test}") };
    format!("cargo test{}{exact}", package.unwrap_or_default())
}
