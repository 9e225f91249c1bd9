//! asyncio's future: a value that somebody will set.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::Loop;
use crate::engine::callbacks::Action;
use crate::engine::report::ErrorContext;
use crate::error::SharedError;

/// A value that will be set by hand: asyncio's `Future`, as [`Loop::create_future`] returns it.
///
/// Clones are handles of the same future; any number of tasks may await it, any number of times,
/// and each gets a clone of the value. Completion queues the callbacks and wakes the waiters in the
/// order of their registration (contract B-03, B-11).
///
/// # Cancel safety
///
/// Cancelling a task that awaits it leaves the future alone, as others may await it too; asyncio
/// cancels it (B-13).
///
/// ```
/// use sim_core::testing;
///
/// let lp = testing::new_loop();
/// let answer = lp.create_future::<u32>();
/// let setter = answer.clone();
/// lp.call_soon(move || setter.set_result(42).expect("nobody else sets it"));
/// assert_eq!(lp.run_until_complete(answer)??, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LoopFuture<T: Clone + 'static> {
    shared: Rc<Shared<T>>,
    /// Its place among the waiters, if it was polled.
    waiting: Option<u64>,
}

/// Why a [`LoopFuture`] has no value.
#[derive(Debug, Clone)]
pub enum FutureError {
    /// It was cancelled.
    Cancelled,
    /// It was given this error.
    Failed(SharedError),
    /// It is not done, or was done before (B-01, B-02).
    InvalidState,
}

impl fmt::Display for FutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the future was cancelled"),
            Self::Failed(error) => error.fmt(f),
            Self::InvalidState => {
                f.write_str("invalid state: the future's result is not what the call needs")
            }
        }
    }
}

impl Error for FutureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<FutureError> for std::io::Error {
    fn from(error: FutureError) -> Self {
        match error {
            FutureError::Failed(error) => error.to_io(),
            other => Self::other(other),
        }
    }
}

/// Names a callback that [`LoopFuture::add_done_callback`] registered: one of all those of its loop's futures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DoneCallbackId {
    number: u64,
    /// Where the loop is. It is different in each run, and so shown to nobody.
    lp: usize,
}

impl Hash for DoneCallbackId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for DoneCallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DoneCallbackId").field(&self.number).finish()
    }
}

type DoneCallback<T> = Box<dyn FnOnce(&LoopFuture<T>)>;

enum Waiter<T: Clone + 'static> {
    Callback(DoneCallback<T>, &'static Location<'static>),
    Waker(Waker),
}

/// Who waits, by number.
struct Waiters<T: Clone + 'static> {
    /// Mostly it is one. If there are others, their numbers are higher.
    first: Option<(u64, Waiter<T>)>,
    others: BTreeMap<u64, Waiter<T>>,
}

struct Shared<T: Clone + 'static> {
    lp: Loop,
    outcome: RefCell<Option<Result<T, FutureError>>>,
    retrieved: Cell<bool>,
    /// Who waits, by number, in order of registration.
    waiters: RefCell<Waiters<T>>,
    /// Where user code made it.
    place: &'static Location<'static>,
}

impl<T: Clone + 'static> Default for Waiters<T> {
    fn default() -> Self {
        Self { first: None, others: BTreeMap::new() }
    }
}

impl<T: Clone + 'static> Waiters<T> {
    /// Adds one with the next number, or replaces that with this one.
    fn insert(&mut self, number: u64, waiter: Waiter<T>) -> Option<Waiter<T>> {
        match &mut self.first {
            Some((own, first)) if *own == number => Some(std::mem::replace(first, waiter)),
            None if self.others.is_empty() => {
                self.first = Some((number, waiter));
                None
            }
            _ => self.others.insert(number, waiter),
        }
    }

    fn remove(&mut self, number: u64) -> Option<Waiter<T>> {
        match self.first.take_if(|(own, _)| *own == number) {
            Some((_, first)) => Some(first),
            None => self.others.remove(&number),
        }
    }

    /// In order of registration.
    fn into_values(self) -> impl Iterator<Item = Waiter<T>> {
        self.first.map(|(_, first)| first).into_iter().chain(self.others.into_values())
    }
}

