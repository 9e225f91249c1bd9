//! What a connection does when its time has come: SYNs again, timeouts, probes, giving up.

use std::time::Duration;

use sim_core::{Keepalive, Time};

use super::connection::{Connection, Reset, State};
use super::rtt::{RTO_MAX, RTO_MIN, after, between, nanos};
use super::send::Alarm;
use crate::buffer::Pool;
use crate::errno::ETIMEDOUT;

/// How long an orphan waits in FIN_WAIT2 for its peer's FIN (`tcp_fin_timeout`).
const ORPHAN_MAX: Duration = Duration::from_secs(60);
/// A SYN is repeated after so long for the first time (RFC 6298 §2.1).
const SYN_TIMEOUT: u64 = 1_000_000_000;

/// How long a peer may be silent before it is given up: the time that `retries` timeouts of the
/// shortest kind take, whatever the path's own are (L-25, L-26).
fn patience(retries: u8) -> u64 {
    let doublings = (RTO_MAX / RTO_MIN).ilog2();
    let retries = u32::from(retries);
    if retries <= doublings {
        return ((2 << retries) - 1) * RTO_MIN;
    }
    ((2 << doublings) - 1) * RTO_MIN + u64::from(retries - doublings) * RTO_MAX
}

impl Connection {
    /// The deadline has come.
    pub(crate) fn on_timer(&mut self, now: Time, pool: &mut Pool) {
        self.receive.on_timer(now);
        if self.send.alarm_at <= now {
            match self.send.alarm {
                Alarm::Off => {}
                Alarm::Timeout => self.on_timeout(now, pool),
                Alarm::LossProbe => self.send.on_loss_probe_alarm(now),
                Alarm::Reordering => self.send.on_reordering_alarm(now),
                Alarm::WindowProbe => self.on_window_probe(now, pool),
            }
        }
        if self.due > now {
            return;
        }
        match self.state {
            State::SynSent | State::SynReceived => self.on_syn_timeout(now, pool),
            State::FinWait2 if self.orphan => self.enter_closed(pool),
            _ => self.on_keepalive(now, pool),
        }
    }

    /// The timeout's error: what the network said of the peer, if it said anything.
    fn time_out(&mut self, pool: &mut Pool) {
        if self.orphan {
            self.enter_closed(pool);
        } else {
            self.fail(self.soft_error.unwrap_or(ETIMEDOUT), pool);
        }
    }

    fn user_timeout(&self) -> Option<u64> {
        self.config.user_timeout.map(nanos)
    }

    // The handshake.

    /// Sets the time at which the SYN, or SYN-ACK, is repeated.
    pub(super) fn arm_syn(&mut self, now: Time) {
        let linear = if self.passive { 0 } else { self.config.syn_linear_timeouts };
        let doublings = self.syn_retries.saturating_sub(linear);
        self.due = after(now, (SYN_TIMEOUT << doublings.min(30)).min(RTO_MAX));
        if let Some(user_timeout) = self.user_timeout().filter(|_| !self.passive) {
            self.due = self.due.min(after(self.opened_at, user_timeout));
        }
    }

    /// L-03 to L-06: a SYN is given up by time or by count, a SYN-ACK by count.
    fn on_syn_timeout(&mut self, now: Time, pool: &mut Pool) {
        let elapsed = between(self.opened_at, now);
        let is_over = if self.passive {
            self.syn_retries >= self.config.syn_ack_retries
        } else if let Some(user_timeout) = self.user_timeout() {
            elapsed >= user_timeout
        } else {
            let retries = self.config.syn_retries;
            elapsed >= ((2 << retries.min(30)) - 1) * SYN_TIMEOUT
                || self.syn_retries >= retries.saturating_add(self.config.syn_linear_timeouts)
        };
        if is_over {
            self.time_out(pool);
            return;
        }
        self.syn_retries = self.syn_retries.saturating_add(1);
        self.syn_pending = true;
        self.arm_syn(now);
    }

    // Silence.

    /// The retransmission timer has run out: once more, unless it has been long enough (L-25 to
    /// L-27, L-31).
    fn on_timeout(&mut self, now: Time, pool: &mut Pool) {
        let user_timeout = self.user_timeout().filter(|_| !self.orphan);
        let limit = match user_timeout {
            Some(limit) => limit,
            None if self.orphan => patience(self.config.orphan_retries),
            None => patience(self.config.retries),
        };
        let stalled = self.send.trouble.as_ref().filter(|trouble| trouble.timeouts > 0);
        let since = stalled.and_then(|trouble| trouble.stalled_since);
        if since.is_some_and(|since| between(since, now) >= limit) {
            self.time_out(pool);
            return;
        }
        self.send.on_timeout(now);
        if let Some(limit) = user_timeout {
            self.send.alarm_at = self.send.alarm_at.min(after(since.unwrap_or(now), limit));
        }
    }

