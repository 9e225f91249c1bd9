//! Who runs when: the loop over the agenda and the engines of a world.
//!
//! The world's *control loop* (or a bare loop) is host 0. Its driver's `wait` is [`Scheduler::run`]:
//! it handles what is due, gives the other hosts their turns, and moves the clock, until the control
//! loop has something to do itself. At each instant, in this order: all due events of the agenda;
//! the control loop, if it is ready; one ready host; and again.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use sim_core::driver::{Next, Readiness};
use sim_core::engine::{Engine, ReadBuffer};
use sim_core::{Loop, PanicPolicy, RunError, Time};

use crate::bell::Bell;
use crate::driver::HostDriver;
use crate::network::Network;
use crate::trace::Record;

/// The index of the control loop.
pub(crate) const CONTROL: u32 = 0;

/// What a run may take at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_time: Duration,
    pub(crate) max_events: u64,
    pub(crate) max_turns_per_instant: u64,
    pub(crate) max_descriptors: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_time: Duration::from_secs(10 * 365 * 86_400),
            max_events: 10_000_000_000,
            max_turns_per_instant: 1_000_000,
            max_descriptors: u32::MAX,
        }
    }
}

/// A world: the network, the engines of its hosts, and the order of everything.
///
/// Its methods borrow the network for themselves alone; no borrow is held while an engine runs.
pub(crate) struct Scheduler {
    now: Cell<Time>,
    network: RefCell<Network>,
    /// The engines of the hosts; the control loop's is its own.
    engines: RefCell<Vec<Option<Rc<Engine>>>>,
    pub(crate) bell: Arc<Bell>,
    buffer: ReadBuffer,
    pub(crate) limits: Limits,
    panics: PanicPolicy,
    turns: Cell<u64>,
    current: Cell<u32>,
    settlers: RefCell<Vec<Rc<Settler>>>,
    /// Emptied and used again each turn.
    events: Cell<Vec<Readiness>>,
    rung: Cell<Vec<u32>>,
}

/// Somebody who waits for the world to be quiet.
#[derive(Debug, Default)]
pub(crate) struct Settler {
    pub(crate) quiet: Cell<bool>,
    pub(crate) waker: RefCell<Option<Waker>>,
}

