//! The sending half of a connection: what was written, what of it is sent, what is acknowledged.
//!
//! What happens when something is missing stands in [`recovery`](super::recovery).

use sim_core::Time;

use super::config::{BufferSize, Config};
use super::congestion::Congestion;
use super::counters::Counters;
use super::flights::{Flight, Flights};
use super::queue::Queue;
use super::rack::Reordering;
use super::recovery::{Trouble, millis};
use super::rtt::{Rtt, after, between};
use super::segment::{Flags, Segment, Seq, Timestamps};
use crate::buffer::{LARGE, Payload, Pool};

/// How far the end of the stream has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// More may be written.
    Open,
    /// The application has ended the stream; FIN follows the data.
    Queued,
    /// FIN is on its way.
    Sent,
    /// The peer has acknowledged it.
    Acknowledged,
}

/// What the sender's one timer is set for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Alarm {
    Off,
    /// RTO: the first segment is repeated.
    Timeout,
    /// PTO: a probe makes the peer tell of a lost tail.
    LossProbe,
    /// What was overtaken is taken for lost.
    Reordering,
    /// The peer's window is asked for.
    WindowProbe,
}

/// A piece of the stream to send.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) seq: Seq,
    pub(super) payload: Option<Payload>,
    pub(super) flags: Flags,
    pub(super) attempt: u16,
}

/// Written bytes in one chunk, and the number of their first.
#[derive(Debug)]
struct Chunk {
    start: Seq,
    data: Payload,
}

impl Chunk {
    fn end(&self) -> Seq {
        self.start.plus(self.data.len() as u32)
    }
}

/// The send sequence space (RFC 9293 §3.3.1) and the bytes in it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Sender {
    // What every segment needs comes first.
    /// SND.UNA: the oldest unacknowledged number.
    pub(crate) una: Seq,
    /// SND.NXT: the next to send.
    pub(crate) nxt: Seq,
    /// What is not acknowledged, in order.
    queue: Queue<Chunk>,
    /// The number after the last byte written.
    tail: Seq,
    /// The most data bytes that a segment of the path carries.
    pub(crate) mss: u32,
    /// SND.WND, in bytes.
    pub(crate) wnd: u32,
    /// SND.WL1 and SND.WL2: the segment that set the window last.
    wl1: Seq,
    wl2: Seq,
    /// The largest window that the peer has offered.
    pub(super) wnd_max: u32,
    pub(crate) end: End,
    pub(super) alarm: Alarm,
    /// How often RTO is doubled.
    pub(super) backoff: u8,
    /// A write found no room, and its writer waits to hear of some.
    blocked: bool,
    /// The congestion window, not the peer or the application, held data back in the last round
    /// trip; how many segments were out in it at most; and where it ends.
    window_limited: bool,
    pub(super) sack: bool,
    pub(super) loss_probes: bool,
    nagle: bool,
    /// A loss probe is to be sent now.
    pub(super) probe_now: bool,
    /// ISS: the initial sequence number.
    pub(crate) iss: Seq,
    /// The number after the last small segment, for Nagle's algorithm (L-78).
    small_end: Seq,
    out_max: u32,
    round_end: Seq,
    pub(super) alarm_at: Time,
    /// When data was last sent.
    last_sent: Time,
    limit: BufferSize,
    /// The first chunk of the queue that is not sent whole, and how much of it is.
    next_chunk: usize,
    next_offset: usize,
    /// Only if something is missing, or was a moment ago.
    pub(super) trouble: Option<Box<Trouble>>,
    pub(super) flights: Flights,
    /// Bytes that the application wrote, that were sent, and that are acknowledged, each once.
    pub(super) written: u64,
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) congestion: Congestion,
    pub(super) rtt: Rtt,
    // What seldom matters.
    pub(super) reordering: Reordering,
    pub(super) counters: Counters,
}

impl Sender {
    /// Where what the oracle of streams looks at ends.
    pub(super) const CHECKED: usize = std::mem::offset_of!(Self, tail);

