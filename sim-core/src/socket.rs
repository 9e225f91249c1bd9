//! A driver's socket as a value.

mod bytes;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::arena::Key;
use crate::driver::{Family, Readiness, SocketKind, SocketOption, Source, TcpOptions, Token};
use crate::engine::core::Core;
use crate::engine::sources::Registered;
use crate::error::AddressError;
use crate::handle::closed_error;
use crate::transport::Medium;
use crate::wakers::Wakers;
use crate::{Loop, ToUnixAddr, UnixAddr};

/// A socket of a loop's driver, owned: closed when dropped, unless a transport took it.
///
/// What asyncio passes as `sock=`, on both loops. [`connect`](Self::connect) or
/// [`accept`](Self::accept) one by hand, and [`Connecting::adopt`](crate::Connecting::adopt) makes
/// a transport of it.
///
/// ```
/// # use sim_core::driver::{Family, SocketKind};
/// # use sim_core::{Cx, Loop, Protocol, Socket};
/// # struct Hello;
/// # impl Protocol for Hello { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
/// async fn one_connection(lp: Loop) -> std::io::Result<()> {
///     let mut listener = Socket::open(&lp, SocketKind::Stream, Family::V4)?;
///     listener.bind(lp.getaddrinfo(("server", 7000)).await?[0])?;
///     listener.listen(1)?;
///     let (accepted, peer) = listener.accept().await?;
///     drop(listener); // whoever else waits is reset
///     let conn = lp.connection().adopt(accepted, || Hello).await?;
///     assert_eq!(conn.transport().peername(), Some(peer));
///     Ok(())
/// }
/// # drop(one_connection);
/// ```
///
/// # Cancel safety
///
/// A cancelled [`accept`](Self::accept) loses no connection. After a cancelled
/// [`connect`](Self::connect) the socket is still connecting; drop it.
pub struct Socket {
    lp: Loop,
    kind: SocketKind,
    medium: Medium,
    source: Option<Source>,
    /// Once something was awaited of it.
    watch: OnceCell<Rc<Watch>>,
    /// Where a connect goes whose outcome nobody has seen.
    connecting: Option<SocketAddr>,
}

/// `EALREADY` and `EISCONN`.
const UNDER_WAY: i32 = 114;
const IS_CONNECTED: i32 = 106;

/// A registered socket's key, and whether it was seen readable and at its end.
pub(crate) type Registration = (Key, bool, bool);

impl Socket {
    /// A new socket: not bound, not connected.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left, or the loop is closed.
    pub fn open(lp: &Loop, kind: SocketKind, family: Family) -> io::Result<Self> {
        if lp.core.is_closed() {
            return Err(closed_error());
        }
        let source = lp.core.driver.open(kind, family)?;
        Ok(Self::new(lp, kind, Medium::Internet, source))
    }

    /// A new Unix socket: not bound, not connected.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `Unsupported` on a loop without Unix sockets.
    pub fn open_unix(lp: &Loop, kind: SocketKind) -> io::Result<Self> {
        if lp.core.is_closed() {
            return Err(closed_error());
        }
        let source = lp.core.driver.unix()?.open(kind)?;
        Ok(Self::new(lp, kind, Medium::Unix, source))
    }

    /// Two Unix stream sockets that are connected to each other, both unnamed: `socketpair`.
    ///
    /// # Errors
    ///
    /// As [`open_unix`](Self::open_unix).
    pub fn pair(lp: &Loop) -> io::Result<(Self, Self)> {
        if lp.core.is_closed() {
            return Err(closed_error());
        }
        let (one, other) = lp.core.driver.unix()?.pair()?;
        let end = |source| Self::new(lp, SocketKind::Stream, Medium::Unix, source);
        Ok((end(one), end(other)))
    }

    fn new(lp: &Loop, kind: SocketKind, medium: Medium, source: Source) -> Self {
        let (lp, source, watch) = (lp.clone(), Some(source), OnceCell::new());
        Self { lp, kind, medium, source, watch, connecting: None }
    }

    /// Takes over a TCP stream of the loop's driver: for drivers that adopt sockets made elsewhere.
    pub fn from_source(lp: &Loop, source: Source) -> Self {
        Self::new(lp, SocketKind::Stream, Medium::Internet, source)
    }

