//! The seam between the engine and a backend: what a third driver would have to provide.
//!
//! The engine is sans-IO: [`Turner::turn`] runs one asyncio iteration over the readiness it is
//! handed and says when it wants to be called again. A [`Driver`] is everything else, and offers
//! only what an operating system offers. A backend provides, in this order:
//!
//! 1. **A clock.** [`now`](Driver::now): monotonic, integer nanoseconds, an epoch of its own; and the
//!    time of day, [`wall_time`](Driver::wall_time).
//! 2. **Sockets**, in the words of the BSD calls and never blocking: [`open`](Driver::open),
//!    [`bind`](Driver::bind), [`listen`](Driver::listen), [`connect`](Driver::connect),
//!    [`finish_connect`](Driver::finish_connect), [`accept`](Driver::accept),
//!    [`read`](Driver::read), [`write`](Driver::write), [`shutdown_write`](Driver::shutdown_write),
//!    [`send_to`](Driver::send_to), [`receive_from`](Driver::receive_from),
//!    [`close`](Driver::close), [`reset`](Driver::reset), and the addresses.
//!    A backend with Unix sockets and pipes has [`unix`](Driver::unix) too: [`UnixSockets`] lists
//!    what they add. One without them does nothing.
//! 3. **Readiness**, edge-triggered: after [`register`](Driver::register) every change from "would
//!    block" to "would not" is reported once, as a [`Readiness`], until
//!    [`close`](Driver::close). Reporting too often is harmless; never reporting is a hang.
//!    A backend whose users have descriptors of their own builds upon [`ReadyHandlers`].
//! 4. **Waiting.** [`wait`](Driver::wait): sleep until something is ready or a deadline has come.
//!    Only the outermost run of a thread calls it. A world of several engines turns the others
//!    inside it.
//! 5. **Names.** [`resolve`](Driver::resolve): names of hosts and services to addresses;
//!    [`name_of`](Driver::name_of): the way back.
//! 6. **Signals and child processes**, if the machine has them: [`signals`](Driver::signals) gives
//!    its [`Signals`], [`processes`](Driver::processes) its [`Processes`].
//! 7. **Identity.** [`rng`](Driver::rng): named streams of random numbers. A backend with threads has
//!    [`execute`](Driver::execute), for work that would block.
//! 8. **Cancellations**, if it is a simulation that injects them: [`cancels`](Driver::cancels) says where a task is
//!    cancelled that was declared [`cancellable`](crate::Task::cancellable). Others do nothing.
//! 9. **Observation**, if it wants it: [`trace`](Driver::trace) hears every step of the engine,
//!    [`property`](Driver::property) what the code claims of itself, and
//!    [`keep_state`](Driver::keep_state) what protocols say of theirs.
//!
//! A driver never calls user code and never keeps a borrow across a return to the engine, so each
//! method takes `&self`. Errors are `std::io::Error` with the kinds and raw codes that a kernel
//! gives; `WouldBlock` and `Interrupted` are the engine's business and reach no protocol.
//!
//! The module [`testing`](crate::testing) has the smallest complete driver: one socket, scripted.
//!
//! [`Turner::turn`]: crate::engine::Turner::turn

mod processes;
mod signals;
mod unix;

pub use self::processes::{Launch, Processes, Spawned};
pub use self::signals::Signals;
pub use self::unix::{ReceivedUnix, UnixSockets};

use std::any::Any;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Port;
pub use crate::address::{is_same_name, numeric_host};
use crate::cache::Stage;
pub use crate::ready_handlers::{Direction, ReadyHandlers};
pub use crate::tcp_options::TcpOptions;

use crate::error::RunError;
use crate::executor::Job;
use crate::names::NameInfo;
use crate::property::Property;
use crate::store::Storage;
use crate::tcp_options::Keepalive;
use crate::{Rng, Time};

/// A socket of a driver. The driver chooses the number; it is never reused while the engine may
/// still name it, that is until [`Driver::close`] or [`Driver::reset`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Source(pub u64);

/// What the engine calls a registered socket. It carries a generation, so readiness that was
/// reported for a socket closed meanwhile is recognised and dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// A change in what a socket can do without blocking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// The token it was registered with.
    pub token: Token,
    /// A read, accept or receive may succeed, or fail with something else than `WouldBlock`.
    pub readable: bool,
    /// A write, send or pending connect may succeed or fail.
    pub writable: bool,
    /// The peer has sent its end of stream, or the connection has failed: a short read is not the
    /// last word, and the engine reads again until it sees the end or the error. Of what is read, a driver
    /// may say so too where a read can be short though more waits: the engine then reads until it would block.
    pub read_closed: bool,
}

