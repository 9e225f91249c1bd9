//! The end of a packet's way: partitions, downlinks, and what the test's own hand does.

use sim_core::Time;

use super::pipeline::SEGMENT_LIFE_MAX;
use super::table::{Held, HeldBackKey};
use crate::agenda::{Event, InAgenda};
use crate::faults;
use crate::network::Network;
use crate::packet::{Body, Icmp, Packet};
use crate::partition::{Cut, Effect};
use crate::socket_table::SocketId;
use crate::trace::{DropReason, Record};

/// Where a packet is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whereabouts {
    /// On the agenda.
    Agenda(InAgenda),
    /// Held back for later ones.
    HeldBack(HeldBackKey),
    /// In a jam, under this number.
    Jam(u64),
}

impl Network {
    /// A packet arrives in a world with partitions or downlinks. `is_through`: it has come through
    /// the downlink.
    #[cold]
    pub(crate) fn judge_arrival(&mut self, packet: Packet, is_through: bool) {
        let (from, to) = (packet.flow.sender(), packet.to_host);
        let of_network = match packet.body {
            Body::Icmp(icmp, _) => icmp != Icmp::PortUnreachable,
            Body::Tcp(_) | Body::Udp { .. } => false,
        };
        if from == to || of_network {
            self.take_in_at_last(packet);
            return;
        }
        match self.wire.links.cuts.judge(from, to, &packet) {
            Some(Effect::Hold) => self.hold(packet, is_through),
            Some(Effect::Reject) => {
                self.wire.complain(&packet, Icmp::HostUnreachable);
                self.lose(packet, DropReason::Rejected, faults::REJECT);
            }
            Some(Effect::Drop) => self.lose(packet, DropReason::Partition, faults::CUT),
            None if is_through => self.take_in_at_last(packet),
            None => {
                let now = self.wire.now;
                match self.wire.links.through_downlink(to, now, packet.size()) {
                    Some(leaves) if leaves > now => {
                        self.wire.agenda.push(leaves, Event::Delivery(Box::new(packet)));
                    }
                    Some(_) => self.take_in_at_last(packet),
                    None => self.lose(packet, DropReason::Queue, faults::QUEUE),
                }
            }
        }
    }

    /// A packet that was held back has waited long enough, if it still waits.
    #[cold]
    pub(crate) fn late(&mut self, key: HeldBackKey) {
        if let Some((packet, _)) = self.wire.links.take_held_back(key) {
            self.judge_arrival(packet, false);
        }
    }

    /// Apart from the calls of this module, so that these do not count against inlining where
    /// nothing is judged.
    #[cold]
    fn take_in_at_last(&mut self, packet: Packet) {
        let is_here = packet.flow.sender() == packet.to_host;
        if self.wire.plane.is_some() && !is_here && !self.hosts[packet.to_host as usize].is_deaf() {
            self.wire.note_arrival(&packet);
        }
        self.take_in(packet);
    }

    fn lose(&mut self, packet: Packet, reason: DropReason, fault: &'static str) {
        self.wire.faults.count(fault);
        self.udp_left(&packet);
        self.drop_packet(packet.to_host, packet, reason);
    }

    fn hold(&mut self, packet: Packet, is_through: bool) {
        self.wire.faults.count(faults::HOLD);
        self.wire.record_packet(packet.to_host, &packet, Record::Held);
        self.wire.capture_comment(&packet, "held by a partition");
        let since = self.wire.now;
        if let Err(packet) = self.wire.links.hold(packet, since, is_through) {
            self.udp_left(&packet);
            self.drop_packet(packet.to_host, packet, DropReason::HeldFull);
        }
    }

    // Partitions.

    /// Ends a partition, and lets go what nothing holds.
    pub(crate) fn heal(&mut self, cut: Cut) {
        self.wire.links.cuts.remove(cut);
        self.note_healed(cut);
        self.wire.links.cuts_changed();
        self.let_go();
    }

    /// Ends all partitions but these and every held link, and lets go what nothing holds.
    pub(crate) fn heal_all_but(&mut self, stay: &[Cut]) {
        self.wire.links.cuts.clear_but(stay);
        self.note_all_healed_but(stay);
        self.wire.links.cuts_changed();
        self.let_go();
    }

