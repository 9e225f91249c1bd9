//! Addresses of hosts, in eight bytes.
//!
//! Host number n of a world has 10.0.0.0 + n and fd00:: + n, and every host has 127.0.0.0/8 and
//! ::1 to itself. Nothing else exists, so an address is stored as a small number and compared as
//! one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sim_core::driver::Family;

/// The network that all hosts are on, 10.0.0.0/8.
const NET4: u32 = 0x0a00_0000;
const HOST_BITS: u32 = 0x00ff_ffff;

/// An address that a simulated socket can have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Ip {
    /// Any IPv4 address.
    V4(u32),
    /// The IPv6 wildcard.
    Any6,
    /// `::1`.
    Loopback6,
    /// `fd00::n`.
    Host6(u32),
}

/// Where a packet to an address goes, as seen from the sending host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// The sender itself, over its loopback interface.
    Loopback,
    /// The host with this number; there need not be one.
    Host(u32),
    /// Every host.
    Broadcast,
    /// No route: `ENETUNREACH`.
    None,
}

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    pub(crate) ip: Ip,
}

impl Ip {
    /// The address of host number `number` in `family`.
    pub(crate) fn of_host(number: u32, family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(NET4 | number),
            Family::V6 => Self::Host6(number),
        }
    }

    /// The wildcard of `family`.
    pub(crate) fn any(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(0),
            Family::V6 => Self::Any6,
        }
    }

    /// The number for a real address, or `None` if no simulated socket can have it.
    pub(crate) fn from_addr(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(v4) => Some(Self::V4(v4.to_bits())),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Self::Any6),
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Self::Loopback6),
            IpAddr::V6(v6) => {
                let number = v6.to_bits().checked_sub(0xfd00_u128 << 112)?;
                u32::try_from(number).ok().map(Self::Host6)
            }
        }
    }

    /// The real address.
    pub(crate) fn to_addr(self) -> IpAddr {
        match self {
            Self::V4(bits) => Ipv4Addr::from_bits(bits).into(),
            Self::Any6 => Ipv6Addr::UNSPECIFIED.into(),
            Self::Loopback6 => Ipv6Addr::LOCALHOST.into(),
            Self::Host6(number) => Ipv6Addr::from_bits((0xfd00 << 112) | u128::from(number)).into(),
        }
    }

    pub(crate) fn family(self) -> Family {
        if matches!(self, Self::V4(_)) { Family::V4 } else { Family::V6 }
    }

    pub(crate) fn is_any(self) -> bool {
        matches!(self, Self::V4(0) | Self::Any6)
    }

    pub(crate) fn is_loopback(self) -> bool {
        match self {
            Self::V4(bits) => bits >> 24 == 127,
            other => other == Self::Loopback6,
        }
    }

    /// True for 255.255.255.255 and the broadcast address of 10.0.0.0/8.
    pub(crate) fn is_broadcast(self) -> bool {
        matches!(self, Self::V4(u32::MAX)) || self == Self::V4(NET4 | HOST_BITS)
    }

    /// True if host `number` may bind this address.
    pub(crate) fn is_local_to(self, number: u32) -> bool {
        self.is_any() || self.route(number) == Route::Loopback
    }

    /// Where host `number` sends a packet for this address. The wildcard means the host itself, as
    /// on Linux.
    pub(crate) fn route(self, number: u32) -> Route {
        if self.is_loopback() || self.is_any() {
            return Route::Loopback;
        }
        if self.is_broadcast() {
            return Route::Broadcast;
        }
        let to = match self {
            Self::V4(bits) if bits & !HOST_BITS == NET4 => bits & HOST_BITS,
            Self::Host6(to) => to,
            _ => return Route::None,
        };
        if to == number { Route::Loopback } else { Route::Host(to) }
    }

    /// True if sockets bound to the two addresses compete for a port.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self == other || self.family() == other.family() && (self.is_any() || other.is_any())
    }
}

impl Endpoint {
    pub(crate) fn new(ip: Ip, port: u16) -> Self {
        Self { port, ip }
    }

    /// The endpoint for a real address, or `None` if no simulated socket can have it.
    pub(crate) fn from_addr(addr: SocketAddr) -> Option<Self> {
        Ip::from_addr(addr.ip()).map(|ip| Self::new(ip, addr.port()))
    }

    pub(crate) fn to_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip.to_addr(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in
            ["10.0.1.2:80", "127.0.0.9:1", "[::1]:7", "[::]:0", "[fd00::102]:9", "0.0.0.0:0"]
        {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Endpoint::from_addr(addr).unwrap().to_addr(), addr);
        }
        assert_eq!(Ip::from_addr("2001:db8::1".parse().unwrap()), None);
        assert_eq!(Ip::of_host(258, Family::V4).to_addr().to_string(), "10.0.1.2");
        assert_eq!(Ip::of_host(258, Family::V6).to_addr().to_string(), "fd00::102");
    }

    #[test]
    fn a_host_reaches_itself_over_loopback_and_others_by_number() {
        let route = |text: &str| Ip::from_addr(text.parse().unwrap()).unwrap().route(3);
        assert_eq!(route("10.0.0.3"), Route::Loopback);
        assert_eq!(route("127.1.2.3"), Route::Loopback);
        assert_eq!(route("fd00::3"), Route::Loopback);
        assert_eq!(route("fd00::4"), Route::Host(4));
        assert_eq!(route("10.0.0.4"), Route::Host(4));
        assert_eq!(route("10.255.255.255"), Route::Broadcast);
        assert_eq!(route("192.0.2.1"), Route::None);
    }
}
