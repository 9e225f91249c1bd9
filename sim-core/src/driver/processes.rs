//! What a backend with child processes provides beside [`Driver`](super::Driver).

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::Source;
use crate::subprocess::Stdio;
use crate::{Loop, Signal};

/// A program to be started, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    /// The program: a path, or a name that is looked for as `execvp` does.
    pub program: OsString,
    /// Its arguments, without its own name.
    pub args: Vec<OsString>,
    /// True if it inherits nothing of the environment.
    pub clears_env: bool,
    /// What is different in its environment, in order: a value, or `None` for a variable that is
    /// taken out.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// Where it runs, if not where its parent does.
    pub current_dir: Option<PathBuf>,
    /// Its standard input, output and error.
    pub stdio: [Stdio; 3],
}

/// A child process that was started.
#[derive(Debug)]
pub struct Spawned {
    /// The child: [registered](super::Driver::register), it becomes readable when it has exited.
    pub child: Source,
    /// Its number.
    pub pid: u32,
    /// The parent's ends of those of its standard streams that are [pipes](Stdio::Pipe).
    pub pipes: [Option<Source>; 3],
}

/// Child processes: [`Driver::processes`](super::Driver::processes) of a backend that has them.
///
/// A child is a [`Source`]. [`close`](super::Driver::close) gives it up: one that still runs is
/// killed, and every one is reaped, whoever forgets it.
pub trait Processes {
    /// Starts a program. `lp` is the loop that asks: a backend whose programs are futures runs them
    /// on it.
    ///
    /// The parent's ends are inherited by no other child (contract G-31).
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied`, `EMFILE` and its kin, `EAGAIN`. Nothing is left open then
    /// (G-27).
    fn spawn(&self, lp: &Loop, launch: &Launch) -> io::Result<Spawned>;

    /// How the child ended, if it has: its exit code, or a signal as a negative number. It is reaped
    /// then.
    ///
    /// # Errors
    ///
    /// When the source is no child.
    fn exit_status(&self, child: Source) -> io::Result<Option<i32>>;

    /// Sends a child a signal. One that has exited gets none, whoever has its number now (G-26).
    ///
    /// # Errors
    ///
    /// What `pidfd_send_signal` gives.
    fn send_signal(&self, child: Source, signal: Signal) -> io::Result<()>;
}
