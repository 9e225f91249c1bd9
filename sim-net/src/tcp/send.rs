//! The sending half of a connection: what was written, what of it is sent, what is acknowledged.

use std::collections::VecDeque;

use super::segment::{Flags, Seq};
use crate::buffer::{Payload, Pool};

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

/// The send sequence space (RFC 9293 §3.3.1) and the bytes in it.
#[derive(Debug)]
pub(crate) struct Sender {
    /// ISS: the initial sequence number.
    pub(crate) iss: Seq,
    /// SND.UNA: the oldest unacknowledged number.
    pub(crate) una: Seq,
    /// SND.NXT: the next to send.
    pub(crate) nxt: Seq,
    /// SND.WND, in bytes.
    pub(crate) wnd: u32,
    /// SND.WL1 and SND.WL2: the segment that set the window last.
    wl1: Seq,
    wl2: Seq,
    /// The largest window that the peer has offered.
    wnd_max: u32,
    /// The most data bytes that a segment of the path carries.
    pub(crate) mss: u32,
    /// What is not acknowledged, in order.
    queue: VecDeque<Payload>,
    /// Bytes in the queue.
    queued: usize,
    /// The first chunk of the queue that is not sent whole, and how much of it is.
    next_chunk: usize,
    next_offset: usize,
    /// Bytes of the queue that are sent.
    sent: usize,
    limit: usize,
    /// A write found no room, and its writer waits to hear of some.
    blocked: bool,
    pub(crate) end: End,
}

impl Sender {
    pub(crate) fn new(iss: Seq, mss: u32, limit: usize) -> Self {
        Self {
            iss,
            una: iss,
            nxt: iss,
            wnd: 0,
            wl1: Seq(0),
            wl2: Seq(0),
            wnd_max: 0,
            mss,
            queue: VecDeque::new(),
            queued: 0,
            next_chunk: 0,
            next_offset: 0,
            sent: 0,
            limit,
            blocked: false,
            end: End::Open,
        }
    }

    /// Takes a prefix of `data` and says how long it was. Zero means that there is no room.
    pub(crate) fn write(&mut self, data: &[u8], pool: &mut Pool) -> usize {
        debug_assert_eq!(self.end, End::Open);
        let room = self.limit.saturating_sub(self.queued);
        let mut rest = &data[..data.len().min(room)];
        let taken = rest.len();
        self.blocked |= taken < data.len();
        if self.next_chunk < self.queue.len()
            && let Some(last) = self.queue.back_mut()
        {
            rest = &rest[last.extend(rest)..];
        }
        while !rest.is_empty() {
            let chunk = pool.chunk(rest);
            rest = &rest[chunk.len()..];
            self.queue.push_back(chunk);
        }
        self.queued += taken;
        taken
    }

    /// Bytes that were written and are not sent.
    fn unsent(&self) -> usize {
        self.queued - self.sent
    }

    /// True if data or a FIN waits to be sent.
    pub(crate) fn is_pending(&self) -> bool {
        self.unsent() > 0 || self.end == End::Queued
    }

    /// True if there is room to write, as readiness counts it: not more than two thirds of the
    /// limit are taken (L-42).
    pub(crate) fn is_writable(&self) -> bool {
        3 * self.queued <= 2 * self.limit
    }

    /// True once after a writer found no room and there is some again.
    pub(crate) fn take_unblocked(&mut self) -> bool {
        let unblocked = self.blocked && self.is_writable();
        self.blocked &= !unblocked;
        unblocked
    }

    /// Takes in the acknowledgement of everything before `ack`, which is neither before SND.UNA nor
    /// beyond SND.NXT.
    pub(crate) fn acknowledge(&mut self, ack: Seq, pool: &mut Pool) {
        debug_assert!(self.una.at_most(ack) && ack.at_most(self.nxt));
        let mut bytes = ack.since(self.una) as usize;
        self.una = ack;
        if bytes > self.sent {
            // One number more than there is data: the FIN.
            bytes -= 1;
            self.end = End::Acknowledged;
        }
        self.sent -= bytes;
        self.queued -= bytes;
        while bytes > 0 {
            let first = self.queue.front_mut().expect("what is acknowledged was queued");
            if bytes < first.len() {
                first.advance(bytes);
                if self.next_chunk == 0 {
                    self.next_offset -= bytes;
                }
                return;
            }
            bytes -= first.len();
            pool.put(self.queue.pop_front().expect("it has a first"));
            if self.next_chunk == 0 {
                self.next_offset = 0;
            } else {
                self.next_chunk -= 1;
            }
        }
    }

    /// Takes the window that a segment offers, unless a later one has set it (RFC 9293 §3.10.7.4).
    pub(crate) fn set_window(&mut self, seq: Seq, ack: Seq, window: u32) {
        let newer = self.wl1.before(seq) || self.wl1 == seq && self.wl2.at_most(ack);
        if newer {
            (self.wnd, self.wl1, self.wl2) = (window, seq, ack);
            self.wnd_max = self.wnd_max.max(window);
        }
    }