impl Scheduler {
    /// A world without hosts but the control loop.
    pub(crate) fn new(network: Network, limits: Limits, panics: PanicPolicy) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Time::ZERO),
            network: RefCell::new(network),
            engines: RefCell::new(Vec::new()),
            bell: Arc::default(),
            buffer: ReadBuffer::default(),
            limits,
            panics,
            turns: Cell::new(0),
            current: Cell::new(CONTROL),
            settlers: RefCell::default(),
            events: Cell::default(),
            rung: Cell::default(),
        })
    }

    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    #[inline]
    pub(crate) fn network(&self) -> RefMut<'_, Network> {
        self.network.borrow_mut()
    }

    /// The host whose turn it is, or was when a panic ended it.
    pub(crate) fn current(&self) -> u32 {
        self.current.get()
    }

    /// Makes the engine of the control loop. It must be the first.
    pub(crate) fn control_engine(self: &Rc<Self>, name: &Arc<str>, is_named: bool) -> Engine {
        let index = self.network().add_host(name, is_named);
        debug_assert_eq!(index, CONTROL);
        self.engines.borrow_mut().push(None);
        self.engine(index, name)
    }

    fn engine(self: &Rc<Self>, index: u32, name: &Arc<str>) -> Engine {
        let driver = HostDriver::new(Rc::clone(self), index, Arc::clone(name));
        let engine = Engine::new(Rc::new(driver), self.buffer.clone());
        engine.handle().set_panic_policy(self.panics);
        engine
    }

    /// The loop of the host called `name`, which is made if there is none.
    pub(crate) fn host(self: &Rc<Self>, name: &str) -> Loop {
        let known = self.network().host_named(name);
        if let Some(index) = known
            && let Some(Some(engine)) = self.engines.borrow().get(index as usize)
        {
            return engine.handle();
        }
        let name = Arc::from(name);
        let index = self.network().add_host(&name, true);
        let engine = Rc::new(self.engine(index, &name));
        let handle = engine.handle();
        let mut engines = self.engines.borrow_mut();
        engines.resize(index as usize, None);
        engines.push(Some(engine));
        handle
    }

    /// A host has work that arose outside its turns.
    pub(crate) fn schedule(&self, index: u32) {
        self.network().wake_host(index);
    }

    /// Registers somebody who waits for the world to be quiet.
    pub(crate) fn add_settler(&self, settler: Rc<Settler>) {
        self.settlers.borrow_mut().push(settler);
    }

    /// Drops every host's engine, and so everything that its user gave it.
    pub(crate) fn close(&self) {
        loop {
            let engines = std::mem::take(&mut *self.engines.borrow_mut());
            if engines.is_empty() {
                break;
            }
            drop(engines);
        }
        self.settlers.take();
    }

    /// Runs the world until the control loop, whose turn ended with `next`, has something to do.
    pub(crate) fn run(&self, next: Next, events: &mut Vec<Readiness>) -> Result<(), RunError> {
        let mut network = self.network();
        network.plan(CONTROL, next);
        loop {
            if self.bell.is_rung() {
                self.answer_bell(&mut network)?;
            }
            network.run_due();
            if std::mem::take(&mut network.host(CONTROL).queued) {
                return self.begin_turn(&mut network, CONTROL, events);
            }
            if let Some(index) = network.next_ready() {
                let mut host_events = self.events.take();
                self.begin_turn(&mut network, index, &mut host_events)?;
                drop(network);
                let next = self.turn(index, host_events);
                network = self.network();
                network.plan(index, next);
            } else if self.settles(&network) {
                drop(network);
                self.wake_settlers();
                network = self.network();
            } else if let Some(at) = network.wire.agenda.next_time() {
                self.advance(&mut network, at)?;
            } else {
                drop(network);
                return self.report_idle();
            }
        }
    }

    /// Wakes the hosts whose tasks were woken from outside.
    fn answer_bell(&self, network: &mut Network) -> Result<(), RunError> {
        let mut rung = self.rung.take();
        self.bell.take(&mut rung);
        for index in rung.drain(..) {
            network.wake_host(index);
            self.check_wakers_of(index)?;
        }
        self.rung.set(rung);
        Ok(())
    }

    /// A foreign thread that woke a task ends the run (contract, ruling 8). The control loop looks
    /// for itself.
    fn check_wakers_of(&self, index: u32) -> Result<(), RunError> {
        let engine = self.engines.borrow().get(index as usize).cloned().flatten();
        match engine.and_then(|engine| engine.foreign_wake()) {
            Some(thread) => Err(RunError::ForeignWake { thread }),
            None => Ok(()),
        }
    }

    /// Moves a host's readiness into `events`, and counts the turn.
    #[inline(always)]
    fn begin_turn(
        &self,
        network: &mut Network,
        index: u32,
        events: &mut Vec<Readiness>,
    ) -> Result<(), RunError> {
        let turns = self.turns.get() + 1;
        self.turns.set(turns);
        let Limits { max_turns_per_instant, max_events, .. } = self.limits;
        if turns > max_turns_per_instant {
            return Err(limit("max_turns_per_instant", format!("{max_turns_per_instant} turns")));
        }
        if network.wire.trace.steps() >= max_events {
            return Err(limit("max_events", format!("{max_events} events")));
        }
        self.current.set(index);
        network.record(index, Record::Turn);
        network.take_readiness(index, events);
        Ok(())
    }

    /// Gives a host its turn, and says when it wants the next.
    #[inline]
    fn turn(&self, index: u32, mut events: Vec<Readiness>) -> Next {
        /// Plans the host's next turn when a panic ends this one: what it had left stays queued.
        struct PlanAnyway<'a>(&'a Scheduler, u32, &'a Engine);
        impl Drop for PlanAnyway<'_> {
            fn drop(&mut self) {
                self.0.network().plan(self.1, self.2.next());
            }
        }
        let engine = self.engines.borrow().get(index as usize).cloned().flatten();
        let Some(engine) = engine else { return Next::Never };
        let unfinished = PlanAnyway(self, index, &engine);
        let next = engine.turn(self.now(), &mut events);
        std::mem::forget(unfinished);
        events.clear();
        self.events.set(events);
        self.current.set(CONTROL);
        next
    }

    /// Nothing is left to do at this instant: moves the clock to the next event.
    #[inline]
    fn advance(&self, network: &mut Network, at: Time) -> Result<(), RunError> {
        let max_time = self.limits.max_time;
        if at.since_epoch() > max_time {
            return Err(limit("max_time", format!("{max_time:?} of virtual time")));
        }
        self.now.set(at);
        network.wire.now = at;
        self.turns.set(0);
        Ok(())
    }

    /// True if somebody waits for the world to be quiet, and it is.
    #[inline]
    fn settles(&self, network: &Network) -> bool {
        !self.settlers.borrow().is_empty() && network.is_quiet()
    }

    #[cold]
    fn wake_settlers(&self) {
        let settlers = self.settlers.take();
        for settler in settlers {
            settler.quiet.set(true);
            let waker = settler.waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Nothing can ever happen again.
    #[cold]
    fn report_idle(&self) -> Result<(), RunError> {
        let engines = self.engines.borrow().clone();
        let mut pending = Vec::new();
        for (index, engine) in engines.iter().enumerate() {
            self.check_wakers_of(index as u32)?;
            let Some(engine) = engine else { continue };
            let host = Arc::clone(&self.network().wire.trace.hosts[index]);
            let tasks = engine.pending_tasks().into_iter();
            pending.extend(tasks.map(|task| format!("{host}: task {task:?}")));
        }
        Err(RunError::Deadlock { pending })
    }
}

#[cold]
fn limit(name: &'static str, bound: String) -> RunError {
    RunError::Limit { name, bound }
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("now", &self.now.get()).finish_non_exhaustive()
    }
}
