//! Faults with a time: intervals with their end inside, and moments.

use std::fmt;
use std::time::Duration;

use sim_core::{Signal, Time};

use super::event::EventId;
use super::quantity::{duration, moment, rate, shift};
use super::reader::{name, text};
use crate::names::NameFault;

/// A fault that happens at a time.
///
/// What it does ends with its interval, and at the latest when the run's faults end: then links are
/// at their base again, hosts are up, and clocks that were stepped are back. Only what is permanent stays.
///
/// Faults may overlap, with each other and with what a test does by hand, and each ends by itself: a host is off,
/// frozen or paused until the last fault that has it so has ended. Of several that say what a link, a lookup
/// or a callback is like, the one that began last holds.
///
/// Of what befalls one host at one time, signals come first, then kills, then what stops it, in whatever order a plan
/// names them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fault {
    /// When it begins.
    pub start: Start,
    /// What happens.
    pub action: Action,
    /// True if it outlives the faults of the run.
    pub is_permanent: bool,
}

/// When a fault begins.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Start {
    /// At a time.
    At(Time),
    /// So long after an event.
    After(Anchor),
    /// At a time that was so long after an event: a replay may go by either.
    Both(Time, Anchor),
}

/// An event that something is to follow: `after client@1→server:7000#2 data 1449 on server +10ms`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Anchor {
    /// The event.
    pub event: EventId,
    /// The host that it happens on: a packet is sent on one and arrives on another.
    pub host: String,
    /// How long after it.
    pub delay: Duration,
}

/// What a fault does.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Something is so for a while.
    Interval {
        /// What is so.
        condition: Condition,
        /// For how long; without it, until the faults of the run end, or for ever if it is permanent.
        length: Option<Duration>,
    },
    /// Something happens at once.
    Moment(Incident),
}

/// What is so during an interval.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Condition {
    /// Packets do not get through.
    Cut(Cut),
    /// A machine is off, and boots at the end of it. It is frozen again if a freeze is in force then, and has no
    /// process if that was killed for good.
    Crash {
        /// The host.
        host: String,
        /// True if it comes back with other addresses.
        changes_address: bool,
    },
    /// A process stands still; its kernel goes on. It ends with the process, and does nothing where there is none.
    Pause {
        /// The host.
        host: String,
    },
    /// A whole machine stands still, whatever process it has. One that is off is frozen from its start on.
    Freeze {
        /// The host.
        host: String,
    },
    /// Each callback on a host costs time, whatever process it has.
    Slow {
        /// The host.
        host: String,
        /// How much.
        cost: Duration,
    },
    /// A host's lookups of names go wrong.
    Names {
        /// The host.
        host: String,
        /// How.
        fault: NameFault,
    },
    /// A link is another.
    Link {
        /// The host that sends.
        from: String,
        /// The host that receives.
        to: String,
        /// True for the way back, too.
        is_mutual: bool,
        /// What the link is.
        link: LinkText,
    },
}

/// What happens at a moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Incident {
    /// A process is killed; its kernel closes its sockets. It is started by hand, at the end of a crash of its host
    /// or of all faults; by hand alone if the kill is permanent. A permanent one holds for the host: it needs no
    /// process that it could end.
    Kill {
        /// The host.
        host: String,
    },
    /// A process is sent a signal.
    Signal {
        /// The host.
        host: String,
        /// The signal, one that has a name.
        signal: Signal,
    },
    /// A host's wall clock is set forward or back.
    ClockStep {
        /// The host.
        host: String,
        /// By how much, in nanoseconds.
        step_nanos: i64,
    },
}

impl Incident {
    /// The host that it happens to.
    pub fn host(&self) -> &str {
        match self {
            Self::Kill { host } | Self::Signal { host, .. } | Self::ClockStep { host, .. } => host,
        }
    }
}

/// Which packets do not get through, and what becomes of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cut {
    /// Between whom.
    pub sides: Sides,
    /// What becomes of the packets.
    pub mode: CutMode,
    /// The only port that is concerned, if it is not all of them.
    pub port: Option<u16>,
}

/// Between whom a cut is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Sides {
    /// Between hosts and hosts, in both directions.
    Between(Vec<String>, Vec<String>),
    /// From hosts to hosts, and not back.
    OneWay(Vec<String>, Vec<String>),
    /// Between hosts and all others, in both directions.
    Isolate(Vec<String>),
}

/// What becomes of a packet that a cut is in the way of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Debug)]
pub enum CutMode {
    /// It is dropped.
    #[default]
    Drop,
    /// It waits for the end of the cut.
    Hold,
    /// It is dropped, and its sender hears of it.
    Reject,
}

