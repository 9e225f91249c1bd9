//! What a backend with Unix sockets and pipes provides beside [`Driver`](super::Driver).

use std::io;

use super::{SocketKind, Source};
use crate::UnixAddr;

/// What [`UnixSockets::receive_available`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedUnix {
    /// How long the datagram is.
    pub bytes: usize,
    /// Who sent it; unnamed if the sender was never bound.
    pub from: UnixAddr,
    /// False if no other waits for sure.
    pub more: bool,
}

/// Unix sockets and pipes: [`Driver::unix`](super::Driver::unix) of a backend that has them.
///
/// They live in a name space of one machine and lose nothing. What they have in common with
/// internet sockets is asked of the [`Driver`](super::Driver), by [`Source`]: switches, `listen`,
/// reading, writing, sending to a connected peer, readiness, `close`. A reset of one is a close, as
/// there is no such thing on a Unix socket or pipe.
pub trait UnixSockets {
    /// Makes a socket. It is not bound, not connected and not registered.
    ///
    /// # Errors
    ///
    /// `EMFILE` and its kin when there is no descriptor left.
    fn open(&self, kind: SocketKind) -> io::Result<Source>;

    /// Makes two stream sockets that are connected to each other: `socketpair`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn pair(&self) -> io::Result<(Source, Source)>;

    /// Makes a pipe: the end that is read from, and the one that is written to. Reading finds its
    /// end when the other is closed. If the reading end is closed the other becomes
    /// [`read_closed`](super::Readiness::read_closed), and writing to it is a `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn pipe(&self) -> io::Result<(Source, Source)>;

    /// Gives the socket a local address. For a path, a file is made that outlives the socket.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is a file or a socket of that name; `NotFound`, `PermissionDenied`.
    fn bind(&self, source: Source, local: &UnixAddr) -> io::Result<()>;

    /// Connects. The socket, stream or datagram, is connected on return.
    ///
    /// # Errors
    ///
    /// `NotFound` without a file of that name; `ConnectionRefused` if nobody listens behind it;
    /// `WouldBlock` if as many wait there as the listener lets.
    fn connect(&self, source: Source, remote: &UnixAddr) -> io::Result<()>;

    /// Takes a waiting connection, with its peer's address.
    ///
    /// # Errors
    ///
    /// As [`Driver::accept`](super::Driver::accept).
    fn accept(&self, listener: Source) -> io::Result<(Source, UnixAddr)>;

    /// Sends one datagram, whole or not at all.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the receiver has no room: writability is reported when it is worth trying
    /// again. Else as [`connect`](Self::connect), and `EMSGSIZE`.
    fn send_to(&self, source: Source, data: &[u8], to: &UnixAddr) -> io::Result<usize>;

    /// Takes one datagram to the front of `buffer`, as
    /// [`Driver::receive_available`](super::Driver::receive_available) does. What is over
    /// [`READ_MAX`](super::READ_MAX) bytes of it is cut off, as asyncio does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none waits.
    fn receive_available(&self, source: Source, buffer: &mut Vec<u8>) -> io::Result<ReceivedUnix>;

    /// The address the socket is bound to, or none.
    ///
    /// # Errors
    ///
    /// What `getsockname` gives.
    fn local_addr(&self, source: Source) -> io::Result<UnixAddr>;

    /// The address it is connected to; unnamed if the peer was never bound.
    ///
    /// # Errors
    ///
    /// `NotConnected`.
    fn peer_addr(&self, source: Source) -> io::Result<UnixAddr>;

    /// Which file of a socket is at a path: a number that no other file has at the same time.
    /// `None` if there is no file, or one of another kind.
    ///
    /// # Errors
    ///
    /// What `stat` gives, but for a file that is not there.
    fn socket_file(&self, path: &UnixAddr) -> io::Result<Option<u64>>;

    /// Removes the file at a path.
    ///
    /// # Errors
    ///
    /// What `unlink` gives.
    fn remove_file(&self, path: &UnixAddr) -> io::Result<()>;
}
