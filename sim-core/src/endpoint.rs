//! Making datagram endpoints.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;

use crate::address::{HostPort, ToHostPort};
use crate::cell::ProtocolCell;
use crate::datagram::{Endpoint, Remote};
use crate::driver::{Family, SocketKind, SocketOption};
use crate::engine::callbacks::Place;
use crate::error::AddressError;
use crate::handle::closed_error;
use crate::names::Hints;
use crate::socket::Socket;
use crate::socket_buffers::buffer_sizes;
use crate::{Conn, DatagramAddress, DatagramProtocol, DatagramTransport, Loop};

/// A datagram endpoint to be made, with options; [`Loop::datagram`] makes one.
///
/// ```
/// # use sim_core::{Cx, DatagramProtocol, DatagramTransport, Loop};
/// # use std::net::SocketAddr;
/// # struct Ping;
/// # impl DatagramProtocol for Ping {
/// #     fn datagram_received(&mut self, _: &mut Cx<'_, Self, DatagramTransport>, _: &[u8], _: SocketAddr) {}
/// # }
/// async fn connected(client: Loop) -> std::io::Result<()> {
///     let ping = client.datagram().remote(("server", 7)).bind(|| Ping).await?;
///     ping.with(|_, cx| cx.send_to(b"ping", None))
/// }
/// # drop(connected);
/// ```
#[derive(Debug)]
#[must_use = "an unused endpoint builder binds nothing"]
pub struct DatagramBuilder {
    lp: Loop,
    /// Where user code made it.
    place: Place,
    local: Option<HostPort>,
    remote: Option<HostPort>,
    family: Option<Family>,
    broadcast: bool,
    options: Vec<SocketOption>,
}

/// A family, and the local and the remote address, if any, that an endpoint may have.
type Pair = (Family, Option<SocketAddr>, Option<SocketAddr>);

buffer_sizes!(DatagramBuilder, "the socket's");

impl DatagramBuilder {
    #[track_caller]
    pub(crate) fn new(lp: &Loop) -> Self {
        Self {
            lp: lp.clone(),
            place: Some(Location::caller()),
            local: None,
            remote: None,
            family: None,
            broadcast: false,
            options: Vec::new(),
        }
    }

    /// The local address; its port may be 0. An empty host is every local address of a family.
    pub fn local(mut self, local: impl ToHostPort) -> Self {
        self.local = Some(local.to_host_port());
        self
    }

    /// The remote address: the endpoint is connected to it, and hears of it alone.
    pub fn remote(mut self, remote: impl ToHostPort) -> Self {
        self.remote = Some(remote.to_host_port());
        self
    }

    /// The address family: of an endpoint without any address (contract D-19), or which of a name's
    /// addresses count.
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Whether datagrams may go to a broadcast address. The endpoint is then not connected; a
    /// remote address is where `send_to(.., None)` goes (contract D-20).
    pub fn broadcast(mut self, broadcast: bool) -> Self {
        self.broadcast = broadcast;
        self
    }

    /// Whether other sockets may be bound to the same address, and share its arrivals.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.push(SocketOption::ReusePort(reuse));
        self
    }

    /// Makes the endpoint; see [`Loop::create_datagram_endpoint`].
    ///
    /// # Errors
    ///
    /// As [`Loop::create_datagram_endpoint`].
    pub async fn bind<P: DatagramProtocol>(
        self,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P, DatagramTransport>> {
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        let mut first_error = None;
        for pair in self.pairs().await? {
            match self.open(pair) {
                Ok((socket, remote)) => return start(socket, remote, factory, self.place).await,
                // Of several pairs that fail, the first error is the answer (D-21).
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        Err(first_error.expect("there is at least one pair"))
    }

    /// The address pairs to try, in order.
    async fn pairs(&self) -> io::Result<Vec<Pair>> {
        let invalid = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let (locals, remotes) =
            (self.addresses(&self.local).await?, self.addresses(&self.remote).await?);
        let pairs: Vec<Pair> = match (locals, remotes) {
            (None, None) => match self.family {
                Some(family) => vec![(family, None, None)],
                None => {
                    return invalid(
                        "unexpected address family: give a local or a remote address, or a family",
                    );
                }
            },
            (Some(locals), None) => {
                locals.into_iter().map(|local| (Family::of(&local), Some(local), None)).collect()
            }
            (None, Some(remotes)) => {
                let pair = |remote| (Family::of(&remote), None, Some(remote));
                remotes.into_iter().map(pair).collect()
            }
            (Some(locals), Some(remotes)) => {
                let all = locals
                    .iter()
                    .flat_map(|&local| remotes.iter().map(move |&remote| (local, remote)));
                let same = all.filter(|(local, remote)| Family::of(local) == Family::of(remote));
                same.map(|(local, remote)| (Family::of(&local), Some(local), Some(remote)))
                    .collect()
            }
        };
        if pairs.is_empty() {
            return invalid("can not get address information: the addresses differ in family");
        }
        Ok(pairs)
    }

    /// The addresses of a host that was given, those of the family alone if one was.
    async fn addresses(&self, addr: &Option<HostPort>) -> io::Result<Option<Vec<SocketAddr>>> {
        let Some(addr) = addr.clone() else {
            return Ok(None);
        };
        let hints = Hints::of(SocketKind::Datagram, self.family);
        self.lp.local_addresses(addr, hints).await.map(Some)
    }

    fn open(&self, (family, local, remote): Pair) -> io::Result<(Socket, Remote)> {
        let socket = Socket::open(&self.lp, SocketKind::Datagram, family)?;
        for &option in &self.options {
            socket.set_option(option)?;
        }
        if self.broadcast {
            socket.set_option(SocketOption::Broadcast(true))?;
        }
        let default = || self.lp.default_local(family).map(|ip| SocketAddr::new(ip, 0));
        if let Some(local) = local.or_else(default) {
            socket.bind(local)?;
        }
        let remote = match remote {
            None => Remote::Any,
            Some(remote) if self.broadcast => Remote::Default(remote.into()),
            Some(remote) => {
                let connected = self.lp.core.driver.connect(socket.source(), remote);
                connected.map_err(|error| AddressError::wrap("connect to", remote, error))?;
                Remote::Connected(remote.into())
            }
        };
        Ok((socket, remote))
    }
}

/// Makes the transport of a socket and waits for `connection_made`.
pub(crate) async fn start<A, P>(
    socket: Socket,
    remote: Remote,
    factory: impl FnOnce() -> P,
    place: Place,
) -> io::Result<Conn<P, DatagramTransport<A>>>
where
    A: DatagramAddress,
    P: DatagramProtocol<A>,
{
    struct CloseUnlessMade<'a>(&'a Rc<Endpoint>, bool);
    impl Drop for CloseUnlessMade<'_> {
        fn drop(&mut self) {
            if !self.1 {
                self.0.close();
            }
        }
    }
    let protocol = factory();
    let (lp, medium) = (socket.event_loop().clone(), socket.medium());
    let endpoint = Endpoint::new(&lp, socket.into_source(), medium, remote, place);
    let cell = ProtocolCell::new(protocol, DatagramTransport::new(&endpoint), P::digest);
    endpoint.start(Rc::clone(&cell) as _)?;
    let mut guard = CloseUnlessMade(&endpoint, false);
    poll_fn(|cx| if endpoint.poll_made(cx.waker()) { Poll::Ready(()) } else { Poll::Pending })
        .await;
    guard.1 = true;
    Ok(Conn::new(cell))
}
