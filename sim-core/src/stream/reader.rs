//! Reading from a connection in a task.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncBufRead, AsyncRead};
use futures::stream::Stream;

use super::ReadError;
use super::shared::Shared;
use crate::Transport;

/// How much room an empty reader keeps, whatever its limit.
const ROOM_KEPT: usize = 256 * 1_024;

/// The reading half of a stream: asyncio's `StreamReader`.
///
/// When more than twice its limit waits to be read, the transport's reading is paused, and goes on when the limit
/// is left, or when a read waits for more (contract H-01, H-02). One task reads at a time, which the `&mut` sees
/// to (H-03). The error that a connection was lost with beats what is left to read (H-10).
///
/// Dropping it drops what comes; the connection stays open for the writer.
///
/// # Cancel safety
///
/// A read that is dropped takes nothing (H-12).
pub struct StreamReader {
    shared: Rc<Shared>,
    transport: Transport,
    /// What was taken over; up to `read` it is read.
    front: Vec<u8>,
    read: usize,
}

impl StreamReader {
    pub(super) fn new(shared: &Rc<Shared>, transport: &Transport) -> Self {
        let (shared, transport) = (Rc::clone(shared), transport.clone());
        Self { shared, transport, front: Vec::new(), read: 0 }
    }

    /// Reads what there is, at most `max` bytes; waits only if there is nothing. Empty at the end of the stream,
    /// and for 0 (contract H-04).
    ///
    /// # Errors
    ///
    /// The error that the connection was lost with.
    pub async fn read(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if max == 0 {
            self.fail_if_lost()?;
            return Ok(Vec::new());
        }
        poll_fn(|cx| self.poll_some(cx)).await?;
        let length = self.unread().len().min(max);
        Ok(self.take(length))
    }

