//! What a network knows of the faults of its streams.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sim_core::Time;

use super::{Boundary, StreamFaults};
use crate::decisions::{Decisions, Draws, Entity, RecentDraws, Site, below};
use crate::faults::Faults;
use crate::network::Network;
use crate::plane::stream_name::StreamName;
use crate::socket_table::{Kind, SocketId};

/// What a network knows of the faults of its streams.
#[derive(Debug, Default)]
pub(crate) struct Injection {
    pub(super) config: StreamFaults,
    /// Some of them can happen, or somebody looks at what could.
    pub(crate) is_on: bool,
    /// What is known of each stream, at the slot of its socket.
    streams: Vec<Option<(SocketId, Injected)>>,
    /// What it drew last.
    pub(crate) recent: RecentDraws,
    /// How many accepts and connects there were, by what draws about them are keyed by.
    pub(super) calls: BTreeMap<Entity, u64>,
}

/// What it knows of one stream.
#[derive(Debug)]
pub(super) struct Injected {
    /// What it sends.
    pub(super) name: StreamName,
    /// What draws about what it sends and what it receives are keyed by.
    pub(super) out: Entity,
    pub(super) inward: Entity,
    pub(super) boundary: Option<Boundary>,
    /// What places them, how many there were, and before which byte read the next one is.
    boundary_draws: Draws,
    boundaries: u64,
    next_boundary: u64,
    /// Bytes read.
    pub(super) read: u64,
    /// Where writes ended that are not read yet: the peer's, by bytes written, in order.
    pub(super) writes: VecDeque<u64>,
    pub(super) written: u64,
    pub(super) write_calls: u64,
    /// What it sends was ended before its writer did: nothing more is taken.
    pub(super) has_ended: bool,
    pub(super) arrivals: u64,
    /// How far the stream had come when its news were last told or held back.
    pub(super) told: u64,
    /// What holds its news back, and when that ends at the latest.
    pub(super) held: Option<(Held, Time)>,
}

/// Until when news of data are held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// Until their time comes.
    ForATime,
    /// Until the stream has come beyond this place, or their time comes.
    UntilBeyond(u64),
}

impl Injection {
    pub(crate) fn new(config: StreamFaults, faults: &mut Faults) -> Self {
        let kinds = [
            (Site::ReadBoundary, config.boundaries),
            (Site::ShortWrite, config.short_writes),
            (Site::HeldRead, config.held_reads),
            (Site::ReadStall, config.stalls),
            (Site::LateEnd, config.late_ends),
            (Site::SpuriousReadiness, config.spurious),
            (Site::AcceptError, config.accept_errors),
            (Site::ConnectError, config.connect_errors),
            (Site::StreamReset, config.resets),
            (Site::EarlyEnd, config.early_ends),
            (Site::AcceptReset, config.accept_resets),
        ];
        for (site, likely) in kinds {
            if !likely.is_never() {
                faults.enable_drawn(site);
            }
        }
        Self { config, is_on: !config.are_none(), ..Self::default() }
    }

    pub(crate) fn forget(&mut self, id: SocketId) {
        if let Some(place) = self.streams.get_mut(id.slot() as usize)
            && place.as_ref().is_some_and(|(known, _)| *known == id)
        {
            *place = None;
        }
    }

    /// What is known of a stream already.
    #[inline]
    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Injected> {
        let (known, injected) = self.streams.get_mut(id.slot() as usize)?.as_mut()?;
        (*known == id).then_some(injected)
    }

    fn insert(&mut self, id: SocketId, injected: Injected) {
        if self.streams.len() <= id.slot() as usize {
            self.streams.resize_with(id.slot() as usize + 1, || None);
        }
        self.streams[id.slot() as usize] = Some((id, injected));
    }
}

impl Injected {
    fn new(name: StreamName, out: Entity, inward: Entity) -> Self {
        Self {
            name,
            out,
            inward,
            boundary: None,
            boundary_draws: Draws::new(Site::ReadBoundary, inward),
            boundaries: 0,
            next_boundary: 0,
            read: 0,
            writes: VecDeque::new(),
            written: 0,
            write_calls: 0,
            has_ended: false,
            arrivals: 0,
            told: 0,
            held: None,
        }
    }

    /// So much more was read.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.read += bytes as u64;
        while self.writes.front().is_some_and(|&end| end <= self.read) {
            self.writes.pop_front();
        }
    }

    /// How many bytes lie before the next boundary.
    #[inline]
    pub(super) fn stretch_left(&mut self, decisions: &Decisions) -> u64 {
        if self.boundary.is_none() {
            return u64::MAX;
        }
        if self.read >= self.next_boundary {
            self.boundaries += 1;
            let draw = self.boundary_draws.at(decisions, self.boundaries);
            self.next_boundary = self.read.saturating_add(self.stretch(draw));
        }
        self.next_boundary - self.read
    }

    /// How long the next stretch of a stream is up to a boundary, given a draw.
    fn stretch(&self, draw: u64) -> u64 {
        match self.boundary {
            None => u64::MAX,
            Some(Boundary::Byte | Boundary::Drawn) => 1,
            Some(Boundary::Every(bytes)) => u64::from(bytes.max(1)),
            Some(Boundary::Geometric(mean)) => geometric(draw, mean),
            Some(Boundary::Writes) => {
                let end = self.writes.get(self.writes.partition_point(|&end| end <= self.read));
                let wanted = end.map_or(u64::MAX, |end| end + below(draw, 3) - 1);
                wanted.saturating_sub(self.read).max(1)
            }
        }
    }
}

