//! Who runs when: the loop over the agenda and the engines of a world.
//!
//! The world's *control loop* (or a bare loop) is host 0. Its driver's `wait` is [`Scheduler::run`]:
//! it handles what is due, gives the other hosts their turns, and moves the clock, until the control
//! loop has something to do itself. At each instant, in this order: all due events of the agenda;
//! the control loop, if it is ready; one ready host; and again.

mod next_world;

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use sim_core::driver::{Next, Readiness};
use sim_core::engine::{Engine, EngineMemory, FirstPanic, Turner};
use sim_core::{Boot, Loop, PanicPolicy, RunError, Time};

use crate::bell::Bell;
use crate::driver::HostDriver;
use crate::holds::{End, Holder, State};
use crate::host::INCARNATIONS_MAX;
use crate::leftovers::HostLeftovers;
use crate::memory::Memory;
use crate::network::Network;
use crate::orders::Orders;
use crate::process::Programs;
use crate::properties::Properties;
use crate::report::STOP_AT;
use crate::stop_at::{self, StopAt};
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
    /// When all faults end, if they do.
    pub(crate) calm_at: Option<Duration>,
    /// By when the scenario must be done, if its faults end.
    pub(crate) live_until: Option<Duration>,
    /// Where somebody wants to look at the run.
    pub(crate) stop_at: Option<StopAt>,
}

impl Limits {
    /// By when the scenario must be done.
    fn time_max(&self) -> Time {
        Time::ZERO + self.live_until.unwrap_or(self.max_time).min(self.max_time)
    }

    /// The last moment of the run.
    fn end(&self) -> Time {
        match self.stop_at {
            Some(StopAt::Time(stop)) => self.time_max().min(Time::ZERO + stop),
            Some(StopAt::Step(_)) | None => self.time_max(),
        }
    }

    /// How many records the run may have.
    fn events_max(&self) -> u64 {
        match self.stop_at {
            Some(StopAt::Step(step)) => self.max_events.min(step),
            Some(StopAt::Time(_)) | None => self.max_events,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_time: Duration::from_secs(10 * 365 * 86_400),
            max_events: 10_000_000_000,
            max_turns_per_instant: 1_000_000,
            max_descriptors: u32::MAX,
            calm_at: None,
            live_until: None,
            stop_at: None,
        }
    }
}

/// A world: the network, the engines of its hosts, and the order of everything.
///
/// Its methods borrow the network for themselves alone; no borrow is held while an engine runs.
pub(crate) struct Scheduler {
    now: Cell<Time>,
    network: RefCell<Network>,
    /// The processes of the hosts; the control loop's is its own.
    seats: RefCell<Vec<Seat>>,
    /// Engines of processes that are gone, until no callback runs and they can be dropped.
    departed: RefCell<Vec<Engine>>,
    pub(crate) orders: Orders,
    pub(crate) properties: RefCell<Properties>,
    pub(crate) programs: RefCell<Programs>,
    pub(crate) bell: Arc<Bell>,
    engines: EngineMemory,
    /// Where it goes when the world ends.
    memory: Cell<Option<Memory>>,
    /// Processes of hosts of the last world, those of later hosts first.
    rested: RefCell<Vec<Process>>,
    limits: Cell<Limits>,
    /// The last moment that the limits allow.
    end: Cell<Time>,
    /// How many records they allow, and how many turns at one instant.
    events_max: Cell<u64>,
    turns_max: Cell<u64>,
    panics: Cell<PanicPolicy>,
    /// A host that was to start once more than it can.
    worn_out: Cell<Option<u32>>,
    turns: Cell<u64>,
    current: Cell<u32>,
    settlers: RefCell<Vec<Rc<Settler>>>,
    /// Emptied and used again each turn.
    events: Cell<Vec<Readiness>>,
    rung: Cell<Vec<u32>>,
}

/// The place of a host's process: a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
pub(crate) struct Seat {
    process: Option<Process>,
    /// The loop of the process, or of the last one.
    handle: Option<Loop>,
    boot: Option<Boot>,
}

