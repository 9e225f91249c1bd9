//! UDP sockets (RFC 768).

use std::collections::VecDeque;
use std::io;

use sim_core::Time;
use sim_core::driver::Family;

use crate::address::{Endpoint, Ip};
use crate::buffer::Payload;
use crate::errno::{
    self, EACCES, EADDRINUSE, EAFNOSUPPORT, ECONNREFUSED, EDESTADDRREQ, EINVAL, EMSGSIZE,
    ENETUNREACH,
};
use crate::faults;
use crate::flow::Flow;
use crate::link::lane::Lane;
use crate::link::pipeline::Fate;
use crate::network::Network;
use crate::packet::{Body, Icmp, Packet, udp_headers};
use crate::ports::{Bind, ephemeral};
use crate::socket_table::{Ready, SocketId};
use crate::trace::{DropReason, Record};
use crate::wire::Path;

/// The largest payload: 65535 less the headers of IPv4 and UDP.
const PAYLOAD_MAX: usize = 65_507;
/// Bytes that wait unread (`net.core.rmem_default`).
const RECEIVE_BUFFER: usize = 212_992;
/// What a datagram costs of a buffer beyond its payload (a socket buffer's `truesize`).
const OVERHEAD: usize = 768;

/// A datagram socket.
#[derive(Debug)]
pub(crate) struct Datagrams {
    family: Family,
    pub(crate) local: Option<Endpoint>,
    pub(crate) remote: Option<Endpoint>,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) broadcast: bool,
    /// Bytes that may be on their way; `None` if there is no bound.
    pub(crate) send_limit: Option<usize>,
    on_the_way: usize,
    blocked: bool,
    queue: VecDeque<(Payload, Endpoint)>,
    queued: usize,
    pub(crate) receive_limit: usize,
    error: Option<i32>,
    /// The flows to the addresses and hosts that datagrams went to, sorted by these.
    peers: Vec<Peer>,
    /// The place of the peer that the last datagram went to.
    last_peer: usize,
}

/// The flow to an address, and what chance does to its packets.
#[derive(Debug)]
struct Peer {
    /// The address, and the host that has it.
    key: (Endpoint, Option<u32>),
    flow: Flow,
    lane: Option<Box<Lane>>,
}

impl Datagrams {
    pub(crate) fn new(family: Family) -> Self {
        Self {
            family,
            local: None,
            remote: None,
            reuse_address: false,
            reuse_port: false,
            broadcast: false,
            send_limit: None,
            on_the_way: 0,
            blocked: false,
            queue: VecDeque::new(),
            queued: 0,
            receive_limit: RECEIVE_BUFFER,
            error: None,
            peers: Vec::new(),
            last_peer: 0,
        }
    }

    pub(crate) fn readiness(&self) -> Ready {
        if self.may_receive() { Ready::READABLE.with(Ready::WRITABLE) } else { Ready::WRITABLE }
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// How long the next datagram is.
    pub(crate) fn next_len(&self) -> usize {
        self.queue.front().map_or(0, |(payload, _)| payload.len())
    }

    /// True if a receive would get something: a datagram or an error.
    fn may_receive(&self) -> bool {
        !self.queue.is_empty() || self.error.is_some()
    }

    /// Makes the peer with this key the last one; false if there is none.
    #[inline]
    fn find_peer(&mut self, key: (Endpoint, Option<u32>)) -> bool {
        if self.peers.get(self.last_peer).is_some_and(|peer| peer.key == key) {
            return true;
        }
        let place = self.peers.binary_search_by_key(&key, |peer| peer.key);
        self.last_peer = place.unwrap_or(self.last_peer);
        place.is_ok()
    }

    fn add_peer(&mut self, key: (Endpoint, Option<u32>), flow: Flow) {
        let place = self.peers.partition_point(|peer| peer.key < key);
        self.peers.insert(place, Peer { key, flow, lane: None });
        self.last_peer = place;
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.send_limit.is_none_or(|limit| self.on_the_way == 0 || self.on_the_way + bytes <= limit)
    }
}

// The calls.
impl Network {
    pub(crate) fn udp_bind(&mut self, id: SocketId, host: u32, local: Endpoint) -> io::Result<()> {
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        if socket.local.is_some() {
            return Err(errno::os(EINVAL));
        }
        let bind = Bind {
            ip: local.ip,
            reuse_address: socket.reuse_address,
            reuse_port: socket.reuse_port,
            listening: false,
        };
        let port = match local.port {
            0 => {
                let draw = self.draw_port(host);
                let ports = &self.host(host).udp;
                ephemeral(draw, |port| ports.is_free(port)).ok_or_else(|| errno::os(EADDRINUSE))?
            }
            port => port,
        };
        if self.host(host).udp.conflict(port, id, &bind) {
            return Err(errno::os(EADDRINUSE));
        }
        self.host(host).udp.insert(port, id, bind);
        if let Some(socket) = self.sockets.datagrams(id) {
            socket.local = Some(Endpoint::new(local.ip, port));
        }
        Ok(())
    }

