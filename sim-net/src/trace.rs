//! Everything that happened, as a hash, as a tail, and if wanted as a log.
//!
//! A record is something that the network, the scheduler or an engine did. All of them enter a
//! rolling 64-bit hash with their virtual time and host, so that two runs are compared in eight
//! bytes; the last 64 are kept for a finding; a log of all is kept on demand. Observing changes
//! neither hash nor times: none of it is read back by the simulation.

mod notes;
mod packed;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sim_core::Time;
use sim_core::property::Property;
use sim_core::trace::Record as EngineRecord;

use self::notes::Notes;
pub(crate) use self::notes::Subject;
pub use self::notes::{Episode, EpisodeKind, State, When};
use self::packed::{Packed, RollingHash};
use crate::decisions::Site;
use crate::flow::Flow;
use crate::memory::{clear, clear_map};
use crate::stop_at;

/// How many records a finding shows.
pub(crate) const TAIL: usize = 64;

/// Something that happened in a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Record {
    /// A host's engine did something.
    Engine(EngineRecord),
    /// A host's engine begins a turn.
    Turn,
    /// A host sent a packet.
    Sent(PacketRecord),
    /// A packet arrived at its host, and its network stack took it.
    Delivered(PacketRecord),
    /// A packet was lost.
    Dropped(PacketRecord, DropReason),
    /// A copy of a packet follows it.
    Duplicated(PacketRecord),
    /// A packet was corrupted on its way.
    Corrupted(PacketRecord),
    /// A packet is held back until later ones of its flow went by.
    HeldBack(PacketRecord),
    /// A packet waits, at the end of its way, for a partition to heal or a link to be released.
    Held(PacketRecord),
    /// A packet that waited so goes on.
    Released(PacketRecord),
    /// A connection attempt met a port on which nobody listens.
    Refused(PacketRecord),
    /// Something befell a host.
    Host(HostChange),
    /// The decision plane was asked.
    Draw {
        /// For what.
        site: Site,
        /// What it said.
        value: u64,
    },
}

/// A packet, for a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketRecord {
    /// Who sent it to whom.
    pub flow: Flow,
    /// What it is.
    pub kind: PacketKind,
    /// Its sequence number, counted from the initial one; 0 if it is no segment.
    pub offset: u32,
    /// How many bytes of data it carries.
    pub bytes: u32,
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PacketKind {
    /// A segment that opens a connection.
    Syn,
    /// The answer to it.
    SynAck,
    /// A segment that only acknowledges.
    Ack,
    /// A segment with data.
    Data,
    /// A segment that ends the stream, perhaps with the last data.
    Fin,
    /// A reset.
    Reset,
    /// A UDP datagram.
    Datagram,
    /// ICMP "port unreachable".
    PortUnreachable,
    /// ICMP "host unreachable".
    HostUnreachable,
    /// ICMP "fragmentation needed".
    FragmentationNeeded,
}

/// Why a packet was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// No host has the address.
    NoHost,
    /// A listener's queue of connections that wait to be accepted is full.
    Backlog,
    /// The socket's receive buffer is full.
    ReceiveBuffer,
    /// No socket takes it, and nobody is told.
    NoSocket,
    /// The link lost it.
    Loss,
    /// The queue of a link, uplink or downlink is full.
    Queue,
    /// It is larger than the link's MTU.
    Mtu,
    /// Its checksum is wrong.
    Checksum,
    /// A partition is in its way.
    Partition,
    /// A partition is in its way, and ICMP says so.
    Rejected,
    /// A segment was held for longer than one may live.
    Expired,
    /// Too many packets are held already.
    HeldFull,
    /// The test dropped it.
    ByHand,
    /// The host is off or frozen.
    HostDown,
}

/// What befalls a host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HostChange {
    /// The machine loses power.
    Crash,
    /// The process dies.
    Kill,
    /// A new incarnation begins.
    Start,
    /// The process stops.
    Pause,
    /// The process goes on.
    Resume,
    /// The machine stops.
    Freeze,
    /// The machine goes on.
    Thaw,
    /// A clock is set, or its rate.
    Clock,
    /// The process is sent a signal.
    Signal,
    /// The machine has power again, and no process: one that was killed for good stays away.
    PowerOn,
}

