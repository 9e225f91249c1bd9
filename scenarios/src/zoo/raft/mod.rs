//! Raft over datagrams: leader election and a log, among three hosts that crash.
//!
//! A leader says every 100 ms that it is there; who hears nothing for a while wants to be elected. The
//! leader's application writes to the log. Term, vote and log are in a store, and nothing is said
//! before it is durable that follows from them. Invariants: a term has one leader at most; nodes agree on
//! what is committed; what is committed stays, in each log and in those of later leaders; and
//! entries go on being committed, on all nodes.
//!
//! | where | what |
//! | --- | --- |
//! | [`Message`], [`Record`] | what is sent, and what is written down |
//! | [`Raft`] | a node's part in the agreement: a value without I/O or clock |
//! | [`Node`] | this with a socket, a timer and a store |
//! | [`Oracle`] | the invariants |
//! | [`Bug`] | nodes as they were shipped |

mod consensus;
mod message;
mod node;
mod oracle;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Scenario, World};

pub use self::consensus::Raft;
pub use self::message::{Entry, Id, Message, Record};
pub use self::node::Node;
use self::node::Work;
pub use self::oracle::Oracle;
use crate::ending::Ending;
use crate::patience::within_world;
use crate::violation::ensure;

const HOSTS: [&str; NODES] = ["n1", "n2", "n3"];
const NODES: usize = 3;
const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=5%,dup=2%,reorder=2%/3")
    .cuts(2, Duration::from_secs(2))
    .crashes(&HOSTS, 3, Duration::from_secs(2))
    .within(Duration::from_millis(800));
/// How many entries are to be committed.
const ENTRIES: u64 = 8;
/// How long `raft3` takes, how often it writes, and how many entries are to be committed then.
const STEADY_FOR: Duration = Duration::from_secs(30);
const STEADY_WRITE_EVERY: Duration = Duration::from_secs(1);
const STEADY_ENTRIES: u64 = 20;

/// What nodes got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// A follower cuts its log to what the last message of the leader had, conflict or not.
    ///
    /// It is enough to delay one message with an entry until its follower has got the next entry and
    /// heard that it is committed: the late message cuts it off. With none late each message has
    /// everything that its follower has.
    CutsLog,
    /// A node that starts again remembers its term, but not for whom it has voted in it.
    ///
    /// One crash is enough where two nodes want to be elected at once, of the third: it votes for one,
    /// crashes, and votes for the other, who asks again before it hears that the first one leads. With
    /// none nobody forgets anything.
    ForgetsVote,
}

/// The scenario `raft`.
pub fn scenario() -> Scenario {
    build("raft", None)
}

/// The scenario with a bug, which its invariants are to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    let name = match bug {
        Bug::CutsLog => "Z31",
        Bug::ForgetsVote => "Z34",
    };
    build(name, Some(bug))
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary =
        "three nodes agree on a log and keep what is committed, whichever of them crashes";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

/// The scenario `raft3`: half a minute of a group that has little to do but heartbeats. It is for
/// measurements, and no part of [`all`](crate::all): on real sockets it takes as long.
pub fn raft3() -> Scenario {
    let summary = "three nodes of Raft for 30 seconds, with a heartbeat every 100 ms";
    Scenario::new("raft3", summary, steady).faults(FaultMix::new("latency=1ms..20ms,loss=1%"))
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let work = start(&world, bug, Duration::from_millis(20), ENTRIES);
    let lp = world.host(HOSTS[0]);
    for entries in 1..=ENTRIES {
        let known = work.oracle.borrow_mut().reaches(&lp, entries);
        within_world(&world, "the next committed entry on all nodes", known).await??;
        work.oracle.borrow().verdict()?;
    }
    work.ending.give(&world).await;
    work.oracle.borrow().verdict()?;
    Ok(())
}

async fn steady(world: World) -> Result<(), Failure> {
    let work = start(&world, None, STEADY_WRITE_EVERY, u64::MAX);
    world.sleep(STEADY_FOR).await;
    let committed = work.oracle.borrow().committed();
    ensure!(committed >= STEADY_ENTRIES, "{committed} entries were committed, too few");
    work.ending.give(&world).await;
    work.oracle.borrow().verdict()?;
    Ok(())
}

/// Starts all nodes.
fn start(world: &World, bug: Option<Bug>, write_every: Duration, entries_max: u64) -> Work {
    let (oracle, ending) = (Rc::<RefCell<Oracle>>::default(), Ending::default());
    let work = Work { write_every, entries_max, oracle, ending };
    for (me, host) in (0..).zip(HOSTS) {
        let work = work.clone();
        world.boot(host, move |lp| node::run(lp, me, bug, work.clone()));
    }
    work
}
