//! What a session may see of its own past.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::rc::Rc;

use super::anomaly::{self, Anomaly, Deed};
use crate::Time;

/// The guarantees that a session may be given (Terry and others, 1994), over the versions of an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Guarantee {
    /// A read sees the session's own writes, or later ones.
    ReadYourWrites,
    /// A read sees no older version than an earlier read of the session.
    MonotonicReads,
    /// A write makes a later version than an earlier write of the session.
    MonotonicWrites,
    /// A write makes a later version than the session has read.
    WritesFollowReads,
}

/// What sessions read and wrote, and whether each was given its guarantees.
///
/// Clones are the same record. Each object has versions, numbers that grow with each write of it by anybody;
/// those of different objects say nothing about each other. (For guarantees across objects let the whole
/// store be the object, and the index of its log the version.) An operation is held to those of its session
/// that had ended when it began. One that never ends promises nothing and is promised nothing, nor is a
/// write whose version nobody knows. Each operation costs the logarithm of the number of sessions and
/// objects.
///
/// ```
/// use sim_core::history::{Guarantee, Sessions};
///
/// let sessions = Sessions::new();
/// let write = sessions.writes("alice", "x");
/// sessions.ends(write, 4)?;
/// let read = sessions.reads("bob", "x"); // another session is not held to it
/// sessions.ends(read, 3)?;
/// let unknown = sessions.writes("bob", "x"); // nobody hears what became of it
/// let read = sessions.reads("bob", "x");
/// sessions.ends(read, 3)?;
///
/// let stale = sessions.reads("alice", "x");
/// let anomaly = sessions.ends(stale, 3).unwrap_err();
/// assert_eq!(anomaly.claim, Guarantee::ReadYourWrites.name());
/// # drop(unknown);
/// # Ok::<(), sim_core::history::Anomaly>(())
/// ```
pub struct Sessions<S, K>(Rc<Record<S, K>>);

struct Record<S, K> {
    promised: Vec<Guarantee>,
    /// What each session has read and written of each object.
    seen: RefCell<BTreeMap<(S, K), Past>>,
}

/// The latest version that was read, and that was written.
#[derive(Clone, Copy, Default)]
struct Past {
    read: Option<Done>,
    written: Option<Done>,
}

#[derive(Clone, Copy)]
struct Done {
    version: u64,
    time: Option<Time>,
}

/// An operation of a session that has begun.
#[derive(Debug)]
pub struct Begun<S, K> {
    session: S,
    object: K,
    writes: bool,
    /// What it is held to.
    past: Past,
}

impl Guarantee {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::ReadYourWrites,
        Self::MonotonicReads,
        Self::MonotonicWrites,
        Self::WritesFollowReads,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadYourWrites => "read your writes",
            Self::MonotonicReads => "monotonic reads",
            Self::MonotonicWrites => "monotonic writes",
            Self::WritesFollowReads => "writes follow reads",
        }
    }

    /// What of the past an operation is held to, and what is wrong if it is not.
    const fn of(writes: bool) -> [(Self, &'static str); 2] {
        if writes {
            [
                (Self::MonotonicWrites, "a write is not later than one before it"),
                (Self::WritesFollowReads, "a write is not later than what was read before it"),
            ]
        } else {
            [
                (Self::ReadYourWrites, "a read is older than the session's own write"),
                (Self::MonotonicReads, "a read is older than one before it"),
            ]
        }
    }
}

impl<S: Ord + Clone + Display, K: Ord + Clone + Display> Sessions<S, K> {
    /// Sessions that are promised everything.
    pub fn new() -> Self {
        Self::promised(&Guarantee::ALL)
    }

    /// Sessions that are promised no more than this.
    pub fn promised(promised: &[Guarantee]) -> Self {
        Self(Rc::new(Record { promised: promised.to_vec(), seen: RefCell::default() }))
    }

    /// A session begins to read an object.
    pub fn reads(&self, session: S, object: K) -> Begun<S, K> {
        self.begin(session, object, false)
    }

    /// A session begins to write an object.
    pub fn writes(&self, session: S, object: K) -> Begun<S, K> {
        self.begin(session, object, true)
    }

    fn begin(&self, session: S, object: K, writes: bool) -> Begun<S, K> {
        let at = (session, object);
        let past = self.0.seen.borrow().get(&at).copied().unwrap_or_default();
        Begun { session: at.0, object: at.1, writes, past }
    }

