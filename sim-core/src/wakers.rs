//! Who waits for something, mostly one.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakers in order of registration.
#[derive(Default)]
pub struct Wakers(RefCell<List>);

#[derive(Default)]
struct List {
    /// How many tickets were given.
    tickets: u64,
    first: Option<(u64, Waker)>,
    others: Vec<(u64, Waker)>,
}

/// Of one who waits, and who may stop waiting.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Cell<u64>);

impl Wakers {
    /// Has a waker woken once, however often it is added before. It stays until then: whoever waits so does not
    /// stop waiting.
    pub(crate) fn add(&self, waker: &Waker) {
        let mut list = self.0.borrow_mut();
        if !list.all().any(|known| known.will_wake(waker)) {
            list.push(waker);
        }
    }

    /// Has a waker woken, instead of the one that waited with this ticket before.
    pub(crate) fn wait(&self, ticket: &Ticket, waker: &Waker) {
        let mut list = self.0.borrow_mut();
        let old = match list.at(ticket) {
            Some(known) if known.will_wake(waker) => None,
            Some(known) => Some(std::mem::replace(known, waker.clone())),
            None => {
                ticket.0.set(list.push(waker));
                None
            }
        };
        drop(list);
        drop(old);
    }

    /// Nobody waits with this ticket any more.
    pub(crate) fn leave(&self, ticket: &Ticket) {
        let left = self.0.borrow_mut().remove(ticket.0.take());
        drop(left);
    }

    /// True if nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().all().next().is_none()
    }

    /// Wakes all, and forgets them.
    pub(crate) fn wake_all(&self) {
        let mut list = self.0.borrow_mut();
        let (first, others) = (list.first.take(), std::mem::take(&mut list.others));
        drop(list);
        first.into_iter().chain(others).for_each(|(_, waker)| waker.wake());
    }

    /// Waits until there is an answer, which is looked for whenever all are woken. Nothing of a wait that is
    /// dropped is left.
    pub(crate) async fn until<R>(&self, mut answer: impl FnMut() -> Option<R>) -> R {
        struct Held<'a>(&'a Wakers, Ticket);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.leave(&self.1);
            }
        }
        let held = Held(self, Ticket::default());
        poll_fn(|cx| match answer() {
            Some(answer) => Poll::Ready(answer),
            None => {
                held.0.wait(&held.1, cx.waker());
                Poll::Pending
            }
        })
        .await
    }
}

impl List {
    fn all(&self) -> impl Iterator<Item = &Waker> {
        self.first.iter().chain(&self.others).map(|(_, waker)| waker)
    }

    /// Puts a waker behind the others, and says the number of its ticket.
    fn push(&mut self, waker: &Waker) -> u64 {
        self.tickets += 1;
        let entry = (self.tickets, waker.clone());
        if self.first.is_none() && self.others.is_empty() {
            self.first = Some(entry);
        } else {
            self.others.push(entry);
        }
        self.tickets
    }

    fn at(&mut self, ticket: &Ticket) -> Option<&mut Waker> {
        let number = ticket.0.get();
        match &mut self.first {
            Some((first, waker)) if *first == number => Some(waker),
            _ => {
                let index =
                    self.others.binary_search_by_key(&number, |(ticket, _)| *ticket).ok()?;
                Some(&mut self.others[index].1)
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Waker> {
        if self.first.as_ref().is_some_and(|(first, _)| *first == number) {
            return self.first.take().map(|(_, waker)| waker);
        }
        let index = self.others.binary_search_by_key(&number, |(ticket, _)| *ticket).ok()?;
        Some(self.others.remove(index).1)
    }
}

impl fmt::Debug for Wakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakers").field("waiting", &self.0.borrow().all().count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    use super::*;

    struct Noted(u32, Arc<Mutex<Vec<u32>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn those_who_wait_are_woken_in_order_and_those_who_left_are_not() {
        let (wakers, log) = (Wakers::default(), Arc::new(Mutex::new(Vec::new())));
        let waker = |number| Waker::from(Arc::new(Noted(number, Arc::clone(&log))));
        let woken = || {
            wakers.wake_all();
            std::mem::take(&mut *log.lock().unwrap())
        };
        let tickets: [Ticket; 4] = Default::default();
        for (ticket, number) in tickets.iter().zip(1..) {
            wakers.wait(ticket, &waker(number));
        }
        let fifth = waker(5);
        wakers.add(&fifth);
        wakers.add(&fifth);
        wakers.wait(&tickets[1], &waker(20));
        wakers.leave(&tickets[0]);
        wakers.leave(&tickets[2]);
        wakers.leave(&tickets[2]);
        wakers.wait(&tickets[0], &waker(10));
        assert_eq!(woken(), [20, 4, 5, 10]);
        assert_eq!(woken(), []);
        // Tickets of those that were woken are worth nothing.
        wakers.wait(&tickets[3], &waker(7));
        wakers.leave(&tickets[1]);
        assert_eq!(woken(), [7]);
    }

    #[test]
    fn whoever_waits_and_leaves_leaves_nothing() {
        let wakers = Wakers::default();
        let stays = Ticket::default();
        wakers.wait(&stays, Waker::noop());
        for _ in 0..100 {
            let ticket = Ticket::default();
            wakers.wait(&ticket, Waker::noop());
            wakers.leave(&ticket);
        }
        assert_eq!(wakers.0.borrow().all().count(), 1);
        wakers.leave(&stays);
        assert!(wakers.is_empty());
    }
}
