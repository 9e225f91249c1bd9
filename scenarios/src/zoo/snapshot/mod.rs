//! A copy of a server's state: a snapshot over one connection, and updates over another.
//!
//! The server counts deposits to accounts, one after another, and tells each to whoever subscribed
//! until then. A client subscribes over one connection and asks for a snapshot over the other, as in
//! the "clone pattern". Nothing orders the two, so it asks when it has heard that it is subscribed:
//! then every deposit is in the snapshot, among the updates, or both; those that are in both it knows
//! by their numbers. Invariant: the copy is the server's state, in the end and soon.
//!
//! | where | what |
//! | --- | --- |
//! | [`Frame`], [`Decoder`] | what is sent |
//! | [`State`], [`Replica`] | the state, and how a copy of it is kept: values without I/O |
//! | [`Register`], [`Service`] | the server, and its side of a connection |
//! | [`Keeper`], [`Client`] | the client, and its two connections |
//! | [`Bug`] | the client as it was shipped |

mod connection;
mod frame;
mod state;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, World};

pub use self::connection::{Client, Keeper, Register, Service};
pub use self::frame::{Decoder, Frame};
pub use self::state::{Deposit, Replica, State};
use crate::patience::{PATIENCE, within};
use crate::violation::ensure;

const PORT: u16 = 7000;
/// A copy is made once, over two connections, so nothing may end them.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,reorder=1%")
    .cuts(2, Duration::from_secs(2))
    .within(Duration::from_millis(200))
    .streams(FaultMix::HARMLESS);
/// How many accounts there are.
const ACCOUNTS: usize = 4;
/// How many deposits there are, and how long it takes to the next one, at most.
const DEPOSITS: u64 = 20;
const DEPOSIT_AFTER_MAX: Duration = Duration::from_millis(20);

/// What clients got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// The client asks for the snapshot without waiting to be subscribed.
    ///
    /// It is enough to delay the subscription behind the snapshot and one deposit. With no delay it
    /// arrives first: it was sent before the connection for the snapshot was made.
    AsksEarly,
}

/// The scenario `snapshot`.
pub fn scenario() -> Scenario {
    build("snapshot", None)
}

/// The scenario with a bug, which its invariant is to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    match bug {
        Bug::AsksEarly => build("Z45", Some(bug)),
    }
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "a copy of a changing state, by a snapshot and updates, misses nothing";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let (near, far) = (world.host("client"), world.host("server"));
    let register = Rc::<RefCell<Register>>::default();
    let serving = Rc::clone(&register);
    let service = move || Service::new(Rc::clone(&serving));
    let server = far.create_server(("server", PORT), service).await?;
    let deposits = deposit_all(far.clone(), Rc::clone(&register), world.rng("deposits"));
    let deposits = far.create_named_task("deposits", deposits);

    let copy = Rc::new(RefCell::new(Keeper::new(&near)));
    let (updating, asking) = (Rc::clone(&copy), Rc::clone(&copy));
    let connecting = near.create_connection(("server", PORT), || Client::of_updates(updating));
    let updates = within(&near, "the connection for updates", connecting).await??;
    if bug != Some(Bug::AsksEarly) {
        let subscribed = copy.borrow().subscribed();
        within(&near, "the subscription", subscribed).await??;
    }
    let connecting = near.create_connection(("server", PORT), || Client::of_snapshot(asking));
    let snapshots = within(&near, "the connection for the snapshot", connecting).await??;

    within(&far, "the last deposit", deposits).await??;
    let up_to_date = copy.borrow_mut().reaches(&near, DEPOSITS);
    // A copy that never gets there is another, too.
    let _ = near.timeout(PATIENCE, up_to_date).await;
    ensure!(
        copy.borrow().state() == Some(register.borrow().state()),
        "the copy is another than the server's state"
    );

    updates.transport().close();
    snapshots.transport().close();
    server.close();
    // A client that closes before it has read everything says goodbye with a reset, which may be lost.
    server.abort_clients();
    within(&far, "the end of the server's connections", server.wait_closed()).await?;
    Ok(())
}

/// Makes all deposits, one after another.
async fn deposit_all(lp: Loop, register: Rc<RefCell<Register>>, mut rng: Rng) {
    for number in 1..=DEPOSITS {
        lp.sleep(rng.duration(Duration::from_millis(1)..DEPOSIT_AFTER_MAX)).await;
        let (account, amount) = (rng.below(ACCOUNTS as u64) as u8, 1 + rng.below(1_000));
        register.borrow_mut().deposit(Deposit { number, account, amount });
    }
}
