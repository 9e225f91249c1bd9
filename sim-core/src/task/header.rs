//! What a task has, whatever its output is.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::scope::{Scope, Sender};
use crate::arena::Key;
use crate::driver::Suspension;
use crate::engine::callbacks::{Action, Place};
use crate::engine::core::{Core, Ready};
use crate::engine::inbox::TaskWaker;
use crate::engine::report::ErrorContext;
use crate::error::{SharedError, TaskError};
use crate::scenario::Failure;
use crate::trace::{Record, TaskOutcome};

/// A task, seen without the type of its output.
pub(crate) trait AnyTask {
    fn header(&self) -> &Header;
    /// Polls the future once; true when it is done.
    fn poll(&self, cx: &mut Context<'_>) -> bool;
    /// Ends it without an output of its own.
    fn finish(&self, error: TaskError);
    /// Drops the future, if it is still there and not being polled.
    fn drop_future(&self);
}

/// A task with its output.
pub(crate) trait Joinable<T>: AnyTask {
    fn take_output(&self) -> Option<Result<T, TaskError>>;
    /// Whether the output is there and `wanted`.
    fn has_output(&self, wanted: fn(&T) -> bool) -> bool;
    fn as_task(self: Rc<Self>) -> Rc<dyn AnyTask>;
}

/// Hears of the end of tasks at once. It runs no user code.
pub(crate) trait Watcher {
    /// The task that it watches under `number` is done; `error` is what it ended with, if so.
    fn task_done(&self, number: usize, error: Option<&TaskError>);
}

/// Who waits for a task, in order of registration.
enum Waiter {
    Callback(Box<dyn FnOnce()>, Place),
    /// The await of its [`Task`](super::Task), of which there is one.
    Await(Waker),
    Watcher(Weak<dyn Watcher>, usize),
}

pub(crate) struct Header {
    pub(super) core: Rc<Core>,
    key: Key,
    number: u32,
    name: RefCell<Option<String>>,
    /// Where it was made.
    place: &'static Location<'static>,
    pub(super) wake_up: Arc<TaskWaker>,
    /// The waker of every step, made once.
    pub(super) waker: Waker,
    outcome: Cell<Option<TaskOutcome>>,
    running: Cell<bool>,
    /// Cancellations asked for and not taken back (contract B-18).
    requests: Cell<u32>,
    /// What a step looks at, as bits: [`MUST_CANCEL`] and its siblings.
    marks: Cell<u8>,
    /// A request is being delivered: what keeps tasks that await each other from recursion.
    delivering: Cell<bool>,
    /// The scopes that wait.
    scopes: RefCell<Slab<Rc<Scope>>>,
    /// Cancellations that are delivered when a step has shown what is awaited: within which scope, and whose.
    upcoming: RefCell<Vec<(Option<Rc<Scope>>, Sender)>>,
    scopes_begun: Cell<u64>,
    /// How many steps it has begun.
    steps: Cell<u64>,
    /// How many cancellations its scopes have heard of.
    heard: Cell<u64>,
    /// The scope whose future is being polled.
    current_scope: RefCell<Option<Rc<Scope>>>,
    waiters: RefCell<Vec<Waiter>>,
    /// Of one that a simulation may cancel.
    suspensions: OnceCell<Box<Suspensions>>,
}

/// It was cancelled in its own step: the request is delivered when the step is over (B-16).
pub(super) const MUST_CANCEL: u8 = 1;
/// A cancellation has reached the task itself: its future is not polled again.
pub(super) const DOOMED: u8 = 2;
/// A simulation may cancel it where it waits (K-09).
pub(super) const CANCELLABLE: u8 = 4;
/// It serves its loop for as long as that lives.
const DAEMON: u8 = 8;
/// Awaits of its have passed a cancellation on to their tasks, or scopes of its caught one.
pub(super) const PASSED_ON: u8 = 16;
/// A cancellation is to be delivered behind its next step.
pub(super) const UPCOMING: u8 = 32;
/// A request to cancel it has come out of all of its scopes in the step that is running: it ends so, whatever it
/// returns there.
pub(super) const REQUESTED: u8 = 64;

impl Header {
    pub(super) fn new(
        core: &Rc<Core>,
        key: Key,
        name: Option<String>,
        place: &'static Location<'static>,
    ) -> Self {
        let wake_up = Arc::new(TaskWaker::new(Arc::clone(&core.inbox), key));
        Self {
            core: Rc::clone(core),
            key,
            number: core.next_task(),
            name: RefCell::new(name),
            place,
            waker: Waker::from(Arc::clone(&wake_up)),
            wake_up,
            outcome: Cell::new(None),
            running: Cell::new(false),
            requests: Cell::new(0),
            marks: Cell::new(0),
            delivering: Cell::new(false),
            scopes: RefCell::default(),
            upcoming: RefCell::default(),
            scopes_begun: Cell::new(0),
            steps: Cell::new(0),
            heard: Cell::new(0),
            current_scope: RefCell::new(None),
            waiters: RefCell::default(),
            suspensions: OnceCell::new(),
        }
    }

