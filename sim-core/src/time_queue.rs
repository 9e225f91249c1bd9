//! The priority queue behind timers and the simulator's agenda.

use std::collections::VecDeque;

use crate::Time;

/// Deadlines with a slot number each, earliest first, equal deadlines in order of insertion
/// (contract A-41).
///
/// A 4-ary heap of 16-byte items (time, sequence, slot): the fastest of the six queues measured
/// for up to 100 000 pending entries; and beside it a plain queue for entries that come in the order
/// of their deadlines, as packets do. There is no removal by key. An owner that cancels an entry
/// forgets its slot's stamp, and skips the entry when it comes up; [`retain`](Self::retain) sweeps
/// such entries out.
///
/// ```
/// use sim_core::{Time, time_queue::TimeQueue};
///
/// let mut queue = TimeQueue::new();
/// queue.push(Time::from_nanos(9), 1);
/// let stamp = queue.push(Time::from_nanos(4), 2);
/// let first = queue.pop().unwrap();
/// assert_eq!((first.at.as_nanos(), first.slot, first.stamp), (4, 2, stamp));
/// ```
#[derive(Debug, Default, Clone)]
pub struct TimeQueue {
    /// The earliest entry, if it came when all others were later: what comes and goes while others
    /// wait passes through neither of the other two.
    first: Option<Item>,
    /// Entries that came in order.
    in_order: VecDeque<Item>,
    /// The others: a heap.
    items: Vec<Item>,
    next_stamp: u32,
}

/// An entry of a [`TimeQueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its deadline.
    pub at: Time,
    /// The number that the owner pushed with it.
    pub slot: u32,
    /// What [`TimeQueue::push`] returned for it.
    pub stamp: u32,
}

/// An entry as one number: deadline, stamp and slot, from the high bits down. Comparing entries is
/// comparing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item(u128);

impl Item {
    fn new(at: Time, stamp: u32, slot: u32) -> Self {
        let low = u64::from(stamp) << 32 | u64::from(slot);
        Self(u128::from(at.as_nanos()) << 64 | u128::from(low))
    }

    fn due(self) -> Due {
        let at = Time::from_nanos((self.0 >> 64) as u64);
        Due { at, stamp: (self.0 >> 32) as u32, slot: self.0 as u32 }
    }
}

const ARITY: usize = 4;

impl TimeQueue {
    /// An empty queue. Allocates with the first push.
    pub const fn new() -> Self {
        Self { first: None, in_order: VecDeque::new(), items: Vec::new(), next_stamp: 0 }
    }

    /// How many entries it holds, cancelled ones included.
    pub fn len(&self) -> usize {
        self.items.len() + self.in_order.len() + usize::from(self.first.is_some())
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.earliest().is_none()
    }

    /// Adds an entry and returns its stamp, which tells it from others that used the same slot.
    ///
    /// Stamps repeat after 2³² pushes; see [`stamps_left`](Self::stamps_left).
    #[inline]
    pub fn push(&mut self, at: Time, slot: u32) -> u32 {
        let item = self.next_item(at, slot);
        if let Some(item) = self.push_first(item) {
            self.push_item(item);
        }
        item.due().stamp
    }

    /// Adds an entry of a kind that usually comes in the order of deadlines, as what takes the same time
    /// each. It is [`push`](Self::push), but such entries pass each other nothing to compare with.
    ///
    /// ```
    /// use sim_core::{Time, time_queue::TimeQueue};
    ///
    /// let mut queue = TimeQueue::new();
    /// let slots = [(4, 1), (6, 2), (5, 3)];
    /// slots.map(|(at, slot)| queue.push_in_order(Time::from_nanos(at), slot));
    /// assert_eq!([(); 3].map(|()| queue.pop().unwrap().slot), [1, 3, 2]);
    /// ```
    #[inline]
    pub fn push_in_order(&mut self, at: Time, slot: u32) -> u32 {
        let item = self.next_item(at, slot);
        if let Some(item) = self.push_first(item) {
            if self.in_order.back().is_none_or(|last| *last < item) {
                self.in_order.push_back(item);
            } else {
                self.push_item(item);
            }
        }
        item.due().stamp
    }

    #[inline]
    fn next_item(&mut self, at: Time, slot: u32) -> Item {
        let item = Item::new(at, self.next_stamp, slot);
        self.next_stamp = self.next_stamp.wrapping_add(1);
        item
    }

    /// Takes an entry that is earlier than all others; else it comes back.
    #[inline]
    fn push_first(&mut self, item: Item) -> Option<Item> {
        if self.earliest().is_some_and(|earliest| earliest < item) {
            return Some(item);
        }
        if let Some(second) = self.first.replace(item) {
            self.in_order.push_front(second);
        }
        None
    }

    fn push_item(&mut self, item: Item) {
        self.items.push(item);
        self.sift_up(0, self.items.len() - 1);
    }

    #[inline]
    fn earliest(&self) -> Option<Item> {
        if self.first.is_some() {
            return self.first;
        }
        match (self.in_order.front(), self.items.first()) {
            (Some(a), Some(b)) => Some(*a.min(b)),
            (a, b) => a.or(b).copied(),
        }
    }

    /// How many pushes are left before stamps start again at 0 and would break the order of equal
    /// deadlines. An owner whose count runs out calls [`renumber`](Self::renumber).
    pub fn stamps_left(&self) -> u32 {
        u32::MAX - self.next_stamp
    }

