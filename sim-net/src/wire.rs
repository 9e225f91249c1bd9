//! What lies between the hosts: the clock that they share, what is on its way, how long it takes,
//! and the record of it all.

use std::time::Duration;

use sim_core::Time;

use crate::agenda::{Agenda, Event};
use crate::buffer::Pool;
use crate::capture::Capture;
use crate::decisions::{Decisions, Draws, Entity, Site};
use crate::flow::Flow;
use crate::link::{LOOPBACK_DELAY, LOOPBACK_MTU, Latency, MTU};
use crate::packet::{Body, Packet};
use crate::trace::{DropReason, Record, Trace};

/// The part of a network that sending needs beside the socket that sends. It knows no sockets, so
/// both can be borrowed at once.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) now: Time,
    pub(crate) agenda: Agenda,
    pub(crate) decisions: Decisions,
    pub(crate) trace: Trace,
    /// What was sent, if that is wanted.
    pub(crate) capture: Option<Box<Capture>>,
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

    /// The path out of a host, to another or to nowhere.
    pub(crate) fn out(to: Option<u32>) -> Self {
        Self { host: to, mtu: MTU, loopback: false }
    }
}

impl Wire {
    pub(crate) fn new(seed: u64, latency: Latency, keep_log: bool) -> Self {
        Self {
            now: Time::ZERO,
            agenda: Agenda::default(),
            decisions: Decisions::new(seed),
            trace: Trace::new(keep_log),
            capture: None,
            latency,
        }
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

    /// The next of the draws of a host.
    pub(crate) fn draw_next(&mut self, host: u32, draws: &mut Draws) -> u64 {
        let value = draws.next(&self.decisions);
        self.record(host, Record::Draw { site: draws.site(), value });
        value
    }

    pub(crate) fn flow_entity(&self, flow: Flow) -> Entity {
        flow.entity(&self.trace.hosts)
    }

    // Packets.

    /// How long the next packet of a flow takes on a path. `draws` are those of the flow.
    #[inline]
    pub(crate) fn delay(
        &mut self,
        from: u32,
        path: Path,
        flow: Flow,
        draws: &mut Option<Box<Draws>>,
    ) -> Duration {
        if self.is_constant(path) {
            return if path.loopback { LOOPBACK_DELAY } else { self.latency.least() };
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

    /// Puts a packet on its way, to arrive at `arrival`.
    #[inline(always)]
    pub(crate) fn dispatch(&mut self, from: u32, arrival: Time, mut packet: Packet) {
        if let Some(capture) = &mut self.capture {
            packet.frame = capture.sent(self.now, from, &packet);
        }
        self.trace.record(self.now, from, Record::Sent(packet.record()));
        self.agenda.push(arrival, Event::Arrival(packet));
    }

    /// A packet was sent to an address that no host has.
    #[cold]
    pub(crate) fn lose(&mut self, from: u32, mut packet: Packet, pool: &mut Pool) {
        if let Some(capture) = &mut self.capture {
            packet.frame = capture.sent(self.now, from, &packet);
        }
        self.record(from, Record::Sent(packet.record()));
        self.drop_packet(from, packet, DropReason::NoHost, pool);
    }

    /// A packet is lost.
    #[cold]
    pub(crate) fn drop_packet(
        &mut self,
        host: u32,
        packet: Packet,
        reason: DropReason,
        pool: &mut Pool,
    ) {
        self.record(host, Record::Dropped(packet.record(), reason));
        if let Some(capture) = &mut self.capture {
            let name = self.trace.hosts.get(host as usize).map_or("?", |name| name);
            capture.dropped(packet.frame, self.now, name, reason);
        }
        let payload = match packet.body {
            Body::Tcp(segment) => segment.payload,
            Body::Udp { payload, .. } => Some(payload),
            Body::PortUnreachable => None,
        };
        if let Some(payload) = payload {
            pool.put(payload);
        }
    }
}
