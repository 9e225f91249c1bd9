//! Files sent over stream transports.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use crate::transport::stream::FileTurn;
use crate::{Loop, Store, Transport, WriteBufferLimits};

/// How much of a file is read and written at once where the kernel does not send it, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// How much one call of the kernel sends at most: other connections have their turns in between.
const CALL_BYTES: u64 = 1 << 20;

/// Why a file was not sent, or not all that was asked for; and how much of it was.
///
/// It is an [`io::Error`] of the kind of what went wrong: `InvalidInput` for what cannot be asked for,
/// `Unsupported` if the kernel cannot do it and nothing else may, an error of connections if the connection
/// was lost or closed, else what the file gave.
#[derive(Debug)]
pub struct SendfileError {
    sent: u64,
    error: io::Error,
}

impl SendfileError {
    /// How many bytes were written to the connection before: the next one of the file is at the offset
    /// plus that (contract G-60).
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What went wrong.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for SendfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sendfile, after {} bytes: {}", self.sent, self.error)
    }
}

impl Error for SendfileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SendfileError> for io::Error {
    fn from(error: SendfileError) -> Self {
        Self::new(error.kind(), error)
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl Loop {
    /// Sends the bytes of a file from `offset` on, `count` of them or all, and says how many: asyncio's
    /// `loop.sendfile`. A file that ends sooner is sent to its end.
    ///
    /// On sockets of a real loop the kernel does it; what of the file is not in memory yet it reads on the
    /// loop's thread. Elsewhere (over a layer, on pipes, in a simulation)
    /// the file is read in pieces, on a thread of the executor if there are any, and written as the
    /// water marks allow.
    ///
    /// # Ordering
    ///
    /// What was written before goes first. Reading pauses meanwhile, and goes on afterwards if it did
    /// before. A write meanwhile panics (contract G-60).
    ///
    /// # Errors
    ///
    /// See [`SendfileError`]. After an error of the file the connection goes on.
    ///
    /// # Cancel safety
    ///
    /// A part may have been sent. The connection can be written to again.
    ///
    /// ```
    /// # use sim_core::{Loop, Transport};
    /// async fn serve_index(lp: Loop, transport: Transport) -> std::io::Result<()> {
    ///     let index = lp.store("index.html")?;
    ///     transport.write(format!("Content-Length: {}\r\n\r\n", index.size()?).as_bytes());
    ///     let sent = lp.sendfile(&transport, &index, 0, None).await?;
    ///     assert_eq!(sent, index.size()?);
    ///     Ok(())
    /// }
    /// # drop(serve_index);
    /// ```
    pub async fn sendfile(
        &self,
        transport: &Transport,
        file: &Store,
        offset: u64,
        count: Option<u64>,
    ) -> Result<u64, SendfileError> {
        self.send(transport, file, offset, count, true).await
    }

    /// As [`sendfile`](Self::sendfile), by the kernel or not at all: asyncio's `fallback=False`.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the kernel cannot do it, with nothing sent; else as
    /// [`sendfile`](Self::sendfile).
    pub async fn sendfile_by_kernel(
        &self,
        transport: &Transport,
        file: &Store,
        offset: u64,
        count: Option<u64>,
    ) -> Result<u64, SendfileError> {
        self.send(transport, file, offset, count, false).await
    }

    async fn send(
        &self,
        transport: &Transport,
        file: &Store,
        offset: u64,
        count: Option<u64>,
        may_fall_back: bool,
    ) -> Result<u64, SendfileError> {
        let mut sending = Sending { transport, file, offset, left: count, sent: 0 };
        let done = sending.run(self, may_fall_back).await;
        done.map(|()| sending.sent).map_err(|error| SendfileError { sent: sending.sent, error })
    }
}

/// A file on its way.
struct Sending<'a> {
    transport: &'a Transport,
    file: &'a Store,
    offset: u64,
    /// How much is still to go, if not all.
    left: Option<u64>,
    sent: u64,
}

impl Sending<'_> {
    async fn run(&mut self, lp: &Loop, may_fall_back: bool) -> io::Result<()> {
        if self.left == Some(0) {
            return Err(invalid("sendfile: count must be positive"));
        }
        let end = self.offset.checked_add(self.left.unwrap_or(0));
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(invalid("sendfile: the offset and the count are beyond any file"));
        }
        if lp != self.transport.event_loop() || lp != self.file.event_loop() {
            return Err(invalid(
                "sendfile: the transport, the file and the loop do not belong together",
            ));
        }
        let _turn = FileTurn::begin(self.transport)?;
        self.wait(|transport| transport.write_buffer_size() == 0).await?;
        match self.send_by_kernel(lp).await {
            Err(error) if error.kind() == io::ErrorKind::Unsupported && may_fall_back => {
                self.send_by_pieces().await
            }
            done => done,
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
    }

