//! The single-fault sweep: one fault at a time, at every place of a calm run that one could befall.
//!
//! Most real bugs need one fault at the right moment. The census of a calm run says what there is to befall:
//! packets, places in streams, calls, hosts at work. Each family of faults makes its plans from that, of one
//! entry each, and orders them so that early ones differ most: first one for each kind of event (flow
//! and class of message, the ends of writes), then the rest by bisection. Families take turns.

use std::collections::BTreeSet;
use std::time::Duration;

use sim_core::Time;
use sim_net::plan::{
    Deviation, Entry, EventId, FaultSite, Near, RESET_BOTH, RESET_RECEIVER, RESET_SENDER,
};
use sim_net::{Census, OfferedStream, Plan};

use crate::family::Family;
use crate::profile::Profile;

/// How many places of a run one family looks at, at most.
const PLACES_MAX: usize = 20_000;
/// How many of the first bytes of each write are looked at one by one.
const FIRST_BYTES: u64 = 16;
/// The lengths of what has one, beyond the scenario's own timers.
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3);

/// Single faults, in the order in which they are to be run.
#[derive(Debug, Default)]
pub(crate) struct Singles {
    /// What befalls the calm run itself.
    own: Plan,
    entries: Vec<(Family, Entry)>,
    /// How many each family has in all.
    totals: Vec<(Family, usize)>,
}

/// How much of what a family could do was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Coverage {
    /// The family.
    pub family: Family,
    /// How many of its single faults were run.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

impl Singles {
    /// The single faults of a run that a census was taken of, as far as a profile has their families.
    /// The run is that of the plan `own`; `timers` are how long the scenario's own timers are.
    pub(crate) fn new(profile: &Profile, own: Plan, census: &Census, timers: &[Duration]) -> Self {
        let maker = Maker { profile, census, delays: delays(timers) };
        let mut queues: Vec<(Family, std::vec::IntoIter<Entry>)> = Vec::new();
        let mut totals = Vec::new();
        for family in profile.families() {
            let entries = maker.entries(family);
            if !entries.is_empty() {
                totals.push((family, entries.len()));
                queues.push((family, entries.into_iter()));
            }
        }
        let mut all = Vec::new();
        while !queues.is_empty() {
            queues.retain_mut(|(family, entries)| match entries.next() {
                Some(entry) => {
                    all.push((*family, entry));
                    true
                }
                None => false,
            });
        }
        Self { own, entries: all, totals }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The plan of number `index`.
    pub(crate) fn plan(&self, index: usize) -> Plan {
        self.own.clone().with(self.entries[index].1.clone())
    }

    /// What the first `done` of them cover.
    pub(crate) fn coverage(&self, done: usize) -> Vec<Coverage> {
        let of = |&(family, total): &(Family, usize)| {
            let done = self.entries[..done].iter().filter(|(of, _)| *of == family).count();
            Coverage { family, done: done as u64, total: total as u64 }
        };
        self.totals.iter().map(of).collect()
    }
}

/// Times beyond which the scenario's own timers have fired: how long something may come late.
fn delays(timers: &[Duration]) -> Vec<Duration> {
    let mut delays: Vec<Duration> = timers
        .iter()
        .filter(|timer| (Duration::from_millis(5)..Duration::from_secs(60)).contains(timer))
        .map(|&timer| timer + timer / 8 + Duration::from_millis(2))
        .collect();
    delays.sort_unstable();
    delays.dedup();
    // The shortest, the longest and one between them.
    let picked: BTreeSet<Duration> = match delays.len() {
        0 => [SHORT, Duration::from_secs(1)].into(),
        count => [0, count / 2, count - 1].into_iter().map(|place| delays[place]).collect(),
    };
    picked.into_iter().collect()
}

struct Maker<'a> {
    profile: &'a Profile,
    census: &'a Census,
    delays: Vec<Duration>,
}

