//! What a simulated host offers its engine of Unix sockets and pipes.

use std::io;

use sim_core::UnixAddr;
use sim_core::driver::{READ_MAX, ReceivedUnix, SocketKind, Source, UnixSockets, lengthen};

use super::Socket;
use crate::driver::HostDriver;
use crate::errno::{self, EBADF, ENOENT, ENOTCONN};
use crate::network::Network;
use crate::socket_table::{Kind, SocketId};

/// The socket, to look at.
fn look(network: &Network, source: Source) -> io::Result<&Socket> {
    match network.sockets.get(SocketId::from_source(source)).map(|socket| &socket.kind) {
        Some(Kind::Unix(socket)) => Ok(socket),
        _ => Err(errno::os(EBADF)),
    }
}

impl UnixSockets for HostDriver {
    fn open(&self, kind: SocketKind) -> io::Result<Source> {
        self.may_open(1)?;
        let id = self.network().unix_open(self.index(), Socket::new(kind));
        self.opened(1);
        Ok(id.source())
    }

    fn pair(&self) -> io::Result<(Source, Source)> {
        self.may_open(2)?;
        let ends = self.network().unix_pair(self.index());
        self.opened(2);
        Ok(ends.map(SocketId::source).into())
    }

    fn pipe(&self) -> io::Result<(Source, Source)> {
        self.may_open(2)?;
        let ends = self.network().pipe_open(self.index());
        self.opened(2);
        Ok(ends.map(SocketId::source).into())
    }

    fn bind(&self, source: Source, local: &UnixAddr) -> io::Result<()> {
        if self.is_dead() {
            return Err(errno::os(EBADF));
        }
        self.network().unix_bind(SocketId::from_source(source), self.index(), local)
    }

    fn connect(&self, source: Source, remote: &UnixAddr) -> io::Result<()> {
        if self.is_dead() {
            return Err(errno::os(EBADF));
        }
        let mut network = self.network();
        let injected = network.injection.is_on.then(|| network.unix_connect_error(self.index()));
        let connected = match injected.flatten() {
            Some(error) => Err(error),
            None => network.unix_connect(SocketId::from_source(source), self.index(), remote),
        };
        drop(network);
        self.acted();
        connected
    }

    fn accept(&self, listener: Source) -> io::Result<(Source, UnixAddr)> {
        self.may_open(1)?;
        let mut network = self.network();
        let listener = SocketId::from_source(listener);
        if network.injection.is_on
            && let Some(error) = network.accept_error(listener, self.index())
        {
            return Err(error);
        }
        let (id, remote) = network.unix_accept(listener)?;
        drop(network);
        self.opened(1);
        Ok((id.source(), remote))
    }

    fn send_to(&self, source: Source, data: &[u8], to: &UnixAddr) -> io::Result<usize> {
        if self.is_dead() {
            return Ok(data.len());
        }
        let id = SocketId::from_source(source);
        let sent = self.network().unix_send(id, self.index(), data, Some(to));
        self.acted();
        sent
    }

    fn receive_available(&self, source: Source, buffer: &mut Vec<u8>) -> io::Result<ReceivedUnix> {
        let mut network = self.network();
        let (payload, from, more) = network.unix_take(SocketId::from_source(source))?;
        let bytes = payload.len().min(READ_MAX);
        lengthen(buffer, bytes);
        buffer[..bytes].copy_from_slice(&payload.bytes()[..bytes]);
        network.pool.put(payload);
        Ok(ReceivedUnix { bytes, from, more })
    }

    fn local_addr(&self, source: Source) -> io::Result<UnixAddr> {
        look(&self.network(), source).map(Socket::local)
    }

    fn peer_addr(&self, source: Source) -> io::Result<UnixAddr> {
        look(&self.network(), source)?.remote().ok_or_else(|| errno::os(ENOTCONN))
    }

    fn socket_file(&self, path: &UnixAddr) -> io::Result<Option<u64>> {
        let mut network = self.network();
        let name = network.host(self.index()).unix.get(path).filter(|_| path.is_path());
        Ok(name.map(|name| name.file))
    }

    fn remove_file(&self, path: &UnixAddr) -> io::Result<()> {
        // Whoever is dead leaves its files behind.
        if self.is_dead() || self.network().host(self.index()).unix.remove_file(path) {
            return Ok(());
        }
        Err(errno::os(ENOENT))
    }
}
