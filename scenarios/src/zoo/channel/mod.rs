//! A channel: a transport on a transport, with a window, water marks and an end of its own.
//!
//! Updates come at their own pace, and are told over a channel as SSH has them (RFC 4254, section
//! 5): data use up a window, which the other end opens again as its application takes them. A
//! subscriber that falls behind is cut off, as publishers do to slow consumers; it comes again, asks
//! for what it misses, and is waited for then. Invariants: the updates come in order, none is
//! missing where the channel has ended, and nothing is heard of a channel that was aborted but that
//! it is lost.
//!
//! It stands what breaks connections, and restarts of the publisher.
//!
//! | where | what |
//! | --- | --- |
//! | [`Channel`] | one end: a value without I/O |
//! | [`Record`] | what the ends tell each other |
//! | [`Bug`] | what others got wrong |

mod publisher;
mod record;
mod subscriber;
mod transport;

use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Loop, Scenario, World};

use self::publisher::{Notes, Publisher, UPDATE_BYTES};
pub use self::record::{Record, RecordError};
use self::subscriber::Subscriber;
pub use self::transport::{Channel, Event, HIGH_BYTES, LOW_BYTES, WINDOW_BYTES};
use crate::ending::Ending;
use crate::patience::within;
use crate::service::stop_at;
use crate::violation::ensure;
use crate::zoo::RECONNECTING;

const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..5ms,loss=1%,dup=1%,reorder=1%")
    .streams(RECONNECTING)
    .cuts(1, Duration::from_secs(1))
    .crashes(&["publisher"], 1, Duration::from_millis(500))
    .within(Duration::from_millis(200));
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How long the subscriber waits, at most, before it connects again.
const RETRY_MAX: Duration = Duration::from_millis(20);

/// What others got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Z05: the end is sent although something still waits to be sent.
    ClosesUnflushed,
    /// Z06: the end is told before the data that came with it, which are lost.
    EndBeforeData,
    /// Z12: writing is resumed on a channel that was aborted while it was paused.
    ResumesWhenAborted,
}

/// The scenario `channel`.
pub fn scenario() -> Scenario {
    specimen("channel", None)
}

/// The scenario with a bug: its invariants are to catch it.
pub fn with_bug(bug: Bug) -> Scenario {
    let id = match bug {
        Bug::ClosesUnflushed => "Z05",
        Bug::EndBeforeData => "Z06",
        Bug::ResumesWhenAborted => "Z12",
    };
    specimen(id, Some(bug))
}

fn specimen(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "updates over a channel with a window: none is missing when it has ended";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let updates = world.size("channel.updates", 6..=8) as u32;
    let (ending, notes) = (Ending::default(), Notes::default());
    let (ends, noted) = (ending.clone(), Rc::clone(&notes));
    world.boot("publisher", move |lp| {
        let (ending, notes) = (ends.clone(), Rc::clone(&noted));
        async move {
            let make = move || Publisher::new(updates, Rc::clone(&notes), bug);
            let server = lp.create_server(("publisher", PORT), make).await?;
            stop_at(&ending, &lp, server).await
        }
    });

    let lp = world.host("subscriber");
    let got = within(&lp, "the end of the channel", subscribe(&lp, bug)).await??;
    ending.give(&world).await;
    if let Some(violation) = notes.borrow_mut().take() {
        return Err(violation.into());
    }
    let all = updates * UPDATE_BYTES as u32;
    ensure!(got == all, "the channel has ended with {got} of {all} bytes");
    Ok(())
}

/// Takes updates over one channel after another, until one of them ends: how many bytes there were.
async fn subscribe(lp: &Loop, bug: Option<Bug>) -> Result<u32, Failure> {
    let mut rng = lp.rng("channel.subscriber");
    let (mut got, mut patient) = (0, false);
    loop {
        let make = move || Subscriber::new(got, patient, bug);
        let connecting = lp.create_connection(("publisher", PORT), make);
        if let Ok(Ok(conn)) = lp.timeout(CONNECT_MAX, connecting).await {
            // How the connection ended makes no difference; how the channel ended does.
            let _ = conn.closed().await;
            let outcome = conn.with(|subscriber, _| subscriber.outcome())?;
            got = outcome.got;
            if outcome.ended {
                return Ok(got);
            }
            // Who was cut off once asks to be waited for.
            patient |= outcome.cut_off;
        }
        lp.sleep(rng.duration(Duration::from_millis(1)..RETRY_MAX)).await;
    }
}
