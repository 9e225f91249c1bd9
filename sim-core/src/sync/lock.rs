//! Mutual exclusion among tasks.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::waiters::Waiters;

/// asyncio's `Lock`, which here guards a value.
///
/// Tasks get it in the order in which they asked. Releasing it hands it to the first that waits, so a task that
/// asks afterwards does not get in between (contract H-40, H-41); one that gives up passes it on (H-42, H-43).
///
/// ```
/// use sim_core::sync::Lock;
/// use sim_core::testing;
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let total = lp.run_until_complete(async move {
///     let balance = Lock::new(100);
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let (lp, balance) = (handle.clone(), balance.clone());
///             handle.create_task(async move {
///                 let mut balance = balance.acquire().await;
///                 let read = *balance;
///                 lp.sleep(Duration::from_millis(5)).await; // nobody else changes it meanwhile
///                 *balance = read + 1;
///             })
///         })
///         .collect();
///     for task in tasks {
///         task.await.expect("it neither panics nor is cancelled");
///     }
///     *balance.acquire().await
/// })?;
/// assert_eq!(total, 103);
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub struct Lock<T = ()> {
    shared: Rc<Shared<T>>,
}

struct Shared<T> {
    /// The value; `None` while a guard has it, or it is on its way to the next.
    value: Cell<Option<T>>,
    locked: Cell<bool>,
    waiters: Waiters,
}

impl<T> Lock<T> {
    /// A lock that is free.
    pub fn new(value: T) -> Self {
        let (value, locked) = (Cell::new(Some(value)), Cell::new(false));
        Self { shared: Rc::new(Shared { value, locked, waiters: Waiters::default() }) }
    }

    /// Waits until it is this task's turn, and takes the lock: at once if it is free.
    ///
    /// # Cancel safety
    ///
    /// A wait that is dropped leaves its place; if the lock was its own already, the next in line gets it.
    pub async fn acquire(&self) -> LockGuard<T> {
        if let Some(guard) = self.try_acquire() {
            return guard;
        }
        let mut wait = self.shared.waiters.wait(|| self.shared.pass_on());
        (&mut wait).await;
        wait.finish();
        self.guard()
    }

    /// Takes the lock if it is free; `None` if somebody has it, or is about to.
    pub fn try_acquire(&self) -> Option<LockGuard<T>> {
        (!self.shared.locked.replace(true)).then(|| self.guard())
    }

    /// True if somebody has it.
    pub fn locked(&self) -> bool {
        self.shared.locked.get()
    }

    fn guard(&self) -> LockGuard<T> {
        let value = self.shared.value.take();
        debug_assert!(value.is_some(), "one guard at a time");
        LockGuard { lock: self.clone(), value }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Shared<T> {
    fn pass_on(&self) {
        if !self.waiters.grant_first() {
            self.locked.set(false);
        }
    }
}

impl<T> Clone for Lock<T> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.shared.waiters.len();
        f.debug_struct("Lock").field("locked", &self.locked()).field("waiting", &waiting).finish()
    }
}

/// A [`Lock`] that is held, and its value. Dropping it releases the lock.
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard<T = ()> {
    lock: Lock<T>,
    /// `None` only while it is being dropped.
    value: Option<T>,
}

impl<T> LockGuard<T> {
    /// The lock that it holds.
    pub fn lock(&self) -> &Lock<T> {
        &self.lock
    }
}

impl<T> Deref for LockGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a guard has the value until it is dropped")
    }
}

impl<T> DerefMut for LockGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("a guard has the value until it is dropped")
    }
}

impl<T> Drop for LockGuard<T> {
    fn drop(&mut self) {
        self.lock.shared.value.set(self.value.take());
        self.lock.shared.pass_on();
    }
}

impl<T: fmt::Debug> fmt::Debug for LockGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&**self).finish()
    }
}
