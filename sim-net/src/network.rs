//! The network and the kernels of its hosts: everything in a world but the engines.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sim_core::Time;
use sim_core::driver::{Family, Readiness, Token};

use crate::address::{Endpoint, Ip, Route};
use crate::agenda::{Agenda, Event};
use crate::buffer::Pool;
use crate::decisions::{Decisions, Draws, Entity, Site};
use crate::flow::Flow;
use crate::host::Host;
use crate::link::{LOOPBACK_DELAY, LOOPBACK_MTU, Latency, MTU};
use crate::packet::{Body, Packet};
use crate::ready_hosts::ReadyHosts;
use crate::scheduler::CONTROL;
use crate::socket_table::{Kind, Ready, SocketId, SocketTable};
use crate::trace::{DropReason, Record, Trace};

/// The network, one for each world.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) agenda: Agenda,
    pub(crate) decisions: Decisions,
    pub(crate) trace: Trace,
    pub(crate) sockets: SocketTable,
    pub(crate) hosts: Vec<Host>,
    pub(crate) pool: Pool,
    pub(crate) ready: ReadyHosts,
    /// How many hosts have something to do as soon as their processor is free.
    delayed_hosts: usize,
    names: BTreeMap<Arc<str>, u32>,
    /// The number of host 0.
    first_number: u32,
    latency: Latency,
}

/// How a packet gets from one host to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// The host at the other end, if there is one.
    pub(crate) host: Option<u32>,
    pub(crate) mtu: u32,
    loopback: bool,
}

impl Path {
    /// The path between two hosts that exist.
    pub(crate) fn between(from: u32, to: u32) -> Self {
        let loopback = from == to;
        Self { host: Some(to), mtu: if loopback { LOOPBACK_MTU } else { MTU }, loopback }
    }
}

impl Network {
    pub(crate) fn new(seed: u64, latency: Latency, keep_log: bool, first_number: u32) -> Self {
        Self {
            now: Time::ZERO,
            agenda: Agenda::default(),
            decisions: Decisions::new(seed),
            trace: Trace::new(keep_log),
            sockets: SocketTable::default(),
            hosts: Vec::new(),
            pool: Pool::default(),
            ready: ReadyHosts::default(),
            delayed_hosts: 0,
            names: BTreeMap::new(),
            first_number,
            latency,
        }
    }

    // Hosts and names.

    /// Adds a host and returns its index. Others find it by its name if `is_named`.
    pub(crate) fn add_host(&mut self, name: &Arc<str>, is_named: bool) -> u32 {
        let index = self.hosts.len() as u32;
        self.hosts.push(Host::new(index + self.first_number, name));
        self.trace.hosts.push(Arc::clone(name));
        if is_named {
            self.names.insert(Arc::clone(name), index);
        }
        index
    }

