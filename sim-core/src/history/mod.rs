//! What clients asked of something shared and what they were told, and whether that can be.
//!
//! | checker | claim | cost |
//! | --- | --- | --- |
//! | [`check`] | a history is linearizable, by any [`Model`] | a search, at worst exponential |
//! | [`check`] with [`Register`], [`Set`], [`Queue`] | the same | *n* log *n*, where values differ |
//! | [`Ledger`] | bytes, credit or money are neither lost nor made on the way | the logarithm of the holders, each |
//! | [`Deliveries`] | messages are delivered exactly once, in order | *n* log *n* |
//! | [`Leaders`] | a term has one leader at most | *n* log *n* |
//! | [`Replicas`] | all hold the same in the end | *n* log *n* |
//! | [`Sessions`] | a session reads its writes, and goes back in nothing | *n* log *n* |
//!
//! The cheaper ones say what is wrong as an [`Anomaly`], an error that names the operations: who, when in
//! virtual time, and what.
//!
//! # Linearizability
//!
//! A [`History`] is recorded while a scenario runs. [`check`] asks whether it is *linearizable*
//! (Herlihy and Wing, 1990): whether each operation can be given a moment between its call and its
//! return such that a sequential [`Model`] would have answered the same. It searches as Wing and Gong
//! do (1993), remembers what it has seen (Lowe, 2017), and takes the parts of a history that have
//! nothing to do with each other one by one. Where a model knows a quicker way it takes that
//! ([`Model::shortcut`]).
//!
//! An operation whose client was told nothing, because of a timeout or a crash, may have happened or not, at
//! any time after its call. It stays open for ever, and the client goes on under a new process number.
//! Order is that of the recording, which is one order for all hosts of a world, and never a clock.
//!
//! ```
//! use sim_core::history::{self, History, Model, Verdict};
//!
//! /// A register: `Some` writes, `None` reads.
//! struct Register;
//! impl Model for Register {
//!     type Input = Option<u64>;
//!     type Output = u64;
//!     type State = u64;
//!     fn initial(&self) -> u64 {
//!         0
//!     }
//!     fn step(&self, state: &u64, input: &Option<u64>, output: Option<&u64>) -> Option<u64> {
//!         match input {
//!             Some(written) => Some(*written),
//!             None => output.is_none_or(|read| read == state).then_some(*state),
//!         }
//!     }
//! }
//!
//! let history = History::new();
//! let write = history.call(1, Some(7));
//! let read = history.call(2, None);
//! history.returns(read, 7); // it overlaps the write
//! history.returns(write, 0);
//! assert!(matches!(history::check(&Register, &history), Verdict::Linearizable));
//!
//! let stale = history.call(2, None);
//! history.returns(stale, 0); // after the write has returned
//! assert!(matches!(history::check(&Register, &history), Verdict::Violated(_)));
//! ```

mod anomaly;
mod conservation;
mod convergence;
mod delivery;
mod leadership;
mod queue;
mod register;
mod search;
mod session;
mod set;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::rc::Rc;

pub use self::anomaly::{Anomaly, Deed};
pub use self::conservation::Ledger;
pub use self::convergence::Replicas;
pub use self::delivery::{Deliveries, Promise, Sending};
pub use self::leadership::Leaders;
pub use self::queue::{Queue, QueueInput};
pub use self::register::{Register, RegisterInput};
pub use self::search::{check, check_within};
pub use self::session::{Begun, Guarantee, Sessions};
pub use self::set::{Set, SetInput};
use crate::Time;

/// What a shared thing does if operations come one after the other.
pub trait Model {
    /// What is asked.
    type Input: Clone + Debug;
    /// What is answered.
    type Output: Clone + Debug;
    /// What it remembers.
    type State: Clone + Ord + Debug;

    /// What it remembers before the first operation.
    fn initial(&self) -> Self::State;

    /// What it remembers after an operation; `None` if it would not have answered so. `output` is
    /// `None` if nobody knows what it answered.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// The part of the thing that an operation is about. Operations about different parts have nothing
    /// to do with each other, as those on different keys of a map: they are checked one part at a time.
    fn part(&self, input: &Self::Input) -> u64 {
        let _ = input;
        0
    }

    /// The verdict about operations of one part, if there is a quicker way to it than a search: none by
    /// default. Operations that failed are not among them; those of which nobody knows are. The verdict
    /// must be the one that the search would come to.
    fn shortcut(&self, operations: &[&Operation<Self::Input, Self::Output>]) -> Option<Verdict> {
        let _ = operations;
        None
    }
}

/// An operation of a history that has not ended. It ends once: what is said of its end consumes it.
#[derive(Debug)]
pub struct Call {
    /// That of its history.
    identity: Rc<()>,
    index: usize,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended<O> {
    /// It was answered, at this step.
    Ok(O, u64),
    /// It did not happen, and its client knows.
    Failed,
    /// Nobody knows whether it happened: it timed out, its client crashed, or the run is over.
    Maybe,
}

/// What was asked and answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation<I, O> {
    /// Who asked. A process has one operation at a time.
    pub process: u64,
    /// What.
    pub input: I,
    /// At which step of the history.
    pub called: u64,
    /// When, on the clock of the loop whose turn it was; `None` outside any turn. It is no order.
    pub time: Option<Time>,
    /// How it ended.
    pub ended: Ended<O>,
}

/// A record of operations, shared by all who make them: clones are the same history.
pub struct History<I, O>(Rc<RefCell<Recorded<I, O>>>);

