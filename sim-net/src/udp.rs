//! UDP sockets (RFC 768).

use std::collections::VecDeque;
use std::io;

use sim_core::Time;
use sim_core::driver::{Family, Received, lengthen};

use crate::address::{Endpoint, Ip, Route};
use crate::agenda::{Agenda, Place};
use crate::buffer::{Payload, Pool};
use crate::errno::{
    self, EACCES, EADDRINUSE, EAFNOSUPPORT, ECONNREFUSED, EDESTADDRREQ, EINVAL, EMSGSIZE,
    ENETUNREACH,
};
use crate::faults;
use crate::link::pipeline::Fate;
use crate::missed::Missed;
use crate::multicast::Multicast;
use crate::network::Network;
use crate::packet::{Body, Icmp, Packet, udp_headers};
use crate::peers::{Peer, Peers};
use crate::ports::{Bind, ephemeral};
use crate::socket_table::{Kind, Ready, SocketId};
use crate::trace::{DropReason, Record};
use crate::wire::{Path, Wire};

/// The largest payload: 65535 less the headers of IPv4 and UDP; over IPv6, whose header does not count, less the
/// latter.
const PAYLOAD_MAX_V4: usize = 65_507;
const PAYLOAD_MAX_V6: usize = 65_527;
/// Bytes that wait unread (`net.core.rmem_default`).
const RECEIVE_BUFFER: usize = 212_992;
/// What a datagram costs of a buffer beyond its payload (a socket buffer's `truesize`).
const OVERHEAD: usize = 768;

/// A datagram socket.
#[derive(Debug)]
pub(crate) struct Datagrams {
    family: Family,
    pub(crate) local: Option<Endpoint>,
    /// What it sends from: its local address, or any if that is a group's.
    source: Option<Endpoint>,
    pub(crate) remote: Option<Endpoint>,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) broadcast: bool,
    pub(crate) multicast: Multicast,
    /// Bytes that may be on their way; `None` if there is no bound.
    pub(crate) send_limit: Option<usize>,
    on_the_way: usize,
    blocked: bool,
    queue: Unread,
    queued: usize,
    pub(crate) receive_limit: usize,
    error: Option<i32>,
    peers: Peers,
}

/// Datagrams that wait unread, each where it has arrived on the agenda. Mostly there is one.
#[derive(Debug, Default)]
struct Unread {
    first: Option<Place>,
    /// Empty if there is no first.
    others: VecDeque<Place>,
}