impl Maker<'_> {
    fn entries(&self, family: Family) -> Vec<Entry> {
        match family {
            Family::Drop => self.packets(FaultSite::Loss, &[1]),
            Family::Duplicate => {
                let late = self.delays.first().map_or(0, |&delay| nanos(delay));
                self.packets(FaultSite::Duplicate, &[1, 1 + late])
            }
            Family::Corrupt => self.packets(FaultSite::Corrupt, &[1]),
            Family::Reorder => self.packets(FaultSite::Reorder, &[1, 3]),
            Family::Delay => {
                let values: Vec<u64> = self.delays.iter().map(|&delay| nanos(delay)).collect();
                self.packets(FaultSite::Delay, &values)
            }
            Family::Cut => self.isolations(),
            Family::Crash | Family::Pause => self.stops(family),
            Family::Boundary => self.places(FaultSite::Boundary, &[1]),
            Family::Reset => {
                self.write_ends(FaultSite::Reset, &[RESET_SENDER, RESET_RECEIVER, RESET_BOTH])
            }
            Family::ShortWrite => self.short_writes(),
            Family::Coalesce => self.write_ends(FaultSite::Coalesce, &[1]),
            Family::Stall => self.write_ends(FaultSite::Stall, &[nanos(SHORT), nanos(LONG)]),
            Family::DelayFin => self.ends(),
            Family::Spurious => self.write_ends(FaultSite::Spurious, &[1]),
            Family::AcceptReset => self.calls(FaultSite::AcceptReset),
            Family::AcceptError => self.calls(FaultSite::Emfile),
            Family::ConnectError => self.calls(FaultSite::Connect),
            Family::SpawnError => self.calls(FaultSite::Spawn),
            Family::EarlyDeath => self.calls(FaultSite::EarlyDeath),
            Family::Cancel => self.cancellations(),
        }
    }

    /// Something that befalls a packet, each in turn.
    fn packets(&self, site: FaultSite, values: &[u64]) -> Vec<Entry> {
        let packets: Vec<_> = self.census.packets().take(PLACES_MAX).collect();
        let mut seen = BTreeSet::new();
        // One for each flow and class of message.
        let is_first = packets.iter().map(|packet| {
            let flow = packet.event.flow().map(ToString::to_string);
            seen.insert((flow, packet.message))
        });
        let order = in_turn(&is_first.collect::<Vec<bool>>());
        let deviation = |place: usize, value: u64| {
            let packet = &packets[place];
            deviation(site, packet.event.clone(), value, Some(packet.near))
        };
        order
            .into_iter()
            .flat_map(|place| values.iter().map(move |&v| (place, v)))
            .map(|(place, value)| deviation(place, value))
            .collect()
    }

    /// Something that befalls a stream at any place: the ends of writes and the bytes beside them, the
    /// first bytes of each write, and the rest by bisection.
    fn places(&self, site: FaultSite, values: &[u64]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let streams: Vec<OfferedStream> = self.census.streams().collect();
        let mut rest: Vec<(usize, u64)> = Vec::new();
        let mut begun: Vec<BTreeSet<u64>> = Vec::new();
        let mut queues: Vec<Vec<u64>> = Vec::new();
        for (number, stream) in streams.iter().enumerate() {
            let length = stream.writes.last().map_or(0, |write| write.offset);
            let inside = |place: &u64| (1..length).contains(place);
            let mut first = Vec::new();
            let mut start = 0;
            for write in &stream.writes {
                let near = [write.offset.saturating_sub(1), write.offset, write.offset + 1];
                let bytes = (1..FIRST_BYTES).map(|byte| start + byte);
                first
                    .extend(bytes.filter(|&place| place < write.offset).chain(near).filter(inside));
                start = write.offset;
            }
            let mut known = BTreeSet::new();
            first.retain(|&place| known.insert(place));
            let room = PLACES_MAX.saturating_sub(rest.len());
            rest.extend(
                (1..length)
                    .filter(|place| !known.contains(place))
                    .take(room)
                    .map(|place| (number, place)),
            );
            begun.push(known);
            queues.push(first);
        }
        // Streams take turns, too.
        let longest = queues.iter().map(Vec::len).max().unwrap_or(0);
        let mut order: Vec<(usize, u64)> = Vec::new();
        for place in 0..longest {
            for (number, queue) in queues.iter().enumerate() {
                order.extend(queue.get(place).map(|&offset| (number, offset)));
            }
        }
        order.extend(bisected(rest.len()).into_iter().map(|place| rest[place]));
        for (number, offset) in order {
            let flow = &streams[number].flow;
            for &value in values {
                let event = EventId::Stream { flow: flow.clone(), offset };
                entries.push(deviation(site, event, value, None));
            }
        }
        entries
    }

    /// Something that befalls a stream where a write ends, or beside it.
    fn write_ends(&self, site: FaultSite, values: &[u64]) -> Vec<Entry> {
        let streams: Vec<OfferedStream> = self.census.streams().collect();
        let mut places: Vec<(usize, u64)> = Vec::new();
        for (number, stream) in streams.iter().enumerate() {
            let length = stream.writes.last().map_or(0, |write| write.offset);
            let mut known = BTreeSet::new();
            for write in &stream.writes {
                for place in [write.offset, write.offset.saturating_sub(1), write.offset + 1] {
                    if (1..=length).contains(&place) && known.insert(place) {
                        places.push((number, place));
                    }
                }
            }
        }
        places.truncate(PLACES_MAX);
        let mut seen = BTreeSet::new();
        let is_first: Vec<bool> = places.iter().map(|(number, _)| seen.insert(*number)).collect();
        let events = in_turn(&is_first).into_iter().flat_map(|place| {
            let (number, offset) = places[place];
            let event = EventId::Stream { flow: streams[number].flow.clone(), offset };
            values.iter().map(move |&value| (event.clone(), value))
        });
        events.map(|(event, value)| deviation(site, event, value, None)).collect()
    }

    /// Writes that take one byte, or all but one.
    fn short_writes(&self) -> Vec<Entry> {
        let streams: Vec<OfferedStream> = self.census.streams().collect();
        let mut writes = Vec::new();
        for (number, stream) in streams.iter().enumerate() {
            let mut start = 0;
            for write in &stream.writes {
                if write.offset > start + 1 {
                    writes.push((number, start, write.offset - start));
                }
                start = write.offset;
            }
        }
        writes.truncate(PLACES_MAX);
        let mut seen = BTreeSet::new();
        let is_first: Vec<bool> = writes.iter().map(|(number, ..)| seen.insert(*number)).collect();
        let mut entries = Vec::new();
        for place in in_turn(&is_first) {
            let (number, offset, length) = writes[place];
            let values: BTreeSet<u64> = [1, length - 1].into();
            for value in values {
                let event = EventId::Stream { flow: streams[number].flow.clone(), offset };
                entries.push(deviation(FaultSite::ShortWrite, event, value, None));
            }
        }
        entries
    }

    /// Ends of streams that come late.
    fn ends(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for stream in self.census.streams() {
            let Some(end) = stream.end else { continue };
            for &delay in &self.delays {
                let event = EventId::Stream { flow: stream.flow.clone(), offset: end.offset };
                entries.push(deviation(FaultSite::DelayFin, event, nanos(delay), None));
            }
        }
        entries
    }

    /// Calls that fail.
    fn calls(&self, site: FaultSite) -> Vec<Entry> {
        let calls = self.census.calls().iter().filter(|call| call.site == site);
        let calls = calls.take(PLACES_MAX);
        calls.map(|call| deviation(site, call.event.clone(), 1, None)).collect()
    }

    /// Cancellations of tasks: one for each task first.
    fn cancellations(&self) -> Vec<Entry> {
        let calls = self.census.calls().iter().filter(|call| call.site == FaultSite::Cancel);
        let calls: Vec<_> = calls.take(PLACES_MAX).collect();
        let mut seen = BTreeSet::new();
        let is_first = calls.iter().map(|call| match &call.event {
            EventId::Draw { entity, .. } => seen.insert(entity.as_str()),
            _ => false,
        });
        let order = in_turn(&is_first.collect::<Vec<bool>>());
        let entry =
            |place: usize| deviation(FaultSite::Cancel, calls[place].event.clone(), 1, None);
        order.into_iter().map(entry).collect()
    }

    /// Each host alone, from just before each of its sends on.
    fn isolations(&self) -> Vec<Entry> {
        let mut seen = BTreeSet::new();
        let (mut moments, mut is_first) = (Vec::new(), Vec::new());
        for packet in self.census.packets().take(PLACES_MAX) {
            for host in [&packet.from, &packet.to] {
                let moment = (host.to_string(), packet.moment.time);
                if moments.last() != Some(&moment) {
                    is_first.push(seen.insert(host.to_string()));
                    moments.push(moment);
                }
            }
        }
        let lengths = [SHORT, LONG].map(|length| length.min(self.profile.longest_cut()));
        let cut = |host: &str, at: Time, length: Duration| {
            let plan = Plan::new().isolate(at.since_epoch(), host, length);
            plan.entries.into_iter().next().expect("it was just added")
        };
        let mut entries = Vec::new();
        for place in in_turn(&is_first) {
            let (host, at) = &moments[place];
            entries.extend(lengths.iter().map(|&length| cut(host, *at, length)));
        }
        entries
    }

    /// Each host that may crash or pause, at each of its turns.
    fn stops(&self, family: Family) -> Vec<Entry> {
        let mut seen = BTreeSet::new();
        let (mut moments, mut is_first) = (Vec::new(), Vec::new());
        for turn in self.census.turns() {
            let host = self.census.host(turn.host);
            let moment = (host.to_string(), turn.time);
            if self.profile.is_mortal(&moment.0) && moments.last() != Some(&moment) {
                is_first.push(seen.insert(turn.host));
                moments.push(moment);
            }
            if moments.len() == PLACES_MAX {
                break;
            }
        }
        let lengths = [SHORT, LONG].map(|length| length.min(self.profile.longest_stop()));
        let stop = |host: &str, at: Time, length: Duration| {
            // Just after it: what the host did then is done.
            let at = at.since_epoch() + Duration::from_nanos(1);
            let plan = match family {
                Family::Crash => Plan::new().crash(at, host, length),
                _ => Plan::new().pause(at, host, length),
            };
            plan.entries.into_iter().next().expect("it was just added")
        };
        let mut entries = Vec::new();
        for place in in_turn(&is_first) {
            let (host, at) = &moments[place];
            entries.extend(lengths.iter().map(|&length| stop(host, *at, length)));
        }
        entries
    }
}

