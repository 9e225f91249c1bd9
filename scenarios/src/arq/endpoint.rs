//! A side of a connection with a socket, a timer, and a body to send.

use std::net::SocketAddr;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Loop, LoopFuture, Timer};

use super::Flaw;
use super::connection::Connection;
use crate::body::Body;
use crate::{Digest, Progress, Violation};

/// The datagram transport of a callback.
type Datagrams<'a> = Cx<'a, Endpoint, DatagramTransport>;

/// How many parts of the body wait in the connection, at least, while there are more.
const AHEAD: usize = 64;

/// A side that sends a body, and takes the digest of what it gets.
#[derive(Debug)]
pub struct Endpoint {
    peer: SocketAddr,
    connection: Connection,
    body: Body,
    /// True when the end of the stream is queued.
    finished: bool,
    digest: Digest,
    /// 1 when the connection is closed on both ways, or has failed.
    done: Progress,
    failure: Option<Violation>,
    timer: Option<Timer>,
}

impl Endpoint {
    /// A side that sends `body` to `peer`.
    pub(crate) fn new(peer: SocketAddr, body: Body, flaw: Flaw) -> Self {
        Self {
            peer,
            connection: Connection::new(flaw),
            body,
            finished: false,
            digest: Digest::default(),
            done: Progress::default(),
            failure: None,
            timer: None,
        }
    }

    /// Completes when both streams have ended and are acknowledged, or the connection has failed.
    pub fn closes(&mut self, lp: &Loop) -> LoopFuture<()> {
        self.done.reaches(lp, 1)
    }

    /// What it sent: the digest.
    pub fn sent(&self) -> &Digest {
        self.body.digest()
    }

    /// What it got: the digest.
    pub fn got(&self) -> &Digest {
        &self.digest
    }

    /// How many segments it sent again.
    pub fn retransmissions(&self) -> u64 {
        self.connection.retransmissions()
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&Violation> {
        self.failure.as_ref()
    }

    /// Sends what there is to be sent, and sets the timer.
    fn pump(&mut self, cx: &mut Datagrams<'_>) {
        let now = cx.event_loop().time();
        while !self.finished && self.connection.unsent() < AHEAD {
            match self.body.next() {
                Some(chunk) => self.connection.write(chunk),
                None => {
                    self.connection.finish();
                    self.finished = true;
                }
            }
        }
        self.connection.flush(now, |datagram| {
            // What the socket refuses is lost, as others are.
            let _ = cx.send_to(datagram, Some(self.peer));
        });
        if self.connection.is_hopeless(now) {
            let text = "nothing was acknowledged for too long".to_owned();
            self.failure.get_or_insert(Violation::new(text));
            self.timer = None;
            return self.done.add(1);
        }
        if self.finished && self.connection.has_ended() && self.connection.is_acknowledged() {
            self.done.add(1);
        }
        let deadline = self.connection.deadline();
        self.timer = deadline.map(|deadline| cx.call_at(deadline, Self::pump));
    }
}

impl DatagramProtocol for Endpoint {
    fn connection_made(&mut self, cx: &mut Datagrams<'_>) {
        self.pump(cx);
    }

    fn datagram_received(&mut self, cx: &mut Datagrams<'_>, data: &[u8], from: SocketAddr) {
        if from != self.peer {
            return;
        }
        self.connection.receive(cx.event_loop().time(), data);
        self.digest.update(&self.connection.take_received());
        self.pump(cx);
    }

    fn digest(&self) -> Option<String> {
        Some(match &self.failure {
            Some(failure) => failure.to_string(),
            None => self.connection.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sim_core::{Rng, testing};

    use super::super::segment::{Carried, Part, Segment};
    use super::*;

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 7000))
    }

    fn endpoint(bytes: u64) -> testing::DatagramPeer<Endpoint> {
        let body = Body::new(bytes, &mut Rng::from_seed([1; 32]));
        testing::drive_datagrams(Endpoint::new(address(1), body, Flaw::None), usize::MAX)
    }

    fn encoded(ack: u64, carries: Option<(u64, &Part)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        Segment::encode(ack, 0, carries, &mut bytes);
        bytes
    }

    /// What was sent: the numbers of the segments.
    fn numbers(peer: &mut testing::DatagramPeer<Endpoint>) -> Vec<Option<u64>> {
        let sent = peer.take_sent();
        let segments = sent.iter().filter_map(|(bytes, _)| Segment::decode(bytes, true));
        segments.map(|segment| segment.carries.map(|Carried { number, .. }| number)).collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_after_the_timeout() {
        let mut peer = endpoint(1_000);
        assert_eq!(numbers(&mut peer), [Some(0), Some(1)]);
        peer.advance(Duration::from_millis(199));
        peer.feed(&encoded(2, None), address(2));
        assert_eq!(numbers(&mut peer), [], "that came from somebody else");
        peer.advance(Duration::from_millis(1));
        assert_eq!(numbers(&mut peer), [Some(0), Some(1)]);
        peer.feed(&encoded(1, None), address(1));
        peer.advance(Duration::from_millis(400));
        assert_eq!(numbers(&mut peer), [Some(1)]);
    }

    #[test]
    fn its_digest_tells_where_both_streams_are() {
        let mut peer = endpoint(1_000);
        let digest = |peer: &mut testing::DatagramPeer<Endpoint>| {
            peer.with(|endpoint, _| DatagramProtocol::digest(endpoint).unwrap())
        };
        assert_eq!(digest(&mut peer), "sends 0.., 2 in flight, 0 wait; takes 0..");
        peer.feed(&encoded(1, Some((1, &Part::Data(vec![7])))), address(1));
        assert_eq!(digest(&mut peer), "sends 1.., 1 in flight, 0 wait; takes 0.., 1 early");
        peer.feed(&encoded(2, Some((0, &Part::Data(vec![7])))), address(1));
        peer.feed(&encoded(2, Some((2, &Part::End))), address(1));
        assert_eq!(digest(&mut peer), "sent 2; took 3");
    }

    #[test]
    fn it_closes_when_both_ends_are_acknowledged_and_answers_after_that() {
        let mut peer = endpoint(0);
        assert_eq!(numbers(&mut peer), [Some(0)]);
        let closed = peer.with(|endpoint, cx| endpoint.closes(cx.event_loop()));
        peer.feed(&encoded(1, None), address(1));
        assert!(!closed.done());
        peer.feed(&encoded(1, Some((0, &Part::End))), address(1));
        assert!(closed.done());
        assert_eq!(numbers(&mut peer), [None]);
        peer.feed(&encoded(1, Some((0, &Part::End))), address(1));
        assert_eq!(numbers(&mut peer), [None]);
    }

    #[test]
    fn it_gives_up_when_nothing_is_acknowledged() {
        let mut peer = endpoint(1);
        let closed = peer.with(|endpoint, cx| endpoint.closes(cx.event_loop()));
        peer.advance(Duration::from_secs(44));
        assert!(!closed.done());
        peer.advance(Duration::from_secs(3));
        assert!(closed.done());
        peer.with(|endpoint, _| assert!(endpoint.failure().is_some()));
    }
}
