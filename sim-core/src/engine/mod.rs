//! The engine: one asyncio iteration over whatever driver is below.
//!
//! An [`Engine`] owns one loop. [`turn`](Turner::turn) is the seam: it takes the time and the
//! readiness that a driver gathered, runs exactly one iteration (contract A-20), and says when it
//! wants to be called again. It never waits and does no input or output beyond the driver's
//! non-blocking calls.
//!
//! Who owns what: the engine owns its core; the core owns tasks, timers, and the table of sources;
//! a source owns its protocol. Handles ([`Loop`], [`Transport`](crate::Transport), ..) share the
//! core, so protocols may keep them: dropping the engine empties the core and so breaks the cycle.

pub(crate) mod callbacks;
pub(crate) mod core;
mod first_panic;
pub(crate) mod inbox;
pub(crate) mod iteration;
mod leftover;
pub(crate) mod look_ahead;
mod memory;
pub mod report;
pub(crate) mod sources;
mod states;
mod unclosed;

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use self::core::Core;
pub use self::first_panic::FirstPanic;
pub use self::leftover::{Leftover, LeftoverKind};
pub use self::memory::EngineMemory;
use crate::arena::Key;
use crate::cache::{Stage, prefetch, prefetch_first};
use crate::driver::{Driver, Next, Readiness, Token};
use crate::{Address, Loop, Time};

/// One loop's engine, owned. Dropping it closes the loop: tasks, timers and connections are
/// dropped in order of creation, outside any borrow, and their sockets closed.
///
/// ```
/// use sim_core::driver::Next;
/// use sim_core::testing;
///
/// let engine = testing::engine();
/// engine.handle().call_soon(|| {});
/// assert_eq!(engine.next(), Next::Now);
/// assert_eq!(engine.turn(sim_core::Time::ZERO, &mut Vec::new()), Next::Never);
/// ```
pub struct Engine {
    turner: Turner,
}

/// What gives an engine its turns, while somebody else owns it: [`Engine::turner`].
///
/// It keeps no loop open. When its engine is gone, its turns do nothing.
///
/// ```
/// use sim_core::driver::Next;
/// use sim_core::testing;
///
/// let engine = testing::engine();
/// let turner = engine.turner();
/// engine.handle().call_soon(|| {});
/// drop(engine);
/// assert_eq!(turner.turn(sim_core::Time::ZERO, &mut Vec::new()), Next::Never);
/// ```
#[derive(Clone)]
pub struct Turner {
    core: Rc<Core>,
}

impl Engine {
    /// An engine over `driver`, with what `memory` has to spare.
    pub fn new(driver: Rc<dyn Driver>, memory: EngineMemory) -> Self {
        Self { turner: Turner { core: Core::new(driver, memory) } }
    }

    /// What gives it its turns while this is not at hand.
    pub fn turner(&self) -> Turner {
        self.turner.clone()
    }

    /// Closes the loop: queued callbacks and timers are discarded without running (A-14), sockets
    /// are closed, and nothing can be scheduled any more (A-15). Closing twice does nothing.
    pub fn close(&self) {
        self.core.close();
    }

    /// Does what dropping it does: closes the loop and drops its tasks, in order of creation. Ending twice does
    /// nothing.
    ///
    /// ```
    /// use sim_core::testing;
    ///
    /// let engine = testing::engine();
    /// let task = engine.handle().create_task(std::future::pending::<()>());
    /// engine.end();
    /// assert!(engine.handle().is_closed() && engine.pending_tasks().is_empty());
    /// # drop(task);
    /// ```
    ///
    /// # Panics
    ///
    /// With what a destructor panicked with, when everything is dropped.
    pub fn end(&self) {
        let mut panics = FirstPanic::default();
        panics.run(|| self.core.close());
        panics.run(|| self.core.drop_tasks());
        panics.resume();
    }

    /// True if somebody beside its owner holds it: a handle of its loop, a [`Turner`], a waker of one of its tasks.
    ///
    /// ```
    /// use sim_core::testing;
    ///
    /// let engine = testing::engine();
    /// let handle = engine.handle();
    /// assert!(engine.is_held());
    /// drop(handle);
    /// assert!(!engine.is_held());
    /// ```
    pub fn is_held(&self) -> bool {
        self.core.is_held()
    }