/// A record with its place in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The virtual time.
    pub time: Time,
    /// Its number in the run, from 1 on.
    pub step: u64,
    /// The index of the host that it happened on; [`Log`] knows the names.
    pub host: u32,
    /// What happened.
    pub record: Record,
}

impl PacketKind {
    const ALL: [Self; 10] = [
        Self::Syn,
        Self::SynAck,
        Self::Ack,
        Self::Data,
        Self::Fin,
        Self::Reset,
        Self::Datagram,
        Self::PortUnreachable,
        Self::HostUnreachable,
        Self::FragmentationNeeded,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Syn => "SYN",
            Self::SynAck => "SYN-ACK",
            Self::Ack => "ACK",
            Self::Data => "DATA",
            Self::Fin => "FIN",
            Self::Reset => "RST",
            Self::Datagram => "DGRAM",
            Self::PortUnreachable => "UNREACH",
            Self::HostUnreachable => "HOST-UNREACH",
            Self::FragmentationNeeded => "TOO-BIG",
        }
    }
}

impl DropReason {
    const ALL: [Self; 14] = [
        Self::NoHost,
        Self::Backlog,
        Self::ReceiveBuffer,
        Self::NoSocket,
        Self::Loss,
        Self::Queue,
        Self::Mtu,
        Self::Checksum,
        Self::Partition,
        Self::Rejected,
        Self::Expired,
        Self::HeldFull,
        Self::ByHand,
        Self::HostDown,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoHost => "no host has the address",
            Self::Backlog => "the backlog is full",
            Self::ReceiveBuffer => "the receive buffer is full",
            Self::NoSocket => "no socket takes it",
            Self::Loss => "the link lost it",
            Self::Queue => "the queue is full",
            Self::Mtu => "it is larger than the MTU",
            Self::Checksum => "its checksum is wrong",
            Self::Partition => "a partition is in its way",
            Self::Rejected => "a partition rejects it",
            Self::Expired => "it was held for longer than a segment lives",
            Self::HeldFull => "too many packets are held",
            Self::ByHand => "the test dropped it",
            Self::HostDown => "the host is down",
        }
    }
}

impl HostChange {
    const ALL: [Self; 10] = [
        Self::Crash,
        Self::Kill,
        Self::Start,
        Self::Pause,
        Self::Resume,
        Self::Freeze,
        Self::Thaw,
        Self::Clock,
        Self::Signal,
        Self::PowerOn,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Kill => "kill",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Clock => "clock",
            Self::Signal => "signal",
            Self::PowerOn => "power on",
        }
    }
}

/// The trace of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    /// The hash of all records but those of the ring's current lap.
    hash: RollingHash,
    steps: u64,
    /// At this step somebody looks up: at the end of a lap, or at every record if they are told.
    settle_at: u64,
    /// The last records, in a ring: number n, counted from 0, is at n mod [`TAIL`]. They enter the
    /// hash a lap at a time, so that recording is a few stores.
    tail: Box<[Packed; TAIL]>,
    log: Option<Box<Kept>>,
    /// How many records the log holds, at most: the first ones.
    log_max: usize,
    /// How many records come before those that the log holds.
    log_after: u64,
    /// Nothing is noted beside the records.
    is_bare: bool,
    /// The step that somebody waits for, who keeps a log; 0 if nobody does.
    stop: u64,
    pub(crate) hosts: Vec<Arc<str>>,
    /// The properties, by what stands for their names.
    names: Names,
}

