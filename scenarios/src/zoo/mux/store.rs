//! The server: bodies, and the credit to send them.

use std::collections::BTreeMap;

use super::frame::{Decoder, Frame, FrameError, Kind, PAYLOAD_BYTES_MAX};
use super::{CONNECTION_CREDIT, STREAM_CREDIT, body_of};

/// The server's side of a connection: it takes bytes, and has bytes to be sent.
#[derive(Debug)]
pub struct Store {
    decoder: Decoder,
    /// How many bytes the connection may still carry.
    credit: u32,
    streams: BTreeMap<u32, Sending>,
    /// The stream that was served last.
    turn: u32,
    output: Vec<u8>,
}

/// A stream that is not at its end.
#[derive(Debug)]
struct Sending {
    body: Vec<u8>,
    sent: usize,
    credit: u32,
}

impl Store {
    /// A connection with no streams yet.
    pub fn new() -> Self {
        let (decoder, streams, output) = (Decoder::default(), BTreeMap::new(), Vec::new());
        Self { decoder, credit: CONNECTION_CREDIT, streams, turn: 0, output }
    }

    /// How many bytes the connection may still carry.
    pub fn credit(&self) -> u32 {
        self.credit
    }

    /// Takes in bytes of the client.
    ///
    /// # Errors
    ///
    /// What is no frame.
    pub fn feed(&mut self, data: &[u8]) -> Result<(), FrameError> {
        self.decoder.feed(data);
        while let Some(Frame { stream, kind }) = self.decoder.poll()? {
            match kind {
                Kind::Fetch(key) => {
                    let sending = Sending { body: body_of(key), sent: 0, credit: STREAM_CREDIT };
                    self.streams.insert(stream, sending);
                }
                Kind::Reset => _ = self.streams.remove(&stream),
                Kind::Credit(bytes) if stream == 0 => self.credit += bytes,
                Kind::Credit(bytes) => {
                    // One that has ended needs none.
                    if let Some(sending) = self.streams.get_mut(&stream) {
                        sending.credit += bytes;
                    }
                }
                Kind::Ping => Frame { stream: 0, kind: Kind::Pong }.encode(&mut self.output),
                Kind::Data { .. } | Kind::Pong => {}
            }
        }
        while self.send_next() {}
        Ok(())
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Sends a part of the next body in turn; false if nothing may be sent.
    fn send_next(&mut self) -> bool {
        let able = |(_, sending): &(&u32, &mut Sending)| sending.credit > 0;
        let after = self.turn + 1;
        let next = self.streams.range_mut(after..).find(able).map(|(stream, _)| *stream);
        let next = next.or_else(|| self.streams.iter_mut().find(able).map(|(stream, _)| *stream));
        let Some((stream, sending)) =
            next.filter(|_| self.credit > 0).and_then(|id| Some((id, self.streams.get_mut(&id)?)))
        else {
            return false;
        };
        let rest = &sending.body[sending.sent..];
        let most = sending.credit.min(self.credit) as usize;
        let bytes = rest[..rest.len().min(PAYLOAD_BYTES_MAX).min(most)].to_vec();
        self.credit -= bytes.len() as u32;
        sending.credit -= bytes.len() as u32;
        sending.sent += bytes.len();
        let is_last = sending.sent == sending.body.len();
        Frame { stream, kind: Kind::Data { is_last, bytes } }.encode(&mut self.output);
        if is_last {
            self.streams.remove(&stream);
        }
        self.turn = stream;
        true
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server sends when it gets these frames: stream, bytes, and whether they are the last.
    fn answers(store: &mut Store, frames: &[(u32, Kind)]) -> Vec<(u32, usize, bool)> {
        let mut bytes = Vec::new();
        for (stream, kind) in frames {
            Frame { stream: *stream, kind: kind.clone() }.encode(&mut bytes);
        }
        store.feed(&bytes).unwrap();
        let mut decoder = Decoder::default();
        decoder.feed(&store.take_output());
        let frames = std::iter::from_fn(|| decoder.poll().unwrap());
        let data = frames.filter_map(|frame| match frame.kind {
            Kind::Data { is_last, bytes } => Some((frame.stream, bytes.len(), is_last)),
            _ => None,
        });
        data.collect()
    }

    #[test]
    fn streams_take_turns_as_far_as_both_credits_go() {
        let mut store = Store::new();
        let fetch = [(1, Kind::Fetch(1)), (3, Kind::Fetch(2)), (5, Kind::Fetch(3))];
        let sent = answers(&mut store, &fetch);
        assert_eq!(sent, [1, 3, 5, 1, 3, 5, 1, 3].map(|stream| (stream, 1_024, false)));
        assert_eq!(store.credit(), 0);
        let sent = answers(&mut store, &[(3, Kind::Reset), (0, Kind::Credit(1_500))]);
        assert_eq!(sent, [(5, 1_024, false), (1, 476, false)]);
        assert_eq!(answers(&mut store, &[(7, Kind::Credit(9)), (1, Kind::Credit(9))]), []);
    }

    #[test]
    fn a_stream_without_credit_waits_and_the_last_part_says_so() {
        let mut store = Store::new();
        assert_eq!(answers(&mut store, &[(1, Kind::Fetch(1))]).len(), 4);
        let sent = answers(&mut store, &[(1, Kind::Credit(STREAM_CREDIT))]);
        assert_eq!(sent, [(1, 1_024, false), (1, 1_024, true)]);
        assert_eq!(store.credit(), CONNECTION_CREDIT - 6 * 1_024);
    }
}
