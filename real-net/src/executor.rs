//! The executor of a real loop.

use std::io;
use std::sync::Arc;
use std::thread;

use sim_core::{Executor, Job};

use crate::pool::{Pool, Refused};

/// At most so many threads does a loop's own executor have, as asyncio's: 32, or four more than there are cores.
pub(crate) fn default_threads() -> usize {
    thread::available_parallelism().map_or(4, usize::from).saturating_add(4).min(32)
}

/// Threads for [`Loop::run_in_executor`](sim_core::Loop::run_in_executor): asyncio's `ThreadPoolExecutor`.
///
/// Clones are handles of the same threads, so several loops may share them. A thread ends when no job waits. Jobs
/// that wait when the last handle is dropped never run.
///
/// ```
/// use real_net::ThreadPool;
///
/// let lp = real_net::new_loop()?;
/// lp.set_default_executor(ThreadPool::new(2))?;
/// let read = lp.run_in_executor(|| std::fs::read_to_string("Cargo.toml"))?;
/// assert!(lp.run_until_complete(read)?.is_ok());
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone)]
pub struct ThreadPool(Arc<Pool>);

impl ThreadPool {
    /// A pool of at most so many threads.
    ///
    /// # Panics
    ///
    /// If `threads` is 0.
    #[must_use]
    #[track_caller]
    pub fn new(threads: usize) -> Self {
        assert!(threads > 0, "a pool of threads has at least one");
        Self(Arc::new(Pool::new("executor", threads, usize::MAX)))
    }
}

impl Executor for ThreadPool {
    fn execute(&self, job: Job) -> io::Result<()> {
        self.0.run(Box::new(job)).map_err(|refused| match refused {
            Refused::Full => unreachable!("any number of jobs may wait"),
            Refused::NoThread(error) => error,
        })
    }
}