/// Properties by what stands for their names in records: the name, and whether it must hold.
type Names = BTreeMap<u64, (&'static str, bool)>;

/// All records, with what is noted beside them.
#[derive(Debug, Default)]
struct Kept {
    records: Vec<Packed>,
    notes: Notes,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            hash: RollingHash::default(),
            steps: 0,
            settle_at: 1,
            tail: Box::new([Packed::BLANK; TAIL]),
            log: None,
            log_max: usize::MAX,
            log_after: 0,
            is_bare: false,
            stop: 0,
            hosts: Vec::new(),
            names: Names::new(),
        }
    }

    /// Makes it as new.
    pub(crate) fn renew(&mut self) {
        let Self {
            hash,
            steps,
            settle_at,
            // The next records take the places of these, and before that nobody looks there.
            tail: _,
            log,
            log_max,
            log_after,
            is_bare,
            stop,
            hosts,
            names,
        } = self;
        *hash = RollingHash::default();
        (*steps, *settle_at, *stop) = (0, 1, 0);
        *log = None;
        (*log_max, *log_after, *is_bare) = (usize::MAX, 0, false);
        clear(hosts);
        clear_map(names);
    }

    /// Keeps all records from now on.
    pub(crate) fn keep_log(&mut self) {
        self.log = Some(Box::default());
    }

    /// Keeps no more records in the log than this.
    pub(crate) fn bound_log(&mut self, records: usize) {
        self.log_max = records;
    }

    /// Keeps no records in the log before so many others; what they begin and end is noted.
    pub(crate) fn leave_out(&mut self, records: u64) {
        self.log_after = records;
    }

    /// Keeps records alone in the log: for who reads it without showing it.
    pub(crate) fn omit_notes(&mut self) {
        self.is_bare = true;
    }

    /// Keeps the log until this step, and says so when it is there.
    pub(crate) fn stop_at(&mut self, step: u64) {
        self.stop = step;
        self.bound_log(usize::try_from(step).unwrap_or(usize::MAX));
    }

    /// What `label` stands for.
    pub(crate) fn name(&mut self, property: &Property) {
        let (_, must) = self.names.entry(property.label()).or_insert((property.name, false));
        *must |= property.kind.is_demand();
    }

    /// Takes a record in. Inlined, so that of a record whose kind is known only the words are made.
    #[inline(always)]
    pub(crate) fn record(&mut self, time: Time, host: u32, record: Record) {
        self.keep(Packed::new(time, host, &record), 0);
    }

    /// Takes in a record about the packet that observers know by this number.
    #[inline(always)]
    pub(crate) fn record_packet(&mut self, time: Time, host: u32, record: Record, packet: u32) {
        self.keep(Packed::new(time, host, &record), packet);
    }

    /// Takes in what an engine did, as the words of its record. If it says true, the record is to be
    /// [settled](Self::settle): apart, so that the many which need it not call nothing.
    #[inline(always)]
    #[must_use]
    pub(crate) fn record_engine(&mut self, time: Time, host: u32, words: [u64; 3]) -> bool {
        self.put(Packed::of_engine(time, host, words))
    }

    #[inline(always)]
    fn keep(&mut self, packed: Packed, packet: u32) {
        if self.put(packed) {
            self.settle(packet);
        }
    }

    /// Puts a record into the ring; true if it must be settled.
    #[inline(always)]
    fn put(&mut self, packed: Packed) -> bool {
        packed.store(&mut self.tail[self.steps as usize % TAIL]);
        self.steps += 1;
        self.steps == self.settle_at
    }

    /// Hashes the ring if the last record has filled it, and tells of the record whoever wants to know:
    /// a log, and a subscriber of `tracing` that was there when the run or its lap of the ring began.
    #[inline(never)]
    pub(crate) fn settle(&mut self, packet: u32) {
        let place = (self.steps - 1) as usize % TAIL;
        if place == TAIL - 1 {
            self.end_lap();
        }
        let is_told =
            self.log.is_some() || tracing::enabled!(target: "sim_net", tracing::Level::TRACE);
        if is_told {
            self.tell(place, packet);
        }
        self.settle_at = self.steps + if is_told { 1 } else { (TAIL - 1 - place) as u64 };
        if self.settle_at == self.steps {
            self.settle_at += TAIL as u64;
        }
    }

    fn end_lap(&mut self) {
        self.hash.take_in(&self.tail[..]);
    }

    /// Passes the record at this place of the ring on to the log and to `tracing`.
    #[cold]
    fn tell(&mut self, place: usize, packet: u32) {
        let packed = self.tail[place];
        let entry = packed.unpack(self.steps);
        if let Some(Kept { records, notes }) = self.log.as_deref_mut()
            && records.len() < self.log_max
        {
            let is_kept = entry.step > self.log_after;
            if is_kept {
                records.push(packed);
            }
            if !self.is_bare {
                if is_kept {
                    notes.add(packet);
                }
                let after = When { time: entry.time, step: entry.step };
                notes.heed(entry.host, &entry.record, after);
            }
        }
        if self.steps == self.stop {
            stop_at::reached(entry.step, entry.time);
        }
        let host = self.hosts.get(entry.host as usize).map_or("?", |name| &**name);
        tracing::trace!(
            target: "sim_net",
            time = %entry.time,
            host,
            step = entry.step,
            "{}",
            Told { record: &entry.record, hosts: &self.hosts, names: &self.names, state: None }
        );
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hash = self.hash;
        hash.take_in(&self.tail[..self.steps as usize % TAIL]);
        hash.value()
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The last records.
    pub(crate) fn tail(&self) -> Log {
        let (newest, oldest) = self.tail.split_at(self.steps as usize % TAIL);
        let mut records = Vec::with_capacity(TAIL);
        if self.steps >= TAIL as u64 {
            records.extend_from_slice(oldest);
        }
        records.extend_from_slice(newest);
        let before = self.steps - records.len() as u64;
        let (hosts, names) = (self.hosts.clone(), self.names.clone());
        Log { before, records, hosts, names, notes: Notes::default() }
    }

    /// All records, if they were kept.
    pub(crate) fn log(&self) -> Option<Log> {
        let Kept { records, notes } = self.log.as_deref()?;
        let (hosts, names) = (self.hosts.clone(), self.names.clone());
        let (records, notes) = (records.clone(), notes.clone());
        let before = self.log_after.min(self.steps);
        Some(Log { before, records, hosts, names, notes })
    }

    // What a log has beside the records. Without one there is nothing to be done.

    /// True if a log is kept that has more than the records.
    pub(crate) fn takes_notes(&self) -> bool {
        self.log.is_some() && !self.is_bare
    }

    /// The notes, while there is room in the log.
    fn notes(&mut self) -> Option<&mut Notes> {
        let (is_bare, log_max) = (self.is_bare, self.log_max);
        let kept = self.log.as_deref_mut()?;
        (!is_bare && kept.records.len() < log_max).then_some(&mut kept.notes)
    }

    /// The notes, where records are kept.
    fn notes_of_records(&mut self) -> Option<&mut Notes> {
        if self.steps < self.log_after { None } else { self.notes() }
    }

    /// Notes what is in a packet that is sent, and about which other the network sends it.
    pub(crate) fn note_sent(&mut self, packet: u32, about: u32, data: &[u8]) {
        if let Some(notes) = self.notes_of_records() {
            notes.add_sent(packet, about, data);
        }
    }

    /// Notes what a protocol says of its state.
    pub(crate) fn note_state(&mut self, host: u32, connection: u32, text: &str) {
        let step = self.steps;
        if let Some(notes) = self.notes_of_records() {
            notes.add_state(step, host, connection, text);
        }
    }

    /// Notes that something is so from now on: `what`, about the hosts of its subject, or `hosts`.
    pub(crate) fn note_begin(
        &mut self,
        time: Time,
        subject: Subject,
        what: String,
        hosts: Option<Vec<u32>>,
    ) {
        let now = When { time, step: self.steps };
        if let Some(notes) = self.notes() {
            notes.begin(now, subject, what, hosts);
        }
    }

    /// Notes that something is so no more.
    pub(crate) fn note_end(&mut self, time: Time, is_over: impl Fn(Subject) -> bool) {
        let now = When { time, step: self.steps };
        if let Some(notes) = self.notes() {
            notes.end_where(now, is_over);
        }
    }
}

