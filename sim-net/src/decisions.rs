//! The decision plane: every choice that the simulator makes, as a pure function of its key.
//!
//! A key is (site, entity, ordinal): *which kind* of choice, *about what*, *the how-manieth*. The
//! value is a function of the seed and the key alone, so one more draw elsewhere, or one more host,
//! moves nothing here.
//!
//! Each entity has one ChaCha8 stream: the key is expanded from the seed, the stream number is the
//! [`Entity`]. In the stream every site has a fixed place: draw k of the site with slot s is word
//! k mod 8 of block (k div 8) · 16 + s. So an ordinal has a fixed number of words, one for each of 16
//! slots, and eight successive draws of a site share a block, which [`Draws`] keeps: a draw costs a
//! block of 30 ns once in eight times.

use std::fmt;

use sim_core::Rng;

use crate::chacha;

/// How many sites an entity's stream has room for.
const SLOTS: u64 = 16;
const DRAWS_PER_BLOCK: u64 = 8;

/// What a choice means to a search, a plan and a shrinker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Something goes wrong. 0 is the most benign outcome, and the value where no plan asks for more.
    Fault,
    /// What differs between two runs of a sound network: jitter, ties.
    Environment,
    /// Who somebody is: ports, sequence numbers, an application's own random numbers.
    Identity,
    /// What the scenario does.
    Workload,
}

/// A kind of choice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Site {
    /// Which of the hosts that are ready at the same instant runs first: each draws a rank.
    HostOrder,
    /// How long a packet travels beyond the least delay.
    PacketDelay,
    /// A connection's initial sequence number (RFC 9293 §3.4.1).
    InitialSequence,
    /// Where the search for an ephemeral port starts (RFC 6056 §3.3.1).
    EphemeralPort,
    /// The seed of a random stream that the application asked for by name.
    NamedRng,
    /// A size of the workload.
    WorkloadSize,
    /// Whether a packet is lost: 1 if so.
    PacketLoss,
    /// Whether a copy of a packet follows: 0 if not, else 1 and its delay beyond the least in
    /// nanoseconds.
    PacketDuplicate,
    /// Whether a packet is corrupted, and how: 0 if not; else 1 and the bit that flips, counted from
    /// the first; or 1, all the bits, and how many bytes are left.
    PacketCorrupt,
    /// For how many later packets of its flow a packet is held back.
    PacketReorder,
    /// How many of the writes that were not synced a crash takes from a file, from the end on.
    StoreLost,
    /// How many bytes of the first of those it leaves.
    StoreTorn,
    /// Whether a stream has read boundaries (draw 0), and where the next one is.
    ReadBoundary,
    /// Whether a write takes only a part.
    ShortWrite,
    /// Whether the news of data comes late.
    HeldRead,
    /// Whether a reader hears nothing for a while.
    ReadStall,
    /// Whether the end of a stream is sent late.
    LateEnd,
    /// Whether readiness is told for nothing.
    SpuriousReadiness,
    /// Whether a write is the last of its connection.
    StreamReset,
    /// Whether a connection is reset as soon as it is accepted.
    AcceptReset,
    /// Whether an accept fails.
    AcceptError,
    /// Whether a connect fails at once.
    ConnectError,
    /// How long a name server takes to answer, beyond the least.
    NameDelay,
    /// Whether the name servers fail for now: 1 if so.
    NameFailure,
    /// Whether they say that there is no such name: 1 if so.
    NameUnknown,
    /// Whether they know a name and no address of it: 1 if so.
    NameEmpty,
    /// Whether they do not answer: 1 if so.
    NameSilence,
    /// Whether starting a child process fails.
    SpawnError,
    /// Whether a child process is killed as soon as it has started.
    EarlyDeath,
    /// Whether a task is cancelled where it waits.
    TaskCancel,
    /// How long a job of `run_in_executor` takes, beyond the least.
    JobDelay,
    /// Whether a write is the last of its stream, which ends for its reader.
    EarlyEnd,
}

impl Site {
    pub(crate) const ALL: [Self; 32] = [
        Self::HostOrder,
        Self::PacketDelay,
        Self::InitialSequence,
        Self::EphemeralPort,
        Self::NamedRng,
        Self::WorkloadSize,
        Self::PacketLoss,
        Self::PacketDuplicate,
        Self::PacketCorrupt,
        Self::PacketReorder,
        Self::StoreLost,
        Self::StoreTorn,
        Self::ReadBoundary,
        Self::ShortWrite,
        Self::HeldRead,
        Self::ReadStall,
        Self::LateEnd,
        Self::SpuriousReadiness,
        Self::StreamReset,
        Self::AcceptReset,
        Self::AcceptError,
        Self::ConnectError,
        Self::NameDelay,
        Self::NameFailure,
        Self::NameUnknown,
        Self::NameEmpty,
        Self::NameSilence,
        Self::SpawnError,
        Self::EarlyDeath,
        Self::TaskCancel,
        Self::JobDelay,
        Self::EarlyEnd,
    ];

