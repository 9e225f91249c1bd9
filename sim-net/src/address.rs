//! Addresses of hosts, in eight bytes with their ports.
//!
//! Host number n of a world has 10.0.0.0 + n and fd00:: + n, and every host has 127.0.0.0/8 and
//! ::1 to itself. Nothing else exists, so an address is stored as a small number and compared as
//! one.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sim_core::driver::Family;

/// The network that all hosts are on, 10.0.0.0/8.
const NET4: u32 = 0x0a00_0000;
const HOST_BITS: u32 = 0x00ff_ffff;

/// An address that a simulated socket can have.
///
/// Its parts stand so that, with a port behind them, they are one number of 64 bits: addresses are
/// compared for each packet.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Ip {
    low: u16,
    high: u16,
    /// The flags and scope of an IPv6 group.
    scope: u8,
    /// What it is: one of the constants that follow, which are in order.
    kind: u8,
}

/// An IPv4 address: its number is its bits.
const V4: u8 = 0;
/// The IPv6 wildcard.
const WILDCARD6: u8 = 1;
/// `::1`.
const OWN6: u8 = 2;
/// `ffXX::n`: an IPv6 group with its flags and scope and a number (RFC 4291 §2.7, RFC 3307 §4).
const GROUP6: u8 = 3;
/// `fd00::n`.
const HOST6: u8 = 4;

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

/// An address and a port. They are ordered by their ports first.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Endpoint {
    pub(crate) ip: Ip,
    pub(crate) port: u16,
}

impl Ip {
    /// The IPv6 wildcard.
    pub(crate) const ANY6: Self = Self::new(WILDCARD6, 0, 0);
    /// `::1`.
    pub(crate) const LOOPBACK6: Self = Self::new(OWN6, 0, 0);
    /// 127.0.0.1.
    pub(crate) const LOCALHOST4: Self = Self::v4(0x7f00_0001);

    #[inline]
    const fn new(kind: u8, scope: u8, number: u32) -> Self {
        Self { low: number as u16, high: (number >> 16) as u16, scope, kind }
    }

    /// The IPv4 address with these bits.
    #[inline]
    pub(crate) const fn v4(bits: u32) -> Self {
        Self::new(V4, 0, bits)
    }

    /// `fd00::n`.
    pub(crate) const fn host6(number: u32) -> Self {
        Self::new(HOST6, 0, number)
    }

    /// Its bits, if it is an IPv4 address, or the number in it, if it has one.
    #[inline]
    const fn number(self) -> u32 {
        (self.high as u32) << 16 | self.low as u32
    }

    /// It as a number of 48 bits, which no other has.
    #[inline]
    const fn bits(self) -> u64 {
        (self.kind as u64) << 40 | (self.scope as u64) << 32 | self.number() as u64
    }

    /// The address of host number `number` in `family`.
    pub(crate) fn of_host(number: u32, family: Family) -> Self {
        match family {
            Family::V4 => Self::v4(NET4 | number),
            Family::V6 => Self::host6(number),
        }
    }

    /// The wildcard of `family`.
    pub(crate) fn any(family: Family) -> Self {
        match family {
            Family::V4 => Self::v4(0),
            Family::V6 => Self::ANY6,
        }
    }

