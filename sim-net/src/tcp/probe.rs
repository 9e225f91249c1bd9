//! Probes: of a lost tail (RFC 8985 §7), and of a closed window (RFC 9293 §3.8.6.1).

use sim_core::Time;

use super::recovery::Trouble;
use super::rtt::after;
use super::send::{Alarm, Cut, Sender};
use crate::buffer::Pool;

impl Sender {
    // A lost tail.

    /// The tail may be lost: the next new segment, or the last one again, will make the peer say.
    pub(super) fn on_loss_probe_alarm(&mut self, now: Time) {
        if self.trouble.is_none() {
            self.trouble = Some(Box::new(Trouble::new(self.una, self.nxt)));
        }
        self.probe_now = true;
        self.set_timeout(now);
    }

    fn set_timeout(&mut self, now: Time) {
        let at = after(now, self.rtt.backed_off(self.backoff));
        (self.alarm, self.alarm_at) = (Alarm::Timeout, at);
    }

    /// Sends the probe that is due, whatever the congestion window says.
    #[cold]
    pub(super) fn send_loss_probe(
        &mut self,
        size_max: usize,
        now: Time,
        pool: &mut Pool,
    ) -> Option<Cut> {
        let fresh = self.next(self.mss as usize, now, pool);
        self.probe_now = false;
        let repeats = fresh.is_none();
        let cut = match fresh {
            Some(cut) => Some(cut),
            None => self.repeat_last(size_max, now, pool),
        };
        if cut.is_some() {
            self.counters.loss_probes += 1;
            let nxt = self.nxt;
            if let Some(trouble) = &mut self.trouble {
                trouble.on_probe(nxt, repeats);
            }
        }
        self.set_timeout(now);
        cut
    }

    fn repeat_last(&mut self, size_max: usize, now: Time, pool: &mut Pool) -> Option<Cut> {
        let last = self.flights.len().checked_sub(1)?;
        // A probe is no retransmission that a time of giving up is counted from (L-27).
        let stalled = self.trouble.as_ref().and_then(|trouble| trouble.stalled_since);
        let cut = self.repeat(last, size_max, now, pool);
        if let Some(trouble) = &mut self.trouble {
            trouble.stalled_since = stalled;
        }
        Some(cut)
    }

    // A closed window.

    /// The peer's window holds everything back. With nothing on its way to be answered, it is
    /// asked from time to time (L-45).
    #[cold]
    pub(super) fn await_window(&mut self, now: Time) {
        if self.flights.out == 0 && self.alarm == Alarm::Off {
            self.alarm = Alarm::WindowProbe;
            self.alarm_at = after(now, self.rtt.backed_off(self.backoff));
        }
    }

    /// A probe of the window is due: sent by the caller, or a segment as small as the window lets
    /// through (L-49). The next is due after twice the time.
    pub(super) fn on_window_probe_alarm(&mut self, now: Time) {
        self.backoff = self.backoff.saturating_add(1);
        self.alarm_at = after(now, self.rtt.backed_off(self.backoff));
        self.counters.window_probes += 1;
    }

    /// What fits into a window that is too small for a segment.
    #[cold]
    pub(super) fn send_into_small_window(&mut self, now: Time, pool: &mut Pool) -> Option<Cut> {
        let offered = std::mem::replace(&mut self.wnd_max, 0);
        let cut = self.next(self.mss as usize, now, pool);
        self.wnd_max = offered;
        cut
    }

    /// The peer answers with a window while it is being asked for one.
    #[cold]
    pub(super) fn on_probed_window(&mut self) {
        if self.wnd as usize >= self.unsent().clamp(1, self.small()) {
            self.backoff = 0;
            (self.alarm, self.alarm_at) = (Alarm::Off, Time::NEVER);
        }
    }
}
