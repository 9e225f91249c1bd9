//! Single choices that a plan makes otherwise, and streams of them that it leaves to the seed.

use std::fmt;
use std::time::Duration;

use sim_core::Time;

use super::event::{EventId, FlowName, entity};
use super::quantity::{duration, moment, nanos, parse_duration};
use super::reader::{Read, Reader, name};

/// A kind of choice that a plan can make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum FaultSite {
    /// A packet is lost.
    Loss,
    /// A copy of a packet follows; the value is 1 and its delay in nanoseconds.
    Duplicate,
    /// A packet takes longer; the value is in nanoseconds.
    Delay,
    /// A packet is corrupted; the link says what the value means.
    Corrupt,
    /// A packet is held back until so many later ones of its flow went by.
    Reorder,
    /// Bytes from here on become readable in a later turn.
    Boundary,
    /// A write that reaches here takes so many bytes from here on.
    ShortWrite,
    /// Bytes before and after here become readable at once, those from a later write or the end of
    /// the stream too. The value is 1, or 1 and for how many nanoseconds the news of those before is
    /// held back.
    Coalesce,
    /// The reader's window is closed here; the value is in nanoseconds.
    Stall,
    /// The connection is reset here; the value says at which ends.
    Reset,
    /// The stream ends for its reader when so much of it is sent, whatever else its writer has: the process of the
    /// writer is killed, or the stream alone is ended on its way. The value says which.
    Fin,
    /// The end of the stream is sent later; the value is in nanoseconds.
    DelayFin,
    /// A socket is reported ready and is not.
    Spurious,
    /// An accept fails: with `EMFILE` (1), `ENFILE` (2) or `ENOBUFS` (3).
    Emfile,
    /// A connection is reset right after it is accepted.
    AcceptReset,
    /// A connect fails at once: with `ENOBUFS` (1), `EADDRNOTAVAIL` (2) or `EMFILE` (3).
    Connect,
    /// A crash takes so many of the writes to a file that were not synced, from the end on.
    StoreLost,
    /// Of the first of these, so many bytes are left.
    StoreTorn,
    /// An answer of the name servers takes longer; the value is in nanoseconds.
    NameDelay,
    /// A job of `run_in_executor` takes longer; the value is in nanoseconds.
    JobDelay,
    /// A question to the name servers fails for the time being.
    NameFailure,
    /// The name servers say that there is no such name.
    NameUnknown,
    /// The name servers know the name, and no address for it.
    NameEmpty,
    /// The name servers say nothing.
    NameSilence,
    /// Starting a child process fails: with `EAGAIN` (1), `ENOMEM` (2) or `EMFILE` (3).
    Spawn,
    /// A child process is killed as soon as it has started.
    EarlyDeath,
    /// A task that was declared cancellable is cancelled: where it begins to wait (`a@1/task:worker#1 nr 3`), or
    /// when it was woken from there and has not gone on (`a@1/woken:worker#1 nr 3`).
    Cancel,
}

/// The value of [`FaultSite::Reset`]: the sender of the flow is reset.
pub const RESET_SENDER: u64 = 1;
/// The value of [`FaultSite::Reset`]: the receiver of the flow is reset.
pub const RESET_RECEIVER: u64 = 2;
/// The value of [`FaultSite::Reset`]: both ends are reset.
pub const RESET_BOTH: u64 = RESET_SENDER | RESET_RECEIVER;

/// The value of [`FaultSite::Fin`]: the process of the sender is killed.
pub const FIN_KILL: u64 = 1;
/// The value of [`FaultSite::Fin`]: the stream ends for the receiver of the flow, and nobody is killed. A sender that
/// writes on is told that the pipe is broken; the other direction goes on.
pub const FIN_RECEIVER: u64 = 2;

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// 1 is written as nothing.
    Flag,
    /// `+37ms`.
    Nanos,
    /// 1 is written as nothing, and 1 + n as a time of n nanoseconds.
    OneAndNanos,
    /// `to sender`, `to receiver`, `to both`.
    Ends,
    /// [`FIN_KILL`] is written as nothing, [`FIN_RECEIVER`] as `to receiver`.
    Fin,
    /// `= 17`, as everything that has no other form.
    Number,
}

const ENDS: [(&str, u64); 3] =
    [("sender", RESET_SENDER), (RECEIVER, RESET_RECEIVER), ("both", RESET_BOTH)];
const RECEIVER: &str = "receiver";

