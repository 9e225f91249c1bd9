//! What the parts of an engine share.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::callbacks::{Action, Callbacks, Place};
use super::first_panic::FirstPanic;
use super::inbox::{Inbox, TaskWaker, Woken};
use super::memory::{EngineMemory, Room, Tables};
use super::report::{ErrorContext, Reporter};
use super::sources::{Flow, Registered};
use super::unclosed;
use crate::arena::{Arena, Key};
use crate::current;
use crate::driver::Driver;
use crate::error::{TaskError, panic_message};
use crate::executor::Executors;
use crate::handle::PanicPolicy;
use crate::property;
use crate::signal::SignalHandlers;
use crate::task::AnyTask;
use crate::timer::{Handle, Timer};
use crate::trace::{Record, TaskOutcome};
use crate::{Loop, Time};

/// An entry of the ready queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    /// Of `call_soon`, or a timer that is due.
    Callback(Key),
    Task(Key),
    Io {
        source: Key,
        read: bool,
        write: bool,
    },
    /// A step in a source's life.
    Life(Key, Life),
}

/// Steps in the life of a source that the loop takes, one iteration each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    /// A listener has an accepted connection that needs its transport (contract E-31).
    Accepted,
    ConnectionMade,
    ConnectionLost,
    /// A listener tries to accept again after it ran out of descriptors (E-29).
    RetryAccept,
    /// A pipe that is read from has come to its end (G-01).
    PipeEnded,
}

/// A [`Ready`] as the queue keeps it: in two words, which pass through registers. A copy of one
/// whose fields were just written would wait for these writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    key: u64,
    what: u64,
}

const CALLBACK: u64 = 0;
const TASK: u64 = 1;
/// And [`READ`], [`WRITE`].
const IO: u64 = 4;
const READ: u64 = 1;
const WRITE: u64 = 2;
/// And the step.
const LIFE: u64 = 8;

impl Life {
    const ALL: [Self; 5] = [
        Self::Accepted,
        Self::ConnectionMade,
        Self::ConnectionLost,
        Self::RetryAccept,
        Self::PipeEnded,
    ];
}

impl From<Ready> for Queued {
    #[inline]
    fn from(entry: Ready) -> Self {
        let (key, what) = match entry {
            Ready::Callback(key) => (key, CALLBACK),
            Ready::Task(key) => (key, TASK),
            Ready::Io { source, read, write } => {
                (source, IO | if read { READ } else { 0 } | if write { WRITE } else { 0 })
            }
            Ready::Life(source, step) => (source, LIFE + step as u64),
        };
        Self { key: key.to_bits(), what }
    }
}

impl From<Queued> for Ready {
    #[inline]
    fn from(Queued { key, what }: Queued) -> Self {
        let key = Key::from_bits(key);
        match what {
            CALLBACK => Self::Callback(key),
            TASK => Self::Task(key),
            io if io < LIFE => {
                Self::Io { source: key, read: io & READ != 0, write: io & WRITE != 0 }
            }
            life => Self::Life(key, Life::ALL[(life - LIFE) as usize]),
        }
    }
}

/// How many scratch buffers are kept: as many as one event takes.
const SCRATCH_BUFFERS: usize = 3;

/// What a turn asks at its beginning, at its end and after every callback: as bits, so that several
/// questions are one.
#[derive(Debug, Default)]
pub(super) struct Marks(Cell<u8>);

impl Marks {
    /// Flow events wait.
    pub(super) const FLOW: u8 = 1;
    /// The last read of a source did not empty it.
    pub(super) const READABLE: u8 = 2;
    /// The running callback spent time, or the machine died in it.
    pub(super) const SPENT: u8 = 4;
    /// Time was spent, and it may not be over yet.
    pub(super) const BUSY: u8 = 8;
    /// Debug mode is on, or callbacks cost something.
    pub(super) const TIMED: u8 = 16;

    /// True if any of these is set.
    #[inline]
    pub(super) fn has(&self, any: u8) -> bool {
        self.0.get() & any != 0
    }

    /// Sets these, or takes them back.
    #[inline]
    pub(super) fn set(&self, marks: u8, on: bool) {
        let others = self.0.get() & !marks;
        self.0.set(if on { others | marks } else { others });
    }

