//! MQTT with quality of service 2: each message exactly once, over connections that break.
//!
//! A client publishes messages to a broker, in the packets of MQTT 3.1.1. Each takes four: `PUBLISH`,
//! `PUBREC`, `PUBREL` and `PUBCOMP` (§4.3.3). Both sides keep the state of what is under way when a
//! connection is lost, and the client goes on with it over the next one: with `PUBLISH` where it has not
//! heard that the message arrived, with `PUBREL` where it has. The broker forgets a packet's identifier
//! when it is released. Invariants: every message is delivered, none twice, and all in order.
//!
//! | where | what |
//! | --- | --- |
//! | [`Packet`], [`Decoder`] | what is sent |
//! | [`Outgoing`], [`Incoming`] | what is under way, on either side: values without I/O or clock |
//! | [`Client`], [`Broker`] | these with connections and timers |
//! | [`Bug`] | the client as it was shipped |

mod broker;
mod client;
mod packet;
mod session;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::history::Promise;
use sim_core::{Failure, FaultMix, Scenario, World};

pub use self::broker::{Broker, Delivered};
pub use self::client::{Client, Work};
pub use self::packet::{Decoder, Packet, PacketError};
pub use self::session::{Incoming, Outgoing};
use super::RECONNECTING;
use crate::patience::within;

const PORT: u16 = 1883;
/// Anything may befall connections. The state of what is under way is in memory, so hosts do not crash.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,reorder=1%")
    .cuts(2, Duration::from_secs(2))
    .within(Duration::from_millis(200))
    .streams(RECONNECTING);

/// What clients got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// Over a new connection every message under way is published again, even if it was released.
    ///
    /// It is enough to lose the connection once, after the broker got a `PUBREL` and before its `PUBCOMP`
    /// arrived: the broker has forgotten the identifier, and takes the message for a new one. With no
    /// loss nothing is ever published again.
    PublishesReleased,
}

/// The scenario `mqtt`.
pub fn scenario() -> Scenario {
    build("mqtt", None)
}

/// The scenario with a bug, which its invariants are to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    match bug {
        Bug::PublishesReleased => build("Z42", Some(bug)),
    }
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary =
        "messages of quality of service 2 are delivered once, over connections that break";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let (near, far) = (world.host("client"), world.host("broker"));
    let delivered = Delivered::new();
    let server = broker::start(&far, &delivered).await?;
    let messages = world.size("mqtt.messages", 4..=9);
    let payloads = (0..messages).map(|number| number.to_be_bytes().to_vec());
    let sendings: Vec<_> =
        payloads.clone().map(|payload| delivered.sends(client::NAME.to_owned(), payload)).collect();
    let work = Work::new(payloads, bug);
    let work = Rc::new(RefCell::new(work));
    let client = near.create_named_task("client", client::stay(near.clone(), Rc::clone(&work)));
    for (count, sending) in (1..).zip(sendings) {
        let completes = work.borrow_mut().completes(&near, count);
        within(&near, "the completion of the next message", completes).await??;
        delivered.accepted(sending);
        delivered.check(Promise::EXACTLY_ONCE)?;
    }
    within(&near, "the end of the client", client).await??;
    server.close();
    server.abort_clients();
    within(&far, "the end of the broker's connections", server.wait_closed()).await?;
    delivered.check(Promise::EXACTLY_ONCE)?;
    Ok(())
}
