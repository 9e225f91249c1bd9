//! The network of a driven datagram protocol.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::peer::{advance, settle};
use super::script::{ScriptDriver, shared};
use crate::cell::ProtocolCell;
use crate::datagram::{Endpoint, Remote};
use crate::driver::{Driver, Source};
use crate::engine::{Engine, EngineMemory};
use crate::transport::Medium;
use crate::{Address, Conn, Cx, DatagramProtocol, DatagramTransport};

/// The test's end of a datagram endpoint; [`drive_datagrams`] makes one.
pub struct DatagramPeer<P: 'static> {
    engine: Engine,
    driver: Rc<ScriptDriver>,
    source: Source,
    conn: Conn<P, DatagramTransport>,
}

/// Gives `protocol` an unconnected endpoint on a network that takes `window` datagrams, and more
/// when told to by [`DatagramPeer::take`].
///
/// ```
/// use sim_core::{Cx, DatagramProtocol, DatagramTransport, testing};
/// use std::net::SocketAddr;
///
/// struct Echo;
/// impl DatagramProtocol for Echo {
///     fn datagram_received(
///         &mut self,
///         cx: &mut Cx<'_, Self, DatagramTransport>,
///         data: &[u8],
///         from: SocketAddr,
///     ) {
///         cx.send_to(data, Some(from)).unwrap();
///     }
/// }
///
/// let mut peer = testing::drive_datagrams(Echo, usize::MAX);
/// let from = "192.0.2.9:9".parse().unwrap();
/// peer.feed(b"ping", from);
/// assert_eq!(peer.take_sent(), [(b"ping".to_vec(), Some(from))]);
/// ```
pub fn drive_datagrams<P: DatagramProtocol>(protocol: P, window: usize) -> DatagramPeer<P> {
    drive(protocol, window, Remote::Any)
}

/// As [`drive_datagrams`], with an endpoint that is connected to `remote`.
///
/// ```
/// use sim_core::{Cx, DatagramProtocol, DatagramTransport, testing};
/// use std::net::SocketAddr;
///
/// struct Hello;
/// impl DatagramProtocol for Hello {
///     fn connection_made(&mut self, cx: &mut Cx<'_, Self, DatagramTransport>) {
///         cx.send_to(b"hello", None).unwrap();
///     }
///     fn datagram_received(
///         &mut self,
///         _cx: &mut Cx<'_, Self, DatagramTransport>,
///         _data: &[u8],
///         _from: SocketAddr,
///     ) {
///     }
/// }
///
/// let remote = "192.0.2.9:9".parse().unwrap();
/// let mut peer = testing::drive_connected_datagrams(Hello, usize::MAX, remote);
/// assert_eq!(peer.take_sent(), [(b"hello".to_vec(), None)]);
/// ```
pub fn drive_connected_datagrams<P: DatagramProtocol>(
    protocol: P,
    window: usize,
    remote: SocketAddr,
) -> DatagramPeer<P> {
    drive(protocol, window, Remote::Connected(Address::Ip(remote)))
}

fn drive<P: DatagramProtocol>(protocol: P, window: usize, remote: Remote) -> DatagramPeer<P> {
    let driver = shared();
    let engine = Engine::new(Rc::clone(&driver) as Rc<dyn Driver>, EngineMemory::default());
    let source = driver.add_socket(window);
    let endpoint = Endpoint::new(&engine.handle(), source, Medium::Internet, remote, None);
    let cell = ProtocolCell::new(protocol, DatagramTransport::new(&endpoint), P::digest);
    endpoint.start(Rc::clone(&cell) as _).expect("the scripted driver registers everything");
    let peer = DatagramPeer { engine, driver, source, conn: Conn::new(cell) };
    peer.settle();
    peer
}

impl<P: 'static> DatagramPeer<P> {
    /// Sends the protocol a datagram.
    pub fn feed(&mut self, data: &[u8], from: SocketAddr) {
        self.driver.feed_datagram(self.source, data, from);
        self.settle();
    }

    /// Makes the next receive fail with an operating system's error.
    pub fn feed_error(&mut self, code: i32) {
        self.driver.feed_error(self.source, code);
        self.settle();
    }

    /// Makes the next send fail with an operating system's error.
    pub fn fail_next_send(&mut self, code: i32) {
        self.driver.fail_writes(self.source, code);
        self.settle();
    }

    /// What the protocol sent and the network took since the last call, with the destinations.
    pub fn take_sent(&mut self) -> Vec<(Vec<u8>, Option<SocketAddr>)> {
        self.driver.take_datagrams(self.source)
    }

    /// Lets the network take `datagrams` more datagrams.
    pub fn take(&mut self, datagrams: usize) {
        self.driver.widen(self.source, datagrams);
        self.settle();
    }

    /// Lets time pass on the protocol's clock.
    pub fn advance(&mut self, time: Duration) {
        advance(&self.engine, &self.driver, time);
    }

    /// Runs what was caused from outside.
    pub fn settle(&self) {
        settle(&self.engine, &self.driver);
    }

    /// Enters the protocol, and runs what that causes.
    #[track_caller]
    pub fn with<R>(
        &mut self,
        code: impl FnOnce(&mut P, &mut Cx<'_, P, DatagramTransport>) -> R,
    ) -> R {
        let value = self.conn.with(code);
        self.settle();
        value
    }

    /// The pair of transport and protocol.
    pub fn conn(&self) -> Conn<P, DatagramTransport> {
        self.conn.clone()
    }
}

impl<P: 'static> fmt::Debug for DatagramPeer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramPeer").field("conn", &self.conn).finish_non_exhaustive()
    }
}
