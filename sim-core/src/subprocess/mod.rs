//! asyncio's child processes: programs that a loop starts, talks with, signals and waits for.
//!
//! [`Loop::subprocess_exec`] and [`Loop::subprocess_shell`] begin one. It is looked after by
//! callbacks, [`SubprocessProtocol`], or by tasks, [`Process`].
//!
//! On a real loop a program is one of the machine's. In a simulation it is one that the test
//! registered with [`World::program`](crate::World::program): code with arguments, standard streams
//! and signals, which may misbehave as programs do.
//!
//! ```
//! use sim_core::Loop;
//! use std::io;
//!
//! async fn count_words(lp: Loop) -> io::Result<()> {
//!     let mut wc = lp.subprocess_exec("wc", ["-w"]).spawn().await?;
//!     let (output, _) = wc.communicate(b"three little words").await?;
//!     assert_eq!((output.trim_ascii(), wc.returncode()), (&b"3"[..], Some(0)));
//!     Ok(())
//! }
//! # drop(count_words);
//! ```

pub(crate) mod child;
mod pipes;
mod process;
mod protocol;
mod transport;

use std::ffi::OsStr;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};

use self::child::{Child, SubprocessHandler};
use self::pipes::{Pipe, Streams};
pub use self::process::Process;
use self::process::Unheard;
pub use self::protocol::SubprocessProtocol;
pub use self::transport::SubprocessTransport;
use crate::cell::ProtocolCell;
use crate::connect::start_stream;
use crate::driver::{Launch, Source, Spawned};
use crate::engine::callbacks::Place;
use crate::handle::closed_error;
use crate::stream::{DEFAULT_LIMIT, StreamProtocol};
use crate::{Conn, Loop, Transport};

/// What a standard stream of a child is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stdio {
    /// A pipe to its parent.
    Pipe,
    /// Its parent's own. A simulated host has none: its programs read nothing there, and what they
    /// write is forgotten.
    Inherit,
    /// `/dev/null`.
    Null,
    /// Where its output goes: for its errors alone.
    Stdout,
}

/// A child process to be started; [`Loop::subprocess_exec`] and [`Loop::subprocess_shell`] make one.
///
/// Its standard streams are pipes unless it is said otherwise.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::subprocess::Stdio;
///
/// async fn build(lp: Loop) -> std::io::Result<bool> {
///     let make = lp.subprocess_exec("make", ["-j2", "all"]);
///     let make = make.current_dir("project").env("LANG", "C").stdin(Stdio::Null);
///     let mut make = make.stderr(Stdio::Stdout).spawn().await?;
///     let (log, _) = make.communicate(b"").await?;
///     println!("{}", String::from_utf8_lossy(&log));
///     Ok(make.returncode() == Some(0))
/// }
/// # drop(build);
/// ```
#[must_use = "an unused builder starts nothing"]
pub struct Subprocess {
    lp: Loop,
    /// Where user code made it.
    place: Place,
    launch: Launch,
    limit: usize,
}

impl Subprocess {
    #[track_caller]
    fn new<S: AsRef<OsStr>>(lp: &Loop, program: S) -> Self {
        let launch = Launch {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            clears_env: false,
            env: Vec::new(),
            current_dir: None,
            stdio: [Stdio::Pipe; 3],
        };
        let place = Some(Location::caller());
        Self { lp: lp.clone(), place, launch, limit: DEFAULT_LIMIT }
    }

