//! How long to wait for an acknowledgement.

use std::time::Duration;

/// Before there is a sample.
const INITIAL: Duration = Duration::from_millis(200);
/// The shortest, whatever the samples say.
const MIN: Duration = Duration::from_millis(20);
/// The longest, however often it was doubled.
const MAX: Duration = Duration::from_secs(1);

/// The retransmission timeout, from round-trip times: RFC 6298, sections 2 and 5, with other bounds.
///
/// ```
/// use std::time::Duration;
/// use scenarios::arq::RetransmissionTimeout;
///
/// let mut rto = RetransmissionTimeout::default();
/// rto.sample(Duration::from_millis(100));
/// assert_eq!(rto.get(), Duration::from_millis(300));
/// rto.back_off();
/// assert_eq!(rto.get(), Duration::from_millis(600));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RetransmissionTimeout {
    /// The smoothed round-trip time and its variation, once there was a sample.
    smoothed: Option<(Duration, Duration)>,
    doublings: u32,
}

impl RetransmissionTimeout {
    /// The timeout.
    pub fn get(&self) -> Duration {
        let base = match self.smoothed {
            None => INITIAL,
            Some((srtt, rttvar)) => (srtt + 4 * rttvar).max(MIN),
        };
        (base * (1 << self.doublings)).min(MAX)
    }

    /// Takes in how long an acknowledgement took, of a segment that was sent once (Karn), and ends a
    /// back-off.
    pub fn sample(&mut self, rtt: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => (rtt, rtt / 2),
            Some((srtt, rttvar)) => ((7 * srtt + rtt) / 8, (3 * rttvar + srtt.abs_diff(rtt)) / 4),
        });
        self.doublings = 0;
    }

    /// It ran out: it doubles.
    pub fn back_off(&mut self) {
        if self.get() < MAX {
            self.doublings += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_samples_bring_it_down_to_its_minimum_and_back_off_up_to_its_maximum() {
        let mut rto = RetransmissionTimeout::default();
        assert_eq!(rto.get(), INITIAL);
        for _ in 0..100 {
            rto.sample(Duration::from_millis(2));
        }
        assert_eq!(rto.get(), MIN);
        for _ in 0..100 {
            rto.back_off();
        }
        assert_eq!(rto.get(), MAX);
        rto.sample(Duration::from_millis(2));
        assert_eq!(rto.get(), MIN);
    }
}
