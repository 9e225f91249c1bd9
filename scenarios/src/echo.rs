//! TCP echo: bytes come back unchanged, and a half-close ends it well.
//!
//! Clients send messages of many sizes, some ahead of the answers, and close their sending half
//! after the last. Some read nothing at first, so that the server has to stop reading too. The
//! server echoes what is still on its way and closes. Invariants: the same bytes, no error on
//! either side, and no connection left on the server.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Failure, FaultMix, Loop, Protocol, Rng, Scenario, World};

use crate::patience::{all_within, within};
use crate::violation::ensure;
use crate::{Endings, Violation};

const PORT: u16 = 7000;
/// What TCP stands. The ends of connections are judged, so that a crash would be one.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=1%,reorder=1%");
/// How many connections may wait to be accepted: deployed, it meets many at once.
const BACKLOG: u32 = 1024;
const MESSAGE_BYTES_MAX: u64 = 60_000;
/// The size of the buffers between server and client: less than what a client may say ahead.
const SOCKET_BUFFER_BYTES: usize = 16 << 10;
/// How long a client that rests reads nothing.
const REST: Duration = Duration::from_millis(20);

/// Sends back what it receives. While the peer does not take its answers it reads no further, so a
/// connection costs a bounded amount of memory.
#[derive(Debug, Default)]
pub struct Echo {
    endings: Option<Rc<Endings>>,
}

impl Echo {
    /// An echo that notes how its connection ended.
    pub fn watched(endings: &Rc<Endings>) -> Self {
        Self { endings: Some(Rc::clone(endings)) }
    }
}

impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        cx.write(data);
    }

    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        cx.pause_reading();
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        cx.resume_reading();
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        if let Some(endings) = &self.endings {
            endings.note(error.as_ref());
        }
    }
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    bytes: Vec<u8>,
    /// Where each message ends in `bytes`.
    ends: Vec<usize>,
    /// How many messages may be under way at once.
    ahead: usize,
    /// Whether the client reads nothing for a while.
    rests: bool,
}

impl Script {
    /// Random messages of `sizes` bytes, up to `ahead` of them under way at once.
    pub fn new(sizes: impl IntoIterator<Item = usize>, ahead: usize, rng: &mut Rng) -> Self {
        let mut end = 0;
        let ends: Vec<usize> = sizes
            .into_iter()
            .map(|size| {
                end += size;
                end
            })
            .collect();
        let mut bytes = vec![0; end];
        rng.fill(&mut bytes);
        Self { bytes, ends, ahead: ahead.max(1), rests: false }
    }

    fn random(messages: u64, rng: &mut Rng) -> Self {
        let sizes: Vec<usize> = (0..messages)
            .map(|_| {
                // Every order of magnitude, one byte included.
                let bound = [2, 100, 2_000, MESSAGE_BYTES_MAX][rng.below(4) as usize];
                rng.range(1..bound) as usize
            })
            .collect();
        // Who rests says everything meanwhile.
        let rests = rng.ratio(1, 3);
        let ahead = if rests { sizes.len() } else { rng.range(1..5) as usize };
        Self { rests, ..Self::new(sizes, ahead, rng) }
    }
}

/// Says a [`Script`], and compares what comes back.
pub struct Client {
    script: Script,
    /// How many messages were written.
    sent: usize,
    /// How many bytes came back.
    echoed: usize,
    violation: Option<Violation>,
}

impl Client {
    /// A client that says `script`.
    pub fn new(script: Script) -> Self {
        Self { script, sent: 0, echoed: 0, violation: None }
    }

    fn pump(&mut self, cx: &mut Cx<'_, Self>) {
        let answered = self.script.ends.partition_point(|&end| end <= self.echoed);
        while cx.is_writable()
            && self.sent < self.script.ends.len()
            && self.sent < answered + self.script.ahead
        {
            let start = self.sent.checked_sub(1).map_or(0, |before| self.script.ends[before]);
            cx.write(&self.script.bytes[start..self.script.ends[self.sent]]);
            self.sent += 1;
        }
        if self.sent == self.script.ends.len() {
            cx.write_eof();
        }
    }

    /// Holds when everything came back.
    ///
    /// # Errors
    ///
    /// The first difference, or how much is missing.
    pub fn verdict(&self) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        let total = self.script.bytes.len();
        ensure!(self.echoed == total, "{} of {total} bytes came back", self.echoed);
        Ok(())
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if self.script.rests {
            cx.pause_reading();
            cx.call_later(REST, |_, cx| cx.resume_reading()).detach();
        }
        self.pump(cx);
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        self.pump(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        let rest = &self.script.bytes[self.echoed..];
        if !rest.starts_with(data) {
            let text = format!("the {} bytes echoed at {} differ", data.len(), self.echoed);
            self.violation = Some(Violation::new(text));
            return cx.abort();
        }
        self.echoed += data.len();
        self.pump(cx);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("sent", &self.sent)
            .field("echoed", &self.echoed)
            .finish_non_exhaustive()
    }
}

