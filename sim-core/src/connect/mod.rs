//! Making connections.

mod happy_eyeballs;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use self::happy_eyeballs::{interleave, staggered};
use crate::address::{HostPort, ToHostPort};
use crate::driver::{Family, SocketKind, SocketOption, Source};
use crate::engine::callbacks::Place;
use crate::handle::closed_error;
use crate::layer::{LayerFactory, Layered, Upgrade};
use crate::names::Hints;
use crate::protocol::Attach;
use crate::socket::{Registration, Socket};
use crate::socket_buffers::buffer_sizes;
use crate::transport::Medium;
use crate::transport::stream::Stream;
use crate::{Conn, Loop, ToUnixAddr, Transport};

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
    /// Where user code made it.
    place: Place,
    local: Option<HostPort>,
    family: Option<Family>,
    options: Vec<SocketOption>,
    happy_eyeballs: Option<Duration>,
    interleave: Option<usize>,
    layer: Option<Rc<dyn LayerFactory>>,
}

buffer_sizes!(Connecting, "the socket's");

impl Connecting {
    #[track_caller]
    pub(crate) fn new(lp: &Loop) -> Self {
        Self {
            lp: lp.clone(),
            place: Some(Location::caller()),
            local: None,
            family: None,
            options: Vec::new(),
            happy_eyeballs: None,
            interleave: None,
            layer: None,
        }
    }

    /// Tries the next address of a name when the one before has failed, or after `delay`, whichever is first; the
    /// first that succeeds wins, and the others are closed (contract E-08, E-10; RFC 8305, which recommends
    /// 250 ms). Families take turns then, unless [`interleave`](Self::interleave) says otherwise.
    ///
    /// ```
    /// # use sim_core::{Cx, Loop, Protocol};
    /// # use std::time::Duration;
    /// # struct Hello;
    /// # impl Protocol for Hello { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
    /// async fn whichever_answers_first(client: Loop) -> std::io::Result<()> {
    ///     let connecting = client.connection().happy_eyeballs(Duration::from_millis(250));
    ///     let _conn = connecting.connect(("server", 80), || Hello).await?;
    ///     Ok(())
    /// }
    /// # drop(whichever_answers_first);
    /// ```
    pub fn happy_eyeballs(mut self, delay: Duration) -> Self {
        self.happy_eyeballs = Some(delay);
        self
    }

    /// Has the families of a name's addresses take turns, after `first_count` of the family that comes first
    /// (contract E-09); 0 leaves them in the resolver's order.
    pub fn interleave(mut self, first_count: usize) -> Self {
        self.interleave = Some(first_count);
        self
    }

    /// The local address and port to connect from (contract E-07).
    pub fn local_addr(mut self, local: impl ToHostPort) -> Self {
        self.local = Some(local.to_host_port());
        self
    }

    /// The only family of the name's addresses that counts.
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// How long the handshake may take, and later how long what was sent may stay unacknowledged;
    /// see [`TransportSocket::set_user_timeout`](crate::TransportSocket::set_user_timeout).
    pub fn user_timeout(mut self, timeout: Duration) -> Self {
        self.options.push(SocketOption::UserTimeout(Some(timeout)));
        self
    }

    /// Puts a layer on the connection, between the stream and the protocol. Connecting is done when the
    /// layer's handshake is; a failed one closes the connection, and the protocol hears of nothing
    /// (contract F-03).
    pub fn layer(mut self, factory: impl LayerFactory + 'static) -> Self {
        self.layer = Some(Rc::new(factory));
        self
    }

    /// Connects; see [`Loop::create_connection`].
    ///
    /// # Errors
    ///
    /// As [`Loop::create_connection`].
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps twice what it is given")]
    pub fn connect<P, K>(
        self,
        addr: impl ToHostPort,
        factory: impl FnOnce() -> P,
    ) -> impl Future<Output = io::Result<Conn<P>>>
    where
        P: Attach<K>,
    {
        async move {
            let socket = self.reach(addr).await?;
            self.start(socket, factory)?.await
        }
    }

    /// Finds the addresses, and connects a socket to one of them.
    async fn reach(&self, addr: impl ToHostPort) -> io::Result<Socket> {
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        let hints = Hints::of(SocketKind::Stream, self.family);
        let remotes = self.lp.getaddrinfo_with(addr, hints).await?;
        let locals = match self.local.clone() {
            Some(local) => Some(self.lp.getaddrinfo_with(local, hints).await?),
            None => None,
        };
        let first_count = self.interleave.unwrap_or(usize::from(self.happy_eyeballs.is_some()));
        let remotes = if first_count > 0 { interleave(&remotes, first_count) } else { remotes };
        if let Some(delay) = self.happy_eyeballs {
            let attempt = |remote| self.attempt(remote, locals.as_deref());
            // Not in the future of those that never need it.
            let attempts = Box::pin(staggered(&self.lp, delay, remotes.into_iter().map(attempt)));
            return attempts.await.map_err(combine);
        }
        // One after another (E-04).
        let mut errors = Vec::new();
        while let Some(&remote) = remotes.get(errors.len()) {
            match self.attempt(remote, locals.as_deref()).await {
                Ok(socket) => return Ok(socket),
                Err(error) => errors.push(error),
            }
        }
        Err(combine(errors))
    }

