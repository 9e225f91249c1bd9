//! How far the receive buffer grows: to twice what the application reads in a round trip, and
//! more while that still doubles (dynamic right-sizing, as in Linux's `tcp_rcv_space_adjust`; L-80).

use sim_core::Time;

use super::config::BufferSize;
use super::congestion::INITIAL_WINDOW;
use super::rtt::between;

/// What a receiver knows of its peer's speed.
#[derive(Debug)]
pub(super) struct Autotune {
    /// The round-trip time as the timestamps of full segments show it, in nanoseconds; 0 before.
    rtt: u64,
    last_echo: u32,
    /// What was read in the last round trip at most, and when and where the present one began.
    space: u64,
    began: Time,
    began_at: u64,
    /// The most that the last segments carried.
    full: u32,
}

impl Autotune {
    pub(super) fn new(mss: u32) -> Self {
        Self {
            rtt: 0,
            last_echo: 0,
            space: u64::from(INITIAL_WINDOW * mss),
            began: Time::ZERO,
            began_at: 0,
            full: mss,
        }
    }

    pub(super) fn set_mss(&mut self, mss: u32) {
        self.full = mss;
        self.space = u64::from(INITIAL_WINDOW * mss);
    }

    /// True if a segment of `length` bytes that echoes `echo` shows a round-trip time.
    #[inline]
    pub(super) fn wants(&self, length: u32, echo: u32) -> bool {
        length >= self.full && echo != self.last_echo
    }

    /// A full segment arrived that answers what this end sent at `echo`, by the clock of its
    /// timestamps, which shows `clock` now.
    pub(super) fn on_echo(&mut self, echo: u32, clock: u32) {
        self.last_echo = echo;
        self.rtt = u64::from(clock.wrapping_sub(echo).max(1)) * 1_000_000;
    }

    /// True once a full segment has shown the round-trip time.
    #[inline]
    pub(super) fn knows_rtt(&self) -> bool {
        self.rtt > 0
    }

    /// The buffer that suits an application that has read `read` bytes in all.
    pub(super) fn limit(&mut self, limit: BufferSize, read: u64, now: Time) -> usize {
        if !self.knows_rtt() || between(self.began, now) < self.rtt {
            return limit.now;
        }
        let copied = read - self.began_at;
        (self.began, self.began_at) = (now, read);
        if copied <= self.space {
            return limit.now;
        }
        // Twice, for what is on its way meanwhile, and as much again as the rate has grown by.
        let window = 2 * copied;
        let growth = u128::from(window) * u128::from(copied - self.space) / u128::from(self.space);
        self.space = copied;
        let wanted = u128::from(window) + 2 * growth;
        usize::try_from(wanted).unwrap_or(limit.max).clamp(limit.now, limit.max)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_buffer_grows_with_what_is_read_and_not_beyond_its_limit() {
        let mut tune = Autotune::new(1_448);
        let limit = BufferSize { now: 82_536, max: 400_000 };
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        assert_eq!(tune.limit(limit, 90_000, at(100)), 82_536, "no round trip is known");
        assert!(tune.wants(1_448, 7) && !tune.wants(100, 7));
        tune.on_echo(7, 107);
        assert_eq!(tune.limit(limit, 14_480, at(100)), 82_536, "as expected of the first flight");
        assert_eq!(tune.limit(limit, 14_480 + 28_960, at(200)), 173_760);
        assert_eq!(tune.limit(limit, 14_480 + 90_000, at(250)), 82_536, "not yet a round trip");
        assert_eq!(tune.limit(limit, 10_000_000, at(300)), 400_000);
    }
}
