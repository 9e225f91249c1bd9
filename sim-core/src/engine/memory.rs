//! The memory that engines share while they live, and leave to each other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::callbacks::Callbacks;
use super::core::Queued;
use super::inbox::Woken;
use super::sources::{Flow, Registered};
use crate::arena::{Arena, Key};
use crate::task::AnyTask;

/// How many engines leave their tables behind.
const TABLES_MAX: usize = 64;
/// How many entries a table has room for that is left behind.
pub(super) const ENTRIES_MAX: usize = 1_024;

/// The memory that the engines of a world share: the buffer that reads go through, which grows to
/// what reads need, up to 256 KiB; and the tables of engines that are gone, for those to come. A
/// clone is the same memory.
///
/// It carries nothing from one engine to another: what is left in it is empty.
///
/// ```
/// use std::rc::Rc;
/// use sim_core::engine::{Engine, EngineMemory};
/// use sim_core::testing::ScriptDriver;
///
/// let memory = EngineMemory::default();
/// for _ in 0..2 {
///     let engine = Engine::new(Rc::new(ScriptDriver::new()), memory.clone());
///     engine.handle().call_soon(|| {});
/// }
/// ```
#[derive(Clone, Default)]
pub struct EngineMemory(Rc<Shared>);

#[derive(Default)]
struct Shared {
    buffer: RefCell<Vec<u8>>,
    tables: RefCell<Vec<Tables>>,
}

/// The tables of one engine.
#[derive(Default)]
pub(crate) struct Tables {
    pub(super) ready: Vec<Queued>,
    pub(super) batch: Vec<Queued>,
    pub(super) woken: Vec<Woken>,
    pub(super) inbox: Vec<Woken>,
    pub(super) flow: VecDeque<Flow>,
    pub(super) callbacks: Callbacks,
    pub(super) tasks: Arena<Rc<dyn AnyTask>>,
    pub(super) sources: Arena<Registered>,
    pub(super) still_readable: Vec<Key>,
}

impl EngineMemory {
    /// Takes the buffer out. User code runs while it is out; a nested taker gets a fresh one.
    #[inline]
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.buffer.borrow_mut())
    }

    #[inline]
    pub(crate) fn put_back(&self, buffer: Vec<u8>) {
        let mut place = self.0.buffer.borrow_mut();
        if place.len() < buffer.len() {
            *place = buffer;
        }
    }

    /// Tables for a new engine.
    pub(super) fn take_tables(&self) -> Tables {
        self.0.tables.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the tables of an engine that is gone, if they are small.
    pub(super) fn keep_tables(&self, mut tables: Tables) {
        if tables.renew() {
            let mut kept = self.0.tables.borrow_mut();
            if kept.len() < TABLES_MAX {
                kept.push(tables);
            }
        }
    }
}

impl Tables {
    /// Makes them as new but for their room. False if they are too large to be kept, or not empty of
    /// what users gave the engine.
    fn renew(&mut self) -> bool {
        let Self { ready, batch, woken, inbox, flow, callbacks, tasks, sources, still_readable } =
            self;
        if inbox.capacity() > ENTRIES_MAX {
            return false;
        }
        inbox.clear();
        Room { ready, batch, woken, flow, callbacks, tasks, sources, still_readable }.renew()
    }
}

/// The tables of one engine, wherever they are.
pub(super) struct Room<'a> {
    pub(super) ready: &'a mut Vec<Queued>,
    pub(super) batch: &'a mut Vec<Queued>,
    pub(super) woken: &'a mut Vec<Woken>,
    pub(super) flow: &'a mut VecDeque<Flow>,
    pub(super) callbacks: &'a mut Callbacks,
    pub(super) tasks: &'a mut Arena<Rc<dyn AnyTask>>,
    pub(super) sources: &'a mut Arena<Registered>,
    pub(super) still_readable: &'a mut Vec<Key>,
}

impl Room<'_> {
    /// Makes them as new but for their room. False if they are too large to be kept, or not empty of
    /// what users gave the engine.
    pub(super) fn renew(self) -> bool {
        let Self { ready, batch, woken, flow, callbacks, tasks, sources, still_readable } = self;
        let room = [
            ready.capacity(),
            batch.capacity(),
            woken.capacity(),
            flow.capacity(),
            callbacks.capacity(),
            tasks.capacity(),
            sources.capacity(),
            still_readable.capacity(),
        ];
        if !flow.is_empty() || room.into_iter().any(|entries| entries > ENTRIES_MAX) {
            return false;
        }
        ready.clear();
        batch.clear();
        woken.clear();
        still_readable.clear();
        callbacks.renew() && tasks.renew() && sources.renew()
    }
}

impl fmt::Debug for EngineMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineMemory")
            .field("buffer", &self.0.buffer.borrow().len())
            .field("tables", &self.0.tables.borrow().len())
            .finish()
    }
}
