//! What nodes send each other, and what they write down.

/// A node, by its number.
pub type Id = u8;

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The term in which it was written.
    pub term: u64,
    /// What it says.
    pub command: u64,
}

/// A message. Entries are numbered from 1 on; before the first there is nothing, of term 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A candidate wants to be elected.
    RequestVote {
        /// Its term.
        term: u64,
        /// The number and the term of its last entry.
        last: (u64, u64),
    },
    /// The answer to that.
    Vote {
        /// The voter's term.
        term: u64,
        /// True if the candidate has the vote.
        granted: bool,
    },
    /// A leader has entries, or is just there.
    Append {
        /// Its term.
        term: u64,
        /// The number and the term of the entry before.
        previous: (u64, u64),
        /// How many entries it knows to be committed.
        commit: u64,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// The answer to that.
    Appended {
        /// The follower's term.
        term: u64,
        /// True if it has all entries now, up to the last one of the message.
        is_match: bool,
        /// The number of that one; else that of the follower's own last entry.
        index: u64,
    },
}

/// What a node writes down before it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// It is in this term, and has voted so.
    Term(u64, Option<Id>),
    /// The entry of this number is this, and none comes after.
    Entry(u64, Entry),
}

/// Numbers from bytes, one after another.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn next_bool(&mut self) -> Option<bool> {
        self.next().map(|number| number != 0)
    }
}

fn encode(letter: u8, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + 8 * numbers.len());
    bytes.push(letter);
    numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes
}

impl Message {
    /// The sender's term.
    pub fn term(&self) -> u64 {
        match self {
            Self::RequestVote { term, .. }
            | Self::Vote { term, .. }
            | Self::Append { term, .. }
            | Self::Appended { term, .. } => *term,
        }
    }

    /// A letter and numbers, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::RequestVote { term, last } => encode(b'r', &[*term, last.0, last.1]),
            Self::Vote { term, granted } => encode(b'v', &[*term, (*granted).into()]),
            Self::Append { term, previous, commit, entries } => {
                let mut bytes = encode(b'a', &[*term, previous.0, previous.1, *commit]);
                for Entry { term, command } in entries {
                    bytes.extend(term.to_be_bytes());
                    bytes.extend(command.to_be_bytes());
                }
                bytes
            }
            Self::Appended { term, is_match, index } => {
                encode(b'y', &[*term, (*is_match).into(), *index])
            }
        }
    }

    /// The message that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (letter, rest) = bytes.split_first()?;
        let mut rest = Numbers(rest);
        let term = rest.next()?;
        let message = match letter {
            b'r' => Self::RequestVote { term, last: (rest.next()?, rest.next()?) },
            b'v' => Self::Vote { term, granted: rest.next_bool()? },
            b'a' => {
                let previous = (rest.next()?, rest.next()?);
                let commit = rest.next()?;
                let mut entries = Vec::new();
                while let Some(term) = rest.next() {
                    entries.push(Entry { term, command: rest.next()? });
                }
                Self::Append { term, previous, commit, entries }
            }
            b'y' => Self::Appended { term, is_match: rest.next_bool()?, index: rest.next()? },
            _ => return None,
        };
        rest.0.is_empty().then_some(message)
    }
}

impl Record {
    /// A letter and numbers, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Term(term, vote) => {
                encode(b't', &[*term, vote.map_or(0, |node| u64::from(node) + 1)])
            }
            Self::Entry(index, Entry { term, command }) => encode(b'e', &[*index, *term, *command]),
        }
    }

    /// The record that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (letter, rest) = bytes.split_first()?;
        let mut rest = Numbers(rest);
        let first = rest.next()?;
        let record = match letter {
            b't' => {
                let vote = rest.next()?.checked_sub(1).map(Id::try_from);
                Self::Term(first, vote.transpose().ok()?)
            }
            b'e' => Self::Entry(first, Entry { term: rest.next()?, command: rest.next()? }),
            _ => return None,
        };
        rest.0.is_empty().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_records_survive_the_wire_and_the_disk() {
        let entries = vec![Entry { term: 1, command: 2 }, Entry { term: 3, command: u64::MAX }];
        for message in [
            Message::RequestVote { term: 1, last: (2, 3) },
            Message::Vote { term: 1, granted: true },
            Message::Append { term: 1, previous: (2, 3), commit: 4, entries },
            Message::Append { term: 1, previous: (0, 0), commit: 0, entries: vec![] },
            Message::Appended { term: 1, is_match: false, index: 7 },
        ] {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Message::decode(&[&bytes[..], b"x"].concat()), None);
            assert_eq!(Message::decode(&bytes), Some(message));
        }
        for record in [
            Record::Term(1, None),
            Record::Term(1, Some(0)),
            Record::Term(2, Some(Id::MAX)),
            Record::Entry(3, Entry { term: 1, command: 2 }),
        ] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
