//! A member with a socket and a timer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Timer};

use super::message::{Health, MESSAGE_BYTES_MAX, Member, Message};
use super::swim::Swim;

/// The datagram transport of a callback.
type Datagrams<'a> = Cx<'a, Node, DatagramTransport>;

/// What the members of a group share: where each is, and how long a period is.
#[derive(Debug)]
pub struct Roster {
    /// Every member's address; a member's number is its place here.
    pub addresses: Vec<SocketAddr>,
    /// The period of the protocol.
    pub period: Duration,
    datagrams: Cell<u64>,
    declared_dead: RefCell<BTreeSet<Member>>,
}

impl Roster {
    /// A roster of members at these addresses.
    pub fn new(addresses: Vec<SocketAddr>, period: Duration) -> Self {
        Self { addresses, period, datagrams: Cell::new(0), declared_dead: RefCell::default() }
    }

    /// How many members there may be.
    pub fn size(&self) -> u32 {
        self.addresses.len() as u32
    }

    /// How many datagrams were sent by all.
    pub fn datagrams(&self) -> u64 {
        self.datagrams.get()
    }

    /// Whom any member ever took for dead.
    pub fn declared_dead(&self) -> Vec<Member> {
        self.declared_dead.borrow().iter().copied().collect()
    }
}

/// A member on a host: [`Swim`] with a socket and a timer.
#[derive(Debug)]
pub struct Node {
    roster: Rc<Roster>,
    swim: Rc<RefCell<Swim>>,
    /// How long it waits before its first period, so that not all begin at once.
    phase: Duration,
    next: Option<Timer>,
    bytes: Vec<u8>,
}

impl Node {
    /// A member that starts its first period after `phase`.
    pub fn new(roster: &Rc<Roster>, swim: &Rc<RefCell<Swim>>, phase: Duration) -> Self {
        Self {
            roster: Rc::clone(roster),
            swim: Rc::clone(swim),
            phase,
            next: None,
            bytes: Vec::with_capacity(MESSAGE_BYTES_MAX),
        }
    }

    /// Does `act` to the state machine, and sends what comes out.
    fn drive(
        &mut self,
        cx: &mut Datagrams<'_>,
        act: impl FnOnce(&mut Swim, &mut dyn FnMut(Member, &Message)),
    ) {
        let Self { roster, swim, bytes, .. } = self;
        let mut swim = swim.borrow_mut();
        act(&mut swim, &mut |to, message| {
            message.encode(bytes);
            roster.datagrams.set(roster.datagrams.get() + 1);
            // Losses are what this is about.
            let _ = cx.send_to(bytes, Some(roster.addresses[to as usize]));
        });
        let deaths = swim.take_changes().into_iter().filter(|news| news.health == Health::Dead);
        for death in deaths {
            roster.declared_dead.borrow_mut().insert(death.about);
        }
    }

    fn begin_period(&mut self, cx: &mut Datagrams<'_>) {
        self.drive(cx, |swim, mut send| swim.begin_period(&mut send));
        self.next = Some(cx.call_later(self.roster.period / 2, Self::ask_others));
    }

    fn ask_others(&mut self, cx: &mut Datagrams<'_>) {
        self.drive(cx, |swim, mut send| swim.ask_others(&mut send));
        self.next = Some(cx.call_later(self.roster.period / 2, Self::begin_period));
    }
}

impl DatagramProtocol for Node {
    fn connection_made(&mut self, cx: &mut Datagrams<'_>) {
        self.next = Some(cx.call_later(self.phase, Self::begin_period));
    }

    fn datagram_received(&mut self, cx: &mut Datagrams<'_>, data: &[u8], from: SocketAddr) {
        let Some(message) = Message::decode(data) else { return };
        if self.roster.addresses.get(message.from as usize) == Some(&from) {
            self.drive(cx, |swim, mut send| swim.receive(&message, &mut send));
        }
    }

    fn digest(&self) -> Option<String> {
        Some(self.swim.borrow().to_string())
    }
}

#[cfg(test)]
mod tests {
    use sim_core::{Rng, testing};

    use super::super::Flaw;
    use super::super::message::{Kind, NewsList};
    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 7000))
    }

    fn node() -> testing::DatagramPeer<Node> {
        let roster = Rc::new(Roster::new((0..3).map(address).collect(), PERIOD));
        let swim = Rc::new(RefCell::new(Swim::new(0, 3, Rng::from_seed([1; 32]), Flaw::None)));
        testing::drive_datagrams(Node::new(&roster, &swim, PERIOD / 4), usize::MAX)
    }

    #[test]
    fn its_digest_names_whom_it_suspects_and_whom_it_takes_for_dead() {
        let mut peer = node();
        let digest =
            |peer: &mut testing::DatagramPeer<Node>| peer.with(|node, _| node.digest().unwrap());
        assert_eq!(digest(&mut peer), "incarnation 0, all alive");
        let mut seen = BTreeSet::new();
        for _ in 0..40 {
            peer.advance(PERIOD);
            seen.insert(digest(&mut peer));
        }
        assert!(seen.iter().any(|digest| digest.contains("suspects ")), "{seen:?}");
        assert_eq!(digest(&mut peer), "incarnation 0, dead 1 2");
    }

    fn ping() -> Vec<u8> {
        let news = NewsList::default();
        let message =
            Message { kind: Kind::Ping, from: 1, incarnation: 0, origin: 1, sequence: 5, news };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_ping_from_its_own_address_is_answered_and_no_other() {
        let mut peer = node();
        peer.feed(&ping(), address(2));
        peer.feed(b"noise", address(1));
        assert_eq!(peer.take_sent(), []);
        peer.feed(&ping(), address(1));
        let sent = peer.take_sent();
        assert_eq!((sent.len(), sent[0].1), (1, Some(address(1))));
        assert_eq!(
            Message::decode(&sent[0].0).map(|ack| (ack.kind, ack.sequence)),
            Some((Kind::Ack, 5))
        );
    }

    #[test]
    fn each_period_one_is_asked_and_half_a_period_later_others_are() {
        let mut peer = node();
        let kinds = |sent: Vec<(Vec<u8>, _)>| -> Vec<_> {
            sent.iter().filter_map(|(bytes, _)| Message::decode(bytes)).map(|m| m.kind).collect()
        };
        peer.advance(PERIOD / 4 - Duration::from_nanos(1));
        assert_eq!(peer.take_sent(), []);
        peer.advance(Duration::from_nanos(1));
        assert_eq!(kinds(peer.take_sent()), [Kind::Ping]);
        let mut requests = 0;
        for _ in 0..20 {
            peer.advance(PERIOD / 2);
            let asked = kinds(peer.take_sent());
            requests += asked.iter().filter(|kind| **kind != Kind::Ping).count();
            peer.advance(PERIOD / 2);
            assert_eq!(kinds(peer.take_sent()), [Kind::Ping]);
        }
        assert!(requests > 0);
    }
}
