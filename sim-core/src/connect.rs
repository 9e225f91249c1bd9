//! Making connections.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::address::{HostPort, ToHostPort};
use crate::arena::Key;
use crate::driver::{Family, Readiness, SocketKind, SocketOption, Source, Token};
use crate::engine::core::Core;
use crate::engine::sources::Registered;
use crate::error::AddressError;
use crate::handle::closed_error;
use crate::protocol::Attach;
use crate::socket::Socket;
use crate::transport::stream::Stream;
use crate::{Conn, Loop, Transport};

/// A connection to be made, with options; [`Loop::connection`] makes one.
///
/// ```
/// # use sim_core::{Cx, Loop, Protocol};
/// # struct Hello;
/// # impl Protocol for Hello { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
/// async fn from_port_4000(client: Loop) -> std::io::Result<()> {
///     let conn = client.connection().local_addr(("client", 4000)).connect(("server", 80), || Hello).await?;
///     assert_eq!(conn.transport().sockname().unwrap().port(), 4000);
///     Ok(())
/// }
/// # drop(from_port_4000);
/// ```
#[derive(Debug)]
#[must_use = "an unused connection builder connects nothing"]
pub struct Connecting {
    lp: Loop,
    local: Option<HostPort>,
    options: Vec<SocketOption>,
}

impl Connecting {
    pub(crate) fn new(lp: &Loop) -> Self {
        Self { lp: lp.clone(), local: None, options: Vec::new() }
    }

    /// The local address and port to connect from (contract E-07).
    pub fn local_addr(mut self, local: impl ToHostPort) -> Self {
        self.local = Some(local.to_host_port());
        self
    }

    /// The size of the socket's send buffer, in bytes.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.push(SocketOption::SendBuffer(bytes));
        self
    }

    /// The size of the socket's receive buffer, in bytes.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.push(SocketOption::ReceiveBuffer(bytes));
        self
    }

    /// Connects; see [`Loop::create_connection`].
    ///
    /// # Errors
    ///
    /// As [`Loop::create_connection`].
    pub async fn connect<P, K>(
        self,
        addr: impl ToHostPort,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P>>
    where
        P: Attach<K>,
    {
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        let remotes = self.lp.getaddrinfo(addr).await?;
        let locals = match self.local.clone() {
            Some(local) => Some(self.lp.getaddrinfo(local).await?),
            None => None,
        };
        let mut errors = Vec::new();
        for remote in remotes {
            match self.attempt(remote, locals.as_deref()).await {
                Ok(pending) => return pending.into_connection(&self.lp, factory).await,
                Err(error) => errors.push(error),
            }
        }
        Err(combine(errors))
    }

    /// Makes a connected or accepted socket's transport (contract E-12, E-14).
    ///
    /// A socket that is not connected is taken too: its `peername` is `None` and its first read
    /// fails.
    ///
    /// # Errors
    ///
    /// On a closed loop.
    pub async fn adopt<P, K>(
        self,
        socket: Socket,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P>>
    where
        P: Attach<K>,
    {
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        let protocol = factory();
        let stream = Stream::new(&self.lp, socket.into_source(), None);
        let conn = protocol.attach(&Transport(Rc::clone(&stream)));
        stream.start(None);
        made(&stream).await;
        Ok(conn)
    }

    /// Opens, binds and connects one socket to one address.
    async fn attempt(
        &self,
        remote: SocketAddr,
        locals: Option<&[SocketAddr]>,
    ) -> io::Result<Attempt> {
        let driver = &self.lp.core.driver;
        let family = Family::of(&remote);
        let socket = Socket::open(&self.lp, SocketKind::Stream, family)?;
        for &option in &self.options {
            driver.set_option(socket.source(), option)?;
        }
        match locals {
            Some(locals) => bind_one(&socket, locals, family)?,
            None => {
                if let Some(ip) = self.lp.default_local(family) {
                    driver.bind(socket.source(), SocketAddr::new(ip, 0))?;
                }
            }
        }
        let attempt = Attempt::start(socket, remote)?;
        poll_fn(|cx| attempt.pending.poll(cx))
            .await
            .map_err(|error| AddressError::wrap("connect to", remote, error))?;
        Ok(attempt)
    }
}

/// Waits until `connection_made` has returned. Giving up closes the connection (C-16).
async fn made(stream: &Rc<Stream>) {
    struct CloseUnlessMade<'a>(&'a Rc<Stream>, bool);
    impl Drop for CloseUnlessMade<'_> {
        fn drop(&mut self) {
            if !self.1 {
                self.0.close();
            }
        }
    }
    let mut guard = CloseUnlessMade(stream, false);
    poll_fn(|cx| if stream.poll_made(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
    guard.1 = true;
}

/// Binds to the first local address of the family that can be had (E-07).
fn bind_one(socket: &Socket, locals: &[SocketAddr], family: Family) -> io::Result<()> {
    let mut last = None;
    for &local in locals.iter().filter(|local| Family::of(local) == family) {
        match socket.bind(local) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::other(format!("no matching local address with family {family:?} found"))
    }))
}

