//! What lies between the hosts: the clock that they share, what is on its way, how long it takes,
//! and the record of it all.

use std::time::Duration;

use sim_core::Time;

use crate::agenda::{Agenda, Event, Place};
use crate::buffer::Pool;
use crate::capture::Capture;
use crate::clock::Clocks;
use crate::decisions::{Decisions, Draws, Entity, Site, below};
use crate::faults::Faults;
use crate::flow::Flow;
use crate::link::lane::Lane;
use crate::link::pipeline::Fate;
use crate::link::table::LinkTable;
use crate::link::{LOOPBACK_DELAY, LOOPBACK_MTU, Link, LinkRule};
use crate::packet::{Body, Packet};
use crate::plane::Plane;
use crate::plane::passage::{DelayBy, Passage};
use crate::trace::{DropReason, PacketRecord, Record, Trace};

/// The part of a network that sending needs beside the socket that sends. It knows no sockets, so
/// both can be borrowed at once.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The world's clock; the hosts' may show something else.
    pub(crate) now: Time,
    pub(crate) clocks: Clocks,
    pub(crate) agenda: Agenda,
    pub(crate) decisions: Decisions,
    pub(crate) trace: Trace,
    pub(crate) links: LinkTable,
    pub(crate) faults: Faults,
    /// What was sent, if that is wanted.
    pub(crate) capture: Option<Box<Capture>>,
    /// Who decides beside the seed, and who looks on.
    pub(crate) plane: Option<Box<Plane>>,
    /// Somebody looks at packets, in a log or a capture, and so they have numbers.
    is_observed: bool,
    /// Full segments leave as one where nothing tells them apart.
    pub(crate) forms_trains: bool,
    /// How many packets were sent while somebody looked.
    observed: u32,
}

/// How a packet gets from one host to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    /// The host at this end.
    pub(crate) from: u32,
    /// The host at the other end, if there is one.
    pub(crate) host: Option<u32>,
    /// The largest packet that this end knows to fit, in bytes.
    pub(crate) mtu: u32,
    loopback: bool,
}

impl Path {
    /// The same to another host.
    pub(crate) fn to(self, host: u32) -> Self {
        Self { host: Some(host), ..self }
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            now: Time::ZERO,
            clocks: Clocks::default(),
            agenda: Agenda::default(),
            decisions: Decisions::new(0),
            trace: Trace::new(),
            links: LinkTable::default(),
            faults: Faults::default(),
            capture: None,
            plane: None,
            is_observed: false,
            forms_trains: true,
            observed: 0,
        }
    }
}

impl Wire {
    /// A world begins: with this seed, and links as `link`, save where the rules say otherwise.
    pub(crate) fn begin(&mut self, seed: u64, link: &Link, rules: &[LinkRule], keep_log: bool) {
        self.decisions = Decisions::new(seed);
        self.links.renew(link, rules);
        self.links.enable(&mut self.faults);
        self.is_observed = keep_log;
        if keep_log {
            self.trace.keep_log();
        }
    }

    /// The world has ended: makes this as new, but for its room.
    pub(crate) fn renew(&mut self) {
        let Self {
            now,
            clocks,
            agenda,
            // They are another world's when that begins.
            decisions: _,
            links: _,
            trace,
            faults,
            capture,
            plane,
            is_observed,
            forms_trains,
            observed,
        } = self;
        *now = Time::ZERO;
        clocks.renew();
        agenda.renew();
        trace.renew();
        faults.renew();
        *capture = None;
        *plane = None;
        (*is_observed, *forms_trains, *observed) = (false, true, 0);
    }

    /// Keeps what is sent from now on.
    pub(crate) fn start_capture(&mut self) {
        self.capture = Some(Box::new(Capture::new()));
        self.is_observed = true;
    }

    /// What the monotonic clock of a host shows.
    #[inline(always)]
    pub(crate) fn local_time(&self, host: u32) -> Time {
        self.clocks.local(host, self.now)
    }

    // Decisions and the trace.

    #[inline(always)]
    pub(crate) fn record(&mut self, host: u32, record: Record) {
        self.trace.record(self.now, host, record);
    }

