//! The proxy: two connections, and what passes between them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{
    BufferedProtocol, Cx, Eof, HostPort, Loop, Server, Time, Timer, ToHostPort, Transport,
    WriteBufferLimits,
};

use super::Flaw;

/// The water marks of both connections.
const LIMITS: WriteBufferLimits = WriteBufferLimits { high: 16 << 10, low: 4 << 10 };
/// How much one read takes.
const READ_BYTES: usize = 8 << 10;
/// The most that may wait to be written to one side: what it holds when it is told to pause, and the
/// read that filled it.
pub const HELD_MAX: usize = LIMITS.high + READ_BYTES;
/// How long a connection to the upstream may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long nothing may pass before both connections are given up: the news that one is gone may be
/// lost.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// A TCP proxy: it connects to an upstream for each of its clients, and passes on what each of the two
/// says. Clones are handles of the same proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    upstream: HostPort,
    flaw: Flaw,
    meter: Rc<Meter>,
}

/// What a proxy has under way. It is shared by a proxy's lives.
#[derive(Debug, Default)]
pub struct Meter {
    connections: Cell<usize>,
    held_max: Cell<usize>,
}

impl Meter {
    /// How many connections it has, on both sides.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// The most bytes that have ever waited to be written to one side.
    pub fn held_max(&self) -> usize {
        self.held_max.get()
    }

    /// Its host starts anew: its connections went with the last life.
    pub fn restart(&self) {
        self.connections.set(0);
    }
}

impl Proxy {
    /// A proxy to `upstream`.
    pub fn new(upstream: impl ToHostPort, meter: &Rc<Meter>) -> Self {
        Self::with_flaw(upstream, meter, Flaw::None)
    }

    pub(super) fn with_flaw(upstream: impl ToHostPort, meter: &Rc<Meter>, flaw: Flaw) -> Self {
        Self { upstream: upstream.to_host_port(), flaw, meter: Rc::clone(meter) }
    }

    /// Listens at `addr`, with sockets whose buffers have `buffer_bytes` each.
    ///
    /// # Errors
    ///
    /// As [`Loop::create_server`].
    pub async fn listen(
        self,
        lp: &Loop,
        addr: impl ToHostPort,
        buffer_bytes: usize,
    ) -> io::Result<Server> {
        let server = lp.server().send_buffer(buffer_bytes).receive_buffer(buffer_bytes);
        server.bind(addr, move || Side::of_client(&self)).await
    }
}

/// Two connections that belong together.
#[derive(Debug)]
struct Pair {
    client: Transport,
    /// Once it is made.
    upstream: RefCell<Option<Transport>>,
    /// How many of the two have sent their ends.
    ends: Cell<u8>,
    /// When something passed.
    moved: Cell<Time>,
}

/// Which of the two a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Upstream,
}

/// One of the two connections: what it gets goes to the other.
///
/// It reads into a buffer of its own, so that a read has a bound, and with it what waits at the other.
#[derive(Debug)]
struct Side {
    end: End,
    proxy: Proxy,
    /// A client's is made with its connection.
    pair: Option<Rc<Pair>>,
    buffer: Box<[u8]>,
    idle: Option<Timer>,
}

impl Side {
    fn of_client(proxy: &Proxy) -> Self {
        Self::new(End::Client, proxy, None)
    }

    fn new(end: End, proxy: &Proxy, pair: Option<Rc<Pair>>) -> Self {
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Self { end, proxy: proxy.clone(), pair, buffer, idle: None }
    }

    /// The connection on the other side, if there is one.
    fn other(&self) -> Option<Transport> {
        let pair = self.pair.as_ref()?;
        match self.end {
            End::Client => pair.upstream.borrow().clone(),
            End::Upstream => Some(pair.client.clone()),
        }
    }

