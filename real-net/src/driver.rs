//! The driver over mio: sockets, one selector, one alarm, the monotonic clock.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::event::Event;
use mio::{Events, Poll};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use sim_core::driver::{
    Alarm, Driver, Family, Next, Question, Readiness, Resolution, SocketKind, SocketOption, Source,
    TcpOptions, Token,
};
use sim_core::trace::Record;
use sim_core::{Executor, Job, NameInfo, Rng, RunError, Storage, Time};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::alarm::Bell;
use crate::executor::{ThreadPool, default_threads};
use crate::files::{self, StoreFile};
use crate::level_selector::LevelSelector;
use crate::multicast;
use crate::processes::ChildProcess;
use crate::resolver::Resolver;
use crate::sockets::{self, Descriptor, Reads, Sockets};

/// What the selector calls the alarm; sockets have the indices of their table.
const ALARM: mio::Token = mio::Token(usize::MAX);
/// What it calls the selector of watched descriptors.
const WATCHED: mio::Token = mio::Token(usize::MAX - 1);
/// How many descriptors one wait reports. More that are ready are reported by the next.
const EVENTS_MAX: usize = 1_024;
/// How much one read takes, in bytes: the budget of a connection for a turn, in one call.
const READ_BYTES: usize = 256 * 1_024;
/// The longest wait, as asyncio's (contract A-25).
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a datagram waits for a full receiver that will not tell when it has room.
const RETRY_AFTER: Duration = Duration::from_millis(1);
/// The most pieces that one call takes: the kernel's `UIO_MAXIOV`.
const PIECES_MAX: usize = 1_024;

/// The real driver: non-blocking sockets and `epoll`, through mio.
///
/// One driver serves one [`Engine`](sim_core::engine::Engine), on the thread that made it.
/// [`new_loop`](crate::new_loop) puts the two together; use the driver itself to build something
/// else on top of it.
///
/// * Every socket is made non-blocking and close-on-exec; every stream has `TCP_NODELAY`.
/// * A socket is registered once, for edges of both directions: a small echo costs one
///   `epoll_wait`, one `recv` and one `send`.
/// * Waits are whole milliseconds, rounded up, so a timer is up to one late and never early.
/// * Random streams are seeded by the operating system, anew with every call.
///
/// Linux only.
///
/// ```
/// use sim_core::driver::{Driver, Next};
///
/// let driver = real_net::MioDriver::new()?;
/// let before = driver.now();
/// driver.wait(Next::Now, &mut Vec::new()).expect("the selector works");
/// assert!(driver.now() >= before);
/// # std::io::Result::Ok(())
/// ```
pub struct MioDriver {
    epoch: Instant,
    poll: RefCell<Poll>,
    ready: RefCell<Events>,
    sockets: RefCell<Sockets>,
    bell: Arc<Bell>,
    resolver: Resolver,
    executor: OnceCell<ThreadPool>,
    steps: Cell<u64>,
    protocol_steps: Cell<u64>,
    /// When the run must be over, and how long it was given.
    deadline: Cell<Option<(Time, Duration)>>,
    shares_ports: Cell<bool>,
    store_dir: RefCell<Option<PathBuf>>,
    /// Sockets whose readiness the selector does not tell: the next wait does, soon.
    untold: RefCell<Vec<Source>>,
    /// Descriptors of the user's own; made with the first.
    level: OnceCell<Rc<LevelSelector>>,
}

