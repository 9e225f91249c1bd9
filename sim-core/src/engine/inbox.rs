//! Where wakers leave the tasks they woke.

use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::thread::ThreadId;

use super::memory::ENTRIES_MAX;
use crate::arena::Key;
use crate::current;
use crate::driver::Alarm;

/// The wake-ups of one engine, in order, each with the length that the ready queue had reached.
///
/// Wakers are `Send`, so outside the turns of their own loop ([`current::queue_task`]) they cannot reach
/// the ready queue itself. The next turn merges the two by
/// position, so FIFO holds across `call_soon` and wake-ups (contract, ruling 8).
#[repr(C)]
pub(crate) struct Inbox {
    // What every turn needs comes first.
    waiting: AtomicBool,
    in_turn: AtomicBool,
    /// True once `foreign` names a thread: it is asked after every turn.
    is_foreign: AtomicBool,
    simulated: bool,
    /// How many entries the ready queue has ever had. Written by the loop's thread alone.
    position: AtomicU64,
    owner: ThreadId,
    woken: Mutex<Vec<Woken>>,
    alarm: Arc<dyn Alarm>,
    foreign: Mutex<Option<String>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Woken {
    pub(crate) position: u64,
    pub(crate) task: Key,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    #[expect(clippy::disallowed_methods, reason = "it is compared, and nothing else depends on it")]
    pub(crate) fn new(alarm: Arc<dyn Alarm>, simulated: bool, room: Vec<Woken>) -> Self {
        Self {
            woken: Mutex::new(room),
            waiting: AtomicBool::new(false),
            position: AtomicU64::new(0),
            in_turn: AtomicBool::new(false),
            alarm,
            owner: std::thread::current().id(),
            simulated,
            foreign: Mutex::new(None),
            is_foreign: AtomicBool::new(false),
        }
    }

    /// Counts entries of the ready queue. The loop's thread alone writes the count.
    #[inline]
    pub(crate) fn advance(&self, entries: u64) {
        self.position.store(self.position() + entries, Relaxed);
    }

    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Relaxed)
    }

    pub(crate) fn set_in_turn(&self, in_turn: bool) {
        self.in_turn.store(in_turn, Relaxed);
    }

    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Acquire)
    }

    /// True on a thread that is not the loop's. A simulation remembers its name.
    #[expect(
        clippy::disallowed_methods,
        reason = "a simulation ends with a thread that is not its own"
    )]
    fn notes_foreign_thread(&self) -> bool {
        let thread = std::thread::current();
        let is_foreign = thread.id() != self.owner;
        if is_foreign && self.simulated {
            let name = thread.name().map_or_else(|| format!("{:?}", thread.id()), str::to_owned);
            lock(&self.foreign).get_or_insert(name);
            self.is_foreign.store(true, Release);
        }
        is_foreign
    }

    fn push(&self, task: Key, is_foreign: bool) {
        let mut woken = lock(&self.woken);
        woken.push(Woken { position: self.position(), task });
        let is_first = !self.waiting.swap(true, Release);
        drop(woken);
        let in_turn = self.in_turn.load(Relaxed);
        // A simulation hears of every foreign thread, to end the run.
        let must_ring = if self.simulated {
            is_foreign || is_first && !in_turn
        } else {
            is_first && is_foreign
        };
        if must_ring {
            self.alarm.ring();
        }
    }

    /// Moves everything into `into`, which is empty.
    pub(crate) fn take(&self, into: &mut Vec<Woken>) {
        let mut woken = lock(&self.woken);
        std::mem::swap(&mut *woken, into);
        self.waiting.store(false, Release);
    }

    /// Makes it as new but for its room. False if that is too large to be kept.
    pub(crate) fn renew(&mut self) -> bool {
        let Self { waiting, in_turn, is_foreign, simulated: _, position, .. } = self;
        for flag in [waiting, in_turn, is_foreign] {
            *flag.get_mut() = false;
        }
        *position.get_mut() = 0;
        let Self { owner: _, woken, alarm: _, foreign, .. } = self;
        *foreign.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let woken = woken.get_mut().unwrap_or_else(PoisonError::into_inner);
        woken.clear();
        woken.capacity() <= ENTRIES_MAX
    }

    /// Takes its memory, when its engine is gone.
    pub(crate) fn take_room(&self) -> Vec<Woken> {
        std::mem::take(&mut *lock(&self.woken))
    }

    pub(crate) fn foreign_thread(&self) -> Option<String> {
        if !self.is_foreign.load(Acquire) {
            return None;
        }
        lock(&self.foreign).clone()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// The waker of one task.
///
/// Whether its step is queued has two halves, so that wakers in the turns of their own loop, which most are, need
/// no atomic read-modify-write.
pub(crate) struct TaskWaker {
    inbox: Arc<Inbox>,
    task: Key,
    /// A step is in the ready queue, or in the batch. Only the loop's thread reads and writes it.
    queued: AtomicBool,
    /// A step is in the inbox.
    sent: AtomicBool,
}

impl TaskWaker {
    pub(crate) fn new(inbox: Arc<Inbox>, task: Key) -> Self {
        Self { inbox, task, queued: AtomicBool::new(false), sent: AtomicBool::new(false) }
    }

    /// Queues the task for its next step, once.
    #[inline]
    pub(crate) fn queue(&self) {
        if !current::queue_task(&self.inbox, self) {
            self.send();
        }
    }

    /// Queues it from outside its loop's turns.
    #[cold]
    fn send(&self) {
        let is_foreign = self.inbox.notes_foreign_thread();
        let is_new = (is_foreign || !self.queued.load(Relaxed)) && !self.sent.swap(true, AcqRel);
        if is_new {
            self.inbox.push(self.task, is_foreign);
        } else if is_foreign && self.inbox.simulated {
            // It changes nothing, but whether it does is a matter of timing.
            self.inbox.alarm.ring();
        }
    }

    /// The task, if its step is not queued, which it is from now on. On the loop's thread alone.
    #[inline]
    pub(crate) fn take_to_queue(&self) -> Option<Key> {
        if self.queued.load(Relaxed) || self.sent.load(Relaxed) {
            return None;
        }
        self.queued.store(true, Relaxed);
        Some(self.task)
    }

    /// A step begins: who wakes the task from now on queues another. What those did who found this one queued
    /// is seen by it.
    #[inline]
    pub(crate) fn begin_step(&self) {
        self.queued.store(false, Relaxed);
        if self.sent.load(Relaxed) {
            // A store would do neither: it may become visible after the step has read what it will read.
            self.sent.swap(false, AcqRel);
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.queue();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue();
    }
}
