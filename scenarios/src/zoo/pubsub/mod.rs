//! Publish and subscribe through a broker, in the words of NATS.
//!
//! A publisher publishes numbers, and a subscriber hears them, each over a connection of its own that it
//! makes again when it is lost. Publications are not kept: who is not there does not hear them.
//! Clients ping, because a peer that is gone says nothing, and who only listens would not miss it.
//! Invariants: the subscriber always hears of publications again, within half a minute, and of none
//! twice.
//!
//! | where | what |
//! | --- | --- |
//! | [`Command`], [`Decoder`] | what is sent |
//! | [`Caller`] | the broker's side of a connection |
//! | [`Client`] | the publisher's or the subscriber's |
//! | [`Bug`] | the client as it was shipped |

mod broker;
mod client;
mod command;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Scenario, World};

pub use self::broker::Caller;
pub use self::client::{Client, Heard, Role};
pub use self::command::{Command, CommandError, Decoder};
use super::RECONNECTING;
use crate::ending::Ending;
use crate::violation::ensure;

const SERVER: &str = "server";
const PORT: u16 = 4222;
/// The broker keeps nothing that clients do not tell it again, so it may crash, and anything may befall
/// connections.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,reorder=1%")
    .cuts(2, Duration::from_secs(2))
    .crashes(&[SERVER], 2, Duration::from_secs(1))
    .within(Duration::from_millis(400))
    .streams(RECONNECTING);
/// How many publications are to be heard, and how long it may take to the next one: generously what
/// befalls links and broker, and to notice.
const HEARD: u64 = 10;
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What clients got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// The client does not ping. A subscriber writes nothing after its subscription, so nothing ever
    /// tells it that its peer is gone.
    ///
    /// One crash of the broker is enough, at any time after the subscription: nobody says goodbye. (So
    /// is a reset that the subscriber's side does not hear of.) With none, the connection lasts.
    NoPings,
}

/// The scenario `pubsub`.
pub fn scenario() -> Scenario {
    build("pubsub", None)
}

/// The scenario with a bug, which its invariants are to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    match bug {
        Bug::NoPings => build("Z18", Some(bug)),
    }
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "a subscriber hears of publications again, whatever becomes of its broker";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let ending = Ending::default();
    let ends = ending.clone();
    world.boot(SERVER, move |lp| broker::serve(lp, ends.clone()));

    let heard = Rc::<RefCell<Heard>>::default();
    let subscriber = Role::Subscriber(Rc::clone(&heard));
    let publisher = Role::Publisher(Rc::<Cell<u64>>::default());
    for (name, role) in [("subscriber", subscriber), ("publisher", publisher)] {
        let lp = world.host(name);
        lp.create_named_task(name, client::stay(lp.clone(), role, bug, ending.clone()));
    }
    let lp = world.host("subscriber");
    for count in 1..=HEARD {
        let hears = heard.borrow_mut().hears(&lp, count);
        let heard = lp.timeout(SILENCE_MAX, hears).await;
        ensure!(heard.is_ok(), "the subscriber heard nothing for {SILENCE_MAX:?}");
    }
    ensure!(!heard.borrow().is_any_twice(), "a publication was heard twice");
    ending.give(&world).await;
    Ok(())
}
