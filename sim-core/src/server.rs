//! Servers: listeners, the connections they accepted, and their end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::address::{HostPort, ToHostPort};
use crate::arena::Key;
use crate::driver::{Family, SocketKind, SocketOption, Source, Token};
use crate::engine::callbacks::Action;
use crate::engine::core::{Life, Ready};
use crate::engine::report::ErrorContext;
use crate::engine::sources::Registered;
use crate::error::Cancelled;
use crate::handle::closed_error;
use crate::protocol::Attach;
use crate::socket::Socket;
use crate::timer::Timer;
use crate::transport::stream::Stream;
use crate::{Loop, SharedError, Transport};

/// Makes the protocol of an accepted connection.
type Accept = dyn Fn(&Rc<Stream>);

/// How long a listener that found no descriptor waits before it tries again (contract E-29).
const RETRY_ACCEPT_AFTER: Duration = Duration::from_secs(1);

/// A server to be made, with options; [`Loop::server`] makes one.
///
/// ```
/// # use sim_core::{Cx, Loop, Protocol};
/// # struct Echo;
/// # impl Protocol for Echo { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
/// async fn two_addresses(lp: Loop) -> std::io::Result<()> {
///     let server = lp.server().backlog(5).bind_all([("server", 7000), ("server", 7001)], || Echo).await?;
///     assert_eq!(server.sockets().len(), 2);
///     Ok(())
/// }
/// # drop(two_addresses);
/// ```
#[derive(Debug)]
#[must_use = "an unused server builder serves nothing"]
pub struct ServerBuilder {
    lp: Loop,
    backlog: u32,
    start_serving: bool,
    options: Vec<SocketOption>,
}

impl ServerBuilder {
    pub(crate) fn new(lp: &Loop) -> Self {
        Self {
            lp: lp.clone(),
            backlog: 100,
            start_serving: true,
            options: vec![SocketOption::ReuseAddress(true)],
        }
    }

    /// How many connections may wait to be accepted, and how many one readiness accepts; 100 by
    /// default (contract E-28, E-35).
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Whether to listen at once, or at [`Server::start_serving`] (E-19). True by default.
    pub fn start_serving(mut self, start: bool) -> Self {
        self.start_serving = start;
        self
    }

    /// Whether binding ignores connections in TIME_WAIT (E-18). True by default.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.options[0] = SocketOption::ReuseAddress(reuse);
        self
    }

    /// Whether other sockets may listen at the same address, and share its connections.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.push(SocketOption::ReusePort(reuse));
        self
    }

    /// The size of each connection's send buffer, in bytes.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.push(SocketOption::SendBuffer(bytes));
        self
    }

    /// The size of each connection's receive buffer, in bytes.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.push(SocketOption::ReceiveBuffer(bytes));
        self
    }

    /// Listens at `addr`; see [`Loop::create_server`]. An empty host is every local address, of
    /// both families (E-16).
    ///
    /// # Errors
    ///
    /// As [`Loop::create_server`].
    pub async fn bind<P, K>(
        self,
        addr: impl ToHostPort,
        factory: impl FnMut() -> P + 'static,
    ) -> io::Result<Server>
    where
        P: Attach<K>,
    {
        self.bind_all([addr], factory).await
    }

    /// Listens at several addresses. One named twice is bound once (E-16).
    ///
    /// # Errors
    ///
    /// As [`Loop::create_server`]; every socket opened so far is closed (E-17).
    pub async fn bind_all<P, K, A>(
        self,
        addrs: impl IntoIterator<Item = A>,
        factory: impl FnMut() -> P + 'static,
    ) -> io::Result<Server>
    where
        P: Attach<K>,
        A: ToHostPort,
    {
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        let mut locals: Vec<SocketAddr> = Vec::new();
        for addr in addrs {
            for local in self.addresses(addr.to_host_port()).await? {
                if !locals.contains(&local) {
                    locals.push(local);
                }
            }
        }
        if locals.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen at"));
        }
        let sockets = self.bind_sockets(&locals)?;
        let factory = RefCell::new(factory);
        let accept = Rc::new(move |stream: &Rc<Stream>| {
            let protocol = (factory.borrow_mut())();
            protocol.attach(&Transport(Rc::clone(stream)));
        });
        let server = self.into_server(sockets, accept);
        Ok(server)
    }

    async fn addresses(&self, addr: HostPort) -> io::Result<Vec<SocketAddr>> {
        if addr.host.is_empty() {
            let wildcard = |family: Family| SocketAddr::new(family.unspecified().ip(), addr.port);
            return Ok(vec![wildcard(Family::V4), wildcard(Family::V6)]);
        }
        self.lp.getaddrinfo(addr).await
    }

    fn bind_sockets(&self, locals: &[SocketAddr]) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::with_capacity(locals.len());
        for &local in locals {
            let socket = Socket::open(&self.lp, SocketKind::Stream, Family::of(&local))?;
            for &option in &self.options {
                socket.set_option(option)?;
            }
            socket.bind(local)?;
            sockets.push(socket);
        }
        Ok(sockets)
    }

    fn into_server(self, sockets: Vec<Socket>, accept: Rc<Accept>) -> Server {
        let state = Rc::new(ServerState {
            lp: self.lp.clone(),
            backlog: self.backlog,
            listeners: RefCell::default(),
            serving: Cell::new(false),
            closed: Cell::new(false),
            forever: Cell::new(false),
            connections: Cell::new(0),
            streams: RefCell::default(),
            wakers: RefCell::default(),
        });
        let listeners = sockets.into_iter().map(|socket| Listener::new(&state, socket, &accept));
        let listeners: Vec<_> = listeners.collect();
        state.listeners.replace(listeners);
        let server = Server(state);
        if self.start_serving {
            server.listen();
        }
        server
    }
}

