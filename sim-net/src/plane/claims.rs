//! The entries of a plan that are about events of a run, and which of them have found theirs.
//!
//! An entry claims the event that it names, and each event is claimed once by each kind of choice, in
//! the order of the plan. An entry that says where its packet was (`near 17 len 1448`) may take
//! another one, but only when its own can come no more as far as the flow tells:
//!
//! - data that is sent for the first time, an acknowledgement or an end of the stream, when a later
//!   place of the stream is sent (acknowledged, the end);
//! - a retransmission or a reset, when as many of its kind went by as its number says;
//! - a datagram, when [`PATIENCE`] more went by.
//!
//! What it takes is then the first packet of its flow, class and length whose number is within
//! [`NEAR`] of its own. So exact bindings go before near ones without looking ahead, and what a run
//! binds is a function of the plan and of what was sent so far.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use sim_core::Time;

use super::binding::{Bindings, Bound};
use super::packets::{PacketClass, PacketEvent, PacketKey, key_of};
use crate::decisions::Entity;
use crate::plan::{
    Action, Anchor, Deviation, Entry, EventId, FIN_RECEIVER, Fault, FaultSite, Near, Plan, Start,
};

/// How far the number of a packet that is taken instead may lie from that of the right one.
const NEAR: u64 = 8;
/// How many datagrams of a flow must have gone by beyond the number of one before it counts as missing.
const PATIENCE: u64 = 4;

/// The entries of a plan, and what has become of them.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    entries: Vec<(Entry, Bound)>,
    /// When they found it.
    times: Vec<Option<Time>>,
    /// The time of the run.
    pub(crate) now: Time,
    /// What is about packets, until their flow begins.
    flows: BTreeMap<Entity, FlowClaims>,
    /// What is about places of streams, by place.
    places: BTreeMap<(Entity, FaultSite), Vec<(u64, u32)>>,
    /// What is about other choices, by their number.
    draws: BTreeMap<(Entity, FaultSite, u64), Vec<u32>>,
    /// What follows a place of a stream.
    stream_anchors: BTreeMap<Entity, Vec<AnchorAt<u64>>>,
    /// Something is about packets.
    pub(crate) names_packets: bool,
    /// Something follows packets.
    pub(crate) follows_packets: bool,
    /// Something is about streams or about what an application does with its sockets.
    pub(crate) names_streams: bool,
    /// Something is about questions to the name servers.
    pub(crate) names_questions: bool,
}

/// The entries about the packets of a flow.
#[derive(Debug, Default)]
pub(crate) struct FlowClaims {
    exact: BTreeMap<PacketKey, Vec<u32>>,
    /// By class and number.
    near: BTreeMap<(PacketClass, u64), Vec<u32>>,
    anchors: Vec<AnchorAt<PacketKey>>,
}

/// A scheduled fault that follows an event.
#[derive(Debug)]
struct AnchorAt<K> {
    key: K,
    host: String,
    followers: Follower,
}

/// An order that waits for an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follower {
    /// The place of the fault among those of its plan.
    pub(crate) fault: u32,
    pub(crate) delay: Duration,
    pub(crate) length: Option<Duration>,
}

/// What a plan does to a packet. Everything is 0 that it does not say.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Chosen {
    pub(crate) is_lost: bool,
    pub(crate) duplicate: u64,
    pub(crate) corrupt: u64,
    pub(crate) reorder: u64,
    /// The delay beyond the least, if it says.
    pub(crate) delay: Option<u64>,
}

impl Chosen {
    /// True if it does no more than to delay it.
    pub(crate) fn is_harmless(&self) -> bool {
        !self.is_lost && self.duplicate == 0 && self.corrupt == 0 && self.reorder == 0
    }

    fn has(&self, site: FaultSite) -> bool {
        match site {
            FaultSite::Loss => self.is_lost,
            FaultSite::Duplicate => self.duplicate > 0,
            FaultSite::Corrupt => self.corrupt > 0,
            FaultSite::Reorder => self.reorder > 0,
            _ => self.delay.is_some(),
        }
    }

