//! What an engine does, step by step, as a driver hears it.
//!
//! A simulator hashes these records with its packets and draws, so that two runs of a seed can be
//! compared in eight bytes; `tracing` and the reports show them to people. A record is small and
//! `Copy`: hearing one costs nothing but the hearing.

use std::fmt;

use crate::Time;

/// A step of an engine.
///
/// `connection` is the number that the loop gave the transport, counted from 1 in order of
/// creation; datagram endpoints share the count. `task` numbers tasks the same way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Record {
    /// A protocol's callback is about to run.
    Callback {
        /// The transport.
        connection: u32,
        /// Which callback.
        callback: Callback,
        /// How many bytes it delivers, 0 for callbacks without data.
        bytes: u64,
    },
    /// Bytes were handed to a transport's `write` or `send_to`.
    Write {
        /// The transport.
        connection: u32,
        /// How many bytes.
        bytes: u64,
    },
    /// A transport's other method that acts on the network.
    Control {
        /// The transport.
        connection: u32,
        /// Which method.
        control: Control,
    },
    /// A callback queued by `call_soon` runs.
    Soon,
    /// A timer was set.
    TimerArmed {
        /// Its deadline.
        at: Time,
    },
    /// A timer's callback runs.
    TimerFired {
        /// The deadline it had.
        at: Time,
    },
    /// A timer was cancelled before it fired.
    TimerCancelled {
        /// The deadline it had.
        at: Time,
    },
    /// A task is polled.
    TaskPolled {
        /// The task.
        task: u32,
    },
    /// A task ended.
    TaskDone {
        /// The task.
        task: u32,
        /// How it ended.
        outcome: TaskOutcome,
    },
    /// A task that was declared [`cancellable`](crate::Task::cancellable) is cancelled by the simulation.
    TaskCancelled {
        /// The task.
        task: u32,
    },
    /// The exception handler is called.
    Report,
    /// A user's mark, by [`Loop::mark`](crate::Loop::mark): a state that a test wants in the trace.
    Mark {
        /// A hash of the label.
        label: u64,
        /// The value.
        value: u64,
    },
    /// Code came by one of its properties; see [`property`](crate::property).
    Property {
        /// A hash of its name.
        name: u64,
        /// Whether it holds.
        holds: bool,
    },
    /// What a protocol that has a [`digest`](crate::Protocol::digest) said of its state last: when it had been
    /// told of the loss of its connection, or, if it was not, at the end of the run.
    State {
        /// The transport.
        connection: u32,
        /// A hash of what it said.
        digest: u64,
    },
}

/// A protocol's callback.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Callback {
    /// `connection_made`.
    ConnectionMade,
    /// `data_received`.
    DataReceived,
    /// `get_buffer`.
    GetBuffer,
    /// `buffer_updated`.
    BufferUpdated,
    /// `eof_received`.
    EofReceived,
    /// `pause_writing`.
    PauseWriting,
    /// `resume_writing`.
    ResumeWriting,
    /// `connection_lost`.
    ConnectionLost,
    /// `datagram_received`.
    DatagramReceived,
    /// `error_received`.
    ErrorReceived,
    /// A closure given to [`Cx::call_soon`](crate::Cx::call_soon) or its siblings.
    Posted,
    /// `pipe_data_received`.
    PipeDataReceived,
    /// `pipe_connection_lost`.
    PipeConnectionLost,
    /// `process_exited`.
    ProcessExited,
}

impl Callback {
    const ALL: [Self; 14] = [
        Self::ConnectionMade,
        Self::DataReceived,
        Self::GetBuffer,
        Self::BufferUpdated,
        Self::EofReceived,
        Self::PauseWriting,
        Self::ResumeWriting,
        Self::ConnectionLost,
        Self::DatagramReceived,
        Self::ErrorReceived,
        Self::Posted,
        Self::PipeDataReceived,
        Self::PipeConnectionLost,
        Self::ProcessExited,
    ];

    /// The name of the method.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionMade => "connection_made",
            Self::DataReceived => "data_received",
            Self::GetBuffer => "get_buffer",
            Self::BufferUpdated => "buffer_updated",
            Self::EofReceived => "eof_received",
            Self::PauseWriting => "pause_writing",
            Self::ResumeWriting => "resume_writing",
            Self::ConnectionLost => "connection_lost",
            Self::DatagramReceived => "datagram_received",
            Self::ErrorReceived => "error_received",
            Self::Posted => "posted",
            Self::PipeDataReceived => "pipe_data_received",
            Self::PipeConnectionLost => "pipe_connection_lost",
            Self::ProcessExited => "process_exited",
        }
    }
}

/// A transport's method that acts on the network without carrying data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Control {
    /// `write_eof`.
    WriteEof,
    /// `close`.
    Close,
    /// `abort`.
    Abort,
    /// `fail`.
    Fail,
    /// `pause_reading`.
    PauseReading,
    /// `resume_reading`.
    ResumeReading,
}

impl Control {
    const ALL: [Self; 6] = [
        Self::WriteEof,
        Self::Close,
        Self::Abort,
        Self::Fail,
        Self::PauseReading,
        Self::ResumeReading,
    ];

    /// The name of the method.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteEof => "write_eof",
            Self::Close => "close",
            Self::Abort => "abort",
            Self::Fail => "fail",
            Self::PauseReading => "pause_reading",
            Self::ResumeReading => "resume_reading",
        }
    }
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TaskOutcome {
    /// It returned.
    Finished,
    /// It was cancelled.
    Cancelled,
    /// It panicked.
    Panicked,
}

