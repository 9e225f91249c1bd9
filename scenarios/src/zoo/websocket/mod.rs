//! WebSocket frames: messages there and back, and an end that both sides agree on.
//!
//! A client sends messages of lengths that need one, three or nine bytes of header for it, masked;
//! the server sends each back, not masked. Then they close: a close frame each way, and the end of
//! the connection. Invariants: each message comes back as it was, in order, and the connection ends
//! as both wanted.
//!
//! It stands what TCP makes up for, and reads that end anywhere. There is no second connection.
//!
//! | where | what |
//! | --- | --- |
//! | [`frame`] | frames on a stream |
//! | [`Bug`] | what others got wrong |

pub mod frame;

use std::io;
use std::time::Duration;

use sim_core::{Cx, Failure, FaultMix, Protocol, Rng, Scenario, World};

use self::frame::{Decoder, Opcode, encode};
use crate::patience::within;
use crate::violation::ensure;
use crate::{Progress, Violation};

const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..10ms,loss=2%,dup=1%,reorder=1%")
    .streams(FaultMix::HARMLESS)
    .cuts(1, Duration::from_secs(2))
    .within(Duration::from_millis(100));
/// How many messages are under way at once.
const AHEAD: usize = 2;
/// Close codes: all is said, and the peer does not speak this protocol.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;

/// What others got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Z01: the two bytes that begin a frame are taken to come together.
    AtomicStart,
    /// Z02: a length of 0 stands for a header that was not read yet.
    LengthAsState,
}

/// The scenario `websocket`.
pub fn scenario() -> Scenario {
    specimen("websocket", None)
}

/// The scenario with a bug: its invariants are to catch it.
pub fn with_bug(bug: Bug) -> Scenario {
    let id = match bug {
        Bug::AtomicStart => "Z01",
        Bug::LengthAsState => "Z02",
    };
    specimen(id, Some(bug))
}

fn specimen(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "messages in WebSocket frames come back whole, wherever reads end";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

/// The side that sends every message back.
#[derive(Debug)]
struct Server {
    decoder: Decoder,
}

impl Protocol for Server {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if self.decoder.feed(data).is_err() {
            cx.write(&encode(Opcode::Close, &PROTOCOL_ERROR.to_be_bytes(), None));
            return cx.close();
        }
        while let Some(frame) = self.decoder.poll() {
            cx.write(&encode(frame.opcode, &frame.payload, None));
            if frame.opcode == Opcode::Close {
                return cx.close();
            }
        }
    }
}

/// The side that has something to say.
#[derive(Debug)]
struct Client {
    messages: Vec<Vec<u8>>,
    sent: usize,
    echoed: usize,
    /// 1 when the last message came back, or nothing comes any more.
    done: Progress,
    decoder: Decoder,
    masks: Rng,
    /// How the server closed.
    closed: Option<u16>,
    violation: Option<Violation>,
}

impl Client {
    fn new(messages: Vec<Vec<u8>>, masks: Rng) -> Self {
        Self {
            messages,
            sent: 0,
            echoed: 0,
            done: Progress::default(),
            decoder: Decoder::of_server(),
            masks,
            closed: None,
            violation: None,
        }
    }

    fn pump(&mut self, cx: &Cx<'_, Self>) {
        while self.sent < self.messages.len().min(self.echoed + AHEAD) {
            let mask = (self.masks.next_u64() as u32).to_be_bytes();
            cx.write(&encode(Opcode::Binary, &self.messages[self.sent], Some(mask)));
            self.sent += 1;
        }
    }

    /// Says that this is all.
    fn close(&mut self, cx: &Cx<'_, Self>) {
        let mask = (self.masks.next_u64() as u32).to_be_bytes();
        cx.write(&encode(Opcode::Close, &NORMAL.to_be_bytes(), Some(mask)));
    }

