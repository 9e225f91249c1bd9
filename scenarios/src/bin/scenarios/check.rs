//! `scenarios check`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};
use sim_check::{
    CorpusVerdict, Explanation, Failed, Files, Origin, Profile, Replayed, Scale, Verdict, junit,
    quoted, write_whole,
};
use sim_core::FaultMix;
use sim_net::plan::Entry;
use sim_net::{Bindings, Bound, OfferedWorkload};

use crate::options::Check;
use crate::run::nanos;
use crate::{Done, Trouble, find, interrupts};

pub(crate) fn check(options: &Check) -> Done {
    // All names first: a typo in the last one is told before the first has run for an hour.
    let scenarios = options.names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let stop = interrupts::stop_flag()?;
    let (mut green, mut verdicts, mut unwritten) = (true, Vec::new(), Vec::new());
    for scenario in &scenarios {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut check = sim_check::check(scenario.name())
            .seeds(options.seeds)
            .first_seed(options.first_seed)
            .stop_at_first(options.first)
            .leftovers(true)
            .singles(!options.no_singles)
            .stop_flag(Arc::clone(&stop))
            .progress(true);
        if let Some(budget) = options.budget {
            check = check.budget(budget);
        }
        if let Some(corpus) = &options.corpus {
            check = check.corpus(corpus);
        }
        if let Some(jobs) = options.jobs {
            check = check.jobs(jobs);
        }
        if let Some(mix) = scenario.fault_mix().filter(|_| !options.calm) {
            check = check.profile(profile(mix)?);
        }
        let verdict = check.verdict(|world| scenario.run(world));
        green &= verdict.is_green();
        let files = verdict.explanation.as_ref().map(|it| write(&verdict.name, it));
        if options.json {
            let files = files.as_ref().and_then(|files| files.as_ref().ok());
            say!("{}", to_json(&verdict, files.map(|files| files.plan.as_path())));
        } else {
            print_text(&verdict, files.as_ref(), options.calm);
        }
        unwritten.extend(files.and_then(Result::err));
        verdicts.push(verdict);
    }
    let left = &options.names[verdicts.len()..];
    if let Some(path) = &options.junit {
        let report = junit("scenarios", &verdicts, left);
        let written = write_whole(path, |file| file.write_all(report.as_bytes()));
        unwritten.extend(written.err().map(|error| format!("{}: {error}", path.display())));
    }
    if !left.is_empty() {
        tell!("interrupted before they were run: {}", left.join(", "));
    }
    all_written(&unwritten)?;
    let interrupted = !left.is_empty() || verdicts.iter().any(|verdict| verdict.interrupted);
    if green && interrupted {
        return Err(Trouble::interrupted("interrupted; nothing failed in what was run"));
    }
    Ok(green)
}

/// Fails with what could not be written: at the end, so that no finding is lost over it.
pub(crate) fn all_written(unwritten: &[String]) -> Result<(), Trouble> {
    if unwritten.is_empty() { Ok(()) } else { Err(Trouble::failed(unwritten.join("\n"))) }
}

/// Leaves behind what there is to look at of a failure, or says why it could not.
pub(crate) fn write(name: &str, explanation: &Explanation) -> Result<Files, String> {
    let folder = sim_check::artifacts();
    let failed = |error| format!("{}: {error}", folder.display());
    Files::write(&folder, name, explanation).map_err(failed)
}

/// Says what is to be looked at, or why it is not there.
pub(crate) fn print_files(files: &Result<Files, String>) {
    match files {
        Ok(files) => files.each(|what, path| say!("{what:<9} {}", path.display())),
        Err(error) => say!("files     could not be written: {error}"),
    }
}

/// What a scenario says that it stands.
pub(crate) fn profile(mix: &FaultMix) -> Result<Profile, Trouble> {
    Profile::of(mix).map_err(|error| Trouble::usage(error.to_string()))
}

