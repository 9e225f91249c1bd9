//! A node's copy of the data, and which messages of a primary may change it.

use std::collections::BTreeMap;

use super::register::{Node, View};

/// Where a copy stands: in which view it got its last write from that view's primary, and how many
/// writes it has had. Of two places the later is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The number of the view.
    pub view: u64,
    /// How many writes there were since the beginning.
    pub index: u64,
}

/// A write: under each key a number that only grows, so that an old one that comes late is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// What is written to.
    pub key: u32,
    /// What is written.
    pub value: u64,
}

/// What a primary sends its backup, and what a node writes to its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// One write, or none, which asks whether the primary is still the primary.
    Put {
        /// The number of the primary's view.
        view: u64,
        /// The view in which the backup got its snapshot.
        base: u64,
        /// How many writes there are with this one.
        index: u64,
        /// The write.
        put: Option<Put>,
    },
    /// Everything, for a node that is to become the backup.
    Snapshot {
        /// Where the primary stands.
        place: Place,
        /// All keys with their values.
        data: BTreeMap<u32, u64>,
    },
    /// The node leads the view of this number from now on.
    Lead {
        /// The number of the view.
        view: u64,
    },
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be written to the store and applied.
    Apply,
    /// It changes nothing, and its sender may go on.
    Known,
    /// Its sender is a primary no more, or the copy here is not what the sender takes it for.
    Refuse,
}

/// A node's copy.
///
/// A value without I/O. The *fence* is the number of the highest view that it has heard of: what a
/// primary of an older one sends is refused, so that it acknowledges nothing any more.
///
/// ```
/// use scenarios::failover::{Change, Put, Replica, Verdict};
///
/// let mut backup = Replica::default();
/// let put = Some(Put { key: 1, value: 5 });
/// let change = Change::Put { view: 1, base: 0, index: 1, put };
/// assert_eq!(backup.judge(&change, true), Verdict::Apply);
/// backup.apply(&change);
/// assert_eq!(backup.get(1), 5);
/// backup.apply(&Change::Lead { view: 2 });
/// let late = Change::Put { view: 1, base: 0, index: 2, put };
/// assert_eq!(backup.judge(&late, true), Verdict::Refuse);
/// ```
#[derive(Debug, Default)]
pub struct Replica {
    place: Place,
    fence: u64,
    data: BTreeMap<u32, u64>,
}

impl Replica {
    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The number of the highest view that it has heard of.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// The value under `key`; 0 if nothing was written there.
    pub fn get(&self, key: u32) -> u64 {
        self.data.get(&key).copied().unwrap_or(0)
    }

    /// Everything, as a change.
    pub fn snapshot(&self) -> Change {
        Change::Snapshot { place: self.place, data: self.data.clone() }
    }

    /// The next change of the primary of `view`: a write, or none if `put` is known already.
    pub fn next(&self, view: u64, base: u64, put: Option<Put>) -> Change {
        let put = put.filter(|put| put.value > self.get(put.key));
        Change::Put { view, base, index: self.place.index + u64::from(put.is_some()), put }
    }

    /// What becomes of a change that a primary sent. Without `fenced`, the view of a write is not
    /// looked at.
    pub fn judge(&self, change: &Change, fenced: bool) -> Verdict {
        match change {
            Change::Snapshot { place, .. } if place.view < self.fence => Verdict::Refuse,
            Change::Snapshot { place, .. } if *place > self.place => Verdict::Apply,
            Change::Snapshot { place, .. } if *place == self.place => Verdict::Known,
            Change::Snapshot { .. } | Change::Lead { .. } => Verdict::Refuse,
            Change::Put { .. } if !fenced => Verdict::Apply,
            Change::Put { view, .. } if *view < self.fence => Verdict::Refuse,
            Change::Put { view, base, index, put } => {
                let same_history = self.place.view == *view || self.place.view == *base;
                let is_new = put.is_some() || self.place.view != *view;
                let next = self.place.index + u64::from(put.is_some());
                if same_history && is_new && *index == next {
                    Verdict::Apply
                } else if same_history && *index == self.place.index {
                    Verdict::Known
                } else {
                    Verdict::Refuse
                }
            }
        }
    }

    /// Applies a change: one of its own, one that was judged, or one from the store.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put { view, index, put, .. } => {
                self.place = Place { view: *view, index: *index };
                if let Some(put) = put {
                    let value = self.data.entry(put.key).or_default();
                    *value = put.value.max(*value);
                }
            }
            Change::Snapshot { place, data } => {
                self.place = *place;
                self.data.clone_from(data);
            }
            Change::Lead { view } => self.place.view = *view,
        }
        self.fence = self.fence.max(self.place.view);
    }

    /// Notes that there is a view of this number, so that no older one's primary is listened to.
    pub fn hear_of(&mut self, view: View) {
        self.fence = self.fence.max(view.number);
    }
}

/// The other node.
pub fn other(node: Node) -> Node {
    1 - node
}

