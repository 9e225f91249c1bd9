//! What a connection makes of a segment, step by step as in RFC 9293 §3.10.7, and of ICMP.

use sim_core::Time;

use super::config::TIMESTAMPS;
use super::connection::{Connection, Reset, State};
use super::rtt::between;
use super::segment::{Flags, Segment, Seq};
use super::send::End;
use crate::buffer::Pool;
use crate::errno::{ECONNREFUSED, ECONNRESET, EPIPE};
use crate::socket_table::Ready;

/// Segments without data that are not acceptable are answered at most so often
/// (`tcp_invalid_ratelimit`; L-46).
const CHALLENGE_INTERVAL: u64 = 500_000_000;

/// What the network says of a packet that it did not deliver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Icmp {
    /// "Destination unreachable", as the error that it becomes: `EHOSTUNREACH` and the like.
    Unreachable(i32),
    /// "Fragmentation needed" (RFC 1191): the most data bytes that a segment may carry.
    TooBig {
        /// As [`Config::mss`](super::config::Config::mss): options are counted off.
        mss: u32,
    },
}

impl Connection {
    /// A segment arrived (RFC 9293 §3.10.7). Its payload is taken out of it.
    #[inline]
    pub(crate) fn on_segment(&mut self, segment: &mut Segment, now: Time, pool: &mut Pool) {
        let is_expected = self.state == State::Established
            && segment.flags == Flags::ACK
            && self.receive.is_next(segment)
            && segment.ack.at_most(self.send.nxt)
            && self.stamps.is_recent(segment, self.heard_at, now)
            && self.soft_error.is_none();
        if is_expected {
            self.take_segment(segment, now, pool);
            if let Some(payload) = segment.payload.take() {
                self.receive.accept(payload, now);
                self.signals = self.signals.with(Ready::READABLE);
            }
            return;
        }
        self.on_unexpected(segment, now, pool);
        if let Some(payload) = segment.payload.take() {
            pool.put(payload);
        }
    }

    /// True if a segment completes the handshake of a connection that was opened from outside.
    pub(crate) fn completes(&self, segment: &Segment) -> bool {
        let others = Flags::SYN.with(Flags::RST);
        self.state == State::SynReceived
            && self.passive
            && segment.flags.has(Flags::ACK)
            && !segment.flags.has(others)
            && segment.ack == self.send.nxt
    }

    /// Takes what every acceptable segment says: time, acknowledgement, window.
    #[inline(always)]
    fn take_segment(&mut self, segment: &mut Segment, now: Time, pool: &mut Pool) {
        self.heard_at = now;
        if let Some(timestamps) = segment.timestamps
            && self.stamps.on
        {
            self.stamps.take(segment, self.receive.told());
            if self.receive.autotune.wants(segment.data_len(), timestamps.echo) {
                let clock = self.stamps.clock(now);
                self.receive.autotune.on_echo(timestamps.echo, clock);
            }
            self.stamps.host_echo(segment);
        }
        self.send.on_ack(segment, now, pool);
        if self.send.take_unblocked() {
            self.signals = self.signals.with(Ready::WRITABLE);
        }
    }

    #[cold]
    fn on_unexpected(&mut self, segment: &mut Segment, now: Time, pool: &mut Pool) {
        let flags = segment.flags;
        let has = |flag| flags.has(flag);
        match self.state {
            State::Closed => return,
            State::SynSent => return self.on_segment_in_syn_sent(segment, now, pool),
            State::SynReceived if has(Flags::SYN) && segment.seq.plus(1) == self.receive.nxt => {
                // A repeated SYN is answered again (L-06). One with an acknowledgement of ours is
                // the other half of a simultaneous open (L-96).
                if !has(Flags::ACK) {
                    self.syn_pending = true;
                    return;
                }
            }
            _ => {
                if !self.is_fresh(segment, now) || !self.is_acceptable(segment) {
                    self.on_unacceptable(segment, now, pool);
                    return;
                }
                if has(Flags::RST) {
                    self.on_reset(segment, now, pool);
                    return;
                }
                // A SYN in the window is challenged (RFC 5961 §4).
                if has(Flags::SYN) {
                    self.challenge(now);
                    return;
                }
            }
        }
        if has(Flags::ACK) && self.on_ack(segment, now, pool) {
            self.on_data(segment, now, pool);
        }
    }

    /// A reset arrives that the peer did not send, with the number that makes it count: something on
    /// the way has had enough of the connection.
    pub(crate) fn on_forged_reset(&mut self, pool: &mut Pool) {
        if !matches!(self.state, State::Closed | State::SynSent) {
            self.reset_by_peer(pool);
        }
    }