    /// Makes it as new, once it has [ended](Self::end): another loop over the same driver, in the same memory. False
    /// if it has not, if somebody [holds](Self::is_held) what was, or if that is too large to be kept; drop it then.
    ///
    /// ```
    /// use sim_core::testing;
    ///
    /// let mut engine = testing::engine();
    /// assert!(!engine.renew(), "it has not ended");
    /// let handle = engine.handle();
    /// engine.end();
    /// assert!(!engine.renew(), "there is a handle of the loop that was");
    /// drop(handle);
    /// assert!(engine.renew());
    /// assert!(!engine.handle().is_closed());
    /// ```
    #[must_use]
    pub fn renew(&mut self) -> bool {
        self.turner.core.renew()
    }
}

impl Deref for Engine {
    type Target = Turner;

    fn deref(&self) -> &Turner {
        &self.turner
    }
}

impl Turner {
    /// A handle of the loop.
    pub fn handle(&self) -> Loop {
        Loop::new(Rc::clone(&self.core))
    }

    /// Runs one iteration at `now`: the handles queued before it, then the readiness in `events`
    /// (which is drained), then the timers that are due; exactly those (contract A-20, A-21).
    ///
    /// # Panics
    ///
    /// With what a callback panicked with, under [`PanicPolicy::EndRun`](crate::PanicPolicy). The
    /// handles behind it stay queued (A-18).
    pub fn turn(&self, now: Time, events: &mut Vec<Readiness>) -> Next {
        iteration::turn(&self.core, now, events)
    }

    /// There will soon be a turn: asks for the [memory](crate::cache) of the engine.
    ///
    /// ```
    /// use sim_core::cache::Stage;
    /// use sim_core::driver::Token;
    /// use sim_core::testing;
    ///
    /// let engine = testing::engine();
    /// engine.prefetch();
    /// // Some events later, for a source that it may have.
    /// engine.prefetch_source(Token(0), Stage::Entry);
    /// ```
    #[inline]
    pub fn prefetch(&self) {
        prefetch_first(&*self.core, Core::HOT);
    }

    /// There will soon be a turn for a source: asks for its [memory](crate::cache), and at first for what every turn needs. The
    /// engine's own memory should have been [asked for](Self::prefetch) some time ago.
    #[inline]
    pub fn prefetch_source(&self, token: Token, stage: Stage) {
        if stage == Stage::Entry {
            prefetch(&*self.core.driver);
            prefetch(&*self.core.inbox);
        }
        if let Ok(sources) = self.core.sources.try_borrow() {
            look_ahead::prefetch_source(&sources, Key::from_bits(token.0), stage);
        }
    }

    /// When the engine wants its next turn, as far as it knows without readiness.
    pub fn next(&self) -> Next {
        iteration::next(&self.core)
    }

    /// The names of the tasks that are not done, in order of creation: for deadlock reports.
    pub fn pending_tasks(&self) -> Vec<String> {
        self.core.pending_tasks()
    }

    /// What is there of user code: timers that wait, tasks that are not done, and transports with what
    /// they have not sent, in this order, each kind in the order of creation or of deadlines. Listeners are
    /// not among them, and what somebody awaits goes with the task. `name` says what to call an address.
    ///
    /// ```
    /// use sim_core::engine::LeftoverKind;
    /// use sim_core::testing;
    /// use std::time::Duration;
    ///
    /// let engine = testing::engine();
    /// engine.handle().call_later(Duration::from_secs(5), || {}).detach();
    /// let leftovers = engine.leftovers(&|address| address.to_string());
    /// assert_eq!(leftovers[0].kind, LeftoverKind::Timer);
    /// assert_eq!(leftovers[0].due.unwrap().since_epoch(), Duration::from_secs(5));
    /// ```
    pub fn leftovers(&self, name: &dyn Fn(&Address) -> String) -> Vec<Leftover> {
        leftover::of(&self.core, name)
    }