    pub(crate) fn host_named(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// The addresses of a name: IPv4, or IPv6 for a name with `ip6-` before it.
    pub(crate) fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let (family, host) = match name.strip_prefix("ip6-") {
            Some(rest) if !self.names.contains_key(name) => (Family::V6, rest),
            _ => (Family::V4, name),
        };
        let ip = match (self.names.get(host), family) {
            (Some(&index), _) => Ip::of_host(self.hosts[index as usize].number, family),
            (None, Family::V4) if host == "localhost" => Ip::V4(0x7f00_0001),
            (None, Family::V6) if host == "localhost" => Ip::Loopback6,
            _ => {
                let message = format!("no host of this world is called {name:?}");
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
        };
        Ok(vec![ip.to_addr()])
    }

    pub(crate) fn host(&mut self, index: u32) -> &mut Host {
        &mut self.hosts[index as usize]
    }

    /// The path from a host to an address, or `None` without a route.
    pub(crate) fn path(&self, from: u32, to: Ip) -> Option<Path> {
        match to.route(self.hosts[from as usize].number) {
            Route::Loopback => Some(Path::between(from, from)),
            Route::Host(number) => {
                let index = number.checked_sub(self.first_number);
                let host = index.filter(|&index| (index as usize) < self.hosts.len());
                Some(Path { host, mtu: MTU, loopback: false })
            }
            Route::Broadcast | Route::None => None,
        }
    }

    /// The address that packets from a host to `to` come from, if its socket has none of its own.
    pub(crate) fn source_for(&self, from: u32, to: Ip) -> Ip {
        match (to, to.is_loopback()) {
            (Ip::V4(0), _) | (Ip::V4(_), true) => Ip::V4(0x7f00_0001),
            (Ip::Any6 | Ip::Loopback6, _) => Ip::Loopback6,
            _ => Ip::of_host(self.hosts[from as usize].number, to.family()),
        }
    }

    /// A flow that a host opens, with the next number.
    pub(crate) fn open_flow(
        &mut self,
        from: u32,
        to: Option<u32>,
        port: u16,
        datagrams: bool,
    ) -> Flow {
        let server = to.unwrap_or(u32::MAX);
        let host = self.host(from);
        let number = host.flows.entry((server, port, datagrams)).or_default();
        *number += 1;
        let number = *number;
        let incarnation = host.incarnation;
        Flow { client: from, server, number, port, incarnation, datagrams, back: false }
    }

    pub(crate) fn flow_entity(&self, flow: Flow) -> Entity {
        Entity::named(flow.name(&self.trace.hosts))
    }

    // Decisions and the trace.

    #[inline(always)]
    pub(crate) fn record(&mut self, host: u32, record: Record) {
        self.trace.record(self.now, host, record);
    }

    /// A choice about `entity`, made on `host`.
    pub(crate) fn draw(&mut self, host: u32, site: Site, entity: Entity, ordinal: u64) -> u64 {
        let value = self.decisions.at(site, entity, ordinal);
        self.record(host, Record::Draw { site, value });
        value
    }

    /// Where a search for an ephemeral port of a host starts.
    pub(crate) fn draw_port(&mut self, index: u32) -> u64 {
        let host = self.host(index);
        let (entity, ordinal) = (host.entity, host.ports_drawn);
        host.ports_drawn += 1;
        self.draw(index, Site::EphemeralPort, entity, ordinal)
    }

    // Packets.

    /// How long the next packet of a flow takes on a path. `draws` are those of the flow.
    pub(crate) fn delay(
        &mut self,
        from: u32,
        path: Path,
        flow: Flow,
        draws: &mut Option<Box<Draws>>,
    ) -> Duration {
        if self.is_constant(path) {
            return self.least_delay(path);
        }
        let draws = draws
            .get_or_insert_with(|| Box::new(Draws::new(Site::PacketDelay, self.flow_entity(flow))));
        let value = self.latency.draw(draws, &self.decisions);
        self.record(from, Record::Draw { site: Site::PacketDelay, value });
        self.latency.least() + Duration::from_nanos(value)
    }

    /// True if the packets of a path all take the same time: then none overtakes another, and a
    /// train needs no splitting.
    #[inline]
    pub(crate) fn is_constant(&self, path: Path) -> bool {
        path.loopback || !self.latency.varies()
    }

    /// The least that a packet takes on a path.
    #[inline]
    pub(crate) fn least_delay(&self, path: Path) -> Duration {
        if path.loopback { LOOPBACK_DELAY } else { self.latency.least() }
    }

    /// Puts a packet on its way, to arrive at `arrival`.
    #[inline(always)]
    pub(crate) fn dispatch(&mut self, from: u32, arrival: Time, packet: Packet) {
        self.trace.record(self.now, from, Record::Sent(packet.record()));
        self.agenda.push(arrival, Event::Arrival(packet));
    }

    /// A packet was sent to an address that no host has.
    pub(crate) fn lose(&mut self, from: u32, packet: Packet) {
        self.record(from, Record::Sent(packet.record()));
        self.drop_packet(from, packet, DropReason::NoHost);
    }

    /// A packet is lost.
    pub(crate) fn drop_packet(&mut self, host: u32, packet: Packet, reason: DropReason) {
        self.record(host, Record::Dropped(packet.record(), reason));
        let payload = match packet.body {
            Body::Tcp(segment) => segment.payload,
            Body::Udp { payload, .. } => Some(payload),
            Body::PortUnreachable => None,
        };
        if let Some(payload) = payload {
            self.pool.put(payload);
        }
    }

    /// Handles every event that is due now.
    pub(crate) fn run_due(&mut self) {
        while let Some(event) = self.agenda.pop_due(self.now) {
            match event {
                Event::Arrival(packet) => self.arrive(packet),
                Event::TcpTimer(id) => self.tcp_timer(id),
                Event::HostTimer(index) => self.host_timer(index),
            }
        }
    }

    fn arrive(&mut self, packet: Packet) {
        match packet.body {
            Body::Tcp(_) => self.tcp_arrival(packet),
            Body::Udp { .. } => self.udp_arrival(packet),
            Body::PortUnreachable => self.udp_unreachable(packet),
        }
    }

    // Readiness and turns.

    /// Tells the engine of a socket's host what has become possible.
    #[inline]
    pub(crate) fn notify(&mut self, id: SocketId, what: Ready) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        // Before it is registered nobody listens; then it is told what is ready.
        if socket.token.is_none() || what.is_none() {
            return;
        }
        socket.ready = socket.ready.with(what);
        if !socket.listed {
            socket.listed = true;
            let index = socket.host;
            self.host(index).ready.push(id);
            self.wake_host(index);
        }
    }

