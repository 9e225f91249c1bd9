//! Both sides with sockets and timers.

use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Loop, LoopFuture, Timer};

use super::receiver::Receiver;
use super::sender::Sender;
use crate::Progress;

/// The datagram transport of a callback.
type Datagrams<'a, P> = Cx<'a, P, DatagramTransport>;

/// How often the receiver's application reads.
const READ_EVERY: Duration = Duration::from_millis(60);

/// The sender.
#[derive(Debug)]
pub struct Source {
    /// Where frames go; `None` if the endpoint is connected.
    receiver: Option<SocketAddr>,
    sender: Sender,
    /// 1 when all is acknowledged.
    done: Progress,
    timer: Option<Timer>,
}

impl Source {
    /// A source that begins at once to send to `receiver`, `None` if its endpoint is connected.
    pub fn new(receiver: Option<SocketAddr>, sender: Sender) -> Self {
        Self { receiver, sender, done: Progress::default(), timer: None }
    }

    /// Completes when all is acknowledged.
    pub fn sends_all(&mut self, lp: &Loop) -> LoopFuture<()> {
        self.done.reaches(lp, 1)
    }

    fn pump(&mut self, cx: &mut Datagrams<'_, Self>) {
        self.sender.flush(cx.event_loop().time(), |frame| {
            // What the socket refuses is lost, as others are.
            let _ = cx.send_to(&frame.encode(), self.receiver);
        });
        if self.sender.is_done() && self.done.count() == 0 {
            self.done.add(1);
        }
        self.timer = self.sender.deadline().map(|deadline| cx.call_at(deadline, Self::pump));
    }
}

impl DatagramProtocol for Source {
    fn connection_made(&mut self, cx: &mut Datagrams<'_, Self>) {
        self.pump(cx);
    }

    fn datagram_received(&mut self, cx: &mut Datagrams<'_, Self>, data: &[u8], from: SocketAddr) {
        if self.receiver.is_some_and(|receiver| receiver != from) {
            return;
        }
        self.sender.receive(cx.event_loop().time(), data);
        self.pump(cx);
    }
}

/// The receiver, with an application that reads now and then.
#[derive(Debug, Default)]
pub struct Sink {
    receiver: Receiver,
    body: Vec<u8>,
    /// Whom acknowledgements go to.
    sender: Option<SocketAddr>,
    /// 1 when the application has read all.
    done: Progress,
    next_read: Option<Timer>,
}

impl Sink {
    /// Completes when the application has read all.
    pub fn reads_all(&mut self, lp: &Loop) -> LoopFuture<()> {
        self.done.reaches(lp, 1)
    }

    /// What the application has read.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn read(&mut self, cx: &mut Datagrams<'_, Self>) {
        let (bytes, update) = self.receiver.read();
        self.body.extend(bytes);
        if let Some(update) = update {
            // As above.
            let _ = cx.send_to(&update.encode(), self.sender);
        }
        if self.receiver.has_ended() {
            self.done.add(1);
        } else {
            self.next_read = Some(cx.call_later(READ_EVERY, Self::read));
        }
    }
}

impl DatagramProtocol for Sink {
    fn connection_made(&mut self, cx: &mut Datagrams<'_, Self>) {
        self.next_read = Some(cx.call_later(READ_EVERY, Self::read));
    }

    fn datagram_received(&mut self, cx: &mut Datagrams<'_, Self>, data: &[u8], from: SocketAddr) {
        self.sender = Some(from);
        if let Some(ack) = self.receiver.receive(data) {
            // As above.
            let _ = cx.send_to(&ack.encode(), self.sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::super::frame::Frame;
    use super::*;

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 7000))
    }

    #[test]
    fn a_source_repeats_until_all_is_acknowledged() {
        let source = Source::new(Some(address(1)), Sender::new(b"abc", None));
        let mut peer = testing::drive_datagrams(source, usize::MAX);
        let sent = peer.take_sent();
        assert_eq!(sent.len(), 1);
        peer.advance(Duration::from_millis(100));
        assert_eq!(peer.take_sent(), sent);
        let done = peer.with(|source, cx| source.sends_all(cx.event_loop()));
        let ack = Frame::Ack { next: 1, limit: 9 }.encode();
        peer.feed(&ack, address(2));
        assert!(!done.done(), "that came from somebody else");
        peer.feed(&ack, address(1));
        peer.advance(Duration::from_secs(9));
        assert!(done.done() && peer.take_sent().is_empty());
    }

    #[test]
    fn a_sink_reads_now_and_then_and_tells_who_sent() {
        let mut peer = testing::drive_datagrams(Sink::default(), usize::MAX);
        let from = address(1);
        let last = Frame::Data { number: 0, is_last: true, payload: b"abc".to_vec() };
        peer.feed(&last.encode(), from);
        let ack = Frame::Ack { next: 1, limit: 8 }.encode();
        assert_eq!(peer.take_sent(), [(ack, Some(from))]);
        let read = peer.with(|sink, cx| sink.reads_all(cx.event_loop()));
        assert!(!read.done());
        peer.advance(READ_EVERY);
        assert!(read.done());
        peer.with(|sink, _| assert_eq!(sink.body(), b"abc"));
    }
}