/// A verdict as JSON; `plan` is where the plan of its explanation is.
pub(crate) fn to_json(verdict: &Verdict, plan: Option<&Path>) -> Value {
    let failures: Vec<_> = verdict.failures.iter().map(failure).collect();
    let met: Vec<_> = verdict.met.iter().map(failure).collect();
    let others: Vec<_> = verdict.others.iter().map(failure).collect();
    let coverage: Map<String, Value> = verdict
        .coverage
        .iter()
        .map(|it| (it.family.to_string(), json!({ "done": it.done, "total": it.total })))
        .collect();
    let properties: Map<String, Value> = verdict
        .properties
        .iter()
        .map(|((name, kind), count)| {
            let claims = verdict.properties.keys().filter(|(other, _)| other == name).count();
            let of_several = (claims > 1).then(|| format!("{name} ({})", kind.name()));
            let key = of_several.unwrap_or_else(|| (*name).to_owned());
            let (kind, held, failed) = (kind.name(), count.held, count.failed);
            (key, json!({ "kind": kind, "held": held, "failed": failed }))
        })
        .collect();
    let mut line = json!({
        "scenario": verdict.name,
        "seeds": verdict.seeds,
        "failed": verdict.failed,
        "failures": failures,
        "met": met,
        "others": others,
        "events": verdict.events,
        "time_ns": nanos(verdict.time),
        "wall_ns": nanos(verdict.wall),
        "faults": verdict.faults,
        "coverage": coverage,
        "properties": properties,
        "missed": verdict.missed,
        "cut_short": verdict.cut_short,
        "interrupted": verdict.interrupted,
        "corpus": corpus(&verdict.corpus),
    });
    if let Some(Replayed { bindings, .. }) = &verdict.replayed {
        (line["bound"], line["unbound"]) = bound_and_unbound(bindings);
        line["workload"] = workload(bindings);
    }
    match &verdict.kept {
        Some(Ok(path)) => line["kept"] = path.display().to_string().into(),
        Some(Err(error)) => line["kept"] = json!({ "error": error }),
        None => {}
    }
    if let Some(explanation) = &verdict.explanation {
        let steps = explanation.steps.iter().map(|step| {
            json!({
                "entry": step.entry.to_string(),
                "time_ns": step.time.map(sim_core::Time::as_nanos),
                "necessary": step.necessary,
                "sufficient": step.sufficient,
            })
        });
        let (bound, unbound) = bound_and_unbound(&explanation.report.bindings);
        line["explanation"] = json!({
            "error": explanation.error,
            "before": explanation.shrunk.before,
            "replays": explanation.shrunk.replays,
            "minimal": explanation.shrunk.is_minimal,
            "bound": bound,
            "unbound": unbound,
            "steps": steps.collect::<Vec<_>>(),
            "workload": explanation.workload.iter().map(scale).collect::<Value>(),
            "plan": explanation.shrunk.plan.to_string(),
            "file": plan.map(|path| path.display().to_string()),
            "trace_hash": format!("{:016x}", explanation.hash),
        });
    }
    line
}

/// What a plan says of the workload, as JSON.
fn scale(scale: &Scale) -> Value {
    let mut told = json!({ "entry": scale.line.to_string(), "bound": scale.offered.is_some() });
    match &scale.offered {
        Some(OfferedWorkload::Size { range, value, drawn, .. }) => {
            (told["value"], told["of_seed"]) = (json!(value), json!(drawn));
            (told["least"], told["most"]) = (json!(range.start()), json!(range.end()));
        }
        Some(OfferedWorkload::Operations { count, .. }) => told["operations"] = json!(count),
        _ => {}
    }
    told
}

