//! From the protocol to what is below.

use std::io::IoSlice;

use super::Layered;
use super::hosting::{GoesOn, Heard, State};
use crate::engine::iteration::drain_flow;
use crate::engine::report::ErrorContext;
use crate::engine::sources::Flow;
use crate::trace::{Callback, Record};
use crate::transport::WriteBufferLimits;
use crate::transport::stream::DROPPED_WRITES_LOGGED_FROM;

/// How much goes below at once, in bytes: four records of TLS.
const PIECE: usize = 64 << 10;

impl Layered {
    pub(crate) fn write(&self, data: &[u8]) {
        if !self.begin_write(data.len()) {
            return;
        }
        let sent = if self.backlog.borrow().is_empty() { self.send(data) } else { 0 };
        if sent < data.len() {
            self.backlog.borrow_mut().extend(&data[sent..]);
            self.judge_pause();
        }
    }

    pub(crate) fn write_vectored(&self, pieces: &mut [IoSlice<'_>]) {
        if !self.begin_write(pieces.iter().map(|piece| piece.len()).sum()) {
            return;
        }
        let mut backlog = self.backlog.borrow_mut();
        pieces.iter().for_each(|piece| backlog.extend(&piece[..]));
        drop(backlog);
        self.flush();
        self.judge_pause();
    }

    fn begin_write(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return false;
        }
        if self.is_closing() {
            let dropped = self.dropped_writes.get().saturating_add(1);
            self.dropped_writes.set(dropped);
            if dropped >= DROPPED_WRITES_LOGGED_FROM {
                let transport = self.stream().number();
                tracing::warn!(target: "sim_core", transport, "write to a lost connection");
            }
            return false;
        }
        if self.is_top() {
            let connection = self.stream().number();
            self.core().trace(Record::Write { connection, bytes: bytes as u64 });
        }
        true
    }

    /// The half-close that there is not (F-09).
    #[track_caller]
    pub(crate) fn write_eof(&self) {
        assert!(
            self.is_closing(),
            "write_eof() is unsupported over TLS: it has no half-close; close()"
        );
    }

    /// Sends of `data` what there is room for below, a piece at a time; says how much.
    fn send(&self, data: &[u8]) -> usize {
        let mut sent = 0;
        if !matches!(self.state(), State::Wrapped | State::Flushing) {
            return 0;
        }
        while sent < data.len() && self.below_is_writable() {
            let piece = &data[sent..data.len().min(sent + PIECE)];
            let mut below = self.core().take_scratch();
            let result = self.work(|session| session.send(piece, &mut below));
            if matches!(result, Some(Ok(()))) {
                self.write_below(&below);
                sent += piece.len();
            }
            self.core().put_back_scratch(below);
            match result {
                Some(Ok(())) => {}
                // It is at work: what is left waits until it is through.
                None => break,
                Some(Err(error)) => {
                    self.broken(error);
                    break;
                }
            }
        }
        sent
    }

    /// Sends of the backlog what there is room for below.
    pub(super) fn flush(&self) {
        let mut backlog = self.backlog.take();
        while !backlog.is_empty() {
            let sent = self.send(backlog.as_slices().0);
            backlog.drain(..sent);
            if sent == 0 {
                break;
            }
        }
        if self.state() != State::Unwrapped {
            self.backlog.replace(backlog);
        }
        self.stream().tell_room();
    }

    /// Sends what the layer has to say for itself.
    pub(super) fn push_output(&self) {
        let mut below = self.core().take_scratch();
        self.work(|session| session.take_output(&mut below));
        if !below.is_empty() {
            self.write_below(&below);
        }
        self.core().put_back_scratch(below);
    }

    /// There is room below again.
    pub(super) fn room_below(&self) {
        self.flush();
        self.judge_resume();
        if self.state() == State::Flushing {
            self.go_on_closing();
        }
    }

    fn judge_pause(&self) {
        if self.write_buffer_size() > self.limits.get().high && !self.paused_writing.replace(true) {
            self.pause_undelivered.set(true);
            self.core().push_flow(Flow::PauseLayer(self.rc()));
        }
    }

    pub(crate) fn deliver_pause(&self) {
        if !self.pause_undelivered.replace(false) || self.heard.get() == Heard::Lost {
            return;
        }
        let Some(above) = self.above() else {
            return;
        };
        self.trace(Callback::PauseWriting, 0);
        if let Err(message) = self.core().contain(|| above.pause_writing()) {
            self.report(ErrorContext::panic("protocol.pause_writing() failed", message));
        }
    }

    /// Tells the protocol that there is room again, if it was told that there was none.
    pub(super) fn judge_resume(&self) {
        let has_room = self.write_buffer_size() <= self.limits.get().low;
        if !has_room || self.state() == State::Unwrapped || !self.paused_writing.replace(false) {
            return;
        }
        let Some(above) = self.above() else {
            return;
        };
        let goes_on = GoesOn(self);
        self.trace(Callback::ResumeWriting, 0);
        if let Err(message) = self.core().contain(|| above.resume_writing()) {
            self.report(ErrorContext::panic("protocol.resume_writing() failed", message));
        }
        drain_flow(&self.core());
        std::mem::forget(goes_on);
    }

    pub(crate) fn is_writing_paused(&self) -> bool {
        self.paused_writing.get()
    }

    pub(crate) fn is_writable(&self) -> bool {
        !self.paused_writing.get() && !self.is_closing()
    }

    /// What the layer below has not been given yet (F-23).
    pub(crate) fn write_buffer_size(&self) -> usize {
        self.backlog.borrow().len()
    }

    pub(crate) fn limits(&self) -> WriteBufferLimits {
        self.limits.get()
    }

    pub(crate) fn set_limits(&self, limits: WriteBufferLimits) {
        if self.heard.get() == Heard::Lost || self.state() == State::Unwrapped {
            return;
        }
        self.limits.set(limits);
        self.judge_pause();
    }
}
