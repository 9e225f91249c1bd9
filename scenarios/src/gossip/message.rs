//! What members send each other: one datagram each.

use crate::Digest;

/// The number of a member: its place in the roster.
pub type Member = u32;

/// What is said about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It answers.
    Alive,
    /// It did not answer somebody, and may say that it is alive.
    Suspect,
    /// It did not answer, and did not say so in time.
    Dead,
}

/// News of a member. Of two the later is the one with the higher incarnation, and of one incarnation
/// the worse one: only the member itself raises its incarnation, to say that it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// The member.
    pub about: Member,
    /// In which incarnation.
    pub incarnation: u32,
    /// What is said.
    pub health: Health,
}

impl News {
    const BYTES: usize = 9;

    /// True if it takes the place of `other`, news of the same member.
    pub fn is_later_than(&self, other: &Self) -> bool {
        (self.incarnation, self.health) > (other.incarnation, other.health)
    }
}

/// The kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Are you there? Whoever gets it answers with an `Ack` to its sender.
    Ping,
    /// I am.
    Ack,
    /// Ask another member for me; its answer is passed on.
    PingRequest {
        /// Whom to ask.
        target: Member,
    },
}

/// The most news that one message has.
pub const NEWS_MAX: usize = 8;

/// A message: it is as long as its news, at most [`MESSAGE_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Who sends it.
    pub from: Member,
    /// The incarnation of who sends it.
    pub incarnation: u32,
    /// For whom the question is asked: an answer goes to it in the end.
    pub origin: Member,
    /// The number of the question, of its origin's own.
    pub sequence: u32,
    /// What goes along.
    pub news: NewsList,
}

/// Up to [`NEWS_MAX`] news.
#[derive(Debug, Clone, Copy)]
pub struct NewsList {
    items: [News; NEWS_MAX],
    length: usize,
}

impl NewsList {
    /// Adds news, unless it is full: then it says false.
    pub fn push(&mut self, news: News) -> bool {
        if self.length == NEWS_MAX {
            return false;
        }
        self.items[self.length] = news;
        self.length += 1;
        true
    }

    /// The news.
    pub fn as_slice(&self) -> &[News] {
        &self.items[..self.length]
    }
}

impl Default for NewsList {
    fn default() -> Self {
        let blank = News { about: 0, incarnation: 0, health: Health::Alive };
        Self { items: [blank; NEWS_MAX], length: 0 }
    }
}

impl PartialEq for NewsList {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for NewsList {}

const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = CHECKSUM_BYTES + 1 + 5 * 4;
/// The bytes of the longest message.
pub const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + NEWS_MAX * News::BYTES;

impl Message {
    /// Writes it over `bytes`: a checksum, a letter, five numbers, and the news; all big-endian.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let (letter, target) = match self.kind {
            Kind::Ping => (b'p', 0),
            Kind::Ack => (b'a', 0),
            Kind::PingRequest { target } => (b'r', target),
        };
        let mut header = [0; HEADER_BYTES];
        header[CHECKSUM_BYTES] = letter;
        let numbers = [target, self.from, self.incarnation, self.origin, self.sequence];
        let (places, _) = header[CHECKSUM_BYTES + 1..].as_chunks_mut::<4>();
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes.clear();
        bytes.extend_from_slice(&header);
        for News { about, incarnation, health } in self.news.as_slice() {
            bytes.extend(about.to_be_bytes());
            bytes.extend(incarnation.to_be_bytes());
            bytes.push(*health as u8);
        }
        let sum = Digest::of(&bytes[CHECKSUM_BYTES..]).to_be_bytes();
        bytes[..CHECKSUM_BYTES].copy_from_slice(&sum);
    }

    /// The message that `bytes` encode, if they are exactly one, and whole.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
        if Digest::of(rest).to_be_bytes() != *sum {
            return None;
        }
        let (letter, rest) = rest.split_first()?;
        let (numbers, rest) = rest.split_first_chunk::<20>()?;
        let number = |index: usize| {
            let bytes = numbers[4 * index..][..4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes)
        };
        let kind = match letter {
            b'p' => Kind::Ping,
            b'a' => Kind::Ack,
            b'r' => Kind::PingRequest { target: number(0) },
            _ => return None,
        };
        let mut news = NewsList::default();
        for item in rest.chunks(News::BYTES) {
            if !news.push(decode_news(item)?) {
                return None;
            }
        }
        Some(Self {
            kind,
            from: number(1),
            incarnation: number(2),
            origin: number(3),
            sequence: number(4),
            news,
        })
    }
}

fn decode_news(bytes: &[u8]) -> Option<News> {
    let (about, rest) = bytes.split_first_chunk::<4>()?;
    let (incarnation, rest) = rest.split_first_chunk::<4>()?;
    let health = match rest {
        [0] => Health::Alive,
        [1] => Health::Suspect,
        [2] => Health::Dead,
        _ => return None,
    };
    let (about, incarnation) = (u32::from_be_bytes(*about), u32::from_be_bytes(*incarnation));
    Some(News { about, incarnation, health })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, count: usize) -> Message {
        let mut news = NewsList::default();
        for about in 0..count as u32 {
            let health = [Health::Alive, Health::Suspect, Health::Dead][count % 3];
            assert!(news.push(News { about, incarnation: 7, health }));
        }
        Message { kind, from: 1, incarnation: 2, origin: 3, sequence: 4, news }
    }

    #[test]
    fn a_message_survives_the_wire_and_no_byte_less() {
        let mut bytes = Vec::new();
        for kind in [Kind::Ping, Kind::Ack, Kind::PingRequest { target: 9 }] {
            for count in 0..=NEWS_MAX {
                let message = message(kind, count);
                message.encode(&mut bytes);
                assert_eq!(Message::decode(&bytes), Some(message));
                assert!(bytes.len() <= MESSAGE_BYTES_MAX);
                assert_eq!(Message::decode(&bytes[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn a_changed_bit_is_noticed() {
        let mut bytes = Vec::new();
        message(Kind::Ping, 2).encode(&mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Message::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_higher_incarnation_is_later_and_in_one_the_worse_news() {
        let news = |incarnation, health| News { about: 0, incarnation, health };
        let order = [
            news(1, Health::Alive),
            news(1, Health::Suspect),
            news(1, Health::Dead),
            news(2, Health::Alive),
        ];
        for (index, later) in order.iter().enumerate() {
            for (other, earlier) in order.iter().enumerate() {
                assert_eq!(later.is_later_than(earlier), index > other);
            }
        }
    }
}
