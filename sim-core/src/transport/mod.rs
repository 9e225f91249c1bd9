//! Stream transports.

mod limits;
mod medium;
mod socket;
pub(crate) mod stream;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

pub use self::limits::WriteBufferLimits;
pub(crate) use self::medium::Medium;
pub use self::socket::TransportSocket;
use self::stream::Stream;
use crate::layer::{LayerFactory, Upgrade};
use crate::protocol::Attach;
use crate::{Address, Conn, Loop, PipeEnd, UnixAddr};

/// How many pieces a write may have that allocates nothing.
const FEW_PIECES: usize = 8;

/// Calls the layer that the protocol is on, or the stream if there is none.
macro_rules! on_top {
    ($this:ident.$method:ident($($argument:expr),*)) => {
        match $this.0.top() {
            None => $this.0.$method($($argument),*),
            Some(layer) => layer.$method($($argument),*),
        }
    };
}

/// A handle of one end of a stream connection: asyncio's transport.
///
/// Handles are clones of each other and may be kept; a lost connection's answers as contract C-13
/// says. Every method acts at once, and none runs user code: callbacks come from the loop alone.
///
/// # Ordering
///
/// Bytes leave in the order of the writes. `pause_writing` comes right after the callback or task
/// step whose write crossed the mark; `connection_lost` never comes from inside a call.
#[derive(Clone)]
pub struct Transport(pub(crate) Rc<Stream>);

impl Transport {
    /// Sends `data` after everything written before. The bytes are copied if they cannot all go
    /// at once.
    ///
    /// Never fails and never blocks: an error of the network closes the transport at once
    /// (`is_closing`), and `connection_lost` tells it (contract C-61). Bytes written to a lost
    /// connection are dropped (C-69); bytes written after `close` while older ones still wait are
    /// sent (C-68).
    ///
    /// # Panics
    ///
    /// After [`write_eof`](Self::write_eof), even with no data (C-60), unless it is a pipe's: there
    /// the data is dropped (G-05). On the reading end of a pipe. While a file is sent by
    /// [`Loop::sendfile`] (G-60).
    #[track_caller]
    pub fn write(&self, data: &[u8]) {
        self.0.refuse_beside_file();
        on_top!(self.write(data));
    }

    /// Sends the pieces one after another, as one [`write`](Self::write) of all of them would: at
    /// most one crossing of the high-water mark (C-65).
    ///
    /// # Panics
    ///
    /// As [`write`](Self::write).
    #[track_caller]
    pub fn write_vectored(&self, pieces: &[IoSlice<'_>]) {
        self.0.refuse_beside_file();
        // A copy that is consumed. Few pieces need no allocation.
        let mut few = [IoSlice::new(&[]); FEW_PIECES];
        let Some(copy) = few.get_mut(..pieces.len()) else {
            return on_top!(self.write_vectored(&mut pieces.to_vec()));
        };
        copy.copy_from_slice(pieces);
        on_top!(self.write_vectored(copy));
    }

    /// [`write_vectored`](Self::write_vectored) for anything that yields byte slices.
    ///
    /// # Panics
    ///
    /// As [`write`](Self::write).
    #[track_caller]
    pub fn writelines<I>(&self, lines: I)
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.0.refuse_beside_file();
        let lines: Vec<I::Item> = lines.into_iter().collect();
        let mut pieces: Vec<IoSlice<'_>> =
            lines.iter().map(|line| IoSlice::new(line.as_ref())).collect();
        on_top!(self.write_vectored(&mut pieces));
    }

    /// Closes the sending half after what was written. Reading goes on, and `is_closing` stays
    /// false (C-72). Nothing on a second call or after [`close`](Self::close). On the writing end of
    /// a pipe it is [`close`](Self::close) (G-05).
    ///
    /// # Panics
    ///
    /// Over a layer, unless it is closing: TLS has no half-close (F-09). While a file is sent (G-60).
    #[track_caller]
    pub fn write_eof(&self) {
        self.0.refuse_beside_file();
        on_top!(self.write_eof());
    }

