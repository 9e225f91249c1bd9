//! A sender that always has something to send, and how fast it gets through.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, Cx, LoopFuture, Protocol, Time, World};
use sim_net::{Link, Links, Sim};

use crate::transfer::SERVER;

/// Writes whenever there is room, until so many bytes are written.
pub(crate) struct Source {
    left: usize,
}

impl Source {
    fn pump(&mut self, cx: &mut Cx<'_, Self>) {
        while self.left > 0 && cx.transport().is_writable() {
            let length = self.left.min(65_536);
            cx.write(&[7; 65_536][..length]);
            self.left -= length;
        }
    }
}

impl Protocol for Source {
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        self.pump(cx);
    }
}

/// What has arrived so far.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) bytes: Cell<usize>,
    pub(crate) last: Cell<Time>,
    /// Set when `wanted` bytes are there.
    wanted: usize,
    done: RefCell<Option<LoopFuture<()>>>,
}

struct Sink(Rc<Arrived>);

impl Protocol for Sink {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        let bytes = self.0.bytes.get() + data.len();
        self.0.bytes.set(bytes);
        self.0.last.set(cx.event_loop().time());
        if bytes == self.0.wanted
            && let Some(done) = self.0.done.take()
        {
            done.set_result(()).ok();
        }
    }
}

/// A stream that has begun.
pub(crate) struct Stream {
    world: World,
    _server: sim_core::Server,
    _source: Conn<Source>,
    arrived: Rc<Arrived>,
    began: Time,
}

impl Stream {
    /// Connects, then sets all links, then begins to write up to `bytes`.
    pub(crate) async fn begin(
        world: World,
        links: Links,
        link: Link,
        bytes: usize,
        receive_buffer: Option<usize>,
    ) -> io::Result<Self> {
        let (client, server) = (world.host("client"), world.host("server"));
        let done = RefCell::new(Some(world.host("client").create_future()));
        let arrived = Rc::new(Arrived { wanted: bytes, done, ..Arrived::default() });
        let sink = arrived.clone();
        let mut builder = server.server();
        if let Some(bytes) = receive_buffer {
            builder = builder.receive_buffer(bytes);
        }
        let listening = builder.bind(SERVER, move || Sink(sink.clone())).await?;
        let source = client.create_connection(SERVER, move || Source { left: bytes }).await?;
        links.set(link).map_err(io::Error::other)?;
        let began = world.time();
        source.with(|source, cx| source.pump(cx));
        Ok(Self { world, _server: listening, _source: source, arrived, began })
    }

    /// Mbit/s from the beginning until everything has arrived, or for `limit`: bytes by the time of
    /// the last arrival.
    pub(crate) async fn finish(self, limit: Duration) -> f64 {
        let done = self.arrived.done.borrow().clone().expect("nothing has arrived yet");
        self.world.timeout(limit, done).await.ok();
        let took = self.arrived.last.get() - self.began;
        megabits(self.arrived.bytes.get(), took)
    }

    /// Mbit/s in the next `time`, after `settling`.
    pub(crate) async fn during(&self, settling: Duration, time: Duration) -> f64 {
        self.world.sleep(settling).await;
        let before = self.arrived.bytes.get();
        self.world.sleep(time).await;
        megabits(self.arrived.bytes.get() - before, time)
    }
}

fn megabits(bytes: usize, time: Duration) -> f64 {
    bytes as f64 * 8.0 / 1e6 / time.as_secs_f64()
}

/// A link, from its text.
pub(crate) fn link(text: &str) -> Link {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Runs what a stream does in a simulation whose handshake loses nothing.
pub(crate) fn over<R, T>(sim: &Sim, delay: Duration, scenario: impl FnOnce(World, Links) -> R) -> T
where
    R: Future<Output = io::Result<T>> + 'static,
    T: 'static,
{
    sim.clone().latency(delay).run_with_links(scenario).unwrap()
}
