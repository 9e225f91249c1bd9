//! A sliding window with flow control, over bad datagrams.
//!
//! One host sends a body in numbered frames. The other acknowledges each, cumulatively, and says how far
//! it has room: its application reads now and then. Frames that are not acknowledged are repeated, the
//! oldest first, by one timer; the same timer asks again when the room is used up, because the news of
//! more may be lost. Invariants: what is read is what was sent, and all of it is.
//!
//! | where | what |
//! | --- | --- |
//! | [`Frame`] | what is sent |
//! | [`Sender`], [`Receiver`] | the two sides: values without I/O or clock |
//! | [`Source`], [`Sink`] | these with sockets and timers |
//! | [`Bug`] | the sender as it was shipped |

mod endpoint;
mod frame;
mod receiver;
mod sender;

use std::time::Duration;

use sim_core::{Failure, FaultMix, Scenario, World};

pub use self::endpoint::{Sink, Source};
pub use self::frame::Frame;
pub use self::receiver::Receiver;
pub use self::sender::Sender;
use crate::patience::within;
use crate::violation::ensure;

const PORT: u16 = 7000;
/// Hosts do not crash: what was acknowledged is in memory.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=5%,dup=2%,reorder=2%")
    .cuts(2, Duration::from_secs(3))
    .within(Duration::from_millis(300));
/// How many frames may be on their way.
const WINDOW: u32 = 4;
/// For how many frames the receiver has room that its application has not read.
const ROOM: u32 = 8;
/// The bytes of a frame's payload; the last one has fewer, or none.
const PAYLOAD_BYTES: usize = 64;

/// What senders got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// A sender that has no room left, and nothing on its way, does not ask for more.
    ///
    /// It is enough to lose one acknowledgement: the one that tells of room after there was none. The
    /// receiver tells it once, and both wait. With none lost it comes.
    NoProbe,
    /// An acknowledgement of nothing new takes the timer away.
    ///
    /// It is enough to lose one frame that others follow: they are acknowledged as nothing new, and when
    /// the window is full nothing sets the timer again. With none lost every acknowledgement of a frame
    /// is of something new.
    TimerTakenAway,
    /// How much is acknowledged is counted round the window, so that all of it looks like nothing.
    ///
    /// It is enough to lose the first frame of a full window: when it comes at last, one acknowledgement
    /// is for all. It is repeated for ever, since all later ones are the same. With none lost each
    /// frame is acknowledged as it comes, so one at a time.
    FullLooksEmpty,
}

/// The scenario `window`.
pub fn scenario() -> Scenario {
    build("window", None)
}

/// The scenario with a bug, which its invariants are to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    let name = match bug {
        Bug::NoProbe => "Z19",
        Bug::TimerTakenAway => "Z21",
        Bug::FullLooksEmpty => "Z22",
    };
    build(name, Some(bug))
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "a sliding window with flow control: a slow reader gets all of a body";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let (left, right) = (world.host("sender"), world.host("receiver"));
    let sink = right.datagram().local(("receiver", PORT)).bind(Sink::default).await?;
    let frames = world.size("window.frames", 20..=40) as usize;
    let mut body = vec![0; frames * PAYLOAD_BYTES - 1];
    world.rng("body").fill(&mut body);
    let source = || Source::new(None, Sender::new(&body, bug));
    let source = left.datagram().remote(("receiver", PORT)).bind(source).await?;

    let read = sink.with(|sink, cx| sink.reads_all(cx.event_loop()));
    within(&right, "the end of the body", read).await??;
    ensure!(
        sink.with(|sink, _| sink.body() == body),
        "the body that was read is another than the one that was sent"
    );
    let acknowledged = source.with(|source, cx| source.sends_all(cx.event_loop()));
    within(&left, "the acknowledgement of the end", acknowledged).await??;
    source.transport().close();
    source.closed().await?;
    sink.transport().close();
    sink.closed().await?;
    Ok(())
}
