//! The other end of a driven stream protocol.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::script::{ScriptDriver, SocketEnd, shared};
use crate::driver::{Driver, Next, Source};
use crate::engine::{Engine, EngineMemory};
use crate::protocol::Attach;
use crate::transport::Medium;
use crate::transport::stream::Stream;
use crate::{Conn, Cx, Loop, Transport};

/// The most turns that one instant may take before a driven protocol counts as a livelock.
const TURNS_PER_INSTANT: usize = 100_000;

/// The test's end of a protocol's connection; [`drive`] makes one.
///
/// Every method runs the loop until nothing is left to do at this instant, so what it caused has
/// happened when it returns.
pub struct Peer<P: 'static> {
    engine: Engine,
    driver: Rc<ScriptDriver>,
    source: Source,
    conn: Conn<P>,
}

/// Gives `protocol` a connection to a peer that takes everything at once.
pub fn drive<P: Attach<K>, K>(protocol: P) -> Peer<P> {
    drive_with_window(protocol, usize::MAX)
}

/// Gives `protocol` a connection to a peer that takes `window` bytes, and more when told to by
/// [`Peer::take`].
pub fn drive_with_window<P: Attach<K>, K>(protocol: P, window: usize) -> Peer<P> {
    let driver = shared();
    let engine = Engine::new(Rc::clone(&driver) as Rc<dyn Driver>, EngineMemory::default());
    let source = driver.add_socket(window);
    let stream = Stream::new(&engine.handle(), source, Medium::Internet, None);
    let conn = protocol.attach(&Transport(Rc::clone(&stream)));
    stream.start(None);
    let peer = Peer { engine, driver, source, conn };
    peer.settle();
    peer
}

/// Turns the engine until it wants nothing at this instant.
pub(super) fn settle(engine: &Engine, driver: &ScriptDriver) {
    let mut events = Vec::new();
    for _ in 0..TURNS_PER_INSTANT {
        driver.take_events(&mut events);
        let now = driver.now();
        let ready = match engine.next() {
            Next::Now => true,
            Next::At(time) => time <= now,
            Next::Never => false,
        };
        if !ready && events.is_empty() {
            return;
        }
        engine.turn(now, &mut events);
    }
    panic!("the protocol under test keeps the loop busy for ever at {}", driver.now());
}

/// Lets `time` pass, stopping at every deadline on the way.
pub(super) fn advance(engine: &Engine, driver: &ScriptDriver, time: Duration) {
    let end = driver.now() + time;
    loop {
        settle(engine, driver);
        match engine.next() {
            Next::At(next) if next <= end => driver.set_now(next),
            _ => break,
        }
    }
    driver.set_now(end);
    settle(engine, driver);
}

impl<P: 'static> Peer<P> {
    /// Sends bytes to the protocol, as one segment.
    pub fn feed(&mut self, data: &[u8]) {
        self.driver.feed(self.source, data);
        self.settle();
    }

    /// Sends the end of the stream.
    pub fn feed_eof(&mut self) {
        self.driver.feed_eof(self.source);
        self.settle();
    }

    /// Resets the connection: reads fail with `ECONNRESET` after what was fed, writes with `EPIPE`.
    pub fn reset(&mut self) {
        self.driver.feed_error(self.source, 104);
        self.driver.fail_writes(self.source, 32);
        self.settle();
    }

    /// What the protocol wrote and the network took since the last call.
    pub fn take_written(&mut self) -> Vec<u8> {
        self.driver.take_outgoing(self.source)
    }

    /// Lets the network take `bytes` more bytes.
    pub fn take(&mut self, bytes: usize) {
        self.driver.widen(self.source, bytes);
        self.settle();
    }

    /// Lets time pass on the protocol's clock.
    pub fn advance(&mut self, time: Duration) {
        advance(&self.engine, &self.driver, time);
    }

    /// Runs what was caused from outside, by [`conn`](Self::conn) or a clone of the transport.
    ///
    /// # Panics
    ///
    /// If the protocol keeps the loop busy for ever at one instant, and with what a callback
    /// panicked with.
    pub fn settle(&self) {
        settle(&self.engine, &self.driver);
    }

    /// Enters the protocol, and runs what that causes.
    #[track_caller]
    pub fn with<R>(&mut self, code: impl FnOnce(&mut P, &mut Cx<'_, P>) -> R) -> R {
        let value = self.conn.with(code);
        self.settle();
        value
    }

    /// The pair of transport and protocol.
    pub fn conn(&self) -> Conn<P> {
        self.conn.clone()
    }

    /// The protocol's transport.
    pub fn transport(&self) -> Transport {
        self.conn.transport().clone()
    }

    /// The protocol's loop.
    pub fn event_loop(&self) -> Loop {
        self.engine.handle()
    }

    /// True when the protocol has sent the end of its stream, by `write_eof` or `close`.
    pub fn is_eof_written(&self) -> bool {
        matches!(self.driver.end(self.source), SocketEnd::HalfClosed | SocketEnd::Closed)
    }

    /// True when the protocol has reset the connection, by `abort` or `fail`.
    pub fn is_reset(&self) -> bool {
        self.driver.end(self.source) == SocketEnd::Reset
    }

    /// True when `connection_lost` has returned.
    pub fn is_lost(&self) -> bool {
        self.lost().is_some()
    }

    /// What `connection_lost` got, if it has returned.
    pub fn lost(&self) -> Option<Option<io::Error>> {
        let outcome = self.conn.transport().0.outcome()?;
        Some(outcome.map(|error| error.to_io()))
    }
}

impl<P: 'static> fmt::Debug for Peer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("conn", &self.conn).finish_non_exhaustive()
    }
}
