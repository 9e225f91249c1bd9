//! What the command logs: `tracing` events, with the time and host of the loop they come from.

use std::fmt;
use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::output::Logged;

/// The time on the loop whose turn it is, and its host: virtual in a simulation.
struct LoopTime;

impl FormatTime for LoopTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        match (sim_core::current_time(), sim_core::current_host()) {
            (Some(time), Some(host)) => write!(w, "{time} {host}"),
            _ => w.write_str("-"),
        }
    }
}

/// Logs to standard error what `RUST_LOG` asks for, errors if it says nothing.
pub(crate) fn install() -> Result<(), String> {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned());
    let targets: Targets =
        wanted.parse().map_err(|error| format!("RUST_LOG={wanted:?}: {error}"))?;
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(LoopTime)
        .with_ansi(std::io::stderr().is_terminal() && !is_plain)
        .with_writer(|| Logged);
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}
