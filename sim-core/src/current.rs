//! The turn that is running on this thread: the one piece of ambient state in the crate.
//!
//! It is set around every turn and every entry from outside, and empty otherwise. It gives
//! `tracing` its virtual time, foreign libraries their host, and awaited scopes their task. It
//! never carries anything from one world to another.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;

use crate::Time;
use crate::engine::core::Core;
use crate::engine::inbox::{Inbox, TaskWaker};

thread_local! {
    /// The engine that was entered last and not left. Who enters it leaves it, so there is nothing to be
    /// dropped when the thread ends, and asking for it is a plain load.
    static CURRENT: Cell<Current> = const { Cell::new(ManuallyDrop::new(None)) };
    /// A loop runs that lets no other of its kind run on its thread.
    static RUNS_ALONE: Cell<bool> = const { Cell::new(false) };
}

type Current = ManuallyDrop<Option<Rc<Core>>>;

/// Makes the engine that was current before current again when dropped. They lie on each other: a
/// callback may run a loop of another world.
pub(crate) struct Entered(Option<Rc<Core>>);

#[inline]
pub(crate) fn enter(core: &Rc<Core>) -> Entered {
    let entered = ManuallyDrop::new(Some(Rc::clone(core)));
    Entered(ManuallyDrop::into_inner(CURRENT.replace(entered)))
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        let left = CURRENT.replace(ManuallyDrop::new(self.0.take()));
        drop(ManuallyDrop::into_inner(left));
    }
}

pub(crate) fn core() -> Option<Rc<Core>> {
    let current = CURRENT.take();
    let core = Option::clone(&current);
    CURRENT.set(current);
    core
}

/// Queues a step of a task, unless one is queued, if `inbox` is that of the engine whose turn runs on this thread;
/// false if it is not.
#[inline]
pub(crate) fn queue_task(inbox: &Arc<Inbox>, task: &TaskWaker) -> bool {
    let current = CURRENT.take();
    let own = current.as_ref().filter(|core| Arc::ptr_eq(&core.inbox, inbox));
    let queued = own.is_some_and(|core| core.queue_in_turn(task));
    CURRENT.set(current);
    queued
}

/// Notes that a loop which lets no other of its kind run on its thread runs, or runs no more.
pub(crate) fn set_runs_alone(runs: bool) {
    RUNS_ALONE.set(runs);
}

/// True while such a loop runs.
pub(crate) fn runs_alone() -> bool {
    RUNS_ALONE.get()
}

/// The time on the loop whose turn runs on this thread; `None` outside any turn.
///
/// For log formatters: it is what gives a simulated run's log its virtual timestamps.
pub fn current_time() -> Option<Time> {
    core().map(|core| core.driver.now())
}

/// The name of the host whose turn runs on this thread; `None` outside any turn.
pub fn current_host() -> Option<String> {
    core().map(|core| core.driver.host().to_owned())
}
