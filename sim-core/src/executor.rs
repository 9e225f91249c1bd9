//! Work that would block the loop.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::channel::oneshot;

use crate::error::panic_message;
use crate::{Loop, TaskError};

/// What an [`Executor`] runs.
pub type Job = Box<dyn FnOnce() + Send>;

/// Threads for work that would block a loop: asyncio's `ThreadPoolExecutor`. `real_net::ThreadPool` is one.
pub trait Executor {
    /// Runs a job on a thread, now or when one is free.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    fn execute(&self, job: Job) -> io::Result<()>;
}

/// The executor of a loop, and how many of its jobs are not done.
#[derive(Default)]
pub(crate) struct Executors {
    /// `None` is the driver's.
    default: RefCell<Option<Rc<dyn Executor>>>,
    is_shut_down: Cell<bool>,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running(Mutex<(usize, Vec<Waker>)>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, (usize, Vec<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that is not done; when it is dropped, it is.
struct Counted(Arc<Running>);

impl Counted {
    fn new(running: &Arc<Running>) -> Self {
        running.lock().0 += 1;
        Self(Arc::clone(running))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let wakers = {
            let mut running = self.0.lock();
            running.0 -= 1;
            if running.0 == 0 { std::mem::take(&mut running.1) } else { Vec::new() }
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Loop {
    /// Runs `job` on a thread of the loop's executor, and gives back its value: asyncio's `run_in_executor`.
    ///
    /// It begins at once, whether the future is awaited or not, and dropping the future does not stop it (contract
    /// G-62). In a simulation there are no threads: the job runs on the loop at a later virtual time that it draws
    /// (`Sim::executor`), in one piece.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had; after [`shutdown_default_executor`](Self::shutdown_default_executor)
    /// (A-17); on a closed loop. The future's are [`TaskError::Panicked`], if the job did, and
    /// [`TaskError::Cancelled`], if the executor was dropped before it ran.
    ///
    /// ```
    /// let lp = sim_core::testing::new_loop();
    /// let sum = lp.run_in_executor(|| (1..=1_000_u64).sum::<u64>())?;
    /// assert_eq!(lp.run_until_complete(sum)?, Ok(500_500));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn run_in_executor<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Executing<T>> {
        let executors = self.open_executors()?;
        let chosen = executors.default.borrow().clone();
        let (job, executing) = executing(job, &executors.running);
        match chosen {
            Some(executor) => executor.execute(job)?,
            None => {
                if let Some((job, after)) = self.core.driver.execute(job)? {
                    self.call_later(after, job).detach();
                }
            }
        }
        Ok(executing)
    }

    /// As [`run_in_executor`](Self::run_in_executor), on a thread of `executor`.
    ///
    /// # Errors
    ///
    /// As [`run_in_executor`](Self::run_in_executor); `Unsupported` in a simulation, where no thread may run.
    pub fn run_in<T: Send + 'static>(
        &self,
        executor: &dyn Executor,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Executing<T>> {
        self.insist_on_threads()?;
        let (job, executing) = executing(job, &self.open_executors()?.running);
        executor.execute(job)?;
        Ok(executing)
    }

    /// Replaces the executor of [`run_in_executor`](Self::run_in_executor).
    ///
    /// # Errors
    ///
    /// `Unsupported` in a simulation, where no thread may run.
    pub fn set_default_executor(&self, executor: impl Executor + 'static) -> io::Result<()> {
        self.insist_on_threads()?;
        let old = self.core.executors().default.replace(Some(Rc::new(executor)));
        drop(old);
        Ok(())
    }

    /// Waits until all jobs of this loop are done; from now on there are no more (contract A-17).
    pub async fn shutdown_default_executor(&self) {
        let executors = self.core.executors();
        executors.is_shut_down.set(true);
        let running = Arc::clone(&executors.running);
        poll_fn(move |cx| {
            let mut running = running.lock();
            if running.0 == 0 {
                return Poll::Ready(());
            }
            running.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// What counts the jobs, while there may be more.
    fn open_executors(&self) -> io::Result<&Executors> {
        if self.core.is_closed() {
            return Err(crate::handle::closed_error());
        }
        let executors = self.core.executors();
        if executors.is_shut_down.get() {
            return Err(io::Error::other("executor shutdown has been called"));
        }
        Ok(executors)
    }

    fn insist_on_threads(&self) -> io::Result<()> {
        if self.core.driver.is_simulated() {
            let text = "a simulated host has no threads: run_in_executor runs the job on its loop";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(())
    }
}

/// A job that tells what comes of it, and the future that hears.
fn executing<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
    running: &Arc<Running>,
) -> (Job, Executing<T>) {
    let (answer, answered) = oneshot::channel();
    let counted = Counted::new(running);
    let job = move || {
        let outcome = catch_unwind(AssertUnwindSafe(job))
            .map_err(|payload: Box<dyn Any + Send>| TaskError::Panicked(panic_message(&*payload)));
        // Nobody may want to know.
        let _ = answer.send(outcome);
        drop(counted);
    };
    (Box::new(job), Executing { answered })
}

/// The future of [`Loop::run_in_executor`]. Dropping it lets the job run on.
#[must_use = "what the job yields is lost if nobody awaits it"]
pub struct Executing<T> {
    answered: oneshot::Receiver<Result<T, TaskError>>,
}

impl<T> Future for Executing<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answered).poll(cx);
        answer.map(|answer| answer.unwrap_or(Err(TaskError::Cancelled)))
    }
}

impl<T> fmt::Debug for Executing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executing").finish_non_exhaustive()
    }
}
