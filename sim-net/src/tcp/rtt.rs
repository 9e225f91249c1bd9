//! Round-trip times and the retransmission timeout: RFC 6298 as Linux bounds it (L-20).
//!
//! RTO = SRTT + max(200 ms, 4·RTTVAR). The variance term follows its peaks at once and decays once
//! in a round trip. Times are in nanoseconds, and those of timers in whole ticks of a kernel, 4 ms.

use std::time::Duration;

use sim_core::Time;

use super::segment::Seq;

const MILLISECOND: u64 = 1_000_000;
/// A kernel's timers count in these (`CONFIG_HZ` 250).
const TICK: u64 = 4 * MILLISECOND;
/// The retransmission timeout before there is a sample (RFC 6298 §2.1).
const INITIAL_RTO: u64 = 1_000 * MILLISECOND;
/// The least that the variance term adds (L-20; `tcp_rto_min_us`).
pub(crate) const RTO_MIN: u64 = 200 * MILLISECOND;
/// The most that a timeout is backed off to (L-24; `tcp_rto_max_ms`).
pub(crate) const RTO_MAX: u64 = 120_000 * MILLISECOND;
/// What timers of less than a timeout wait at least (`TCP_TIMEOUT_MIN_US`).
const SLACK: u64 = 2 * MILLISECOND;

/// The moment `nanos` after `now`.
pub(crate) const fn after(now: Time, nanos: u64) -> Time {
    Time::from_nanos(now.as_nanos().saturating_add(nanos))
}

/// Nanoseconds from `earlier` to `now`.
pub(crate) const fn between(earlier: Time, now: Time) -> u64 {
    now.as_nanos().saturating_sub(earlier.as_nanos())
}

/// A time in whole ticks, rounded up.
const fn in_ticks(nanos: u64) -> u64 {
    nanos.next_multiple_of(TICK)
}

/// When a timer comes up that is set at `now` for `at`, before a timeout is due.
pub(crate) const fn soon(now: Time, at: Time) -> Time {
    after(now, in_ticks(between(now, at) + SLACK))
}

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The estimator.
#[derive(Debug)]
pub(crate) struct Rtt {
    /// Eight times SRTT; 0 before the first sample.
    srtt_8: u64,
    /// Four times the mean deviation.
    mdev_4: u64,
    /// The largest `mdev_4` of the present round trip.
    mdev_4_max: u64,
    /// What the timeout adds to SRTT: four times RTTVAR.
    variance_4: u64,
    /// The round trip is over when this is acknowledged.
    round_end: Seq,
    rto: u64,
    /// How long to wait before a loss probe, for a lone segment and for several.
    probes: [u64; 2],
    /// The least sample; `u64::MAX` before the first.
    min: u64,
}

impl Rtt {
    pub(crate) fn new() -> Self {
        Self {
            srtt_8: 0,
            mdev_4: 0,
            mdev_4_max: 0,
            variance_4: 0,
            round_end: Seq(0),
            rto: INITIAL_RTO,
            probes: [INITIAL_RTO; 2],
            min: u64::MAX,
        }
    }

    /// Takes a sample. `una` and `nxt` are the sender's, and say when a round trip is over.
    #[inline]
    pub(crate) fn sample(&mut self, rtt: u64, una: Seq, nxt: Seq) {
        // On a path of constant delay the estimate has settled, and another sample changes nothing.
        let is_settled = self.mdev_4 < 4 && self.variance_4 == RTO_MIN;
        if !is_settled || rtt * 8 != self.srtt_8 {
            self.learn(rtt, una, nxt);
        }
    }

    fn learn(&mut self, rtt: u64, una: Seq, nxt: Seq) {
        let rtt = rtt.max(1);
        self.min = self.min.min(rtt);
        if self.srtt_8 == 0 {
            self.srtt_8 = rtt * 8;
            self.mdev_4 = rtt * 2;
            self.variance_4 = self.mdev_4.max(RTO_MIN);
            self.mdev_4_max = self.variance_4;
            self.round_end = nxt;
        } else {
            let srtt = self.srtt_8 / 8;
            self.srtt_8 = self.srtt_8 - srtt + rtt;
            let (error, mean) = (rtt.abs_diff(srtt), self.mdev_4 / 4);
            if error > mean {
                // A round trip that got shorter is no reason to wait longer.
                let damping = if rtt < srtt { 8 } else { 1 };
                self.mdev_4 += (error - mean) / damping;
            } else {
                self.mdev_4 -= mean - error;
            }
            if self.mdev_4 > self.mdev_4_max {
                self.mdev_4_max = self.mdev_4;
                self.variance_4 = self.variance_4.max(self.mdev_4_max);
            }
            // While the estimate is settled nobody looks, and the end may be long past.
            if !self.round_end.is_within(una, nxt) {
                self.end_round(nxt);
            }
        }
        self.rto = in_ticks(self.srtt_8 / 8 + self.variance_4);
        let [lone, several] = [RTO_MIN, SLACK].map(|more| in_ticks(self.srtt_8 / 4 + more));
        self.probes = [lone, several];
    }

