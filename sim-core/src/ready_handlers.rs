//! Handlers of readiness: what a driver builds `add_reader` and `add_writer` upon.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use crate::Loop;
use crate::arena::Key;
use crate::driver::{Driver, Readiness, Token};
use crate::engine::callbacks::Place;
use crate::engine::core::Core;
use crate::engine::report::ErrorContext;
use crate::engine::sources::Registered;
use crate::handle::closed_error;
use crate::trace::Record;

/// What a descriptor is ready for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// To be read from.
    Read,
    /// To be written to.
    Write,
}

/// A reader and a writer of a descriptor that is the user's own, for drivers that watch such
/// descriptors: the engine's half of asyncio's `add_reader` and `add_writer` (contract G-50, G-51).
///
/// The driver reports [`Readiness`] under the [`token`](Self::token) at the beginning of every turn
/// in which the descriptor is ready. The handlers run as handles of that turn, behind those that
/// were queued before and ahead of its timers (A-21), the reader before the writer. Dropping this
/// forgets both.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use sim_core::Time;
/// use sim_core::driver::{Direction, Readiness, ReadyHandlers};
/// use sim_core::engine::{Engine, EngineMemory};
/// use sim_core::testing::ScriptDriver;
///
/// let driver = Rc::new(ScriptDriver::new());
/// let engine = Engine::new(Rc::clone(&driver) as Rc<_>, EngineMemory::default());
/// let handlers = ReadyHandlers::new(&engine.handle(), &*driver)?;
/// let calls = Rc::new(Cell::new(0));
/// let count = Rc::clone(&calls);
/// handlers.add(Direction::Read, move || count.set(count.get() + 1))?;
/// let token = handlers.token();
/// let ready = Readiness { token, readable: true, writable: true, read_closed: false };
/// engine.turn(Time::ZERO, &mut vec![ready]);
/// assert_eq!(calls.get(), 1);
/// assert!(handlers.remove(Direction::Read));
/// engine.turn(Time::ZERO, &mut vec![ready]);
/// assert_eq!(calls.get(), 1);
/// # std::io::Result::Ok(())
/// ```
pub struct ReadyHandlers {
    slots: Rc<Slots>,
    key: Key,
}

/// The loop's side of it.
pub(crate) struct Slots {
    core: Rc<Core>,
    reader: Slot,
    writer: Slot,
    /// Where the latest handler was added.
    pub(crate) place: Cell<Place>,
}

type Handler = Rc<RefCell<dyn FnMut()>>;

#[derive(Default)]
struct Slot {
    handler: RefCell<Option<Handler>>,
    /// Where it was added.
    place: Cell<Place>,
    /// It is to run in this turn.
    is_queued: Cell<bool>,
}

impl Slot {
    /// Puts another handler in, or none, and gives back what was there, whose call is not to come
    /// even if it was queued.
    fn replace(&self, handler: Option<Handler>) -> Option<Handler> {
        self.is_queued.set(false);
        self.handler.replace(handler)
    }

    fn queue_if(&self, ready: bool) -> bool {
        let queued = ready && self.handler.borrow().is_some();
        self.is_queued.set(self.is_queued.get() || queued);
        queued
    }
}

impl ReadyHandlers {
    /// No handlers yet, of a descriptor that `driver` watches for `lp`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the loop is not one of this driver; on a closed loop.
    pub fn new(lp: &Loop, driver: &dyn Driver) -> io::Result<Self> {
        let core = Rc::clone(&lp.core);
        if core.is_closed() {
            return Err(closed_error());
        }
        if !ptr::addr_eq(&*core.driver, driver) {
            let text = "the loop runs on another driver";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (reader, writer, place) = (Slot::default(), Slot::default(), Cell::default());
        let slots = Rc::new(Slots { core, reader, writer, place });
        let key = lp.core.sources.borrow_mut().insert(Registered::Handlers(Rc::clone(&slots)));
        Ok(Self { slots, key })
    }

    /// What its readiness is reported under. No other source of the loop ever has the same.
    pub fn token(&self) -> Token {
        Token(self.key.to_bits())
    }

    /// Calls `handler` in every turn that the readiness is reported in. It replaces the handler that
    /// was there, which is not called any more even if it was queued.
    ///
    /// A panic in it is one in any callback of the loop; it stays added.
    ///
    /// # Errors
    ///
    /// On a closed loop.
    #[track_caller]
    pub fn add(&self, direction: Direction, handler: impl FnMut() + 'static) -> io::Result<()> {
        if self.slots.core.is_closed() {
            return Err(closed_error());
        }
        let (slot, place) = (self.slots.of(direction), Some(Location::caller()));
        slot.place.set(place);
        self.slots.place.set(place);
        let replaced = slot.replace(Some(Rc::new(RefCell::new(handler))));
        drop(replaced);
        Ok(())
    }

    /// Takes the handler away, which is not called any more even if it was queued. False if there
    /// was none.
    pub fn remove(&self, direction: Direction) -> bool {
        self.slots.of(direction).replace(None).is_some()
    }

    /// True if there is a handler.
    pub fn has(&self, direction: Direction) -> bool {
        self.slots.of(direction).handler.borrow().is_some()
    }
}

impl Drop for ReadyHandlers {
    fn drop(&mut self) {
        let removed = self.slots.core.sources.borrow_mut().remove(self.key);
        drop(removed);
        self.slots.release();
    }
}

impl fmt::Debug for ReadyHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyHandlers")
            .field("reader", &self.has(Direction::Read))
            .field("writer", &self.has(Direction::Write))
            .finish_non_exhaustive()
    }
}

impl Slots {
    fn of(&self, direction: Direction) -> &Slot {
        match direction {
            Direction::Read => &self.reader,
            Direction::Write => &self.writer,
        }
    }

    /// Notes who is to run, and says whether that is the reader, and the writer.
    pub(crate) fn note_readiness(&self, event: &Readiness) -> (bool, bool) {
        (self.reader.queue_if(event.readable), self.writer.queue_if(event.writable))
    }

    /// Runs a handler, unless it was removed or replaced since it was queued.
    pub(crate) fn on_ready(&self, direction: Direction) {
        let slot = self.of(direction);
        if !slot.is_queued.take() {
            return;
        }
        let Some(handler) = slot.handler.borrow().clone() else {
            return;
        };
        self.core.trace(Record::Soon);
        let place = slot.place.get();
        if let Err(message) = self.core.contain(|| (handler.borrow_mut())()) {
            let context = ErrorContext::panic("Exception in callback", message);
            self.core.report_made(context, place);
        }
    }

    /// Forgets both handlers.
    pub(crate) fn release(&self) {
        let handlers = (self.reader.replace(None), self.writer.replace(None));
        drop(handlers);
    }
}
