//! Servers: listeners, the connections they accepted, and their end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::address::ToHostPort;
use crate::arena::Key;
use crate::driver::{Family, SocketKind, SocketOption, Source, Token};
use crate::engine::callbacks::{Action, Place};
use crate::engine::core::{Life, Ready};
use crate::engine::report::ErrorContext;
use crate::engine::sources::Registered;
use crate::error::{AddressError, Cancelled};
use crate::handle::closed_error;
use crate::layer::{LayerFactory, Layered};
use crate::names::Hints;
use crate::protocol::Attach;
use crate::socket::Socket;
use crate::socket_buffers::buffer_sizes;
use crate::socket_file::SocketFile;
use crate::timer::Timer;
use crate::transport::Medium;
use crate::transport::stream::Stream;
use crate::wakers::Wakers;
use crate::{Address, Loop, SharedError, ToUnixAddr, Transport, UnixAddr};

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
    /// Where user code made it.
    place: Place,
    backlog: u32,
    start_serving: bool,
    family: Option<Family>,
    cleanup_socket: bool,
    reuse_address: bool,
    /// Other switches of the sockets.
    options: Vec<SocketOption>,
    layer: Option<Rc<dyn LayerFactory>>,
}

buffer_sizes!(ServerBuilder, "each connection's");

impl ServerBuilder {
    #[track_caller]
    pub(crate) fn new(lp: &Loop) -> Self {
        Self {
            lp: lp.clone(),
            place: Some(Location::caller()),
            backlog: 100,
            start_serving: true,
            family: None,
            cleanup_socket: true,
            reuse_address: true,
            options: Vec::new(),
            layer: None,
        }
    }

    /// How many connections may wait to be accepted, and how many one readiness accepts; 100 by
    /// default (contract E-28, E-35).
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// The only family of the names' addresses that counts.
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Whether to listen at once, or at [`Server::start_serving`] (E-19). True by default.
    pub fn start_serving(mut self, start: bool) -> Self {
        self.start_serving = start;
        self
    }

