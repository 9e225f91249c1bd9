//! A DNS stub resolver over UDP: lookups one after another, over one socket, repeated until answered.
//!
//! Queries and answers are those of RFC 1035, with one question, for an address. An answer belongs to
//! the lookup under way if it has its transaction id and repeats its question (RFC 5452 §9.1): the
//! socket outlives its lookups, so answers to those before may still come, late or twice. Invariant:
//! each name resolves, to its own address.
//!
//! | where | what |
//! | --- | --- |
//! | [`Message`] | what is sent |
//! | [`Question`] | what is asked, and what answers it: a value without I/O or clock |
//! | [`Resolver`], [`NameServer`] | the two sides |
//! | [`Bug`] | the resolver as it was shipped |

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sim_core::{
    Cx, DatagramProtocol, DatagramTransport, Failure, FaultMix, Loop, LoopFuture, Rng, Scenario,
    Timer, World,
};

use crate::Digest;
use crate::ending::Ending;
use crate::patience::within;
use crate::violation::ensure;

const SERVER: &str = "server";
/// Not 53, which only a privileged process may use.
const PORT: u16 = 5300;
/// The server keeps nothing, so it may crash.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=5%,dup=25%,reorder=2%")
    .cuts(2, Duration::from_secs(3))
    .crashes(&[SERVER], 2, Duration::from_secs(1))
    .within(Duration::from_millis(400));
/// How long the server takes: it asks others.
const SERVER_TAKES: Duration = Duration::from_millis(20);
/// How long the first query of a lookup waits; each next one twice as long, up to [`ATTEMPT_MAX`].
const ATTEMPT_MIN: Duration = Duration::from_millis(100);
const ATTEMPT_MAX: Duration = Duration::from_millis(800);
const HEADER_BYTES: usize = 12;
/// The bits that say "a response", and that recursion is desired and available.
const RESPONSE: u16 = 0x8180;
/// The bit that says that recursion is desired.
const QUERY: u16 = 0x0100;
/// An address, of the Internet: the type and class of all questions.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];
/// Before an answer's data: the name is that of the question, its time to live a minute, four bytes.
const ANSWER: [u8; 12] = [0xc0, HEADER_BYTES as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];

/// What resolvers got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// Whatever answer comes first is taken for that of the lookup under way.
    ///
    /// One duplicate of an answer is enough: the next lookup begins as soon as the original is there,
    /// and takes a server's time, so the copy comes first. (So does an answer that is late enough for its
    /// query to be repeated.) With none, there is one answer to each query, and it comes before the next.
    AnyAnswer,
}

/// The scenario `dns`.
pub fn scenario() -> Scenario {
    build("dns", None)
}

/// The scenario with a bug, which its invariant is to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    match bug {
        Bug::AnyAnswer => build("Z15", Some(bug)),
    }
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "a stub resolver: names resolve over bad datagrams, each to its own address";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let ending = Ending::default();
    let ends = ending.clone();
    world.boot(SERVER, move |lp| serve(lp, ends.clone()));
    let lp = world.host("client");
    let resolver = || Resolver::new(None, lp.rng("dns.id"), bug);
    let conn = lp.datagram().remote((SERVER, PORT)).bind(resolver).await?;
    for number in 0..world.size("dns.lookups", 6..=12) {
        let name = format!("host-{number}.example");
        let address = conn.with(|resolver, cx| resolver.resolve(cx, &name));
        let address = within(&lp, "the answer to a lookup", address).await??;
        ensure!(address == address_of(&name), "{name} resolved to the address of another name");
    }
    conn.transport().close();
    conn.closed().await?;
    ending.give(&world).await;
    Ok(())
}

/// The server's life, until the end of the scenario.
async fn serve(lp: Loop, ending: Ending) -> io::Result<()> {
    let conn = lp.datagram().local((SERVER, PORT)).bind(|| NameServer).await?;
    ending.comes(&lp).await.map_err(io::Error::other)?;
    conn.transport().close();
    conn.closed().await
}

/// The address of a name: all names have one.
fn address_of(name: &str) -> Ipv4Addr {
    let [_, b, c, d] = (Digest::of(name.as_bytes()) as u32).to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

/// What is sent: one question for the address of a name, or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The transaction, as the resolver numbers it.
    pub id: u16,
    /// The name that is asked for.
    pub name: String,
    /// The answer; `None` in a query.
    pub address: Option<Ipv4Addr>,
}