    /// Whether it has any of these marks.
    #[inline]
    pub(super) fn is_marked(&self, any: u8) -> bool {
        self.marks.get() & any != 0
    }

    pub(super) fn mark(&self, mark: u8) {
        self.marks.set(self.marks.get() | mark);
    }

    pub(super) fn unmark(&self, mark: u8) {
        self.marks.set(self.marks.get() & !mark);
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Its name: given, or `task-N`.
    pub(crate) fn name(&self) -> String {
        self.name.borrow().clone().unwrap_or_else(|| format!("task-{}", self.number))
    }

    /// Where it was made.
    pub(crate) fn place(&self) -> &'static Location<'static> {
        self.place
    }

    pub(super) fn set_name(&self, name: String) {
        self.name.replace(Some(name));
    }

    pub(crate) fn outcome(&self) -> Option<TaskOutcome> {
        self.outcome.get()
    }

    pub(crate) fn set_outcome(&self, outcome: TaskOutcome) {
        self.outcome.set(Some(outcome));
    }

    pub(crate) fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.get()
    }

    pub(super) fn set_running(&self, running: bool) {
        self.running.set(running);
    }

    /// True if `waker` wakes this task and nobody else.
    pub(crate) fn is_woken_by(&self, waker: &Waker) -> bool {
        self.waker.will_wake(waker)
    }

    /// Queues a step, in order with everything that is queued on the loop.
    pub(crate) fn queue_step(&self) {
        if let Some(task) = self.wake_up.take_to_queue() {
            self.core.push(Ready::Task(task));
        }
    }

    // Cancellation.

    pub(super) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// Whether a request waits for the end of the step that is running.
    pub(super) fn cancels_itself(&self) -> bool {
        self.is_marked(MUST_CANCEL)
    }

    pub(super) fn take_request_back(&self) -> u32 {
        self.requests.set(self.requests.get().saturating_sub(1));
        self.requests.get()
    }

    /// Records a request to cancel (B-13); false if the task is done.
    pub(crate) fn cancel(&self) -> bool {
        if self.is_done() {
            return false;
        }
        self.requests.set(self.requests.get() + 1);
        if self.is_running() {
            self.mark(MUST_CANCEL);
        } else {
            self.deliver_request();
        }
        true
    }

    pub(super) fn deliver_request(&self) {
        if self.is_doomed() || self.delivering.replace(true) {
            return;
        }
        if !self.deliver(None, Sender::Request) {
            self.doom();
        }
        self.delivering.set(false);
    }

    /// The task itself takes a cancellation: its future is dropped instead of being polled again.
    pub(super) fn doom(&self) {
        let was_doomed = self.is_doomed();
        self.mark(DOOMED);
        if !was_doomed && !self.is_running() {
            self.queue_step();
        }
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.is_marked(DOOMED)
    }

    /// Whether it was cancelled in the step that has just ended; asked once.
    pub(super) fn take_must_cancel(&self) -> bool {
        let must = self.is_marked(MUST_CANCEL);
        self.unmark(MUST_CANCEL);
        must
    }

    /// A simulation may cancel it from now on: it counts where it waits.
    pub(super) fn make_cancellable(&self) {
        let is_of_use = self.core.driver.is_simulated();
        if !is_of_use || self.is_done() || self.is_marked(CANCELLABLE) {
            return;
        }
        let made_at = || {
            let file = self.place.file().rsplit(['/', '\\']).next().unwrap_or_default();
            format!("{file}:{}", self.place.line())
        };
        let name = self.name.borrow().clone().unwrap_or_else(made_at);
        let name = self.core.number_cancellable(name);
        let fresh = self.suspensions.set(Box::new(Suspensions { name, count: Cell::new(0) }));
        debug_assert!(fresh.is_ok(), "the mark says whether it was declared");
        self.mark(CANCELLABLE);
    }

    /// It has just begun to wait: it may be cancelled there.
    #[cold]
    pub(super) fn suspend(&self) {
        let Some(suspensions) = self.suspensions.get() else { return };
        let number = suspensions.count.get();
        suspensions.count.set(number + 1);
        self.cancel_if_asked(&suspensions.name, Suspension::Waiting, number);
    }

