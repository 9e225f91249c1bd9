//! What a world that has ended leaves to the next one that is given it: memory, and nothing else.
//!
//! A search runs many small worlds, and to make one and to take it down is two fifths of the work if nothing is
//! kept. So a world outlives its end, emptied: its scheduler and its network, whose tables keep their room, and the
//! engines of its hosts, each with its driver. What users gave it is dropped when it ends, and numbers begin anew.
//! Every part has a `renew`, which names all its fields, so that none is forgotten; and nothing asks how much room
//! there is. So no world can tell whether another went before it.
//!
//! A world that somebody still has a handle of, when it has ended, stays that handle's: nothing is left then.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use slab::Slab;

use crate::scheduler::Scheduler;

/// How many entries a table has room for that is left behind.
pub(crate) const ENTRIES_MAX: usize = 1_024;

/// Memory that worlds leave to each other, so that those who run many allocate little: give it to
/// [`Sim::run_in`](crate::Sim::run_in). Clones are the same memory. What runs in it has the same hash as what does
/// not.
///
/// ```
/// use std::time::Duration;
/// use sim_net::{Memory, Sim};
///
/// let memory = Memory::default();
/// for seed in 0..100 {
///     let report = Sim::new(seed).run_in(&memory, |world| async move {
///         world.host("a").sleep(Duration::from_secs(1)).await;
///     });
///     assert!(report.outcome.is_ok());
/// }
/// ```
#[derive(Clone, Default)]
pub struct Memory(Rc<Cell<Option<Rested>>>);

impl Memory {
    /// The last world, emptied. Not every world that begins follows one that has ended: there may be none.
    pub(crate) fn take(&self) -> Option<Rc<Scheduler>> {
        self.0.take()?.0.take()
    }

    pub(crate) fn leave(&self, world: Rc<Scheduler>) {
        self.0.set(Some(Rested(Some(world))));
    }
}

/// A world that has ended, whose engines hold it, as it holds them.
struct Rested(Option<Rc<Scheduler>>);

impl Drop for Rested {
    fn drop(&mut self) {
        if let Some(world) = &self.0 {
            world.drop_rested();
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// Empties a table, and gives it up if it is large.
pub(crate) fn clear<T>(table: &mut Vec<T>) {
    table.clear();
    if table.capacity() > ENTRIES_MAX {
        *table = Vec::new();
    }
}

/// Empties a queue, and gives it up if it is large.
pub(crate) fn clear_queue<T>(queue: &mut VecDeque<T>) {
    queue.clear();
    if queue.capacity() > ENTRIES_MAX {
        *queue = VecDeque::new();
    }
}

/// Empties a slab, and gives it up if it is large.
pub(crate) fn clear_slab<T>(slab: &mut Slab<T>) {
    slab.clear();
    if slab.capacity() > ENTRIES_MAX {
        *slab = Slab::new();
    }
}

/// Empties a map: most are empty, which is asked in less time than to drop one takes.
pub(crate) fn clear_map<K, V>(map: &mut BTreeMap<K, V>) {
    if !map.is_empty() {
        map.clear();
    }
}