    /// Reads until the stream ends, whatever its limit.
    ///
    /// # Errors
    ///
    /// The error that the connection was lost with.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while poll_fn(|cx| self.poll_more(cx)).await? {}
        Ok(self.take(self.unread().len()))
    }

    /// Reads `length` bytes, whatever the limit.
    ///
    /// # Errors
    ///
    /// [`ReadError::Incomplete`] with what there was if the stream ends before (H-05); [`ReadError::Lost`].
    pub async fn read_exact(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
        poll_fn(|cx| self.poll_exact(cx, length)).await?;
        Ok(self.take(length))
    }

    /// Fills `buf`, whatever the limit: [`read_exact`](Self::read_exact) without a `Vec` for each message.
    ///
    /// ```
    /// use std::io;
    ///
    /// use sim_core::stream::{StreamReader, StreamWriter};
    ///
    /// async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    ///     let mut message = [0; 64];
    ///     while reader.read_exact_into(&mut message).await.is_ok() {
    ///         writer.write(&message);
    ///         writer.drain().await?;
    ///     }
    ///     Ok(())
    /// }
    /// # drop(echo);
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read_exact`](Self::read_exact); `buf` is then as it was.
    pub async fn read_exact_into(&mut self, buf: &mut [u8]) -> Result<(), ReadError> {
        poll_fn(|cx| self.poll_exact_into(cx, buf)).await
    }

    /// Reads through the next `separator`; at most the limit's bytes come before it (H-06).
    ///
    /// # Errors
    ///
    /// [`ReadError::LimitOverrun`], [`ReadError::Incomplete`], [`ReadError::EmptySeparator`], [`ReadError::Lost`].
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Vec<u8>, ReadError> {
        let mut searched = 0;
        poll_fn(|cx| self.poll_until(cx, separator, &mut searched)).await
    }

    /// Reads a line, with its newline; what comes last may have none. Empty at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`ReadError::LineTooLong`], and the line is dropped (H-09); [`ReadError::Lost`].
    pub async fn read_line(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut searched = 0;
        poll_fn(|cx| self.poll_line(cx, &mut searched)).await
    }

    /// The lines that are left, as a stream; it ends with the connection's (H-13).
    pub fn read_lines(&mut self) -> Lines<'_> {
        Lines { reader: self, searched: 0 }
    }

    /// True when the stream has ended and nothing is left to read (H-11).
    pub fn at_eof(&self) -> bool {
        self.shared.eof.get() && self.unread().is_empty() && self.shared.is_empty()
    }

    /// How many bytes a line may have; see [`StreamProtocol::with_limit`](super::StreamProtocol::with_limit).
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// The transport.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Gives back everything that was not read: it is for a layer that comes below the stream.
    #[cfg(feature = "tls")]
    pub(crate) fn surrender(&mut self) -> Vec<u8> {
        self.take_over();
        self.take(self.unread().len())
    }

    fn unread(&self) -> &[u8] {
        &self.front[self.read..]
    }

    fn take_over(&mut self) -> bool {
        let took = self.shared.take_over(&mut self.front);
        self.note_unread();
        took
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.unread()[..length].to_vec();
        self.discard(length);
        taken
    }

    fn discard(&mut self, length: usize) {
        self.read += length;
        // What was read is given back now and then, so that a reader which is never empty does not grow.
        if self.read == self.front.len() {
            // What a burst or a long read took is no reason to keep so much.
            if self.front.capacity() > self.shared.limit.saturating_mul(4).max(ROOM_KEPT) {
                self.front = Vec::new();
            } else {
                self.front.clear();
            }
            self.read = 0;
        } else if self.read > self.shared.limit {
            self.front.drain(..self.read);
            self.read = 0;
        }
        self.note_unread();
    }

    fn note_unread(&self) {
        if self.shared.note_taken(self.unread().len()) {
            self.transport.resume_reading();
        }
    }

    #[inline]
    fn fail_if_lost(&self) -> io::Result<()> {
        match self.shared.error() {
            None => Ok(()),
            Some(error) => Err(error.to_io()),
        }
    }

    /// Waits for more than there is; false at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.fail_if_lost()?;
        if self.take_over() {
            return Poll::Ready(Ok(true));
        }
        if self.shared.eof.get() {
            return Poll::Ready(Ok(false));
        }
        self.await_more(cx);
        Poll::Pending
    }

    /// Has the task woken when more comes, and sees to it that it may come.
    fn await_more(&self, cx: &Context<'_>) {
        self.shared.await_data(cx.waker());
        if self.shared.unpause() {
            self.transport.resume_reading();
        }
    }

    /// Waits until there is something; false at the end of the stream.
    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.fail_if_lost()?;
        if self.unread().is_empty() { self.poll_more(cx) } else { Poll::Ready(Ok(true)) }
    }

    /// Waits until `length` bytes are there.
    #[inline]
    fn poll_exact(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<Result<(), ReadError>> {
        if self.shared.eof.get() {
            return Poll::Ready(self.end_with(length));
        }
        let is_there = |this: &Self| this.unread().len() >= length;
        if is_there(self) || !self.shared.is_empty() && self.take_over() && is_there(self) {
            return Poll::Ready(Ok(()));
        }
        self.await_more(cx);
        Poll::Pending
    }

    /// Fills `buf` once so much is there.
    #[inline]
    fn poll_exact_into(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<(), ReadError>> {
        // What has come and is the whole message needs not be taken over first.
        if self.unread().is_empty() && self.shared.take_all_into(buf) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_exact(cx, buf.len()))?;
        buf.copy_from_slice(&self.unread()[..buf.len()]);
        self.discard(buf.len());
        Poll::Ready(Ok(()))
    }

    /// The stream has ended: the last `length` bytes of it are there, or never come.
    #[cold]
    fn end_with(&mut self, length: usize) -> Result<(), ReadError> {
        self.fail_if_lost().map_err(ReadError::Lost)?;
        self.take_over();
        if self.unread().len() >= length {
            return Ok(());
        }
        let partial = self.take(self.unread().len());
        Err(ReadError::Incomplete { partial, expected: Some(length) })
    }

    /// Waits for a separator; up to `searched` it is not there.
    fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        separator: &[u8],
        searched: &mut usize,
    ) -> Poll<Result<Vec<u8>, ReadError>> {
        if separator.is_empty() {
            return Poll::Ready(Err(ReadError::EmptySeparator));
        }
        self.fail_if_lost().map_err(ReadError::Lost)?;
        self.take_over();
        loop {
            let unread = self.unread();
            if let Some(place) = find(&unread[*searched..], separator) {
                let before = *searched + place;
                if before > self.shared.limit {
                    return Poll::Ready(Err(ReadError::LimitOverrun { consumed: before }));
                }
                return Poll::Ready(Ok(self.take(before + separator.len())));
            }
            // A separator that has begun may be complete with the next byte.
            *searched = (unread.len() + 1).saturating_sub(separator.len()).max(*searched);
            if *searched > self.shared.limit {
                return Poll::Ready(Err(ReadError::LimitOverrun { consumed: *searched }));
            }
            if !ready!(self.poll_more(cx)).map_err(ReadError::Lost)? {
                let partial = self.take(self.unread().len());
                return Poll::Ready(Err(ReadError::Incomplete { partial, expected: None }));
            }
        }
    }

    fn poll_line(
        &mut self,
        cx: &mut Context<'_>,
        searched: &mut usize,
    ) -> Poll<Result<Vec<u8>, ReadError>> {
        Poll::Ready(match ready!(self.poll_until(cx, b"\n", searched)) {
            Err(ReadError::Incomplete { partial, .. }) => Ok(partial),
            Err(ReadError::LimitOverrun { consumed }) => {
                let is_whole = self.unread().get(consumed) == Some(&b'\n');
                self.discard(if is_whole { consumed + 1 } else { self.unread().len() });
                Err(ReadError::LineTooLong)
            }
            other => other,
        })
    }
}

/// Where `needle` begins in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    match needle {
        [byte] => hay.iter().position(|other| other == byte),
        _ => hay.windows(needle.len()).position(|window| window == needle),
    }
}

/// The stream of [`StreamReader::read_lines`]: lines with their newlines.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Lines<'a> {
    reader: &'a mut StreamReader,
    searched: usize,
}

impl Stream for Lines<'_> {
    type Item = Result<Vec<u8>, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { reader, searched } = &mut *self;
        let line = ready!(reader.poll_line(cx, searched));
        self.searched = 0;
        Poll::Ready(if line.as_ref().is_ok_and(Vec::is_empty) { None } else { Some(line) })
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(self.fail_if_lost().map(|()| 0));
        }
        ready!(self.poll_some(cx))?;
        let length = self.unread().len().min(buf.len());
        buf[..length].copy_from_slice(&self.unread()[..length]);
        self.discard(length);
        Poll::Ready(Ok(length))
    }
}

impl AsyncBufRead for StreamReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_some(cx))?;
        Poll::Ready(Ok(this.unread()))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.discard(amount);
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        if self.shared.forget_reader() {
            self.transport.resume_reading();
        }
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("unread", &self.unread().len())
            .field("limit", &self.shared.limit)
            .field("at_eof", &self.at_eof())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::stream::StreamProtocol;
    use crate::testing;

    /// H-02: what a burst took of memory is given back when it is read.
    #[test]
    fn a_burst_leaves_no_room_behind() {
        const BURST: usize = 8 << 20;
        let mut peer = testing::drive(StreamProtocol::with_limit(1_024));
        let (mut reader, _writer) = StreamProtocol::split(&peer.conn());
        let mut reading = Box::pin(reader.read_exact(BURST));
        let mut fed = 0;
        let burst = loop {
            if let Some(read) = reading.as_mut().now_or_never() {
                break read.unwrap();
            }
            peer.feed(&[b'x'; 64 * 1_024]);
            fed += 64 * 1_024;
        };
        drop(reading);
        assert_eq!((burst.len(), fed), (BURST, BURST));
        assert!(reader.front.capacity() <= ROOM_KEPT);
        assert!(reader.shared.room() <= ROOM_KEPT);
    }
}
