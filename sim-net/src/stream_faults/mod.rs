//! What a stream can show its application beyond what links do: where reads end, how much writes
//! take, when readiness comes.
//!
//! Every one of them is something that a kernel may do at any time, or a middlebox; none edits the
//! bytes. A protocol that minds is wrong.

pub(crate) mod calls;
pub(crate) mod inject;
mod reads;
pub(crate) mod writes;

use std::time::Duration;

use crate::link::Probability;

/// How often a stream shows its application which of its rougher sides. Nothing by default.
///
/// ```
/// use std::time::Duration;
/// use sim_net::{Boundary, Probability, Sim, StreamFaults};
///
/// let often = Probability::percent(20)?;
/// let faults = StreamFaults::new()
///     .boundaries(often, Boundary::Drawn)
///     .short_writes(often)
///     .held_reads(often, Duration::from_millis(30));
/// let sim = Sim::new(1).stream_faults(faults);
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[must_use = "give it to Sim::stream_faults"]
pub struct StreamFaults {
    pub(crate) boundaries: Probability,
    pub(crate) boundary: Boundary,
    pub(crate) short_writes: Probability,
    pub(crate) held_reads: Probability,
    pub(crate) held_for: Duration,
    pub(crate) stalls: Probability,
    pub(crate) stalled_for: Duration,
    pub(crate) late_ends: Probability,
    pub(crate) end_after: Duration,
    pub(crate) spurious: Probability,
    pub(crate) accept_errors: Probability,
    pub(crate) connect_errors: Probability,
    pub(crate) resets: Probability,
    pub(crate) early_ends: Probability,
    pub(crate) accept_resets: Probability,
    pub(crate) spawn_errors: Probability,
    pub(crate) early_deaths: Probability,
    pub(crate) cancellations: Probability,
}

/// Where reads end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Boundary {
    /// Each stream draws one of the others.
    #[default]
    Drawn,
    /// After every byte.
    Byte,
    /// After so many bytes, at least 1.
    Every(u32),
    /// After lengths that are geometrically distributed, with this mean, at least 1.
    Geometric(u32),
    /// A byte before the end of each write, at it, or a byte behind it.
    Writes,
}

impl StreamFaults {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// How likely a stream has read boundaries, and which. Bytes behind a boundary become readable
    /// only in a later turn, so a parser sees where it is.
    pub fn boundaries(mut self, likely: Probability, boundary: Boundary) -> Self {
        (self.boundaries, self.boundary) = (likely, boundary);
        self
    }

    /// How likely a write takes only a part of what it is given.
    pub fn short_writes(mut self, likely: Probability) -> Self {
        self.short_writes = likely;
        self
    }

    /// How likely the news of data comes late, by up to `at_most`: until then more arrives, so that
    /// several writes, or the last and the end of the stream, are read as one.
    pub fn held_reads(mut self, likely: Probability, at_most: Duration) -> Self {
        (self.held_reads, self.held_for) = (likely, at_most);
        self
    }

    /// How likely the reader hears nothing for up to `at_most`, in which its window may close.
    pub fn stalls(mut self, likely: Probability, at_most: Duration) -> Self {
        (self.stalls, self.stalled_for) = (likely, at_most);
        self
    }

    /// How likely the end of a stream is sent late, by up to `at_most`.
    pub fn late_ends(mut self, likely: Probability, at_most: Duration) -> Self {
        (self.late_ends, self.end_after) = (likely, at_most);
        self
    }

    /// How likely a write is followed by readiness for nothing.
    pub fn spurious_readiness(mut self, likely: Probability) -> Self {
        self.spurious = likely;
        self
    }

    /// How likely an accept fails for want of a descriptor or of memory (`EMFILE`, `ENFILE`,
    /// `ENOBUFS`).
    pub fn accept_errors(mut self, likely: Probability) -> Self {
        self.accept_errors = likely;
        self
    }

    /// How likely a connect fails at once (`ENOBUFS`, `EADDRNOTAVAIL`, `EMFILE`).
    pub fn connect_errors(mut self, likely: Probability) -> Self {
        self.connect_errors = likely;
        self
    }

    /// How likely a write is the last of its connection, which is reset behind a byte of it: at both
    /// ends, or at one of them.
    pub fn resets(mut self, likely: Probability) -> Self {
        self.resets = likely;
        self
    }

    /// How likely a write is the last of its stream, which ends for its reader behind a byte of it, as if the writer
    /// had no more: so an intermediary ends what it can no longer get. The writer's next write fails with `EPIPE`; the
    /// other direction goes on.
    pub fn early_ends(mut self, likely: Probability) -> Self {
        self.early_ends = likely;
        self
    }

    /// How likely a connection is reset as soon as it is accepted.
    pub fn accept_resets(mut self, likely: Probability) -> Self {
        self.accept_resets = likely;
        self
    }

    /// How likely starting a child process fails (`EAGAIN`, `ENOMEM`, `EMFILE`).
    pub fn spawn_errors(mut self, likely: Probability) -> Self {
        self.spawn_errors = likely;
        self
    }

    /// How likely a child process is killed as soon as it has started, as for want of memory.
    pub fn early_deaths(mut self, likely: Probability) -> Self {
        self.early_deaths = likely;
        self
    }

    /// How likely a task is cancelled at each place where it waits, if it was declared
    /// [`cancellable`](sim_core::Task::cancellable). Each place is asked about twice: when the task begins to
    /// wait, and when it was woken.
    pub fn cancellations(mut self, likely: Probability) -> Self {
        self.cancellations = likely;
        self
    }

    /// These, and those of `other` of which these have none.
    pub fn or(self, other: Self) -> Self {
        let pick = |likely: fn(&Self) -> Probability| {
            if likely(&self).is_never() { &other } else { &self }
        };
        let boundaries = pick(|it| it.boundaries);
        let (held_reads, stalls) = (pick(|it| it.held_reads), pick(|it| it.stalls));
        let late_ends = pick(|it| it.late_ends);
        Self {
            boundaries: boundaries.boundaries,
            boundary: boundaries.boundary,
            short_writes: pick(|it| it.short_writes).short_writes,
            held_reads: held_reads.held_reads,
            held_for: held_reads.held_for,
            stalls: stalls.stalls,
            stalled_for: stalls.stalled_for,
            late_ends: late_ends.late_ends,
            end_after: late_ends.end_after,
            spurious: pick(|it| it.spurious).spurious,
            accept_errors: pick(|it| it.accept_errors).accept_errors,
            connect_errors: pick(|it| it.connect_errors).connect_errors,
            resets: pick(|it| it.resets).resets,
            early_ends: pick(|it| it.early_ends).early_ends,
            accept_resets: pick(|it| it.accept_resets).accept_resets,
            spawn_errors: pick(|it| it.spawn_errors).spawn_errors,
            early_deaths: pick(|it| it.early_deaths).early_deaths,
            cancellations: pick(|it| it.cancellations).cancellations,
        }
    }

    /// True if none of them can happen.
    pub(crate) fn are_none(&self) -> bool {
        [
            self.boundaries,
            self.short_writes,
            self.held_reads,
            self.stalls,
            self.late_ends,
            self.spurious,
            self.accept_errors,
            self.connect_errors,
            self.resets,
            self.early_ends,
            self.accept_resets,
            self.spawn_errors,
            self.early_deaths,
            self.cancellations,
        ]
        .iter()
        .all(|likely| likely.is_never())
    }
}