/// One error for several attempts (E-05).
fn combine(mut errors: Vec<io::Error>) -> io::Error {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if texts.iter().all(|text| *text == texts[0]) {
        return errors.swap_remove(0);
    }
    let kind = errors[0].kind();
    let kind =
        if errors.iter().all(|error| error.kind() == kind) { kind } else { io::ErrorKind::Other };
    io::Error::new(kind, format!("multiple exceptions: {}", texts.join(", ")))
}

/// A socket that is connecting, registered; dropping it gives the attempt up.
struct Attempt {
    pending: Rc<PendingConnect>,
}

impl Attempt {
    fn start(socket: Socket, remote: SocketAddr) -> io::Result<Self> {
        let core = Rc::clone(&socket.event_loop().core);
        core.driver
            .connect(socket.source(), remote)
            .map_err(|error| AddressError::wrap("connect to", remote, error))?;
        let pending = Rc::new(PendingConnect {
            core: Rc::clone(&core),
            source: socket.into_source(),
            key: Cell::new(None),
            outcome: RefCell::new(None),
            readable: Cell::new(false),
            read_closed: Cell::new(false),
            waker: RefCell::new(None),
        });
        let key = core.sources.borrow_mut().insert(Registered::Connecting(Rc::clone(&pending)));
        pending.key.set(Some(key));
        let attempt = Self { pending };
        core.driver.register(attempt.pending.source, Token(key.to_bits()))?;
        Ok(attempt)
    }

    async fn into_connection<P, K>(
        self,
        lp: &Loop,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P>>
    where
        P: Attach<K>,
    {
        // A panic of the factory leaves the attempt to its destructor: the socket is closed (C-19).
        let protocol = factory();
        let pending = Rc::clone(&self.pending);
        let key = pending.key.take().ok_or_else(closed_error)?;
        let stream = Stream::new(lp, pending.source, None);
        let conn = protocol.attach(&Transport(Rc::clone(&stream)));
        stream.start(Some((key, pending.readable.get(), pending.read_closed.get())));
        made(&stream).await;
        Ok(conn)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Some(key) = self.pending.key.take() else {
            return;
        };
        let removed = self.pending.core.sources.borrow_mut().remove(key);
        self.pending.core.driver.close(self.pending.source);
        drop(removed);
    }
}

/// The loop's side of a pending connect.
pub(crate) struct PendingConnect {
    core: Rc<Core>,
    source: Source,
    /// `None` once the socket belongs to somebody else, or is closed.
    key: Cell<Option<Key>>,
    outcome: RefCell<Option<io::Result<()>>>,
    readable: Cell<bool>,
    read_closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl PendingConnect {
    /// Remembers what the stream will want to know, and says whether the connect may be done.
    pub(crate) fn note_readiness(&self, event: &Readiness) -> bool {
        self.readable.set(self.readable.get() | event.readable);
        self.read_closed.set(self.read_closed.get() | event.read_closed);
        event.writable
    }

    pub(crate) fn on_writable(&self) {
        let outcome = match self.core.driver.finish_connect(self.source) {
            // A spurious readiness says nothing (contract G-56).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            outcome => outcome,
        };
        self.finish(outcome);
    }

    fn finish(&self, outcome: io::Result<()>) {
        self.outcome.replace(Some(outcome));
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if let Some(outcome) = self.outcome.take() {
            return Poll::Ready(outcome);
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The loop is closed.
    pub(crate) fn release(&self) {
        if self.key.take().is_some() {
            self.core.driver.close(self.source);
            self.finish(Err(closed_error()));
        }
    }
}
