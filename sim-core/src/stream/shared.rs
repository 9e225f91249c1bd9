//! What the protocol, the reader and the writer of a stream share.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use crate::SharedError;
use crate::sync::Waiters;

/// The state of a stream.
pub(super) struct Shared {
    /// How many unread bytes are fine; at twice as many reading pauses.
    pub(super) limit: usize,
    /// What came and the reader has not taken over yet.
    inbox: RefCell<Vec<u8>>,
    /// How many bytes the reader has taken over that nobody has read.
    taken: Cell<usize>,
    pub(super) eof: Cell<bool>,
    paused: Cell<bool>,
    /// How the connection was lost, if it was.
    lost: RefCell<Option<Option<SharedError>>>,
    reader: RefCell<Option<Waker>>,
    reader_is_gone: Cell<bool>,
    /// Who waits until there is room to write.
    pub(super) drains: Waiters,
    /// The same, of [`AsyncWrite`](futures::io::AsyncWrite).
    writer: RefCell<Option<Waker>>,
}

impl Shared {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            inbox: RefCell::default(),
            taken: Cell::new(0),
            eof: Cell::new(false),
            paused: Cell::new(false),
            lost: RefCell::new(None),
            reader: RefCell::new(None),
            reader_is_gone: Cell::new(false),
            drains: Waiters::default(),
            writer: RefCell::new(None),
        }
    }

    // What the protocol says.

    /// Takes what came; true if that is too much, and reading is to pause.
    pub(super) fn feed(&self, data: &[u8]) -> bool {
        if self.reader_is_gone.get() {
            return false;
        }
        let length = {
            let mut inbox = self.inbox.borrow_mut();
            inbox.extend_from_slice(data);
            inbox.len()
        };
        self.wake_reader();
        let full = self.taken.get() + length > 2 * self.limit;
        full && !self.paused.replace(true)
    }

    pub(super) fn end(&self) {
        self.eof.set(true);
        self.wake_reader();
    }

    pub(super) fn lose(&self, error: Option<SharedError>) {
        self.lost.replace(Some(error));
        self.end();
        self.make_room();
    }

    /// There is room to write again, or never more.
    pub(super) fn make_room(&self) {
        self.drains.grant_all();
        let waker = self.writer.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wake_reader(&self) {
        let waker = self.reader.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    // What the reader and the writer ask.

    /// The error that the connection was lost with.
    #[inline]
    pub(super) fn error(&self) -> Option<SharedError> {
        // A connection that is lost has ended, too.
        if self.eof.get() { self.lost.borrow().clone().flatten() } else { None }
    }

    /// How the connection was lost, if it was.
    pub(super) fn lost(&self) -> Option<Option<SharedError>> {
        self.lost.borrow().clone()
    }

    /// Hands over what came; false if nothing did. What was there before stays in front of it.
    pub(super) fn take_over(&self, front: &mut Vec<u8>) -> bool {
        let mut inbox = self.inbox.borrow_mut();
        if inbox.is_empty() {
            return false;
        }
        if front.is_empty() {
            std::mem::swap(front, &mut inbox);
        } else {
            front.append(&mut inbox);
        }
        true
    }

    /// Notes how many bytes the reader has left; true if reading is to go on.
    pub(super) fn note_taken(&self, unread: usize) -> bool {
        self.taken.set(unread);
        let room = self.paused.get() && unread + self.inbox.borrow().len() <= self.limit;
        room && self.paused.replace(false)
    }

    /// Has reading go on because somebody waits for more; true if it was paused.
    pub(super) fn unpause(&self) -> bool {
        self.paused.replace(false)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inbox.borrow().is_empty()
    }

    pub(super) fn await_data(&self, waker: &Waker) {
        let old = self.reader.replace(Some(waker.clone()));
        drop(old);
    }

    pub(super) fn await_room(&self, waker: &Waker) {
        let old = self.writer.replace(Some(waker.clone()));
        drop(old);
    }

    /// Nobody reads any more: what is there is dropped, and what comes; true if reading is to go on, so that
    /// the end is noticed.
    pub(super) fn forget_reader(&self) -> bool {
        self.reader_is_gone.set(true);
        drop(self.inbox.take());
        self.paused.replace(false)
    }
}
