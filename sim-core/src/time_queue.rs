//! The priority queue behind timers and the simulator's agenda.

use std::collections::VecDeque;

use crate::Time;

/// Deadlines with a slot number each, earliest first, equal deadlines in order of insertion
/// (contract A-41).
///
/// A 4-ary heap of 16-byte items (time, sequence, slot): the fastest of the six queues measured
/// for up to 100 000 pending entries; and beside it two plain queues for entries that come in the order
/// of their deadlines, as packets do and timers of one period. There is no removal by key. An owner that
/// cancels an entry forgets its slot's stamp, and skips the entry when it comes up;
/// [`retain`](Self::retain) sweeps such entries out.
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
    /// The earliest entry, if there is any: it is asked for far more often than it changes, and what comes
    /// and goes while others wait passes through neither of the other two.
    first: Option<Item>,
    /// Entries that came in order, of each kind.
    in_order: [VecDeque<Item>; 2],
    /// The others: a heap.
    items: Vec<Item>,
    next_stamp: u32,
}

/// A kind of entries that usually come in the order of their deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They wait for a short time.
    Short,
    /// They wait for longer.
    Long,
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
        Self {
            first: None,
            in_order: [VecDeque::new(), VecDeque::new()],
            items: Vec::new(),
            next_stamp: 0,
        }
    }

    /// How many entries it holds, cancelled ones included.
    pub fn len(&self) -> usize {
        let in_order: usize = self.in_order.iter().map(VecDeque::len).sum();
        self.items.len() + in_order + usize::from(self.first.is_some())
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
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
    /// each. It is [`push`](Self::push), but such entries pass each other nothing to compare with. There
    /// are two such kinds, since what takes short and what takes long are each in order, and not together.
    ///
    /// ```
    /// use sim_core::{Time, time_queue::{Kind, TimeQueue}};
    ///
    /// let mut queue = TimeQueue::new();
    /// let slots = [(4, 1), (6, 2), (5, 3)];
    /// slots.map(|(at, slot)| queue.push_in_order(Time::from_nanos(at), slot, Kind::Short));
    /// queue.push_in_order(Time::from_nanos(7), 4, Kind::Long);
    /// assert_eq!([(); 4].map(|()| queue.pop().unwrap().slot), [1, 3, 2, 4]);
    /// ```
    #[inline(always)]
    pub fn push_in_order(&mut self, at: Time, slot: u32, kind: Kind) -> u32 {
        let item = self.next_item(at, slot);
        if let Some(item) = self.push_first(item) {
            let order = &mut self.in_order[kind as usize];
            if order.back().is_none_or(|last| *last < item) {
                order.push_back(item);
            } else {
                self.push_out_of_order(item, kind);
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
        match &mut self.first {
            Some(first) if *first < item => Some(item),
            Some(first) => {
                let second = std::mem::replace(first, item);
                self.in_order[Kind::Short as usize].push_front(second);
                None
            }
            first => {
                *first = Some(item);
                None
            }
        }
    }

    /// Takes an entry of a kind that is earlier than the last one of it.
    #[inline(never)]
    fn push_out_of_order(&mut self, item: Item, kind: Kind) {
        let order = &mut self.in_order[kind as usize];
        let before_last = order.len().checked_sub(2).map(|place| order[place]);
        let late = match order.back_mut() {
            // It alone is out of order: it waits for long, and would hold up all that is to come.
            Some(last) if before_last.is_none_or(|before| before < item) => {
                std::mem::replace(last, item)
            }
            _ => item,
        };
        self.push_item(late);
    }

    fn push_item(&mut self, item: Item) {
        self.items.push(item);
        self.sift_up(0, self.items.len() - 1);
    }

    /// How many pushes are left before stamps start again at 0 and would break the order of equal
    /// deadlines. An owner whose count runs out calls [`renumber`](Self::renumber).
    pub fn stamps_left(&self) -> u32 {
        u32::MAX - self.next_stamp
    }

    /// Gives every entry a new stamp, in order, from 0 on, and reports each change.
    pub fn renumber(&mut self, mut restamp: impl FnMut(Due, u32)) {
        self.items.extend(self.first.take());
        self.in_order.iter_mut().for_each(|order| self.items.extend(order.drain(..)));
        self.items.sort_unstable();
        for (stamp, item) in (0..).zip(&mut self.items) {
            let due = item.due();
            restamp(due, stamp);
            *item = Item::new(due.at, stamp, due.slot);
        }
        self.next_stamp = u32::try_from(self.items.len()).expect("fewer than 2³² entries");
        self.first = self.take_least();
    }

    /// The earliest entry.
    #[inline]
    pub fn peek(&self) -> Option<Due> {
        self.first.map(Item::due)
    }

    /// The slot of an entry that comes soon: of those of the [short](Kind::Short) kind, the one with so many others between it
    /// and [the first](Self::peek), if there are as many. What comes in between, if anything, is not known.
    ///
    /// ```
    /// use sim_core::{Time, time_queue::{Kind, TimeQueue}};
    ///
    /// let mut queue = TimeQueue::new();
    /// for slot in 0..4 {
    ///     queue.push_in_order(Time::from_nanos(slot.into()), slot, Kind::Short);
    /// }
    /// assert_eq!([0, 2, 3].map(|distance| queue.upcoming(distance)), [Some(1), Some(3), None]);
    /// ```
    #[inline(always)]
    pub fn upcoming(&self, distance: usize) -> Option<u32> {
        self.in_order[Kind::Short as usize].get(distance).map(|item| item.0 as u32)
    }

    /// Takes the earliest entry out.
    #[inline]
    pub fn pop(&mut self) -> Option<Due> {
        let first = self.first?;
        self.first = self.take_least();
        Some(first.due())
    }

    /// Takes the earliest entry out if its deadline is `by` or before. If it is not, `Err` has it.
    ///
    /// ```
    /// use sim_core::{Time, time_queue::TimeQueue};
    ///
    /// let (mut queue, at) = (TimeQueue::new(), Time::from_nanos(4));
    /// queue.push(at, 7);
    /// assert_eq!(queue.pop_due(Time::from_nanos(3)), Err(queue.peek()));
    /// assert_eq!(queue.pop_due(at).unwrap().slot, 7);
    /// assert_eq!(queue.pop_due(at), Err(None));
    /// ```
    ///
    /// # Errors
    ///
    /// The earliest entry, if there is one and it is not due.
    #[inline]
    pub fn pop_due(&mut self, by: Time) -> Result<Due, Option<Due>> {
        let due = self.first.ok_or(None)?.due();
        if due.at > by {
            return Err(Some(due));
        }
        self.first = self.take_least();
        Ok(due)
    }

    /// Takes out the earliest of what waits behind the first.
    #[inline]
    fn take_least(&mut self) -> Option<Item> {
        const NONE: Item = Item(u128::MAX);
        let [short, long] = &mut self.in_order;
        let of_short = short.front().copied().unwrap_or(NONE);
        let of_long = long.front().copied().unwrap_or(NONE);
        let of_heap = self.items.first().copied().unwrap_or(NONE);
        if of_short <= of_long && of_short <= of_heap {
            short.pop_front()
        } else if of_long <= of_heap {
            long.pop_front()
        } else {
            self.pop_item();
            Some(of_heap)
        }
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
        self.in_order.iter_mut().for_each(|order| order.retain(|item| keep(item.due())));
        self.items.retain(|item| keep(item.due()));
        for parent in (0..self.items.len().div_ceil(ARITY)).rev() {
            self.sift_down(parent);
        }
        if self.first.is_none() {
            self.first = self.take_least();
        }
    }

    /// How many entries it has room for, where they are waited for in a heap.
    pub fn capacity(&self) -> usize {
        let in_order = self.in_order.iter().map(VecDeque::capacity);
        in_order.fold(self.items.capacity(), usize::max)
    }

    /// Forgets every entry, and stamps those to come from 0 on.
    pub fn clear(&mut self) {
        self.next_stamp = 0;
        self.first = None;
        self.in_order.iter_mut().for_each(VecDeque::clear);
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
            // At random, and almost in one order and in another.
            let at = match slot % 4 {
                0 | 2 => at,
                1 => at + u64::from(slot) / 40,
                _ => 300 + at / 8 + u64::from(slot) / 40,
            };
            match slot % 4 {
                1 => queue.push_in_order(Time::from_nanos(at), slot, Kind::Short),
                3 => queue.push_in_order(Time::from_nanos(at), slot, Kind::Long),
                _ => queue.push(Time::from_nanos(at), slot),
            };
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