/// A server: its listeners, and the count of its connections.
///
/// Clones are handles of the same server. Dropping them all leaves it serving (contract E-33).
#[derive(Clone)]
pub struct Server(Rc<ServerState>);

pub(crate) struct ServerState {
    lp: Loop,
    backlog: u32,
    listeners: RefCell<Vec<Rc<Listener>>>,
    serving: Cell<bool>,
    closed: Cell<bool>,
    forever: Cell<bool>,
    connections: Cell<usize>,
    streams: RefCell<BTreeMap<u32, Weak<Stream>>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Server {
    /// The addresses it listens at; none after [`close`](Self::close).
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.0.listeners.borrow().iter().map(|listener| listener.local).collect()
    }

    /// True while it listens.
    pub fn is_serving(&self) -> bool {
        self.0.serving.get()
    }

    /// Starts to listen, if it was made not to. Again does nothing.
    ///
    /// # Errors
    ///
    /// After [`close`](Self::close) (E-27).
    pub fn start_serving(&self) -> io::Result<()> {
        if self.0.closed.get() {
            return Err(io::Error::other("server is closed"));
        }
        self.listen();
        Ok(())
    }

    fn listen(&self) {
        if self.0.serving.replace(true) {
            return;
        }
        let listeners = self.0.listeners.borrow().clone();
        for listener in listeners {
            if let Err(error) = listener.listen() {
                let error = SharedError::new(error);
                self.0.lp.core.report(ErrorContext::error("listen() failed", error));
            }
        }
    }

    /// Stops listening, at once. Connections stay as they are; those that were not accepted yet
    /// are reset (E-20, E-24, E-25). Idempotent.
    pub fn close(&self) {
        if self.0.closed.replace(true) {
            return;
        }
        self.0.serving.set(false);
        let listeners = self.0.listeners.take();
        for listener in &listeners {
            listener.close();
        }
        self.0.wake();
    }

    /// Completes when the server is closed and every connection of it is lost (E-21, E-22).
    pub async fn wait_closed(&self) {
        poll_fn(|cx| self.0.poll_finished(cx)).await;
    }

    /// Serves until it is closed or the caller is cancelled, which closes it (E-26).
    ///
    /// # Errors
    ///
    /// [`Cancelled`] inside the error when it was closed; one at once if another call is under way
    /// or the server is closed already.
    pub async fn serve_forever(&self) -> io::Result<()> {
        struct Serving<'a>(&'a Server);
        impl Drop for Serving<'_> {
            fn drop(&mut self) {
                self.0.0.forever.set(false);
                self.0.close();
            }
        }
        if self.0.closed.get() {
            return Err(io::Error::other("server is closed"));
        }
        if self.0.forever.replace(true) {
            return Err(io::Error::other("server is already being awaited on serve_forever()"));
        }
        let serving = Serving(self);
        self.listen();
        poll_fn(|cx| if self.0.closed.get() { Poll::Ready(()) } else { self.0.wait(cx) }).await;
        self.wait_closed().await;
        drop(serving);
        Err(Cancelled.into())
    }

    /// Closes every connection gracefully.
    pub fn close_clients(&self) {
        for stream in self.0.live_streams() {
            stream.close();
        }
    }

    /// Aborts every connection.
    pub fn abort_clients(&self) {
        for stream in self.0.live_streams() {
            stream.abort();
        }
    }

    /// How many connections it has, from the making of their transports to the return of their
    /// `connection_lost` (E-23).
    pub fn connection_count(&self) -> usize {
        self.0.connections.get()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("sockets", &self.sockets())
            .field("serving", &self.is_serving())
            .field("connections", &self.connection_count())
            .finish_non_exhaustive()
    }
}

impl ServerState {
    pub(crate) fn attach(&self, stream: &Rc<Stream>) {
        self.connections.set(self.connections.get() + 1);
        self.streams.borrow_mut().insert(stream.number(), Rc::downgrade(stream));
    }

