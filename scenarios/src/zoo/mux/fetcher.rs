//! The client: bodies, and the credit to return.

use std::collections::BTreeMap;

use super::frame::{Decoder, Frame, FrameError, Kind};
use super::{Bug, CONNECTION_CREDIT, STREAM_CREDIT};

/// The client's side of a connection: it takes bytes, and has bytes to be sent.
#[derive(Debug)]
pub struct Fetcher {
    decoder: Decoder,
    streams: BTreeMap<u32, Receiving>,
    next_stream: u32,
    /// The bytes that were taken in and whose credit was not returned.
    unreturned: u32,
    output: Vec<u8>,
    bug: Option<Bug>,
}

/// A stream that is not at its end.
#[derive(Debug)]
struct Receiving {
    body: Vec<u8>,
    unreturned: u32,
}

/// What came of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A stream has ended with this body.
    Body(u32, Vec<u8>),
    /// Everything that the server sent before it got the last ping has come.
    Pong,
}

impl Fetcher {
    /// A connection with no streams yet.
    pub fn new(bug: Option<Bug>) -> Self {
        let (decoder, streams) = (Decoder::default(), BTreeMap::new());
        Self { decoder, streams, next_stream: 1, unreturned: 0, output: Vec::new(), bug }
    }

    /// Asks for the body under a key: the stream that it will come on.
    pub fn fetch(&mut self, key: u32) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.streams.insert(stream, Receiving { body: Vec::new(), unreturned: 0 });
        self.send(stream, Kind::Fetch(key));
        stream
    }

    /// Gives a stream up.
    pub fn reset(&mut self, stream: u32) {
        if self.streams.remove(&stream).is_some() {
            self.send(stream, Kind::Reset);
        }
    }

    /// Asks for a [`Event::Pong`].
    pub fn ping(&mut self) {
        self.send(0, Kind::Ping);
    }

    /// Returns what credit of the connection there is to return.
    pub fn return_credit(&mut self) {
        let bytes = std::mem::take(&mut self.unreturned);
        if bytes > 0 {
            self.send(0, Kind::Credit(bytes));
        }
    }

    /// Takes in bytes of the server.
    ///
    /// # Errors
    ///
    /// What is no frame.
    pub fn feed(&mut self, data: &[u8]) -> Result<Vec<Event>, FrameError> {
        self.decoder.feed(data);
        let mut events = Vec::new();
        while let Some(Frame { stream, kind }) = self.decoder.poll()? {
            match kind {
                Kind::Data { is_last, bytes } => {
                    events.extend(self.take(stream, is_last, &bytes));
                }
                Kind::Pong => events.push(Event::Pong),
                Kind::Fetch(_) | Kind::Reset | Kind::Credit(_) | Kind::Ping => {}
            }
        }
        Ok(events)
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes a part of a body.
    fn take(&mut self, stream: u32, is_last: bool, bytes: &[u8]) -> Option<Event> {
        let length = bytes.len() as u32;
        let mut ended = None;
        match self.streams.get_mut(&stream) {
            Some(receiving) => {
                receiving.body.extend(bytes);
                receiving.unreturned += length;
                let unreturned = receiving.unreturned;
                if is_last {
                    ended = self.streams.remove(&stream).map(|it| Event::Body(stream, it.body));
                } else if unreturned >= STREAM_CREDIT / 2 {
                    receiving.unreturned = 0;
                    self.send(stream, Kind::Credit(unreturned));
                }
            }
            // It was reset, and nobody will read this.
            None if self.bug == Some(Bug::KeepsCredit) => return None,
            None => {}
        }
        self.unreturned += length;
        if self.unreturned >= CONNECTION_CREDIT / 2 {
            self.return_credit();
        }
        ended
    }

    fn send(&mut self, stream: u32, kind: Kind) {
        Frame { stream, kind }.encode(&mut self.output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(stream: u32, bytes: usize, is_last: bool) -> Vec<u8> {
        let mut encoded = Vec::new();
        let kind = Kind::Data { is_last, bytes: vec![7; bytes] };
        Frame { stream, kind }.encode(&mut encoded);
        encoded
    }

    /// What the client sends.
    fn sent(fetcher: &mut Fetcher) -> Vec<(u32, Kind)> {
        let mut decoder = Decoder::default();
        decoder.feed(&fetcher.take_output());
        let frames = std::iter::from_fn(|| decoder.poll().unwrap());
        frames.map(|Frame { stream, kind }| (stream, kind)).collect()
    }

    #[test]
    fn credit_is_returned_when_half_of_it_is_used() {
        let mut fetcher = Fetcher::new(None);
        assert_eq!((fetcher.fetch(5), fetcher.fetch(6)), (1, 3));
        assert_eq!(sent(&mut fetcher), [(1, Kind::Fetch(5)), (3, Kind::Fetch(6))]);
        for stream in [1, 3, 1] {
            assert_eq!(fetcher.feed(&data(stream, 1_024, false)), Ok(vec![]));
        }
        assert_eq!(sent(&mut fetcher), [(1, Kind::Credit(2_048))]);
        let body = Event::Body(3, vec![7; 2_048]);
        assert_eq!(fetcher.feed(&data(3, 1_024, true)), Ok(vec![body]));
        assert_eq!(sent(&mut fetcher), [(0, Kind::Credit(4_096))]);
    }

    #[test]
    fn bytes_of_a_stream_that_was_reset_count_for_the_connection() {
        for (bug, credit) in
            [(None, Some((0, Kind::Credit(1_000)))), (Some(Bug::KeepsCredit), None)]
        {
            let mut fetcher = Fetcher::new(bug);
            let stream = fetcher.fetch(5);
            fetcher.reset(stream);
            fetcher.reset(stream);
            assert_eq!(sent(&mut fetcher), [(1, Kind::Fetch(5)), (1, Kind::Reset)]);
            assert_eq!(fetcher.feed(&data(1, 1_000, true)), Ok(vec![]));
            fetcher.return_credit();
            assert_eq!(sent(&mut fetcher).pop(), credit);
        }
    }
}
