//! The receiving half of a connection: what has arrived, what the peer may still send, and when it
//! is told.

use std::collections::VecDeque;
use std::time::Duration;

use sim_core::Time;

use super::segment::Seq;
use crate::buffer::{Payload, Pool};

/// The most that an acknowledgement is delayed (RFC 9293 §3.8.6.3; L-70).
const ACK_DELAY: Duration = Duration::from_millis(40);
/// How many segments of a new connection are acknowledged at once (L-70).
const QUICK_ACKS: u8 = 16;
/// The scale of every advertised window (RFC 7323 §2; L-02).
pub(crate) const WINDOW_SCALE: u32 = 7;
/// The largest window that a SYN can offer: its field is not scaled.
const SYN_WINDOW_MAX: u32 = 65_160;

/// The receive sequence space (RFC 9293 §3.3.1) and the bytes in it.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// RCV.NXT: the next number expected.
    pub(crate) nxt: Seq,
    /// RCV.NXT + RCV.WND as last advertised: the peer sends nothing from here on.
    edge: Seq,
    /// What has arrived and is not read.
    queue: VecDeque<Payload>,
    queued: usize,
    limit: usize,
    mss: u32,
    /// The peer's FIN has arrived.
    pub(crate) ended: bool,
    /// An acknowledgement must go out now.
    ack_now: bool,
    /// When a delayed acknowledgement goes out at the latest; `NEVER` if none waits.
    ack_due: Time,
    /// Bytes that arrived since the last acknowledgement.
    unacknowledged: u32,
    quick_acks: u8,
    /// The application answers what it gets: acknowledgements ride on its answers (L-74).
    answering: bool,
    last_arrival: Time,
    /// Something arrived since this end last sent data.
    heard: bool,
}

impl Receiver {
    pub(crate) fn new(mss: u32, limit: usize) -> Self {
        Self {
            nxt: Seq(0),
            edge: Seq(0),
            queue: VecDeque::new(),
            queued: 0,
            limit,
            mss,
            ended: false,
            ack_now: false,
            ack_due: Time::NEVER,
            unacknowledged: 0,
            quick_acks: QUICK_ACKS,
            answering: false,
            last_arrival: Time::ZERO,
            heard: false,
        }
    }

    /// Begins at the number after the peer's SYN.
    pub(crate) fn begin(&mut self, irs: Seq) {
        self.nxt = irs.plus(1);
        self.edge = self.nxt.plus(self.syn_window());
    }

    /// The window that a SYN of this end offers.
    pub(crate) fn syn_window(&self) -> u32 {
        SYN_WINDOW_MAX.min(self.limit as u32)
    }

    /// RCV.WND: what the peer may still send, as it was last told.
    pub(crate) fn window(&self) -> u32 {
        self.edge.since(self.nxt)
    }

    pub(crate) fn available(&self) -> usize {
        self.queued
    }

    /// Takes data at RCV.NXT, within the window.
    pub(crate) fn accept(&mut self, payload: Payload, now: Time) {
        let length = payload.len() as u32;
        debug_assert!(length <= self.window());
        self.nxt = self.nxt.plus(length);
        self.queued += length as usize;
        self.queue.push_back(payload);
        self.unacknowledged += length;
        self.last_arrival = now;
        self.heard = true;
        let quick = !self.answering && self.quick_acks > 0;
        self.quick_acks = self.quick_acks.saturating_sub(1);
        if quick || self.unacknowledged >= 2 * self.mss {
            self.ack_now = true;
        } else if self.ack_due == Time::NEVER {
            self.ack_due = now + ACK_DELAY;
        }
    }

    /// Takes the end of the stream.
    pub(crate) fn accept_end(&mut self) {
        self.nxt = self.nxt.plus(1);
        self.ended = true;
        self.ack_now = true;
    }

    /// Reads at most `buf.len()` bytes, and says how many.
    pub(crate) fn read(&mut self, buf: &mut [u8], pool: &mut Pool) -> usize {
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
        if read > 0 && !self.ended {
            self.after_read();
        }
        read
    }

    /// A read may open the window far enough to say so (L-43), and acknowledges a one-way stream
    /// (L-71).
    fn after_read(&mut self) {
        let window = self.window();
        let update = 2 * window as usize <= self.limit && {
            let wider = self.select_window();
            wider > 0 && wider >= 2 * window
        };
        let acknowledges = self.ack_due != Time::NEVER && !self.answering && self.queued == 0;
        self.ack_now |= update || acknowledges;
    }

    /// The window to advertise: free space, 0 when that is below a segment or a sixteenth of the
    /// buffer (silly-window avoidance; RFC 9293 §3.8.6.2.2, L-43), and never less than was promised.
    fn select_window(&self) -> u32 {
        let free = self.limit.saturating_sub(self.queued);
        let least = (self.limit / 16).max((self.mss as usize).min(self.limit));
        let offered = if free < least { 0 } else { free.next_multiple_of(1 << WINDOW_SCALE) };
        (offered as u32).max(self.window())
    }

    /// Fills in an acknowledgement that is about to go out: SEG.ACK and SEG.WND.
    pub(crate) fn acknowledge(&mut self) -> (Seq, u32) {
        let window = self.select_window();
        self.edge = self.nxt.plus(window);
        self.ack_now = false;
        self.ack_due = Time::NEVER;
        self.unacknowledged = 0;
        (self.nxt, window)
    }

    /// Data goes out at `now`: if it answers what arrived, acknowledgements wait for answers from
    /// now on.
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

    /// The connection is gone: there is nobody to acknowledge anything to.
    pub(crate) fn on_closed(&mut self) {
        self.ack_now = false;
        self.ack_due = Time::NEVER;
    }

    /// Forgets what was not read.
    pub(crate) fn discard(&mut self, pool: &mut Pool) {
        self.queue.drain(..).for_each(|payload| pool.put(payload));
        self.queued = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_448;

    fn receiver(limit: usize) -> (Receiver, Pool) {
        let mut receiver = Receiver::new(MSS, limit);
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
            read += receiver.read(&mut [0; 724], &mut pool);
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

    #[test]
    fn an_answer_carries_the_acknowledgement() {
        let (mut receiver, mut pool) = receiver(82_328);
        let now = Time::ZERO;
        receiver.accept(pool.copy(b"ping"), now);
        receiver.on_data_sent(now);
        receiver.acknowledge();
        receiver.accept(pool.copy(b"ping"), now);
        receiver.read(&mut [0; 8], &mut pool);
        assert!(!receiver.wants_ack(), "it waits for the answer");
        receiver.on_timer(receiver.ack_due());
        assert!(receiver.wants_ack());
    }
}
