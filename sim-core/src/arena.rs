//! Places whose keys carry a generation, so that a stale key finds nothing.

use crate::slots::Slots;

/// A place in an [`Arena`], and which of the values that were there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Slots<(u32, T)>,
    next_generation: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Slots::new(), next_generation: 1 }
    }

    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        Key { index: self.slots.insert((generation, value)), generation }
    }

    /// Inserts what `make` makes of the key that it will have.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> T
    where
        T: Clone,
    {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let value = make(Key { index: self.slots.next_index(), generation });
        self.slots.insert((generation, value.clone()));
        value
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index) {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Asks for the memory of a place, whatever is there.
    #[inline(always)]
    pub(crate) fn prefetch(&self, key: Key) {
        self.slots.prefetch(key.index);
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index) {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.slots.remove(key.index).map(|(_, value)| value)
    }

    /// The key and value now at `index`, whatever their generation.
    #[inline]
    pub(crate) fn at_index(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let (generation, value) = self.slots.get_mut(index)?;
        Some((Key { index, generation: *generation }, value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots
            .iter()
            .map(|(index, (generation, value))| (Key { index, generation: *generation }, value))
    }

    /// How many values it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Makes it as new but for its room, if it is empty; false if it is not.
    pub(crate) fn renew(&mut self) -> bool {
        if !self.slots.is_empty() {
            return false;
        }
        // So that its places are taken in order again.
        self.slots.clear();
        self.next_generation = 1;
        true
    }

    /// Empties it. The values come back, in order of insertion, so that they can be dropped outside
    /// any borrow.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        if self.slots.is_empty() {
            return Vec::new();
        }
        let mut all: Vec<_> = self.slots.drain().collect();
        let next = self.next_generation;
        all.sort_by_key(|(generation, _)| std::cmp::Reverse(next.wrapping_sub(*generation)));
        all.into_iter().map(|(_, value)| value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_removed_value_finds_nothing_in_its_old_place() {
        let mut arena = Arena::new();
        let first = arena.insert('a');
        assert_eq!(arena.remove(first), Some('a'));
        let second = arena.insert('b');
        assert_eq!(second.index, first.index);
        assert_eq!((arena.get(first), arena.get(second)), (None, Some(&'b')));
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }
}
