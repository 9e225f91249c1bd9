//! From below to the protocol.

use std::io;

use super::Layered;
use super::hosting::{GoesOn, State};
use crate::engine::report::ErrorContext;
use crate::error::CallbackPanicked;
use crate::trace::{Callback, Control};
use crate::transport::stream::StreamHandler;

/// Reading below pauses when this much waits for a protocol that has paused (contract F-21), in bytes.
const READ_HIGH: usize = 256 << 10;
/// And goes on at this much.
const READ_LOW: usize = 64 << 10;

/// What waits for the protocol while it is delivered. What is left stays.
struct Waiting<'a> {
    layer: &'a Layered,
    plain: Vec<u8>,
    delivered: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // A layer that came to lie upon this one while it delivered has taken nothing of this.
        self.plain.drain(..self.delivered);
        self.layer.plain.replace(std::mem::take(&mut self.plain));
    }
}

impl Layered {
    /// Bytes came from below.
    pub(super) fn receive(&self, bytes: &[u8]) {
        match self.state() {
            State::Handshake => self.shake_hands(bytes),
            State::Wrapped if self.must_wait() => {
                self.incoming.borrow_mut().extend_from_slice(bytes);
                self.judge_reading();
            }
            State::Wrapped => {
                self.open(bytes);
                self.pump_now();
            }
            State::Flushing | State::Shutdown => {
                // Behind what came during a pause: a session takes bytes in their order.
                if self.incoming.borrow().is_empty() {
                    self.discard(bytes);
                } else {
                    self.incoming.borrow_mut().extend_from_slice(bytes);
                }
                self.go_on_closing();
            }
            State::Unwrapped => {}
        }
    }

    /// The stream below has ended.
    pub(super) fn end_received(&self) {
        self.below_ended.set(true);
        match self.state() {
            State::Handshake => {
                let text = "the peer ended the connection during the handshake";
                let error = io::Error::new(io::ErrorKind::ConnectionReset, text);
                self.handshake_failed(error, false);
            }
            State::Wrapped if !self.must_wait() => self.pump_now(),
            State::Flushing | State::Shutdown => self.go_on_closing(),
            State::Wrapped | State::Unwrapped => {}
        }
    }

    /// True if what comes from below stays as it is for now.
    fn must_wait(&self) -> bool {
        self.paused_reading.get()
            || self.pump_queued.get()
            || !self.has_session()
            || !self.incoming.borrow().is_empty()
            || !self.plain.borrow().is_empty()
    }

    /// Turns bytes from below into what they say.
    pub(super) fn open(&self, bytes: &[u8]) {
        let mut plain = self.plain.take();
        if plain.capacity() == 0 {
            plain = self.core().take_scratch();
        }
        let result = self.work(|session| session.receive(bytes, &mut plain));
        self.plain.replace(plain);
        if let Some(Err(error)) = result {
            self.fault.replace(Some(error));
        }
        self.push_output();
    }

    /// Takes bytes that nobody wants any more, for the goodbye that may be among them.
    pub(super) fn discard(&self, bytes: &[u8]) {
        let mut plain = self.core().take_scratch();
        if let Some(Err(error)) = self.work(|session| session.receive(bytes, &mut plain)) {
            self.fault.replace(Some(error));
        }
        self.core().put_back_scratch(plain);
        self.push_output();
    }

    /// Delivers what waits: the queued one.
    pub(super) fn pump(&self) {
        self.pump_queued.set(false);
        if self.state() == State::Wrapped {
            self.pump_now();
        }
    }

    /// Delivers what waits, as far as the protocol wants it, and the end behind it.
    fn pump_now(&self) {
        let goes_on = GoesOn(self);
        self.pump_all();
        std::mem::forget(goes_on);
    }

    fn pump_all(&self) {
        while self.delivers() && !self.below_is_closing() && !self.pump_queued.get() {
            if !self.plain.borrow().is_empty() {
                self.deliver();
                continue;
            }
            let fault = self.fault.take();
            if let Some(error) = fault {
                return self.broken(error);
            }
            let incoming = self.incoming.take();
            if !incoming.is_empty() {
                self.open(&incoming);
                continue;
            }
            if self.has_ended() {
                return self.input_ended();
            }
            break;
        }
        self.recycle_plain();
        self.judge_reading();
        self.flush();
    }

