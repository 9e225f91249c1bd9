//! The receiving half of a connection: what has arrived, what the peer may still send, and when it
//! is told.

use std::time::Duration;

use sim_core::Time;

use super::autotune::Autotune;
use super::config::{BufferSize, Config, memory_for};
use super::queue::Queue;
use super::reassembly::Reassembly;
use super::segment::{Block, Sacks, Segment, Seq};
use crate::buffer::{Payload, Pool};

/// The most that an acknowledgement is delayed (RFC 9293 §3.8.6.3; L-70).
const ACK_DELAY: Duration = Duration::from_millis(40);
/// How many segments of a new connection are acknowledged at once (L-70).
const QUICK_ACKS: u8 = 16;
/// The largest value of the window field.
const FIELD_MAX: u32 = 65_535;
/// The largest shift of it (RFC 7323 §2.3).
const SCALE_MAX: u32 = 14;

/// The receive sequence space (RFC 9293 §3.3.1) and the bytes in it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Receiver {
    // What every segment needs comes first.
    /// RCV.NXT: the next number expected.
    pub(crate) nxt: Seq,
    /// RCV.NXT + RCV.WND as last advertised: the peer sends nothing from here on.
    edge: Seq,
    /// What the peer was last told: RCV.NXT.
    told: Seq,
    mss: u32,
    /// What the last bare acknowledgement said, and how many did.
    bare: Seq,
    bare_count: u16,
    quick_acks: u8,
    /// The peer's FIN has arrived.
    pub(crate) ended: bool,
    /// An acknowledgement must go out now.
    ack_now: bool,
    /// A small segment arrived since the last acknowledgement: a stream that pauses, not bulk.
    pushed: bool,
    /// The application answers what it gets: acknowledgements ride on its answers (L-74).
    answering: bool,
    /// Something arrived since this end last sent data.
    heard: bool,
    /// When a delayed acknowledgement goes out at the latest; `NEVER` if none waits.
    ack_due: Time,
    last_arrival: Time,
    queued: usize,
    /// What has arrived and is not read.
    queue: Queue<Payload>,
    /// Only while there is a gap, or a duplicate to tell of.
    beyond: Option<Box<Reassembly>>,
    limit: BufferSize,
    pub(super) received: u64,
    pub(super) read: u64,
    pub(super) autotune: Autotune,
    /// The peer takes SACK blocks.
    pub(super) sack: bool,
    /// The shift of every window but a SYN's (RFC 7323 §2; L-02).
    scale: u8,
    /// The peer scales its windows too.
    scales: bool,
}

