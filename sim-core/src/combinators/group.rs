//! Task groups: tasks that do not outlive the code that started them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::failure::{GroupError, TaskFailure};
use crate::engine::report::ErrorContext;
use crate::error::TaskError;
use crate::task::header::Watcher;
use crate::task::scope::{HeldScope, Scope, ScopeKind};
use crate::task::{AnyTask, step};
use crate::{Cancelled, Loop, Task};

/// The children of a [`Loop::task_group`], and the way to add to them.
///
/// Clones are handles of the same group, so that children can start siblings.
pub struct TaskGroup<E: 'static>(Rc<State<E>>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// The children were cancelled.
    Aborting,
    Closed,
}

struct State<E> {
    lp: Loop,
    phase: Cell<Phase>,
    /// The children that are not done, in order of creation.
    children: RefCell<BTreeMap<usize, Rc<dyn AnyTask>>>,
    next_child: Cell<usize>,
    failures: RefCell<Vec<TaskFailure<E>>>,
    /// A child has just recorded a failure, and is about to end.
    failing: Cell<bool>,
    /// The scope of the body, while that runs.
    body: RefCell<Option<Rc<Scope>>>,
    waker: RefCell<Option<Waker>>,
}

/// What the group's own future knows of its end.
struct Exit<T, E> {
    value: Option<T>,
    error: Option<E>,
    scope: HeldScope,
}

/// Cancels the children when the group's future is dropped before its end.
struct AbortOnDrop<E: 'static>(Rc<State<E>>);

impl<E> Drop for AbortOnDrop<E> {
    fn drop(&mut self) {
        self.0.abort();
        self.0.phase.set(Phase::Closed);
    }
}

impl Loop {
    /// Runs `body` with a group of tasks, and waits for the body and every task of the group:
    /// asyncio's `TaskGroup`.
    ///
    /// The first of them that fails has the others cancelled, the tasks before the body, each where
    /// it waits (contract B-38). A task or body fails that yields an `Err`; a task that panics
    /// fails too, one that was merely cancelled does not.
    ///
    /// # Errors
    ///
    /// [`GroupError`]: everything that failed, in order of completion, the body last.
    ///
    /// # Cancel safety
    ///
    /// A cancellation of the caller goes to what waits inside the body. If nobody catches it there
    /// the body is dropped, its tasks are cancelled and waited for, and then the cancellation goes
    /// on, unless one of them failed (B-39). Dropping the future cancels the tasks.
    ///
    /// ```
    /// use sim_core::testing;
    /// use std::io;
    /// use std::time::Duration;
    ///
    /// let lp = testing::new_loop();
    /// let handle = (*lp).clone();
    /// let sum = lp.run_until_complete(async move {
    ///     let lp = handle.clone();
    ///     handle
    ///         .task_group(async move |group| {
    ///             let slow = lp.clone();
    ///             let first = group.spawn(async move {
    ///                 slow.sleep(Duration::from_secs(1)).await;
    ///                 Ok(1)
    ///             });
    ///             let second = group.spawn(async { Ok(2) });
    ///             group.spawn(async { Ok(()) }); // waited for all the same
    ///             io::Result::Ok(first.await? + second.await?)
    ///         })
    ///         .await
    /// })?;
    /// assert_eq!(sum.unwrap(), 3);
    /// # Ok::<(), sim_core::RunError>(())
    /// ```
    pub async fn task_group<T, E: 'static>(
        &self,
        body: impl AsyncFnOnce(TaskGroup<E>) -> Result<T, E>,
    ) -> Result<T, GroupError<E>> {
        let group = TaskGroup(Rc::new(State {
            lp: self.clone(),
            phase: Cell::new(Phase::Open),
            children: RefCell::default(),
            next_child: Cell::new(0),
            failures: RefCell::default(),
            failing: Cell::new(false),
            body: RefCell::new(None),
            waker: RefCell::new(None),
        }));
        let state = Rc::clone(&group.0);
        let _abort = AbortOnDrop(Rc::clone(&state));
        let mut body = pin!(Some(body(group)));
        let mut exit = Exit { value: None, error: None, scope: HeldScope::default() };
        poll_fn(|cx| state.poll(body.as_mut(), &mut exit, cx)).await
    }
}

impl<E> TaskGroup<E> {
    /// Runs `future` as a child; its first step comes in the next iteration.
    ///
    /// If it yields an `Err`, that becomes a failure of the group, and whoever awaits the task
    /// finds it cancelled. A group that is being cancelled, or is over, takes no more children:
    /// the future is dropped and the task returned is a cancelled one (contract B-39). After the
    /// end that is reported too.
    pub fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = Result<T, E>> + 'static,
    ) -> Task<T> {
        self.spawn_on(&self.0.lp, future)
    }

    /// [`spawn`](Self::spawn) on another loop of the world, which only the group of a scenario may
    /// do (contract, ruling 6).
    pub fn spawn_on<T: 'static>(
        &self,
        lp: &Loop,
        future: impl Future<Output = Result<T, E>> + 'static,
    ) -> Task<T> {
        let state = &self.0;
        if state.phase.get() != Phase::Open {
            if state.phase.get() == Phase::Closed {
                let message = "spawn in a task group that is over: dropped";
                lp.call_exception_handler(ErrorContext::message(message));
            }
            drop(future);
            return step::refused(lp);
        }
        let group = Rc::clone(state);
        let task = lp.create_task(async move {
            match future.await {
                Ok(value) => value,
                Err(error) => {
                    group.fail(TaskFailure::Failed(error));
                    Cancelled::default().raise().await
                }
            }
        });
        state.adopt(task.as_any());
        task
    }
}

