//! The single-fault sweep: one fault at a time, at every place of a calm run that one could befall.
//!
//! Most real bugs need one fault at the right moment. The census of a calm run says what there is to befall:
//! packets, places in streams, calls, hosts at work. Each family of faults makes its plans from that, of one
//! entry each, and orders them so that early ones differ most: first one for each kind of event (flow
//! and class of message, the ends of writes), then the rest by bisection. Families take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use sim_core::Time;
use sim_net::plan::{
    Deviation, Entry, EventId, FIN_RECEIVER, FaultSite, Near, RESET_BOTH, RESET_RECEIVER,
    RESET_SENDER,
};
use sim_net::{Census, Message, OfferedStream, Plan, WriteEnd};

use crate::family::Family;
use crate::profile::Profile;

/// How many places of a run one family looks at, at most, of each kind of place; where there are more, these are spread over
/// all. A place at which several things may happen counts for as many.
const PLACES_MAX: usize = 20_000;
/// How many of the first bytes of each write are looked at one by one.
const FIRST_BYTES: u64 = 16;
/// The lengths of what has one, beyond the scenario's own timers.
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3);
/// What a callback costs on a host that is slow, and how far a wall clock is set.
const COSTS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];
const STEP_NANOS: i64 = 3_600_000_000_000;

/// Single faults, in the order in which they are to be run.
#[derive(Debug, Default)]
pub(crate) struct Singles {
    /// What befalls the calm run itself.
    own: Plan,
    /// The calm run fails: it is all there is to run, and needs no fault.
    calm_fails: bool,
    entries: Vec<(Family, Entry)>,
    /// How many each family has in all.
    totals: Vec<(Family, u64)>,
}

/// How much of what a family could do was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Coverage {
    /// The family.
    pub family: Family,
    /// How many of its single faults were run.
    pub done: u64,
    /// How many there are in the calm run. Of each kind of place 20 000 are looked at, spread over all.
    pub total: u64,
}

impl Singles {
    /// The single faults of a run that a census was taken of, as far as a profile has their families.
    /// The run is that of the plan `own`; `timers` are how long the scenario's own timers are.
    pub(crate) fn new(profile: &Profile, own: Plan, census: &Census, timers: &[Duration]) -> Self {
        let maker = Maker { profile, census, delays: delays(timers) };
        let mut queues = Vec::new();
        let mut totals = Vec::new();
        for family in profile.families() {
            let Offer { entries, total } = maker.offer(family);
            if !entries.is_empty() {
                totals.push((family, total));
                let entries: Vec<(Family, Entry)> =
                    entries.into_iter().map(|entry| (family, entry)).collect();
                queues.push(entries.into_iter());
            }
        }
        Self { own, calm_fails: false, entries: taking_turns(queues), totals }
    }

    /// Those of a calm run that fails: that run, and nothing else.
    pub(crate) fn of_none(own: Plan) -> Self {
        Self { own, calm_fails: true, ..Self::default() }
    }

    /// True if the calm run is all there is, since it fails.
    pub(crate) fn calm_fails(&self) -> bool {
        self.calm_fails
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + usize::from(self.calm_fails)
    }

    /// The plan of number `index`.
    pub(crate) fn plan(&self, index: usize) -> Plan {
        let own = self.own.clone();
        if self.calm_fails { own } else { own.with(self.entries[index].1.clone()) }
    }

