//! A child process for tasks.

use std::fmt;
use std::io;

use futures::future::join3;

use super::{SubprocessProtocol, SubprocessTransport};
use crate::Signal;
use crate::stream::{StreamReader, StreamWriter};

/// The protocol of a child that tasks look after: they ask its transport.
pub(super) struct Unheard;

impl SubprocessProtocol for Unheard {}

/// A child process for tasks: asyncio's `Process`. [`Loop::create_subprocess_exec`] starts one.
///
/// Dropping it closes the child's input and reads its output to the end, for nobody; the child goes
/// on, and is reaped when it exits.
///
/// [`Loop::create_subprocess_exec`]: crate::Loop::create_subprocess_exec
///
/// ```
/// use sim_core::Loop;
///
/// async fn sorted(lp: Loop, lines: &[u8]) -> std::io::Result<Vec<u8>> {
///     let mut sort = lp.subprocess_exec("sort", ["-n"]).spawn().await?;
///     let (output, _errors) = sort.communicate(lines).await?;
///     assert_eq!(sort.wait().await?, 0);
///     Ok(output)
/// }
/// # drop(sorted);
/// ```
pub struct Process {
    /// What writes to the child's input, if that is a pipe.
    pub stdin: Option<StreamWriter>,
    /// What reads the child's output, if that is a pipe.
    pub stdout: Option<StreamReader>,
    /// What reads the child's errors, if that is a pipe.
    pub stderr: Option<StreamReader>,
    transport: SubprocessTransport,
}

impl Process {
    pub(super) fn new(
        transport: SubprocessTransport,
        stdin: Option<StreamWriter>,
        [stdout, stderr]: [Option<StreamReader>; 2],
    ) -> Self {
        Self { stdin, stdout, stderr, transport }
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.transport.pid()
    }

    /// As [`SubprocessTransport::returncode`].
    pub fn returncode(&self) -> Option<i32> {
        self.transport.returncode()
    }

    /// Waits until the child has exited, and says how: its exit code, or a signal as a negative
    /// number. Several may wait, and whoever stops waiting disturbs nobody (contract G-30).
    ///
    /// A child whose output is a pipe may wait for somebody to read it:
    /// [`communicate`](Self::communicate) does.
    ///
    /// # Errors
    ///
    /// When the loop is closed before.
    pub async fn wait(&self) -> io::Result<i32> {
        let child = &self.transport.0;
        child.wakers.until(|| child.exit()).await
    }

    /// Writes `input` to the child and closes its input, reads its output and its errors to their
    /// ends, and waits for it: both are empty for a stream that is no pipe. However much goes either
    /// way, neither waits for the other.
    ///
    /// A child that does not read its input is no error (G-30); how it ended is in
    /// [`returncode`](Self::returncode).
    ///
    /// # Errors
    ///
    /// Those of reading; when the loop is closed before.
    ///
    /// # Cancel safety
    ///
    /// None: what was read is lost.
    pub async fn communicate(&mut self, input: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let Self { stdin, stdout, stderr, .. } = self;
        let (fed, output, errors) =
            join3(feed(stdin.take(), input), drained(stdout), drained(stderr)).await;
        fed?;
        let collected = (output?, errors?);
        self.wait().await?;
        Ok(collected)
    }

    /// As [`SubprocessTransport::send_signal`].
    ///
    /// # Errors
    ///
    /// As [`SubprocessTransport::send_signal`].
    pub fn send_signal(&self, signal: Signal) -> io::Result<()> {
        self.transport.send_signal(signal)
    }

    /// As [`SubprocessTransport::terminate`].
    ///
    /// # Errors
    ///
    /// As [`SubprocessTransport::send_signal`].
    pub fn terminate(&self) -> io::Result<()> {
        self.transport.terminate()
    }

    /// As [`SubprocessTransport::kill`].
    ///
    /// # Errors
    ///
    /// As [`SubprocessTransport::send_signal`].
    pub fn kill(&self) -> io::Result<()> {
        self.transport.kill()
    }

    /// The transport.
    pub fn transport(&self) -> &SubprocessTransport {
        &self.transport
    }
}

/// Writes all of the input, and closes it.
async fn feed(stdin: Option<StreamWriter>, input: &[u8]) -> io::Result<()> {
    let Some(stdin) = stdin else {
        return Ok(());
    };
    if !input.is_empty() {
        stdin.write(input);
    }
    let fed = stdin.drain().await;
    stdin.close();
    match fed {
        Err(error) if is_broken(&error) => Ok(()),
        fed => fed,
    }
}

/// True for what says that nobody reads any more.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// What is read to the end.
async fn drained(reader: &mut Option<StreamReader>) -> io::Result<Vec<u8>> {
    match reader {
        Some(reader) => reader.read_to_end().await,
        None => Ok(Vec::new()),
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("transport", &self.transport).finish_non_exhaustive()
    }
}
