//! What the two sides send each other: one datagram each.

use crate::Digest;

/// The most bytes of the stream that a segment carries.
pub const PAYLOAD_BYTES_MAX: usize = 1_200;
/// How many segments after the first missing one are acknowledged one by one.
pub const SELECTIVE: u64 = 64;

const CHECKSUM_BYTES: usize = 8;
const NUMBERS_BYTES: usize = 1 + 3 * 8;

/// A segment of the stream, with what its sender has got from the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many segments its sender has got without a gap.
    pub ack: u64,
    /// Which of the segments `ack + 1 + n` it has got beyond the gap, for each bit n.
    pub selective: u64,
    /// What it carries, if it is not for the acknowledgement alone.
    pub carries: Option<Carried>,
}

/// A part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Its number: segments are counted from 0.
    pub number: u64,
    /// What it is.
    pub part: Part,
}

/// What is carried in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Bytes, at least one and at most [`PAYLOAD_BYTES_MAX`].
    Data(Vec<u8>),
    /// The end of the stream.
    End,
}

impl Segment {
    /// Writes it over `bytes`: a checksum, a letter, three numbers, and the data; all big-endian.
    pub fn encode(ack: u64, selective: u64, carries: Option<(u64, &Part)>, bytes: &mut Vec<u8>) {
        let (letter, number, data) = match carries {
            None => (b'a', 0, &[][..]),
            Some((number, Part::Data(data))) => (b'd', number, &data[..]),
            Some((number, Part::End)) => (b'e', number, &[][..]),
        };
        bytes.clear();
        bytes.extend([0; CHECKSUM_BYTES]);
        bytes.push(letter);
        for field in [ack, selective, number] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(data);
        let sum = Digest::of(&bytes[CHECKSUM_BYTES..]).to_be_bytes();
        bytes[..CHECKSUM_BYTES].copy_from_slice(&sum);
    }

    /// The segment that `bytes` encode, if they are exactly one. Without `checked`, its checksum is
    /// not looked at.
    pub fn decode(bytes: &[u8], checked: bool) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
        if checked && Digest::of(rest).to_be_bytes() != *sum {
            return None;
        }
        let (numbers, data) = rest.split_at_checked(NUMBERS_BYTES)?;
        let mut fields = numbers[1..].chunks(8).map(|field| {
            let field = field.try_into().expect("they are whole");
            u64::from_be_bytes(field)
        });
        let (ack, selective, number) = (fields.next()?, fields.next()?, fields.next()?);
        let part = match (numbers[0], data.len()) {
            (b'a', 0) => None,
            (b'd', 1..=PAYLOAD_BYTES_MAX) => Some(Part::Data(data.to_vec())),
            (b'e', 0) => Some(Part::End),
            _ => return None,
        };
        let carries = part.map(|part| Carried { number, part });
        Some(Self { ack, selective, carries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(segment: &Segment) -> Vec<u8> {
        let mut bytes = Vec::new();
        let carries = segment.carries.as_ref().map(|carried| (carried.number, &carried.part));
        Segment::encode(segment.ack, segment.selective, carries, &mut bytes);
        bytes
    }

    #[test]
    fn a_segment_survives_the_wire_and_no_bit_less() {
        let data = Part::Data(b"data".to_vec());
        for part in [None, Some(data), Some(Part::End)] {
            let carries = part.map(|part| Carried { number: 3, part });
            let segment = Segment { ack: u64::MAX, selective: 5, carries };
            let mut bytes = encoded(&segment);
            assert_eq!(Segment::decode(&bytes, true), Some(segment));
            assert_eq!(Segment::decode(&bytes[..bytes.len() - 1], true), None);
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Segment::decode(&bytes, true), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn data_has_a_byte_at_least_and_not_too_many() {
        for (length, fits) in
            [(0, false), (1, true), (PAYLOAD_BYTES_MAX, true), (PAYLOAD_BYTES_MAX + 1, false)]
        {
            let part = Part::Data(vec![7; length]);
            let segment =
                Segment { ack: 0, selective: 0, carries: Some(Carried { number: 0, part }) };
            assert_eq!(Segment::decode(&encoded(&segment), true).is_some(), fits, "{length}");
        }
    }
}
