//! UDP echo with retries: a request that stays unanswered is sent again.
//!
//! The client numbers its requests and keeps a few under way. Each has a timer; when it fires the
//! same datagram is sent once more. Answers may come twice or in any order. Invariant: each request
//! is answered, by its own bytes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{
    Cx, DatagramProtocol, DatagramTransport, Failure, FaultMix, Loop, Rng, Scenario, Serving,
    Timer, World,
};

use crate::Violation;
use crate::patience::{all_within, within};
use crate::violation::ensure;

const PORT: u16 = 7000;
/// Fifty attempts outlast a partition of two seconds. There is no checksum: the simulator would be
/// found to deliver what it was told to damage.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=5%,dup=2%,reorder=2%")
    .cuts(1, Duration::from_secs(2))
    .within(Duration::from_millis(500));
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How often a request is sent before the client gives up.
const ATTEMPTS_MAX: u32 = 50;
/// How many requests are under way at once.
const UNDER_WAY_MAX: usize = 4;
/// The largest payload, so that a datagram with its number fits an Ethernet frame.
const PAYLOAD_BYTES_MAX: u64 = 1_400;
const NUMBER_BYTES: usize = 4;

/// The datagram transport of a callback.
type Datagrams<'a, P> = Cx<'a, P, DatagramTransport>;

/// Sends every datagram back to where it came from.
#[derive(Debug, Default)]
pub struct Echo {
    errors: u64,
}

impl Echo {
    /// How many sends and receives failed.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, cx: &mut Datagrams<'_, Self>, data: &[u8], from: SocketAddr) {
        // While answers wait to be sent, dropping the next ones is what a network would do too.
        if cx.is_writable() && cx.send_to(data, Some(from)).is_err() {
            self.errors += 1;
        }
    }

    fn error_received(&mut self, _cx: &mut Datagrams<'_, Self>, _error: io::Error) {
        self.errors += 1;
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Request {
    datagram: Vec<u8>,
    attempts: u32,
    /// Sends it again; dropped, so cancelled, with the request.
    _retry: Timer,
}

/// Asks for an echo of each payload, and closes its endpoint after the last answer.
#[derive(Debug)]
pub struct Client {
    /// Where requests go; `None` if the endpoint is connected.
    server: Option<SocketAddr>,
    /// The payloads that were not sent yet, with their numbers, the next one last.
    waiting: Vec<(u32, Vec<u8>)>,
    under_way: BTreeMap<u32, Request>,
    answered: usize,
    repeats: u64,
    violation: Option<Violation>,
}

impl Client {
    /// A client that asks `server` for each of `payloads`; `None` if its endpoint is connected.
    pub fn new(server: Option<SocketAddr>, payloads: Vec<Vec<u8>>) -> Self {
        let mut waiting: Vec<_> = (0..).zip(payloads).collect();
        waiting.reverse();
        Self {
            server,
            waiting,
            under_way: BTreeMap::new(),
            answered: 0,
            repeats: 0,
            violation: None,
        }
    }

    /// How many requests were sent again.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    fn pump(&mut self, cx: &mut Datagrams<'_, Self>) {
        while self.under_way.len() < UNDER_WAY_MAX && !cx.is_closing() {
            let Some((number, payload)) = self.waiting.pop() else { break };
            let datagram = [&number.to_be_bytes(), &payload[..]].concat();
            self.send(cx, number, datagram, 1);
        }
        if self.under_way.is_empty() {
            cx.close();
        }
    }

    fn send(
        &mut self,
        cx: &mut Datagrams<'_, Self>,
        number: u32,
        datagram: Vec<u8>,
        attempts: u32,
    ) {
        if let Err(error) = cx.send_to(&datagram, self.server) {
            return self.give_up(cx, format!("request {number} could not be sent: {error}"));
        }
        let retry = cx.call_later(RETRY_AFTER, move |this, cx| this.repeat(cx, number));
        self.under_way.insert(number, Request { datagram, attempts, _retry: retry });
    }

    fn repeat(&mut self, cx: &mut Datagrams<'_, Self>, number: u32) {
        let Some(Request { datagram, attempts, .. }) = self.under_way.remove(&number) else {
            return;
        };
        if attempts == ATTEMPTS_MAX {
            return self.give_up(cx, format!("request {number}: no answer to {attempts} attempts"));
        }
        self.repeats += 1;
        self.send(cx, number, datagram, attempts + 1);
    }

    fn give_up(&mut self, cx: &mut Datagrams<'_, Self>, text: String) {
        self.violation.get_or_insert(Violation::new(text));
        cx.abort();
    }

    fn verdict(&self, requests: usize) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        ensure!(self.answered == requests, "{} of {requests} requests answered", self.answered);
        Ok(())
    }
}

impl DatagramProtocol for Client {
    fn connection_made(&mut self, cx: &mut Datagrams<'_, Self>) {
        self.pump(cx);
    }