    /// The window of the segment that opened the connection.
    pub(crate) fn set_first_window(&mut self, seq: Seq, ack: Seq, window: u32) {
        (self.wnd, self.wnd_max, self.wl1, self.wl2) = (window, window, seq, ack);
    }

    /// The next data or FIN to send, of at most `size_max` bytes: sequence number, data, FIN.
    ///
    /// Nagle's algorithm is off. A window smaller than a segment is left alone until it is half of
    /// the largest that the peer ever offered (RFC 9293 §3.8.6.2.1).
    #[inline(always)]
    pub(crate) fn next(&mut self, size_max: usize) -> Option<(Seq, Option<Payload>, Flags)> {
        let window = (self.una.plus(self.wnd).since(self.nxt) as i32).max(0) as usize;
        let unsent = self.unsent();
        let mut payload = None;
        let seq = self.nxt;
        if unsent > 0 {
            let small = self.mss.min(self.wnd_max / 2).max(1) as usize;
            if window < unsent.min(small) {
                return None;
            }
            let chunk = &self.queue[self.next_chunk];
            let mut length = (chunk.len() - self.next_offset).min(window).min(size_max);
            if length > self.mss as usize && length < unsent {
                length -= length % self.mss as usize;
            }
            payload = Some(chunk.part(self.next_offset, length));
            self.next_offset += length;
            if self.next_offset == chunk.len() {
                (self.next_chunk, self.next_offset) = (self.next_chunk + 1, 0);
            }
            self.sent += length;
            self.nxt = self.nxt.plus(length as u32);
        }
        let taken = self.nxt.since(seq) as usize;
        let fin = self.end == End::Queued && self.unsent() == 0 && window > taken;
        if fin {
            self.end = End::Sent;
            self.nxt = self.nxt.plus(1);
        }
        let flags = if fin { Flags::FIN } else { Flags::default() };
        (fin || payload.is_some()).then_some((seq, payload, flags))
    }

    /// Forgets what was written: the connection is gone.
    pub(crate) fn discard(&mut self, pool: &mut Pool) {
        self.queue.drain(..).for_each(|payload| pool.put(payload));
        (self.queued, self.sent, self.next_chunk, self.next_offset) = (0, 0, 0, 0);
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn established(window: u32, limit: usize) -> (Sender, Pool) {
        let mut sender = Sender::new(Seq(u32::MAX - 10), 100, limit);
        sender.nxt = sender.iss.plus(1);
        sender.una = sender.nxt;
        sender.set_first_window(Seq(1), sender.una, window);
        (sender, Pool::default())
    }

    #[test]
    fn a_write_takes_what_fits_and_room_is_told_at_two_thirds() {
        let (mut sender, mut pool) = established(1_000, 300);
        assert_eq!(sender.write(&[7; 500], &mut pool), 300);
        assert_eq!(sender.write(&[7], &mut pool), 0);
        let (_, payload, _) = sender.next(1_000).unwrap();
        assert_eq!(payload.unwrap().len(), 300);
        sender.acknowledge(sender.una.plus(99), &mut pool);
        assert!(!sender.take_unblocked());
        sender.acknowledge(sender.una.plus(1), &mut pool);
        assert!(sender.take_unblocked());
        assert!(!sender.take_unblocked());
    }

    #[test]
    fn a_window_below_a_segment_is_left_alone() {
        let (mut sender, mut pool) = established(250, 1_000);
        sender.write(&[1; 600], &mut pool);
        assert_eq!(sender.next(1_000).unwrap().1.unwrap().len(), 200);
        assert!(sender.next(1_000).is_none());
        sender.acknowledge(sender.una.plus(150), &mut pool);
        assert_eq!(sender.next(1_000).unwrap().1.unwrap().len(), 200);
    }

    #[test]
    fn fin_rides_on_the_last_data_and_counts_one() {
        let (mut sender, mut pool) = established(250, 1_000);
        sender.write(&[1; 50], &mut pool);
        sender.end = End::Queued;
        let (_, payload, flags) = sender.next(1_000).unwrap();
        assert!(payload.unwrap().len() == 50 && flags.has(Flags::FIN));
        sender.acknowledge(sender.nxt, &mut pool);
        assert_eq!(sender.end, End::Acknowledged);
        assert!(sender.queue.is_empty());
    }

    #[test]
    fn fin_waits_for_a_window() {
        let (mut sender, mut pool) = established(50, 1_000);
        sender.write(&[1; 50], &mut pool);
        sender.end = End::Queued;
        assert_eq!(sender.next(1_000).unwrap().2, Flags::default());
        assert!(sender.next(1_000).is_none());
        sender.acknowledge(sender.nxt, &mut pool);
        assert_eq!(sender.next(1_000).unwrap().2, Flags::FIN);
    }
}