impl<T: Clone + 'static> LoopFuture<T> {
    #[track_caller]
    pub(crate) fn new(lp: &Loop) -> Self {
        Self::of(Rc::new(Shared {
            lp: lp.clone(),
            outcome: RefCell::new(None),
            retrieved: Cell::new(false),
            waiters: RefCell::default(),
            place: Location::caller(),
        }))
    }

    fn of(shared: Rc<Shared<T>>) -> Self {
        Self { shared, waiting: None }
    }

    fn complete(&self, outcome: Result<T, FutureError>) -> Result<(), FutureError> {
        if self.done() {
            return Err(FutureError::InvalidState);
        }
        self.shared.outcome.replace(Some(outcome));
        for waiter in self.shared.waiters.take().into_values() {
            match waiter {
                Waiter::Callback(callback, place) => self.queue(callback, place),
                Waiter::Waker(waker) => waker.wake(),
            }
        }
        Ok(())
    }

    fn queue(&self, callback: DoneCallback<T>, place: &'static Location<'static>) {
        let this = self.clone();
        let callback = Box::new(move || callback(&this));
        drop(self.shared.lp.core.call_soon(Some(place), Action::Call(callback)));
    }

    /// Gives it its value.
    ///
    /// # Errors
    ///
    /// [`FutureError::InvalidState`] if it is done already.
    pub fn set_result(&self, value: T) -> Result<(), FutureError> {
        self.complete(Ok(value))
    }

    /// Gives it an error instead of a value. One that nobody looks at is reported when the future
    /// is dropped (B-07).
    ///
    /// # Errors
    ///
    /// [`FutureError::InvalidState`] if it is done already.
    pub fn set_exception(&self, error: std::io::Error) -> Result<(), FutureError> {
        self.complete(Err(FutureError::Failed(SharedError::new(error))))
    }

    /// Cancels it; false if it is done already.
    pub fn cancel(&self) -> bool {
        self.shared.retrieved.set(true);
        self.complete(Err(FutureError::Cancelled)).is_ok()
    }

    /// True when it has a value, an error, or was cancelled.
    pub fn done(&self) -> bool {
        self.shared.outcome.borrow().is_some()
    }

    /// True when it was cancelled.
    pub fn cancelled(&self) -> bool {
        matches!(*self.shared.outcome.borrow(), Some(Err(FutureError::Cancelled)))
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// [`FutureError`]: pending, cancelled, or the error that it was given.
    pub fn result(&self) -> Result<T, FutureError> {
        self.shared.retrieved.set(self.done());
        self.shared.outcome.borrow().clone().unwrap_or(Err(FutureError::InvalidState))
    }

    /// The error that it was given; `None` if it has a value.
    ///
    /// # Errors
    ///
    /// [`FutureError`] when it is pending or was cancelled.
    pub fn exception(&self) -> Result<Option<SharedError>, FutureError> {
        match self.result() {
            Ok(_) => Ok(None),
            Err(FutureError::Failed(error)) => Ok(Some(error)),
            Err(other) => Err(other),
        }
    }

    /// Queues `callback` when it is done, with the future; at once if it is (B-03, B-04).
    #[track_caller]
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + 'static) -> DoneCallbackId {
        let core = &self.shared.lp.core;
        let (number, place) = (core.next_waiter(), Location::caller());
        let callback: DoneCallback<T> = Box::new(callback);
        if self.done() {
            self.queue(callback, place);
        } else {
            self.shared.waiters.borrow_mut().insert(number, Waiter::Callback(callback, place));
        }
        DoneCallbackId { number, lp: core.address() }
    }

    /// Removes a callback; says how many that were, 0 or 1. A callback that is queued already is
    /// not unscheduled, and one of another future is not removed (B-05).
    pub fn remove_done_callback(&self, id: DoneCallbackId) -> usize {
        if id.lp != self.shared.lp.core.address() {
            return 0;
        }
        let removed = self.shared.waiters.borrow_mut().remove(id.number);
        usize::from(removed.is_some())
    }

    /// The loop it belongs to.
    pub fn event_loop(&self) -> &Loop {
        &self.shared.lp
    }
}

impl<T: Clone + 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(Err(FutureError::Failed(error))) = &*self.outcome.borrow()
            && !self.retrieved.get()
        {
            let text = "Future exception was never retrieved";
            let created = self.lp.core.place_in_debug(Some(self.place));
            let context = ErrorContext::error(text, error.clone());
            self.lp.call_exception_handler(ErrorContext { created, ..context });
        }
    }
}

impl<T: Clone + 'static> Future for LoopFuture<T> {
    type Output = Result<T, FutureError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.done() {
            self.waiting = None;
            return Poll::Ready(self.result());
        }
        let number = self.waiting.unwrap_or_else(|| self.shared.lp.core.next_waiter());
        self.waiting = Some(number);
        let waiter = Waiter::Waker(cx.waker().clone());
        let old = self.shared.waiters.borrow_mut().insert(number, waiter);
        drop(old);
        Poll::Pending
    }
}

impl<T: Clone + 'static> Drop for LoopFuture<T> {
    fn drop(&mut self) {
        if let Some(number) = self.waiting {
            let removed = self.shared.waiters.borrow_mut().remove(number);
            drop(removed);
        }
    }
}

impl<T: Clone + 'static> Unpin for LoopFuture<T> {}

impl<T: Clone + 'static> Clone for LoopFuture<T> {
    fn clone(&self) -> Self {
        Self::of(Rc::clone(&self.shared))
    }
}

impl<T: Clone + 'static> fmt::Debug for LoopFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopFuture")
            .field("done", &self.done())
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}
