//! What a user implements.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::cell::{ProtocolCell, StreamCallbacks};
use crate::{Conn, Cx, DatagramAddress, DatagramTransport, Transport};

/// What to do at the peer's end of stream, answered by `eof_received`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Eof {
    /// Close the transport: what was written is still sent (contract C-43). The default.
    #[default]
    Close,
    /// Keep it open for writing (C-44). It ends by `close`, `abort` or a failing write (C-45).
    KeepOpen,
}

/// A protocol over a stream of bytes.
///
/// The loop calls, in this order: [`connection_made`](Self::connection_made) once,
/// [`data_received`](Self::data_received) any number of times,
/// [`eof_received`](Self::eof_received) at most once, and
/// [`connection_lost`](Self::connection_lost) exactly once (C-08).
/// [`pause_writing`](Self::pause_writing) and [`resume_writing`](Self::resume_writing) alternate
/// in between. Inside a callback the protocol acts through [`Cx`].
///
/// ```
/// use sim_core::{Cx, Protocol, testing};
///
/// #[derive(Default)]
/// struct CountLines(usize);
/// impl Protocol for CountLines {
///     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
///         self.0 += data.iter().filter(|&&byte| byte == b'\n').count();
///         if self.0 >= 2 {
///             cx.write(b"enough\n");
///             cx.close();
///         }
///     }
/// }
///
/// let mut peer = testing::drive(CountLines::default());
/// peer.feed(b"one\ntwo\n");
/// assert_eq!(peer.take_written(), b"enough\n");
/// assert!(peer.is_lost());
/// ```
pub trait Protocol: Sized + 'static {
    /// The connection exists. Reading starts after this returns (C-02).
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// Bytes arrived: at least one, in order, cut anywhere (C-30).
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]);

    /// The peer will send no more (C-43).
    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        let _ = cx;
        Eof::Close
    }

    /// More than the high-water mark waits to be written (C-81). Comes right after the callback
    /// that wrote too much.
    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// At most the low-water mark is left (C-83).
    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// The connection is over: `None` after `close`, `abort` or an end of stream that closed it,
    /// else the error that ended it (C-10).
    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        let _ = (cx, error);
    }

    /// The protocol's state in a few words, for a person who looks at a run: `leader of view 3`. It must change
    /// nothing.
    ///
    /// A simulation asks for the last one in every run: when [`connection_lost`](Self::connection_lost) has returned,
    /// and of protocols whose connections are there then at the end of the run, unless a panic ended that. It is part of the
    /// trace's hash, so two runs that differ in it alone are told apart. So it must be a function of the run: no
    /// address of memory, nothing of a hash map's order. A panic of it costs what one of a callback does.
    ///
    /// While a log is kept it is asked after each callback, too, and the log shows it beside what happened. That changes
    /// nothing, whatever comes of it. A real loop never asks.
    fn digest(&self) -> Option<String> {
        None
    }
}

/// A [`Protocol`] that reads into a buffer of its own.
///
/// For each arrival the loop calls [`get_buffer`](Self::get_buffer), reads into what it returned,
/// and calls [`buffer_updated`](Self::buffer_updated) (C-50). The other callbacks are those of
/// [`Protocol`].
///
/// ```
/// use sim_core::{BufferedProtocol, Cx, testing};
///
/// struct Record { bytes: [u8; 4], filled: usize }
/// impl BufferedProtocol for Record {
///     fn get_buffer(&mut self, _cx: &mut Cx<'_, Self>, _hint: usize) -> &mut [u8] {
///         &mut self.bytes[self.filled..]
///     }
///     fn buffer_updated(&mut self, cx: &mut Cx<'_, Self>, bytes: usize) {
///         self.filled += bytes;
///         if self.filled == self.bytes.len() {
///             cx.write(&self.bytes);
///             self.filled = 0;
///         }
///     }
/// }
///
/// let mut peer = testing::drive(Record { bytes: [0; 4], filled: 0 });
/// peer.feed(b"abcdef");
/// assert_eq!(peer.take_written(), b"abcd");
/// ```
pub trait BufferedProtocol: Sized + 'static {
    /// Where the next bytes go: at least one byte long (C-52). `hint` is how much a read may
    /// take; any other length will do (C-53).
    fn get_buffer(&mut self, cx: &mut Cx<'_, Self>, hint: usize) -> &mut [u8];

    /// `bytes` bytes were written to the start of the buffer; never 0 (C-51).
    fn buffer_updated(&mut self, cx: &mut Cx<'_, Self>, bytes: usize);

    /// As [`Protocol::connection_made`].
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// As [`Protocol::eof_received`].
    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        let _ = cx;
        Eof::Close
    }

    /// As [`Protocol::pause_writing`].
    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// As [`Protocol::resume_writing`].
    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        let _ = (cx, error);
    }

    /// As [`Protocol::digest`].
    fn digest(&self) -> Option<String> {
        None
    }
}