    /// An operation ends: the version that was read, or that the write has made.
    ///
    /// # Errors
    ///
    /// A guarantee that was promised, and is not kept.
    pub fn ends(&self, begun: Begun<S, K>, version: u64) -> Result<(), Anomaly> {
        let Begun { session, object, writes, past } = begun;
        let done = Done { version, time: anomaly::now() };
        let deed = |writes: bool, Done { version, time }| {
            let verb = if writes { "wrote" } else { "read" };
            Deed::new(&session, time, format!("{verb} {object} in version {version}"))
        };
        for (guarantee, wrong) in Guarantee::of(writes) {
            let of_writes =
                matches!(guarantee, Guarantee::ReadYourWrites | Guarantee::MonotonicWrites);
            let before = if of_writes { past.written } else { past.read };
            let Some(before) = before.filter(|_| self.0.promised.contains(&guarantee)) else {
                continue;
            };
            if version < before.version || (writes && version == before.version) {
                let deeds = vec![deed(of_writes, before), deed(writes, done)];
                return Err(Anomaly::new(guarantee.name(), wrong, deeds));
            }
        }
        let mut seen = self.0.seen.borrow_mut();
        let past = seen.entry((session, object)).or_default();
        let latest = if writes { &mut past.written } else { &mut past.read };
        if latest.is_none_or(|latest| latest.version < version) {
            *latest = Some(done);
        }
        Ok(())
    }
}

impl<S: Ord + Clone + Display, K: Ord + Clone + Display> Default for Sessions<S, K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, K> Clone for Sessions<S, K> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S, K> Debug for Sessions<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("promised", &self.0.promised).finish_non_exhaustive()
    }
}

impl Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |done: &Option<Done>| done.map(|done| done.version);
        f.debug_struct("Past")
            .field("read", &version(&self.read))
            .field("written", &version(&self.written))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which guarantee a session breaks that reads (`r`) and writes (`w`) these versions.
    fn broken(promised: &[Guarantee], script: &[(char, u64)]) -> Option<&'static str> {
        let sessions = Sessions::promised(promised);
        script.iter().find_map(|&(what, version)| {
            let begun = match what {
                'w' => sessions.writes("s", "x"),
                _ => sessions.reads("s", "x"),
            };
            sessions.ends(begun, version).err().map(|anomaly| anomaly.claim)
        })
    }

    #[test]
    fn each_guarantee_is_broken_at_its_boundary_and_not_before() {
        for (holds, breaks, guarantee) in [
            ([('w', 5), ('r', 5)], [('w', 5), ('r', 4)], Guarantee::ReadYourWrites),
            ([('r', 5), ('r', 5)], [('r', 5), ('r', 4)], Guarantee::MonotonicReads),
            ([('w', 5), ('w', 6)], [('w', 5), ('w', 5)], Guarantee::MonotonicWrites),
            ([('r', 5), ('w', 6)], [('r', 5), ('w', 5)], Guarantee::WritesFollowReads),
        ] {
            assert_eq!(broken(&Guarantee::ALL, &holds), None, "{holds:?}");
            assert_eq!(broken(&Guarantee::ALL, &breaks), Some(guarantee.name()));
            let others: Vec<Guarantee> =
                Guarantee::ALL.into_iter().filter(|it| *it != guarantee).collect();
            assert_eq!(broken(&others, &breaks), None, "{guarantee:?} was not promised");
        }
    }

    #[test]
    fn an_operation_is_held_to_what_had_ended_when_it_began() {
        let sessions = Sessions::new();
        let (read, write) = (sessions.reads(1, "x"), sessions.writes(1, "x"));
        sessions.ends(write, 7).unwrap();
        sessions.ends(read, 3).unwrap();
        // The read that came late does not take back what was written.
        let read = sessions.reads(1, "x");
        assert_eq!(sessions.ends(read, 6).unwrap_err().claim, "read your writes");
    }

    #[test]
    fn sessions_and_objects_have_nothing_to_do_with_each_other() {
        let sessions = Sessions::new();
        for (session, object, version) in [(1, "x", 9), (2, "x", 5), (1, "y", 5), (2, "y", 9)] {
            let write = sessions.writes(session, object);
            sessions.ends(write, version).unwrap();
            let read = sessions.reads(session, object);
            sessions.ends(read, version).unwrap();
        }
    }

    #[test]
    fn both_operations_are_named() {
        let sessions = Sessions::new();
        let read = sessions.reads("alice", "x");
        sessions.ends(read, 9).unwrap();
        let read = sessions.reads("alice", "x");
        assert_eq!(
            sessions.ends(read, 8).unwrap_err().to_string(),
            "monotonic reads: a read is older than one before it\n  alice: read x in version 9\n  \
             alice: read x in version 8"
        );
    }
}
