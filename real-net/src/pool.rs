//! Threads for work that blocks.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Runs jobs on a few threads, each of which ends when no job waits: who has nothing to do has no threads left over.
pub(crate) struct Pool {
    shared: Arc<Mutex<Jobs>>,
    name: &'static str,
    threads_max: usize,
    waiting_max: usize,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Box<dyn Job>>,
    threads: usize,
}

/// Work for a thread.
pub(crate) trait Job: Send {
    /// True while somebody waits for what comes of it.
    fn is_wanted(&self) -> bool {
        true
    }

    /// Does it.
    fn run(self: Box<Self>);
}

impl<F: FnOnce() + Send> Job for F {
    fn run(self: Box<Self>) {
        self();
    }
}

/// Why a job was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// As many wait as may.
    Full,
    /// There is no thread to be had.
    NoThread(io::Error),
}

impl Pool {
    /// A pool of threads that are called `name`.
    pub(crate) fn new(name: &'static str, threads_max: usize, waiting_max: usize) -> Self {
        Self { shared: Arc::default(), name, threads_max, waiting_max }
    }

    pub(crate) fn run(&self, job: Box<dyn Job>) -> Result<(), Refused> {
        let mut jobs = lock(&self.shared);
        if jobs.waiting.len() >= self.waiting_max {
            jobs.waiting.retain(|waiting| waiting.is_wanted());
            if jobs.waiting.len() >= self.waiting_max {
                return Err(Refused::Full);
            }
        }
        jobs.waiting.push_back(job);
        if jobs.threads == self.threads_max {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new().name(self.name.into()).spawn(move || work(&shared)) {
            Ok(_) => jobs.threads += 1,
            // The threads that run already will get to it.
            Err(_) if jobs.threads > 0 => {}
            Err(error) => {
                jobs.waiting.clear();
                return Err(Refused::NoThread(error));
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn threads(&self) -> usize {
        lock(&self.shared).threads
    }

    /// Has a job wait that no thread is begun for.
    #[cfg(test)]
    pub(crate) fn put_off(&self, job: Box<dyn Job>) {
        lock(&self.shared).waiting.push_back(job);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The jobs end outside the lock: an answer's receiver wakes a task when it is dropped.
        let waiting = std::mem::take(&mut lock(&self.shared).waiting);
        drop(waiting);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = lock(&self.shared);
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("waiting", &jobs.waiting.len())
            .field("threads", &jobs.threads)
            .finish()
    }
}

/// A thread: does jobs until none waits.
fn work(shared: &Mutex<Jobs>) {
    loop {
        let mut jobs = lock(shared);
        let Some(job) = jobs.waiting.pop_front() else {
            jobs.threads -= 1;
            return;
        };
        drop(jobs);
        // A job of somebody's own may panic, and the hook has said so: the next one is done all the same.
        drop(catch_unwind(AssertUnwindSafe(|| job.run())));
    }
}

/// No thread panics while it holds the lock; if one did, the table is still whole.
fn lock(shared: &Mutex<Jobs>) -> MutexGuard<'_, Jobs> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
