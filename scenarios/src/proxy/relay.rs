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
/// See [`Proxy::idle`].
const IDLE_MAX: Duration = Duration::from_secs(300);

/// A TCP proxy: it connects to an upstream for each of its clients, and passes on what each of the two
/// says. Clones are handles of the same proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    upstream: HostPort,
    idle_max: Duration,
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
        let (upstream, meter) = (upstream.to_host_port(), Rc::clone(meter));
        Self { upstream, idle_max: IDLE_MAX, flaw, meter }
    }

    /// How long nothing may pass, in either direction, before both connections are given up, since the
    /// news that one is gone may be lost; five minutes unless this says otherwise.
    #[must_use]
    pub fn idle(mut self, max: Duration) -> Self {
        self.idle_max = max;
        self
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
    /// How much waited to be written, on both sides, when somebody last looked.
    waiting: Cell<usize>,
}

impl Pair {
    /// How much waits to be written, on both sides.
    fn waits(&self) -> usize {
        let upstream = self.upstream.borrow();
        let upstream = upstream.as_ref().map_or(0, Transport::write_buffer_size);
        self.client.write_buffer_size() + upstream
    }
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
        let due = pair.moved.get() + self.proxy.idle_max;
        self.idle = Some(cx.call_at(due, |side, cx| {
            let Some(pair) = &side.pair else { return };
            let (now, waits) = (cx.event_loop().time(), pair.waits());
            // Who takes what waits, however slowly, is there.
            if pair.waiting.replace(waits) != waits {
                pair.moved.set(now);
            }
            if now < pair.moved.get() + side.proxy.idle_max {
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
                    waiting: Cell::new(0),
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
        // One that is aborted here has no error, and did not end in good order either.
        let is_whole = self.pair.as_ref().is_some_and(|pair| pair.ends.get() == 2);
        if error.is_none() && is_whole || self.proxy.flaw == Flaw::EndsCleanly {
            other.close();
        } else {
            other.abort();
        }
    }

    fn digest(&self) -> Option<String> {
        let held = self.other().map_or(0, |other| other.write_buffer_size());
        Some(format!("{:?}, {held} bytes wait on the other side", self.end))
    }
}

#[cfg(test)]
mod tests {
    use sim_core::World;
    use sim_core::stream::{StreamReader, StreamWriter};
    use sim_net::Sim;

    use super::*;

    /// What an origin reads of a client, and how that ended, when `end` befalls the proxy.
    fn read_by_origin(
        idle: Duration,
        end: impl FnOnce(&Server) + 'static,
    ) -> Result<usize, io::ErrorKind> {
        Sim::new(1)
            .run(|world: World| async move {
                let (origin, host) = (world.host("origin"), world.host("proxy"));
                let got = origin.create_future();
                let told = got.clone();
                let read = move |mut reader: StreamReader, writer: StreamWriter| {
                    let told = told.clone();
                    async move {
                        let _writer = writer;
                        let read = reader.read_to_end().await;
                        drop(told.set_result(read.map(|all| all.len()).map_err(|e| e.kind())));
                    }
                };
                let _origin = origin.start_server(("origin", 1), read).await?;
                let proxy = Proxy::new(("origin", 1), &Rc::default()).idle(idle);
                let proxy = proxy.listen(&host, ("proxy", 1), 1 << 16).await?;
                let client = world.host("client").open_connection(("proxy", 1)).await?;
                client.1.write(b"half of");
                world.sleep(Duration::from_secs(1)).await;
                end(&proxy);
                io::Result::Ok(got.await?)
            })
            .unwrap()
    }

    #[test]
    fn a_proxy_that_stops_tells_no_half_for_a_whole() {
        let stopped = read_by_origin(Duration::from_secs(60), Server::abort_clients);
        assert_eq!(stopped, Err(io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn connections_on_which_nothing_passes_are_given_up() {
        let idle = read_by_origin(Duration::from_secs(2), |_| ());
        assert_eq!(idle, Err(io::ErrorKind::ConnectionReset));
    }
}