    /// Lets go what nothing holds any more.
    pub(crate) fn let_go(&mut self) {
        for held in std::mem::take(self.wire.links.jam()) {
            let (from, to) = (held.packet.flow.sender(), held.packet.to_host);
            let effect = self.wire.links.cuts.judge(from, to, &held.packet);
            if effect == Some(Effect::Hold) {
                self.wire.links.jam().push_back(held);
            } else {
                self.release(held);
            }
        }
        // Behind the data that they came behind.
        for (to, since) in std::mem::take(self.wire.links.held_resets()) {
            self.let_go_reset(to, since);
        }
    }

    fn release(&mut self, Held { packet, since, is_through, .. }: Held) {
        let now = self.wire.now;
        self.wire.record_packet(packet.to_host, &packet, Record::Released);
        let is_segment = matches!(packet.body, Body::Tcp(_));
        if is_segment && now.saturating_since(since) > SEGMENT_LIFE_MAX {
            self.drop_packet(packet.to_host, packet, DropReason::Expired);
            return;
        }
        let event =
            if is_through { Event::Delivery(Box::new(packet)) } else { Event::Arrival(packet) };
        self.wire.agenda.push(now, event);
    }

    // Resets that something on the way forges: they are no packets, and meet what packets meet.

    /// What is in the way of a reset to a connection, from where its peer is.
    fn judge_reset(&mut self, to: SocketId) -> Option<Effect> {
        let (host, stream) = self.sockets.host_and_stream(to)?;
        let ports = [stream.remote.port, stream.local.port];
        let from = stream.peer_host().filter(|&from| from != host)?;
        self.wire.links.cuts.judge_ports(from, host, ports)
    }

    /// True if a forged reset begins its way.
    pub(crate) fn admits_reset(&mut self, to: SocketId) -> bool {
        // A jam is at the other end.
        match self.judge_reset(to).filter(|&effect| effect != Effect::Hold) {
            Some(effect) => {
                self.wire.faults.count(effect.fault());
                false
            }
            None => true,
        }
    }

    /// True if a forged reset that is at the end of its way is taken in.
    pub(crate) fn takes_in_reset(&mut self, to: SocketId) -> bool {
        if let Some(effect) = self.judge_reset(to) {
            self.wire.faults.count(effect.fault());
            if effect == Effect::Hold {
                self.wire.links.hold_reset(to, self.wire.now);
            }
            return false;
        }
        let Some((host, stream)) = self.sockets.host_and_stream(to) else { return false };
        self.hosts[host as usize].hears(stream.local.ip)
    }

    fn let_go_reset(&mut self, to: SocketId, since: Time) {
        let now = self.wire.now;
        if self.judge_reset(to) == Some(Effect::Hold) {
            self.wire.links.held_resets().push((to, since));
        } else if now.saturating_since(since) <= SEGMENT_LIFE_MAX {
            self.wire.agenda.push(now, Event::ForgedReset(to));
        }
    }

    // The test's own hand.

    /// Calls `see` for each packet on its way: where it is, when it arrives, and what it is.
    pub(crate) fn each_in_flight(
        &mut self,
        mut see: impl FnMut(Whereabouts, Option<Time>, &Packet),
    ) {
        let wire = &mut self.wire;
        wire.agenda
            .each_packet(|place, at, packet| see(Whereabouts::Agenda(place), Some(at), packet));
        for (key, packet, arrival) in wire.links.held_back() {
            see(Whereabouts::HeldBack(key), Some(arrival), packet);
        }
        for held in wire.links.jam() {
            see(Whereabouts::Jam(held.number), None, &held.packet);
        }
    }

    /// Takes a packet off its way, if it is still there.
    pub(crate) fn intercept(&mut self, place: Whereabouts) -> Option<Packet> {
        match place {
            Whereabouts::Agenda(place) => self.wire.agenda.recall(place),
            Whereabouts::HeldBack(key) => self.wire.links.take_held_back(key).map(|(it, _)| it),
            Whereabouts::Jam(number) => {
                let jam = self.wire.links.jam();
                let place = jam.iter().position(|held| held.number == number)?;
                jam.remove(place).map(|held| held.packet)
            }
        }
    }

    /// The test delivers a packet that it has intercepted: it arrives now, whatever is in its way.
    pub(crate) fn deliver_by_hand(&mut self, packet: Packet) {
        self.take_in_at_last(packet);
    }

    /// The test drops a packet that it has intercepted.
    pub(crate) fn drop_by_hand(&mut self, packet: Packet) {
        self.lose(packet, DropReason::ByHand, faults::BY_HAND);
    }
}
