//! The end of a layered connection: in good order, in an error, or from below.

use std::io;

use super::Layered;
use super::hosting::{Heard, State};
use crate::SharedError;
use crate::engine::report::ErrorContext;
use crate::protocol::Eof;
use crate::trace::{Callback, Control};
use crate::transport::stream::Finishes;

impl Layered {
    /// True from `close`, or the peer's end, on.
    pub(crate) fn is_closing(&self) -> bool {
        let open = matches!(self.state(), State::Handshake | State::Wrapped);
        !open || self.below_is_closing()
    }

    pub(super) fn has_heard_end(&self) -> bool {
        self.heard.get() >= Heard::Eof
    }

    pub(crate) fn close(&self) {
        if self.is_closing() {
            return;
        }
        if self.state() == State::Handshake {
            return self.abort();
        }
        self.control(Control::Close);
        self.start_closing();
        // Whatever has come already is looked at in the next iteration: no callback runs in here.
        self.call_soon(Self::go_on_closing);
    }

    pub(crate) fn abort(&self) {
        if self.heard.get() == Heard::Lost {
            return;
        }
        self.control(Control::Abort);
        if self.state() == State::Handshake {
            let text = "the connection was aborted during the handshake";
            let error = io::Error::new(io::ErrorKind::ConnectionAborted, text);
            self.set_state(State::Unwrapped);
            self.settle_handshake(Some(SharedError::new(error)));
        }
        self.let_go();
        self.end_below(None, true);
    }

    pub(crate) fn fail(&self, error: io::Error) {
        if self.state() == State::Unwrapped {
            return;
        }
        self.control(Control::Fail);
        let shared = SharedError::new(error);
        if shared.get().get_ref().is_some() {
            self.report(ErrorContext::error("Fatal error on SSL protocol", shared.clone()));
        }
        self.end(shared.to_io(), true);
    }

    /// Ends the connection with an error.
    pub(super) fn end(&self, error: io::Error, reset: bool) {
        let shared = SharedError::new(error);
        self.end_below(Some(shared.to_io()), reset);
        self.settle_handshake(Some(shared));
        self.let_go();
    }

    /// The peer broke the rules: it is told so, and the connection ends.
    pub(super) fn broken(&self, error: io::Error) {
        self.push_output();
        self.end(error, false);
    }

    /// Drops what nobody needs any more.
    fn let_go(&self) {
        self.set_state(State::Unwrapped);
        self.disarm();
        // An unwrapped layer's session does not come back from its work.
        self.work(|_| ());
        self.backlog.borrow_mut().clear();
        self.incoming.take();
        self.plain.take();
        self.fault.take();
    }

    // In good order.

    fn start_closing(&self) {
        self.set_state(State::Flushing);
        self.arm(self.options.get().shutdown_timeout, |this| {
            let error = io::Error::new(io::ErrorKind::TimedOut, "SSL shutdown timed out");
            this.end(error, true);
        });
        self.finish_output();
    }

    /// Sends what is left to be sent, and then our goodbye.
    fn finish_output(&self) {
        self.flush();
        if self.state() == State::Flushing && self.backlog.borrow().is_empty() {
            self.set_state(State::Shutdown);
            self.work(|session| session.close());
            self.push_output();
        }
    }

    /// Nothing comes any more, and all that came was delivered.
    pub(super) fn input_ended(&self) {
        if !self.peer_said_goodbye() && self.options.get().require_goodbye {
            let text =
                "the stream ended without the peer's close_notify: it may have been cut short";
            return self.broken(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let is_top = self.is_top();
        self.tell_end();
        if self.state() == State::Wrapped {
            if !is_top {
                // The layer above may have more to deliver and to send: it closes this one when it is through.
                return;
            }
            self.start_closing();
        }
        self.go_on_closing();
    }

    fn tell_end(&self) {
        if self.heard.get() != Heard::Made {
            return;
        }
        self.heard.set(Heard::Eof);
        let Some(above) = self.above() else {
            return;
        };
        self.trace(Callback::EofReceived, 0);
        let answer = self.guard(Callback::EofReceived, || above.eof_received());
        if answer == Some(Eof::KeepOpen) && self.is_top() {
            let transport = self.stream().number();
            tracing::warn!(
                target: "sim_core",
                transport,
                "KeepOpen from eof_received() has no effect over TLS, which has no half-close"
            );
        }
    }

    /// Takes the next step of the end, if it can be taken.
    pub(super) fn go_on_closing(&self) {
        if !matches!(self.state(), State::Flushing | State::Shutdown) {
            return;
        }
        self.plain.take();
        let incoming = self.incoming.take();
        if !incoming.is_empty() {
            self.discard(&incoming);
        }
        self.set_below_paused(false);
        let fault = self.fault.take();
        if let Some(error) = fault {
            return self.broken(error);
        }
        self.finish_output();
        self.judge_resume();
        if self.state() == State::Shutdown && self.has_ended() {
            self.close_below();
        }
    }

    // From below.

    /// The connection is lost: the protocol hears of it in the next iteration (F-25), if it has heard
    /// of the connection at all.
    pub(super) fn below_lost(&self, error: Option<io::Error>) {
        let reason = error.map(SharedError::new);
        let outcome = reason.clone().unwrap_or_else(|| {
            let text = "the connection was closed during the handshake";
            SharedError::new(io::Error::new(io::ErrorKind::ConnectionAborted, text))
        });
        self.settle_handshake(Some(outcome));
        if reason.is_some() && self.has_rest() {
            // It came before the error did (C-34). Whoever waits for the handshake runs first (F-30).
            self.call_soon(Self::deliver_rest);
        } else {
            self.let_go();
        }
        if self.heard.get() == Heard::Nothing {
            return self.stream().finish(reason);
        }
        self.call_soon(move |this| this.deliver_loss(reason));
    }

    /// Hands over what came before the connection was lost.
    fn deliver_rest(&self) {
        while self.has_rest() {
            if !self.plain.borrow().is_empty() {
                self.deliver();
                continue;
            }
            if self.fault.borrow().is_some() {
                break;
            }
            let incoming = self.incoming.take();
            self.open(&incoming);
        }
        self.let_go();
    }

    fn deliver_loss(&self, reason: Option<SharedError>) {
        if self.heard.replace(Heard::Lost) == Heard::Lost {
            return;
        }
        let stream = self.stream();
        let error = reason.as_ref().map(SharedError::to_io);
        // A layer above has its own loss still to tell.
        let _finishes = self.is_top().then(|| Finishes { stream: &stream, reason });
        if let Some(above) = self.above() {
            self.trace(Callback::ConnectionLost, 0);
            if let Err(message) = self.core().contain(|| above.connection_lost(error)) {
                let text = "Exception in callback connection_lost";
                self.report(ErrorContext::panic(text, message));
            }
        }
    }

    /// It is all over, or the loop is: lets go of the protocol too.
    pub(super) fn release(&self) {
        let text = "the event loop is closed";
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, text);
        self.settle_handshake(Some(SharedError::new(error)));
        self.heard.set(Heard::Lost);
        self.let_go();
        let above = self.take_above();
        if let Some(above) = above {
            above.detach();
        }
    }
}
