//! Making Unix datagram endpoints.

use std::io;
use std::panic::Location;

use crate::datagram::Remote;
use crate::driver::{SocketKind, SocketOption};
use crate::endpoint::start;
use crate::engine::callbacks::Place;
use crate::handle::closed_error;
use crate::socket::Socket;
use crate::socket_file::SocketFile;
use crate::{Conn, DatagramProtocol, DatagramTransport, Loop, ToUnixAddr, UnixAddr};

/// A Unix datagram endpoint to be made, with options; [`Loop::unix_datagram`] makes one.
///
/// ```
/// # use sim_core::{Cx, DatagramProtocol, DatagramTransport, Loop, UnixAddr};
/// # struct Log;
/// # impl DatagramProtocol<UnixAddr> for Log {
/// #     fn datagram_received(&mut self, _: &mut Cx<'_, Self, DatagramTransport<UnixAddr>>, _: &[u8], _: Option<UnixAddr>) {}
/// # }
/// async fn to_the_log(lp: Loop) -> std::io::Result<()> {
///     let log = lp.unix_datagram().remote("/dev/log").bind(|| Log).await?;
///     log.with(|_, cx| cx.send_to(b"<13>hello", None))
/// }
/// # drop(to_the_log);
/// ```
#[derive(Debug)]
#[must_use = "an unused endpoint builder binds nothing"]
pub struct UnixDatagramBuilder {
    lp: Loop,
    /// Where user code made it.
    place: Place,
    local: Option<io::Result<UnixAddr>>,
    remote: Option<io::Result<UnixAddr>>,
    options: Vec<SocketOption>,
}

impl UnixDatagramBuilder {
    #[track_caller]
    pub(crate) fn new(lp: &Loop) -> Self {
        let place = Some(Location::caller());
        Self { lp: lp.clone(), place, local: None, remote: None, options: Vec::new() }
    }

    /// The local address. The file of a socket that is at its path already is removed (contract
    /// D-22). Without one nobody can answer.
    pub fn local(mut self, local: impl ToUnixAddr) -> Self {
        self.local = Some(local.to_unix_addr());
        self
    }

    /// The remote address: the endpoint is connected to it, and hears of it alone.
    pub fn remote(mut self, remote: impl ToUnixAddr) -> Self {
        self.remote = Some(remote.to_unix_addr());
        self
    }

    /// The size of the socket's send buffer, in bytes: how much of what it sent may wait to be
    /// received.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.push(SocketOption::SendBuffer(bytes));
        self
    }

    /// Makes the endpoint; see [`Loop::create_unix_datagram_endpoint`].
    ///
    /// # Errors
    ///
    /// As [`Loop::create_unix_datagram_endpoint`].
    pub async fn bind<P: DatagramProtocol<UnixAddr>>(
        self,
        factory: impl FnOnce() -> P,
    ) -> io::Result<Conn<P, DatagramTransport<UnixAddr>>> {
        if self.lp.core.is_closed() {
            return Err(closed_error());
        }
        let (local, remote) = (self.local.transpose()?, self.remote.transpose()?);
        let socket = Socket::open_unix(&self.lp, SocketKind::Datagram)?;
        for &option in &self.options {
            socket.set_option(option)?;
        }
        if let Some(local) = local {
            SocketFile::remove_stale(&self.lp, &local);
            socket.bind_unix(local)?;
        }
        let remote = match remote {
            None => Remote::Any,
            Some(remote) => {
                socket.connect_unix(&remote)?;
                Remote::Connected(remote.into())
            }
        };
        start(socket, remote, factory, self.place).await
    }
}
