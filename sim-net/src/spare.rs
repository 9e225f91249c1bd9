//! What a world that has ended leaves to the next one on its thread: memory, and nothing else.
//!
//! A search runs many small worlds, and to build one is mostly to allocate. So the tables of a world
//! outlive it, emptied: its agenda, its sockets, the buffers of its connections, the tables of its
//! engines. What a table holds is dropped when its world ends, numbers begin anew, and nothing asks
//! how much room there is, so no world can tell whether another went before it.

use std::cell::Cell;

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

thread_local! {
    /// What the last world of this thread that ended has left.
    static LEFT: Cell<Option<Spare>> = const { Cell::new(None) };
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

impl Spare {
    /// What there is on this thread. Not every world that ends is followed by one: there may be
    /// nothing.
    pub(crate) fn take() -> Self {
        LEFT.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Leaves it to the next world, unless the thread is ending.
    pub(crate) fn leave(self) {
        let _ = LEFT.try_with(|left| left.set(Some(self)));
    }
}

/// Empties a table, and gives it up if it is large.
pub(crate) fn clear<T>(table: &mut Vec<T>) {
    table.clear();
    if table.capacity() > ENTRIES_MAX {
        *table = Vec::new();
    }
}