    /// Whether binding ignores connections in TIME_WAIT (E-18). True by default.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Whether other sockets may listen at the same address, and share its connections.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.push(SocketOption::ReusePort(reuse));
        self
    }

    /// Whether the file of a Unix socket is removed when the server closes (E-41). True by default.
    pub fn cleanup_socket(mut self, cleanup: bool) -> Self {
        self.cleanup_socket = cleanup;
        self
    }

    /// Puts a layer on each connection, between the stream and the protocol. A protocol hears of its
    /// connection when the layer's handshake has succeeded; of one that fails, nobody (contract F-03).
    pub fn layer(mut self, factory: impl LayerFactory + 'static) -> Self {
        self.layer = Some(Rc::new(factory));
        self
    }

    /// Listens at `addr`; see [`Loop::create_server`]. An empty host is every local address, of
    /// both families, or of the one that the machine has (E-16).
    ///
    /// # Errors
    ///
    /// As [`Loop::create_server`].
    pub fn bind<P, K>(
        self,
        addr: impl ToHostPort,
        factory: impl FnMut() -> P + 'static,
    ) -> impl Future<Output = io::Result<Server>>
    where
        P: Attach<K>,
    {
        self.bind_all([addr], factory)
    }

    /// Listens at several addresses. One named twice is bound once (E-16).
    ///
    /// # Errors
    ///
    /// As [`Loop::create_server`]; every socket opened so far is closed (E-17).
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps twice what it is given")]
    pub fn bind_all<P, K, A>(
        self,
        addrs: impl IntoIterator<Item = A>,
        factory: impl FnMut() -> P + 'static,
    ) -> impl Future<Output = io::Result<Server>>
    where
        P: Attach<K>,
        A: ToHostPort,
    {
        async move {
            if self.lp.core.is_closed() {
                return Err(closed_error());
            }
            let hints = Hints::of(SocketKind::Stream, self.family);
            let (mut locals, mut optional) = (Vec::new(), Vec::new());
            for addr in addrs {
                let addr = addr.to_host_port();
                let is_any = addr.is_any();
                let found = self.lp.local_addresses(addr, hints).await?;
                if locals.is_empty() && !is_any && found.len() == 1 {
                    locals = found;
                    continue;
                }
                for local in found {
                    if !locals.contains(&local) {
                        locals.push(local);
                    }
                    if is_any {
                        optional.push(local);
                    }
                }
            }
            if locals.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen at"));
            }
            let sockets = self.bind_sockets(&locals, &optional)?;
            let accept = attach_from(factory, self.layer.clone());
            self.into_server(sockets, accept)
        }
    }

    /// Listens on a Unix socket; see [`Loop::create_unix_server`].
    ///
    /// # Errors
    ///
    /// As [`Loop::create_unix_server`].
    pub fn bind_unix<P, K>(
        self,
        path: impl ToUnixAddr,
        factory: impl FnMut() -> P + 'static,
    ) -> io::Result<Server>
    where
        P: Attach<K>,
    {
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        let path = path.to_unix_addr()?;
        let socket = Socket::open_unix(&self.lp, SocketKind::Stream)?;
        SocketFile::remove_stale(&self.lp, &path);
        socket.bind_unix(path)?;
        let accept = attach_from(factory, self.layer.clone());
        self.into_server(vec![socket], accept)
    }

    /// Binds a socket to each address; one of the `optional` may be of a family that the machine
    /// does not have.
    fn bind_sockets(
        &self,
        locals: &[SocketAddr],
        optional: &[SocketAddr],
    ) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::with_capacity(locals.len());
        let mut missing = None;
        for &local in locals {
            match self.bind_socket(local) {
                Ok(socket) => sockets.push(socket),
                Err(error) if optional.contains(&local) && is_missing_family(&error) => {
                    missing = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match missing {
            Some(error) if sockets.is_empty() => Err(error),
            _ => Ok(sockets),
        }
    }

    fn bind_socket(&self, local: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::open(&self.lp, SocketKind::Stream, Family::of(&local))
            .map_err(|error| AddressError::wrap("open a socket for", local, error))?;
        socket.set_option(SocketOption::ReuseAddress(self.reuse_address))?;
        for &option in &self.options {
            socket.set_option(option)?;
        }
        socket.bind(local)?;
        Ok(socket)
    }

    /// The switches that are about sizes of buffers.
    fn buffer_options(&self) -> Vec<SocketOption> {
        let is_size = |option: &SocketOption| {
            matches!(option, SocketOption::SendBuffer(_) | SocketOption::ReceiveBuffer(_))
        };
        self.options.iter().copied().filter(is_size).collect()
    }

    fn into_server(self, sockets: Vec<Socket>, accept: Rc<Accept>) -> io::Result<Server> {
        let state = Rc::new(ServerState {
            lp: self.lp.clone(),
            backlog: self.backlog,
            listeners: RefCell::default(),
            serving: Cell::new(false),
            closed: Cell::new(false),
            forever: Cell::new(false),
            connections: Cell::new(0),
            streams: RefCell::default(),
            wakers: Wakers::default(),
            place: self.place,
            handles: Cell::new(0),
            is_reported: Cell::new(false),
        });
        let server = Server::handle_of(&state);
        for socket in sockets {
            let listener = Listener::new(&state, socket, &accept, &self)?;
            state.listeners.borrow_mut().push(listener);
        }
        if self.start_serving {
            server.0.listen()?;
        }
        Ok(server)
    }
}

/// A server: its listeners, and the count of its connections.
///
/// Clones are handles of the same server. Dropping them all leaves it serving (contract E-33), which debug
/// mode reports (A-69); one that never served is closed.
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
    wakers: Wakers,
    place: Place,
    /// How many handles there are.
    handles: Cell<usize>,
    /// Debug mode has told that nobody closed it.
    is_reported: Cell<bool>,
}

impl Server {
    fn handle_of(state: &Rc<ServerState>) -> Self {
        state.handles.set(state.handles.get() + 1);
        Self(Rc::clone(state))
    }