    /// True, except on the reading end of a pipe and over a layer: TCP and Unix streams have a
    /// half-close, TLS has none (F-09).
    pub fn can_write_eof(&self) -> bool {
        self.0.medium != Medium::ReadPipe && !self.is_layered()
    }

    /// True if there is a [`Layer`](crate::layer::Layer) between the stream and the protocol.
    pub fn is_layered(&self) -> bool {
        self.0.top().is_some()
    }

    /// Puts a layer between the stream and the protocol, at once: from here on this handle is one of
    /// the layer. asyncio's `start_tls`.
    ///
    /// What was written before still goes as it is; what is written from now on waits for the
    /// handshake. The protocol stays, gets no second `connection_made`, and reading goes on. If the
    /// protocol has `received` bytes already that belong to the layer, it hands them back (F-31).
    ///
    /// The future is done when the handshake is. If that fails, the connection is closed, and
    /// `connection_lost` gets the error too (F-29).
    ///
    /// # Errors
    ///
    /// Of the future: see [`Upgrade`]; `NotConnected` on a connection that is closing; `InvalidInput`
    /// on a pipe, and if one direction of the connection has ended.
    pub fn start_layer(&self, factory: impl LayerFactory + 'static, received: &[u8]) -> Upgrade {
        let factory: Rc<dyn LayerFactory> = Rc::new(factory);
        Upgrade::start(self, &factory, received)
    }

    /// Closes the connection gracefully: reading stops at once (C-35), what was written is sent,
    /// then `connection_lost(None)` comes. There is no time limit on the sending (C-71). Idempotent.
    pub fn close(&self) {
        on_top!(self.close());
        // Whoever sends a file is to see it.
        self.0.tell_room();
    }

    /// Closes the connection at once: what waits is dropped, the peer gets a reset, and
    /// `connection_lost(None)` comes in the next iteration (C-77). Idempotent.
    ///
    /// Unix streams and pipes have no resets: their peers see what was sent before, then the end; of a
    /// Unix stream with data that was not read, `ConnectionReset` instead of the end.
    pub fn abort(&self) {
        on_top!(self.abort());
    }

    /// Gives the connection up with an error: as [`abort`](Self::abort), but `connection_lost` gets
    /// `error`. It is what asyncio's protocols do by raising (contract, ruling 2); an error that is
    /// not the operating system's is reported to the exception handler (A-64).
    pub fn fail(&self, error: io::Error) {
        on_top!(self.fail(error));
    }

    /// True from `close`, `abort`, a fatal error or the loss of the connection on.
    pub fn is_closing(&self) -> bool {
        on_top!(self.is_closing())
    }

    /// Stops `data_received` from the next iteration on; the end of the stream and a reset are not
    /// noticed either (C-37, C-41). Idempotent.
    pub fn pause_reading(&self) {
        on_top!(self.pause_reading());
    }

    /// Undoes [`pause_reading`](Self::pause_reading); data comes after the next poll at the
    /// earliest (C-39). After the end of the stream it has no effect (C-44).
    pub fn resume_reading(&self) {
        on_top!(self.resume_reading());
    }

    /// True unless paused, closing, or at the end of the stream (C-40, C-44).
    pub fn is_reading(&self) -> bool {
        on_top!(self.is_reading())
    }

    /// True while at most the high-water mark waits to be written, and the connection is not
    /// closing. False at once when a write crosses the mark: `while cx.is_writable() { .. }`.
    pub fn is_writable(&self) -> bool {
        on_top!(self.is_writable())
    }

    /// True from `pause_writing` to `resume_writing`.
    pub(crate) fn is_writing_paused(&self) -> bool {
        on_top!(self.is_writing_paused())
    }

    /// How many written bytes the network has not taken yet (C-64).
    pub fn write_buffer_size(&self) -> usize {
        on_top!(self.write_buffer_size())
    }

