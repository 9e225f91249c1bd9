//! Every socket of the world, by number.

use sim_core::cache::{Stage, prefetch, prefetch_first};
use sim_core::driver::{Family, Readiness, Source, TcpOptions, Token};
use sim_core::slots::Slots;

use crate::address::Endpoint;
use crate::agenda::Agenda;
use crate::memory::ENTRIES_MAX;
use crate::process::Notice;
use crate::tcp::config::BufferSize;
use crate::tcp::stack::Listener;
use crate::tcp::stream::Stream;
use crate::udp::Datagrams;
use crate::unix;

/// A socket: its slot, and a number that no other socket of the world ever has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SocketId {
    slot: u32,
    serial: u32,
}

impl SocketId {
    /// No socket.
    pub(crate) const NONE: Self = Self { slot: u32::MAX, serial: u32::MAX };

    /// No socket: a packet of a TUN device, by its number.
    pub(crate) fn of_device(packet: u32) -> Self {
        Self { slot: u32::MAX, serial: packet }
    }

    /// The number of a packet of a TUN device, if it is that.
    pub(crate) fn device_packet(self) -> Option<u32> {
        (self.slot == u32::MAX && self != Self::NONE).then_some(self.serial)
    }

    /// Its place among the sockets that there are.
    pub(crate) fn slot(self) -> u32 {
        self.slot
    }

    pub(crate) fn source(self) -> Source {
        Source(u64::from(self.serial) << 32 | u64::from(self.slot))
    }

    pub(crate) fn from_source(source: Source) -> Self {
        Self { slot: source.0 as u32, serial: (source.0 >> 32) as u32 }
    }
}

/// What can be done without blocking, as a set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ready(u8);

impl Ready {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const READABLE: Self = Self(1);
    pub(crate) const WRITABLE: Self = Self(2);
    pub(crate) const READ_CLOSED: Self = Self(4);
    /// Everything: a connection that failed.
    pub(crate) const ALL: Self = Self(7);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// A socket of a host's kernel: in a cache line of its own.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Socket {
    serial: u32,
    pub(crate) host: u32,
    /// What the engine calls it; `None` before it is registered and after it is closed.
    pub(crate) token: Option<Token>,
    /// What has become ready since the engine was last told.
    pub(crate) ready: Ready,
    /// True while it stands in its host's list of ready sockets.
    pub(crate) listed: bool,
    pub(crate) kind: Kind,
}

impl Socket {
    /// Notes what has become ready. True if it is to be put into its host's list of sockets with news.
    #[inline]
    pub(crate) fn becomes(&mut self, what: Ready) -> bool {
        // Before it is registered nobody listens; then it is told what is ready.
        if self.token.is_none() || what.is_none() {
            return false;
        }
        self.ready = self.ready.with(what);
        !std::mem::replace(&mut self.listed, true)
    }

    /// Takes what its engine is to hear.
    #[inline]
    pub(crate) fn take_news(&mut self) -> Option<Readiness> {
        self.listed = false;
        let ready = std::mem::take(&mut self.ready);
        Some(Readiness {
            token: self.token?,
            readable: ready.has(Ready::READABLE),
            writable: ready.has(Ready::WRITABLE),
            read_closed: ready.has(Ready::READ_CLOSED),
        })
    }
}

/// What a socket is. An internet socket begins as `Unconnected` or `Datagrams`.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A stream that is neither connected nor listening.
    Unconnected(Box<Unconnected>),
    /// A listening stream.
    Listener(Box<Listener>),
    /// A stream with a peer, once and perhaps no more.
    Stream(Box<Stream>),
    /// A datagram socket.
    Datagrams(Box<Datagrams>),
    /// A Unix socket or an end of a pipe, of any kind.
    Unix(Box<unix::Socket>),
    /// No socket: a signal or a child process that the host's process waits to hear of.
    Notice(Box<Notice>),
}

impl Kind {
    /// What can be done without blocking now.
    pub(crate) fn readiness(&self) -> Ready {
        match self {
            // As Linux has it: hung up, and reading says why (E-12).
            Self::Unconnected(_) => Ready::ALL,
            Self::Listener(listener) => listener.readiness(),
            Self::Stream(stream) => stream.connection.readiness(),
            Self::Datagrams(datagrams) => datagrams.readiness(),
            Self::Unix(socket) => socket.readiness(),
            Self::Notice(notice) => notice.readiness(),
        }
    }

    /// How many bytes the next read or receive gets at most.
    pub(crate) fn available(&self, agenda: &Agenda) -> usize {
        match self {
            Self::Stream(stream) => stream.connection.available(),
            Self::Datagrams(datagrams) => datagrams.next_len(agenda),
            Self::Unix(socket) => socket.available(),
            Self::Unconnected(_) | Self::Listener(_) | Self::Notice(_) => 0,
        }
    }
}