struct Recorded<I, O> {
    /// What is handed out knows by it whose it is.
    identity: Rc<()>,
    operations: Vec<Operation<I, O>>,
    /// The processes whose last operation has not returned.
    open: BTreeSet<u64>,
    steps: u64,
}

/// Whether a history can be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There is an order in which the model answers the same.
    Linearizable,
    /// There is none.
    Violated(Violation),
    /// The search was ended by its limit: never to be taken for a yes.
    Unknown {
        /// How many configurations were looked at.
        looked_at: usize,
    },
}

/// A history that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A search found no order.
    NoOrder {
        /// The longest order that was found, an operation each.
        longest: Vec<String>,
        /// What could not come next.
        stuck: Vec<String>,
    },
    /// Some operations contradict each other, whatever the others are.
    Contradiction {
        /// In which way.
        why: &'static str,
        /// Those operations.
        operations: Vec<String>,
    },
}

impl<I: Clone + Debug, O: Clone + Debug> History<I, O> {
    /// Nothing was asked yet.
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(Recorded {
            identity: Rc::new(()),
            operations: Vec::new(),
            open: BTreeSet::new(),
            steps: 0,
        })))
    }

    /// A process asks for something. Until it returns, nobody knows whether it happens.
    ///
    /// # Panics
    ///
    /// If the process has an operation that is open: one that may have happened ends its process, and
    /// the client goes on under another number.
    #[track_caller]
    pub fn call(&self, process: u64, input: I) -> Call {
        let mut recorded = self.0.borrow_mut();
        let is_free = recorded.open.insert(process);
        assert!(is_free, "History::call: process {process} has an operation that is open");
        recorded.steps += 1;
        let (called, time) = (recorded.steps, anomaly::now());
        recorded.operations.push(Operation { process, input, called, time, ended: Ended::Maybe });
        Call { identity: Rc::clone(&recorded.identity), index: recorded.operations.len() - 1 }
    }

    /// It was answered.
    ///
    /// # Panics
    ///
    /// If it is an operation of another history: a verdict about what was recorded wrongly would be wrong.
    #[track_caller]
    pub fn returns(&self, call: Call, output: O) {
        let mut recorded = self.0.borrow_mut();
        recorded.steps += 1;
        let at = recorded.steps;
        recorded.end(&call, Ended::Ok(output, at));
    }

    /// It did not happen, for sure.
    ///
    /// # Panics
    ///
    /// As [`returns`](Self::returns).
    #[track_caller]
    pub fn fails(&self, call: Call) {
        self.0.borrow_mut().end(&call, Ended::Failed);
    }

    /// The operations, in the order of their calls.
    pub fn operations(&self) -> Vec<Operation<I, O>> {
        self.0.borrow().operations.clone()
    }
}

impl<I, O> Recorded<I, O> {
    #[track_caller]
    fn end(&mut self, call: &Call, ended: Ended<O>) {
        let is_own = Rc::ptr_eq(&call.identity, &self.identity);
        assert!(is_own, "History: the operation is one of another history");
        let operation = &mut self.operations[call.index];
        operation.ended = ended;
        self.open.remove(&operation.process);
    }
}

impl<I, O> Operation<I, O> {
    /// What it was answered, if anybody knows.
    pub fn output(&self) -> Option<&O> {
        match &self.ended {
            Ended::Ok(output, _) => Some(output),
            Ended::Failed | Ended::Maybe => None,
        }
    }

    /// At which step it was answered, if it was.
    pub fn returned(&self) -> Option<u64> {
        match self.ended {
            Ended::Ok(_, at) => Some(at),
            Ended::Failed | Ended::Maybe => None,
        }
    }
}

impl<I: Clone + Debug, O: Clone + Debug> Default for History<I, O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, O> Clone for History<I, O> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<I, O> Debug for History<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.borrow().operations.len();
        f.debug_struct("History").field("operations", &count).finish_non_exhaustive()
    }
}

impl<I: Debug, O: Debug> fmt::Display for Operation<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, input, called, time, ended } = self;
        write!(f, "{called}.. process {process}")?;
        if let Some(time) = time {
            write!(f, " at {time}")?;
        }
        write!(f, ": {input:?}")?;
        match ended {
            Ended::Ok(output, at) => write!(f, " -> {output:?} at {at}"),
            Ended::Failed => f.write_str(" failed"),
            Ended::Maybe => f.write_str(" -> ?"),
        }
    }
}

impl Verdict {
    /// True if the history can be: not if that is unknown.
    pub fn is_yes(&self) -> bool {
        *self == Self::Linearizable
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::Unknown { looked_at } => {
                write!(f, "unknown: the search was ended after {looked_at} configurations")
            }
            Self::Violated(violation) => write!(f, "not linearizable: {violation}"),
        }
    }
}

impl Violation {
    fn contradiction<I: Debug, O: Debug>(
        why: &'static str,
        operations: &[&Operation<I, O>],
    ) -> Verdict {
        let operations = operations.iter().map(ToString::to_string).collect();
        Verdict::Violated(Self::Contradiction { why, operations })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |f: &mut fmt::Formatter<'_>, lines: &[String]| {
            lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
        };
        match self {
            Self::NoOrder { longest, stuck } => {
                f.write_str("the longest order that was found:")?;
                lines(f, longest)?;
                f.write_str("\nand none of these can come next:")?;
                lines(f, stuck)
            }
            Self::Contradiction { why, operations } => {
                f.write_str(why)?;
                lines(f, operations)
            }
        }
    }
}
