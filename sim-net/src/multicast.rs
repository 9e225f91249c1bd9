//! Datagrams to many: groups and broadcast.
//!
//! A datagram to many is a datagram to each host that is to hear it, each copy over its own link with a
//! flow and a lane of its own. For a group these are the hosts that have joined it, as behind a switch
//! that listens to IGMP; a host with a TUN device, whose own stack decides, hears all of them.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use sim_core::driver::{Family, Membership, SocketOption};

use crate::address::{Endpoint, Ip};
use crate::agenda::Place;
use crate::errno::{
    self, EACCES, EADDRINUSE, EADDRNOTAVAIL, EBADF, EINVAL, EMSGSIZE, ENETUNREACH, ENOBUFS, ENODEV,
    EPROTO,
};
use crate::faults;
use crate::memory::clear_map;
use crate::network::Network;
use crate::packet::{Body, udp_headers};
use crate::socket_table::SocketId;
use crate::trace::DropReason;

/// How many groups a socket joins at most (`igmp_max_memberships`).
const MEMBERSHIPS_MAX: usize = 20;

/// An interface of a host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Interface {
    Network,
    Loopback,
}

/// What a socket has set about datagrams to many.
#[derive(Debug)]
pub(crate) struct Multicast {
    memberships: Vec<(Ip, Interface)>,
    interface: Option<Interface>,
    hops: u8,
    is_looped: bool,
}

impl Default for Multicast {
    fn default() -> Self {
        Self { memberships: Vec::new(), interface: None, hops: 1, is_looped: true }
    }
}

/// Who has joined which group.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// How many sockets of each host have joined a group at an interface.
    members: BTreeMap<(Ip, Interface), BTreeMap<u32, u32>>,
}

impl Groups {
    /// Nobody is in any.
    pub(crate) fn renew(&mut self) {
        clear_map(&mut self.members);
    }

    fn join(&mut self, group: (Ip, Interface), host: u32) {
        *self.members.entry(group).or_default().entry(host).or_default() += 1;
    }

    fn leave(&mut self, group: (Ip, Interface), host: u32) {
        let Some(hosts) = self.members.get_mut(&group) else {
            return;
        };
        if let Some(sockets) = hosts.get_mut(&host) {
            *sockets -= 1;
            hosts.retain(|_, sockets| *sockets > 0);
        }
        if hosts.is_empty() {
            self.members.remove(&group);
        }
    }

    /// The sockets of a host are gone.
    pub(crate) fn forget(&mut self, host: u32) {
        self.members.retain(|_, hosts| {
            hosts.remove(&host);
            !hosts.is_empty()
        });
    }

    fn has(&self, group: (Ip, Interface), host: u32) -> bool {
        self.members.get(&group).is_some_and(|hosts| hosts.contains_key(&host))
    }

    /// The hosts that have joined, in order.
    fn hosts(&self, group: (Ip, Interface)) -> impl Iterator<Item = u32> {
        self.members.get(&group).into_iter().flat_map(|hosts| hosts.keys().copied())
    }
}

// Options.
impl Network {
    /// Sets an option of multicast; says if it is none.
    pub(crate) fn set_multicast(
        &mut self,
        id: SocketId,
        host: u32,
        option: SocketOption,
    ) -> Option<io::Result<()>> {
        let set = match option {
            SocketOption::JoinMulticast(membership) => self.join(id, host, membership),
            SocketOption::LeaveMulticast(membership) => self.leave(id, host, membership),
            SocketOption::MulticastInterface(address) => {
                let interface = self.interface_of(host, address, EADDRNOTAVAIL);
                interface.and_then(|it| self.multicast(id).map(|own| own.interface = Some(it)))
            }
            SocketOption::MulticastLoop(on) => self.multicast(id).map(|own| own.is_looped = on),
            SocketOption::MulticastHops(hops) => self.multicast(id).map(|own| own.hops = hops),
            _ => return None,
        };
        Some(set)
    }

