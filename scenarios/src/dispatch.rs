//! Workers that take jobs from a queue and may be cancelled over them: a job comes back, and so does the slot.
//!
//! Each worker takes a job, waits for one of a few slots, and has a store do the job over a connection of its own. Wherever a
//! worker waits it may be cancelled, and then another takes its place. Invariants: in the end every job is done; every slot is
//! free; no answer is another job's. What a worker was cancelled over may be done twice.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::queue::Queue;
use sim_core::stream::{StreamReader, StreamWriter};
use sim_core::sync::Semaphore;
use sim_core::{Failure, FaultMix, Loop, Scenario, TaskError, World};

use crate::Violation;
use crate::patience::within;
use crate::violation::ensure;

const STORE: (&str, u16) = ("store", 7000);
/// What TCP stands, what any stream may show, and cancellations of workers.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..10ms,loss=1%,reorder=1%")
    .streams("boundary,short-write,coalesce,stall,spurious,cancel");
/// How many jobs the store is given at a time.
const SLOTS: usize = 2;
/// How long a job takes.
const WORK: Duration = Duration::from_millis(2);
/// How often a worker's place is cancelled at most: the jobs are to come to an end.
const CANCELLED_MAX: u32 = 5;

/// What is wrong with a wrong twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// A job that a worker was cancelled over is not put back.
    LosesTheJob,
    /// A slot is given back where the worker goes on, and not where it is cancelled.
    KeepsTheSlot,
}

/// The scenario `dispatch`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "workers share jobs and slots, and may be cancelled over them";
    Scenario::new("dispatch", summary, move |world| run(world, flaw)).faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let server = world.host("store").start_server(STORE, answer).await?;
    let lp = world.host("office");
    let jobs = world.size("dispatch.jobs", 1..=10);
    let office = Office {
        lp: lp.clone(),
        flaw,
        jobs,
        waiting: Queue::new(0),
        slots: Semaphore::new(SLOTS),
        done: Rc::default(),
    };
    for job in 0..jobs {
        office.waiting.put(job).await?;
    }
    let places: Vec<_> = (0..world.size("dispatch.workers", 1..=4))
        .map(|number| lp.create_named_task(format!("place-{number}"), office.clone().keep_filled()))
        .collect();
    for place in places {
        within(&lp, "the last job", place).await???;
    }
    let done = office.done.take();
    ensure!(done.iter().copied().eq(0..jobs), "of {jobs} jobs these were done: {done:?}");
    let free = office.slots.value();
    ensure!(free == SLOTS, "in the end {free} of {SLOTS} slots are free");
    server.close();
    within(&lp, "the end of the store", server.wait_closed()).await?;
    Ok(())
}

/// The store's side of a connection. A worker that was cancelled does not wait for its answer.
async fn answer(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let job = reader.read_line().await.unwrap_or_default();
    reader.transport().event_loop().sleep(WORK).await;
    writer.writelines([&b"done "[..], &job]);
    writer.close();
    Ok(())
}

/// What the workers share.
#[derive(Clone)]
struct Office {
    lp: Loop,
    flaw: Flaw,
    jobs: u64,
    waiting: Queue<u64>,
    slots: Semaphore,
    done: Rc<RefCell<BTreeSet<u64>>>,
}

impl Office {
    /// Has a worker at work until all jobs are done: another when one was cancelled.
    async fn keep_filled(self) -> Result<(), Failure> {
        let mut cancelled = 0;
        loop {
            let worker = self.lp.create_named_task("worker", self.clone().work());
            let worker = if cancelled < CANCELLED_MAX { worker.cancellable() } else { worker };
            match worker.await {
                Err(TaskError::Cancelled) => cancelled += 1,
                ended => return ended?,
            }
        }
    }

    async fn work(self) -> Result<(), Failure> {
        while let Ok(job) = self.waiting.get().await {
            let mut taken = Taken { office: &self, job, is_done: false };
            let slot = self.slots.acquire().await;
            if self.flaw == Flaw::KeepsTheSlot {
                slot.forget();
                self.ask(job).await?;
                self.slots.release();
            } else {
                self.ask(job).await?;
                drop(slot);
            }
            taken.is_done = true;
            self.done.borrow_mut().insert(job);
            if self.done.borrow().len() as u64 == self.jobs {
                self.waiting.shutdown(false);
            }
        }
        Ok(())
    }

    /// Has the store do a job.
    async fn ask(&self, job: u64) -> Result<(), Failure> {
        let (mut reader, writer) = self.lp.open_connection(STORE).await?;
        writer.write(format!("{job}\n").as_bytes());
        let line = reader.read_line().await?;
        writer.close();
        let expected = format!("done {job}\n");
        if line == expected.as_bytes() {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        Err(Violation::new(format!("the answer to {job} was {line:?}")).into())
    }
}

/// A job that a worker has, and puts back if it does not get to its end.
struct Taken<'a> {
    office: &'a Office,
    job: u64,
    is_done: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_done && self.office.flaw != Flaw::LosesTheJob {
            // Only a queue that was shut down takes none, and then all jobs are done.
            let _ = self.office.waiting.put_nowait(self.job);
        }
    }
}
