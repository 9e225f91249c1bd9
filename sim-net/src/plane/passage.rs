//! The way of a packet that somebody decides about or looks at, up to the pipeline of its link.

use std::sync::Arc;

use sim_core::Time;

use super::claims::{Chosen, Follower};
use super::packets::{PacketEvent, Part, parts};
use super::{NONE, Plane, Watch, Watched, moment};
use crate::agenda::{Agenda, Event};
use crate::buffer::Pool;
use crate::flow::Flow;
use crate::link::lane::Lane;
use crate::link::pipeline::Fate;
use crate::orders::Standing;
use crate::packet::{Body, Packet};
use crate::plan::FaultSite;
use crate::wire::{Path, Wire};

/// What is known of a packet that begins its way, beside the packet itself.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Passage {
    /// Its content id, if its flow is watched.
    event: Option<PacketEvent>,
    /// What the plan does to it; `None` if the seed decides.
    pub(crate) chosen: Option<Chosen>,
    /// The plan leaves its jitter to the seed.
    is_left_to_seed: bool,
}

/// Who says how long a packet takes beyond the least delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DelayBy {
    Seed,
    Plan(u64),
}

impl Passage {
    /// Who says how long it takes.
    pub(crate) fn delay(&self) -> DelayBy {
        match self.chosen {
            None => DelayBy::Seed,
            Some(Chosen { delay: Some(delay), .. }) => DelayBy::Plan(delay),
            Some(_) if self.is_left_to_seed => DelayBy::Seed,
            Some(_) => DelayBy::Plan(0),
        }
    }
}

impl Wire {
    /// Sends a packet in a run that has a plane. A train is taken apart where anything tells its
    /// segments from each other: the path, or an entry of the plan. What `is_whole` is one packet on
    /// the wire, whatever its size.
    #[cold]
    #[inline(never)]
    pub(crate) fn pass_planned(
        &mut self,
        path: Path,
        mut packet: Packet,
        is_whole: bool,
        lane: &mut Lane,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        let link = (path.from, packet.to_host);
        let watch = self.watch(packet.flow, link, lane);
        let mss = match is_whole {
            true => u32::MAX,
            false => path.mtu.saturating_sub(packet.headers()).max(1),
        };
        if !is_whole && (!self.is_constant(path) || self.wants_part(watch, &packet, mss)) {
            while let Some(segment) = packet.split_off(mss) {
                let _ = self.pass_chosen(path.from, watch, segment, mss, lane, last_arrival, pool);
            }
        }
        self.pass_chosen(path.from, watch, packet, mss, lane, last_arrival, pool)
    }

    /// How long a packet takes beyond the least delay whose flow nobody watches, given what the seed
    /// says.
    pub(crate) fn delay_by_plan(
        &mut self,
        link: (u32, u32),
        flow: Flow,
        lane: &mut Lane,
        drawn: u64,
    ) -> u64 {
        let watch = self.watch(flow, link, lane);
        match &mut self.plane {
            Some(plane) if plane.decides(self.now) => match plane.leaves_jitter(watch, self.now) {
                true => drawn,
                false => 0,
            },
            _ => drawn,
        }
    }

    fn watch(&mut self, flow: Flow, link: (u32, u32), lane: &mut Lane) -> Watch {
        if let Some(watch) = lane.watch {
            return watch;
        }
        let none = Watch { flow: NONE, jitter: NONE };
        let hosts = &self.trace.hosts;
        let watch = self.plane.as_mut().map_or(none, |plane| plane.watch(flow, link, hosts));
        lane.watch = Some(watch);
        watch
    }

    /// True if an entry of the plan is about a segment of a train.
    fn wants_part(&self, watch: Watch, packet: &Packet, mss: u32) -> bool {
        let Some(plane) = self.plane.as_deref().filter(|_| watch.flow != NONE) else {
            return false;
        };
        let Watched { packets, claims, peer } = &plane.flows[watch.flow as usize];
        let Some(claims) = claims.as_deref() else { return false };
        if packet.record().bytes <= mss {
            return false;
        }
        let peer = plane.flows[*peer as usize].packets.start();
        parts(packet, mss).any(|part| plane.claims.wants(claims, &packets.name(packet, part, peer)))
    }

    #[expect(clippy::too_many_arguments, reason = "the pipeline's own, and who watches")]
    fn pass_chosen(
        &mut self,
        from: u32,
        watch: Watch,
        mut packet: Packet,
        mss: u32,
        lane: &mut Lane,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        let passage = self.begin_passage(from, watch, &mut packet, mss);
        if !self.links.differs && passage.chosen.is_none_or(|chosen| chosen.is_harmless()) {
            return self.send_plain(from, packet, lane, last_arrival, &passage);
        }
        self.pass_one(from, packet, lane, last_arrival, pool, passage)
    }