    fn multicast(&mut self, id: SocketId) -> io::Result<&mut Multicast> {
        // Groups are not for connections.
        let error = if self.sockets.get(id).is_some() { EPROTO } else { EBADF };
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(error))?;
        Ok(&mut socket.multicast)
    }

    /// The interface of a host that has an address.
    fn interface_of(&self, host: u32, address: IpAddr, error: i32) -> io::Result<Interface> {
        let number = self.hosts[host as usize].number;
        match Ip::from_addr(address) {
            Some(ip) if ip.is_any() => Ok(Interface::Network),
            Some(ip) if ip.is_loopback() => Ok(Interface::Loopback),
            Some(ip) if ip == Ip::of_host(number, ip.family()) => Ok(Interface::Network),
            _ => Err(errno::os(error)),
        }
    }

    fn membership(
        &mut self,
        id: SocketId,
        host: u32,
        Membership { group, interface }: Membership,
    ) -> io::Result<(Ip, Interface)> {
        self.multicast(id)?;
        let family = self.sockets.datagrams(id).map(|socket| socket.family());
        let group = Ip::from_addr(group).filter(|ip| Some(ip.family()) == family);
        let group = group.filter(|ip| ip.is_multicast()).ok_or_else(|| errno::os(EINVAL))?;
        let interface = match interface {
            Some(address) => self.interface_of(host, address, ENODEV)?,
            None => Interface::Network,
        };
        Ok((group, interface))
    }

    fn join(&mut self, id: SocketId, host: u32, membership: Membership) -> io::Result<()> {
        let membership = self.membership(id, host, membership)?;
        let known = &mut self.multicast(id)?.memberships;
        if known.contains(&membership) {
            return Err(errno::os(EADDRINUSE));
        }
        if known.len() >= MEMBERSHIPS_MAX {
            return Err(errno::os(ENOBUFS));
        }
        known.push(membership);
        self.groups.join(membership, host);
        Ok(())
    }

    fn leave(&mut self, id: SocketId, host: u32, membership: Membership) -> io::Result<()> {
        let membership = self.membership(id, host, membership)?;
        let known = &mut self.multicast(id)?.memberships;
        let place = known.iter().position(|it| *it == membership);
        known.remove(place.ok_or_else(|| errno::os(EADDRNOTAVAIL))?);
        self.groups.leave(membership, host);
        Ok(())
    }

    /// A datagram socket is closed.
    pub(crate) fn leave_all(&mut self, id: SocketId, host: u32) {
        let memberships = self.multicast(id).map(|own| std::mem::take(&mut own.memberships));
        for membership in memberships.into_iter().flatten() {
            self.groups.leave(membership, host);
        }
    }
}

// Out and in.
impl Network {
    /// The hosts that hear what a host sends to many by an interface, in order.
    pub(crate) fn audience(
        &self,
        host: u32,
        to: Ip,
        interface: Interface,
        hops: u8,
        is_looped: bool,
    ) -> Vec<u32> {
        let all = self.hosts.len() as u32;
        if to.is_broadcast() {
            return match interface {
                Interface::Network => (self.first_machine()..all).collect(),
                Interface::Loopback => vec![host],
            };
        }
        let group = (to, interface);
        if interface == Interface::Loopback {
            return self.groups.hosts(group).filter(|&member| member == host).collect();
        }
        let stays = hops == 0 || to.stays_on_host();
        let own_stack = |index: u32| self.hosts[index as usize].has_interface();
        let mut audience: Vec<u32> = self.groups.hosts(group).collect();
        audience.extend((0..all).filter(|&index| own_stack(index)));
        audience.sort_unstable();
        audience.dedup();
        audience.retain(
            |&member| {
                if member == host { is_looped && !own_stack(host) } else { !stays }
            },
        );
        audience
    }

    /// The first host that is a machine: the loop that the scenario of a world runs on is none, and a bare loop is its
    /// network's one.
    fn first_machine(&self) -> u32 {
        1 - self.first_number
    }

