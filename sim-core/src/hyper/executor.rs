//! Where hyper's own tasks run.

use std::fmt;
use std::future::Future;

use ::hyper::rt::Executor;

use crate::Loop;

/// Runs the tasks of HTTP/2 on a loop. They need not be `Send`.
///
/// ```
/// use sim_core::hyper::LoopExecutor;
/// use sim_core::hyper::hyper::rt::Executor;
/// use sim_core::testing;
/// use std::rc::Rc;
///
/// let lp = testing::new_loop();
/// let (done, handle) = (lp.create_future::<u8>(), Rc::new(7));
/// let set = done.clone();
/// LoopExecutor::new(&lp).execute(async move { set.set_result(*handle).expect("it is the first") });
/// assert_eq!(lp.run_until_complete(done)?.ok(), Some(7));
/// # Ok::<(), sim_core::RunError>(())
/// ```
#[derive(Clone)]
pub struct LoopExecutor {
    lp: Loop,
}

impl LoopExecutor {
    /// An executor on `lp`.
    pub fn new(lp: &Loop) -> Self {
        Self { lp: lp.clone() }
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for LoopExecutor {
    fn execute(&self, future: F) {
        drop(self.lp.create_named_task("http2 stream", future));
    }
}

impl fmt::Debug for LoopExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopExecutor").field("host", &self.lp.host()).finish()
    }
}