    /// What the first `done` of them cover.
    pub(crate) fn coverage(&self, done: usize) -> Vec<Coverage> {
        let of = |&(family, total): &(Family, u64)| {
            let done = self.entries.iter().take(done).filter(|(of, _)| *of == family).count();
            Coverage { family, done: done as u64, total }
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

/// What a family could do.
struct Offer {
    /// What it will do, in order.
    entries: Vec<Entry>,
    /// How much there would be.
    total: u64,
}

impl Offer {
    /// That of `total` places at each of which any of `values` things may happen.
    fn new(entries: Vec<Entry>, places: usize, values: usize) -> Self {
        Self { entries, total: places as u64 * values as u64 }
    }
}

struct Maker<'a> {
    profile: &'a Profile,
    census: &'a Census,
    delays: Vec<Duration>,
}

impl Maker<'_> {
    fn offer(&self, family: Family) -> Offer {
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
            Family::Crash | Family::Pause | Family::Freeze | Family::Clock => self.at_turns(family),
            Family::Slow => self.slowness(),
            Family::Names => self.lookups(),
            Family::Boundary => self.places(FaultSite::Boundary, &[1]),
            Family::Reset => {
                self.places(FaultSite::Reset, &[RESET_SENDER, RESET_RECEIVER, RESET_BOTH])
            }
            Family::EarlyEnd => self.places(FaultSite::Fin, &[FIN_RECEIVER]),
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
            Family::Ties => Offer::new(Vec::new(), 0, 0),
        }
    }

    /// Something that befalls a packet, each in turn.
    fn packets(&self, site: FaultSite, values: &[u64]) -> Offer {
        let mut seen = BTreeSet::new();
        // One for each flow and class of message.
        let is_first = self.census.outlines().map(|packet| {
            let flow = (packet.message != Message::Icmp).then_some(packet.flow);
            seen.insert((flow, packet.message))
        });
        let is_first: Vec<bool> = is_first.collect();
        let mut entries = Vec::new();
        for packet in in_turn(&is_first).into_iter().filter_map(|place| self.census.packet(place)) {
            let of = |&value| deviation(site, packet.event.clone(), value, Some(packet.near));
            entries.extend(values.iter().map(of));
        }
        Offer::new(entries, is_first.len(), values.len())
    }

    /// The streams that can have faults of a site.
    fn streams(&self, site: FaultSite) -> Vec<OfferedStream> {
        let can_have = |stream: &OfferedStream| match site {
            // What never leaves its host ends early with its process alone.
            FaultSite::Fin => stream.flow().is_some(),
            site => stream.can_have(site),
        };
        self.census.streams().filter(can_have).collect()
    }

    /// Something that befalls a stream at any place: first where the first write of each ends; then in turns at the ends
    /// of writes and the bytes beside them, at the first bytes of each write, and at the rest, each by bisection.
    fn places(&self, site: FaultSite, values: &[u64]) -> Offer {
        let streams = self.streams(site);
        let spans: Vec<Range<u64>> = streams.iter().map(|stream| span(site, stream)).collect();
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        let mut begun: Vec<BTreeSet<u64>> = Vec::new();
        for (number, (stream, span)) in streams.iter().zip(&spans).enumerate() {
            let mut known = BTreeSet::new();
            let mut are_new = |places: &mut dyn Iterator<Item = u64>| {
                let new = places.filter(|place| span.contains(place) && known.insert(*place));
                new.map(|place| (number, place)).collect::<Vec<(usize, u64)>>()
            };
            for &WriteEnd { offset, .. } in &stream.writes {
                let near = [offset, offset.saturating_sub(1), offset + 1];
                ends.extend(are_new(&mut near.into_iter()));
            }
            let mut start = 0;
            for &WriteEnd { offset, .. } in &stream.writes {
                bytes.extend(are_new(&mut (start..offset.min(start + FIRST_BYTES))));
                start = offset;
            }
            begun.push(known);
        }
        let total: u64 = spans.iter().map(|span| span.end - span.start).sum();
        let rest = between(&spans, &begun, PLACES_MAX / values.len());
        let mut seen = BTreeSet::new();
        let is_first: Vec<bool> = ends.iter().map(|(number, _)| seen.insert(*number)).collect();
        let mut ends = in_turn(&is_first).into_iter().map(|place| ends[place]);
        let mut order: Vec<(usize, u64)> = ends.by_ref().take(seen.len()).collect();
        order.extend(taking_turns(vec![
            ends.collect::<Vec<_>>().into_iter(),
            in_bisection(&bytes).into_iter(),
            in_bisection(&rest).into_iter(),
        ]));
        let entries = order.into_iter().flat_map(|(number, offset)| {
            let event = streams[number].event(site, offset);
            values.iter().map(move |&value| deviation(site, event.clone(), value, None))
        });
        Offer { entries: entries.collect(), total: total * values.len() as u64 }
    }

