//! In which order a queue gives back its items.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// The items of a [queue](super::OrderedQueue), and in which order they come back.
pub trait Order<T>: Default {
    /// Adds an item.
    fn push(&mut self, item: T);
    /// Takes the next item.
    fn pop(&mut self) -> Option<T>;
    /// How many there are.
    fn len(&self) -> usize;
    /// True if there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What came first comes back first.
#[derive(Clone, Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// What came last comes back first.
#[derive(Clone, Debug)]
pub struct Lifo<T>(Vec<T>);

/// The lowest comes back first; of those that are equal, what came first.
#[derive(Clone, Debug)]
pub struct Lowest<T> {
    heap: BinaryHeap<Numbered<T>>,
    next: u64,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Default for Lowest<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), next: 0 }
    }
}

impl<T> Order<T> for Fifo<T> {
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Order<T> for Lifo<T> {
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> Order<T> for Lowest<T> {
    fn push(&mut self, item: T) {
        let number = self.next;
        self.next += 1;
        self.heap.push(Numbered { item, number });
    }

    fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|numbered| numbered.item)
    }

    fn len(&self) -> usize {
        self.heap.len()
    }
}

/// An item with its place in line. The greatest of them, which a heap gives back first, is the lowest item that
/// came first.
#[derive(Clone, Debug)]
struct Numbered<T> {
    item: T,
    number: u64,
}

impl<T: Ord> Ord for Numbered<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.item.cmp(&self.item).then_with(|| other.number.cmp(&self.number))
    }
}

impl<T: Ord> PartialOrd for Numbered<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Numbered<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Numbered<T> {}