    fn take(&mut self, site: FaultSite, value: u64) {
        match site {
            FaultSite::Loss => self.is_lost = value > 0,
            FaultSite::Duplicate => self.duplicate = value,
            FaultSite::Corrupt => self.corrupt = value,
            FaultSite::Reorder => self.reorder = value,
            _ => self.delay = Some(value),
        }
    }
}

/// What a site is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum About {
    Packet,
    Stream,
    Opening,
    Draw,
}

fn subject(site: FaultSite) -> About {
    match site {
        FaultSite::Loss
        | FaultSite::Duplicate
        | FaultSite::Delay
        | FaultSite::Corrupt
        | FaultSite::Reorder => About::Packet,
        FaultSite::Boundary
        | FaultSite::ShortWrite
        | FaultSite::Coalesce
        | FaultSite::Stall
        | FaultSite::Reset
        | FaultSite::Fin
        | FaultSite::DelayFin
        | FaultSite::Spurious => About::Stream,
        FaultSite::AcceptReset => About::Opening,
        FaultSite::Emfile
        | FaultSite::Connect
        | FaultSite::StoreLost
        | FaultSite::StoreTorn
        | FaultSite::NameDelay
        | FaultSite::JobDelay
        | FaultSite::NameFailure
        | FaultSite::NameUnknown
        | FaultSite::NameEmpty
        | FaultSite::NameSilence
        | FaultSite::Spawn
        | FaultSite::EarlyDeath
        | FaultSite::Cancel => About::Draw,
    }
}

/// What a deviation must be about, if it is about something else.
pub(crate) fn expected_event(deviation: &Deviation) -> Option<&'static str> {
    let about = subject(deviation.site);
    let fits = match &deviation.event {
        EventId::Draw { site, .. } if site != deviation.site.name() => false,
        event @ EventId::Draw { .. } => match about {
            About::Packet => key_of(event).is_some(),
            // Nothing on the way could reset a Unix stream, or end it.
            About::Stream => !matches!(
                (deviation.site, deviation.value),
                (FaultSite::Reset, _) | (FaultSite::Fin, FIN_RECEIVER)
            ),
            About::Opening => false,
            About::Draw => true,
        },
        EventId::Stream { .. } => about == About::Stream,
        EventId::Segment { class, .. } => {
            about == About::Packet
                || about == About::Opening && *class == crate::plan::SegmentClass::Syn
        }
        EventId::Ack { .. } | EventId::Datagram { .. } => about == About::Packet,
    };
    let expected = match about {
        About::Packet => "a packet, such as client@1→server:7000#2 data 1449",
        About::Stream => "a place in a stream, such as client@1→server:7000#2 @1449",
        About::Opening => "the SYN of a connection, such as client@1→server:7000#2 syn",
        About::Draw => "the number of a choice, such as server@1/accept:7000 nr 3",
    };
    (!fits).then_some(expected)
}

/// True if a fault can follow this event.
pub(crate) fn can_be_followed(event: &EventId) -> bool {
    matches!(event, EventId::Stream { .. }) || key_of(event).is_some()
}