    /// The stable name, as traces and plans write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostOrder => "host.order",
            Self::PacketDelay => "packet.delay",
            Self::PacketLoss => "packet.loss",
            Self::PacketDuplicate => "packet.duplicate",
            Self::PacketCorrupt => "packet.corrupt",
            Self::PacketReorder => "packet.reorder",
            Self::InitialSequence => "tcp.isn",
            Self::EphemeralPort => "host.port",
            Self::NamedRng => "rng",
            Self::WorkloadSize => "workload.size",
            Self::StoreLost => "store.lost",
            Self::StoreTorn => "store.torn",
            Self::ReadBoundary => "stream.boundary",
            Self::ShortWrite => "stream.short-write",
            Self::HeldRead => "stream.coalesce",
            Self::ReadStall => "stream.stall",
            Self::LateEnd => "stream.delay-fin",
            Self::SpuriousReadiness => "socket.spurious",
            Self::StreamReset => "stream.rst",
            Self::EarlyEnd => "stream.fin",
            Self::AcceptReset => "socket.accept-reset",
            Self::AcceptError => "socket.emfile",
            Self::ConnectError => "socket.connect",
            Self::NameDelay => "dns.delay",
            Self::JobDelay => "executor.delay",
            Self::NameFailure => "dns.again",
            Self::NameUnknown => "dns.nxdomain",
            Self::NameEmpty => "dns.empty",
            Self::NameSilence => "dns.silent",
            Self::SpawnError => "process.spawn",
            Self::EarlyDeath => "process.early-death",
            Self::TaskCancel => "task.cancel",
        }
    }

    /// What kind of choice it is.
    pub const fn class(self) -> Class {
        match self {
            Self::PacketLoss
            | Self::PacketDuplicate
            | Self::PacketCorrupt
            | Self::PacketReorder
            | Self::StoreLost
            | Self::StoreTorn
            | Self::ReadBoundary
            | Self::ShortWrite
            | Self::HeldRead
            | Self::ReadStall
            | Self::LateEnd
            | Self::SpuriousReadiness
            | Self::StreamReset
            | Self::EarlyEnd
            | Self::AcceptReset
            | Self::AcceptError
            | Self::ConnectError
            | Self::NameFailure
            | Self::NameUnknown
            | Self::NameEmpty
            | Self::NameSilence
            | Self::SpawnError
            | Self::EarlyDeath
            | Self::TaskCancel => Class::Fault,
            Self::HostOrder | Self::PacketDelay | Self::NameDelay | Self::JobDelay => {
                Class::Environment
            }
            Self::InitialSequence | Self::EphemeralPort | Self::NamedRng => Class::Identity,
            Self::WorkloadSize => Class::Workload,
        }
    }

    /// Its place in the stream of an entity. Sites of different kinds of entities may share one.
    const fn slot(self) -> u64 {
        match self {
            Self::PacketDelay
            | Self::HostOrder
            | Self::StoreLost
            | Self::NameDelay
            | Self::JobDelay => 0,
            Self::InitialSequence | Self::EphemeralPort | Self::StoreTorn => 1,
            Self::NamedRng => 2,
            Self::WorkloadSize | Self::EarlyEnd => 3,
            Self::PacketLoss | Self::AcceptError | Self::NameFailure | Self::SpawnError => 4,
            Self::PacketDuplicate | Self::ConnectError | Self::NameUnknown | Self::EarlyDeath => 5,
            Self::PacketCorrupt | Self::NameEmpty | Self::TaskCancel => 6,
            Self::PacketReorder | Self::NameSilence => 7,
            Self::ReadBoundary => 8,
            Self::ShortWrite => 9,
            Self::HeldRead => 10,
            Self::ReadStall => 11,
            Self::LateEnd => 12,
            Self::SpuriousReadiness => 13,
            Self::StreamReset => 14,
            Self::AcceptReset => 15,
        }
    }
}

/// What a choice is about: a 64-bit hash of the name that traces and plans give it, for instance
/// `client@1→server:7000#2`.
///
/// FNV-1a over the name's bytes, then the finaliser of SplitMix64. Part of the format of plans: it
/// never changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Entity(u64);

