//! A connection as hyper reads and writes it.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use ::hyper::rt::{Read, ReadBufCursor, Write};

use crate::address::ToHostPort;
use crate::{Conn, Cx, Eof, Loop, Protocol, SharedError, Transport};

/// How many bytes may wait to be read before the peer is held back: 64 KiB.
pub const READ_LIMIT: usize = 1 << 16;
/// Memory that an emptied buffer keeps for what comes next.
const KEPT_BYTES: usize = 1 << 14;
/// How much of one write is taken at least, where there is room at all.
const WRITE_BYTES: usize = 1 << 16;

type OnConnection = Box<dyn FnOnce(LoopIo)>;

/// The protocol below a [`LoopIo`]: it keeps what came until hyper reads it.
///
/// While more than [`READ_LIMIT`] bytes wait, reading is paused. The connection stays open for writing when the
/// peer's half ends, except over a layer.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::hyper::{IoProtocol, LoopIo};
///
/// async fn with_options(client: Loop) -> std::io::Result<LoopIo> {
///     let connecting = client.connection().local_addr(("client", 4000));
///     let conn = connecting.connect(("server", 80), IoProtocol::new).await?;
///     Ok(LoopIo::new(&conn))
/// }
/// # drop(with_options);
/// ```
pub struct IoProtocol {
    /// What came; up to `read` it is read.
    unread: Vec<u8>,
    read: usize,
    paused: bool,
    eof: bool,
    /// How the connection was lost, if it was.
    lost: Option<Option<SharedError>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    on_connection: Option<OnConnection>,
    is_taken: bool,
    /// Nobody reads any more; what comes until the peer's end is for nobody.
    lingers: bool,
}

impl IoProtocol {
    /// The protocol of a connection that is to be a [`LoopIo`].
    #[expect(clippy::new_without_default, reason = "a protocol is for a connection")]
    pub fn new() -> Self {
        Self {
            unread: Vec::new(),
            read: 0,
            paused: false,
            eof: false,
            lost: None,
            reader: None,
            writer: None,
            on_connection: None,
            is_taken: false,
            lingers: false,
        }
    }

    /// As [`new`](Self::new), for a server: `handler` is given the connection when it is made.
    ///
    /// ```
    /// use sim_core::Loop;
    /// use sim_core::hyper::{HttpServer, IoProtocol, service};
    /// use sim_core::hyper::hyper::{Request, Response, body::Incoming};
    /// use std::convert::Infallible;
    ///
    /// /// A server whose handlers know their client's address.
    /// async fn serve(lp: Loop) -> std::io::Result<()> {
    ///     let (http, tasks) = (HttpServer::new(&lp), lp.clone());
    ///     let protocols = move || {
    ///         let (http, lp) = (http.clone(), tasks.clone());
    ///         IoProtocol::accepted(move |io| {
    ///             let peer = io.transport().peername();
    ///             let answer = service(move |_: Request<Incoming>| async move {
    ///                 Ok::<_, Infallible>(Response::new(format!("you are {peer:?}")))
    ///             });
    ///             drop(lp.create_task(async move { http.serve_connection(io, answer).await }));
    ///         })
    ///     };
    ///     lp.create_server(("server", 80), protocols).await?.serve_forever().await
    /// }
    /// # drop(serve);
    /// ```
    pub fn accepted(handler: impl FnOnce(LoopIo) + 'static) -> Self {
        Self { on_connection: Some(Box::new(handler)), ..Self::new() }
    }

    fn unread(&self) -> &[u8] {
        &self.unread[self.read..]
    }

    /// Tells who reads and who writes that the connection is lost.
    pub(crate) fn lose(&mut self, error: Option<io::Error>) {
        self.lost = Some(error.map(SharedError::new));
        self.eof = true;
        self.wake_reader();
        self.wake_writer();
    }

    /// The error of whoever reads or writes too late.
    fn error(&self) -> Option<io::Error> {
        self.lost.as_ref()?.as_ref().map(SharedError::to_io)
    }

    /// Keeps who waits for data, and gives back who did before.
    fn await_data(&mut self, waker: &Waker) -> Option<Waker> {
        if self.reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        self.reader.replace(waker.clone())
    }