impl Message {
    /// Its bytes, as RFC 1035 §4 has them.
    ///
    /// # Panics
    ///
    /// If a label of the name is empty or longer than 63 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let flags = if self.address.is_some() { RESPONSE } else { QUERY };
        let counts = [1, u16::from(self.address.is_some()), 0, 0];
        let header = [self.id, flags].into_iter().chain(counts);
        let mut bytes: Vec<u8> = header.flat_map(u16::to_be_bytes).collect();
        for label in self.name.split('.') {
            assert!((1..64).contains(&label.len()), "{:?} has a label of no use", self.name);
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(ADDRESS);
        if let Some(address) = self.address {
            bytes.extend(ANSWER);
            bytes.extend(address.octets());
        }
        bytes
    }

    /// The message that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let is_answer = match (word(2), word(4), word(6), word(8), word(10)) {
            (QUERY, 1, 0, 0, 0) => false,
            (RESPONSE, 1, 1, 0, 0) => true,
            _ => return None,
        };
        let mut labels = Vec::new();
        loop {
            let (&length, after) = rest.split_first()?;
            if length == 0 {
                rest = after;
                break;
            }
            let (label, after) = after.split_at_checked(length.into())?;
            labels.push(std::str::from_utf8(label).ok().filter(|_| length < 64)?);
            rest = after;
        }
        rest = rest.strip_prefix(&ADDRESS)?;
        let address = if is_answer {
            let address: [u8; 4] = rest.strip_prefix(&ANSWER)?.try_into().ok()?;
            Some(address.into())
        } else if rest.is_empty() {
            None
        } else {
            return None;
        };
        (!labels.is_empty()).then(|| Self { id: word(0), name: labels.join("."), address })
    }
}

/// What a lookup asks.
#[derive(Debug, Clone)]
pub struct Question {
    id: u16,
    name: String,
    bug: Option<Bug>,
}

impl Question {
    /// A question for the address of `name`, under a transaction id.
    pub fn new(id: u16, name: &str, bug: Option<Bug>) -> Self {
        Self { id, name: name.to_owned(), bug }
    }

    /// The datagram that asks it.
    pub fn query(&self) -> Vec<u8> {
        Message { id: self.id, name: self.name.clone(), address: None }.encode()
    }

    /// The address, if a datagram answers this question.
    pub fn answered_by(&self, datagram: &[u8]) -> Option<Ipv4Addr> {
        let Message { id, name, address } = Message::decode(datagram)?;
        let is_mine = (id == self.id && name == self.name) || self.bug == Some(Bug::AnyAnswer);
        address.filter(|_| is_mine)
    }
}

/// The datagram transport of a callback.
type Datagrams<'a, P> = Cx<'a, P, DatagramTransport>;

/// Looks names up, one at a time.
#[derive(Debug)]
pub struct Resolver {
    /// Where queries go; `None` if the endpoint is connected.
    server: Option<SocketAddr>,
    ids: Rng,
    lookup: Option<Lookup>,
    bug: Option<Bug>,
}

/// The lookup under way.
#[derive(Debug)]
struct Lookup {
    question: Question,
    address: LoopFuture<Ipv4Addr>,
    patience: Duration,
    /// Asks again; dropped, so cancelled, with the lookup.
    _retry: Timer,
}

impl Resolver {
    /// A resolver that asks `server`, `None` if its endpoint is connected, under transaction ids that
    /// it draws from `ids`.
    pub fn new(server: Option<SocketAddr>, ids: Rng, bug: Option<Bug>) -> Self {
        Self { server, ids, lookup: None, bug }
    }

    /// Begins to look `name` up; the lookup before is given up. Completes with the address.
    pub fn resolve(&mut self, cx: &Datagrams<'_, Self>, name: &str) -> LoopFuture<Ipv4Addr> {
        let question = Question::new(self.ids.below(1 << 16) as u16, name, self.bug);
        let address = cx.event_loop().create_future();
        self.ask(cx, question, address.clone(), ATTEMPT_MIN);
        address
    }

