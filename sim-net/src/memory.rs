//! What a world that has ended leaves to the next one that is given it: memory, and nothing else.
//!
//! A search runs many small worlds, and to build one is mostly to allocate. So the tables of a world
//! outlive it, emptied: its agenda, its sockets, the buffers of its connections, the tables of its
//! engines. What a table holds is dropped when its world ends, numbers begin anew, and nothing asks
//! how much room there is, so no world can tell whether another went before it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use sim_core::driver::Readiness;
use sim_core::engine::EngineMemory;

use crate::agenda::Agenda;
use crate::buffer::Pool;
use crate::host::{Host, HostMemory};
use crate::ready_hosts::ReadyHosts;
use crate::scheduler::Seat;
use crate::socket_table::SocketTable;
use crate::tcp::stream::Streams;

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
pub struct Memory(Rc<Cell<Option<Box<Spare>>>>);

impl Memory {
    /// What the last world has left. Not every world that begins follows one that has ended: there may be nothing.
    pub(crate) fn take(&self) -> Box<Spare> {
        self.0.take().unwrap_or_default()
    }

    pub(crate) fn leave(&self, spare: Box<Spare>) {
        self.0.set(Some(spare));
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// The memory of a world, without anything in it.
#[derive(Default)]
pub(crate) struct Spare {
    pub(crate) agenda: Agenda,
    pub(crate) sockets: SocketTable,
    pub(crate) streams: Streams,
    pub(crate) pool: Pool,
    pub(crate) ready: ReadyHosts,
    pub(crate) hosts: Vec<Host>,
    pub(crate) host_memory: Vec<HostMemory>,
    pub(crate) engines: Option<EngineMemory>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) events: Vec<Readiness>,
    pub(crate) rung: Vec<u32>,
}

/// Empties a table, and gives it up if it is large.
pub(crate) fn clear<T>(table: &mut Vec<T>) {
    table.clear();
    if table.capacity() > ENTRIES_MAX {
        *table = Vec::new();
    }
}
