//! What the hosts' clocks show when the world's shows something else.

use sim_core::Time;

use crate::memory::clear;

/// Parts in a billion.
const BILLION: i128 = 1_000_000_000;

/// A monotonic clock that runs fast or slow: a straight line through a point, in integers. It never
/// goes back: a change of its rate bends the line where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clock {
    /// The point, on the world's clock and on this one.
    world: Time,
    local: Time,
    /// How much faster it runs than the world's, in parts in a billion.
    drift: i64,
}

impl Clock {
    /// The world's own clock.
    pub(crate) const TRUE: Self = Self { world: Time::ZERO, local: Time::ZERO, drift: 0 };

    /// What it shows at `world`, a time not before its point.
    pub(crate) fn local(&self, world: Time) -> Time {
        let passed = i128::from(world.as_nanos()) - i128::from(self.world.as_nanos());
        let shown = passed + (passed * i128::from(self.drift)).div_euclid(BILLION);
        clamp(i128::from(self.local.as_nanos()) + shown)
    }

    /// The first time of the world at which it shows `local` or more.
    pub(crate) fn world(&self, local: Time) -> Time {
        if local == Time::NEVER {
            return local;
        }
        let wanted = i128::from(local.as_nanos()) - i128::from(self.local.as_nanos());
        let rate = BILLION + i128::from(self.drift);
        // The least p with p + ⌊p · drift / 10⁹⌋ ≥ wanted, that is ⌊p · rate / 10⁹⌋ ≥ wanted.
        let passed = (wanted * BILLION + rate - 1).div_euclid(rate);
        clamp(i128::from(self.world.as_nanos()) + passed.max(0))
    }

    /// It from `now` on with another rate.
    pub(crate) fn with_drift(&self, now: Time, drift: i64) -> Self {
        Self { world: now, local: self.local(now), drift }
    }
}

/// The monotonic clocks of the hosts of a world. Its agenda is on the world's; a host's process and
/// its TCP go by the host's own.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// By host, as far as the last that has one of its own; empty while none has.
    of_hosts: Vec<Clock>,
}

impl Clocks {
    /// All hosts go by the world's clock.
    pub(crate) fn renew(&mut self) {
        clear(&mut self.of_hosts);
    }

    /// What the clock of `host` shows when the world's shows `world`.
    #[inline(always)]
    pub(crate) fn local(&self, host: u32, world: Time) -> Time {
        if self.of_hosts.is_empty() { world } else { self.clock(host).local(world) }
    }

    /// When the clock of `host` first shows `local` or more, on the world's clock.
    #[inline(always)]
    pub(crate) fn world(&self, host: u32, local: Time) -> Time {
        if self.of_hosts.is_empty() { local } else { self.clock(host).world(local) }
    }

    #[cold]
    fn clock(&self, host: u32) -> Clock {
        self.of_hosts.get(host as usize).copied().unwrap_or(Clock::TRUE)
    }

    /// True if `host` does not go by the world's clock.
    pub(crate) fn has_own(&self, host: u32) -> bool {
        self.clock(host) != Clock::TRUE
    }

    /// By how much the clock of `host` runs faster than the world's, in parts per billion.
    pub(crate) fn drift(&self, host: u32) -> i64 {
        self.clock(host).drift
    }

    /// From `now` on the clock of `host` has another rate.
    pub(crate) fn set_drift(&mut self, host: u32, now: Time, drift: i64) {
        let clock = self.clock(host).with_drift(now, drift);
        let index = host as usize;
        if self.of_hosts.len() <= index {
            self.of_hosts.resize(index + 1, Clock::TRUE);
        }
        self.of_hosts[index] = clock;
    }
}

fn clamp(nanos: i128) -> Time {
    Time::from_nanos(nanos.clamp(0, i128::from(u64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn a_fast_clock_gains_and_a_slow_one_loses() {
        let second = at(1_000_000_000);
        assert_eq!(Clock::TRUE.local(second), second);
        assert_eq!(Clock::TRUE.with_drift(at(0), 40_000).local(second), at(1_000_040_000));
        assert_eq!(Clock::TRUE.with_drift(at(0), -40_000).local(second), at(999_960_000));
    }

    #[test]
    fn a_change_bends_the_line() {
        let fast = Clock::TRUE.with_drift(at(0), 100_000_000);
        let bent = fast.with_drift(at(1_000), 0);
        assert_eq!((bent.local(at(1_000)), bent.local(at(2_000))), (at(1_100), at(2_100)));
    }

    #[test]
    fn a_host_without_a_clock_goes_by_the_worlds() {
        let mut clocks = Clocks::default();
        assert_eq!((clocks.local(3, at(7)), clocks.world(3, at(7))), (at(7), at(7)));
        clocks.set_drift(1, at(1_000), -500_000_000);
        assert_eq!(
            (clocks.local(1, at(3_000)), clocks.world(1, at(2_000))),
            (at(2_000), at(3_000))
        );
        assert_eq!([0, 1, 2, 9].map(|host| clocks.has_own(host)), [false, true, false, false]);
        assert!([0, 2, 9].iter().all(|&host| clocks.local(host, at(3_000)) == at(3_000)));
    }

    proptest! {
        /// A deadline on a host's clock comes up at the first instant at which it has been reached.
        #[test]
        fn a_deadline_is_met_and_no_later_than_it_must(
            world in 0..1_u64 << 60,
            local in 0..1_u64 << 60,
            drift in -500_000_000..500_000_000_i64,
            ahead in 0..1_u64 << 50,
        ) {
            let clock = Clock { world: at(world), local: at(local), drift };
            let deadline = at(local + ahead);
            let due = clock.world(deadline);
            prop_assert!(clock.local(due) >= deadline);
            prop_assert!(due == at(world) || clock.local(at(due.as_nanos() - 1)) < deadline);
        }

        #[test]
        fn it_never_goes_back(drift in -500_000_000..500_000_000_i64, t in 0..1_u64 << 50) {
            let clock = Clock::TRUE.with_drift(at(0), drift);
            prop_assert!(clock.local(at(t + 1)) >= clock.local(at(t)));
        }
    }
}
