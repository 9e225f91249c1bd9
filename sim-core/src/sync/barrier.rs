//! Tasks that wait for each other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use super::waiters::Waiters;

/// asyncio's `Barrier`: so many tasks wait for each other, and go on together, again and again.
///
/// While those that have met leave, newcomers wait for the next round (contract H-51). A wait that is given up
/// while others are still missed counts no more; the numbers of the rest close up, so that no two are the same
/// (CPython's may be).
///
/// ```
/// use sim_core::sync::Barrier;
/// use sim_core::testing;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let indexes = lp.run_until_complete(async move {
///     let barrier = Barrier::new(3);
///     let mut indexes = Vec::new();
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = barrier.clone();
///             handle.create_task(async move { barrier.wait().await })
///         })
///         .collect();
///     for task in tasks {
///         indexes.push(task.await.expect("it neither panics nor is cancelled"));
///     }
///     indexes
/// })?;
/// assert_eq!(indexes, [Ok(0), Ok(1), Ok(2)]);
/// # Ok::<(), sim_core::RunError>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    shared: Rc<Shared>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Somebody is still missed.
    Filling,
    /// All have come, and leave.
    Draining,
    /// Those that waited are told that it is broken; then it fills again.
    Resetting,
    Broken,
}

struct Shared {
    parties: usize,
    state: Cell<State>,
    /// Who is inside, by order of arrival: those that wait for others, and those that have not left yet.
    /// When all have come, each has its number.
    inside: RefCell<BTreeMap<u64, usize>>,
    arrivals: Cell<u64>,
    /// All that wait, for a place inside or for the others.
    waiters: Waiters,
}

/// The barrier was [reset](Barrier::reset) or [aborted](Barrier::abort) while a task waited, or is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenBarrier;

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: it was reset or aborted")
    }
}

impl Error for BrokenBarrier {}

impl Barrier {
    /// A barrier for so many tasks.
    ///
    /// # Panics
    ///
    /// If `parties` is 0.
    #[track_caller]
    pub fn new(parties: usize) -> Self {
        assert!(parties > 0, "a barrier is for at least one task");
        let shared = Shared {
            parties,
            state: Cell::new(State::Filling),
            inside: RefCell::default(),
            arrivals: Cell::new(0),
            waiters: Waiters::default(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// Waits until all have come. Each is given its number, in order of arrival, from 0.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`] if it is broken, or was reset or aborted meanwhile.
    pub async fn wait(&self) -> Result<usize, BrokenBarrier> {
        let shared = &*self.shared;
        shared.wait_while(|state| matches!(state, State::Draining | State::Resetting)).await;
        if shared.state.get() == State::Broken {
            return Err(BrokenBarrier);
        }
        let inside = Inside::enter(shared);
        if shared.inside() == shared.parties {
            shared.number_all();
            shared.change(State::Draining);
        } else {
            shared.wait_while(|state| state == State::Filling).await;
        }
        match shared.state.get() {
            State::Broken | State::Resetting => Err(BrokenBarrier),
            State::Filling | State::Draining => Ok(inside.number()),
        }
    }

    /// Empties it, and has it start afresh: those that wait are told that it is broken.
    pub fn reset(&self) {
        let shared = &*self.shared;
        let state = if shared.inside() > 0 { State::Resetting } else { State::Filling };
        shared.change(state);
    }

    /// Breaks it for those that wait and for all that come, until it is [reset](Self::reset).
    pub fn abort(&self) {
        self.shared.change(State::Broken);
    }

    /// How many tasks it is for.
    pub fn parties(&self) -> usize {
        self.shared.parties
    }

    /// How many wait for the others: 0 while they leave.
    pub fn n_waiting(&self) -> usize {
        if self.shared.state.get() == State::Filling { self.shared.inside() } else { 0 }
    }

    /// True if it was aborted.
    pub fn broken(&self) -> bool {
        self.shared.state.get() == State::Broken
    }
}

impl Shared {
    fn inside(&self) -> usize {
        self.inside.borrow().len()
    }

    fn number_all(&self) {
        for (number, known) in self.inside.borrow_mut().values_mut().enumerate() {
            *known = number;
        }
    }

    fn change(&self, state: State) {
        self.state.set(state);
        self.waiters.grant_all();
    }

    async fn wait_while(&self, mut blocks: impl FnMut(State) -> bool) {
        while blocks(self.state.get()) {
            self.waiters.wait(|| ()).await;
        }
    }
}

/// A task inside a barrier.
struct Inside<'a> {
    shared: &'a Shared,
    arrival: u64,
}

impl<'a> Inside<'a> {
    fn enter(shared: &'a Shared) -> Self {
        let arrival = shared.arrivals.get();
        shared.arrivals.set(arrival + 1);
        shared.inside.borrow_mut().insert(arrival, 0);
        Self { shared, arrival }
    }

    fn number(&self) -> usize {
        self.shared.inside.borrow().get(&self.arrival).copied().unwrap_or_default()
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.shared.inside.borrow_mut().remove(&self.arrival);
        let leaving = matches!(self.shared.state.get(), State::Draining | State::Resetting);
        if leaving && self.shared.inside() == 0 {
            self.shared.change(State::Filling);
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parties, waiting, broken) = (self.parties(), self.n_waiting(), self.broken());
        f.debug_struct("Barrier")
            .field("parties", &parties)
            .field("n_waiting", &waiting)
            .field("broken", &broken)
            .finish()
    }
}
