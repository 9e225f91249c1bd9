//! What the two ends of a channel tell each other, on a stream of bytes.
//!
//! A record is a kind, a length of two bytes, big-endian, and a payload.

use std::error::Error;
use std::fmt;

/// The bytes before each payload.
const HEADER_BYTES: usize = 1 + 2;

const OPEN: u8 = 1;
const DATA: u8 = 2;
const WINDOW: u8 = 3;
const END: u8 = 4;
const RESET: u8 = 5;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The subscriber wants what comes from here on.
    Open {
        /// Where, in bytes from the start.
        from: u32,
        /// Whether it is to be waited for if it falls behind.
        patient: bool,
    },
    /// Bytes of the channel. They use up the window.
    Data(Vec<u8>),
    /// The window is larger by so many bytes: that much was taken by the application.
    Window(u32),
    /// There is no more.
    End,
    /// The channel is given up.
    Reset,
}

/// The peer does not speak this protocol. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError;

impl Record {
    /// Appends its bytes to `out`.
    ///
    /// # Panics
    ///
    /// If the data are more than 65 535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut record = |kind: u8, payload: &[u8]| {
            let length = u16::try_from(payload.len()).expect("a record has at most 65 535 bytes");
            out.push(kind);
            out.extend(length.to_be_bytes());
            out.extend(payload);
        };
        match self {
            Self::Open { from, patient } => {
                let [a, b, c, d] = from.to_be_bytes();
                record(OPEN, &[a, b, c, d, u8::from(*patient)]);
            }
            Self::Data(data) => record(DATA, data),
            Self::Window(bytes) => record(WINDOW, &bytes.to_be_bytes()),
            Self::End => record(END, &[]),
            Self::Reset => record(RESET, &[]),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match (kind, payload) {
            (OPEN, &[a, b, c, d, patient]) => {
                Self::Open { from: u32::from_be_bytes([a, b, c, d]), patient: patient != 0 }
            }
            (DATA, data) => Self::Data(data.to_vec()),
            (WINDOW, bytes) => Self::Window(u32::from_be_bytes(bytes.try_into().ok()?)),
            (END, []) => Self::End,
            (RESET, []) => Self::Reset,
            _ => return None,
        })
    }
}

/// Cuts a stream into records.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    pub(super) fn feed(&mut self, data: &[u8]) {
        self.buffer.extend(data);
    }

    /// The next record, if it is whole.
    pub(super) fn poll(&mut self) -> Result<Option<Record>, RecordError> {
        let Some((&[kind, high, low], rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>()
        else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((payload, _)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        let record = Record::decode(kind, payload).ok_or(RecordError)?;
        self.buffer.drain(..HEADER_BYTES + length);
        Ok(Some(record))
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record is of no known kind, or has the wrong length")
    }
}

impl Error for RecordError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_whole_wherever_the_stream_is_cut() {
        let sent = [
            Record::Open { from: 70_000, patient: true },
            Record::Data(b"some bytes".to_vec()),
            Record::Data(Vec::new()),
            Record::Window(1 << 20),
            Record::End,
            Record::Reset,
        ];
        let mut stream = Vec::new();
        sent.iter().for_each(|record| record.encode(&mut stream));
        for cut in 0..=stream.len() {
            let mut decoder = Decoder::default();
            let mut records = Vec::new();
            for piece in [&stream[..cut], &stream[cut..]] {
                decoder.feed(piece);
                records.extend(std::iter::from_fn(|| decoder.poll().unwrap()));
            }
            assert_eq!(records, sent, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        for bytes in [&[9, 0, 0][..], &[END, 0, 1, 0], &[WINDOW, 0, 1, 0], &[OPEN, 0, 0]] {
            let mut decoder = Decoder::default();
            decoder.feed(bytes);
            assert_eq!(decoder.poll(), Err(RecordError), "{bytes:?}");
        }
    }
}