    /// What the child reads from.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.launch.stdio[0] = stdin;
        self
    }

    /// Where its output goes.
    pub fn stdout(mut self, stdout: Stdio) -> Self {
        self.launch.stdio[1] = stdout;
        self
    }

    /// Where its errors go.
    pub fn stderr(mut self, stderr: Stdio) -> Self {
        self.launch.stdio[2] = stderr;
        self
    }

    /// Sets a variable of its environment; the others it has from its parent.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = Some(value.as_ref().to_owned());
        self.launch.env.push((name.as_ref().to_owned(), value));
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.launch.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// Has it inherit no variable; those that are set stay.
    pub fn env_clear(mut self) -> Self {
        self.launch.clears_env = true;
        self.launch.env.retain(|(_, value)| value.is_some());
        self
    }

    /// Where it runs.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.launch.current_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// How many bytes each reader of [`spawn`](Self::spawn) keeps; see
    /// [`StreamProtocol::with_limit`].
    ///
    /// # Panics
    ///
    /// If `limit` is 0.
    #[track_caller]
    pub fn limit(mut self, limit: usize) -> Self {
        assert!(limit > 0, "the limit of a stream is at least one byte");
        self.limit = limit;
        self
    }

    /// Starts the child, and makes the protocol that `factory` returns its protocol: asyncio's
    /// `subprocess_exec`. Completes after `connection_made`.
    ///
    /// # Errors
    ///
    /// `NotFound` and its like if the program cannot be started (contract G-27); `InvalidInput` for
    /// streams that [`Stdio::Stdout`] cannot be; on a closed loop, and on one without processes.
    ///
    /// # Cancel safety
    ///
    /// A child whose start nobody waits for any more is killed and reaped (G-28).
    pub async fn connect<P: SubprocessProtocol>(
        self,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P, SubprocessTransport>> {
        let connect = |child: &Rc<Child>, fd, source| {
            let (lp, pipe) = (&child.lp, Pipe::new(child, fd));
            let conn = start_stream(lp, pipe, source, pipes::medium(fd), child.place);
            conn.transport().clone()
        };
        self.start(factory, connect).await
    }

    /// Starts the child, for tasks to talk with: asyncio's `create_subprocess_exec`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn spawn(self) -> io::Result<Process> {
        let limit = self.limit;
        let mut streams = Streams::default();
        let connect = |child: &Rc<Child>, fd, source| {
            let protocol = pipes::stream(child, fd, limit);
            let conn = start_stream(&child.lp, protocol, source, pipes::medium(fd), child.place);
            streams[fd].insert(conn).transport().clone()
        };
        let conn = self.start(|| Unheard, connect).await?;
        let [stdin, stdout, stderr] = streams;
        let stdin = stdin.map(|stdin| StreamProtocol::writer(&stdin));
        let readers = [stdout, stderr].map(|it| it.map(|it| StreamProtocol::reader(&it)));
        Ok(Process::new(conn.transport().clone(), stdin, readers))
    }

    /// Starts the child; `connect` makes the parent's end of a pipe a transport.
    async fn start<P, K>(
        self,
        factory: impl FnOnce() -> P,
        mut connect: K,
    ) -> io::Result<Conn<P, SubprocessTransport>>
    where
        P: SubprocessProtocol,
        K: FnMut(&Rc<Child>, usize, Source) -> Transport,
    {
        let Self { lp, launch, place, .. } = self;
        if lp.core.is_closed() {
            return Err(closed_error());
        }
        if launch.stdio[..2].contains(&Stdio::Stdout) {
            let text = "a child's errors alone can go where its output goes";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let processes = lp.core.driver.processes()?;
        let protocol = factory();
        let Spawned { child: source, pid, pipes } = processes.spawn(&lp, &launch)?;
        let child = Child::new(&lp, source, pid, place);
        let transport = SubprocessTransport(Rc::clone(&child));
        let cell = ProtocolCell::new(protocol, transport, P::digest as fn(&P) -> Option<String>);
        if let Err(error) = child.start(Rc::clone(&cell) as Rc<dyn SubprocessHandler>) {
            pipes.into_iter().flatten().for_each(|pipe| lp.core.driver.close(pipe));
            return Err(error);
        }
        let mut unmade = KillUnlessMade(&child, false);
        for (fd, pipe) in pipes.into_iter().enumerate() {
            if let Some(source) = pipe {
                let transport = connect(&child, fd, source);
                child.add_pipe(fd, transport);
            }
        }
        for transport in (0..3).filter_map(|fd| child.pipe(fd)) {
            wait_until(|waker| transport.0.poll_made(waker)).await;
        }
        child.open();
        wait_until(|waker| child.poll_made(waker)).await;
        unmade.1 = true;
        Ok(Conn::new(cell))
    }
}

