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
    others: Vec<u64>,
    members: u32,
}

impl HostSet {
    #[inline]
    pub(crate) fn has(&self, host: u32) -> bool {
        let bit = 1 << (host % 64);
        match (host / 64) as usize {
            0 => self.first & bit != 0,
            word => self.others.get(word - 1).is_some_and(|word| word & bit != 0),
        }
    }

    /// Takes a host that is not there; false if it stands too far out.
    pub(crate) fn insert(&mut self, host: u32) -> bool {
        let (word, bit) = ((host / 64) as usize, 1 << (host % 64));
        if word > self.members as usize + ROOM {
            return false;
        }
        self.members += 1;
        if word == 0 {
            self.first |= bit;
            return true;
        }
        if self.others.len() < word {
            self.others.resize(word, 0);
        }
        self.others[word - 1] |= bit;
        true
    }

    /// Takes a host out; false if it was not there.
    pub(crate) fn remove(&mut self, host: u32) -> bool {
        if !self.has(host) {
            return false;
        }
        self.members -= 1;
        let bit = 1 << (host % 64);
        match (host / 64) as usize {
            0 => self.first &= !bit,
            word => self.others[word - 1] &= !bit,
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.first = 0;
        self.others.clear();
        self.members = 0;
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
    fn whoever_stands_far_out_is_taken_when_there_are_others() {
        let mut set = HostSet::default();
        assert!(!set.insert(u32::MAX) && !set.insert(9 * 64) && set.insert(9 * 64 - 1));
        assert!(set.insert(9 * 64), "one member makes room for one word");
        assert!(!set.has(u32::MAX) && set.has(9 * 64));
    }
}