fn deviation(site: FaultSite, event: EventId, value: u64, near: Option<Near>) -> Entry {
    Entry::Deviation(Deviation { near, ..Deviation::new(site, event, value) })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Places in an order: those that are the first of their kind, then the others by bisection.
fn in_turn(is_first: &[bool]) -> Vec<usize> {
    let of = |wanted: bool| {
        let places = (0..is_first.len()).filter(move |&place| is_first[place] == wanted);
        places.collect::<Vec<usize>>()
    };
    let (mut order, rest) = (of(true), of(false));
    order.extend(bisected(rest.len()).into_iter().map(|place| rest[place]));
    order
}

/// The numbers below `count`, each once, such that the first few are far apart: their bits in reverse.
fn bisected(count: usize) -> Vec<usize> {
    let bits = usize::BITS - count.saturating_sub(1).leading_zeros();
    if bits == 0 {
        return (0..count).collect();
    }
    let reversed = (0..1_usize << bits).map(|n| n.reverse_bits() >> (usize::BITS - bits));
    reversed.filter(|&n| n < count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_takes_each_once_and_far_apart_at_first() {
        for count in [0, 1, 2, 3, 7, 8, 9, 100] {
            let mut order = bisected(count);
            if count > 3 {
                assert!(order[0].abs_diff(order[1]) >= count / 3, "{order:?}");
            }
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<usize>>());
        }
    }

    #[test]
    fn the_first_of_each_kind_come_first() {
        assert_eq!(in_turn(&[true, false, false, true, false]), [0, 3, 1, 4, 2]);
        assert_eq!(in_turn(&[]), Vec::<usize>::new());
    }

    #[test]
    fn delays_lie_beyond_the_timers_of_the_scenario() {
        let ms = Duration::from_millis;
        assert_eq!(delays(&[]), [ms(100), ms(1_000)]);
        assert_eq!(delays(&[ms(80), ms(1), ms(80)]), [ms(92)]);
        let many: Vec<Duration> = (1..20).map(|n| ms(n * 80)).collect();
        assert_eq!(delays(&many), [ms(92), ms(902), ms(1_712)]);
    }
}
