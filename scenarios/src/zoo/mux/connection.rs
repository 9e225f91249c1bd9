//! Both sides with connections and timers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Loop, LoopFuture, Protocol, Timer};

use super::fetcher::{Event, Fetcher};
use super::store::Store;
use super::{Bug, body_of};
use crate::Progress;

/// How many bodies are fetched at a time.
const UNDER_WAY_MAX: usize = 3;
/// How long a body may take; when it is fetched again twice as long, up to [`PATIENCE_MAX`].
const PATIENCE_MIN: Duration = Duration::from_millis(150);
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// Fetches the bodies under the keys from 0 on, and closes its connection after the last.
#[derive(Debug)]
pub struct Client {
    fetcher: Fetcher,
    /// The keys that were not asked for.
    keys: std::ops::Range<u32>,
    under_way: BTreeMap<u32, Fetch>,
    is_any_wrong: bool,
    bodies: Progress,
}

/// A body that is on its way.
#[derive(Debug)]
struct Fetch {
    key: u32,
    patience: Duration,
    /// Gives it up; dropped, so cancelled, when it has come.
    _deadline: Timer,
}

impl Client {
    /// A client of so many bodies.
    pub fn new(bodies: u32, bug: Option<Bug>) -> Self {
        Self {
            fetcher: Fetcher::new(bug),
            keys: 0..bodies,
            under_way: BTreeMap::new(),
            is_any_wrong: false,
            bodies: Progress::default(),
        }
    }

    /// Completes when so many bodies have come.
    pub fn has(&mut self, lp: &Loop, bodies: u64) -> LoopFuture<()> {
        self.bodies.reaches(lp, bodies)
    }

    /// True if every body that came was its key's.
    pub fn are_all_right(&self) -> bool {
        !self.is_any_wrong
    }

    fn fetch(&mut self, cx: &Cx<'_, Self>, key: u32, patience: Duration) {
        let stream = self.fetcher.fetch(key);
        let deadline = cx.call_later(patience, move |this, cx| this.give_up(cx, stream));
        self.under_way.insert(stream, Fetch { key, patience, _deadline: deadline });
    }

    fn give_up(&mut self, cx: &Cx<'_, Self>, stream: u32) {
        if let Some(Fetch { key, patience, .. }) = self.under_way.remove(&stream) {
            self.fetcher.reset(stream);
            self.fetch(cx, key, (patience * 2).min(PATIENCE_MAX));
            cx.write(&self.fetcher.take_output());
        }
    }

    /// Fetches what may be fetched; asks for a last sign of life when nothing is left.
    fn pump(&mut self, cx: &Cx<'_, Self>) {
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(key) = self.keys.next()
        {
            self.fetch(cx, key, PATIENCE_MIN);
        }
        if self.under_way.is_empty() {
            self.fetcher.ping();
        }
    }

    fn note(&mut self, cx: &Cx<'_, Self>, event: Event) {
        match event {
            Event::Body(stream, body) => {
                let fetch = self.under_way.remove(&stream);
                self.is_any_wrong |= fetch.is_none_or(|fetch| body_of(fetch.key) != body);
                self.bodies.add(1);
                self.pump(cx);
            }
            Event::Pong => self.fetcher.return_credit(),
        }
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.pump(cx);
        cx.write(&self.fetcher.take_output());
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        let events = match self.fetcher.feed(data) {
            Ok(events) => events,
            Err(error) => return cx.fail(error.into()),
        };
        let is_last = events.contains(&Event::Pong);
        for event in events {
            self.note(cx, event);
        }
        cx.write(&self.fetcher.take_output());
        if is_last {
            cx.close();
        }
    }
}

/// The server's side of a connection. When it ends, its credit is noted.
#[derive(Debug)]
pub struct Server {
    store: Store,
    credit_left: Rc<Cell<Option<u32>>>,
}

impl Server {
    /// A connection that notes its last credit there.
    pub fn new(credit_left: Rc<Cell<Option<u32>>>) -> Self {
        Self { store: Store::new(), credit_left }
    }
}

impl Protocol for Server {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        match self.store.feed(data) {
            Ok(()) => cx.write(&self.store.take_output()),
            Err(error) => cx.fail(error.into()),
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        self.credit_left.set(Some(self.store.credit()));
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::super::frame::{Frame, Kind};
    use super::super::{CONNECTION_CREDIT, Decoder};
    use super::*;

    fn frames(written: &[u8]) -> Vec<(u32, Kind)> {
        let mut decoder = Decoder::default();
        decoder.feed(written);
        let frames = std::iter::from_fn(|| decoder.poll().unwrap());
        frames.map(|Frame { stream, kind }| (stream, kind)).collect()
    }

    #[test]
    fn a_late_body_is_given_up_and_fetched_again() {
        let mut peer = testing::drive(Client::new(1, None));
        assert_eq!(frames(&peer.take_written()), [(1, Kind::Fetch(0))]);
        peer.advance(PATIENCE_MIN);
        assert_eq!(frames(&peer.take_written()), [(1, Kind::Reset), (3, Kind::Fetch(0))]);
        peer.advance(PATIENCE_MIN * 2);
        assert_eq!(frames(&peer.take_written()), [(3, Kind::Reset), (5, Kind::Fetch(0))]);
    }

    #[test]
    fn client_and_server_agree_and_no_credit_is_lost() {
        let left = Rc::<Cell<Option<u32>>>::default();
        let mut client = testing::drive(Client::new(4, None));
        let mut server = testing::drive(Server::new(Rc::clone(&left)));
        while !client.is_lost() {
            server.feed(&client.take_written());
            client.feed(&server.take_written());
        }
        server.feed(&client.take_written());
        server.feed_eof();
        client.with(|client, _| assert!(client.are_all_right() && client.bodies.count() == 4));
        assert_eq!(left.get(), Some(CONNECTION_CREDIT));
    }
}