    /// The internet addresses it listens at; none after [`close`](Self::close).
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.0.listeners.borrow().iter().filter_map(|listener| listener.local.ip()).collect()
    }

    /// The addresses of the Unix sockets it listens at; none after [`close`](Self::close).
    pub fn unix_sockets(&self) -> Vec<UnixAddr> {
        let listeners = self.0.listeners.borrow();
        listeners.iter().filter_map(|listener| listener.local.unix().cloned()).collect()
    }

    /// True while it listens.
    pub fn is_serving(&self) -> bool {
        self.0.serving.get()
    }

    /// Starts to listen, if it was made not to. Again does nothing.
    ///
    /// # Errors
    ///
    /// After [`close`](Self::close) (E-27). If a socket cannot listen, its error, with the address
    /// in its text; the server is closed then (E-17).
    pub fn start_serving(&self) -> io::Result<()> {
        if self.0.closed.get() {
            return Err(io::Error::other("server is closed"));
        }
        self.0.listen()
    }

    /// Stops listening, at once. Connections stay as they are; those that were not accepted yet
    /// are reset (E-20, E-24, E-25). Idempotent.
    pub fn close(&self) {
        self.0.close();
    }

    /// Completes when the server is closed and every connection of it is lost (E-21, E-22).
    pub async fn wait_closed(&self) {
        self.0.wakers.until(|| self.0.is_finished().then_some(())).await;
    }

    /// Serves until it is closed and its connections are lost, or until the caller is cancelled,
    /// which closes it (E-26).
    ///
    /// # Errors
    ///
    /// [`Cancelled`] inside the error when it was closed; one at once if another call is under way
    /// or the server is closed already; that of [`start_serving`](Self::start_serving).
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
        self.0.listen()?;
        self.0.wakers.until(|| self.0.closed.get().then_some(())).await;
        self.wait_closed().await;
        drop(serving);
        Err(Cancelled::default().into())
    }

    /// Closes every connection gracefully.
    pub fn close_clients(&self) {
        for stream in self.0.live_streams() {
            Transport(stream).close();
        }
    }

    /// Aborts every connection.
    pub fn abort_clients(&self) {
        for stream in self.0.live_streams() {
            Transport(stream).abort();
        }
    }

    /// How many connections it has, from the making of their transports to the return of their
    /// `connection_lost` (E-23).
    pub fn connection_count(&self) -> usize {
        self.0.connections.get()
    }
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self::handle_of(&self.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.handles.set(self.0.handles.get() - 1);
        let core = &self.0.lp.core;
        if self.0.handles.get() == 0 && core.debug() && !core.is_closed() {
            self.0.report_unclosed("the last handle was dropped of a server that listens at");
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("sockets", &self.sockets())
            .field("unix_sockets", &self.unix_sockets())
            .field("serving", &self.is_serving())
            .field("connections", &self.connection_count())
            .finish_non_exhaustive()
    }
}

impl ServerState {
    fn listen(self: &Rc<Self>) -> io::Result<()> {
        if self.serving.replace(true) {
            return Ok(());
        }
        for index in 0.. {
            let listener = self.listeners.borrow().get(index).cloned();
            let Some(listener) = listener else { break };
            if let Err(error) = listener.listen(self) {
                self.close();
                return Err(AddressError::wrap("listen at", listener.local.clone(), error));
            }
        }
        Ok(())
    }

    fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        self.serving.set(false);
        let listeners = self.listeners.take();
        for listener in &listeners {
            listener.close();
        }
        self.wake();
    }

    pub(crate) fn event_loop(&self) -> &Loop {
        &self.lp
    }

    /// Where user code made it.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Where it listens, in words.
    pub(crate) fn addresses(&self) -> String {
        let listeners = self.listeners.borrow();
        let all: Vec<String> =
            listeners.iter().map(|listener| listener.local.to_string()).collect();
        all.join(", ")
    }

    /// Debug mode tells that nobody closed it, once.
    pub(crate) fn report_unclosed(&self, what: &str) {
        if !self.serving.get() || self.is_reported.replace(true) {
            return;
        }
        let text = format!("{what} {}", self.addresses());
        self.lp.core.report_debug(ErrorContext::message(text), self.place);
    }

    pub(crate) fn attach(&self, stream: &Rc<Stream>) {
        self.connections.set(self.connections.get() + 1);
        self.streams.borrow_mut().insert(stream.number(), Rc::downgrade(stream));
    }

    /// Forgets a connection. One that never got its protocol is not known.
    pub(crate) fn detach(&self, stream: u32) {
        if self.streams.borrow_mut().remove(&stream).is_none() {
            return;
        }
        self.connections.set(self.connections.get() - 1);
        if self.connections.get() == 0 {
            self.wake();
        }
    }

    fn live_streams(&self) -> Vec<Rc<Stream>> {
        self.streams.borrow().values().filter_map(Weak::upgrade).collect()
    }

    fn wake(&self) {
        self.wakers.wake_all();
    }

    fn is_finished(&self) -> bool {
        self.closed.get() && self.connections.get() == 0
    }
}

