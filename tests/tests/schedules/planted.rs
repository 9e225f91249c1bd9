//! Primitives with the bugs that asyncio's once had (contract J-33..J-37), small and otherwise right.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::programs::{Channel, Exclusive, Notifier};

/// Waiters that are woken in order, and tell nobody when they are dropped.
#[derive(Clone, Default)]
struct Line(Rc<RefCell<VecDeque<Rc<Place>>>>);

#[derive(Default)]
struct Place {
    woken: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Line {
    fn wake_first(&self) -> bool {
        let Some(place) = self.0.borrow_mut().pop_front() else { return false };
        place.woken.set(true);
        place.waker.borrow().as_ref().expect("it was polled").wake_by_ref();
        true
    }

    fn wait(&self) -> InLine {
        InLine { line: self.clone(), place: None }
    }
}

struct InLine {
    line: Line,
    place: Option<Rc<Place>>,
}

impl Future for InLine {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.line.clone();
        let place = self.place.get_or_insert_with(|| {
            let place = Rc::new(Place::default());
            line.0.borrow_mut().push_back(Rc::clone(&place));
            place
        });
        place.waker.replace(Some(cx.waker().clone()));
        if place.woken.get() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        // It leaves the line. That it had been woken for something is forgotten: the bug.
        if let Some(place) = &self.place {
            self.line.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, place));
        }
    }
}

/// bpo-27585: a waiter that was woken and is cancelled does not wake the next.
#[derive(Clone, Default)]
pub(crate) struct LosesWakeUps {
    locked: Rc<Cell<bool>>,
    line: Line,
}

pub(crate) struct Held<L: Release>(L);

pub(crate) trait Release {
    fn release(&self);
}

impl<L: Release> Drop for Held<L> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Release for LosesWakeUps {
    fn release(&self) {
        if !self.line.wake_first() {
            self.locked.set(false);
        }
    }
}

impl Exclusive for LosesWakeUps {
    type Guard = Held<Self>;

    fn make() -> Self {
        Self::default()
    }

    async fn take(&self) -> Held<Self> {
        if self.locked.replace(true) {
            self.line.wait().await;
        }
        Held(self.clone())
    }
}

/// bpo-32734: a waiter that is cancelled releases the lock, whether it was its own or not.
#[derive(Clone, Default)]
pub(crate) struct GrantsTwice {
    locked: Rc<Cell<bool>>,
    line: Line,
}

impl Release for GrantsTwice {
    fn release(&self) {
        if !self.line.wake_first() {
            self.locked.set(false);
        }
    }
}

impl Exclusive for GrantsTwice {
    type Guard = Held<Self>;

    fn make() -> Self {
        Self::default()
    }

    async fn take(&self) -> Held<Self> {
        let held = Held(self.clone());
        if self.locked.replace(true) {
            self.line.wait().await;
        }
        held
    }
}

/// cpython #90155: the permit is back in the count and the first waiter is woken; when that is cancelled, the
/// others wait although a permit is free.
#[derive(Clone)]
pub(crate) struct HangsAfterCancel {
    free: Rc<Cell<bool>>,
    line: Line,
}

impl Release for HangsAfterCancel {
    fn release(&self) {
        self.free.set(true);
        self.line.wake_first();
    }
}

impl Exclusive for HangsAfterCancel {
    type Guard = Held<Self>;

    fn make() -> Self {
        Self { free: Rc::new(Cell::new(true)), line: Line::default() }
    }

    async fn take(&self) -> Held<Self> {
        while !self.free.replace(false) {
            self.line.wait().await;
        }
        Held(self.clone())
    }
}

/// cpython #112202: a notification whose waiter is cancelled is gone.
#[derive(Clone, Default)]
pub(crate) struct LosesNotifications {
    line: Line,
}

impl Notifier for LosesNotifications {
    fn make() -> Self {
        Self::default()
    }

    async fn wait(&self) {
        self.line.wait().await;
    }

    async fn notify(&self) {
        self.line.wake_first();
    }
}

/// bpo-23812: an item is handed to a getter, and goes with it when that is cancelled.
#[derive(Clone, Default)]
pub(crate) struct LosesItems {
    items: Rc<RefCell<VecDeque<u32>>>,
    getters: Rc<RefCell<VecDeque<Rc<Handed>>>>,
}

#[derive(Default)]
struct Handed {
    item: Cell<Option<u32>>,
    waker: RefCell<Option<Waker>>,
}

impl Channel for LosesItems {
    fn make(_bound: usize) -> Self {
        Self::default()
    }

    async fn put(&self, item: u32) {
        let getter = self.getters.borrow_mut().pop_front();
        match getter {
            Some(getter) => {
                getter.item.set(Some(item));
                getter.waker.borrow().as_ref().expect("it was polled").wake_by_ref();
            }
            None => self.items.borrow_mut().push_back(item),
        }
    }

    async fn get(&self) -> u32 {
        let ready = self.items.borrow_mut().pop_front();
        if let Some(item) = ready {
            return item;
        }
        let handed = Rc::new(Handed::default());
        self.getters.borrow_mut().push_back(Rc::clone(&handed));
        let _leaves = Leaves(self, &handed);
        std::future::poll_fn(|cx| {
            handed.waker.replace(Some(cx.waker().clone()));
            handed.item.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn len(&self) -> usize {
        self.items.borrow().len()
    }

    fn has_room(&self) -> bool {
        true
    }
}

struct Leaves<'a>(&'a LosesItems, &'a Rc<Handed>);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.getters.borrow_mut().retain(|other| !Rc::ptr_eq(other, self.1));
    }
}
