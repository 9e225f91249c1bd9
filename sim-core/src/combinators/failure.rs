//! Why tasks of a gather or a group have no value.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::TaskError;

/// Why a task of a `Result` has no value (contract, ruling 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskFailure<E> {
    /// It returned this error.
    Failed(E),
    /// It was cancelled.
    Cancelled,
    /// It panicked, with this message.
    Panicked(Arc<str>),
}

impl<E> From<TaskError> for TaskFailure<E> {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Cancelled => Self::Cancelled,
            TaskError::Panicked(message) => Self::Panicked(message),
        }
    }
}

impl<E: fmt::Display> fmt::Display for TaskFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Cancelled => TaskError::Cancelled.fmt(f),
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
        }
    }
}

impl<E: Error + 'static> Error for TaskFailure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            _ => None,
        }
    }
}

impl From<TaskFailure<Self>> for io::Error {
    fn from(failure: TaskFailure<Self>) -> Self {
        match failure {
            TaskFailure::Failed(error) => error,
            TaskFailure::Cancelled => TaskError::Cancelled.into(),
            TaskFailure::Panicked(message) => TaskError::Panicked(message).into(),
        }
    }
}

/// What failed in a task group, in order of completion; never empty (contract B-38).
///
/// A failure of the body is the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupError<E> {
    failures: Vec<TaskFailure<E>>,
}

impl<E> GroupError<E> {
    pub(super) fn new(failures: Vec<TaskFailure<E>>) -> Self {
        debug_assert!(!failures.is_empty(), "a group fails because something failed");
        Self { failures }
    }

    /// The failures.
    pub fn failures(&self) -> &[TaskFailure<E>] {
        &self.failures
    }

    /// The failures, to keep.
    pub fn into_failures(self) -> Vec<TaskFailure<E>> {
        self.failures
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the task group failed: ", self.failures.len())?;
        for (place, failure) in self.failures.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

impl<E: Error + 'static> Error for GroupError<E> {
    /// The first failure.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failures.first().map(|failure| failure as &(dyn Error + 'static))
    }
}

impl From<GroupError<Self>> for io::Error {
    /// An error of the kind of the first one, with all of them as its source.
    fn from(error: GroupError<Self>) -> Self {
        let kind = match error.failures.first() {
            Some(TaskFailure::Failed(first)) => first.kind(),
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