/// Records with the names of the hosts in them. Prints a line for each.
///
/// ```text
///   1.002000000s  server   #17  deliver client@1→server:7000#1 DATA seq 1 len 64
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Log {
    /// How many records there were before these.
    before: u64,
    records: Vec<Packed>,
    hosts: Vec<Arc<str>>,
    names: Names,
    notes: Notes,
}

impl Log {
    /// The records, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Entry> + ExactSizeIterator {
        let first = self.before + 1;
        self.records.iter().enumerate().map(move |(n, packed)| packed.unpack(first + n as u64))
    }

    /// How many records there were before these.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// The name of the host with this index.
    pub fn host(&self, index: u32) -> &str {
        self.hosts.get(index as usize).map_or("?", |name| name)
    }

    /// The names of all hosts, by index.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.hosts.iter().map(|name| &**name)
    }

    /// The name of a flow.
    pub fn flow(&self, flow: Flow) -> String {
        flow.name(&self.hosts).to_string()
    }

    /// True if this is the record of a property that must hold and did not. One that need only hold sometimes
    /// is as it should be either way.
    pub fn is_broken_property(&self, record: &Record) -> bool {
        let Record::Engine(EngineRecord::Property { name, holds: false }) = record else {
            return false;
        };
        self.names.get(name).is_some_and(|(_, must)| *must)
    }

    /// What an entry says, without time, host and step.
    pub fn text(&self, entry: &Entry) -> String {
        self.told(entry).to_string()
    }

    /// The line for an entry.
    pub fn line(&self, entry: &Entry) -> String {
        format!(
            "{:>14}  {:<8} #{:<5} {}",
            entry.time.to_string(),
            self.host(entry.host),
            entry.step,
            self.told(entry)
        )
    }

    fn told<'a>(&'a self, entry: &'a Entry) -> Told<'a> {
        let state = match entry.record {
            Record::Engine(EngineRecord::State { connection, .. }) => {
                self.notes.state_at(entry.step, entry.host, connection)
            }
            _ => None,
        };
        Told { record: &entry.record, hosts: &self.hosts, names: &self.names, state }
    }
}

