//! The sender.

use std::collections::VecDeque;
use std::time::Duration;

use sim_core::Time;

use super::frame::Frame;
use super::{Bug, PAYLOAD_BYTES, ROOM, WINDOW};

/// How long the timer runs first; each next time twice as long, up to so many times.
const TIMEOUT: Duration = Duration::from_millis(100);
const DOUBLINGS_MAX: u32 = 4;

/// Sends a body. It is told the time, what came, and when its timer ran out; what it sends goes to
/// `send`.
#[derive(Debug)]
pub struct Sender {
    unsent: VecDeque<Frame>,
    /// What was sent and not acknowledged, from the number `oldest` on.
    flight: VecDeque<Frame>,
    oldest: u32,
    /// The first number that the receiver has no room for, as far as is known.
    limit: u32,
    timer: Option<Time>,
    /// How often the timer ran out since something new was acknowledged.
    timeouts: u32,
    bug: Option<Bug>,
}

impl Sender {
    /// A sender of `body`, to a receiver that has read nothing yet.
    pub fn new(body: &[u8], bug: Option<Bug>) -> Self {
        let count = body.len() / PAYLOAD_BYTES + 1;
        let frame = |index: usize| {
            let from = index * PAYLOAD_BYTES;
            let payload = body[from..body.len().min(from + PAYLOAD_BYTES)].to_vec();
            Frame::Data { number: index as u32, is_last: index + 1 == count, payload }
        };
        Self {
            unsent: (0..count).map(frame).collect(),
            flight: VecDeque::new(),
            oldest: 0,
            limit: ROOM,
            timer: None,
            timeouts: 0,
            bug,
        }
    }

    /// True when all is acknowledged.
    pub fn is_done(&self) -> bool {
        self.unsent.is_empty() && self.flight.is_empty()
    }

    /// When [`flush`](Self::flush) has something to do although nothing came; `None` if never.
    pub fn deadline(&self) -> Option<Time> {
        self.timer
    }

    /// A datagram came.
    pub fn receive(&mut self, now: Time, datagram: &[u8]) {
        let Some(Frame::Ack { next, limit }) = Frame::decode(datagram) else { return };
        if next < self.oldest || next > self.oldest + self.flight.len() as u32 {
            return;
        }
        let is_more_room = limit > self.limit;
        self.limit = self.limit.max(limit);
        let acknowledged = match self.bug {
            Some(Bug::FullLooksEmpty) => (WINDOW + next % WINDOW - self.oldest % WINDOW) % WINDOW,
            _ => next - self.oldest,
        };
        self.flight.drain(..acknowledged as usize);
        self.oldest += acknowledged;
        if acknowledged > 0 || (is_more_room && self.flight.is_empty()) {
            self.timeouts = 0;
            self.timer = (!self.flight.is_empty()).then(|| now + TIMEOUT);
        } else if self.bug == Some(Bug::TimerTakenAway) {
            self.timer = None;
        }
    }

    /// Sends what is to be sent now, and sets the timer.
    pub fn flush(&mut self, now: Time, mut send: impl FnMut(&Frame)) {
        if self.timer.is_some_and(|at| at <= now) {
            send(self.flight.front().unwrap_or(&Frame::Probe));
            self.timeouts = (self.timeouts + 1).min(DOUBLINGS_MAX);
            self.timer = Some(now + TIMEOUT * (1 << self.timeouts));
        }
        while self.may_send()
            && let Some(frame) = self.unsent.pop_front()
        {
            send(&frame);
            self.flight.push_back(frame);
            self.timer.get_or_insert(now + TIMEOUT);
        }
        if self.flight.is_empty() && !self.unsent.is_empty() && self.bug != Some(Bug::NoProbe) {
            self.timer.get_or_insert(now + TIMEOUT);
        }
    }

    /// True while the window has a place, and the receiver room.
    fn may_send(&self) -> bool {
        let in_flight = self.flight.len() as u32;
        in_flight < WINDOW && self.oldest + in_flight < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the frames that are sent at a time, in milliseconds; `None` for a probe.
    fn sent(sender: &mut Sender, millis: u64) -> Vec<Option<u32>> {
        let mut numbers = Vec::new();
        sender.flush(Time::from_nanos(millis * 1_000_000), |frame| {
            numbers.push(match frame {
                Frame::Data { number, .. } => Some(*number),
                _ => None,
            });
        });
        numbers
    }

    fn ack(sender: &mut Sender, millis: u64, next: u32, limit: u32) {
        let now = Time::from_nanos(millis * 1_000_000);
        sender.receive(now, &Frame::Ack { next, limit }.encode());
    }

    fn sender(bug: Option<Bug>) -> Sender {
        Sender::new(&[7; 20 * PAYLOAD_BYTES - 1], bug)
    }

    #[test]
    fn a_window_is_on_its_way_and_the_oldest_is_repeated() {
        let mut sender = sender(None);
        assert_eq!(sent(&mut sender, 0), [0, 1, 2, 3].map(Some));
        ack(&mut sender, 2, 2, ROOM);
        assert_eq!(sent(&mut sender, 2), [4, 5].map(Some));
        ack(&mut sender, 3, 2, ROOM);
        assert_eq!(sent(&mut sender, 101), []);
        assert_eq!(sent(&mut sender, 102), [Some(2)]);
        assert_eq!(sent(&mut sender, 301), []);
        assert_eq!(sent(&mut sender, 302), [Some(2)]);
        ack(&mut sender, 303, 6, ROOM);
        assert_eq!(sent(&mut sender, 303), [6, 7].map(Some));
        // One that is old, and one of what was never sent.
        ack(&mut sender, 304, 3, ROOM);
        ack(&mut sender, 304, 9, ROOM);
        assert_eq!(sent(&mut sender, 403), [Some(6)]);
    }

    #[test]
    fn without_room_it_asks_again_and_again() {
        let mut sender = sender(None);
        sent(&mut sender, 0);
        ack(&mut sender, 1, 4, ROOM);
        sent(&mut sender, 1);
        ack(&mut sender, 2, 8, ROOM);
        assert_eq!(sent(&mut sender, 2), []);
        assert_eq!(sent(&mut sender, 102), [None]);
        ack(&mut sender, 103, 8, ROOM);
        assert_eq!(sent(&mut sender, 302), [None]);
        ack(&mut sender, 303, 8, ROOM + 1);
        assert_eq!(sent(&mut sender, 303), [Some(8)]);
        assert_eq!(sent(&mut sender, 403), [Some(8)]);
    }

    #[test]
    fn it_is_done_when_the_end_is_acknowledged() {
        let mut sender = Sender::new(b"", None);
        assert_eq!(sent(&mut sender, 0), [Some(0)]);
        assert!(!sender.is_done());
        ack(&mut sender, 1, 1, ROOM + 1);
        assert!(sender.is_done() && sender.deadline().is_none());
        assert_eq!(sent(&mut sender, 1), []);
    }
}