    /// Something that befalls a stream where a write ends, or beside it if it can.
    fn write_ends(&self, site: FaultSite, values: &[u64]) -> Offer {
        let streams = self.streams(site);
        let mut places: Vec<(usize, u64)> = Vec::new();
        for (number, stream) in streams.iter().enumerate() {
            let length = stream.writes.last().map_or(0, |write| write.offset);
            let mut known = BTreeSet::new();
            for write in &stream.writes {
                // What a write brings with it befalls no byte of its own.
                let beside = if site == FaultSite::Spurious { 0 } else { 1 };
                let before = write.offset.saturating_sub(beside);
                let near = [write.offset, before, write.offset + beside];
                for place in near {
                    if (1..=length).contains(&place) && known.insert(place) {
                        places.push((number, place));
                    }
                }
            }
        }
        let mut seen = BTreeSet::new();
        let is_first: Vec<bool> = places.iter().map(|(number, _)| seen.insert(*number)).collect();
        let events = in_turn(&is_first).into_iter().flat_map(|place| {
            let (number, offset) = places[place];
            let event = streams[number].event(site, offset);
            values.iter().map(move |&value| (event.clone(), value))
        });
        let entries = events.map(|(event, value)| deviation(site, event, value, None)).collect();
        Offer::new(entries, places.len(), values.len())
    }

    /// Writes that take one byte, or all but one.
    fn short_writes(&self) -> Offer {
        const SITE: FaultSite = FaultSite::ShortWrite;
        let streams = self.streams(SITE);
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
        // A write of two bytes takes one, or all but one.
        let total = writes.iter().map(|&(.., length)| (length - 1).min(2)).sum();
        let mut seen = BTreeSet::new();
        let is_first: Vec<bool> = writes.iter().map(|(number, ..)| seen.insert(*number)).collect();
        let mut entries = Vec::new();
        for place in in_turn(&is_first) {
            let (number, offset, length) = writes[place];
            let values: BTreeSet<u64> = [1, length - 1].into();
            for value in values {
                entries.push(deviation(SITE, streams[number].event(SITE, offset), value, None));
            }
        }
        Offer { entries, total }
    }

    /// Ends of streams that come late.
    fn ends(&self) -> Offer {
        let mut entries = Vec::new();
        const SITE: FaultSite = FaultSite::DelayFin;
        for stream in self.streams(SITE) {
            let Some(end) = stream.end else { continue };
            for &delay in &self.delays {
                let event = stream.event(SITE, end.offset);
                entries.push(deviation(SITE, event, nanos(delay), None));
            }
        }
        let total = entries.len() as u64;
        Offer { entries, total }
    }

    /// Calls that fail.
    fn calls(&self, site: FaultSite) -> Offer {
        let calls = self.census.calls().iter().filter(|call| call.site == site);
        let calls: Vec<_> = calls.collect();
        let looked_at = spread(calls.len() as u64, PLACES_MAX).map(|place| calls[place as usize]);
        let entries = looked_at.map(|call| deviation(site, call.event.clone(), 1, None)).collect();
        Offer::new(entries, calls.len(), 1)
    }

    /// Cancellations of tasks: one for each task first.
    fn cancellations(&self) -> Offer {
        let calls = self.census.calls().iter().filter(|call| call.site == FaultSite::Cancel);
        let calls: Vec<_> = calls.collect();
        let mut seen = BTreeSet::new();
        let is_first = calls.iter().map(|call| match &call.event {
            EventId::Draw { entity, .. } => seen.insert(entity.as_str()),
            _ => false,
        });
        let order = in_turn(&is_first.collect::<Vec<bool>>());
        let entry =
            |place: usize| deviation(FaultSite::Cancel, calls[place].event.clone(), 1, None);
        Offer::new(order.into_iter().map(entry).collect(), calls.len(), 1)
    }