impl Seat {
    /// The engine of the process, if there is one.
    #[inline]
    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.process.as_ref().map(|process| &process.engine)
    }
}

/// The process of a host.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) driver: Rc<HostDriver>,
}

/// Somebody who waits for the world to be quiet.
#[derive(Debug, Default)]
pub(crate) struct Settler {
    pub(crate) quiet: Cell<bool>,
    pub(crate) waker: RefCell<Option<Waker>>,
}

impl Scheduler {
    /// One without a world.
    pub(crate) fn new() -> Rc<Self> {
        let (network, limits) = (Network::default(), Limits::default());
        let bell = Arc::clone(&network.name_service.bell);
        Rc::new(Self {
            now: Cell::new(Time::ZERO),
            network: RefCell::new(network),
            seats: RefCell::default(),
            departed: RefCell::default(),
            orders: Orders::default(),
            properties: RefCell::default(),
            programs: RefCell::default(),
            bell,
            engines: EngineMemory::default(),
            memory: Cell::new(None),
            rested: RefCell::default(),
            limits: Cell::new(limits),
            end: Cell::new(limits.end()),
            events_max: Cell::new(limits.events_max()),
            turns_max: Cell::new(limits.max_turns_per_instant),
            panics: Cell::new(PanicPolicy::EndRun),
            worn_out: Cell::new(None),
            turns: Cell::new(0),
            current: Cell::new(CONTROL),
            settlers: RefCell::default(),
            events: Cell::default(),
            rung: Cell::default(),
        })
    }

    /// A world begins. What becomes of it is left in `memory`.
    pub(crate) fn begin_world(&self, limits: Limits, panics: PanicPolicy, memory: Option<&Memory>) {
        self.limits.set(limits);
        self.end.set(limits.end());
        self.events_max.set(limits.events_max());
        self.turns_max.set(limits.max_turns_per_instant);
        self.panics.set(panics);
        self.memory.set(memory.cloned());
    }

