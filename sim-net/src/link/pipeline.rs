//! The way of a packet over a link, from its sender to the agenda.

use std::rc::Rc;
use std::time::Duration;

use sim_core::Time;

use super::lane::Lane;
use super::{Link, Mtu, Order, Oversize};
use crate::agenda::Event;
use crate::buffer::Pool;
use crate::decisions::Site;
use crate::faults;
use crate::link::corruption::Damage;
use crate::packet::{Body, Icmp, Packet};
use crate::partition::Effect;
use crate::plan::FaultSite;
use crate::plane::passage::{DelayBy, Passage};
use crate::trace::{DropReason, Record};
use crate::wire::{Path, Wire};

/// How long a packet is held back at most for later ones.
const HELD_BACK_MAX: Duration = Duration::from_millis(100);
/// For how many later ones.
const HELD_BACK_FOR_MAX: u64 = 1_000;
/// How long a copy of a segment may take (RFC 9293's MSL is two minutes; Linux takes it as 30 s).
pub(super) const SEGMENT_LIFE_MAX: Duration = Duration::from_secs(30);

/// What became of a packet that was given to the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Fate {
    /// It is on its way.
    OnTheWay,
    /// It is lost, or something else arrives in its place: it counts no more in its sender's buffer.
    Gone,
}

/// A packet that begins its way.
struct Departure<'a> {
    from: u32,
    link: Rc<Link>,
    lane: &'a mut Lane,
    /// The packet's number in the lane.
    ordinal: u64,
    /// Who decides about it, and what it is called.
    passage: Passage,
}

impl Wire {
    /// Sends a packet on a path that is more than a delay. A train is taken apart if anything on
    /// the path could tell its segments from each other.
    #[inline(never)]
    pub(crate) fn pass(
        &mut self,
        path: Path,
        mut packet: Packet,
        lane: &mut Option<Box<Lane>>,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        let lane = lane.get_or_insert_with(|| Lane::new(self.flow_entity(packet.flow)));
        if self.plane.is_some() {
            return self.pass_planned(path, packet, false, lane, last_arrival, pool);
        }
        let alone = Passage::default();
        if !self.is_constant(path) {
            let mss = path.mtu.saturating_sub(packet.headers()).max(1);
            while let Some(segment) = packet.split_off(mss) {
                let _ = self.pass_one(path.from, segment, lane, last_arrival, pool, alone);
            }
        }
        self.pass_one(path.from, packet, lane, last_arrival, pool, alone)
    }

    /// Sends what is one packet on the wire.
    pub(crate) fn pass_one(
        &mut self,
        from: u32,
        mut packet: Packet,
        lane: &mut Lane,
        last_arrival: &mut Time,
        pool: &mut Pool,
        passage: Passage,
    ) -> Fate {
        self.observe_sent(from, &mut packet);
        self.record_packet(from, &packet, Record::Sent);
        let ordinal = lane.next();
        let link = Rc::clone(self.links.link(from, packet.to_host));
        let mut departure = Departure { from, link, lane, ordinal, passage };
        match self.admit(&mut departure, &packet) {
            Ok(leaves) => self.travel(departure, packet, leaves, last_arrival, pool),
            Err((reason, fault)) => {
                self.faults.count(fault);
                self.drop_packet(from, packet, reason, pool);
                Fate::Gone
            }
        }
    }