/// One listening socket.
pub(crate) struct Listener {
    lp: Loop,
    backlog: u32,
    /// The server, while it listens: what keeps a server alive whose handles are gone (E-33).
    server: RefCell<Option<Rc<ServerState>>>,
    accept: Rc<Accept>,
    source: Source,
    medium: Medium,
    local: Address,
    /// What is to be removed at the end.
    file: Option<SocketFile>,
    /// Switches of accepted connections, which inherit none of a Unix listener.
    options: Vec<SocketOption>,
    key: Cell<Option<Key>>,
    closed: Cell<bool>,
    /// What was accepted, from whom, and has no transport yet.
    accepted: RefCell<VecDeque<(Source, Address)>>,
    read_queued: Cell<bool>,
    retry: RefCell<Option<Timer>>,
}

impl Listener {
    fn new(
        server: &ServerState,
        socket: Socket,
        accept: &Rc<Accept>,
        builder: &ServerBuilder,
    ) -> io::Result<Rc<Self>> {
        let medium = socket.medium();
        let (local, file, options) = if medium == Medium::Unix {
            let path = socket.unix_local_addr()?;
            let file = builder.cleanup_socket.then(|| SocketFile::at(&server.lp, &path)).flatten();
            (Address::Unix(path), file, builder.buffer_options())
        } else {
            (Address::Ip(socket.local_addr()?), None, Vec::new())
        };
        Ok(Rc::new(Self {
            lp: server.lp.clone(),
            backlog: server.backlog,
            server: RefCell::new(None),
            accept: Rc::clone(accept),
            source: socket.into_source(),
            medium,
            local,
            file,
            options,
            key: Cell::new(None),
            closed: Cell::new(false),
            accepted: RefCell::default(),
            read_queued: Cell::new(false),
            retry: RefCell::new(None),
        }))
    }

    /// The server, while it listens.
    pub(crate) fn server(&self) -> Option<Rc<ServerState>> {
        self.server.borrow().clone()
    }

    pub(crate) fn local_addr(&self) -> &Address {
        &self.local
    }

    fn accept_one(&self) -> io::Result<(Source, Address)> {
        let driver = &self.lp.core.driver;
        if self.medium == Medium::Internet {
            return driver.accept(self.source).map(|(source, peer)| (source, Address::Ip(peer)));
        }
        let (source, peer) = driver.unix()?.accept(self.source)?;
        for &option in &self.options {
            if let Err(error) = driver.set_option(source, option) {
                tracing::warn!(target: "sim_core", %error, ?option, "an accepted socket refuses it");
            }
        }
        Ok((source, Address::Unix(peer)))
    }

    fn listen(self: &Rc<Self>, server: &Rc<ServerState>) -> io::Result<()> {
        let core = &self.lp.core;
        if core.is_closed() {
            return Err(closed_error());
        }
        core.driver.listen(self.source, self.backlog)?;
        self.server.replace(Some(Rc::clone(server)));
        let key = core.sources.borrow_mut().insert(Registered::Listener(Rc::clone(self)));
        self.key.set(Some(key));
        core.driver.register(self.source, Token(key.to_bits()))
    }

    /// True if a read handle is to be queued: one a turn, and none while it rests.
    pub(crate) fn note_readable(&self, readable: bool) -> bool {
        let wanted = readable && !self.closed.get() && self.retry.borrow().is_none();
        wanted && !self.read_queued.replace(true)
    }

    /// The second of rest is over (E-29).
    pub(crate) fn retry_accept(self: &Rc<Self>) {
        let retry = self.retry.take();
        drop(retry);
        self.on_readable();
    }

