//! What Ctrl-C does to a search: the first `SIGINT` ends it in good order, the second one ends the process. One that
//! was interrupted and has nothing else to say by its end dies of the signal, as if it had no handler: a shell goes on
//! with its loop behind a command that has merely exited.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::Trouble;

/// A flag that the first `SIGINT` sets; from then on the next one has its usual effect. Where it was ignored before,
/// as in what a shell runs in the background, it still is.
///
/// # Errors
///
/// What installing the handlers and starting a thread give.
pub(crate) fn stop_flag() -> Result<Arc<AtomicBool>, Trouble> {
    handled().map_err(|error| Trouble::failed(format!("cannot handle SIGINT: {error}")))
}

fn handled() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    if is_ignored(SIGINT) {
        return Ok(stop);
    }
    // In this order: the first signal finds the flag unset, and sets it for the second.
    flag::register_conditional_default(SIGINT, Arc::clone(&stop))?;
    flag::register(SIGINT, Arc::clone(&stop))?;
    let mut signals = Signals::new([SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            // Where a person pressed Ctrl-C, the terminal has written that into the line.
            let line = if io::stderr().is_terminal() { "\n" } else { "" };
            tell!("{line}SIGINT came: no further run is started; a second one ends it at once");
        }
    })?;
    Ok(stop)
}

/// Ends this process by `SIGINT`, which it has handled. Nothing may be left to write.
pub(crate) fn die() {
    // Where the system refuses, the exit code is left to say it.
    drop(low_level::emulate_default_handler(SIGINT));
}

/// Whether this process was told to ignore a signal by who started it, as far as the system says.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set >> (signal - 1) & 1 == 1)
}
