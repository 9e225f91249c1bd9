//! Who waits for something, first come first served.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Waiters in order of arrival. One is *granted* what it waits for, and then woken; a grant belongs to its
/// waiter from then on.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: RefCell<BTreeMap<u64, Waker>>,
    granted: RefCell<BTreeSet<u64>>,
    next: Cell<u64>,
}

impl Waiters {
    /// How many wait; those that were granted something wait no more.
    pub(crate) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Grants the first waiter what it waits for; false if there is none.
    pub(crate) fn grant_first(&self) -> bool {
        let first = self.waiting.borrow_mut().pop_first();
        let Some((number, waker)) = first else { return false };
        self.granted.borrow_mut().insert(number);
        waker.wake();
        true
    }

    /// Grants all that wait now what they wait for.
    pub(crate) fn grant_all(&self) {
        let all = self.waiting.take();
        self.granted.borrow_mut().extend(all.keys());
        for waker in all.into_values() {
            waker.wake();
        }
    }

    /// Joins the end of the queue, when it is polled first. `pass_on` runs if the wait is given up after it was
    /// granted what it waits for.
    pub(crate) fn wait<P: FnMut()>(&self, pass_on: P) -> Wait<'_, P> {
        Wait { waiters: self, pass_on, place: Place::Outside }
    }

    fn join(&self, waker: &Waker) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        let old = self.waiting.borrow_mut().insert(number, waker.clone());
        debug_assert!(old.is_none(), "numbers are used once");
        number
    }

    /// Takes the grant of a waiter, if it has one; notes whom to wake if not.
    fn poll_grant(&self, number: u64, waker: &Waker) -> bool {
        if self.granted.borrow_mut().remove(&number) {
            return true;
        }
        let clone = {
            let waiting = self.waiting.borrow();
            let known = waiting.get(&number).is_some_and(|known| known.will_wake(waker));
            (!known).then(|| waker.clone())
        };
        let old = clone.and_then(|clone| self.waiting.borrow_mut().insert(number, clone));
        drop(old);
        false
    }

    /// Takes a waiter out; true if it had been granted what it waits for.
    fn leave(&self, number: u64) -> bool {
        let waker = self.waiting.borrow_mut().remove(&number);
        drop(waker);
        self.granted.borrow_mut().remove(&number)
    }
}

enum Place {
    Outside,
    Queued(u64),
    Granted,
    Finished,
}

/// One waiter. Completes when it was granted what it waits for, which is its own once [`finish`](Self::finish)
/// was called; dropped before, it is passed on.
pub(crate) struct Wait<'a, P: FnMut()> {
    waiters: &'a Waiters,
    pass_on: P,
    place: Place,
}

impl<P: FnMut()> Wait<'_, P> {
    /// Keeps what it was granted.
    pub(crate) fn finish(mut self) {
        self.place = Place::Finished;
    }
}

impl<P: FnMut() + Unpin> Future for Wait<'_, P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.place {
            Place::Outside => {
                self.place = Place::Queued(self.waiters.join(cx.waker()));
                Poll::Pending
            }
            Place::Queued(number) if self.waiters.poll_grant(number, cx.waker()) => {
                self.place = Place::Granted;
                Poll::Ready(())
            }
            Place::Queued(_) => Poll::Pending,
            Place::Granted | Place::Finished => Poll::Ready(()),
        }
    }
}

impl<P: FnMut()> Drop for Wait<'_, P> {
    fn drop(&mut self) {
        let granted = match self.place {
            Place::Queued(number) => self.waiters.leave(number),
            Place::Granted => true,
            Place::Outside | Place::Finished => false,
        };
        if granted {
            (self.pass_on)();
        }
    }
}