impl Claims {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut claims = Self::default();
        let mut faults = 0;
        for (number, entry) in (0..).zip(&plan.entries) {
            claims.entries.push((entry.clone(), Bound::Unbound));
            claims.times.push(None);
            match entry {
                Entry::Deviation(deviation) => claims.add(number, deviation),
                Entry::Fault(fault) => {
                    claims.follow(faults, fault);
                    faults += 1;
                }
                _ => {}
            }
        }
        // In the order of the plan where places are equal: the sort keeps it.
        claims.places.values_mut().for_each(|places| places.sort_by_key(|&(place, _)| place));
        claims
    }

    fn add(&mut self, number: u32, Deviation { site, event, near, .. }: &Deviation) {
        match (subject(*site), event) {
            (About::Packet, event) => {
                let Some((flow, key)) = key_of(event) else { return };
                let flow = self.flows.entry(flow).or_default();
                flow.exact.entry(key).or_default().push(number);
                if let Some(Near { ordinal, .. }) = near {
                    flow.near.entry((key.0, *ordinal)).or_default().push(number);
                }
                self.names_packets = true;
            }
            (About::Stream, EventId::Stream { flow, offset }) => {
                let places = self.places.entry((flow.entity(), *site)).or_default();
                places.push((*offset, number));
                self.names_streams = true;
            }
            // A place in a Unix stream or a pipe, which is no flow.
            (About::Stream, EventId::Draw { entity, ordinal, .. }) => {
                let places = self.places.entry((Entity::named(entity), *site)).or_default();
                places.push((*ordinal, number));
                self.names_streams = true;
            }
            (About::Opening, EventId::Segment { flow, .. }) => {
                let draws = self.draws.entry((flow.entity(), *site, 0)).or_default();
                draws.push(number);
                self.names_streams = true;
            }
            (About::Draw, EventId::Draw { entity, ordinal, .. }) => {
                let entity = Entity::named(entity);
                self.draws.entry((entity, *site, *ordinal)).or_default().push(number);
                use FaultSite::{Cancel, Connect, EarlyDeath, Emfile, Spawn};
                use FaultSite::{NameDelay, NameEmpty, NameFailure, NameSilence, NameUnknown};
                self.names_streams |=
                    matches!(site, Emfile | Connect | Spawn | EarlyDeath | Cancel);
                self.names_questions |=
                    matches!(site, NameDelay | NameFailure | NameUnknown | NameEmpty | NameSilence);
            }
            _ => {}
        }
    }

    fn follow(&mut self, number: u32, fault: &Fault) {
        let Start::After(Anchor { event, host, delay }) = &fault.start else { return };
        let length = match fault.action {
            Action::Interval { length, .. } => length,
            Action::Moment(_) => None,
        };
        let (host, delay) = (host.clone(), *delay);
        let followers = Follower { fault: number, delay, length };
        if let EventId::Stream { flow, offset } = event {
            let anchors = self.stream_anchors.entry(flow.entity()).or_default();
            anchors.push(AnchorAt { key: *offset, host, followers });
            self.names_streams = true;
        } else if let Some((flow, key)) = key_of(event) {
            let flow = self.flows.entry(flow).or_default();
            flow.anchors.push(AnchorAt { key, host, followers });
            self.names_packets = true;
            self.follows_packets = true;
        }
    }

    /// The entries about the packets of a flow that begins.
    pub(crate) fn begin_flow(&mut self, flow: Entity) -> Option<Box<FlowClaims>> {
        self.flows.remove(&flow).map(Box::new)
    }

    /// True if an entry is about the packets of a flow that has not begun.
    pub(crate) fn names_flow(&self, flow: Entity) -> bool {
        self.flows.contains_key(&flow)
    }

    /// What becomes of the entries.
    pub(crate) fn bindings(&self) -> Bindings {
        Bindings { entries: self.entries.clone(), times: self.times.clone() }
    }

    /// An entry has found what it is about.
    pub(crate) fn bind(&mut self, number: usize) {
        self.bind_as(number, Bound::Exact);
    }

    /// The first time counts: what an interval or a stream of choices is about goes on.
    fn bind_as(&mut self, number: usize, how: Bound) {
        if let Some((_, bound)) = self.entries.get_mut(number) {
            *bound = how;
            self.times[number].get_or_insert(self.now);
        }
    }

    /// True if an entry has found what it is about.
    pub(crate) fn is_bound(&self, number: usize) -> bool {
        self.entries.get(number).is_some_and(|(_, bound)| *bound != Bound::Unbound)
    }

    fn is_free(&self, number: u32) -> bool {
        self.entries[number as usize].1 == Bound::Unbound
    }

    fn deviation(&self, number: u32) -> Option<&Deviation> {
        match &self.entries[number as usize].0 {
            Entry::Deviation(deviation) => Some(deviation),
            _ => None,
        }
    }

    /// The first of `numbers` that has found nothing yet takes what it is asked about: its value.
    fn take_first(&mut self, numbers: &[u32]) -> Option<u64> {
        let number = *numbers.iter().find(|&&number| self.is_free(number))?;
        let value = self.deviation(number)?.value;
        self.bind(number as usize);
        Some(value)
    }

    // Places in streams, and other choices.

    /// The place and value of the first entry about a place of a stream within a range, which it
    /// takes.
    pub(crate) fn take_place(
        &mut self,
        of: (Entity, FaultSite),
        range: RangeInclusive<u64>,
    ) -> Option<(u64, u64)> {
        let (_, number) = self.first_in(of, range.clone())?;
        let taken = self.peek_place(of, range);
        self.bind(number as usize);
        taken
    }

    /// The value of the first entry about any place of a stream: for what happens once in it.
    pub(crate) fn take_only(
        &mut self,
        (flow, site): (Entity, FaultSite),
        place: u64,
        event: impl Fn() -> EventId,
    ) -> Option<u64> {
        if let Some((_, value)) = self.take_place((flow, site), place..=place) {
            return Some(value);
        }
        let places = self.places.get(&(flow, site))?;
        let &(_, number) = places.iter().find(|&&(_, number)| self.is_free(number))?;
        let value = self.deviation(number)?.value;
        self.bind_as(number as usize, Bound::Near { event: event(), place: None });
        Some(value)
    }

    /// The first place of a stream within a range that an entry is about.
    pub(crate) fn first_place(
        &self,
        of: (Entity, FaultSite),
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        self.first_in(of, range).map(|(place, _)| place)
    }

    /// The place and value of that entry.
    pub(crate) fn peek_place(
        &self,
        of: (Entity, FaultSite),
        range: RangeInclusive<u64>,
    ) -> Option<(u64, u64)> {
        let (place, number) = self.first_in(of, range)?;
        Some((place, self.deviation(number)?.value))
    }

    fn first_in(&self, of: (Entity, FaultSite), range: RangeInclusive<u64>) -> Option<(u64, u32)> {
        let places = self.places.get(&of)?;
        let first = places.partition_point(|&(place, _)| place < *range.start());
        let mut within = places[first..].iter().take_while(|&&(place, _)| place <= *range.end());
        within.find(|&&(_, number)| self.is_free(number)).copied()
    }

    /// The value of an entry about a choice with a number, which it takes.
    pub(crate) fn take_draw(
        &mut self,
        site: FaultSite,
        entity: Entity,
        ordinal: u64,
    ) -> Option<u64> {
        let numbers = self.draws.get(&(entity, site, ordinal))?.clone();
        self.take_first(&numbers)
    }

    // Packets.

    /// True if a packet is one that an entry of its flow may take or follow.
    pub(crate) fn wants(&self, flow: &FlowClaims, event: &PacketEvent) -> bool {
        flow.exact.contains_key(&event.key())
            || flow.anchors.iter().any(|anchor| anchor.key == event.key())
            || self.near_candidates(flow, event).next().is_some()
    }

    /// What the entries of a flow do to a packet, which they take, of what may befall it. After the faults of a run
    /// that is little; its environment is left then, too.
    pub(crate) fn choose(
        &mut self,
        flow: &FlowClaims,
        event: &PacketEvent,
        may_befall: impl Fn(FaultSite) -> bool,
        hosts: &[Arc<str>],
    ) -> Chosen {
        let mut chosen = Chosen::default();
        let may = |chosen: &Chosen, site| {
            !chosen.has(site) && (site == FaultSite::Delay || may_befall(site))
        };
        for &number in flow.exact.get(&event.key()).into_iter().flatten() {
            let Some(&Deviation { site, value, .. }) = self.deviation(number) else { continue };
            if self.is_free(number) && may(&chosen, site) {
                chosen.take(site, value);
                self.bind(number as usize);
            }
        }
        if flow.near.is_empty() {
            return chosen;
        }
        let mut near: Vec<u32> = self.near_candidates(flow, event).collect();
        near.sort_unstable();
        for number in near {
            let Some(&Deviation { site, value, .. }) = self.deviation(number) else { continue };
            if self.is_free(number) && may(&chosen, site) {
                chosen.take(site, value);
                let bound =
                    Bound::Near { event: event.id(hosts, site.name()), place: Some(event.near()) };
                self.bind_as(number as usize, bound);
            }
        }
        chosen
    }

    /// The entries whose own packet can come no more and that may take this one instead.
    fn near_candidates(&self, flow: &FlowClaims, event: &PacketEvent) -> impl Iterator<Item = u32> {
        let (class, ordinal) = (event.class, event.ordinal);
        let window = (class, ordinal.saturating_sub(NEAR))..=(class, ordinal.saturating_add(NEAR));
        let numbers = flow.near.range(window).flat_map(|(_, numbers)| numbers);
        numbers.copied().filter(|&number| {
            let Some(Deviation { near: Some(near), event: own, .. }) = self.deviation(number)
            else {
                return false;
            };
            let Some((_, own)) = key_of(own) else { return false };
            self.is_free(number) && near.length == event.length && is_past(own, *near, event)
        })
    }

    // What follows events.

    /// What follows a packet on a host.
    pub(crate) fn followers(
        &mut self,
        flow: &mut FlowClaims,
        event: &PacketEvent,
        host: &str,
    ) -> Vec<Follower> {
        let is_it = |anchor: &AnchorAt<PacketKey>| {
            let (class, place, nth) = anchor.key;
            // Of a train that arrives the first segment is known, and where it ends.
            let end = event.place.saturating_add(u64::from(event.length.max(1)));
            let is_in = match class {
                PacketClass::Data => {
                    matches!(event.class, PacketClass::Data | PacketClass::Fin)
                        && (event.place..end).contains(&place)
                }
                PacketClass::Fin => event.class == class && (event.place..=end).contains(&place),
                _ => event.class == class && event.place == place,
            };
            is_in && nth == event.nth && anchor.host == host
        };
        taken(&mut flow.anchors, is_it)
    }

    /// What follows the places of a stream up to `place`, on a host that has come there.
    pub(crate) fn stream_followers(
        &mut self,
        flow: Entity,
        place: u64,
        host: &str,
    ) -> Vec<Follower> {
        let Some(anchors) = self.stream_anchors.get_mut(&flow) else { return Vec::new() };
        taken(anchors, |anchor| anchor.key <= place && anchor.host == host)
    }
}