impl Change {
    /// A letter, and numbers, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Put { view, base, index, put } => {
                bytes.push(b'p');
                for number in [view, base, index] {
                    bytes.extend(number.to_be_bytes());
                }
                if let Some(put) = put {
                    bytes.extend(encode_pair(put.key, put.value));
                }
            }
            Self::Snapshot { place, data } => {
                bytes.push(b's');
                bytes.extend(place.view.to_be_bytes());
                bytes.extend(place.index.to_be_bytes());
                for (key, value) in data {
                    bytes.extend(encode_pair(*key, *value));
                }
            }
            Self::Lead { view } => {
                bytes.push(b'l');
                bytes.extend(view.to_be_bytes());
            }
        }
        bytes
    }

    /// The change that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (letter, mut rest) = bytes.split_first()?;
        let mut number = || {
            let (number, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(u64::from_be_bytes(*number))
        };
        match letter {
            b'p' => {
                let (view, base, index) = (number()?, number()?, number()?);
                let put = match rest {
                    [] => None,
                    pair => Some(decode_pair(pair)?),
                };
                Some(Self::Put { view, base, index, put })
            }
            b's' => {
                let place = Place { view: number()?, index: number()? };
                let pair = |bytes| decode_pair(bytes).map(|Put { key, value }| (key, value));
                let data: Option<_> = rest.chunks(PAIR_BYTES).map(pair).collect();
                Some(Self::Snapshot { place, data: data? })
            }
            b'l' => {
                let view = number()?;
                rest.is_empty().then_some(Self::Lead { view })
            }
            _ => None,
        }
    }
}

const PAIR_BYTES: usize = 12;

fn encode_pair(key: u32, value: u64) -> [u8; PAIR_BYTES] {
    let mut bytes = [0; PAIR_BYTES];
    bytes[..4].copy_from_slice(&key.to_be_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn decode_pair(bytes: &[u8]) -> Option<Put> {
    let (key, value) = bytes.split_first_chunk::<4>()?;
    let value = u64::from_be_bytes(value.try_into().ok()?);
    Some(Put { key: u32::from_be_bytes(*key), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(view: u64, base: u64, index: u64, value: u64) -> Change {
        Change::Put { view, base, index, put: Some(Put { key: 1, value }) }
    }

    #[test]
    fn a_change_survives_the_wire() {
        let data = [(1, 2), (u32::MAX, u64::MAX)].into();
        for change in [
            put(1, 2, 3, 4),
            Change::Put { view: 1, base: 2, index: 3, put: None },
            Change::Snapshot { place: Place { view: 9, index: 8 }, data },
            Change::Snapshot { place: Place::default(), data: BTreeMap::new() },
            Change::Lead { view: 7 },
        ] {
            let bytes = change.encode();
            assert_eq!(Change::decode(&bytes).as_ref(), Some(&change));
            assert_eq!(Change::decode(&bytes[..bytes.len() - 1]), None, "{change:?}");
        }
    }

    #[test]
    fn a_backup_takes_the_next_write_of_its_primary_alone() {
        let mut backup = Replica::default();
        backup.apply(&put(1, 0, 1, 5));
        let verdict = |change| backup.judge(&change, true);
        assert_eq!(verdict(put(1, 0, 2, 6)), Verdict::Apply);
        assert_eq!(verdict(put(1, 0, 1, 5)), Verdict::Known);
        assert_eq!(verdict(put(1, 0, 3, 7)), Verdict::Refuse, "one is missing");
        assert_eq!(verdict(put(3, 2, 2, 6)), Verdict::Refuse, "it has no snapshot of view 2");
        assert_eq!(verdict(put(2, 1, 2, 6)), Verdict::Apply);
    }

    #[test]
    fn a_snapshot_that_comes_late_is_refused() {
        let mut joiner = Replica::default();
        let snapshot = |view, index| Change::Snapshot {
            place: Place { view, index },
            data: [(1, index)].into(),
        };
        joiner.apply(&put(1, 0, 9, 9));
        assert_eq!(joiner.judge(&snapshot(2, 4), true), Verdict::Apply);
        joiner.apply(&snapshot(2, 4));
        assert_eq!((joiner.get(1), joiner.fence()), (4, 2), "what it had and nobody else is gone");
        assert_eq!(joiner.judge(&snapshot(2, 3), true), Verdict::Refuse);
        assert_eq!(joiner.judge(&snapshot(2, 4), true), Verdict::Known);
        assert_eq!(joiner.judge(&snapshot(1, 99), true), Verdict::Refuse);
    }

    #[test]
    fn behind_the_fence_nothing_is_taken() {
        let mut replica = Replica::default();
        replica.hear_of(View { number: 2, primary: 1, paired: false });
        assert_eq!(replica.judge(&put(1, 0, 1, 1), true), Verdict::Refuse);
        assert_eq!(replica.judge(&put(1, 0, 1, 1), false), Verdict::Apply);
    }

    #[test]
    fn a_write_that_is_known_is_no_write() {
        let mut primary = Replica::default();
        primary.apply(&put(1, 0, 1, 5));
        let confirm = Change::Put { view: 1, base: 0, index: 1, put: None };
        assert_eq!(primary.next(1, 0, Some(Put { key: 1, value: 5 })), confirm);
        assert_eq!(primary.next(1, 0, None), confirm);
        assert_eq!(primary.next(1, 0, Some(Put { key: 1, value: 6 })), put(1, 0, 2, 6));
    }
}
