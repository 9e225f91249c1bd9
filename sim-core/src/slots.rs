//! Numbered places for values, whose memory can be asked for before it is needed.

use std::fmt;

use crate::cache;

/// Values in numbered places: one that is removed leaves its place to the next that comes.
///
/// It is what the crate `slab` has, and beside that [`prefetch`](Self::prefetch): where a place lies is known without a look
/// at it.
///
/// ```
/// use sim_core::slots::Slots;
///
/// let mut slots = Slots::new();
/// let (a, b) = (slots.insert('a'), slots.insert('b'));
/// assert_eq!((a, b, slots.remove(a)), (0, 1, Some('a')));
/// assert_eq!((slots.get(a), slots.get(b)), (None, Some(&'b')));
/// assert_eq!((slots.insert('c'), slots.insert('d')), (0, 2));
/// ```
#[derive(Clone)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
    /// The place that the next value takes: the one that became vacant last, or a new one.
    next: u32,
    len: usize,
}

#[derive(Clone)]
enum Place<T> {
    /// And which one was vacant before it.
    Vacant(u32),
    Taken(T),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<T> Slots<T> {
    /// Without a value. Allocates with the first one.
    pub const fn new() -> Self {
        Self { places: Vec::new(), next: 0, len: 0 }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many values there is room for.
    pub fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// The place that the next value will have.
    #[inline]
    pub fn next_index(&self) -> u32 {
        self.next
    }

    /// Puts a value into a place, and says which.
    ///
    /// # Panics
    ///
    /// With 2³² values.
    #[inline]
    pub fn insert(&mut self, value: T) -> u32 {
        let index = self.next;
        match self.places.get_mut(index as usize) {
            Some(place) => {
                if let Place::Vacant(before) = *place {
                    self.next = before;
                }
                *place = Place::Taken(value);
            }
            None => {
                self.places.push(Place::Taken(value));
                self.next = u32::try_from(self.places.len()).expect("fewer than 2³² values");
            }
        }
        self.len += 1;
        index
    }

    /// The value in a place.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        match self.places.get(index as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    /// The value in a place, to be changed.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.places.get_mut(index as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    /// Asks for the memory of a place, of which nothing is read.
    #[inline(always)]
    pub fn prefetch(&self, index: u32) {
        if let Some(place) = self.places.get(index as usize) {
            cache::prefetch(place);
        }
    }

    /// Takes the value out of a place.
    #[inline]
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let place = self.places.get_mut(index as usize)?;
        if let Place::Vacant(_) = place {
            return None;
        }
        let before = std::mem::replace(place, Place::Vacant(self.next));
        self.next = index;
        self.len -= 1;
        match before {
            Place::Taken(value) => Some(value),
            Place::Vacant(_) => None,
        }
    }

    /// The values and their places, in the order of those.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.places).filter_map(|(index, place)| match place {
            Place::Taken(value) => Some((index, value)),
            Place::Vacant(_) => None,
        })
    }

    /// Takes all values out, in the order of their places. Those to come are in place 0 and so on, in the room that there is.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.next = 0;
        self.len = 0;
        self.places.drain(..).filter_map(|place| match place {
            Place::Taken(value) => Some(value),
            Place::Vacant(_) => None,
        })
    }

    /// Drops all values. Those to come are in place 0 and so on, in the room that there is.
    pub fn clear(&mut self) {
        self.places.clear();
        self.next = 0;
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slab::Slab;

    use super::*;

    proptest! {
        #[test]
        fn places_are_those_of_a_slab(steps in prop::collection::vec((0_u8..20, 0_u32..12), 0..200)) {
            let (mut slots, mut slab) = (Slots::new(), Slab::new());
            for (step, index) in steps {
                match step {
                    0..10 => prop_assert_eq!(slots.insert(index) as usize, slab.insert(index)),
                    10..18 => {
                        prop_assert_eq!(slots.remove(index), slab.try_remove(index as usize));
                    }
                    18 => prop_assert!(slots.drain().eq(slab.drain())),
                    _ => (slots.clear(), slab.clear()).1,
                }
                prop_assert_eq!(slots.next_index() as usize, slab.vacant_key());
                prop_assert_eq!((slots.len(), slots.is_empty()), (slab.len(), slab.is_empty()));
                prop_assert_eq!(slots.get(index), slab.get(index as usize));
                prop_assert_eq!(slots.get_mut(index), slab.get_mut(index as usize));
                let own: Vec<_> = slots.iter().map(|(index, value)| (index as usize, value)).collect();
                prop_assert_eq!(own, slab.iter().collect::<Vec<_>>());
                slots.prefetch(index);
            }
        }
    }
}