/// A protocol over datagrams.
///
/// [`connection_made`](Self::connection_made) comes once, when the endpoint exists, and
/// [`connection_lost`](Self::connection_lost) exactly once (contract D-01).
///
/// ```
/// use sim_core::{Cx, DatagramProtocol, DatagramTransport};
/// use std::net::SocketAddr;
///
/// struct Echo;
/// impl DatagramProtocol for Echo {
///     fn datagram_received(
///         &mut self,
///         cx: &mut Cx<'_, Self, DatagramTransport>,
///         data: &[u8],
///         from: SocketAddr,
///     ) {
///         cx.send_to(data, Some(from)).expect("the endpoint is not connected");
///     }
/// }
/// # drop(Echo);
/// ```
///
/// Over Unix sockets, `A` is [`UnixAddr`], and a sender that was never bound is `None` (D-22):
///
/// ```
/// # use sim_core::{Cx, DatagramProtocol, DatagramTransport, UnixAddr};
/// struct Answer;
/// impl DatagramProtocol<UnixAddr> for Answer {
///     fn datagram_received(
///         &mut self,
///         cx: &mut Cx<'_, Self, DatagramTransport<UnixAddr>>,
///         data: &[u8],
///         from: Option<UnixAddr>,
///     ) {
///         if from.is_some() {
///             cx.send_to(data, from).expect("the endpoint is not connected");
///         }
///     }
/// }
/// # drop(Answer);
/// ```
///
/// [`UnixAddr`]: crate::UnixAddr
pub trait DatagramProtocol<A: DatagramAddress = SocketAddr>: Sized + 'static {
    /// The endpoint exists.
    fn connection_made(&mut self, cx: &mut Cx<'_, Self, DatagramTransport<A>>) {
        let _ = cx;
    }

    /// A datagram arrived, whole; it may be empty (D-02, D-03).
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport<A>>,
        data: &[u8],
        from: A::Sender,
    );

    /// A send or a receive failed; the endpoint stays open (D-07).
    fn error_received(&mut self, cx: &mut Cx<'_, Self, DatagramTransport<A>>, error: io::Error) {
        let _ = (cx, error);
    }

    /// More than the high-water mark waits to be sent (D-11).
    fn pause_writing(&mut self, cx: &mut Cx<'_, Self, DatagramTransport<A>>) {
        let _ = cx;
    }

    /// At most the low-water mark is left.
    fn resume_writing(&mut self, cx: &mut Cx<'_, Self, DatagramTransport<A>>) {
        let _ = cx;
    }

    /// The endpoint is closed.
    fn connection_lost(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport<A>>,
        error: Option<io::Error>,
    ) {
        let _ = (cx, error);
    }

    /// As [`Protocol::digest`].
    fn digest(&self) -> Option<String> {
        None
    }
}

/// A type that a stream transport can drive: any [`Protocol`] or [`BufferedProtocol`].
///
/// `K` says which, and is always inferred: it is there so that one `create_connection` serves both.
/// A type that implements both traits is ambiguous; give it one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no stream protocol",
    note = "implement `Protocol` or `BufferedProtocol` for it, one of the two"
)]
pub trait Attach<K>: sealed::Sealed<K> + Sized + 'static {
    /// Makes it the first protocol of a new transport.
    #[doc(hidden)]
    fn attach(self, transport: &Transport) -> Conn<Self>;

    /// Makes it the next protocol of a transport.
    #[doc(hidden)]
    fn replace(self, transport: &Transport) -> Conn<Self>;
}

/// Marks a [`Protocol`] in [`Attach`].
#[derive(Debug)]
pub struct Plain;

/// Marks a [`BufferedProtocol`] in [`Attach`].
#[derive(Debug)]
pub struct Buffered;

