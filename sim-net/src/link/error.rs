//! What can be wrong with a link, a partition, or their text.

use std::error::Error;
use std::fmt;

/// Why a link or a partition cannot be as asked.
///
/// The fault is the caller's: nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkError {
    /// A parameter that no link can have.
    Value {
        /// The part of the link, as its text form calls it.
        part: &'static str,
        /// What is wrong with it, and what would do.
        problem: String,
    },
    /// A text that does not describe a link.
    Text {
        /// Where the part in question begins, in characters from 1 on.
        place: usize,
        /// The part as it stands there.
        part: String,
        /// What is wrong with it, and what would do.
        problem: String,
    },
    /// No host of the world has this name.
    UnknownHost {
        /// The name.
        name: String,
    },
}

impl LinkError {
    pub(crate) fn value(part: &'static str, problem: impl Into<String>) -> Self {
        Self::Value { part, problem: problem.into() }
    }

    /// What is wrong, without saying where.
    pub(crate) fn problem(self) -> String {
        match self {
            Self::Value { problem, .. } | Self::Text { problem, .. } => problem,
            unknown @ Self::UnknownHost { .. } => unknown.to_string(),
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { part, problem } => write!(f, "{part}: {problem}"),
            Self::Text { place, part, problem } => {
                write!(f, "{part:?} at character {place}: {problem}")
            }
            Self::UnknownHost { name } => write!(
                f,
                "no host of this world is called {name:?}: make it with `World::host` before its \
                 links are touched"
            ),
        }
    }
}

impl Error for LinkError {}
