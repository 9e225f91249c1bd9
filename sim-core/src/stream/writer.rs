//! Writing to a connection in a task.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::io::AsyncWrite;

use super::StreamProtocol;
use super::shared::Shared;
use crate::engine::report::ErrorContext;
use crate::{Conn, Transport};

/// The writing half of a stream: asyncio's `StreamWriter`.
///
/// [`write`](Self::write) never waits; [`drain`](Self::drain) after it does, while more than the transport's
/// high-water mark waits to be sent. Dropping the writer closes the connection (contract H-26); in debug mode that
/// is warned of.
///
/// Closed by a trait ([`AsyncWriteExt::close`](futures::io::AsyncWriteExt::close), tokio's `shutdown`) it is half-closed
/// where there is such a thing, and that is done when the network has taken all that was written (H-22). A peer that
/// does not read lets it wait without end: put a timeout around it.
pub struct StreamWriter {
    shared: Rc<Shared>,
    conn: Conn<StreamProtocol>,
}

impl StreamWriter {
    pub(super) fn new(shared: &Rc<Shared>, conn: Conn<StreamProtocol>) -> Self {
        Self { shared: Rc::clone(shared), conn }
    }

    /// As [`Transport::write`].
    ///
    /// # Panics
    ///
    /// As [`Transport::write`]: after [`write_eof`](Self::write_eof).
    #[track_caller]
    pub fn write(&self, data: &[u8]) {
        self.transport().write(data);
    }

    /// As [`Transport::writelines`].
    ///
    /// # Panics
    ///
    /// As [`Transport::write`]: after [`write_eof`](Self::write_eof).
    #[track_caller]
    pub fn writelines<I>(&self, lines: I)
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.transport().writelines(lines);
    }

    /// Waits until there is room to write: not at all if there is. On a connection that is closing it waits for the
    /// loss, since no more can be written.
    ///
    /// # Errors
    ///
    /// The error that the connection was lost with (contract H-23); `ConnectionReset` if it is lost without one, so
    /// that a loop which writes and drains ends (H-20, H-24); `ConnectionAborted` if that comes while this waits for
    /// room, since data were lost then (H-22).
    pub async fn drain(&self) -> io::Result<()> {
        // As it is most of the time. What is lost has ended, and what is closing is not writable.
        if !self.shared.eof.get() && self.transport().is_writable() {
            return Ok(());
        }
        if let Some(error) = self.shared.error() {
            return Err(error.to_io());
        }
        if self.is_closing() {
            // The loss may be on its way.
            self.transport().event_loop().sleep(Duration::ZERO).await;
        }
        let is_full = self.transport().is_writing_paused();
        if self.shared.lost().is_none() {
            let is_closing = self.is_closing();
            if !is_full && !is_closing {
                return Ok(());
            }
            let resumed = self.shared.resumed.get();
            self.shared.drains.wait(|| ()).await;
            let is_resumed = self.shared.resumed.get() != resumed;
            if is_resumed && !is_closing {
                // Whatever has come since then.
                return Ok(());
            }
            if is_full && !is_resumed && matches!(self.shared.lost(), Some(None)) {
                return Err(Self::cut_short());
            }
        }
        match self.shared.lost() {
            None => Ok(()),
            Some(Some(error)) => Err(error.to_io()),
            Some(None) => Err(io::Error::new(io::ErrorKind::ConnectionReset, "Connection lost")),
        }
    }

    /// As [`Transport::write_eof`].
    pub fn write_eof(&self) {
        self.transport().write_eof();
    }

    /// As [`Transport::can_write_eof`].
    pub fn can_write_eof(&self) -> bool {
        self.transport().can_write_eof()
    }

    /// As [`Transport::close`]: what was written is still sent.
    pub fn close(&self) {
        self.transport().close();
    }

    /// True when the connection is closing, or lost.
    pub fn is_closing(&self) -> bool {
        self.transport().is_closing()
    }

    /// Waits until the connection is lost; may be awaited again.
    ///
    /// # Errors
    ///
    /// The error that it was lost with (contract H-23).
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.conn.closed().await
    }

    /// The transport: addresses, socket options, water marks, `abort`.
    pub fn transport(&self) -> &Transport {
        self.conn.transport()
    }

    /// The error of a write that cannot be sent.
    fn broken(&self) -> Option<io::Error> {
        if let Some(lost) = self.shared.lost() {
            return Some(lost.map_or(io::ErrorKind::BrokenPipe.into(), |error| error.to_io()));
        }
        let is_over = self.transport().0.has_written_eof() || self.is_closing();
        is_over.then(|| io::ErrorKind::BrokenPipe.into())
    }

    /// What was written and not sent is gone.
    fn cut_short() -> io::Error {
        let text = "the connection was closed before all was sent";
        io::Error::new(io::ErrorKind::ConnectionAborted, text)
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        if self.transport().is_writable() {
            return Poll::Ready(Ok(()));
        }
        self.shared.await_room(cx.waker());
        Poll::Pending
    }
}

impl AsyncWrite for StreamWriter {
    /// Hands all of it to the transport when there is room.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_room(cx).map_ok(|()| {
            self.write(data);
            data.len()
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_room(cx).map_ok(|()| {
            self.transport().write_vectored(pieces);
            pieces.iter().map(|piece| piece.len()).sum()
        })
    }

    /// Ready when there is room to write: the transport sends without being asked. An error on a connection
    /// that was aborted.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shared.lost() {
            None | Some(None) if self.transport().0.is_cut_short() => {
                Poll::Ready(Err(Self::cut_short()))
            }
            None if self.transport().is_writing_paused() => {
                self.shared.await_room(cx.waker());
                Poll::Pending
            }
            Some(Some(error)) => Poll::Ready(Err(error.to_io())),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ends the sending half, after what was written; where there is no such thing, closes.
    ///
    /// Ready when the network has taken all of it. Where the connection closes with that (over TLS, on a pipe, after
    /// [`close`](StreamWriter::close)), when it is lost. A peer that does not read lets it wait: how long is the
    /// caller's to say. An error if the connection is lost with one, or was aborted.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.can_write_eof() {
            self.write_eof();
        } else {
            self.close();
        }
        let stream = &self.transport().0;
        match stream.outcome() {
            None if stream.poll_output_ended(cx.waker()) => Poll::Ready(Ok(())),
            None => Poll::Pending,
            Some(Some(error)) => Poll::Ready(Err(error.to_io())),
            Some(None) if stream.is_cut_short() => Poll::Ready(Err(Self::cut_short())),
            Some(None) => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if self.is_closing() {
            return;
        }
        let core = &self.transport().event_loop().core;
        if core.debug() && !core.is_closed() {
            let stream = &self.transport().0;
            let text = "a StreamWriter was dropped without close()";
            let transport = Some(stream.number());
            let context = ErrorContext { transport, ..ErrorContext::message(text) };
            // The report may panic, and the connection is to end all the same.
            self.close();
            core.report_debug(context, stream.place());
        }
        self.close();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter").field("transport", self.transport()).finish_non_exhaustive()
    }
}
