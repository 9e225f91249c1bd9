//! Where in a list something stands, found by its key in a step or two.
//!
//! A list that others only search by key needs no order of its own, and a sorted one costs a search and
//! a move for each newcomer. Here nothing depends on where a hash happens to put something: a table
//! answers "where is it?" and can be asked nothing else.

/// Lists up to this length are read through: that is quicker than a table.
const SHORT: usize = 4;
/// The first table has room for so many, half full at most.
const FIRST_SLOTS: usize = 16;

/// The places of the entries of a list to which entries are only added, by the hashes of their keys.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Open addressing: place + 1, or 0 in a free slot. Empty while the list is short.
    slots: Vec<u32>,
}

impl Places {
    /// The first of the entries with this hash, in order of addition, that `is_it`. The list has
    /// `length` entries.
    #[inline]
    pub(crate) fn find(
        &self,
        length: usize,
        hash: u64,
        mut is_it: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        if self.slots.is_empty() {
            return (0..length).find(|&place| is_it(place));
        }
        let mask = self.slots.len() - 1;
        let mut slot = self.home(hash);
        loop {
            match self.slots[slot & mask] {
                0 => return None,
                place if is_it(place as usize - 1) => return Some(place as usize - 1),
                _ => slot += 1,
            }
        }
    }

    /// Notes that the list has another entry, its last, and so `length` in all; `hash_of` knows the
    /// hashes of all of them.
    pub(crate) fn added(&mut self, length: usize, hash_of: impl Fn(usize) -> u64) {
        if length <= SHORT {
            return;
        }
        if 2 * length <= self.slots.len() {
            self.put(length - 1, hash_of(length - 1));
            return;
        }
        self.slots = vec![0; (2 * self.slots.len()).max(FIRST_SLOTS)];
        (0..length).for_each(|place| self.put(place, hash_of(place)));
    }

    /// Forgets all of them: the list is empty.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    fn put(&mut self, place: usize, hash: u64) {
        let mask = self.slots.len() - 1;
        let home = self.home(hash);
        let free = (home..).find(|slot| self.slots[slot & mask] == 0);
        self.slots[free.expect("it is half empty") & mask] = place as u32 + 1;
    }

    /// Where the search for a hash begins: its high bits are the best.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> (64 - self.slots.len().trailing_zeros())) as usize
    }
}

/// The hash of a number: the same on every machine.
#[inline]
pub(crate) fn hash_of(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_found_where_it_stands_and_no_other() {
        // As bad a hash as there can be, and a good one.
        for hash in [|key: u64| key & 1, hash_of] {
            let (mut list, mut places) = (Vec::new(), Places::default());
            for key in (0..300).map(|n| n * 10) {
                list.push(key);
                places.added(list.len(), |place| hash(list[place]));
                for wanted in 0..list.len() as u64 * 10 + 5 {
                    let found = places.find(list.len(), hash(wanted), |at| list[at] == wanted);
                    assert_eq!(found, list.iter().position(|&key| key == wanted));
                }
                if list.len() > 40 && hash(2) == 0 {
                    break;
                }
            }
        }
    }

    #[test]
    fn of_equal_keys_the_first_is_found_and_a_cleared_table_finds_none() {
        let (list, mut places) = ([7_u64; 9], Places::default());
        (1..=9).for_each(|length| places.added(length, |place| hash_of(list[place])));
        assert_eq!(places.find(9, hash_of(7), |_| true), Some(0));
        assert_eq!(places.find(9, hash_of(7), |place| place > 3), Some(4));
        places.clear();
        assert_eq!(places.find(0, hash_of(7), |_| true), None);
    }
}