async fn wait_until(poll: impl Fn(&Waker) -> bool) {
    poll_fn(|cx| if poll(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Gives a child up whose start nobody waits for any more (contract G-28).
struct KillUnlessMade<'a>(&'a Rc<Child>, bool);

impl Drop for KillUnlessMade<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.abandon();
        }
    }
}

impl fmt::Debug for Subprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subprocess").field("launch", &self.launch).finish_non_exhaustive()
    }
}

impl Loop {
    /// A child process that runs a program: a path, or a name that is looked for as a shell does.
    /// [`connect`](Subprocess::connect) starts it for callbacks, [`spawn`](Subprocess::spawn) for
    /// tasks.
    #[track_caller]
    pub fn subprocess_exec<I>(&self, program: impl AsRef<OsStr>, args: I) -> Subprocess
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut subprocess = Subprocess::new(self, program);
        subprocess.launch.args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        subprocess
    }

    /// A child process that runs a command of the shell, `/bin/sh`. In a simulation in which no
    /// program `sh` is registered, the command is the name of a program and its arguments, which
    /// may be quoted, and no more than that.
    ///
    /// ```
    /// use sim_core::Loop;
    ///
    /// async fn lines(lp: Loop, path: &str) -> std::io::Result<Vec<u8>> {
    ///     let mut shell = lp.subprocess_shell(format!("sort {path} | uniq -c")).spawn().await?;
    ///     Ok(shell.communicate(b"").await?.0)
    /// }
    /// # drop(lines);
    /// ```
    #[track_caller]
    pub fn subprocess_shell(&self, command: impl AsRef<OsStr>) -> Subprocess {
        self.subprocess_exec("/bin/sh", [OsStr::new("-c"), command.as_ref()])
    }

    /// Starts a program for tasks to talk with, over pipes: short for
    /// [`subprocess_exec(..)`](Self::subprocess_exec)[`.spawn()`](Subprocess::spawn).
    ///
    /// # Errors
    ///
    /// As [`Subprocess::connect`].
    #[track_caller]
    pub fn create_subprocess_exec<I>(
        &self,
        program: impl AsRef<OsStr>,
        args: I,
    ) -> impl Future<Output = io::Result<Process>>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.subprocess_exec(program, args).spawn()
    }

    /// Starts a command of the shell for tasks to talk with, over pipes: short for
    /// [`subprocess_shell(..)`](Self::subprocess_shell)[`.spawn()`](Subprocess::spawn).
    ///
    /// # Errors
    ///
    /// As [`Subprocess::connect`].
    #[track_caller]
    pub fn create_subprocess_shell(
        &self,
        command: impl AsRef<OsStr>,
    ) -> impl Future<Output = io::Result<Process>> {
        self.subprocess_shell(command).spawn()
    }
}

impl<P: SubprocessProtocol> SubprocessHandler for ProtocolCell<P, SubprocessTransport> {
    fn connection_made(&self) {
        self.enter(|protocol, cx| protocol.connection_made(cx));
    }

    fn pipe_data_received(&self, fd: usize, data: &[u8]) {
        self.enter(|protocol, cx| protocol.pipe_data_received(cx, fd, data));
    }

    fn pipe_connection_lost(&self, fd: usize, error: Option<io::Error>) {
        self.enter(|protocol, cx| protocol.pipe_connection_lost(cx, fd, error));
    }

    fn pause_writing(&self) {
        self.enter(|protocol, cx| protocol.pause_writing(cx));
    }

    fn resume_writing(&self) {
        self.enter(|protocol, cx| protocol.resume_writing(cx));
    }

    fn process_exited(&self) {
        self.enter(|protocol, cx| protocol.process_exited(cx));
    }

    fn connection_lost(&self) {
        self.enter_last(|protocol, cx| protocol.connection_lost(cx, None));
    }

    fn tell_last_state(&self) {
        ProtocolCell::tell_last_state(self);
    }

    fn protocol_name(&self) -> &'static str {
        std::any::type_name::<P>()
    }

    fn detach(&self) {
        self.cancel_all();
    }
}
