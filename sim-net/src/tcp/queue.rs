//! The queue of a connection: of what waits to be acknowledged, or to be read.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

/// How many elements an empty queue keeps room for, so that the steady state allocates nothing.
const SPARE_MAX: usize = 256;

/// A queue that has its first element in itself. In a dialogue that is all there is, so such a
/// connection needs no memory beside its own, and a look at the queue is none at other memory.
#[derive(Debug)]
pub(super) struct Queue<T> {
    first: Option<T>,
    /// Once there were two. Empty if there is no first.
    #[allow(clippy::box_collection, reason = "most never have one")]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> Queue<T> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    #[inline]
    pub(super) fn back(&self) -> Option<&T> {
        self.rest.as_ref().and_then(|rest| rest.back()).or(self.first.as_ref())
    }

    #[inline]
    pub(super) fn back_mut(&mut self) -> Option<&mut T> {
        let last = self.rest.as_mut().and_then(|rest| rest.back_mut());
        last.or(self.first.as_mut())
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match index {
            0 => self.first.as_ref(),
            _ => self.rest.as_ref()?.get(index - 1),
        }
    }

    /// Inlined, so that a first element is made where it stays: what was made elsewhere, field by field, waits there
    /// before it can be moved as a whole.
    #[inline(always)]
    pub(super) fn push_back(&mut self, element: T) {
        if self.first.is_none() {
            self.first = Some(element);
        } else {
            self.push_behind(element);
        }
    }

    #[inline(never)]
    fn push_behind(&mut self, element: T) {
        self.rest.get_or_insert_default().push_back(element);
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take();
        if self.rest.is_some() {
            self.advance();
        }
        first
    }

    /// The second element becomes the first.
    #[inline(never)]
    fn advance(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        self.first = rest.pop_front();
        if self.first.is_none() && rest.capacity() > SPARE_MAX {
            rest.shrink_to(SPARE_MAX);
        }
    }

    /// Puts an element at a place that is not the first.
    pub(super) fn insert(&mut self, index: usize, element: T) {
        self.rest.get_or_insert_default().insert(index - 1, element);
    }

    /// The elements from a place on.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = &T> {
        let rest =
            self.rest.as_ref().map(|rest| rest.range(first.saturating_sub(1).min(rest.len())..));
        let own = self.first.as_ref().filter(|_| first == 0);
        own.into_iter().chain(rest.into_iter().flatten())
    }

    /// The place of the first element of which `test` is not true; it is true of all before it.
    pub(super) fn partition_point(&self, mut test: impl FnMut(&T) -> bool) -> usize {
        match &self.first {
            Some(first) if test(first) => {
                1 + self.rest.as_ref().map_or(0, |rest| rest.partition_point(test))
            }
            _ => 0,
        }
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        let rest = self.rest.as_mut().map(|rest| rest.drain(..));
        self.first.take().into_iter().chain(rest.into_iter().flatten())
    }

    /// Bytes of memory beyond its own.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let of = |rest: &VecDeque<T>| size_of::<VecDeque<T>>() + rest.capacity() * size_of::<T>();
        self.rest.as_deref().map_or(0, of)
    }
}

impl<T> Index<usize> for Queue<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        self.get(index).expect("a place in the queue")
    }
}

impl<T> IndexMut<usize> for Queue<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let place = match index {
            0 => self.first.as_mut(),
            _ => self.rest.as_mut().and_then(|rest| rest.get_mut(index - 1)),
        };
        place.expect("a place in the queue")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Pushes for numbers below 6, and takes from the front for the others.
        #[test]
        fn it_is_as_a_queue_of_the_standard_library(steps in prop::collection::vec(0_u32..10, 1..60)) {
            let (mut queue, mut model) = (Queue::default(), VecDeque::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    0..5 => {
                        queue.push_back(number);
                        model.push_back(number);
                    }
                    5 if model.len() > 1 => {
                        queue.insert(1, number);
                        model.insert(1, number);
                    }
                    _ => prop_assert_eq!(queue.pop_front(), model.pop_front()),
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!((queue.front(), queue.back()), (model.front(), model.back()));
                for place in 0..=model.len() {
                    prop_assert_eq!(queue.get(place), model.get(place));
                    let from: Vec<_> = queue.from(place).collect();
                    prop_assert_eq!(from, model.range(place..).collect::<Vec<_>>());
                }
            }
            let point = |&&place: &&usize| place < model.len();
            let places = (0..model.len() + 1).collect::<Vec<_>>();
            prop_assert_eq!(places.iter().filter(point).count(), queue.partition_point(|_| true));
            prop_assert_eq!(queue.drain().collect::<VecDeque<_>>(), model);
        }
    }

    #[test]
    fn one_element_takes_no_memory() {
        let mut queue = Queue::default();
        for number in 0..1_000 {
            queue.push_back(number);
            assert_eq!(queue.pop_front(), Some(number));
        }
        assert_eq!(queue.held(), 0);
    }
}