/// Takes out the anchors that have come.
fn taken<K>(anchors: &mut Vec<AnchorAt<K>>, is_it: impl Fn(&AnchorAt<K>) -> bool) -> Vec<Follower> {
    let mut followers = Vec::new();
    anchors.retain(|anchor| {
        let has_come = is_it(anchor);
        followers.extend(has_come.then_some(anchor.followers));
        !has_come
    });
    followers
}

/// True if the packet with the name `own` can come no more when `event` is sent, or so it seems. In a
/// run that is the one that the plan was written of this never comes before the packet itself.
fn is_past((class, place, nth): PacketKey, near: Near, event: &PacketEvent) -> bool {
    let is_later = event.ordinal >= near.ordinal;
    match class {
        PacketClass::Syn | PacketClass::SynAck | PacketClass::Icmp => false,
        // What is sent for the first time, and what is acknowledged, only goes on.
        PacketClass::Data if nth == 1 => event.nth == 1 && event.place > place,
        PacketClass::Fin if nth == 1 => event.nth == 1 && event.place != place,
        PacketClass::Ack => event.place > place,
        PacketClass::Data | PacketClass::Fin => event.nth > 1 && is_later,
        PacketClass::Reset => is_later,
        PacketClass::Datagram => event.ordinal >= near.ordinal.saturating_add(PATIENCE),
    }
}