    fn end_round(&mut self, nxt: Seq) {
        if self.mdev_4_max < self.variance_4 {
            self.variance_4 -= (self.variance_4 - self.mdev_4_max) / 4;
        }
        self.round_end = nxt;
        self.mdev_4_max = RTO_MIN;
    }

    /// SRTT; 0 before the first sample.
    pub(crate) fn smoothed(&self) -> u64 {
        self.srtt_8 / 8
    }

    /// The least sample; `u64::MAX` before the first.
    pub(crate) fn min(&self) -> u64 {
        self.min
    }

    /// RTO before back-off.
    pub(crate) fn timeout(&self) -> u64 {
        self.rto
    }

    /// RTO, doubled `doublings` times, up to the cap.
    #[inline]
    pub(crate) fn backed_off(&self, doublings: u8) -> u64 {
        if doublings == 0 {
            return self.rto.min(RTO_MAX);
        }
        self.rto.saturating_mul(1 << doublings.min(30)).min(RTO_MAX)
    }

    /// How long after the last segment a loss probe goes out, the timeout left aside (L-21, L-23).
    #[inline]
    pub(crate) fn probe_timeout(&self, lone: bool) -> u64 {
        self.probes[usize::from(!lone)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_samples(samples: &[u64]) -> Rtt {
        let mut rtt = Rtt::new();
        for (n, &millis) in samples.iter().enumerate() {
            let n = n as u32 * 10;
            rtt.sample(millis * MILLISECOND, Seq(n + 1), Seq(n + 5));
        }
        rtt
    }

    /// L-20: 204 ms at 2 ms, 304 at 100 and 804 at 600 ms, which were a little more there.
    #[test]
    fn a_steady_path_waits_200_ms_beyond_its_round_trip() {
        for millis in [2, 100, 600] {
            let rtt = after_samples(&[millis; 40]);
            assert_eq!(rtt.smoothed(), millis * MILLISECOND);
            let nominal = (millis + 200).next_multiple_of(4);
            let rto = rtt.timeout() / MILLISECOND;
            assert!(rto == nominal || rto == nominal + 4, "{rto} at {millis}");
        }
    }

    /// L-114: one sample of 14.8 s on a path of 20 ms makes SRTT 1866 ms and RTO 16.6 s.
    #[test]
    fn one_bad_sample_poisons_the_estimate() {
        let mut samples = vec![20; 40];
        samples.push(14_800);
        let rtt = after_samples(&samples);
        assert_eq!(rtt.smoothed() / MILLISECOND, 1_867);
        assert!((16_500..16_700).contains(&(rtt.timeout() / MILLISECOND)));
    }

    /// A settled estimate looks at no number; after 2 GiB the end of its round trip is past all the same.
    #[test]
    fn a_steady_path_forgets_a_peak_however_much_it_has_carried() {
        let after_peak = |carried: u32| {
            let mut rtt = after_samples(&[20; 200]);
            assert!(rtt.mdev_4 < 4 && rtt.variance_4 == RTO_MIN);
            for (n, millis) in std::iter::once(600).chain([20; 100]).enumerate() {
                let una = Seq(carried + 10 * n as u32);
                rtt.sample(millis * MILLISECOND, una, una.plus(4));
            }
            rtt.timeout()
        };
        assert!(after_peak(5_000) < 300 * MILLISECOND);
        assert_eq!(after_peak((1 << 31) + 5_000), after_peak(5_000));
    }

    /// L-24.
    #[test]
    fn back_off_is_capped_at_two_minutes() {
        let rtt = after_samples(&[100; 40]);
        assert_eq!(rtt.backed_off(1), 2 * rtt.timeout());
        assert_eq!(rtt.backed_off(9), RTO_MAX);
        assert_eq!(rtt.backed_off(255), RTO_MAX);
    }

    /// L-21, L-23.
    #[test]
    fn a_probe_waits_two_round_trips_and_200_ms_more_for_a_lone_segment() {
        let rtt = after_samples(&[100; 4]);
        assert_eq!(rtt.probe_timeout(true), 400 * MILLISECOND);
        assert_eq!(rtt.probe_timeout(false), 204 * MILLISECOND);
        assert_eq!(Rtt::new().probe_timeout(true), 1_000 * MILLISECOND);
    }
}
