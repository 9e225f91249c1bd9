//! The sockets of a driver: a table of descriptors under numbers that are not reused.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::io::Errno;
use sim_core::Keepalive;
use sim_core::driver::{Source, TcpOptions, Token};
use slab::Slab;
use socket2::{Socket, TcpKeepalive};

use crate::processes::ChildProcess;
use crate::signals::WatchedSignal;

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
    descriptor: Descriptor,
    reads: Reads,
    generation: u32,
    token: Option<Token>,
    /// The selector knows it.
    is_selected: bool,
}

/// What a descriptor is of.
#[derive(Debug)]
pub(crate) enum Descriptor {
    Socket(Socket),
    /// An end of a pipe, or what serves as one.
    Pipe {
        end: OwnedFd,
        /// It was opened elsewhere, and may be open there.
        is_shared: bool,
    },
    /// A child process.
    Child(ChildProcess),
    /// A signal that a loop handles.
    Signal(WatchedSignal),
}

/// What readiness for reading says of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// A read that is short took all there was. Its hanging up means that the other end is gone.
    Bytes,
    /// A read may take one line or one message, however many wait: only one that would block took them all.
    Messages,
    /// Of what is written to, that its reader is gone: when it hangs up as a whole or is in error, not when whoever reads
    /// will say no more (G-04).
    Loss,
    /// Nothing: a device that is written to, whose reading says nothing of whoever looks at it (G-04).
    Nothing,
}

impl Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Socket(socket) => socket.as_raw_fd(),
            Self::Pipe { end, .. } => end.as_raw_fd(),
            Self::Child(child) => child.as_raw_fd(),
            Self::Signal(watched) => watched.as_raw_fd(),
        }
    }
}

/// The most sockets of one driver: an index fills half of a [`Source`].
const SOCKETS_MAX: usize = u32::MAX as usize;

impl Sockets {
    /// Takes a socket in.
    ///
    /// # Errors
    ///
    /// `EMFILE` when the table is full, which no kernel allows to happen.
    pub(crate) fn insert(&mut self, descriptor: Descriptor, reads: Reads) -> io::Result<Source> {
        if self.entries.len() >= SOCKETS_MAX {
            return Err(Errno::MFILE.into());
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let entry = Entry { descriptor, reads, generation, token: None, is_selected: false };
        let index = self.entries.insert(entry);
        Ok(Source(u64::from(generation) << 32 | index as u64))
    }

    /// What `source` is.
    ///
    /// # Errors
    ///
    /// `EBADF` if it was closed.
    #[inline]
    pub(crate) fn get(&self, source: Source) -> io::Result<&Descriptor> {
        self.entry(source).map(|entry| &entry.descriptor).ok_or_else(|| Errno::BADF.into())
    }

    /// The socket `source`.
    ///
    /// # Errors
    ///
    /// `EBADF` if it was closed, `ENOTSOCK` if it is something else.
    #[inline]
    pub(crate) fn socket(&self, source: Source) -> io::Result<&Socket> {
        match self.get(source)? {
            Descriptor::Socket(socket) => Ok(socket),
            _ => Err(Errno::NOTSOCK.into()),
        }
    }

    /// The child process `source`.
    ///
    /// # Errors
    ///
    /// `EBADF` if it was closed, `EINVAL` if it is something else.
    pub(crate) fn child(&mut self, source: Source) -> io::Result<&mut ChildProcess> {
        self.entry(source).ok_or(Errno::BADF)?;
        match &mut self.entries[index_of(source)].descriptor {
            Descriptor::Child(child) => Ok(child),
            _ => Err(Errno::INVAL.into()),
        }
    }

    #[inline]
    fn entry(&self, source: Source) -> Option<&Entry> {
        let entry = self.entries.get(index_of(source));
        entry.filter(|entry| entry.generation == generation_of(source))
    }

    /// The token of the socket that the selector calls `index`, if it is still there, and what its
    /// readiness for reading says.
    #[inline]
    pub(crate) fn token(&self, index: usize) -> Option<(Token, Reads)> {
        let Entry { reads, token, .. } = self.entries.get(index)?;
        token.map(|token| (token, *reads))
    }

    /// The token of a socket, if it is registered.
    pub(crate) fn token_of(&self, source: Source) -> Option<Token> {
        self.entry(source)?.token
    }

    /// Puts the socket into the selector, once, for edges of both directions. False for a device that
    /// is always ready, such as `/dev/null`, which no selector takes.
    ///
    /// # Errors
    ///
    /// `EBADF` if it was closed, `EEXIST` if it is registered, and what `epoll_ctl` gives.
    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        source: Source,
        token: Token,
    ) -> io::Result<bool> {
        let index = index_of(source);
        let descriptor = self.get(source)?;
        // Urgent data, too: a read ends at them.
        let both = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let fd = descriptor.as_raw_fd();
        let is_selected = match registry.register(&mut SourceFd(&fd), mio::Token(index), both) {
            Ok(()) => true,
            Err(error)
                if matches!(descriptor, Descriptor::Pipe { .. })
                    && error.raw_os_error() == Some(Errno::PERM.raw_os_error()) =>
            {
                false
            }
            Err(error) => return Err(error),
        };
        let entry = &mut self.entries[index];
        entry.token = Some(token);
        entry.is_selected = is_selected;
        Ok(is_selected)
    }

    /// Takes the socket out of the selector and out of the table.
    ///
    /// A duplicate of its descriptor may live on elsewhere (an adopted socket's, a child's), and
    /// would keep the registration alive: so it is taken out before it is closed.
    pub(crate) fn remove(&mut self, registry: &Registry, source: Source) -> Option<Descriptor> {
        self.entry(source)?;
        let Entry { descriptor, is_selected, .. } = self.entries.remove(index_of(source));
        if is_selected
            && let Err(error) = registry.deregister(&mut SourceFd(&descriptor.as_raw_fd()))
        {
            tracing::warn!(target: "real_net", %error, "deregistering a socket failed");
        }
        Some(descriptor)
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
