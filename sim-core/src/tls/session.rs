//! rustls as a layer.

use std::any::Any;
use std::io::{self, BufRead, Write};
use std::rc::Rc;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::{Entropy, TlsError, TlsInfo, entropy};
use crate::engine::core::Core;
use crate::layer::Layer;
use crate::{Loop, current};

/// One connection's TLS.
pub(super) struct Session {
    connection: Connection,
    core: Rc<Core>,
    /// Lent to the engine while rustls is at work.
    entropy: Option<Entropy>,
    server_name: Option<String>,
    closed_by_peer: bool,
}

/// Runs rustls with the engine as the current one, and with a source of random numbers.
fn with_entropy<R>(core: &Rc<Core>, entropy: &mut Option<Entropy>, code: impl FnOnce() -> R) -> R {
    let _current = current::enter(core);
    let outer = core.entropy.replace(entropy.take());
    let result = code();
    *entropy = core.entropy.replace(outer);
    result
}

/// In a simulation a configuration must be one that repeats.
fn check(lp: &Loop, provider: &CryptoProvider) -> io::Result<()> {
    if !lp.core.driver.is_simulated() || entropy::is_ours(provider) {
        return Ok(());
    }
    let text = "the TLS configuration draws from the operating system, which does not repeat: begin it with \
                sim_core::tls::client_config or server_config";
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

impl Session {
    pub(super) fn client(
        lp: &Loop,
        connection: u32,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        check(lp, config.crypto_provider())?;
        let server_name = Some(name.to_str().into_owned());
        let make = || ClientConnection::new(config, name).map(Connection::Client);
        Self::new(lp, connection, server_name, make)
    }

    pub(super) fn server(
        lp: &Loop,
        connection: u32,
        config: Arc<ServerConfig>,
    ) -> io::Result<Self> {
        check(lp, config.crypto_provider())?;
        Self::new(lp, connection, None, || ServerConnection::new(config).map(Connection::Server))
    }

    fn new(
        lp: &Loop,
        connection: u32,
        server_name: Option<String>,
        make: impl FnOnce() -> Result<Connection, rustls::Error>,
    ) -> io::Result<Self> {
        let core = Rc::clone(&lp.core);
        let mut entropy = Some(Entropy::of(lp, connection));
        let made = with_entropy(&core, &mut entropy, make);
        let mut connection = made.map_err(TlsError::from)?;
        // What is handed over is what there is room for below, so it needs no other limit.
        connection.set_buffer_limit(None);
        Ok(Self { connection, core, entropy, server_name, closed_by_peer: false })
    }

    /// Runs rustls on what it has read, and takes out what that says.
    fn process(&mut self, plain: &mut Vec<u8>) -> io::Result<()> {
        let connection = &mut self.connection;
        let processed =
            with_entropy(&self.core, &mut self.entropy, || connection.process_new_packets());
        let mut reader = self.connection.reader();
        while let Ok(chunk) = reader.fill_buf() {
            if chunk.is_empty() {
                break;
            }
            plain.extend_from_slice(chunk);
            let bytes = chunk.len();
            reader.consume(bytes);
        }
        let state = processed.map_err(TlsError::from)?;
        self.closed_by_peer = state.peer_has_closed();
        Ok(())
    }
}

impl Layer for Session {
    fn receive(&mut self, mut below: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        // What comes after the goodbye is nothing to anybody.
        while !below.is_empty() && !self.closed_by_peer {
            if self.connection.read_tls(&mut below)? == 0 {
                break;
            }
            self.process(plain)?;
        }
        Ok(())
    }

    fn send(&mut self, plain: &[u8], below: &mut Vec<u8>) -> io::Result<()> {
        let connection = &mut self.connection;
        with_entropy(&self.core, &mut self.entropy, || connection.writer().write_all(plain))?;
        self.take_output(below);
        Ok(())
    }

    fn take_output(&mut self, below: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(below).expect("a vector takes everything");
        }
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn close(&mut self) {
        let connection = &mut self.connection;
        with_entropy(&self.core, &mut self.entropy, || connection.send_close_notify());
    }

    fn is_closed_by_peer(&self) -> bool {
        self.closed_by_peer
    }

    fn info(&self) -> Option<Rc<dyn Any>> {
        let connection = &self.connection;
        let server_name = match connection {
            Connection::Client(_) => self.server_name.clone(),
            Connection::Server(server) => server.server_name().map(str::to_owned),
        };
        let certificates = connection.peer_certificates().unwrap_or_default();
        let info = TlsInfo {
            version: connection.protocol_version()?,
            cipher_suite: connection.negotiated_cipher_suite()?.suite(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            peer_certificates: certificates.iter().map(|der| der.clone().into_owned()).collect(),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        };
        Some(Rc::new(info))
    }
}