    /// Takes over a Unix stream of the loop's driver.
    pub fn from_unix_source(lp: &Loop, source: Source) -> Self {
        Self::new(lp, SocketKind::Stream, Medium::Unix, source)
    }

    /// Sets a switch. What is set on a listener its connections have from the start.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a value that is out of bounds; what `setsockopt` gives: `ENOPROTOOPT` for an
    /// option of TCP on a datagram socket.
    pub fn set_option(&self, option: SocketOption) -> io::Result<()> {
        self.lp.core.driver.set_option(self.source(), option.check()?)
    }

    /// What is set of a stream's TCP.
    ///
    /// # Errors
    ///
    /// What `getsockopt` gives.
    pub fn tcp_options(&self) -> io::Result<TcpOptions> {
        self.lp.core.driver.tcp_options(self.source())
    }

    /// Gives it a local address.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, with the address in the text; `InvalidInput` for a Unix
    /// socket.
    pub fn bind(&self, local: SocketAddr) -> io::Result<()> {
        self.expect(Medium::Internet, "bind_unix")?;
        let bound = self.lp.core.driver.bind(self.source(), local);
        bound.map_err(|error| AddressError::wrap("bind to", local, error))
    }

    /// Gives a Unix socket a path, where it makes a file, or an abstract name.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is a file already, even of a socket that is gone; with the address in the
    /// text. `InvalidInput` for an internet socket, and for what is no address.
    pub fn bind_unix(&self, local: impl ToUnixAddr) -> io::Result<()> {
        self.expect(Medium::Unix, "bind")?;
        let local = named(local)?;
        let bound = self.lp.core.driver.unix()?.bind(self.source(), &local);
        bound.map_err(|error| AddressError::wrap("bind to", local, error))
    }

