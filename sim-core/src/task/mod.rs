//! Tasks: futures that a loop drives.

mod cancel;
mod sleep;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub use self::cancel::catch_cancel;
pub(crate) use self::cancel::{Scope, ScopeKind};
pub use self::sleep::Sleep;
use crate::arena::Key;
use crate::engine::callbacks::Action;
use crate::engine::core::{Core, Ready};
use crate::engine::inbox::TaskWaker;
use crate::engine::report::ErrorContext;
use crate::error::{TaskError, panic_message};
use crate::handle::PanicPolicy;
use crate::trace::{Record, TaskOutcome};
use crate::{Loop, current};

/// A task, seen without the type of its output.
pub(crate) trait AnyTask {
    fn header(&self) -> &Header;
    /// Polls the future once; true when it is done.
    fn poll(&self, cx: &mut Context<'_>) -> bool;
    /// Ends it without an output of its own.
    fn finish(&self, error: TaskError);
    /// Drops the future, if it is still there.
    fn drop_future(&self);
}

/// What a task has whatever its output is.
pub(crate) struct Header {
    core: Rc<Core>,
    key: Key,
    number: u32,
    name: RefCell<Option<String>>,
    waker: Arc<TaskWaker>,
    outcome: Cell<Option<TaskOutcome>>,
    running: Cell<bool>,
    /// Cancellations asked for and not taken back (contract B-18).
    requests: Cell<u32>,
    /// A cancellation is recorded that no scope has taken yet.
    must_cancel: Cell<bool>,
    /// The scopes and joins that are pending, in the order in which they began to wait.
    scopes: RefCell<Vec<Rc<Scope>>>,
    /// The scope whose future is being polled.
    current_scope: RefCell<Option<Rc<Scope>>>,
    joiners: RefCell<Vec<Waker>>,
    done_callbacks: RefCell<Vec<Box<dyn FnOnce()>>>,
}

struct TaskCell<F: Future> {
    header: Header,
    future: RefCell<Option<Pin<Box<F>>>>,
    output: RefCell<Option<Result<F::Output, TaskError>>>,
}

/// A task with its output.
pub(crate) trait Joinable<T>: AnyTask {
    fn take_output(&self) -> Option<Result<T, TaskError>>;
    fn as_task(self: Rc<Self>) -> Rc<dyn AnyTask>;
}

/// A task that a loop runs, as [`Loop::create_task`] returns it.
///
/// Awaiting it yields the output, or why there is none. Dropping it lets the task run on.
///
/// # Cancel safety
///
/// A task that awaits another and is cancelled passes the cancellation on (contract B-17); drop the
/// handle, or use [`combinators::shield`](crate::combinators::shield), to leave it alone.
///
/// ```
/// use sim_core::{TaskError, testing};
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let outcome = lp.run_until_complete(async move {
///     let lp = handle.clone();
///     let task = handle.create_task(async move { lp.sleep(Duration::from_secs(60)).await });
///     task.cancel();
///     task.await
/// })?;
/// assert_eq!(outcome, Err(TaskError::Cancelled));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub struct Task<T> {
    inner: Rc<dyn Joinable<T>>,
    join: Option<Rc<Scope>>,
}

pub(crate) fn spawn<F>(lp: &Loop, name: Option<String>, future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    let core = &lp.core;
    let number = core.next_task();
    let make_header = |key: Key, outcome: Option<TaskOutcome>| Header {
        core: Rc::clone(core),
        key,
        number,
        name: RefCell::new(name),
        waker: Arc::new(TaskWaker::new(Arc::clone(&core.inbox), key)),
        outcome: Cell::new(outcome),
        running: Cell::new(false),
        requests: Cell::new(0),
        must_cancel: Cell::new(false),
        scopes: RefCell::default(),
        current_scope: RefCell::new(None),
        joiners: RefCell::default(),
        done_callbacks: RefCell::default(),
    };
    if core.is_closed() {
        core.report(ErrorContext::message("create_task on a closed event loop: dropped"));
        drop(future);
        let key = Key::from_bits(u64::MAX);
        let cell: Rc<TaskCell<F>> = Rc::new(TaskCell {
            header: make_header(key, Some(TaskOutcome::Cancelled)),
            future: RefCell::new(None),
            output: RefCell::new(Some(Err(TaskError::Cancelled))),
        });
        return Task { inner: cell, join: None };
    }
    let mut made: Option<Rc<TaskCell<F>>> = None;
    let future = Box::pin(future);
    core.add_task(|key| {
        let cell = Rc::new(TaskCell {
            header: make_header(key, None),
            future: RefCell::new(Some(future)),
            output: RefCell::new(None),
        });
        made = Some(Rc::clone(&cell));
        cell
    });
    let cell = made.expect("add_task makes it");
    cell.header.queue_step();
    Task { inner: cell, join: None }
}

/// Runs one step of a task.
pub(crate) fn step(core: &Rc<Core>, key: Key) {
    let Some(task) = core.task(key) else { return };
    let header = task.header();
    header.waker.begin_step();
    if header.must_cancel.get() && header.scopes.borrow().is_empty() {
        task.drop_future();
        return complete(&*task, Err(TaskError::Cancelled));
    }
    core.trace(Record::TaskPolled { task: header.number });
    let before = core.current_task.replace(Some(Rc::clone(&task)));
    let restore = RestoreTask { core, header, before };
    let waker = Waker::from(Arc::clone(&header.waker));
    header.running.set(true);
    let polled = poll_contained(core, &*task, &mut Context::from_waker(&waker));
    drop(restore);
    match polled {
        Err(message) => {
            let mut context = ErrorContext::panic("Exception in task", Arc::clone(&message));
            context.task = Some(header.name());
            core.report(context);
            task.drop_future();
            complete(&*task, Err(TaskError::Panicked(message)));
        }
        // A task that cancelled itself and then returned is cancelled (contract B-16).
        Ok(true) if header.must_cancel.get() => complete(&*task, Err(TaskError::Cancelled)),
        Ok(true) => complete(&*task, Ok(())),
        Ok(false) if header.must_cancel.get() => header.deliver_cancel(),
        Ok(false) => {}
    }
}

/// Puts the task that was current before back, also when a panic ends the run.
struct RestoreTask<'a> {
    core: &'a Core,
    header: &'a Header,
    before: Option<Rc<dyn AnyTask>>,
}

impl Drop for RestoreTask<'_> {
    fn drop(&mut self) {
        self.header.running.set(false);
        self.header.current_scope.take();
        let ended = self.core.current_task.replace(self.before.take());
        drop(ended);
    }
}

