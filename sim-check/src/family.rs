//! The families of faults.

use std::fmt;

use sim_net::Chance;
use sim_net::plan::FaultSite;

/// A family of faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Family {
    /// Packets are lost.
    Drop,
    /// Packets arrive twice.
    Duplicate,
    /// Packets are corrupted.
    Corrupt,
    /// Packets are held back for later ones.
    Reorder,
    /// Each packet takes as much longer as it likes: schedules.
    Delay,
    /// Hosts are cut off from the others.
    Cut,
    /// Hosts crash and start again.
    Crash,
    /// Processes stand still for a while.
    Pause,
    /// Reads end anywhere.
    Boundary,
    /// Writes take a part.
    ShortWrite,
    /// News of data come late, so that it is read together with what comes after it.
    Coalesce,
    /// Readers hear nothing for a while.
    Stall,
    /// Ends of streams come late.
    DelayFin,
    /// Readiness is told for nothing.
    Spurious,
    /// Connections are reset.
    Reset,
    /// Connections are reset as soon as they are accepted.
    AcceptReset,
    /// Accepting fails.
    AcceptError,
    /// Connecting fails at once.
    ConnectError,
    /// Starting a child process fails.
    SpawnError,
    /// Child processes are killed as soon as they have started.
    EarlyDeath,
    /// Tasks that were declared [`cancellable`](sim_core::Task::cancellable) are cancelled where they wait.
    Cancel,
    /// Packets take one, two, three or four times the least: so many arrive at one instant, and which host goes first is
    /// drawn. Schedules, too. It is no fault, and none of a calm run to be looked for.
    Ties,
    /// Streams end for their readers before their writers end them: what is read is a part, and no error says so.
    EarlyEnd,
    /// Machines stand still for a while, with their kernels.
    Freeze,
    /// Each callback on a host costs time for a while.
    Slow,
    /// Lookups of a host fail for a while, find nothing, or are not answered.
    Names,
    /// Clocks are off, run fast or slow, and are set.
    Clock,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Drop,
        Self::Duplicate,
        Self::Corrupt,
        Self::Reorder,
        Self::Delay,
        Self::Cut,
        Self::Crash,
        Self::Pause,
        Self::Boundary,
        Self::ShortWrite,
        Self::Coalesce,
        Self::Stall,
        Self::DelayFin,
        Self::Spurious,
        Self::Reset,
        Self::AcceptReset,
        Self::AcceptError,
        Self::ConnectError,
        Self::SpawnError,
        Self::EarlyDeath,
        Self::Cancel,
        Self::Ties,
        Self::EarlyEnd,
        Self::Freeze,
        Self::Slow,
        Self::Names,
        Self::Clock,
    ];

    /// Its name, as [`FaultMix::streams`](sim_core::FaultMix::streams) and plans have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
            Self::Reorder => "reorder",
            Self::Delay => "delay",
            Self::Cut => "cut",
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::Boundary => "boundary",
            Self::ShortWrite => "short-write",
            Self::Coalesce => "coalesce",
            Self::Stall => "stall",
            Self::DelayFin => "delay-fin",
            Self::Spurious => "spurious",
            Self::Reset => "rst",
            Self::AcceptReset => "accept-reset",
            Self::AcceptError => "emfile",
            Self::ConnectError => "connect",
            Self::SpawnError => "spawn",
            Self::EarlyDeath => "early-death",
            Self::Cancel => "cancel",
            Self::Ties => "ties",
            Self::EarlyEnd => "fin",
            Self::Freeze => "freeze",
            Self::Slow => "slow",
            Self::Names => "dns",
            Self::Clock => "clock",
        }
    }

    pub(crate) fn with_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// True if what it does has a time, from a calm run or before a bound.
    pub(crate) fn has_time(self) -> bool {
        let timed = [
            Self::Cut,
            Self::Crash,
            Self::Pause,
            Self::Freeze,
            Self::Slow,
            Self::Names,
            Self::Clock,
        ];
        timed.contains(&self)
    }

    /// The names under which reports count how often it bit; none of what is no fault but another schedule.
    pub(crate) fn counters(self) -> Vec<&'static str> {
        let site = match self {
            Self::Delay | Self::Ties => return Vec::new(),
            Self::Cut => return vec!["partition.drop"],
            Self::Crash => return vec!["host.crash"],
            Self::Pause => return vec!["host.pause"],
            Self::Freeze => return vec!["host.freeze"],
            Self::Slow => return vec!["host.slow"],
            Self::Clock => return vec!["host.clock"],
            Self::Names => return Self::LOOKUPS.map(FaultSite::name).to_vec(),
            Self::Drop => FaultSite::Loss,
            Self::Duplicate => FaultSite::Duplicate,
            Self::Corrupt => FaultSite::Corrupt,
            Self::Reorder => FaultSite::Reorder,
            Self::Boundary => FaultSite::Boundary,
            Self::ShortWrite => FaultSite::ShortWrite,
            Self::Coalesce => FaultSite::Coalesce,
            Self::Stall => FaultSite::Stall,
            Self::DelayFin => FaultSite::DelayFin,
            Self::Spurious => FaultSite::Spurious,
            Self::Reset => FaultSite::Reset,
            Self::AcceptReset => FaultSite::AcceptReset,
            Self::AcceptError => FaultSite::Emfile,
            Self::ConnectError => FaultSite::Connect,
            Self::SpawnError => FaultSite::Spawn,
            Self::EarlyDeath => FaultSite::EarlyDeath,
            Self::Cancel => FaultSite::Cancel,
            Self::EarlyEnd => FaultSite::Fin,
        };
        vec![site.name()]
    }

    /// What may befall a lookup.
    pub(crate) const LOOKUPS: [FaultSite; 4] = [
        FaultSite::NameFailure,
        FaultSite::NameUnknown,
        FaultSite::NameEmpty,
        FaultSite::NameSilence,
    ];

    /// The chance that links have of it, if it is one.
    pub(crate) fn chance(self) -> Option<Chance> {
        match self {
            Self::Drop => Some(Chance::Loss),
            Self::Duplicate => Some(Chance::Duplicate),
            Self::Corrupt => Some(Chance::Corrupt),
            Self::Reorder => Some(Chance::Reorder),
            _ => None,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
