//! One end of a connection: RFC 9293's state machine.
//!
//! *Inputs*: [`Connection::on_segment`], [`on_timer`](Connection::on_timer),
//! [`on_icmp`](Connection::on_icmp). *Calls*: `write`, `read`, `shutdown_write`, `close`, `abort`.
//! *Outputs*, to be asked for after each input or call, in this order:
//! [`transmit`](Connection::transmit) until there is nothing,
//! [`take_signals`](Connection::take_signals), [`deadline`](Connection::deadline),
//! [`state`](Connection::state).
//!
//! What arrives is handled in [`arrival`](super::arrival), what is due in
//! [`timers`](super::timers).

use std::mem::offset_of;
use std::time::Duration;

use sim_core::driver::TcpOptions;
use sim_core::{Keepalive, Time};

use super::config::{BufferSize, Config, TIMESTAMPS};
#[cfg(test)]
use super::counters::Counters;
use super::receive::Receiver;
use super::segment::{Flags, Segment, Seq, SynOptions};
use super::send::{Cut, End, Sender};
use super::stamps::Stamps;
use super::time_wait::Remains;
use crate::buffer::{LARGE, Payload, Pool};
use crate::errno::EPIPE;
use crate::socket_table::Ready;

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

/// A reset that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset {
    pub(super) seq: Seq,
    /// It carries an acknowledgement.
    pub(super) acks: bool,
}

/// One end of a connection.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Connection {
    // What every segment needs comes first, and next to each other.
    pub(super) state: State,
    pub(super) signals: Ready,
    pub(super) syn_pending: bool,
    /// An empty segment with an old number is to be sent, or what a small window lets through.
    pub(super) probe_pending: bool,
    /// The application has closed the socket.
    pub(super) orphan: bool,
    /// It was opened by a SYN from outside.
    pub(super) passive: bool,
    pub(super) stamps: Stamps,
    /// The number of an error that no call has reported yet.
    pub(super) error: Option<i32>,
    /// What the network last said of the peer: the error instead of a timeout.
    pub(super) soft_error: Option<i32>,
    pub(super) reset: Option<Reset>,
    /// When a SYN is repeated, a silent peer probed, or an orphan given up; `NEVER` otherwise.
    pub(super) due: Time,
    /// When an acceptable segment last arrived.
    pub(super) heard_at: Time,
    pub(super) send: Sender,
    pub(super) receive: Receiver,
    // What seldom matters.
    pub(super) config: Config,
    pub(super) syn_retries: u8,
    /// Probes of a silent or closed peer that were not answered, and when the first and the last
    /// were sent.
    pub(super) probes: u8,
    /// How many times the SYN was sent.
    syns: u16,
    pub(super) probed_since: Time,
    pub(super) probed_at: Time,
    pub(super) opened_at: Time,
    /// When something unacceptable was last answered.
    pub(super) challenged_at: Option<Time>,
}

impl Connection {
    /// How many bytes a segment needs.
    pub(super) const HOT: usize = offset_of!(Self, config);
    /// Where what the oracle of streams looks at ends.
    pub(super) const CHECKED: usize = offset_of!(Self, send) + Sender::CHECKED;

    /// Active open: the first segment out is a SYN.
    pub(crate) fn connect(now: Time, iss: Seq, config: Config) -> Self {
        let mut connection = Self::new(State::SynSent, now, iss, config);
        connection.arm_syn(now);
        connection
    }

    /// Active open, by a machine that could not send its SYN when it was asked to: it begins now.
    pub(crate) fn open_late(&mut self, now: Time) {
        if self.state == State::SynSent && self.syns == 0 {
            self.opened_at = now;
            self.arm_syn(now);
        }
    }

    /// Passive open: answers `syn`.
    pub(crate) fn accept(syn: &Segment, now: Time, iss: Seq, config: Config) -> Self {
        let mut connection = Self::new(State::SynReceived, now, iss, config);
        connection.passive = true;
        connection.on_syn(syn);
        connection.arm_syn(now);
        connection
    }

