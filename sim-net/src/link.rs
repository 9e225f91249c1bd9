//! How long packets travel.

use std::ops::Range;
use std::time::Duration;

use crate::decisions::{Decisions, Draws, below};

/// The largest packet between hosts, in bytes (Ethernet).
pub(crate) const MTU: u32 = 1_500;
/// The largest packet on a host's loopback interface, in bytes.
pub(crate) const LOOPBACK_MTU: u32 = 65_536;
/// How long a packet takes over a host's loopback interface.
pub(crate) const LOOPBACK_DELAY: Duration = Duration::from_micros(20);

/// The one-way delay between two hosts: constant, or uniform in a range, anew for each packet.
///
/// ```
/// use std::time::Duration;
/// use sim_net::Latency;
///
/// let constant = Latency::from(Duration::from_millis(5));
/// let jittered = Latency::from(Duration::from_millis(5)..Duration::from_millis(9));
/// assert_ne!(constant, jittered);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    least: Duration,
    /// Nanoseconds that a packet may take longer; 0 if all take the same time.
    spread: u64,
}

impl Latency {
    /// True if packets differ.
    pub(crate) fn varies(self) -> bool {
        self.spread > 0
    }

    pub(crate) fn least(self) -> Duration {
        self.least
    }

    /// What the next packet takes beyond the least delay, in nanoseconds.
    pub(crate) fn draw(self, draws: &mut Draws, decisions: &Decisions) -> u64 {
        below(draws.next(decisions), self.spread)
    }
}

impl Default for Latency {
    /// A constant millisecond.
    fn default() -> Self {
        Duration::from_millis(1).into()
    }
}

impl From<Duration> for Latency {
    fn from(constant: Duration) -> Self {
        Self { least: constant, spread: 0 }
    }
}

impl From<Range<Duration>> for Latency {
    /// Uniform in `range`, in whole nanoseconds.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    #[track_caller]
    fn from(range: Range<Duration>) -> Self {
        assert!(!range.is_empty(), "latency {range:?}: the range is empty");
        let spread = u64::try_from((range.end - range.start).as_nanos()).unwrap_or(u64::MAX);
        Self { least: range.start, spread }
    }
}
