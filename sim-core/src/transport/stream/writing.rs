//! Writing: what the network does not take at once waits, and says so by the marks (contract C.5, C.6).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::{Phase, Stream};
use crate::engine::iteration::drain_flow;
use crate::engine::sources::Flow;
use crate::trace::{Callback, Control, Record};
use crate::transport::{Medium, WriteBufferLimits};

/// From this many dropped writes on, each is logged (contract C-69).
pub(crate) const DROPPED_WRITES_LOGGED_FROM: u32 = 5;

/// The most room that an empty buffer keeps: what the default marks fill, twice.
pub(super) const BUFFER_KEPT_MAX: usize = 256 * 1_024;

/// How many bytes the pieces have together.
fn length(pieces: &[IoSlice<'_>]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

/// A panic in `resume_writing` ends the run: a connection that waits for the end of its output has come to it.
struct EndsAnyway<'a>(&'a Rc<Stream>);

impl Drop for EndsAnyway<'_> {
    fn drop(&mut self) {
        let stream = self.0;
        if stream.phase.get() >= Phase::Losing || !stream.buffer.borrow().is_empty() {
            return;
        }
        if stream.phase.get() == Phase::Closing {
            stream.lose(None);
        } else if stream.eof_written.get() {
            stream.shutdown_write();
        }
    }
}

impl Stream {
    /// The beginning of every write of `bytes` bytes: true if they are to be sent.
    #[inline]
    #[track_caller]
    fn begin_write(&self, bytes: usize) -> bool {
        if self.eof_written.get() {
            self.refuse_write();
        }
        if bytes == 0 {
            return false;
        }
        if self.is_closing() && self.drops_writes_in(self.phase.get()) {
            self.drop_write();
            return false;
        }
        if !self.is_layered.get() {
            self.core().trace(Record::Write { connection: self.number, bytes: bytes as u64 });
        }
        true
    }

    #[track_caller]
    pub(crate) fn write(self: &Rc<Self>, data: &[u8]) {
        if !self.begin_write(data.len()) {
            return;
        }
        let mut sent = 0;
        if self.buffer.borrow().is_empty() {
            loop {
                match self.core().driver.write(self.source, data) {
                    Ok(bytes) => sent = bytes,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return self.force_close(Some(error)),
                }
                break;
            }
        }
        if sent < data.len() {
            self.buffer.borrow_mut().extend(&data[sent..]);
            self.judge_pause();
        }
    }

