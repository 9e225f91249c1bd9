//! The workloads that are measured: those of the peers' benchmark programs, on this project's API.
//!
//! Each runs to its end and returns how many operations that were. The letters are those of the
//! peers' programs: S1 timers, S2 TCP round trips, S2u over UDP, S3 bulk, S4 many clients, S5
//! datagrams one way, S6 gossip, S7 whole worlds, R1 and R4 timers of the real loop. S2m and S2s are this project's own:
//! messages that are echoed one by one, by callbacks and by streams.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::stream::{StreamReader, StreamWriter};
use sim_core::{
    Cx, DatagramProtocol, DatagramTransport, EventLoop, Loop, LoopFuture, Protocol, Rng, Timer,
    World,
};
use sim_net::{Link, Memory, Sim};

use crate::echo::Echo;

const ECHO_PORT: u16 = 7;

/// Sends a message, waits for its echo, and again, `left` times.
struct Ping {
    message: Vec<u8>,
    left: u64,
    got: usize,
    done: LoopFuture<()>,
}

impl Ping {
    fn new(lp: &Loop, size: usize, rounds: u64) -> Self {
        Self { message: vec![7; size], left: rounds, got: 0, done: lp.create_future() }
    }

    /// True if there is another round to send.
    fn next_round(&mut self) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.done.set_result(()).expect("only the last round sets it");
        }
        self.left > 0
    }
}

impl Protocol for Ping {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&self.message);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.got += data.len();
        if self.got == self.message.len() {
            self.got = 0;
            if self.next_round() {
                cx.write(&self.message);
            }
        }
    }
}

impl DatagramProtocol for Ping {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self, DatagramTransport>) {
        cx.send_to(&self.message, None).expect("the endpoint is connected");
    }

    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        _data: &[u8],
        _from: SocketAddr,
    ) {
        if self.next_round() {
            cx.send_to(&self.message, None).expect("the endpoint is connected");
        }
    }
}

fn sim<F, R>(seed: u64, scenario: F)
where
    F: FnOnce(World) -> R,
    R: Future<Output = io::Result<()>> + 'static,
{
    Sim::new(seed).run(scenario).unwrap();
}

/// S1: `pending` timers, each of which arms itself again until `fires` have fired in all.
pub fn timers(lp: &EventLoop, pending: u64, fires: u64, delay_max: Duration) -> u64 {
    struct Shared {
        lp: Loop,
        rng: std::cell::RefCell<Rng>,
        left: Cell<u64>,
        delay_max: u64,
        stop: sim_core::StopHandle,
    }
    fn arm(shared: Rc<Shared>) {
        let delay = 1 + shared.rng.borrow_mut().below(shared.delay_max);
        let lp = shared.lp.clone();
        let fire = move || match shared.left.get() {
            0 => shared.stop.stop(),
            left => {
                shared.left.set(left - 1);
                arm(shared);
            }
        };
        lp.call_later(Duration::from_nanos(delay), fire).detach();
    }
    let shared = Rc::new(Shared {
        lp: (**lp).clone(),
        rng: Rng::from_seed([1; 32]).into(),
        left: Cell::new(fires),
        delay_max: delay_max.as_nanos() as u64,
        stop: lp.stop_handle(),
    });
    for _ in 0..pending {
        arm(Rc::clone(&shared));
    }
    lp.run_forever().expect("it is stopped");
    fires
}

/// R4: `count` timers due in one to two seconds, every other one cancelled before.
pub fn timers_half_cancelled(lp: &EventLoop, count: u64) -> u64 {
    let mut rng = Rng::from_seed([4; 32]);
    let (left, stop) = (Rc::new(Cell::new(count.div_ceil(2))), lp.stop_handle());
    let mut timers = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let delay = rng.duration(Duration::from_secs(1)..Duration::from_secs(2));
        let (left, stop) = (Rc::clone(&left), stop.clone());
        timers.push(lp.call_later(delay, move || {
            left.set(left.get() - 1);
            if left.get() == 0 {
                stop.stop();
            }
        }));
    }
    for timer in timers.iter().skip(1).step_by(2) {
        timer.cancel();
    }
    lp.run_forever().expect("it is stopped");
    count
}

