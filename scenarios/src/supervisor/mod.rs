//! A supervisor: a worker process that crashes, and is started again after ever longer waits.
//!
//! A worker reads jobs and answers them, one by one, over pipes. It crashes after some of them, and
//! somebody kills it now and then; the supervisor starts another, which gets the job that was not
//! answered. Waits double while nothing is done. Invariants: every job is done, in order, and is
//! answered once; every worker is waited for, and only the last ends well; no worker is started sooner
//! than the back-off says.
//!
//! | where | what |
//! | --- | --- |
//! | [`Backoff`] | how long to wait: a value without a clock |
//! | [`Flaw`] | what wrong twins do |

mod backoff;
mod worker;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::subprocess::{Process, Stdio, SubprocessTransport};
use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, Signal, Time, World};

pub use self::backoff::Backoff;
use crate::patience::within;
use crate::violation::ensure;

/// What its pipes may show, and what befalls its workers; a host that crashes takes its supervisor along.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..2ms")
    .streams("boundary,short-write,coalesce,stall,delay-fin,spurious,spawn,early-death");
const BACKOFF_FIRST: Duration = Duration::from_millis(2);
const BACKOFF_MOST: Duration = Duration::from_millis(20);
/// How many jobs a worker does at most before it crashes.
const LIVES: u64 = 6;

/// What is wrong with a wrong twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// The job that a worker crashed over counts as done.
    ForgetsTheJob,
    /// A worker is started at once, however often it has crashed.
    NoBackoff,
}

/// The scenario `supervisor`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "a worker process that crashes is started again, later and later; no job is lost";
    Scenario::new("supervisor", summary, move |world| run(world, flaw)).faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    world.program("sh", worker::sh);
    let lp = world.host("supervisor");
    let jobs = world.size("supervisor.jobs", 1..=20);
    let kills = world.size("supervisor.kills", 0..=3);
    let running = Running::default();
    let mut supervisor = Supervisor {
        lp: lp.clone(),
        flaw,
        lives: world.rng("lives"),
        backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_MOST),
        running: Rc::clone(&running),
        answered: 0,
        answers: Vec::new(),
        ends: Vec::new(),
    };
    let killer =
        lp.create_named_task("killer", kill(lp.clone(), running, kills, world.rng("kills")));
    let supervised = lp.create_named_task("supervisor", async move {
        let done = supervisor.supervise(jobs).await;
        done.map(|()| supervisor)
    });
    let supervisor = supervised.await??;
    killer.cancel();
    supervisor.judge(jobs)
}

/// The worker that runs now, if one does.
type Running = Rc<RefCell<Option<SubprocessTransport>>>;

/// Kills the worker a few times, at random.
async fn kill(lp: Loop, running: Running, kills: u64, mut rng: Rng) {
    for _ in 0..kills {
        lp.sleep(Duration::from_micros(rng.range(100..20_000))).await;
        let victim = running.borrow().clone();
        if let Some(victim) = victim {
            // One that has gone meanwhile is nobody.
            let _ = victim.send_signal(Signal::KILL);
        }
    }
}

/// True for what a machine says that has no room for another process right now: `EAGAIN`, `ENOMEM`,
/// `EMFILE`.
fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(11 | 12 | 24))
}

struct Supervisor {
    lp: Loop,
    flaw: Flaw,
    /// Says how many jobs the next worker does.
    lives: Rng,
    backoff: Backoff,
    running: Running,
    /// How many jobs are done.
    answered: u64,
    /// The jobs that were answered, in order.
    answers: Vec<u64>,
    ends: Vec<End>,
}

/// The end of a worker.
struct End {
    /// How it ended; nothing of one that could not be started.
    status: Option<i32>,
    began: Time,
    at: Time,
    /// Whether it did a job.
    got_somewhere: bool,
}

impl Supervisor {
    async fn supervise(&mut self, jobs: u64) -> Result<(), Failure> {
        loop {
            let (before, began) = (self.answered, self.lp.time());
            let status = match self.start().await {
                Ok(worker) => Some(self.look_after(worker, jobs).await?),
                Err(error) if is_want(&error) => None,
                Err(error) => return Err(error.into()),
            };
            let (at, got_somewhere) = (self.lp.time(), self.answered > before);
            self.ends.push(End { status, began, at, got_somewhere });
            if self.answered == jobs {
                return Ok(());
            }
            if got_somewhere {
                self.backoff.succeed();
            }
            let wait = self.backoff.fail();
            if self.flaw != Flaw::NoBackoff {
                self.lp.sleep(wait).await;
            }
        }
    }

    /// Gives a worker jobs until it has gone or all are done: how it ended.
    async fn look_after(&mut self, mut worker: Process, jobs: u64) -> Result<i32, Failure> {
        self.running.replace(Some(worker.transport().clone()));
        self.feed(&mut worker, jobs).await?;
        drop(worker.stdin.take());
        let status = within(&self.lp, "the end of a worker", worker.wait()).await??;
        self.running.take();
        Ok(status)
    }

    async fn start(&mut self) -> io::Result<Process> {
        let lives = self.lives.below(LIVES).to_string();
        let worker = self.lp.subprocess_exec("sh", ["-c", worker::SCRIPT, "worker", &lives]);
        worker.stderr(Stdio::Null).spawn().await
    }

    /// Gives a worker jobs until all are done, or it has gone.
    async fn feed(&mut self, worker: &mut Process, jobs: u64) -> Result<(), Failure> {
        let (Some(stdin), Some(stdout)) = (&worker.stdin, &mut worker.stdout) else {
            return Err("a worker has pipes".into());
        };
        while self.answered < jobs {
            let job = self.answered;
            stdin.write(format!("{job}\n").as_bytes());
            let answer = within(&self.lp, "an answer", stdout.read_line()).await??;
            let expected = format!("done {job}\n");
            let is_half = !answer.is_empty() && expected.as_bytes().starts_with(&answer);
            if answer == expected.as_bytes() {
                self.answers.push(job);
                self.answered += 1;
                continue;
            }
            // It crashed; of its last words there may be a part.
            ensure!(answer.is_empty() || is_half, "job {job} was answered with {answer:?}");
            if self.flaw == Flaw::ForgetsTheJob {
                self.answered += 1;
            }
            return Ok(());
        }
        Ok(())
    }

    fn judge(&self, jobs: u64) -> Result<(), Failure> {
        let answers = &self.answers;
        ensure!(answers.iter().copied().eq(0..jobs), "of {jobs} jobs these were done: {answers:?}");
        let (mut backoff, mut last) = (Backoff::new(BACKOFF_FIRST, BACKOFF_MOST), None::<&End>);
        for (number, end) in self.ends.iter().enumerate() {
            let is_last = number + 1 == self.ends.len();
            let is_well = match end.status {
                None => !is_last,
                Some(0) => is_last,
                Some(worker::CRASH) => !is_last,
                Some(status) => status == -Signal::KILL.number(),
            };
            let (status, count) = (end.status, self.ends.len());
            ensure!(is_well, "worker {number} of {count} ended with {status:?}");
            if let Some(last) = last {
                if last.got_somewhere {
                    backoff.succeed();
                }
                let (waited, least) = (end.began - last.at, backoff.fail());
                ensure!(waited >= least, "worker {number} began after {waited:?}, not {least:?}");
            }
            last = Some(end);
        }
        Ok(())
    }
}