    /// Records something about a packet.
    #[inline(always)]
    pub(crate) fn record_packet(
        &mut self,
        host: u32,
        packet: &Packet,
        record: impl FnOnce(PacketRecord) -> Record,
    ) {
        self.trace.record_packet(self.now, host, record(packet.record()), packet.number);
    }

    /// A choice about `entity`, made on `host`.
    pub(crate) fn draw(&mut self, host: u32, site: Site, entity: Entity, ordinal: u64) -> u64 {
        let value = self.decisions.at(site, entity, ordinal);
        self.record(host, Record::Draw { site, value });
        value
    }

    /// The rank of a host among those that are ready at the same instant, and the group in which it
    /// counts.
    pub(crate) fn draw_rank(&mut self, host: u32, draws: &mut Draws) -> (u64, u32) {
        let drawn = draws.next(&self.decisions);
        let (rank, group) = match self.plane.as_mut().filter(|plane| plane.decides(self.now)) {
            None => (drawn, 0),
            Some(plane) => match plane.tie_group(host, self.now, &self.trace.hosts) {
                Some(group) => (drawn, group),
                None => (0, host),
            },
        };
        self.record(host, Record::Draw { site: draws.site(), value: rank });
        (rank, group)
    }

    /// True if the plan of the run decides, and not the seed.
    pub(crate) fn is_planned(&self) -> bool {
        self.plane.as_ref().is_some_and(|plane| plane.decides(self.now))
    }

    /// True if what befalls the run is written down.
    pub(crate) fn is_recorded(&self) -> bool {
        self.plane.as_ref().is_some_and(|plane| plane.recorder.is_some())
    }

    pub(crate) fn flow_entity(&self, flow: Flow) -> Entity {
        flow.entity(&self.trace.hosts)
    }

    // Packets.

    /// The path between two hosts that exist.
    pub(crate) fn path_between(&self, from: u32, to: u32) -> Path {
        let loopback = from == to;
        let mtu = if loopback { LOOPBACK_MTU } else { self.links.mtu(from, to) };
        Path { from, host: Some(to), mtu, loopback }
    }

    /// The path out of a host, to another or to nowhere.
    pub(crate) fn path_out(&self, from: u32, to: Option<u32>) -> Path {
        let mtu = self.links.mtu(from, to.unwrap_or(u32::MAX));
        Path { from, host: to, mtu, loopback: false }
    }

    /// True if the packets of a path all take the same time, whatever they are: then none overtakes
    /// another, and a train needs no splitting. It can change while a connection lasts.
    #[inline]
    pub(crate) fn is_constant(&self, path: Path) -> bool {
        path.loopback || self.links.is_constant(path.from, path.host)
    }

    /// True if several full segments may leave as one.
    pub(crate) fn allows_trains(&self, path: Path) -> bool {
        self.forms_trains && self.is_constant(path)
    }

    /// Sends a packet on its path, from a free place on the agenda. `lane` is that of its flow;
    /// `last_arrival` is when the last segment of its connection arrives, if it is one.
    #[inline(always)]
    pub(crate) fn send_from(
        &mut self,
        place: Place,
        path: &Path,
        packet: Packet,
        lane: &mut Option<Box<Lane>>,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        let (record, is_segment) = (packet.record(), matches!(packet.body, Body::Tcp(_)));
        self.agenda.place(place, packet);
        if path.host.is_none() || self.links.is_special && !path.loopback {
            if self.links.odds.is_some() && self.send_by_chance(place, path, lane, last_arrival) {
                return Fate::OnTheWay;
            }
            let packet = self.agenda.take_packet(place);
            return self.send_specially(*path, packet, lane, last_arrival, pool);
        }
        let delay = if path.loopback {
            LOOPBACK_DELAY.as_nanos() as u64
        } else if self.links.spread == 0 {
            self.links.least
        } else {
            self.drawn_delay(path, record.flow, lane)
        };
        let mut arrival = Time::from_nanos(self.now.as_nanos().saturating_add(delay));
        if is_segment {
            arrival = arrival.max(*last_arrival);
            *last_arrival = arrival;
        }
        let number = if self.is_observed { self.observe_placed(path.from, place) } else { 0 };
        self.trace.record_packet(self.now, path.from, Record::Sent(record), number);
        self.agenda.schedule(arrival, place);
        Fate::OnTheWay
    }

