//! Which segments are lost, by time: RFC 8985 §6, as Linux has it (`tcp_recovery` 1).
//!
//! A segment is lost if one that was sent later has arrived, and the time that reordering may take
//! has passed too. That finds lost repetitions, which counting duplicates (RFC 6675 §4) does not;
//! where nothing was ever reordered, three segments beyond a hole are proof enough, as there.

use sim_core::Time;

use super::flights::Flight;
use super::flights::Order;
use super::rtt::{after, between, soon};
use super::segment::Seq;
use super::send::{Alarm, Sender};

/// So many segments beyond a hole show that it is one (RFC 5681 §3.2; `tcp_reordering`).
pub(super) const DUPLICATES: u32 = 3;
/// How many recoveries a widened reordering window outlives.
const RECOVERIES: u8 = 16;

/// What is known of the path's reordering. It outlives the trouble of the moment.
#[derive(Debug)]
pub(super) struct Reordering {
    /// Something arrived behind what was sent after it.
    pub(super) seen: bool,
    /// The reordering window, in quarters of the least round-trip time.
    quarters: u8,
    /// After how many recoveries it is a quarter again.
    persist: u8,
    /// The window is widened at most once until this is acknowledged.
    widened_at: Option<Seq>,
}

impl Default for Reordering {
    fn default() -> Self {
        Self { seen: false, quarters: 1, persist: 0, widened_at: None }
    }
}

impl Reordering {
    /// The peer got something twice: the window was too narrow (RFC 8985 §6.2 step 4).
    pub(super) fn widen(&mut self, una: Seq, nxt: Seq) {
        // The last time may be so long ago that its number lies ahead again.
        if self.widened_at.is_some_and(|at| una.before(at) && at.at_most(nxt)) {
            return;
        }
        self.quarters = self.quarters.saturating_add(1);
        self.persist = RECOVERIES;
        self.widened_at = Some(nxt);
    }

    /// A recovery is over.
    pub(super) fn on_recovered(&mut self) {
        if self.persist > 0 {
            self.persist -= 1;
            if self.persist == 0 {
                self.quarters = 1;
            }
        }
    }
}

/// The segment sent last of those that arrived.
#[derive(Debug)]
pub(super) struct Latest {
    order: Option<Order>,
    rtt: u64,
}

impl Latest {
    pub(super) fn new() -> Self {
        Self { order: None, rtt: 0 }
    }

    /// `flight` has arrived (RFC 8985 §6.2 step 1).
    pub(super) fn on_delivered(&mut self, flight: &Flight, min_rtt: u64, now: Time) {
        let rtt = between(flight.sent, now);
        // Answered faster than any segment was: it was the first copy that arrived.
        if flight.repeats > 0 && rtt < min_rtt {
            return;
        }
        if !self.is_after(flight) {
            *self = Self { order: Some(flight.order), rtt };
        }
    }

    /// True if it was sent after `flight`.
    fn is_after(&self, flight: &Flight) -> bool {
        self.order.is_some_and(|order| flight.order.before(order))
    }
}

impl Sender {
    /// How long a segment may be overtaken before it counts as lost (RFC 8985 §6.2 step 4).
    fn reordering_window(&self, recovering: bool) -> u64 {
        if !self.reordering.seen && (recovering || self.flights.sacked >= DUPLICATES) {
            return 0;
        }
        let quarters = u64::from(self.reordering.quarters);
        let min = if self.rtt.min() == u64::MAX { 0 } else { self.rtt.min() };
        (min / 4 * quarters).min(self.rtt.smoothed())
    }

    /// Marks what is lost, and sets the timer if something may be so soon (RFC 8985 §6.2 step 5).
    pub(super) fn detect_losses(&mut self, latest: &Latest, recovering: bool, now: Time) {
        let window = self.reordering_window(recovering);
        let mut decided_at = None;
        for index in 0..self.flights.len() {
            let flight = self.flights.get(index);
            if flight.is_sacked() || flight.is_lost() && !flight.is_repeated() {
                continue;
            }
            if !latest.is_after(&flight) {
                // Beyond one that was sent once, all were sent later still.
                if flight.repeats == 0 {
                    break;
                }
                continue;
            }
            let lost_at = after(flight.sent, latest.rtt + window);
            if lost_at <= now {
                self.flights.mark_lost(index);
            } else {
                decided_at = decided_at.max(Some(lost_at));
            }
        }
        if let Some(at) = decided_at {
            (self.alarm, self.alarm_at) = (Alarm::Reordering, soon(now, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8985 §6.2 step 4: once in a round trip, however long ago the last time was.
    #[test]
    fn the_window_widens_once_in_a_round_trip() {
        let mut reordering = Reordering::default();
        let mut widened = |una| {
            reordering.widen(Seq(una), Seq(una).plus(100));
            reordering.quarters
        };
        assert_eq!((widened(0), widened(99), widened(100)), (2, 2, 3));
        assert_eq!(widened((1 << 31) + 300), 4);
    }
}