    /// Takes note of what was read; true if reading is to go on.
    fn consume(&mut self, bytes: usize) -> bool {
        self.read += bytes;
        if self.read < self.unread.len() {
            // There are readers that always leave something.
            if self.read > self.unread.len() / 2 {
                self.unread.drain(..std::mem::take(&mut self.read));
            }
            return false;
        }
        self.read = 0;
        if self.unread.capacity() > KEPT_BYTES {
            self.unread = Vec::new();
        } else {
            self.unread.clear();
        }
        std::mem::take(&mut self.paused)
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

impl Protocol for IoProtocol {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(handler) = self.on_connection.take() {
            self.is_taken = true;
            handler(LoopIo::over(cx.conn()));
        }
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if self.lingers {
            return;
        }
        self.unread.extend_from_slice(data);
        if self.unread().len() > READ_LIMIT {
            self.paused = true;
            cx.pause_reading();
        }
        self.wake_reader();
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.eof = true;
        self.wake_reader();
        if cx.can_write_eof() && !self.lingers { Eof::KeepOpen } else { Eof::Close }
    }

    fn resume_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        self.wake_writer();
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        // An end that the peer did not tell is none: what came may be a part.
        let error = error.or_else(|| (!self.eof).then(|| io::ErrorKind::ConnectionAborted.into()));
        self.lose(error);
    }
}

impl fmt::Debug for IoProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoProtocol")
            .field("unread", &self.unread().len())
            .field("eof", &self.eof)
            .finish_non_exhaustive()
    }
}

/// A connection as hyper reads and writes it: [`hyper::rt::Read`] and [`hyper::rt::Write`] over any stream
/// transport.
///
/// Bytes are copied once on their way to hyper. Writes go to the transport at once, several pieces together; while
/// more than its high-water mark waits to be sent there is no room for more, and of one write no more is taken than goes
/// 64 KiB above it. What came before a loss is still read. A connection that ends on this side, by `abort` or `close`,
/// before the peer's half has ended is [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) to its reader: what
/// came may be a part. Dropping it closes the connection, after what was written.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::hyper::{self, LoopIo};
/// use sim_core::hyper::hyper::{Error, Request};
///
/// async fn ask(client: Loop) -> Result<u16, Box<dyn std::error::Error>> {
///     let io = LoopIo::connect(&client, ("server", 80)).await?;
///     let (mut sender, connection) = hyper::http1_client(io).await?;
///     let request = Request::get("/").header("host", "server").body(String::new())?;
///     let status = sender.send_request(request).await?.status();
///     drop(sender);
///     connection.await??;
///     Ok(status.as_u16())
/// }
/// # drop(ask);
/// ```
pub struct LoopIo {
    conn: Conn<IoProtocol>,
    wrote_eof: bool,
    /// Whether somebody else closes the connection after a shutdown.
    is_lingering: bool,
}

impl LoopIo {
    /// What hyper reads and writes of a connection.
    ///
    /// # Panics
    ///
    /// The second time: a connection has one reader and one writer. Inside the protocol's own callbacks.
    #[track_caller]
    pub fn new(conn: &Conn<IoProtocol>) -> Self {
        let was_taken = conn.with(|this, _| std::mem::replace(&mut this.is_taken, true));
        assert!(!was_taken, "the connection has a reader and a writer already");
        Self::over(conn.clone())
    }

    fn over(conn: Conn<IoProtocol>) -> Self {
        Self { conn, wrote_eof: false, is_lingering: false }
    }