impl Entity {
    /// The entity called `name`; anything that prints is a name, and no string is built.
    pub fn named(name: impl fmt::Display) -> Self {
        let mut hash = NameHash::new();
        fmt::write(&mut hash, format_args!("{name}")).expect("a hasher takes every string");
        hash.finish()
    }

    /// The hash.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

/// A name that is hashed while it is spelled, so that no string is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameHash(u64);

impl NameHash {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Takes in what printing `number` would give.
    pub(crate) fn number(&mut self, number: u32) {
        if number > 9 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.byte(byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    pub(crate) fn finish(self) -> Entity {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Entity(hash ^ (hash >> 31))
    }
}

impl fmt::Write for NameHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

/// The seed of a run, spread over a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decisions {
    key: chacha::Key,
}

/// The draws of one site on one entity, in order.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    entity: Entity,
    site: Site,
    ordinal: u64,
    block: [u64; 8],
}

impl Decisions {
    /// The decisions of the run with this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let mut key = [0; 8];
        for pair in key.chunks_exact_mut(2) {
            let word = next();
            pair[0] = word as u32;
            pair[1] = (word >> 32) as u32;
        }
        Self { key }
    }

    /// Draw number `ordinal` of a site on an entity, for choices that are made once or rarely.
    pub(crate) fn at(&self, site: Site, entity: Entity, ordinal: u64) -> u64 {
        self.block(site, entity, ordinal / DRAWS_PER_BLOCK)[(ordinal % DRAWS_PER_BLOCK) as usize]
    }