    /// What a run may take.
    pub(crate) fn limits(&self) -> Limits {
        self.limits.get()
    }

    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    #[inline]
    pub(crate) fn network(&self) -> RefMut<'_, Network> {
        self.network.borrow_mut()
    }

    /// By when the scenario must be done.
    pub(crate) fn time_max(&self) -> Time {
        self.limits().time_max()
    }

    /// What user code has left on the hosts that are up.
    pub(crate) fn leftovers(&self) -> Vec<HostLeftovers> {
        let hosts = self.network().hosts.len() as u32;
        let engines = (0..hosts).filter_map(|index| Some((index, self.engine_of(index)?)));
        let left = engines.filter_map(|(index, engine)| {
            let mut items = engine.leftovers(&|address| self.network().name_of(address));
            // What boots a host is there as long as the host.
            items.retain(|item| item.place.is_none_or(|place| place.file() != file!()));
            let host = self.network().wire.trace.hosts[index as usize].to_string();
            (!items.is_empty()).then_some(HostLeftovers { host, items })
        });
        left.collect()
    }

    /// The run is over: protocols that are there tell their state, host by host.
    pub(crate) fn tell_states(&self) {
        let hosts = self.network().hosts.len() as u32;
        for (index, engine) in (0..hosts).filter_map(|index| Some((index, self.engine_of(index)?)))
        {
            self.current.set(index);
            engine.tell_states();
        }
        self.current.set(CONTROL);
    }

    /// The host whose turn it is, or was when a panic ended it.
    pub(crate) fn current(&self) -> u32 {
        self.current.get()
    }

    /// Makes the process of the control loop. It must be the first.
    pub(crate) fn control_process(self: &Rc<Self>, name: &str, is_named: bool) -> Process {
        let name = &self.name_of_next(name);
        let index = self.network().add_host(name, is_named);
        debug_assert_eq!(index, CONTROL);
        self.seats.borrow_mut().push(Seat::default());
        self.first_process(index, name)
    }

    /// Makes a process for a host.
    fn new_process(self: &Rc<Self>, index: u32, name: &Arc<str>) -> Process {
        let driver = Rc::new(HostDriver::new(Rc::clone(self), index, Arc::clone(name)));
        let engine = Engine::new(Rc::clone(&driver) as Rc<_>, self.engines.clone());
        engine.handle().set_panic_policy(self.panics.get());
        Process { engine, driver }
    }

    /// The places of the processes, by host.
    #[inline]
    pub(crate) fn seats(&self) -> Ref<'_, Vec<Seat>> {
        self.seats.borrow()
    }

    fn engine_of(&self, index: u32) -> Option<Turner> {
        let seats = self.seats.borrow();
        seats.get(index as usize)?.process.as_ref().map(|process| process.engine.turner())
    }

    /// The loop of the host called `name`, which is made if there is none.
    pub(crate) fn host(self: &Rc<Self>, name: &str) -> Loop {
        let known = self.network().host_named(name);
        let known = known.and_then(|index| self.seats.borrow().get(index as usize)?.handle.clone());
        if let Some(handle) = known {
            return handle;
        }
        let name = self.name_of_next(name);
        let index = self.network().add_host(&name, true);
        let process = self.first_process(index, &name);
        let handle = process.engine.handle();
        self.set_clocks_of(&name, index);
        if self.network().wire.clocks.has_own(index) {
            process.driver.use_own_clock();
        }
        let mut seats = self.seats.borrow_mut();
        // After the end of a world, whose seats are gone, a host may still be asked for.
        seats.resize_with(index as usize, Seat::default);
        let seat = Seat { process: Some(process), handle: Some(handle.clone()), boot: None };
        seats.push(seat);
        drop(seats);
        self.befall(&name);
        handle
    }

    /// Gives a host its boot function, and runs it.
    pub(crate) fn boot(self: &Rc<Self>, name: &str, boot: Boot) -> Loop {
        let lp = self.host(name);
        let index = self.network().host_named(name).expect("it was just made");
        let before = self.seats.borrow_mut()[index as usize].boot.replace(Rc::clone(&boot));
        assert!(before.is_none(), "host {name:?} has been given a boot function before");
        run_boot(&lp, boot);
        lp
    }

    // What befalls hosts.

    /// What a host's clock shows.
    pub(crate) fn local_time(&self, index: u32) -> Time {
        self.network().wire.local_time(index)
    }

    /// The machine of a host loses power.
    pub(crate) fn crash(&self, index: u32, by: Holder) -> bool {
        let changed = self.network().crash(index, by);
        self.end_process(index);
        changed
    }

    /// The process of a host dies: at once, unless its machine is frozen.
    pub(crate) fn kill(&self, index: u32) -> bool {
        let put_off = self.network().put_off_kill(index);
        if let Some(is_news) = put_off {
            return is_news;
        }
        // First, so that nothing that its end does is heard.
        self.end_process(index);
        self.network().kill(index)
    }

    /// Ends freezes of a machine, which goes on if they were the last ones.
    pub(crate) fn thaw(self: &Rc<Self>, index: u32, end: End) -> bool {
        let changed = self.network().thaw(index, end);
        self.meet_fate(index);
        changed
    }

    /// Ends pauses of a process, which goes on if they were the last ones.
    pub(crate) fn resume(self: &Rc<Self>, index: u32, end: End) -> bool {
        let changed = self.network().resume(index, end);
        self.meet_fate(index);
        changed
    }

    /// A process that goes on meets what could not befall it while it did not run, before its turn.
    fn meet_fate(self: &Rc<Self>, index: u32) {
        let (dies, signals, starts) = self.network().take_fate(index);
        if dies {
            self.kill(index);
        }
        signals.into_iter().for_each(|signal| self.act_on(index, signal, Holder::Hand));
        if starts {
            self.begin_life(index);
        }
    }

    /// The process is gone: it does nothing any more, and is dropped when no callback runs.
    fn end_process(&self, index: u32) {
        let process =
            self.seats.borrow_mut().get_mut(index as usize).and_then(|s| s.process.take());
        if let Some(Process { engine, driver }) = process {
            driver.die();
            engine.die();
            self.departed.borrow_mut().push(engine);
            self.bell.ring();
        }
    }

    /// Drops the engines of processes that are gone. Destructors of users run here.
    fn bury(&self) {
        loop {
            let departed = self.departed.take();
            if departed.is_empty() {
                return;
            }
            drop(departed);
        }
    }

    /// Ends what keeps a host's machine off or its process away. The machine is on if nothing else keeps it off, and
    /// the host starts again if it has no process and nothing keeps that away either.
    pub(crate) fn start(self: &Rc<Self>, index: u32, end: End) -> bool {
        // A world that ends has no seats any more, and destructors may still ask.
        if (index as usize) >= self.seats.borrow().len() {
            return false;
        }
        let mut network = self.network();
        let holds = &mut network.host(index).life.holds;
        let changed = holds.end(State::Off, end) | holds.end(State::Gone, end);
        if holds.has(State::Gone) {
            return network.power_on(index) || changed;
        }
        if holds.has(State::Off) {
            return changed;
        }
        if network.put_off_start(index) {
            return true;
        }
        drop(network);
        self.begin_life(index) || changed
    }

    /// A host without a process, which nobody holds down, starts again.
    fn begin_life(self: &Rc<Self>, index: u32) -> bool {
        let mut network = self.network();
        if network.host(index).incarnation == INCARNATIONS_MAX && network.can_start(index) {
            self.worn_out.set(Some(index));
            self.bell.ring();
            return false;
        }
        if !network.start(index) {
            return false;
        }
        let name = Arc::clone(&network.wire.trace.hosts[index as usize]);
        let has_own_clock = network.wire.clocks.has_own(index);
        let cost = network.host(index).life.holds.cost();
        drop(network);
        let process = self.new_process(index, &name);
        let handle = process.engine.handle();
        if has_own_clock {
            process.driver.use_own_clock();
        }
        process.engine.set_callback_cost(cost);
        let mut seats = self.seats.borrow_mut();
        let seat = &mut seats[index as usize];
        seat.process = Some(process);
        let last = seat.handle.replace(handle.clone());
        let boot = seat.boot.clone();
        drop(seats);
        drop(last);
        if let Some(boot) = boot {
            run_boot(&handle, boot);
        }
        true
    }

    /// Makes a host's clocks run faster by `drift` parts in a billion.
    pub(crate) fn set_drift(&self, index: u32, drift: i64) {
        self.network().set_drift(index, drift);
        let engine = self.engine_of(index);
        let seats = self.seats.borrow();
        let process = seats.get(index as usize).and_then(|seat| seat.process.as_ref());
        if let Some(Process { driver, .. }) = process {
            driver.use_own_clock();
        }
        drop(seats);
        // Its deadlines come at other times now.
        if let Some(engine) = engine {
            let next = engine.next();
            self.network().plan(index, next);
        }
    }

    /// Every callback on a machine costs so much from now on, until a later word.
    pub(crate) fn slow(&self, index: u32, by: Holder, cost: Duration) {
        self.network().host(index).life.holds.begin_cost(by, cost);
        self.set_callback_cost(index);
    }

    /// What some have said of what a callback costs is over: what others say holds.
    pub(crate) fn quicken(&self, index: u32, end: End) {
        let changed = self.network().host(index).life.holds.end_cost(end);
        if changed {
            self.set_callback_cost(index);
        }
    }

    fn set_callback_cost(&self, index: u32) {
        let mut network = self.network();
        let cost = network.host(index).life.holds.cost();
        network.note_cost(index, cost);
        drop(network);
        if let Some(engine) = self.engine_of(index) {
            engine.set_callback_cost(cost);
        }
    }

    /// The machine of a host crashes after this many more outgoing actions.
    pub(crate) fn crash_after(&self, index: u32, actions: u32) {
        let seats = self.seats.borrow();
        let process = seats.get(index as usize).and_then(|seat| seat.process.as_ref());
        if let Some(Process { driver, .. }) = process {
            driver.set_fuse(actions);
        }
    }

    /// A host has work that arose outside its turns.
    pub(crate) fn schedule(&self, index: u32) {
        self.network().wake_host(index);
    }

    /// Registers somebody who waits for the world to be quiet.
    pub(crate) fn add_settler(&self, settler: Rc<Settler>) {
        self.settlers.borrow_mut().push(settler);
        self.network().is_watched = true;
    }

    /// Drops every host's engine, and so everything that its user gave it.
    pub(crate) fn close(&self) {
        let mut panics = FirstPanic::default();
        loop {
            let mut seats = self.seats.take();
            if seats.is_empty() {
                // Their room is for the next world.
                self.seats.replace(seats);
                break;
            }
            // Whoever is still at work when a world ends is not to blame.
            for process in seats.iter().filter_map(|seat| seat.process.as_ref()) {
                process.driver.die();
                process.engine.die();
            }
            for Seat { process, handle, boot } in seats.drain(..) {
                panics.run(|| self.end_life(process));
                panics.run(|| drop(handle));
                panics.run(|| drop(boot));
            }
            panics.run(|| self.bury());
            if self.seats.borrow().is_empty() {
                self.seats.replace(seats);
            }
        }
        self.settlers.take();
        // A program that keeps its world would keep it for ever.
        let programs = self.programs.take();
        panics.run(|| drop(programs));
        panics.resume();
    }

    /// Runs the world until the control loop, whose turn ended with `next`, has something to do.
    pub(crate) fn run(
        self: &Rc<Self>,
        next: Next,
        events: &mut Vec<Readiness>,
    ) -> Result<(), RunError> {
        let mut host_events = self.events.take();
        let result = self.run_hosts(next, events, &mut host_events);
        self.events.set(host_events);
        result
    }

    fn run_hosts(
        self: &Rc<Self>,
        next: Next,
        events: &mut Vec<Readiness>,
        host_events: &mut Vec<Readiness>,
    ) -> Result<(), RunError> {
        let mut network = self.network();
        network.plan(CONTROL, next);
        loop {
            if self.bell.is_rung() {
                self.answer_bell(&mut network)?;
                let woken = std::mem::take(&mut network.woken);
                network.is_watched = !self.settlers.borrow().is_empty();
                drop(network);
                woken.into_iter().for_each(Waker::wake);
                self.bury();
                network = self.network();
                // The end of a process may have woken somebody.
                continue;
            }
            let upcoming = match network.run_due() {
                Ok(upcoming) => upcoming,
                Err(order) => {
                    drop(network);
                    self.carry_out(order);
                    network = self.network();
                    continue;
                }
            };
            if network.take_control_ready() {
                return self.begin_turn(&mut network, CONTROL, events);
            }
            if let Some(index) = network.next_ready() {
                self.look_ahead_to_turns(&network);
                self.begin_turn(&mut network, index, host_events)?;
                let now = network.wire.local_time(index);
                drop(network);
                let next = self.turn(index, now, host_events);
                network = self.network();
                network.plan(index, next);
            } else if network.is_watched && self.bell.is_rung() {
                // A packet came to somebody who waits at a TUN device.
                continue;
            } else if network.is_watched && self.settles(&network) {
                network.is_watched = false;
                drop(network);
                self.wake_settlers();
                network = self.network();
            } else if let Some(at) = upcoming {
                self.advance(&mut network, at)?;
            } else {
                drop(network);
                return self.report_idle();
            }
        }
    }

    /// Wakes the hosts whose tasks were woken from outside.
    fn answer_bell(&self, network: &mut Network) -> Result<(), RunError> {
        if let Some(index) = self.worn_out.get() {
            let host = &network.wire.trace.hosts[index as usize];
            let starts = format!("host {host} started {INCARNATIONS_MAX} times");
            return Err(limit("max_incarnations", starts));
        }
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
        match self.engine_of(index).and_then(|engine| engine.foreign_wake()) {
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
        let turns_max = self.turns_max.get();
        if turns > turns_max {
            return Err(limit("max_turns_per_instant", format!("{turns_max} turns")));
        }
        if network.wire.trace.steps() >= self.events_max.get() {
            return Err(self.too_many_events());
        }
        self.current.set(index);
        network.record(index, Record::Turn);
        network.take_readiness(index, events);
        Ok(())
    }

    /// Gives a host its turn, and says when it wants the next.
    #[inline]
    fn turn(&self, index: u32, now: Time, events: &mut Vec<Readiness>) -> Next {
        /// Plans the host's next turn when a panic ends this one: what it had left stays queued.
        struct PlanAnyway<'a>(&'a Scheduler, u32, &'a Turner);
        impl Drop for PlanAnyway<'_> {
            fn drop(&mut self) {
                // It may ask its driver, which asks the network.
                let next = self.2.next();
                self.0.network().plan(self.1, next);
            }
        }
        let Some(engine) = self.engine_of(index) else {
            events.clear();
            return Next::Never;
        };
        let unfinished = PlanAnyway(self, index, &engine);
        let next = engine.turn(now, events);
        std::mem::forget(unfinished);
        self.current.set(CONTROL);
        next
    }

    /// Nothing is left to do at this instant: moves the clock to the next event.
    #[inline]
    fn advance(&self, network: &mut Network, at: Time) -> Result<(), RunError> {
        if at > self.end.get() {
            return Err(self.too_late(network, at));
        }
        self.now.set(at);
        network.wire.now = at;
        if let Some(plane) = &mut network.wire.plane {
            plane.advance(at);
        }
        self.turns.set(0);
        Ok(())
    }

    /// Which limit the world's trace has run into.
    #[cold]
    fn too_many_events(&self) -> RunError {
        let Limits { max_events, stop_at, .. } = self.limits();
        match stop_at {
            Some(stop @ StopAt::Step(step)) if step <= max_events => {
                limit(STOP_AT, stop.to_string())
            }
            _ => limit("max_events", format!("{max_events} events")),
        }
    }

    /// Which limit the world's time has run into.
    #[cold]
    fn too_late(&self, network: &Network, at: Time) -> RunError {
        let (Limits { max_time, live_until, stop_at, .. }, end) = (self.limits(), self.end.get());
        if let Some(stop @ StopAt::Time(_)) = stop_at
            && end < self.time_max()
        {
            self.now.set(end);
            stop_at::reached(network.wire.trace.steps(), end);
            return limit(STOP_AT, stop.to_string());
        }
        match live_until {
            Some(until) if at <= Time::ZERO + max_time => {
                limit("liveness", format!("not done by {until:?}, long after the last fault"))
            }
            _ => limit("max_time", format!("{max_time:?} of virtual time")),
        }
    }

    /// True if somebody waits for the world to be quiet, and it is.
    #[cold]
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
        let hosts = self.seats.borrow().len();
        let mut pending = Vec::new();
        for index in 0..hosts {
            self.check_wakers_of(index as u32)?;
            let Some(engine) = self.engine_of(index as u32) else { continue };
            let host = Arc::clone(&self.network().wire.trace.hosts[index]);
            let tasks = engine.pending_tasks().into_iter();
            pending.extend(tasks.map(|task| format!("{host}: task {task:?}")));
        }
        Err(RunError::Deadlock { pending })
    }
}

/// Runs a boot function as a task of its host, in which even its first line runs.
fn run_boot(lp: &Loop, boot: Boot) {
    let own = lp.clone();
    lp.create_named_task("boot", async move { boot(own).await });
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