    /// Sends a datagram to a group, or to everybody.
    #[cold]
    pub(crate) fn udp_send_to_many(
        &mut self,
        id: SocketId,
        host: u32,
        data: &[u8],
        remote: Endpoint,
    ) -> io::Result<usize> {
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        if remote.ip.is_broadcast() && !socket.broadcast {
            return Err(errno::os(EACCES));
        }
        if !remote.ip.is_broadcast() && !remote.ip.is_multicast() {
            return Err(errno::os(ENETUNREACH));
        }
        if socket.is_full(data.len()) {
            return Err(errno::would_block());
        }
        let Multicast { interface, hops, is_looped, .. } = socket.multicast;
        let bound = self.udp_source(id, host)?;
        let by_address =
            if bound.ip.is_loopback() { Interface::Loopback } else { Interface::Network };
        let interface = match remote.ip.is_multicast() {
            true => interface.unwrap_or(by_address),
            false => by_address,
        };
        let source = if bound.ip.is_any() {
            self.address_at(host, interface, remote.ip.family())
        } else {
            bound.ip
        };
        let source = Endpoint::new(source, bound.port);
        let audience = self.audience(host, remote.ip, interface, hops, is_looped);
        let size = data.len() as u32 + udp_headers(remote.ip);
        if interface == Interface::Network && self.refuses_to_many(host, &audience, size) {
            self.wire.faults.count(faults::MTU);
            return Err(errno::os(EMSGSIZE));
        }
        if self.hosts[host as usize].life.frozen {
            return Ok(self.udp_miss(id, host, data, remote));
        }
        let payload = self.pool.copy(data);
        for to in audience {
            let part = payload.part(0, payload.len());
            let path = self.wire.path_between(host, to);
            self.udp_dispatch(id, host, source, remote, path, part);
        }
        self.pool.put(payload);
        Ok(data.len())
    }

    /// True if the sender's own MTU, that of its link to any of these hosts, is too small for a packet.
    fn refuses_to_many(&self, host: u32, audience: &[u32], size: u32) -> bool {
        let links = &self.wire.links;
        audience.iter().any(|&to| to != host && links.refuses(host, Some(to), size))
    }

    /// The address of a host at an interface.
    fn address_at(&self, host: u32, interface: Interface, family: Family) -> Ip {
        match (interface, family) {
            (Interface::Network, family) => Ip::of_host(self.hosts[host as usize].number, family),
            (Interface::Loopback, Family::V4) => Ip::LOCALHOST4,
            (Interface::Loopback, Family::V6) => Ip::LOOPBACK6,
        }
    }

    /// A datagram to many has arrived: every socket on the port gets a copy. Nobody is told if there is
    /// none (RFC 1122 §3.2.2).
    #[cold]
    pub(crate) fn udp_arrival_for_many(&mut self, place: Place) {
        let packet = self.wire.agenda.take_packet(place);
        let (host, target) = (packet.to_host, packet.target);
        let wildcard = Ip::any(target.ip.family());
        let interface = match packet.source.ip.is_loopback() {
            true => Interface::Loopback,
            false => Interface::Network,
        };
        let is_heard = target.ip.is_broadcast() || self.groups.has((target.ip, interface), host);
        let bound = self.hosts[host as usize].udp.on(target.port);
        let takers: Vec<SocketId> = bound
            .filter(|(_, bind)| is_heard && (bind.ip == wildcard || bind.ip == target.ip))
            .map(|(id, _)| id)
            .collect();
        let mut is_taken = false;
        for id in takers {
            let place = self.wire.agenda.reserve();
            self.wire.agenda.place(place, packet.copy());
            if self.udp_deliver(id, place) {
                is_taken = true;
            } else {
                drop(self.wire.agenda.take(place));
            }
        }
        if !is_taken && target.ip.is_multicast() {
            self.drop_packet(host, packet, DropReason::NoSocket);
        } else if let Body::Udp { payload, .. } = packet.body {
            self.pool.put(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_member_as_long_as_one_of_its_sockets_is() {
        let mut groups = Groups::default();
        let group = (Ip::v4(0xe000_0001), Interface::Network);
        groups.join(group, 3);
        groups.join(group, 3);
        groups.join(group, 1);
        assert_eq!(groups.hosts(group).collect::<Vec<_>>(), [1, 3]);
        groups.leave(group, 3);
        assert!(groups.has(group, 3));
        groups.leave(group, 3);
        groups.leave(group, 3);
        assert!(!groups.has(group, 3) && groups.has(group, 1));
        assert!(!groups.has((group.0, Interface::Loopback), 1));
        groups.forget(1);
        assert!(groups.members.is_empty());
    }
}