impl Unread {
    #[inline(always)]
    fn push(&mut self, place: Place) {
        match &self.first {
            None => self.first = Some(place),
            Some(_) => self.others.push_back(place),
        }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Place> {
        let next = if self.others.is_empty() { None } else { self.others.pop_front() };
        std::mem::replace(&mut self.first, next)
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl Datagrams {
    pub(crate) fn new(family: Family) -> Self {
        Self {
            family,
            local: None,
            source: None,
            remote: None,
            reuse_address: false,
            reuse_port: false,
            broadcast: false,
            multicast: Multicast::default(),
            send_limit: None,
            on_the_way: 0,
            blocked: false,
            queue: Unread::default(),
            queued: 0,
            receive_limit: RECEIVE_BUFFER,
            error: None,
            peers: Peers::default(),
        }
    }

    pub(crate) fn readiness(&self) -> Ready {
        if self.may_receive() { Ready::READABLE.with(Ready::WRITABLE) } else { Ready::WRITABLE }
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// How long a datagram may be.
    #[inline]
    fn payload_max(&self) -> usize {
        if self.family == Family::V4 { PAYLOAD_MAX_V4 } else { PAYLOAD_MAX_V6 }
    }

    /// How long the next datagram is.
    pub(crate) fn next_len(&self, agenda: &Agenda) -> usize {
        let packet = self.queue.first.and_then(|place| agenda.packet(place));
        packet.map_or(0, |packet| match &packet.body {
            Body::Udp { payload, .. } => payload.len(),
            _ => 0,
        })
    }

    /// True if a receive would get something: a datagram or an error.
    fn may_receive(&self) -> bool {
        !self.queue.is_empty() || self.error.is_some()
    }

    /// True if it takes what comes from there: it is not connected to somebody else.
    #[inline]
    fn hears(&self, source: Endpoint) -> bool {
        self.remote.is_none_or(|remote| remote == source)
    }

    /// True if a datagram that counts so much has room. The first one always has.
    #[inline]
    fn has_room_for(&self, size: usize) -> bool {
        self.queued == 0 || self.queued + size <= self.receive_limit
    }

    /// Takes the next datagram off the queue.
    #[inline(always)]
    fn next(&mut self) -> io::Result<Place> {
        if self.error.is_some() {
            return Err(errno::os(self.error.take().unwrap_or_default()));
        }
        self.queue.pop().ok_or_else(errno::would_block)
    }

    /// Sends a datagram to the last peer, from a free place on the agenda. The socket keeps account of
    /// it if its buffer has a bound.
    #[inline(always)]
    fn dispatch(
        &mut self,
        id: SocketId,
        target: Endpoint,
        (place, payload): (Place, Payload),
        wire: &mut Wire,
        pool: &mut Pool,
    ) -> Fate {
        let counted = self.send_limit.is_some();
        if counted {
            self.on_the_way += payload.len() + OVERHEAD;
        }
        let Peer { path, source, flow, lane, .. } = self.peers.last();
        let packet = Packet {
            source: *source,
            target,
            to_host: path.host.unwrap_or(u32::MAX),
            from: id,
            to: SocketId::NONE,
            flow: *flow,
            offset: 0,
            number: 0,
            body: Body::Udp { payload, counted },
        };
        // Datagrams keep no order among themselves.
        let mut last_arrival = Time::ZERO;
        wire.send_from(place, path, packet, lane, &mut last_arrival, pool)
    }

    /// True if there is no room for so many bytes of data; whoever sends is told when there is.
    #[inline]
    pub(crate) fn is_full(&mut self, data: usize) -> bool {
        let after = self.on_the_way + data + OVERHEAD;
        let is_full = self.send_limit.is_some_and(|limit| self.on_the_way > 0 && after > limit);
        self.blocked |= is_full;
        is_full
    }
}

/// The socket that keeps account of a datagram in its buffer, and how long that is.
#[inline]
fn counted_in(packet: &Packet) -> Option<(SocketId, usize)> {
    match &packet.body {
        Body::Udp { payload, counted: true } => Some((packet.from, payload.len())),
        _ => None,
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
            let is_own = !local.ip.is_to_many();
            let source = if is_own { local.ip } else { Ip::any(socket.family) };
            socket.source = Some(Endpoint::new(source, port));
        }
        Ok(())
    }

    /// What a socket sends from. It is bound if it was not.
    pub(crate) fn udp_source(&mut self, id: SocketId, host: u32) -> io::Result<Endpoint> {
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        if let Some(source) = socket.source {
            return Ok(source);
        }
        let any = Endpoint::new(Ip::any(socket.family), 0);
        self.udp_bind(id, host, any)?;
        self.udp_source(id, host)
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
        let number = self.hosts[host as usize].number;
        if remote.ip.route(number) == Route::None {
            return Err(errno::os(ENETUNREACH));
        }
        let target = if remote.ip.is_any() { self.source_for(host, remote.ip) } else { remote.ip };
        let remote = Endpoint::new(target, remote.port);
        let bound = self.udp_source(id, host)?;
        if !remote.ip.is_to_many() {
            self.path_from(host, Some(bound.ip), remote.ip)?;
        }
        let source = self.source_endpoint(host, bound, remote.ip);
        let Some(socket) = self.sockets.datagrams(id) else {
            return Ok(());
        };
        (socket.source, socket.remote) = (Some(source), Some(remote));
        // What it sends comes from another address now.
        socket.peers.forget_ways();
        // One that is bound to a group's address goes on hearing of that alone.
        let hears_many = socket.local.is_some_and(|local| local.ip.is_to_many());
        if !hears_many {
            socket.local = Some(source);
            if let Some(bind) = self.host(host).udp.get_mut(bound.port, id) {
                bind.ip = source.ip;
            }
        }
        Ok(())
    }

    /// Sends a datagram: to `to`, or to where the socket is connected.
    pub(crate) fn udp_send(
        &mut self,
        id: SocketId,
        host: u32,
        data: &[u8],
        to: Option<Endpoint>,
    ) -> io::Result<usize> {
        let Self { sockets, wire, pool, .. } = self;
        let Some(socket) = sockets.datagrams(id) else {
            return self.unix_send(id, host, data, None);
        };
        if socket.error.is_some() {
            return Err(errno::os(socket.error.take().unwrap_or_default()));
        }
        let remote = to.or(socket.remote).ok_or_else(|| errno::os(EDESTADDRREQ))?;
        let is_special = wire.links.is_special && wire.links.odds.is_none();
        if is_special || !socket.peers.knows_way_to(remote, wire.links.version) {
            return self.udp_send_anywhere(id, host, data, remote);
        }
        if data.len() > socket.payload_max() {
            return Err(errno::os(EMSGSIZE));
        }
        if socket.is_full(data.len()) {
            return Err(errno::would_block());
        }
        let place = wire.agenda.reserve();
        let counted = socket.send_limit.is_some();
        let fate = socket.dispatch(id, remote, (place, pool.copy(data)), wire, pool);
        if fate == Fate::Gone && counted {
            self.udp_gone(id, data.len());
        }
        Ok(data.len())
    }

    /// Sends a datagram to an address that was not the last one, or over links that look at packets.
    pub(crate) fn udp_send_anywhere(
        &mut self,
        id: SocketId,
        host: u32,
        data: &[u8],
        remote: Endpoint,
    ) -> io::Result<usize> {
        let socket = self.sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        if remote.ip.family() != socket.family {
            return Err(errno::os(EAFNOSUPPORT));
        }
        if remote.port == 0 {
            return Err(errno::os(EINVAL));
        }
        if data.len() > socket.payload_max() {
            return Err(errno::os(EMSGSIZE));
        }
        if remote.ip.is_to_many() {
            return self.udp_send_to_many(id, host, data, remote);
        }
        if socket.is_full(data.len()) {
            return Err(errno::would_block());
        }
        let local = match socket.source {
            Some(local) => local,
            None => self.udp_source(id, host)?,
        };
        let target = if remote.ip.is_any() { self.source_for(host, remote.ip) } else { remote.ip };
        let path = self.path_from(host, Some(local.ip), target)?;
        let size = data.len() as u32 + udp_headers(target);
        if self.wire.links.refuses(host, path.host, size) {
            self.wire.faults.count(faults::MTU);
            return Err(errno::os(EMSGSIZE));
        }
        let remote = Endpoint::new(target, remote.port);
        if self.hosts[host as usize].life.frozen {
            return Ok(self.udp_miss(id, host, data, remote));
        }
        let payload = self.pool.copy(data);
        self.udp_dispatch(id, host, local, remote, path, payload);
        Ok(data.len())
    }

    /// Keeps a datagram for which there is room until its machine goes on. It counts in the buffer of its socket.
    #[cold]
    pub(crate) fn udp_miss(
        &mut self,
        id: SocketId,
        host: u32,
        data: &[u8],
        remote: Endpoint,
    ) -> usize {
        let socket = self.sockets.datagrams(id).expect("the socket that sends");
        let counted = socket.send_limit.is_some();
        if counted {
            socket.on_the_way += data.len() + OVERHEAD;
        }
        let missed = Missed::Datagram { from: id, to: remote, data: data.to_vec(), counted };
        self.host(host).miss(missed);
        data.len()
    }

    /// Takes the next datagram to the front of `buffer`; what does not fit is cut off, as `recvfrom`
    /// does.
    pub(crate) fn udp_receive(
        &mut self,
        id: SocketId,
        buffer: &mut [u8],
    ) -> io::Result<(usize, Endpoint)> {
        let Self { sockets, wire, pool, .. } = self;
        let socket = sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        let place = socket.next()?;
        let (payload, from) = unread(&mut wire.agenda, place);
        socket.queued -= payload.len() + OVERHEAD;
        let length = payload.len().min(buffer.len());
        buffer[..length].copy_from_slice(&payload.bytes()[..length]);
        pool.put(payload);
        Ok((length, from))
    }

    /// Takes the next datagram whole to the front of `buffer`.
    #[inline]
    pub(crate) fn udp_receive_available(
        &mut self,
        id: SocketId,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Received> {
        let Self { sockets, wire, pool, .. } = self;
        let socket = sockets.datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        let place = socket.next()?;
        let (payload, from) = unread(&mut wire.agenda, place);
        let bytes = payload.len();
        socket.queued -= bytes + OVERHEAD;
        let more = !socket.queue.is_empty();
        lengthen(buffer, bytes);
        buffer[..bytes].copy_from_slice(payload.bytes());
        pool.put(payload);
        Ok(Received { bytes, from: from.to_addr(), more })
    }

    pub(crate) fn udp_close(&mut self, id: SocketId, host: u32) {
        self.leave_all(id, host);
        self.udp_discard(id);
        if let Some(local) = self.sockets.datagrams(id).and_then(|socket| socket.local) {
            self.host(host).udp.remove(local.port, id);
        }
        if !self.hosts[host as usize].life.frozen {
            self.sockets.remove(id);
        } else if let Some(socket) = self.sockets.get_mut(id) {
            // Behind what it has sent.
            socket.token = None;
            self.host(host).miss(Missed::Close(id));
        }
    }
}

/// Takes a datagram that waits unread out of its place, with its sender.
#[inline(always)]
fn unread(agenda: &mut Agenda, place: Place) -> (Payload, Endpoint) {
    let packet = agenda.arriving(place).expect("a datagram waits in its place");
    let from = packet.source;
    let payload = packet.take_datagram().expect("only datagrams wait to be read");
    agenda.give_back(place);
    (payload, from)
}

// Datagrams out and in.
impl Network {
    /// Nobody reads what a socket has, if it is of datagrams.
    pub(crate) fn udp_discard(&mut self, id: SocketId) {
        let Self { sockets, wire, pool, .. } = self;
        let Some(socket) = sockets.datagrams(id) else { return };
        while let Some(place) = socket.queue.pop() {
            let (payload, _) = unread(&mut wire.agenda, place);
            pool.put(payload);
        }
    }

    pub(crate) fn udp_dispatch(
        &mut self,
        id: SocketId,
        host: u32,
        local: Endpoint,
        remote: Endpoint,
        path: Path,
        payload: Payload,
    ) {
        let source = match path.host {
            // To one of its own addresses, the host sends from that address.
            Some(to) if to == host && local.ip.is_any() && !remote.ip.is_loopback() => {
                Endpoint::new(remote.ip, local.port)
            }
            _ => self.source_endpoint(host, local, remote.ip),
        };
        // To where nobody is, or everybody, the way is looked for each time.
        let lasts = path.host.is_some() && !remote.ip.is_to_many();
        let version = if lasts { self.wire.links.version } else { 0 };
        let socket = self.sockets.datagrams(id).expect("the socket that sends");
        if !socket.peers.find(remote, path.host) {
            let known = socket.peers.take_out(remote, path.host);
            let flow = known.unwrap_or_else(|| self.open_flow(host, path.host, remote.port, true));
            let socket = self.sockets.datagrams(id).expect("the socket that sends");
            let peer = Peer { address: remote, path, source, version, flow, lane: None };
            socket.peers.add(peer, lasts && self.wire.links.are_plain());
        }
        let Self { sockets, wire, pool, .. } = self;
        let socket = sockets.datagrams(id).expect("the socket that sends");
        let peer = socket.peers.last();
        (peer.path, peer.source, peer.version) = (path, source, version);
        let size = payload.len();
        let counted = socket.send_limit.is_some();
        let place = wire.agenda.reserve();
        let fate = socket.dispatch(id, remote, (place, payload), wire, pool);
        if fate == Fate::Gone && counted {
            self.udp_gone(id, size);
        }
    }

    /// A datagram has left its sender's buffer.
    #[inline]
    pub(crate) fn udp_left(&mut self, packet: &Packet) {
        if let Some((sender, size)) = counted_in(packet) {
            self.udp_gone(sender, size);
        }
    }

    /// A datagram of so many bytes has left the buffer of its socket.
    pub(crate) fn udp_gone(&mut self, id: SocketId, data: usize) {
        let Some(socket) = self.sockets.datagrams(id) else {
            return;
        };
        socket.on_the_way -= data + OVERHEAD;
        if std::mem::take(&mut socket.blocked) {
            self.notify(id, Ready::WRITABLE);
        }
    }

    /// A datagram arrived at its host.
    #[inline(always)]
    pub(crate) fn udp_arrival(&mut self, place: Place) {
        if !self.udp_arrival_as_usual(place) {
            self.udp_arrival_at_length(place);
        }
    }

    /// What a datagram does that comes to the socket that the one before came to: the same as
    /// [`udp_arrival_at_length`](Self::udp_arrival_at_length), if it can. Says whether it could.
    #[inline]
    fn udp_arrival_as_usual(&mut self, place: Place) -> bool {
        let Self { sockets, hosts, wire, injection, .. } = self;
        let Wire { agenda, trace, now, .. } = wire;
        let Some(packet) = agenda.arriving(place) else { return false };
        let host = packet.to_host;
        let known = hosts[host as usize].udp.found_last(packet.target);
        let Some((id, socket)) = known.and_then(|id| Some((id, sockets.get_mut(id)?))) else {
            return false;
        };
        let Kind::Datagrams(taker) = &mut socket.kind else { return false };
        let record = Record::Delivered(packet.record());
        let Body::Udp { payload, counted: false } = &packet.body else { return false };
        let size = payload.len() + OVERHEAD;
        if injection.is_on || !taker.hears(packet.source) || !taker.has_room_for(size) {
            return false;
        }
        trace.record_packet(*now, host, record, packet.number);
        taker.queued += size;
        taker.queue.push(place);
        if socket.becomes(Ready::READABLE) {
            self.list_ready(host, id);
        }
        true
    }

    /// A datagram arrived at its host, and something is to be looked for.
    #[inline(never)]
    fn udp_arrival_at_length(&mut self, place: Place) {
        let Some(packet) = self.wire.agenda.arriving(place) else {
            return;
        };
        let (host, target, source) = (packet.to_host, packet.target, packet.source);
        if let Some((sender, size)) = counted_in(packet) {
            self.udp_gone(sender, size);
        }
        if target.ip.is_to_many() {
            self.udp_arrival_for_many(place);
            return;
        }
        let found = self.udp_taker(host, target, source);
        if !found.is_some_and(|id| self.udp_deliver(id, place)) {
            self.udp_refuse(place);
        }
    }

    /// The socket of a host for what comes to `target` from `source`. One that is connected there goes
    /// first, one that is connected elsewhere has no part in it.
    pub(crate) fn udp_taker(
        &mut self,
        host: u32,
        target: Endpoint,
        source: Endpoint,
    ) -> Option<SocketId> {
        let Self { sockets, hosts, .. } = self;
        hosts[host as usize].udp.find(target, source, |id, _| {
            let Kind::Datagrams(socket) = &sockets.get(id)?.kind else { return None };
            socket.hears(source).then_some(socket.remote.is_some())
        })
    }

    /// Gives a datagram to a socket; false if the socket is connected to somebody else.
    pub(crate) fn udp_deliver(&mut self, id: SocketId, place: Place) -> bool {
        let Self { sockets, wire, .. } = self;
        let Wire { agenda, trace, now, .. } = wire;
        let (Some(packet), Some(taker)) = (agenda.arriving(place), sockets.datagrams(id)) else {
            return false;
        };
        let (host, record) = (packet.to_host, Record::Delivered(packet.record()));
        let Body::Udp { payload, .. } = &packet.body else { return false };
        let size = payload.len() + OVERHEAD;
        if !taker.hears(packet.source) {
            return false;
        }
        if !taker.has_room_for(size) {
            let packet = agenda.take_packet(place);
            self.drop_packet(host, packet, DropReason::ReceiveBuffer);
            return true;
        }
        trace.record_packet(*now, host, record, packet.number);
        taker.queued += size;
        taker.queue.push(place);
        self.notify(id, Ready::READABLE);
        true
    }

    /// Nobody has the port: the sender's host hears of it (RFC 1122 §4.1.3.1).
    #[cold]
    fn udp_refuse(&mut self, place: Place) {
        let packet = self.wire.agenda.take_packet(place);
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
