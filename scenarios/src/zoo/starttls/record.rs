//! A record layer that tells what its peer has sent from what somebody else has.
//!
//! A record is a kind, a length of two bytes, a tag of eight, and a payload that is combined with a
//! stream of bytes. Tag and stream are functions of the key, the number of the record and its
//! content. It is a toy: it keeps nothing secret from anybody who tries, but what has no key makes
//! no record, and none can be taken out, changed or repeated. The end of a stream is a record, too
//! (`close_notify`): without it nobody knows whether that was all.

use std::error::Error;
use std::fmt;

use crate::Digest;

/// The bytes before each payload.
const HEADER_BYTES: usize = 1 + 2 + 8;
const DATA: u8 = 23;
const CLOSE_NOTIFY: u8 = 21;

/// What both sides know, and nobody else; another one for each direction.
pub(super) type Key = u64;

/// What a record carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes of the stream.
    Data(Vec<u8>),
    /// There is no more.
    CloseNotify,
}

/// A record that the peer did not send. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgedRecord;

/// The tag of a record.
fn tag(key: Key, number: u64, kind: u8, payload: &[u8]) -> [u8; 8] {
    let mut digest = Digest::default();
    digest.update(&key.to_be_bytes());
    digest.update(&number.to_be_bytes());
    digest.update(&[kind]);
    digest.update(payload);
    digest.finish().to_be_bytes()
}

/// Hides the payload of a record, or shows it again.
fn combine(key: Key, number: u64, payload: &mut [u8]) {
    for (index, chunk) in (0_u64..).zip(payload.chunks_mut(8)) {
        let stream = tag(key, number, 0, &index.to_be_bytes());
        chunk.iter_mut().zip(stream).for_each(|(byte, stream)| *byte ^= stream);
    }
}

/// Makes records, one direction of a connection.
#[derive(Debug)]
pub struct Sealer {
    key: Key,
    number: u64,
}

/// Takes records apart, one direction of a connection: [`feed`](Self::feed) it what comes, then
/// [`poll`](Self::poll) until there is no more.
///
/// ```
/// use scenarios::zoo::starttls::record::{Content, Opener, Sealer};
///
/// let (mut sealer, mut opener) = (Sealer::new(7), Opener::new(7));
/// opener.feed(&sealer.seal(&Content::Data(b"hello".to_vec())));
/// assert_eq!(opener.poll()?, Some(Content::Data(b"hello".to_vec())));
/// opener.feed(b"hello, as nobody has sealed it");
/// assert!(opener.poll().is_err());
/// # Ok::<(), scenarios::zoo::starttls::record::ForgedRecord>(())
/// ```
#[derive(Debug)]
pub struct Opener {
    key: Key,
    number: u64,
    buffer: Vec<u8>,
}

impl Sealer {
    /// For records under `key`.
    pub const fn new(key: u64) -> Self {
        Self { key, number: 0 }
    }

    /// The bytes of the next record.
    ///
    /// # Panics
    ///
    /// If the data are more than 65 535 bytes.
    pub fn seal(&mut self, content: &Content) -> Vec<u8> {
        let (kind, payload) = match content {
            Content::Data(data) => (DATA, &data[..]),
            Content::CloseNotify => (CLOSE_NOTIFY, &[][..]),
        };
        let length = u16::try_from(payload.len()).expect("a record has at most 65 535 bytes");
        let mut bytes = vec![kind];
        bytes.extend(length.to_be_bytes());
        bytes.extend(tag(self.key, self.number, kind, payload));
        bytes.extend(payload);
        combine(self.key, self.number, &mut bytes[HEADER_BYTES..]);
        self.number += 1;
        bytes
    }
}

impl Opener {
    /// For records under `key`.
    pub const fn new(key: u64) -> Self {
        Self { key, number: 0, buffer: Vec::new() }
    }

    /// Takes in the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.buffer.extend(data);
    }

    /// What the next record carries, if it is whole.
    ///
    /// # Errors
    ///
    /// [`ForgedRecord`]: there is no way on then.
    pub fn poll(&mut self) -> Result<Option<Content>, ForgedRecord> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (kind, claimed) = (header[0], &header[3..]);
        let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
        let is_kind = matches!((kind, length), (DATA, _) | (CLOSE_NOTIFY, 0));
        if !is_kind {
            return Err(ForgedRecord);
        }
        let Some((payload, _)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        let mut payload = payload.to_vec();
        combine(self.key, self.number, &mut payload);
        if claimed != tag(self.key, self.number, kind, &payload) {
            return Err(ForgedRecord);
        }
        self.number += 1;
        self.buffer.drain(..HEADER_BYTES + length);
        Ok(Some(if kind == DATA { Content::Data(payload) } else { Content::CloseNotify }))
    }
}

impl fmt::Display for ForgedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record that the peer did not send")
    }
}

impl Error for ForgedRecord {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> ([Content; 3], Vec<u8>) {
        let sent = [
            Content::Data(b"a line\r\n".to_vec()),
            Content::Data(Vec::new()),
            Content::CloseNotify,
        ];
        let mut sealer = Sealer::new(1);
        let stream = sent.iter().flat_map(|content| sealer.seal(content)).collect();
        (sent, stream)
    }

    fn open(pieces: &[&[u8]]) -> Result<Vec<Content>, ForgedRecord> {
        let (mut opener, mut opened) = (Opener::new(1), Vec::new());
        for piece in pieces {
            opener.feed(piece);
            while let Some(content) = opener.poll()? {
                opened.push(content);
            }
        }
        Ok(opened)
    }

    #[test]
    fn records_come_out_whole_wherever_the_stream_is_cut() {
        let (sent, stream) = sealed();
        for cut in 0..=stream.len() {
            let opened = open(&[&stream[..cut], &stream[cut..]]);
            assert_eq!(opened.unwrap(), sent, "cut at {cut}");
        }
        assert!(!stream.windows(4).any(|window| window == b"line"));
    }

    #[test]
    fn no_byte_can_be_changed_and_no_record_taken_out_or_repeated() {
        let (sent, stream) = sealed();
        for at in 0..stream.len() {
            let mut changed = stream.clone();
            changed[at] ^= 1;
            let opened = open(&[&changed]);
            assert!(opened.is_err() || opened.unwrap().len() < sent.len(), "byte {at}");
        }
        let first = HEADER_BYTES + 8;
        assert!(open(&[&stream[first..]]).is_err());
        assert!(open(&[&stream[..first], &stream[..first]]).is_err());
        assert!(open(&[b"PUT mallory\r\n"]).is_err());
    }
}
