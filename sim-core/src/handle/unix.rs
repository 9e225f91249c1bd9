//! The loop's calls for Unix sockets.

use std::future::Future;
use std::io;

use super::Loop;
use crate::protocol::Attach;
use crate::unix_endpoint::UnixDatagramBuilder;
use crate::{Conn, DatagramProtocol, DatagramTransport, Server, ToUnixAddr, UnixAddr};

impl Loop {
    /// Connects to the Unix socket at `path` and makes the protocol that `factory` returns its
    /// protocol. A path that begins with a NUL byte is an abstract name.
    ///
    /// Completes after `connection_made` and before the first `data_received` (contract C-03).
    ///
    /// # Errors
    ///
    /// With the path in its text: `NotFound` if there is no such file (E-42); `ConnectionRefused` if
    /// nobody listens behind it, or there is no such abstract name; `WouldBlock` if the listener's
    /// backlog is full, as Linux says, where asyncio reports success.
    ///
    /// ```
    /// # use sim_core::{Cx, Loop, Protocol};
    /// # struct Hello;
    /// # impl Protocol for Hello { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
    /// async fn greet(lp: Loop) -> std::io::Result<()> {
    ///     let _server = lp.create_unix_server("/run/app.sock", || Hello).await?;
    ///     let conn = lp.create_unix_connection("/run/app.sock", || Hello).await?;
    ///     conn.with(|_, cx| cx.write(b"hello"));
    ///     assert!(conn.transport().unix_peername().unwrap().is_path());
    ///     Ok(())
    /// }
    /// # drop(greet);
    /// ```
    #[track_caller]
    pub fn create_unix_connection<P, K>(
        &self,
        path: impl ToUnixAddr,
        factory: impl FnOnce() -> P,
    ) -> impl Future<Output = io::Result<Conn<P>>>
    where
        P: Attach<K>,
    {
        self.connection().connect_unix(path, factory)
    }

    /// Listens on a Unix socket at `path`, and gives each connection a protocol from `factory`.
    ///
    /// The file of a socket that is there already is removed first, even if somebody listens behind
    /// it, as asyncio does (E-40). The server's own file is removed when it closes, unless another has
    /// taken its place (E-41); what a killed process leaves behind stays.
    ///
    /// # Errors
    ///
    /// The bind's, with the path in its text: `AddrInUse` if a file that is no socket is there, or a
    /// socket has the abstract name.
    #[track_caller]
    pub fn create_unix_server<P, K>(
        &self,
        path: impl ToUnixAddr,
        factory: impl FnMut() -> P + 'static,
    ) -> impl Future<Output = io::Result<Server>>
    where
        P: Attach<K>,
    {
        let builder = self.server();
        async move { builder.bind_unix(path, factory) }
    }

    /// Makes a Unix datagram endpoint, bound to `local` if given, connected to `remote` if given.
    ///
    /// Datagrams are never lost, but for those that wait when their receiver is closed. A receiver
    /// that is full makes the sender wait (D-10).
    ///
    /// # Errors
    ///
    /// The bind's or the connect's, as [`create_unix_server`](Self::create_unix_server)'s and
    /// [`create_unix_connection`](Self::create_unix_connection)'s.
    #[track_caller]
    pub fn create_unix_datagram_endpoint<P: DatagramProtocol<UnixAddr>>(
        &self,
        local: Option<UnixAddr>,
        remote: Option<UnixAddr>,
        factory: impl FnOnce() -> P,
    ) -> impl Future<Output = io::Result<Conn<P, DatagramTransport<UnixAddr>>>> {
        let mut builder = self.unix_datagram();
        if let Some(local) = local {
            builder = builder.local(local);
        }
        if let Some(remote) = remote {
            builder = builder.remote(remote);
        }
        builder.bind(factory)
    }

    /// A Unix datagram endpoint with options.
    #[track_caller]
    pub fn unix_datagram(&self) -> UnixDatagramBuilder {
        UnixDatagramBuilder::new(self)
    }
}
