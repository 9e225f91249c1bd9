//! Congestion control: how many segments may be on their way.
//!
//! The window is counted in segments and grows in whole ones, in integers alone. What is common
//! stands here; [`reno`] and [`cubic`] say how it grows when the slow start is over, and what a
//! loss leaves of it.

mod cubic;
mod reno;

use sim_core::Time;

use self::cubic::Cubic;

/// The initial window (RFC 6928; L-80).
pub(crate) const INITIAL_WINDOW: u32 = 10;
/// The least that a loss leaves as slow-start threshold (RFC 5681 §3.1).
const THRESHOLD_MIN: u32 = 2;
/// No loss yet: slow start has no end.
const UNLIMITED: u32 = u32::MAX / 2;

/// A congestion control algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum CongestionControl {
    /// RFC 5681: one segment more each round trip, half the window after a loss.
    Reno,
    /// RFC 9438, the default as on Linux: the window grows by the time since the last loss.
    #[default]
    Cubic,
}

/// The congestion window of a connection.
#[derive(Debug)]
pub(crate) struct Congestion {
    /// cwnd, in segments.
    pub(crate) window: u32,
    /// ssthresh, in segments.
    pub(crate) threshold: u32,
    /// Segments acknowledged towards the next one of growth.
    credit: u32,
    growth: Growth,
}

/// What an algorithm remembers.
#[derive(Debug)]
enum Growth {
    Reno,
    /// Boxed with the end of the first slow start.
    Cubic(Option<Box<Cubic>>),
}

impl Congestion {
    pub(crate) fn new(algorithm: CongestionControl) -> Self {
        let growth = match algorithm {
            CongestionControl::Reno => Growth::Reno,
            CongestionControl::Cubic => Growth::Cubic(None),
        };
        Self { window: INITIAL_WINDOW, threshold: UNLIMITED, credit: 0, growth }
    }

    pub(crate) fn is_in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// True if every pause has to be told by [`on_restart`](Self::on_restart).
    #[inline]
    pub(crate) fn counts_pauses(&self) -> bool {
        matches!(self.growth, Growth::Cubic(Some(_)))
    }

    /// `acked` segments were delivered while the window was in full use.
    pub(crate) fn grow(&mut self, mut acked: u32, min_rtt: u64, now: Time) {
        if self.is_in_slow_start() {
            let grown = (self.window + acked).min(self.threshold);
            acked -= grown - self.window;
            self.window = grown;
        }
        if acked == 0 {
            return;
        }
        let per_segment = match &mut self.growth {
            Growth::Reno => reno::per_segment(self.window),
            Growth::Cubic(cubic) => {
                cubic.get_or_insert_default().per_segment(self.window, acked, min_rtt, now)
            }
        };
        self.add(per_segment, acked);
    }

    /// Grows by one for every `per_segment` segments acknowledged.
    fn add(&mut self, per_segment: u32, acked: u32) {
        if self.credit >= per_segment {
            self.credit = 0;
            self.window += 1;
        }
        self.credit += acked;
        if self.credit >= per_segment {
            self.window += self.credit / per_segment;
            self.credit %= per_segment;
        }
    }

    /// A loss: the threshold is what is left of the window.
    pub(crate) fn on_loss(&mut self) {
        self.threshold = match &mut self.growth {
            Growth::Reno => reno::after_loss(self.window),
            Growth::Cubic(cubic) => cubic.get_or_insert_default().after_loss(self.window),
        }
        .max(THRESHOLD_MIN);
        self.credit = 0;
    }

    /// The retransmission timer has run out: what the algorithm knows of the path is void.
    pub(crate) fn on_timeout(&mut self) {
        self.credit = 0;
        if let Growth::Cubic(cubic) = &mut self.growth {
            *cubic = None;
        }
    }

    /// Data is sent again `idle` after the last, with nothing on its way. The window is halved for
    /// each timeout of silence, down to the initial one (RFC 9293 §3.8.2; RFC 5681 §4.1).
    pub(crate) fn on_restart(&mut self, idle: u64, timeout: u64) {
        if let Growth::Cubic(Some(cubic)) = &mut self.growth {
            cubic.on_idle(idle);
        }
        if idle <= timeout {
            return;
        }
        let least = self.window.min(INITIAL_WINDOW);
        self.threshold = self.threshold.max(self.window / 2 + self.window / 4);
        let mut rest = idle - timeout;
        let mut window = self.window;
        while window > least {
            window /= 2;
            if rest <= timeout {
                break;
            }
            rest -= timeout;
        }
        self.window = window.max(least);
    }

    /// The loss was none: the window is what it was.
    pub(crate) fn undo(&mut self, window: u32, threshold: u32) {
        self.window = self.window.max(window);
        self.threshold = self.threshold.max(threshold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_start_doubles_and_stops_at_the_threshold() {
        let mut congestion = Congestion::new(CongestionControl::Reno);
        congestion.grow(10, 1, Time::ZERO);
        assert_eq!(congestion.window, 20);
        congestion.threshold = 25;
        congestion.grow(20, 1, Time::ZERO);
        assert_eq!(congestion.window, 25, "15 of them count for avoidance");
        congestion.grow(10, 1, Time::ZERO);
        assert_eq!(congestion.window, 26);
    }

    /// RFC 5681 §4.1: a pause of one timeout halves a window of 80, one of ten ends at the initial.
    #[test]
    fn a_pause_decays_the_window_to_the_initial_one() {
        for (pause, window) in [(200, 80), (201, 40), (401, 20), (2_000, 10)] {
            let mut congestion = Congestion::new(CongestionControl::Cubic);
            congestion.window = 80;
            congestion.on_restart(pause, 200);
            assert_eq!(congestion.window, window, "{pause}");
            congestion.window = 4;
            congestion.on_restart(pause, 200);
            assert_eq!(congestion.window, 4, "it does not grow by waiting");
        }
    }
}
