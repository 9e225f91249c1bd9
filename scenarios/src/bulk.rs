//! Bulk: bodies of some MiB, one way, several at once.
//!
//! Each sender writes its body as fast as it is let, ends its stream, and waits for the receipt. What
//! passed in a second is a mark of the trace, `bulk.goodput`. Invariants: every body arrives whole,
//! whatever the links lose; and while one arrives, the others go on.
//!
//! It stands anything that TCP stands: loss, reordering, and partitions of less than a quarter of an
//! hour. A connection that is lost is not made again.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Failure, FaultMix, Loop, LoopFuture, Protocol, Rng, Scenario, World};

use crate::body::{Body, goodput};
use crate::patience::within;
use crate::upload::{Receipt, Receiver};
use crate::violation::ensure;
use crate::{Endings, Progress};

const PORT: u16 = 7000;
const MIB: u64 = 1 << 20;
/// How much has to pass within the scenario's patience.
const STEP_BYTES: u64 = 64 << 10;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,dup=1%,reorder=1%")
    .cuts(2, Duration::from_secs(3))
    .within(Duration::from_secs(2));

/// One line of the protocol that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flaw {
    /// It is as it should be.
    #[default]
    None,
    /// A sender that was paused does not go on.
    NoResume,
    /// A sender makes a chunk before it asks whether it may write, and drops it if it may not.
    DropWhenFull,
}

/// Sends a body, and keeps the receipt.
#[derive(Debug)]
struct Sender {
    body: Body,
    /// How many bytes were written, or will not be.
    passed: Progress,
    answer: Vec<u8>,
    flaw: Flaw,
}

impl Sender {
    fn new(bytes: u64, rng: &mut Rng, flaw: Flaw) -> Self {
        Self { body: Body::new(bytes, rng), passed: Progress::default(), answer: Vec::new(), flaw }
    }

    fn pump(&mut self, cx: &mut Cx<'_, Self>) {
        while cx.is_writable() || self.flaw == Flaw::DropWhenFull {
            let Some(chunk) = self.body.next() else {
                return cx.write_eof();
            };
            self.passed.add(chunk.len() as u64);
            if cx.is_writable() {
                cx.write(chunk);
            } else {
                return;
            }
        }
    }

    /// Completes when `bytes` bytes were written, or the connection is lost.
    fn passes(&mut self, lp: &Loop, bytes: u64) -> LoopFuture<()> {
        self.passed.reaches(lp, bytes)
    }
}

impl Protocol for Sender {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.pump(cx);
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        if self.flaw != Flaw::NoResume {
            self.pump(cx);
        }
    }

    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.answer.extend_from_slice(data);
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        self.passed.add(self.body.left());
    }
}

/// The scenario `bulk`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "bodies of some MiB arrive whole, several at once, as fast as the links let them";
    Scenario::new("bulk", summary, move |world| run(world, flaw))
        .serve(|lp, listen| async move {
            let server = lp.create_server(listen, Receiver::default).await?;
            Ok(server.into())
        })
        .faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let host = world.host("server");
    let endings = Rc::new(Endings::default());
    let noted = Rc::clone(&endings);
    let server = host.create_server(("server", PORT), move || Receiver::watched(&noted)).await?;

    let senders = world.size("bulk.senders", 1..=3);
    let tasks = (0..senders).map(|index| {
        let name = format!("sender-{index}");
        let lp = world.host(&name);
        let bytes = MIB * world.size(&format!("bulk.mib-{index}"), 1..=4);
        let sender = Sender::new(bytes, &mut world.rng(&name), flaw);
        lp.clone().create_named_task(name, send(lp, bytes, sender))
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    server.close();
    within(&host, "the end of the server's connections", server.wait_closed()).await?;
    endings.expect_clean(senders as usize)?;
    Ok(())
}

/// Sends a body over a connection of its own.
async fn send(lp: Loop, bytes: u64, sender: Sender) -> Result<(), Failure> {
    let connecting = lp.create_connection(("server", PORT), || sender);
    let conn = within(&lp, "the connection", connecting).await??;
    let begun = lp.time();
    for step in (STEP_BYTES..=bytes).step_by(STEP_BYTES as usize) {
        let passed = conn.with(|sender, cx| sender.passes(cx.event_loop(), step));
        within(&lp, "the next step of a body", passed).await??;
    }
    let ended = within(&lp, "the receipt", conn.closed()).await?;
    let (sent, got) =
        conn.with(|sender, _| (Receipt::of(sender.body.digest()), Receipt::decode(&sender.answer)));
    ended?;
    ensure!(
        sent.bytes == bytes && got == Some(sent),
        "{bytes} bytes were to be sent, and {sent:?} were, but the receipt is {got:?}"
    );
    lp.mark("bulk.goodput", goodput(bytes, lp.time() - begun));
    Ok(())
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;
    use crate::Digest;

    fn sender(flaw: Flaw) -> Sender {
        Sender::new(MIB, &mut Rng::from_seed([5; 32]), flaw)
    }

    /// What arrives of a body through a network that takes what it is given piece by piece.
    fn arrived(flaw: Flaw) -> (Vec<u8>, u64, u64) {
        let mut peer = testing::drive_with_window(sender(flaw), 0);
        let mut bytes = Vec::new();
        for _ in 0..64 {
            peer.take(32 << 10);
            bytes.extend(peer.take_written());
        }
        let (left, made) =
            peer.with(|sender, _| (sender.body.left(), sender.body.digest().finish()));
        (bytes, left, made)
    }

    #[test]
    fn a_body_is_sent_as_there_is_room() {
        let (bytes, left, made) = arrived(Flaw::None);
        assert_eq!((bytes.len() as u64, left, Digest::of(&bytes)), (MIB, 0, made));
    }

    #[test]
    fn the_flaws_send_less() {
        let (bytes, left, _) = arrived(Flaw::NoResume);
        assert!((bytes.len() as u64) < MIB && left > 0);
        let (bytes, left, _) = arrived(Flaw::DropWhenFull);
        assert!((bytes.len() as u64) < MIB && left == 0);
    }
}
