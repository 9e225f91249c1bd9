//! The receiver.

use std::collections::BTreeMap;

use super::ROOM;
use super::frame::Frame;

/// Puts a body together again, for an application that reads when it likes.
#[derive(Debug, Default)]
pub struct Receiver {
    /// What came beyond a gap: the bytes, and whether they are the last ones.
    early: BTreeMap<u32, (Vec<u8>, bool)>,
    /// The first number that is missing.
    next: u32,
    /// What was not read.
    unread: Vec<u8>,
    /// The first number that was not read.
    read: u32,
    has_ended: bool,
}

impl Receiver {
    /// A datagram came: the answer to it, if there is to be one.
    pub fn receive(&mut self, datagram: &[u8]) -> Option<Frame> {
        match Frame::decode(datagram)? {
            Frame::Data { number, is_last, payload } => {
                if (self.next..self.read + ROOM).contains(&number) {
                    self.early.insert(number, (payload, is_last));
                }
                while let Some((payload, is_last)) = self.early.remove(&self.next) {
                    self.next += 1;
                    self.unread.extend(payload);
                    self.has_ended |= is_last;
                }
            }
            Frame::Probe => {}
            Frame::Ack { .. } => return None,
        }
        Some(self.ack())
    }

    /// The application reads all that there is: the bytes, and what is to be sent about it. If there
    /// was no room, the sender is told that there is.
    pub fn read(&mut self) -> (Vec<u8>, Option<Frame>) {
        let was_full = self.read + ROOM == self.next;
        self.read = self.next;
        (std::mem::take(&mut self.unread), was_full.then(|| self.ack()))
    }

    /// True when the end came, and everything before it.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn ack(&self) -> Frame {
        Frame::Ack { next: self.next, limit: self.read + ROOM }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(number: u32, is_last: bool) -> Vec<u8> {
        Frame::Data { number, is_last, payload: vec![number as u8] }.encode()
    }

    #[test]
    fn frames_are_put_in_order_and_taken_once() {
        let mut receiver = Receiver::default();
        let mut took = |number| receiver.receive(&data(number, number == 3));
        let ack = |next| Some(Frame::Ack { next, limit: ROOM });
        assert_eq!([2, 0, 0, 3, ROOM].map(&mut took), [0, 1, 1, 1, 1].map(ack));
        assert_eq!((took(1), receiver.has_ended()), (ack(4), true));
        assert_eq!(receiver.read(), (vec![0, 1, 2, 3], None));
        assert_eq!(receiver.receive(b"p"), Some(Frame::Ack { next: 4, limit: 4 + ROOM }));
        assert_eq!(receiver.receive(&Frame::Ack { next: 0, limit: 0 }.encode()), None);
    }

    #[test]
    fn room_is_told_of_when_there_was_none() {
        let mut receiver = Receiver::default();
        for number in 0..=ROOM {
            receiver.receive(&data(number, false));
        }
        let (bytes, update) = receiver.read();
        assert_eq!(bytes.len() as u32, ROOM);
        assert_eq!(update, Some(Frame::Ack { next: ROOM, limit: 2 * ROOM }));
        assert_eq!(receiver.read(), (vec![], None));
    }
}