    /// Takes ICMP about a segment of this connection.
    pub(crate) fn on_icmp(&mut self, icmp: Icmp, pool: &mut Pool) {
        match (icmp, self.state) {
            (_, State::Closed | State::TimeWait) => {}
            (Icmp::Unreachable(error), State::SynSent) => self.fail(error, pool),
            // It may pass: the connection goes on, and ends in this error if it does not.
            (Icmp::Unreachable(error), _) => self.soft_error = Some(error),
            (Icmp::TooBig { mss }, _) => {
                if mss > 0 && mss < self.send.mss {
                    self.config.train = self.config.train.min(mss);
                    self.send.lower_mss(mss);
                }
            }
        }
    }

    fn on_segment_in_syn_sent(&mut self, segment: &mut Segment, now: Time, pool: &mut Pool) {
        let has = |flag| segment.flags.has(flag);
        if has(Flags::ACK) && segment.ack != self.send.nxt {
            // A half-open peer, which answers for a connection of another life: it is reset, and
            // the next SYN is a new one to it.
            if !has(Flags::RST) {
                self.reset = Some(Reset { seq: segment.ack, acks: false });
            }
            return;
        }
        if has(Flags::RST) {
            if has(Flags::ACK) {
                self.fail(ECONNREFUSED, pool);
            }
            return;
        }
        if !has(Flags::SYN) {
            return;
        }
        self.on_syn(segment);
        if has(Flags::ACK) {
            self.establish(segment, now);
            self.receive.demand_ack();
        } else {
            // Simultaneous open (L-96).
            self.state = State::SynReceived;
            self.syn_pending = true;
        }
    }

    /// Takes the peer's numbers and options from its SYN.
    pub(super) fn on_syn(&mut self, syn: &Segment) {
        self.stamps.begin(syn);
        let options = if self.stamps.on { 0 } else { TIMESTAMPS };
        let theirs = u32::from(syn.syn.mss).saturating_sub(TIMESTAMPS - options).max(1);
        let mss = (self.config.mss + options).min(theirs);
        self.send.mss = mss;
        if self.config.train <= self.config.mss {
            // No trains: what leaves as one is one segment, which the peer takes.
            self.config.train = mss;
        }
        self.send.sack = self.config.sack && syn.syn.sack;
        // Without SACK the answer to a probe would say nothing (RFC 8985 §7.1).
        self.send.loss_probes = self.config.loss_probes && self.send.sack;
        self.receive.set_mss(mss);
        self.receive.autotune.set_mss(mss);
        self.receive.sack = self.send.sack;
        if syn.syn.window_scale.is_none() {
            self.receive.forgo_scale();
        }
        self.receive.begin(syn.seq);
        self.send.set_first_window(syn.seq, syn.ack, syn.window);
    }

    /// The handshake is done: `segment` acknowledges the SYN.
    fn establish(&mut self, segment: &mut Segment, now: Time) {
        self.state = State::Established;
        self.signals = self.signals.with(Ready::WRITABLE);
        self.heard_at = now;
        self.send.una = self.send.iss.plus(1);
        self.stamps.host_echo(segment);
        self.send.on_open(self.opened_at, self.syn_retries, segment.timestamps, now);
        self.arm_keepalive(now);
    }

    /// PAWS: false if a segment is an old duplicate by its timestamp (RFC 7323 §5.3). A reset and
    /// an acknowledgement that was merely overtaken are let through; what time it was there says nothing.
    fn is_fresh(&self, segment: &mut Segment, now: Time) -> bool {
        if segment.flags.has(Flags::RST) || self.stamps.is_recent(segment, self.heard_at, now) {
            return true;
        }
        let is_overtaken =
            segment.len() == 0 && segment.seq == self.receive.nxt && segment.ack == self.send.una;
        if is_overtaken {
            segment.timestamps = None;
        }
        is_overtaken
    }

    /// The first check (RFC 9293 §3.10.7.4): some of it lies in the window. As Linux, it counts the
    /// window from what was last acknowledged, and takes in its end: a sender that has filled it
    /// acknowledges from there.
    fn is_acceptable(&self, segment: &Segment) -> bool {
        let edge = self.receive.nxt.plus(self.receive.window());
        segment.seq.at_most(edge) && self.receive.told().at_most(segment.end())
    }

    fn on_unacceptable(&mut self, segment: &Segment, now: Time, pool: &mut Pool) {
        if segment.flags.has(Flags::RST) {
            // Of a peer that sent it before it knew that its FIN had arrived (L-54).
            let ended = matches!(self.state, State::CloseWait | State::Closing | State::LastAck);
            if ended && segment.seq.plus(1) == self.receive.nxt {
                self.reset_by_peer(pool);
            }
            return;
        }
        let has_data = segment.data_len() > 0;
        if has_data && !segment.flags.has(Flags::SYN) {
            self.receive.note_duplicate(segment.seq, segment.end());
            self.receive.demand_ack();
        } else {
            self.challenge(now);
        }
    }

