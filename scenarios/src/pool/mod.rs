//! A pool of connections, with limits and time-outs.
//!
//! More users than connections ask a server over connections that they borrow. Who finds none waits in
//! a queue, for a time. A connection that has been idle is asked whether it is alive before it is lent;
//! one that is idle for long, or old, is closed; so is one that comes back with a reply still to come.
//! The server closes and resets its connections now and then, and restarts. Invariants: there are never
//! more connections than the limit; each reply is its caller's; nobody waits longer than was agreed;
//! everybody is answered in the end; when all trouble is over the pool lends as many connections as
//! ever, no more, to those who wait in order; and when nobody needs any more none stays.
//!
//! | where | what |
//! | --- | --- |
//! | [`Pool`], [`Lease`] | what a user would deploy, over streams and a semaphore |
//! | [`Limits`] | what it keeps to |
//! | [`Flaw`] | what wrong twins do |

mod leases;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::stream::{StreamReader, StreamWriter};
use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, Server, Task, World};

pub use self::leases::{AcquireError, Lease, Limits, Pool};
use crate::ending::Ending;
use crate::patience::{all_within, within};
use crate::service::stop_at;
use crate::violation::ensure;
use crate::zoo::RECONNECTING;

const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..10ms,loss=1%,dup=1%,reorder=1%")
    .streams(RECONNECTING)
    .cuts(1, Duration::from_secs(1))
    .crashes(&["server"], 1, Duration::from_millis(500))
    .within(Duration::from_millis(300));
const LIMITS: Limits = Limits {
    connections: 3,
    acquire: Duration::from_millis(400),
    connect: Duration::from_millis(200),
    check_after: Duration::from_millis(20),
    check: Duration::from_millis(60),
    idle: Duration::from_millis(250),
    life: Duration::from_millis(400),
};
/// How long a user waits for a reply.
const REPLY_MAX: Duration = Duration::from_millis(100);
/// How long a user thinks between two requests, at most.
const THINK_MAX: Duration = Duration::from_millis(40);
/// How long a user waits before it tries again: twice as long after each try.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long the server takes for a reply, at most.
const WORK_MAX: Duration = Duration::from_millis(10);
/// When the server gets rid of its connections for the last time, at the latest.
const BREAKS_UNTIL: Duration = Duration::from_millis(400);
/// How much later than its time a wait may end, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(1);

/// What is wrong with a wrong twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Who finds no connection free makes one more.
    OpensMore,
    /// A connection goes back to the pool although a reply is to come.
    KeepsOwing,
    /// A connection that could not be made takes its slot with it.
    LosesSlots,
}

/// The scenario `pool`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "a connection pool lends what it has, in order, and loses no slot";
    Scenario::new("pool", summary, move |world| run(world, flaw))
        .serve(|lp, listen| async move { Ok(lp.start_server(listen, answer).await?.into()) })
        .faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let (ending, breaks) = (Ending::default(), world.size("pool.breaks", 0..=4));
    let ends = ending.clone();
    world.boot("server", move |lp| {
        let ending = ends.clone();
        async move {
            let server = lp.start_server(("server", PORT), answer).await?;
            break_connections(&lp, &server, breaks).await;
            stop_at(&ending, &lp, server).await
        }
    });

    let lp = world.host("client");
    let pool = Pool::with_flaw(&lp, ("server", PORT), LIMITS, flaw);
    let requests = world.size("pool.requests", 1..=12);
    let users = (0..world.size("pool.users", 1..=9)).map(|user| {
        let name = format!("user-{user}");
        let rng = world.rng(&name);
        let user = User { name: name.clone(), lp: lp.clone(), pool: pool.clone(), rng };
        lp.create_named_task(name, user.run(requests))
    });
    let users: Vec<_> = users.collect();
    let are_done = world.eventually(|| users.iter().all(Task::done)).await;
    ensure!(are_done, "a user is not answered, although nothing hinders it");
    for user in users {
        user.await??;
    }
    let most = pool.open_max();
    ensure!(most <= LIMITS.connections, "there were {most} connections");
    expect_all_slots(&lp, &pool).await?;

    let are_gone = world.eventually(|| pool.open() == 0).await;
    ensure!(are_gone, "{} connections stay, although nobody needs them", pool.open());
    ending.give(&world).await;
    pool.close();
    Ok(())
}

