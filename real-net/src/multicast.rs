//! Options of multicast, in the words of either family.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use sim_core::driver::Membership;
use socket2::{Domain, Socket};

/// Where Linux lists the IPv6 addresses of interfaces: address and index are the first two columns.
const ADDRESSES6: &str = "/proc/net/if_inet6";

pub(crate) fn join(socket: &Socket, membership: Membership) -> io::Result<()> {
    match membership.group {
        IpAddr::V4(group) => socket.join_multicast_v4(&group, &address4(membership.interface)?),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index6(membership.interface)?),
    }
}

pub(crate) fn leave(socket: &Socket, membership: Membership) -> io::Result<()> {
    match membership.group {
        IpAddr::V4(group) => socket.leave_multicast_v4(&group, &address4(membership.interface)?),
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, index6(membership.interface)?),
    }
}

pub(crate) fn set_interface(socket: &Socket, interface: IpAddr) -> io::Result<()> {
    match interface {
        IpAddr::V4(address) => socket.set_multicast_if_v4(&address),
        IpAddr::V6(_) => socket.set_multicast_if_v6(index6(Some(interface))?),
    }
}

pub(crate) fn set_loop(socket: &Socket, on: bool) -> io::Result<()> {
    match socket.domain()? {
        Domain::IPV6 => socket.set_multicast_loop_v6(on),
        _ => socket.set_multicast_loop_v4(on),
    }
}

pub(crate) fn set_hops(socket: &Socket, hops: u8) -> io::Result<()> {
    match socket.domain()? {
        Domain::IPV6 => socket.set_multicast_hops_v6(hops.into()),
        _ => socket.set_multicast_ttl_v4(hops.into()),
    }
}

/// In IPv4 an interface is known by its address.
fn address4(interface: Option<IpAddr>) -> io::Result<Ipv4Addr> {
    match interface {
        None => Ok(Ipv4Addr::UNSPECIFIED),
        Some(IpAddr::V4(address)) => Ok(address),
        Some(IpAddr::V6(_)) => Err(Errno::INVAL.into()),
    }
}

/// In IPv6 it is known by its index.
fn index6(interface: Option<IpAddr>) -> io::Result<u32> {
    match interface {
        None | Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ok(0),
        Some(IpAddr::V6(address)) => {
            let known = fs::read_to_string(ADDRESSES6)?;
            index_of(address, &known).ok_or_else(|| Errno::NODEV.into())
        }
        Some(IpAddr::V4(_)) => Err(Errno::INVAL.into()),
    }
}

/// The index of the interface that has an address, given the kernel's list of them.
fn index_of(address: Ipv6Addr, known: &str) -> Option<u32> {
    known.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        let bits = u128::from_str_radix(columns.next()?, 16).ok()?;
        let index = u32::from_str_radix(columns.next()?, 16).ok()?;
        (bits == address.to_bits()).then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_found_by_its_address() {
        let known = "fd000000000000000000000000000002 04 40 00 82     eth0\n\
                     00000000000000000000000000000001 0a 80 10 80       lo\n\
                     not a line\n";
        assert_eq!(index_of(Ipv6Addr::LOCALHOST, known), Some(10));
        assert_eq!(index_of("fd00::2".parse().unwrap(), known), Some(4));
        assert_eq!(index_of("fd00::3".parse().unwrap(), known), None);
        assert_eq!(index6(None).unwrap(), 0);
        assert_eq!(index6(Some(Ipv4Addr::LOCALHOST.into())).unwrap_err().raw_os_error(), Some(22));
        assert_eq!(
            address4(Some(Ipv6Addr::LOCALHOST.into())).unwrap_err().raw_os_error(),
            Some(22)
        );
    }
}
