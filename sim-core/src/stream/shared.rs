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
    /// Who reads, kept from one wait to the next.
    reader: RefCell<Option<Waker>>,
    /// It waits.
    reader_waits: Cell<bool>,
    reader_is_gone: Cell<bool>,
    /// How often there was room to write again.
    pub(super) resumed: Cell<u64>,
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
            reader_waits: Cell::new(false),
            reader_is_gone: Cell::new(false),
            resumed: Cell::new(0),
            drains: Waiters::default(),
            writer: RefCell::new(None),
        }
    }

    // What the protocol says.

    /// Takes what came; true if that is too much, and reading is to pause. The reader is to be woken after that:
    /// it may go on inside of its waker, and have reading go on.
    pub(super) fn feed(&self, data: &[u8]) -> bool {
        if self.reader_is_gone.get() {
            return false;
        }
        let length = {
            let mut inbox = self.inbox.borrow_mut();
            inbox.extend_from_slice(data);
            inbox.len()
        };
        let full = self.taken.get() + length > self.limit.saturating_mul(2);
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

    /// There is room to write again.
    pub(super) fn resume(&self) {
        self.resumed.set(self.resumed.get() + 1);
        self.make_room();
    }

    /// There is room to write again, or never more.
    fn make_room(&self) {
        self.drains.grant_all();
        let waker = self.writer.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn wake_reader(&self) {
        if !self.reader_waits.replace(false) {
            return;
        }
        // A waker may run anything, and so may the end of one.
        let waker = self.reader.take();
        if let Some(waker) = &waker {
            waker.wake_by_ref();
        }
        let is_gone = self.reader_is_gone.get();
        let newer = self.reader.replace(waker);
        if newer.is_some() || is_gone {
            drop(self.reader.replace(newer));
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

    /// Moves what came to `buf` if that is exactly so much, and nothing else is to be seen to; false if not. The reader
    /// has nothing left before it.
    #[inline]
    pub(super) fn take_all_into(&self, buf: &mut [u8]) -> bool {
        let mut inbox = self.inbox.borrow_mut();
        let is_all = inbox.len() == buf.len() && !self.paused.get() && !self.eof.get();
        if is_all {
            buf.copy_from_slice(&inbox);
            inbox.clear();
        }
        is_all
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

    /// How many bytes it has room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.inbox.borrow().capacity()
    }

    pub(super) fn await_data(&self, waker: &Waker) {
        self.reader_waits.set(true);
        let is_known = self.reader.borrow().as_ref().is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let old = self.reader.replace(Some(waker.clone()));
            drop(old);
        }
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
        drop(self.reader.take());
        self.paused.replace(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waited_last_is_woken_once_for_each_wait() {
        let shared = Shared::new(10);
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let counts = || (first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed));
        shared.await_data(&Waker::from(Arc::clone(&first)));
        for data in [b"a", b"b"] {
            shared.feed(data);
            shared.wake_reader();
        }
        assert_eq!(counts(), (1, 0));
        shared.await_data(&Waker::from(Arc::clone(&first)));
        shared.await_data(&Waker::from(Arc::clone(&second)));
        shared.end();
        assert_eq!(counts(), (1, 1));
        shared.await_data(&Waker::from(Arc::clone(&second)));
        shared.forget_reader();
        shared.end();
        assert_eq!(counts(), (1, 1), "nobody reads any more");
        drop(shared);
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
