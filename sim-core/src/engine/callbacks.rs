//! Callbacks that wait, queued or timed.

use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use crate::Time;
use crate::arena::{Arena, Key};
use crate::time_queue::TimeQueue;

/// What a callback does when its time comes.
pub(crate) enum Action {
    Call(Box<dyn FnOnce()>),
    /// A closure of a protocol, in the protocol's own typed table.
    Posted(Rc<dyn Posted>, u32),
    Wake(Waker),
    /// Wakes a task of this engine.
    Step(Key),
}

/// A table of typed closures, reached without its type.
pub(crate) trait Posted {
    /// Runs the closure, which was posted at `place`.
    fn run(&self, slot: u32, place: Place);
    /// Forgets the closure; its destructor runs here.
    fn discard(self: Rc<Self>, slot: u32);
}

impl Action {
    /// Drops it with what belongs to it. Runs user destructors: call it outside any borrow.
    pub(crate) fn discard(self) {
        if let Self::Posted(table, slot) = self {
            table.discard(slot);
        }
    }
}

/// Where user code made something; `None` if the engine did.
pub(crate) type Place = Option<&'static Location<'static>>;

pub(crate) struct Callback {
    pub(crate) action: Action,
    timed: Timed,
    place: Place,
}

/// What a callback has to do with time.
#[derive(Clone, Copy)]
enum Timed {
    /// Nothing: it is of `call_soon`.
    No,
    /// It waits in the queue, under this stamp.
    Waiting(Time, u32),
    /// Its deadline has come.
    Due(Time),
}

/// The table of waiting callbacks, and the queue of those that wait for a time.
///
/// A cancelled timer leaves its queue entry behind; the entry's stamp no longer matches and it is
/// skipped. `cancelled` counts such entries exactly (contract A-49).
#[repr(C)]
pub(crate) struct Callbacks {
    /// The deadline of the first entry of `queue`; `NEVER` if there is none. Every turn asks for it.
    earliest: Time,
    cancelled: usize,
    queue: TimeQueue,
    table: Arena<Callback>,
}

/// From this many timers on, cancelled ones are swept out once they are the majority.
const SWEEP_FROM: usize = 100;

impl Default for Callbacks {
    fn default() -> Self {
        Self { earliest: Time::NEVER, cancelled: 0, queue: TimeQueue::new(), table: Arena::new() }
    }
}

impl Callbacks {
    /// The queue has another first entry, perhaps.
    #[inline]
    fn look_again(&mut self) {
        self.earliest = self.queue.peek().map_or(Time::NEVER, |due| due.at);
    }

    #[inline]
    pub(crate) fn insert(&mut self, place: Place, action: Action) -> Key {
        self.table.insert(Callback { action, timed: Timed::No, place })
    }

    /// Where user code made a callback.
    pub(crate) fn place(&self, key: Key) -> Place {
        self.table.get(key)?.place
    }

    #[inline]
    pub(crate) fn insert_timer(&mut self, at: Time, place: Place, action: Action) -> Key {
        if self.queue.stamps_left() == 0 {
            self.renumber();
        }
        let key = self.table.insert(Callback { action, timed: Timed::No, place });
        let stamp = self.queue.push(at, key.index);
        self.earliest = self.earliest.min(at);
        self.table.get_mut(key).expect("just inserted").timed = Timed::Waiting(at, stamp);
        key
    }

    fn renumber(&mut self) {
        self.sweep();
        let table = &mut self.table;
        self.queue.renumber(|due, stamp| {
            if let Some((_, callback)) = table.at_index(due.slot) {
                callback.timed = Timed::Waiting(due.at, stamp);
            }
        });
    }

    /// Takes a callback out to run it, with the deadline that it had and where user code made it.
    #[inline]
    pub(crate) fn take(&mut self, key: Key) -> Option<(Action, Option<Time>, Place)> {
        let callback = self.table.remove(key)?;
        let deadline = match callback.timed {
            Timed::No => None,
            Timed::Waiting(at, _) | Timed::Due(at) => Some(at),
        };
        Some((callback.action, deadline, callback.place))
    }

