//! Deadlines for futures.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::arena::Key;
use crate::engine::callbacks::{Action, Place, Posted};
use crate::engine::core::Core;
use crate::error::Elapsed;
use crate::task::scope::{HeldScope, Scope, ScopeKind};
use crate::{Loop, Time};

pin_project! {
    /// A future with a deadline: what [`Loop::timeout`] and its siblings return.
    ///
    /// When the deadline passes, what waits inside is cancelled as by [`Task::cancel`], only that
    /// the cancellation goes no further than here (contract B-41). A task that the future awaits is
    /// cancelled and waited for; if it ends with a value all the same, that value is the result
    /// (B-32), and so it is with a [`catch_cancel`] inside that returns one. Nothing of the kind
    /// inside, the future is dropped at once.
    ///
    /// [`Task::cancel`]: crate::Task::cancel
    /// [`catch_cancel`]: crate::catch_cancel
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: Option<F>,
        deadline: Deadline,
        // Whether the first poll that suspends is the last: a duration of zero (B-31).
        at_once: bool,
        scope: HeldScope,
    }

    impl<F> PinnedDrop for Timeout<F> {
        fn drop(this: Pin<&mut Self>) {
            this.deadline.0.end();
        }
    }
}

impl Loop {
    /// Awaits `future` for `duration` at most, counted from this call: asyncio's `wait_for`.
    ///
    /// A duration of zero gives up where the future first has to wait, in the same step: it gives
    /// the value of a future that is done already, and a task that has not begun never begins
    /// (contract B-31).
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if the time is up; see [`Timeout`] for what becomes of the future.
    ///
    /// # Cancel safety
    ///
    /// A cancellation of the caller goes to what waits inside, and is never turned into
    /// [`Elapsed`] (B-41): also not when the time is up while the future cleans up for it. One that the
    /// future caught in order to go on counts until it is [taken back](crate::Task::uncancel).
    ///
    /// ```
    /// use sim_core::testing;
    /// use std::time::Duration;
    ///
    /// let lp = testing::new_loop();
    /// let handle = (*lp).clone();
    /// let waited = lp.run_until_complete(async move {
    ///     let answer = handle.create_future::<u32>(); // which nobody gives
    ///     handle.timeout(Duration::from_secs(3), answer).await
    /// })?;
    /// assert_eq!(waited.unwrap_err().to_string(), "timed out after 3s");
    /// assert_eq!(lp.time().since_epoch(), Duration::from_secs(3));
    /// # Ok::<(), sim_core::RunError>(())
    /// ```
    pub fn timeout<F: Future>(&self, duration: Duration, future: F) -> Timeout<F> {
        let now = self.time();
        Timeout::new(self, (now, Some(now + duration)), duration.is_zero(), |_| future)
    }

    /// Awaits `future` until `when` on this loop's clock at most.
    ///
    /// If `when` has passed the deadline fires through the loop, in the iteration after the future
    /// first has to wait; one that never waits completes (B-40).
    ///
    /// # Errors
    ///
    /// As [`timeout`](Self::timeout).
    pub fn timeout_at<F: Future>(&self, when: Time, future: F) -> Timeout<F> {
        Timeout::new(self, (self.time(), Some(when)), false, |_| future)
    }

    /// As [`timeout_at`](Self::timeout_at) for code that moves its own deadline: `body` is given
    /// the handle. `None` is a deadline that is not set yet.
    ///
    /// ```
    /// use sim_core::testing;
    /// use std::time::Duration;
    ///
    /// let lp = testing::new_loop();
    /// let handle = (*lp).clone();
    /// let polite = lp.run_until_complete(async move {
    ///     let lp = handle.clone();
    ///     let idle = Duration::from_secs(10);
    ///     let first = lp.time() + idle;
    ///     handle
    ///         .timeout_with(Some(first), async move |deadline| {
    ///             for _ in 0..5 {
    ///                 lp.sleep(Duration::from_secs(9)).await; // something arrives
    ///                 deadline.reschedule(Some(lp.time() + idle));
    ///             }
    ///             "45 seconds, never idle for 10"
    ///         })
    ///         .await
    /// })?;
    /// assert!(polite.is_ok());
    /// # Ok::<(), sim_core::RunError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`timeout`](Self::timeout).
    pub fn timeout_with<F: Future>(
        &self,
        when: Option<Time>,
        body: impl FnOnce(Deadline) -> F,
    ) -> Timeout<F> {
        Timeout::new(self, (self.time(), when), false, body)
    }
}