    fn verdict(&self) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        let (echoed, all) = (self.echoed, self.messages.len());
        ensure!(echoed == all, "{echoed} of {all} messages came back");
        ensure!(self.closed == Some(NORMAL), "the server did not close as it was told to");
        Ok(())
    }

    fn violate(&mut self, cx: &Cx<'_, Self>, text: String) {
        self.violation.get_or_insert(Violation::new(text));
        cx.abort();
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.pump(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if let Err(error) = self.decoder.feed(data) {
            return self.violate(cx, error.to_string());
        }
        while let Some(frame) = self.decoder.poll() {
            if frame.opcode == Opcode::Close {
                self.closed = frame.payload.first_chunk().copied().map(u16::from_be_bytes);
                continue;
            }
            if self.messages.get(self.echoed) != Some(&frame.payload) {
                return self.violate(cx, format!("message {} came back as another", self.echoed));
            }
            self.echoed += 1;
            if self.echoed == self.messages.len() {
                self.done.add(1);
            }
        }
        self.pump(cx);
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        self.done.add(1);
    }
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let (host, lp) = (world.host("server"), world.host("client"));
    let server = host
        .create_server(("server", PORT), move || Server { decoder: Decoder::new(true, bug) })
        .await?;

    let mut rng = world.rng("messages");
    let messages = (0..world.size("websocket.messages", 2..=6)).map(|index| {
        // The first needs a length of its own.
        let bytes = if index == 0 { 126 } else { [0, 1, 125, 200, 300][rng.below(5) as usize] };
        let mut payload = vec![0; bytes];
        rng.fill(&mut payload);
        payload
    });
    let messages: Vec<_> = messages.collect();
    let masks = lp.rng("masks");
    let connecting = lp.create_connection(("server", PORT), || Client::new(messages, masks));
    let conn = within(&lp, "the connection", connecting).await??;
    let done = conn.with(|client, cx| client.done.reaches(cx.event_loop(), 1));
    within(&lp, "the last message", done).await??;
    conn.with(|client, cx| client.close(cx));
    let ended = within(&lp, "the end of the connection", conn.closed()).await?;
    conn.with(|client, _| client.verdict())?;
    ended?;

    server.close();
    within(&host, "the end of the server's connection", server.wait_closed()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    #[test]
    fn the_server_sends_back_what_it_gets_and_closes_when_it_is_told_to() {
        let mut peer = testing::drive(Server { decoder: Decoder::of_client() });
        let mask = Some([1, 2, 3, 4]);
        peer.feed(&encode(Opcode::Binary, b"hello", mask));
        assert_eq!(peer.take_written(), encode(Opcode::Binary, b"hello", None));
        peer.feed(&encode(Opcode::Close, &NORMAL.to_be_bytes(), mask));
        assert_eq!(peer.take_written(), encode(Opcode::Close, &NORMAL.to_be_bytes(), None));
        assert!(matches!(peer.lost(), Some(None)));
    }

    #[test]
    fn who_does_not_mask_is_told_off() {
        let mut peer = testing::drive(Server { decoder: Decoder::of_client() });
        peer.feed(&encode(Opcode::Binary, b"hello", None));
        let told = encode(Opcode::Close, &PROTOCOL_ERROR.to_be_bytes(), None);
        assert_eq!(peer.take_written(), told);
    }

    fn client(messages: &[&[u8]]) -> testing::Peer<Client> {
        let messages = messages.iter().map(|message| message.to_vec()).collect();
        testing::drive(Client::new(messages, Rng::from_seed([1; 32])))
    }

    #[test]
    fn the_client_is_content_with_its_messages_and_a_normal_end() {
        let mut peer = client(&[b"one"]);
        peer.feed(&encode(Opcode::Binary, b"one", None));
        peer.with(|client, cx| client.close(cx));
        peer.feed(&encode(Opcode::Close, &NORMAL.to_be_bytes(), None));
        peer.feed_eof();
        assert_eq!(peer.with(|client, _| client.verdict()), Ok(()));
    }

    #[test]
    fn another_message_and_an_early_end_are_violations() {
        let mut other = client(&[b"one"]);
        other.feed(&encode(Opcode::Binary, b"two", None));
        assert!(other.with(|client, _| client.verdict()).is_err());
        let mut early = client(&[b"one", b"two"]);
        early.feed(&encode(Opcode::Binary, b"one", None));
        early.feed(&encode(Opcode::Close, &PROTOCOL_ERROR.to_be_bytes(), None));
        early.feed_eof();
        assert!(early.with(|client, _| client.verdict()).is_err());
    }
}
