//! The small programs, for ours and for planted bugs alike.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sim_core::queue::Queue;
use sim_core::sync::{Barrier, Condition, Event, Lock, LockGuard, Permit, Semaphore};

use crate::explore::{Program, give_way};

/// Something that one has at a time.
pub(crate) trait Exclusive: Clone + 'static {
    type Guard;
    fn make() -> Self;
    async fn take(&self) -> Self::Guard;
}

impl Exclusive for Lock {
    type Guard = LockGuard;

    fn make() -> Self {
        Self::new(())
    }

    async fn take(&self) -> LockGuard {
        self.acquire().await
    }
}

impl Exclusive for Semaphore {
    type Guard = Permit;

    fn make() -> Self {
        Self::new(1)
    }

    async fn take(&self) -> Permit {
        self.acquire().await
    }
}

/// Somewhere to wait for one notification.
pub(crate) trait Notifier: Clone + 'static {
    fn make() -> Self;
    async fn wait(&self);
    async fn notify(&self);
}

impl Notifier for Condition {
    fn make() -> Self {
        Self::new(&Lock::new(()))
    }

    async fn wait(&self) {
        drop(Self::wait(self, self.lock().acquire().await).await);
    }

    async fn notify(&self) {
        let guard = self.lock().acquire().await;
        Self::notify(self, &guard, 1);
    }
}

/// Items from some to others.
pub(crate) trait Channel: Clone + 'static {
    fn make(bound: usize) -> Self;
    async fn put(&self, item: u32);
    async fn get(&self) -> u32;
    fn len(&self) -> usize;
    fn has_room(&self) -> bool;
}

impl Channel for Queue<u32> {
    fn make(bound: usize) -> Self {
        Self::new(bound)
    }

    async fn put(&self, item: u32) {
        Self::put(self, item).await.expect("nobody shuts it down");
    }

    async fn get(&self) -> u32 {
        Self::get(self).await.expect("nobody shuts it down")
    }

    fn len(&self) -> usize {
        self.qsize()
    }

    fn has_room(&self) -> bool {
        !self.full()
    }
}

/// Some tasks take it and let go of it: never two at once, and nobody waits in the end.
pub(crate) fn taking_turns<E: Exclusive>(tasks: usize) -> impl Fn(&mut Program) {
    move |program| {
        let (lock, inside) = (E::make(), Rc::new(Cell::new(0)));
        for number in 0..tasks {
            let (lock, inside, wrong) = (lock.clone(), Rc::clone(&inside), program.wrong());
            program.task(format!("taker{number}"), async move {
                let guard = lock.take().await;
                let count = Counted::new(&inside);
                if inside.get() > 1 {
                    wrong.say("two have it at once");
                }
                give_way().await;
                drop(count);
                drop(guard);
            });
        }
        program.at_end(|ending| {
            (ending.waiting("taker") > 0)
                .then(|| format!("it is free, and somebody waits: {ending:?}"))
        });
    }
}

/// Counts up while it is there.
struct Counted<'a>(&'a Cell<u32>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A notification that comes when all wait ends the wait of one, though not of one that is cancelled.
pub(crate) fn notifying<N: Notifier>(waiters: usize) -> impl Fn(&mut Program) {
    move |program| {
        let (condition, all_wait) = (N::make(), Event::new());
        let (began, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for number in 0..waiters {
            let (condition, all_wait) = (condition.clone(), all_wait.clone());
            let (began, ended) = (Rc::clone(&began), Rc::clone(&ended));
            program.task(format!("waiter{number}"), async move {
                began.set(began.get() + 1);
                if began.get() == waiters {
                    all_wait.set();
                }
                condition.wait().await;
                ended.set(ended.get() + 1);
            });
        }
        let sent = Rc::new(Cell::new(false));
        let notified = Rc::clone(&sent);
        program.task("notifier", async move {
            all_wait.wait().await;
            condition.notify().await;
            notified.set(true);
        });
        program.at_end(move |ending| {
            let lost = sent.get() && ended.get() == 0 && ending.waiting("waiter") > 0;
            lost.then(|| format!("a notification reached nobody: {ending:?}"))
        });
    }
}

/// Some put and some get: nothing is lost or doubled, and nobody waits for what is there.
pub(crate) fn passing_on<C: Channel>(
    putters: usize,
    getters: usize,
    bound: usize,
) -> impl Fn(&mut Program) {
    move |program| {
        let queue = C::make(bound);
        let (put, got) = (Rc::new(Cell::new(0_usize)), Rc::new(RefCell::new(Vec::new())));
        for number in 0..putters {
            let (queue, put) = (queue.clone(), Rc::clone(&put));
            program.task(format!("putter{number}"), async move {
                queue.put(u32::try_from(number).expect("there are few")).await;
                put.set(put.get() + 1);
            });
        }
        for number in 0..getters {
            let (queue, got) = (queue.clone(), Rc::clone(&got));
            program.task(format!("getter{number}"), async move {
                let item = queue.get().await;
                got.borrow_mut().push(item);
            });
        }
        program.at_end(move |ending| {
            let mut items = got.borrow().clone();
            items.sort_unstable();
            items.dedup();
            let (put, got) = (put.get(), got.borrow().len());
            let wrong = if items.len() < got {
                "an item came twice"
            } else if got + queue.len() != put {
                "an item is lost"
            } else if ending.waiting("getter") > 0 && queue.len() > 0 {
                "a getter waits although there is an item"
            } else if ending.waiting("putter") > 0 && queue.has_room() {
                "a putter waits although there is room"
            } else {
                return None;
            };
            Some(format!("{wrong}: {put} put, {got} got, {} left, {ending:?}", queue.len()))
        });
    }
}

/// Whoever waits when an event is set goes on, even if it is cleared at once.
pub(crate) fn signalling(program: &mut Program) {
    let (event, waits) = (Event::new(), Rc::new(Cell::new(0)));
    for number in 0..3 {
        let (event, waits) = (event.clone(), Rc::clone(&waits));
        program.task(format!("waiter{number}"), async move {
            waits.set(waits.get() + 1);
            event.wait().await;
        });
    }
    let (setter, waits_then) = (event.clone(), Rc::new(Cell::new(0)));
    let then = Rc::clone(&waits_then);
    program.task("setter", async move {
        then.set(waits.get());
        setter.set();
        setter.clear();
        give_way().await;
    });
    program.at_end(move |ending| {
        let came_late = 3 - waits_then.get();
        let stuck = ending.waiting("waiter") > came_late;
        stuck.then(|| format!("it was set while {} waited: {ending:?}", waits_then.get()))
    });
}

/// Parties of two: all that go on go in pairs, and two never wait for each other in vain.
pub(crate) fn meeting(program: &mut Program) {
    let (barrier, numbers) = (Barrier::new(2), Rc::new(RefCell::new(Vec::new())));
    for number in 0..4 {
        let (barrier, numbers) = (barrier.clone(), Rc::clone(&numbers));
        program.task(format!("party{number}"), async move {
            let number = barrier.wait().await.expect("nobody breaks it");
            numbers.borrow_mut().push(number);
        });
    }
    program.at_end(move |ending| {
        let firsts = numbers.borrow().iter().filter(|&&number| number == 0).count();
        let seconds = numbers.borrow().len() - firsts;
        if ending.waiting("party") > 1 {
            return Some(format!("two wait for each other: {ending:?}"));
        }
        let gone = ending.cancelled("party");
        let apart = firsts.abs_diff(seconds) > gone;
        apart.then(|| format!("{firsts} came first and {seconds} second: {ending:?}"))
    });
}
