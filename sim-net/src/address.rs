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
    /// `ffXX::n`: an IPv6 group with its flags and scope and a number (RFC 4291 §2.7, RFC 3307 §4).
    Group6(u8, u32),
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
    /// A group, or every host.
    Many,
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
            IpAddr::V6(v6) if v6.is_multicast() => {
                let bits = v6.to_bits();
                let number = (bits & !(0xffff << 112)).try_into().ok()?;
                Some(Self::Group6((bits >> 112) as u8, number))
            }
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
            Self::Group6(scope, number) => {
                let head = 0xff00 | u128::from(scope);
                Ipv6Addr::from_bits(head << 112 | u128::from(number)).into()
            }
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

    /// True for 224.0.0.0/4 and ff00::/8.
    pub(crate) fn is_multicast(self) -> bool {
        match self {
            Self::V4(bits) => bits >> 28 == 0xe,
            other => matches!(other, Self::Group6(..)),
        }
    }

    /// True if nothing that is sent to it goes to one host: groups, broadcast, and what is reserved
    /// (240.0.0.0/4).
    #[inline]
    pub(crate) fn is_to_many(self) -> bool {
        match self {
            Self::V4(bits) => bits >= 0xe000_0000 || bits == NET4 | HOST_BITS,
            other => matches!(other, Self::Group6(..)),
        }
    }

    /// True for a group that no packet leaves its host for: of scope 1 (RFC 4291 §2.7).
    pub(crate) fn stays_on_host(self) -> bool {
        matches!(self, Self::Group6(scope, _) if scope & 15 <= 1)
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
        if self.is_to_many() {
            let is_known = self.is_broadcast() || self.is_multicast();
            return if is_known { Route::Many } else { Route::None };
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

    /// It as a number, which no other has.
    pub(crate) fn bits(self) -> u64 {
        let (kind, scope, number) = match self.ip {
            Ip::V4(bits) => (0, 0, bits),
            Ip::Any6 => (1, 0, 0),
            Ip::Loopback6 => (2, 0, 0),
            Ip::Group6(scope, number) => (3, scope, number),
            Ip::Host6(number) => (4, 0, number),
        };
        let kind = u64::from(self.port) << 16 | kind << 8 | u64::from(scope);
        kind << 32 | u64::from(number)
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
        for text in [
            "10.0.1.2:80",
            "127.0.0.9:1",
            "[::1]:7",
            "[::]:0",
            "[fd00::102]:9",
            "0.0.0.0:0",
            "239.255.1.2:9",
            "[ff02::fb]:5353",
            "[ff3e::ffff:ffff]:1",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Endpoint::from_addr(addr).unwrap().to_addr(), addr);
        }
        assert_eq!(Ip::from_addr("2001:db8::1".parse().unwrap()), None);
        assert_eq!(Ip::from_addr("ff02::1:0:0".parse().unwrap()), None);
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
        for many in ["10.255.255.255", "255.255.255.255", "224.0.0.0", "239.255.255.255", "ff02::1"]
        {
            assert_eq!(route(many), Route::Many, "{many}");
        }
        assert_eq!((route("240.0.0.1"), route("223.255.255.255")), (Route::None, Route::None));
        assert_eq!(route("192.0.2.1"), Route::None);
    }
}
