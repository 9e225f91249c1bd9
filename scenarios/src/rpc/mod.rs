//! Remote calls: at most once each, over connections that break.
//!
//! A [`Client`] sends numbered requests over one connection and takes the answers in any order. A
//! request that is not answered in time, or whose connection is lost, is sent again under the same
//! number; the [`Server`] keeps its answers, and repeats an answer where it would execute twice.
//! The workload breaks every connection now and then. Invariants: each call gets the answer to its
//! own request, and each is executed exactly once.
//!
//! | where | what |
//! | --- | --- |
//! | [`frame`] | messages on a stream: length, number, payload |
//! | [`CallTable`] | which calls were seen, and their answers |
//! | [`Server`], [`Client`] | the two sides |

mod call_table;
mod client;
pub mod frame;
mod server;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, World};

pub use self::call_table::{Asked, CallTable};
pub use self::client::{CallError, Client};
pub use self::server::Server;
use crate::patience::{all_within, within};
use crate::violation::ensure;
use crate::{Digest, Violation};

const PORT: u16 = 7000;
/// No crash: what was executed is in the server's memory. [`partition`](crate::partition) has a store.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,reorder=1%")
    .cuts(1, Duration::from_secs(3))
    .within(Duration::from_millis(500));
/// How many calls each client has under way at once.
const CONCURRENT_CALLS: usize = 8;
const PAYLOAD_BYTES_MAX: u64 = 4_000;

/// How often each call was executed, by its number.
type Executions = Rc<RefCell<BTreeMap<u64, u32>>>;

/// The scenario `rpc`.
pub fn scenario() -> Scenario {
    let summary = "numbered calls over connections that break are each executed exactly once";
    Scenario::new("rpc", summary, run)
        .serve(|lp, listen| async move {
            let server = Server::start(&lp, listen, |_, payload| answer_to(payload)).await?;
            Ok(server.into())
        })
        .faults(FAULTS)
}

/// What the workload's calls compute: the payload's checksum, then the payload backwards.
fn answer_to(payload: &[u8]) -> Vec<u8> {
    let mut answer = Digest::of(payload).to_be_bytes().to_vec();
    answer.extend(payload.iter().rev());
    answer
}

async fn run(world: World) -> Result<(), Failure> {
    let host = world.host("server");
    let executions = Executions::default();
    let log = Rc::clone(&executions);
    let server = Server::start(&host, ("server", PORT), move |number, payload| {
        *log.borrow_mut().entry(number).or_default() += 1;
        answer_to(payload)
    })
    .await?;
    let breaks = world.size("rpc.breaks", 0..=3);
    let breaking = host.create_named_task(
        "break connections",
        break_connections(host.clone(), server.clone(), breaks, world.rng("breaks")),
    );

    let clients = world.size("rpc.clients", 1..=4);
    let calls_each = world.size("rpc.calls", 1..=32);
    let tasks = (0..clients).map(|index| {
        let name = format!("client-{index}");
        let (lp, rng) = (world.host(&name), world.rng(&name));
        lp.clone().create_named_task(name, make_calls(lp, calls_each, rng))
    });
    let tasks: Vec<_> = tasks.collect();
    all_within(&host, "the last answer to client", tasks).await?;
    within(&host, "the last break", breaking).await??;

    server.close();
    // The goodbye of an abort may be lost, and the connection stand for ever.
    server.abort_clients();
    within(&host, "the end of the server's connections", server.wait_closed()).await?;
    // The clients are gone; their cancelled tasks take their last step.
    world.settle().await;
    let calls = clients * calls_each;
    let executions = executions.borrow();
    ensure!(
        executions.len() as u64 == calls,
        "{calls} calls were answered, but {} were executed",
        executions.len()
    );
    if let Some((number, times)) = executions.iter().find(|(_, times)| **times != 1) {
        return Err(Violation::new(format!("call {number:#x} was executed {times} times")).into());
    }
    Ok(())
}

/// Resets every connection of the server, `breaks` times.
async fn break_connections(lp: Loop, server: sim_core::Server, breaks: u64, mut rng: Rng) {
    for _ in 0..breaks {
        lp.sleep(rng.duration(Duration::from_millis(2)..Duration::from_millis(40))).await;
        server.abort_clients();
    }
}

async fn make_calls(lp: Loop, calls: u64, mut rng: Rng) -> Result<(), Failure> {
    let client = Client::new(&lp, ("server", PORT));
    let payloads = (0..calls).map(|_| {
        let mut payload = vec![0; rng.below(PAYLOAD_BYTES_MAX + 1) as usize];
        rng.fill(&mut payload);
        payload
    });
    let mut payloads = payloads.collect::<Vec<_>>().into_iter();
    let callers = (0..CONCURRENT_CALLS.min(calls as usize)).map(|caller| {
        let share = calls as usize / CONCURRENT_CALLS
            + usize::from(caller < calls as usize % CONCURRENT_CALLS);
        let payloads: Vec<_> = payloads.by_ref().take(share).collect();
        let client = client.clone();
        lp.create_task(call_each(client, payloads))
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

async fn call_each(client: Client, payloads: Vec<Vec<u8>>) -> Result<(), Failure> {
    for payload in payloads {
        let answer = client.call(&payload).await.map_err(io::Error::other)?;
        ensure!(
            *answer == answer_to(&payload),
            "a call with {} bytes got the {} bytes of another answer",
            payload.len(),
            answer.len()
        );
    }
    Ok(())
}
