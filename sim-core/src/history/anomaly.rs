//! What a checker of histories finds wrong.

use std::error::Error;
use std::fmt;

use crate::{Time, current};

/// A claim about a history that does not hold, with the operations that show it.
///
/// Its first line says which claim and in which way, in words that do not change with who or when; each
/// line that follows is an operation.
///
/// ```
/// use sim_core::history::Leaders;
///
/// let leaders = Leaders::new();
/// leaders.leads(3, "n1").unwrap();
/// let anomaly = leaders.leads(3, "n2").unwrap_err();
/// assert_eq!(anomaly.claim, "one leader a term");
/// assert_eq!(anomaly.deeds[1].who, "n2");
/// assert_eq!(
///     anomaly.to_string(),
///     "one leader a term: two lead term 3\n  n1: leads term 3\n  n2: leads term 3"
/// );
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anomaly {
    /// The claim.
    pub claim: &'static str,
    /// In which way it does not hold.
    pub what: String,
    /// The operations that show it, in the order in which they were recorded.
    pub deeds: Vec<Deed>,
}

/// Something that somebody did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// Who.
    pub who: String,
    /// When, on the clock of the loop whose turn it was; `None` outside any turn.
    pub time: Option<Time>,
    /// What.
    pub what: String,
}

impl Deed {
    pub(super) fn new(who: impl fmt::Display, time: Option<Time>, what: String) -> Self {
        Self { who: who.to_string(), time, what }
    }
}

impl Anomaly {
    pub(super) fn new(claim: &'static str, what: impl Into<String>, deeds: Vec<Deed>) -> Self {
        Self { claim, what: what.into(), deeds }
    }
}

/// When something is recorded.
pub(super) fn now() -> Option<Time> {
    current::current_time()
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(time) = self.time {
            write!(f, "{time} ")?;
        }
        write!(f, "{}: {}", self.who, self.what)
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.claim, self.what)?;
        self.deeds.iter().try_for_each(|deed| write!(f, "\n  {deed}"))
    }
}

impl Error for Anomaly {}