    /// Says what is expected instead, but not too often (RFC 5961 §7; L-46).
    fn challenge(&mut self, now: Time) {
        let is_early = |last| between(last, now) < CHALLENGE_INTERVAL;
        if !self.challenged_at.is_some_and(is_early) {
            self.challenged_at = Some(now);
            self.receive.demand_ack();
        }
    }

    fn on_reset(&mut self, segment: &Segment, now: Time, pool: &mut Pool) {
        // RFC 5961 §3: a reset that is in the window but not at its beginning is challenged.
        if segment.seq != self.receive.nxt {
            self.challenge(now);
            return;
        }
        self.reset_by_peer(pool);
    }

    fn reset_by_peer(&mut self, pool: &mut Pool) {
        match self.state {
            State::CloseWait => self.fail(EPIPE, pool),
            State::Closing | State::LastAck | State::TimeWait => self.enter_closed(pool),
            State::SynReceived if !self.passive => self.fail(ECONNREFUSED, pool),
            _ => self.fail(ECONNRESET, pool),
        }
    }

    /// The fifth check: the acknowledgement. False if the rest of the segment is not for us.
    fn on_ack(&mut self, segment: &mut Segment, now: Time, pool: &mut Pool) -> bool {
        let ack = segment.ack;
        if self.state == State::SynReceived {
            if ack != self.send.nxt {
                self.reset = Some(Reset { seq: ack, acks: false });
                return false;
            }
            let echo = segment.timestamps;
            self.establish(segment, now);
            segment.timestamps = echo;
            self.send.set_first_window(segment.seq, ack, segment.window);
            if segment.flags.has(Flags::SYN) {
                self.receive.demand_ack();
            }
        }
        // What was never sent, or is older than any window, is no acknowledgement (RFC 5961 §5).
        let oldest = Seq(self.send.una.0.wrapping_sub(self.send.wnd_max));
        if self.send.nxt.before(ack) || ack.before(oldest) {
            self.challenge(now);
            return false;
        }
        self.take_segment(segment, now, pool);
        // The peer is there.
        self.soft_error = None;
        if self.send.end == End::Acknowledged {
            match self.state {
                State::FinWait1 => {
                    self.state = State::FinWait2;
                    self.expect_end(now);
                }
                State::Closing => self.enter_time_wait(),
                State::LastAck => {
                    self.enter_closed(pool);
                    return false;
                }
                _ => {}
            }
        }
        true
    }

    /// The seventh and eighth: data and FIN.
    fn on_data(&mut self, segment: &mut Segment, now: Time, pool: &mut Pool) {
        let fin = segment.flags.has(Flags::FIN);
        if segment.payload.is_none() && !fin {
            return;
        }
        let is_old = segment.end().at_most(self.receive.nxt);
        if is_old || !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2) {
            // The acknowledgement of it was lost.
            self.receive.note_duplicate(segment.seq, segment.end());
            self.receive.demand_ack();
            return;
        }
        if self.orphan && self.receive.nxt.before(segment.seq.plus(segment.data_len())) {
            // Nobody will ever read it (RFC 9293 §3.10.7.4; L-50, L-54).
            self.abort(pool);
            self.reset = Some(Reset { seq: segment.ack, acks: false });
            return;
        }
        let ended = self.receive.ended;
        let is_next = self.receive.is_next(segment);
        let payload = segment.payload.take();
        let moved = if is_next {
            if let Some(payload) = payload {
                self.receive.accept(payload, now);
            }
            if fin {
                self.receive.accept_end();
            }
            true
        } else {
            self.receive.accept_disorderly(segment.seq, payload, fin, pool)
        };
        if moved {
            self.signals = self.signals.with(Ready::READABLE);
        }
        if self.receive.ended && !ended {
            self.on_end();
        }
    }

    /// The peer's FIN is there, and everything before it.
    fn on_end(&mut self) {
        self.signals = self.signals.with(Ready::READABLE).with(Ready::READ_CLOSED);
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            _ => self.enter_time_wait(),
        }
    }

    fn enter_time_wait(&mut self) {
        self.state = State::TimeWait;
        self.due = Time::NEVER;
    }

    // Endings.

    /// The connection is lost: an error for the application.
    pub(super) fn fail(&mut self, error: i32, pool: &mut Pool) {
        self.error = Some(error);
        self.enter_closed(pool);
        self.signals = Ready::ALL;
    }

    /// CLOSED: what was received can still be read, unless nobody is there to do so.
    pub(super) fn enter_closed(&mut self, pool: &mut Pool) {
        self.state = State::Closed;
        self.due = Time::NEVER;
        (self.syn_pending, self.probe_pending) = (false, false);
        self.send.discard(pool);
        self.receive.on_closed(pool);
        self.signals = self.signals.with(Ready::ALL);
        if self.orphan {
            self.receive.discard(pool);
        }
    }
}
