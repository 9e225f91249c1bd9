//! asyncio's streams: connections for tasks, to read from and write to in turn.
//!
//! [`Loop::open_connection`] and [`Loop::start_server`] give a [`StreamReader`] and a [`StreamWriter`]. Both also have
//! the traits of `futures`: [`AsyncRead`](futures::io::AsyncRead), [`AsyncBufRead`](futures::io::AsyncBufRead),
//! [`AsyncWrite`](futures::io::AsyncWrite); [`Duplex`] has all of them in one value.
//!
//! Streams are a protocol, [`StreamProtocol`], over any stream transport: with a builder's options, over Unix
//! sockets and pipes, connect with [`StreamProtocol::new`] and [split](StreamProtocol::split) the connection; serve
//! with [`serving`].
//!
//! ```
//! use sim_core::Loop;
//! use sim_core::stream::{StreamReader, StreamWriter};
//! use std::io;
//!
//! async fn shout(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
//!     loop {
//!         let line = reader.read_line().await?;
//!         if line.is_empty() {
//!             writer.close();
//!             return writer.wait_closed().await;
//!         }
//!         writer.write(&line.to_ascii_uppercase());
//!         writer.drain().await?;
//!     }
//! }
//!
//! async fn greet(server: Loop, client: Loop) -> io::Result<()> {
//!     let _listening = server.start_server(("server", 7000), shout).await?;
//!     let (mut reader, writer) = client.open_connection(("server", 7000)).await?;
//!     writer.write(b"hello\n");
//!     writer.write_eof();
//!     assert_eq!(reader.read_to_end().await?, b"HELLO\n");
//!     Ok(())
//! }
//! # drop(greet);
//! ```
//!
//! # With tokio's traits
//!
//! Libraries that want tokio's `AsyncRead` and `AsyncWrite` take a [`Duplex`] through `tokio_util::compat`. That is a
//! matter of traits: no runtime of tokio's takes part, so what needs one (`tokio::time`, `tokio::spawn`, `tokio::net`)
//! stays out.
//!
//! ```
//! use sim_core::Loop;
//! use sim_core::stream::Duplex;
//! use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//! use tokio_util::compat::FuturesAsyncReadCompatExt;
//!
//! async fn greet(client: Loop) -> std::io::Result<Option<String>> {
//!     let (reader, writer) = client.open_connection(("server", 7000)).await?;
//!     let (reader, mut writer) = tokio::io::split(Duplex::new(reader, writer).compat());
//!     writer.write_all(b"hello\n").await?;
//!     BufReader::new(reader).lines().next_line().await
//! }
//! # drop(greet);
//! ```

mod duplex;
mod error;
mod protocol;
mod reader;
mod shared;
mod writer;

use std::future::Future;
use std::io;
use std::rc::Rc;

use futures::TryFutureExt;

pub use self::duplex::Duplex;
pub use self::error::ReadError;
pub use self::protocol::StreamProtocol;
pub use self::reader::{Lines, StreamReader};
pub use self::writer::StreamWriter;
use crate::address::ToHostPort;
use crate::engine::report::ErrorContext;
use crate::{Loop, Outcome, Server, SharedError, ToUnixAddr, Transport};

/// How many bytes a [`StreamReader`] keeps by default: 64 KiB (contract H-01).
pub const DEFAULT_LIMIT: usize = 1 << 16;

impl Loop {
    /// Connects to `addr`, for a task to read from and write to: asyncio's `open_connection`.
    ///
    /// # Errors
    ///
    /// As [`create_connection`](Self::create_connection).
    #[track_caller]
    pub fn open_connection(
        &self,
        addr: impl ToHostPort,
    ) -> impl Future<Output = io::Result<(StreamReader, StreamWriter)>> {
        let connecting = self.create_connection(addr, StreamProtocol::new);
        connecting.map_ok(|conn| StreamProtocol::split(&conn))
    }

    /// As [`open_connection`](Self::open_connection), to a Unix socket.
    ///
    /// # Errors
    ///
    /// As [`create_unix_connection`](Self::create_unix_connection).
    #[track_caller]
    pub fn open_unix_connection(
        &self,
        path: impl ToUnixAddr,
    ) -> impl Future<Output = io::Result<(StreamReader, StreamWriter)>> {
        let connecting = self.create_unix_connection(path, StreamProtocol::new);
        connecting.map_ok(|conn| StreamProtocol::split(&conn))
    }

    /// Listens at `addr`, and runs `handler` as a task for each connection: asyncio's `start_server`.
    ///
    /// An error or a panic of the handler goes to the exception handler. Its connection is closed then, and if the handler
    /// is cancelled, whoever else has the writer (contract H-25).
    ///
    /// # Errors
    ///
    /// As [`create_server`](Self::create_server).
    #[track_caller]
    pub fn start_server<H, F>(
        &self,
        addr: impl ToHostPort,
        handler: H,
    ) -> impl Future<Output = io::Result<Server>>
    where
        H: Fn(StreamReader, StreamWriter) -> F + 'static,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        self.create_server(addr, serving(handler))
    }

    /// As [`start_server`](Self::start_server), on a Unix socket.
    ///
    /// # Errors
    ///
    /// As [`create_unix_server`](Self::create_unix_server).
    #[track_caller]
    pub fn start_unix_server<H, F>(
        &self,
        path: impl ToUnixAddr,
        handler: H,
    ) -> impl Future<Output = io::Result<Server>>
    where
        H: Fn(StreamReader, StreamWriter) -> F + 'static,
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        self.create_unix_server(path, serving(handler))
    }
}

/// The connection of a handler, which is closed unless that ends well: it may return an error, panic or be cancelled.
struct ClosesUnlessWell(Option<Transport>);

impl Drop for ClosesUnlessWell {
    fn drop(&mut self) {
        if let Some(transport) = &self.0 {
            transport.close();
        }
    }
}

/// Reports the error of a handler.
fn report_failure(transport: &Transport, error: io::Error) {
    let message = "Unhandled exception in client_connected_cb";
    let context = ErrorContext::error(message, SharedError::new(error));
    transport.0.report_on(std::any::type_name::<StreamProtocol>(), context);
}

/// A factory of protocols for a server that runs `handler` as a task for each connection: what
/// [`Loop::start_server`] gives its server, for one with options.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::stream::serving;
///
/// async fn serve_a_few(lp: Loop) -> std::io::Result<()> {
///     let handler = serving(|_reader, writer| async move { writer.write(b"hello") });
///     let server = lp.server().backlog(5).bind(("server", 7000), handler).await?;
///     server.serve_forever().await?;
///     Ok(())
/// }
/// # drop(serve_a_few);
/// ```
pub fn serving<H, F>(handler: H) -> impl FnMut() -> StreamProtocol + 'static
where
    H: Fn(StreamReader, StreamWriter) -> F + 'static,
    F: Future + 'static,
    F::Output: Outcome + 'static,
{
    let handler = Rc::new(handler);
    move || {
        let handler = Rc::clone(&handler);
        StreamProtocol::new().on_connection(move |reader, writer| {
            let transport = writer.transport().clone();
            let lp = transport.event_loop().clone();
            let open = ClosesUnlessWell(Some(transport.clone()));
            let task = lp.create_named_task("stream handler", async move {
                let mut open = open;
                match handler(reader, writer).await.into_result() {
                    Ok(_) => open.0 = None,
                    Err(error) => report_failure(&transport, io::Error::other(error)),
                }
            });
            drop(task);
        })
    }
}
