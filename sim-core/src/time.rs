//! A loop's clock: integer nanoseconds since the loop's own epoch.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment on a loop's monotonic clock, in whole nanoseconds since an epoch of the loop's own.
///
/// Only differences between two readings of the same loop mean anything. Integers, not floats: a
/// virtual clock that jumps to a deadline must find it due (contract A-43). Arithmetic saturates,
/// so a huge delay is [`Time::NEVER`] and simply never comes (A-50).
///
/// ```
/// use sim_core::Time;
/// use std::time::Duration;
///
/// let at = Time::from_nanos(5) + Duration::from_nanos(7);
/// assert_eq!(at.as_nanos(), 12);
/// assert_eq!(at - Time::from_nanos(2), Duration::from_nanos(10));
/// assert_eq!(Time::ZERO + Duration::MAX, Time::NEVER);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The epoch of the clock.
    pub const ZERO: Self = Self(0);
    /// The moment that no clock reaches: about 584 years after the epoch.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since the epoch.
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::NEVER`].
    fn add(self, delay: Duration) -> Self {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, delay: Duration) {
        *self = *self + delay;
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Saturates at zero.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for Time {
    /// Seconds with all nine digits: `4.213000000s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("never");
        }
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_keeps_every_digit() {
        assert_eq!(Time::from_nanos(4_213_000_001).to_string(), "4.213000001s");
        assert_eq!(Time::NEVER.to_string(), "never");
    }

    #[test]
    fn differences_saturate_at_zero() {
        assert_eq!(Time::ZERO - Time::from_nanos(1), Duration::ZERO);
    }
}