/// S1 with tasks: `tasks` of them, each of which sleeps `sleeps` times.
pub fn sleeps(lp: &EventLoop, tasks: u64, sleeps: u64, delay_max: Duration) -> u64 {
    let handle = (**lp).clone();
    let all = async move {
        let mut running = Vec::new();
        for task in 0..tasks {
            let lp = handle.clone();
            running.push(handle.create_task(async move {
                let mut rng = Rng::from_seed([task as u8; 32]);
                for _ in 0..sleeps {
                    lp.sleep(rng.duration(Duration::from_nanos(1)..delay_max)).await;
                }
            }));
        }
        for task in running {
            task.await.expect("it sleeps and returns");
        }
    };
    lp.run_until_complete(all).expect("it ends");
    tasks * sleeps
}

/// S2: TCP round trips of `size` bytes between two hosts.
pub fn tcp_round_trips(rounds: u64, size: usize) -> u64 {
    sim(42, move |world| tcp_echo(world, rounds, size));
    rounds
}

/// What S2 does, in any world.
///
/// # Errors
///
/// What connecting and listening give.
pub async fn tcp_echo(world: World, rounds: u64, size: usize) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let listening = server.create_server(("server", ECHO_PORT), || Echo).await?;
    let ping = Ping::new(&client, size, rounds);
    let done = ping.done.clone();
    let _conn = client.create_connection(listening.sockets()[0], || ping).await?;
    Ok(done.await?)
}

/// Sends `window` messages at once, waits for their echoes, and again, until none is left.
struct Burst {
    messages: Vec<u8>,
    left: u64,
    got: usize,
    done: LoopFuture<()>,
}

impl Protocol for Burst {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&self.messages);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.got += data.len();
        if self.got < self.messages.len() {
            return;
        }
        self.got = 0;
        self.left -= 1;
        match self.left {
            0 => self.done.set_result(()).expect("only the last burst sets it"),
            _ => cx.write(&self.messages),
        }
    }
}

/// Echoes messages of `size` bytes, each with a write of its own.
struct MessageEcho {
    size: usize,
    begun: Vec<u8>,
}

impl Protocol for MessageEcho {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, mut data: &[u8]) {
        if !self.begun.is_empty() {
            let rest = data.len().min(self.size - self.begun.len());
            self.begun.extend_from_slice(&data[..rest]);
            data = &data[rest..];
            if self.begun.len() < self.size {
                return;
            }
            cx.write(&self.begun);
            self.begun.clear();
        }
        let messages = data.chunks_exact(self.size);
        self.begun.extend_from_slice(messages.remainder());
        messages.for_each(|message| cx.write(message));
    }
}

/// Who echoes the messages of S2m and S2s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echoing {
    /// A protocol's callback.
    Callbacks,
    /// A task that reads from a stream and writes to it.
    Streams,
}

/// S2m, S2s: `bursts` of `window` messages of `size` bytes that a server echoes one by one.
pub fn messages(echoing: Echoing, bursts: u64, window: usize, size: usize) -> u64 {
    sim(42, move |world| message_echo(world, echoing, bursts, window, size));
    bursts * window as u64
}

/// What S2m and S2s do, in any world.
///
/// # Errors
///
/// What connecting and listening give.
pub async fn message_echo(
    world: World,
    echoing: Echoing,
    bursts: u64,
    window: usize,
    size: usize,
) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let addr = ("server", ECHO_PORT);
    match echoing {
        Echoing::Callbacks => {
            server.create_server(addr, move || MessageEcho { size, begun: Vec::new() }).await?
        }
        Echoing::Streams => {
            let echo = move |mut reader: StreamReader, writer: StreamWriter| async move {
                let mut message = vec![0; size];
                while reader.read_exact_into(&mut message).await.is_ok() {
                    writer.write(&message);
                    writer.drain().await?;
                }
                io::Result::Ok(())
            };
            server.start_server(addr, echo).await?
        }
    };
    let (done, messages) = (client.create_future(), vec![7; size * window]);
    let burst = Burst { messages, left: bursts, got: 0, done: done.clone() };
    let _conn = client.create_connection(addr, || burst).await?;
    Ok(done.await?)
}

/// S2u: UDP round trips.
pub fn udp_round_trips(rounds: u64, size: usize) -> u64 {
    sim(42, move |world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.datagram().local(("server", ECHO_PORT)).bind(|| Echo).await?;
        let ping = Ping::new(&client, size, rounds);
        let done = ping.done.clone();
        let _ping = client.datagram().remote(("server", ECHO_PORT)).bind(|| ping).await?;
        Ok(done.await?)
    });
    rounds
}

