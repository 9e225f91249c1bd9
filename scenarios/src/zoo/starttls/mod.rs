//! A line protocol that begins in plain text and goes on in records: `STARTTLS`.
//!
//! A client puts a message and reads a list, line by line, over a layer of records that both sides
//! have a key for. Another host has no key; it asks for the layer and sends a command that is none
//! of its records. A server that waits too long closes the connection without a word; the client
//! comes again and goes on where it was. Invariants: what is kept was put by who has the key, and
//! the list is whole when it has ended.
//!
//! It stands what breaks connections, and restarts of the server: what is kept is durable.
//!
//! | where | what |
//! | --- | --- |
//! | [`record`] | the layer: a toy that tells what was protected from what was not |
//! | [`Bug`] | what others got wrong |

mod client;
mod lines;
pub mod record;
mod server;

use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Failure, FaultMix, Loop, Protocol, Scenario, World};

use self::client::{Client, Done};
use self::server::{Mailbox, Server};
use crate::ending::Ending;
use crate::patience::within;
use crate::service::stop_at;
use crate::violation::ensure;
use crate::zoo::RECONNECTING;

const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..5ms,loss=1%,dup=1%,reorder=1%")
    .streams(RECONNECTING)
    .cuts(1, Duration::from_secs(1))
    .crashes(&["server"], 1, Duration::from_millis(500))
    .within(Duration::from_millis(100));
/// What client and server share: the keys of the two directions.
const TO_SERVER: record::Key = 0x5ea1_ed00;
const TO_CLIENT: record::Key = 0x5ea1_ed01;
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How long the client waits, at most, before it connects again.
const RETRY_MAX: Duration = Duration::from_millis(20);
/// How long the host without a key waits before it goes on behind the line: until that was read.
const INJECTION_DELAY: Duration = Duration::from_millis(10);
const MESSAGE: &str = "from who has the key";

/// What others got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Z08: plain text behind the line that begins the layer is taken for what came through it.
    KeepsPlaintext,
    /// Z09: the end of the connection is taken for the end of what the layer carries.
    EndWithoutNotify,
}

/// The scenario `starttls-lines`.
pub fn scenario() -> Scenario {
    specimen("starttls-lines", None)
}

/// The scenario with a bug: its invariants are to catch it.
pub fn with_bug(bug: Bug) -> Scenario {
    let id = match bug {
        Bug::KeepsPlaintext => "Z08",
        Bug::EndWithoutNotify => "Z09",
    };
    specimen(id, Some(bug))
}

fn specimen(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "lines, then lines in records: nothing is taken for protected that was not";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let list_lines = world.size("starttls.list", 2..=4);
    let (ending, mailbox) = (Ending::default(), Mailbox::default());
    let (ends, kept) = (ending.clone(), Rc::clone(&mailbox));
    world.boot("server", move |lp| {
        let (ending, mailbox) = (ends.clone(), Rc::clone(&kept));
        async move {
            let make = move || Server::new(list_lines, Rc::clone(&mailbox), bug);
            let server = lp.create_server(("server", PORT), make).await?;
            stop_at(&ending, &lp, server).await
        }
    });

    let mallory = world.host("mallory");
    let injecting = mallory.create_named_task("inject", inject(mallory.clone()));
    let lp = world.host("client");
    let done = within(&lp, "the end of the list", work(&lp, bug)).await??;
    within(&mallory, "the end of the injection", injecting).await??;
    ending.give(&world).await;

    ensure!(done.lines == list_lines, "a list has ended with {} of its lines", done.lines);
    let mailbox = mailbox.borrow();
    ensure!(mailbox.contains(MESSAGE), "a message was lost that the server said it keeps");
    ensure!(mailbox.len() == 1, "a command was executed that nobody sent in a record");
    Ok(())
}

/// Puts a message and reads the list, over one connection after another.
async fn work(lp: &Loop, bug: Option<Bug>) -> Result<Done, Failure> {
    let mut rng = lp.rng("starttls.client");
    let mut done = Done::default();
    while !done.ended {
        let before = done.clone();
        let connecting =
            lp.create_connection(("server", PORT), move || Client::new(MESSAGE, before, bug));
        if let Ok(Ok(conn)) = lp.timeout(CONNECT_MAX, connecting).await {
            // How the connection ended makes no difference; how the list ended does.
            let _ = conn.closed().await;
            done = conn.with(|client, _| client.done())?;
        }
        lp.sleep(rng.duration(Duration::from_millis(1)..RETRY_MAX)).await;
    }
    Ok(done)
}

/// Who has no key, and listens to nothing.
struct Injector;

impl Protocol for Injector {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(b"STARTTLS\r\n");
        cx.call_later(INJECTION_DELAY, |_, cx| {
            cx.write(b"PUT from who has no key\r\n");
        })
        .detach();
    }

    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
}

/// Sends a command behind the line that begins the layer, as it is.
async fn inject(lp: Loop) {
    let connecting = lp.create_connection(("server", PORT), || Injector);
    if let Ok(Ok(conn)) = lp.timeout(CONNECT_MAX, connecting).await {
        // The server ends it; nothing depends on how, or on hearing of it.
        if lp.timeout(CONNECT_MAX, conn.closed()).await.is_err() {
            conn.transport().abort();
        }
    }
}
