//! The protocol below a stream.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::shared::Shared;
use super::{DEFAULT_LIMIT, StreamReader, StreamWriter};
use crate::{Conn, Cx, Eof, Protocol, SharedError};

type OnLoss = Box<dyn FnOnce()>;
type OnConnection = Box<dyn FnOnce(StreamReader, StreamWriter)>;

/// The protocol below a stream: asyncio's `StreamReaderProtocol`.
///
/// Its connection stays open for writing when the peer's half ends; it closes when the writer does. Over TLS, which has
/// no half-close, it ends with the peer's half (contract H-14). It is a connection's whole protocol: one that is
/// [lent](Cx::lend) as a part of another has no halves.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::stream::StreamProtocol;
///
/// async fn with_options(client: Loop) -> std::io::Result<()> {
///     let connecting = client.connection().local_addr(("client", 4000));
///     let conn = connecting.connect(("server", 7000), || StreamProtocol::with_limit(1 << 20)).await?;
///     let (_reader, writer) = StreamProtocol::split(&conn);
///     writer.write(b"hello");
///     Ok(())
/// }
/// # drop(with_options);
/// ```
pub struct StreamProtocol {
    shared: Rc<Shared>,
    is_split: bool,
    on_connection: Option<OnConnection>,
    on_loss: Option<OnLoss>,
}

impl StreamProtocol {
    /// A stream whose reader keeps [`DEFAULT_LIMIT`] bytes.
    #[expect(clippy::new_without_default, reason = "a protocol is for a connection")]
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// A stream whose reader keeps `limit` bytes: the longest line, and half of what may wait to be read before
    /// the peer is held back (contract H-01).
    ///
    /// # Panics
    ///
    /// If `limit` is 0.
    #[track_caller]
    pub fn with_limit(limit: usize) -> Self {
        assert!(limit > 0, "the limit of a stream is at least one byte");
        let shared = Rc::new(Shared::new(limit));
        Self { shared, is_split: false, on_connection: None, on_loss: None }
    }

    /// Calls `handler` with both halves when the connection is made.
    pub(super) fn on_connection(
        mut self,
        handler: impl FnOnce(StreamReader, StreamWriter) + 'static,
    ) -> Self {
        self.on_connection = Some(Box::new(handler));
        self
    }

    /// Calls `handler` when the connection is lost.
    pub(crate) fn on_loss(mut self, handler: impl FnOnce() + 'static) -> Self {
        self.on_loss = Some(Box::new(handler));
        self
    }

    /// The reading half alone, of a connection that goes one way.
    pub(crate) fn reader(conn: &Conn<Self>) -> StreamReader {
        conn.with(|this, cx| StreamReader::new(&this.shared, cx.transport()))
    }

    /// The writing half alone, of a connection that goes one way.
    pub(crate) fn writer(conn: &Conn<Self>) -> StreamWriter {
        conn.with(|this, cx| StreamWriter::new(&this.shared, cx.conn()))
    }

    /// The halves of a connection.
    ///
    /// # Panics
    ///
    /// The second time: a stream has one reader and one writer. Inside the protocol's own callbacks.
    #[track_caller]
    pub fn split(conn: &Conn<Self>) -> (StreamReader, StreamWriter) {
        conn.with(|this, cx| this.halves(cx))
    }

    /// Tells both halves that the connection is lost.
    pub(crate) fn lose(&self, error: Option<io::Error>) {
        self.shared.lose(error.map(SharedError::new));
    }

    #[track_caller]
    fn halves(&mut self, cx: &Cx<'_, Self>) -> (StreamReader, StreamWriter) {
        assert!(!self.is_split, "the stream was split before: it has one reader and one writer");
        self.is_split = true;
        let reader = StreamReader::new(&self.shared, cx.transport());
        (reader, StreamWriter::new(&self.shared, cx.conn()))
    }
}

impl Protocol for StreamProtocol {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(handler) = self.on_connection.take() {
            let (reader, writer) = self.halves(cx);
            handler(reader, writer);
        }
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if self.shared.feed(data) {
            cx.pause_reading();
        }
        self.shared.wake_reader();
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.shared.end();
        if cx.can_write_eof() { Eof::KeepOpen } else { Eof::Close }
    }

    fn resume_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        self.shared.resume();
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.lose(error);
        if let Some(handler) = self.on_loss.take() {
            handler();
        }
    }
}

impl fmt::Debug for StreamProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamProtocol")
            .field("limit", &self.shared.limit)
            .field("eof", &self.shared.eof.get())
            .finish_non_exhaustive()
    }
}
