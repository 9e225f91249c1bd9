//! A TCP proxy: two transports, with back-pressure, ends and errors carried across.
//!
//! Clients send a body through the proxy and take another at the same time; both they and the server
//! behind it, the origin, are slow now and then. When a connection cannot take more, the proxy stops
//! to read from the other. The end of one direction is passed on while the other goes on; a reset of
//! one connection resets the other. Invariants: an end in good order means that everything came, as
//! it was sent, in either direction; what waits in the proxy for one connection is bounded by its
//! water mark and a read; every client gets through in the end; of connections whose other half is
//! gone none stays; and when the origin is gone a client sees its connection end.
//!
//! It stands what breaks connections, and crashes of the proxy and the origin: clients try again. A kill
//! it does not stand: a kernel ends the connections of a process that was killed in good order, wherever
//! they are.
//!
//! `scenarios serve proxy --listen ADDR` serves an [`Echo`] behind a proxy: both in one process, the echo
//! at a free port of the loopback interface.
//!
//! | where | what |
//! | --- | --- |
//! | [`Proxy`] | the two connections: what a user would deploy |
//! | [`Request`] | what a client says first |
//! | [`Flaw`] | what wrong twins do |

mod client;
mod origin;
mod relay;

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Loop, Scenario, Server, Serving, Task, World};

use self::client::Client;
pub use self::origin::Request;
use self::origin::{Origin, Seen};
pub use self::relay::{HELD_MAX, Meter, Proxy};
use crate::echo::Echo;
use crate::ending::Ending;
use crate::patience::within;
use crate::service::stop_at;
use crate::violation::ensure;
use crate::zoo::RECONNECTING;

const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..5ms,loss=1%,dup=1%,reorder=1%")
    .streams(RECONNECTING)
    .crashes(&["proxy", "origin"], 1, Duration::from_millis(500))
    .within(Duration::from_millis(300));
const BODY_BYTES_MAX: u64 = 128 << 10;
/// The size of each socket's buffers: small, so that the water marks matter.
const SOCKET_BUFFER_BYTES: usize = 16 << 10;
/// When a pair on which nothing passes is given up: the news that one is gone may be lost.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// The size of a deployed proxy's.
const SERVED_BUFFER_BYTES: usize = 256 << 10;

/// What is wrong with a wrong twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// The proxy reads on whatever the other connection can take.
    NoBackPressure,
    /// The end of one direction ends the other, too.
    EndsTogether,
    /// A connection that breaks ends the other in good order.
    EndsCleanly,
}

/// The scenario `proxy`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "a TCP proxy carries back-pressure, half-closes and resets across";
    Scenario::new("proxy", summary, move |world| run(world, flaw))
        .serve(|lp, listen| async move {
            let upstream = lp.create_server((Ipv4Addr::LOCALHOST, 0), Echo::default).await?;
            let proxy = Proxy::new(upstream.sockets()[0], &Rc::default());
            let proxy = proxy.listen(&lp, listen, SERVED_BUFFER_BYTES).await?;
            let local = proxy.sockets()[0];
            Ok(Serving::new(local, move || async move {
                end(&proxy).await;
                end(&upstream).await;
            }))
        })
        .faults(FAULTS)
}

async fn end(server: &Server) {
    server.close();
    server.abort_clients();
    server.wait_closed().await;
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let (seen, gone) = (Seen::default(), Ending::default());
    let (noted, ends) = (Rc::clone(&seen), gone.clone());
    world.boot("origin", move |lp| {
        let (seen, gone) = (Rc::clone(&noted), ends.clone());
        async move {
            let server = lp.server().send_buffer(SOCKET_BUFFER_BYTES);
            let server = server.receive_buffer(SOCKET_BUFFER_BYTES);
            let server = server.bind(("origin", PORT), move || Origin::new(&seen)).await?;
            stop_at(&gone, &lp, server).await
        }
    });
    let (meter, ending) = (Rc::new(Meter::default()), Ending::default());
    let (metered, ends) = (Rc::clone(&meter), ending.clone());
    world.boot("proxy", move |lp| {
        metered.restart();
        let proxy = Proxy::with_flaw(("origin", PORT), &metered, flaw).idle(IDLE_MAX);
        let ending = ends.clone();
        async move {
            let server = proxy.listen(&lp, ("proxy", PORT), SOCKET_BUFFER_BYTES).await?;
            stop_at(&ending, &lp, server).await
        }
    });

    let clients = (0..world.size("proxy.clients", 1..=3)).map(|index| {
        let name = format!("client-{index}");
        let body = |what| world.size(&format!("proxy.{what}-{index}"), 0..=BODY_BYTES_MAX);
        let request = Request { upload: body("upload"), download: body("download") };
        let (lp, rng) = (world.host(&name), world.rng(&name));
        lp.clone().create_named_task(name, Client { lp, request, rng }.run())
    });
    let clients: Vec<_> = clients.collect();
    let are_done = world.eventually(|| clients.iter().all(Task::done)).await;
    ensure!(are_done, "a client does not get through, although nothing hinders it");
    for client in clients {
        client.await??;
    }
    if let Some(violation) = seen.take() {
        return Err(violation.into());
    }
    let held = meter.held_max();
    ensure!(held <= HELD_MAX, "{held} bytes waited in the proxy, more than {HELD_MAX}");
    let is_left = world.eventually(|| meter.connections() == 0).await;
    ensure!(is_left, "the proxy keeps {} connections that nobody uses", meter.connections());

    gone.give(&world).await;
    let late = world.host("late");
    within(&late, "the end of a connection to nowhere", ask_nobody(&late)).await??;
    ending.give(&world).await;
    Ok(())
}

/// Connects while the origin is gone: the connection ends, and nothing comes.
async fn ask_nobody(lp: &Loop) -> Result<(), Failure> {
    // That it cannot be made, or breaks, is an end as well.
    let Ok((mut reader, writer)) = lp.open_connection(("proxy", PORT)).await else {
        return Ok(());
    };
    writer.write(&Request { upload: 0, download: 1 }.encode());
    let got = reader.read(1).await.unwrap_or_default();
    ensure!(got.is_empty(), "{got:?} came from an origin that is gone");
    writer.transport().abort();
    Ok(())
}
