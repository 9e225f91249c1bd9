//! A multiplexer: many streams on one connection, with credit for each stream and for all of them.
//!
//! A client fetches bodies, a few at a time, each on a stream of its own. The server sends as much as it
//! has credit for, of the stream and of the connection, as in HTTP/2 (RFC 9113 §5.2). The client returns
//! credit as it takes bytes in. A body that takes too long is given up: the client resets its stream
//! and fetches the body again, on another one. Bytes of a stream that was reset still come; nobody reads
//! them, and they count for the connection as all do. Invariants: every body comes, whole and right, and
//! in the end the server has all the credit of the connection that there ever was.
//!
//! | where | what |
//! | --- | --- |
//! | [`Frame`], [`Decoder`] | what is sent |
//! | [`Fetcher`], [`Store`] | the two sides: values without I/O or clock |
//! | [`Client`], [`Server`] | these with connections and timers |
//! | [`Bug`] | the client as it was shipped |

mod connection;
mod fetcher;
mod frame;
mod store;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Scenario, World};

pub use self::connection::{Client, Server};
pub use self::fetcher::{Event, Fetcher};
pub use self::frame::{Decoder, Frame, FrameError, Kind};
pub use self::store::Store;
use crate::patience::within;
use crate::violation::ensure;

const PORT: u16 = 7000;
/// Credit counts for one connection, so nothing may end it.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,reorder=1%")
    .cuts(2, Duration::from_secs(2))
    .within(Duration::from_millis(200))
    .streams(FaultMix::HARMLESS);
/// The credit of a connection, and of each of its streams, in bytes.
const CONNECTION_CREDIT: u32 = 8 << 10;
const STREAM_CREDIT: u32 = 4 << 10;
const BODY_BYTES: usize = 6 << 10;

/// What clients got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// The credit of bytes that come for a stream after it was reset is not returned to the connection.
    ///
    /// One delay is enough that makes a body come too late, while bytes of it are on their way. With
    /// none no body is late, and no stream is reset.
    KeepsCredit,
}

/// The scenario `mux`.
pub fn scenario() -> Scenario {
    build("mux", None)
}

/// The scenario with a bug, which its invariants are to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    match bug {
        Bug::KeepsCredit => build("Z25", Some(bug)),
    }
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "streams with credit on one connection, given up and fetched again; none is lost";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

/// The body under a key.
fn body_of(key: u32) -> Vec<u8> {
    (0..BODY_BYTES as u32).map(|place| (place.wrapping_mul(key | 1) >> 3) as u8).collect()
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let (near, far) = (world.host("client"), world.host("server"));
    let credit_left = Rc::<Cell<Option<u32>>>::default();
    let left = Rc::clone(&credit_left);
    let server = far.create_server(("server", PORT), move || Server::new(Rc::clone(&left))).await?;
    let bodies = world.size("mux.bodies", 6..=10);
    let client = || Client::new(bodies as u32, bug);
    let connecting = near.create_connection(("server", PORT), client);
    let conn = within(&near, "the connection", connecting).await??;
    for count in 1..=bodies {
        let comes = conn.with(|client, cx| client.has(cx.event_loop(), count));
        within(&near, "the next body", comes).await??;
    }
    ensure!(conn.with(|client, _| client.are_all_right()), "a body is another than its key's");
    within(&near, "the end of the client's connection", conn.closed()).await??;
    server.close();
    within(&far, "the end of the server's connection", server.wait_closed()).await?;
    let left = credit_left.get().unwrap_or(0);
    ensure!(
        left == CONNECTION_CREDIT,
        "the connection's credit is not whole in the end: {left} of {CONNECTION_CREDIT} bytes"
    );
    Ok(())
}