/// The entries of a plan that found what they are about, without those about the workload; and all that found nothing:
/// as JSON.
pub(crate) fn bound_and_unbound(bindings: &Bindings) -> (Value, Value) {
    let is_bound = |bound: &Bound| *bound != Bound::Unbound;
    let bound = bindings.iter().filter(|(entry, it)| is_bound(it) && !entry.is_workload());
    let unbound = bindings.iter().filter(|(_, it)| !is_bound(it));
    let told = |(entry, _): (&Entry, &Bound)| entry.to_string();
    (bound.map(told).collect(), unbound.map(told).collect())
}

/// A run that failed, as JSON.
fn failure(failed: &Failed) -> Value {
    json!({
        "seed": failed.seed(),
        "error": failed.error,
        "signature": failed.signature.as_str(),
        "fault": fault(&failed.origin),
        "file": match &failed.origin {
            Origin::Kept(path, _) => Some(path.display().to_string()),
            _ => None,
        },
        "host": failed.host,
        "time_ns": failed.time.as_nanos(),
        "trace_hash": format!("{:016x}", failed.hash),
        "deterministic": failed.is_deterministic(),
    })
}

/// The entries of a plan about the workload, as JSON.
pub(crate) fn workload(bindings: &Bindings) -> Value {
    let entries = bindings.iter().filter(|(entry, _)| entry.is_workload());
    let told = |(entry, bound): (&Entry, &Bound)| json!({ "entry": entry.to_string(), "bound": *bound != Bound::Unbound });
    entries.map(told).collect()
}

/// What went wrong in a run that a plan said, behind what the check's own plan says; all of it if the
/// plan is of a file.
fn fault(origin: &Origin) -> Option<String> {
    let entries: Vec<String> = origin.plan()?.entries.iter().map(Entry::to_string).collect();
    match origin {
        Origin::Kept(..) | Origin::Tried(_) => Some(entries.join("; ")),
        Origin::Calm(_) => None,
        _ => entries.last().cloned(),
    }
}

/// What came of the plans of a corpus, as JSON.
fn corpus(corpus: &CorpusVerdict) -> Value {
    let stale = corpus.stale.iter().map(|path| path.display().to_string());
    let unreadable = corpus
        .unreadable
        .iter()
        .map(|(path, error)| json!({ "file": path.display().to_string(), "error": error }));
    json!({
        "replayed": corpus.replayed,
        "stale": stale.collect::<Vec<_>>(),
        "unreadable": unreadable.collect::<Vec<_>>(),
    })
}

fn print_text(verdict: &Verdict, files: Option<&Result<Files, String>>, calm: bool) {
    say!("{verdict}");
    let calm = if calm { " --calm" } else { "" };
    match (files, verdict.failures.first()) {
        (Some(Ok(files)), _) => {
            say!("replay    scenarios replay {}{calm}", quoted(files.plan.display()));
        }
        (_, Some(first)) => print_replay("replay", verdict, first, calm),
        (_, None) => {}
    }
    verdict.met.iter().for_each(|met| print_replay("met", verdict, met, calm));
    verdict.others.iter().for_each(|other| print_replay("other", verdict, other, calm));
    if let Some(files) = files {
        print_files(files);
    }
    match &verdict.kept {
        Some(Ok(path)) => say!("kept      {}", path.display()),
        Some(Err(error)) => say!("kept      not: {error}"),
        None => {}
    }
}

/// Says how a run is run again.
fn print_replay(what: &str, verdict: &Verdict, failed: &Failed, calm: &str) {
    match (&failed.origin, failed.origin.plan()) {
        (Origin::Kept(path, _), _) => {
            say!("{what:<9} scenarios replay {}{calm}", quoted(path.display()));
        }
        // It is in no file: here is what to put into one.
        (_, Some(plan)) => {
            say!("{what:<9} scenarios replay FILE{calm}, with this plan in it:");
            say!("{}", plan.clone().scenario(&verdict.name));
        }
        (_, None) => {
            let faults = if calm.is_empty() { " --faults" } else { "" };
            let Verdict { name, .. } = verdict;
            say!("{what:<9} scenarios run {name} --seed {}{faults} --trace", failed.seed());
        }
    }
}