impl MioDriver {
    /// A driver without sockets, for a loop on this thread.
    ///
    /// # Errors
    ///
    /// What `epoll_create` and `eventfd` give: mostly `EMFILE`.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Bell::new(poll.registry(), ALARM)?;
        Ok(Self {
            epoch: Instant::now(),
            poll: RefCell::new(poll),
            ready: RefCell::new(Events::with_capacity(EVENTS_MAX)),
            sockets: RefCell::default(),
            bell: Arc::new(bell),
            resolver: Resolver::default(),
            executor: OnceCell::new(),
            steps: Cell::new(0),
            protocol_steps: Cell::new(0),
            deadline: Cell::new(None),
            shares_ports: Cell::new(false),
            store_dir: RefCell::new(None),
            untold: RefCell::default(),
            level: OnceCell::new(),
        })
    }

    /// How many steps the engine has taken: the records that it [traced](Driver::trace).
    pub fn events(&self) -> u64 {
        self.steps.get()
    }

    /// How many of them concern a transport: a callback, a write, a close. A world is quiet when
    /// the number stands still.
    pub(crate) fn protocol_steps(&self) -> u64 {
        self.protocol_steps.get()
    }

    /// Takes in a stream that was made elsewhere, connected or not: what asyncio's `sock=` is.
    ///
    /// [`Socket::from_source`](sim_core::Socket::from_source) makes an owned socket of the loop
    /// over this driver of it, and [`Connecting::adopt`](sim_core::Connecting::adopt) a transport.
    ///
    /// # Errors
    ///
    /// What `fcntl` and `setsockopt` give: the stream is made non-blocking, with `TCP_NODELAY`.
    pub fn adopt(&self, stream: TcpStream) -> io::Result<Source> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.insert(stream.into())
    }

    /// Takes in a Unix stream that was made elsewhere, connected or not.
    ///
    /// [`Socket::from_unix_source`](sim_core::Socket::from_unix_source) makes an owned socket of the
    /// loop over this driver of it.
    ///
    /// # Errors
    ///
    /// What `fcntl` gives: the stream is made non-blocking.
    pub fn adopt_unix(&self, stream: UnixStream) -> io::Result<Source> {
        stream.set_nonblocking(true)?;
        self.insert_unix(stream.into())
    }

    /// Keeps the files of [`Loop::store`](sim_core::Loop::store) in `directory`. Without one there are
    /// no stores.
    pub fn set_store_dir(&self, directory: Option<PathBuf>) {
        self.store_dir.replace(directory);
    }

    /// Takes in a socket that is non-blocking already.
    pub(crate) fn insert(&self, socket: Socket) -> io::Result<Source> {
        self.insert_descriptor(Descriptor::Socket(socket), Reads::Bytes)
    }

    /// Takes in a Unix socket that is non-blocking already.
    pub(crate) fn insert_unix(&self, socket: Socket) -> io::Result<Source> {
        // A read ends behind a message that came with descriptors.
        self.insert_descriptor(Descriptor::Socket(socket), Reads::Messages)
    }

    pub(crate) fn insert_descriptor(
        &self,
        descriptor: Descriptor,
        reads: Reads,
    ) -> io::Result<Source> {
        self.sockets.borrow_mut().insert(descriptor, reads)
    }

    /// Reports a socket as ready a moment from now, since the selector will not.
    pub(crate) fn tell_readiness_of(&self, source: Source) {
        let mut untold = self.untold.borrow_mut();
        if !untold.contains(&source) {
            untold.push(source);
        }
    }

    /// The selector of the user's own descriptors.
    pub(crate) fn level_selector(&self) -> io::Result<&Rc<LevelSelector>> {
        if self.level.get().is_none() {
            let selector = LevelSelector::new(self.poll.borrow().registry(), WATCHED)?;
            return Ok(self.level.get_or_init(|| Rc::new(selector)));
        }
        Ok(self.level.get().expect("just seen"))
    }

    /// Makes every wait after `limit` from now fail, so that a run cannot hang.
    pub(crate) fn set_limit(&self, limit: Option<Duration>) {
        self.deadline.set(limit.map(|limit| (self.now() + limit, limit)));
    }

    /// Makes every stream that is bound share its port, for [workers](crate::workers).
    pub(crate) fn share_ports(&self) {
        self.shares_ports.set(true);
    }

    /// How long to wait for `next`: zero, a time, or no limit.
    fn timeout(&self, next: Next) -> Result<Option<Duration>, RunError> {
        let at = match next {
            Next::Now => None,
            Next::At(at) => Some(at),
            Next::Never => Some(Time::NEVER),
        };
        let Some((deadline, limit)) = self.deadline.get() else {
            return Ok(match at {
                None => Some(Duration::ZERO),
                Some(Time::NEVER) => None,
                Some(at) => Some((at - self.now()).min(WAIT_MAX)),
            });
        };
        let now = self.now();
        if now >= deadline {
            return Err(RunError::Limit { name: "limit", bound: format!("{limit:?}") });
        }
        Ok(Some(at.map_or(Duration::ZERO, |at| (at.min(deadline) - now).min(WAIT_MAX))))
    }

    pub(crate) fn with<T>(
        &self,
        source: Source,
        call: impl FnOnce(&Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        call(self.sockets.borrow().socket(source)?)
    }

    pub(crate) fn with_descriptor<T>(
        &self,
        source: Source,
        call: impl FnOnce(&Descriptor) -> io::Result<T>,
    ) -> io::Result<T> {
        call(self.sockets.borrow().get(source)?)
    }

    pub(crate) fn with_child<T>(
        &self,
        source: Source,
        call: impl FnOnce(&mut ChildProcess) -> io::Result<T>,
    ) -> io::Result<T> {
        call(self.sockets.borrow_mut().child(source)?)
    }

    fn take(&self, source: Source) -> Option<Descriptor> {
        self.sockets.borrow_mut().remove(self.poll.borrow().registry(), source)
    }
}

