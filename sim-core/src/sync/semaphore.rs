//! A number of permits.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use super::waiters::Waiters;

/// asyncio's `Semaphore`: so many at a time.
///
/// A permit that is released goes to the first that waits, directly: nobody who asks later gets in between
/// (contract H-48), and one that gives up after that hands it on (H-49).
///
/// ```
/// use sim_core::sync::Semaphore;
///
/// let connections = Semaphore::new(2);
/// let first = connections.try_acquire().expect("two are free");
/// let _second = connections.try_acquire().expect("one is free");
/// assert!(connections.try_acquire().is_none());
/// drop(first);
/// assert_eq!(connections.value(), 1);
/// ```
#[derive(Clone)]
pub struct Semaphore {
    shared: Rc<Shared>,
}

struct Shared {
    value: Cell<usize>,
    /// How many permits were forgotten. Every other is free, held, or on its way to somebody who waits.
    forgotten: Cell<usize>,
    waiters: Waiters,
}

impl Semaphore {
    /// A semaphore with so many permits; none are fine, too.
    pub fn new(permits: usize) -> Self {
        let (value, forgotten) = (Cell::new(permits), Cell::new(0));
        Self { shared: Rc::new(Shared { value, forgotten, waiters: Waiters::default() }) }
    }

    /// Waits for a permit: not at all if one is free and nobody waits.
    ///
    /// # Cancel safety
    ///
    /// A wait that is dropped leaves its place; a permit that it had got already goes to the next.
    pub async fn acquire(&self) -> Permit {
        if let Some(permit) = self.try_acquire() {
            return permit;
        }
        let mut wait = self.shared.waiters.wait(|| self.release());
        (&mut wait).await;
        wait.finish();
        Permit { semaphore: self.clone(), kept: false }
    }

    /// Takes a permit if one is free.
    pub fn try_acquire(&self) -> Option<Permit> {
        let left = self.value().checked_sub(1)?;
        self.shared.value.set(left);
        Some(Permit { semaphore: self.clone(), kept: false })
    }

    /// Adds a permit, or gives back one that was [forgotten](Permit::forget): asyncio's `release`.
    pub fn release(&self) {
        if !self.shared.waiters.grant_first() {
            self.shared.value.set(self.value() + 1);
        }
    }

    /// How many permits are free.
    pub fn value(&self) -> usize {
        self.shared.value.get()
    }

    /// True if a task that asks now has to wait.
    pub fn locked(&self) -> bool {
        self.value() == 0
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, waiting) = (self.value(), self.shared.waiters.len());
        f.debug_struct("Semaphore").field("value", &value).field("waiting", &waiting).finish()
    }
}

/// A permit of a [`Semaphore`]; it goes back when it is dropped.
#[must_use = "the permit goes back when it is dropped"]
#[derive(Debug)]
pub struct Permit {
    semaphore: Semaphore,
    kept: bool,
}

impl Permit {
    /// Does not give it back: somebody calls [`Semaphore::release`] for it, or it is gone.
    pub fn forget(mut self) {
        self.kept = true;
        let forgotten = &self.semaphore.shared.forgotten;
        forgotten.set(forgotten.get() + 1);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.kept {
            self.semaphore.release();
        }
    }
}

/// asyncio's `BoundedSemaphore`: one that never has more permits than it began with. A permit that goes back when it is
/// dropped is not released, too.
///
/// ```
/// use sim_core::sync::BoundedSemaphore;
///
/// let slots = BoundedSemaphore::new(1);
/// slots.try_acquire().expect("one is free").forget();
/// assert!(slots.release().is_ok());
/// let permit = slots.try_acquire().expect("it was given back");
/// assert!(slots.release().is_err(), "it goes back by itself");
/// drop(permit);
/// assert_eq!(slots.value(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct BoundedSemaphore {
    semaphore: Semaphore,
    bound: usize,
}

/// A [`BoundedSemaphore`] was released although none of its permits was [forgotten](Permit::forget) (contract H-50).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverRelease {
    bound: usize,
}

impl fmt::Display for OverRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bound } = self;
        write!(
            f,
            "released more often than permits were forgotten: each of the {bound} is free, or goes back by itself"
        )
    }
}

impl Error for OverRelease {}

impl BoundedSemaphore {
    /// A semaphore with so many permits, and never more.
    pub fn new(permits: usize) -> Self {
        Self { semaphore: Semaphore::new(permits), bound: permits }
    }

    /// As [`Semaphore::acquire`].
    pub async fn acquire(&self) -> Permit {
        self.semaphore.acquire().await
    }

    /// As [`Semaphore::try_acquire`].
    pub fn try_acquire(&self) -> Option<Permit> {
        self.semaphore.try_acquire()
    }

    /// Gives back a permit that was [forgotten](Permit::forget).
    ///
    /// # Errors
    ///
    /// [`OverRelease`] if none is: every permit is free, or goes back when it is dropped. Nothing changes then.
    pub fn release(&self) -> Result<(), OverRelease> {
        let forgotten = &self.semaphore.shared.forgotten;
        let left = forgotten.get().checked_sub(1).ok_or(OverRelease { bound: self.bound })?;
        forgotten.set(left);
        self.semaphore.release();
        debug_assert!(self.value() <= self.bound, "every permit is counted once");
        Ok(())
    }

    /// How many permits are free.
    pub fn value(&self) -> usize {
        self.semaphore.value()
    }

    /// True if a task that asks now has to wait.
    pub fn locked(&self) -> bool {
        self.semaphore.locked()
    }
}