impl FaultSite {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Loss,
        Self::Duplicate,
        Self::Delay,
        Self::Corrupt,
        Self::Reorder,
        Self::Boundary,
        Self::ShortWrite,
        Self::Coalesce,
        Self::Stall,
        Self::Reset,
        Self::Fin,
        Self::DelayFin,
        Self::Spurious,
        Self::Emfile,
        Self::AcceptReset,
        Self::Connect,
        Self::StoreLost,
        Self::StoreTorn,
        Self::NameDelay,
        Self::JobDelay,
        Self::NameFailure,
        Self::NameUnknown,
        Self::NameEmpty,
        Self::NameSilence,
        Self::Spawn,
        Self::EarlyDeath,
        Self::Cancel,
    ];

    /// The stable name of the site, as traces and draws write it.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The word that plans write.
    pub const fn word(self) -> &'static str {
        self.row().1
    }

    const fn unit(self) -> Unit {
        self.row().2
    }

    const fn row(self) -> (&'static str, &'static str, Unit) {
        match self {
            Self::Loss => ("packet.loss", "drop", Unit::Flag),
            Self::Duplicate => ("packet.duplicate", "duplicate", Unit::OneAndNanos),
            Self::Delay => ("packet.delay", "delay", Unit::Nanos),
            Self::Corrupt => ("packet.corrupt", "corrupt", Unit::Number),
            Self::Reorder => ("packet.reorder", "reorder", Unit::Number),
            Self::Boundary => ("stream.boundary", "boundary", Unit::Flag),
            Self::ShortWrite => ("stream.short-write", "short-write", Unit::Number),
            Self::Coalesce => ("stream.coalesce", "coalesce", Unit::OneAndNanos),
            Self::Stall => ("stream.stall", "stall", Unit::Nanos),
            Self::Reset => ("stream.rst", "rst", Unit::Ends),
            Self::Fin => ("stream.fin", "fin", Unit::Fin),
            Self::DelayFin => ("stream.delay-fin", "delay-fin", Unit::Nanos),
            Self::Spurious => ("socket.spurious", "spurious", Unit::Flag),
            Self::Emfile => ("socket.emfile", "emfile", Unit::Flag),
            Self::AcceptReset => ("socket.accept-reset", "accept-reset", Unit::Flag),
            Self::Connect => ("socket.connect", "connect", Unit::Flag),
            Self::StoreLost => ("store.lost", "lose", Unit::Number),
            Self::StoreTorn => ("store.torn", "tear", Unit::Number),
            Self::NameDelay => ("dns.delay", "dns-delay", Unit::Nanos),
            Self::JobDelay => ("executor.delay", "job-delay", Unit::Nanos),
            Self::NameFailure => ("dns.again", "dns-again", Unit::Flag),
            Self::NameUnknown => ("dns.nxdomain", "dns-nxdomain", Unit::Flag),
            Self::NameEmpty => ("dns.empty", "dns-empty", Unit::Flag),
            Self::NameSilence => ("dns.silent", "dns-silent", Unit::Flag),
            Self::Spawn => ("process.spawn", "spawn", Unit::Flag),
            Self::EarlyDeath => ("process.early-death", "early-death", Unit::Flag),
            Self::Cancel => ("task.cancel", "cancel", Unit::Flag),
        }
    }

    pub(super) fn with_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|site| site.word() == word)
    }
}

/// A choice that a plan makes: at this event, this site has this value and not 0.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Deviation {
    /// What kind of choice.
    pub site: FaultSite,
    /// About which event.
    pub event: EventId,
    /// What is chosen; 0 is what happens anyway.
    pub value: u64,
    /// Where the packet was, for a run in which no packet is the one that is meant.
    pub near: Option<Near>,
}

/// Where a packet was in its flow when a plan was written: `near 17 len 1448`. A run in which no
/// packet is the one that is meant takes one like it, if there is one near there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Near {
    /// Its number among those of its flow and class, 0 for the first.
    pub ordinal: u64,
    /// How many bytes of data it had.
    pub length: u32,
}

impl Deviation {
    /// A choice about this event and no other.
    pub fn new(site: FaultSite, event: EventId, value: u64) -> Self {
        Self { site, event, value, near: None }
    }

    /// Reads one, from behind the word on.
    pub(super) fn read(reader: &mut Reader<'_>, site: FaultSite) -> Read<Self> {
        let event = if reader.here("@") {
            let offset = reader.number("an offset in the stream")?;
            EventId::Stream { flow: FlowName::read(reader)?, offset }
        } else {
            EventId::read(reader, Some(site.name()))?
        };
        let value = Self::read_value(reader, site)?;
        let near = reader.keyword(NEAR).then(|| Near::read(reader)).transpose()?;
        Ok(Self { site, event, value, near })
    }

    fn read_value(reader: &mut Reader<'_>, site: FaultSite) -> Read<u64> {
        if reader.next("=") {
            return reader.number("a number");
        }
        let ahead = *reader;
        match site.unit() {
            Unit::Flag => Ok(1),
            Unit::Number => Err(ahead.expected("= and a number")),
            Unit::OneAndNanos if !reader.next("+") => Ok(1),
            Unit::Fin if !reader.keyword("to") => Ok(FIN_KILL),
            Unit::Fin => {
                let ahead = *reader;
                let is_known = reader.word() == RECEIVER;
                is_known.then_some(FIN_RECEIVER).ok_or_else(|| ahead.expected(RECEIVER))
            }
            Unit::Ends => {
                let end = reader.keyword("to").then(|| reader.word());
                let end = ENDS.iter().find(|(word, _)| end == Some(word));
                let value = end.map(|&(_, value)| value);
                value.ok_or_else(|| ahead.expected("to sender, to receiver or to both"))
            }
            unit => {
                if unit == Unit::Nanos && !reader.next("+") {
                    return Err(ahead.expected("+ and a time, such as +37ms"));
                }
                let extra = u64::from(unit == Unit::OneAndNanos);
                let start = *reader;
                let time = reader.parsed(parse_duration)?;
                let value = u64::try_from(time.as_nanos()).ok();
                let value = value.and_then(|value| value.checked_add(extra));
                value.ok_or_else(|| start.expected("a time of at most 584 years"))
            }
        }
    }