    /// Partition, MTU, queues and rates, loss: when the packet leaves, or why it does not.
    fn admit(
        &mut self,
        departure: &mut Departure<'_>,
        packet: &Packet,
    ) -> Result<Time, (DropReason, &'static str)> {
        let (from, to, size) = (departure.from, packet.to_host, packet.size());
        match self.links.cuts.judge(from, to, packet) {
            Some(Effect::Drop) => return Err((DropReason::Partition, faults::CUT)),
            Some(Effect::Reject) => {
                self.complain(packet, Icmp::HostUnreachable);
                return Err((DropReason::Rejected, faults::REJECT));
            }
            // A jam is at the other end.
            Some(Effect::Hold) | None => {}
        }
        let link = &departure.link;
        if let Some(Mtu { bytes, oversize }) = link.mtu.filter(|mtu| size > mtu.bytes) {
            if oversize != Oversize::Silent {
                self.complain(packet, Icmp::FragmentationNeeded(bytes));
            }
            return Err((DropReason::Mtu, faults::MTU));
        }
        let full = (DropReason::Queue, faults::QUEUE);
        let mut leaves = self.links.through_uplink(from, self.now, size).ok_or(full)?;
        if let Some(rate) = link.rate {
            leaves = self.links.through_rate((from, to), rate, leaves, size).ok_or(full)?;
        }
        let (lane, ordinal) = (&mut *departure.lane, departure.ordinal);
        let is_lost = match departure.passage.chosen {
            Some(chosen) => chosen.is_lost || link.loss.lists(ordinal + 1),
            None => {
                let mut chain = lane.chain;
                let decisions = &self.decisions;
                let is_lost = link.loss.takes(ordinal + 1, &mut chain, || {
                    lane.fault(Site::PacketLoss, ordinal, decisions)
                });
                lane.chain = chain;
                is_lost
            }
        };
        if !is_lost {
            return Ok(leaves);
        }
        if !link.loss.lists(ordinal + 1) {
            self.note_fault(&departure.passage, FaultSite::Loss, 1);
        }
        Err((DropReason::Loss, faults::LOSS))
    }

    /// Copy, corruption, delay and order of a packet that leaves at `leaves`.
    fn travel(
        &mut self,
        departure: Departure<'_>,
        packet: Packet,
        leaves: Time,
        last_arrival: &mut Time,
        pool: &mut Pool,
    ) -> Fate {
        let (from, link) = (departure.from, Rc::clone(&departure.link));
        let mut departure = departure;
        let pair = (from, packet.to_host);
        let copy = self.copy(&mut departure, &packet);
        let (packet, fate) = self.corrupt(&mut departure, packet, pool);
        if let Some(packet) = packet {
            let arrival = leaves + self.delay_on(&mut departure, packet.to_host);
            let arrival = match link.order {
                Order::Fifo => self.links.in_line(pair, arrival),
                Order::Tcp if matches!(packet.body, Body::Tcp(_)) => {
                    *last_arrival = arrival.max(*last_arrival);
                    *last_arrival
                }
                Order::Tcp | Order::Free => arrival,
            };
            self.arrange(departure, packet, arrival);
        }
        if let Some((copy, delay)) = copy {
            let mut arrival = leaves + delay;
            if link.order == Order::Fifo {
                arrival = self.links.in_line(pair, arrival);
            }
            self.agenda.push(arrival, Event::Arrival(copy));
        }
        fate
    }

    /// The copy that follows a packet, if one does, and how long it takes.
    fn copy(
        &mut self,
        departure: &mut Departure<'_>,
        packet: &Packet,
    ) -> Option<(Packet, Duration)> {
        let Departure { from, ref link, ref mut lane, ordinal, ref passage } = *departure;
        let site = Site::PacketDuplicate;
        let value = match passage.chosen {
            Some(chosen) => chosen.duplicate,
            None if link.duplicate.is_never() => 0,
            None => {
                let rest = link.duplicate.rest(lane.fault(site, ordinal, &self.decisions));
                rest.map_or(0, |rest| link.latency.beyond_least(rest).saturating_add(1))
            }
        };
        let beyond = value.checked_sub(1)?;
        self.record(from, Record::Draw { site, value });
        self.record_packet(from, packet, Record::Duplicated);
        self.capture_comment(packet, "sent twice");
        self.faults.count(faults::DUPLICATE);
        self.note_fault(passage, FaultSite::Duplicate, value);
        let mut delay = link.latency.least() + Duration::from_nanos(beyond);
        if matches!(packet.body, Body::Tcp(_)) {
            delay = delay.min(SEGMENT_LIFE_MAX);
        }
        Some((packet.copy(), delay))
    }

