//! How an endpoint begins, and how it ends.

use std::io;
use std::task::Waker;

use super::{Endpoint, Phase};
use crate::SharedError;
use crate::driver::SocketOption;
use crate::engine::FirstPanic;
use crate::engine::core::{Life, Ready};
use crate::trace::{Callback, Control};

/// Behind `connection_made`: the endpoint is open, whatever came of that.
struct Begins<'a>(&'a Endpoint);

impl Drop for Begins<'_> {
    fn drop(&mut self) {
        let endpoint = self.0;
        endpoint.made.set(true);
        if endpoint.phase.get() == Phase::New {
            endpoint.phase.set(Phase::Open);
        }
        endpoint.rearm_read();
        endpoint.wake_all();
    }
}

/// Behind `connection_lost`: everything is released, whatever came of that.
struct Finishes<'a>(&'a Endpoint);

impl Drop for Finishes<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Endpoint {
    pub(crate) fn connection_made(&self) {
        let _begins = Begins(self);
        self.call(Callback::ConnectionMade, 0, |handler| handler.connection_made());
    }

    pub(crate) fn poll_made(&self, waker: &Waker) -> bool {
        self.made.get() || self.add_waker(waker)
    }

    pub(crate) fn outcome(&self) -> Option<Option<SharedError>> {
        self.outcome.borrow().clone()
    }

    fn add_waker(&self, waker: &Waker) -> bool {
        self.wakers.add(waker);
        false
    }

    fn wake_all(&self) {
        self.wakers.wake_all();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.phase.get() >= Phase::Closing
    }

    /// Sets a switch of the socket, as long as there is one.
    pub(crate) fn set_option(&self, option: SocketOption) -> io::Result<()> {
        if self.phase.get() == Phase::Lost {
            let text = "the endpoint is closed, and has no socket any more";
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        self.core().driver.set_option(self.source, option)
    }

    pub(crate) fn close(&self) {
        if self.is_closing() {
            return;
        }
        self.control(Control::Close);
        self.read_queued.set(false);
        if self.queue.borrow().is_empty() {
            self.lose();
        } else {
            self.phase.set(Phase::Closing);
        }
    }

    pub(super) fn abort(&self) {
        if self.phase.get() >= Phase::Losing {
            return;
        }
        self.control(Control::Abort);
        self.queue.borrow_mut().clear();
        self.queued.set(0);
        self.read_queued.set(false);
        self.lose();
    }

    fn lose(&self) {
        self.phase.set(Phase::Losing);
        self.core().push(Ready::Life(self.key.get(), Life::ConnectionLost));
    }

    pub(crate) fn connection_lost(&self) {
        if self.phase.get() != Phase::Losing {
            return;
        }
        self.phase.set(Phase::Lost);
        let _finishes = Finishes(self);
        self.call(Callback::ConnectionLost, 0, |handler| handler.connection_lost(None));
    }

    /// Releases everything. What user code leaves behind may panic when it is dropped, also where a panic goes through
    /// here.
    fn finish(&self) {
        let mut panics = FirstPanic::default();
        let core = self.core();
        let registered = core.sources.borrow_mut().remove(self.key.get());
        core.driver.close(self.source);
        self.outcome.replace(Some(None));
        let handler = self.handler.take();
        if let Some(handler) = &handler {
            panics.run(|| handler.detach());
        }
        self.wake_all();
        panics.run(|| drop((handler, registered)));
        panics.resume();
    }

    /// The loop is closed: no callback, the socket is closed.
    pub(crate) fn release(&self) {
        if self.phase.replace(Phase::Lost) == Phase::Lost {
            return;
        }
        self.core().driver.close(self.source);
        let handler = self.handler.take();
        if let Some(handler) = &handler {
            handler.detach();
        }
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, "the event loop is closed");
        self.outcome.replace(Some(Some(SharedError::new(error))));
        self.made.set(true);
        self.wake_all();
        drop(handler);
    }
}
