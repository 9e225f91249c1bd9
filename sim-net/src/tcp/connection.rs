//! One end of a connection: RFC 9293's state machine.
//!
//! *Inputs*: [`Connection::on_segment`], [`on_timer`](Connection::on_timer). *Calls*: `write`,
//! `read`, `shutdown_write`, `close`, `abort`. *Outputs*, to be asked for after each input or call,
//! in this order: [`transmit`](Connection::transmit) until there is nothing,
//! [`take_signals`](Connection::take_signals), [`deadline`](Connection::deadline),
//! [`state`](Connection::state).

use std::time::Duration;

use sim_core::Time;

use super::receive::Receiver;
use super::segment::{Flags, Segment, Seq};
use super::send::{End, Sender};
use crate::buffer::Pool;
use crate::errno::{ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EPIPE, ETIMEDOUT};
use crate::socket_table::Ready;

/// How long an orphan waits in FIN_WAIT2 for its peer's FIN (`tcp_fin_timeout`).
const ORPHAN_MAX: Duration = Duration::from_secs(60);
/// Bytes of the timestamp option in every segment; the MSS option does not count them (RFC 6691).
pub(crate) const TIMESTAMPS: u32 = 12;
/// How many times a SYN is repeated a second after the one before; then the waits double (L-03).
const SYN_LINEAR_TIMEOUTS: u8 = 4;
/// How many times a SYN is repeated in all (L-03).
const SYN_RETRIES: u8 = 10;

/// The states of RFC 9293 §3.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// The most data bytes that a segment may carry on this end's interface.
    pub(crate) mss: u32,
    /// The most data bytes that leave as one: `mss`, or more where trains may travel.
    pub(crate) train: u32,
    /// Bytes of send and of receive buffer.
    pub(crate) send_buffer: usize,
    pub(crate) receive_buffer: usize,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
    send: Sender,
    receive: Receiver,
    train: u32,
    /// The number of an error that no call has reported yet.
    error: Option<i32>,
    /// The application has closed the socket.
    orphan: bool,
    /// It was opened by a SYN from outside.
    passive: bool,
    syn_pending: bool,
    reset_pending: bool,
    syn_retries: u8,
    /// When a SYN is repeated, or an orphan given up; `NEVER` otherwise.
    due: Time,
    signals: Ready,
}

impl Connection {
    /// Active open: the first segment out is a SYN.
    pub(crate) fn connect(now: Time, iss: Seq, config: Config) -> Self {
        let due = now + Duration::from_secs(1);
        Self { syn_pending: true, due, ..Self::new(State::SynSent, iss, config) }
    }

    /// Passive open: answers `syn`.
    pub(crate) fn accept(syn: &Segment, iss: Seq, config: Config) -> Self {
        let mut connection = Self { passive: true, ..Self::new(State::SynReceived, iss, config) };
        connection.on_syn(syn);
        connection.syn_pending = true;
        connection
    }

    fn new(state: State, iss: Seq, config: Config) -> Self {
        Self {
            state,
            send: Sender::new(iss, config.mss, config.send_buffer),
            receive: Receiver::new(config.mss, config.receive_buffer),
            train: config.train,
            error: None,
            orphan: false,
            passive: false,
            syn_pending: false,
            reset_pending: false,
            syn_retries: 0,
            due: Time::NEVER,
            signals: Ready::NONE,
        }
    }

    // Calls.

