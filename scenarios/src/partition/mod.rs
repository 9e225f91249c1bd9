//! Remote calls through partitions, resets and restarts of the server: each executed exactly once.
//!
//! The client is that of [`rpc`](crate::rpc): it repeats a request under the same number until it is
//! answered, over one connection after another. The server is an account. It writes each deposit to
//! its store, and answers when it is durable; when it starts again, it reads there what it executed
//! before, and so knows a repeated request from a new one. Invariants: every call is answered; the
//! account has each deposit exactly once; and each answer was the balance after the caller's own.
//!
//! It stands any partition that heals within a client's patience, about fifty seconds, any number of
//! lost connections, and crashes of the server at any moment. Clients do not crash: a client that
//! forgets its numbers cannot repeat a request.
//!
//! | where | what |
//! | --- | --- |
//! | [`Ledger`] | what was executed: a value without I/O |
//! | `server` | the ledger with a store and connections |
//! | [`Flaw`] | the protocol with one line broken |

mod ledger;
mod server;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, Task, World};

pub use self::ledger::{Entry, Ledger};
pub use self::server::Request;
use crate::ending::Ending;
use crate::patience::within;
use crate::rpc::Client;
use crate::service::stop_at;
use crate::violation::ensure;

const PORT: u16 = 7000;
/// How long a client waits, at most, between two calls.
const PAUSE_MAX: Duration = Duration::from_millis(80);
/// When the server resets its connections for the last time, at the latest.
const BREAKS_UNTIL: Duration = Duration::from_millis(400);
/// How many attempts a client makes.
const ATTEMPTS_MAX: u32 = 20;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,dup=1%,reorder=1%")
    .cuts(2, Duration::from_secs(4))
    .crashes(&["server"], 2, Duration::from_secs(3))
    .within(Duration::from_secs(1));

/// One line of the protocol that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flaw {
    /// It is as it should be.
    #[default]
    None,
    /// A client sends a request once. Calls fail when an answer is lost.
    NoRetry,
    /// The server executes what it gets. Repeated requests are executed twice.
    NoDuplicateFilter,
    /// The server answers before its store is synced. A crash takes back what was answered.
    NoSync,
    /// The server reads its balance from the store when it starts, but not which calls it executed. A
    /// request that is repeated after a crash is executed twice.
    ForgetfulRestart,
}

/// A deposit as its client saw it: the amount, and the balance that it was told.
type Seen = (u64, u64);

/// The scenario `partition`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "calls through partitions, resets and restarts are each executed exactly once";
    Scenario::new("partition", summary, move |world| run(world, flaw)).faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let breaks = world.size("partition.breaks", 0..=3);
    let ending = Ending::default();
    let ends = ending.clone();
    world.boot("server", move |lp| {
        let ending = ends.clone();
        async move {
            let server = server::start(&lp, ("server", PORT), flaw).await?;
            let mut rng = lp.rng("partition.breaks");
            for _ in 0..breaks {
                lp.sleep(rng.duration(Duration::ZERO..BREAKS_UNTIL / breaks as u32)).await;
                server.abort_clients();
            }
            stop_at(&ending, &lp, server).await
        }
    });

    let clients = world.size("partition.clients", 1..=3);
    let calls_each = world.size("partition.calls", 4..=24);
    let tasks = (0..clients).map(|index| {
        let name = format!("client-{index}");
        let (lp, rng) = (world.host(&name), world.rng(&name));
        lp.clone().create_named_task(name, make_deposits(lp, index, calls_each, rng, flaw))
    });
    let mut seen = Vec::new();
    for task in tasks.collect::<Vec<Task<_>>>() {
        seen.extend(task.await??);
    }
    let entries = audit(&world.host("auditor")).await?;
    judge(&seen, &entries)?;
    ending.give(&world).await;
    Ok(())
}

/// Makes deposits one after the other, each of an amount that nobody else deposits.
async fn make_deposits(
    lp: Loop,
    index: u64,
    calls: u64,
    mut rng: Rng,
    flaw: Flaw,
) -> Result<Vec<Seen>, Failure> {
    let attempts_max = if flaw == Flaw::NoRetry { 1 } else { ATTEMPTS_MAX };
    let client = Client::with_attempts(&lp, ("server", PORT), attempts_max);
    let mut seen = Vec::new();
    for call in 0..calls {
        lp.sleep(rng.duration(Duration::ZERO..PAUSE_MAX)).await;
        let amount = index << 32 | call << 16 | rng.below(1 << 16);
        let what = format!("the answer to deposit {call} of client {index}");
        let payload = Request::Deposit(amount).encode();
        let answer = within(&lp, &what, client.call(&payload)).await?;
        let answer = answer.map_err(|error| io::Error::other(format!("{what}: {error}")))?;
        let balance = (*answer).try_into().map(u64::from_be_bytes);
        ensure!(balance.is_ok(), "{what} has {} bytes", answer.len());
        seen.push((amount, balance?));
    }
    Ok(seen)
}

/// What the server says that it executed.
async fn audit(lp: &Loop) -> Result<Vec<Entry>, Failure> {
    let client = Client::new(lp, ("server", PORT));
    let request = Request::Audit.encode();
    let answer = within(lp, "the audit", client.call(&request)).await?.map_err(io::Error::other)?;
    let entries: Option<Vec<Entry>> = answer.chunks(Entry::BYTES).map(Entry::decode).collect();
    ensure!(entries.is_some(), "an audit of {} bytes", answer.len());
    Ok(entries.unwrap_or_default())
}

/// Holds if exactly what was answered was executed, once each, with those answers.
fn judge(seen: &[Seen], entries: &[Entry]) -> Result<(), Failure> {
    let mut balances = BTreeMap::new();
    let mut balance = 0_u64;
    for Entry { number, amount } in entries {
        balance = balance.wrapping_add(*amount);
        let before = balances.insert(*amount, balance);
        ensure!(before.is_none(), "the deposit of {amount} (call {number:#x}) was executed twice");
    }
    for (amount, told) in seen {
        match balances.get(amount) {
            None => ensure!(false, "the deposit of {amount} was acknowledged, and is lost"),
            Some(balance) => ensure!(
                balance == told,
                "the deposit of {amount} was answered {told}, but the balance was {balance}"
            ),
        }
    }
    ensure!(
        entries.len() == seen.len(),
        "{} deposits were made, and {} executed",
        seen.len(),
        entries.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, amount: u64) -> Entry {
        Entry { number, amount }
    }

    #[test]
    fn the_judge_tells_lost_doubled_changed_and_strange_deposits() {
        let entries = [entry(1, 5), entry(2, 6)];
        let holds = |seen: &[Seen], entries: &[Entry]| judge(seen, entries).is_ok();
        assert!(holds(&[(6, 11), (5, 5)], &entries));
        assert!(!holds(&[(5, 5), (6, 11), (7, 18)], &entries));
        assert!(!holds(&[(5, 5)], &entries));
        assert!(!holds(&[(5, 5), (6, 10)], &entries));
        assert!(!holds(&[(5, 5)], &[entry(1, 5), entry(1, 5)]));
    }
}