    /// Gives every entry a new stamp, in order, from 0 on, and reports each change.
    pub fn renumber(&mut self, mut restamp: impl FnMut(Due, u32)) {
        self.items.extend(self.first.take().into_iter().chain(self.in_order.drain(..)));
        self.items.sort_unstable();
        for (stamp, item) in (0..).zip(&mut self.items) {
            let due = item.due();
            restamp(due, stamp);
            *item = Item::new(due.at, stamp, due.slot);
        }
        self.next_stamp = u32::try_from(self.items.len()).expect("fewer than 2³² entries");
    }

    /// The earliest entry.
    #[inline]
    pub fn peek(&self) -> Option<Due> {
        self.earliest().map(Item::due)
    }

    /// Takes the earliest entry out.
    #[inline]
    pub fn pop(&mut self) -> Option<Due> {
        if let Some(first) = self.first.take() {
            return Some(first.due());
        }
        let earliest = self.earliest()?;
        if self.in_order.front() == Some(&earliest) {
            self.in_order.pop_front();
        } else {
            self.pop_item();
        }
        Some(earliest.due())
    }

    /// Takes the earliest entry off the heap.
    fn pop_item(&mut self) {
        if let Some(last) = self.items.pop()
            && !self.items.is_empty()
        {
            self.items[0] = last;
            self.sift_down(0);
        }
    }

    /// Drops the entries for which `keep` says false. Costs the size of the queue.
    pub fn retain(&mut self, mut keep: impl FnMut(Due) -> bool) {
        self.first = self.first.filter(|item| keep(item.due()));
        self.in_order.retain(|item| keep(item.due()));
        self.items.retain(|item| keep(item.due()));
        for parent in (0..self.items.len().div_ceil(ARITY)).rev() {
            self.sift_down(parent);
        }
    }

    /// How many entries it has room for, where they are waited for in a heap.
    pub fn capacity(&self) -> usize {
        self.items.capacity().max(self.in_order.capacity())
    }

    /// Forgets every entry, and stamps those to come from 0 on.
    pub fn clear(&mut self) {
        self.next_stamp = 0;
        self.first = None;
        self.in_order.clear();
        self.items.clear();
    }

    /// Moves the entry at `child` up to its place, no higher than `top`.
    #[inline]
    fn sift_up(&mut self, top: usize, mut child: usize) {
        let items = self.items.as_mut_slice();
        let item = items[child];
        while child > top {
            let parent = (child - 1) / ARITY;
            if item >= items[parent] {
                break;
            }
            items[child] = items[parent];
            child = parent;
        }
        items[child] = item;
    }

    /// Moves the entry at `top` down to its place: first to the bottom, along the least children,
    /// then up. It came from the bottom, so that is shorter than comparing it on the way.
    #[inline]
    fn sift_down(&mut self, top: usize) {
        let items = self.items.as_mut_slice();
        let Some(&item) = items.get(top) else { return };
        let mut hole = top;
        loop {
            let first = ARITY * hole + 1;
            let least = match items.get(first..first + ARITY) {
                Some(children) => {
                    let left = usize::from(children[1] < children[0]);
                    let right = 2 + usize::from(children[3] < children[2]);
                    first + if children[right] < children[left] { right } else { left }
                }
                None => match (first..items.len()).min_by_key(|&child| items[child]) {
                    Some(least) => least,
                    None => break,
                },
            };
            items[hole] = items[least];
            hole = least;
        }
        items[hole] = item;
        self.sift_up(top, hole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    fn drain(queue: &mut TimeQueue) -> Vec<(u64, u32)> {
        std::iter::from_fn(|| queue.pop()).map(|due| (due.at.as_nanos(), due.slot)).collect()
    }

    #[test]
    fn equal_deadlines_keep_insertion_order() {
        let mut queue = TimeQueue::new();
        for slot in 0..100 {
            queue.push(Time::from_nanos(7), slot);
        }
        assert_eq!(drain(&mut queue), (0..100).map(|slot| (7, slot)).collect::<Vec<_>>());
    }

    #[test]
    fn agrees_with_a_sorted_list_under_random_pushes_pops_and_sweeps() {
        let mut rng = Rng::from_seed([9; 32]);
        let mut queue = TimeQueue::new();
        let mut list: Vec<(u64, u32)> = Vec::new();
        for slot in 0..20_000 {
            let at = rng.below(500);
            if slot % 2 == 0 {
                queue.push(Time::from_nanos(at), slot);
            } else {
                queue.push_in_order(Time::from_nanos(at + u64::from(slot) / 40), slot);
            }
            let at = if slot % 2 == 0 { at } else { at + u64::from(slot) / 40 };
            let place = list.partition_point(|&(time, _)| time <= at);
            list.insert(place, (at, slot));
            while rng.ratio(45, 100) && !list.is_empty() {
                let due = queue.pop().unwrap();
                assert_eq!((due.at.as_nanos(), due.slot), list.remove(0));
            }
            if slot % 1_000 == 999 {
                queue.retain(|due| due.slot % 3 != 0);
                list.retain(|&(_, slot)| slot % 3 != 0);
            }
            if slot % 5_000 == 4_999 {
                queue.renumber(|_, _| {});
            }
        }
        assert_eq!(drain(&mut queue), list);
    }
}