    /// True if nothing comes any more.
    pub(super) fn has_ended(&self) -> bool {
        self.below_ended.get() || self.peer_said_goodbye()
    }

    pub(super) fn peer_said_goodbye(&self) -> bool {
        self.work(|session| session.is_closed_by_peer()).unwrap_or(false)
    }

    /// True while the protocol takes data.
    fn delivers(&self) -> bool {
        self.state() == State::Wrapped && !self.paused_reading.get()
    }

    /// True if something waits for the protocol, and it takes data.
    pub(super) fn has_rest(&self) -> bool {
        let waits = !self.plain.borrow().is_empty() || !self.incoming.borrow().is_empty();
        waits && self.delivers()
    }

    /// Hands what was opened to the protocol, as far as it takes it.
    pub(super) fn deliver(&self) {
        let mut waiting = Waiting { layer: self, plain: self.plain.take(), delivered: 0 };
        while waiting.delivered < waiting.plain.len() && self.delivers() {
            let Some(above) = self.above() else {
                break;
            };
            let rest = &waiting.plain[waiting.delivered..];
            if above.is_buffered() {
                let bytes = self.fill(&*above, rest);
                waiting.delivered += bytes;
                if bytes > 0 {
                    self.trace(Callback::BufferUpdated, bytes);
                    self.guard(Callback::BufferUpdated, || above.buffer_updated(bytes));
                }
            } else {
                // Counted before: a panic that ends the run costs what it is about.
                waiting.delivered = waiting.plain.len();
                self.trace(Callback::DataReceived, rest.len());
                self.guard(Callback::DataReceived, || above.data_received(rest));
            }
        }
    }

    /// Copies into the buffer of a buffered protocol, which is to be told; says how much (C-50, C-56).
    fn fill(&self, above: &dyn StreamHandler, rest: &[u8]) -> usize {
        self.trace(Callback::GetBuffer, 0);
        let mut copy = |buffer: &mut [u8]| {
            // get_buffer() may have paused, closed or handed the connection on: then nothing is read.
            if !self.delivers() || !self.is_above(above) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let bytes = rest.len().min(buffer.len());
            if bytes == 0 {
                let text = "get_buffer() returned an empty buffer";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            buffer[..bytes].copy_from_slice(&rest[..bytes]);
            Ok(bytes)
        };
        let lent =
            self.guard(Callback::GetBuffer, || above.with_buffer(rest.len(), &mut copy)).flatten();
        match lent {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                self.fail(error);
                0
            }
            Some(Err(_)) | None => 0,
        }
    }

    /// Runs a callback whose failure costs the connection (C-32, F-24).
    pub(super) fn guard<R>(&self, callback: Callback, code: impl FnOnce() -> R) -> Option<R> {
        match self.core().contain(code) {
            Ok(value) => Some(value),
            Err(message) => {
                let text = "Fatal error on SSL protocol";
                self.report(ErrorContext::panic(text, std::sync::Arc::clone(&message)));
                let error = CallbackPanicked { callback: callback.name(), message };
                self.end(io::Error::other(error), true);
                None
            }
        }
    }

    fn recycle_plain(&self) {
        let plain = self.plain.take();
        if plain.is_empty() {
            self.core().put_back_scratch(plain);
        } else {
            self.plain.replace(plain);
        }
    }

    // Flow control.

    /// Holds the peer back while too much waits for the protocol (F-21).
    fn judge_reading(&self) {
        let waiting = self.incoming.borrow().len() + self.plain.borrow().len();
        if waiting >= READ_HIGH {
            self.set_below_paused(true);
        } else if waiting <= READ_LOW {
            self.set_below_paused(false);
        }
    }

    pub(crate) fn pause_reading(&self) {
        if self.is_closing() || self.paused_reading.replace(true) {
            return;
        }
        self.control(Control::PauseReading);
    }

    /// What waits is delivered in the next iteration (F-17).
    pub(crate) fn resume_reading(&self) {
        if self.is_closing() || !self.paused_reading.replace(false) {
            return;
        }
        self.control(Control::ResumeReading);
        if self.state() == State::Wrapped && !self.pump_queued.replace(true) {
            self.call_soon(Self::pump);
        }
    }

    pub(crate) fn is_reading(&self) -> bool {
        !self.paused_reading.get() && !self.has_heard_end() && !self.is_closing()
    }
}