mod sealed {
    pub trait Sealed<K> {}
    impl<P: super::Protocol> Sealed<super::Plain> for P {}
    impl<P: super::BufferedProtocol> Sealed<super::Buffered> for P {}
}

fn attach<P: 'static>(
    protocol: P,
    transport: &Transport,
    calls: &'static dyn StreamCallbacks<P>,
) -> Conn<P> {
    let cell = ProtocolCell::new(protocol, transport.clone(), calls);
    transport.0.install(Rc::clone(&cell) as _);
    Conn::new(cell)
}

fn replace<P: 'static>(
    protocol: P,
    transport: &Transport,
    calls: &'static dyn StreamCallbacks<P>,
) -> Conn<P> {
    let cell = ProtocolCell::new(protocol, transport.clone(), calls);
    transport.0.replace_handler(Rc::clone(&cell) as _);
    Conn::new(cell)
}

impl<P: Protocol> Attach<Plain> for P {
    fn attach(self, transport: &Transport) -> Conn<Self> {
        attach(self, transport, &Plain)
    }

    fn replace(self, transport: &Transport) -> Conn<Self> {
        replace(self, transport, &Plain)
    }
}

impl<P: BufferedProtocol> Attach<Buffered> for P {
    fn attach(self, transport: &Transport) -> Conn<Self> {
        attach(self, transport, &Buffered)
    }

    fn replace(self, transport: &Transport) -> Conn<Self> {
        replace(self, transport, &Buffered)
    }
}

impl<P: Protocol> StreamCallbacks<P> for Plain {
    fn connection_made(&self, protocol: &mut P, cx: &mut Cx<'_, P>) {
        protocol.connection_made(cx);
    }

    fn is_buffered(&self) -> bool {
        false
    }

    fn data_received(&self, protocol: &mut P, cx: &mut Cx<'_, P>, data: &[u8]) {
        protocol.data_received(cx, data);
    }

    fn get_buffer<'p>(&self, _: &'p mut P, _: &mut Cx<'_, P>, _: usize) -> Option<&'p mut [u8]> {
        None
    }

    fn buffer_updated(&self, _: &mut P, _: &mut Cx<'_, P>, _: usize) {}

    fn eof_received(&self, protocol: &mut P, cx: &mut Cx<'_, P>) -> Eof {
        protocol.eof_received(cx)
    }

    fn pause_writing(&self, protocol: &mut P, cx: &mut Cx<'_, P>) {
        protocol.pause_writing(cx);
    }

    fn resume_writing(&self, protocol: &mut P, cx: &mut Cx<'_, P>) {
        protocol.resume_writing(cx);
    }

    fn connection_lost(&self, protocol: &mut P, cx: &mut Cx<'_, P>, error: Option<io::Error>) {
        protocol.connection_lost(cx, error);
    }

    fn digest(&self, protocol: &P) -> Option<String> {
        protocol.digest()
    }
}

impl<P: BufferedProtocol> StreamCallbacks<P> for Buffered {
    fn connection_made(&self, protocol: &mut P, cx: &mut Cx<'_, P>) {
        protocol.connection_made(cx);
    }

    fn is_buffered(&self) -> bool {
        true
    }

    fn data_received(&self, _: &mut P, _: &mut Cx<'_, P>, _: &[u8]) {}

    fn get_buffer<'p>(
        &self,
        protocol: &'p mut P,
        cx: &mut Cx<'_, P>,
        hint: usize,
    ) -> Option<&'p mut [u8]> {
        Some(protocol.get_buffer(cx, hint))
    }

    fn buffer_updated(&self, protocol: &mut P, cx: &mut Cx<'_, P>, bytes: usize) {
        protocol.buffer_updated(cx, bytes);
    }

    fn eof_received(&self, protocol: &mut P, cx: &mut Cx<'_, P>) -> Eof {
        protocol.eof_received(cx)
    }

    fn pause_writing(&self, protocol: &mut P, cx: &mut Cx<'_, P>) {
        protocol.pause_writing(cx);
    }

    fn resume_writing(&self, protocol: &mut P, cx: &mut Cx<'_, P>) {
        protocol.resume_writing(cx);
    }

    fn connection_lost(&self, protocol: &mut P, cx: &mut Cx<'_, P>, error: Option<io::Error>) {
        protocol.connection_lost(cx, error);
    }

    fn digest(&self, protocol: &P) -> Option<String> {
        protocol.digest()
    }
}