    /// Writes the pieces; `rest` is consumed from its start on.
    #[track_caller]
    pub(crate) fn write_vectored(self: &Rc<Self>, mut rest: &mut [IoSlice<'_>]) {
        if !self.begin_write(length(rest)) {
            return;
        }
        if self.buffer.borrow().is_empty()
            && let Err(error) = self.send(&mut rest)
        {
            return self.force_close(Some(error));
        }
        if !rest.is_empty() {
            let mut buffer = self.buffer.borrow_mut();
            rest.iter().for_each(|piece| buffer.extend(&piece[..]));
            drop(buffer);
            self.judge_pause();
        }
    }

    #[cold]
    fn drop_write(&self) {
        let dropped = self.dropped_writes.get().saturating_add(1);
        self.dropped_writes.set(dropped);
        if dropped >= DROPPED_WRITES_LOGGED_FROM {
            tracing::warn!(target: "sim_core", transport = self.number, "write to a lost connection");
        }
    }

    /// Sends what the network takes, and takes it off `rest`.
    ///
    /// Readiness is edge-triggered: news of more room comes only after a write that would block, or
    /// that fell short of the one piece it was given. A write of several pieces may stop anywhere
    /// for reasons of its own, so it is followed by another.
    fn send(&self, rest: &mut &mut [IoSlice<'_>]) -> io::Result<()> {
        let driver = &self.core().driver;
        loop {
            // Empty pieces go too.
            IoSlice::advance_slices(rest, 0);
            let sent = match &**rest {
                [] => return Ok(()),
                [piece] => driver.write(self.source, piece),
                pieces => driver.write_vectored(self.source, pieces),
            };
            match sent {
                Ok(bytes) => {
                    let fell_short = matches!(**rest, [ref piece] if bytes < piece.len());
                    IoSlice::advance_slices(rest, bytes);
                    if bytes == 0 || fell_short {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Strictly over the mark pauses (C-81), once until the matching resume (C-82).
    fn judge_pause(self: &Rc<Self>) {
        if self.write_buffer_size() > self.limits.get().high && !self.paused_writing.replace(true) {
            self.pause_undelivered.set(true);
            self.core().push_flow(Flow::Pause(Rc::clone(self)));
        }
    }

    pub(crate) fn deliver_pause(self: &Rc<Self>) {
        if !self.pause_undelivered.replace(false) || self.phase.get() == Phase::Lost {
            return;
        }
        let Some(handler) = self.handler() else {
            return;
        };
        self.trace(Callback::PauseWriting, 0);
        self.flow_guard("protocol.pause_writing() failed", &*handler, || handler.pause_writing());
    }

    pub(crate) fn on_writable(self: &Rc<Self>) {
        self.tell_room();
        if self.buffer.borrow().is_empty() || self.phase.get() >= Phase::Losing {
            return self.on_reader_gone();
        }
        if !self.flush() {
            return;
        }
        if self.paused_writing.get() && self.write_buffer_size() <= self.limits.get().low {
            let end = EndsAnyway(self);
            self.deliver_resume();
            std::mem::forget(end);
        }
        if self.phase.get() >= Phase::Losing || !self.buffer.borrow().is_empty() {
            return;
        }
        if self.phase.get() == Phase::Closing {
            // The one place where the end comes without an iteration of its own (C-09).
            self.phase.set(Phase::Losing);
            self.connection_lost();
        } else if self.eof_written.get() {
            self.shutdown_write();
        }
    }

    /// Writes from the buffer; false if that ended the connection or moved nothing.
    fn flush(self: &Rc<Self>) -> bool {
        let buffer = self.buffer.borrow();
        let (front, back) = buffer.as_slices();
        let mut pieces = [IoSlice::new(front), IoSlice::new(back)];
        let used = if back.is_empty() { 1 } else { 2 };
        let mut rest = &mut pieces[..used];
        let result = self.send(&mut rest);
        let sent = buffer.len() - length(rest);
        drop(buffer);
        match result {
            Ok(()) => {
                let mut buffer = self.buffer.borrow_mut();
                buffer.drain(..sent);
                // A burst is no reason to keep so much for the rest of the connection's life.
                if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT_MAX {
                    *buffer = VecDeque::new();
                }
                sent > 0
            }
            Err(error) => {
                self.force_close(Some(error));
                false
            }
        }
    }

    fn deliver_resume(self: &Rc<Self>) {
        self.paused_writing.set(false);
        let Some(handler) = self.handler() else {
            return;
        };
        self.trace(Callback::ResumeWriting, 0);
        self.flow_guard("protocol.resume_writing() failed", &*handler, || handler.resume_writing());
        drain_flow(self.core());
    }

    pub(crate) fn write_eof(self: &Rc<Self>) {
        if self.medium == Medium::WritePipe {
            return self.close();
        }
        if self.is_closing() || self.eof_written.replace(true) {
            return;
        }
        self.control(Control::WriteEof);
        if self.buffer.borrow().is_empty() {
            self.shutdown_write();
        }
    }

    fn shutdown_write(self: &Rc<Self>) {
        // A connection that is gone says so to the next read; there is nothing to do here.
        if let Err(error) = self.core().driver.shutdown_write(self.source)
            && error.kind() != io::ErrorKind::NotConnected
        {
            self.force_close(Some(error));
        }
    }

    pub(crate) fn is_writing_paused(&self) -> bool {
        self.paused_writing.get()
    }

    /// True when nothing more can be written: [`write_eof`](Self::write_eof) was called.
    pub(crate) fn has_written_eof(&self) -> bool {
        self.eof_written.get()
    }

    pub(crate) fn is_writable(&self) -> bool {
        !self.paused_writing.get() && !self.eof_written.get() && !self.is_closing()
    }

    pub(crate) fn write_buffer_size(&self) -> usize {
        self.buffer.borrow().len()
    }

    pub(crate) fn limits(&self) -> WriteBufferLimits {
        self.limits.get()
    }

    pub(crate) fn set_limits(self: &Rc<Self>, limits: WriteBufferLimits) {
        if self.phase.get() == Phase::Lost {
            return;
        }
        self.limits.set(limits);
        self.judge_pause();
    }
}
