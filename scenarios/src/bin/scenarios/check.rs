//! `scenarios check`.

use serde_json::{Value, json};
use sim_check::{Profile, Verdict};
use sim_core::FaultMix;

use crate::options::Check;
use crate::run::nanos;
use crate::{Done, Trouble, find};

pub(crate) fn check(options: &Check) -> Done {
    // All names first: a typo in the last one is told before the first has run for an hour.
    let scenarios = options.names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut green = true;
    for scenario in &scenarios {
        let mut check = sim_check::check(scenario.name())
            .seeds(options.seeds)
            .first_seed(options.first_seed)
            .progress(true);
        if let Some(jobs) = options.jobs {
            check = check.jobs(jobs);
        }
        if let Some(mix) = scenario.fault_mix().filter(|_| !options.calm) {
            check = check.profile(profile(mix)?);
        }
        let verdict = check.verdict(|world| scenario.run(world));
        green &= verdict.is_green();
        if options.json {
            say!("{}", to_json(&verdict));
        } else {
            print_text(&verdict, options.calm);
        }
    }
    Ok(green)
}

/// What a scenario says that it stands.
pub(crate) fn profile(mix: &FaultMix) -> Result<Profile, Trouble> {
    Profile::of(mix).map_err(|error| Trouble::usage(error.to_string()))
}

fn to_json(verdict: &Verdict) -> Value {
    let failures: Vec<_> = verdict
        .failures
        .iter()
        .map(|failed| {
            json!({
                "seed": failed.seed,
                "error": failed.error,
                "host": failed.host,
                "time_ns": failed.time.as_nanos(),
                "trace_hash": format!("{:016x}", failed.hash),
                "deterministic": failed.deterministic,
            })
        })
        .collect();
    json!({
        "scenario": verdict.name,
        "seeds": verdict.seeds,
        "failures": failures,
        "events": verdict.events,
        "time_ns": nanos(verdict.time),
        "wall_ns": nanos(verdict.wall),
        "faults": verdict.faults,
    })
}

fn print_text(verdict: &Verdict, calm: bool) {
    match verdict.failures.first() {
        None => say!("{verdict}"),
        Some(lowest) => {
            say!("{verdict}");
            let faults = if calm { "" } else { " --faults" };
            let Verdict { name, .. } = verdict;
            say!("replay    scenarios run {name} --seed {}{faults} --trace", lowest.seed);
        }
    }
}