    /// Takes a callback out for good; the deadline too, if it was still waiting for it.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<(Action, Option<Time>)> {
        let callback = self.table.remove(key)?;
        let waited_for = match callback.timed {
            Timed::Waiting(at, _) => Some(at),
            Timed::No | Timed::Due(_) => None,
        };
        self.cancelled += usize::from(waited_for.is_some());
        Some((callback.action, waited_for))
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        self.table.get(key).is_some()
    }

    /// The timers that user code made and that wait, with their deadlines.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Time, &'static Location<'static>)> {
        self.table.iter().filter_map(|(_, callback)| match callback.timed {
            Timed::Waiting(at, _) => Some((at, callback.place?)),
            Timed::No | Timed::Due(_) => None,
        })
    }

    pub(crate) fn action_mut(&mut self, key: Key) -> Option<&mut Action> {
        self.table.get_mut(key).map(|callback| &mut callback.action)
    }

    #[inline]
    fn is_live(table: &mut Arena<Callback>, slot: u32, stamp: u32) -> Option<Key> {
        let (key, callback) = table.at_index(slot)?;
        matches!(callback.timed, Timed::Waiting(_, own) if own == stamp).then_some(key)
    }

    /// Drops cancelled entries from the head, and all of them when they are many.
    #[inline]
    pub(crate) fn clean(&mut self) {
        if self.cancelled > 0 {
            self.drop_cancelled();
        }
    }

    fn drop_cancelled(&mut self) {
        if self.queue.len() > SWEEP_FROM && self.cancelled > self.queue.len() / 2 {
            self.sweep();
        }
        while let Some(due) = self.queue.peek() {
            if Self::is_live(&mut self.table, due.slot, due.stamp).is_some() {
                break;
            }
            self.queue.pop();
            self.cancelled -= 1;
        }
        self.look_again();
    }

    fn sweep(&mut self) {
        let table = &mut self.table;
        self.queue.retain(|due| Self::is_live(table, due.slot, due.stamp).is_some());
        self.cancelled = 0;
        self.look_again();
    }

    /// The earliest live deadline.
    #[inline(always)]
    pub(crate) fn next_deadline(&mut self) -> Option<Time> {
        self.clean();
        Some(self.earliest).filter(|&at| at != Time::NEVER)
    }

    /// True if a timer is due at `now`, or was before it was cancelled.
    #[inline]
    pub(crate) fn may_be_due(&self, now: Time) -> bool {
        self.earliest <= now
    }

    /// Takes the next timer that is due at `now` from the queue; its callback stays in the table.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Key> {
        loop {
            if self.earliest > now || self.earliest == Time::NEVER {
                return None;
            }
            let due = self.queue.pop()?;
            self.look_again();
            let Some(key) = Self::is_live(&mut self.table, due.slot, due.stamp) else {
                self.cancelled -= 1;
                continue;
            };
            self.table.get_mut(key).expect("it is live").timed = Timed::Due(due.at);
            return Some(key);
        }
    }

    /// How many callbacks it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.table.capacity().max(self.queue.capacity())
    }

    /// Makes it as new but for its room, if it is empty; false if it is not.
    pub(crate) fn renew(&mut self) -> bool {
        self.queue.clear();
        self.earliest = Time::NEVER;
        self.cancelled = 0;
        self.table.renew()
    }

    pub(crate) fn take_all(&mut self) -> Vec<Action> {
        self.queue.clear();
        self.earliest = Time::NEVER;
        self.cancelled = 0;
        if self.table.is_empty() {
            return Vec::new();
        }
        self.table.take_all().into_iter().map(|callback| callback.action).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn timer(callbacks: &mut Callbacks, at: u64) -> Key {
        callbacks.insert_timer(Time::from_nanos(at), None, Action::Wake(Waker::noop().clone()))
    }

    /// a cancelled timer at the head is not the next deadline.
    #[test]
    fn a_cancelled_head_is_skipped() {
        let mut callbacks = Callbacks::default();
        let near = timer(&mut callbacks, 1);
        timer(&mut callbacks, 5);
        assert!(callbacks.cancel(near).is_some());
        assert_eq!(callbacks.next_deadline(), Some(Time::from_nanos(5)));
        assert_eq!(callbacks.cancelled, 0);
    }

    /// more than a hundred timers, more than half of them cancelled: one sweep.
    #[test]
    fn the_majority_of_cancelled_timers_is_swept_out() {
        for (cancelled, left_in_queue) in [(50, 101), (51, 50)] {
            let mut callbacks = Callbacks::default();
            let keys: Vec<Key> = (0..101).map(|at| timer(&mut callbacks, at)).collect();
            for key in keys.iter().rev().take(cancelled) {
                callbacks.cancel(*key);
            }
            callbacks.clean();
            assert_eq!(callbacks.queue.len(), left_in_queue, "{cancelled} cancelled");
        }
    }

    /// a timer that has moved to the ready queue does not count when it is cancelled.
    #[test]
    fn cancelling_a_fired_timer_does_not_count() {
        let mut callbacks = Callbacks::default();
        timer(&mut callbacks, 3);
        let fired = callbacks.pop_due(Time::from_nanos(3)).unwrap();
        assert!(callbacks.cancel(fired).is_some());
        assert_eq!(callbacks.cancelled, 0);
    }

    /// a loop that is always ready, and so never waits, is rid of cancelled timers too.
    #[test]
    fn a_loop_that_never_waits_sweeps_too() {
        fn link(lp: &crate::Loop) {
            drop(lp.call_later(Duration::from_secs(60), || {}));
            let handle = lp.clone();
            lp.call_soon(move || link(&handle));
        }
        let engine = crate::testing::engine();
        let _head = engine.handle().call_later(Duration::from_secs(1), || {});
        link(&engine.handle());
        for _ in 0..1_000 {
            engine.turn(Time::ZERO, &mut Vec::new());
            assert!(engine.core().callbacks.borrow().queue.len() <= SWEEP_FROM + 2);
        }
    }

    #[test]
    fn a_recycled_slot_does_not_inherit_a_cancelled_deadline() {
        let mut callbacks = Callbacks::default();
        let first = timer(&mut callbacks, 3);
        callbacks.cancel(first);
        let second = timer(&mut callbacks, 9);
        assert_eq!(second.index, first.index);
        assert_eq!(callbacks.pop_due(Time::from_nanos(5)), None);
        assert_eq!(callbacks.pop_due(Time::from_nanos(9)), Some(second));
        assert_eq!(callbacks.take(second).unwrap().1, Some(Time::from_nanos(9)));
    }

    #[test]
    fn stamps_start_again_without_losing_order() {
        let mut callbacks = Callbacks::default();
        let keys: Vec<Key> = (0..4).map(|_| timer(&mut callbacks, 7)).collect();
        callbacks.cancel(keys[1]);
        callbacks.renumber();
        let order: Vec<Key> =
            std::iter::from_fn(|| callbacks.pop_due(Time::from_nanos(7))).collect();
        assert_eq!(order, [keys[0], keys[2], keys[3]]);
    }
}