    /// Each host alone, from just before each of its sends on.
    fn isolations(&self) -> Offer {
        let mut moments: Vec<(u32, Time)> = Vec::new();
        for packet in self.census.outlines() {
            for host in [packet.moment.host, packet.to] {
                let moment = (host, packet.moment.time);
                if moments.last() != Some(&moment) {
                    moments.push(moment);
                }
            }
        }
        let lengths = [SHORT, LONG].map(|length| length.min(self.profile.longest_cut()));
        self.at_each(&moments, |host, at, index| Plan::new().isolate(at, host, lengths[index]))
    }

    /// Each host that may be stopped, and each clock, at each of the host's turns.
    fn at_turns(&self, family: Family) -> Offer {
        let mut is_mortal = BTreeMap::new();
        let mut moments: Vec<(u32, Time)> = Vec::new();
        for turn in self.census.turns() {
            let ask = || {
                family == Family::Clock
                    || self.profile.is_mortal(&self.census.host(turn.host).to_string())
            };
            let moment = (turn.host, turn.time);
            if *is_mortal.entry(turn.host).or_insert_with(ask) && moments.last() != Some(&moment) {
                moments.push(moment);
            }
        }
        let lengths = [SHORT, LONG].map(|length| length.min(self.profile.longest_stop()));
        self.at_each(&moments, |host, at, index| {
            // Just after it: what the host did then is done.
            let at = at + Duration::from_nanos(1);
            match family {
                Family::Crash => Plan::new().crash(at, host, lengths[index]),
                Family::Pause => Plan::new().pause(at, host, lengths[index]),
                Family::Freeze => Plan::new().freeze(at, host, lengths[index]),
                _ => Plan::new().clock_step(at, host, [STEP_NANOS, -STEP_NANOS][index]),
            }
        })
    }

    /// Each host that may be stopped, slow from the beginning on.
    fn slowness(&self) -> Offer {
        let hosts: BTreeSet<u32> = self.census.turns().iter().map(|turn| turn.host).collect();
        let length = LONG.min(self.profile.longest_stop());
        let mut entries = Vec::new();
        for host in hosts.into_iter().map(|host| self.census.host(host).to_string()) {
            if self.profile.is_mortal(&host) {
                for cost in COSTS {
                    entries.extend(Plan::new().slow(Duration::ZERO, &host, cost, length).entries);
                }
            }
        }
        let total = entries.len() as u64;
        Offer { entries, total }
    }

    /// What may befall each lookup: in one way first, and then in the others.
    fn lookups(&self) -> Offer {
        let offers = Family::LOOKUPS.map(|site| self.calls(site));
        let total = offers.iter().map(|offer| offer.total).sum();
        Offer { entries: offers.into_iter().flat_map(|offer| offer.entries).collect(), total }
    }

    /// What befalls a host at each of some moments, in two ways: one for each host first.
    fn at_each(
        &self,
        moments: &[(u32, Time)],
        fault: impl Fn(&str, Duration, usize) -> Plan,
    ) -> Offer {
        let mut seen = BTreeSet::new();
        let is_first: Vec<bool> = moments.iter().map(|(host, _)| seen.insert(*host)).collect();
        let mut entries = Vec::new();
        for place in in_turn(&is_first) {
            let (host, at) = moments[place];
            let host = self.census.host(host);
            for index in 0..2 {
                entries.extend(fault(&host, at.since_epoch(), index).entries);
            }
        }
        Offer::new(entries, moments.len(), 2)
    }
}

/// The places of a stream that something can befall.
fn span(site: FaultSite, stream: &OfferedStream) -> Range<u64> {
    let length = stream.writes.last().map_or(0, |write| write.offset);
    match site {
        _ if length == 0 => 0..0,
        // At its ends it is divided anyway.
        FaultSite::Boundary => 1..length,
        _ => 0..length + 1,
    }
}

