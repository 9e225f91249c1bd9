//! `scenarios run`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sim_check::{PlanFile, Timeline, check, quoted, write_whole};
use sim_core::Scenario;
use sim_net::{Bindings, LinkRule, Recording, Report};

use crate::check::{all_written, bound_and_unbound, profile, workload};
use crate::options::{LoopKind, Run};
use crate::stores::TemporaryDirectory;
use crate::{Done, Trouble, find, output};

/// How a run went, on either loop.
struct Ran {
    error: Option<String>,
    time: Duration,
    events: u64,
    /// The simulator's trace hash.
    hash: Option<u64>,
    /// How often each fault bit.
    faults: BTreeMap<&'static str, u64>,
    /// The seed that it was run from, and which entries of its plan found what they are about.
    seed: u64,
    bindings: Option<Bindings>,
    /// What could not be written, and why.
    unwritten: Vec<String>,
}

pub(crate) fn run(options: &Run) -> Done {
    let scenario = find(&options.name)?;
    let ran = match options.on {
        LoopKind::Sim => simulate(&scenario, options)?,
        LoopKind::Real if options.pcap.is_some() => {
            let hint =
                "--pcap writes what a simulated network carries; capture real sockets with tcpdump";
            return Err(Trouble::usage(hint));
        }
        LoopKind::Real if options.timeline.is_some() => {
            let hint = "--timeline shows a simulated run: leave out --loop real";
            return Err(Trouble::usage(hint));
        }
        LoopKind::Real if options.names_faults() => {
            let hint = "--link, --plan, --faults and --record are for the simulated network: leave \
                        out --loop real";
            return Err(Trouble::usage(hint));
        }
        LoopKind::Real => run_real(&scenario),
    };
    if options.json {
        print_json(options, &ran);
    } else {
        print_text(options, &ran);
    }
    all_written(&ran.unwritten)?;
    Ok(ran.error.is_none())
}

fn simulate(scenario: &Scenario, options: &Run) -> Result<Ran, Trouble> {
    let run = |world| scenario.run(world);
    // The simulation that `check` runs for the seed, so that its findings are found here again.
    let mut check = check(scenario.name()).leftovers(true);
    if options.faults
        && let Some(mix) = scenario.fault_mix()
    {
        check = check.profile(profile(mix)?);
    }
    let file = options.plan.as_deref().map(|path| read(path, scenario.name())).transpose()?;
    let plan = file.as_ref().map(PlanFile::plan);
    let seed = match (plan.and_then(|plan| plan.seed), options.seed) {
        (Some(of_plan), Some(wanted)) if of_plan != wanted => {
            let hint = format!("the plan is of seed {of_plan:#x}: leave out --seed {wanted:#x}");
            return Err(Trouble::usage(hint));
        }
        (of_plan, wanted) => of_plan.or(wanted).unwrap_or_default(),
    };
    let mut sim = check.simulation(seed, run);
    let mut named: Vec<String> = Vec::new();
    for link in &options.links {
        let rule: LinkRule =
            link.parse().map_err(|error| Trouble::usage(format!("--link {link}: {error}")))?;
        named.extend(rule.hosts().map(str::to_owned));
        sim = sim.link(rule);
    }
    if let Some(file) = &file {
        sim = sim.replay(file.plan()).map_err(|error| in_plan(file.path(), error))?;
    }
    if options.record.is_some() {
        sim = sim.record(Recording::new());
    }
    let keep_log = options.trace || options.timeline.is_some();
    let report = sim.trace(keep_log).capture(options.pcap.is_some()).run(run);
    let hosts: Vec<&str> = report.hosts().collect();
    if let Some(file) = &file {
        file.check_hosts(&hosts).map_err(|error| in_plan(file.path(), format!("\n{error}")))?;
    }
    // Faults of the scenario may be about hosts that the seed's world does not have.
    if let Some(absent) = report.absent_hosts.iter().find(|host| named.contains(host)) {
        let known = hosts.join(", ");
        let hint = format!("--link names the host {absent:?}; {} has {known}", options.name);
        return Err(Trouble::usage(hint));
    }
    let mut unwritten = Vec::new();
    if let Some(path) = &options.timeline {
        let mut timeline = picture(options, seed, &report);
        if let Some(plan) = plan {
            timeline = timeline.plan(plan);
        }
        unwritten.extend(write(path, |mut file| timeline.write_html(&mut file)).err());
    }
    if let Some(log) = report.log.as_ref().filter(|_| options.trace) {
        output::to_stderr(format_args!("{log}"));
    }
    let error = report.outcome.err().map(|finding| {
        if options.json {
            return finding.to_string();
        }
        format!("{finding}\nthe last records:\n{}", report.tail.to_string().trim_end())
    });
    if let (Some(path), Some(capture)) = (&options.pcap, &report.capture) {
        unwritten.extend(write(path, |mut file| capture.write_pcapng(&mut file)).err());
    }
    if let (Some(path), Some(recording)) = (&options.record, report.recording) {
        let recording = recording.scenario(scenario.name());
        unwritten.extend(write(path, |file| write!(file, "{recording}")).err());
    }
    let time = report.time.since_epoch();
    let bindings = file.is_some().then_some(report.bindings);
    let Report { events, hash, faults, .. } = report;
    Ok(Ran { error, time, events, hash: Some(hash), faults, seed, bindings, unwritten })
}

