//! What a transport's user may do with its socket.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::stream::Stream;
use crate::driver::{SocketOption, Source};
use crate::tcp_options::{Keepalive, TcpOptions};

/// The socket of a stream transport, to set its options and to ask for them: asyncio's
/// `get_extra_info('socket')`.
///
/// Nothing here closes the socket, reads or writes, or changes its mode (contract C-96).
/// [`Transport::socket`](super::Transport::socket) lends it. It may be kept; once the connection is lost, that is from
/// `connection_lost` on, every method fails.
///
/// ```
/// use std::time::Duration;
/// use sim_core::{Keepalive, Protocol, Cx, testing};
///
/// struct Watchful;
/// impl Protocol for Watchful {
///     fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
///         let idle = Duration::from_secs(30);
///         let socket = cx.transport().socket();
///         socket.set_keepalive(Some(Keepalive { idle, ..Keepalive::default() })).expect("it is open");
///     }
///     fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
/// }
///
/// let peer = testing::drive(Watchful);
/// let socket = peer.transport().socket();
/// assert_eq!(socket.keepalive()?.expect("it is on").count, 9);
/// assert!(socket.nodelay()? && socket.user_timeout()?.is_none());
/// assert!(socket.set_user_timeout(Some(Duration::ZERO)).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct TransportSocket(Rc<Stream>);

impl TransportSocket {
    pub(super) fn new(stream: &Rc<Stream>) -> Self {
        Self(Rc::clone(stream))
    }

    /// Sets whether small writes go out at once: `TCP_NODELAY`, on from the start (contract C-18). Off,
    /// a segment that is not full waits while another such one is unacknowledged (Nagle's algorithm,
    /// RFC 9293 §3.7.4). What waits goes out when it is set.
    ///
    /// # Errors
    ///
    /// `NotConnected` on a lost connection.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.set_option(SocketOption::NoDelay(on))
    }

    /// True if small writes go out at once.
    ///
    /// # Errors
    ///
    /// `NotConnected` on a lost connection.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.options()?.nodelay)
    }

    /// Sets whether, and how, a silent peer is probed: `SO_KEEPALIVE` and its figures. A peer that
    /// answers no probe has the connection end in `TimedOut`.
    ///
    /// Silence counts from what was last heard of the peer, also if it began before this call.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for figures that [`Keepalive`] excludes, `NotConnected` on a lost connection.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.set_option(SocketOption::Keepalive(keepalive))
    }

    /// How a silent peer is probed; `None` if it is not.
    ///
    /// # Errors
    ///
    /// `NotConnected` on a lost connection.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        Ok(self.options()?.keepalive)
    }

    /// Sets how long what was sent may stay unacknowledged, or wait for a window, before the
    /// connection ends in `TimedOut`: `TCP_USER_TIMEOUT` (RFC 5482). `None` leaves it to the system:
    /// about a quarter of an hour.
    ///
    /// It counts from the first retransmission and is judged when the retransmission timer runs out.
    /// Where keepalive is on, it takes the place of the count of probes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless it is in whole milliseconds, from 1 to 2³¹ − 1; `NotConnected` on a lost
    /// connection.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_option(SocketOption::UserTimeout(timeout))
    }

    /// How long what was sent may stay unacknowledged; `None` if that is left to the system.
    ///
    /// # Errors
    ///
    /// `NotConnected` on a lost connection.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.options()?.user_timeout)
    }

    fn set_option(&self, option: SocketOption) -> io::Result<()> {
        let option = option.check()?;
        self.0.lp.core.driver.set_option(self.source()?, option)
    }

    fn options(&self) -> io::Result<TcpOptions> {
        self.0.lp.core.driver.tcp_options(self.source()?)
    }

    fn source(&self) -> io::Result<Source> {
        self.0.socket().ok_or_else(|| {
            let text = "the connection is lost: its socket has no options any more";
            io::Error::new(io::ErrorKind::NotConnected, text)
        })
    }
}

impl fmt::Debug for TransportSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportSocket").field("options", &self.options()).finish_non_exhaustive()
    }
}
