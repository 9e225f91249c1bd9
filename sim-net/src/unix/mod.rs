//! Unix sockets and pipes: what the processes of one host have between them.
//!
//! Nothing is lost, and nothing takes time: what one end writes is in the other's queue at once, and
//! its engine hears of it in its next turn. What there is instead are limits: a sender's buffer as
//! the kernel accounts it (`charge.rs`), the 16 pages of a pipe, the 11 datagrams that wait at a
//! socket. What streams show their applications beyond that are the faults of
//! [`StreamFaults`](crate::StreamFaults), save for resets: there is nothing on the way that could
//! reset them.
//!
//! Everything here is as Linux 6.18 does it, in memory of the host and so gone when it crashes, but
//! for the files of bound paths (`names.rs`).

mod charge;
mod datagrams;
mod driver;
mod flow;
pub(crate) mod names;
mod pipe;
mod stream;

use std::io;

use sim_core::UnixAddr;
use sim_core::driver::{READ_MAX, Read, SocketKind, lengthen};

use self::datagrams::Datagrams;
pub(crate) use self::flow::LocalFlow;
use self::pipe::{Reader, Writer};
use self::stream::{Listener, Stream, Unconnected};
use crate::errno::{self, EADDRINUSE, ECONNREFUSED, EINVAL, ENOENT, ENOTCONN, EPIPE, EPROTOTYPE};
use crate::network::Network;
use crate::socket_table::{Kind, Ready, SocketId};

/// A Unix socket, or an end of a pipe.
#[derive(Debug)]
pub(crate) enum Socket {
    /// A stream that is neither connected nor listening.
    Unconnected(Unconnected),
    Listener(Listener),
    Stream(Stream),
    Datagrams(Datagrams),
    Reader(Reader),
    Writer(Writer),
}

impl Socket {
    fn new(kind: SocketKind) -> Self {
        match kind {
            SocketKind::Stream => Self::Unconnected(Unconnected::default()),
            SocketKind::Datagram => Self::Datagrams(Datagrams::default()),
        }
    }

    fn kind(&self) -> SocketKind {
        match self {
            Self::Datagrams(_) => SocketKind::Datagram,
            _ => SocketKind::Stream,
        }
    }

    /// The name it is bound to, or none.
    pub(crate) fn local(&self) -> UnixAddr {
        match self {
            Self::Unconnected(socket) => socket.local.clone(),
            Self::Listener(listener) => listener.local.clone(),
            Self::Stream(stream) => stream.local.clone(),
            Self::Datagrams(datagrams) => datagrams.local.clone(),
            Self::Reader(_) | Self::Writer(_) => UnixAddr::UNNAMED,
        }
    }

    /// The name of its peer, if it has one.
    fn remote(&self) -> Option<UnixAddr> {
        match self {
            Self::Stream(stream) => Some(stream.remote.clone()),
            Self::Datagrams(datagrams) => datagrams.remote(),
            _ => None,
        }
    }

    pub(crate) fn readiness(&self) -> Ready {
        match self {
            // As Linux has it: hung up, and reading says why.
            Self::Unconnected(_) => Ready::ALL,
            Self::Listener(listener) => listener.readiness(),
            Self::Stream(stream) => stream.readiness(),
            Self::Datagrams(datagrams) => datagrams.readiness(),
            Self::Reader(reader) => reader.readiness(),
            Self::Writer(writer) => writer.readiness(),
        }
    }

    /// How many bytes the next read gets at most.
    pub(crate) fn available(&self) -> usize {
        match self {
            Self::Stream(stream) => stream.available(),
            Self::Reader(reader) => reader.available(),
            Self::Datagrams(datagrams) => datagrams.next_len(),
            Self::Unconnected(_) | Self::Listener(_) | Self::Writer(_) => 0,
        }
    }

    /// The other end of a stream or pipe.
    pub(crate) fn peer(&self) -> Option<SocketId> {
        match self {
            Self::Stream(stream) => Some(stream.peer),
            Self::Reader(reader) => Some(reader.writer),
            Self::Writer(writer) => Some(writer.reader),
            _ => None,
        }
    }

    /// What it sends, by name, if bytes stream through it.
    pub(crate) fn flow(&self) -> Option<&LocalFlow> {
        match self {
            Self::Stream(stream) => Some(&stream.flow),
            Self::Reader(reader) => Some(&reader.flow),
            Self::Writer(writer) => Some(&writer.flow),
            _ => None,
        }
    }

    /// `SO_SNDBUF`.
    pub(crate) fn set_send_buffer(&mut self, asked: usize) {
        let bytes = charge::send_buffer_of(asked);
        match self {
            Self::Unconnected(socket) => socket.send_buffer = bytes,
            Self::Stream(stream) => stream.send_buffer = bytes,
            Self::Datagrams(datagrams) => datagrams.send_buffer = bytes,
            Self::Listener(_) | Self::Reader(_) | Self::Writer(_) => {}
        }
    }
}

impl Network {
    fn unix(&mut self, id: SocketId) -> Option<&mut Socket> {
        match &mut self.sockets.get_mut(id)?.kind {
            Kind::Unix(socket) => Some(socket),
            _ => None,
        }
    }

    fn unix_open(&mut self, host: u32, socket: Socket) -> SocketId {
        self.sockets.insert(host, Kind::Unix(Box::new(socket)))
    }