/// The scenario `echo`.
pub fn scenario() -> Scenario {
    let summary = "clients send messages of many sizes and half-close; the same bytes come back";
    Scenario::new("echo", summary, run)
        .serve(|lp, listen| async move {
            let server = lp.server().backlog(BACKLOG).bind(listen, Echo::default).await?;
            Ok(server.into())
        })
        .faults(FAULTS)
}

async fn run(world: World) -> Result<(), Failure> {
    let host = world.host("server");
    let endings = Rc::new(Endings::default());
    let noted = Rc::clone(&endings);
    let server = host
        .server()
        .send_buffer(SOCKET_BUFFER_BYTES)
        .bind(("server", PORT), move || Echo::watched(&noted))
        .await?;

    let clients = world.size("echo.clients", 1..=6);
    let talks = (0..clients).map(|index| {
        let name = format!("client-{index}");
        let script = Script::random(world.size("echo.messages", 1..=12), &mut world.rng(&name));
        let lp = world.host(&name);
        lp.clone().create_named_task(name, talk(lp, script))
    });
    let talks: Vec<_> = talks.collect();
    all_within(&host, "the end of client", talks).await?;

    server.close();
    within(&host, "the end of the server's connections", server.wait_closed()).await?;
    let left = server.connection_count();
    ensure!(left == 0, "{left} connections are left on the closed server");
    endings.expect_clean(clients as usize)?;
    Ok(())
}

async fn talk(lp: Loop, script: Script) -> Result<(), Failure> {
    let conn = lp
        .connection()
        .receive_buffer(SOCKET_BUFFER_BYTES)
        .connect(("server", PORT), || Client::new(script))
        .await?;
    let ended = conn.closed().await;
    conn.with(|client, _| client.verdict())?;
    ended.map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    fn script(sizes: &[usize], ahead: usize) -> Script {
        Script::new(sizes.iter().copied(), ahead, &mut Rng::from_seed([3; 32]))
    }

    #[test]
    fn what_is_on_its_way_at_the_end_of_the_stream_is_echoed_before_the_close() {
        let mut peer = testing::drive_with_window(Echo::default(), 2);
        peer.feed(b"hello");
        peer.feed_eof();
        assert!(!peer.is_lost());
        peer.take(3);
        assert_eq!(peer.take_written(), b"hello");
        assert!(matches!(peer.lost(), Some(None)));
    }

    #[test]
    fn an_echo_whose_answers_are_not_taken_stops_reading() {
        let mut peer = testing::drive_with_window(Echo::default(), 0);
        let high = peer.transport().write_buffer_limits().high;
        peer.feed(&vec![1; high + 1]);
        assert!(!peer.transport().is_reading());
        peer.take(high + 1);
        assert!(peer.transport().is_reading());
    }

    #[test]
    fn a_client_keeps_no_more_messages_under_way_than_it_may() {
        let script = script(&[3, 4, 5], 2);
        let body = script.bytes.clone();
        let mut peer = testing::drive(Client::new(script));
        assert_eq!(peer.take_written(), body[..7]);
        peer.feed(&body[..2]);
        assert!(peer.take_written().is_empty() && !peer.is_eof_written());
        peer.feed(&body[2..3]);
        assert_eq!(peer.take_written(), body[7..]);
        assert!(peer.is_eof_written());
        peer.feed(&body[3..]);
        peer.feed_eof();
        assert!(peer.is_lost());
        assert_eq!(peer.with(|client, _| client.verdict()), Ok(()));
    }

    #[test]
    fn a_changed_a_missing_and_a_surplus_byte_are_violations() {
        let script = script(&[8], 1);
        let body = script.bytes.clone();
        let verdict_on = |echo: &[u8]| {
            let mut peer = testing::drive(Client::new(script.clone()));
            peer.feed(echo);
            peer.feed_eof();
            peer.with(|client, _| client.verdict())
        };
        assert_eq!(verdict_on(&body), Ok(()));
        assert!(verdict_on(&body[..7]).is_err());
        assert!(verdict_on(&[&body[..], b"x"].concat()).is_err());
        let mut changed = body;
        changed[5] ^= 1;
        assert!(verdict_on(&changed).is_err());
    }
}