    /// It was woken, and is about to go on: it may be cancelled before it does.
    #[cold]
    pub(super) fn resume(&self) {
        let Some(suspensions) = self.suspensions.get() else { return };
        if let Some(number) = suspensions.count.get().checked_sub(1) {
            self.cancel_if_asked(&suspensions.name, Suspension::Woken, number);
        }
    }

    fn cancel_if_asked(&self, name: &str, suspension: Suspension, number: u64) {
        if !self.is_doomed() && self.core.driver.cancels(name, suspension, number) {
            self.core.trace(Record::TaskCancelled { task: self.number });
            self.cancel();
        }
    }

    pub(super) fn make_daemon(&self) {
        self.mark(DAEMON);
    }

    pub(crate) fn is_daemon(&self) -> bool {
        self.is_marked(DAEMON)
    }

    // Scopes.

    /// Has a cancellation delivered behind a step that the task takes for it.
    pub(super) fn put_off(&self, within: Option<&Rc<Scope>>, sender: Sender) {
        let mut upcoming = self.upcoming.borrow_mut();
        let number = |scope: Option<&Rc<Scope>>| scope.map(|scope| scope.number());
        let is_known = |(known, of): &(Option<Rc<Scope>>, Sender)| {
            *of == sender && number(known.as_ref()) == number(within)
        };
        if !upcoming.iter().any(is_known) {
            upcoming.push((within.cloned(), sender));
        }
        drop(upcoming);
        self.mark(UPCOMING);
        self.queue_step();
    }

    /// Whether one of those that were put off is wanted.
    pub(super) fn has_upcoming(&self, wanted: impl Fn(Option<&Rc<Scope>>, Sender) -> bool) -> bool {
        let upcoming = self.upcoming.borrow();
        upcoming.iter().any(|(within, sender)| wanted(within.as_ref(), *sender))
    }

    /// Whether a request was put off until the step that is over, or came out of all scopes in it (B-16).
    pub(super) fn is_requested(&self) -> bool {
        self.is_marked(REQUESTED)
            || self.is_marked(UPCOMING) && self.has_upcoming(|_, sender| sender == Sender::Request)
    }

    /// What was put off until the step that is over.
    pub(super) fn take_upcoming(&self) -> Vec<(Option<Rc<Scope>>, Sender)> {
        self.unmark(UPCOMING);
        self.upcoming.take()
    }

    /// The number of the scope that was begun last.
    pub(super) fn last_scope(&self) -> u64 {
        self.scopes_begun.get()
    }

    pub(super) fn next_scope(&self) -> u64 {
        self.scopes_begun.set(self.scopes_begun.get() + 1);
        self.scopes_begun.get()
    }

    /// Counts a step that begins.
    pub(super) fn begin_step(&self) {
        self.wake_up.begin_step();
        self.steps.set(self.steps.get() + 1);
    }

    /// The number of the step that is running, or was last.
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Counts a cancellation that was heard.
    pub(super) fn hear(&self) -> u64 {
        self.heard.set(self.heard.get() + 1);
        self.heard.get()
    }

    pub(super) fn current_scope(&self) -> Option<Rc<Scope>> {
        self.current_scope.borrow().clone()
    }

    pub(super) fn replace_current_scope(&self, scope: Option<Rc<Scope>>) -> Option<Rc<Scope>> {
        self.current_scope.replace(scope)
    }

    pub(super) fn add_scope(&self, scope: Rc<Scope>) -> usize {
        self.scopes.borrow_mut().insert(scope)
    }

    pub(super) fn remove_scope(&self, place: usize) {
        let removed = self.scopes.borrow_mut().try_remove(place);
        drop(removed);
    }

    pub(super) fn pending_scopes(&self) -> Vec<Rc<Scope>> {
        self.scopes.borrow().iter().map(|(_, scope)| Rc::clone(scope)).collect()
    }

    // Those who wait for it.

    pub(super) fn call_when_done(&self, place: Place, callback: Box<dyn FnOnce()>) {
        if self.is_done() {
            drop(self.core.call_soon(place, Action::Call(callback)));
        } else {
            self.waiters.borrow_mut().push(Waiter::Callback(callback, place));
        }
    }

    pub(super) fn wake_when_done(&self, waker: &Waker) {
        let mut waiters = self.waiters.borrow_mut();
        let known = waiters.iter_mut().find_map(|waiter| match waiter {
            Waiter::Await(known) => Some(known),
            _ => None,
        });
        let old = match known {
            Some(known) if known.will_wake(waker) => None,
            Some(known) => Some(std::mem::replace(known, waker.clone())),
            None => {
                waiters.push(Waiter::Await(waker.clone()));
                None
            }
        };
        drop(waiters);
        drop(old);
    }