impl TaskOutcome {
    const ALL: [Self; 3] = [Self::Finished, Self::Cancelled, Self::Panicked];
}

impl Record {
    /// The record as three words, equal only for equal records: what a trace hash takes in.
    #[inline]
    pub fn words(&self) -> [u64; 3] {
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        match *self {
            Self::Callback { connection, callback, bytes } => {
                [1, pair(callback as u32, connection), bytes]
            }
            Self::Write { connection, bytes } => [2, u64::from(connection), bytes],
            Self::Control { connection, control } => [3, pair(control as u32, connection), 0],
            Self::Soon => [4, 0, 0],
            Self::TimerArmed { at } => [5, at.as_nanos(), 0],
            Self::TimerFired { at } => [6, at.as_nanos(), 0],
            Self::TimerCancelled { at } => [7, at.as_nanos(), 0],
            Self::TaskPolled { task } => [8, u64::from(task), 0],
            Self::TaskDone { task, outcome } => [9, pair(outcome as u32, task), 0],
            Self::Report => [10, 0, 0],
            Self::Mark { label, value } => [11, label, value],
            Self::Property { name, holds } => [12, name, u64::from(holds)],
            Self::TaskCancelled { task } => [13, u64::from(task), 0],
            Self::State { connection, digest } => [14, u64::from(connection), digest],
        }
    }

    /// The record that has these [`words`](Self::words), if there is one.
    ///
    /// ```
    /// use sim_core::trace::Record;
    ///
    /// let record = Record::Write { connection: 1, bytes: 64 };
    /// assert_eq!(Record::from_words(record.words()), Some(record));
    /// assert_eq!(Record::from_words([0; 3]), None);
    /// ```
    pub fn from_words([kind, first, second]: [u64; 3]) -> Option<Self> {
        let (high, low) = ((first >> 32) as usize, first as u32);
        let at = Time::from_nanos(first);
        Some(match kind {
            1 => {
                let callback = *Callback::ALL.get(high)?;
                Self::Callback { connection: low, callback, bytes: second }
            }
            2 => Self::Write { connection: low, bytes: second },
            3 => Self::Control { connection: low, control: *Control::ALL.get(high)? },
            4 => Self::Soon,
            5 => Self::TimerArmed { at },
            6 => Self::TimerFired { at },
            7 => Self::TimerCancelled { at },
            8 => Self::TaskPolled { task: low },
            9 => Self::TaskDone { task: low, outcome: *TaskOutcome::ALL.get(high)? },
            10 => Self::Report,
            11 => Self::Mark { label: first, value: second },
            12 => Self::Property { name: first, holds: second != 0 },
            13 => Self::TaskCancelled { task: low },
            14 => Self::State { connection: low, digest: second },
            _ => return None,
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Callback { connection, callback, bytes: 0 } => {
                write!(f, "#{connection} {}", callback.name())
            }
            Self::Callback { connection, callback, bytes } => {
                write!(f, "#{connection} {} {bytes} B", callback.name())
            }
            Self::Write { connection, bytes } => write!(f, "#{connection} write {bytes} B"),
            Self::Control { connection, control } => write!(f, "#{connection} {}", control.name()),
            Self::Soon => f.write_str("call_soon"),
            Self::TimerArmed { at } => write!(f, "timer armed for {at}"),
            Self::TimerFired { at } => write!(f, "timer fired, due {at}"),
            Self::TimerCancelled { at } => write!(f, "timer cancelled, due {at}"),
            Self::TaskPolled { task } => write!(f, "task {task} polled"),
            Self::TaskDone { task, outcome } => write!(f, "task {task} {outcome:?}"),
            Self::TaskCancelled { task } => write!(f, "task {task} is cancelled: a fault"),
            Self::Report => f.write_str("exception handler called"),
            Self::Mark { label, value } => write!(f, "mark {label:016x} = {value}"),
            Self::Property { name, holds: true } => write!(f, "property {name:016x} holds"),
            Self::Property { name, .. } => write!(f, "property {name:016x} does not hold"),
            Self::State { connection, digest } => write!(f, "#{connection} state {digest:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_words_of_its_own_and_comes_back_from_them() {
        let (connection, task, bytes, at) = (3, 4, 64, Time::from_nanos(9));
        let callbacks =
            Callback::ALL.map(|callback| Record::Callback { connection, callback, bytes });
        let controls = Control::ALL.map(|control| Record::Control { connection, control });
        let outcomes = TaskOutcome::ALL.map(|outcome| Record::TaskDone { task, outcome });
        let others = [
            Record::Write { connection, bytes },
            Record::Soon,
            Record::TimerArmed { at },
            Record::TimerFired { at },
            Record::TimerCancelled { at },
            Record::TaskPolled { task },
            Record::TaskCancelled { task },
            Record::Report,
            Record::Mark { label: u64::MAX, value: 1 },
            Record::Property { name: u64::MAX, holds: true },
            Record::Property { name: 0, holds: false },
            Record::State { connection, digest: u64::MAX },
        ];
        let all = callbacks.into_iter().chain(controls).chain(outcomes).chain(others);
        for record in all {
            assert_eq!(Record::from_words(record.words()), Some(record));
        }
    }
}
