//! Programs of a simulated machine: what a test registers with
//! [`World::program`](crate::World::program), and what their processes have.

mod running;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use self::running::SignalTable;
pub use self::running::{ProgramEnds, RunningProgram};
use crate::stream::{StreamReader, StreamWriter};
use crate::{Loop, Signal};

/// A program: what it does when it is started, and its exit code.
pub type Program = Rc<dyn Fn(ProcessContext) -> Pin<Box<dyn Future<Output = i32>>>>;

/// What a simulated process has: its arguments, its environment, its standard streams, and the
/// signals that it is sent.
///
/// The process is a task on the loop of its host. It ends when the program's future does: with its
/// exit code, or, for a negative number, as if that signal had ended it. A signal that ends it drops
/// the future where it stands. What the program starts on the loop beside its future, such as tasks
/// and connections, outlives it: a program keeps to its own future, and closes what it opened.
///
/// ```
/// use sim_core::program::ProcessContext;
/// use sim_core::World;
///
/// async fn shout(mut process: ProcessContext) -> i32 {
///     while let Ok(line) = process.stdin.read_line().await {
///         if line.is_empty() {
///             return 0;
///         }
///         if process.stdout.write(&line.to_ascii_uppercase()).await.is_err() {
///             break;
///         }
///     }
///     1
/// }
///
/// async fn a_host_shouts(world: World) -> std::io::Result<()> {
///     world.program("shout", shout);
///     let mut child = world.host("server").subprocess_shell("shout").spawn().await?;
///     assert_eq!(child.communicate(b"hello\n").await?.0, b"HELLO\n");
///     Ok(())
/// }
/// # drop(a_host_shouts);
/// ```
pub struct ProcessContext {
    /// What the process reads. At its end from the start if that is not a pipe.
    pub stdin: StreamReader,
    /// What it says.
    pub stdout: ProgramOutput,
    /// What it complains of.
    pub stderr: ProgramOutput,
    lp: Loop,
    pid: u32,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    current_dir: Option<String>,
    signals: Rc<SignalTable>,
}

impl ProcessContext {
    /// The number of the process, which no other process of its host ever has.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its arguments, without its own name.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// A variable of its environment: of those that its parent set, since a simulated host has no
    /// others.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// The directory that its parent chose.
    pub fn current_dir(&self) -> Option<&str> {
        self.current_dir.as_deref()
    }

    /// The loop of its host.
    pub fn event_loop(&self) -> &Loop {
        &self.lp
    }

    /// Calls `callback` when the process is sent the signal, instead of what that does by default;
    /// see [`Loop::add_signal_handler`].
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a signal that [cannot be caught](Signal::can_be_caught).
    pub fn add_signal_handler(
        &self,
        signal: Signal,
        callback: impl Fn() + 'static,
    ) -> io::Result<()> {
        self.signals.add(signal, Rc::new(callback))
    }

    /// Takes a handler away; false if there was none.
    pub fn remove_signal_handler(&self, signal: Signal) -> bool {
        self.signals.remove(signal)
    }
}

impl fmt::Debug for ProcessContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessContext")
            .field("pid", &self.pid)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// A standard stream that a simulated process writes to. Clones write to the same.
#[derive(Clone)]
pub struct ProgramOutput(Option<Rc<StreamWriter>>);

impl ProgramOutput {
    /// Writes, and waits until the pipe has taken it all, as a blocking write does. What goes to no
    /// pipe is forgotten.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when nobody reads it. A program that goes on regardless is one that ignores
    /// `SIGPIPE`.
    pub async fn write(&self, data: &[u8]) -> io::Result<()> {
        let Some(writer) = self.0.as_deref().filter(|_| !data.is_empty()) else {
            return Ok(());
        };
        if writer.is_closing() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        writer.write(data);
        writer.drain().await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Closes it, after what was written.
    pub fn close(&self) {
        if let Some(writer) = &self.0 {
            writer.close();
        }
    }

    /// Closes it and waits until what was written is in the pipe, or nobody reads it.
    async fn finish(&self) {
        if let Some(writer) = &self.0 {
            writer.close();
            // Who does not read what comes is not told so either.
            let _ = writer.wait_closed().await;
        }
    }
}

impl fmt::Debug for ProgramOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProgramOutput").field(&self.0).finish()
    }
}