/// A stream socket before `connect` or `listen`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unconnected {
    pub(crate) local: Option<Endpoint>,
    pub(crate) options: Options,
    pub(crate) tcp: TcpOptions,
}

impl Unconnected {
    pub(crate) fn new(family: Family) -> Self {
        Self { local: None, options: Options::new(family), tcp: TcpOptions::default() }
    }
}

/// The switches of a stream socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) family: Family,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) send_buffer: BufferSize,
    pub(crate) receive_buffer: BufferSize,
}

/// The sockets.
#[derive(Debug, Default)]
pub(crate) struct SocketTable {
    sockets: Slots<Socket>,
    next_serial: u32,
}

impl SocketTable {
    /// Makes it as new, but for its room; what was in it goes to `bury`.
    pub(crate) fn renew(&mut self, bury: impl FnMut(Socket)) {
        let Self { sockets, next_serial } = self;
        sockets.drain().for_each(bury);
        if sockets.capacity() > ENTRIES_MAX {
            *sockets = Slots::new();
        }
        *next_serial = 0;
    }

    pub(crate) fn insert(&mut self, host: u32, kind: Kind) -> SocketId {
        self.next_serial += 1;
        let serial = self.next_serial;
        let socket = Socket { serial, host, token: None, ready: Ready::NONE, listed: false, kind };
        SocketId { slot: self.sockets.insert(socket), serial }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Asks for the memory of a socket that will soon be looked at.
    #[inline]
    pub(crate) fn prefetch(&self, id: SocketId, stage: Stage) {
        if stage == Stage::Entry {
            return self.sockets.prefetch(id.slot);
        }
        match (self.sockets.get(id.slot).map(|socket| &socket.kind), stage) {
            (Some(Kind::Stream(stream)), Stage::Object) => prefetch_first(&**stream, Stream::HOT),
            (Some(Kind::Stream(stream)), _) => stream.prefetch_received(),
            (Some(Kind::Datagrams(datagrams)), Stage::Object) => prefetch(&**datagrams),
            (Some(_) | None, _) => {}
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.sockets.get(id.slot).filter(|socket| socket.serial == id.serial)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id.slot).filter(|socket| socket.serial == id.serial)
    }

    /// All streams.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.sockets.iter().filter_map(|(_, socket)| match &socket.kind {
            Kind::Stream(stream) => Some(&**stream),
            _ => None,
        })
    }

    /// The stream called `id`, if it is one.
    #[inline]
    pub(crate) fn stream(&mut self, id: SocketId) -> Option<&mut Stream> {
        match &mut self.get_mut(id)?.kind {
            Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The stream called `id`, to look at.
    #[inline]
    pub(crate) fn get_stream(&self, id: SocketId) -> Option<&Stream> {
        match &self.get(id)?.kind {
            Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The stream called `id` and its host, if it is one.
    #[inline]
    pub(crate) fn host_and_stream(&mut self, id: SocketId) -> Option<(u32, &mut Stream)> {
        match self.get_mut(id)? {
            Socket { host, kind: Kind::Stream(stream), .. } => Some((*host, stream)),
            _ => None,
        }
    }

    /// The stream in a slot, what it is called, and its host.
    pub(crate) fn stream_in(&mut self, slot: u32) -> Option<(SocketId, u32, &mut Stream)> {
        match self.sockets.get_mut(slot)? {
            Socket { serial, host, kind: Kind::Stream(stream), .. } => {
                Some((SocketId { slot, serial: *serial }, *host, stream))
            }
            _ => None,
        }
    }

    /// What the socket called `id` is, and its host.
    pub(crate) fn host_and_kind(&mut self, id: SocketId) -> Option<(u32, &mut Kind)> {
        let Socket { host, kind, .. } = self.get_mut(id)?;
        Some((*host, kind))
    }

    /// The listener called `id`, if it is one.
    pub(crate) fn listener(&mut self, id: SocketId) -> Option<&mut Listener> {
        match &mut self.get_mut(id)?.kind {
            Kind::Listener(listener) => Some(listener),
            _ => None,
        }
    }

    /// The datagram socket called `id`, if it is one.
    #[inline]
    pub(crate) fn datagrams(&mut self, id: SocketId) -> Option<&mut Datagrams> {
        match &mut self.get_mut(id)?.kind {
            Kind::Datagrams(datagrams) => Some(datagrams),
            _ => None,
        }
    }

    /// The sockets of a host, in order of their slots.
    pub(crate) fn of_host(&self, host: u32) -> Vec<SocketId> {
        let own = self.sockets.iter().filter(|(_, socket)| socket.host == host);
        own.map(|(slot, socket)| SocketId { slot, serial: socket.serial }).collect()
    }

    pub(crate) fn remove(&mut self, id: SocketId) -> Option<Socket> {
        self.get(id)?;
        self.sockets.remove(id.slot)
    }
}