fn poll_contained(core: &Core, task: &dyn AnyTask, cx: &mut Context<'_>) -> Result<bool, Arc<str>> {
    if core.policy.get() == PanicPolicy::EndRun {
        return Ok(task.poll(cx));
    }
    catch_unwind(AssertUnwindSafe(|| task.poll(cx)))
        .map_err(|payload: Box<dyn Any + Send>| panic_message(&*payload))
}

/// Ends a task: with the output that it has, or with an error.
fn complete(task: &dyn AnyTask, result: Result<(), TaskError>) {
    let header = task.header();
    let outcome = match &result {
        Ok(()) => TaskOutcome::Finished,
        Err(TaskError::Cancelled) => TaskOutcome::Cancelled,
        Err(TaskError::Panicked(_)) => TaskOutcome::Panicked,
    };
    if let Err(error) = result {
        task.finish(error);
    }
    header.outcome.set(Some(outcome));
    header.core.trace(Record::TaskDone { task: header.number, outcome });
    header.scopes.take();
    header.core.remove_task(header.key);
    for callback in header.done_callbacks.take() {
        drop(header.core.call_soon(Action::Call(callback)));
    }
    for joiner in header.joiners.take() {
        joiner.wake();
    }
}

impl Header {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Its name: given, or `task-N`.
    pub(crate) fn name(&self) -> String {
        self.name.borrow().clone().unwrap_or_else(|| format!("task-{}", self.number))
    }

    fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Queues a step, in order with everything that is queued on the loop.
    fn queue_step(&self) {
        if self.waker.mark_queued() {
            self.core.push(Ready::Task(self.key));
        }
    }

    /// Records a request to cancel (contract B-13); false if the task is done.
    pub(crate) fn cancel(&self) -> bool {
        if self.is_done() {
            return false;
        }
        self.requests.set(self.requests.get() + 1);
        self.must_cancel.set(true);
        if !self.running.get() {
            self.deliver_cancel();
        }
        true
    }

    /// Hands the recorded cancellation to the innermost pending scope; the root is one.
    fn deliver_cancel(&self) {
        let innermost = self.innermost(None, |kind| kind.takes_cancel());
        match innermost {
            Some(scope) => {
                if scope.cancel() {
                    self.must_cancel.set(false);
                }
            }
            None if self.scopes.borrow().iter().any(|scope| scope.is_cancelled()) => {}
            None => {
                // The root takes it: at its next step the future is dropped.
                self.scopes.take();
                self.queue_step();
            }
        }
    }

    /// The deepest pending scope, below `within` if given, whose kind is wanted.
    pub(crate) fn innermost(
        &self,
        within: Option<&Rc<Scope>>,
        wanted: impl Fn(&ScopeKind) -> bool,
    ) -> Option<Rc<Scope>> {
        let scopes = self.scopes.borrow();
        let inside = |scope: &&Rc<Scope>| within.is_none_or(|outer| scope.is_within(outer));
        let fitting = scopes.iter().filter(inside).filter(|scope| wanted(scope.kind()));
        fitting.filter(|scope| !scope.is_cancelled()).max_by_key(|scope| scope.depth()).cloned()
    }
}

