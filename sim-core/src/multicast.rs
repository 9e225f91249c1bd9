//! Datagrams to many: what an endpoint joins, and how it sends.

use std::io;
use std::net::IpAddr;

use crate::DatagramTransport;
use crate::driver::{Membership, SocketOption};

/// Groups and broadcast. Each acts at once, until `connection_lost`.
///
/// An endpoint hears of a group that it has joined if it is bound to the group's address or to every
/// address, at the port that is sent to; several on one host need
/// [`reuse_port`](crate::DatagramBuilder::reuse_port). As on Linux, a group that one socket of a host
/// has joined is heard by every such endpoint of the host (`IP_MULTICAST_ALL`).
///
/// ```
/// # use std::net::{IpAddr, SocketAddr};
/// # use sim_core::{Cx, DatagramProtocol, DatagramTransport, Loop};
/// # struct Ear;
/// # impl DatagramProtocol for Ear {
/// #     fn datagram_received(&mut self, _: &mut Cx<'_, Self, DatagramTransport>, _: &[u8], _: SocketAddr) {}
/// # }
/// async fn announce(sender: Loop, member: Loop) -> std::io::Result<()> {
///     let group: IpAddr = [239, 1, 2, 3].into();
///     let ear = member.datagram().local((group, 7000)).bind(|| Ear).await?;
///     ear.transport().join_multicast(group, None)?;
///     let mouth = sender.datagram().local(("", 0)).bind(|| Ear).await?;
///     mouth.transport().send_to(b"here I am", Some((group, 7000).into()))
/// }
/// # drop(announce);
/// ```
impl DatagramTransport {
    /// Receives what is sent to `group`, at the interface with this address, or at one that the system
    /// chooses. The membership ends with the endpoint.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `group` is no multicast address or an address is of another family than the
    /// endpoint; `EADDRINUSE` if it is joined already, `ENODEV` if no interface has the address,
    /// `ENOBUFS` for more than 20 groups; on a closed endpoint.
    pub fn join_multicast(&self, group: IpAddr, interface: Option<IpAddr>) -> io::Result<()> {
        let membership = self.membership(group, interface)?;
        self.endpoint.set_option(SocketOption::JoinMulticast(membership))
    }

    /// Undoes [`join_multicast`](Self::join_multicast) with the same arguments.
    ///
    /// # Errors
    ///
    /// As there; `EADDRNOTAVAIL` if it is not joined.
    pub fn leave_multicast(&self, group: IpAddr, interface: Option<IpAddr>) -> io::Result<()> {
        let membership = self.membership(group, interface)?;
        self.endpoint.set_option(SocketOption::LeaveMulticast(membership))
    }

    /// Whether what the endpoint sends to groups is received on its own host, too, where they are
    /// joined. True from the start. It says nothing about the loopback interface, which carries to its
    /// own host alone.
    ///
    /// # Errors
    ///
    /// On a closed endpoint.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.endpoint.set_option(SocketOption::MulticastLoop(on))
    }

    /// How far what the endpoint sends to groups travels: 0 keeps it on its host, 1 on its network, as
    /// it is from the start; each router takes one.
    ///
    /// # Errors
    ///
    /// On a closed endpoint.
    pub fn set_multicast_hops(&self, hops: u8) -> io::Result<()> {
        self.endpoint.set_option(SocketOption::MulticastHops(hops))
    }

    /// Sends what goes to groups by the interface with this address. From the start, it is that of the
    /// address that the endpoint is bound to, or the one that the system chooses.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an address of another family; `EADDRNOTAVAIL` or `ENODEV` if no interface has
    /// it; on a closed endpoint.
    pub fn set_multicast_interface(&self, interface: IpAddr) -> io::Result<()> {
        self.check_family(interface)?;
        self.endpoint.set_option(SocketOption::MulticastInterface(interface))
    }

    /// Whether datagrams may go to a broadcast address: without, they end in `EACCES`, as
    /// `error_received`.
    ///
    /// # Errors
    ///
    /// On a closed endpoint.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.endpoint.set_option(SocketOption::Broadcast(on))
    }

    fn membership(&self, group: IpAddr, interface: Option<IpAddr>) -> io::Result<Membership> {
        if !group.is_multicast() {
            return Err(invalid(format!(
                "{group} is no group: give an address of 224.0.0.0/4 or ff00::/8"
            )));
        }
        self.check_family(group)?;
        interface.map_or(Ok(()), |interface| self.check_family(interface))?;
        Ok(Membership { group, interface })
    }

    fn check_family(&self, ip: IpAddr) -> io::Result<()> {
        match self.sockname() {
            Some(own) if own.is_ipv4() != ip.is_ipv4() => {
                Err(invalid(format!("{ip} is of another family than the endpoint at {own}")))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