    /// Takes a prefix of `data`; 0 means that there is no room now.
    pub(crate) fn write(&mut self, data: &[u8], pool: &mut Pool) -> Result<usize, i32> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match self.state {
            State::SynSent | State::SynReceived => Ok(0),
            State::Established | State::CloseWait => Ok(self.send.write(data, pool)),
            _ => Err(EPIPE),
        }
    }

    /// Reads at least a byte. `Ok(Some(0))` is the end of the stream, `Ok(None)` nothing yet.
    pub(crate) fn read(&mut self, buf: &mut [u8], pool: &mut Pool) -> Result<Option<usize>, i32> {
        if self.receive.available() > 0 && !buf.is_empty() {
            return Ok(Some(self.receive.read(buf, pool)));
        }
        // After the peer's FIN an error is the writer's (L-66).
        if self.receive.ended {
            return Ok(Some(0));
        }
        match (self.error.take(), self.state) {
            (Some(error), _) => Err(error),
            (None, State::Closed) => Ok(Some(0)),
            (None, _) => Ok(None),
        }
    }

    /// How many bytes a read would get.
    pub(crate) fn available(&self) -> usize {
        self.receive.available()
    }

    /// Ends the outgoing stream behind what was written.
    pub(crate) fn shutdown_write(&mut self) {
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => return,
        }
        self.send.end = End::Queued;
    }

    /// The application lets go. What was written is still sent; unread data is answered by a reset
    /// (RFC 2525 §2.17, L-51).
    pub(crate) fn close(&mut self, now: Time, pool: &mut Pool) {
        self.orphan = true;
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        if opening || self.receive.available() > 0 {
            self.abort(pool);
            return;
        }
        self.shutdown_write();
        self.expect_end(now);
    }

    /// The application lets go and the peer hears a reset; what was not sent is gone (L-58).
    pub(crate) fn abort(&mut self, pool: &mut Pool) {
        self.orphan = true;
        self.reset_pending =
            !matches!(self.state, State::SynSent | State::TimeWait | State::Closed);
        self.enter_closed(pool);
    }

    pub(crate) fn set_send_limit(&mut self, limit: usize) {
        self.send.set_limit(limit);
    }

    // Inputs.

    /// A segment arrived (RFC 9293 §3.10.7).
    pub(crate) fn on_segment(&mut self, mut segment: Segment, now: Time, pool: &mut Pool) {
        match self.state {
            State::Closed => {}
            State::SynSent => self.on_segment_in_syn_sent(&segment, pool),
            _ if !self.is_acceptable(&segment) => {
                if !segment.flags.has(Flags::RST) {
                    self.receive.demand_ack();
                }
            }
            _ if segment.flags.has(Flags::RST) => self.on_reset(&segment, pool),
            // A SYN in the window is challenged (RFC 5961 §4), save that of a simultaneous open.
            state if segment.flags.has(Flags::SYN) && state != State::SynReceived => {
                self.receive.demand_ack();
            }
            _ if !segment.flags.has(Flags::ACK) => {}
            _ => {
                if self.on_ack(&segment, now, pool) {
                    self.on_data(&mut segment, now, pool);
                }
            }
        }
        if let Some(payload) = segment.payload.take() {
            pool.put(payload);
        }
    }

    /// The deadline has come.
    pub(crate) fn on_timer(&mut self, now: Time, pool: &mut Pool) {
        self.receive.on_timer(now);
        if now < self.due {
            return;
        }
        if self.state != State::SynSent {
            self.enter_closed(pool);
        } else if self.syn_retries == SYN_RETRIES {
            self.fail(ETIMEDOUT, pool);
        } else {
            self.syn_retries += 1;
            self.syn_pending = true;
            let doublings = self.syn_retries.saturating_sub(SYN_LINEAR_TIMEOUTS);
            self.due = now + Duration::from_secs(1 << doublings);
        }
    }

    /// The path carries segments of at most `mss` data bytes from now on (RFC 1191 §6.4).
    pub(crate) fn lower_mss(&mut self, mss: u32) {
        self.send.mss = self.send.mss.min(mss);
        self.train = self.send.mss;
    }

    /// ICMP "host unreachable" arrived: it ends an attempt to connect; an established connection
    /// takes it as a hint and goes on (RFC 1122 §4.2.3.9).
    pub(crate) fn on_unreachable(&mut self, pool: &mut Pool) {
        if self.state == State::SynSent {
            self.fail(EHOSTUNREACH, pool);
        }
    }

    // Outputs.

    /// False if [`transmit`](Self::transmit) has nothing to send.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        self.syn_pending || self.reset_pending || self.receive.wants_ack() || self.send.is_pending()
    }

    /// The next segment to send.
    #[inline(always)]
    pub(crate) fn transmit(&mut self, now: Time) -> Option<Segment> {
        if self.reset_pending {
            self.reset_pending = false;
            return Some(self.segment(self.send.nxt, Flags::RST));
        }
        if self.syn_pending {
            return Some(self.transmit_syn());
        }
        match self.state {
            State::SynSent | State::Closed => return None,
            State::SynReceived | State::FinWait2 | State::TimeWait => {}
            _ => {
                if let Some((seq, payload, flags)) = self.send.next(self.train as usize) {
                    if payload.is_some() {
                        self.receive.on_data_sent(now);
                    }
                    return Some(Segment { payload, ..self.segment(seq, flags) });
                }
            }
        }
        self.receive.wants_ack().then(|| self.segment(self.send.nxt, Flags::default()))
    }

    /// What has become ready since the last time.
    pub(crate) fn take_signals(&mut self) -> Ready {
        std::mem::take(&mut self.signals)
    }

    /// When [`on_timer`](Self::on_timer) wants to be called; `NEVER` if not at all.
    pub(crate) fn deadline(&self) -> Time {
        self.receive.ack_due().min(self.due)
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn is_orphan(&self) -> bool {
        self.orphan
    }

    /// Takes the error that no call has reported yet.
    pub(crate) fn take_error(&mut self) -> Option<i32> {
        self.error.take()
    }

    /// What would be ready without waiting.
    pub(crate) fn readiness(&self) -> Ready {
        let mut ready = Ready::NONE;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            return ready;
        }
        if self.state == State::Closed {
            return Ready::ALL;
        }
        if self.receive.available() > 0 {
            ready = ready.with(Ready::READABLE);
        }
        if self.receive.ended {
            ready = ready.with(Ready::READABLE).with(Ready::READ_CLOSED);
        }
        if self.send.is_writable() {
            ready = ready.with(Ready::WRITABLE);
        }
        ready
    }

    /// A sequence number of this end relative to its initial one, for traces.
    pub(crate) fn offset(&self, seq: Seq) -> u32 {
        seq.since(self.send.iss)
    }

    /// SND.NXT and RCV.NXT, for what remains of the connection in TIME-WAIT.
    pub(crate) fn numbers(&self) -> (Seq, Seq) {
        (self.send.nxt, self.receive.nxt)
    }

    // Segment arrival, step by step.

    fn on_segment_in_syn_sent(&mut self, segment: &Segment, pool: &mut Pool) {
        let has = |flag| segment.flags.has(flag);
        if has(Flags::ACK) && segment.ack != self.send.nxt {
            // A half-open peer: its ACK is of another life. The SYN ladder tries again.
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
            self.send.una = segment.ack;
            self.establish();
            self.receive.demand_ack();
        } else {
            // Simultaneous open (L-96).
            self.state = State::SynReceived;
            self.send.nxt = self.send.iss;
            self.syn_pending = true;
        }
    }

    /// Takes the peer's numbers and options from its SYN.
    fn on_syn(&mut self, syn: &Segment) {
        self.receive.begin(syn.seq);
        self.send.set_first_window(syn.seq, syn.ack, syn.window);
        let mss = self.send.mss.min(u32::from(syn.mss).saturating_sub(TIMESTAMPS).max(1));
        self.send.mss = mss;
        self.receive.set_mss(mss);
    }

    fn establish(&mut self) {
        self.due = Time::NEVER;
        self.state = State::Established;
        self.signals = self.signals.with(Ready::WRITABLE);
    }

    /// The first check: sequence numbers. No segment is ever lost or late yet, so what is in order
    /// is what is expected, save the answers to segments that crossed.
    fn is_acceptable(&self, segment: &Segment) -> bool {
        let (nxt, window) = (self.receive.nxt, self.receive.window());
        let crossed_syn = self.state == State::SynReceived
            && segment.flags.has(Flags::SYN)
            && segment.flags.has(Flags::ACK);
        if crossed_syn {
            // Simultaneous open: the peer's SYN again, with the acknowledgement of ours.
            return segment.seq.plus(1) == nxt;
        }
        if segment.len() == 0 {
            return segment.seq.since(nxt) <= window;
        }
        segment.seq == nxt && segment.len() <= window
    }

    fn on_reset(&mut self, segment: &Segment, pool: &mut Pool) {
        // RFC 5961 §3: a reset that is in the window but not at its beginning is challenged.
        if segment.seq != self.receive.nxt {
            self.receive.demand_ack();
            return;
        }
        match self.state {
            State::CloseWait => self.fail(EPIPE, pool),
            State::Closing | State::LastAck | State::TimeWait => self.enter_closed(pool),
            State::SynReceived if !self.passive => self.fail(ECONNREFUSED, pool),
            _ => self.fail(ECONNRESET, pool),
        }
    }

    /// The fifth check: the acknowledgement. False if the rest of the segment is not for us.
    fn on_ack(&mut self, segment: &Segment, now: Time, pool: &mut Pool) -> bool {
        let ack = segment.ack;
        if self.send.nxt.before(ack) {
            self.receive.demand_ack();
            return false;
        }
        if self.send.una.before(ack) {
            if self.state == State::SynReceived {
                self.send.una = self.send.iss.plus(1);
                self.establish();
            }
            self.send.acknowledge(ack, pool);
            if self.send.take_unblocked() {
                self.signals = self.signals.with(Ready::WRITABLE);
            }
        }
        self.send.set_window(segment.seq, ack, segment.window);
        if self.send.end == End::Acknowledged {
            match self.state {
                State::FinWait1 => {
                    self.state = State::FinWait2;
                    self.expect_end(now);
                }
                State::Closing => self.state = State::TimeWait,
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
        if !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2) {
            return;
        }
        if let Some(payload) = segment.payload.take() {
            if self.orphan {
                // Nobody will ever read it (RFC 9293 §3.10.7.4; L-50, L-54).
                pool.put(payload);
                self.abort(pool);
                return;
            }
            self.receive.accept(payload, now);
            self.signals = self.signals.with(Ready::READABLE);
        }
        if segment.flags.has(Flags::FIN) {
            self.receive.accept_end();
            self.signals = self.signals.with(Ready::READABLE).with(Ready::READ_CLOSED);
            self.state = match self.state {
                State::Established => State::CloseWait,
                State::FinWait1 => State::Closing,
                _ => State::TimeWait,
            };
            self.due = Time::NEVER;
        }
    }

    // Endings.

    /// An orphan in FIN_WAIT2 does not wait for ever.
    fn expect_end(&mut self, now: Time) {
        if self.orphan && self.state == State::FinWait2 {
            self.due = now + ORPHAN_MAX;
        }
    }

    /// The connection is lost: an error for the application.
    fn fail(&mut self, error: i32, pool: &mut Pool) {
        self.error = Some(error);
        self.enter_closed(pool);
        self.signals = Ready::ALL;
    }

    /// CLOSED: what was received can still be read, unless nobody is there to do so.
    fn enter_closed(&mut self, pool: &mut Pool) {
        self.state = State::Closed;
        self.due = Time::NEVER;
        self.syn_pending = false;
        self.send.discard(pool);
        self.receive.on_closed();
        self.signals = self.signals.with(Ready::ALL);
        if self.orphan {
            self.receive.discard(pool);
        }
    }

    // Segments.

    fn transmit_syn(&mut self) -> Segment {
        self.syn_pending = false;
        self.send.nxt = self.send.iss.plus(1);
        let flags = Flags::SYN;
        let mut segment = Segment {
            seq: self.send.iss,
            ack: Seq(0),
            window: self.receive.syn_window(),
            flags,
            mss: (self.send.mss + TIMESTAMPS) as u16,
            payload: None,
        };
        if self.state == State::SynReceived {
            segment.ack = self.receive.nxt;
            segment.flags = flags.with(Flags::ACK);
        }
        segment
    }

    /// A segment with an acknowledgement of everything received.
    #[inline(always)]
    fn segment(&mut self, seq: Seq, flags: Flags) -> Segment {
        let (ack, window) = self.receive.acknowledge();
        Segment { seq, ack, window, flags: flags.with(Flags::ACK), mss: 0, payload: None }
    }
}