    /// The number for a real address, or `None` if no simulated socket can have it.
    #[inline]
    pub(crate) fn from_addr(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(v4) => Some(Self::v4(v4.to_bits())),
            IpAddr::V6(v6) => Self::from_v6(v6),
        }
    }

    fn from_v6(addr: Ipv6Addr) -> Option<Self> {
        match addr {
            Ipv6Addr::UNSPECIFIED => Some(Self::ANY6),
            Ipv6Addr::LOCALHOST => Some(Self::LOOPBACK6),
            group if group.is_multicast() => {
                let bits = group.to_bits();
                let number = (bits & !(0xffff << 112)).try_into().ok()?;
                Some(Self::new(GROUP6, (bits >> 112) as u8, number))
            }
            host => {
                let number = host.to_bits().checked_sub(0xfd00_u128 << 112)?;
                u32::try_from(number).ok().map(Self::host6)
            }
        }
    }

    /// The real address.
    #[inline]
    pub(crate) fn to_addr(self) -> IpAddr {
        if self.kind == V4 {
            return Ipv4Addr::from_bits(self.number()).into();
        }
        self.to_v6().into()
    }

    fn to_v6(self) -> Ipv6Addr {
        let number = u128::from(self.number());
        match self.kind {
            WILDCARD6 => Ipv6Addr::UNSPECIFIED,
            OWN6 => Ipv6Addr::LOCALHOST,
            GROUP6 => Ipv6Addr::from_bits((0xff00 | u128::from(self.scope)) << 112 | number),
            _ => Ipv6Addr::from_bits((0xfd00 << 112) | number),
        }
    }

    #[inline]
    pub(crate) fn family(self) -> Family {
        if self.kind == V4 { Family::V4 } else { Family::V6 }
    }

    pub(crate) fn is_any(self) -> bool {
        self == Self::v4(0) || self == Self::ANY6
    }

    pub(crate) fn is_loopback(self) -> bool {
        self.kind == V4 && self.number() >> 24 == 127 || self == Self::LOOPBACK6
    }

    /// True for 255.255.255.255 and the broadcast address of 10.0.0.0/8.
    pub(crate) fn is_broadcast(self) -> bool {
        self == Self::v4(u32::MAX) || self == Self::v4(NET4 | HOST_BITS)
    }

    /// True for 224.0.0.0/4 and ff00::/8.
    pub(crate) fn is_multicast(self) -> bool {
        match self.kind {
            V4 => self.number() >> 28 == 0xe,
            kind => kind == GROUP6,
        }
    }

    /// True if nothing that is sent to it goes to one host: groups, broadcast, and what is reserved
    /// (240.0.0.0/4).
    #[inline]
    pub(crate) fn is_to_many(self) -> bool {
        match self.kind {
            V4 => self.number() >= 0xe000_0000 || self.number() == NET4 | HOST_BITS,
            kind => kind == GROUP6,
        }
    }

    /// True for a group that no packet leaves its host for: of scope 1 (RFC 4291 §2.7).
    pub(crate) fn stays_on_host(self) -> bool {
        self.kind == GROUP6 && self.scope & 15 <= 1
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
        let to = match self.kind {
            V4 if self.number() & !HOST_BITS == NET4 => self.number() & HOST_BITS,
            HOST6 => self.number(),
            _ => return Route::None,
        };
        if to == number { Route::Loopback } else { Route::Host(to) }
    }

    /// True if sockets bound to the two addresses compete for a port.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self == other || self.family() == other.family() && (self.is_any() || other.is_any())
    }
}

impl PartialEq for Ip {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Ip {}

impl PartialOrd for Ip {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ip {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits().cmp(&other.bits())
    }
}

impl fmt::Debug for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_addr().fmt(f)
    }
}

impl Endpoint {
    #[inline]
    pub(crate) const fn new(ip: Ip, port: u16) -> Self {
        Self { ip, port }
    }

    /// The endpoint for a real address, or `None` if no simulated socket can have it.
    #[inline]
    pub(crate) fn from_addr(addr: SocketAddr) -> Option<Self> {
        Ip::from_addr(addr.ip()).map(|ip| Self::new(ip, addr.port()))
    }

    /// It as a number, which no other has.
    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        (self.port as u64) << 48 | self.ip.bits()
    }

    #[inline]
    pub(crate) fn to_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip.to_addr(), self.port)
    }
}

impl PartialEq for Endpoint {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Endpoint {}

impl PartialOrd for Endpoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Endpoint {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits().cmp(&other.bits())
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
