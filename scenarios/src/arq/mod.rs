//! A reliable stream each way over datagrams that are lost, reordered, doubled and damaged.
//!
//! Automatic repeat request with a sliding window: selective repeat, cumulative and selective
//! acknowledgements, a retransmission timeout from round-trip samples with back-off, and ends of
//! streams that are acknowledged as data are. Two hosts send each other a body at once. Invariants:
//! both get exactly what the other sent, by digest; both close; and nothing is sent for ever.
//!
//! It stands anything that lets some datagrams through; it gives up when for 45 seconds nothing new
//! was acknowledged. Hosts do not crash: what was acknowledged is in memory.
//!
//! | where | what |
//! | --- | --- |
//! | [`Segment`] | what is sent |
//! | [`RetransmissionTimeout`] | how long to wait |
//! | [`Connection`] | one side: a value without I/O or clock |
//! | [`Endpoint`] | the side with a socket, a timer and a body |
//! | [`Flaw`] | the protocol with one line broken |

mod connection;
mod endpoint;
mod segment;
#[cfg(test)]
mod tests;
mod timeout;

use std::net::SocketAddr;

use sim_core::{Conn, DatagramTransport, Failure, FaultMix, Scenario, World};

pub use self::connection::Connection;
pub use self::endpoint::Endpoint;
pub use self::segment::{Carried, PAYLOAD_BYTES_MAX, Part, SELECTIVE, Segment};
pub use self::timeout::RetransmissionTimeout;
use crate::body::{Body, goodput};
use crate::patience::within;
use crate::violation::ensure;

const HOSTS: [&str; 2] = ["left", "right"];
const PORT: u16 = 7000;
const FAULTS: FaultMix =
    FaultMix::new("latency=1ms..20ms,loss=5%,dup=2%,corrupt=0.5%/deliver,reorder=2%")
        .cuts(2, std::time::Duration::from_secs(3))
        .within(std::time::Duration::from_secs(1));

/// One line of the protocol that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flaw {
    /// It is as it should be.
    #[default]
    None,
    /// Nothing is sent again. A lost segment is missed for ever.
    NoRetransmission,
    /// What was delivered is delivered again when it comes again.
    NoDuplicateFilter,
    /// Segments are delivered in the order in which they come.
    NoReordering,
    /// Everything up to the last segment that came is acknowledged, gaps included. A lost segment is
    /// missed for ever.
    AcknowledgeGaps,
    /// Damaged datagrams are taken for whole ones.
    NoChecksum,
    /// Who has closed does not listen any more. The other side, whose last acknowledgement was lost,
    /// waits for ever.
    DeafWhenClosed,
}

/// The scenario `arq`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "two bodies cross each other over bad datagrams, whole and in order";
    Scenario::new("arq", summary, move |world| run(world, flaw)).faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let mut addresses = Vec::new();
    for name in HOSTS {
        addresses.extend(world.host(name).getaddrinfo((name, PORT)).await?.first().copied());
    }
    let begun = world.time();
    let mut sides = Vec::new();
    for (index, name) in HOSTS.iter().enumerate() {
        let bytes = world.size(&format!("arq.{name}.kib"), 0..=512) << 10;
        let body = Body::new(bytes, &mut world.rng(name));
        sides.push(start(&world, &addresses, index, body, flaw).await?);
    }
    for side in &sides {
        let lp = side.transport().event_loop();
        let closed = side.with(|endpoint, cx| endpoint.closes(cx.event_loop()));
        within(lp, "the end of both streams", closed).await??;
    }
    let took = world.time() - begun;
    for (from, to) in [(0, 1), (1, 0)] {
        let lp = sides[from].transport().event_loop();
        let (sent, again) =
            sides[from].with(|side, _| (side.sent().clone(), side.retransmissions()));
        let (got, failure) =
            sides[to].with(|side, _| (side.got().clone(), side.failure().cloned()));
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        ensure!(
            (got.bytes(), got.finish()) == (sent.bytes(), sent.finish()),
            "{} sent {} bytes, and {} got {} bytes, or others",
            HOSTS[from],
            sent.bytes(),
            HOSTS[to],
            got.bytes()
        );
        lp.mark("arq.goodput", goodput(sent.bytes(), took));
        lp.mark("arq.retransmissions", again);
    }
    for side in sides {
        side.transport().close();
        side.closed().await?;
    }
    Ok(())
}

async fn start(
    world: &World,
    addresses: &[SocketAddr],
    index: usize,
    body: Body,
    flaw: Flaw,
) -> Result<Conn<Endpoint, DatagramTransport>, Failure> {
    let (own, peer) = (addresses[index], addresses[1 - index]);
    let endpoint = || Endpoint::new(peer, body, flaw);
    Ok(world.host(HOSTS[index]).datagram().local(own).bind(endpoint).await?)
}
