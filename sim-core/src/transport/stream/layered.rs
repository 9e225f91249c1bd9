//! A stream that has a layer: what it hands over to it.

use std::io;
use std::rc::Rc;

use super::{Phase, Stream, StreamHandler};
use crate::handle::closed_error;
use crate::layer::Layered;
use crate::transport::Medium;

impl Stream {
    /// The layer that the protocol is on, if there is one.
    #[inline]
    pub(crate) fn top(&self) -> Option<Rc<Layered>> {
        if !self.is_layered.get() {
            return None;
        }
        self.top.borrow().clone()
    }

    /// Makes `layer` the one that the protocol is on. The lowest is the stream's own protocol.
    pub(crate) fn put_layer(&self, layer: &Rc<Layered>) {
        if !self.is_layered.replace(true) {
            let has_handler = self.handler.borrow().is_some();
            if !has_handler {
                self.exchange_handler(Rc::clone(layer) as _);
            }
        }
        let old = self.top.replace(Some(Rc::clone(layer)));
        drop(old);
    }

    /// Puts another handler in the place of the one that it has: of none, of one that is over, or of the protocol
    /// when that goes on above a layer.
    pub(crate) fn exchange_handler(
        &self,
        handler: Rc<dyn StreamHandler>,
    ) -> Option<Rc<dyn StreamHandler>> {
        self.is_buffered.set(handler.is_buffered());
        self.handler.replace(Some(handler))
    }

    /// True if the protocol has been told to pause and not to resume. What it was not told yet is
    /// taken back.
    pub(crate) fn has_told_pause(&self) -> bool {
        let untold = self.pause_undelivered.replace(false);
        self.paused_writing.get() && !untold
    }

    /// Whether a layer can come to this connection now.
    pub(crate) fn may_have_layer(&self) -> io::Result<()> {
        let invalid = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let closing = self.top().map_or_else(|| self.is_closing(), |top| top.is_closing());
        if self.core().is_closed() {
            return Err(closed_error());
        }
        if self.sends_file.get() {
            return invalid(
                "a layer cannot begin in the middle of a file: sendfile is in progress",
            );
        }
        if matches!(self.medium, Medium::ReadPipe | Medium::WritePipe) {
            return invalid("a layer needs both directions, and a pipe has one");
        }
        if closing {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the connection is closing"));
        }
        if self.eof_written.get() || self.eof_received.get() {
            return invalid("a layer needs both directions, and one of them has ended");
        }
        Ok(())
    }

    /// Ends the connection at once: a reset, or the end of the stream behind what the network has
    /// taken.
    pub(crate) fn end(&self, reason: Option<io::Error>, reset: bool) {
        if self.phase.get() < Phase::Losing {
            self.reset.set(reset);
            self.force_close(reason);
        }
    }
}
