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
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Puts the engine that was current before back when dropped.
pub(crate) struct Entered(Option<Rc<Core>>);

pub(crate) fn enter(core: &Rc<Core>) -> Entered {
    Entered(CURRENT.with(|current| current.replace(Some(Rc::clone(core)))))
}

impl Drop for Entered {
    fn drop(&mut self) {
        let ended = CURRENT.with(|current| current.replace(self.0.take()));
        drop(ended);
    }
}

pub(crate) fn core() -> Option<Rc<Core>> {
    CURRENT.with(|current| current.borrow().clone())
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