/// What is known beside the records; of the last records alone, nothing.
impl Log {
    /// The number of the packet that an entry is about, counted from 1 in the order of sending. It
    /// joins what was sent to what became of it; a copy has the number of its original.
    pub fn packet(&self, entry: &Entry) -> Option<u32> {
        let place = entry.step.checked_sub(self.before + 1)?;
        self.notes.packet(usize::try_from(place).ok()?)
    }

    /// The data in a packet: its first 256 bytes.
    pub fn packet_data(&self, packet: u32) -> Option<&[u8]> {
        self.notes.data(packet)
    }

    /// The packet that an ICMP packet is about.
    pub fn packet_answered(&self, packet: u32) -> Option<u32> {
        self.notes.about(packet)
    }

    /// What protocols said of their state, each time that it had changed.
    pub fn states(&self) -> &[State] {
        self.notes.states()
    }

    /// What was so for a while, in the order of its beginning.
    pub fn episodes(&self) -> &[Episode] {
        self.notes.episodes()
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().try_for_each(|entry| writeln!(f, "{}", self.line(&entry)))
    }
}

/// A record in words.
struct Told<'a> {
    record: &'a Record,
    hosts: &'a [Arc<str>],
    names: &'a Names,
    /// What the protocol said that it is about, if that is known.
    state: Option<&'a str>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = |packet: &PacketRecord| {
            let flow = packet.flow.name(self.hosts);
            let (kind, bytes) = (packet.kind.name(), packet.bytes);
            match packet.kind {
                PacketKind::Datagram => format!("{flow} {kind} len {bytes}"),
                PacketKind::PortUnreachable
                | PacketKind::HostUnreachable
                | PacketKind::FragmentationNeeded => format!("{flow} {kind}"),
                _ => format!("{flow} {kind} seq {} len {bytes}", packet.offset),
            }
        };
        match self.record {
            Record::Engine(EngineRecord::Property { name, holds })
                if self.names.contains_key(name) =>
            {
                let not = if *holds { "" } else { "NOT " };
                write!(f, "property {:?}: {not}so", self.names[name].0)
            }
            Record::Engine(EngineRecord::State { connection, .. }) if self.state.is_some() => {
                write!(f, "#{connection} state: {}", self.state.unwrap_or_default())
            }
            Record::Engine(record) => record.fmt(f),
            Record::Turn => f.write_str("turn"),
            Record::Sent(sent) => write!(f, "send    {}", packet(sent)),
            Record::Delivered(delivered) => write!(f, "deliver {}", packet(delivered)),
            Record::Dropped(dropped, reason) => {
                write!(f, "drop    {}: {}", packet(dropped), reason.name())
            }
            Record::Duplicated(copied) => write!(f, "copy    {}", packet(copied)),
            Record::Corrupted(corrupted) => write!(f, "corrupt {}", packet(corrupted)),
            Record::HeldBack(held) => write!(f, "delay   {}: later ones go by", packet(held)),
            Record::Held(held) => write!(f, "hold    {}", packet(held)),
            Record::Released(released) => write!(f, "release {}", packet(released)),
            Record::Refused(refused) => write!(f, "refuse  {}", packet(refused)),
            Record::Host(change) => f.write_str(change.name()),
            Record::Draw { site, value } => write!(f, "draw    {} = {value:#018x}", site.name()),
        }
    }
}

#[cfg(test)]
mod tests;
