//! Content ids of packets: what names a packet in a run, and in another that is much like it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decisions::{Entity, NameHash};
use crate::flow::Flow;
use crate::packet::{Body, Packet};
use crate::plan::{EventId, FlowName, Near, SegmentClass};
use crate::tcp::segment::Seq;
use crate::trace::PacketKind;

/// What draws about answers that no socket of a flow sends are called, behind the name of the flow.
const ANSWERS: &str = "/answers";

/// What kind of packet it is, for its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum PacketClass {
    Syn,
    SynAck,
    Data,
    Fin,
    Reset,
    Ack,
    Datagram,
    /// What the network says of a packet.
    Icmp,
}

const CLASSES: usize = 8;

/// What names a packet of a flow: its class; where it begins, what it acknowledges, the hash of its
/// data, or its number; and the how-manieth it is with these.
pub(crate) type PacketKey = (PacketClass, u64, u32);

/// A packet that begins its way, by its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketEvent {
    pub(crate) flow: Flow,
    pub(crate) class: PacketClass,
    pub(crate) place: u64,
    /// From 1 on.
    pub(crate) nth: u32,
    /// Its number among those of its flow and class, from 0 on.
    pub(crate) ordinal: u64,
    /// Bytes of data.
    pub(crate) length: u32,
}

impl PacketEvent {
    pub(crate) fn key(&self) -> PacketKey {
        (self.class, self.place, self.nth)
    }

    pub(crate) fn near(&self) -> Near {
        Near { ordinal: self.ordinal, length: self.length }
    }

    /// Its name in a plan. `site` is what a name says that is the key of a draw.
    pub(crate) fn id(&self, hosts: &[Arc<str>], site: &str) -> EventId {
        let flow = self.flow.to_name(hosts);
        let (offset, transmission) = (self.place, self.nth);
        let segment = |class| EventId::Segment { flow: flow.clone(), class, offset, transmission };
        match self.class {
            PacketClass::Syn => segment(SegmentClass::Syn),
            PacketClass::SynAck => segment(SegmentClass::SynAck),
            PacketClass::Data => segment(SegmentClass::Data),
            PacketClass::Fin => segment(SegmentClass::Fin),
            PacketClass::Reset => segment(SegmentClass::Reset),
            PacketClass::Ack => EventId::Ack { flow, offset, occurrence: self.nth },
            PacketClass::Datagram => {
                EventId::Datagram { flow, payload: self.place, occurrence: self.nth }
            }
            PacketClass::Icmp => EventId::Draw {
                site: site.to_owned(),
                entity: format!("{}{ANSWERS}", self.flow.name(hosts)),
                ordinal: self.place,
            },
        }
    }
}

/// The flow and the key of the packet that a plan names, if it names one.
pub(crate) fn key_of(event: &EventId) -> Option<(Entity, PacketKey)> {
    let of = |flow: &FlowName, key| Some((flow.entity(), key));
    match event {
        EventId::Segment { flow, class, offset, transmission } => {
            let class = match class {
                SegmentClass::Syn => PacketClass::Syn,
                SegmentClass::SynAck => PacketClass::SynAck,
                SegmentClass::Data => PacketClass::Data,
                SegmentClass::Fin => PacketClass::Fin,
                SegmentClass::Reset => PacketClass::Reset,
            };
            of(flow, (class, *offset, *transmission))
        }
        EventId::Ack { flow, offset, occurrence } => {
            of(flow, (PacketClass::Ack, *offset, *occurrence))
        }
        EventId::Datagram { flow, payload, occurrence } => {
            of(flow, (PacketClass::Datagram, *payload, *occurrence))
        }
        EventId::Draw { entity, ordinal, .. } => {
            let flow = entity.strip_suffix(ANSWERS)?;
            Some((Entity::named(flow), (PacketClass::Icmp, *ordinal, 1)))
        }
        EventId::Stream { .. } => None,
    }
}

/// A packet on the wire: a packet of the simulator, or a segment of a train.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Bytes of the train before it.
    before: u32,
    length: u32,
    is_last: bool,
}

/// What a packet is on the wire if segments have at most `mss` bytes of data.
pub(crate) fn parts(packet: &Packet, mss: u32) -> impl Iterator<Item = Part> + use<> {
    let bytes = packet.record().bytes;
    let size = if matches!(packet.body, Body::Tcp(_)) { mss.max(1) } else { u32::MAX };
    let count = bytes.div_ceil(size).max(1);
    (0..count).map(move |number| {
        let before = number * size;
        Part { before, length: (bytes - before).min(size), is_last: number + 1 == count }
    })
}

/// What is known of the packets of a flow in one direction.
#[derive(Debug)]
pub(crate) struct FlowPackets {
    flow: Flow,
    /// The initial sequence number, once the SYN was sent.
    start: Option<Seq>,
    /// How many there were of each class and place.
    counts: BTreeMap<(PacketClass, u64), u32>,
    /// How many there were of each class.
    ordinals: [u64; CLASSES],
    /// The last place in the stream, and the last that was acknowledged, beyond 32 bits.
    place: u64,
    acknowledged: u64,
    /// How many of each datagram arrived.
    arrived: BTreeMap<u64, u32>,
}