    /// The await of its handle was dropped.
    pub(super) fn forget_await(&self) {
        let mut waiters = self.waiters.borrow_mut();
        let place = waiters.iter().position(|waiter| matches!(waiter, Waiter::Await(_)));
        let forgotten = place.map(|place| waiters.remove(place));
        drop(waiters);
        drop(forgotten);
    }

    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>, number: usize) {
        self.waiters.borrow_mut().push(Waiter::Watcher(watcher, number));
    }

    #[cfg(test)]
    pub(super) fn waiter_count(&self) -> usize {
        self.waiters.borrow().len()
    }

    /// `watcher` need not hear of its end any more.
    pub(crate) fn unwatch<W>(&self, watcher: &W) {
        let is_other = |waiter: &Waiter| match waiter {
            Waiter::Watcher(known, _) => !std::ptr::addr_eq(known.as_ptr(), watcher),
            _ => true,
        };
        self.waiters.borrow_mut().retain(is_other);
    }

    /// Tells everybody who waits, in order of registration.
    pub(crate) fn tell_waiters(&self, error: Option<&TaskError>) {
        for waiter in self.waiters.take() {
            match waiter {
                Waiter::Callback(callback, place) => {
                    drop(self.core.call_soon(place, Action::Call(callback)))
                }
                Waiter::Await(waker) => waker.wake(),
                Waiter::Watcher(watcher, number) => {
                    if let Some(watcher) = watcher.upgrade() {
                        watcher.task_done(number, error);
                    }
                }
            }
        }
    }
}

/// Where a task has waited that a simulation may cancel.
struct Suspensions {
    /// Its name, and which of that name it is on its loop.
    name: String,
    /// How often it has waited since it was declared cancellable.
    count: Cell<u64>,
}

pub(super) struct TaskCell<F: Future + 'static> {
    header: Header,
    future: RefCell<Option<Pin<Box<F>>>>,
    output: RefCell<Option<Result<F::Output, TaskError>>>,
}

impl<F: Future + 'static> TaskCell<F> {
    pub(super) fn new(header: Header, future: Option<Pin<Box<F>>>) -> Rc<Self> {
        Rc::new(Self { header, future: RefCell::new(future), output: RefCell::new(None) })
    }
}

impl<F: Future + 'static> AnyTask for TaskCell<F> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn poll(&self, cx: &mut Context<'_>) -> bool {
        let mut place = self.future.borrow_mut();
        let Some(future) = &mut *place else {
            return true;
        };
        let Poll::Ready(output) = future.as_mut().poll(cx) else {
            return false;
        };
        self.output.replace(Some(Ok(output)));
        *place = None;
        true
    }

    fn finish(&self, error: TaskError) {
        let replaced = self.output.replace(Some(Err(error)));
        drop(replaced);
    }

    fn drop_future(&self) {
        let future = self.future.try_borrow_mut().ok().and_then(|mut place| place.take());
        drop(future);
    }
}

impl<F: Future + 'static> Drop for TaskCell<F> {
    /// Debug mode tells of an error that nobody took (contract B-07).
    fn drop(&mut self) {
        let core = &self.header.core;
        if core.debug()
            && let Some(Ok(output)) = self.output.get_mut()
            && let Some(error) = error_in(output)
        {
            let mut context = ErrorContext::error("Task exception was never retrieved", error);
            context.task = Some(self.header.name());
            core.report_debug(context, Some(self.header.place));
        }
    }
}

/// The error in a task's output, of the types that the crate's own interfaces have.
fn error_in(output: &dyn Any) -> Option<SharedError> {
    if let Some(Err(error)) = output.downcast_ref::<io::Result<()>>() {
        return Some(SharedError::new(io::Error::new(error.kind(), error.to_string())));
    }
    if let Some(Err(error)) = output.downcast_ref::<Result<(), Failure>>() {
        return Some(SharedError::new(io::Error::other(error.to_string())));
    }
    None
}

impl<F: Future + 'static> Joinable<F::Output> for TaskCell<F> {
    fn take_output(&self) -> Option<Result<F::Output, TaskError>> {
        self.output.take()
    }

    fn has_output(&self, wanted: fn(&F::Output) -> bool) -> bool {
        matches!(&*self.output.borrow(), Some(Ok(output)) if wanted(output))
    }

    fn as_task(self: Rc<Self>) -> Rc<dyn AnyTask> {
        self
    }
}