/// Places of streams with these spans at which nothing has begun, as (stream, offset), in order: at most so many,
/// spread over all streams.
fn between(spans: &[Range<u64>], begun: &[BTreeSet<u64>], most: usize) -> Vec<(usize, u64)> {
    let left =
        spans.iter().zip(begun).map(|(span, known)| span.end - span.start - known.len() as u64);
    let mut wanted = spread(left.sum(), most).peekable();
    let mut places = Vec::new();
    let mut before = 0;
    for (number, (span, known)) in spans.iter().zip(begun).enumerate() {
        let mut start = span.start;
        for end in known.iter().copied().chain([span.end]) {
            // From `start` up to `end` there is nothing.
            while let Some(place) = wanted.next_if(|&place| place < before + (end - start)) {
                places.push((number, start + place - before));
            }
            before += end - start;
            start = end + 1;
        }
    }
    places
}

/// One of each queue after the other, as long as there are any.
fn taking_turns<T>(mut queues: Vec<std::vec::IntoIter<T>>) -> Vec<T> {
    let mut all = Vec::new();
    while !queues.is_empty() {
        queues.retain_mut(|queue| {
            let next = queue.next();
            let has_more = next.is_some();
            all.extend(next);
            has_more
        });
    }
    all
}

/// Numbers below `count`, in order: all of them, or `most` that are equally far apart.
fn spread(count: u64, most: usize) -> impl Iterator<Item = u64> {
    let taken = count.min(most as u64);
    (0..taken).map(move |n| (u128::from(n) * u128::from(count) / u128::from(taken)) as u64)
}

