//! What kinds of records a reader can ask for.

use sim_core::trace::Record as EngineRecord;
use sim_net::{Log, Record};

/// A kind of records. The page knows them by their number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    Sent,
    Delivered,
    Dropped,
    Duplicated,
    Corrupted,
    Late,
    Refused,
    Callback,
    Write,
    Control,
    TimerFired,
    TimerSet,
    Task,
    Turn,
    Host,
    Mark,
    Report,
    Draw,
}

impl Class {
    pub(super) fn of(log: &Log, record: &Record) -> Self {
        match record {
            record if log.is_broken_property(record) => Self::Report,
            Record::Sent(_) => Self::Sent,
            Record::Delivered(_) => Self::Delivered,
            Record::Dropped(..) => Self::Dropped,
            Record::Duplicated(_) => Self::Duplicated,
            Record::Corrupted(_) => Self::Corrupted,
            Record::HeldBack(_) | Record::Held(_) | Record::Released(_) => Self::Late,
            Record::Refused(_) => Self::Refused,
            Record::Host(_) => Self::Host,
            Record::Draw { .. } => Self::Draw,
            Record::Engine(record) => match record {
                EngineRecord::Callback { .. } => Self::Callback,
                EngineRecord::Write { .. } => Self::Write,
                EngineRecord::Control { .. } => Self::Control,
                EngineRecord::TimerFired { .. } => Self::TimerFired,
                EngineRecord::TimerArmed { .. } | EngineRecord::TimerCancelled { .. } => {
                    Self::TimerSet
                }
                EngineRecord::TaskPolled { .. }
                | EngineRecord::TaskDone { .. }
                | EngineRecord::TaskCancelled { .. } => Self::Task,
                EngineRecord::Report => Self::Report,
                EngineRecord::Mark { .. }
                | EngineRecord::Property { .. }
                | EngineRecord::State { .. } => Self::Mark,
                _ => Self::Turn,
            },
            _ => Self::Turn,
        }
    }
}
