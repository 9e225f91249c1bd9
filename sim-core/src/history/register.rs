//! Registers, and the quick way to judge their histories.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::{Model, Operation, Verdict, Violation};

/// Registers by key, all of which begin with the same value: a model with a [shortcut](Model::shortcut).
///
/// If all values that are written under a key differ from each other and from what it begins with, its
/// history is judged in *n* log *n* steps (Gibbons and Korach, 1997). It is searched otherwise. A write is
/// answered with `None`.
///
/// ```
/// use sim_core::history::{self, History, Register, RegisterInput::{Read, Write}};
///
/// let history = History::new();
/// let write = history.call(1, Write(0, "new"));
/// let read = history.call(2, Read(0));
/// history.returns(read, Some("new")); // it overlaps the write
/// history.returns(write, None);
/// assert!(history::check(&Register::new("old"), &history).is_yes());
///
/// let stale = history.call(2, Read(0));
/// history.returns(stale, Some("old"));
/// let verdict = history::check(&Register::new("old"), &history);
/// assert_eq!(
///     verdict.to_string(),
///     "not linearizable: a value was read after a later one was there\n  \
///      5.. process 2: Read(0) -> Some(\"old\") at 6\n  \
///      2.. process 2: Read(0) -> Some(\"new\") at 3"
/// );
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register<V> {
    initial: V,
}

/// What is asked of a [`Register`], under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterInput<V> {
    /// What is its value?
    Read(u64),
    /// This is its value from now on.
    Write(u64, V),
}

impl<V> Register<V> {
    /// Registers that begin with this value.
    pub fn new(initial: V) -> Self {
        Self { initial }
    }
}

impl<V: Clone + Ord + Debug> Model for Register<V> {
    type Input = RegisterInput<V>;
    type Output = Option<V>;
    type State = V;

    fn initial(&self) -> V {
        self.initial.clone()
    }

    fn step(&self, state: &V, input: &Self::Input, output: Option<&Option<V>>) -> Option<V> {
        match input {
            RegisterInput::Write(_, written) => Some(written.clone()),
            RegisterInput::Read(_) => {
                output.is_none_or(|read| read.as_ref() == Some(state)).then(|| state.clone())
            }
        }
    }

    fn part(&self, input: &Self::Input) -> u64 {
        match input {
            RegisterInput::Read(key) | RegisterInput::Write(key, _) => *key,
        }
    }

    fn shortcut(&self, operations: &[&Operation<Self::Input, Self::Output>]) -> Option<Verdict> {
        let mut clusters = BTreeMap::from([(&self.initial, Cluster::initial())]);
        for operation in operations {
            if let RegisterInput::Write(_, value) = &operation.input
                && clusters.insert(value, Cluster::of(operation)).is_some()
            {
                return None;
            }
        }
        for operation in operations {
            if let (RegisterInput::Read(_), Some(read)) = (&operation.input, operation.output()) {
                let cluster = read.as_ref().and_then(|value| clusters.get_mut(value));
                let Some(cluster) = cluster else {
                    return Some(contradiction("a value was read that nobody wrote", &[operation]));
                };
                cluster.read(operation);
                if operation.returned().is_some_and(|at| at < cluster.begun) {
                    let evidence: Vec<_> = [*operation].into_iter().chain(cluster.write).collect();
                    let why = "a value was read before anybody wrote it";
                    return Some(contradiction(why, &evidence));
                }
            }
        }
        Some(judge(clusters.into_values().filter(Cluster::happened)))
    }
}

type Access<'a, V> = &'a Operation<RegisterInput<V>, Option<V>>;

/// The write of a value and its reads. They stand together in any order, since no value comes back: so
/// the register holds the value from the first return to the last call, if that is later, and else at
/// some moment between the two.
struct Cluster<'a, V> {
    /// `None` for the value that the register begins with.
    write: Option<Access<'a, V>>,
    /// When the write was called.
    begun: u64,
    first_return: (u64, Option<Access<'a, V>>),
    last_call: (u64, Option<Access<'a, V>>),
    is_read: bool,
}

impl<'a, V> Cluster<'a, V> {
    fn initial() -> Self {
        let before = (0, None);
        Self { write: None, begun: 0, first_return: before, last_call: before, is_read: false }
    }

    fn of(write: Access<'a, V>) -> Self {
        Self {
            write: Some(write),
            begun: write.called,
            first_return: (write.returned().unwrap_or(u64::MAX), Some(write)),
            last_call: (write.called, Some(write)),
            is_read: false,
        }
    }

    fn read(&mut self, read: Access<'a, V>) {
        self.is_read = true;
        if read.called > self.last_call.0 {
            self.last_call = (read.called, Some(read));
        }
        if let Some(at) = read.returned().filter(|at| *at < self.first_return.0) {
            self.first_return = (at, Some(read));
        }
    }

    /// False for a write of which nobody knows and that nobody saw, which may as well not have happened.
    fn happened(&self) -> bool {
        self.is_read || self.write.is_some_and(|write| write.returned().is_some())
    }

    fn begin(&self) -> u64 {
        self.first_return.0.min(self.last_call.0)
    }

    fn end(&self) -> u64 {
        self.first_return.0.max(self.last_call.0)
    }

    /// The register holds the value from begin to end, and not just at a moment between them.
    fn is_forward(&self) -> bool {
        self.first_return.0 < self.last_call.0
    }

    fn evidence(&self) -> impl Iterator<Item = Access<'a, V>> {
        let last = self.last_call.1;
        let first =
            self.first_return.1.filter(|first| last.is_none_or(|it| !std::ptr::eq(*first, it)));
        last.into_iter().chain(first)
    }
}

fn judge<'a, V: Debug + 'a>(clusters: impl Iterator<Item = Cluster<'a, V>>) -> Verdict {
    let (mut forward, backward): (Vec<_>, Vec<_>) = clusters.partition(Cluster::is_forward);
    forward.sort_unstable_by_key(Cluster::begin);
    let why = "a value was read after a later one was there";
    let together = |one: &Cluster<'a, V>, other: &Cluster<'a, V>| {
        contradiction(why, &one.evidence().chain(other.evidence()).collect::<Vec<_>>())
    };
    if let Some(pair) = forward.windows(2).find(|pair| pair[1].begin() < pair[0].end()) {
        return together(&pair[0], &pair[1]);
    }
    for inner in &backward {
        let before = forward.partition_point(|outer| outer.begin() < inner.begin());
        if let Some(outer) = forward[..before].last().filter(|outer| inner.end() < outer.end()) {
            return together(outer, inner);
        }
    }
    Verdict::Linearizable
}

fn contradiction<V: Debug>(why: &'static str, operations: &[Access<'_, V>]) -> Verdict {
    Violation::contradiction(why, operations)
}