impl Driver for MioDriver {
    #[inline]
    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn wall_time(&self) -> Duration {
        // A clock that is set before 1970 shows 1970.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn open(&self, kind: SocketKind, family: Family) -> io::Result<Source> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let (kind, protocol) = match kind {
            SocketKind::Stream => (Type::STREAM, Protocol::TCP),
            SocketKind::Datagram => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(domain, kind.nonblocking(), Some(protocol))?;
        if protocol == Protocol::TCP {
            // A listener's connections inherit it.
            socket.set_tcp_nodelay(true)?;
        }
        if family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        self.insert(socket)
    }

    fn set_option(&self, source: Source, option: SocketOption) -> io::Result<()> {
        self.with(source, |socket| match option {
            SocketOption::ReuseAddress(on) => socket.set_reuse_address(on),
            SocketOption::ReusePort(on) => socket.set_reuse_port(on),
            SocketOption::Broadcast(on) => socket.set_broadcast(on),
            SocketOption::SendBuffer(bytes) => socket.set_send_buffer_size(bytes),
            SocketOption::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(bytes),
            SocketOption::NoDelay(on) => socket.set_tcp_nodelay(on),
            SocketOption::Keepalive(keepalive) => sockets::set_keepalive(socket, keepalive),
            SocketOption::UserTimeout(timeout) => socket.set_tcp_user_timeout(timeout),
            SocketOption::JoinMulticast(membership) => multicast::join(socket, membership),
            SocketOption::LeaveMulticast(membership) => multicast::leave(socket, membership),
            SocketOption::MulticastLoop(on) => multicast::set_loop(socket, on),
            SocketOption::MulticastHops(hops) => multicast::set_hops(socket, hops),
            SocketOption::MulticastInterface(address) => multicast::set_interface(socket, address),
            other => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{other:?} is not known to this driver"),
            )),
        })
    }

    fn tcp_options(&self, source: Source) -> io::Result<TcpOptions> {
        self.with(source, sockets::tcp_options)
    }

    fn bind(&self, source: Source, local: SocketAddr) -> io::Result<()> {
        self.with(source, |socket| {
            if self.shares_ports.get() && socket.r#type()? == Type::STREAM {
                socket.set_reuse_port(true)?;
            }
            socket.bind(&SockAddr::from(local))
        })
    }

    fn listen(&self, source: Source, backlog: u32) -> io::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        self.with(source, |socket| socket.listen(backlog))
    }

    fn accept(&self, listener: Source) -> io::Result<(Source, SocketAddr)> {
        let (descriptor, peer) = self.with(listener, |socket| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            Ok(rustix::net::acceptfrom_with(socket, flags)?)
        })?;
        let peer = internet_address(peer)?;
        Ok((self.insert(Socket::from(descriptor))?, peer))
    }

    fn connect(&self, source: Source, remote: SocketAddr) -> io::Result<()> {
        self.with(source, |socket| {
            let is_stream = socket.r#type()? == Type::STREAM;
            if is_stream {
                // Why an earlier connect failed that nobody waited for is no answer to this one (contract G-56).
                let _earlier = socket.take_error()?;
            }
            let connect = || rustix::net::connect(socket, &remote);
            // After one that has failed, the kernel says so again before it begins another.
            let connected = match connect() {
                Err(Errno::CONNABORTED) => connect(),
                connected => connected,
            };
            match connected {
                // A new connect of a stream is in progress first. Of one that has come to its end Linux says so once,
                // and then that there is a connection already: no readiness comes of either (contract G-56).
                Ok(()) if is_stream => Err(Errno::ISCONN.into()),
                // An interrupted connect goes on by itself, as one in progress does.
                Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn finish_connect(&self, source: Source) -> io::Result<()> {
        self.with(source, sockets::connect_outcome)
    }

    fn read_hint(&self, _source: Source) -> usize {
        READ_BYTES
    }

    #[inline]
    fn read(&self, source: Source, buf: &mut [u8]) -> io::Result<usize> {
        match self.sockets.borrow().get(source)? {
            Descriptor::Socket(socket) => {
                let (length, _) = rustix::net::recv(socket, buf, RecvFlags::empty())?;
                Ok(length)
            }
            Descriptor::Pipe { end, is_shared } => {
                // Somebody else may have made it blocking: a shell does that to its terminal.
                if *is_shared && !is_readable(end)? {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(rustix::io::read(end, buf)?)
            }
            _ => Err(Errno::INVAL.into()),
        }
    }

    #[inline]
    fn write(&self, source: Source, data: &[u8]) -> io::Result<usize> {
        match self.sockets.borrow().get(source)? {
            Descriptor::Socket(socket) => Ok(rustix::net::send(socket, data, SendFlags::NOSIGNAL)?),
            Descriptor::Pipe { end, .. } => Ok(rustix::io::write(end, data)?),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn write_vectored(&self, source: Source, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let pieces = &data[..data.len().min(PIECES_MAX)];
        let flags = SendFlags::NOSIGNAL.bits() as i32;
        match self.sockets.borrow().get(source)? {
            Descriptor::Socket(socket) => socket.send_vectored_with_flags(pieces, flags),
            Descriptor::Pipe { end, .. } => Ok(rustix::io::writev(end, pieces)?),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn send_file(
        &self,
        source: Source,
        file: &dyn Storage,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        match self.sockets.borrow().get(source)? {
            Descriptor::Socket(socket) => files::send(socket, file, offset, count),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn shutdown_write(&self, source: Source) -> io::Result<()> {
        self.with(source, |socket| socket.shutdown(Shutdown::Write))
    }

    fn send_to(&self, source: Source, data: &[u8], to: Option<&SocketAddr>) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL;
        self.with(source, |socket| match to {
            Some(to) => Ok(rustix::net::sendto(socket, data, flags, to)?),
            None => Ok(rustix::net::send(socket, data, flags)?),
        })
    }

    fn receive_from(&self, source: Source, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.with(source, |socket| {
            let (length, _, sender) = rustix::net::recvfrom(socket, buf, RecvFlags::empty())?;
            Ok((length, internet_address(sender)?))
        })
    }

    fn close(&self, source: Source) {
        drop(self.take(source));
    }

    fn reset(&self, source: Source) {
        if let Some(Descriptor::Socket(socket)) = self.take(source) {
            sockets::reset_on_close(&socket);
        }
    }

    fn local_addr(&self, source: Source) -> io::Result<SocketAddr> {
        self.with(source, |socket| internet_address(Some(rustix::net::getsockname(socket)?)))
    }

    fn peer_addr(&self, source: Source) -> io::Result<SocketAddr> {
        self.with(source, |socket| internet_address(rustix::net::getpeername(socket)?))
    }

    fn unix(&self) -> io::Result<&dyn sim_core::driver::UnixSockets> {
        Ok(self)
    }

    fn signals(&self) -> io::Result<&dyn sim_core::driver::Signals> {
        Ok(self)
    }

    fn processes(&self) -> io::Result<&dyn sim_core::driver::Processes> {
        Ok(self)
    }

    fn register(&self, source: Source, token: Token) -> io::Result<()> {
        let mut sockets = self.sockets.borrow_mut();
        if !sockets.register(self.poll.borrow().registry(), source, token)? {
            self.tell_readiness_of(source);
        }
        Ok(())
    }

    fn wait(&self, next: Next, events: &mut Vec<Readiness>) -> Result<(), RunError> {
        let mut timeout = self.timeout(next)?;
        if !self.untold.borrow().is_empty() {
            timeout = Some(timeout.map_or(RETRY_AFTER, |timeout| timeout.min(RETRY_AFTER)));
        }
        let level = self.level.get().filter(|level| level.is_used());
        // What is ready now would not end a sleep: it has been ready before.
        let mut is_told = false;
        if let Some(level) = level
            && timeout != Some(Duration::ZERO)
            && level.collect(events)?
        {
            (timeout, is_told) = (Some(Duration::ZERO), true);
        }
        let mut ready = self.ready.borrow_mut();
        match self.poll.borrow_mut().poll(&mut ready, timeout) {
            Ok(()) => {}
            // A signal's handler ran: coming back early, with nothing, is allowed.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if let Some(level) = level
            && !is_told
        {
            level.collect(events)?;
        }
        let sockets = self.sockets.borrow();
        for event in &*ready {
            if event.token() == ALARM {
                self.bell.heard();
            } else if let Some((token, reads)) = sockets.token(event.token().0) {
                let readiness = readiness(token, event);
                let read_closed = match reads {
                    // A read ends at urgent data, whatever is behind them.
                    Reads::Bytes => readiness.read_closed || event.is_priority(),
                    // A short read is not the last word.
                    Reads::Messages => readiness.readable,
                    Reads::Loss => event.is_write_closed() || event.is_error(),
                    Reads::Nothing => false,
                };
                events.push(Readiness { read_closed, ..readiness });
            }
        }
        for source in self.untold.borrow_mut().drain(..) {
            if let Some(token) = sockets.token_of(source) {
                let (readable, writable) = (true, true);
                events.push(Readiness { token, readable, writable, read_closed: false });
            }
        }
        Ok(())
    }

    fn alarm(&self) -> Arc<dyn Alarm> {
        Arc::clone(&self.bell) as Arc<dyn Alarm>
    }

    fn one_run_per_thread(&self) -> bool {
        true
    }

    fn is_simulated(&self) -> bool {
        false
    }

    /// Sleeps: a stand-in for work that keeps the thread, and with it the loop, busy.
    fn spend(&self, cost: Duration) {
        std::thread::sleep(cost);
    }

    fn resolve(&self, question: Question<'_>) -> Resolution<Vec<SocketAddr>> {
        self.resolver.resolve(question)
    }

    fn name_of(&self, addr: SocketAddr) -> Resolution<NameInfo> {
        self.resolver.name_of(addr)
    }

    fn execute(&self, job: Job) -> io::Result<Option<(Job, Duration)>> {
        let executor = self.executor.get_or_init(|| ThreadPool::new(default_threads()));
        executor.execute(job).map(|()| None)
    }

    /// A stream seeded by the operating system, anew with every call.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers, which a supported kernel always has.
    fn rng(&self, _name: &str) -> Rng {
        random_stream()
    }

    fn open_store(&self, host: &str, name: &str) -> io::Result<Rc<dyn Storage>> {
        let Some(directory) = &*self.store_dir.borrow() else {
            let text = format!("store {name:?}: name a directory with Runner::store_dir");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        Ok(Rc::new(StoreFile::open(directory, host, name)?))
    }

    fn host(&self) -> &str {
        "localhost"
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    #[inline]
    fn trace(&self, kind: u64, first: u64, second: u64) {
        self.steps.set(self.steps.get() + 1);
        let Some(record) = Record::from_words([kind, first, second]) else { return };
        if let Record::Callback { .. } | Record::Write { .. } | Record::Control { .. } = record {
            self.protocol_steps.set(self.protocol_steps.get() + 1);
        }
        tracing::trace!(target: "real_net", "{record}");
    }
}

impl fmt::Debug for MioDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MioDriver")
            .field("now", &self.now())
            .field("sockets", &self.sockets.borrow().len())
            .field("events", &self.events())
            .finish_non_exhaustive()
    }
}

/// A random stream that nothing reproduces.
///
/// # Panics
///
/// If the operating system has no random numbers.
pub(crate) fn random_stream() -> Rng {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system gives random numbers");
    Rng::from_seed(seed)
}

/// True if a read would not block.
fn is_readable(descriptor: &impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(rustix::event::poll(&mut polled, Some(&at_once))? > 0)
}

/// What mio says, in the engine's terms: an error and an end are reasons to try both directions.
fn readiness(token: Token, event: &Event) -> Readiness {
    let failed = event.is_error();
    let read_closed = event.is_read_closed() || failed;
    Readiness {
        token,
        readable: event.is_readable() || read_closed,
        writable: event.is_writable() || event.is_write_closed() || failed,
        read_closed,
    }
}

/// The address of an internet socket. A socket without one, which a kernel reports for a peer that
/// is gone already, is not connected.
fn internet_address<A>(address: A) -> io::Result<SocketAddr>
where
    A: Into<Option<rustix::net::SocketAddrAny>>,
{
    let address = address.into().ok_or(Errno::NOTCONN)?;
    Ok(SocketAddr::try_from(address)?)
}

#[cfg(test)]
mod tests;
