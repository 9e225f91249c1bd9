//! What Ctrl-C does to a check: the first `SIGINT` ends it in good order, the second one ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::SIGINT;
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// A flag that the first `SIGINT` sets; from then on the next one has its usual effect.
///
/// # Errors
///
/// What installing the handlers and starting a thread give.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    // In this order: the first signal finds the flag unset, and sets it for the second.
    flag::register_conditional_default(SIGINT, Arc::clone(&stop))?;
    flag::register(SIGINT, Arc::clone(&stop))?;
    let mut signals = Signals::new([SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            tell!("SIGINT came: no further run is started; a second one ends it at once");
        }
    })?;
    Ok(stop)
}