    /// Takes this one back, and says whether it was set.
    #[inline]
    pub(super) fn take(&self, mark: u8) -> bool {
        let was = self.has(mark);
        if was {
            self.set(mark, false);
        }
        was
    }
}

/// What a callback may take before debug mode tells of it, unless the user says otherwise.
const SLOW_CALLBACK: Duration = Duration::from_millis(100);

/// What becomes of panics, unless the user says otherwise.
fn first_policy(driver: &dyn Driver) -> PanicPolicy {
    if driver.is_simulated() { PanicPolicy::EndRun } else { PanicPolicy::Contain }
}

#[repr(C)]
pub(crate) struct Core {
    // What every turn needs comes first.
    pub(crate) driver: Rc<dyn Driver>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) memory: EngineMemory,
    pub(super) batch_left: Cell<usize>,
    pub(super) in_turn: Cell<bool>,
    pub(super) marks: Marks,
    pub(crate) policy: Cell<PanicPolicy>,
    /// The driver keeps what protocols say of their state.
    keeps_states: bool,
    closed: Cell<bool>,
    /// The machine has died: what still runs is heard by nobody.
    dead: Cell<bool>,
    debug: Cell<bool>,
    pub(crate) running: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    /// Sources whose last read did not empty them.
    pub(super) still_readable: RefCell<Vec<Key>>,
    /// What the next snapshot begins with.
    pub(super) ready: RefCell<Vec<Queued>>,
    pub(crate) sources: RefCell<Arena<Registered>>,
    pub(super) callbacks: RefCell<Callbacks>,
    /// The running snapshot, and how many of its entries are left.
    pub(super) batch: RefCell<Vec<Queued>>,
    // What fewer do.
    /// Made when a job is run.
    executors: OnceCell<Box<Executors>>,
    /// Empty buffers for layers, so that no connection has to keep one.
    scratch: RefCell<Vec<Vec<u8>>>,
    /// What the layer that is at work draws its random numbers from.
    #[cfg(feature = "tls")]
    pub(crate) entropy: RefCell<Option<crate::tls::Entropy>>,
    pub(super) tasks: RefCell<Arena<Rc<dyn AnyTask>>>,
    pub(crate) current_task: RefCell<Option<Rc<dyn AnyTask>>>,
    pub(super) woken: RefCell<Vec<Woken>>,
    pub(super) flow: RefCell<VecDeque<Flow>>,
    /// An `error_received` is running.
    pub(crate) in_error: Cell<bool>,
    /// What every callback costs, if it costs anything.
    callback_cost: Cell<Duration>,
    pub(crate) slow_callback: Cell<Duration>,
    connections: Cell<u32>,
    task_numbers: Cell<u32>,
    waiter_numbers: Cell<u64>,
    pub(crate) reporter: Reporter,
    pub(crate) signals: SignalHandlers,
    /// How many tasks of a name were declared cancellable.
    cancellable: RefCell<BTreeMap<String, u32>>,
}

impl Core {
    /// How many bytes every turn needs.
    pub(super) const HOT: usize = std::mem::offset_of!(Self, executors);

    pub(crate) fn new(driver: Rc<dyn Driver>, memory: EngineMemory) -> Rc<Self> {
        let tables = memory.take_tables();
        let policy = first_policy(&*driver);
        Rc::new(Self {
            inbox: Arc::new(Inbox::new(driver.alarm(), driver.is_simulated(), tables.inbox)),
            keeps_states: driver.keeps_states(),
            driver,
            memory,
            scratch: RefCell::default(),
            #[cfg(feature = "tls")]
            entropy: RefCell::new(None),
            ready: RefCell::new(tables.ready),
            batch: RefCell::new(tables.batch),
            batch_left: Cell::new(0),
            woken: RefCell::new(tables.woken),
            flow: RefCell::new(tables.flow),
            in_error: Cell::new(false),
            callbacks: RefCell::new(tables.callbacks),
            tasks: RefCell::new(tables.tasks),
            sources: RefCell::new(tables.sources),
            still_readable: RefCell::new(tables.still_readable),
            current_task: RefCell::new(None),
            in_turn: Cell::new(false),
            marks: Marks::default(),
            running: Cell::new(false),
            stopping: Cell::new(false),
            closed: Cell::new(false),
            dead: Cell::new(false),
            executors: OnceCell::new(),
            callback_cost: Cell::new(Duration::ZERO),
            debug: Cell::new(false),
            slow_callback: Cell::new(SLOW_CALLBACK),
            policy: Cell::new(policy),
            reporter: Reporter::default(),
            connections: Cell::new(0),
            task_numbers: Cell::new(0),
            waiter_numbers: Cell::new(0),
            signals: RefCell::default(),
            cancellable: RefCell::default(),
        })
    }

