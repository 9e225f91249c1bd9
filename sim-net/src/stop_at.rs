//! Where a run is to be stopped, to be looked at.

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use sim_core::Time;

use crate::plan::quantity;

/// A place in a run: a step of its trace, or a virtual time.
///
/// ```
/// use std::time::Duration;
/// use sim_net::StopAt;
///
/// assert_eq!("#2844".parse(), Ok(StopAt::Step(2844)));
/// assert_eq!("2844".parse(), Ok(StopAt::Step(2844)));
/// assert_eq!("1.2s".parse(), Ok(StopAt::Time(Duration::from_millis(1200))));
/// let error = "soon".parse::<StopAt>().unwrap_err();
/// assert_eq!(error.to_string(), "give it a step, such as 2844, or a virtual time, such as 1.2s");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopAt {
    /// When the record with this number was made, counted from 1: as logs and timelines number them.
    Step(u64),
    /// When everything has happened that happens until this virtual time.
    Time(Duration),
}

/// A text that names no place in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopAtError(());

impl FromStr for StopAt {
    type Err = StopAtError;

    /// A step as `2844` or `#2844`, or a time with its unit.
    fn from_str(text: &str) -> Result<Self, StopAtError> {
        let number = text.strip_prefix('#').unwrap_or(text);
        if let Ok(step) = number.parse() {
            return if step > 0 { Ok(Self::Step(step)) } else { Err(StopAtError(())) };
        }
        quantity::parse_duration(text).map(Self::Time).map_err(|_| StopAtError(()))
    }
}

impl fmt::Display for StopAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => write!(f, "step {step}"),
            Self::Time(time) => write!(f, "{}", quantity::duration(*time)),
        }
    }
}

impl fmt::Display for StopAtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give it a step, such as 2844, or a virtual time, such as 1.2s")
    }
}

impl Error for StopAtError {}

/// A place for a breakpoint: a run that is to be stopped calls it there, with all frames of the callback that
/// makes the record below it.
#[inline(never)]
#[cold]
pub(crate) fn reached(step: u64, time: Time) {
    black_box((step, time));
}
