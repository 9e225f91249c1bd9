//! Which calls a server has seen, and what it answered.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is new: execute it, and say so with [`CallTable::finish`].
    Execute,
    /// It is being executed; the answer goes to who asked last.
    UnderWay,
    /// It was executed before; this is the answer.
    Answered(Rc<[u8]>),
    /// Too many calls are under way: the request is not taken in.
    Refused,
}

/// The memory of a server that executes each call at most once: calls under way, with who waits
/// for each, and answers.
///
/// A value without I/O. `W` is where an answer goes. It remembers a bounded number of answers, the
/// latest ones: at-most-once holds for requests that are repeated within that many calls.
///
/// ```
/// use scenarios::rpc::{Asked, CallTable};
///
/// let mut calls = CallTable::new(100);
/// assert_eq!(calls.ask(7, "first connection"), Asked::Execute);
/// assert_eq!(calls.ask(7, "second connection"), Asked::UnderWay);
/// assert_eq!(calls.finish(7, b"42".to_vec().into()), Some("second connection"));
/// assert_eq!(calls.ask(7, "third connection"), Asked::Answered(b"42".to_vec().into()));
/// ```
#[derive(Debug)]
pub struct CallTable<W> {
    under_way: BTreeMap<u64, W>,
    answers: BTreeMap<u64, Rc<[u8]>>,
    /// The numbers of `answers`, oldest first.
    order: VecDeque<u64>,
    size_max: usize,
}

impl<W> CallTable<W> {
    /// A table with room for `size_max` calls under way, and as many answers.
    pub fn new(size_max: usize) -> Self {
        Self {
            under_way: BTreeMap::new(),
            answers: BTreeMap::new(),
            order: VecDeque::new(),
            size_max,
        }
    }

    /// Takes in a request, whose answer goes to `asker`.
    pub fn ask(&mut self, number: u64, asker: W) -> Asked {
        if let Some(answer) = self.answers.get(&number) {
            return Asked::Answered(Rc::clone(answer));
        }
        if let Some(waiting) = self.under_way.get_mut(&number) {
            *waiting = asker;
            return Asked::UnderWay;
        }
        if self.under_way.len() == self.size_max {
            return Asked::Refused;
        }
        self.under_way.insert(number, asker);
        Asked::Execute
    }

    /// Notes the answer of a call under way, and says where it goes; `None` if there is no such
    /// call.
    pub fn finish(&mut self, number: u64, answer: Rc<[u8]>) -> Option<W> {
        let asker = self.under_way.remove(&number)?;
        if self.order.len() == self.size_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(number);
        self.answers.insert(number, answer);
        debug_assert_eq!(self.order.len(), self.answers.len());
        Some(asker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Rc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn a_call_is_executed_once_whenever_it_is_asked_again() {
        let mut calls = CallTable::new(2);
        assert_eq!(calls.ask(1, 'a'), Asked::Execute);
        assert_eq!(calls.ask(1, 'b'), Asked::UnderWay);
        assert_eq!(calls.finish(1, answer("x")), Some('b'));
        assert_eq!(calls.finish(1, answer("y")), None);
        assert_eq!(calls.ask(1, 'c'), Asked::Answered(answer("x")));
    }

    #[test]
    fn the_oldest_answer_is_forgotten_first() {
        let mut calls = CallTable::new(2);
        for number in 1..=3 {
            assert_eq!(calls.ask(number, ()), Asked::Execute);
            calls.finish(number, answer("x"));
        }
        assert_eq!(calls.ask(2, ()), Asked::Answered(answer("x")));
        assert_eq!(calls.ask(3, ()), Asked::Answered(answer("x")));
        assert_eq!(calls.ask(1, ()), Asked::Execute);
    }

    #[test]
    fn a_full_table_refuses_new_calls_alone() {
        let mut calls = CallTable::new(1);
        assert_eq!(calls.ask(1, ()), Asked::Execute);
        assert_eq!(calls.ask(2, ()), Asked::Refused);
        assert_eq!(calls.ask(1, ()), Asked::UnderWay);
        calls.finish(1, answer("x"));
        assert_eq!(calls.ask(2, ()), Asked::Execute);
    }
}
