//! Sets, and the quick way to judge their histories.

use super::{Model, Operation, Verdict, Violation};

/// A set of numbers that is empty at first: a model with a [shortcut](Model::shortcut).
///
/// What is asked of one element has nothing to do with the others. An element that is added once, at most,
/// is judged in as many steps as there are operations on it. It is searched otherwise. Adding is answered
/// with whether the element was new, removing with whether it was there.
///
/// ```
/// use sim_core::history::{self, History, Set, SetInput::{Add, Contains, Remove}};
///
/// let history = History::new();
/// let unknown = history.call(1, Add(7)); // its client was told nothing
/// for seen in [false, true] {
///     let look = history.call(2, Contains(7));
///     history.returns(look, seen);
/// }
/// assert!(history::check(&Set, &history).is_yes());
///
/// let lost = history.call(2, Contains(7));
/// history.returns(lost, false); // and nobody removed it
/// assert!(!history::check(&Set, &history).is_yes());
/// # drop((unknown, Remove(7)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Set;

/// What is asked of a [`Set`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetInput {
    /// This element is to be in it. Was it new?
    Add(u64),
    /// This element is not to be in it. Was it there?
    Remove(u64),
    /// Is this element in it?
    Contains(u64),
}

impl Model for Set {
    type Input = SetInput;
    type Output = bool;
    /// Whether the element is in it.
    type State = bool;

    fn initial(&self) -> bool {
        false
    }

    fn step(&self, is_in: &bool, input: &SetInput, output: Option<&bool>) -> Option<bool> {
        let (answer, next) = match input {
            SetInput::Add(_) => (!is_in, true),
            SetInput::Remove(_) => (*is_in, false),
            SetInput::Contains(_) => (*is_in, *is_in),
        };
        output.is_none_or(|output| *output == answer).then_some(next)
    }

    fn part(&self, input: &SetInput) -> u64 {
        match input {
            SetInput::Add(element) | SetInput::Remove(element) | SetInput::Contains(element) => {
                *element
            }
        }
    }

    fn shortcut(&self, operations: &[&Operation<SetInput, bool>]) -> Option<Verdict> {
        Life::of(operations).map(|life| life.judge())
    }
}

type Asked<'a> = &'a Operation<SetInput, bool>;

/// What was asked of an element that was added once, at most. It comes at some moment and goes at a later
/// one: who saw it has to reach between the two, who did not has to reach before or behind.
#[derive(Default)]
struct Life<'a> {
    add: Option<Asked<'a>>,
    /// Removals that found it.
    removals: Vec<Asked<'a>>,
    /// The first of those of which nobody knows whether they found it, or were done at all.
    may_remove: Option<Asked<'a>>,
    /// Of those who saw it, who returned first, and who was called last.
    first_seen: Option<Asked<'a>>,
    last_seen: Option<Asked<'a>>,
    /// Those who did not see it.
    missed: Vec<Asked<'a>>,
}

impl<'a> Life<'a> {
    /// `None` if it was added several times.
    fn of(operations: &[Asked<'a>]) -> Option<Self> {
        let mut life = Self::default();
        for &operation in operations {
            match (operation.input, operation.output()) {
                (SetInput::Add(_), _) => {
                    if life.add.replace(operation).is_some() {
                        return None;
                    }
                }
                (SetInput::Remove(_), Some(true)) => life.removals.push(operation),
                (SetInput::Remove(_), None) => {
                    // Calls come in order.
                    life.may_remove.get_or_insert(operation);
                }
                (SetInput::Contains(_), Some(true)) => {
                    life.last_seen = Some(operation);
                    let first = life.first_seen.and_then(Operation::returned);
                    if first.is_none_or(|first| operation.returned().is_some_and(|at| at < first)) {
                        life.first_seen = Some(operation);
                    }
                }
                (SetInput::Contains(_) | SetInput::Remove(_), Some(false)) => {
                    life.missed.push(operation);
                }
                (SetInput::Contains(_), None) => {}
            }
        }
        Some(life)
    }

    fn judge(&self) -> Verdict {
        let no = Violation::contradiction;
        let found = self.removals.first().copied();
        let witness = self.first_seen.or(found);
        if let [first, second, ..] = self.removals[..] {
            return no("an element was removed twice", &[first, second]);
        }
        let Some(add) = self.add else {
            return match witness {
                Some(witness) => no("an element was there that nobody added", &[witness]),
                None => Verdict::Linearizable,
            };
        };
        if add.output() == Some(&false) {
            return no("an element was there before anybody added it", &[add]);
        }
        if add.returned().is_none() && witness.is_none() {
            // It may as well not have been added.
            return Verdict::Linearizable;
        }
        // It comes before this step.
        let come =
            [Some(add), self.first_seen].into_iter().flatten().filter_map(Operation::returned);
        let come = come.min().unwrap_or(u64::MAX);
        if let Some(seen) = self.first_seen.filter(|_| come < add.called) {
            return no("an element was there before anybody added it", &[seen, add]);
        }
        let removal = found.or(self.may_remove);
        let Some(removal) = removal else {
            return match self.missed.iter().find(|missed| missed.called > come) {
                Some(missed) => no("an element was missed that nobody removed", &[add, missed]),
                None => Verdict::Linearizable,
            };
        };
        // And goes behind this one.
        let gone = self.last_seen.map_or(removal.called, |seen| seen.called.max(removal.called));
        let removed = removal.returned().unwrap_or(u64::MAX);
        if removed < add.called {
            return no("an element was removed before anybody added it", &[removal, add]);
        }
        if let Some(seen) = self.last_seen.filter(|_| removed < gone) {
            return no("an element was there after it was removed", &[removal, seen]);
        }
        let fits = |missed: &&Asked<'_>| {
            // Where the two may come one right after the other, everybody has a place beside them.
            gone < come
                || missed.called < come
                || missed.returned().is_some_and(|returned| returned > gone)
        };
        match self.missed.iter().find(|missed| !fits(missed)) {
            Some(missed) => no("an element was missed while it was there", &[add, missed, removal]),
            None => Verdict::Linearizable,
        }
    }
}