/// A link in its own text form, such as `loss=20%,latency=20ms..80ms`. What it means is judged
/// when it is applied.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinkText(pub String);

/// How a host's clocks differ from the world's for the whole run: `clock n2 offset +3ms drift +40ppm`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Clock {
    /// The host.
    pub host: String,
    /// How far its wall clock is ahead at the start, in nanoseconds.
    pub offset_nanos: i64,
    /// How much faster its clocks run, in parts per billion.
    pub drift_ppb: i64,
    /// True if it outlives the faults of the run.
    pub is_permanent: bool,
}

impl Fault {
    /// Something that is so from `start` on, for `length`.
    pub fn interval(start: Start, condition: Condition, length: Duration) -> Self {
        let action = Action::Interval { condition, length: Some(length) };
        Self { start, action, is_permanent: false }
    }

    /// Something that happens at `start`.
    pub fn moment(start: Start, incident: Incident) -> Self {
        Self { start, action: Action::Moment(incident), is_permanent: false }
    }

    /// The hosts that it names.
    pub fn hosts(&self) -> Vec<&str> {
        let mut hosts: Vec<&str> = match &self.action {
            Action::Interval { condition, .. } => condition.hosts(),
            Action::Moment(incident) => vec![incident.host()],
        };
        if let Some(anchor) = self.start.anchor() {
            hosts.push(&anchor.host);
        }
        hosts
    }

    /// How long it lasts: no time for a moment, and `None` for what has no end of its own.
    pub fn length(&self) -> Option<Duration> {
        match &self.action {
            Action::Interval { length, .. } => *length,
            Action::Moment(_) => Some(Duration::ZERO),
        }
    }
}

impl Start {
    /// The time, if there is one.
    pub fn time(&self) -> Option<Time> {
        match self {
            Self::At(time) | Self::Both(time, _) => Some(*time),
            Self::After(_) => None,
        }
    }

    /// The anchor, if there is one.
    pub fn anchor(&self) -> Option<&Anchor> {
        match self {
            Self::After(anchor) | Self::Both(_, anchor) => Some(anchor),
            Self::At(_) => None,
        }
    }
}

impl Condition {
    fn hosts(&self) -> Vec<&str> {
        match self {
            Self::Cut(cut) => {
                let (one, other) = cut.sides.groups();
                one.iter().chain(other).map(String::as_str).collect()
            }
            Self::Crash { host, .. }
            | Self::Pause { host }
            | Self::Freeze { host }
            | Self::Slow { host, .. }
            | Self::Names { host, .. } => vec![host],
            Self::Link { from, to, .. } => vec![from, to],
        }
    }

    /// The word that plans write.
    const fn word(&self) -> &'static str {
        match self {
            Self::Cut(Cut { sides: Sides::Isolate(_), .. }) => "isolate",
            Self::Cut(_) => "cut",
            Self::Crash { .. } => "crash",
            Self::Pause { .. } => "pause",
            Self::Freeze { .. } => "freeze",
            Self::Slow { .. } => "slow",
            Self::Names { .. } => "dns",
            Self::Link { .. } => "link",
        }
    }
}

impl Cut {
    /// A cut that drops what it is in the way of.
    pub fn new(sides: Sides) -> Self {
        Self { sides, mode: CutMode::Drop, port: None }
    }

    /// Sets what becomes of the packets.
    #[must_use]
    pub fn mode(mut self, mode: CutMode) -> Self {
        self.mode = mode;
        self
    }

    /// Concerns one port alone.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

impl Sides {
    /// The hosts on either side that are named.
    pub fn groups(&self) -> (&[String], &[String]) {
        match self {
            Self::Between(one, other) | Self::OneWay(one, other) => (one, other),
            Self::Isolate(one) => (one, &[]),
        }
    }
}

impl CutMode {
    pub(super) const ALL: [Self; 3] = [Self::Drop, Self::Hold, Self::Reject];