    pub(crate) fn new(iss: Seq, config: &Config) -> Self {
        let first = iss.plus(1);
        Self {
            iss,
            una: iss,
            nxt: first,
            wnd: 0,
            wl1: Seq(0),
            wl2: Seq(0),
            wnd_max: 0,
            mss: config.mss,
            queue: Queue::default(),
            tail: first,
            next_chunk: 0,
            next_offset: 0,
            limit: config.send_buffer,
            blocked: false,
            end: End::Open,
            flights: Flights::default(),
            congestion: Congestion::new(config.algorithm),
            rtt: Rtt::new(),
            alarm: Alarm::Off,
            alarm_at: Time::NEVER,
            backoff: 0,
            last_sent: Time::ZERO,
            window_limited: false,
            out_max: 0,
            round_end: iss,
            trouble: None,
            reordering: Reordering::default(),
            sack: config.sack,
            loss_probes: config.loss_probes,
            nagle: config.nagle,
            probe_now: false,
            small_end: iss,
            written: 0,
            sent: 0,
            acknowledged: 0,
            counters: Counters::default(),
        }
    }

    /// The peer has acknowledged the SYN, which was first sent at `opened_at`.
    pub(super) fn on_open(
        &mut self,
        opened_at: Time,
        retries: u8,
        timestamps: Option<Timestamps>,
        now: Time,
    ) {
        let echoed = |timestamps: Timestamps| {
            u64::from(millis(now).wrapping_sub(timestamps.echo).max(1)) * 1_000_000
        };
        let measured = || Some(between(opened_at, now));
        if let Some(rtt) = if retries == 0 { measured() } else { timestamps.map(echoed) } {
            self.rtt.sample(rtt, self.una, self.nxt);
        }
        // One lost SYN is bad luck, two are a sign (L-81).
        if retries > 1 {
            self.congestion.window = 1;
        }
    }

    // Writing.

    /// Asks for the memory of the first bytes that are not acknowledged.
    #[inline]
    pub(crate) fn prefetch_first(&self) {
        if let Some(chunk) = self.queue.front() {
            chunk.data.prefetch();
        }
    }

    /// Bytes that were written and are not acknowledged.
    #[inline]
    fn queued(&self) -> usize {
        // With the FIN acknowledged, SND.UNA is one beyond the tail.
        (self.tail.since(self.una) as i32).max(0) as usize
    }

    /// Takes a prefix of `data` and says how long it was. Zero means that there is no room.
    pub(crate) fn write(&mut self, data: &[u8], pool: &mut Pool) -> usize {
        debug_assert_eq!(self.end, End::Open);
        let mut rest = &data[..data.len().min(self.room())];
        let taken = rest.len();
        self.blocked |= taken < data.len();
        self.written += taken as u64;
        if self.next_chunk < self.queue.len()
            && let Some(last) = self.queue.back_mut()
        {
            let added = last.data.extend(rest);
            self.tail = self.tail.plus(added as u32);
            rest = &rest[added..];
        }
        while !rest.is_empty() {
            let data = pool.chunk(rest);
            rest = &rest[data.len()..];
            let start = self.tail;
            self.tail = start.plus(data.len() as u32);
            self.queue.push_back(Chunk { start, data });
        }
        taken
    }

    /// How many bytes a write would take at most.
    pub(crate) fn room(&self) -> usize {
        self.limit.now.saturating_sub(self.queued())
    }