impl FlowPackets {
    pub(crate) fn new(flow: Flow) -> Self {
        Self {
            flow,
            start: None,
            counts: BTreeMap::new(),
            ordinals: [0; CLASSES],
            place: 0,
            acknowledged: 0,
            arrived: BTreeMap::new(),
        }
    }

    /// Where the sequence numbers of this direction begin.
    pub(crate) fn start(&self) -> Option<Seq> {
        self.start
    }

    /// What the next packet would be called. `peer` is where the other direction's numbers begin.
    pub(crate) fn name(&self, packet: &Packet, part: Part, peer: Option<Seq>) -> PacketEvent {
        let record = packet.record();
        let class = match record.kind {
            PacketKind::Syn => PacketClass::Syn,
            PacketKind::SynAck => PacketClass::SynAck,
            PacketKind::Ack => PacketClass::Ack,
            PacketKind::Data => PacketClass::Data,
            PacketKind::Fin if part.is_last => PacketClass::Fin,
            PacketKind::Fin => PacketClass::Data,
            PacketKind::Reset => PacketClass::Reset,
            PacketKind::Datagram => PacketClass::Datagram,
            PacketKind::PortUnreachable
            | PacketKind::HostUnreachable
            | PacketKind::FragmentationNeeded => PacketClass::Icmp,
        };
        let ordinal = self.ordinals[class as usize];
        let place = match (class, &packet.body) {
            (PacketClass::Icmp, _) => ordinal,
            (PacketClass::Syn | PacketClass::SynAck, _) => 0,
            (PacketClass::Ack, Body::Tcp(segment)) => {
                peer.map_or(0, |peer| unwrap(self.acknowledged, segment.ack.since(peer)))
            }
            (_, Body::Udp { payload, .. }) => hash(payload.bytes()),
            _ => unwrap(self.place, packet.offset.wrapping_add(part.before)),
        };
        let before = self.counts.get(&(class, place)).copied().unwrap_or(0);
        let told = match &packet.body {
            Body::Tcp(segment) => u32::from(segment.attempt),
            Body::Udp { .. } | Body::Icmp(..) => 0,
        };
        let nth = told.max(before).saturating_add(1);
        PacketEvent { flow: self.flow, class, place, nth, ordinal, length: part.length }
    }

    /// Takes note of a packet that begins its way.
    pub(crate) fn note(&mut self, event: &PacketEvent, packet: &Packet) {
        if let (PacketClass::Syn | PacketClass::SynAck, Body::Tcp(segment)) =
            (event.class, &packet.body)
        {
            self.start = Some(segment.seq);
        }
        self.ordinals[event.class as usize] += 1;
        self.counts.insert((event.class, event.place), event.nth);
        match event.class {
            PacketClass::Data | PacketClass::Fin => self.place = event.place,
            PacketClass::Ack => self.acknowledged = event.place,
            _ => {}
        }
    }

    /// What a packet is called that is at the end of its way: the segment that begins it, or the
    /// how-manieth datagram of its content that arrives.
    pub(crate) fn arrived(&mut self, packet: &Packet, peer: Option<Seq>) -> PacketEvent {
        let length = packet.record().bytes;
        let mut event = self.name(packet, Part { before: 0, length, is_last: true }, peer);
        match &packet.body {
            Body::Tcp(segment) => event.nth = u32::from(segment.attempt) + 1,
            Body::Udp { .. } => {
                let count = self.arrived.entry(event.place).or_default();
                *count += 1;
                event.nth = *count;
            }
            Body::Icmp(..) => {
                let count = self.arrived.entry(u64::MAX).or_default();
                *count += 1;
                event.place = u64::from(*count) - 1;
            }
        }
        event
    }
}

/// The place whose last 32 bits are `low` and that is nearest to `last`.
fn unwrap(last: u64, low: u32) -> u64 {
    last.saturating_add_signed(i64::from(low.wrapping_sub(last as u32) as i32))
}

/// The hash of a datagram's data. Part of the format of plans: it never changes.
fn hash(data: &[u8]) -> u64 {
    let mut hash = NameHash::new();
    hash.bytes(data);
    hash.finish().bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_on_beyond_32_bits_and_back() {
        assert_eq!(unwrap(0, 1), 1);
        assert_eq!(unwrap(u64::from(u32::MAX), 5), (1 << 32) + 5);
        assert_eq!(unwrap((1 << 32) + 5, u32::MAX), u64::from(u32::MAX));
        // What lies before the first is the first, whatever a strange segment says.
        assert_eq!(unwrap(3, u32::MAX), 0);
    }

    /// Computed by another program.
    #[test]
    fn the_hash_of_data_never_changes() {
        assert_eq!(hash(b"a"), Entity::named("a").bits());
        assert_ne!(hash(b""), hash(&[0]));
    }
}
