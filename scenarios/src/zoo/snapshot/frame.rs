//! What is sent: a letter, and numbers.

use std::io;

use super::ACCOUNTS;
use super::state::{Deposit, State};

/// What is sent, over either connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The client wants to hear of deposits.
    Subscribe,
    /// It does from now on.
    Subscribed,
    /// A deposit was made.
    Update(Deposit),
    /// The client wants the state.
    Ask,
    /// The state.
    Snapshot(State),
}

impl Frame {
    /// A letter, and numbers, big-endian: how many tells the letter.
    pub fn encode(&self) -> Vec<u8> {
        let with = |letter: u8, numbers: &[u64]| {
            let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
            std::iter::once(letter).chain(numbers).collect()
        };
        match self {
            Self::Subscribe => with(b's', &[]),
            Self::Subscribed => with(b'y', &[]),
            Self::Update(Deposit { number, account, amount }) => {
                with(b'u', &[*number, (*account).into(), *amount])
            }
            Self::Ask => with(b'a', &[]),
            Self::Snapshot(State { version, accounts: [a, b, c, d] }) => {
                with(b'n', &[*version, *a, *b, *c, *d])
            }
        }
    }
}

/// Frames from the bytes of a connection, cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Takes in the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// The next frame; `None` until all of it is there.
    ///
    /// # Errors
    ///
    /// Bytes that are none.
    pub fn poll(&mut self) -> io::Result<Option<Frame>> {
        let error = || io::Error::new(io::ErrorKind::InvalidData, "bytes that are no frame");
        let Some((letter, rest)) = self.bytes.split_first() else { return Ok(None) };
        let count = match letter {
            b's' | b'y' | b'a' => 0,
            b'u' => 3,
            b'n' => 1 + ACCOUNTS,
            _ => return Err(error()),
        };
        let (numbers, _) = rest.as_chunks::<8>();
        let Some(numbers) = numbers.get(..count) else { return Ok(None) };
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        let frame = match (letter, &*numbers) {
            (b's', _) => Frame::Subscribe,
            (b'y', _) => Frame::Subscribed,
            (b'a', _) => Frame::Ask,
            (_, &[number, account, amount]) => {
                let account = u8::try_from(account).map_err(|_| error())?;
                Frame::Update(Deposit { number, account, amount })
            }
            (_, &[version, a, b, c, d]) => {
                Frame::Snapshot(State { version, accounts: [a, b, c, d] })
            }
            _ => return Err(error()),
        };
        self.bytes.drain(..1 + 8 * count);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{deposit, state};
    use super::*;

    #[test]
    fn frames_survive_a_connection_that_is_cut_anywhere() {
        let frames = [
            Frame::Subscribe,
            Frame::Subscribed,
            Frame::Update(deposit(7)),
            Frame::Ask,
            Frame::Snapshot(state(3)),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut came = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                decoder.feed(piece);
                came.extend(std::iter::from_fn(|| decoder.poll().unwrap()));
            }
            assert_eq!(came, frames, "{cut}");
        }
        let mut decoder = Decoder::default();
        decoder.feed(b"x");
        assert!(decoder.poll().is_err());
    }
}