    /// Bytes that were written and are not sent.
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        // With the FIN sent, SND.NXT is one beyond the tail.
        (self.tail.since(self.nxt) as i32).max(0) as usize
    }

    /// How much more the peer's window takes.
    #[inline]
    fn window_left(&self) -> usize {
        (self.una.plus(self.wnd).since(self.nxt) as i32).max(0) as usize
    }

    /// True if data, a FIN or a repetition waits to be sent.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.unsent() > 0
            || self.end == End::Queued
            || self.trouble.is_some() && (self.flights.lost > 0 || self.probe_now)
    }

    /// True if there is room to write, as readiness counts it: not more than two thirds of the
    /// limit are taken (L-42).
    pub(crate) fn is_writable(&self) -> bool {
        3 * self.queued() <= 2 * self.limit.now
    }

    /// True once after a writer found no room and there is some again.
    #[inline]
    pub(crate) fn take_unblocked(&mut self) -> bool {
        if !self.blocked {
            return false;
        }
        self.widen();
        let unblocked = self.is_writable();
        self.blocked &= !unblocked;
        unblocked
    }

    /// Room for two congestion windows: one is on its way while the next is written (L-41).
    fn widen(&mut self) {
        if self.limit.now < self.limit.max {
            let segments = 2 * self.congestion.window.max(super::congestion::INITIAL_WINDOW) + 1;
            let wanted = (segments as usize).saturating_mul(self.mss as usize);
            self.limit.now = wanted.clamp(self.limit.now, self.limit.max);
        }
    }

    pub(crate) fn set_limit(&mut self, limit: BufferSize) {
        self.limit = limit;
    }

    pub(super) fn set_nagle(&mut self, on: bool) {
        self.nagle = on;
    }

    // Acknowledgements.

    /// Takes the acknowledgement, window and SACK blocks of a segment (RFC 9293 §3.10.7.4).
    #[inline(always)]
    pub(super) fn on_ack(&mut self, segment: &Segment, now: Time, pool: &mut Pool) {
        let (ack, window) = (segment.ack, segment.window);
        let advances = self.una.before(ack);
        // With SACK, a duplicate acknowledgement says what is missing or nothing at all.
        let duplicate = !advances && !self.sack && self.flights.out > 0;
        if self.trouble.is_some() || segment.sacks.is_some() || duplicate {
            self.on_ack_in_trouble(segment, now, pool);
            return;
        }
        self.set_window(segment.seq, ack, window);
        if !advances {
            return;
        }
        let (mut first, mut last) = (Time::NEVER, Time::NEVER);
        let out = self.flights.out;
        self.flights.acknowledge(ack, self.mss, |flight| {
            last = flight.sent;
            first = first.min(last);
        });
        self.forget(ack, pool);
        self.una = ack;
        self.backoff = 0;
        if first != Time::NEVER {
            self.rtt.sample(between(first, now), ack, self.nxt);
            if self.is_window_limited() {
                let acked = out - self.flights.out;
                self.congestion.grow(acked, self.rtt.min(), now);
            }
        }
        if self.flights.out == 0 {
            (self.alarm, self.alarm_at) = (Alarm::Off, Time::NEVER);
        } else {
            self.set_alarm(now, true);
        }
    }

    /// Drops the bytes before `ack`, and notes the FIN if it is acknowledged.
    #[inline(always)]
    pub(super) fn forget(&mut self, ack: Seq, pool: &mut Pool) {
        self.acknowledged += u64::from(ack.min(self.tail).since(self.una));
        if self.end == End::Sent && ack == self.nxt {
            self.end = End::Acknowledged;
        }
        while let Some(chunk) = self.queue.front() {
            if ack.before(chunk.end()) {
                return;
            }
            let Some(chunk) = self.queue.pop_front() else { return };
            pool.put(chunk.data);
            self.next_chunk -= 1;
        }
    }

    /// Takes the window that a segment offers, unless a later one has set it (RFC 9293 §3.10.7.4).
    #[inline]
    pub(crate) fn set_window(&mut self, seq: Seq, ack: Seq, window: u32) {
        let newer = self.wl1.before(seq) || self.wl1 == seq && self.wl2.at_most(ack);
        if newer {
            (self.wnd, self.wl1, self.wl2) = (window, seq, ack);
            self.wnd_max = self.wnd_max.max(window);
            if self.alarm == Alarm::WindowProbe {
                self.on_probed_window();
            }
        }
    }

    /// The window of the segment that opened the connection.
    pub(crate) fn set_first_window(&mut self, seq: Seq, ack: Seq, window: u32) {
        (self.wnd, self.wnd_max, self.wl1, self.wl2) = (window, window, seq, ack);
    }

    /// True if it is the congestion window that holds the stream back: only then it grows.
    #[inline]
    pub(super) fn is_window_limited(&self) -> bool {
        self.window_limited
            || self.congestion.is_in_slow_start() && self.congestion.window < 2 * self.out_max
    }

    // Sending.

    /// The next data or FIN to send, of at most `size_max` bytes.
    ///
    /// A window smaller than a segment is left alone until it is half of the largest that the peer
    /// ever offered (RFC 9293 §3.8.6.2.1).
    #[inline(always)]
    pub(super) fn next(&mut self, size_max: usize, now: Time, pool: &mut Pool) -> Option<Cut> {
        let (window, unsent) = (self.window_left(), self.unsent());
        let mut payload = None;
        let seq = self.nxt;
        if unsent > 0 {
            if window < unsent.min(self.small()) {
                self.await_window(now);
                return None;
            }
            let in_flight = self.flights.in_flight();
            if self.flights.out == 0 && self.must_restart(now) {
                self.restart(now);
            }
            let mut segments = self.congestion.window.saturating_sub(in_flight);
            if segments == 0 {
                if !self.probe_now {
                    self.note_round(true);
                    return None;
                }
                segments = 1;
            }
            let size_max = size_max.min(segments as usize * self.mss as usize);
            let length = self.fit(unsent.min(window), unsent, size_max)?;
            payload = Some(self.take_unsent(length, pool));
        }
        let taken = self.nxt.since(seq) as usize;
        let fin = self.end == End::Queued && self.nxt == self.tail && window > taken;
        if fin {
            self.end = End::Sent;
            self.nxt = self.nxt.plus(1);
        } else if payload.is_none() {
            if self.end == End::Queued {
                self.await_window(now);
            }
            return None;
        }
        self.note_sent(seq, now);
        let flags = if fin { Flags::FIN } else { Flags::default() };
        Some(Cut { seq, payload, flags, attempt: 0 })
    }

    /// A message that fits into a segment, with nothing on its way: the step of a dialogue.
    #[inline(always)]
    pub(super) fn next_step(&mut self, now: Time) -> Option<Cut> {
        let unsent = self.unsent();
        let fits = unsent > 0
            && unsent <= self.mss as usize
            && unsent <= self.window_left()
            && self.una == self.nxt
            && self.end == End::Open;
        if !fits || self.must_restart(now) {
            return None;
        }
        let chunk = &self.queue[self.next_chunk];
        if chunk.data.len() - self.next_offset != unsent {
            return None;
        }
        let payload = chunk.data.part(self.next_offset, unsent);
        (self.next_chunk, self.next_offset) = (self.next_chunk + 1, 0);
        let seq = self.nxt;
        self.nxt = self.tail;
        self.small_end = self.tail;
        self.sent += unsent as u64;
        self.note_sent(seq, now);
        Some(Cut { seq, payload: Some(payload), flags: Flags::default(), attempt: 0 })
    }

    /// True if the pause before now is one that the congestion window takes note of.
    #[inline]
    fn must_restart(&self, now: Time) -> bool {
        between(self.last_sent, now) > self.rtt.timeout() || self.congestion.counts_pauses()
    }

    /// A window below this is not worth a segment.
    #[inline(always)]
    pub(super) fn small(&self) -> usize {
        self.mss.min(self.wnd_max / 2).max(1) as usize
    }

    /// How much of `most` goes into the next segment, `unsent` being all there is.
    #[inline(always)]
    fn fit(&self, most: usize, unsent: usize, size_max: usize) -> Option<usize> {
        let mss = self.mss as usize;
        let chunk = &self.queue[self.next_chunk];
        let in_chunk = chunk.data.len() - self.next_offset;
        let mut length = in_chunk.min(most).min(size_max);
        if length < mss && length == in_chunk && length < most && mss <= LARGE {
            length = mss.min(most).min(size_max);
        }
        if length > mss && length < unsent {
            length -= length % mss;
        }
        // Minshall's variant of Nagle's algorithm (L-77, L-78).
        if self.nagle && length < mss && self.end == End::Open && self.is_small_out() {
            return None;
        }
        Some(length)
    }

    /// True if a small segment is not acknowledged. The last may be so long ago that its number lies
    /// ahead again (as in Linux's `tcp_minshall_check`).
    #[inline(always)]
    fn is_small_out(&self) -> bool {
        self.una.before(self.small_end) && self.small_end.at_most(self.nxt)
    }

    /// The next `length` unsent bytes, as one payload.
    #[inline(always)]
    fn take_unsent(&mut self, length: usize, pool: &mut Pool) -> Payload {
        let chunk = &self.queue[self.next_chunk];
        let (in_chunk, start) = (chunk.data.len() - self.next_offset, self.nxt);
        self.nxt = start.plus(length as u32);
        self.sent += length as u64;
        if length < self.mss as usize {
            self.small_end = self.nxt;
        }
        if length > in_chunk {
            return self.gather(start, length, pool);
        }
        let payload = chunk.data.part(self.next_offset, length);
        self.next_offset += length;
        if length == in_chunk {
            (self.next_chunk, self.next_offset) = (self.next_chunk + 1, 0);
        }
        payload
    }

    /// A segment that spans chunks is copied together, and the place of the next byte found anew.
    #[cold]
    fn gather(&mut self, start: Seq, length: usize, pool: &mut Pool) -> Payload {
        let payload = self.copy(start, length, pool);
        self.next_chunk = self.queue.partition_point(|chunk| chunk.end().at_most(self.nxt));
        let into = |chunk: &Chunk| self.nxt.since(chunk.start) as usize;
        self.next_offset = self.queue.get(self.next_chunk).map_or(0, into);
        payload
    }

    /// `length` queued bytes from `start` on.
    pub(super) fn copy(&self, start: Seq, length: usize, pool: &mut Pool) -> Payload {
        let first = self.queue.partition_point(|chunk| chunk.end().at_most(start));
        let chunk = &self.queue[first];
        let offset = start.since(chunk.start) as usize;
        if offset + length <= chunk.data.len() {
            return chunk.data.part(offset, length);
        }
        let mut left = length;
        let offsets = std::iter::once(offset).chain(std::iter::repeat(0));
        let parts = self.queue.from(first).zip(offsets).map_while(|(chunk, offset)| {
            let bytes = &chunk.data.bytes()[offset..];
            let part = &bytes[..bytes.len().min(left)];
            left -= part.len();
            (!part.is_empty()).then_some(part)
        });
        pool.join(length, parts)
    }

    /// The number behind the last byte that was written.
    pub(super) fn written_to(&self) -> Seq {
        self.tail
    }

    /// True if `bytes` are a part of the first chunk itself, from number `at` on.
    #[inline]
    pub(super) fn begins_with(&self, at: Seq, bytes: &Payload) -> bool {
        let first = self.queue.front();
        first.is_some_and(|chunk| bytes.is_part_of(&chunk.data, at.since(chunk.start)))
    }

    /// Where `bytes` from number `at` on are others than the queue has, counted from `at`; bytes that
    /// were acknowledged, and so forgotten, are passed over.
    #[inline]
    pub(super) fn differs_from(&self, mut at: Seq, mut bytes: &[u8]) -> Option<usize> {
        let whole = bytes.len();
        let forgotten = (self.una.since(at) as i32).clamp(0, whole as i32) as usize;
        (at, bytes) = (at.plus(forgotten as u32), &bytes[forgotten..]);
        let first = self.queue.partition_point(|chunk| chunk.end().at_most(at));
        for chunk in self.queue.from(first) {
            if bytes.is_empty() {
                return None;
            }
            let written = &chunk.data.bytes()[at.since(chunk.start) as usize..];
            let length = written.len().min(bytes.len());
            let (same, rest) = bytes.split_at(length);
            if *same != written[..length] {
                let equal = same.iter().zip(written).take_while(|(a, b)| a == b).count();
                return Some(whole - bytes.len() + equal);
            }
            (at, bytes) = (at.plus(length as u32), rest);
        }
        (!bytes.is_empty()).then(|| whole - bytes.len())
    }

    /// Of the numbers from `start` to `end`, how many are data; the FIN is none.
    pub(super) fn data_in(&self, start: Seq, end: Seq) -> usize {
        end.min(self.tail).since(start) as usize
    }

    /// The numbers from `seq` on to SND.NXT were sent.
    #[inline(always)]
    fn note_sent(&mut self, seq: Seq, now: Time) {
        self.flights.push(Flight::new(seq, self.nxt, self.mss, now));
        self.last_sent = now;
        self.note_round(false);
        if let Some(trouble) = &mut self.trouble {
            trouble.sent += 1;
        }
        if self.backoff == 0
            && self.loss_probes
            && self.trouble.is_none()
            && self.flights.len() == 1
        {
            // The usual case of what `set_alarm` does.
            let wait = self.rtt.probe_timeout(self.flights.out == 1).min(self.rtt.timeout());
            (self.alarm, self.alarm_at) = (Alarm::LossProbe, after(now, wait));
        } else if !matches!(self.alarm, Alarm::Timeout | Alarm::Reordering) {
            self.set_alarm(now, false);
        }
    }

    /// Remembers what held back the stream in a round trip.
    #[inline(always)]
    fn note_round(&mut self, limited: bool) {
        let out = self.flights.out;
        let is_over = !self.una.before(self.round_end);
        if is_over || limited || !self.window_limited && out > self.out_max {
            (self.window_limited, self.out_max, self.round_end) = (limited, out, self.nxt);
        }
    }

    /// Data goes out again after a pause.
    #[cold]
    fn restart(&mut self, now: Time) {
        if self.last_sent != Time::ZERO {
            self.congestion.on_restart(between(self.last_sent, now), self.rtt.timeout());
        }
    }

    // The timer.

    /// Sets the timer for what is on its way: for a loss probe where one may help, else for the
    /// retransmission timeout. `anew` if the peer has just acknowledged something.
    #[inline]
    pub(super) fn set_alarm(&mut self, now: Time, anew: bool) {
        if self.flights.out == 0 {
            (self.alarm, self.alarm_at) = (Alarm::Off, Time::NEVER);
            return;
        }
        let timeout = after(now, self.rtt.backed_off(self.backoff));
        if !self.may_probe() {
            (self.alarm, self.alarm_at) = (Alarm::Timeout, timeout);
            return;
        }
        let mut latest = timeout;
        if !anew && let Some(first) = self.flights.first() {
            latest = after(first.sent, self.rtt.backed_off(self.backoff)).max(now);
        }
        let probe = after(now, self.rtt.probe_timeout(self.flights.out == 1));
        (self.alarm, self.alarm_at) = (Alarm::LossProbe, probe.min(latest));
    }

    #[inline]
    fn may_probe(&self) -> bool {
        self.loss_probes && self.trouble.as_ref().is_none_or(|trouble| trouble.may_probe())
    }

    /// Bytes of memory beyond its own.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let trouble = if self.trouble.is_some() { size_of::<Trouble>() } else { 0 };
        self.queue.held() + self.flights.held() + trouble
    }

    /// Forgets what was written: the connection is gone.
    pub(crate) fn discard(&mut self, pool: &mut Pool) {
        self.queue.drain().for_each(|chunk| pool.put(chunk.data));
        self.flights.clear();
        (self.next_chunk, self.next_offset) = (0, 0);
        (self.tail, self.end) = (self.nxt, End::Acknowledged);
        (self.alarm, self.alarm_at) = (Alarm::Off, Time::NEVER);
        (self.trouble, self.probe_now) = (None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_nanos(5);

    fn established(window: u32, limit: usize) -> (Sender, Pool) {
        let send_buffer = BufferSize::fixed(limit);
        let config = Config { send_buffer, ..Config::new(100) };
        let mut sender = Sender::new(Seq(u32::MAX - 10), &config);
        sender.una = sender.nxt;
        sender.set_first_window(Seq(1), sender.una, window);
        (sender, Pool::default())
    }

    fn acknowledge(sender: &mut Sender, bytes: u32, pool: &mut Pool) {
        let ack = sender.una.plus(bytes);
        let wnd = sender.wnd;
        sender.on_ack(&Segment::bare(Seq(1), ack, wnd, Flags::ACK), NOW, pool);
    }

    fn next(sender: &mut Sender, pool: &mut Pool) -> Option<Cut> {
        sender.next(1_000, NOW, pool)
    }

    #[test]
    fn a_write_takes_what_fits_and_room_is_told_at_two_thirds() {
        let (mut sender, mut pool) = established(1_000, 300);
        assert_eq!(sender.write(&[7; 500], &mut pool), 300);
        assert_eq!(sender.write(&[7], &mut pool), 0);
        assert_eq!(next(&mut sender, &mut pool).unwrap().payload.unwrap().len(), 300);
        acknowledge(&mut sender, 99, &mut pool);
        assert!(!sender.take_unblocked());
        acknowledge(&mut sender, 1, &mut pool);
        assert!(sender.take_unblocked());
        assert!(!sender.take_unblocked());
    }

    #[test]
    fn a_window_below_a_segment_is_left_alone() {
        let (mut sender, mut pool) = established(250, 1_000);
        sender.write(&[1; 600], &mut pool);
        assert_eq!(next(&mut sender, &mut pool).unwrap().payload.unwrap().len(), 200);
        assert!(next(&mut sender, &mut pool).is_none());
        acknowledge(&mut sender, 150, &mut pool);
        assert_eq!(next(&mut sender, &mut pool).unwrap().payload.unwrap().len(), 200);
    }

    #[test]
    fn fin_rides_on_the_last_data_and_counts_one() {
        let (mut sender, mut pool) = established(250, 1_000);
        sender.write(&[1; 50], &mut pool);
        sender.end = End::Queued;
        let cut = next(&mut sender, &mut pool).unwrap();
        assert!(cut.payload.unwrap().len() == 50 && cut.flags.has(Flags::FIN));
        acknowledge(&mut sender, 51, &mut pool);
        assert_eq!(sender.end, End::Acknowledged);
        assert!(sender.queue.len() == 0 && sender.flights.out == 0);
    }

    #[test]
    fn fin_waits_for_a_window() {
        let (mut sender, mut pool) = established(50, 1_000);
        sender.write(&[1; 50], &mut pool);
        sender.end = End::Queued;
        assert_eq!(next(&mut sender, &mut pool).unwrap().flags, Flags::default());
        assert!(next(&mut sender, &mut pool).is_none());
        acknowledge(&mut sender, 50, &mut pool);
        assert_eq!(next(&mut sender, &mut pool).unwrap().flags, Flags::FIN);
    }

    /// L-78: only a small segment that is not acknowledged holds back another, however long ago the
    /// last one was: by 2 GiB its number has come to lie ahead.
    #[test]
    fn a_small_segment_long_acknowledged_holds_back_nothing() {
        for behind in [1, (1 << 31) - 1, 1 << 31, 3 << 30, u32::MAX - 200] {
            let (mut sender, mut pool) = established(10_000, 10_000);
            sender.set_nagle(true);
            sender.write(&[1; 50], &mut pool);
            assert_eq!(next(&mut sender, &mut pool).unwrap().payload.unwrap().len(), 50);
            sender.write(&[1; 50], &mut pool);
            assert!(next(&mut sender, &mut pool).is_none(), "one is on its way");
            acknowledge(&mut sender, 50, &mut pool);
            assert!(next(&mut sender, &mut pool).is_some());
            acknowledge(&mut sender, 50, &mut pool);
            // As if so much more had gone in full segments.
            let at = sender.nxt.plus(behind);
            (sender.una, sender.nxt, sender.tail) = (at, at, at);
            for size in [100, 50] {
                sender.write(&vec![1; size], &mut pool);
                let cut = next(&mut sender, &mut pool);
                assert_eq!(cut.unwrap().payload.unwrap().len(), size, "{behind} behind");
            }
            sender.write(&[1; 50], &mut pool);
            assert!(next(&mut sender, &mut pool).is_none(), "one is on its way again");
        }
    }

    #[test]
    fn a_segment_is_filled_across_chunks() {
        let (mut sender, mut pool) = established(10_000, 10_000);
        sender.congestion.window = 1;
        sender.write(&[1; 150], &mut pool);
        let out = next(&mut sender, &mut pool).unwrap().payload.unwrap();
        assert_eq!(out.len(), 100);
        // The chunk is shared with what is on its way, so this begins another.
        sender.write(&[2; 120], &mut pool);
        assert_eq!(sender.queue.len(), 2);
        for (ack, expected) in [(100, [[1; 50], [2; 50]].concat()), (100, vec![2; 70])] {
            acknowledge(&mut sender, ack, &mut pool);
            sender.congestion.window = 1;
            assert_eq!(next(&mut sender, &mut pool).unwrap().payload.unwrap().bytes(), expected);
        }
    }
}