    pub(crate) fn detach(&self, stream: u32) {
        self.connections.set(self.connections.get() - 1);
        self.streams.borrow_mut().remove(&stream);
        if self.connections.get() == 0 {
            self.wake();
        }
    }

    fn live_streams(&self) -> Vec<Rc<Stream>> {
        self.streams.borrow().values().filter_map(Weak::upgrade).collect()
    }

    fn wake(&self) {
        self.wakers.take().into_iter().for_each(Waker::wake);
    }

    fn wait(&self, cx: &Context<'_>) -> Poll<()> {
        self.wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_finished(&self, cx: &Context<'_>) -> Poll<()> {
        if self.closed.get() && self.connections.get() == 0 {
            return Poll::Ready(());
        }
        self.wait(cx)
    }
}

/// One listening socket.
pub(crate) struct Listener {
    server: Rc<ServerState>,
    accept: Rc<Accept>,
    source: Source,
    local: SocketAddr,
    key: Cell<Option<Key>>,
    closed: Cell<bool>,
    accepted: RefCell<VecDeque<Source>>,
    retry: RefCell<Option<Timer>>,
}

impl Listener {
    fn new(server: &Rc<ServerState>, socket: Socket, accept: &Rc<Accept>) -> Rc<Self> {
        let local = socket.local_addr().expect("a bound socket has a local address");
        Rc::new(Self {
            server: Rc::clone(server),
            accept: Rc::clone(accept),
            source: socket.into_source(),
            local,
            key: Cell::new(None),
            closed: Cell::new(false),
            accepted: RefCell::default(),
            retry: RefCell::new(None),
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn listen(self: &Rc<Self>) -> io::Result<()> {
        let core = &self.server.lp.core;
        core.driver.listen(self.source, self.server.backlog)?;
        let key = core.sources.borrow_mut().insert(Registered::Listener(Rc::clone(self)));
        self.key.set(Some(key));
        core.driver.register(self.source, Token(key.to_bits()))
    }

    /// True if a read handle is to be queued.
    pub(crate) fn note_readable(&self, readable: bool) -> bool {
        readable && !self.closed.get() && self.retry.borrow().is_none()
    }

    /// Accepts up to `backlog` connections (E-28).
    pub(crate) fn on_readable(self: &Rc<Self>) {
        self.retry.take();
        let Some(key) = self.key.get().filter(|_| !self.closed.get()) else {
            return;
        };
        let core = &self.server.lp.core;
        for _ in 0..self.server.backlog.max(1) {
            match core.driver.accept(self.source) {
                Ok((source, _peer)) => {
                    self.accepted.borrow_mut().push_back(source);
                    core.push(Ready::Life(key, Life::Accepted));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ if is_out_of_resources(&error) => return self.retry_later(key, error),
                    _ => {
                        let error = SharedError::new(error);
                        core.report(ErrorContext::error("accept() failed", error));
                    }
                },
            }
        }
        core.push_still_readable(key);
    }

    fn retry_later(self: &Rc<Self>, key: Key, error: io::Error) {
        let core = &self.server.lp.core;
        let text = "socket.accept() out of system resource";
        core.report(ErrorContext::error(text, SharedError::new(error)));
        let (again, lp) = (Rc::downgrade(self), self.server.lp.clone());
        let retry = move || {
            if again.upgrade().is_some() {
                lp.core.push(Ready::Life(key, Life::RetryAccept));
            }
        };
        let at = core.driver.now() + RETRY_ACCEPT_AFTER;
        self.retry.replace(Some(core.call_at(at, Action::Call(Box::new(retry)))));
    }

    /// Makes the transport of the oldest accepted connection (E-31, C-19).
    pub(crate) fn build_transport(self: &Rc<Self>) {
        let Some(source) = self.accepted.borrow_mut().pop_front() else {
            return;
        };
        let lp = &self.server.lp;
        let stream = Stream::new(lp, source, Some(Rc::clone(&self.server)));
        self.server.attach(&stream);
        match lp.core.contain(|| (self.accept)(&stream)) {
            Ok(()) => stream.start(None),
            Err(message) => {
                if lp.debug() {
                    lp.core.report(ErrorContext::panic("Error on transport creation", message));
                }
                stream.release();
                self.server.detach(stream.number());
            }
        }
    }

    /// The loop is closed, and the server with it: its listeners are no longer its own.
    pub(crate) fn release(&self) {
        self.close();
        self.server.closed.set(true);
        self.server.serving.set(false);
        let listeners = self.server.listeners.take();
        drop(listeners);
    }

    pub(crate) fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        let core = &self.server.lp.core;
        let retry = self.retry.take();
        let accepted = self.accepted.take();
        for source in accepted {
            core.driver.reset(source);
        }
        core.driver.close(self.source);
        let registered = self.key.take().map(|key| core.sources.borrow_mut().remove(key));
        drop((registered, retry));
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
        || error.kind() == io::ErrorKind::OutOfMemory
}
