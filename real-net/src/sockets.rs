//! The sockets of a driver: a table of descriptors under numbers that are not reused.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::io::Errno;
use sim_core::Keepalive;
use sim_core::driver::{Source, TcpOptions, Token};
use slab::Slab;
use socket2::{Socket, TcpKeepalive};

/// A table of sockets. A [`Source`] is an index with a generation, so the number of a closed socket
/// names nothing, even after its place was taken by another.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    entries: Slab<Entry>,
    /// The generation of the next socket; one count for all places is as good as one for each.
    generation: u32,
}

/// A socket, and what the selector knows it as.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) socket: Socket,
    generation: u32,
    token: Option<Token>,
}

/// The most sockets of one driver: an index fills half of a [`Source`].
const SOCKETS_MAX: usize = u32::MAX as usize;

impl Sockets {
    /// Takes a socket in.
    ///
    /// # Errors
    ///
    /// `EMFILE` when the table is full, which no kernel allows to happen.
    pub(crate) fn insert(&mut self, socket: Socket) -> io::Result<Source> {
        if self.entries.len() >= SOCKETS_MAX {
            return Err(Errno::MFILE.into());
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.entries.insert(Entry { socket, generation, token: None });
        Ok(Source(u64::from(generation) << 32 | index as u64))
    }

    /// The socket `source`.
    ///
    /// # Errors
    ///
    /// `EBADF` if it was closed.
    #[inline]
    pub(crate) fn get(&self, source: Source) -> io::Result<&Socket> {
        let entry = self.entries.get(index_of(source));
        match entry.filter(|entry| entry.generation == generation_of(source)) {
            Some(entry) => Ok(&entry.socket),
            None => Err(Errno::BADF.into()),
        }
    }

    /// The token of the socket that the selector calls `index`, if it is still there.
    #[inline]
    pub(crate) fn token(&self, index: usize) -> Option<Token> {
        self.entries.get(index)?.token
    }

    /// Puts the socket into the selector, once, for edges of both directions.
    ///
    /// # Errors
    ///
    /// `EBADF` if it was closed, `EEXIST` if it is registered, and what `epoll_ctl` gives.
    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        source: Source,
        token: Token,
    ) -> io::Result<()> {
        let index = index_of(source);
        let fd = self.get(source)?.as_raw_fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&fd), mio::Token(index), both)?;
        self.entries[index].token = Some(token);
        Ok(())
    }

    /// Takes the socket out of the selector and out of the table.
    ///
    /// A duplicate of its descriptor may live on elsewhere (an adopted socket's, a child's), and
    /// would keep the registration alive: so it is taken out before it is closed.
    pub(crate) fn remove(&mut self, registry: &Registry, source: Source) -> Option<Socket> {
        let index = index_of(source);
        if self.entries.get(index)?.generation != generation_of(source) {
            return None;
        }
        let Entry { socket, token, .. } = self.entries.remove(index);
        if token.is_some()
            && let Err(error) = registry.deregister(&mut SourceFd(&socket.as_raw_fd()))
        {
            tracing::warn!(target: "real_net", %error, "deregistering a socket failed");
        }
        Some(socket)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn index_of(source: Source) -> usize {
    (source.0 & u64::from(u32::MAX)) as usize
}

fn generation_of(source: Source) -> u32 {
    (source.0 >> 32) as u32
}

/// Makes the close of `socket` a reset that discards what was not sent.
pub(crate) fn reset_on_close(socket: &Socket) {
    if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
        tracing::debug!(target: "real_net", %error, "SO_LINGER failed; closing without a reset");
    }
}

/// `SO_KEEPALIVE`, and its figures if it is on.
pub(crate) fn set_keepalive(socket: &Socket, keepalive: Option<Keepalive>) -> io::Result<()> {
    let Some(Keepalive { idle, interval, count }) = keepalive else {
        return socket.set_keepalive(false);
    };
    let figures = TcpKeepalive::new().with_time(idle).with_interval(interval);
    socket.set_tcp_keepalive(&figures.with_retries(count.into()))
}

/// What is set of a stream's TCP.
pub(crate) fn tcp_options(socket: &Socket) -> io::Result<TcpOptions> {
    let keepalive = match socket.keepalive()? {
        false => None,
        true => Some(Keepalive {
            idle: socket.tcp_keepalive_time()?,
            interval: socket.tcp_keepalive_interval()?,
            // The kernel allows 127.
            count: u8::try_from(socket.tcp_keepalive_retries()?).unwrap_or(u8::MAX),
        }),
    };
    Ok(TcpOptions {
        nodelay: socket.tcp_nodelay()?,
        keepalive,
        user_timeout: socket.tcp_user_timeout()?.filter(|timeout| !timeout.is_zero()),
    })
}

/// How far a connect in progress has come: done, failed, or `WouldBlock`.
///
/// Writability alone does not tell: the selector reports it for a socket that was never connected,
/// too. `SO_ERROR` tells a failure, and only a connected socket has a peer.
pub(crate) fn connect_outcome(socket: &Socket) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match rustix::net::getpeername(socket.as_fd()) {
        Ok(_) => Ok(()),
        Err(Errno::NOTCONN) => Err(Errno::AGAIN.into()),
        Err(error) => Err(error.into()),
    }
}
