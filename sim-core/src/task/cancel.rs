//! Where a cancellation goes: the scopes of a task.
//!
//! Rust cannot raise at an await of a foreign future. A cancellation is a request on the task; the
//! innermost pending scope takes it, drops its future and says so (contract, ruling 4). The root
//! of a task is such a scope. Awaiting another task is a scope too: it passes the request on.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::AnyTask;
use crate::Cancelled;

pub(crate) enum ScopeKind {
    /// [`catch_cancel`].
    Catch,
    /// A deadline: it takes no cancellation but its own.
    Deadline,
    /// An await of a task.
    Join(Rc<dyn AnyTask>),
}

impl ScopeKind {
    pub(crate) fn takes_cancel(&self) -> bool {
        !matches!(self, Self::Deadline)
    }
}

/// A pending scope of a task.
pub(crate) struct Scope {
    kind: ScopeKind,
    depth: u32,
    parent: Option<Rc<Scope>>,
    owner: Weak<dyn AnyTask>,
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Scope {
    /// A scope below the one that is being polled; `None` outside any task.
    pub(crate) fn begin(kind: ScopeKind) -> Option<Rc<Self>> {
        let task = super::current()?;
        let parent = task.header().current_scope.borrow().clone();
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        let owner = Rc::downgrade(&task);
        let (cancelled, waker) = (Cell::new(false), RefCell::new(None));
        Some(Rc::new(Self { kind, depth, parent, owner, cancelled, waker }))
    }

    pub(crate) fn kind(&self) -> &ScopeKind {
        &self.kind
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// True for a scope strictly inside `outer`.
    pub(crate) fn is_within(&self, outer: &Rc<Self>) -> bool {
        let mut parent = self.parent.as_ref();
        while let Some(scope) = parent {
            if Rc::ptr_eq(scope, outer) {
                return true;
            }
            parent = scope.parent.as_ref();
        }
        false
    }

    /// Takes a cancellation: the scope ends at its next poll, or the awaited task is cancelled.
    /// False if the awaited task is done already, so that the cancellation stays with the caller.
    pub(crate) fn cancel(&self) -> bool {
        if let ScopeKind::Join(task) = &self.kind
            && !task.header().cancel()
        {
            return false;
        }
        self.cancelled.set(true);
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker.filter(|_| !matches!(self.kind, ScopeKind::Join(_))) {
            waker.wake();
        }
        true
    }

    /// Hands a cancellation that came through this scope to the one around; false outside a task.
    pub(crate) fn pass_on(&self) -> bool {
        let Some(owner) = self.owner.upgrade() else {
            return false;
        };
        let header = owner.header();
        let mut around = self.parent.clone();
        while let Some(scope) = around {
            // A deadline that is expiring sent it; any other lets it through.
            if scope.kind.takes_cancel() || scope.is_cancelled() {
                scope.cancelled.set(true);
                let waker = scope.waker.borrow().clone();
                if let Some(waker) = waker {
                    waker.wake();
                }
                header.waker.queue();
                return true;
            }
            around = scope.parent.clone();
        }
        header.must_cancel.set(true);
        header.scopes.take();
        header.waker.queue();
        true
    }

    /// Makes it one of its task's pending scopes.
    pub(crate) fn wait(self: &Rc<Self>, waker: &Waker) {
        self.waker.replace(Some(waker.clone()));
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let mut scopes = owner.header().scopes.borrow_mut();
        if !scopes.iter().any(|scope| Rc::ptr_eq(scope, self)) {
            scopes.push(Rc::clone(self));
        }
    }

    /// It waits no more.
    pub(crate) fn end(self: &Rc<Self>) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let mut scopes = owner.header().scopes.borrow_mut();
        if let Some(place) = scopes.iter().position(|scope| Rc::ptr_eq(scope, self)) {
            scopes.remove(place);
        }
    }

    /// Polls `future` inside the scope.
    pub(crate) fn poll_inside<F: Future>(
        self: &Rc<Self>,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let Some(owner) = self.owner.upgrade() else {
            return future.poll(cx);
        };
        let outer = owner.header().current_scope.replace(Some(Rc::clone(self)));
        let polled = future.poll(cx);
        let inner = owner.header().current_scope.replace(outer);
        drop(inner);
        polled
    }

    /// The innermost pending scope inside this one that a cancellation can go to.
    pub(crate) fn innermost_inside(self: &Rc<Self>) -> Option<Rc<Self>> {
        let owner = self.owner.upgrade()?;
        owner.header().innermost(Some(self), ScopeKind::takes_cancel)
    }

    /// Marks it as the one that sends a cancellation of its own.
    pub(crate) fn mark_cancelled(&self) {
        self.cancelled.set(true);
    }
}

/// Ends its scope when dropped.
struct Pending(Option<Rc<Scope>>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(scope) = &self.0 {
            scope.end();
        }
    }
}

/// Awaits `future`, and catches a cancellation of the task meanwhile: the future is dropped then.
///
/// It is how a task cleans up, or goes on (contract B-15): asyncio's `except CancelledError`.
///
/// # Errors
///
/// [`Cancelled`] if the task was cancelled while this was the innermost scope that waited.
///
/// ```
/// use sim_core::{catch_cancel, testing};
/// use std::time::Duration;
///
/// let lp = testing::new_loop();
/// let handle = (*lp).clone();
/// let said = lp.run_until_complete(async move {
///     let lp = handle.clone();
///     let task = handle.create_task(async move {
///         match catch_cancel(lp.sleep(Duration::from_secs(60))).await {
///             Ok(()) => "slept",
///             Err(_) => "woken, tidying up",
///         }
///     });
///     handle.sleep(Duration::from_secs(1)).await;
///     task.cancel();
///     task.await
/// })?;
/// assert_eq!(said, Ok("woken, tidying up"));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub async fn catch_cancel<F: Future>(future: F) -> Result<F::Output, Cancelled> {
    let mut future = pin!(future);
    let mut pending = Pending(None);
    let mut begun = false;
    poll_fn(move |cx| {
        if !begun {
            begun = true;
            pending.0 = Scope::begin(ScopeKind::Catch);
        }
        let Some(scope) = &pending.0 else {
            return future.as_mut().poll(cx).map(Ok);
        };
        if scope.is_cancelled() {
            scope.end();
            return Poll::Ready(Err(Cancelled));
        }
        let polled = scope.poll_inside(future.as_mut(), cx);
        match polled {
            Poll::Pending => scope.wait(cx.waker()),
            Poll::Ready(_) => scope.end(),
        }
        polled.map(Ok)
    })
    .await
}
