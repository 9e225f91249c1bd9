//! HTTP/1.1 and HTTP/2 on one port: hyper over our transports.
//!
//! Client hosts ask over a version each: over HTTP/1.1 one request after the other on a kept connection, over
//! HTTP/2 several at once. Bodies go up, down, and up and down at once; some large ones are
//! read late, so that their sender has to wait. Whatever is asked may be asked again, so a client that gets no answer in
//! time tries again over another connection, with more patience. When all trouble is over the server is asked to end, while
//! over each version a kept connection is idle and a request is under way. Invariants: every request is answered within a
//! client's patience, in the version that it was asked in; every body arrives as it was sent; a body that
//! nobody reads is not made; when the server ends, idle connections do at once and in good order, and what has begun is
//! answered whole.
//!
//! It stands bad links and partitions. The server alone speaks with `curl`, `wrk`, and whatever else speaks HTTP;
//! [`server`] has its resources.
//!
//! | where | what |
//! | --- | --- |
//! | [`server`] | the resources |
//! | [`Flaw`] | what wrong twins do |
//! | `client` | a connection that is made again, and what is asked over it |
//! | `guests` | who is there when the server ends |
//! | `payload` | bodies that are made as they are sent |

mod client;
mod guests;
mod payload;
pub mod server;

use std::rc::Rc;
use std::time::Duration;

use sim_core::hyper::HttpServer;
use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, Server, Serving, Task, World};

use self::client::{Client, Errand, Version};
use self::guests::Guests;
use self::server::Resources;
use crate::patience::{all_within, within};
use crate::violation::ensure;

const PORT: u16 = 80;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=1%,reorder=1%")
    .streams(FaultMix::HARMLESS)
    .cuts(1, Duration::from_secs(3))
    .within(Duration::from_secs(1));
/// How many connections may wait to be accepted: deployed, it meets many at once.
const BACKLOG: u32 = 1024;
/// The size of the sockets' buffers, so that little is under way which nobody reads.
const SOCKET_BUFFER_BYTES: usize = 64 << 10;
/// The longest body of most requests.
const BODY_BYTES_MAX: u64 = 100_000;
/// A body that does not fit into all buffers between its sender and its reader.
const LARGE_BODY_BYTES: u64 = 2 << 20;
/// How far a body may be made ahead of its reader: hyper's buffers, and those of both ends.
const AHEAD_BYTES_MAX: u64 = 3 << 19;
/// How long connections have to end in good order.
const GRACE: Duration = Duration::from_secs(20);

/// What is wrong with a wrong twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// The server breaks off its connections when it ends.
    EndCuts,
    /// The server waits for its idle connections until their clients close them.
    KeepsIdle,
    /// The server makes a body before anybody reads it.
    MakesBodiesAhead,
}

/// The scenario `http`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "hyper: bodies both ways over HTTP/1.1 and HTTP/2 arrive whole, on one port";
    Scenario::new("http", summary, move |world| run(world, flaw))
        .serve(move |lp, listen| async move {
            let http = HttpServer::new(&lp);
            let resources = Rc::new(Resources::new(flaw));
            let protocols = http.serving(server::service(&resources));
            let server = lp.server().backlog(BACKLOG).bind(listen, protocols).await?;
            let local = *server.sockets().first().expect("it listens");
            Ok(Serving::new(local, move || async move {
                end(&lp, &server, &http, flaw).await;
            }))
        })
        .faults(FAULTS)
}

/// Ends a server in good order, as far as its clients let it; true if they all did.
async fn end(lp: &Loop, server: &Server, http: &HttpServer, flaw: Flaw) -> bool {
    server.close();
    match flaw {
        Flaw::EndCuts => server.abort_clients(),
        Flaw::KeepsIdle => {}
        Flaw::None | Flaw::MakesBodiesAhead => http.drain(),
    }
    let ended = lp.timeout(GRACE, server.wait_closed()).await.is_ok();
    if !ended {
        server.abort_clients();
        server.wait_closed().await;
    }
    ended
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let host = world.host("server");
    let http = HttpServer::new(&host);
    let resources = Rc::new(Resources::new(flaw));
    let protocols = http.serving(server::service(&resources));
    let builder = host.server().send_buffer(SOCKET_BUFFER_BYTES);
    let server = builder.bind(("server", PORT), protocols).await?;

    let count = world.size("http.clients", 1..=3);
    let clients: Vec<Rc<Client>> = (0..count)
        .map(|index| {
            let name = format!("client-{index}");
            let version =
                if world.rng(&name).ratio(1, 2) { Version::Http1 } else { Version::Http2 };
            Rc::new(Client::new(&world.host(&name), version, &resources))
        })
        .collect();
    let mut asking = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        // Over HTTP/1.1 only one request at a time is under way on a connection.
        let lanes = if client.version() == Version::Http1 { 1 } else { 3 };
        for lane in 0..world.size(&format!("http.lanes-{index}"), 1..=lanes) {
            let name = format!("client-{index}.{lane}");
            let requests = world.size(&format!("http.requests-{index}.{lane}"), 1..=3);
            let mut rng = world.rng(&name);
            let mut errands: Vec<Errand> = (0..requests)
                .map(|number| {
                    let body = format!("http.body-{index}.{lane}.{number}");
                    Errand::random(world.size(&body, 0..=BODY_BYTES_MAX), &mut rng)
                })
                .collect();
            // It is what costs most.
            if (index, lane) == (0, 0) && rng.ratio(1, 16) {
                errands.push(Errand::late(&mut rng));
            }
            asking.push(run_errands(client, name, errands, rng));
        }
    }
    all_within(&host, "the requests of client", asking).await?;
    let mut failed = 0;
    for client in &clients {
        failed += client.leave().await?;
    }
    // From here on nobody may be cut but by the server.
    world.eventually(|| true).await;
    let guests = Guests::arrive(&world, &resources).await?;
    let parting = world.host("guest").create_task(guests.part());
    let ended = within(&host, "the end of the server", end(&host, &server, &http, flaw)).await?;
    parting.await??;
    ensure!(ended || failed > 0, "a connection did not end that all was well with");
    Ok(())
}

/// Has one errand after the other done over a client's connection.
fn run_errands(
    client: &Rc<Client>,
    name: String,
    errands: Vec<Errand>,
    mut rng: Rng,
) -> Task<Result<(), Failure>> {
    let (client, lp) = (Rc::clone(client), client.event_loop().clone());
    lp.clone().create_named_task(name, async move {
        for errand in errands {
            lp.sleep(rng.duration(Duration::ZERO..Duration::from_millis(20))).await;
            within(&lp, "an answer", client.run(errand)).await??;
        }
        Ok(())
    })
}
