//! A primary, its backup and a witness: what was acknowledged survives either of the two.
//!
//! The primary writes to its store, has the backup do the same, and then acknowledges. When one of
//! the two does not hear from the other, it asks the witness, a third host that keeps nothing but the
//! current *view*: a number, the primary, and whether it is paired. The witness lets whoever comes first
//! go on alone, in the view of the next number, and only a node that has every acknowledged write.
//! The other one's acknowledgements end there: a paired primary acknowledges nothing without its
//! backup, and a backup that has gone on refuses older views, by a *fence* in its store. Whoever comes
//! back gets everything from the primary, and then they are paired again, in a further view. Reads
//! are confirmed by the backup as writes are, so that a primary that was overtaken shows nothing old.
//!
//! # What it stands
//!
//! Any partition, any loss, and crashes of any of the three at any moment, whole stores included as
//! far as they were not synced: nothing acknowledged is lost, and nobody sees an older state. It goes on
//! serving as long as the witness and a node that has everything reach each other; two nodes alone could
//! not tell a crash from a partition. If the last primary was alone and crashes, the service waits for its
//! return.
//!
//! | where | what |
//! | --- | --- |
//! | [`Register`] | the witness's decision: a value without I/O |
//! | [`Replica`] | a node's copy, and which changes it takes: a value without I/O |
//! | `node`, `witness` | these with stores and connections |
//! | [`Oracle`] | what clients may see |
//! | [`Flaw`] | the protocol with one line broken |

mod node;
mod oracle;
mod register;
mod replica;
mod request;
mod witness;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, World};

use self::node::Addresses;
pub use self::oracle::Oracle;
pub use self::register::{Node, Register, View};
pub use self::replica::{Change, Place, Put, Replica, Verdict, other};
pub use self::request::{Answer, Request};
use crate::ending::Ending;
use crate::patience::{all_within, within};
use crate::rpc::Client;
use crate::service::stop_at;

const PORT: u16 = 7000;
const NODES: [&str; 2] = ["node-0", "node-1"];
const WITNESS: &str = "witness";
/// How long a client waits, at most, between two requests.
const PAUSE_MAX: Duration = Duration::from_millis(60);
/// How long a client waits for a node before it asks the other.
const NODE_MAX: Duration = Duration::from_millis(400);
/// How long it waits, at most, before it asks the next one.
const RETRY_MAX: Duration = Duration::from_millis(20);
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=1%,dup=1%,reorder=1%")
    .cuts(2, Duration::from_secs(3))
    .crashes(&["node-0", "node-1", "witness"], 3, Duration::from_secs(2))
    .within(Duration::from_millis(1_500));

/// One line of the protocol that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flaw {
    /// It is as it should be.
    #[default]
    None,
    /// The primary acknowledges before the backup has the write. It is lost if the primary crashes.
    AckBeforeBackup,
    /// Nodes do not sync their stores. A crash takes back what was acknowledged.
    NoSync,
    /// A node takes writes of primaries that were overtaken. They go on acknowledging.
    NoFence,
    /// A node that hears no primary goes on alone without asking the witness. There are two primaries
    /// behind a partition.
    NoWitness,
}

/// The scenario `failover`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "a primary and its backup lose no acknowledged write, whichever of them crashes";
    Scenario::new("failover", summary, move |world| run(world, flaw)).faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let ending = Ending::default();
    let ends = ending.clone();
    world.boot(WITNESS, move |lp| {
        let ending = ends.clone();
        async move {
            let server = witness::start(&lp, (WITNESS, PORT)).await?;
            stop_at(&ending, &lp, server).await
        }
    });
    for (me, name) in (0..).zip(NODES) {
        let nodes = NODES.map(|name| (name, PORT));
        let at = Addresses { nodes, witness: (WITNESS, PORT) };
        let ends = ending.clone();
        world.boot(name, move |lp| node::run(lp, me, at.clone(), flaw, ends.clone()));
    }

    let clients = world.size("failover.clients", 1..=3) as u32;
    let requests = world.size("failover.requests", 4..=32);
    let oracle = Rc::<RefCell<Oracle>>::default();
    let tasks = (0..clients).map(|number| {
        let name = format!("client-{number}");
        let (lp, rng) = (world.host(&name), world.rng(&name));
        let user = User::new(&lp, number, rng, Rc::clone(&oracle));
        lp.create_named_task(name, user.work(clients, requests))
    });
    let tasks: Vec<_> = tasks.collect();
    all_within(&world.host("observer"), "the last answer to client", tasks).await?;
    ending.give(&world).await;
    Ok(())
}

/// A client: it writes to a key of its own, and reads everybody's.
struct User {
    lp: Loop,
    number: u32,
    rng: Rng,
    nodes: [Client; 2],
    oracle: Rc<RefCell<Oracle>>,
}

impl User {
    fn new(lp: &Loop, number: u32, rng: Rng, oracle: Rc<RefCell<Oracle>>) -> Self {
        let nodes = NODES.map(|name| Client::new(lp, (name, PORT)));
        Self { lp: lp.clone(), number, rng, nodes, oracle }
    }

    /// Makes its requests, and then reads every key once more.
    async fn work(mut self, keys: u32, requests: u64) -> Result<(), Failure> {
        for _ in 0..requests {
            self.lp.sleep(self.rng.duration(Duration::ZERO..PAUSE_MAX)).await;
            if self.rng.ratio(1, 2) {
                self.write().await?;
            } else {
                let key = self.rng.below(keys.into()) as u32;
                self.read(key).await?;
            }
        }
        for key in 0..keys {
            self.read(key).await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Failure> {
        let key = self.number;
        let value = self.oracle.borrow_mut().writes(key);
        let now = self.ask(Request::Write(Put { key, value })).await?;
        Ok(self.oracle.borrow_mut().saw(key, now, value)?)
    }

    async fn read(&mut self, key: u32) -> Result<(), Failure> {
        let least = self.oracle.borrow().reads(key);
        let value = self.ask(Request::Read(key)).await?;
        Ok(self.oracle.borrow_mut().saw(key, value, least)?)
    }

    /// Asks one node and the other until one of them has done it: the value under the key then.
    async fn ask(&mut self, request: Request) -> Result<u64, Failure> {
        let lp = self.lp.clone();
        let what = format!("an answer to {request:?}");
        within(&lp, &what, self.ask_each(&request.encode())).await?
    }

    async fn ask_each(&mut self, payload: &[u8]) -> Result<u64, Failure> {
        // Any of them first: who the primary is may have changed.
        let mut node = self.rng.below(2) as usize;
        loop {
            let answer = self.lp.timeout(NODE_MAX, self.nodes[node].call(payload)).await;
            let answer = answer.ok().and_then(Result::ok);
            if let Some(Answer::Done { view, node, value }) =
                answer.and_then(|answer| Answer::decode(&answer))
            {
                self.oracle.borrow_mut().acknowledged(view, node)?;
                return Ok(value);
            }
            self.lp.sleep(self.rng.duration(Duration::from_millis(1)..RETRY_MAX)).await;
            node = 1 - node;
        }
    }
}