    /// Sends a packet on its path.
    pub(crate) fn send(
        &mut self,
        path: Path,
        packet: Packet,
        lane: &mut Option<Box<Lane>>,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        let place = self.agenda.reserve();
        self.send_from(place, &path, packet, lane, last_arrival, pool)
    }

    /// Sends a packet over links that leave what they do to chance, if it is in luck: the same as
    /// [`pass`](Self::pass) does then. Says whether it did.
    #[inline(never)]
    fn send_by_chance(
        &mut self,
        place: Place,
        path: &Path,
        lane: &mut Option<Box<Lane>>,
        last_arrival: &mut Time,
    ) -> bool {
        let Self { agenda, links, decisions, trace, now, .. } = self;
        let (Some(odds), Some(packet)) = (&links.odds, agenda.arriving(place)) else {
            return false;
        };
        let (record, is_segment) = (packet.record(), matches!(packet.body, Body::Tcp(_)));
        let is_train = is_segment && packet.size() > path.mtu;
        if path.host.is_none() || is_train {
            return false;
        }
        let lane = lane.get_or_insert_with(|| Lane::new(record.flow.entity(&trace.hosts)));
        let ordinal = lane.upcoming();
        if !lane.held_back.is_empty() || odds.strike(lane, ordinal, decisions) {
            return false;
        }
        lane.next();
        let latency = &links.everywhere().latency;
        let beyond = latency.varies().then(|| latency.beyond_least(lane.delay(ordinal, decisions)));
        let mut arrival = *now + latency.least() + Duration::from_nanos(beyond.unwrap_or(0));
        if is_segment {
            arrival = arrival.max(*last_arrival);
            *last_arrival = arrival;
        }
        let number = if self.is_observed { self.observe_placed(path.from, place) } else { 0 };
        self.trace.record_packet(self.now, path.from, Record::Sent(record), number);
        if let Some(value) = beyond {
            self.record(path.from, Record::Draw { site: Site::PacketDelay, value });
        }
        self.agenda.schedule(arrival, place);
        true
    }

    /// Sends a packet over links that are more than a delay, or to an address that no host has.
    #[cold]
    fn send_specially(
        &mut self,
        path: Path,
        packet: Packet,
        lane: &mut Option<Box<Lane>>,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        if path.host.is_none() {
            self.lose(path.from, packet, pool);
            return Fate::Gone;
        }
        self.pass(path, packet, lane, last_arrival, pool)
    }

    /// Sends a packet where links only delay, in a run that has a plane: what [`send_from`](Self::send_from)
    /// does, and the same records.
    pub(crate) fn send_plain(
        &mut self,
        from: u32,
        mut packet: Packet,
        lane: &mut Lane,
        last_arrival: &mut Time,
        passage: &Passage,
    ) -> Fate {
        let spread = self.links.spread;
        let drawn = (spread > 0).then(|| {
            let ordinal = lane.next();
            below(lane.delay(ordinal, &self.decisions), spread)
        });
        let value = match passage.delay() {
            DelayBy::Seed => drawn.unwrap_or(0),
            DelayBy::Plan(value) => value,
        };
        if spread > 0 || value > 0 {
            self.record(from, Record::Draw { site: Site::PacketDelay, value });
            self.note_delay((from, packet.to_host), passage, value);
        }
        let mut arrival = self.now + Duration::from_nanos(self.links.least.saturating_add(value));
        if matches!(packet.body, Body::Tcp(_)) {
            arrival = arrival.max(*last_arrival);
            *last_arrival = arrival;
        }
        self.observe_sent(from, &mut packet);
        self.record_packet(from, &packet, Record::Sent);
        self.agenda.push(arrival, Event::Arrival(packet));
        Fate::OnTheWay
    }

    /// Sends a packet that is one on the wire, whatever its size: it is no train.
    pub(crate) fn send_whole(
        &mut self,
        path: Path,
        packet: Packet,
        lane: &mut Option<Box<Lane>>,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        if path.loopback || !self.links.is_special {
            return self.send(path, packet, lane, last_arrival, pool);
        }
        let lane = lane.get_or_insert_with(|| Lane::new(self.flow_entity(packet.flow)));
        if self.plane.is_some() {
            return self.pass_planned(path, packet, true, lane, last_arrival, pool);
        }
        self.pass_one(path.from, packet, lane, last_arrival, pool, Passage::default())
    }