    /// What is left of a packet after corruption, and whether that is what its sender counts.
    fn corrupt(
        &mut self,
        departure: &mut Departure<'_>,
        packet: Packet,
        pool: &mut Pool,
    ) -> (Option<Packet>, Fate) {
        let Departure { from, ref link, ref mut lane, ordinal, ref passage } = *departure;
        let length = packet.record().bytes as usize;
        let likely = link.corruption.probability;
        let value = match passage.chosen {
            Some(chosen) => chosen.corrupt,
            None if likely.is_never() => 0,
            None => {
                let rest = likely.rest(lane.fault(Site::PacketCorrupt, ordinal, &self.decisions));
                rest.map_or(0, |rest| {
                    Damage::choose(rest, length).map_or(1, |damage| damage.value(length))
                })
            }
        };
        if value == 0 {
            return (Some(packet), Fate::OnTheWay);
        }
        let damage = Damage::of_value(value, length);
        self.faults.count(faults::CORRUPT);
        self.note_fault(passage, FaultSite::Corrupt, value);
        self.record(from, Record::Draw { site: Site::PacketCorrupt, value });
        self.record_packet(from, &packet, Record::Corrupted);
        self.capture_comment(&packet, "corrupted on the way");
        match (damage, packet.body) {
            (Some(damage), Body::Udp { payload, .. }) if link.corruption.delivers => {
                let damaged = match damage {
                    Damage::Flipped(bit) => payload.with_flipped_bit(bit, pool),
                    Damage::CutTo(left) => payload.part(0, left),
                };
                pool.put(payload);
                let body = Body::Udp { payload: damaged, counted: false };
                (Some(Packet { body, ..packet }), Fate::Gone)
            }
            (_, body) => {
                self.drop_packet(from, Packet { body, ..packet }, DropReason::Checksum, pool);
                (None, Fate::Gone)
            }
        }
    }

    /// How long a packet takes on a link.
    fn delay_on(&mut self, departure: &mut Departure<'_>, to: u32) -> Duration {
        let Departure { from, ref link, ref mut lane, ordinal, ref passage } = *departure;
        let (least, varies) = (link.latency.least(), link.latency.varies());
        let value = match passage.delay() {
            DelayBy::Seed if varies => {
                link.latency.beyond_least(lane.delay(ordinal, &self.decisions))
            }
            DelayBy::Seed => 0,
            DelayBy::Plan(value) => value,
        };
        if !varies && value == 0 {
            return least;
        }
        self.record(from, Record::Draw { site: Site::PacketDelay, value });
        self.note_delay((from, to), passage, value);
        least + Duration::from_nanos(value)
    }

    /// Puts a packet on the agenda, or holds it back for later ones; and behind it those that were
    /// held back for it.
    fn arrange(&mut self, departure: Departure<'_>, packet: Packet, arrival: Time) {
        let Departure { from, link, lane, ordinal, passage } = departure;
        let packets = match passage.chosen {
            Some(chosen) => chosen.reorder.min(HELD_BACK_FOR_MAX) as u32,
            None if link.reorder.probability.is_never() => 0,
            None => {
                let draw = lane.fault(Site::PacketReorder, ordinal, &self.decisions);
                let rest = link.reorder.probability.rest(draw);
                rest.map_or(0, |_| link.reorder.packets)
            }
        };
        if packets > 0 {
            let (site, value) = (Site::PacketReorder, u64::from(packets));
            self.record(from, Record::Draw { site, value });
            self.note_fault(&passage, FaultSite::Reorder, value);
            self.record_packet(from, &packet, Record::HeldBack);
            self.capture_comment(&packet, "held back for later packets");
            self.faults.count(faults::REORDER);
            let key = self.links.hold_back(packet, arrival, packets);
            lane.held_back.push(key);
            self.agenda.push(arrival + HELD_BACK_MAX, Event::Late(key));
            return;
        }
        self.agenda.push(arrival, Event::Arrival(packet));
        if !lane.held_back.is_empty() {
            let Self { links, agenda, .. } = self;
            lane.held_back.retain(|&key| {
                if let Some((packet, own_arrival)) = links.goes_by(key) {
                    agenda.push(arrival.max(own_arrival), Event::Arrival(packet));
                }
                links.is_held_back(key)
            });
        }
    }

    /// The network has something to say about a packet. Its answer takes one delay of the link, half
    /// of it for the packet, and nothing stops it.
    pub(super) fn complain(&mut self, packet: &Packet, icmp: Icmp) {
        // About ICMP, and about what goes to many, there is no ICMP (RFC 1122 §3.2.2).
        if matches!(packet.body, Body::Icmp(..)) || packet.target.ip.is_to_many() {
            return;
        }
        let delay = self.links.link(packet.flow.sender(), packet.to_host).latency.least();
        let mut answer = packet.answer(icmp);
        self.observe_sent(packet.to_host, &mut answer);
        self.record_packet(packet.to_host, &answer, Record::Sent);
        self.agenda.push(self.now + delay, Event::Arrival(answer));
    }
}
