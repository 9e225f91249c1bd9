//! The client: a session, over one connection after another.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Loop, LoopFuture, Protocol, Timer};

use super::packet::{Decoder, Packet};
use super::session::Outgoing;
use super::{Bug, PORT};
use crate::Progress;

pub(super) const NAME: &str = "client";
/// How often a client pings, and how many pings in a row may be unanswered.
const PING_EVERY: Duration = Duration::from_millis(200);
const PINGS_MAX: u32 = 5;
/// How long a client waits to be connected, and then, at most, before it tries again.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What a client has to do, whatever connection it has.
#[derive(Debug)]
pub struct Work {
    session: Outgoing,
    completed: Progress,
}

impl Work {
    /// Messages to be published.
    pub fn new(messages: impl IntoIterator<Item = Vec<u8>>, bug: Option<Bug>) -> Self {
        Self { session: Outgoing::new(messages, bug), completed: Progress::default() }
    }

    /// Completes when so many messages are completed.
    pub fn completes(&mut self, lp: &Loop, messages: u64) -> LoopFuture<()> {
        self.completed.reaches(lp, messages)
    }
}

/// The client's side of a connection.
#[derive(Debug)]
pub struct Client {
    work: Rc<RefCell<Work>>,
    decoder: Decoder,
    /// How many pings were not answered.
    unanswered: u32,
    next_ping: Option<Timer>,
}

/// Keeps a client connected, until its work is done.
pub(super) async fn stay(lp: Loop, work: Rc<RefCell<Work>>) {
    let mut rng = lp.rng("mqtt.pause");
    while !work.borrow().session.is_done() {
        let connecting = lp.create_connection(("broker", PORT), || Client::new(Rc::clone(&work)));
        if let Ok(Ok(conn)) = lp.timeout(CONNECT_MAX, connecting).await {
            // However it ended, the session goes on.
            let _ = conn.closed().await;
        }
        lp.sleep(rng.duration(Duration::from_millis(1)..PAUSE_MAX)).await;
    }
}

impl Client {
    /// A client that has no connection yet.
    pub fn new(work: Rc<RefCell<Work>>) -> Self {
        Self { work, decoder: Decoder::default(), unanswered: 0, next_ping: None }
    }

    fn ping(&mut self, cx: &mut Cx<'_, Self>) {
        if self.unanswered == PINGS_MAX {
            return cx.abort();
        }
        self.unanswered += 1;
        send(cx, [Packet::PingReq]);
        self.next_ping = Some(cx.call_later(PING_EVERY, Self::ping));
    }

    fn obey(&mut self, packet: Packet, cx: &Cx<'_, Self>) {
        let mut work = self.work.borrow_mut();
        let Work { session, completed } = &mut *work;
        match packet {
            Packet::ConnAck => send(cx, session.resume()),
            Packet::PubRec(id) => send(cx, [session.arrived(id)]),
            Packet::PubComp(id) => completed.add(session.completed(id).into()),
            Packet::PingResp => self.unanswered = 0,
            _ => return,
        }
        send(cx, std::iter::from_fn(|| session.publish_next()));
        if session.is_done() {
            send(cx, [Packet::Disconnect]);
            cx.close();
        }
    }
}

/// Sends packets, as one write.
fn send(cx: &Cx<'_, Client>, packets: impl IntoIterator<Item = Packet>) {
    let mut bytes = Vec::new();
    packets.into_iter().for_each(|packet| packet.encode(&mut bytes));
    cx.write(&bytes);
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        send(cx, [Packet::Connect { client: NAME.to_owned() }]);
        self.next_ping = Some(cx.call_later(PING_EVERY, Self::ping));
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        while !cx.is_closing() {
            match self.decoder.poll() {
                Ok(Some(packet)) => self.obey(packet, cx),
                Ok(None) => return,
                Err(error) => return cx.fail(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing::{self, Peer};

    use super::*;

    fn written(peer: &mut Peer<Client>) -> Vec<Packet> {
        let mut decoder = Decoder::default();
        decoder.feed(&peer.take_written());
        std::iter::from_fn(|| decoder.poll().unwrap()).collect()
    }

    fn feed(peer: &mut Peer<Client>, packet: Packet) -> Vec<Packet> {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        peer.feed(&bytes);
        written(peer)
    }

    #[test]
    fn nothing_is_published_before_the_broker_has_the_session() {
        let work = Rc::new(RefCell::new(Work::new([b"a".to_vec()], None)));
        let mut peer = testing::drive(Client::new(Rc::clone(&work)));
        assert_eq!(written(&mut peer), [Packet::Connect { client: NAME.to_owned() }]);
        assert!(matches!(feed(&mut peer, Packet::ConnAck)[..], [Packet::Publish { id: 1, .. }]));
        assert_eq!(feed(&mut peer, Packet::PubRec(1)), [Packet::PubRel(1)]);
        drop(peer);
        let mut peer = testing::drive(Client::new(work));
        written(&mut peer);
        assert_eq!(feed(&mut peer, Packet::ConnAck), [Packet::PubRel(1)]);
        assert_eq!(feed(&mut peer, Packet::PubComp(1)), [Packet::Disconnect]);
        assert!(peer.is_lost());
    }

    #[test]
    fn a_client_leaves_a_broker_that_does_not_answer() {
        let work = Rc::new(RefCell::new(Work::new([b"a".to_vec()], None)));
        let mut peer = testing::drive(Client::new(work));
        peer.advance(PING_EVERY * PINGS_MAX);
        assert_eq!(written(&mut peer).len(), 1 + PINGS_MAX as usize);
        peer.advance(PING_EVERY);
        assert!(peer.is_lost());
    }
}
