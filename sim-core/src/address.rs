//! Host names and ports, as calls take them, and addresses of every kind.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use self::sealed::AddressRef;
use crate::UnixAddr;

/// A host, by name or address, and a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPort {
    /// A socket address, as it is: its IPv6 scope is kept.
    Address(SocketAddr),
    /// A host in words.
    Named {
        /// A name, or an address in its usual text form. Empty: every local address, where a call
        /// listens (contract E-16).
        host: String,
        /// The port, by number or by the name of its service.
        port: Port,
    },
}

/// A port, by number or by the name of its service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Port {
    /// The number; 0 takes a free one, where a call binds.
    Number(u16),
    /// A name that the resolver knows, such as `https`.
    Service(String),
}

impl HostPort {
    /// The address, if host and port are numeric: such need no resolver (E-02). An IPv6 scope in words
    /// (`fe80::1%eth0`) does, and so does the name of a service.
    pub fn numeric(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(addr) => Some(*addr),
            Self::Named { host, port: Port::Number(port) } => {
                numeric_host(host).map(|ip| SocketAddr::new(ip, *port))
            }
            Self::Named { port: Port::Service(_), .. } => None,
        }
    }

    /// True if it names no host: every local address is meant, where a call listens.
    pub(crate) fn is_any(&self) -> bool {
        matches!(self, Self::Named { host, .. } if host.is_empty())
    }
}

/// The address that a host is, if it is no name. Names without a dot are told apart at a glance.
///
/// ```
/// use sim_core::driver::numeric_host;
///
/// assert!(numeric_host("::1").is_some_and(|ip| ip.is_loopback()));
/// assert_eq!(numeric_host("server"), None);
/// ```
pub fn numeric_host(host: &str) -> Option<IpAddr> {
    if host.bytes().any(|byte| byte == b'.' || byte == b':') { host.parse().ok() } else { None }
}

/// True if both are one name: their letters may be of another case (RFC 4343), and a dot may end each (RFC 1034 §3.1).
///
/// ```
/// use sim_core::driver::is_same_name;
///
/// assert!(is_same_name("Server.", "server"));
/// assert!(!is_same_name("server..", "server"));
/// ```
pub fn is_same_name(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| name.strip_suffix('.').unwrap_or(name));
    one.eq_ignore_ascii_case(other)
}

impl From<u16> for Port {
    fn from(number: u16) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Port {
    /// The port of a service; digits are a number, as in asyncio.
    fn from(service: &str) -> Self {
        let number = service.parse().map(Self::Number);
        number.unwrap_or_else(|_| Self::Service(service.to_owned()))
    }
}

/// What names a host and a port: `("server", 7000)`, `("server", "https")`, a socket address, an IP
/// address with a port.
pub trait ToHostPort {
    /// The host and the port.
    fn to_host_port(self) -> HostPort;
}

impl ToHostPort for HostPort {
    fn to_host_port(self) -> HostPort {
        self
    }
}

impl ToHostPort for (&str, u16) {
    fn to_host_port(self) -> HostPort {
        HostPort::Named { host: self.0.to_owned(), port: self.1.into() }
    }
}

impl ToHostPort for (&str, &str) {
    fn to_host_port(self) -> HostPort {
        HostPort::Named { host: self.0.to_owned(), port: self.1.into() }
    }
}

impl ToHostPort for (String, u16) {
    fn to_host_port(self) -> HostPort {
        HostPort::Named { host: self.0, port: self.1.into() }
    }
}

impl ToHostPort for (IpAddr, u16) {
    fn to_host_port(self) -> HostPort {
        SocketAddr::from(self).to_host_port()
    }
}

impl ToHostPort for (Ipv4Addr, u16) {
    fn to_host_port(self) -> HostPort {
        SocketAddr::from(self).to_host_port()
    }
}

impl ToHostPort for (Ipv6Addr, u16) {
    fn to_host_port(self) -> HostPort {
        SocketAddr::from(self).to_host_port()
    }
}

impl ToHostPort for SocketAddr {
    fn to_host_port(self) -> HostPort {
        HostPort::Address(self)
    }
}

/// The address of a socket of either kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Address {
    /// Of an internet socket.
    Ip(SocketAddr),
    /// Of a Unix socket.
    Unix(UnixAddr),
}

impl Address {
    /// The internet address, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }

