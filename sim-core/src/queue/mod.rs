//! asyncio's queues: items from some tasks to others, with a bound that holds back who puts.
//!
//! [`Queue`] gives back what came first, [`LifoQueue`] what came last, [`PriorityQueue`] the lowest. Waiting is
//! fair and cancel-safe: a getter or putter that is given up after it was woken wakes the next, so no item and no
//! slot is lost (contract H-62).

mod order;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::rc::Rc;

pub use self::order::{Fifo, Lifo, Lowest, Order};
use crate::sync::{Event, Waiters};

/// The queues of asyncio, whatever their order: [`Queue`], [`LifoQueue`], [`PriorityQueue`]. Clones are handles of
/// the same queue.
///
/// A bound of 0 is no bound. [`get`](Self::get) waits while it is empty, [`put`](Self::put) while it is full;
/// the `_nowait` calls fail instead, and may overtake a task that was woken and has not run yet, which then waits
/// again, at the end (contract H-61).
///
/// ```
/// use sim_core::queue::Queue;
/// use sim_core::testing;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let sum = lp.run_until_complete(async move {
///     let jobs = Queue::new(2);
///     let (worker, sum) = (jobs.clone(), std::rc::Rc::new(std::cell::Cell::new(0)));
///     let total = sum.clone();
///     handle.create_task(async move {
///         while let Ok(job) = worker.get().await {
///             total.set(total.get() + job);
///             worker.task_done().expect("it was got just now");
///         }
///     });
///     for job in 1..=10 {
///         jobs.put(job).await.expect("nobody shuts it down"); // waits while two are queued
///     }
///     jobs.join().await;
///     jobs.shutdown(false);
///     sum.get()
/// })?;
/// assert_eq!(sum, 55);
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub struct OrderedQueue<T, O: Order<T>> {
    shared: Rc<Shared<T, O>>,
}

/// asyncio's `Queue`: gives back what came first.
pub type Queue<T> = OrderedQueue<T, Fifo<T>>;

/// asyncio's `LifoQueue`: gives back what came last.
pub type LifoQueue<T> = OrderedQueue<T, Lifo<T>>;

/// asyncio's `PriorityQueue`: gives back the lowest; of those that are equal, what came first (contract H-65).
pub type PriorityQueue<T> = OrderedQueue<T, Lowest<T>>;

struct Shared<T, O: Order<T>> {
    items: RefCell<O>,
    len: Cell<usize>,
    /// 0 is no bound.
    maxsize: usize,
    getters: Waiters,
    putters: Waiters,
    unfinished: Cell<usize>,
    /// Set while nothing is unfinished.
    finished: Event,
    is_shut_down: Cell<bool>,
    of: std::marker::PhantomData<T>,
}

/// There is no room, and the item comes back; or the queue was shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutError<T> {
    /// It has as many items as it may have.
    Full(T),
    /// It was [shut down](OrderedQueue::shutdown).
    ShutDown(T),
}

/// There is nothing to get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GetError {
    /// It is empty for now.
    Empty,
    /// It was [shut down](OrderedQueue::shutdown), and nothing is left.
    ShutDown,
}

/// The queue was [shut down](OrderedQueue::shutdown); what was to be put comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShutDown<T = ()>(pub T);

/// [`task_done`](OrderedQueue::task_done) was called more often than items were put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyDone;

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::ShutDown(_) => "the queue was shut down",
        })
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::ShutDown => "the queue was shut down",
        })
    }
}

impl<T> fmt::Display for ShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue was shut down")
    }
}

impl fmt::Display for TooManyDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done was called more often than items were put")
    }
}

impl<T: fmt::Debug> Error for PutError<T> {}
impl Error for GetError {}
impl<T: fmt::Debug> Error for ShutDown<T> {}
impl Error for TooManyDone {}

impl<T, O: Order<T>> OrderedQueue<T, O> {
    /// An empty queue with room for `maxsize` items; 0 is no bound.
    pub fn new(maxsize: usize) -> Self {
        let finished = Event::new();
        finished.set();
        Self {
            shared: Rc::new(Shared {
                items: RefCell::default(),
                len: Cell::new(0),
                maxsize,
                getters: Waiters::default(),
                putters: Waiters::default(),
                unfinished: Cell::new(0),
                finished,
                is_shut_down: Cell::new(false),
                of: std::marker::PhantomData,
            }),
        }
    }

    /// Waits until there is an item, and takes it.
    ///
    /// # Errors
    ///
    /// [`ShutDown`] if the queue was shut down and nothing is left.
    ///
    /// # Cancel safety
    ///
    /// A wait that is dropped takes no item; if it was woken for one, the next that waits is.
    pub async fn get(&self) -> Result<T, ShutDown> {
        loop {
            match self.get_nowait() {
                Ok(item) => return Ok(item),
                Err(GetError::ShutDown) => return Err(ShutDown(())),
                Err(GetError::Empty) => {}
            }
            let mut wait = self.shared.getters.wait(|| self.shared.wake_getter());
            (&mut wait).await;
            wait.finish();
        }
    }