/// The deadline of a [`Timeout`], to look at it and to move it.
#[derive(Clone)]
pub struct Deadline(Rc<State>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not awaited yet.
    New,
    Active,
    /// The deadline passed.
    Fired,
    /// The future was done, or dropped, before.
    Over,
}

struct State {
    lp: Loop,
    made: Time,
    when: Cell<Option<Time>>,
    /// The timer, and whose it is.
    timer: Cell<Option<(Rc<Core>, Key)>>,
    phase: Cell<Phase>,
    /// The scope in the task that waits.
    scope: RefCell<Option<Rc<Scope>>>,
    /// Who polls, if it is no task.
    waker: RefCell<Option<Waker>>,
}

impl<F> Timeout<F> {
    fn new(
        lp: &Loop,
        (made, when): (Time, Option<Time>),
        at_once: bool,
        make: impl FnOnce(Deadline) -> F,
    ) -> Self {
        let deadline = Deadline(Rc::new(State {
            lp: lp.clone(),
            made,
            when: Cell::new(when),
            timer: Cell::new(None),
            phase: Cell::new(Phase::New),
            scope: RefCell::new(None),
            waker: RefCell::new(None),
        }));
        let future = Some(make(deadline.clone()));
        Self { future, deadline, at_once, scope: HeldScope::default() }
    }

    /// Its deadline.
    pub fn deadline(&self) -> &Deadline {
        &self.deadline
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    /// # Panics
    ///
    /// When polled again after it completed.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.scope.is_raised() {
            return Poll::Pending;
        }
        let state = &this.deadline.0;
        let scope = this.scope.enter(|| ScopeKind::Deadline);
        state.begin(scope.as_ref());
        if !state.is_elapsed() {
            let inner = this.future.as_mut().as_pin_mut();
            let inner = inner.expect("a timeout was polled after it completed");
            let at_once = std::mem::take(this.at_once);
            let poll = || {
                let polled = inner.poll(cx);
                if polled.is_pending() && (at_once || state.is_cut_off()) {
                    state.fire();
                }
                polled
            };
            let polled = match &scope {
                Some(scope) => scope.poll_inside(poll),
                None => poll(),
            };
            // The deadline wins over what comes in one step with it (B-33).
            let is_late = || scope.as_ref().is_some_and(|scope| scope.is_cut_short());
            if let Poll::Ready(output) = polled
                && !is_late()
            {
                this.scope.end();
                this.future.set(None);
                state.end();
                return Poll::Ready(Ok(output));
            }
        }
        let is_upcoming = this.scope.is_upcoming();
        if state.is_elapsed() && !is_upcoming {
            let elapsed = match scope.and_then(|scope| scope.outstanding()) {
                None => {
                    this.scope.end();
                    Poll::Ready(Err(state.elapsed()))
                }
                Some(sender) => {
                    this.scope.raise(sender);
                    Poll::Pending
                }
            };
            this.future.set(None);
            state.end();
            return elapsed;
        }
        if state.is_elapsed() {
            // Who else sent one is known behind this step.
            cx.waker().wake_by_ref();
        }
        match scope {
            Some(scope) => scope.wait(cx.waker()),
            None => drop(state.waker.replace(Some(cx.waker().clone()))),
        }
        Poll::Pending
    }
}

impl Deadline {
    /// When it passes; `None` for never.
    pub fn when(&self) -> Option<Time> {
        self.0.when.get()
    }