    /// Shows a packet to whoever decides or looks on.
    fn begin_passage(&mut self, from: u32, watch: Watch, packet: &mut Packet, mss: u32) -> Passage {
        let Self { plane, trace, agenda, links, now, .. } = self;
        let (hosts, now) = (&trace.hosts, *now);
        let Some(plane) = plane.as_deref_mut() else { return Passage::default() };
        let decides = plane.decides(now);
        let mut passage = Passage {
            event: None,
            chosen: decides.then(Chosen::default),
            is_left_to_seed: plane.leaves_jitter(watch, now),
        };
        if watch.flow == NONE {
            return passage;
        }
        let at = moment(from, now, trace.steps());
        for part in parts(packet, mss) {
            let event = plane.note_packet(watch.flow, packet, part);
            passage.event.get_or_insert(event);
            plane.follow(watch.flow, &event, &hosts[from as usize], now, agenda);
            let Plane { census, recorder, claims, flows, is_calm, .. } = plane;
            if let Some(census) = census {
                census.sent(event, packet, at);
            }
            if let Some(recorder) = recorder {
                recorder.last_packet(from, now, &event);
            }
            if decides && let Some(own) = flows[watch.flow as usize].claims.as_deref() {
                let to = packet.to_host;
                let may_befall = |site| !*is_calm || links.does_by_chance(from, to, site);
                let chosen = claims.choose(own, &event, may_befall, hosts);
                passage.chosen = Some(chosen);
            }
        }
        if let (Body::Tcp(segment), Some(event)) = (&mut packet.body, &passage.event) {
            // So that it is known again where it arrives.
            segment.attempt = u16::try_from(event.nth - 1).unwrap_or(u16::MAX);
        }
        passage
    }

    /// Notes what has happened to a packet, for the plan of the run.
    pub(crate) fn note_fault(&mut self, passage: &Passage, site: FaultSite, value: u64) {
        let Some(plane) = self.plane.as_deref_mut() else { return };
        if let (Some(recorder), Some(event)) = (&mut plane.recorder, &passage.event) {
            recorder.packet(site, event, value, &self.trace.hosts);
        }
    }

    /// Notes how long a packet takes beyond the least delay.
    pub(crate) fn note_delay(&mut self, link: (u32, u32), passage: &Passage, value: u64) {
        let Some(plane) = self.plane.as_deref_mut() else { return };
        let is_by_chance = plane.goes_on_by_chance(self.now);
        let (Some(recorder), Some(event)) = (&mut plane.recorder, &passage.event) else { return };
        match passage.delay() {
            DelayBy::Seed => recorder.delay(link, event, value, is_by_chance, &self.trace.hosts),
            DelayBy::Plan(0) => {}
            DelayBy::Plan(_) => {
                recorder.packet(FaultSite::Delay, event, value, &self.trace.hosts);
            }
        }
    }

    /// A packet has come to the end of its way, and its host takes it.
    #[cold]
    pub(crate) fn note_arrival(&mut self, packet: &Packet) {
        let Self { plane, trace, agenda, now, .. } = self;
        let (hosts, now) = (&trace.hosts, *now);
        let Some(plane) = plane.as_deref_mut() else { return };
        let Some(&flow) = plane.by_flow.get(&packet.flow) else { return };
        let peer = plane.flows[flow as usize].peer;
        let start = plane.flows[peer as usize].packets.start();
        let event = plane.flows[flow as usize].packets.arrived(packet, start);
        let host = packet.to_host;
        plane.follow(flow, &event, &hosts[host as usize], now, agenda);
        if let Some(census) = &mut plane.census {
            census.arrived(event, moment(host, now, trace.steps()));
        }
        if let Some(recorder) = &mut plane.recorder {
            recorder.last_packet(host, now, &event);
        }
    }
}

impl Plane {
    fn note_packet(&mut self, flow: u32, packet: &Packet, part: Part) -> PacketEvent {
        let peer = self.flows[self.flows[flow as usize].peer as usize].packets.start();
        let packets = &mut self.flows[flow as usize].packets;
        let event = packets.name(packet, part, peer);
        packets.note(&event, packet);
        event
    }

    /// Schedules what follows a packet on a host.
    fn follow(
        &mut self,
        flow: u32,
        event: &PacketEvent,
        host: &Arc<str>,
        now: Time,
        agenda: &mut Agenda,
    ) {
        if !self.claims.follows_packets {
            return;
        }
        if let Some(claims) = self.flows[flow as usize].claims.as_deref_mut() {
            let followers = self.claims.followers(claims, event, host);
            followers.into_iter().for_each(|follower| schedule(follower, now, agenda));
        }
    }
}

/// Puts a fault that follows an event on the agenda, with its end.
pub(crate) fn schedule(follower: Follower, now: Time, agenda: &mut Agenda) {
    let Follower { fault, delay, length } = follower;
    let begin = now + delay;
    agenda.push(begin, Event::Order(Standing::order(fault as usize, false)));
    if let Some(length) = length {
        agenda.push(begin + length, Event::Order(Standing::order(fault as usize, true)));
    }
}