    /// Makes it accept connections, up to `backlog` of them waiting.
    ///
    /// # Errors
    ///
    /// What `listen` gives.
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        self.lp.core.driver.listen(self.source(), backlog)
    }

    /// Takes a connection, with its peer's address: asyncio's `sock_accept`. One that was aborted
    /// while it waited is passed over.
    ///
    /// # Errors
    ///
    /// When it does not listen, there is no descriptor left, or the loop is closed.
    pub async fn accept(&mut self) -> io::Result<(Self, SocketAddr)> {
        self.expect(Medium::Internet, "accept_unix")?;
        let driver = Rc::clone(&self.lp.core.driver);
        let (accepted, peer) = self.accept_by(|listener| driver.accept(listener)).await?;
        Ok((Self::from_source(&self.lp, accepted), peer))
    }

    /// [`accept`](Self::accept) of a Unix socket. The peer is unnamed if it was never bound.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn accept_unix(&mut self) -> io::Result<(Self, UnixAddr)> {
        self.expect(Medium::Unix, "accept")?;
        let driver = Rc::clone(&self.lp.core.driver);
        let (accepted, peer) = self.accept_by(|listener| driver.unix()?.accept(listener)).await?;
        Ok((Self::from_unix_source(&self.lp, accepted), peer))
    }

    async fn accept_by<A>(
        &mut self,
        accept: impl Fn(Source) -> io::Result<(Source, A)>,
    ) -> io::Result<(Source, A)> {
        let source = self.source();
        let watch = self.watch()?;
        loop {
            match accept(source) {
                Ok(accepted) => return Ok(accepted),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => watch.readiness().await?,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// For calls that only one kind of socket has.
    fn expect(&self, medium: Medium, instead: &str) -> io::Result<()> {
        if self.medium == medium {
            return Ok(());
        }
        let kind = if medium == Medium::Unix { "an internet" } else { "a Unix" };
        let text = format!("this is {kind} socket: call {instead}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Connects it: asyncio's `sock_connect`. One that was dropped goes on, and another to the same address waits for it.
    /// A datagram socket may be connected again, to another address.
    ///
    /// # Errors
    ///
    /// Why the connect failed, with the address in the text (contract E-06); `EISCONN`, at once, for a stream that is
    /// connected (G-56). `InvalidInput` for a Unix socket.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps twice what it is given")]
    pub fn connect(&mut self, remote: SocketAddr) -> impl Future<Output = io::Result<()>> {
        async move {
            self.expect(Medium::Internet, "connect_unix")?;
            let named = |error| AddressError::wrap("connect to", remote, error);
            let (lp, source) = (self.lp.clone(), self.source());
            let driver = &lp.core.driver;
            let is_under_way = self.connecting == Some(remote);
            if !is_under_way {
                if let Err(error) = driver.connect(source, remote) {
                    // An earlier one that is under way, or has come to a connection, is still there to be waited for.
                    if !matches!(error.raw_os_error(), Some(UNDER_WAY | IS_CONNECTED)) {
                        self.connecting = None;
                    }
                    return Err(named(error));
                }
                if self.kind == SocketKind::Datagram {
                    return Ok(());
                }
                self.connecting = Some(remote);
            }
            let watch = self.watch()?;
            // Whoever waited before may have taken the only readiness that there is.
            if !is_under_way {
                watch.readiness().await?;
            }
            loop {
                match driver.finish_connect(source) {
                    // A spurious readiness says nothing (contract G-56).
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => {
                        self.connecting = None;
                        return outcome.map_err(named);
                    }
                }
                watch.readiness().await?;
            }
        }
    }

    /// Connects a Unix socket, at once or not at all.
    ///
    /// A listener whose backlog is full makes it fail: asyncio takes that for a connect in progress,
    /// and reports success (G-56).
    ///
    /// # Errors
    ///
    /// With the address in the text: `NotFound`, `ConnectionRefused`, or `WouldBlock` if the backlog
    /// is full (E-42). `InvalidInput` for an internet socket, and for what is no address.
    pub fn connect_unix(&self, remote: impl ToUnixAddr) -> io::Result<()> {
        self.expect(Medium::Unix, "connect")?;
        let remote = named(remote)?;
        let connected = self.lp.core.driver.unix()?.connect(self.source(), &remote);
        connected.map_err(|error| AddressError::wrap("connect to", remote, error))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// What `getsockname` gives; `InvalidInput` for a Unix socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.expect(Medium::Internet, "unix_local_addr")?;
        self.lp.core.driver.local_addr(self.source())
    }

    /// The address it is connected to.
    ///
    /// # Errors
    ///
    /// `NotConnected`; `InvalidInput` for a Unix socket.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.expect(Medium::Internet, "unix_peer_addr")?;
        self.lp.core.driver.peer_addr(self.source())
    }

    /// The address that a Unix socket is bound to, if any.
    ///
    /// # Errors
    ///
    /// What `getsockname` gives; `InvalidInput` for an internet socket.
    pub fn unix_local_addr(&self) -> io::Result<UnixAddr> {
        self.expect(Medium::Unix, "local_addr")?;
        self.lp.core.driver.unix()?.local_addr(self.source())
    }

    /// The address that a Unix socket is connected to; unnamed if the peer was never bound.
    ///
    /// # Errors
    ///
    /// `NotConnected`; `InvalidInput` for an internet socket.
    pub fn unix_peer_addr(&self) -> io::Result<UnixAddr> {
        self.expect(Medium::Unix, "peer_addr")?;
        self.lp.core.driver.unix()?.peer_addr(self.source())
    }

    /// The loop whose driver it is of.
    pub fn event_loop(&self) -> &Loop {
        &self.lp
    }

    pub(crate) fn kind(&self) -> SocketKind {
        self.kind
    }

    pub(crate) fn medium(&self) -> Medium {
        self.medium
    }

    pub(crate) fn source(&self) -> Source {
        self.source.expect("only into_source takes it, and consumes the socket")
    }

    /// Its source, if it was never registered.
    pub(crate) fn into_source(mut self) -> Source {
        debug_assert!(self.watch.get().is_none(), "its readiness is watched: use into_parts");
        self.source.take().expect("only into_source takes it, and consumes the socket")
    }

    /// Its source, and its registration if it has one.
    pub(crate) fn into_parts(mut self) -> io::Result<(Source, Option<Registration>)> {
        let registered = match self.watch.get() {
            None => None,
            Some(watch) => {
                let key = watch.key.take().ok_or_else(closed_error)?;
                Some((key, watch.readable.get(), watch.read_closed.get()))
            }
        };
        Ok((self.source.take().expect("only into_parts takes it"), registered))
    }

    /// Registers it, once.
    fn watch(&self) -> io::Result<Rc<Watch>> {
        if let Some(watch) = self.watch.get() {
            return Ok(Rc::clone(watch));
        }
        let core = Rc::clone(&self.lp.core);
        if core.is_closed() {
            return Err(closed_error());
        }
        let watch = Rc::new(Watch {
            core: Rc::clone(&core),
            source: self.source(),
            key: Cell::new(None),
            readable: Cell::new(false),
            read_closed: Cell::new(false),
            changes: Cell::new(0),
            wakers: Wakers::default(),
        });
        let key = core.sources.borrow_mut().insert(Registered::Waiting(Rc::clone(&watch)));
        watch.key.set(Some(key));
        if let Err(error) = core.driver.register(watch.source, Token(key.to_bits())) {
            let removed = core.sources.borrow_mut().remove(key);
            drop(removed);
            return Err(error);
        }
        Ok(Rc::clone(self.watch.get_or_init(|| watch)))
    }
}

/// An address that names a socket.
fn named(addr: impl ToUnixAddr) -> io::Result<UnixAddr> {
    let addr = addr.to_unix_addr()?;
    if addr.is_unnamed() {
        let text = "an unnamed address is nobody's: name a path";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(addr)
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(source) = self.source.take() else {
            return;
        };
        match self.watch.take() {
            Some(watch) => watch.release(),
            None => self.lp.core.driver.close(source),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The loop's side of a registered socket that no transport has: whom its readiness wakes.
pub(crate) struct Watch {
    core: Rc<Core>,
    source: Source,
    /// `None` once the socket belongs to a transport, or is closed.
    key: Cell<Option<Key>>,
    // What the transport will want to know.
    readable: Cell<bool>,
    read_closed: Cell<bool>,
    /// How often it became ready while somebody waited.
    changes: Cell<u64>,
    /// Who waits: one to read and one to write, say.
    wakers: Wakers,
}

impl Watch {
    /// True if somebody waits for it, so that a handle is to be queued.
    pub(crate) fn note_readiness(&self, event: &Readiness) -> bool {
        self.readable.set(self.readable.get() | event.readable);
        self.read_closed.set(self.read_closed.get() | event.read_closed);
        !self.wakers.is_empty()
    }

    pub(crate) fn on_ready(&self) {
        self.changes.set(self.changes.get() + 1);
        self.wakers.wake_all();
    }

    /// Completes at the next readiness, of whatever kind.
    async fn readiness(&self) -> io::Result<()> {
        let known = self.changes.get();
        let answer = || match self.key.get() {
            None => Some(Err(closed_error())),
            Some(_) => (self.changes.get() != known).then_some(Ok(())),
        };
        self.wakers.until(answer).await
    }

    /// Closes the socket, unless that was done: it is dropped, or the loop is closed.
    pub(crate) fn release(&self) {
        let Some(key) = self.key.take() else {
            return;
        };
        let removed = self.core.sources.borrow_mut().remove(key);
        self.core.driver.close(self.source);
        self.wakers.wake_all();
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::EventLoop;
    use crate::driver::Driver;
    use crate::engine::{Engine, EngineMemory};
    use crate::testing::ScriptDriver;

    /// J-40: readiness that nothing is behind does not complete a connect; its answer does, and a
    /// refusal names the address.
    #[test]
    fn a_spurious_readiness_completes_no_connect() {
        for answer in [Ok(()), Err(111)] {
            let driver = Rc::new(ScriptDriver::new());
            let lp = EventLoop::new(Engine::new(
                Rc::clone(&driver) as Rc<dyn Driver>,
                EngineMemory::default(),
            ));
            let mut socket = Socket::open(&lp, SocketKind::Stream, Family::V4).unwrap();
            let source = socket.source();
            let remote = ([192, 0, 2, 2], 2).into();
            let task = lp.create_task(async move { socket.connect(remote).await });
            for _ in 0..3 {
                driver.notify_in_vain(source);
                let handle = (*lp).clone();
                let pass = async move { handle.sleep(Duration::from_millis(1)).await };
                lp.run_until_complete(pass).unwrap();
                assert!(!task.done());
            }
            driver.feed_connection(source, answer);
            match (lp.run_until_complete(task).unwrap().unwrap(), answer) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(code)) => {
                    assert_eq!(error.kind(), io::Error::from_raw_os_error(code).kind());
                    assert!(error.to_string().contains("192.0.2.2:2"), "{error}");
                }
                (outcome, _) => panic!("{outcome:?}"),
            }
        }
    }
}