    /// The word that plans write.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Hold => "hold",
            Self::Reject => "reject",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Interval { condition, length } => {
                write!(f, "{} {}", condition.word(), Target(condition))?;
                // A crash is said to last, the others to be from and to.
                let lasts = matches!(condition, Condition::Crash { .. });
                span(f, self.start.time(), *length, lasts)?;
                options(f, condition)?;
            }
            Action::Moment(incident) => {
                let word = match incident {
                    Incident::Kill { .. } => "kill",
                    Incident::Signal { .. } => "signal",
                    Incident::ClockStep { .. } => "clock",
                };
                write!(f, "{word} {}", name(incident.host()))?;
                if let Incident::Signal { signal, .. } = incident {
                    write!(f, " {signal}")?;
                }
                if let Some(time) = self.start.time() {
                    write!(f, " at {}", moment(time))?;
                }
                if let Incident::ClockStep { step_nanos, .. } = incident {
                    write!(f, " step {}", shift(*step_nanos))?;
                }
            }
        }
        if let Some(anchor) = self.start.anchor() {
            write!(f, " {anchor}")?;
        }
        permanent(f, self.is_permanent)
    }
}

/// Whom a condition concerns.
struct Target<'a>(&'a Condition);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Condition::Cut(cut) => match &cut.sides {
                Sides::Between(a, b) => match (&**a, &**b) {
                    ([a], [b]) => write!(f, "{} {}", name(a), name(b)),
                    (a, b) => write!(f, "{} | {}", list(a), list(b)),
                },
                Sides::OneWay(a, b) => match (&**a, &**b) {
                    ([a], [b]) => write!(f, "{}->{}", name(a), name(b)),
                    (a, b) => write!(f, "{} -> {}", list(a), list(b)),
                },
                Sides::Isolate(hosts) => list(hosts).fmt(f),
            },
            Condition::Crash { host, .. }
            | Condition::Pause { host }
            | Condition::Freeze { host }
            | Condition::Slow { host, .. }
            | Condition::Names { host, .. } => name(host).fmt(f),
            Condition::Link { from, to, is_mutual, .. } => {
                let arrow = if *is_mutual { "<->" } else { "->" };
                write!(f, "{}{arrow}{}", name(from), name(to))
            }
        }
    }
}

fn list(hosts: &[String]) -> impl fmt::Display {
    fmt::from_fn(|f| {
        hosts.iter().enumerate().try_for_each(|(number, host)| {
            let comma = if number > 0 { "," } else { "" };
            write!(f, "{comma}{}", name(host))
        })
    })
}

fn span(
    f: &mut fmt::Formatter<'_>,
    start: Option<Time>,
    length: Option<Duration>,
    lasts: bool,
) -> fmt::Result {
    let Some(start) = start else {
        return length.map_or(Ok(()), |length| write!(f, " for {}", duration(length)));
    };
    write!(f, " {}", moment(start))?;
    match length {
        None if lasts => Ok(()),
        None => f.write_str(".."),
        // A sum that saturates does not tell the length.
        Some(length) if !lasts && start + length - start == length => {
            write!(f, "..{}", moment(start + length))
        }
        Some(length) => write!(f, " for {}", duration(length)),
    }
}

fn options(f: &mut fmt::Formatter<'_>, condition: &Condition) -> fmt::Result {
    match condition {
        Condition::Cut(cut) => {
            if cut.mode != CutMode::Drop {
                write!(f, " {}", cut.mode.word())?;
            }
            cut.port.map_or(Ok(()), |port| write!(f, " port {port}"))
        }
        Condition::Crash { changes_address: true, .. } => f.write_str(" new-address"),
        Condition::Slow { cost, .. } => write!(f, " by {}", duration(*cost)),
        Condition::Names { fault, .. } if *fault != NameFault::default() => {
            write!(f, " {}", fault.word())
        }
        Condition::Link { link, .. } => write!(f, " {link}"),
        _ => Ok(()),
    }
}

fn permanent(f: &mut fmt::Formatter<'_>, is_permanent: bool) -> fmt::Result {
    f.write_str(if is_permanent { " permanent" } else { "" })
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} on {}", self.event, name(&self.host))?;
        if self.delay != Duration::ZERO {
            write!(f, " +{}", duration(self.delay))?;
        }
        Ok(())
    }
}

impl fmt::Display for LinkText {
    /// In quotes unless it is a word that can be told for a link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text(&self.0, Self::is_told_by(&self.0)).fmt(f)
    }
}

impl LinkText {
    /// True if a word of a line can be nothing else: it begins as a name does, and has a `=`.
    pub(super) fn is_told_by(word: &str) -> bool {
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.contains('=')
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clock {}", name(&self.host))?;
        if self.offset_nanos != 0 || self.drift_ppb == 0 {
            write!(f, " offset {}", shift(self.offset_nanos))?;
        }
        if self.drift_ppb != 0 {
            write!(f, " drift {}", rate(self.drift_ppb))?;
        }
        permanent(f, self.is_permanent)
    }
}