    async fn send_by_kernel(&mut self, lp: &Loop) -> io::Result<()> {
        while self.left != Some(0) {
            let most = self.left.unwrap_or(CALL_BYTES).min(CALL_BYTES) as usize;
            let (transport, file, offset) = (self.transport, self.file, self.offset + self.sent);
            let sent = poll_fn(|cx| {
                if transport.is_closing() {
                    return Poll::Ready(None);
                }
                let sent = transport.0.send_file(file.storage(), offset, most, cx.waker());
                sent.map(Some)
            });
            match sent.await {
                None => return Err(self.end().await),
                Some(Ok(0)) => return Ok(()),
                Some(Ok(bytes)) => self.advance(bytes),
                Some(Err(error)) => return Err(error),
            }
            lp.sleep(std::time::Duration::ZERO).await;
        }
        Ok(())
    }

    async fn send_by_pieces(&mut self) -> io::Result<()> {
        while self.left != Some(0) {
            self.wait(|transport| {
                let WriteBufferLimits { low, high } = transport.write_buffer_limits();
                let enough = low.min(high.saturating_sub(PIECE_BYTES / 16));
                transport.is_writable() && transport.write_buffer_size() <= enough
            })
            .await?;
            // What fits below the mark, so that the protocol need not be told to pause; a mark of 0 has
            // room for nothing.
            let limits = self.transport.write_buffer_limits();
            let room = limits.high.saturating_sub(self.transport.write_buffer_size());
            let most = room.clamp(1, PIECE_BYTES);
            let most =
                self.left.map_or(most, |left| most.min(usize::try_from(left).unwrap_or(most)));
            let piece = self.file.read_at(self.offset + self.sent, most).await?;
            if piece.is_empty() {
                return Ok(());
            }
            if self.transport.is_closing() {
                return Err(self.end().await);
            }
            self.transport.write_of_file(&piece);
            self.advance(piece.len());
        }
        Ok(())
    }

    /// Waits until `holds` does.
    async fn wait(&self, holds: impl Fn(&Transport) -> bool) -> io::Result<()> {
        let transport = self.transport;
        let is_open = poll_fn(|cx| {
            if transport.is_closing() {
                return Poll::Ready(false);
            }
            if holds(transport) {
                return Poll::Ready(true);
            }
            transport.0.wake_for_file(cx.waker());
            Poll::Pending
        });
        if is_open.await { Ok(()) } else { Err(self.end().await) }
    }

    /// Why the connection is over: its error if it was lost with one.
    async fn end(&self) -> io::Error {
        let closed = || {
            let text = "the connection was closed while a file was sent";
            io::Error::new(io::ErrorKind::ConnectionAborted, text)
        };
        if !self.transport.0.is_losing() {
            return closed();
        }
        let stream = &self.transport.0;
        let outcome = stream.wakers.until(|| stream.outcome());
        outcome.await.map_or_else(closed, |error| error.to_io())
    }
}