    /// The peer's window is still closed: ask (L-45 to L-48).
    fn on_window_probe(&mut self, now: Time, pool: &mut Pool) {
        self.count_probe(now);
        let user_timeout = self.user_timeout();
        let retries = if self.orphan { self.config.orphan_retries } else { self.config.retries };
        let is_over = match user_timeout {
            Some(limit) => between(self.probed_since, now) >= limit,
            None => self.probes > retries || self.orphan && self.has_asked_enough(),
        };
        if is_over {
            self.time_out(pool);
            return;
        }
        self.send.on_window_probe_alarm(now);
        if let Some(limit) = user_timeout {
            self.send.alarm_at = self.send.alarm_at.min(after(self.probed_since, limit));
        }
        self.probe_pending = true;
    }

    /// True if an orphan has asked long enough for a window, answers or not, for its probes to be as rare as can be.
    fn has_asked_enough(&self) -> bool {
        let backoff = self.send.backoff;
        backoff >= self.config.orphan_retries && self.send.rtt.backed_off(backoff) >= RTO_MAX
    }

    /// Counts a probe; an answer to the last has the count begin anew.
    fn count_probe(&mut self, now: Time) {
        if self.probes == 0 || self.heard_at >= self.probed_at {
            (self.probes, self.probed_since) = (0, now);
        }
        self.probes = self.probes.saturating_add(1);
        self.probed_at = now;
    }

    // Keepalive.

    /// Begins to watch over an open connection, if that is wanted.
    pub(super) fn arm_keepalive(&mut self, now: Time) {
        self.probes = 0;
        self.due = self.config.keepalive.map_or(Time::NEVER, |keepalive| now + keepalive.idle);
    }

    /// Whether to watch has changed, or how.
    pub(super) fn rearm_keepalive(&mut self, now: Time) {
        let is_watched = !matches!(
            self.state,
            State::SynSent | State::SynReceived | State::TimeWait | State::Closed
        );
        // An orphan in FIN_WAIT2 has the timer for itself.
        if is_watched && !self.orphan {
            let due = |keepalive: Keepalive| after(self.heard_at, nanos(keepalive.idle)).max(now);
            self.due = self.config.keepalive.map_or(Time::NEVER, due);
        }
    }

    /// RFC 9293 §3.8.4; L-92 to L-95.
    fn on_keepalive(&mut self, now: Time, pool: &mut Pool) {
        let Some(keepalive) = self.config.keepalive.filter(|_| !self.orphan) else {
            self.due = Time::NEVER;
            return;
        };
        let idle = nanos(keepalive.idle);
        let silent = between(self.heard_at, now);
        // What is unacknowledged has a ladder of its own (L-94).
        if self.send.flights.out > 0 || self.send.is_pending() {
            self.due = after(now, idle);
            return;
        }
        if silent < idle {
            self.due = after(self.heard_at, idle);
            return;
        }
        let answered = self.probes == 0 || self.heard_at >= self.probed_at;
        let is_over = !answered
            && match self.user_timeout() {
                Some(limit) => silent >= limit,
                None => self.probes >= keepalive.count,
            };
        if is_over {
            self.time_out(pool);
            self.reset = Some(Reset { seq: self.send.nxt, acks: true });
            return;
        }
        self.count_probe(now);
        self.probe_pending = true;
        self.due = now + keepalive.interval;
    }

    // An end that does not come.

    /// An orphan in FIN_WAIT2 does not wait for ever.
    pub(super) fn expect_end(&mut self, now: Time) {
        if self.orphan && self.state == State::FinWait2 {
            self.due = now + ORPHAN_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L-25: 924.6 s for 15; L-26: 12.6 s for 5; L-31: 102.2 s for an orphan's 8.
    #[test]
    fn patience_is_a_time() {
        let seconds = [(15, 924_600), (5, 12_600), (8, 102_200), (9, 204_600), (10, 324_600)];
        for (retries, millis) in seconds {
            assert_eq!(patience(retries) / 1_000_000, millis);
        }
    }
}