impl<E: 'static> State<E> {
    fn adopt(self: &Rc<Self>, child: Rc<dyn AnyTask>) {
        if child.header().is_done() {
            return;
        }
        let number = self.next_child.get();
        self.next_child.set(number + 1);
        let watcher: Rc<dyn Watcher> = Rc::clone(self) as Rc<dyn Watcher>;
        child.header().watch(Rc::downgrade(&watcher) as Weak<dyn Watcher>, number);
        self.children.borrow_mut().insert(number, child);
    }

    fn fail(&self, failure: TaskFailure<E>) {
        self.failures.borrow_mut().push(failure);
        self.failing.set(true);
    }

    /// Cancels the children, then the body, if that runs (B-38).
    fn abort(&self) {
        if self.phase.get() != Phase::Open {
            return;
        }
        self.phase.set(Phase::Aborting);
        let children: Vec<_> = self.children.borrow().values().cloned().collect();
        for child in children {
            child.header().cancel();
        }
        let body = self.body.borrow().clone();
        if let Some(body) = body {
            body.send_cancel();
        }
    }

    fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll<T>(
        &self,
        mut body: Pin<&mut Option<impl Future<Output = Result<T, E>>>>,
        exit: &mut Exit<T, E>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, GroupError<E>>> {
        if exit.scope.is_raised() {
            return Poll::Pending;
        }
        let scope = exit.scope.enter(|| ScopeKind::Catch);
        // Outside a task nobody can tell the body: it is dropped.
        let is_cancelled = || match &scope {
            Some(scope) => scope.cancelled().is_some(),
            None => self.phase.get() != Phase::Open,
        };
        if let Some(running) = body.as_mut().as_pin_mut().filter(|_| !is_cancelled()) {
            drop(self.body.replace(scope.clone()));
            let polled = match &scope {
                Some(scope) => scope.poll_inside(|| running.poll(cx)),
                None => running.poll(cx),
            };
            if let Poll::Ready(result) = polled {
                self.end_body(body.as_mut());
                match result {
                    Ok(value) => exit.value = Some(value),
                    Err(error) => {
                        exit.error = Some(error);
                        self.abort();
                    }
                }
            }
        }
        if is_cancelled() {
            scope.iter().for_each(|scope| scope.hear());
            self.end_body(body.as_mut());
            self.abort();
        }
        if body.is_none() && self.children.borrow().is_empty() {
            if !exit.scope.is_upcoming() {
                return self.end(exit);
            }
            exit.scope.wait_for_upcoming(cx.waker());
        }
        drop(self.waker.replace(Some(cx.waker().clone())));
        if let Some(scope) = &scope {
            scope.wait(cx.waker());
        }
        Poll::Pending
    }

    fn end_body<F>(&self, mut body: Pin<&mut Option<F>>) {
        drop(self.body.take());
        body.set(None);
    }

    /// Body and children are done: the outcome, or the caller's cancellation goes on (B-39).
    fn end<T>(&self, exit: &mut Exit<T, E>) -> Poll<Result<T, GroupError<E>>> {
        self.phase.set(Phase::Closed);
        let mut failures = self.failures.take();
        failures.extend(exit.error.take().map(TaskFailure::Failed));
        if !failures.is_empty() {
            exit.scope.end();
            return Poll::Ready(Err(GroupError::new(failures)));
        }
        match (exit.scope.cancelled(), exit.value.take()) {
            (Some(sender), _) => {
                exit.scope.raise(sender);
                Poll::Pending
            }
            (None, value) => {
                exit.scope.end();
                Poll::Ready(Ok(value.expect("a body that is over has returned or was cancelled")))
            }
        }
    }
}

impl<E: 'static> Watcher for State<E> {
    fn task_done(&self, number: usize, error: Option<&TaskError>) {
        let child = self.children.borrow_mut().remove(&number);
        drop(child);
        if let Some(TaskError::Panicked(message)) = error {
            self.fail(TaskFailure::Panicked(message.clone()));
        }
        if self.failing.take() {
            self.abort();
        }
        if self.children.borrow().is_empty() {
            self.wake();
        }
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("phase", &self.0.phase.get())
            .field("children", &self.0.children.borrow().len())
            .finish_non_exhaustive()
    }
}