impl Receiver {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            nxt: Seq(0),
            edge: Seq(0),
            queue: Queue::default(),
            queued: 0,
            limit: config.receive_buffer,
            mss: config.mss,
            scale: scale_for(config.receive_buffer),
            scales: true,
            ended: false,
            ack_now: false,
            pushed: false,
            ack_due: Time::NEVER,
            told: Seq(0),
            bare: Seq(0),
            bare_count: 0,
            quick_acks: QUICK_ACKS,
            answering: false,
            last_arrival: Time::ZERO,
            heard: false,
            sack: false,
            beyond: None,
            autotune: Autotune::new(config.mss),
            received: 0,
            read: 0,
        }
    }

    /// Begins at the number after the peer's SYN.
    pub(crate) fn begin(&mut self, irs: Seq) {
        self.nxt = irs.plus(1);
        self.told = self.nxt;
        self.edge = self.nxt.plus(self.syn_window(self.mss));
    }

    /// The window that a SYN of this end offers: its field is not scaled, and holds whole segments
    /// (L-02: 44 of 1460, or 45 of 1448 when the peer's options are known).
    pub(crate) fn syn_window(&self, segment: u32) -> u32 {
        let most = FIELD_MAX.min(self.limit.now as u32);
        if most < segment { most } else { most - most % segment }
    }

    /// The shift that a SYN of this end offers.
    pub(super) fn scale(&self) -> Option<u8> {
        self.scales.then_some(self.scale)
    }

    /// The peer does not scale windows, so this end does not either (RFC 7323 §2.2).
    pub(super) fn forgo_scale(&mut self) {
        (self.scale, self.scales) = (0, false);
    }

    /// RCV.WND: what the peer may still send, as it was last told.
    #[inline]
    pub(crate) fn window(&self) -> u32 {
        self.edge.since(self.nxt)
    }

    /// The number that the peer was last told to send next.
    #[inline]
    pub(super) fn told(&self) -> Seq {
        self.told
    }

    pub(crate) fn available(&self) -> usize {
        self.queued
    }

    /// Takes the data of a segment that begins at RCV.NXT and fits.
    #[inline]
    pub(crate) fn accept(&mut self, payload: Payload, now: Time) {
        let length = payload.len() as u32;
        debug_assert!(length <= self.window());
        self.append(payload);
        self.last_arrival = now;
        self.heard = true;
        self.pushed |= length < self.mss;
        let quick = !self.answering && self.quick_acks > 0;
        self.quick_acks = self.quick_acks.saturating_sub(1);
        if quick || self.nxt.since(self.told) >= 2 * self.mss {
            self.ack_now = true;
        } else if self.ack_due == Time::NEVER {
            self.ack_due = now + ACK_DELAY;
        }
    }

    fn append(&mut self, payload: Payload) {
        let length = payload.len();
        self.nxt = self.nxt.plus(length as u32);
        self.queued += length;
        self.received += length as u64;
        self.queue.push_back(payload);
    }

    /// The last payload of the queue, if it has this length.
    #[inline]
    pub(super) fn latest_payload(&self, length: usize) -> Option<&Payload> {
        self.queue.back().filter(|payload| payload.len() == length)
    }

    /// The last `length` bytes of the queue, in order; nothing if it has fewer.
    pub(super) fn latest(&self, length: usize) -> impl Iterator<Item = &[u8]> {
        let mut first = self.queue.len();
        let mut held = 0;
        while held < length && first > 0 {
            first -= 1;
            held += self.queue[first].len();
        }
        let first = if held < length { self.queue.len() } else { first };
        let before = held.saturating_sub(length);
        let starts = std::iter::once(before).chain(std::iter::repeat(0));
        self.queue.from(first).zip(starts).map(|(payload, start)| &payload.bytes()[start..])
    }

    /// True if a segment is what is expected next, and nothing waits beyond a gap.
    #[inline]
    pub(super) fn is_next(&self, segment: &Segment) -> bool {
        segment.seq == self.nxt
            && self.beyond.is_none()
            && segment.data_len() <= self.window()
            && !self.ended
    }

    /// Takes a segment of which a part is old, beyond a gap, or beyond the window. True if RCV.NXT
    /// moves on. Every such segment is acknowledged at once (RFC 5681 §4.2).
    #[cold]
    pub(super) fn accept_disorderly(
        &mut self,
        seq: Seq,
        payload: Option<Payload>,
        fin: bool,
        pool: &mut Pool,
    ) -> bool {
        self.ack_now = true;
        self.heard = true;
        let nxt = self.nxt;
        let (mut start, mut payload, mut fin) = (seq, payload, fin);
        let end = seq.plus(payload.as_ref().map_or(0, |payload| payload.len() as u32));
        let mut beyond = self.beyond.take().unwrap_or_default();
        if seq.before(nxt) {
            let old_end = end.plus(u32::from(fin)).min(nxt);
            beyond.note_duplicate(Block { start: seq, end: old_end });
            self.quick_acks = QUICK_ACKS;
            self.answering = false;
            fin &= !end.before(nxt);
            start = nxt.min(end);
            if let Some(payload) = &mut payload {
                payload.advance(start.since(seq) as usize);
            }
        }
        if self.edge.before(end) {
            fin = false;
            let kept = self.edge.max(start).since(start) as usize;
            payload = payload.map(|whole| {
                let part = whole.part(0, kept);
                pool.put(whole);
                part
            });
        }
        payload = match payload {
            Some(empty) if empty.len() == 0 => {
                pool.put(empty);
                None
            }
            other => other,
        };
        let is_old = start.before(nxt) || self.ended;
        if !is_old && (payload.is_some() || fin) {
            beyond.insert(nxt, start, payload, fin, pool);
            self.join(&mut beyond, pool);
        } else if let Some(payload) = payload {
            pool.put(payload);
        }
        if !beyond.is_idle() {
            self.beyond = Some(beyond);
        }
        self.nxt != nxt
    }

    /// Moves what is in order now from beyond the gap to the reader.
    fn join(&mut self, beyond: &mut Reassembly, pool: &mut Pool) {
        while let Some(payload) = beyond.take(self.nxt, pool) {
            self.append(payload);
        }
        if beyond.take_fin(self.nxt) {
            self.accept_end();
        }
        beyond.forget(self.nxt);
    }

    /// A segment that was there before arrived again, and is not looked at further.
    #[cold]
    pub(super) fn note_duplicate(&mut self, start: Seq, end: Seq) {
        let block = Block { start, end: end.min(self.nxt) };
        if block.start.before(block.end) {
            self.beyond.get_or_insert_default().note_duplicate(block);
        }
    }

    /// Asks for the memory of the first bytes that wait.
    #[inline]
    pub(crate) fn prefetch_first(&self) {
        if let Some(payload) = self.queue.front() {
            payload.prefetch();
        }
    }

    /// Takes the end of the stream.
    pub(crate) fn accept_end(&mut self) {
        self.nxt = self.nxt.plus(1);
        self.edge = self.edge.max(self.nxt);
        self.ended = true;
        self.ack_now = true;
    }

    /// Reads at most `buf.len()` bytes, and says how many.
    pub(crate) fn read(&mut self, buf: &mut [u8], now: Time, pool: &mut Pool) -> usize {
        let mut read = 0;
        while let Some(first) = self.queue.front_mut() {
            let length = first.len().min(buf.len() - read);
            if length == 0 {
                break;
            }
            buf[read..read + length].copy_from_slice(&first.bytes()[..length]);
            read += length;
            if length < first.len() {
                first.advance(length);
                break;
            }
            pool.put(self.queue.pop_front().expect("it has a first"));
        }
        self.queued -= read;
        let before = self.read;
        self.read += read as u64;
        if read > 0 && !self.ended {
            self.after_read(before, now);
        }
        read
    }

    /// A read may open the window far enough to say so (L-43), and acknowledges a one-way stream of
    /// small segments (L-71); in bulk the next segment will (L-75).
    fn after_read(&mut self, before: u64, now: Time) {
        let window = self.window();
        let update = 2 * window as usize <= self.limit.now && {
            let wider = self.select_window();
            wider > 0 && wider >= 2 * window
        };
        let acknowledges =
            self.ack_due != Time::NEVER && self.pushed && !self.answering && self.queued == 0;
        self.ack_now |= update || acknowledges;
        // What that makes of the buffer, the next acknowledgement tells.
        if self.autotune.knows_rtt() && self.limit.now < self.limit.max {
            self.limit.now = self.autotune.limit(self.limit, before, now);
        }
    }

    /// The window to advertise: free space, 0 when that is below a segment or a sixteenth of the
    /// buffer (silly-window avoidance; RFC 9293 §3.8.6.2.2, L-43), and never less than was promised.
    fn select_window(&self) -> u32 {
        let limit = self.limit.now;
        let free = limit.saturating_sub(self.queued);
        let least = (limit / 16).max((self.mss as usize).min(limit));
        let unit = 1 << self.scale;
        let offered = if free < least { 0 } else { (free + unit - 1) & !(unit - 1) };
        (offered as u32).min(FIELD_MAX << self.scale).max(self.window())
    }

    /// Fills in an acknowledgement that is about to go out: SEG.ACK and SEG.WND.
    #[inline]
    pub(crate) fn acknowledge(&mut self) -> (Seq, u32) {
        let window = self.select_window();
        self.edge = self.nxt.plus(window);
        (self.ack_now, self.pushed) = (false, false);
        self.ack_due = Time::NEVER;
        self.told = self.nxt;
        (self.nxt, window)
    }

    /// The SACK blocks of an acknowledgement that carries nothing else.
    #[inline]
    pub(super) fn take_sacks(&mut self) -> Option<Box<Sacks>> {
        let beyond = self.beyond.as_mut()?;
        let sacks = beyond.take_sacks();
        if beyond.is_idle() {
            self.beyond = None;
        }
        sacks.filter(|_| self.sack)
    }

    /// How often a bare acknowledgement like the next one has gone out before.
    pub(super) fn count_bare(&mut self) -> u16 {
        let before = if self.bare == self.nxt { self.bare_count } else { 0 };
        (self.bare, self.bare_count) = (self.nxt, before.saturating_add(1));
        before
    }

    /// True if there is more to tell than an acknowledgement with data has room for.
    #[inline]
    pub(super) fn has_beyond(&self) -> bool {
        self.beyond.is_some()
    }

    /// Data goes out at `now`: if it answers what arrived, acknowledgements wait for answers from
    /// now on.
    #[inline]
    pub(crate) fn on_data_sent(&mut self, now: Time) {
        if std::mem::take(&mut self.heard) && now - self.last_arrival < ACK_DELAY {
            self.answering = true;
        }
    }

    /// Asks for an acknowledgement at once.
    pub(crate) fn demand_ack(&mut self) {
        self.ack_now = true;
    }

    pub(crate) fn wants_ack(&self) -> bool {
        self.ack_now
    }

    pub(crate) fn ack_due(&self) -> Time {
        self.ack_due
    }

    pub(crate) fn on_timer(&mut self, now: Time) {
        if self.ack_due <= now {
            self.ack_due = Time::NEVER;
            self.ack_now = true;
            self.answering = false;
        }
    }

    pub(crate) fn set_mss(&mut self, mss: u32) {
        self.mss = mss;
    }

    pub(super) fn set_limit(&mut self, limit: BufferSize) {
        self.limit = limit;
    }

    /// The connection is gone: there is nobody to acknowledge anything to.
    pub(crate) fn on_closed(&mut self, pool: &mut Pool) {
        self.ack_now = false;
        self.ack_due = Time::NEVER;
        if let Some(mut beyond) = self.beyond.take() {
            beyond.discard(pool);
        }
    }

    /// Bytes of memory beyond its own.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.queue.held()
    }

    /// Forgets what was not read.
    pub(crate) fn discard(&mut self, pool: &mut Pool) {
        self.queue.drain().for_each(|payload| pool.put(payload));
        self.queued = 0;
    }
}

