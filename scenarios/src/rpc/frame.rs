//! Messages on a stream of bytes.
//!
//! A frame is a length, a number and a payload: `length: u32` counts what follows it,
//! `number: u64` is the call's, both big-endian. A request and its answer have the same number.

use std::error::Error;
use std::fmt;
use std::io;

/// The bytes of the length.
const LENGTH_BYTES: usize = 4;
/// The bytes of the number.
const NUMBER_BYTES: usize = 8;
/// What consumed bytes may take at the front of a decoder's buffer before they are moved out.
const CONSUMED_BYTES_MAX: usize = 64 << 10;

/// The longest payload that a decoder takes unless told otherwise, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The number of the call.
    pub number: u64,
    /// The request, or its answer.
    pub payload: Vec<u8>,
}

/// The peer does not speak this protocol. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame announces a longer payload than is allowed.
    TooLong {
        /// The payload's length, in bytes.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// A frame announces less than the bytes of its number.
    TooShort {
        /// What it announces.
        bytes: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, bytes_max } => {
                write!(f, "a frame with {bytes} bytes of payload; at most {bytes_max} are allowed")
            }
            Self::TooShort { bytes } => {
                write!(f, "a frame of {bytes} bytes has no room for its number")
            }
        }
    }
}

impl Error for FrameError {}

impl From<FrameError> for io::Error {
    /// An error of kind `InvalidData`.
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The bytes of a frame.
///
/// # Errors
///
/// [`FrameError::TooLong`] if `payload` is longer than [`PAYLOAD_BYTES_MAX`].
pub fn encode(number: u64, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let (bytes, bytes_max) = (payload.len(), PAYLOAD_BYTES_MAX);
    if bytes > bytes_max {
        return Err(FrameError::TooLong { bytes, bytes_max });
    }
    let length = (NUMBER_BYTES + bytes) as u32;
    Ok([&length.to_be_bytes(), &number.to_be_bytes()[..], payload].concat())
}

/// Cuts a stream into frames: [`feed`](Self::feed) it what comes, then [`poll`](Self::poll) until
/// there is no more.
///
/// It holds at most one incomplete frame, and whatever was fed since the last poll.
///
/// ```
/// use scenarios::rpc::frame::{self, Decoder, Frame};
///
/// let bytes = frame::encode(7, b"hello")?;
/// let mut decoder = Decoder::default();
/// decoder.feed(&bytes[..9]);
/// assert_eq!(decoder.poll(), Ok(None));
/// decoder.feed(&bytes[9..]);
/// assert_eq!(decoder.poll(), Ok(Some(Frame { number: 7, payload: b"hello".to_vec() })));
/// # Ok::<(), frame::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// How many bytes at the front of the buffer were given out.
    consumed: usize,
    payload_bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(PAYLOAD_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that refuses payloads longer than `payload_bytes_max`.
    pub fn with_limit(payload_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), consumed: 0, payload_bytes_max }
    }

    /// Takes in the next bytes of the stream.
    pub fn feed(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next frame; `None` until more is fed.
    ///
    /// # Errors
    ///
    /// [`FrameError`], as soon as the length is there, and from then on at every call.
    pub fn poll(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((length, rest)) = self.buffer[self.consumed..].split_first_chunk::<LENGTH_BYTES>()
        else {
            self.compact();
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        let Some(bytes) = length.checked_sub(NUMBER_BYTES) else {
            return Err(FrameError::TooShort { bytes: length });
        };
        if bytes > self.payload_bytes_max {
            return Err(FrameError::TooLong { bytes, bytes_max: self.payload_bytes_max });
        }
        let Some((number, rest)) =
            rest.split_first_chunk::<NUMBER_BYTES>().filter(|(_, rest)| rest.len() >= bytes)
        else {
            self.compact();
            return Ok(None);
        };
        let frame = Frame { number: u64::from_be_bytes(*number), payload: rest[..bytes].to_vec() };
        self.consumed += LENGTH_BYTES + length;
        if self.consumed > CONSUMED_BYTES_MAX {
            self.compact();
        }
        Ok(Some(frame))
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(payloads: &[&[u8]]) -> Vec<u8> {
        (1..).zip(payloads).flat_map(|(number, payload)| encode(number, payload).unwrap()).collect()
    }

    fn decode_all(decoder: &mut Decoder) -> Vec<(u64, Vec<u8>)> {
        let frames = std::iter::from_fn(|| decoder.poll().unwrap());
        frames.map(|frame| (frame.number, frame.payload)).collect()
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        let bytes = stream(&[b"one", b"", b"three"]);
        let expected = [(1, b"one".to_vec()), (2, vec![]), (3, b"three".to_vec())];
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut decoder = Decoder::default();
                let mut frames = Vec::new();
                for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    decoder.feed(piece);
                    frames.extend(decode_all(&mut decoder));
                }
                assert_eq!(frames, expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn frames_come_out_whole_byte_by_byte() {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for byte in stream(&[b"", b"ab"]) {
            decoder.feed(&[byte]);
            frames.extend(decode_all(&mut decoder));
        }
        assert_eq!(frames, [(1, vec![]), (2, b"ab".to_vec())]);
        assert_eq!(decoder.buffer.len(), 0);
    }

    #[test]
    fn a_payload_of_the_limit_passes_and_one_byte_more_fails_before_it_came() {
        let mut decoder = Decoder::with_limit(5);
        decoder.feed(&stream(&[b"12345"]));
        assert_eq!(decode_all(&mut decoder).len(), 1);
        decoder.feed(&stream(&[b"123456"])[..LENGTH_BYTES]);
        let error = FrameError::TooLong { bytes: 6, bytes_max: 5 };
        assert_eq!(decoder.poll(), Err(error));
        assert_eq!(decoder.poll(), Err(error), "there is no way on");

        assert!(encode(0, &vec![0; PAYLOAD_BYTES_MAX]).is_ok());
        assert!(encode(0, &vec![0; PAYLOAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_length_without_room_for_the_number_fails() {
        let mut decoder = Decoder::default();
        decoder.feed(&7_u32.to_be_bytes());
        assert_eq!(decoder.poll(), Err(FrameError::TooShort { bytes: 7 }));
    }

    #[test]
    fn what_was_given_out_does_not_pile_up() {
        let frame = encode(1, &[0; 1_000]).unwrap();
        let mut decoder = Decoder::default();
        for _ in 0..1_000 {
            decoder.feed(&frame[..500]);
            assert_eq!(decoder.poll(), Ok(None));
            decoder.feed(&frame[500..]);
            assert!(decoder.poll().unwrap().is_some());
            assert!(decoder.buffer.len() <= CONSUMED_BYTES_MAX + frame.len());
        }
    }
}