    /// Moves it; `None` takes it away. A moment that has passed makes it pass in the next
    /// iteration (contract B-40).
    ///
    /// False, and no effect, when it is too late: the deadline has passed, or the future is done
    /// (B-42).
    pub fn reschedule(&self, when: Option<Time>) -> bool {
        let state = &self.0;
        match state.phase.get() {
            Phase::New => state.when.set(when),
            Phase::Active => {
                state.disarm();
                state.when.set(when);
                state.arm();
                if state.is_cut_off() {
                    state.fire();
                }
            }
            Phase::Fired | Phase::Over => return false,
        }
        true
    }

    /// True once it has passed while the future was awaited, whatever the future made of it.
    pub fn expired(&self) -> bool {
        self.0.phase.get() == Phase::Fired
    }
}

impl State {
    /// Notes who waits, and arms the timer the first time.
    fn begin(self: &Rc<Self>, scope: Option<&Rc<Scope>>) {
        let old = self.scope.replace(scope.cloned());
        drop(old);
        if self.phase.get() == Phase::New {
            self.phase.set(Phase::Active);
            self.arm();
        }
    }

    fn arm(self: &Rc<Self>) {
        let Some((core, when)) = self.when.get().and_then(|when| self.clock(when)) else { return };
        let this = Rc::clone(self);
        let key = core.insert_timer(when, None, Action::Posted(this, 0));
        self.timer.set(Some((core, key)));
    }

    /// Who tells when it is `when`, and when that is there. Of a machine that died it is the loop of
    /// who waits: the deadline passes all the same, and not before its time.
    fn clock(&self, when: Time) -> Option<(Rc<Core>, Time)> {
        let own = &self.lp.core;
        if !own.is_dead() {
            return (!own.is_closed()).then(|| (Rc::clone(own), when));
        }
        let waits = self.scope.borrow().as_ref().and_then(|scope| scope.core());
        let heir = waits.filter(|core| !core.is_dead() && !core.is_closed())?;
        let when = heir.driver.now() + (when - own.driver.now());
        Some((heir, when))
    }

    /// Its machine died, and no other clock is known: nobody would say when the time is up.
    fn is_cut_off(&self) -> bool {
        self.lp.core.is_gone() && self.when.get().is_some_and(|when| self.clock(when).is_none())
    }

    fn disarm(&self) {
        if let Some((core, key)) = self.timer.take() {
            core.cancel(key);
        }
    }

    /// The deadline passes: what waits inside is cancelled.
    fn fire(&self) {
        if self.phase.get() != Phase::Active {
            return;
        }
        self.disarm();
        self.phase.set(Phase::Fired);
        let scope = self.scope.borrow().clone();
        let waker = self.waker.take();
        match (scope, waker) {
            (Some(scope), _) => scope.send_cancel(),
            (None, Some(waker)) => waker.wake(),
            (None, None) => {}
        }
    }

    /// True when the deadline has passed and nobody inside made something else of it.
    fn is_elapsed(&self) -> bool {
        match &*self.scope.borrow() {
            Some(scope) => scope.cancelled().is_some(),
            None => self.phase.get() == Phase::Fired,
        }
    }

    fn end(&self) {
        self.disarm();
        if self.phase.get() != Phase::Fired {
            self.phase.set(Phase::Over);
        }
        let scope = self.scope.take();
        let waker = self.waker.take();
        drop((scope, waker));
    }

    fn elapsed(&self) -> Elapsed {
        let after = self.when.get().map_or(Duration::ZERO, |when| when - self.made);
        Elapsed { after }
    }
}

impl Posted for State {
    fn run(&self, _slot: u32, _place: Place) {
        self.timer.set(None);
        self.fire();
    }

    /// Of a machine that died: who waits from another host does not do so for ever.
    fn discard(self: Rc<Self>, _slot: u32) {
        if self.timer.take().is_none() || !self.lp.core.is_dead() {
            return;
        }
        if self.scope.borrow().is_some() {
            self.arm();
        } else {
            self.fire();
        }
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("when", &self.0.when.get())
            .field("phase", &self.0.phase.get())
            .finish_non_exhaustive()
    }
}