    fn new(state: State, now: Time, iss: Seq, config: Config) -> Self {
        Self {
            state,
            send: Sender::new(iss, &config),
            receive: Receiver::new(&config),
            stamps: Stamps::new(config.stamps_from),
            config,
            error: None,
            soft_error: None,
            orphan: false,
            passive: false,
            syn_pending: true,
            probe_pending: false,
            reset: None,
            syn_retries: 0,
            syns: 0,
            probes: 0,
            probed_since: now,
            probed_at: Time::NEVER,
            opened_at: now,
            heard_at: now,
            challenged_at: None,
            due: Time::NEVER,
            signals: Ready::NONE,
        }
    }

    /// Forgets all data: the connection is over, and its memory is for another.
    pub(super) fn discard(&mut self, pool: &mut Pool) {
        self.send.discard(pool);
        self.receive.discard(pool);
        self.receive.on_closed(pool);
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

    /// How many bytes a write would take at most.
    pub(crate) fn room(&self) -> usize {
        let is_open = matches!(self.state, State::Established | State::CloseWait);
        if is_open && self.error.is_none() { self.send.room() } else { 0 }
    }

    /// How much a reader has not seen yet: bytes, and one for the end of the stream.
    pub(crate) fn waiting(&self) -> u64 {
        self.receive.available() as u64 + u64::from(self.receive.ended)
    }

    /// Reads at least a byte, if there is room for one. `Ok(Some(0))` is the end of the stream then, `Ok(None)`
    /// nothing yet.
    pub(crate) fn read(
        &mut self,
        buf: &mut [u8],
        now: Time,
        pool: &mut Pool,
    ) -> Result<Option<usize>, i32> {
        if self.receive.available() > 0 {
            return Ok(Some(self.receive.read(buf, now, pool)));
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
        if !matches!(self.state, State::SynSent | State::TimeWait | State::Closed) {
            self.reset = Some(Reset { seq: self.send.nxt, acks: true });
        }
        self.enter_closed(pool);
    }

    /// A writer that found no room may find some in a larger buffer.
    pub(crate) fn set_send_limit(&mut self, limit: BufferSize) {
        self.send.set_limit(limit);
        if self.send.take_unblocked() {
            self.signals = self.signals.with(Ready::WRITABLE);
        }
    }

    pub(crate) fn set_receive_limit(&mut self, limit: BufferSize) {
        self.receive.set_limit(limit);
    }

    /// `TCP_NODELAY`. Small segments that were held back are to be sent, if it is on.
    pub(crate) fn set_nodelay(&mut self, on: bool) {
        self.config.nagle = !on;
        self.send.set_nagle(!on);
    }

    /// `SO_KEEPALIVE` with its figures. What was silence before is silence still.
    pub(crate) fn set_keepalive(&mut self, keepalive: Option<Keepalive>, now: Time) {
        self.config.keepalive = keepalive;
        self.rearm_keepalive(now);
    }

    /// `TCP_USER_TIMEOUT`: judged when the timer that runs comes up.
    pub(crate) fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.config.user_timeout = timeout;
    }

    /// What is set of it.
    pub(crate) fn options(&self) -> TcpOptions {
        let Config { nagle, keepalive, user_timeout, .. } = self.config;
        TcpOptions { nodelay: !nagle, keepalive, user_timeout }
    }

    /// Whether several full segments may leave as one: where nothing on the path tells them apart.
    pub(crate) fn allow_trains(&mut self, allow: bool) {
        let mss = self.send.mss;
        self.config.train = if allow { mss.max(LARGE as u32) } else { mss };
    }

    // What the oracle of streams looks at.

    /// The number up to which it has taken in data, and whether the end is behind that.
    #[inline]
    pub(super) fn taken_in(&self) -> (Seq, bool) {
        let ended = self.receive.ended;
        (self.receive.nxt.minus(u32::from(ended)), ended)
    }

    /// The last payload that waits to be read, if it has this length.
    #[inline]
    pub(super) fn latest_payload(&self, length: usize) -> Option<&Payload> {
        self.receive.latest_payload(length)
    }

    /// True if `bytes` are, in memory, those that were written first of what is not acknowledged, from
    /// number `at` on.
    #[inline]
    pub(super) fn begins_with(&self, at: Seq, bytes: &Payload) -> bool {
        self.send.begins_with(at, bytes)
    }

    /// The last `length` bytes that wait to be read, in order.
    pub(super) fn latest(&self, length: usize) -> impl Iterator<Item = &[u8]> {
        self.receive.latest(length)
    }

    /// Where the bytes at number `at` on are others than were written, counted from `at`.
    #[inline]
    pub(super) fn differs_from(&self, at: Seq, bytes: &[u8]) -> Option<usize> {
        self.send.differs_from(at, bytes)
    }

    /// The number of the first byte, and the one behind the last that was written.
    pub(super) fn first_number(&self) -> Seq {
        self.send.iss.plus(1)
    }

    pub(super) fn written_to(&self) -> Seq {
        self.send.written_to()
    }

    // Outputs.

    /// False if [`transmit`](Self::transmit) has nothing to send.
    #[inline(always)]
    pub(crate) fn has_output(&self) -> bool {
        self.receive.wants_ack()
            || self.send.is_pending()
            || self.syn_pending
            || self.probe_pending
            || self.reset.is_some()
    }

    /// The next segment to send, if it is the step of a dialogue: a message that fits into a segment,
    /// with nothing on its way. It is what [`transmit`](Self::transmit) would give, with less to look at.
    #[inline(always)]
    pub(crate) fn transmit_step(&mut self, now: Time) -> Option<Segment> {
        let is_usual = matches!(self.state, State::Established | State::CloseWait)
            && !(self.syn_pending || self.probe_pending || self.reset.is_some())
            && !(self.receive.has_beyond() || self.send.flights.lost > 0 || self.send.probe_now);
        if !is_usual {
            return None;
        }
        let cut = self.send.next_step(now)?;
        Some(self.carry(cut, now))
    }

    /// The next segment to send.
    #[inline(always)]
    pub(crate) fn transmit(&mut self, now: Time, pool: &mut Pool) -> Option<Segment> {
        if self.syn_pending || self.probe_pending || self.reset.is_some() {
            return self.transmit_control(now, pool);
        }
        if self.receive.has_beyond() && self.receive.wants_ack() {
            // Alone, so that a full segment has room, and it counts as a duplicate (RFC 5681 §2).
            return Some(self.bare_ack(now));
        }
        match self.state {
            State::SynSent | State::Closed => return None,
            State::SynReceived | State::FinWait2 | State::TimeWait => {}
            _ => {
                if let Some(cut) = self.next_cut(now, pool) {
                    return Some(self.carry(cut, now));
                }
            }
        }
        self.receive.wants_ack().then(|| self.bare_ack(now))
    }

    #[inline(always)]
    fn next_cut(&mut self, now: Time, pool: &mut Pool) -> Option<Cut> {
        // What is lost goes first (RFC 6675 §5).
        let size_max = self.config.train.max(self.send.mss) as usize;
        if self.send.flights.lost > 0
            && let Some(cut) = self.send.repeat_lost(size_max, now, pool)
        {
            return Some(cut);
        }
        if self.send.probe_now {
            return self.send.send_loss_probe(size_max, now, pool);
        }
        self.send.next(size_max, now, pool)
    }

    /// Puts a piece of the stream into a segment.
    #[inline(always)]
    fn carry(&mut self, cut: Cut, now: Time) -> Segment {
        if cut.payload.is_some() {
            self.receive.on_data_sent(now);
        }
        let (ack, window) = self.receive.acknowledge();
        Segment {
            seq: cut.seq,
            ack,
            window,
            flags: cut.flags.with(Flags::ACK),
            attempt: cut.attempt,
            syn: SynOptions::NONE,
            timestamps: self.stamps.option(now),
            sacks: None,
            payload: cut.payload,
        }
    }

    /// What has become ready since the last time.
    pub(crate) fn take_signals(&mut self) -> Ready {
        std::mem::take(&mut self.signals)
    }

    /// When [`on_timer`](Self::on_timer) wants to be called; `NEVER` if not at all.
    #[inline]
    pub(crate) fn deadline(&self) -> Time {
        self.receive.ack_due().min(self.send.alarm_at).min(self.due)
    }

    /// The timers in words.
    #[cfg(test)]
    pub(crate) fn deadline_told(&self) -> String {
        let Self { state, receive, send, due, .. } = self;
        let (alarm, at) = (send.alarm, send.alarm_at);
        let space = (send.una, send.nxt, send.wnd, send.flights.out, send.unsent());
        format!("{state:?}: ACK {}, {alarm:?} {at}, other {due}, {space:?}", receive.ack_due())
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// True while it has something to send, or has sent what is not acknowledged.
    pub(crate) fn is_under_way(&self) -> bool {
        let is_over = matches!(self.state, State::TimeWait | State::Closed);
        !is_over && (self.send.una != self.send.nxt || self.has_output())
    }

    pub(crate) fn is_orphan(&self) -> bool {
        self.orphan
    }

    /// Takes the error that no call has reported yet.
    pub(crate) fn take_error(&mut self) -> Option<i32> {
        self.error.take()
    }

    /// What it has done so far.
    #[cfg(test)]
    pub(crate) fn counters(&self) -> Counters {
        let Receiver { received, read, .. } = self.receive;
        let Sender { written, sent, acknowledged, counters, .. } = self.send;
        Counters { written, sent, acknowledged, received, read, ..counters }
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

    /// A sequence number of the other end relative to its initial one, for traces; `None` before it is known.
    pub(crate) fn peer_offset(&self, seq: Seq) -> Option<u32> {
        let Receiver { nxt, ended, received, .. } = &self.receive;
        // A SYN, what came, and a FIN.
        let next = (*received as u32).wrapping_add(1 + u32::from(*ended));
        (self.state != State::SynSent).then(|| next.wrapping_add(seq.since(*nxt)))
    }

    /// What remains of the connection in TIME-WAIT.
    pub(crate) fn remains(&self) -> Remains {
        Remains { snd_nxt: self.send.nxt, rcv_nxt: self.receive.nxt, stamps: self.stamps }
    }

    // Segments.

    #[cold]
    fn transmit_control(&mut self, now: Time, pool: &mut Pool) -> Option<Segment> {
        if let Some(reset) = self.reset.take() {
            let bare = Segment::bare(reset.seq, Seq(0), 0, Flags::RST);
            if !reset.acks {
                return Some(bare);
            }
            let (ack, window) = self.receive.acknowledge();
            let flags = Flags::RST.with(Flags::ACK);
            return Some(Segment {
                ack,
                window,
                flags,
                timestamps: self.stamps.option(now),
                ..bare
            });
        }
        if std::mem::take(&mut self.syn_pending) {
            return Some(self.syn(now));
        }
        self.probe_pending = false;
        if self.send.wnd > 0
            && self.send.flights.out == 0
            && let Some(cut) = self.send.send_into_small_window(now, pool)
        {
            return Some(self.carry(cut, now));
        }
        // An old number: whatever the peer's state, it answers (RFC 9293 §3.8.4; L-45, L-92).
        let attempt = self.probes.saturating_sub(1).into();
        let (ack, window) = self.receive.acknowledge();
        let seq = Seq(self.send.una.0.wrapping_sub(1));
        let timestamps = self.stamps.option(now);
        Some(Segment { attempt, timestamps, ..Segment::bare(seq, ack, window, Flags::ACK) })
    }

    fn syn(&mut self, now: Time) -> Segment {
        let answers = self.state == State::SynReceived;
        let mss = self.config.mss + TIMESTAMPS;
        let whole = if answers { self.send.mss } else { mss };
        let mut segment =
            Segment::bare(self.send.iss, Seq(0), self.receive.syn_window(whole), Flags::SYN);
        if answers {
            segment.ack = self.receive.nxt;
            segment.flags = Flags::SYN.with(Flags::ACK);
        }
        segment.syn = SynOptions {
            mss: mss.min(u16::MAX.into()) as u16,
            // An answer takes up only what was offered.
            window_scale: self.receive.scale(),
            sack: self.config.sack && (!answers || self.send.sack),
        };
        segment.timestamps = self.stamps.option(now);
        segment.attempt = self.syns;
        self.syns = self.syns.saturating_add(1);
        segment
    }

    /// An acknowledgement of everything received.
    #[inline(always)]
    fn bare_ack(&mut self, now: Time) -> Segment {
        let attempt = self.receive.count_bare();
        let sacks = self.receive.take_sacks();
        let (ack, window) = self.receive.acknowledge();
        let timestamps = self.stamps.option(now);
        let bare = Segment::bare(self.send.nxt, ack, window, Flags::ACK);
        Segment { attempt, timestamps, sacks, ..bare }
    }
}
