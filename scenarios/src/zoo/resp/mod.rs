//! A pool of connections to a store that speaks RESP: each reply is that of its own command.
//!
//! Users write a key and read it again, both commands in one batch, over connections that they take
//! out of a pool and put back. A batch that takes too long is given up, and made again. Replies have
//! no numbers: which command one belongs to is told by its place in the stream alone. Invariants:
//! every key is read as it was written, and every batch is answered in the end.
//!
//! It stands what breaks connections, and restarts of the server: what was written before is not
//! read again.
//!
//! | where | what |
//! | --- | --- |
//! | [`Value`], [`Decoder`] | commands and replies on a stream |
//! | [`Bug`] | what others got wrong |

mod codec;
mod pool;
mod server;

use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, World};

pub use self::codec::{Decoder, Value, ValueError, encode_command};
use self::pool::Pool;
use self::server::{Server, Store};
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
    .within(Duration::from_millis(100));
/// How long a user waits for the replies to a batch: a packet that is lost comes later than that.
const BATCH_MAX: Duration = Duration::from_millis(100);
/// How long a user waits, at most, before it makes a batch again.
const RETRY_MAX: Duration = Duration::from_millis(20);
const USERS: u64 = 2;

/// What others got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Z13: a connection goes back to the pool although replies are to come that nobody waits for.
    KeepsOwing,
}

/// The scenario `resp`.
pub fn scenario() -> Scenario {
    specimen("resp", None)
}

/// The scenario with a bug: its invariants are to catch it.
pub fn with_bug(bug: Bug) -> Scenario {
    let id = match bug {
        Bug::KeepsOwing => "Z13",
    };
    specimen(id, Some(bug))
}

fn specimen(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "batches over pooled connections: each reply is that of its own command";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let ending = Ending::default();
    let ends = ending.clone();
    world.boot("server", move |lp| {
        let (ending, store) = (ends.clone(), Store::default());
        async move {
            let make = move || Server::new(Rc::clone(&store));
            let server = lp.create_server(("server", PORT), make).await?;
            stop_at(&ending, &lp, server).await
        }
    });

    let lp = world.host("client");
    let pool = Pool::new(&lp, bug);
    let batches = world.size("resp.batches", 2..=4);
    let users = (0..USERS).map(|user| {
        let rng = world.rng(&format!("user-{user}"));
        lp.create_task(use_store(lp.clone(), pool.clone(), user, batches, rng))
    });
    let users: Vec<_> = users.collect();
    all_within(&lp, "the last batch of user", users).await?;
    ending.give(&world).await;
    pool.leave();
    Ok(())
}

/// Writes and reads keys of its own, one after the other.
async fn use_store(
    lp: Loop,
    pool: Pool,
    user: u64,
    batches: u64,
    mut rng: Rng,
) -> Result<(), Failure> {
    for batch in 0..batches {
        let (key, value) =
            (format!("key:{user}:{batch}"), format!("{:08x}", rng.next_u64() as u32));
        let asked = write_and_read(&lp, &pool, &key, &value, &mut rng);
        let replies = within(&lp, "a batch", asked).await?;
        let expected = [Value::Simple("OK".into()), Value::Bulk(Some(value.into()))];
        ensure!(replies == expected, "a key was answered with what belongs to another");
    }
    Ok(())
}

/// Makes the batch of a key until it is answered. It may be made twice: it writes the same.
async fn write_and_read(
    lp: &Loop,
    pool: &Pool,
    key: &str,
    value: &str,
    rng: &mut Rng,
) -> Vec<Value> {
    let commands = [&["SET", key, value][..], &["GET", key]];
    loop {
        if let Ok(Ok(replies)) = lp.timeout(BATCH_MAX, pool.ask(&commands)).await {
            return replies;
        }
        lp.sleep(rng.duration(Duration::from_millis(1)..RETRY_MAX)).await;
    }
}