    /// Leaves it to the caller to close the connection if it is dropped after a shutdown, while the peer's half is open:
    /// until then what comes is read for nobody. To close at once would be to reset, and the peer would lose
    /// what is under way to it.
    pub(super) fn linger(&mut self) -> Conn<IoProtocol> {
        self.is_lingering = true;
        self.conn.clone()
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    ///
    /// As [`Loop::create_connection`].
    pub async fn connect(lp: &Loop, addr: impl ToHostPort) -> io::Result<Self> {
        let conn = lp.create_connection(addr, IoProtocol::new).await?;
        Ok(Self::new(&conn))
    }

    /// The transport: addresses, socket options, water marks, `abort`.
    pub fn transport(&self) -> &Transport {
        self.conn.transport()
    }

    /// Waits until it is known whether the peer's first bytes are `prefix`. They stay to be read.
    pub(super) async fn begins_with(&self, prefix: &[u8]) -> bool {
        poll_fn(|cx| {
            let came = self.conn.look(|this| {
                let unread = this.unread();
                let common = unread.len().min(prefix.len());
                let is_decided = common == prefix.len() || this.eof;
                if is_decided || unread[..common] != prefix[..common] {
                    return Ok(unread.starts_with(prefix));
                }
                Err(this.await_data(cx.waker()))
            });
            came.map_or_else(|_old| Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Ready when a write is taken, or fails.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let transport = self.transport();
        if !self.wrote_eof && transport.is_writable() {
            return Poll::Ready(Ok(()));
        }
        if self.wrote_eof || transport.is_closing() {
            let error = self.conn.look(|this| this.error());
            return Poll::Ready(Err(error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())));
        }
        let old = self.conn.look(|this| this.writer.replace(cx.waker().clone()));
        drop(old);
        Poll::Pending
    }

    /// How much is taken of a write of `bytes` bytes, for which there is room.
    fn portion(&self, bytes: usize) -> usize {
        if bytes <= WRITE_BYTES {
            return bytes;
        }
        let transport = self.transport();
        let high = transport.write_buffer_limits().high;
        let room = high.saturating_sub(transport.write_buffer_size());
        bytes.min(room.saturating_add(1).max(WRITE_BYTES))
    }
}

/// The first `bytes` bytes of `pieces`.
fn first<'a>(pieces: &'a [IoSlice<'_>], bytes: usize) -> Vec<IoSlice<'a>> {
    let (mut cut, mut left) = (Vec::new(), bytes);
    for piece in pieces {
        let taken = piece.len().min(left);
        cut.push(IoSlice::new(&piece[..taken]));
        left -= taken;
        if left == 0 {
            break;
        }
    }
    cut
}

impl Read for LoopIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = self.conn.look(|this| {
            if this.unread().is_empty() && !this.eof {
                return Err(this.await_data(cx.waker()));
            }
            let bytes = this.unread().len().min(buf.remaining());
            if bytes > 0 {
                buf.put_slice(&this.unread()[..bytes]);
                return Ok((this.consume(bytes), None));
            }
            Ok((false, this.error().filter(|_| this.unread().is_empty())))
        });
        match result {
            Ok((_, Some(error))) => return Poll::Ready(Err(error)),
            Ok((true, None)) => self.transport().resume_reading(),
            Ok((false, None)) => {}
            Err(_old) => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for LoopIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        let bytes = self.portion(data.len());
        self.transport().write(&data[..bytes]);
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        let all = pieces.iter().map(|piece| piece.len()).sum();
        let bytes = self.portion(all);
        if bytes == all {
            self.transport().write_vectored(pieces);
        } else {
            self.transport().write_vectored(&first(pieces, bytes));
        }
        Poll::Ready(Ok(bytes))
    }

    /// The transport sends without being asked.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_lost = self.transport().is_closing();
        let error = if is_lost { self.conn.look(|this| this.error()) } else { None };
        Poll::Ready(error.map_or(Ok(()), Err))
    }

    /// Ends the sending half, after what was written; where there is no such thing, closes.
    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wrote_eof = true;
        if self.transport().can_write_eof() {
            self.transport().write_eof();
        } else {
            self.transport().close();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for LoopIo {
    fn drop(&mut self) {
        if !self.is_lingering || !self.wrote_eof || self.transport().is_closing() {
            return self.transport().close();
        }
        let is_over = self.conn.look(|this| {
            this.lingers = true;
            (this.unread, this.read) = (Vec::new(), 0);
            this.eof
        });
        if is_over {
            self.transport().close();
        } else {
            self.transport().resume_reading();
        }
    }
}

impl fmt::Debug for LoopIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopIo").field("transport", self.transport()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ::hyper::rt::ReadBuf;

    use super::*;
    use crate::testing;

    /// A reader that always leaves something makes nobody keep what it has read.
    #[test]
    fn what_was_read_is_given_back() {
        let mut peer = testing::drive(IoProtocol::new());
        let mut io = LoopIo::new(&peer.conn());
        let mut cx = Context::from_waker(Waker::noop());
        peer.feed(b"ahead");
        for number in 0..1000 {
            peer.feed(&[number as u8; 1000]);
            let mut place = [0; 1000];
            let mut buf = ReadBuf::new(&mut place);
            assert!(Pin::new(&mut io).poll_read(&mut cx, buf.unfilled()).is_ready());
            let before = if number == 0 { *b"ahead" } else { [(number - 1) as u8; 5] };
            let filled = buf.filled();
            assert_eq!((filled.len(), &filled[..5], filled[5]), (1000, &before[..], number as u8));
            let (kept, unread) = io.conn.look(|this| (this.unread.len(), this.unread().len()));
            assert_eq!(unread, 5);
            assert!(kept <= 2 * (unread + 1000), "{kept} bytes are kept for {unread}");
        }
    }
}
