//! How tasks begin, run and end.

use std::any::Any;
use std::future::{Future, Pending};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use super::Task;
use super::header::{
    AnyTask, CANCELLABLE, DOOMED, Header, MUST_CANCEL, PASSED_ON, TaskCell, UPCOMING,
};
use crate::arena::Key;
use crate::engine::core::Core;
use crate::engine::report::ErrorContext;
use crate::error::{TaskError, panic_message};
use crate::handle::PanicPolicy;
use crate::trace::{Record, TaskOutcome};
use crate::{Loop, current};

/// Begins a task; its first step is queued (contract B-10).
#[track_caller]
pub(crate) fn spawn<F>(lp: &Loop, name: Option<String>, future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    let core = &lp.core;
    if core.is_closed() {
        let created = core.place_in_debug(Some(Location::caller()));
        let text = "create_task on a closed event loop: dropped";
        core.report(ErrorContext { created, ..ErrorContext::message(text) });
        drop(future);
        return refused(lp);
    }
    let mut made: Option<Rc<TaskCell<F>>> = None;
    let (future, place) = (Box::pin(future), Location::caller());
    core.add_task(|key| {
        let cell = TaskCell::new(Header::new(core, key, name, place), Some(future));
        made = Some(Rc::clone(&cell));
        cell
    });
    let cell = made.expect("add_task makes it");
    cell.header().queue_step();
    Task::new(cell)
}

/// A task that ended cancelled before it began.
#[track_caller]
pub(crate) fn refused<T: 'static>(lp: &Loop) -> Task<T> {
    let header = Header::new(&lp.core, Key::from_bits(u64::MAX), None, Location::caller());
    header.set_outcome(TaskOutcome::Cancelled);
    let cell: Rc<TaskCell<Pending<T>>> = TaskCell::new(header, None);
    cell.finish(TaskError::Cancelled);
    Task::new(cell)
}

/// The task whose step is running on this thread.
pub(crate) fn current() -> Option<Rc<dyn AnyTask>> {
    current::core().and_then(|core| core.current_task.borrow().clone())
}

/// Runs one step of a task.
pub(crate) fn step(core: &Rc<Core>, key: Key) {
    let Some(task) = core.task(key) else { return };
    let header = task.header();
    if header.is_marked(DOOMED | CANCELLABLE) {
        // Before the step takes its wake-up: a cancellation then queues no other.
        header.resume();
        header.begin_step();
        if header.is_doomed() {
            return end_cancelled(core, task);
        }
    } else {
        header.begin_step();
    }
    core.trace(Record::TaskPolled { task: header.number() });
    let polled = inside(core, &task, || task.poll(&mut Context::from_waker(&header.waker)));
    const UNUSUAL: u8 = MUST_CANCEL | DOOMED | CANCELLABLE | PASSED_ON | UPCOMING;
    let ends_as_usual = !header.is_marked(UNUSUAL);
    if matches!(polled, Ok(false)) && ends_as_usual {
        return;
    }
    let cancelled_itself = header.take_must_cancel();
    match polled {
        Err(panic) => {
            let dropped = inside(core, &task, || task.drop_future());
            end_panicked(core, task, panic, dropped.err());
        }
        // A task that was cancelled and then returned without having heard of it is cancelled (B-16).
        Ok(true) if cancelled_itself || header.is_requested() => {
            complete(core, task, Err(TaskError::Cancelled))
        }
        Ok(true) => complete(core, task, Ok(())),
        Ok(false) if header.is_doomed() => end_cancelled(core, task),
        Ok(false) => {
            if header.is_marked(PASSED_ON) {
                header.raise_unpolled();
            }
            if header.is_marked(UPCOMING) {
                header.deliver_upcoming();
            }
            if cancelled_itself {
                header.deliver_request();
            } else {
                header.suspend();
            }
        }
    }
}

/// Runs code of the task's as part of its step.
fn inside<R>(
    core: &Core,
    task: &Rc<dyn AnyTask>,
    code: impl FnOnce() -> R,
) -> Result<R, Box<dyn Any + Send>> {
    let header = task.header();
    let before = core.current_task.replace(Some(Rc::clone(task)));
    header.set_running(true);
    let result = catch_unwind(AssertUnwindSafe(code));
    header.set_running(false);
    let scope = header.replace_current_scope(None);
    let ended = core.current_task.replace(before);
    drop((scope, ended));
    result
}

/// Drops a task's future, as part of a step, and ends the task.
pub(super) fn end_cancelled(core: &Rc<Core>, task: Rc<dyn AnyTask>) {
    match inside(core, &task, || task.drop_future()) {
        Ok(()) => complete(core, task, Err(TaskError::Cancelled)),
        Err(panic) => end_panicked(core, task, panic, None),
    }
}

/// Ends a task that panicked, and whose destructor then may have panicked, too.
fn end_panicked(
    core: &Rc<Core>,
    task: Rc<dyn AnyTask>,
    panic: Box<dyn Any + Send>,
    another: Option<Box<dyn Any + Send>>,
) {
    let message = panic_message(&*panic);
    if core.policy.get() == PanicPolicy::EndRun {
        complete(core, task, Err(TaskError::Panicked(message)));
        resume_unwind(panic);
    }
    let report = |text: &str, message| {
        let mut context = ErrorContext::panic(text, message);
        context.task = Some(task.header().name());
        context.created = core.place_in_debug(Some(task.header().place()));
        core.report(context);
    };
    report("Exception in task", Arc::clone(&message));
    if let Some(another) = another {
        report("Exception in the destructor of a task that panicked", panic_message(&*another));
    }
    complete(core, task, Err(TaskError::Panicked(message)));
}

/// Ends a task: with the output that it has, or with an error.
fn complete(core: &Rc<Core>, task: Rc<dyn AnyTask>, result: Result<(), TaskError>) {
    let header = task.header();
    let outcome = match &result {
        Ok(()) => TaskOutcome::Finished,
        Err(TaskError::Cancelled) => TaskOutcome::Cancelled,
        Err(TaskError::Panicked(_)) => TaskOutcome::Panicked,
    };
    let error = result.err();
    if let Some(error) = &error {
        task.finish(error.clone());
    }
    header.set_outcome(outcome);
    core.trace(Record::TaskDone { task: header.number(), outcome });
    core.remove_task(header.key());
    header.tell_waiters(error.as_ref());
    // If nobody holds the task, its output is dropped here, which runs its destructor.
    if let Err(message) = core.contain(|| drop(task)) {
        core.report(ErrorContext::panic("Exception in the destructor of a task's output", message));
    }
}