    /// The water marks.
    pub fn write_buffer_limits(&self) -> WriteBufferLimits {
        on_top!(self.limits())
    }

    /// Sets the water marks. Pausing is judged again at once; raising them never resumes by itself,
    /// the next drain does (C-84). Nothing on a lost connection (C-13).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `high < low`; the old ones stay (C-80).
    ///
    /// ```
    /// # use sim_core::{Cx, Protocol, WriteBufferLimits, testing};
    /// # struct Quiet;
    /// # impl Protocol for Quiet { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
    /// # let peer = testing::drive(Quiet);
    /// let transport = peer.transport();
    /// transport.set_write_buffer_limits(WriteBufferLimits::from_high(1_000))?;
    /// let backwards = WriteBufferLimits { high: 1, low: 2 };
    /// assert!(transport.set_write_buffer_limits(backwards).is_err());
    /// assert_eq!(transport.write_buffer_limits().low, 250);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_write_buffer_limits(&self, limits: WriteBufferLimits) -> io::Result<()> {
        let limits = WriteBufferLimits::new(limits.high, limits.low)?;
        on_top!(self.set_limits(limits));
        Ok(())
    }

    /// Gives the connection to another protocol, plain or buffered, from the next event on (C-55).
    /// It gets no `connection_made`, the old one no `connection_lost`, and the old one's pending
    /// typed callbacks are cancelled. If writing is paused, the new one gets `pause_writing` (C-57).
    ///
    /// On a lost connection the protocol is attached to nothing.
    pub fn set_protocol<P, K>(&self, protocol: P) -> Conn<P>
    where
        P: Attach<K>,
    {
        protocol.replace(self)
    }

    /// The protocol in charge with this transport, if its type is `P`; `None` after the loss.
    pub fn protocol<P: 'static>(&self) -> Option<Conn<P>> {
        self.0.protocol()
    }

    /// The local address, as it was when the transport was made (C-95). `None` if it has no internet
    /// address: on a Unix socket, ask [`unix_sockname`](Self::unix_sockname).
    pub fn sockname(&self) -> Option<SocketAddr> {
        self.0.sockname.as_ref().and_then(Address::ip)
    }

    /// The peer's address, as it was when the transport was made; `None` if it was not connected. An accepted
    /// connection has it also of a peer that was gone by then.
    pub fn peername(&self) -> Option<SocketAddr> {
        self.0.peername.as_ref().and_then(Address::ip)
    }

    /// The address of a Unix socket, as it was when the transport was made: its path, or unnamed, as
    /// clients' are. `None` on any other transport (C-95).
    pub fn unix_sockname(&self) -> Option<UnixAddr> {
        self.0.sockname.as_ref().and_then(Address::unix).cloned()
    }

    /// The address of a Unix socket's peer, as it was when the transport was made: its path, or
    /// unnamed. `None` if it was not connected, and on any other transport.
    pub fn unix_peername(&self) -> Option<UnixAddr> {
        self.0.peername.as_ref().and_then(Address::unix).cloned()
    }

    /// Which end of a pipe it is, if it is one (G-09).
    pub fn pipe_end(&self) -> Option<PipeEnd> {
        self.0.medium.pipe_end()
    }

    /// Its socket, to set options: keepalive, user timeout, no delay.
    pub fn socket(&self) -> TransportSocket {
        TransportSocket::new(&self.0)
    }

    /// The number that the loop gave this transport, counted from 1: what traces call it.
    pub fn number(&self) -> u32 {
        self.0.number()
    }

    /// The loop it belongs to.
    pub fn event_loop(&self) -> &Loop {
        &self.0.lp
    }
}

impl PartialEq for Transport {
    /// True for handles of the same connection.
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Transport {}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("number", &self.number())
            .field("peername", &self.0.peername)
            .field("closing", &self.is_closing())
            .field("write_buffer_size", &self.write_buffer_size())
            .finish_non_exhaustive()
    }
}
