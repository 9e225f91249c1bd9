//! The packets of MQTT 3.1.1 that a publisher with quality of service 2 needs.

use std::error::Error;
use std::fmt;
use std::io;

/// The longest packet behind its fixed header, in bytes.
const LENGTH_MAX: usize = 1_024;
/// How many bytes say so, at most.
const LENGTH_DIGITS_MAX: usize = 4;
/// What `CONNECT` begins with: the protocol's name and level, and that the session is to be kept.
const PROTOCOL: &[u8] = b"\0\x04MQTT\x04\0";
/// How often the client says something, in seconds: the broker does not count.
const KEEP_ALIVE: [u8; 2] = [0, 0];

/// A packet, of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The client comes, with its session.
    Connect {
        /// Whose session.
        client: String,
    },
    /// The broker has its session, too.
    ConnAck,
    /// A message, with quality of service 2.
    Publish {
        /// Its identifier while it is under way.
        id: u16,
        /// True if it may have come before.
        again: bool,
        /// What it is about.
        topic: String,
        /// What it says.
        payload: Vec<u8>,
    },
    /// The message has arrived.
    PubRec(u16),
    /// The message will not come again.
    PubRel(u16),
    /// The identifier is free.
    PubComp(u16),
    /// Is anybody there?
    PingReq,
    /// The answer to that.
    PingResp,
    /// The client goes.
    Disconnect,
}

/// Bytes that are no packet. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketError;

impl Packet {
    /// Appends its bytes.
    ///
    /// # Panics
    ///
    /// If it is too long.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
        let id = |id: &u16| id.to_be_bytes().to_vec();
        let (first, rest) = match self {
            Self::Connect { client } => (0x10, [PROTOCOL, &KEEP_ALIVE, &text(client)].concat()),
            Self::ConnAck => (0x20, vec![1, 0]),
            Self::Publish { id, again, topic, payload } => {
                let rest = [&text(topic)[..], &id.to_be_bytes(), payload].concat();
                (0x34 | u8::from(*again) << 3, rest)
            }
            Self::PubRec(number) => (0x50, id(number)),
            Self::PubRel(number) => (0x62, id(number)),
            Self::PubComp(number) => (0x70, id(number)),
            Self::PingReq => (0xc0, Vec::new()),
            Self::PingResp => (0xd0, Vec::new()),
            Self::Disconnect => (0xe0, Vec::new()),
        };
        assert!(rest.len() <= LENGTH_MAX, "a packet of {} bytes", rest.len());
        to.push(first);
        let mut length = rest.len();
        while length > 127 {
            to.push(length as u8 & 127 | 128);
            length >>= 7;
        }
        to.push(length as u8);
        to.extend(rest);
    }

    fn decode(first: u8, rest: &[u8]) -> Option<Self> {
        let id = || rest.try_into().ok().map(u16::from_be_bytes);
        Some(match first {
            0x10 => {
                let rest = rest.strip_prefix(PROTOCOL)?.strip_prefix(&KEEP_ALIVE)?;
                let (client, rest) = split_text(rest)?;
                return rest.is_empty().then_some(Self::Connect { client });
            }
            0x20 if rest == [1, 0] => Self::ConnAck,
            0x34 | 0x3c => {
                let (topic, rest) = split_text(rest)?;
                let (id, payload) = rest.split_first_chunk()?;
                let (id, payload) = (u16::from_be_bytes(*id), payload.to_vec());
                Self::Publish { id, again: first == 0x3c, topic, payload }
            }
            0x50 => Self::PubRec(id()?),
            0x62 => Self::PubRel(id()?),
            0x70 => Self::PubComp(id()?),
            0xc0 if rest.is_empty() => Self::PingReq,
            0xd0 if rest.is_empty() => Self::PingResp,
            0xe0 if rest.is_empty() => Self::Disconnect,
            _ => return None,
        })
    }
}

/// A text with its length before it, and what comes after.
fn split_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// Packets from the bytes of a connection, cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Takes in the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// The next packet; `None` until all of it is there.
    ///
    /// # Errors
    ///
    /// Bytes that are none.
    pub fn poll(&mut self) -> Result<Option<Packet>, PacketError> {
        let Some(&first) = self.bytes.first() else { return Ok(None) };
        let (mut length, mut header) = (0, 1);
        loop {
            let Some(digit) = self.bytes.get(header) else { return Ok(None) };
            length |= usize::from(digit & 127) << (7 * (header - 1));
            header += 1;
            if length > LENGTH_MAX || header > 1 + LENGTH_DIGITS_MAX {
                return Err(PacketError);
            }
            if *digit < 128 {
                break;
            }
        }
        let Some(rest) = self.bytes.get(header..header + length) else { return Ok(None) };
        let packet = Packet::decode(first, rest).ok_or(PacketError)?;
        self.bytes.drain(..header + length);
        Ok(Some(packet))
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes that are no packet; does the peer speak another protocol?")
    }
}

impl Error for PacketError {}

impl From<PacketError> for io::Error {
    fn from(error: PacketError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(again: bool, payload: usize) -> Packet {
        let (topic, payload) = ("news".to_owned(), vec![7; payload]);
        Packet::Publish { id: 44, again, topic, payload }
    }

    fn encoded(packets: &[Packet]) -> Vec<u8> {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(&mut bytes));
        bytes
    }

    #[test]
    fn packets_are_those_of_the_standard() {
        let connect = Packet::Connect { client: "a".to_owned() };
        assert_eq!(encoded(&[connect]), b"\x10\x0d\0\x04MQTT\x04\0\0\0\0\x01a");
        assert_eq!(encoded(&[publish(false, 1)]), b"\x34\x09\0\x04news\0\x2c\x07");
        assert_eq!(encoded(&[publish(true, 120)])[..3], [0x3c, 0x80, 0x01]);
        assert_eq!(encoded(&[Packet::PubRel(44)]), [0x62, 2, 0, 44]);
    }

    #[test]
    fn packets_survive_a_connection_that_is_cut_anywhere() {
        let packets = [
            Packet::Connect { client: "client".to_owned() },
            Packet::ConnAck,
            publish(false, 0),
            publish(true, 200),
            Packet::PubRec(1),
            Packet::PubRel(2),
            Packet::PubComp(u16::MAX),
            Packet::PingReq,
            Packet::PingResp,
            Packet::Disconnect,
        ];
        let bytes = encoded(&packets);
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut came = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                decoder.feed(piece);
                came.extend(std::iter::from_fn(|| decoder.poll().unwrap()));
            }
            assert_eq!(came, packets, "{cut}");
        }
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        for bytes in [&b"\0\0"[..], b"\x34\xff\xff\xff\xff", b"\x50\x01\0", b"\x20\x02\0\0"] {
            let mut decoder = Decoder::default();
            decoder.feed(bytes);
            assert_eq!(decoder.poll(), Err(PacketError), "{bytes:?}");
        }
    }
}