    /// Begins to report a socket's readiness, with what is ready now.
    pub(crate) fn register(&mut self, id: SocketId, token: Token) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.token = Some(token);
        let ready = match &socket.kind {
            // As Linux has it: hung up, and reading says why (E-12).
            Kind::Unconnected(_) => Ready::ALL,
            Kind::Listener(listener) => listener.readiness(),
            Kind::Stream(stream) => stream.connection.readiness(),
            Kind::Datagrams(datagrams) => datagrams.readiness(),
        };
        self.notify(id, ready);
    }

    /// Moves a host's readiness into `events`.
    pub(crate) fn take_readiness(&mut self, index: u32, events: &mut Vec<Readiness>) {
        let host = &mut self.hosts[index as usize];
        for id in host.ready.drain(..) {
            let Some(socket) = self.sockets.get_mut(id) else {
                continue;
            };
            socket.listed = false;
            let ready = std::mem::take(&mut socket.ready);
            if let Some(token) = socket.token {
                events.push(Readiness {
                    token,
                    readable: ready.has(Ready::READABLE),
                    writable: ready.has(Ready::WRITABLE),
                    read_closed: ready.has(Ready::READ_CLOSED),
                });
            }
        }
    }

    /// A host has something to do: it gets a turn, now or when its processor is free.
    pub(crate) fn wake_host(&mut self, index: u32) {
        let now = self.now;
        let host = self.host(index);
        if host.queued || host.delayed {
            return;
        }
        if host.busy_until > now {
            host.delayed = true;
            let at = host.busy_until;
            self.delayed_hosts += 1;
            self.arm_host_timer(index, at);
            return;
        }
        host.queued = true;
        // The control loop is not one of many: it goes before all hosts.
        if index != CONTROL {
            self.ready.add(index);
        }
    }

    /// Takes the host whose turn is next at this instant.
    pub(crate) fn next_ready(&mut self) -> Option<u32> {
        loop {
            match self.ready.take()? {
                Ok(index) => {
                    self.host(index).queued = false;
                    return Some(index);
                }
                Err(index) => {
                    let rank = self.draw_rank(index);
                    self.ready.add_ranked(index, rank);
                }
            }
        }
    }

    fn draw_rank(&mut self, index: u32) -> u64 {
        let host = &mut self.hosts[index as usize];
        let ranks =
            host.ranks.get_or_insert_with(|| Box::new(Draws::new(Site::HostOrder, host.entity)));
        let value = ranks.next(&self.decisions);
        self.record(index, Record::Draw { site: Site::HostOrder, value });
        value
    }

    /// True when no host has anything to do at this instant and no packet is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.is_empty() && self.delayed_hosts == 0 && self.agenda.in_flight() == 0
    }

    /// When a host's engine wants its next turn, apart from events.
    pub(crate) fn set_deadline(&mut self, index: u32, deadline: Time) {
        self.host(index).deadline = deadline;
        if deadline != Time::NEVER {
            self.arm_host_timer(index, deadline);
        }
    }

    fn arm_host_timer(&mut self, index: u32, at: Time) {
        if self.host(index).timer.arm(at) {
            self.agenda.push(at, Event::HostTimer(index));
        }
    }

    fn host_timer(&mut self, index: u32) {
        let now = self.now;
        let host = self.host(index);
        host.timer.came_up(now);
        let (busy_until, deadline) = (host.busy_until, host.deadline);
        if busy_until > now {
            if host.delayed || deadline <= now {
                self.arm_host_timer(index, busy_until);
            }
        } else if host.delayed || deadline <= now {
            if host.delayed {
                host.delayed = false;
                self.delayed_hosts -= 1;
            }
            self.wake_host(index);
        } else if deadline != Time::NEVER {
            self.arm_host_timer(index, deadline);
        }
    }

    /// A local endpoint with the address of its socket, for a packet to `to`.
    pub(crate) fn source_endpoint(&self, from: u32, local: Endpoint, to: Ip) -> Endpoint {
        if local.ip.is_any() { Endpoint::new(self.source_for(from, to), local.port) } else { local }
    }
}