/// Answers line by line: a ping, and whatever is asked.
async fn answer(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let lp = reader.transport().event_loop().clone();
    let mut rng = lp.rng(&format!("work-{}", reader.transport().number()));
    // A client that goes away is no error of the server's.
    while let Ok(line) = reader.read_line().await {
        let Some(request) = line.strip_suffix(b"\n") else { break };
        if request == b"ping" {
            writer.write(b"pong\n");
            continue;
        }
        lp.sleep(rng.duration(Duration::ZERO..WORK_MAX)).await;
        writer.write(&[b"re: ", request, b"\n"].concat());
    }
    writer.close();
    Ok(())
}

/// Gets rid of all connections a few times: in good order, or not.
async fn break_connections(lp: &Loop, server: &Server, breaks: u64) {
    let mut rng = lp.rng("pool.breaks");
    for _ in 0..breaks {
        lp.sleep(rng.duration(Duration::ZERO..BREAKS_UNTIL / breaks as u32)).await;
        if rng.ratio(1, 2) {
            server.close_clients();
        } else {
            server.abort_clients();
        }
    }
}

/// Who asks.
struct User {
    name: String,
    lp: Loop,
    pool: Pool,
    rng: Rng,
}

impl User {
    async fn run(mut self, requests: u64) -> Result<(), Failure> {
        for number in 0..requests {
            self.lp.sleep(self.rng.duration(Duration::ZERO..THINK_MAX)).await;
            let request = format!("{} {number}", self.name);
            let mut pause = RETRY_FIRST;
            while !self.ask(&request).await? {
                self.lp.sleep(self.rng.duration(pause / 2..pause)).await;
                pause = RETRY_MAX.min(pause * 2);
            }
        }
        Ok(())
    }

    /// Asks once; false if there was no reply.
    async fn ask(&self, request: &str) -> Result<bool, Failure> {
        let lease = acquire(&self.lp, &self.pool).await?;
        let Ok(mut lease) = lease else { return Ok(false) };
        let age = lease.age();
        ensure!(age < LIMITS.life + SLACK, "a connection was lent at the age of {age:?}");
        let Ok(Ok(reply)) = self.lp.timeout(REPLY_MAX, lease.ask(request)).await else {
            return Ok(false);
        };
        ensure!(reply == format!("re: {request}"), "{request:?} was answered with {reply:?}");
        Ok(true)
    }
}

/// Acquires, and looks at the clock.
async fn acquire(lp: &Loop, pool: &Pool) -> Result<Result<Lease, AcquireError>, Failure> {
    let began = lp.time();
    let acquired = pool.acquire().await;
    let took = lp.time() - began;
    ensure!(took <= LIMITS.acquire + SLACK, "somebody waited {took:?} for a connection");
    Ok(acquired)
}

/// Acquires again and again, while the server is in trouble.
async fn acquire_at_last(lp: &Loop, pool: &Pool) -> Result<Lease, Failure> {
    loop {
        if let Ok(lease) = acquire(lp, pool).await? {
            return Ok(lease);
        }
        lp.sleep(RETRY_MAX).await;
    }
}

/// Holds if the pool lends as many connections as it should at once, and not one more, and serves who
/// waits in order.
async fn expect_all_slots(lp: &Loop, pool: &Pool) -> Result<(), Failure> {
    let mut leases = Vec::new();
    for slot in 1..=LIMITS.connections {
        let what = format!("a connection in slot {slot} of {}", LIMITS.connections);
        let lease = within(lp, &what, acquire_at_last(lp, pool)).await?;
        leases.push(lease?);
    }
    let more = acquire(lp, pool).await?;
    ensure!(matches!(more, Err(AcquireError::TimedOut)), "there is one connection more: {more:?}");

    let order = Rc::new(RefCell::new(Vec::new()));
    let waiting = (0..4).map(|place| {
        let (lp, pool, order) = (lp.clone(), pool.clone(), Rc::clone(&order));
        lp.clone().create_task(async move {
            // A server that is in trouble now takes its turn from somebody, and changes no order.
            if let Ok(_lease) = acquire(&lp, &pool).await? {
                order.borrow_mut().push(place);
            }
            Ok::<(), Failure>(())
        })
    });
    let waiting: Vec<_> = waiting.collect();
    lp.sleep(Duration::ZERO).await;
    leases.truncate(LIMITS.connections - 1);
    all_within(lp, "the turn of one who waits, number", waiting).await?;
    let order = order.take();
    ensure!(order.is_sorted(), "those who waited were served in the order {order:?}");
    Ok(())
}
