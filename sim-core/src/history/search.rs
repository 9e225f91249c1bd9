//! The search for an order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::{Ended, History, Model, Operation, Verdict, Violation};

/// How many configurations a check looks at, at most.
const LIMIT: usize = 1_000_000;

/// Operations that have their place, as a set of bits.
type Placed = Vec<u64>;

/// Whether a history is linearizable, by a search of at most a million configurations for each part, or by the
/// model's [shortcut](Model::shortcut).
pub fn check<M: Model>(model: &M, history: &History<M::Input, M::Output>) -> Verdict {
    check_within(model, history, LIMIT)
}

/// Whether a history is linearizable, by a search of at most `limit` configurations for each part, or
/// by the model's [shortcut](Model::shortcut).
pub fn check_within<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    limit: usize,
) -> Verdict {
    judge(model, history, |operations| {
        model.shortcut(operations).unwrap_or_else(|| search(model, operations, limit))
    })
}

/// As [`check_within`], without shortcuts.
#[cfg(test)]
pub(super) fn check_by_search<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
) -> Verdict {
    judge(model, history, |operations| search(model, operations, LIMIT))
}

/// Judges a history part by part.
fn judge<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    judge_part: impl Fn(&[&Operation<M::Input, M::Output>]) -> Verdict,
) -> Verdict {
    let operations = history.operations();
    let mut parts = BTreeMap::<u64, Vec<&Operation<M::Input, M::Output>>>::new();
    for operation in operations.iter().filter(|operation| !matches!(operation.ended, Ended::Failed))
    {
        parts.entry(model.part(&operation.input)).or_default().push(operation);
    }
    let mut unknown = None;
    for operations in parts.values() {
        match judge_part(operations) {
            Verdict::Linearizable => {}
            // A violation elsewhere says more than a search that was ended.
            verdict @ Verdict::Unknown { .. } => unknown = Some(verdict),
            verdict => return verdict,
        }
    }
    unknown.unwrap_or(Verdict::Linearizable)
}

/// A configuration that the search has come to, and what it has tried from there.
struct Visit<S> {
    placed: Placed,
    state: S,
    /// The operation that it ends with.
    last: Option<usize>,
    next: usize,
}

fn search<M: Model>(
    model: &M,
    entries: &[&Operation<M::Input, M::Output>],
    limit: usize,
) -> Verdict {
    let must = entries.iter().filter(|entry| entry.returned().is_some()).count();
    let none = vec![0; entries.len().div_ceil(64)];
    let mut seen = BTreeSet::from([(none.clone(), model.initial())]);
    let mut path = vec![Visit { placed: none, state: model.initial(), last: None, next: 0 }];
    let mut longest: Vec<usize> = Vec::new();
    loop {
        let Some(visit) = path.last_mut() else {
            return Verdict::Violated(told(entries, &longest));
        };
        let has = |index: usize| visit.placed[index / 64] >> (index % 64) & 1 == 1;
        let answered = |index: &usize| entries[*index].returned().is_some() && has(*index);
        if (0..entries.len()).filter(answered).count() == must {
            return Verdict::Linearizable;
        }
        // What returned before something was called comes before it.
        let first_return = (0..entries.len()).filter(|&index| !has(index));
        let first_return = first_return.filter_map(|index| entries[index].returned()).min();
        let may_be_next =
            |index: usize| !has(index) && first_return.is_none_or(|at| entries[index].called < at);
        let candidate = (visit.next..entries.len()).find(|&index| may_be_next(index));
        let Some(index) = candidate else {
            path.pop();
            continue;
        };
        visit.next = index + 1;
        let operation = entries[index];
        let next = model.step(&visit.state, &operation.input, operation.output());
        let Some(state) = next else { continue };
        let mut placed = visit.placed.clone();
        placed[index / 64] |= 1 << (index % 64);
        if !seen.insert((placed.clone(), state.clone())) {
            continue;
        }
        if seen.len() > limit {
            return Verdict::Unknown { looked_at: seen.len() };
        }
        path.push(Visit { placed, state, last: Some(index), next: 0 });
        if path.len() - 1 > longest.len() {
            longest = path.iter().filter_map(|visit| visit.last).collect();
        }
    }
}

/// Where the search got furthest, and what it could not go on with.
fn told<I: Debug, O: Debug>(entries: &[&Operation<I, O>], longest: &[usize]) -> Violation {
    let line = |index: usize| entries[index].to_string();
    let left = (0..entries.len()).filter(|index| !longest.contains(index));
    let left: Vec<usize> = left.filter(|&index| entries[index].returned().is_some()).collect();
    let first_return = left.iter().filter_map(|&index| entries[index].returned()).min();
    let stuck =
        left.iter().filter(|&&index| first_return.is_none_or(|at| entries[index].called < at));
    Violation::NoOrder {
        longest: longest.iter().map(|&index| line(index)).collect(),
        stuck: stuck.map(|&index| line(index)).collect(),
    }
}
