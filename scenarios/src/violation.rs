//! A broken invariant.

use std::error::Error;
use std::fmt;

use sim_core::history::Anomaly;

/// An invariant of a scenario that did not hold: the text says which, and what was seen instead.
///
/// The protocol or the loop below it is at fault, never the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl Violation {
    /// A violation that says `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Violation {}

impl From<Anomaly> for Violation {
    fn from(anomaly: Anomaly) -> Self {
        Self::new(anomaly.to_string())
    }
}

/// Returns a [`Violation`] with the formatted text from the enclosing function unless the condition
/// holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err($crate::Violation::new(format!($($text)+)).into());
        }
    };
}
pub(crate) use ensure;