    /// Accepts up to `backlog` connections (E-28).
    pub(crate) fn on_readable(self: &Rc<Self>) {
        self.read_queued.set(false);
        let Some(key) = self.key.get().filter(|_| !self.closed.get()) else {
            return;
        };
        let core = &self.lp.core;
        for _ in 0..self.backlog.max(1) {
            match self.accept_one() {
                Ok(accepted) => {
                    self.accepted.borrow_mut().push_back(accepted);
                    core.push(Ready::Life(key, Life::Accepted));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ if is_out_of_resources(&error) => return self.retry_later(key, error),
                    _ => {
                        // One that lasts costs a report a turn, no more (E-30).
                        let error = SharedError::new(error);
                        self.report(ErrorContext::error("accept() failed", error));
                        break;
                    }
                },
            }
        }
        // A report's handler may have closed the server.
        if !self.closed.get() {
            core.push_still_readable(key);
        }
    }

    fn retry_later(self: &Rc<Self>, key: Key, error: io::Error) {
        let text = "socket.accept() out of system resource";
        self.report(ErrorContext::error(text, SharedError::new(error)));
        if self.closed.get() {
            return;
        }
        let core = &self.lp.core;
        let (again, lp) = (Rc::downgrade(self), self.lp.clone());
        let retry = move || {
            if again.upgrade().is_some() {
                lp.core.push(Ready::Life(key, Life::RetryAccept));
            }
        };
        let at = core.driver.now() + RETRY_ACCEPT_AFTER;
        self.retry.replace(Some(core.call_at(at, None, Action::Call(Box::new(retry)))));
    }

    /// Makes the transport of the oldest accepted connection (E-31, C-19).
    pub(crate) fn build_transport(self: &Rc<Self>) {
        /// Takes the connection back, unless its protocol could be made.
        struct Unmade<'a>(&'a ServerState, &'a Rc<Stream>);
        impl Drop for Unmade<'_> {
            fn drop(&mut self) {
                self.1.release();
                self.0.detach(self.1.number());
            }
        }
        let server = self.server.borrow().clone();
        let accepted = self.accepted.borrow_mut().pop_front();
        let (Some(server), Some((source, peer))) = (server, accepted) else {
            return;
        };
        let core = &self.lp.core;
        let stream = Stream::accepted(&server, source, self.medium, peer);
        server.attach(&stream);
        let unmade = Unmade(&server, &stream);
        match core.contain(|| (self.accept)(&stream)) {
            Ok(()) => {
                std::mem::forget(unmade);
                stream.start(None);
            }
            Err(message) => {
                drop(unmade);
                let text = "Error on transport creation for incoming connection";
                self.report(ErrorContext::panic(text, message));
            }
        }
    }

    /// A report about the socket.
    fn report(&self, context: ErrorContext) {
        let context = ErrorContext { socket: Some(self.local.clone()), ..context };
        let place = self.server().and_then(|server| server.place());
        self.lp.core.report_made(context, place);
    }

    pub(crate) fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        let core = &self.lp.core;
        let retry = self.retry.take();
        let accepted = self.accepted.take();
        for (source, _peer) in accepted {
            core.driver.reset(source);
        }
        core.driver.close(self.source);
        if let Some(file) = &self.file {
            file.remove(&self.lp);
        }
        let registered = self.key.take().map(|key| core.sources.borrow_mut().remove(key));
        let server = self.server.take();
        // The loop was closed, and with it all that listened.
        if let Some(server) = &server {
            server.close();
        }
        drop((registered, retry, server));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

/// What gives each connection a protocol from `factory`, on a layer if there is to be one.
fn attach_from<P, K>(
    factory: impl FnMut() -> P + 'static,
    layer: Option<Rc<dyn LayerFactory>>,
) -> Rc<Accept>
where
    P: Attach<K>,
{
    let factory = RefCell::new(factory);
    Rc::new(move |stream: &Rc<Stream>| {
        let protocol = (factory.borrow_mut())();
        if let Some(layer) = &layer {
            Layered::install(stream, layer);
        }
        protocol.attach(&Transport(Rc::clone(stream)));
    })
}

/// EAFNOSUPPORT, EADDRNOTAVAIL: the machine has no addresses of that family.
fn is_missing_family(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<AddressError>());
    matches!(inner.and_then(AddressError::raw_os_error), Some(97 | 99))
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
        || error.kind() == io::ErrorKind::OutOfMemory
}

#[cfg(test)]
mod tests;