    fn udp_bind_if_unbound(&mut self, id: SocketId, host: u32) -> io::Result<Endpoint> {
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        if let Some(local) = socket.local {
            return Ok(local);
        }
        let any = Endpoint::new(Ip::any(socket.family), 0);
        self.udp_bind(id, host, any)?;
        self.udp_bind_if_unbound(id, host)
    }

    /// Connects: the default target, the only source, and a fixed local address.
    pub(crate) fn udp_connect(
        &mut self,
        id: SocketId,
        host: u32,
        remote: Endpoint,
    ) -> io::Result<()> {
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        if remote.ip.family() != socket.family {
            return Err(errno::os(EAFNOSUPPORT));
        }
        if remote.ip.is_broadcast() && !socket.broadcast {
            return Err(errno::os(EACCES));
        }
        if !remote.ip.is_broadcast() && self.path(host, remote.ip).is_none() {
            return Err(errno::os(ENETUNREACH));
        }
        let target = if remote.ip.is_any() { self.source_for(host, remote.ip) } else { remote.ip };
        let remote = Endpoint::new(target, remote.port);
        let bound = self.udp_bind_if_unbound(id, host)?;
        let local = self.source_endpoint(host, bound, remote.ip);
        if local != bound
            && let Some(bind) = self.host(host).udp.get_mut(bound.port, id)
        {
            bind.ip = local.ip;
        }
        if let Some(socket) = self.sockets.datagrams(id) {
            (socket.local, socket.remote) = (Some(local), Some(remote));
        }
        Ok(())
    }

    pub(crate) fn udp_send(
        &mut self,
        id: SocketId,
        host: u32,
        data: &[u8],
        to: Option<Endpoint>,
    ) -> io::Result<usize> {
        let Some(socket) = self.sockets.datagrams(id) else {
            return self.unix_send(id, host, data, None);
        };
        if let Some(error) = socket.error.take() {
            return Err(errno::os(error));
        }
        let remote = to.or(socket.remote).ok_or_else(|| errno::os(EDESTADDRREQ))?;
        if remote.ip.family() != socket.family {
            return Err(errno::os(EAFNOSUPPORT));
        }
        if remote.port == 0 {
            return Err(errno::os(EINVAL));
        }
        if data.len() > PAYLOAD_MAX {
            return Err(errno::os(EMSGSIZE));
        }
        if remote.ip.is_broadcast() && !socket.broadcast {
            return Err(errno::os(EACCES));
        }
        if !socket.has_room(data.len() + OVERHEAD) {
            socket.blocked = true;
            return Err(errno::would_block());
        }
        let local = match socket.local {
            Some(local) => local,
            None => self.udp_bind_if_unbound(id, host)?,
        };
        if remote.ip.is_broadcast() {
            let payload = self.pool.copy(data);
            for to in 0..self.hosts.len() as u32 {
                let part = payload.part(0, payload.len());
                let path = self.wire.path_between(host, to);
                self.udp_dispatch(id, host, local, remote, path, part);
            }
            self.pool.put(payload);
        } else {
            let target =
                if remote.ip.is_any() { self.source_for(host, remote.ip) } else { remote.ip };
            let path = self.path(host, target).ok_or_else(|| errno::os(ENETUNREACH))?;
            let size = data.len() as u32 + udp_headers(target);
            if self.wire.links.refuses(host, path.host, size) {
                self.wire.faults.count(faults::MTU);
                return Err(errno::os(EMSGSIZE));
            }
            let payload = self.pool.copy(data);
            let remote = Endpoint::new(target, remote.port);
            self.udp_dispatch(id, host, local, remote, path, payload);
        }
        Ok(data.len())
    }