    /// Connects to a Unix socket; see [`Loop::create_unix_connection`].
    ///
    /// # Errors
    ///
    /// As [`Loop::create_unix_connection`]; `InvalidInput` if a local address was given.
    pub async fn connect_unix<P, K>(
        self,
        path: impl ToUnixAddr,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P>>
    where
        P: Attach<K>,
    {
        let remote = path.to_unix_addr()?;
        if self.local.is_some() {
            let text = "a Unix connection comes from no host and port: bind a Socket and adopt it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let socket = Socket::open_unix(&self.lp, SocketKind::Stream)?;
        for &option in &self.options {
            socket.set_option(option)?;
        }
        socket.connect_unix(remote)?;
        self.start(socket, factory)?.await
    }

    /// Makes a connected or accepted socket's transport (contract E-12, E-14).
    ///
    /// The socket is the call's from here on: it is closed if the call fails or is dropped (E-13).
    /// One that is not connected is taken too: its `peername` is `None` and its first read fails.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a datagram socket, for one of another loop, and if a local address was
    /// given (E-01); on a closed loop.
    pub async fn adopt<P, K>(
        self,
        socket: Socket,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P>>
    where
        P: Attach<K>,
    {
        let invalid = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        if *socket.event_loop() != self.lp {
            return invalid("the socket is another loop's: adopt it there");
        }
        if socket.kind() != SocketKind::Stream {
            return invalid("a stream socket was expected, and this one is for datagrams");
        }
        if self.local.is_some() {
            return invalid("a local address and a socket exclude each other: bind the socket");
        }
        for &option in &self.options {
            socket.set_option(option)?;
        }
        self.start(socket, factory)?.await
    }

    /// Opens, binds and connects one socket to one address.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps twice what it is given")]
    fn attempt(
        &self,
        remote: SocketAddr,
        locals: Option<&[SocketAddr]>,
    ) -> impl Future<Output = io::Result<Socket>> {
        async move {
            let mut socket = self.prepare(remote, locals)?;
            socket.connect(remote).await?;
            Ok(socket)
        }
    }

    /// Opens and binds one socket for one address.
    fn prepare(&self, remote: SocketAddr, locals: Option<&[SocketAddr]>) -> io::Result<Socket> {
        let family = Family::of(&remote);
        let socket = Socket::open(&self.lp, SocketKind::Stream, family)?;
        for &option in &self.options {
            socket.set_option(option)?;
        }
        match locals {
            Some(locals) => bind_one(&socket, locals, family)?,
            None => {
                if let Some(ip) = self.lp.default_local(family) {
                    socket.bind(SocketAddr::new(ip, 0))?;
                }
            }
        }
        Ok(socket)
    }

    /// Makes a socket's transport; the future is done when `connection_made` has returned.
    fn start<P, K, F: FnOnce() -> P>(
        &self,
        socket: Socket,
        factory: F,
    ) -> io::Result<impl Future<Output = io::Result<Conn<P>>> + use<P, K, F>>
    where
        P: Attach<K>,
    {
        // A panic of the factory leaves the socket to its destructor: it is closed (C-19).
        let protocol = factory();
        let medium = socket.medium();
        let layer = self.layer.as_ref();
        Ok(start(&self.lp, protocol, socket.into_parts()?, medium, layer, self.place))
    }
}

/// Makes the transport of a source; the future is done when `connection_made` has returned.
pub(crate) fn start<P, K>(
    lp: &Loop,
    protocol: P,
    (source, registered): (Source, Option<Registration>),
    medium: Medium,
    layer: Option<&Rc<dyn LayerFactory>>,
    place: Place,
) -> impl Future<Output = io::Result<Conn<P>>> + use<P, K>
where
    P: Attach<K>,
{
    let stream = Stream::new(lp, source, medium, place);
    let layer = layer.map(|factory| Layered::install(&stream, factory));
    let conn = protocol.attach(&Transport(Rc::clone(&stream)));
    stream.start(registered);
    let mut guard = CloseUnlessMade { stream, is_made: false };
    async move {
        match layer {
            None => made(&guard.stream).await,
            Some(layer) => Upgrade::of(&guard.stream, layer).await?,
        }
        guard.is_made = true;
        drop(guard);
        Ok(conn)
    }
}

/// Makes the transport of a source that is not registered, for what was made at `place`. `connection_made` is yet to
/// come.
pub(crate) fn start_stream<P, K>(
    lp: &Loop,
    protocol: P,
    source: Source,
    medium: Medium,
    place: Place,
) -> Conn<P>
where
    P: Attach<K>,
{
    let stream = Stream::new(lp, source, medium, place);
    let conn = protocol.attach(&Transport(Rc::clone(&stream)));
    stream.start(None);
    conn
}

/// Waits until `connection_made` has returned.
async fn made(stream: &Stream) {
    poll_fn(|cx| if stream.poll_made(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Closes a connection that nobody waits for any more, unless it was handed over (C-16): before `connection_made`, or
/// when the handshake of its layer was over. One in its handshake is aborted by then (F-06).
struct CloseUnlessMade {
    stream: Rc<Stream>,
    is_made: bool,
}

impl Drop for CloseUnlessMade {
    fn drop(&mut self) {
        if !self.is_made {
            Transport(Rc::clone(&self.stream)).close();
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cx, Protocol, catch_cancel, testing};

    struct Quiet;

    impl Protocol for Quiet {
        fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
    }

    #[test]
    fn those_who_wait_hold_what_they_are_given_once() {
        let lp = testing::new_loop();
        let large = [0_u8; 1_000];
        let connecting = |addr: SocketAddr| {
            let factory = move || {
                std::hint::black_box(&large);
                Quiet
            };
            size_of_val(&lp.create_connection(addr, factory))
        };
        let size = connecting(SocketAddr::from(([10, 0, 0, 1], 80)));
        assert!(size < large.len() + 800, "{size}");
        let caught = size_of_val(&catch_cancel(async move {
            std::future::pending::<()>().await;
            std::hint::black_box(&large);
        }));
        assert!(caught < large.len() + 100, "{caught}");
    }
}
