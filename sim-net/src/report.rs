//! What a run ended with.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use sim_core::{RunError, Time};

use crate::capture::Capture;
use crate::leftovers::HostLeftovers;
use crate::plan::Plan;
use crate::plane::binding::Bindings;
use crate::plane::census::Census;
use crate::properties::{Claim, PropertyCount, PropertyId};
use crate::trace::Log;

/// The limit that stands for the place where a run is stopped.
pub(crate) const STOP_AT: &str = "stop_at";

/// What a run of a scenario ended with.
#[derive(Debug)]
pub struct Report<T> {
    /// The scenario's value, or what was found.
    pub outcome: Result<T, Finding>,
    /// The virtual time at the end.
    pub time: Time,
    /// How many records the trace had.
    pub events: u64,
    /// The rolling hash over all records: equal for equal runs.
    pub hash: u64,
    /// The last records.
    pub tail: Log,
    /// All records, if [`Sim::trace`](crate::Sim::trace) asked for them.
    pub log: Option<Log>,
    /// What is still there of timers, tasks, transports and buffers, by hosts, if
    /// [`Sim::leftovers`](crate::Sim::leftovers) asked for it.
    pub leftovers: Vec<HostLeftovers>,
    /// How often each fault bit, by its name; 0 for one that could have and did not.
    ///
    /// | name | what |
    /// | --- | --- |
    /// | `packet.loss`, `packet.duplicate`, `packet.corrupt`, `packet.reorder` | as [`Link`](crate::Link) has it |
    /// | `link.queue` | a full queue of a link, uplink or downlink |
    /// | `link.mtu` | a packet larger than the MTU |
    /// | `partition.drop`, `partition.reject`, `partition.hold` | as [`Effect`](crate::Effect) has it, held links included |
    /// | `hand.drop` | [`Links::discard`](crate::Links::discard) |
    /// | `stream.fin` | a process that a plan kills behind a byte of a stream |
    pub faults: BTreeMap<&'static str, u64>,
    /// The properties that the code came by, by their names and kinds.
    pub properties: BTreeMap<PropertyId, PropertyCount>,
    /// The hosts that rules about links and plans name and that the world never had.
    pub absent_hosts: Vec<String>,
    /// All packets, if [`Sim::capture`](crate::Sim::capture) asked for them.
    pub capture: Option<Capture>,
    /// Which entries of the plan found what they are about.
    pub bindings: Bindings,
    /// The plan that the run amounts to, if [`Sim::record`](crate::Sim::record) asked for it.
    pub recording: Option<Plan>,
    /// What could have gone wrong, if [`Sim::census`](crate::Sim::census) asked for it.
    pub census: Option<Census>,
}

/// What went wrong in a run: a bug in a protocol, a scenario, or this simulator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// What the scenario's error or the panic says.
    pub message: String,
    /// The host on which it happened; `control` for the scenario itself.
    pub host: String,
    /// The virtual time.
    pub time: Time,
    /// Which property it is that does not hold, for a [`FindingKind::Property`].
    pub property: Option<Claim>,
}

/// How a run failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FindingKind {
    /// The scenario returned an error.
    Failure,
    /// A callback, a task or the scenario panicked.
    Panic,
    /// A [property](sim_core::property) that must hold did not. The first of a run is its finding, whatever became of
    /// the panic and whatever went wrong later.
    Property,
    /// The scenario was done, and [something of it was still there](crate::Sim::leftovers).
    Leftover,
    /// The run was stopped [where it was to be](crate::Sim::stop_at).
    Stopped,
    /// Nothing could ever happen again, and the scenario was not done.
    Deadlock,
    /// A bound of the simulation was reached.
    Limit,
    /// A thread other than the world's woke a task.
    ForeignWake,
    /// The run ended in another way, for instance because it was stopped.
    Ended,
}

impl Finding {
    /// The finding for an error of a run.
    pub(crate) fn of_run(error: &RunError, host: String, time: Time) -> Self {
        let (kind, message) = match error {
            RunError::Panicked(message) => (FindingKind::Panic, message.clone()),
            RunError::Deadlock { .. } => (FindingKind::Deadlock, error.to_string()),
            RunError::Limit { name: STOP_AT, bound } => {
                (FindingKind::Stopped, format!("stopped at {bound}"))
            }
            RunError::Limit { .. } => (FindingKind::Limit, error.to_string()),
            RunError::ForeignWake { .. } => (FindingKind::ForeignWake, error.to_string()),
            _ => (FindingKind::Ended, error.to_string()),
        };
        Self { kind, message, host, time, property: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, host, time, .. } = self;
        let what = if self.kind == FindingKind::Panic { "panicked: " } else { "" };
        write!(f, "{what}{message} (on host {host}, at {time})")
    }
}

impl Error for Finding {}

impl<T> Report<T> {
    /// The names of the world's hosts, in order of creation.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.tail.hosts().skip(1)
    }

    /// The scenario's value.
    ///
    /// # Panics
    ///
    /// With the finding and the last records, if there was one.
    #[track_caller]
    pub fn unwrap(self) -> T {
        match self.outcome {
            Ok(value) => value,
            Err(finding) => panic!("{finding}\nthe last records:\n{}", self.tail),
        }
    }

    /// The finding, if there was one.
    pub fn finding(&self) -> Option<&Finding> {
        self.outcome.as_ref().err()
    }
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic with a payload that is not text").to_owned()
}