    /// Takes the next datagram, with its sender, and whether a receive would get something again.
    #[inline]
    pub(crate) fn udp_take(&mut self, id: SocketId) -> io::Result<(Payload, Endpoint, bool)> {
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        if let Some(error) = socket.error.take() {
            return Err(errno::os(error));
        }
        let (payload, from) = socket.queue.pop_front().ok_or_else(errno::would_block)?;
        socket.queued -= payload.len() + OVERHEAD;
        Ok((payload, from, socket.may_receive()))
    }

    pub(crate) fn udp_close(&mut self, id: SocketId, host: u32) {
        let Self { sockets, pool, .. } = self;
        if let Some(socket) = sockets.datagrams(id) {
            socket.queue.drain(..).for_each(|(payload, _)| pool.put(payload));
            if let Some(local) = socket.local {
                self.host(host).udp.remove(local.port, id);
            }
        }
        self.sockets.remove(id);
    }
}

// Datagrams out and in.
impl Network {
    fn udp_dispatch(
        &mut self,
        id: SocketId,
        host: u32,
        local: Endpoint,
        remote: Endpoint,
        path: Path,
        payload: Payload,
    ) {
        let key = (remote, path.host);
        let socket = self.sockets.datagrams(id).expect("the socket that sends");
        if !socket.find_peer(key) {
            self.udp_open_flow(id, host, key);
        }
        let source = match path.host {
            // To one of its own addresses, the host sends from that address.
            Some(to)
                if to == host
                    && local.ip.is_any()
                    && !remote.ip.is_loopback()
                    && !remote.ip.is_broadcast() =>
            {
                Endpoint::new(remote.ip, local.port)
            }
            _ => self.source_endpoint(host, local, remote.ip),
        };
        let Self { sockets, wire, pool, .. } = self;
        let socket = sockets.datagrams(id).expect("the socket that sends");
        let size = payload.len() + OVERHEAD;
        let counted = socket.send_limit.is_some();
        if counted {
            socket.on_the_way += size;
        }
        let peer = &mut socket.peers[socket.last_peer];
        let packet = Packet {
            source,
            target: remote,
            to_host: path.host.unwrap_or(u32::MAX),
            from: id,
            to: SocketId::NONE,
            flow: peer.flow,
            offset: 0,
            frame: 0,
            body: Body::Udp { payload, counted },
        };
        if path.host.is_none() {
            self.udp_left(&packet);
            self.wire.lose(host, packet, &mut self.pool);
            return;
        }
        // Datagrams keep no order among themselves.
        let mut last_arrival = Time::ZERO;
        let fate = wire.send(path, packet, &mut peer.lane, &mut last_arrival, pool);
        if fate == Fate::Gone && counted {
            self.udp_gone(id, size);
        }
    }

    #[cold]
    fn udp_open_flow(&mut self, id: SocketId, host: u32, key: (Endpoint, Option<u32>)) {
        let flow = self.open_flow(host, key.1, key.0.port, true);
        if let Some(socket) = self.sockets.datagrams(id) {
            socket.add_peer(key, flow);
        }
    }

    /// A datagram has left its sender's buffer.
    pub(crate) fn udp_left(&mut self, packet: &Packet) {
        if let Body::Udp { payload, counted: true } = &packet.body {
            self.udp_gone(packet.from, payload.len() + OVERHEAD);
        }
    }

