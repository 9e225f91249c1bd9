//! What is sent.

/// A datagram, of either side. Frames of data are numbered from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A part of the body.
    Data {
        /// Its number.
        number: u32,
        /// True for the last one.
        is_last: bool,
        /// The bytes.
        payload: Vec<u8>,
    },
    /// The sender wants to know how far there is room.
    Probe,
    /// What the receiver has got, and for what it has room.
    Ack {
        /// The first number that it misses.
        next: u32,
        /// The first number that it has no room for. It never gets less.
        limit: u32,
    },
}

impl Frame {
    /// A letter, and the rest, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Data { number, is_last, payload } => {
                let kind = if *is_last { b"e" } else { b"d" };
                [kind, &number.to_be_bytes()[..], payload].concat()
            }
            Self::Probe => b"p".to_vec(),
            Self::Ack { next, limit } => {
                [b"a", &next.to_be_bytes()[..], &limit.to_be_bytes()].concat()
            }
        }
    }

    /// The frame that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (kind @ (b'd' | b'e'), rest) => {
                let (number, payload) = rest.split_first_chunk()?;
                let (number, is_last) = (u32::from_be_bytes(*number), *kind == b'e');
                Some(Self::Data { number, is_last, payload: payload.to_vec() })
            }
            (b'p', []) => Some(Self::Probe),
            (b'a', rest) => {
                let (next, limit) = rest.split_first_chunk()?;
                let limit = u32::from_be_bytes(limit.try_into().ok()?);
                Some(Self::Ack { next: u32::from_be_bytes(*next), limit })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_wire_and_nothing_else_is_one() {
        for frame in [
            Frame::Data { number: 7, is_last: false, payload: vec![1, 2] },
            Frame::Data { number: u32::MAX, is_last: true, payload: vec![] },
            Frame::Probe,
            Frame::Ack { next: 1, limit: 9 },
        ] {
            assert_eq!(Frame::decode(&frame.encode()), Some(frame));
        }
        for bytes in [&b""[..], b"d123", b"pp", b"a1234567", b"a123456789", b"x"] {
            assert_eq!(Frame::decode(bytes), None, "{bytes:?}");
        }
    }
}