    /// Takes an item if there is one.
    ///
    /// # Errors
    ///
    /// [`GetError`]
    pub fn get_nowait(&self) -> Result<T, GetError> {
        match self.shared.with_items(O::pop) {
            Some(item) => {
                self.shared.wake_putter();
                Ok(item)
            }
            None if self.shared.is_shut_down.get() => Err(GetError::ShutDown),
            None => Err(GetError::Empty),
        }
    }

    /// Waits until there is room, and puts an item.
    ///
    /// # Errors
    ///
    /// [`ShutDown`] with the item if the queue was shut down.
    ///
    /// # Cancel safety
    ///
    /// A wait that is dropped puts nothing, and its item is dropped with it; if it was woken, the next that waits is.
    pub async fn put(&self, item: T) -> Result<(), ShutDown<T>> {
        let mut item = item;
        loop {
            item = match self.put_nowait(item) {
                Ok(()) => return Ok(()),
                Err(PutError::ShutDown(item)) => return Err(ShutDown(item)),
                Err(PutError::Full(item)) => item,
            };
            let mut wait = self.shared.putters.wait(|| self.shared.wake_putter());
            (&mut wait).await;
            wait.finish();
        }
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    ///
    /// [`PutError`] with the item.
    pub fn put_nowait(&self, item: T) -> Result<(), PutError<T>> {
        if self.shared.is_shut_down.get() {
            return Err(PutError::ShutDown(item));
        }
        if self.full() {
            return Err(PutError::Full(item));
        }
        self.shared.unfinished.set(self.shared.unfinished.get() + 1);
        self.shared.finished.clear();
        self.shared.with_items(|items| items.push(item));
        self.shared.wake_getter();
        Ok(())
    }

    /// Says that what was got is dealt with.
    ///
    /// # Errors
    ///
    /// [`TooManyDone`] if that was said of all items that were put (contract H-64).
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        let left = self.shared.unfinished.get().checked_sub(1).ok_or(TooManyDone)?;
        self.shared.unfinished.set(left);
        if left == 0 {
            self.shared.finished.set();
        }
        Ok(())
    }

    /// Waits until [`task_done`](Self::task_done) was called for every item that was put: not at all if none was.
    pub async fn join(&self) {
        self.shared.finished.wait().await;
    }

    /// Lets nobody put any more: those that wait to, and those that wait to get when nothing is left, get an
    /// error. With `immediate`, what is left is dropped, and counts as done.
    pub fn shutdown(&self, immediate: bool) {
        self.shared.is_shut_down.set(true);
        while immediate && self.shared.with_items(O::pop).is_some() {
            // An item that calls `task_done` when it is dropped has been counted already.
            let _ = self.task_done();
        }
        self.shared.getters.grant_all();
        self.shared.putters.grant_all();
    }

    /// How many items there are.
    pub fn qsize(&self) -> usize {
        self.shared.len.get()
    }

    /// How many items there may be; 0 is no bound.
    pub fn maxsize(&self) -> usize {
        self.shared.maxsize
    }

    /// True if there is no item.
    pub fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// True if there is no room.
    pub fn full(&self) -> bool {
        self.shared.is_full()
    }
}

impl<T, O: Order<T>> Shared<T, O> {
    fn is_full(&self) -> bool {
        self.maxsize > 0 && self.len.get() >= self.maxsize
    }

    /// Works on the items outside any borrow: to compare them is the user's code, which may call back.
    fn with_items<R>(&self, work: impl FnOnce(&mut O) -> R) -> R {
        let mut out = TakenOut { shared: self, items: self.items.take() };
        work(&mut out.items)
    }

    fn wake_getter(&self) {
        if self.len.get() > 0 || self.is_shut_down.get() {
            self.getters.grant_first();
        }
    }

    fn wake_putter(&self) {
        if !self.is_full() || self.is_shut_down.get() {
            self.putters.grant_first();
        }
    }
}

/// The items of a queue while somebody works on them. They go back when it is dropped, with what was put
/// meanwhile.
struct TakenOut<'a, T, O: Order<T>> {
    shared: &'a Shared<T, O>,
    items: O,
}

impl<T, O: Order<T>> Drop for TakenOut<'_, T, O> {
    fn drop(&mut self) {
        loop {
            let mut meanwhile = self.shared.items.take();
            if meanwhile.len() == 0 {
                break;
            }
            while let Some(item) = meanwhile.pop() {
                self.items.push(item);
            }
        }
        self.shared.len.set(self.items.len());
        self.shared.items.replace(std::mem::take(&mut self.items));
    }
}

impl<T, O: Order<T>> Clone for OrderedQueue<T, O> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<T, O: Order<T>> fmt::Debug for OrderedQueue<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("qsize", &self.qsize())
            .field("maxsize", &self.maxsize())
            .field("getters", &self.shared.getters.len())
            .field("putters", &self.shared.putters.len())
            .field("unfinished", &self.shared.unfinished.get())
            .finish()
    }
}
