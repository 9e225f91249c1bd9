//! The signals that a loop handles.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{getpid, kill_process};
use signal_hook::{SigId, flag, low_level};
use sim_core::Signal;
use sim_core::driver::{Signals, Source};

use crate::MioDriver;
use crate::sockets::{Descriptor, Reads};

/// The signals that this process has ever handled.
///
/// What a signal does is the process's, and so is this, the one thing here that no value owns: a
/// loop that comes later takes over from what an earlier one left.
static DISPOSITIONS: Mutex<BTreeMap<i32, Disposition>> = Mutex::new(BTreeMap::new());

/// Who handles a signal.
struct Disposition {
    handlers: usize,
    /// True while nobody does: then it does what it does by default.
    is_default: Arc<AtomicBool>,
}

/// As long as somebody has one, a signal does not do what it does by default.
#[derive(Debug)]
pub(crate) struct Handled(i32);

impl Handled {
    pub(crate) fn new(signal: i32) -> io::Result<Self> {
        let mut dispositions = DISPOSITIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let disposition = match dispositions.entry(signal) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let is_default = Arc::new(AtomicBool::new(true));
                register_default(signal, Arc::clone(&is_default))?;
                place.insert(Disposition { handlers: 0, is_default })
            }
        };
        disposition.handlers += 1;
        disposition.is_default.store(false, Ordering::SeqCst);
        Ok(Self(signal))
    }
}

/// Has a signal do what it does by default while `is_default` is true.
fn register_default(signal: i32, is_default: Arc<AtomicBool>) -> io::Result<()> {
    if low_level::signal_name(signal).is_some() {
        flag::register_conditional_default(signal, is_default)?;
    } else {
        // Of the others, those of real time among them, each ends the process. What its status then says of the signal
        // is what a shell would say.
        flag::register_conditional_shutdown(signal, 128 + signal, is_default)?;
    }
    Ok(())
}

impl Drop for Handled {
    fn drop(&mut self) {
        let mut dispositions = DISPOSITIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disposition) = dispositions.get_mut(&self.0) {
            disposition.handlers -= 1;
            disposition.is_default.store(disposition.handlers == 0, Ordering::SeqCst);
        }
    }
}

/// A signal on its way to one loop: a byte in a socket for each time that it came.
#[derive(Debug)]
pub(crate) struct WatchedSignal {
    arrivals: UnixStream,
    action: SigId,
    /// Behind the action, which goes first.
    _handled: Handled,
}

impl WatchedSignal {
    fn new(signal: Signal) -> io::Result<Self> {
        let (arrivals, arriving) = UnixStream::pair()?;
        arrivals.set_nonblocking(true)?;
        let number = signal.number();
        let handled = Handled::new(number)?;
        let action = low_level::pipe::register(number, arriving)?;
        Ok(Self { arrivals, action, _handled: handled })
    }

    /// How often it came.
    fn take(&self) -> io::Result<usize> {
        let (mut came, mut bytes) = (0, [0; 256]);
        loop {
            match (&self.arrivals).read(&mut bytes) {
                Ok(0) => return Ok(came),
                Ok(length) => came += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(came),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for WatchedSignal {
    fn as_raw_fd(&self) -> RawFd {
        self.arrivals.as_raw_fd()
    }
}

impl Drop for WatchedSignal {
    fn drop(&mut self) {
        low_level::unregister(self.action);
    }
}

impl Signals for MioDriver {
    fn watch(&self, signal: Signal) -> io::Result<Source> {
        let watched = Descriptor::Signal(WatchedSignal::new(signal)?);
        self.insert_descriptor(watched, Reads::Bytes)
    }

    fn take_signals(&self, source: Source) -> io::Result<usize> {
        self.with_descriptor(source, |descriptor| match descriptor {
            Descriptor::Signal(watched) => watched.take(),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    fn raise(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::Signal::from_named_raw(signal.number()) {
            Some(named) => Ok(kill_process(getpid(), named)?),
            None => low_level::raise(signal.number()),
        }
    }
}

/// The signal as the kernel is asked for it; real-time signals have no names.
pub(crate) fn kernel_signal(signal: Signal) -> io::Result<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(signal.number()).ok_or_else(|| {
        let text = format!("{signal} is a real-time signal, which this loop sends to nobody");
        io::Error::new(io::ErrorKind::Unsupported, text)
    })
}
