//! A driver's socket as a value.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::Loop;
use crate::driver::{Family, SocketKind, SocketOption, Source};
use crate::error::AddressError;
use crate::handle::closed_error;

/// A socket of a loop's driver, owned: closed when dropped, unless a transport took it.
///
/// What asyncio passes as `sock=`, on both loops. [`Connecting::adopt`](crate::Connecting::adopt)
/// makes a transport of it.
pub struct Socket {
    lp: Loop,
    source: Option<Source>,
}

impl Socket {
    /// A new socket: not bound, not connected.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left, or the loop is closed.
    pub fn open(lp: &Loop, kind: SocketKind, family: Family) -> io::Result<Self> {
        if lp.core.is_closed() {
            return Err(closed_error());
        }
        let source = lp.core.driver.open(kind, family)?;
        Ok(Self::from_source(lp, source))
    }

    /// Takes over a source of the loop's driver: for drivers that adopt sockets made elsewhere.
    pub fn from_source(lp: &Loop, source: Source) -> Self {
        Self { lp: lp.clone(), source: Some(source) }
    }

    /// Sets a switch.
    ///
    /// # Errors
    ///
    /// What `setsockopt` gives.
    pub fn set_option(&self, option: SocketOption) -> io::Result<()> {
        self.lp.core.driver.set_option(self.source(), option)
    }

    /// Gives it a local address.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, with the address in the text.
    pub fn bind(&self, local: SocketAddr) -> io::Result<()> {
        let bound = self.lp.core.driver.bind(self.source(), local);
        bound.map_err(|error| AddressError::wrap("bind to", local, error))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// What `getsockname` gives.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.lp.core.driver.local_addr(self.source())
    }

    /// The loop whose driver it is of.
    pub fn event_loop(&self) -> &Loop {
        &self.lp
    }

    pub(crate) fn source(&self) -> Source {
        self.source.expect("only into_source takes it, and consumes the socket")
    }

    pub(crate) fn into_source(mut self) -> Source {
        self.source.take().expect("only into_source takes it, and consumes the socket")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            self.lp.core.driver.close(source);
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("source", &self.source).finish_non_exhaustive()
    }
}
