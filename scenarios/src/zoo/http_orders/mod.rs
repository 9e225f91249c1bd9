//! HTTP/1.1 over a kept connection: chunked bodies, and orders that are not executed twice.
//!
//! A client reads pages and places orders, one after the other, over one connection for as long as
//! it lasts; the server closes one that is idle. What may be asked for twice (`GET`) is asked for
//! until it is answered; what may not (`POST`) is asked for once, and if no answer comes nobody
//! knows whether it was done. Invariants: every page is read as it stands, every order is executed
//! at most once, and once if it was answered.
//!
//! It stands what breaks connections, and restarts of the server.
//!
//! | where | what |
//! | --- | --- |
//! | [`message`] | requests and answers on a stream |
//! | [`Bug`] | what others got wrong |

mod client;
pub mod message;
mod server;

use std::rc::Rc;
use std::time::Duration;

use sim_core::{Failure, FaultMix, Scenario, World};

use self::client::{Client, Method, Unanswered};
use self::server::{Orders, Server, page_body};
use crate::Violation;
use crate::ending::Ending;
use crate::patience::within;
use crate::service::stop_at;
use crate::violation::ensure;
use crate::zoo::RECONNECTING;

const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..10ms,loss=1%,dup=1%,reorder=1%")
    .streams(RECONNECTING)
    .cuts(1, Duration::from_secs(1))
    .crashes(&["server"], 1, Duration::from_millis(500))
    .within(Duration::from_millis(300));
/// Where pages and orders are.
const PAGES: &str = "/pages/";
const ORDERS: &str = "/orders/";
/// How long the client rests between requests, at most: longer than a connection may be idle.
const REST_MAX: Duration = Duration::from_millis(70);

/// What others got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Z03: the two bytes that end the size of a chunk are taken to come together.
    EndOfSizeInHalves,
    /// Z14: whatever is asked for over a kept connection that is then lost is asked for again.
    RetriesAll,
}

/// The scenario `http-orders`.
pub fn scenario() -> Scenario {
    specimen("http-orders", None)
}

/// The scenario with a bug: its invariants are to catch it.
pub fn with_bug(bug: Bug) -> Scenario {
    let id = match bug {
        Bug::EndOfSizeInHalves => "Z03",
        Bug::RetriesAll => "Z14",
    };
    specimen(id, Some(bug))
}

fn specimen(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "pages and orders over a kept connection: no order is executed twice";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let (ending, orders) = (Ending::default(), Orders::default());
    let (ends, log) = (ending.clone(), Rc::clone(&orders));
    world.boot("server", move |lp| {
        let (ending, orders) = (ends.clone(), Rc::clone(&log));
        async move {
            let make = move || Server::new(Rc::clone(&orders));
            let server = lp.create_server(("server", PORT), make).await?;
            stop_at(&ending, &lp, server).await
        }
    });

    let lp = world.host("client");
    let mut client = Client::new(&lp, bug);
    let mut rng = world.rng("requests");
    let mut answered = Vec::new();
    for number in 0..world.size("http.orders", 1..=4) {
        let page = rng.below(14);
        let path = format!("{PAGES}{page}");
        let answer = within(&lp, "a page", client.ask(Method::Get, &path)).await?;
        let answer = answer.map_err(violation)?;
        ensure!(answer.body == page_body(page), "a page was read that does not stand there");
        lp.sleep(rng.duration(Duration::ZERO..REST_MAX)).await;

        let path = format!("{ORDERS}{number}");
        match within(&lp, "an order", client.ask(Method::Post, &path)).await? {
            Ok(answer) => answered.push((number, answer.start)),
            Err(Unanswered::Unknown) => {}
            Err(why) => return Err(violation(why).into()),
        }
        lp.sleep(rng.duration(Duration::ZERO..REST_MAX)).await;
    }
    ending.give(&world).await;
    client.leave();

    let orders = orders.borrow();
    let twice = orders.values().filter(|times| **times > 1).count();
    ensure!(twice == 0, "{twice} orders were executed more than once");
    for (number, start) in answered {
        ensure!(start.contains(" 201 "), "an order was answered {start}");
        ensure!(orders.contains_key(&number), "an order was answered that was not executed");
    }
    Ok(())
}

/// What it means that something was not answered, and should have been.
fn violation(why: Unanswered) -> Violation {
    Violation::new(match why {
        Unanswered::Unknown => "the client gave up on a page".to_owned(),
        Unanswered::Malformed(error) => format!("an answer cannot be read: {error}"),
    })
}
