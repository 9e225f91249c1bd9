//! `scenarios run`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sim_check::check;
use sim_core::Scenario;
use sim_net::Capture;

use crate::options::{LoopKind, Run};
use crate::stores::TemporaryDirectory;
use crate::{Done, Trouble, find};

/// How a run went, on either loop.
struct Ran {
    error: Option<String>,
    time: Duration,
    events: u64,
    /// The simulator's trace hash.
    hash: Option<u64>,
}

pub(crate) fn run(options: &Run) -> Done {
    let scenario = find(&options.name)?;
    let ran = match (options.on, &options.pcap) {
        (LoopKind::Sim, _) => simulate(&scenario, options)?,
        (LoopKind::Real, None) => run_real(&scenario),
        (LoopKind::Real, Some(_)) => {
            let hint =
                "--pcap writes what a simulated network carries; capture real sockets with tcpdump";
            return Err(Trouble::usage(hint));
        }
    };
    if options.json {
        print_json(options, &ran);
    } else {
        print_text(options, &ran);
    }
    Ok(ran.error.is_none())
}

fn simulate(scenario: &Scenario, options: &Run) -> Result<Ran, Trouble> {
    // The simulation that `check` runs for the seed, so that its findings are found here again.
    let sim = check(scenario.name()).simulation(options.seed).trace(options.trace);
    let sim = sim.capture(options.pcap.is_some());
    let report = sim.run(|world| scenario.run(world));
    if let Some(log) = &report.log {
        let mut stderr = io::stderr().lock();
        drop(write!(stderr, "{log}"));
    }
    let error = report.outcome.err().map(|finding| {
        if options.json {
            return finding.to_string();
        }
        format!("{finding}\nthe last records:\n{}", report.tail.to_string().trim_end())
    });
    if let (Some(path), Some(capture)) = (&options.pcap, &report.capture) {
        write(capture, path)
            .map_err(|error| Trouble::failed(format!("{}: {error}", path.display())))?;
    }
    let time = report.time.since_epoch();
    Ok(Ran { error, time, events: report.events, hash: Some(report.hash) })
}

fn write(capture: &Capture, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    capture.write_pcapng(&mut file)?;
    file.flush()
}

fn run_real(scenario: &Scenario) -> Ran {
    let stores = TemporaryDirectory::new();
    let report = real_net::Runner::new().store_dir(stores.path()).report(scenario);
    Ran {
        error: report.outcome.err().map(|error| error.to_string()),
        time: report.elapsed,
        events: report.events,
        hash: None,
    }
}

fn outcome(ran: &Ran) -> &'static str {
    if ran.error.is_none() { "ok" } else { "failed" }
}

fn print_json(options: &Run, ran: &Ran) {
    let mut line = json!({
        "scenario": options.name,
        "loop": options.on.name(),
        "seed": options.seed,
        "outcome": outcome(ran),
        "error": ran.error,
        "time_ns": nanos(ran.time),
        "events": ran.events,
    });
    if let Some(hash) = ran.hash {
        line["trace_hash"] = format!("{hash:016x}").into();
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
            options.seed
        ),
        None => say!("{name}: {outcome}, {time:.6?} real, {events} events"),
    }
    if let Some(error) = &ran.error {
        eprintln!("error: {error}");
    }
}

/// Whole nanoseconds, as far as 64 bits go.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