    /// The run is over: every protocol that is there puts what its [`digest`](crate::Protocol::digest) says into the
    /// trace, in the order in which their transports were made.
    ///
    /// # Panics
    ///
    /// With what a digest panicked with, under [`PanicPolicy::EndRun`](crate::PanicPolicy).
    pub fn tell_states(&self) {
        states::tell(&self.core);
    }

    /// The name of a foreign thread that woke a task, if the driver is a simulation and one did.
    pub fn foreign_wake(&self) -> Option<String> {
        self.core.inbox.foreign_thread()
    }

    /// The machine that the loop runs on dies (contract K-04): nothing more runs after the callback
    /// that is running, whose effects its driver swallows, and nothing is reported any more. Drop the
    /// engine then, in no callback: that drops what its user gave it.
    ///
    /// Who awaits its tasks, connections or sleeps from another host finds them cancelled, aborted
    /// and over.
    pub fn die(&self) {
        self.core.die();
    }

    /// What every callback and task step costs of the processor's time from now on, as if it called
    /// [`Loop::spend`](crate::Loop::spend): for hosts that are slow.
    pub fn set_callback_cost(&self, cost: Duration) {
        self.core.set_callback_cost(cost);
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Turner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turner").field("host", &self.core.driver.host()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("host", &self.core.driver.host()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{ErrorContext, PanicPolicy, testing};

    /// What can be asked of an engine.
    fn told(engine: &Engine) -> String {
        let lp = engine.handle();
        let task = lp.create_task(std::future::pending::<()>());
        format!(
            "{} {} {} {:?} {:?} {} {}",
            task.name(),
            lp.debug(),
            lp.report_count(),
            engine.next(),
            engine.pending_tasks(),
            lp.exception_handler().is_some(),
            lp.is_closed(),
        )
    }

    #[test]
    fn an_engine_that_is_made_as_new_is_like_a_new_one() {
        let expected = told(&testing::engine());
        let mut engine = testing::engine();
        let ran = Rc::new(Cell::new(0));
        for round in 0..3 {
            let lp = engine.handle();
            lp.set_debug(true);
            lp.set_panic_policy(PanicPolicy::Contain);
            lp.set_slow_callback_duration(Duration::ZERO);
            engine.set_callback_cost(Duration::from_secs(1));
            lp.set_exception_handler(Some(Rc::new(|_: &Loop, _: &ErrorContext| {})));
            lp.call_exception_handler(ErrorContext::message("a report"));
            let timer = Rc::clone(&ran);
            lp.call_later(Duration::from_secs(1), move || timer.set(timer.get() + 100)).detach();
            let soon = Rc::clone(&ran);
            lp.call_soon(move || soon.set(soon.get() + 1));
            lp.create_task(std::future::pending::<()>());
            engine.turn(Time::ZERO, &mut Vec::new());
            assert_eq!(ran.get(), 2 * round + 1);
            let never = Rc::clone(&ran);
            lp.call_soon(move || never.set(1_000));
            drop(lp);
            engine.end();
            assert_eq!(Rc::strong_count(&ran), 1, "it holds what it was given");
            assert!(engine.renew());
            assert_eq!(told(&engine), expected);
            engine.end();
            assert!(engine.renew());
            let after = Rc::clone(&ran);
            engine.handle().call_soon(move || after.set(after.get() + 1));
            engine.turn(Time::from_nanos(5_000_000_000), &mut Vec::new());
            assert_eq!(ran.get(), 2 * round + 2, "timers of before are gone, and new handles run");
        }
    }

    #[test]
    fn an_engine_that_somebody_holds_or_that_is_open_is_not_made_as_new() {
        let mut engine = testing::engine();
        assert!(!engine.renew(), "it is open");
        let task = engine.handle().create_task(async {});
        engine.close();
        assert!(!engine.renew(), "it has a task");
        drop(task);
        engine.end();
        let turner = engine.turner();
        assert!(engine.is_held() && !engine.renew());
        drop(turner);
        assert!(!engine.is_held() && engine.renew());
    }
}
