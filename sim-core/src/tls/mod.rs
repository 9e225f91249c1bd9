//! TLS 1.3 and 1.2 over any stream transport, on any loop: rustls in a [`Layer`].
//!
//! A configuration is rustls' own: [`client_config`] and [`server_config`] begin one whose randomness, key
//! exchange and time are the loop's. On the real loop that is the operating system. In a simulation it is
//! the host's random streams and its time of day, so a run with TLS in it repeats byte for byte.
//!
//! ```
//! use sim_core::tls::{self, TlsAcceptor, TlsConnector};
//! use sim_core::tls::rustls::RootCertStore;
//! use sim_core::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
//! # use sim_core::{Cx, Loop, Protocol};
//! # use std::io;
//! # struct Hello;
//! # impl Protocol for Hello { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
//!
//! async fn greet(
//!     (server, client): (Loop, Loop),
//!     (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
//!     authorities: RootCertStore,
//! ) -> io::Result<()> {
//!     let config = tls::server_config().with_no_client_auth().with_single_cert(chain, key);
//!     let acceptor = TlsAcceptor::new(config.map_err(io::Error::other)?);
//!     let _listening = server.server().tls(&acceptor).bind(("server", 443), || Hello).await?;
//!
//!     let config = tls::client_config().with_root_certificates(authorities).with_no_client_auth();
//!     let connector = TlsConnector::new(config);
//!     let conn = client.connection().tls(&connector, "server").connect(("server", 443), || Hello).await?;
//!     println!("{:?}", conn.transport().tls().expect("the handshake is over").version);
//!     Ok(())
//! }
//! # drop(greet);
//! ```
//!
//! # Determinism
//!
//! * Keys that sign in a simulation are Ed25519: the other signatures contain random numbers that cannot be
//!   given from outside. A handshake with another key fails, and says so.
//! * The key exchange of a simulation is X25519; another group fails, and says so.
//! * A configuration remembers sessions, in order to resume them. One that outlives a world takes its sessions
//!   into the next: make it inside the scenario.
//! * A configuration that was not begun here draws from the operating system. It works on the real loop; in a
//!   simulation it is refused.
//!
//! # What is different from TCP
//!
//! There is no half-close: [`Transport::can_write_eof`] is false, `write_eof` panics, and a protocol's `KeepOpen`
//! has no effect (contract F-09, F-10). `close` sends what was written and a goodbye, and waits for the peer's,
//! for the shutdown timeout at most (F-12, F-13); the peer hears of the end, the side that closed of the loss
//! alone (F-11). A stream that ends without the peer's goodbye is a normal end
//! unless [`require_close_notify`](TlsConnector::require_close_notify) says otherwise (F-14). Writing pauses above 512 KiB by default, of
//! what was not encrypted yet (F-21, F-23).
//!
//! A reset by the peer is told at once, though the protocol has paused reading, and what waited for it is dropped
//! (F-35): a slow [`StreamReader`] loses all that it has not read. Over TCP a pause holds the reset back (C-41).

mod entropy;
mod session;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use rustls;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ConfigBuilder, ProtocolVersion, ServerConfig, WantsVerifier,
};

pub(crate) use self::entropy::Entropy;
use self::session::Session;
use crate::layer::{Layer, LayerFactory, LayerOptions, Upgrade};
use crate::stream::{StreamReader, StreamWriter};
use crate::{Connecting, Loop, ServerBuilder, Transport};

/// Begins the configuration of a client.
pub fn client_config() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder =
        ClientConfig::builder_with_details(entropy::provider(), Arc::new(entropy::HostTime));
    builder
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
}

/// Begins the configuration of a server.
pub fn server_config() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let builder =
        ServerConfig::builder_with_details(entropy::provider(), Arc::new(entropy::HostTime));
    builder
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
}

/// Keeps a configuration on its thread, so that a scenario cannot take the sessions of one run into another.
type Here = PhantomData<Rc<()>>;

/// How connections that this side makes are secured.
///
/// Clones share the configuration, and the sessions that it remembers.
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    options: LayerOptions,
    here: Here,
}

/// How connections that this side accepts are secured.
///
/// Clones share the configuration, and the sessions that it remembers.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    options: LayerOptions,
    here: Here,
}

macro_rules! options {
    ($side:ty) => {
        impl $side {
            /// How long the handshake may take; 60 s by default (contract F-05). Nothing is an error of each
            /// handshake.
            #[must_use]
            pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
                self.options.handshake_timeout = timeout;
                self
            }

            /// How long an orderly end may take, up to the peer's goodbye; 30 s by default (F-13). Nothing is an
            /// error of each handshake.
            #[must_use]
            pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
                self.options.shutdown_timeout = timeout;
                self
            }

            /// Whether a stream that ends without the peer's `close_notify` is an error, `UnexpectedEof`, and no
            /// `eof_received`: somebody may have cut it short. False by default (F-14).
            #[must_use]
            pub fn require_close_notify(mut self, require: bool) -> Self {
                self.options.require_goodbye = require;
                self
            }
        }
    };
}

