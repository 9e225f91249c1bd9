//! The turn that is running on this thread: the one piece of ambient state in the crate.
//!
//! It is set around every turn and every entry from outside, and empty otherwise. It gives
//! `tracing` its virtual time, foreign libraries their host, and awaited scopes their task. It
//! never carries anything from one world to another.

use std::cell::RefCell;
use std::rc::Rc;

use crate::Time;
use crate::engine::core::Core;

thread_local! {
    /// The engines that were entered and not left, the innermost last: a callback may run a loop of
    /// another world.
    static ENTERED: RefCell<Vec<Rc<Core>>> = const { RefCell::new(Vec::new()) };
}

/// Makes the engine that was current before current again when dropped.
pub(crate) struct Entered(());

#[inline]
pub(crate) fn enter(core: &Rc<Core>) -> Entered {
    ENTERED.with(|entered| entered.borrow_mut().push(Rc::clone(core)));
    Entered(())
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        let left = ENTERED.with(|entered| entered.borrow_mut().pop());
        drop(left);
    }
}

pub(crate) fn core() -> Option<Rc<Core>> {
    ENTERED.with(|entered| entered.borrow().last().cloned())
}

/// Whether `test` holds of an engine that was entered and not left.
pub(crate) fn any(test: impl Fn(&Core) -> bool) -> bool {
    ENTERED.with(|entered| entered.borrow().iter().any(|core| test(core)))
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
