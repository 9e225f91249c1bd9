//! Queues, and the quick way to judge their histories.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

use super::{Model, Operation, Verdict, Violation};

/// A queue, first in, first out, that is empty at first: a model with a [shortcut](Model::shortcut).
///
/// If all values that are enqueued differ, a history is judged in *n* log *n* steps (Henzinger, Sezgin and
/// Vafeiadis, 2013), unless it cannot be without some dequeue of which nobody knows: then it is searched, as
/// where values are equal. Enqueueing is answered with `None`, dequeueing with the value, or `None` if there
/// was none.
///
/// ```
/// use sim_core::history::{self, History, Queue, QueueInput::{Dequeue, Enqueue}};
///
/// let history = History::new();
/// let (one, two) = (history.call(1, Enqueue('a')), history.call(2, Enqueue('b')));
/// history.returns(one, None);
/// history.returns(two, None);
/// let take = history.call(1, Dequeue);
/// history.returns(take, Some('b')); // they overlapped
/// assert!(history::check(&Queue::new(), &history).is_yes());
///
/// let take = history.call(1, Dequeue);
/// history.returns(take, None); // where is a?
/// assert!(!history::check(&Queue::new(), &history).is_yes());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue<V>(std::marker::PhantomData<fn(V)>);

/// What is asked of a [`Queue`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueueInput<V> {
    /// This value is behind all others.
    Enqueue(V),
    /// What is before all others? It leaves.
    Dequeue,
}

impl<V> Queue<V> {
    /// An empty queue.
    pub fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<V> Default for Queue<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone + Ord + Debug> Model for Queue<V> {
    type Input = QueueInput<V>;
    type Output = Option<V>;
    type State = VecDeque<V>;

    fn initial(&self) -> VecDeque<V> {
        VecDeque::new()
    }

    fn step(
        &self,
        state: &VecDeque<V>,
        input: &QueueInput<V>,
        output: Option<&Option<V>>,
    ) -> Option<VecDeque<V>> {
        let mut next = state.clone();
        match input {
            QueueInput::Enqueue(value) => next.push_back(value.clone()),
            QueueInput::Dequeue => {
                let first = next.pop_front();
                if output.is_some_and(|output| *output != first) {
                    return None;
                }
            }
        }
        Some(next)
    }

    fn shortcut(&self, operations: &[&Operation<Self::Input, Self::Output>]) -> Option<Verdict> {
        let mut passages = BTreeMap::new();
        for operation in operations {
            if let QueueInput::Enqueue(value) = &operation.input
                && passages.insert(value, Passage { enqueue: operation, dequeue: None }).is_some()
            {
                return None;
            }
        }
        let dequeues = operations.iter().filter(|it| it.input == QueueInput::Dequeue);
        let (known, unknown): (Vec<Access<'_, V>>, Vec<Access<'_, V>>) =
            dequeues.partition(|dequeue| dequeue.output().is_some());
        let verdict = judge(passages, &known);
        // Without those of which nobody knows it can be: then so it can with them.
        (unknown.is_empty() || verdict.is_yes()).then_some(verdict)
    }
}

type Access<'a, V> = &'a Operation<QueueInput<V>, Option<V>>;

/// The way of a value through the queue.
struct Passage<'a, V> {
    enqueue: Access<'a, V>,
    dequeue: Option<Access<'a, V>>,
}

impl<V> Passage<'_, V> {
    /// From which step on it is in the queue for sure.
    fn entered(&self) -> u64 {
        self.enqueue.returned().unwrap_or(u64::MAX)
    }

    /// From which step on it may have left.
    fn may_leave(&self) -> u64 {
        self.dequeue.map_or(u64::MAX, |dequeue| dequeue.called)
    }
}

/// Looks for the four ways in which a history of different values can be none of a queue.
fn judge<'a, V: Ord + Debug>(
    mut passages: BTreeMap<&V, Passage<'a, V>>,
    dequeues: &[Access<'a, V>],
) -> Verdict {
    let no = Violation::contradiction;
    let mut empty = Vec::new();
    for &dequeue in dequeues {
        let Some(value) = dequeue.output().and_then(Option::as_ref) else {
            empty.push(dequeue);
            continue;
        };
        let Some(passage) = passages.get_mut(value) else {
            return no("a value was dequeued that nobody enqueued", &[dequeue]);
        };
        if dequeue.returned().is_some_and(|at| at < passage.enqueue.called) {
            let evidence = [dequeue, passage.enqueue];
            return no("a value was dequeued before anybody enqueued it", &evidence);
        }
        if let Some(before) = passage.dequeue.replace(dequeue) {
            return no("a value was dequeued twice", &[before, dequeue]);
        }
    }
    // One of which nobody knows and that nobody got may as well not have been enqueued.
    let happened = |it: &Passage<'_, V>| it.dequeue.is_some() || it.enqueue.returned().is_some();
    let passages: Vec<_> = passages.into_values().filter(happened).collect();
    overtaken(&passages).or_else(|| missed(&passages, &empty)).unwrap_or(Verdict::Linearizable)
}

/// A value that left before one that had entered before it.
fn overtaken<V: Debug>(passages: &[Passage<'_, V>]) -> Option<Verdict> {
    let mut by_entry: Vec<_> = passages.iter().collect();
    by_entry.sort_unstable_by_key(|passage| passage.entered());
    let mut by_call: Vec<_> = passages.iter().filter(|it| it.dequeue.is_some()).collect();
    by_call.sort_unstable_by_key(|passage| passage.enqueue.called);
    let mut earlier = by_entry.into_iter().peekable();
    // Of those that had entered before, the one that leaves last.
    let mut slowest: Option<&Passage<'_, V>> = None;
    for passage in by_call {
        while let Some(entered) = earlier.next_if(|it| it.entered() < passage.enqueue.called) {
            if slowest.is_none_or(|slowest| slowest.may_leave() < entered.may_leave()) {
                slowest = Some(entered);
            }
        }
        let left = passage.dequeue.and_then(Operation::returned).unwrap_or(u64::MAX);
        if let Some(slowest) = slowest.filter(|slowest| left < slowest.may_leave()) {
            let evidence = [slowest.enqueue, passage.enqueue].into_iter();
            let evidence = evidence.chain(passage.dequeue).chain(slowest.dequeue);
            let evidence: Vec<_> = evidence.collect();
            return Some(Violation::contradiction("a value overtook an earlier one", &evidence));
        }
    }
    None
}

/// A dequeue that found nothing, although something was there all the time.
fn missed<V: Debug>(passages: &[Passage<'_, V>], empty: &[Access<'_, V>]) -> Option<Verdict> {
    let mut stays: Vec<_> = passages.iter().filter(|it| it.entered() < it.may_leave()).collect();
    stays.sort_unstable_by_key(|passage| passage.entered());
    // When the queue is not empty: disjoint intervals, in order, each with who is there at its end.
    let mut filled: Vec<(u64, &Passage<'_, V>)> = Vec::new();
    for passage in stays {
        match filled.last_mut() {
            Some((_, last)) if passage.entered() < last.may_leave() => {
                if last.may_leave() < passage.may_leave() {
                    *last = passage;
                }
            }
            _ => filled.push((passage.entered(), passage)),
        }
    }
    empty.iter().find_map(|dequeue| {
        let before = filled.partition_point(|(from, _)| *from < dequeue.called);
        let (_, last) = filled[..before].last()?;
        let all_the_time = dequeue.returned().is_some_and(|returned| returned < last.may_leave());
        let why = "nothing was found in a queue that was not empty";
        all_the_time.then(|| Violation::contradiction(why, &[*dequeue, last.enqueue]))
    })
}
