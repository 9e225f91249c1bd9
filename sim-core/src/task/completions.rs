//! Several tasks, and the order in which they end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::Waker;

use super::header::{AnyTask, Watcher};
use super::step;
use crate::Task;
use crate::error::TaskError;

/// The ends of a fixed number of tasks, in order: what `gather`, `wait` and `as_completed` share.
///
/// A task is named by its place among those that were given. Tasks that were done by then come
/// first, in the order of their places.
pub(crate) struct Completions {
    tasks: Vec<Rc<dyn AnyTask>>,
    ended: RefCell<VecDeque<usize>>,
    pending: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Completions {
    pub(crate) fn of<T: 'static>(tasks: &[Task<T>]) -> Rc<Self> {
        Self::of_any(tasks.iter().map(Task::as_any).collect())
    }

    pub(crate) fn of_any(tasks: Vec<Rc<dyn AnyTask>>) -> Rc<Self> {
        let is_done = |place: &usize| tasks[*place].header().is_done();
        let ended: VecDeque<usize> = (0..tasks.len()).filter(is_done).collect();
        let pending = Cell::new(tasks.len() - ended.len());
        let ended = RefCell::new(ended);
        let this = Rc::new(Self { tasks, ended, pending, waker: RefCell::new(None) });
        let watcher: Rc<dyn Watcher> = Rc::clone(&this) as Rc<dyn Watcher>;
        for (place, task) in this.tasks.iter().enumerate() {
            if !task.header().is_done() {
                task.header().watch(Rc::downgrade(&watcher) as Weak<dyn Watcher>, place);
            }
        }
        this
    }

    pub(crate) fn tasks(&self) -> &[Rc<dyn AnyTask>] {
        &self.tasks
    }

    /// True when none of them is pending.
    pub(crate) fn is_done(&self) -> bool {
        self.pending.get() == 0
    }

    /// Takes the place of the next one that ended.
    pub(crate) fn next(&self) -> Option<usize> {
        self.ended.borrow_mut().pop_front()
    }

    /// How many there are to [take](Self::next).
    pub(crate) fn ready(&self) -> usize {
        self.ended.borrow().len()
    }

    pub(crate) fn cancel_all(&self) {
        for task in &self.tasks {
            task.header().cancel();
        }
    }

    /// Wakes `waker` at the next end.
    ///
    /// # Panics
    ///
    /// If the task that waits is one of those it waits for (contract B-19).
    pub(crate) fn wait(&self, waker: &Waker) {
        if let Some(current) = step::current() {
            let itself = self.tasks.iter().any(|task| Rc::ptr_eq(task, &current));
            assert!(!itself, "task {} cannot await itself", current.header().name());
        }
        let old = self.waker.replace(Some(waker.clone()));
        drop(old);
    }
}

impl Watcher for Completions {
    fn task_done(&self, number: usize, _error: Option<&TaskError>) {
        self.ended.borrow_mut().push_back(number);
        self.pending.set(self.pending.get() - 1);
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Completions {
    /// A task may outlive many that waited for it.
    fn drop(&mut self) {
        for task in self.tasks.iter().filter(|task| !task.header().is_done()) {
            task.header().unwatch(self);
        }
    }
}
