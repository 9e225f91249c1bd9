//! The end of a scenario, for hosts that would go on for ever.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Loop, LoopFuture, World};

use crate::Progress;

/// How long hosts have to stop in good order.
const LEAVE: Duration = Duration::from_millis(100);

/// A sign to the hosts of a scenario that its work is done. Clones are the same sign.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending(Rc<RefCell<Progress>>);

impl Ending {
    /// Completes when it is given. A host that starts later sees it too.
    pub(crate) fn comes(&self, lp: &Loop) -> LoopFuture<()> {
        self.0.borrow_mut().reaches(lp, 1)
    }

    /// True once it was given.
    pub(crate) fn has_come(&self) -> bool {
        self.0.borrow().count() > 0
    }

    /// Gives it, and lets the hosts stop. A host that is down at the time will not hear it.
    pub(crate) async fn give(&self, world: &World) {
        self.0.borrow_mut().add(1);
        world.sleep(LEAVE).await;
    }
}
