//! A client: it publishes or it hears, over one connection after another.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Loop, LoopFuture, Protocol, Timer};

use super::command::{Command, Decoder};
use super::{Bug, PORT, SERVER};
use crate::Progress;
use crate::ending::Ending;

const SUBJECT: &str = "news";
/// The name of the only subscription of a subscriber.
const NUMBER: u32 = 1;
/// How often a publisher publishes.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// How often a client pings, and how many pings in a row may be unanswered.
const PING_EVERY: Duration = Duration::from_millis(200);
const PINGS_MAX: u32 = 5;
/// How long a client waits to be connected, and then, at most, before it tries again.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What a subscriber heard.
#[derive(Debug, Default)]
pub struct Heard {
    numbers: BTreeSet<u64>,
    count: Progress,
}

impl Heard {
    fn note(&mut self, number: u64) {
        self.numbers.insert(number);
        self.count.add(1);
    }

    /// Completes when `count` publications were heard.
    pub fn hears(&mut self, lp: &Loop, count: u64) -> LoopFuture<()> {
        self.count.reaches(lp, count)
    }

    /// True if a publication came more than once.
    pub fn is_any_twice(&self) -> bool {
        self.count.count() > self.numbers.len() as u64
    }
}

/// What a client is there for.
#[derive(Debug, Clone)]
pub enum Role {
    /// It publishes numbers: the last one, of all its connections.
    Publisher(Rc<Cell<u64>>),
    /// It hears them.
    Subscriber(Rc<RefCell<Heard>>),
}

/// The client's side of a connection.
#[derive(Debug)]
pub struct Client {
    role: Role,
    decoder: Decoder,
    /// How many pings were not answered.
    unanswered: u32,
    next_ping: Option<Timer>,
    next_publication: Option<Timer>,
    bug: Option<Bug>,
}

/// Keeps a client connected, until the end of the scenario.
pub(super) async fn stay(lp: Loop, role: Role, bug: Option<Bug>, ending: Ending) {
    let mut rng = lp.rng("pubsub.pause");
    while !ending.has_come() {
        let connecting = lp.create_connection((SERVER, PORT), || Client::new(role.clone(), bug));
        if let Ok(Ok(conn)) = lp.timeout(CONNECT_MAX, connecting).await {
            // However it ended, there is to be another.
            let _ = conn.closed().await;
        }
        lp.sleep(rng.duration(Duration::from_millis(1)..PAUSE_MAX)).await;
    }
}

impl Client {
    /// A client that has no connection yet.
    pub fn new(role: Role, bug: Option<Bug>) -> Self {
        let decoder = Decoder::default();
        Self { role, decoder, unanswered: 0, next_ping: None, next_publication: None, bug }
    }

    fn ping(&mut self, cx: &mut Cx<'_, Self>) {
        if self.unanswered == PINGS_MAX {
            return cx.abort();
        }
        self.unanswered += 1;
        cx.write(&Command::Ping.encode());
        self.next_ping = Some(cx.call_later(PING_EVERY, Self::ping));
    }

    fn publish(&mut self, cx: &mut Cx<'_, Self>) {
        let Role::Publisher(last) = &self.role else { return };
        last.set(last.get() + 1);
        let payload = last.get().to_string().into_bytes();
        cx.write(&Command::Publish { subject: SUBJECT.to_owned(), payload }.encode());
        self.next_publication = Some(cx.call_later(PUBLISH_EVERY, Self::publish));
    }

    fn hear(&mut self, command: Command) -> io::Result<()> {
        match (command, &self.role) {
            (Command::Message { payload, .. }, Role::Subscriber(heard)) => {
                let text = String::from_utf8(payload).map_err(io::Error::other)?;
                heard.borrow_mut().note(text.parse().map_err(io::Error::other)?);
            }
            (Command::Pong, _) => self.unanswered = 0,
            _ => {}
        }
        Ok(())
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if let Role::Subscriber(_) = self.role {
            let subject = SUBJECT.to_owned();
            cx.write(&Command::Subscribe { subject, number: NUMBER }.encode());
        }
        self.publish(cx);
        if self.bug != Some(Bug::NoPings) {
            self.ping(cx);
        }
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        while !cx.is_closing() {
            match self.decoder.poll() {
                Ok(Some(command)) => {
                    if let Err(error) = self.hear(command) {
                        cx.fail(error);
                    }
                }
                Ok(None) => return,
                Err(error) => return cx.fail(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    #[test]
    fn a_subscriber_pings_and_leaves_a_peer_that_does_not_answer() {
        let heard = Rc::<RefCell<Heard>>::default();
        let mut peer = testing::drive(Client::new(Role::Subscriber(Rc::clone(&heard)), None));
        assert_eq!(peer.take_written(), b"SUB news 1\r\nPING\r\n");
        peer.feed(b"MSG news 1 2\r\n17\r\nPONG\r\n");
        assert_eq!(heard.borrow().numbers.first(), Some(&17));
        peer.advance(PING_EVERY * (PINGS_MAX + 1) - Duration::from_nanos(1));
        assert_eq!(peer.take_written(), b"PING\r\n".repeat(PINGS_MAX as usize));
        assert!(!peer.is_lost());
        peer.advance(Duration::from_nanos(1));
        assert!(peer.is_lost());
    }

    #[test]
    fn a_publisher_goes_on_counting_over_all_its_connections() {
        let role = Role::Publisher(Rc::new(Cell::new(8)));
        let mut peer = testing::drive(Client::new(role, Some(Bug::NoPings)));
        peer.advance(PUBLISH_EVERY);
        assert_eq!(peer.take_written(), b"PUB news 1\r\n9\r\nPUB news 2\r\n10\r\n");
    }

    #[test]
    fn what_is_heard_twice_is_noticed() {
        let mut heard = Heard::default();
        heard.note(1);
        heard.note(2);
        assert!(!heard.is_any_twice());
        heard.note(1);
        assert!(heard.is_any_twice());
    }
}