impl<F: Future> AnyTask for TaskCell<F> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn poll(&self, cx: &mut Context<'_>) -> bool {
        let Some(mut future) = self.future.borrow_mut().take() else {
            return true;
        };
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                self.output.replace(Some(Ok(output)));
                drop(future);
                true
            }
            Poll::Pending => {
                self.future.replace(Some(future));
                false
            }
        }
    }

    fn finish(&self, error: TaskError) {
        let replaced = self.output.replace(Some(Err(error)));
        drop(replaced);
    }

    fn drop_future(&self) {
        let future = self.future.take();
        drop(future);
    }
}

impl<F: Future + 'static> Joinable<F::Output> for TaskCell<F> {
    fn take_output(&self) -> Option<Result<F::Output, TaskError>> {
        self.output.take()
    }

    fn as_task(self: Rc<Self>) -> Rc<dyn AnyTask> {
        self
    }
}

impl<T: 'static> Task<T> {
    fn header(&self) -> &Header {
        self.inner.header()
    }

    /// Its name: given, or `task-N` by order of creation on its loop.
    pub fn name(&self) -> String {
        self.header().name()
    }

    /// Changes its name.
    pub fn set_name(&self, name: impl Into<String>) {
        self.header().name.replace(Some(name.into()));
    }

    /// Asks for cancellation: the innermost pending [`catch_cancel`] gets it at its next step, and
    /// the task itself if there is none. False if the task is done (contract B-13).
    pub fn cancel(&self) -> bool {
        self.header().cancel()
    }

    /// Takes one request back, and returns how many are left (B-18).
    pub fn uncancel(&self) -> u32 {
        let requests = &self.header().requests;
        requests.set(requests.get().saturating_sub(1));
        requests.get()
    }

    /// How many cancellations were asked for and not taken back.
    pub fn cancelling(&self) -> u32 {
        self.header().requests.get()
    }

    /// True when it has ended, one way or another.
    pub fn done(&self) -> bool {
        self.header().is_done()
    }

    /// True when it has ended by cancellation.
    pub fn cancelled(&self) -> bool {
        self.header().outcome.get() == Some(TaskOutcome::Cancelled)
    }

    /// The output, if the task is done and nobody has taken it yet: for those who do not await.
    pub fn take_result(&self) -> Option<Result<T, TaskError>> {
        self.inner.take_output()
    }

    /// Queues `callback` for when it is done; at once if it is.
    pub fn on_done(&self, callback: impl FnOnce() + 'static) {
        let header = self.header();
        let callback = Box::new(callback);
        if header.is_done() {
            drop(header.core.call_soon(Action::Call(callback)));
        } else {
            header.done_callbacks.borrow_mut().push(callback);
        }
    }

    /// Ends it without asking its scopes: what it belongs to is gone.
    pub(crate) fn cancel_now(&self) {
        let header = self.header();
        if header.is_done() {
            return;
        }
        if header.running.get() {
            header.cancel();
            return;
        }
        let task = Rc::clone(&self.inner).as_task();
        task.drop_future();
        complete(&*task, Err(TaskError::Cancelled));
    }

    pub(crate) fn poll_done(&self, waker: &Waker) -> bool {
        let header = self.header();
        if !header.is_done() {
            let mut joiners = header.joiners.borrow_mut();
            if !joiners.iter().any(|joiner| joiner.will_wake(waker)) {
                joiners.push(waker.clone());
            }
        }
        header.is_done()
    }

    pub(crate) fn as_any_task(&self) -> Rc<dyn AnyTask> {
        Rc::clone(&self.inner).as_task()
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    ///
    /// If a task awaits itself (contract B-19), or when polled again after it yielded the output.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let header = self.inner.header();
        assert!(!header.running.get(), "task {} cannot await itself", header.name());
        if !self.poll_done(cx.waker()) {
            if self.join.is_none() {
                self.join = Scope::begin(ScopeKind::Join(self.as_any_task()));
            }
            if let Some(join) = &self.join {
                join.wait(cx.waker());
            }
            return Poll::Pending;
        }
        let join = self.join.take();
        let result = self.inner.take_output().expect("a task's output is taken once");
        if let Some(join) = join {
            join.end();
            // The cancellation went through this await: it goes on to the scope around (B-17).
            if join.is_cancelled() && matches!(result, Err(TaskError::Cancelled)) && join.pass_on()
            {
                return Poll::Pending;
            }
        }
        Poll::Ready(result)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(join) = self.join.take() {
            join.end();
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.inner.header();
        f.debug_struct("Task")
            .field("name", &header.name())
            .field("outcome", &header.outcome.get())
            .finish_non_exhaustive()
    }
}

/// The task whose step is running on this thread.
pub(crate) fn current() -> Option<Rc<dyn AnyTask>> {
    current::core().and_then(|core| core.current_task.borrow().clone())
}
