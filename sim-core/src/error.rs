//! The errors of the engine that are not plain `std::io::Error`s.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::Address;

/// Why a `run_*` call ended without the value that was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The loop is closed (contract A-01).
    Closed,
    /// The loop is running already, or another one is on this thread.
    AlreadyRunning,
    /// The loop was stopped before the future was done.
    Stopped,
    /// The future's task was cancelled.
    Cancelled,
    /// A `SIGINT` ended the run (I-06).
    Interrupted,
    /// The future's task panicked and the policy contained it.
    Panicked(String),
    /// Nothing can ever happen again in the world, and the future is not done.
    Deadlock {
        /// A line for each pending task of each host: `host: task "name"`.
        pending: Vec<String>,
    },
    /// A bound of the world was reached.
    Limit {
        /// The bound's name, which is also the name of the method that sets it.
        name: &'static str,
        /// Its value, with its unit.
        bound: String,
    },
    /// A foreign thread woke a task of a simulation, which would make the run depend on timing.
    ForeignWake {
        /// The thread's name.
        thread: String,
    },
    /// The driver failed.
    Io(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("event loop is closed"),
            Self::AlreadyRunning => f.write_str(
                "a loop is already running here; await instead of running a loop inside a callback",
            ),
            Self::Stopped => f.write_str("event loop stopped before the future completed"),
            Self::Cancelled => f.write_str("the task that was run until complete was cancelled"),
            Self::Interrupted => f.write_str("the run was interrupted by SIGINT"),
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
            Self::Deadlock { pending } => {
                f.write_str("deadlock: nothing can ever happen again, and these tasks wait:")?;
                pending.iter().try_for_each(|task| write!(f, "\n  {task}"))
            }
            Self::Limit { name, bound } => {
                write!(f, "the limit `{name}` of {bound} was reached; raise it if the run is sound")
            }
            Self::ForeignWake { thread } => write!(
                f,
                "thread {thread:?} woke a task of a simulation; \
                 a simulated protocol may not use threads of its own"
            ),
            Self::Io(error) => write!(f, "the driver failed: {error}"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

/// What a task ended with instead of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskError {
    /// It was cancelled.
    Cancelled,
    /// It panicked, with this message.
    Panicked(Arc<str>),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
        }
    }
}

impl Error for TaskError {}

impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> Self {
        Self::other(error)
    }
}

/// A cancellation was delivered to this scope; see [`catch_cancel`](crate::catch_cancel).
///
/// All are equal. The default one is a plain request to cancel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cancelled {
    /// The scope that sent it and the task of that scope, by number; zero for a request.
    pub(crate) scope: u64,
    pub(crate) task: u32,
}

impl PartialEq for Cancelled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cancelled {}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl Error for Cancelled {}

impl From<Cancelled> for io::Error {
    fn from(error: Cancelled) -> Self {
        Self::other(error)
    }
}

/// A deadline passed first; see [`Loop::timeout`](crate::Loop::timeout).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed {
    pub(crate) after: Duration,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.after)
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    /// An error of kind `TimedOut`.
    fn from(error: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, error)
    }
}

/// A protocol's callback panicked and the policy contained it: the error that its
/// `connection_lost` gets (contract C-32).
#[derive(Debug, Clone)]
pub struct CallbackPanicked {
    /// The method's name.
    pub callback: &'static str,
    /// The panic's message.
    pub message: Arc<str>,
}

impl fmt::Display for CallbackPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} panicked: {}", self.callback, self.message)
    }
}

impl Error for CallbackPanicked {}

/// An error that several parties need: kept once, handed out as copies (ruling 12).
///
/// A copy has the raw OS code if there was one, else the kind with the shared source.
#[derive(Debug, Clone)]
pub struct SharedError(Arc<io::Error>);

impl SharedError {
    /// Keeps `error`.
    pub fn new(error: io::Error) -> Self {
        Self(Arc::new(error))
    }

    /// The error, to look at.
    pub fn get(&self) -> &io::Error {
        &self.0
    }

    /// A copy to give away.
    pub fn to_io(&self) -> io::Error {
        match self.0.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None if self.0.get_ref().is_none() => self.0.kind().into(),
            None => io::Error::new(self.0.kind(), self.clone()),
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.get_ref().map(|inner| inner as &(dyn Error + 'static))
    }
}

/// A call on an address failed: what was tried, where, and the operating system's error as its
/// [`source`](Error::source), errno and all (contract E-06, E-17).
#[derive(Debug, Clone)]
pub struct AddressError {
    doing: &'static str,
    addr: Address,
    error: SharedError,
}

impl AddressError {
    /// `error`, of its own kind, with what was tried and the address in its text.
    pub(crate) fn wrap(
        doing: &'static str,
        addr: impl Into<Address>,
        error: io::Error,
    ) -> io::Error {
        let (kind, error) = (error.kind(), SharedError::new(error));
        io::Error::new(kind, Self { doing, addr: addr.into(), error })
    }

    /// The address.
    pub fn addr(&self) -> &Address {
        &self.addr
    }

    /// The operating system's code, if it was its error.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.error.get().raw_os_error()
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.addr, self.error)
    }
}

impl Error for AddressError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.error.get())
    }
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> Arc<str> {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return Arc::from(*text);
    }
    match payload.downcast_ref::<String>() {
        Some(text) => Arc::from(text.as_str()),
        None => Arc::from("a panic with a payload that is not text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_the_os_code_or_the_kind_and_the_text() {
        let reset = SharedError::new(io::Error::from_raw_os_error(104));
        assert_eq!(reset.to_io().raw_os_error(), Some(104));
        let refused = SharedError::new(io::ErrorKind::ConnectionRefused.into());
        assert!(refused.to_io().get_ref().is_none());
        let own = SharedError::new(io::Error::new(io::ErrorKind::InvalidData, "bad frame"));
        let copy = own.to_io();
        assert_eq!(
            (copy.kind(), copy.to_string()),
            (io::ErrorKind::InvalidData, "bad frame".into())
        );
    }
}