/// The plan in a file, if it is for the scenario of this name.
fn read(path: &Path, name: &str) -> Result<PlanFile, Trouble> {
    let file = PlanFile::read(path).map_err(|error| in_plan(path, error))?;
    file.plan().check_scenario(name).map_err(|error| in_plan(path, error))?;
    Ok(file)
}

/// What is wrong with a plan.
fn in_plan(path: &Path, error: impl std::fmt::Display) -> Trouble {
    let error = error.to_string();
    let space = if error.starts_with('\n') { "" } else { " " };
    Trouble::usage(format!("--plan {}:{space}{error}", path.display()))
}

/// The run as a picture.
fn picture<'a, T>(options: &Run, seed: u64, report: &'a Report<T>) -> Timeline<'a> {
    let name = &options.name;
    let mut replay = format!("scenarios run {name} --seed {seed}");
    for link in &options.links {
        replay += &format!(" --link {}", quoted(link));
    }
    if let Some(path) = &options.plan {
        replay += &format!(" --plan {}", quoted(path.display()));
    }
    if options.faults {
        replay += " --faults";
    }
    let timeline = Timeline::new(format!("{name}, seed {seed}"), report).expect("a log was kept");
    timeline.note(replay)
}

/// Writes a file whole, or says why it could not. A reader of a stream that goes away is no trouble.
fn write(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), String> {
    match write_whole(path, content) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn run_real(scenario: &Scenario) -> Ran {
    let stores = TemporaryDirectory::new();
    let report = real_net::Runner::new().store_dir(stores.path()).report(scenario);
    Ran {
        error: report.outcome.err().map(|error| error.to_string()),
        time: report.elapsed,
        events: report.events,
        hash: None,
        faults: BTreeMap::new(),
        seed: 0,
        bindings: None,
        unwritten: Vec::new(),
    }
}

fn outcome(ran: &Ran) -> &'static str {
    if ran.error.is_none() { "ok" } else { "failed" }
}

fn print_json(options: &Run, ran: &Ran) {
    let mut line = json!({
        "scenario": options.name,
        "loop": options.on.name(),
        "seed": ran.seed,
        "outcome": outcome(ran),
        "error": ran.error,
        "time_ns": nanos(ran.time),
        "events": ran.events,
        "faults": ran.faults,
    });
    if let Some(hash) = ran.hash {
        line["trace_hash"] = format!("{hash:016x}").into();
    }
    if let Some(bindings) = &ran.bindings {
        (line["bound"], line["unbound"]) = bound_and_unbound(bindings);
        line["workload"] = workload(bindings);
    }
    say!("{line}");
}

fn print_text(options: &Run, ran: &Ran) {
    let Ran { time, events, .. } = ran;
    let name = &options.name;
    let outcome = outcome(ran);
    match ran.hash {
        Some(hash) => say!(
            "{name}: {outcome}, seed {}, {time:.6?} virtual, {events} events, trace hash {hash:016x}",
            ran.seed
        ),
        None => say!("{name}: {outcome}, {time:.6?} real, {events} events"),
    }
    let bit = ran.faults.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<_> = bit.map(|(name, count)| format!("{name} {count}")).collect();
    if !counts.is_empty() {
        say!("faults that bit: {}", counts.join(", "));
    }
    if let Some(bindings) = &ran.bindings {
        say!("{bindings}");
        for (number, entry) in bindings.unbound() {
            tell!("unbound: entry {number}: {entry}");
        }
    }
    if let Some(error) = &ran.error {
        tell!("error: {error}");
    }
}

/// Whole nanoseconds, as far as 64 bits go.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
