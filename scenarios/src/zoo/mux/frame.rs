//! What is sent: a length, a kind, a stream, and a payload.

use std::error::Error;
use std::fmt;
use std::io;

const HEADER_BYTES: usize = 2 + 1 + 4;
/// The longest payload, in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 10;

/// A frame of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which stream it is about; 0 is the connection.
    pub stream: u32,
    /// What it says.
    pub kind: Kind,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The client opens the stream and wants the body under this key.
    Fetch(u32),
    /// A part of the body.
    Data {
        /// True for the last part.
        is_last: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The client wants no more of the stream.
    Reset,
    /// The client has taken in so many bytes.
    Credit(u32),
    /// Asks whether all before it has arrived.
    Ping,
    /// All before that has arrived.
    Pong,
}

/// Bytes that are no frame. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameError;

impl Frame {
    /// Appends its bytes.
    ///
    /// # Panics
    ///
    /// If its data are too long.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let (kind, payload) = match &self.kind {
            Kind::Fetch(key) => (b'f', &key.to_be_bytes()[..]),
            Kind::Data { is_last: false, bytes } => (b'd', &bytes[..]),
            Kind::Data { is_last: true, bytes } => (b'e', &bytes[..]),
            Kind::Reset => (b'r', &[][..]),
            Kind::Credit(bytes) => (b'c', &bytes.to_be_bytes()[..]),
            Kind::Ping => (b'p', &[][..]),
            Kind::Pong => (b'q', &[][..]),
        };
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "{} bytes in a frame", payload.len());
        to.extend((payload.len() as u16).to_be_bytes());
        to.push(kind);
        to.extend(self.stream.to_be_bytes());
        to.extend(payload);
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
    pub fn poll(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [high, low, kind, stream @ ..] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > PAYLOAD_BYTES_MAX {
            return Err(FrameError);
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let number = || payload.try_into().map(u32::from_be_bytes).map_err(|_| FrameError);
        let kind = match (kind, length) {
            (b'f', _) => Kind::Fetch(number()?),
            (b'd' | b'e', _) => Kind::Data { is_last: kind == b'e', bytes: payload.to_vec() },
            (b'r', 0) => Kind::Reset,
            (b'c', _) => Kind::Credit(number()?),
            (b'p', 0) => Kind::Ping,
            (b'q', 0) => Kind::Pong,
            _ => return Err(FrameError),
        };
        self.bytes.drain(..HEADER_BYTES + length);
        Ok(Some(Frame { stream: u32::from_be_bytes(stream), kind }))
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes that are no frame; does the peer speak another protocol?")
    }
}

impl Error for FrameError {}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_a_connection_that_is_cut_anywhere() {
        let data = |is_last, bytes: &[u8]| Kind::Data { is_last, bytes: bytes.to_vec() };
        let kinds = [
            Kind::Fetch(7),
            data(false, b"abc"),
            data(true, b""),
            Kind::Reset,
            Kind::Credit(u32::MAX),
            Kind::Ping,
            Kind::Pong,
        ];
        let frames: Vec<_> =
            (0..).zip(kinds).map(|(stream, kind)| Frame { stream, kind }).collect();
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut came = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                decoder.feed(piece);
                came.extend(std::iter::from_fn(|| decoder.poll().unwrap()));
            }
            assert_eq!(came, frames, "{cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [b"\xff\xffd\0\0\0\0", b"\0\0x\0\0\0\0", b"\0\0c\0\0\0\0", b"\0\0f\0\0\0\0"] {
            let mut decoder = Decoder::default();
            decoder.feed(bytes);
            assert_eq!(decoder.poll(), Err(FrameError), "{bytes:?}");
        }
    }
}