    fn datagram_received(&mut self, cx: &mut Datagrams<'_, Self>, data: &[u8], from: SocketAddr) {
        if self.server.is_some_and(|server| server != from) {
            return;
        }
        let number = data.first_chunk::<NUMBER_BYTES>().map(|bytes| u32::from_be_bytes(*bytes));
        let Some(request) = number.and_then(|number| self.under_way.remove(&number)) else {
            // An answer to a request that was answered before: it was sent twice.
            return;
        };
        if request.datagram != data {
            let text = format!("an answer of {} bytes differs from its request", data.len());
            return self.give_up(cx, text);
        }
        self.answered += 1;
        self.pump(cx);
    }
}

/// The scenario `udp-echo`.
pub fn scenario() -> Scenario {
    let summary = "numbered datagrams come back; those that are lost are sent again";
    Scenario::new("udp-echo", summary, run)
        .serve(|lp, listen| async move {
            let conn = lp.datagram().local(listen).bind(Echo::default).await?;
            let local = conn.transport().sockname().unwrap_or(listen);
            Ok(Serving::new(local, move || async move {
                conn.transport().abort();
                // An endpoint that is aborted ends without an error.
                let _ = conn.closed().await;
            }))
        })
        .faults(FAULTS)
}

async fn run(world: World) -> Result<(), Failure> {
    let host = world.host("server");
    let server = host.datagram().local(("server", PORT)).bind(Echo::default).await?;

    let clients = world.size("udp-echo.clients", 1..=4);
    let asks = (0..clients).map(|index| {
        let name = format!("client-{index}");
        let payloads = payloads(world.size("udp-echo.requests", 1..=40), &mut world.rng(&name));
        let lp = world.host(&name);
        lp.clone().create_named_task(name, ask(lp, payloads))
    });
    let asks: Vec<_> = asks.collect();
    all_within(&host, "the last answer to client", asks).await?;

    server.transport().close();
    within(&host, "the end of the server's endpoint", server.closed()).await??;
    Ok(())
}

fn payloads(requests: u64, rng: &mut Rng) -> Vec<Vec<u8>> {
    let random = |_| {
        let mut payload = vec![0; rng.below(PAYLOAD_BYTES_MAX + 1) as usize];
        rng.fill(&mut payload);
        payload
    };
    (0..requests).map(random).collect()
}

async fn ask(lp: Loop, payloads: Vec<Vec<u8>>) -> Result<(), Failure> {
    let requests = payloads.len();
    let client = || Client::new(None, payloads);
    let conn = lp.datagram().remote(("server", PORT)).bind(client).await?;
    let ended = conn.closed().await;
    conn.with(|client, _| client.verdict(requests))?;
    ended.map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    fn datagram(number: u32, payload: &[u8]) -> Vec<u8> {
        [&number.to_be_bytes(), payload].concat()
    }

    fn server() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], PORT))
    }

    #[test]
    fn answers_go_back_to_the_sender_and_are_dropped_while_the_queue_is_full() {
        let mut peer = testing::drive_datagrams(Echo::default(), 1);
        peer.with(|_, cx| cx.set_write_buffer_limits(sim_core::WriteBufferLimits::from_high(0)))
            .unwrap();
        for text in [b"one", b"two", b"six"] {
            peer.feed(text, server());
        }
        peer.take(9);
        let sent = [(b"one".to_vec(), Some(server())), (b"two".to_vec(), Some(server()))];
        assert_eq!(peer.take_sent(), sent);
    }

    fn client(payloads: &[&[u8]]) -> testing::DatagramPeer<Client> {
        let payloads = payloads.iter().map(|payload| payload.to_vec()).collect();
        testing::drive_datagrams(Client::new(Some(server()), payloads), usize::MAX)
    }

    #[test]
    fn a_request_is_repeated_until_it_is_answered() {
        let mut peer = client(&[b"a"]);
        peer.advance(RETRY_AFTER - Duration::from_nanos(1));
        assert_eq!(peer.take_sent().len(), 1);
        peer.advance(Duration::from_nanos(1));
        assert_eq!(peer.take_sent(), [(datagram(0, b"a"), Some(server()))]);
        peer.feed(&datagram(0, b"a"), server());
        peer.advance(10 * RETRY_AFTER);
        assert!(peer.take_sent().is_empty());
        assert_eq!(peer.with(|client, _| (client.repeats(), client.verdict(1))), (1, Ok(())));
    }

    #[test]
    fn an_answer_frees_the_place_of_the_next_request() {
        let mut peer = client(&[b"", b"1", b"2", b"3", b"4"]);
        assert_eq!(peer.take_sent().len(), UNDER_WAY_MAX);
        peer.feed(&datagram(2, b"2"), server());
        assert_eq!(peer.take_sent(), [(datagram(4, b"4"), Some(server()))]);
        peer.feed(&datagram(2, b"2"), server());
        assert!(peer.take_sent().is_empty(), "a second answer counts for nothing");
    }

    #[test]
    fn another_answer_and_no_answer_at_all_are_violations() {
        let mut peer = client(&[b"a"]);
        peer.feed(&datagram(0, b"b"), server());
        assert!(peer.with(|client, _| client.verdict(1)).is_err());

        let mut peer = client(&[b"a"]);
        peer.advance(RETRY_AFTER * ATTEMPTS_MAX);
        let violation = peer.with(|client, cx| {
            assert!(cx.is_closing());
            client.verdict(1).unwrap_err()
        });
        assert!(violation.to_string().contains("no answer to 50 attempts"), "{violation}");
    }
}
