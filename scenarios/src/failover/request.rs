//! What nodes are asked, and what they answer.

use super::register::Node;
use super::replica::{Change, Put};

/// What a node is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// By a client: the value under a key.
    Read(u32),
    /// By a client: write a value under a key.
    Write(Put),
    /// By a primary.
    Change(Change),
}

/// What a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Not by this node: it is no primary.
    Refused,
    /// To a primary: the change is durable here.
    Taken,
    /// To a client: it is done.
    Done {
        /// The number of the view.
        view: u64,
        /// The node.
        node: Node,
        /// The value under the key now.
        value: u64,
    },
}

impl Request {
    /// The key that a client asks for; 0 for others.
    pub fn key(&self) -> u32 {
        match self {
            Self::Read(key) | Self::Write(Put { key, .. }) => *key,
            Self::Change(_) => 0,
        }
    }

    /// A letter, and numbers, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Read(key) => [b"r", &key.to_be_bytes()[..]].concat(),
            Self::Write(Put { key, value }) => {
                [b"w", &key.to_be_bytes()[..], &value.to_be_bytes()].concat()
            }
            Self::Change(change) => change.encode(),
        }
    }

    /// The request that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'r', key) => Some(Self::Read(u32::from_be_bytes(key.try_into().ok()?))),
            (b'w', rest) => {
                let (key, value) = rest.split_first_chunk::<4>()?;
                let value = u64::from_be_bytes(value.try_into().ok()?);
                Some(Self::Write(Put { key: u32::from_be_bytes(*key), value }))
            }
            _ => Change::decode(bytes).map(Self::Change),
        }
    }
}

impl Answer {
    /// A letter, and numbers, big-endian.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Refused => b"n".to_vec(),
            Self::Taken => b"t".to_vec(),
            Self::Done { view, node, value } => {
                [b"d", &view.to_be_bytes()[..], &[node], &value.to_be_bytes()].concat()
            }
        }
    }

    /// The answer that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"n" => Some(Self::Refused),
            b"t" => Some(Self::Taken),
            [b'd', rest @ ..] => {
                let (view, rest) = rest.split_first_chunk::<8>()?;
                let (node, value) = rest.split_first()?;
                let value = u64::from_be_bytes(value.try_into().ok()?);
                Some(Self::Done { view: u64::from_be_bytes(*view), node: *node, value })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_survive_the_wire() {
        let put = Put { key: 7, value: u64::MAX };
        let change = Change::Put { view: 1, base: 0, index: 1, put: Some(put) };
        for request in [Request::Read(9), Request::Write(put), Request::Change(change)] {
            let bytes = request.encode();
            assert_eq!(Request::decode(&bytes), Some(request));
            assert_eq!(Request::decode(&bytes[..bytes.len() - 1]), None);
        }
        for answer in [Answer::Refused, Answer::Taken, Answer::Done { view: 3, node: 1, value: 4 }]
        {
            let bytes = answer.encode();
            assert_eq!(Answer::decode(&bytes), Some(answer));
            assert_eq!(Answer::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