    fn udp_gone(&mut self, id: SocketId, size: usize) {
        let Some(socket) = self.sockets.datagrams(id) else {
            return;
        };
        socket.on_the_way -= size;
        if std::mem::take(&mut socket.blocked) {
            self.notify(id, Ready::WRITABLE);
        }
    }

    /// A datagram arrived at its host.
    #[inline]
    pub(crate) fn udp_arrival(&mut self, packet: Packet) {
        self.udp_left(&packet);
        let host = packet.to_host;
        if packet.target.ip.is_broadcast() {
            self.udp_arrival_of_broadcast(packet);
            return;
        }
        let found = self.hosts[host as usize].udp.find(packet.target, packet.source);
        match found.filter(|&id| self.udp_takes(id, packet.source)) {
            Some(id) => self.udp_deliver(id, packet),
            None => self.udp_refuse(packet),
        }
    }

    /// True unless the socket is connected to somebody else.
    #[inline]
    fn udp_takes(&mut self, id: SocketId, source: Endpoint) -> bool {
        let socket = self.sockets.datagrams(id);
        socket.is_some_and(|socket| socket.remote.is_none_or(|remote| remote == source))
    }

    #[inline]
    fn udp_deliver(&mut self, id: SocketId, packet: Packet) {
        let Self { sockets, wire, .. } = self;
        let socket = sockets.datagrams(id).expect("the table of ports holds datagram sockets");
        let size = packet.record().bytes as usize + OVERHEAD;
        if socket.queued + size > socket.receive_limit && socket.queued > 0 {
            self.drop_packet(packet.to_host, packet, DropReason::ReceiveBuffer);
            return;
        }
        wire.record(packet.to_host, Record::Delivered(packet.record()));
        let Body::Udp { payload, .. } = packet.body else {
            return;
        };
        socket.queued += size;
        socket.queue.push_back((payload, packet.source));
        self.notify(id, Ready::READABLE);
    }

    /// Every socket on the port gets a copy.
    fn udp_arrival_of_broadcast(&mut self, packet: Packet) {
        let (host, port) = (packet.to_host, packet.target.port);
        let bound = self.hosts[host as usize].udp.on(port);
        let takers: Vec<SocketId> = bound
            .filter(|(_, bind)| bind.ip == Ip::V4(0) || bind.ip == packet.target.ip)
            .map(|(id, _)| id)
            .collect();
        for id in takers {
            let Body::Udp { payload, counted } = &packet.body else {
                return;
            };
            if self.udp_takes(id, packet.source) {
                let body = Body::Udp { payload: payload.part(0, payload.len()), counted: *counted };
                self.udp_deliver(id, Packet { body, ..packet });
            }
        }
        if let Body::Udp { payload, .. } = packet.body {
            self.pool.put(payload);
        }
    }

    /// Nobody has the port: the sender's host hears of it (RFC 1122 §4.1.3.1).
    fn udp_refuse(&mut self, packet: Packet) {
        let host = packet.to_host;
        let answer = packet.answer(Icmp::PortUnreachable);
        self.drop_packet(host, packet, DropReason::NoSocket);
        if let Some(path) = self.path(host, answer.target.ip)
            && path.host.is_some()
        {
            self.wire.answer(path, answer, &mut self.pool);
        }
    }

    /// ICMP arrived about a datagram to `remote`: a connected socket hears of it (D-08).
    pub(crate) fn udp_icmp(&mut self, id: SocketId, remote: Endpoint, icmp: Icmp) {
        let error = match icmp {
            Icmp::PortUnreachable => ECONNREFUSED,
            Icmp::FragmentationNeeded(_) => EMSGSIZE,
            // Linux tells it only to a socket that asked for it (`IP_RECVERR`).
            Icmp::HostUnreachable => return,
        };
        let Some(socket) = self.sockets.datagrams(id) else {
            return;
        };
        if socket.remote == Some(remote) {
            socket.error = Some(error);
            self.notify(id, Ready::READABLE.with(Ready::WRITABLE));
        }
    }
}