/// S3: one-way bulk, in writes of `chunk` bytes.
pub fn bulk(mib: u64, chunk: usize) -> u64 {
    struct Source {
        chunk: Vec<u8>,
        left: u64,
    }
    impl Source {
        fn pump(&mut self, cx: &mut Cx<'_, Self>) {
            while cx.is_writable() && self.left > 0 {
                cx.write(&self.chunk);
                self.left -= 1;
            }
            if self.left == 0 {
                cx.close();
            }
        }
    }
    impl Protocol for Source {
        fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
            self.pump(cx);
        }
        fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
            self.pump(cx);
        }
        fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
    }
    struct Sink {
        received: Rc<Cell<u64>>,
        copy: Vec<u8>,
    }
    impl Protocol for Sink {
        fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
            self.copy.clear();
            self.copy.extend_from_slice(data);
            self.received.set(self.received.get() + data.len() as u64);
        }
    }
    let writes = (mib << 20) / chunk as u64;
    sim(42, move |world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let received = Rc::new(Cell::new(0));
        let count = Rc::clone(&received);
        let sink = move || Sink { received: Rc::clone(&count), copy: Vec::new() };
        let listening = server.create_server(("server", ECHO_PORT), sink).await?;
        let source = Source { chunk: vec![7; chunk], left: writes };
        let conn = client.create_connection(("server", ECHO_PORT), || source).await?;
        conn.closed().await?;
        listening.close();
        listening.wait_closed().await;
        assert_eq!(received.get(), writes * chunk as u64);
        Ok(())
    });
    writes
}

/// S4: `hosts` client hosts with `requests` TCP round trips each to one server.
pub fn many_clients(hosts: u64, requests: u64) -> u64 {
    sim(42, move |world| async move {
        let server = world.host("server");
        let builder = server.server().backlog(hosts as u32);
        let listening = builder.bind(("server", ECHO_PORT), || Echo).await?;
        let mut running = Vec::new();
        for number in 0..hosts {
            let client = world.host(&format!("client-{number}"));
            let ping = Ping::new(&client, 64, requests);
            let done = ping.done.clone();
            let (lp, addr) = (client.clone(), listening.sockets()[0]);
            running.push(client.create_task(async move {
                let conn = lp.create_connection(addr, || ping).await?;
                done.await?;
                drop(conn);
                io::Result::Ok(())
            }));
        }
        for task in running {
            task.await.map_err(io::Error::from)??;
        }
        Ok(())
    });
    hosts * requests
}

/// S5: datagrams of `size` bytes one way, `burst` every millisecond, of which 5 % are lost.
pub fn datagrams(count: u64, size: usize, burst: u64) -> u64 {
    struct Source {
        message: Vec<u8>,
        left: u64,
        burst: u64,
        timer: Option<Timer>,
        done: LoopFuture<()>,
    }
    impl Source {
        fn send(&mut self, cx: &mut Cx<'_, Self, DatagramTransport>) {
            for _ in 0..self.burst.min(self.left) {
                cx.send_to(&self.message, None).expect("the endpoint is connected");
                self.left -= 1;
            }
            if self.left == 0 {
                self.done.set_result(()).expect("only the last burst sets it");
                return;
            }
            self.timer = Some(cx.call_later(Duration::from_millis(1), Self::send));
        }
    }
    impl DatagramProtocol for Source {
        fn connection_made(&mut self, cx: &mut Cx<'_, Self, DatagramTransport>) {
            self.send(cx);
        }
        fn datagram_received(
            &mut self,
            _cx: &mut Cx<'_, Self, DatagramTransport>,
            _data: &[u8],
            _from: SocketAddr,
        ) {
        }
    }
    struct Sink(Rc<Cell<u64>>);
    impl DatagramProtocol for Sink {
        fn datagram_received(
            &mut self,
            _cx: &mut Cx<'_, Self, DatagramTransport>,
            _data: &[u8],
            _from: SocketAddr,
        ) {
            self.0.set(self.0.get() + 1);
        }
    }
    let link: Link = "latency=1ms,loss=5%".parse().expect("a link");
    let lossy = Sim::new(42).link(link).run(move |world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let received = Rc::new(Cell::new(0));
        let sink = Sink(Rc::clone(&received));
        let _sink = server.datagram().local(("server", ECHO_PORT)).bind(|| sink).await?;
        let (done, message) = (client.create_future(), vec![7; size]);
        let source = Source { message, left: count, burst, timer: None, done: done.clone() };
        let _source = client.datagram().remote(("server", ECHO_PORT)).bind(|| source).await?;
        done.await?;
        world.settle().await;
        // Within six standard deviations.
        let lost = count - received.get();
        assert!(lost.abs_diff(count / 20) <= count / 100 + 50, "{lost} of {count} were lost");
        io::Result::Ok(())
    });
    lossy.unwrap();
    count
}

