//! The handle of a child process.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::child::Child;
use crate::{Loop, Signal, Transport};

/// A child process, as its parent acts on it: asyncio's `SubprocessTransport`. Clones are handles of
/// the same child, and none of them keeps it running or ends it: a child that nobody looks after any
/// more is reaped when it exits.
#[derive(Clone)]
pub struct SubprocessTransport(pub(crate) Rc<Child>);

impl SubprocessTransport {
    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// How the process ended: its exit code, or a signal as a negative number; `None` while it runs
    /// (contract G-24).
    pub fn returncode(&self) -> Option<i32> {
        self.0.returncode()
    }

    /// The parent's end of a pipe: 0 is written to, 1 and 2 are read from. `None` for a stream that
    /// is no pipe (G-29), and before `connection_made`.
    pub fn get_pipe_transport(&self, fd: usize) -> Option<Transport> {
        self.0.pipe(fd)
    }

    /// Sends the child a signal.
    ///
    /// # Errors
    ///
    /// `ESRCH` once the connection is lost. Between exit and loss it does nothing, and never hits
    /// another process that has got the number (G-26). What `kill` gives.
    pub fn send_signal(&self, signal: Signal) -> io::Result<()> {
        self.0.send_signal(signal)
    }

    /// Asks the child to end: sends it `SIGTERM`.
    ///
    /// # Errors
    ///
    /// As [`send_signal`](Self::send_signal).
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(Signal::TERM)
    }

    /// Ends the child: sends it `SIGKILL`.
    ///
    /// # Errors
    ///
    /// As [`send_signal`](Self::send_signal).
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(Signal::KILL)
    }

    /// Closes the pipes, and kills the child if it still runs; input that it was not given yet is dropped.
    /// `connection_lost` comes when the exit is reaped. Idempotent (G-25).
    pub fn close(&self) {
        self.0.close();
    }

    /// True from [`close`](Self::close) on, and once the connection is lost.
    pub fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Its number among the connections of its loop, as traces and reports have it.
    pub fn number(&self) -> u32 {
        self.0.number
    }

    /// The loop.
    pub fn event_loop(&self) -> &Loop {
        &self.0.lp
    }
}

impl fmt::Debug for SubprocessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubprocessTransport")
            .field("pid", &self.pid())
            .field("returncode", &self.returncode())
            .finish_non_exhaustive()
    }
}
