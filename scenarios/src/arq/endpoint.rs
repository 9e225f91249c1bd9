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
}