    /// Where the clock of timestamps begins for a pair of hosts: as good as drawn, without a block.
    pub(crate) fn stamps_from(&self, hosts: Entity) -> u32 {
        let salt = u64::from(self.key[0]) << 32 | u64::from(self.key[1]);
        ((hosts.0 ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }

    /// The random stream that `entity` is the name of.
    pub(crate) fn rng(&self, entity: Entity) -> Rng {
        let block = self.block(Site::NamedRng, entity, 0);
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(block) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Rng::from_seed(seed)
    }

    fn block(&self, site: Site, entity: Entity, group: u64) -> [u64; 8] {
        chacha::block(&self.key, entity.0, group * SLOTS + site.slot())
    }
}

impl Draws {
    /// The draws of `site` on `entity`, from the first on.
    pub(crate) fn new(site: Site, entity: Entity) -> Self {
        Self { entity, site, ordinal: 0, block: [0; 8] }
    }

    pub(crate) fn site(&self) -> Site {
        self.site
    }

    /// Number `ordinal`: quick if it lies near the one before.
    #[inline]
    pub(crate) fn at(&mut self, decisions: &Decisions, ordinal: u64) -> u64 {
        let group = ordinal / DRAWS_PER_BLOCK;
        if self.ordinal == 0 || (self.ordinal - 1) / DRAWS_PER_BLOCK != group {
            self.block = decisions.block(self.site, self.entity, group);
        }
        self.ordinal = ordinal + 1;
        self.block[(ordinal % DRAWS_PER_BLOCK) as usize]
    }

    /// The next one.
    #[inline]
    pub(crate) fn next(&mut self, decisions: &Decisions) -> u64 {
        let place = self.ordinal % DRAWS_PER_BLOCK;
        if place == 0 {
            let group = self.ordinal / DRAWS_PER_BLOCK;
            self.block = decisions.block(self.site, self.entity, group);
        }
        self.ordinal += 1;
        self.block[place as usize]
    }
}

/// The draws that were asked for last, of many entities and sites: who asks for the next of one finds it in the
/// block of the one before. It changes no value.
#[derive(Debug, Default)]
pub(crate) struct RecentDraws {
    /// Each at the place that its key hashes to; empty before the first.
    places: Vec<Draws>,
}

/// How many are remembered: a stream asks at half a dozen sites.
const RECENT: usize = 32;

impl RecentDraws {
    /// [`Decisions::at`].
    pub(crate) fn at(
        &mut self,
        decisions: &Decisions,
        site: Site,
        entity: Entity,
        ordinal: u64,
    ) -> u64 {
        if self.places.is_empty() {
            self.places.resize(RECENT, Draws::new(site, entity));
        }
        let place = (entity.0 ^ (site as u64).wrapping_mul(5)) as usize % RECENT;
        let draws = &mut self.places[place];
        if (draws.site, draws.entity) != (site, entity) {
            *draws = Draws::new(site, entity);
        }
        draws.at(decisions, ordinal)
    }
}

/// Maps a draw to `0..bound` by one multiplication.
#[inline]
pub(crate) fn below(draw: u64, bound: u64) -> u64 {
    ((u128::from(draw) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_a_function_of_its_key_alone() {
        let decisions = Decisions::new(7);
        let (a, b) = (Entity::named("a@1→b:80#1"), Entity::named("a@1→b:80#2"));
        let alone: Vec<u64> = {
            let mut draws = Draws::new(Site::PacketDelay, a);
            (0..40).map(|_| draws.next(&decisions)).collect()
        };
        let mut of_a = Draws::new(Site::PacketDelay, a);
        let mut of_b = Draws::new(Site::PacketDelay, b);
        let mut other_site = Draws::new(Site::InitialSequence, a);
        for (ordinal, &value) in alone.iter().enumerate() {
            other_site.next(&decisions);
            assert_ne!(of_b.next(&decisions), value);
            assert_eq!(of_a.next(&decisions), value);
            assert_eq!(decisions.at(Site::PacketDelay, a, ordinal as u64), value);
        }
    }

    #[test]
    fn draws_can_be_asked_for_by_number() {
        let decisions = Decisions::new(7);
        let entity = Entity::named("a@1→b:80#1");
        let mut draws = Draws::new(Site::PacketLoss, entity);
        for ordinal in [0, 1, 7, 8, 3, 100, 101, 0] {
            let value = decisions.at(Site::PacketLoss, entity, ordinal);
            assert_eq!(draws.at(&decisions, ordinal), value);
        }
        assert_eq!(draws.next(&decisions), decisions.at(Site::PacketLoss, entity, 1));
    }

    #[test]
    fn recent_draws_are_the_same_in_any_order() {
        let decisions = Decisions::new(7);
        let mut recent = RecentDraws::default();
        let entities: Vec<Entity> =
            (0..100).map(|n| Entity::named(format_args!("a@1→b:80#{n}"))).collect();
        for step in 0..5_000_u64 {
            let entity = entities[(step * step % 97) as usize];
            let site = [Site::ReadBoundary, Site::ShortWrite, Site::HeldRead][step as usize % 3];
            let ordinal = step % 23;
            let value = recent.at(&decisions, site, entity, ordinal);
            assert_eq!(value, decisions.at(site, entity, ordinal));
        }
    }

    #[test]
    fn sites_of_one_kind_of_entity_have_places_of_their_own() {
        let of_flows = [
            Site::PacketDelay,
            Site::InitialSequence,
            Site::PacketLoss,
            Site::PacketDuplicate,
            Site::PacketCorrupt,
            Site::PacketReorder,
            Site::ReadBoundary,
            Site::ShortWrite,
            Site::HeldRead,
            Site::ReadStall,
            Site::LateEnd,
            Site::SpuriousReadiness,
            Site::StreamReset,
            Site::AcceptReset,
            Site::EarlyEnd,
        ];
        let mut slots = of_flows.map(Site::slot);
        slots.sort_unstable();
        assert!(slots.windows(2).all(|pair| pair[0] < pair[1]) && slots[14] < SLOTS);
    }

    #[test]
    fn seeds_sites_and_entities_give_different_values() {
        let entity = Entity::named("n1@1");
        let mut values = vec![
            Decisions::new(0).at(Site::HostOrder, entity, 0),
            Decisions::new(1).at(Site::HostOrder, entity, 0),
            Decisions::new(0).at(Site::EphemeralPort, entity, 0),
            Decisions::new(0).at(Site::HostOrder, entity, 1),
            Decisions::new(0).at(Site::HostOrder, Entity::named("n1@2"), 0),
        ];
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 5);
    }

    /// These values, computed by another program, are part of the format: a seed and a plan mean the
    /// same for ever.
    #[test]
    fn values_never_change() {
        assert_eq!(Entity::named("client@1→server:7000#2").0, 0x9360_14f5_56fc_182c);
        let draw = Decisions::new(1).at(Site::PacketDelay, Entity::named("a"), 9);
        assert_eq!(draw, 0xb4a8_7628_0605_3eb6);
    }

    #[test]
    fn below_is_uniform_over_its_range() {
        let decisions = Decisions::new(3);
        let mut draws = Draws::new(Site::HostOrder, Entity::named("x"));
        let mut counts = [0_u32; 8];
        for _ in 0..80_000 {
            counts[below(draws.next(&decisions), 8) as usize] += 1;
        }
        // χ² with 7 degrees of freedom exceeds 24.3 once in a thousand.
        let chi: f64 = counts.iter().map(|&n| (f64::from(n) - 1e4).powi(2) / 1e4).sum();
        assert!(chi < 24.3, "{chi}");
    }
}
