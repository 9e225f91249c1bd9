//! Where pipes differ from sockets (contract G.1).
//!
//! A pipe goes one way. Its reading end counts as one whose output has ended from the start, its
//! writing end as one that has seen the end of its input.

use std::rc::Rc;

use super::{Phase, Stream};
use crate::engine::core::{Life, Ready};
use crate::trace::Callback;
use crate::transport::Medium;

impl Stream {
    /// A write cannot be: it comes after the end of the output, or there never was any.
    #[cold]
    #[track_caller]
    pub(super) fn refuse_write(&self) -> ! {
        match self.medium {
            Medium::ReadPipe => panic!("cannot call write() on the reading end of a pipe"),
            _ => panic!("cannot call write() after write_eof()"),
        }
    }

    /// True if what is written while the transport closes is dropped: on a pipe even while earlier
    /// output waits, unlike on a socket (G-05, C-68).
    #[cold]
    pub(super) fn drops_writes_in(&self, phase: Phase) -> bool {
        phase >= Phase::Losing || self.medium == Medium::WritePipe
    }

    /// True if readiness says that nobody reads from the pipe any more, and that is news.
    #[inline]
    pub(super) fn is_unread_pipe(&self) -> bool {
        self.read_closed.get() && self.medium == Medium::WritePipe && self.made.get()
    }

    /// Nobody reads from the pipe any more. With output that waits, the write that follows finds
    /// out (G-04).
    pub(super) fn on_reader_gone(&self) {
        if self.is_unread_pipe() && self.phase.get() < Phase::Losing {
            self.lose(None);
        }
    }

    /// If the reader went before `connection_made` had returned, the next iteration finds out.
    pub(super) fn look_for_reader(&self) {
        if self.is_unread_pipe() {
            self.core().push(Ready::Io { source: self.key.get(), read: false, write: true });
        }
    }

    /// The end of a pipe closes it, whatever the protocol thinks: both callbacks are queued (G-01).
    pub(super) fn end_pipe(&self) {
        self.core().push(Ready::Life(self.key.get(), Life::PipeEnded));
        self.lose(None);
    }

    /// The protocol hears of the end of its pipe; its answer changes nothing.
    pub(crate) fn pipe_ended(self: &Rc<Self>) {
        if let Some(handler) = self.handler() {
            self.trace(Callback::EofReceived, 0);
            self.guard(Callback::EofReceived, &*handler, || handler.eof_received());
        }
    }
}