/// A length of at least 1 with about this mean: the number of draws until the first whose chance is
/// one in `mean` comes true, with each draw made of the one before.
fn geometric(mut draw: u64, mean: u32) -> u64 {
    let chance = u64::MAX / u64::from(mean.max(1));
    let longest = 20 * u64::from(mean.max(1));
    let mut length = 1;
    while draw > chance && length < longest {
        // SplitMix64 (Steele, Lea, Flood 2014).
        draw = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
        draw = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        draw = (draw ^ (draw >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        draw ^= draw >> 31;
        length += 1;
    }
    length
}

impl Network {
    /// What is known of a stream that an application has; nothing of one that it has let go.
    pub(super) fn injected(&mut self, id: SocketId) -> Option<(u32, &mut Injected)> {
        let socket = self.sockets.get(id)?;
        let host = socket.host;
        if matches!(&socket.kind, Kind::Stream(stream) if stream.connection.is_orphan()) {
            return None;
        }
        if self.injection.get_mut(id).is_none() {
            self.begin_injection(id)?;
        }
        Some((host, self.injection.get_mut(id)?))
    }

    /// Begins to know of a stream; `None` if the socket is none.
    #[cold]
    fn begin_injection(&mut self, id: SocketId) -> Option<()> {
        let name = match &self.sockets.get(id)?.kind {
            Kind::Stream(stream) => StreamName::Tcp(stream.flow()),
            Kind::Unix(socket) => StreamName::Local(socket.flow()?.clone()),
            _ => return None,
        };
        let new = self.inject_into(name);
        self.injection.insert(id, new);
        Some(())
    }

    fn inject_into(&mut self, name: StreamName) -> Injected {
        let hosts = &self.wire.trace.hosts;
        let (out, inward) = (name.entity(hosts), name.clone().reversed().entity(hosts));
        let StreamFaults { boundaries, boundary, .. } = self.injection.config;
        let mut injected = Injected::new(name, out, inward);
        if self.wire.is_planned() {
            return injected;
        }
        let rest = boundaries.rest(injected.boundary_draws.at(&self.wire.decisions, 0));
        injected.boundary = rest.map(|rest| match (boundary, below(rest, 5)) {
            (Boundary::Drawn, 0) => Boundary::Byte,
            (Boundary::Drawn, 1) => Boundary::Every(1 + below(rest << 3, 64) as u32),
            (Boundary::Drawn, 2) => Boundary::Every(1_448),
            (Boundary::Drawn, 3) => Boundary::Geometric(1 + below(rest << 3, 200) as u32),
            (Boundary::Drawn, _) => Boundary::Writes,
            (chosen, _) => chosen,
        });
        injected
    }
}

/// Nanoseconds up to `longest`, but not none.
pub(super) fn at_most(rest: u64, longest: Duration) -> u64 {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    1 + below(rest, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that is a long way behind, and reads a little at a time: what a read costs is not how much
    /// waits, or this would take minutes.
    #[test]
    fn a_read_looks_at_no_more_writes_than_it_passes() {
        const WRITES: u64 = 400_000;
        let flow = crate::flow::Flow::new((0, 1), (1, 7000), 1, false);
        let entity = Entity::named("it");
        let writes = Some(Boundary::Writes);
        let mut injected = Injected::new(StreamName::Tcp(flow), entity, entity);
        injected.boundary = writes;
        injected.writes.extend((1..=WRITES).map(|n| 10 * n));
        for read in 0..10 * WRITES {
            if read % 10 == 5 {
                // The draw says: before, at or after the end of the write.
                assert_eq!([0, 1 << 63, u64::MAX].map(|draw| injected.stretch(draw)), [4, 5, 6]);
            }
            injected.advance(1);
            assert_eq!(injected.writes.len() as u64, WRITES - (read + 1) / 10);
        }
        assert_eq!(injected.stretch(0), u64::MAX - injected.read);
    }

    #[test]
    fn lengths_have_about_the_mean_that_was_asked_for() {
        for mean in [1, 2, 10, 100] {
            let total: u64 = (0..10_000_u64)
                .map(|n| geometric(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), mean))
                .sum();
            let average = total as f64 / 1e4;
            let wanted = f64::from(mean);
            assert!((average - wanted).abs() < 0.05 * wanted, "{average} for {mean}");
        }
    }

    #[test]
    fn a_delay_is_never_nothing_and_never_too_long() {
        assert_eq!(at_most(0, Duration::ZERO), 1);
        assert_eq!(at_most(u64::MAX, Duration::from_millis(5)), 5_000_000);
    }
}