/// Streams of bytes or datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SocketKind {
    /// TCP, or a Unix stream.
    Stream,
    /// UDP, or Unix datagrams.
    Datagram,
}

/// The address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6. Such a socket carries IPv6 alone (contract E-16).
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(addr: &SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The wildcard address of the family, with port 0.
    pub fn unspecified(self) -> SocketAddr {
        match self {
            Self::V4 => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
            Self::V6 => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
        }
    }
}

/// A switch on a socket. Those of addresses and buffers are set between [`Driver::open`] and
/// [`Driver::bind`] or [`Driver::connect`]; those of TCP at any time, and what is set on a listener
/// its connections have from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SocketOption {
    /// `SO_REUSEADDR`: binding ignores connections in TIME_WAIT.
    ReuseAddress(bool),
    /// `SO_REUSEPORT`: several sockets share one port, and the kernel spreads arrivals over them.
    ReusePort(bool),
    /// `SO_BROADCAST`: datagrams may go to a broadcast address.
    Broadcast(bool),
    /// `SO_SNDBUF`, in bytes: how much a stream takes beyond what its peer has acknowledged. The
    /// backend may round it.
    SendBuffer(usize),
    /// `SO_RCVBUF`, in bytes: how much waits unread before the peer is held back.
    ReceiveBuffer(usize),
    /// `TCP_NODELAY`: small segments go out at once. On from the start (contract C-18).
    NoDelay(bool),
    /// `SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`: a silent peer is probed. Off from
    /// the start.
    Keepalive(Option<Keepalive>),
    /// `TCP_USER_TIMEOUT` (RFC 5482), in whole milliseconds: how long what was sent may stay
    /// unacknowledged; `None` for the system's own.
    UserTimeout(Option<Duration>),
    /// `IP_ADD_MEMBERSHIP`, `IPV6_JOIN_GROUP`: a datagram socket receives what is sent to a group.
    /// Like all options of multicast, it may be set at any time.
    JoinMulticast(Membership),
    /// `IP_DROP_MEMBERSHIP`, `IPV6_LEAVE_GROUP`.
    LeaveMulticast(Membership),
    /// `IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`: what is sent to a group is received by members on
    /// the sending host, too. On from the start.
    MulticastLoop(bool),
    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`: how many routers a datagram to a group passes, less
    /// one; 0 keeps it on its host. 1 from the start.
    MulticastHops(u8),
    /// `IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`: datagrams to groups leave by the interface that has this
    /// address.
    MulticastInterface(IpAddr),
}

/// A group, and where it is joined.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Membership {
    /// The group: a multicast address.
    pub group: IpAddr,
    /// An address of the interface; without one the system chooses.
    pub interface: Option<IpAddr>,
}

/// What is asked of [`Driver::resolve`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question<'a> {
    /// A name, or an address in its usual text form.
    pub host: &'a str,
    /// A number, which is in each answer, or the name of a service.
    pub port: &'a Port,
    /// The only family that is wanted, if not any.
    pub family: Option<Family>,
    /// What the service is used with, if not with anything.
    pub kind: Option<SocketKind>,
}

/// What [`Driver::resolve`] and [`Driver::name_of`] answer.
pub enum Resolution<T> {
    /// The answer is known.
    Now(io::Result<T>),
    /// The answer will come; the future wakes its task. Dropping it takes the question back.
    Later(Pin<Box<dyn Future<Output = io::Result<T>>>>),
}

impl<T: std::fmt::Debug> std::fmt::Debug for Resolution<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.write_str("Later(..)"),
        }
    }
}

/// When an engine wants its next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// At once: something is ready.
    Now,
    /// When the clock reaches this time, or readiness comes.
    At(Time),
    /// When readiness or a wake-up comes.
    Never,
}

/// Tells a driver, from any thread, that an engine has work that arose outside its turns.
///
/// The engine calls it when the first wake-up enters an empty inbox. A driver that waits in the
/// kernel must come out of [`Driver::wait`]; a simulator notes that the host is ready.
pub trait Alarm: Send + Sync {
    /// The engine has a wake-up to look at.
    fn ring(&self);
}

/// The most that one read takes of a stream, in bytes (contract C-31).
pub const READ_MAX: usize = 256 << 10;

/// The most bytes that a datagram has.
const DATAGRAM_MAX: usize = 64 << 10;

/// Where a task stands that a simulation may cancel; see [`Driver::cancels`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Suspension {
    /// It has just begun to wait.
    Waiting,
    /// It was woken, and has not gone on yet.
    Woken,
}

/// What [`Driver::read_available`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// How many bytes it read; 0 at the end of the stream.
    pub bytes: usize,
    /// False if it took all there was: another read would block. It does not speak of an end of
    /// stream or an error behind the data, which readiness tells
    /// ([`read_closed`](Readiness::read_closed)).
    pub more: bool,
}

/// What [`Driver::receive_available`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// How long the datagram is.
    pub bytes: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// False if no other waits for sure. A kernel does not know before it is asked, and says true.
    pub more: bool,
}

/// Makes `buffer` at least `wanted` bytes long, and at most [`READ_MAX`].
#[inline]
pub fn lengthen(buffer: &mut Vec<u8>, wanted: usize) {
    let wanted = wanted.clamp(1, READ_MAX);
    if buffer.len() < wanted {
        grow(buffer, wanted);
    }
}

#[cold]
fn grow(buffer: &mut Vec<u8>, wanted: usize) {
    buffer.resize(wanted.next_power_of_two().clamp(512, READ_MAX), 0);
}

/// A backend. See the [module's documentation](self) for the list of what one provides.
pub trait Driver {
    // 1. The clock.

    /// The time now. Never goes back.
    fn now(&self) -> Time;

    /// The time of day, since the Unix epoch. It may be set, and so go back.
    fn wall_time(&self) -> Duration;

    // 2. Sockets.

    /// Makes a socket. It is not bound, not connected and not registered.
    ///
    /// # Errors
    ///
    /// `EMFILE` and its kin when there is no descriptor left.
    fn open(&self, kind: SocketKind, family: Family) -> io::Result<Source>;

    /// Sets a switch. A stream has `TCP_NODELAY` on from the start (contract C-18). The engine has
    /// looked at the values: they are in the kernel's bounds.
    ///
    /// # Errors
    ///
    /// What `setsockopt` gives.
    fn set_option(&self, source: Source, option: SocketOption) -> io::Result<()>;

    /// What is set of a stream's TCP.
    ///
    /// # Errors
    ///
    /// What `getsockopt` gives.
    fn tcp_options(&self, source: Source) -> io::Result<TcpOptions>;

    /// Gives the socket a local address. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
    fn bind(&self, source: Source, local: SocketAddr) -> io::Result<()>;

    /// Makes a bound stream socket accept connections, up to `backlog` of them waiting.
    ///
    /// # Errors
    ///
    /// What `listen` gives.
    fn listen(&self, source: Source, backlog: u32) -> io::Result<()>;

    /// Takes a waiting connection, with its peer's address.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none waits; `EMFILE` and its kin when there is no descriptor for it.
    fn accept(&self, listener: Source) -> io::Result<(Source, SocketAddr)>;

    /// Connects. A datagram socket is connected on return. A stream reports writability when the
    /// answer is there, and [`finish_connect`](Self::finish_connect) tells it.
    ///
    /// # Errors
    ///
    /// What `connect` gives at once: `EISCONN` for a stream that is connected. "In progress" is `Ok`.
    fn connect(&self, source: Source, remote: SocketAddr) -> io::Result<()>;

    /// The outcome of a stream's [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// `WouldBlock` while there is none yet, so a spurious readiness is harmless; else the reason.
    fn finish_connect(&self, source: Source) -> io::Result<()>;

    /// How large a buffer is worth offering to the next [`read`](Self::read), in bytes.
    fn read_hint(&self, source: Source) -> usize;

    /// Reads from a stream into `buf`, at least one byte, or 0 at its end. Of a Unix datagram socket it takes one
    /// datagram, cut off where `buf` ends.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing waits, `ConnectionReset`, `NotConnected`, ...
    fn read(&self, source: Source, buf: &mut [u8]) -> io::Result<usize>;

    /// Reads what waits, at most [`READ_MAX`] bytes, to the front of `buffer`, which the engine keeps
    /// for all reads: it is [lengthened](lengthen) as needed, and never shortened. A driver that
    /// knows what waits can do it in one step.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn read_available(&self, source: Source, buffer: &mut Vec<u8>) -> io::Result<Read> {
        lengthen(buffer, self.read_hint(source).saturating_add(1));
        let bytes = self.read(source, buffer)?;
        Ok(Read { bytes, more: bytes == buffer.len() })
    }

    /// The loop will soon read from this source, or write to it: a driver that holds the source itself may ask for its
    /// [memory](crate::cache). Nothing else may come of that.
    fn prefetch(&self, source: Source, stage: Stage) {
        let _ = (source, stage);
    }

    /// Writes a prefix of `data`, which is not empty, to a stream, and says how long it was.
    ///
    /// One shorter than `data` says that there is no more room, as `WouldBlock` does: writability is
    /// reported when there is again.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room, `BrokenPipe`, `ConnectionReset`, `NotConnected`, ...
    fn write(&self, source: Source, data: &[u8]) -> io::Result<usize>;

    /// [`write`](Self::write) for data in several pieces.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    fn write_vectored(&self, source: Source, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = data.iter().find(|piece| !piece.is_empty());
        first.map_or(Ok(0), |piece| self.write(source, piece))
    }

    /// Sends the end of the stream after what was written. Reading goes on.
    ///
    /// # Errors
    ///
    /// `NotConnected`.
    fn shutdown_write(&self, source: Source) -> io::Result<()>;

    /// Sends up to `count` bytes of a file from `offset` on over a stream without taking them through
    /// the process, and says how many; 0 at the file's end. Nothing waits to be written before it.
    ///
    /// # Errors
    ///
    /// `Unsupported` if it cannot be done for this stream and this file, so that the file is read and
    /// written instead; else as [`write`](Self::write), and what reading gives.
    fn send_file(
        &self,
        source: Source,
        file: &dyn Storage,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        let _ = (source, file, offset, count);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this loop sends no files by the kernel"))
    }

    /// Sends one datagram, whole or not at all; to the connected peer if `to` is `None`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room, `EMSGSIZE`, `ConnectionRefused` (an earlier datagram
    /// met a closed port), ...
    fn send_to(&self, source: Source, data: &[u8], to: Option<&SocketAddr>) -> io::Result<usize>;

    /// Takes one datagram into `buf` and says how long it was and who sent it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none waits, `ConnectionRefused`, ...
    fn receive_from(&self, source: Source, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Takes one datagram whole to the front of `buffer`, as
    /// [`read_available`](Self::read_available) does with a stream.
    ///
    /// # Errors
    ///
    /// As [`receive_from`](Self::receive_from).
    fn receive_available(&self, source: Source, buffer: &mut Vec<u8>) -> io::Result<Received> {
        lengthen(buffer, self.read_hint(source).min(DATAGRAM_MAX));
        let (bytes, from) = self.receive_from(source, buffer)?;
        Ok(Received { bytes, from, more: true })
    }

    /// Closes the socket as `close` does: what was written is still sent; on a stream with unread
    /// data the peer gets a reset (contract C-34). The source is gone.
    fn close(&self, source: Source);

    /// Closes the socket with a reset, discarding what was not sent (`SO_LINGER` 0). The source
    /// is gone.
    fn reset(&self, source: Source);

    /// The address the socket is bound to.
    ///
    /// # Errors
    ///
    /// What `getsockname` gives.
    fn local_addr(&self, source: Source) -> io::Result<SocketAddr>;

    /// The address it is connected to.
    ///
    /// # Errors
    ///
    /// `NotConnected`.
    fn peer_addr(&self, source: Source) -> io::Result<SocketAddr>;

    /// The Unix sockets and pipes of the machine.
    ///
    /// # Errors
    ///
    /// `Unsupported` from a driver without them.
    fn unix(&self) -> io::Result<&dyn UnixSockets> {
        let text = "this loop has no Unix sockets and no pipes";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    // 3. Readiness.

    /// Reports readiness of `source` as `token` from now on, beginning with what is ready now.
    ///
    /// # Errors
    ///
    /// What the kernel's selector gives.
    fn register(&self, source: Source, token: Token) -> io::Result<()>;

    // 4. Waiting.

    /// Waits until `next`, readiness, or a ring of the [`alarm`](Self::alarm), and adds the
    /// readiness to `events`. [`Next::Now`] only looks. May come back early, with nothing.
    ///
    /// # Errors
    ///
    /// [`RunError`] ends the run: in a world in which nothing can ever happen again
    /// ([`RunError::Deadlock`]), at a limit, on a failure of the selector.
    fn wait(&self, next: Next, events: &mut Vec<Readiness>) -> Result<(), RunError>;

    /// What brings the engine back from outside a turn, from any thread.
    fn alarm(&self) -> Arc<dyn Alarm>;

    /// Work was queued on the engine outside its turns, on its own thread, by a call from a test or
    /// from another host's turn. A driver of several engines notes that this one is ready.
    fn schedule(&self) {}

    /// True when a thread can run only one loop of this driver at a time (contract A-02).
    fn one_run_per_thread(&self) -> bool;

    /// True for a simulation: a wake-up from a foreign thread is an error there (ruling 8), and a
    /// panic ends the run unless a policy says otherwise (ruling 2).
    fn is_simulated(&self) -> bool;

    /// Spends `cost` of processor time in the running callback: blocks on a real loop, moves the
    /// host's clock after the callback in a simulation (ruling 10).
    fn spend(&self, cost: Duration);

    /// Until when the processor is busy with what [`spend`](Self::spend) cost, if it still is. The
    /// engine stops its batch there and goes on with it then.
    fn busy_until(&self) -> Option<Time> {
        None
    }

    // 5. Names.

    /// Looks a host and a service up. It never blocks (contract G-63). The engine handles numeric
    /// addresses with a numeric port itself (E-02).
    ///
    /// # Errors
    ///
    /// [`ResolveError`](crate::ResolveError), inside the `io::Error`. An answer may be empty: that
    /// is the engine's business (E-03).
    fn resolve(&self, question: Question<'_>) -> Resolution<Vec<SocketAddr>>;

    /// Looks up the names of an address and of a port, which are given as numbers if they have none.
    /// It never blocks.
    ///
    /// # Errors
    ///
    /// [`ResolveError`](crate::ResolveError), inside the `io::Error`.
    fn name_of(&self, addr: SocketAddr) -> Resolution<NameInfo>;

    /// The local address that a connection or endpoint of this host starts from when its user
    /// names none.
    fn default_local(&self, family: Family) -> Option<IpAddr> {
        let _ = family;
        None
    }

    // 6. Signals and child processes.

    /// The signals of the process.
    ///
    /// # Errors
    ///
    /// `Unsupported` from a driver without them.
    fn signals(&self) -> io::Result<&dyn Signals> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this loop has no signals"))
    }

    /// The child processes of the machine.
    ///
    /// # Errors
    ///
    /// `Unsupported` from a driver without them.
    fn processes(&self) -> io::Result<&dyn Processes> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this loop starts no processes"))
    }

    // 7. Identity.

    /// The random stream of this host called `name`: of the run's seed in a simulation, from the
    /// operating system elsewhere.
    fn rng(&self, name: &str) -> Rng;

    /// The file called `name` of the host called `host`, made if it is not there.
    ///
    /// # Errors
    ///
    /// `Unsupported` from a driver without files; else the file system's.
    fn open_store(&self, host: &str, name: &str) -> io::Result<Rc<dyn Storage>> {
        let text = format!("store {name:?} of host {host:?}: this loop keeps no files");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Runs a job on a thread of the backend's own, now or when one is free (contract G-62). A backend without
    /// threads gives it back with the time that it takes, after which it runs on the loop; none by default.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    fn execute(&self, job: Job) -> io::Result<Option<(Job, Duration)>> {
        Ok(Some((job, Duration::ZERO)))
    }

    // 8. Cancellations.

    /// Whether a simulation cancels a task that was declared [`cancellable`](crate::Task::cancellable) where it
    /// stands now, in its wait number `ordinal`, from 0 on. `task` is its name with its number among
    /// those of that name: `worker#1`.
    fn cancels(&self, task: &str, suspension: Suspension, ordinal: u64) -> bool {
        let _ = (task, suspension, ordinal);
        false
    }

    // 9. Observation.

    /// The name of the host that this engine runs, for logs and reports.
    fn host(&self) -> &str;

    /// Itself, for what its own crate offers beyond this trait; see [`Loop::driver`](crate::Loop::driver). `None` if
    /// there is nothing of the kind.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }

    /// Hears of a property that the running code came by, before a panic that its failure is. False
    /// if it is to be as if the code were not running: its host is dead.
    fn property(&self, property: &Property) -> bool {
        let _ = property;
        true
    }

    /// Hears, after [`property`](Self::property), that one which [must hold](Property::is_broken) does not: with
    /// what the panic says that comes next, and where the code claims it. Somebody may take that panic.
    fn broken(&self, property: &Property, message: &str, place: &'static Location<'static>) {
        let _ = (property, message, place);
    }

    /// Hears every step of the engine, in order, as the [words](crate::trace::Record::words) of its record: they come in
    /// registers, and [`Record::from_words`](crate::trace::Record::from_words) makes the record of them.
    fn trace(&self, kind: u64, first: u64, second: u64) {
        let _ = (kind, first, second);
    }

    /// True if it wants [`keep_state`](Self::keep_state) to be called. Asked once, when the engine is
    /// made.
    fn keeps_states(&self) -> bool {
        false
    }

    /// Hears, after each callback of a protocol that has a
    /// [`digest`](crate::Protocol::digest), what that says.
    fn keep_state(&self, connection: u32, digest: &str) {
        let _ = (connection, digest);
    }
}