    /// Shows a packet that is about to be scheduled to whoever looks; returns the number that it gets.
    #[cold]
    fn observe_placed(&mut self, from: u32, place: Place) -> u32 {
        let Self { agenda, trace, capture, observed, now, .. } = self;
        let Some(packet) = agenda.arriving(place) else { return 0 };
        observe(packet, observed, trace, |packet, about| {
            if let Some(capture) = capture {
                capture.sent(*now, from, packet, about);
            }
        });
        packet.number
    }

    /// Gives a packet its number, if somebody looks, and puts it into the capture, if there is one:
    /// once each, where it leaves its sender.
    #[cold]
    pub(crate) fn observe_sent(&mut self, from: u32, packet: &mut Packet) {
        if !self.is_observed {
            return;
        }
        let Self { trace, capture, observed, now, .. } = self;
        observe(packet, observed, trace, |packet, about| {
            if let Some(capture) = capture {
                capture.sent(*now, from, packet, about);
            }
        });
    }

    /// Notes what became of a packet in the capture, if there is one.
    pub(crate) fn capture_comment(&mut self, packet: &Packet, text: &str) {
        if let Some(capture) = &mut self.capture {
            capture.comment(packet.number, text.to_owned());
        }
    }

    /// How many nanoseconds the next packet of a flow takes where all links have the same uniform delay.
    fn drawn_delay(&mut self, path: &Path, flow: Flow, lane: &mut Option<Box<Lane>>) -> u64 {
        let lane = lane.get_or_insert_with(|| Lane::new(self.flow_entity(flow)));
        let ordinal = lane.next();
        let mut value = below(lane.delay(ordinal, &self.decisions), self.links.spread);
        if self.plane.is_some() {
            let link = (path.from, path.host.unwrap_or(u32::MAX));
            value = self.delay_by_plan(link, flow, lane, value);
        }
        self.record(path.from, Record::Draw { site: Site::PacketDelay, value });
        self.links.least.saturating_add(value)
    }

    /// Sends a packet that no socket of its flow sends.
    pub(crate) fn answer(&mut self, path: Path, packet: Packet, pool: &mut Pool) {
        let flow = packet.flow;
        let (mut lane, mut last_arrival) = (None, Time::ZERO);
        if self.is_constant(path) && !self.links.is_special {
            let _ = self.send(path, packet, &mut lane, &mut last_arrival, pool);
            return;
        }
        let hosts = &self.trace.hosts;
        lane = Some(self.links.take_answers(flow, || flow.answers_entity(hosts)));
        let _ = self.send(path, packet, &mut lane, &mut last_arrival, pool);
        self.links.put_answers(flow, lane);
    }

    /// A packet was sent to an address that no host has.
    #[cold]
    pub(crate) fn lose(&mut self, from: u32, mut packet: Packet, pool: &mut Pool) {
        self.observe_sent(from, &mut packet);
        self.record_packet(from, &packet, Record::Sent);
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
        self.record_packet(host, &packet, |packet| Record::Dropped(packet, reason));
        if let Some(capture) = &mut self.capture {
            let name = self.trace.hosts.get(host as usize).map_or("?", |name| name);
            capture.dropped(packet.number, self.now, name, reason);
        }
        let payload = match packet.body {
            Body::Tcp(segment) => segment.payload,
            Body::Udp { payload, .. } => Some(payload),
            Body::Icmp(_, quote) => quote,
        };
        if let Some(payload) = payload {
            pool.put(payload);
        }
    }
}

/// Gives a packet its number, and tells the log and the capture of it.
fn observe(
    packet: &mut Packet,
    observed: &mut u32,
    trace: &mut Trace,
    capture: impl FnOnce(&Packet, u32),
) {
    let about = packet.number;
    *observed = observed.saturating_add(1);
    packet.number = *observed;
    trace.note_sent(packet.number, about, packet.data());
    capture(packet, about);
}