    fn ask(
        &mut self,
        cx: &Datagrams<'_, Self>,
        question: Question,
        address: LoopFuture<Ipv4Addr>,
        patience: Duration,
    ) {
        // What the socket refuses is lost, as others are.
        let _ = cx.send_to(&question.query(), self.server);
        let retry = cx.call_later(patience, |this, cx| {
            if let Some(Lookup { question, address, patience, .. }) = this.lookup.take() {
                this.ask(cx, question, address, (patience * 2).min(ATTEMPT_MAX));
            }
        });
        self.lookup = Some(Lookup { question, address, patience, _retry: retry });
    }
}

impl DatagramProtocol for Resolver {
    fn datagram_received(&mut self, _cx: &mut Datagrams<'_, Self>, data: &[u8], from: SocketAddr) {
        if self.server.is_some_and(|server| server != from) {
            return;
        }
        let answer = self.lookup.as_ref().and_then(|lookup| lookup.question.answered_by(data));
        if let Some(address) = answer
            && let Some(lookup) = self.lookup.take()
        {
            // Who asked may have stopped waiting.
            let _ = lookup.address.set_result(address);
        }
    }
}

/// Answers every query, after some time.
#[derive(Debug)]
pub struct NameServer;

impl DatagramProtocol for NameServer {
    fn datagram_received(&mut self, cx: &mut Datagrams<'_, Self>, data: &[u8], from: SocketAddr) {
        let Some(query) = Message::decode(data).filter(|query| query.address.is_none()) else {
            return;
        };
        let address = Some(address_of(&query.name));
        let answer = Message { address, ..query }.encode();
        cx.spawn(cx.event_loop().sleep(SERVER_TAKES), move |_, cx, ()| {
            // As above.
            let _ = cx.send_to(&answer, Some(from));
        });
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    fn message(id: u16, name: &str, address: Option<[u8; 4]>) -> Message {
        Message { id, name: name.to_owned(), address: address.map(Into::into) }
    }

    #[test]
    fn messages_are_those_of_rfc_1035_and_survive_the_wire() {
        let query = message(0x1234, "a.example", None);
        let bytes = query.encode();
        assert_eq!(
            bytes,
            b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01".to_vec()
        );
        for message in [query, message(7, "b", Some([10, 0, 0, 1]))] {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Some(message));
            for length in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..length]), None, "{length}");
            }
            assert_eq!(Message::decode(&[&bytes[..], b"\0"].concat()), None);
        }
    }

    #[test]
    fn an_answer_has_the_id_and_the_question_of_the_lookup() {
        let question = Question::new(7, "a.example", None);
        let answers = |message: Message| question.answered_by(&message.encode());
        let address = Some([10, 0, 0, 1]);
        assert_eq!(answers(message(7, "a.example", address)), Some([10, 0, 0, 1].into()));
        assert_eq!(answers(message(8, "a.example", address)), None);
        assert_eq!(answers(message(7, "b.example", address)), None);
        assert_eq!(answers(message(7, "a.example", None)), None);
        let careless = Question::new(7, "a.example", Some(Bug::AnyAnswer));
        let other = message(8, "b.example", address).encode();
        assert_eq!(careless.answered_by(&other), Some([10, 0, 0, 1].into()));
    }

    #[test]
    fn a_query_is_repeated_until_it_is_answered() {
        let server = SocketAddr::from(([192, 0, 2, 1], PORT));
        let resolver = Resolver::new(Some(server), Rng::from_seed([1; 32]), None);
        let mut peer = testing::drive_datagrams(resolver, usize::MAX);
        let address = peer.with(|resolver, cx| resolver.resolve(cx, "a.example"));
        let sent = |peer: &mut testing::DatagramPeer<Resolver>| -> Vec<Message> {
            let sent = peer.take_sent();
            sent.iter().map(|(bytes, _)| Message::decode(bytes).unwrap()).collect()
        };
        let first = sent(&mut peer);
        peer.advance(ATTEMPT_MIN);
        assert_eq!(sent(&mut peer), first);
        let answer = Message { address: Some([10, 0, 0, 1].into()), ..first[0].clone() };
        peer.feed(&answer.encode(), ([192, 0, 2, 2], PORT).into());
        assert!(!address.done(), "that came from somebody else");
        peer.feed(&answer.encode(), server);
        assert!(address.done());
        peer.advance(10 * ATTEMPT_MAX);
        assert_eq!(sent(&mut peer), []);
    }
}
