//! A set of hosts, a bit for each.

/// How many words a set has beyond what its members fill: it takes nobody who stands further out.
const ROOM: usize = 8;

/// Hosts, by their indices. It has a bit for each index up to the greatest in it, so that what is asked of each
/// of thousands of hosts about each other stays in the cache; and as that costs more than a list where its members lie
/// far apart, it takes only those that do not.
#[derive(Debug, Default)]
pub(crate) struct HostSet {
    /// The first 64 hosts, which most worlds do not go beyond.
    first: u64,
    /// The others, once there are any.
    others: Option<Box<Others>>,
}

#[derive(Debug, Default)]
struct Others {
    words: Vec<u64>,
    members: usize,
}

impl HostSet {
    #[inline]
    pub(crate) fn has(&self, host: u32) -> bool {
        let bit = 1 << (host % 64);
        let word = match (host / 64) as usize {
            0 => Some(self.first),
            place => self.others.as_ref().and_then(|others| others.words.get(place - 1).copied()),
        };
        word.is_some_and(|word| word & bit != 0)
    }

    /// Takes a host that is not there; false if it stands too far out.
    pub(crate) fn insert(&mut self, host: u32) -> bool {
        debug_assert!(!self.has(host), "{host}");
        let (word, bit) = ((host / 64) as usize, 1 << (host % 64));
        if word == 0 {
            self.first |= bit;
            return true;
        }
        if word > self.len() + ROOM {
            return false;
        }
        let Others { words, members } = &mut **self.others.get_or_insert_default();
        if words.len() < word {
            words.resize(word, 0);
        }
        words[word - 1] |= bit;
        *members += 1;
        true
    }

    /// Takes a host out; false if it was not there.
    pub(crate) fn remove(&mut self, host: u32) -> bool {
        if !self.has(host) {
            return false;
        }
        let bit = 1 << (host % 64);
        match ((host / 64) as usize, &mut self.others) {
            (0, _) => self.first &= !bit,
            (word, Some(others)) => {
                others.words[word - 1] &= !bit;
                others.members -= 1;
            }
            (_, None) => {}
        }
        true
    }

    /// Takes all of another set, none of whom is here, and leaves it empty.
    pub(crate) fn take_all(&mut self, other: &mut Self) {
        self.first |= std::mem::take(&mut other.first);
        let Some(others) = &mut other.others else { return };
        let Others { words, members } = &mut **self.others.get_or_insert_default();
        if words.len() < others.words.len() {
            words.resize(others.words.len(), 0);
        }
        for (word, other) in words.iter_mut().zip(others.words.drain(..)) {
            *word |= other;
        }
        *members += std::mem::take(&mut others.members);
    }

    fn len(&self) -> usize {
        let others = self.others.as_ref().map_or(0, |others| others.members);
        self.first.count_ones() as usize + others
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.first = 0;
        if let Some(others) = &mut self.others {
            others.words.clear();
            others.members = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_has_who_was_put_in_and_not_taken_out() {
        let (mut set, mut model) = (HostSet::default(), BTreeSet::new());
        for step in 0..4_000_u32 {
            let host = step.wrapping_mul(2_654_435_761) % 500;
            if step % 3 == 0 {
                assert_eq!(set.remove(host), model.remove(&host));
            } else if !model.contains(&host) {
                assert!(set.insert(host));
                model.insert(host);
            }
            assert_eq!(set.is_empty(), model.is_empty());
        }
        assert!((0..700).all(|host| set.has(host) == model.contains(&host)));
        set.clear();
        assert!(set.is_empty() && (0..700).all(|host| !set.has(host)));
    }

    #[test]
    fn of_two_sets_one_takes_all() {
        for (ours, theirs) in [(0..0, 0..500), (0..500, 0..0), (0..70, 70..71), (300..310, 0..99)] {
            let (mut set, mut other) = (HostSet::default(), HostSet::default());
            assert!(ours.clone().all(|host| set.insert(host)));
            assert!(theirs.clone().all(|host| other.insert(host)));
            set.take_all(&mut other);
            assert!(other.is_empty() && (0..600).all(|host| !other.has(host)));
            assert_eq!(set.len(), ours.len() + theirs.len());
            assert!(
                (0..600)
                    .all(|host| set.has(host) == (ours.contains(&host) || theirs.contains(&host)))
            );
        }
    }

    #[test]
    fn whoever_stands_far_out_is_taken_when_there_are_others() {
        let mut set = HostSet::default();
        assert!(!set.insert(u32::MAX) && !set.insert(9 * 64) && set.insert(9 * 64 - 1));
        assert!(set.insert(9 * 64), "one member makes room for one word");
        assert!(!set.has(u32::MAX) && set.has(9 * 64));
    }
}
