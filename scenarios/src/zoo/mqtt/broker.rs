//! The broker: it delivers, and remembers what it has delivered.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use sim_core::history::Deliveries;
use sim_core::{Cx, Loop, Protocol, Server, Transport};

use super::PORT;
use super::packet::{Decoder, Packet};
use super::session::Incoming;

/// What clients published, by their names, and what of it was delivered.
pub type Delivered = Deliveries<String, Vec<u8>>;

/// A client's session, and the connection that it goes on over.
#[derive(Debug, Default)]
struct Session {
    incoming: Incoming,
    over: Option<Transport>,
}

/// The sessions of all clients, by their names.
type Sessions = Rc<RefCell<BTreeMap<String, Session>>>;

/// The broker's side of a connection.
///
/// A client that comes a second time is cut off from its first connection (§3.1.4).
#[derive(Debug)]
pub struct Broker {
    sessions: Sessions,
    delivered: Delivered,
    decoder: Decoder,
    /// Who is there, once it has said so.
    client: Option<String>,
}

/// Listens on `lp`.
pub(super) async fn start(lp: &Loop, delivered: &Delivered) -> io::Result<Server> {
    let (sessions, delivered) = (Sessions::default(), delivered.clone());
    let broker = move || Broker {
        sessions: Rc::clone(&sessions),
        delivered: delivered.clone(),
        decoder: Decoder::default(),
        client: None,
    };
    lp.create_server(("broker", PORT), broker).await
}

impl Broker {
    fn obey(&mut self, packet: Packet, cx: &Cx<'_, Self>) {
        let mut sessions = self.sessions.borrow_mut();
        let session = self.client.as_ref().and_then(|name| Some((name, sessions.get_mut(name)?)));
        let answer = match (packet, session) {
            (Packet::Connect { client }, None) => {
                let session = sessions.entry(client.clone()).or_default();
                if let Some(before) = session.over.replace(cx.transport().clone()) {
                    before.abort();
                }
                self.client = Some(client);
                Packet::ConnAck
            }
            (Packet::Publish { id, payload, .. }, Some((client, session))) => {
                if session.incoming.publish(id) {
                    self.delivered.delivered(client.clone(), payload);
                }
                Packet::PubRec(id)
            }
            (Packet::PubRel(id), Some((_, session))) => {
                session.incoming.release(id);
                Packet::PubComp(id)
            }
            (Packet::PingReq, _) => Packet::PingResp,
            (Packet::Disconnect, Some(_)) => return cx.close(),
            _ => return cx.abort(),
        };
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        cx.write(&bytes);
    }
}

impl Protocol for Broker {
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

    fn broker(sessions: &Sessions, delivered: &Delivered) -> Peer<Broker> {
        let (sessions, delivered) = (Rc::clone(sessions), delivered.clone());
        testing::drive(Broker { sessions, delivered, decoder: Decoder::default(), client: None })
    }

    fn feed(peer: &mut Peer<Broker>, packets: &[Packet]) -> Vec<u8> {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(&mut bytes));
        peer.feed(&bytes);
        peer.take_written()
    }

    #[test]
    fn a_session_outlives_its_connection_and_has_one_at_a_time() {
        let (sessions, delivered) = (Sessions::default(), Delivered::new());
        let (mut first, mut second) =
            (broker(&sessions, &delivered), broker(&sessions, &delivered));
        let connect = Packet::Connect { client: "a".to_owned() };
        let (topic, payload) = ("news".to_owned(), b"x".to_vec());
        let publish = Packet::Publish { id: 1, again: false, topic, payload };
        let answer = feed(&mut first, &[connect.clone(), publish.clone()]);
        assert_eq!(answer, b"\x20\x02\x01\0\x50\x02\0\x01");
        feed(&mut second, &[connect, publish.clone()]);
        assert_eq!(delivered.count(), 1);
        feed(&mut second, &[Packet::PubRel(1), publish]);
        assert_eq!(delivered.count(), 2);
        first.settle();
        assert!(first.is_lost() && !second.is_lost());
    }

    #[test]
    fn who_has_not_come_has_nothing_to_say() {
        let (sessions, delivered) = (Sessions::default(), Delivered::new());
        let mut peer = broker(&sessions, &delivered);
        feed(&mut peer, &[Packet::PubRel(1)]);
        assert!(peer.is_lost());
    }
}