/// The shift with which the field can say every window that a buffer allows (L-02: 7 for one that
/// grows to 6 MB of memory; L-43: 1 for 82 328 bytes).
fn scale_for(buffer: BufferSize) -> u8 {
    let space = if buffer.now < buffer.max { memory_for(buffer.max) } else { buffer.now };
    (space.max(1).ilog2() + 1).saturating_sub(u16::BITS).min(SCALE_MAX) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_448;

    fn receiver(limit: usize) -> (Receiver, Pool) {
        let limit = BufferSize::fixed(limit);
        let mut receiver = Receiver::new(&Config { receive_buffer: limit, ..Config::new(MSS) });
        receiver.begin(Seq(99));
        receiver.acknowledge();
        receiver.quick_acks = 0;
        (receiver, Pool::default())
    }

    /// L-43: 82 328 bytes of buffer, full; the first update comes after 5 792 bytes were read.
    #[test]
    fn the_window_reopens_at_a_sixteenth_of_the_buffer() {
        let (mut receiver, mut pool) = receiver(82_328);
        while receiver.window() >= MSS {
            receiver.accept(pool.copy(&[0; MSS as usize]), Time::ZERO);
            receiver.acknowledge();
        }
        let rest = receiver.window() as usize;
        receiver.accept(pool.copy(&vec![0; rest]), Time::ZERO);
        assert_eq!(receiver.acknowledge().1, 0);
        let mut read = 0;
        while !receiver.wants_ack() {
            read += receiver.read(&mut [0; 724], Time::ZERO, &mut pool);
        }
        assert!((5_100..=5_900).contains(&read), "{read}");
        assert!(receiver.acknowledge().1 >= 5_000);
    }

    #[test]
    fn every_second_full_segment_is_acknowledged_and_a_lone_one_after_40_ms() {
        let (mut receiver, mut pool) = receiver(82_328);
        receiver.accept(pool.copy(&[0; MSS as usize]), Time::ZERO);
        assert!(!receiver.wants_ack());
        assert_eq!(receiver.ack_due(), Time::ZERO + Duration::from_millis(40));
        receiver.accept(pool.copy(&[0; MSS as usize]), Time::ZERO);
        assert!(receiver.wants_ack());
        receiver.acknowledge();
        assert_eq!(receiver.ack_due(), Time::NEVER);
    }

    /// RFC 9293 §3.10.7.4: what is expected next is taken, however many pieces wait beyond it.
    #[test]
    fn a_gap_is_filled_whatever_waits_beyond_it() {
        let (mut receiver, mut pool) = receiver(1 << 20);
        let first = receiver.nxt;
        let mut next_after = |at: u32, bytes: &[u8]| {
            let payload = Some(pool.copy(bytes));
            receiver.accept_disorderly(first.plus(at), payload, false, &mut pool);
            receiver.nxt.since(first)
        };
        for n in 0..10_000 {
            assert_eq!(next_after(2 * n + 1, b"x"), 0);
        }
        assert_eq!(next_after(0, b"a"), 2);
        assert_eq!(next_after(0, b"abcdef"), 6, "a part is old, and it fills several gaps");
        assert_eq!(next_after(6, b"g"), 8);
    }

    #[test]
    fn an_answer_carries_the_acknowledgement() {
        let (mut receiver, mut pool) = receiver(82_328);
        let now = Time::ZERO;
        receiver.accept(pool.copy(b"ping"), now);
        receiver.on_data_sent(now);
        receiver.acknowledge();
        receiver.accept(pool.copy(b"ping"), now);
        receiver.read(&mut [0; 8], now, &mut pool);
        assert!(!receiver.wants_ack(), "it waits for the answer");
        receiver.on_timer(receiver.ack_due());
        assert!(receiver.wants_ack());
    }
}