    /// The Unix address, if it is one.
    pub fn unix(&self) -> Option<&UnixAddr> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(addr) => Some(addr),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

impl From<UnixAddr> for Address {
    fn from(addr: UnixAddr) -> Self {
        Self::Unix(addr)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(addr) => addr.fmt(f),
        }
    }
}

/// What datagrams are sent to: internet addresses, or those of Unix sockets.
///
/// Sealed: [`SocketAddr`] and [`UnixAddr`] are all there are. A [`DatagramTransport`] and a
/// [`DatagramProtocol`] are for one of them, and for internet addresses if they do not say.
///
/// [`DatagramTransport`]: crate::DatagramTransport
/// [`DatagramProtocol`]: crate::DatagramProtocol
pub trait DatagramAddress: Clone + fmt::Debug + Into<Address> + sealed::Sealed + 'static {
    /// Who sent a datagram. A Unix socket need not have a name.
    type Sender;

    #[doc(hidden)]
    fn sender(from: AddressRef<'_>) -> Self::Sender;

    #[doc(hidden)]
    fn of(addr: &Address) -> Option<Self>;

    #[doc(hidden)]
    fn to_ref(&self) -> AddressRef<'_>;
}

pub(crate) mod sealed {
    use std::net::SocketAddr;

    use crate::{Address, UnixAddr};

    pub trait Sealed {}
    impl Sealed for SocketAddr {}
    impl Sealed for UnixAddr {}

    /// An address where it stands. One that was made a moment ago, field by field, is not copied as a whole: that would
    /// wait until the fields are in the cache.
    #[derive(Clone, Copy, Debug)]
    pub enum AddressRef<'a> {
        Ip(&'a SocketAddr),
        Unix(&'a UnixAddr),
    }

    impl AddressRef<'_> {
        pub(crate) fn to_address(self) -> Address {
            match self {
                Self::Ip(addr) => Address::Ip(*addr),
                Self::Unix(addr) => Address::Unix(addr.clone()),
            }
        }
    }

    impl PartialEq<Address> for AddressRef<'_> {
        fn eq(&self, other: &Address) -> bool {
            match (self, other) {
                (Self::Ip(a), Address::Ip(b)) => *a == b,
                (Self::Unix(a), Address::Unix(b)) => *a == b,
                _ => false,
            }
        }
    }

    impl<'a> From<&'a Address> for AddressRef<'a> {
        fn from(addr: &'a Address) -> Self {
            match addr {
                Address::Ip(addr) => Self::Ip(addr),
                Address::Unix(addr) => Self::Unix(addr),
            }
        }
    }
}

impl DatagramAddress for SocketAddr {
    type Sender = Self;

    #[inline]
    fn sender(from: AddressRef<'_>) -> Self {
        match from {
            AddressRef::Ip(addr) => *addr,
            AddressRef::Unix(_) => {
                unreachable!("an internet endpoint hears of internet addresses alone")
            }
        }
    }

    #[inline]
    fn of(addr: &Address) -> Option<Self> {
        addr.ip()
    }

    #[inline]
    fn to_ref(&self) -> AddressRef<'_> {
        AddressRef::Ip(self)
    }
}

impl DatagramAddress for UnixAddr {
    /// `None` if its socket was never bound.
    type Sender = Option<Self>;

    fn sender(from: AddressRef<'_>) -> Option<Self> {
        match from {
            AddressRef::Unix(addr) if !addr.is_unnamed() => Some(addr.clone()),
            _ => None,
        }
    }

    fn of(addr: &Address) -> Option<Self> {
        addr.unix().cloned()
    }

    fn to_ref(&self) -> AddressRef<'_> {
        AddressRef::Unix(self)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    /// E-02: numeric hosts bypass the resolver; a scoped address goes to it.
    #[test]
    fn numeric_hosts_are_told_from_names() {
        assert!(("127.0.0.1", 1).to_host_port().numeric().is_some());
        assert!(("::1", 1).to_host_port().numeric().is_some());
        for name in ["server", "fe80::1%eth0", "", "127.0.0"] {
            assert!((name, 1).to_host_port().numeric().is_none(), "{name:?}");
        }
        let addr: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(addr.to_host_port().numeric(), Some(addr));
        assert_eq!(("::1", "80").to_host_port().numeric(), Some(addr));
        let scoped = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 7));
        assert_eq!(scoped.to_host_port().numeric(), Some(scoped));
        assert!(("::1", "http").to_host_port().numeric().is_none());
    }
}