fn deviation(site: FaultSite, event: EventId, value: u64, near: Option<Near>) -> Entry {
    Entry::Deviation(Deviation { near, ..Deviation::new(site, event, value) })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Places in an order: those that are the first of their kind, then the others by bisection. Of more than are looked
/// at, those that are spread over all.
fn in_turn(is_first: &[bool]) -> Vec<usize> {
    let of = |wanted: bool, most: usize| {
        let places = (0..is_first.len()).filter(move |&place| is_first[place] == wanted);
        let places: Vec<usize> = places.collect();
        let taken = spread(places.len() as u64, most).map(|place| places[place as usize]);
        taken.collect::<Vec<usize>>()
    };
    let mut order = of(true, PLACES_MAX);
    order.extend(in_bisection(&of(false, PLACES_MAX - order.len())));
    order
}

/// Things by bisection: as many as are looked at, which are spread over all.
fn in_bisection<T: Copy>(all: &[T]) -> Vec<T> {
    let taken = spread(all.len() as u64, PLACES_MAX).map(|place| all[place as usize]);
    let taken: Vec<T> = taken.collect();
    bisected(taken.len()).into_iter().map(|place| taken[place]).collect()
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
    use std::io;

    use sim_core::World;
    use sim_core::stream::{StreamReader, StreamWriter};
    use sim_net::Sim;

    use super::*;

    /// A client uploads so many bytes in one write, and a server reads them.
    async fn uploads(world: World, bytes: usize) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let serve = |mut reader: StreamReader, writer: StreamWriter| async move {
            reader.read_to_end().await?;
            writer.close();
            Ok::<(), io::Error>(())
        };
        let _listening = server.start_server(("server", 7000), serve).await?;
        let (mut reader, writer) = client.open_connection(("server", 7000)).await?;
        writer.write(&vec![7; bytes]);
        writer.write_eof();
        reader.read_to_end().await?;
        Ok(())
    }

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
    fn of_more_places_than_are_looked_at_these_are_spread_over_all_of_them() {
        let mut is_first = vec![false; 5 * PLACES_MAX];
        is_first[5 * PLACES_MAX - 1] = true;
        let order = in_turn(&is_first);
        assert_eq!((order.len(), order[0]), (PLACES_MAX, 5 * PLACES_MAX - 1));
        let kept: BTreeSet<usize> = order.into_iter().collect();
        assert_eq!(kept.len(), PLACES_MAX);
        let largest = kept.iter().zip(kept.iter().skip(1)).map(|(low, high)| high - low).max();
        assert!(largest <= Some(6), "{largest:?}");
        assert_eq!(spread(7, 3).collect::<Vec<u64>>(), [0, 2, 4]);
        assert_eq!(spread(u64::MAX, 2).collect::<Vec<u64>>(), [0, u64::MAX / 2]);
    }

    #[test]
    fn what_lies_between_is_each_place_once_or_as_many_of_each_stream_as_it_is_long() {
        let known = |places: &[u64]| places.iter().copied().collect::<BTreeSet<u64>>();
        let begun = [known(&[1, 3]), known(&[]), known(&[]), known(&[4])];
        let expected = [(0, 2), (0, 4), (2, 0), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)];
        assert_eq!(between(&[1..5, 0..0, 0..3, 1..5], &begun, PLACES_MAX), expected);
        let long = PLACES_MAX as u64;
        let places = between(&[1..long, 1..3 * long], &[known(&[1]), known(&[])], PLACES_MAX);
        assert_eq!(places.len(), PLACES_MAX);
        let of_first = places.iter().filter(|(number, _)| *number == 0).count();
        assert!(of_first.abs_diff(PLACES_MAX / 4) < 3, "{of_first}");
        assert!(places.last().unwrap().1 > 3 * long - 6);
    }

    /// A transfer of which a sweep can look at a part: it says how much there would be, and looks at all of it.
    #[test]
    fn coverage_tells_of_all_places_and_late_ones_are_looked_at() {
        const BYTES: usize = 100_000;
        let census = Sim::new(1).census(true).run(|world| uploads(world, BYTES)).census.unwrap();
        let profile = Profile::only([Family::Boundary]);
        let singles = Singles::new(&profile, Plan::new(), &census, &[]);
        let [coverage] = singles.coverage(singles.len())[..] else { panic!("one family") };
        assert_eq!(coverage.total, BYTES as u64 - 1);
        assert!((PLACES_MAX as u64..PLACES_MAX as u64 + 100).contains(&coverage.done));
        let latest = singles.entries.iter().map(|(_, entry)| match entry {
            Entry::Deviation(Deviation { event: EventId::Stream { offset, .. }, .. }) => *offset,
            _ => 0,
        });
        let among_rest = latest.filter(|&offset| offset < BYTES as u64 - 100).max();
        assert!(among_rest > Some(BYTES as u64 - 110), "{among_rest:?}");
    }

    /// What never leaves its host can be cut and held up, and not reset; each fault finds its place.
    #[test]
    fn streams_inside_a_host_are_looked_at_too() {
        async fn asks(world: World) -> io::Result<()> {
            let lp = world.host("a");
            let serve = |mut reader: StreamReader, writer: StreamWriter| async move {
                let question = reader.read_to_end().await?;
                writer.write(&question);
                writer.close();
                Ok::<(), io::Error>(())
            };
            let _listening = lp.start_unix_server("/run/a b.sock", serve).await?;
            let (mut reader, writer) = lp.open_unix_connection("/run/a b.sock").await?;
            writer.write(b"what is it?");
            writer.write_eof();
            assert_eq!(reader.read_to_end().await?, b"what is it?");
            Ok(())
        }
        let census = Sim::new(1).census(true).run(asks).census.unwrap();
        let families = [
            (Family::Boundary, 20),
            (Family::ShortWrite, 4),
            (Family::Coalesce, 4),
            (Family::Stall, 8),
            (Family::Spurious, 2),
            (Family::DelayFin, 2),
        ];
        for (family, total) in families {
            let own = Plan::new().seed(1);
            let singles = Singles::new(&Profile::only([family]), own, &census, &[]);
            let coverage = singles.coverage(singles.len());
            assert_eq!(coverage, [Coverage { family, done: total, total }]);
            for index in 0..singles.len() {
                let plan: Plan = singles.plan(index).to_string().parse().unwrap();
                assert_eq!(plan, singles.plan(index));
                let report = Sim::new(1).replay(&plan).unwrap().run(asks);
                assert_eq!(report.bindings.to_string(), "bound 1 of 1", "{plan}");
                assert!(report.outcome.is_ok(), "{plan}: {:?}", report.outcome);
            }
        }
        let ends = Profile::only([Family::Reset, Family::EarlyEnd]);
        assert_eq!(Singles::new(&ends, Plan::new(), &census, &[]).len(), 0);
    }

    /// A stream can be reset, and end, behind any of its bytes, and before the first: each place is tried once, those
    /// that differ most first, and each finds its own.
    #[test]
    fn streams_between_hosts_are_reset_and_end_at_every_byte() {
        async fn asks(world: World) -> io::Result<()> {
            let (server, client) = (world.host("server"), world.host("client"));
            let serve = |mut reader: StreamReader, writer: StreamWriter| async move {
                let question = reader.read_to_end().await?;
                writer.write(&question[..5]);
                writer.close();
                Ok::<(), io::Error>(())
            };
            let _listening = server.start_server(("server", 7000), serve).await?;
            let (mut reader, writer) = client.open_connection(("server", 7000)).await?;
            for _ in 0..2 {
                writer.write(&[7; 20]);
                client.sleep(Duration::from_millis(10)).await;
            }
            writer.write_eof();
            assert!(reader.read_to_end().await.is_ok_and(|answer| answer.len() == 5));
            Ok(())
        }
        const PLACES: u64 = 41 + 6;
        let census = Sim::new(1).census(true).run(asks).census.unwrap();
        let own = || Plan::new().seed(1);
        for (family, values) in [(Family::Reset, 3), (Family::EarlyEnd, 1)] {
            let singles = Singles::new(&Profile::only([family]), own(), &census, &[]);
            let total = PLACES * values as u64;
            let coverage = Coverage { family, done: total, total };
            assert_eq!(singles.coverage(singles.len()), [coverage]);
            let mut texts = BTreeSet::new();
            for index in 0..singles.len() {
                let plan = singles.plan(index);
                let report = Sim::new(1).replay(&plan).unwrap().run(asks);
                assert_eq!(report.bindings.to_string(), "bound 1 of 1", "{plan}");
                texts.insert(plan.to_string());
            }
            assert_eq!(texts.len() as u64, total);
            // Where the first write of each stream ends, before anything else; then the other end, and first bytes.
            let offsets = |from: usize, count: usize| {
                let entries = singles.entries[from * values..].iter().step_by(values).take(count);
                let offset = |(_, entry): &(Family, Entry)| match entry {
                    Entry::Deviation(Deviation { event, .. }) => match event {
                        EventId::Stream { offset, .. } => *offset,
                        event => panic!("{event}"),
                    },
                    entry => panic!("{entry}"),
                };
                entries.map(offset).collect::<Vec<u64>>()
            };
            assert_eq!(offsets(0, 2).into_iter().collect::<BTreeSet<u64>>(), [5, 20].into());
            let next = offsets(2, 20);
            assert!([19, 21, 39, 40, 0, 16].iter().all(|place| next.contains(place)), "{next:?}");
        }
    }

    /// Of a stream that is long not every byte is tried, and coverage says so.
    #[test]
    fn of_a_long_stream_places_everywhere_are_tried() {
        let census = Sim::new(1).census(true).run(|world| uploads(world, 200_000)).census.unwrap();
        for (family, values) in [(Family::Reset, 3), (Family::EarlyEnd, 1)] {
            let singles = Singles::new(&Profile::only([family]), Plan::new(), &census, &[]);
            let [coverage] = singles.coverage(singles.len())[..] else { panic!("one family") };
            assert_eq!(coverage.total, 200_001 * values);
            let sampled = PLACES_MAX as u64;
            assert!((sampled - 3..sampled + 400).contains(&coverage.done), "{coverage:?}");
        }
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