    /// An empty buffer, to be given back.
    pub(crate) fn take_scratch(&self) -> Vec<u8> {
        self.scratch.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn put_back_scratch(&self, mut buffer: Vec<u8>) {
        let mut scratch = self.scratch.borrow_mut();
        if scratch.len() < SCRATCH_BUFFERS && buffer.capacity() > 0 {
            buffer.clear();
            scratch.push(buffer);
        }
    }

    /// True while handles of a snapshot wait for time that an earlier one spent.
    pub(crate) fn is_amid_turn(&self) -> bool {
        self.batch_left.get() > 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    #[inline]
    pub(crate) fn keeps_states(&self) -> bool {
        self.keeps_states
    }

    #[inline]
    pub(crate) fn trace(&self, record: Record) {
        let [kind, first, second] = record.words();
        self.driver.trace(kind, first, second);
    }

    /// Traces what a protocol says of its state last.
    pub(crate) fn trace_state(&self, connection: u32, state: &str) {
        if self.keeps_states {
            self.driver.keep_state(connection, state);
        }
        self.trace(Record::State { connection, digest: property::label(state) });
    }

    /// Queues an entry for the next iteration.
    #[inline]
    pub(crate) fn push(&self, entry: Ready) {
        self.inbox.advance(1);
        self.ready.borrow_mut().push(entry.into());
        self.woke_from_outside();
    }

    /// Queues a step of a task, unless one is queued, if a turn is running; false if none is.
    #[inline]
    pub(crate) fn queue_in_turn(&self, task: &TaskWaker) -> bool {
        let in_turn = self.in_turn.get();
        if in_turn && let Some(task) = task.take_to_queue() {
            self.inbox.advance(1);
            self.ready.borrow_mut().push(Ready::Task(task).into());
        }
        in_turn
    }

    /// Tells the driver about work that arose outside a turn.
    #[inline]
    fn woke_from_outside(&self) {
        if !self.in_turn.get() {
            self.driver.schedule();
        }
    }

    pub(crate) fn push_flow(&self, event: Flow) {
        self.flow.borrow_mut().push_back(event);
        self.marks.set(Marks::FLOW, true);
        self.woke_from_outside();
    }

    pub(crate) fn push_still_readable(&self, source: Key) {
        self.still_readable.borrow_mut().push(source);
        self.marks.set(Marks::READABLE, true);
        self.woke_from_outside();
    }

    /// Notes that the running callback cost processor time.
    pub(crate) fn spend(&self, cost: Duration) {
        self.driver.spend(cost);
        self.marks.set(Marks::SPENT | Marks::BUSY, true);
    }

    pub(crate) fn debug(&self) -> bool {
        self.debug.get()
    }

    pub(crate) fn set_debug(&self, debug: bool) {
        self.debug.set(debug);
        self.marks.set(Marks::TIMED, debug || !self.callback_cost.get().is_zero());
    }

    pub(super) fn callback_cost(&self) -> Duration {
        self.callback_cost.get()
    }

    pub(super) fn set_callback_cost(&self, cost: Duration) {
        self.callback_cost.set(cost);
        self.marks.set(Marks::TIMED, self.debug.get() || !cost.is_zero());
    }

    /// The machine dies: nothing runs after the callback that is running, and nobody hears of it.
    pub(super) fn die(&self) {
        self.dead.set(true);
        // The batch looks up when time was spent, and sees that it is over.
        self.marks.set(Marks::SPENT, true);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// The machine died, and its loop is closed: no timer of it comes any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.closed.get() && self.dead.get()
    }

    /// Until when the processor is busy, if it is. The driver is asked only after time was spent.
    #[inline]
    pub(super) fn busy_until(&self) -> Option<Time> {
        if !self.marks.has(Marks::BUSY) {
            return None;
        }
        let until = self.driver.busy_until();
        self.marks.set(Marks::BUSY, until.is_some());
        until
    }

    // Callbacks and timers.

    /// A handle for an action that was refused because the loop is closed (ruling 7).
    fn refuse(self: &Rc<Self>, what: &'static str, place: Place, action: Action) {
        let text = format!("{what} on a closed event loop: dropped");
        self.report_made(ErrorContext::message(text), place);
        action.discard();
    }

    pub(crate) fn call_soon(self: &Rc<Self>, place: Place, action: Action) -> Handle {
        if self.closed.get() {
            self.refuse("call_soon", place, action);
            return Handle::cancelled_one(Rc::clone(self));
        }
        let key = self.callbacks.borrow_mut().insert(place, action);
        self.push(Ready::Callback(key));
        Handle::new(Rc::clone(self), key)
    }

    pub(crate) fn call_at(self: &Rc<Self>, at: Time, place: Place, action: Action) -> Timer {
        if self.closed.get() {
            self.refuse("call_at", place, action);
            return Timer::cancelled_one(Rc::clone(self), at);
        }
        Timer::new(Rc::clone(self), self.insert_timer(at, place, action), at)
    }

    pub(crate) fn insert_timer(&self, at: Time, place: Place, action: Action) -> Key {
        let key = self.callbacks.borrow_mut().insert_timer(at, place, action);
        self.trace(Record::TimerArmed { at });
        self.woke_from_outside();
        key
    }

    pub(crate) fn cancel(&self, key: Key) -> bool {
        let Some((action, deadline)) = self.callbacks.borrow_mut().cancel(key) else {
            return false;
        };
        if let Some(at) = deadline {
            self.trace(Record::TimerCancelled { at });
        }
        action.discard();
        true
    }

    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.callbacks.borrow().contains(key)
    }

    /// What wakes `waker` when its time comes: without a detour if it is the running task's own.
    pub(crate) fn wake_up(&self, waker: &Waker) -> Action {
        match &*self.current_task.borrow() {
            Some(task) if task.header().is_woken_by(waker) => Action::Step(task.header().key()),
            _ => Action::Wake(waker.clone()),
        }
    }

    /// Makes a waiting [`wake_up`](Self::wake_up) one of another waker.
    pub(crate) fn replace_waker(&self, key: Key, waker: &Waker) {
        let new = self.wake_up(waker);
        let mut callbacks = self.callbacks.borrow_mut();
        let replaced = match (callbacks.action_mut(key), new) {
            (Some(Action::Wake(old)), Action::Wake(new)) if old.will_wake(&new) => {
                Action::Wake(new)
            }
            (Some(place @ (Action::Wake(_) | Action::Step(_))), new) => {
                std::mem::replace(place, new)
            }
            (_, new) => new,
        };
        drop(callbacks);
        drop(replaced);
    }

    // Sources and tasks.

    pub(crate) fn next_connection(&self) -> u32 {
        self.connections.set(self.connections.get() + 1);
        self.connections.get()
    }

    pub(crate) fn next_task(&self) -> u32 {
        self.task_numbers.set(self.task_numbers.get() + 1);
        self.task_numbers.get()
    }

    /// A number for who waits for a future, which no other of the loop's has.
    pub(crate) fn next_waiter(&self) -> u64 {
        self.waiter_numbers.set(self.waiter_numbers.get() + 1);
        self.waiter_numbers.get()
    }

    /// Where it is, which tells it from other loops as long as it lives.
    pub(crate) fn address(self: &Rc<Self>) -> usize {
        Rc::as_ptr(self).addr()
    }

    /// The name of a task with its number among those of that name that were declared cancellable:
    /// `worker#2`.
    pub(crate) fn number_cancellable(&self, name: String) -> String {
        let mut known = self.cancellable.borrow_mut();
        let count = known.entry(name.clone()).or_default();
        *count += 1;
        format!("{name}#{count}")
    }

    pub(crate) fn add_task(&self, make: impl FnOnce(Key) -> Rc<dyn AnyTask>) -> Rc<dyn AnyTask> {
        let mut tasks = self.tasks.borrow_mut();
        // The task must know its key: reserve the place with itself.
        tasks.insert_with(make)
    }

    pub(crate) fn task(&self, key: Key) -> Option<Rc<dyn AnyTask>> {
        self.tasks.borrow().get(key).cloned()
    }

    pub(crate) fn remove_task(&self, key: Key) {
        let removed = self.tasks.borrow_mut().remove(key);
        drop(removed);
    }

    pub(crate) fn all_tasks(&self) -> Vec<Rc<dyn AnyTask>> {
        let mut all: Vec<_> = self.tasks.borrow().iter().map(|(_, task)| Rc::clone(task)).collect();
        all.sort_by_key(|task| task.header().number());
        all
    }

    pub(crate) fn pending_tasks(&self) -> Vec<String> {
        self.all_tasks().iter().map(|task| task.header().name()).collect()
    }

    pub(crate) fn executors(&self) -> &Executors {
        self.executors.get_or_init(Box::default)
    }

    // Panics and reports.

    /// Runs user code under the panic policy: `Err` with the panic's text if it was contained.
    #[inline(always)]
    pub(crate) fn contain<R>(&self, code: impl FnOnce() -> R) -> Result<R, Arc<str>> {
        match self.policy.get() {
            PanicPolicy::EndRun => Ok(code()),
            PanicPolicy::Contain => catch_unwind(AssertUnwindSafe(code))
                .map_err(|payload: Box<dyn Any + Send>| panic_message(&*payload)),
        }
    }

    pub(crate) fn report(self: &Rc<Self>, context: ErrorContext) {
        if self.dead.get() {
            return;
        }
        self.trace(Record::Report);
        self.reporter.report(&Loop::new(Rc::clone(self)), &context);
    }

    /// A report about something that was made at `place`, which it has in debug mode.
    pub(crate) fn report_made(self: &Rc<Self>, context: ErrorContext, place: Place) {
        let created = self.place_in_debug(place);
        self.report(ErrorContext { created, ..context });
    }

    /// A report of debug mode, about something that was made at `place`. A simulation's trace does not
    /// have it: runs are the same with debug mode and without.
    pub(crate) fn report_debug(self: &Rc<Self>, context: ErrorContext, place: Place) {
        if !self.debug() || self.dead.get() {
            return;
        }
        let context = ErrorContext { created: place, ..context };
        self.reporter.report(&Loop::new(Rc::clone(self)), &context);
    }

    /// Where something was made, for a report that has it in debug mode alone.
    pub(crate) fn place_in_debug(&self, place: Place) -> Place {
        place.filter(|_| self.debug())
    }

    // The end, and another beginning.

    /// True if somebody beside the owner of its engine holds it.
    pub(super) fn is_held(self: &Rc<Self>) -> bool {
        let is_held = Rc::strong_count(self) > 1 || Rc::weak_count(self) > 0;
        is_held || Arc::strong_count(&self.inbox) > 1 || Arc::weak_count(&self.inbox) > 0
    }

    /// Makes it as new but for its room, once it is closed and its tasks are dropped. False if they are not, if
    /// somebody still holds it, or if it is too large to be kept.
    pub(super) fn renew(self: &mut Rc<Self>) -> bool {
        let Some(core) = Rc::get_mut(self) else { return false };
        if !core.closed.get() || !core.signals.get_mut().is_empty() {
            return false;
        }
        // Whoever adds a field says here what it is in the beginning.
        let Self {
            driver,
            inbox,
            memory: _,
            batch_left,
            in_turn,
            marks,
            policy,
            keeps_states,
            closed,
            dead,
            debug,
            running,
            stopping,
            still_readable,
            ready,
            sources,
            callbacks,
            batch,
            executors,
            scratch,
            #[cfg(feature = "tls")]
            entropy,
            tasks,
            current_task,
            woken,
            flow,
            in_error,
            callback_cost,
            slow_callback,
            connections,
            task_numbers,
            waiter_numbers,
            reporter,
            signals: _,
            cancellable,
        } = core;
        let room = Room {
            ready: ready.get_mut(),
            batch: batch.get_mut(),
            woken: woken.get_mut(),
            flow: flow.get_mut(),
            callbacks: callbacks.get_mut(),
            tasks: tasks.get_mut(),
            sources: sources.get_mut(),
            still_readable: still_readable.get_mut(),
        };
        if !Arc::get_mut(inbox).is_some_and(Inbox::renew) || !room.renew() {
            return false;
        }
        for flag in [in_turn, closed, dead, debug, running, stopping, in_error] {
            flag.set(false);
        }
        for number in [connections, task_numbers] {
            number.set(0);
        }
        batch_left.set(0);
        waiter_numbers.set(0);
        *marks = Marks::default();
        callback_cost.set(Duration::ZERO);
        slow_callback.set(SLOW_CALLBACK);
        executors.take();
        scratch.get_mut().clear();
        #[cfg(feature = "tls")]
        entropy.take();
        current_task.take();
        reporter.renew();
        cancellable.get_mut().clear();
        policy.set(first_policy(&**driver));
        *keeps_states = driver.keeps_states();
        true
    }

    pub(crate) fn close(self: &Rc<Self>) {
        if self.closed.replace(true) {
            return;
        }
        let _current = current::enter(self);
        // What panics ends nothing before the loop is closed.
        let mut panics = FirstPanic::default();
        if self.debug() {
            panics.run(|| unclosed::report(self));
        }
        self.ready.borrow_mut().clear();
        self.batch.borrow_mut().clear();
        self.batch_left.set(0);
        self.marks.set(Marks::FLOW, false);
        if !self.flow.borrow().is_empty() {
            let flow = self.flow.take();
            drop(flow);
        }
        self.still_readable.borrow_mut().clear();
        self.marks.set(Marks::READABLE, false);
        let callbacks = self.callbacks.borrow_mut().take_all();
        for action in callbacks {
            panics.run(|| match action {
                // Who waits from another host finds the loop closed, instead of waiting for ever.
                Action::Wake(waker) if self.dead.get() => waker.wake(),
                action => action.discard(),
            });
        }
        let sources = self.sources.borrow_mut().take_all();
        let handlers = self.signals.take();
        for source in sources {
            panics.run(|| source.release());
        }
        panics.run(|| drop(handlers));
        panics.resume();
    }

    /// Drops the tasks that are left, in order of creation, with a report each (contract A-16). Of a
    /// dead machine there is no report, but who awaits them from another host hears of it.
    pub(crate) fn drop_tasks(self: &Rc<Self>) {
        let mut pending = self.tasks.borrow_mut().take_all();
        if pending.is_empty() {
            return self.reporter.clear();
        }
        let _current = current::enter(self);
        pending.sort_by_key(|task| task.header().number());
        let mut panics = FirstPanic::default();
        for task in pending {
            if !task.header().is_daemon() {
                let name = task.header().name();
                let text = format!("Task was destroyed but it is pending: {name}");
                let place = Some(task.header().place());
                panics.run(|| self.report_made(ErrorContext::message(text), place));
            }
            panics.run(|| task.drop_future());
            if self.dead.get() {
                task.finish(TaskError::Cancelled);
                task.header().set_outcome(TaskOutcome::Cancelled);
                task.header().tell_waiters(Some(&TaskError::Cancelled));
            }
            panics.run(|| drop(task));
        }
        self.reporter.clear();
        panics.resume();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.memory.keep_tables(Tables {
            ready: self.ready.take(),
            batch: self.batch.take(),
            woken: self.woken.take(),
            inbox: self.inbox.take_room(),
            flow: self.flow.take(),
            callbacks: self.callbacks.take(),
            tasks: self.tasks.take(),
            sources: self.sources.take(),
            still_readable: self.still_readable.take(),
        });
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("host", &self.driver.host()).finish_non_exhaustive()
    }
}
