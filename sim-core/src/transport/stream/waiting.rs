//! Who waits for something of a stream.

use std::io;
use std::task::Waker;

use super::{Outcome, Stream};
use crate::SharedError;

impl Stream {
    /// True once `connection_made` has returned; else the waker is told.
    pub(crate) fn poll_made(&self, waker: &Waker) -> bool {
        self.made.get() || self.add_waker(waker)
    }

    /// How the connection ended, once `connection_lost` has returned.
    pub(crate) fn outcome(&self) -> Option<Option<SharedError>> {
        match &*self.outcome.borrow() {
            Outcome::Pending => None,
            Outcome::Lost(reason) => Some(reason.clone()),
            Outcome::LoopClosed => {
                let text = "the event loop is closed";
                let error = io::Error::new(io::ErrorKind::ConnectionAborted, text);
                Some(Some(SharedError::new(error)))
            }
        }
    }

    pub(super) fn add_waker(&self, waker: &Waker) -> bool {
        self.wakers.add(waker);
        false
    }

    pub(super) fn wake_all(&self) {
        self.wakers.wake_all();
    }
}