    /// How long what it chooses takes, if it is a time.
    pub fn delay(&self) -> Option<Duration> {
        match self.site.unit() {
            Unit::Nanos => Some(Duration::from_nanos(self.value)),
            Unit::OneAndNanos => self.value.checked_sub(1).map(Duration::from_nanos),
            _ => None,
        }
    }
}

/// The word before where a packet was.
const NEAR: &str = "near";

impl Near {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let ordinal = reader.number("the number of a packet, 0 for the first")?;
        if !reader.keyword("len") {
            return Err(reader.expected("len and how many bytes of data it has"));
        }
        Ok(Self { ordinal, length: reader.small_number("how many bytes of data it has")? })
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, event, value, near } = self;
        let word = site.word();
        match event {
            EventId::Stream { flow, offset } => write!(f, "{word}@{offset} {flow}")?,
            EventId::Draw { site: of, entity: about, ordinal } if of == site.name() => {
                write!(f, "{word} {} nr {ordinal}", entity(about))?;
            }
            event => write!(f, "{word} {event}")?,
        }
        let end = ENDS.iter().find(|(_, end)| end == value);
        match (site.unit(), value, end) {
            (Unit::Flag | Unit::OneAndNanos, 1, _) => Ok(()),
            (Unit::Nanos, &value, _) => write!(f, " +{}", nanos(u128::from(value))),
            (Unit::Ends, _, Some((word, _))) => write!(f, " to {word}"),
            (Unit::Fin, &FIN_KILL, _) => Ok(()),
            (Unit::Fin, &FIN_RECEIVER, _) => write!(f, " to {RECEIVER}"),
            _ => match self.delay() {
                Some(delay) => write!(f, " +{}", duration(delay)),
                None => write!(f, " = {value}"),
            },
        }?;
        match near {
            Some(Near { ordinal, length }) => write!(f, " {NEAR} {ordinal} len {length}"),
            None => Ok(()),
        }
    }
}

/// What differs between two runs of a sound network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Stream {
    /// How long packets travel.
    Jitter,
    /// Which of two hosts that are ready at the same instant runs first.
    Ties,
}

/// Whose choices.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Those about a flow's packets.
    Flow(FlowName),
    /// Those about packets from one host to another.
    Link {
        /// The host that sends.
        from: String,
        /// The host that receives.
        to: String,
    },
    /// Those between two hosts, in both directions.
    Pair(String, String),
}

/// Choices of the environment that are left to the seed: without it, they are all 0.
///
/// `jitter client@1→server:7000#2`, `jitter a->b`, `ties a b`, `ties a b from 1.2s`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Environment {
    /// Which choices.
    pub stream: Stream,
    /// Whose.
    pub scope: Scope,
    /// From when on.
    pub from: Time,
}

impl Stream {
    pub(super) const ALL: [Self; 2] = [Self::Jitter, Self::Ties];

    /// The word that plans write.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Jitter => "jitter",
            Self::Ties => "ties",
        }
    }
}

impl Environment {
    /// All such choices of a run.
    pub fn new(stream: Stream, scope: Scope) -> Self {
        Self { stream, scope, from: Time::ZERO }
    }

    /// Reads one, from behind the word on.
    pub(super) fn read(reader: &mut Reader<'_>, stream: Stream) -> Read<Self> {
        let start = *reader;
        let first = reader.name()?;
        let scope = if reader.here("@") {
            *reader = start;
            Scope::Flow(FlowName::read(reader)?)
        } else if reader.next("->") || reader.next("→") {
            Scope::Link { from: first, to: reader.name()? }
        } else if reader.next("<-") || reader.next("←") {
            Scope::Link { from: reader.name()?, to: first }
        } else {
            Scope::Pair(first, reader.name()?)
        };
        let from = match reader.keyword("from") {
            true => Time::ZERO + reader.duration()?,
            false => Time::ZERO,
        };
        Ok(Self { stream, scope, from })
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.stream.word();
        match &self.scope {
            Scope::Flow(flow) => write!(f, "{word} {flow}"),
            Scope::Link { from, to } => write!(f, "{word} {}->{}", name(from), name(to)),
            Scope::Pair(a, b) => write!(f, "{word} {} {}", name(a), name(b)),
        }?;
        if self.from > Time::ZERO {
            write!(f, " from {}", moment(self.from))?;
        }
        Ok(())
    }
}