    /// Connects to the upstream; until that is done the client's bytes wait in the kernel.
    fn open_upstream(&self, cx: &mut Cx<'_, Self>, pair: &Rc<Pair>) {
        cx.pause_reading();
        let (lp, proxy, pair) = (cx.event_loop().clone(), self.proxy.clone(), Rc::clone(pair));
        let connected = async move {
            let make = || Side::new(End::Upstream, &proxy, Some(pair));
            let connecting = lp.create_connection(proxy.upstream.clone(), make);
            matches!(lp.timeout(CONNECT_MAX, connecting).await, Ok(Ok(_)))
        };
        cx.spawn(connected, |_, cx, is_connected| {
            if !is_connected {
                cx.close();
            }
        });
    }

    /// Gives both up when nothing has passed for long.
    fn watch(&mut self, cx: &Cx<'_, Self>) {
        let Some(pair) = &self.pair else { return };
        let due = pair.moved.get() + IDLE_MAX;
        self.idle = Some(cx.call_at(due, |side, cx| {
            let moved = side.pair.as_ref().map_or(Time::ZERO, |pair| pair.moved.get());
            if cx.event_loop().time() < moved + IDLE_MAX {
                return side.watch(cx);
            }
            cx.abort();
            if let Some(other) = side.other() {
                other.abort();
            }
        }));
    }
}

impl BufferedProtocol for Side {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.proxy.meter.connections.set(self.proxy.meter.connections.get() + 1);
        if let Err(error) = cx.set_write_buffer_limits(LIMITS) {
            return cx.fail(error);
        }
        match &self.pair {
            None => {
                let pair = Rc::new(Pair {
                    client: cx.transport().clone(),
                    upstream: RefCell::new(None),
                    ends: Cell::new(0),
                    moved: Cell::new(cx.event_loop().time()),
                });
                self.open_upstream(cx, &pair);
                self.pair = Some(pair);
            }
            Some(pair) => {
                pair.upstream.replace(Some(cx.transport().clone()));
                // If it went meanwhile, nobody will say anything on this one.
                if pair.client.is_closing() {
                    cx.abort();
                }
                pair.client.resume_reading();
            }
        }
        self.watch(cx);
    }

    fn get_buffer(&mut self, _cx: &mut Cx<'_, Self>, _hint: usize) -> &mut [u8] {
        &mut self.buffer
    }

    fn buffer_updated(&mut self, cx: &mut Cx<'_, Self>, bytes: usize) {
        let (Some(pair), Some(other)) = (&self.pair, self.other()) else { return };
        pair.moved.set(cx.event_loop().time());
        other.write(&self.buffer[..bytes]);
        let meter = &self.proxy.meter;
        meter.held_max.set(meter.held_max.get().max(other.write_buffer_size()));
    }

    fn eof_received(&mut self, _cx: &mut Cx<'_, Self>) -> Eof {
        let (Some(pair), Some(other)) = (&self.pair, self.other()) else { return Eof::Close };
        pair.ends.set(pair.ends.get() + 1);
        other.write_eof();
        if pair.ends.get() < 2 && self.proxy.flaw != Flaw::EndsTogether {
            return Eof::KeepOpen;
        }
        other.close();
        Eof::Close
    }

    fn pause_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        if self.proxy.flaw == Flaw::NoBackPressure {
            return;
        }
        if let Some(other) = self.other() {
            other.pause_reading();
        }
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        if let (Some(pair), Some(other)) = (&self.pair, self.other()) {
            pair.moved.set(cx.event_loop().time());
            other.resume_reading();
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.proxy.meter.connections.set(self.proxy.meter.connections.get() - 1);
        let Some(other) = self.other() else { return };
        match error {
            Some(_) if self.proxy.flaw != Flaw::EndsCleanly => other.abort(),
            _ => other.close(),
        }
    }

    fn digest(&self) -> Option<String> {
        let held = self.other().map_or(0, |other| other.write_buffer_size());
        Some(format!("{:?}, {held} bytes wait on the other side", self.end))
    }
}
