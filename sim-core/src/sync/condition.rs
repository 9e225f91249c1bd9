//! Waiting for something to become true of what a lock guards.

use std::fmt;
use std::rc::Rc;

use super::lock::{Lock, LockGuard};
use super::waiters::Waiters;

/// asyncio's `Condition`: a place to wait, under a [`Lock`], until somebody says that what it guards has changed.
///
/// A wait takes the guard, and gives it back when it is over. If it is cancelled the guard is gone, so the lock
/// is free (contract, ruling 4 on H-45), and a notification that had reached it goes to the next waiter (H-46).
///
/// ```
/// use sim_core::sync::{Condition, Lock};
/// use sim_core::testing;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let found = lp.run_until_complete(async move {
///     let shelf = Lock::new(Vec::new());
///     let changed = Condition::new(&shelf);
///     let (other, notifier) = (shelf.clone(), changed.clone());
///     handle.create_task(async move {
///         let mut shelf = other.acquire().await;
///         shelf.push("a book");
///         notifier.notify(&shelf, 1);
///     });
///     let mut shelf = changed.wait_for(shelf.acquire().await, |shelf| !shelf.is_empty()).await;
///     shelf.pop()
/// })?;
/// assert_eq!(found, Some("a book"));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub struct Condition<T = ()> {
    lock: Lock<T>,
    waiters: Rc<Waiters>,
}

impl<T> Condition<T> {
    /// A condition of what `lock` guards; any number of conditions may share it.
    pub fn new(lock: &Lock<T>) -> Self {
        Self { lock: lock.clone(), waiters: Rc::default() }
    }

    /// The lock that it goes with.
    pub fn lock(&self) -> &Lock<T> {
        &self.lock
    }

    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// # Panics
    ///
    /// If the guard is of another lock.
    pub async fn wait(&self, guard: LockGuard<T>) -> LockGuard<T> {
        self.insist(&guard);
        let mut wait = self.waiters.wait(|| {
            self.waiters.grant_first();
        });
        // It is in the queue before the lock is free, so that no notification passes it by.
        let mut guard = Some(guard);
        std::future::poll_fn(|cx| {
            let poll = std::pin::Pin::new(&mut wait).poll(cx);
            drop(guard.take());
            poll
        })
        .await;
        let guard = self.lock.acquire().await;
        wait.finish();
        guard
    }

    /// Waits until `holds` is true of what the lock guards: not at all if it is (H-47).
    ///
    /// # Panics
    ///
    /// If the guard is of another lock.
    pub async fn wait_for(
        &self,
        mut guard: LockGuard<T>,
        mut holds: impl FnMut(&T) -> bool,
    ) -> LockGuard<T> {
        self.insist(&guard);
        while !holds(&guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Wakes the first `count` that wait and were not woken yet.
    ///
    /// # Panics
    ///
    /// If the guard, which shows that the caller holds the lock, is of another one.
    pub fn notify(&self, guard: &LockGuard<T>, count: usize) {
        self.insist(guard);
        for _ in 0..count {
            if !self.waiters.grant_first() {
                return;
            }
        }
    }

    /// Wakes all that wait.
    ///
    /// # Panics
    ///
    /// If the guard, which shows that the caller holds the lock, is of another one.
    pub fn notify_all(&self, guard: &LockGuard<T>) {
        self.insist(guard);
        self.waiters.grant_all();
    }

    #[track_caller]
    fn insist(&self, guard: &LockGuard<T>) {
        assert!(guard.lock().is(&self.lock), "the guard is of another lock than the condition");
    }
}

impl<T> Clone for Condition<T> {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone(), waiters: Rc::clone(&self.waiters) }
    }
}

impl<T> fmt::Debug for Condition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiters.len();
        f.debug_struct("Condition").field("lock", &self.lock).field("waiting", &waiting).finish()
    }
}
