//! The signals that end a server.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::thread;

use futures::channel::oneshot;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{SigId, flag, low_level};

use crate::signals::Handled;

/// Waits for `SIGTERM` or `SIGINT`, the signals that ask a program to end.
///
/// From this call on the first of them completes the future instead of ending the process, on
/// whichever loop awaits it. A second one ends the process at once: a server that does not come to
/// its end can still be stopped. One after the future was dropped does what it would have done without
/// this call: it ends the process, or goes to the loops that handle it. Call it once in a process: for a second call the first signal may have been the last.
///
/// # Errors
///
/// What installing the handlers and starting a thread give.
///
/// ```no_run
/// # use sim_core::{Loop, Serving};
/// # async fn start(_: &Loop) -> std::io::Result<Serving> { Err(std::io::ErrorKind::Other.into()) }
/// let lp = real_net::new_loop()?;
/// let handle = lp.clone();
/// lp.run_until_complete(async move {
///     let shutdown = real_net::shutdown_signal()?;
///     let serving = start(&handle).await?;
///     println!("serving {}", serving.local_addr());
///     println!("{} came", shutdown.await);
///     serving.stop().await;
///     std::io::Result::Ok(())
/// })??;
/// # std::io::Result::Ok(())
/// ```
pub fn shutdown_signal() -> io::Result<ShutdownSignal> {
    let default_again = Arc::new(AtomicBool::new(false));
    // What loops handled once and handle no more is not to end the process.
    let handled = SHUTDOWN.map(Handled::new).into_iter().collect::<io::Result<Vec<_>>>()?;
    let mut second_ends = Actions::default();
    for signal in SHUTDOWN {
        // In this order: the first signal finds the flag unset, and sets it for the second.
        let by_default = flag::register_conditional_default(signal, Arc::clone(&default_again))?;
        second_ends.0.push(by_default);
        second_ends.0.push(flag::register(signal, Arc::clone(&default_again))?);
    }
    let mut signals = Signals::new(SHUTDOWN)?;
    let handle = signals.handle();
    let (came, coming) = oneshot::channel();
    thread::Builder::new().name("signals".into()).spawn(move || {
        // The iteration ends without a signal when the future is dropped.
        if let Some(number) = signals.forever().next() {
            let _ = came.send(if number == SIGINT { Shutdown::Int } else { Shutdown::Term });
        }
    })?;
    Ok(ShutdownSignal { coming, handle, _handled: handled, _second_ends: second_ends })
}

const SHUTDOWN: [i32; 2] = [SIGTERM, SIGINT];

/// Which signal asked for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// `SIGINT`: somebody pressed Ctrl-C.
    Int,
    /// `SIGTERM`: a supervisor, or `kill`.
    Term,
}

/// The future of [`shutdown_signal`].
#[must_use = "a signal is waited for by awaiting it"]
pub struct ShutdownSignal {
    coming: oneshot::Receiver<Shutdown>,
    handle: signal_hook::iterator::Handle,
    /// Before what is below: a signal that comes in between has its usual effect.
    _handled: Vec<Handled>,
    _second_ends: Actions,
}

/// What is done at signals, until it is dropped.
#[derive(Default)]
struct Actions(Vec<SigId>);

impl Drop for Actions {
    fn drop(&mut self) {
        for action in self.0.drain(..) {
            low_level::unregister(action);
        }
    }
}

impl Future for ShutdownSignal {
    type Output = Shutdown;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Shutdown> {
        // The thread sends before it ends, and it ends by itself only after a signal.
        Pin::new(&mut self.coming).poll(cx).map(|came| came.unwrap_or(Shutdown::Term))
    }
}

impl Drop for ShutdownSignal {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl fmt::Debug for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownSignal").finish_non_exhaustive()
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "SIGINT",
            Self::Term => "SIGTERM",
        })
    }
}