/// S7: builds `count` worlds of two hosts, each with a TCP connection and one round trip, as a search does: in
/// the memory of the one before.
pub fn worlds(count: u64) -> u64 {
    let memory = Memory::default();
    for seed in 0..count {
        Sim::new(seed).run_in(&memory, |world| tcp_echo(world, 1, 64)).unwrap();
    }
    count
}

/// S6: each of `hosts` hosts sends a datagram of 64 bytes to another that it picks, once in a `period`, for
/// `seconds` of virtual time; how many datagrams that were.
pub fn gossip(hosts: u64, period: Duration, seconds: u64) -> u64 {
    struct Gossip {
        own: usize,
        members: Rc<[SocketAddr]>,
        period: Duration,
        left: u64,
        rng: Rng,
        timer: Option<Timer>,
        received: Rc<Cell<u64>>,
        done: LoopFuture<()>,
    }
    impl Gossip {
        fn send(&mut self, cx: &mut Cx<'_, Self, DatagramTransport>) {
            let other = self.rng.below(self.members.len() as u64 - 1) as usize;
            let other = other + usize::from(other >= self.own);
            cx.send_to(&[1; 64], Some(self.members[other])).expect("the network is up");
            self.left -= 1;
            if self.left == 0 {
                self.done.set_result(()).expect("only the last datagram sets it");
                return;
            }
            self.timer = Some(cx.call_later(self.period, Self::send));
        }
    }
    impl DatagramProtocol for Gossip {
        fn connection_made(&mut self, cx: &mut Cx<'_, Self, DatagramTransport>) {
            let first = Duration::from_nanos(self.rng.below(self.period.as_nanos() as u64));
            self.timer = Some(cx.call_later(first, Self::send));
        }
        fn datagram_received(
            &mut self,
            _cx: &mut Cx<'_, Self, DatagramTransport>,
            _data: &[u8],
            _from: SocketAddr,
        ) {
            self.received.set(self.received.get() + 1);
        }
    }
    let each = (Duration::from_secs(seconds).as_nanos() / period.as_nanos()) as u64;
    sim(42, move |world| async move {
        let mut members = Vec::new();
        for own in 0..hosts {
            let host = world.host(&format!("host-{own}"));
            members.extend(host.getaddrinfo((format!("host-{own}"), ECHO_PORT)).await?.first());
        }
        let (members, received): (Rc<[SocketAddr]>, _) = (members.into(), Rc::new(Cell::new(0)));
        let mut running = Vec::new();
        for (own, &addr) in members.iter().enumerate() {
            let host = world.host(&format!("host-{own}"));
            let member = Gossip {
                own,
                members: Rc::clone(&members),
                period,
                left: each,
                rng: host.rng("gossip"),
                timer: None,
                received: Rc::clone(&received),
                done: host.create_future(),
            };
            let done = member.done.clone();
            running.push((host.datagram().local(addr).bind(|| member).await?, done));
        }
        for (_, done) in &running {
            done.clone().await?;
        }
        world.settle().await;
        assert_eq!(received.get(), hosts * each);
        Ok(())
    });
    hosts * each
}

/// S8: `hosts` hosts that do nothing. Their memory is what the process takes for each beyond none.
pub fn idle_hosts(hosts: u64) -> u64 {
    sim(42, move |world| async move {
        for number in 0..hosts {
            world.host(&format!("host-{number}"));
        }
        Ok(())
    });
    hosts
}

/// S9: `connections` between two hosts, all open at once.
pub fn open_connections(connections: u64) -> u64 {
    sim(42, move |world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut open = Vec::new();
        // Each port of the server has room for as many as there are ephemeral ports.
        for port in 0..connections.div_ceil(20_000) as u16 {
            let builder = server.server().backlog(20_000);
            open.push((builder.bind(("server", ECHO_PORT + port), || Echo).await?, Vec::new()));
        }
        for number in 0..connections {
            let port = (number / 20_000) as u16;
            let conn = client.create_connection(("server", ECHO_PORT + port), || Echo).await?;
            open[usize::from(port)].1.push(conn);
        }
        Ok(())
    });
    connections
}