options!(TlsConnector);
options!(TlsAcceptor);

impl TlsConnector {
    /// Secures connections as `config` says.
    pub fn new(config: ClientConfig) -> Self {
        Self { config: Arc::new(config), options: LayerOptions::default(), here: PhantomData }
    }

    /// The layer of connections to the server called `name`: a name of the DNS or an address, which its
    /// certificate must be for.
    pub fn to(&self, name: &str) -> TlsClient {
        TlsClient { connector: self.clone(), name: name.to_owned() }
    }
}

impl TlsAcceptor {
    /// Secures connections as `config` says.
    pub fn new(config: ServerConfig) -> Self {
        Self { config: Arc::new(config), options: LayerOptions::default(), here: PhantomData }
    }
}

/// A client's side of TLS with one server; [`TlsConnector::to`] makes it.
#[derive(Clone, Debug)]
pub struct TlsClient {
    connector: TlsConnector,
    name: String,
}

impl LayerFactory for TlsClient {
    fn make(&self, lp: &Loop, connection: u32) -> io::Result<Box<dyn Layer>> {
        let name = ServerName::try_from(self.name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let config = Arc::clone(&self.connector.config);
        Session::client(lp, connection, config, name).map(|session| Box::new(session) as _)
    }

    fn options(&self) -> LayerOptions {
        self.connector.options
    }
}

impl LayerFactory for TlsAcceptor {
    fn make(&self, lp: &Loop, connection: u32) -> io::Result<Box<dyn Layer>> {
        let config = Arc::clone(&self.config);
        Session::server(lp, connection, config).map(|session| Box::new(session) as _)
    }

    fn options(&self) -> LayerOptions {
        self.options
    }
}

impl Connecting {
    /// Secures the connection: [`layer`](Self::layer) with [`TlsConnector::to`].
    pub fn tls(self, connector: &TlsConnector, server_name: &str) -> Self {
        self.layer(connector.to(server_name))
    }
}

impl ServerBuilder {
    /// Secures each connection: [`layer`](Self::layer) with the acceptor.
    pub fn tls(self, acceptor: &TlsAcceptor) -> Self {
        self.layer(acceptor.clone())
    }
}

impl Transport {
    /// Secures the connection from here on, as a client with [`TlsConnector::to`] or as a server with a
    /// [`TlsAcceptor`]; see [`start_layer`](Self::start_layer).
    pub fn start_tls(&self, side: impl LayerFactory + 'static) -> Upgrade {
        self.start_layer(side, &[])
    }

    /// What the handshake agreed upon; `None` before that and without TLS. It stays after the connection
    /// (contract F-26).
    pub fn tls(&self) -> Option<Rc<TlsInfo>> {
        self.0.top()?.info()
    }
}

impl StreamWriter {
    /// Secures the stream from here on, as a client with [`TlsConnector::to`] or as a server with a
    /// [`TlsAcceptor`]; see [`Transport::start_layer`]. Both halves stay. What `reader` has and was not read is
    /// taken for the beginning of the handshake (contract F-31); if the upgrade cannot begin, the reader keeps it. From
    /// here on a reset by the peer costs the reader all that it has not read, though reading is paused (F-35).
    pub fn start_tls(
        &self,
        reader: &mut StreamReader,
        side: impl LayerFactory + 'static,
    ) -> Upgrade {
        // If it cannot begin, what came is not of TLS: it stays the reader's.
        let transport = self.transport();
        let may_begin = transport.0.may_have_layer().is_ok();
        let received = if may_begin { reader.surrender() } else { Vec::new() };
        transport.start_layer(side, &received)
    }
}

/// What a handshake agreed upon.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of the protocol.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: CipherSuite,
    /// The application protocol, if both sides know one (ALPN, RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// The name of the server that the client asked for (SNI, RFC 6066).
    pub server_name: Option<String>,
    /// The peer's certificate, and those that certify it; none of a client that was not asked for one.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// True if an earlier session was resumed.
    pub resumed: bool,
}

/// An error of TLS: what the `InvalidData` errors of a handshake and of `connection_lost` contain.
#[derive(Clone, PartialEq, Debug)]
pub struct TlsError(rustls::Error);

impl TlsError {
    /// The error of TLS in an error of a connection, if it is one.
    ///
    /// ```
    /// use sim_core::tls::TlsError;
    /// use std::io;
    ///
    /// assert!(TlsError::of(&io::ErrorKind::ConnectionReset.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        let mut inner = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
        while let Some(error) = inner {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            inner = error.source();
        }
        None
    }

    /// What rustls says.
    pub fn rustls(&self) -> &rustls::Error {
        &self.0
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            rustls::Error::InvalidCertificate(_) => {
                write!(f, "certificate verify failed: {}", self.0)
            }
            rustls::Error::InvalidMessage(_) => write!(f, "this is not TLS: {}", self.0),
            error => error.fmt(f),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self(error)
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("options", &self.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("options", &self.options).finish_non_exhaustive()
    }
}