    /// The next connection of a host to `name`, as its client sends.
    fn unix_flow(&mut self, host: u32, name: &UnixAddr) -> LocalFlow {
        let owner = self.host(host);
        let (number, incarnation) = (owner.unix.open(name), owner.incarnation);
        LocalFlow { host, incarnation, name: name.clone(), number, is_reply: false }
    }

    /// The socket that is bound to a name, if it is of a kind.
    fn unix_find(&mut self, host: u32, name: &UnixAddr, kind: SocketKind) -> Result<SocketId, i32> {
        let Some(bound) = self.host(host).unix.get(name) else {
            // A file of another kind is there, and nobody behind it; or there is none.
            let is_missing = name.is_path() && !self.host(host).has_file(name);
            return Err(if is_missing { ENOENT } else { ECONNREFUSED });
        };
        let found = self.unix(bound.socket).ok_or(ECONNREFUSED)?;
        if found.kind() == kind { Ok(bound.socket) } else { Err(EPROTOTYPE) }
    }

    fn unix_bind(&mut self, id: SocketId, host: u32, local: &UnixAddr) -> io::Result<()> {
        let owner = &self.hosts[host as usize];
        let is_taken = owner.unix.get(local).is_some() || owner.has_file(local);
        let place = match self.unix(id) {
            Some(Socket::Unconnected(socket)) => &mut socket.local,
            Some(Socket::Datagrams(datagrams)) => &mut datagrams.local,
            _ => return Err(errno::os(EINVAL)),
        };
        if !place.is_unnamed() || local.is_unnamed() {
            return Err(errno::os(EINVAL));
        }
        if is_taken {
            return Err(errno::os(EADDRINUSE));
        }
        *place = local.clone();
        self.host(host).unix.insert(local.clone(), id);
        Ok(())
    }

    fn unix_connect(&mut self, id: SocketId, host: u32, remote: &UnixAddr) -> io::Result<()> {
        match self.unix(id) {
            Some(Socket::Datagrams(_)) => self.unix_connect_datagrams(id, host, remote),
            _ => self.unix_connect_stream(id, host, remote),
        }
    }

    /// Reads from a Unix stream or a pipe, or takes a Unix datagram, cut off where the buffer ends.
    #[cold]
    pub(crate) fn unix_read(&mut self, id: SocketId, buf: &mut [u8]) -> io::Result<usize> {
        match self.unix(id) {
            Some(Socket::Stream(_)) => self.unix_read_stream(id, buf),
            Some(Socket::Reader(_)) => self.pipe_read(id, buf),
            Some(Socket::Datagrams(_)) => {
                let (payload, ..) = self.unix_take(id)?;
                let length = payload.len().min(buf.len());
                buf[..length].copy_from_slice(&payload.bytes()[..length]);
                self.pool.put(payload);
                Ok(length)
            }
            Some(_) => Err(errno::os(EINVAL)),
            None => Err(errno::os(ENOTCONN)),
        }
    }

    /// [`unix_read`](Self::unix_read) of what waits, to the front of `buffer`.
    #[cold]
    pub(crate) fn unix_read_available(
        &mut self,
        id: SocketId,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Read> {
        let available = self.unix(id).map_or(0, |socket| socket.available());
        let wanted = available.clamp(1, READ_MAX);
        lengthen(buffer, wanted);
        let bytes = self.unix_read(id, &mut buffer[..wanted])?;
        Ok(Read { bytes, more: bytes < available })
    }

    /// Writes to a Unix stream or a pipe: as much of the pieces, one after the other, as there is
    /// room for.
    #[cold]
    pub(crate) fn unix_write<'a>(
        &mut self,
        id: SocketId,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        for piece in pieces {
            let of_piece = match self.unix(id) {
                Some(Socket::Stream(_)) => self.unix_write_stream(id, piece)?,
                Some(Socket::Writer(_)) => self.pipe_write(id, piece)?,
                Some(_) => return Err(errno::os(ENOTCONN)),
                None => return Err(errno::os(EPIPE)),
            };
            taken += of_piece;
            if of_piece < piece.len() {
                break;
            }
        }
        if taken == 0 { Err(errno::would_block()) } else { Ok(taken) }
    }

    /// How much [`unix_write`](Self::unix_write) would take of pieces of these lengths. It would take
    /// all of less than that, too.
    #[cold]
    pub(crate) fn unix_room(&mut self, id: SocketId, pieces: impl Iterator<Item = usize>) -> usize {
        match self.unix(id) {
            Some(Socket::Stream(stream)) => stream.room(pieces),
            Some(&mut Socket::Writer(Writer { reader, .. })) => self.pipe_room(reader, pieces),
            _ => 0,
        }
    }

    /// Closes a Unix socket or an end of a pipe of any kind.
    pub(crate) fn unix_close(&mut self, id: SocketId, host: u32) {
        let Some(socket) = self.sockets.remove(id) else {
            return;
        };
        let Kind::Unix(socket) = socket.kind else {
            debug_assert!(false, "an internet socket has its own close");
            return;
        };
        self.host(host).unix.release(&socket.local(), id);
        match *socket {
            Socket::Unconnected(_) => {}
            Socket::Listener(listener) => self.unix_end_listener(listener),
            Socket::Stream(stream) => self.unix_end_stream(stream, false),
            Socket::Datagrams(datagrams) => self.unix_end_datagrams(datagrams),
            Socket::Reader(reader) => self.pipe_end_reader(&reader),
            Socket::Writer(writer) => self.pipe_end_writer(&writer),
        }
    }
}
