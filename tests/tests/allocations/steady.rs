//! No round of a steady workload allocates, beyond what the user's own closures capture.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{
    BufferedProtocol, Conn, Cx, DatagramProtocol, DatagramTransport, HostPort, Loop, LoopFuture,
    Protocol, Timer, ToHostPort, World, WriteBufferLimits,
};
use sim_net::Sim;
use tests::echo::Echo;

use crate::allocations;

/// Rounds that are enough for every buffer to have grown to its size.
const ROUNDS: u64 = 500;
const SERVER: (&str, u16) = ("server", 7000);
const TICK: Duration = Duration::from_micros(700);

/// What is left over on the real loop: how large buffers grow depends on what the kernel takes.
const STRAY: u64 = 8;

/// Runs `workload` with some rounds, and with twice as many, and fails if that allocates more.
#[track_caller]
fn is_steady(stray: u64, mut workload: impl FnMut(u64)) {
    // What a process or a thread needs once.
    workload(ROUNDS);
    let some = allocations(|| workload(ROUNDS));
    let twice = allocations(|| workload(2 * ROUNDS));
    let more = twice.saturating_sub(some);
    assert!(more <= stray, "{more} allocations more in {ROUNDS} rounds more: {some}, then {twice}");
}

fn on_sim<R: Future<Output = io::Result<()>> + 'static>(
    scenario: impl Fn(World, u64) -> R,
) -> impl FnMut(u64) {
    move |rounds| {
        let jitter = Duration::from_micros(500)..Duration::from_micros(1500);
        Sim::new(1).latency(jitter).run(|world| scenario(world, rounds)).unwrap();
    }
}

fn on_real<R: Future<Output = io::Result<()>> + 'static>(
    scenario: impl Fn(World, u64) -> R,
) -> impl FnMut(u64) {
    move |rounds| real_net::run(|world| scenario(world, rounds)).unwrap()
}

/// Counts rounds down, and tells the scenario.
struct Countdown {
    left: u64,
    done: LoopFuture<()>,
}

impl Countdown {
    fn new(lp: &Loop, rounds: u64) -> Self {
        Self { left: rounds, done: lp.create_future() }
    }

    /// True if there is another round.
    fn next(&mut self) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.done.set_result(()).expect("the last round alone comes here");
        }
        self.left > 0
    }
}

/// Writes a message, and again when its echo is there.
struct Ping {
    rounds: Countdown,
    message: [u8; 64],
    arrived: usize,
}

impl Ping {
    fn new(lp: &Loop, rounds: u64) -> Self {
        Self { rounds: Countdown::new(lp, rounds), message: [7; 64], arrived: 0 }
    }

    /// True if the echo is complete, and there is another round.
    fn takes(&mut self, bytes: usize) -> bool {
        self.arrived += bytes;
        if self.arrived < self.message.len() {
            return false;
        }
        self.arrived = 0;
        self.rounds.next()
    }
}

impl Protocol for Ping {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&self.message);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if self.takes(data.len()) {
            cx.write(&self.message);
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
        data: &[u8],
        _from: SocketAddr,
    ) {
        if self.takes(data.len()) {
            cx.send_to(&self.message, None).expect("the endpoint is connected");
        }
    }
}

/// [`Ping`] with a buffer of its own.
struct BufferedPing {
    ping: Ping,
    buffer: [u8; 64],
}

impl BufferedProtocol for BufferedPing {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&self.ping.message);
    }

    fn get_buffer(&mut self, _cx: &mut Cx<'_, Self>, _hint: usize) -> &mut [u8] {
        &mut self.buffer
    }

    fn buffer_updated(&mut self, cx: &mut Cx<'_, Self>, bytes: usize) {
        if self.ping.takes(bytes) {
            cx.write(&self.ping.message);
        }
    }
}

async fn streams(world: World, rounds: u64) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(SERVER, || Echo).await?;
    let conn = client.create_connection(SERVER, || Ping::new(&client, rounds)).await?;
    let done = conn.with(|ping, _| ping.rounds.done.clone());
    done.await.expect("nobody cancels it");
    Ok(())
}

async fn buffered_streams(world: World, rounds: u64) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(SERVER, || Echo).await?;
    let ping = || BufferedPing { ping: Ping::new(&client, rounds), buffer: [0; 64] };
    let conn = client.create_connection(SERVER, ping).await?;
    let done = conn.with(|buffered, _| buffered.ping.rounds.done.clone());
    done.await.expect("nobody cancels it");
    Ok(())
}

async fn datagrams(world: World, rounds: u64) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let at: HostPort = SERVER.to_host_port();
    let _echo = server.create_datagram_endpoint(Some(at.clone()), None, || Echo).await?;
    let ping = || Ping::new(&client, rounds);
    let conn = client.create_datagram_endpoint(None, Some(at), ping).await?;
    let done = conn.with(|ping, _| ping.rounds.done.clone());
    done.await.expect("nobody cancels it");
    Ok(())
}

/// Flow control at work: a body through small marks, with a pause and a resume a round.
struct Source {
    rounds: Countdown,
}

impl Source {
    fn pump(&mut self, cx: &Cx<'_, Self>) {
        while cx.is_writable() {
            cx.write(&[7; 8_192]);
        }
    }
}

impl Protocol for Source {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        let marks = WriteBufferLimits { high: 16_384, low: 4_096 };
        cx.set_write_buffer_limits(marks).expect("low is below high");
        self.pump(cx);
    }

    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        if self.rounds.left > 0 && self.rounds.next() {
            self.pump(cx);
        }
    }
}

struct Sink;

impl Protocol for Sink {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
}

async fn flow_control(world: World, rounds: u64) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.server().receive_buffer(65_536).bind(SERVER, || Sink).await?;
    let source = || Source { rounds: Countdown::new(&client, rounds) };
    let conn = client.connection().send_buffer(65_536).connect(SERVER, source).await?;
    let done = conn.with(|source, _| source.rounds.done.clone());
    done.await.expect("nobody cancels it");
    Ok(())
}

/// Calls itself, by a timer or at once.
struct Ticker {
    rounds: Countdown,
    timer: Option<Timer>,
}

impl Ticker {
    fn tick(&mut self, cx: &mut Cx<'_, Self>) {
        if self.rounds.next() {
            self.timer = Some(cx.call_later(TICK, Self::tick));
        }
    }

    fn again(&mut self, cx: &mut Cx<'_, Self>) {
        if self.rounds.next() {
            cx.call_soon(|this, cx| this.again(cx));
        }
    }

    /// Arms a timer anew and cancels the old one, each time.
    fn rearm(&mut self, cx: &mut Cx<'_, Self>) {
        if self.rounds.next() {
            self.timer = Some(cx.call_later(TICK, |_, cx| cx.abort()));
            cx.call_soon(|this, cx| this.rearm(cx));
        }
    }
}

impl Protocol for Ticker {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
}

async fn connect_ticker(world: &World, rounds: u64) -> io::Result<(Conn<Ticker>, LoopFuture<()>)> {
    let (server, client) = (world.host("server"), world.host("client"));
    server.create_server(SERVER, || Sink).await?;
    let ticker = || Ticker { rounds: Countdown::new(&client, rounds), timer: None };
    let conn = client.create_connection(SERVER, ticker).await?;
    let done = conn.with(|ticker, _| ticker.rounds.done.clone());
    Ok((conn, done))
}

async fn timers(world: World, rounds: u64) -> io::Result<()> {
    let (conn, done) = connect_ticker(&world, rounds).await?;
    conn.with(|ticker, cx| ticker.tick(cx));
    done.await.expect("nobody cancels it");
    Ok(())
}

async fn soon(world: World, rounds: u64) -> io::Result<()> {
    let (conn, done) = connect_ticker(&world, rounds).await?;
    conn.with(|ticker, cx| ticker.again(cx));
    done.await.expect("nobody cancels it");
    Ok(())
}

async fn rearmed_timers(world: World, rounds: u64) -> io::Result<()> {
    let (conn, done) = connect_ticker(&world, rounds).await?;
    conn.with(|ticker, cx| ticker.rearm(cx));
    done.await.expect("nobody cancels it");
    Ok(())
}

/// A task's sleep costs nothing but a place among the timers: the waker is a count of references.
async fn sleeps(world: World, rounds: u64) -> io::Result<()> {
    let hosts = [world.host("a"), world.host("b")];
    let tasks = hosts.map(|lp| {
        let clock = lp.clone();
        lp.create_task(async move {
            for _ in 0..rounds {
                clock.sleep(TICK).await;
                clock.sleep(Duration::ZERO).await;
            }
        })
    });
    for task in tasks {
        task.await?;
    }
    Ok(())
}

/// What the tests above would say of a round that allocates.
#[test]
fn a_capture_costs_an_allocation_a_round() {
    async fn captures(world: World, rounds: u64) -> io::Result<()> {
        let lp = world.host("client");
        for round in 0..rounds {
            lp.call_soon(move || assert!(round < rounds));
            lp.sleep(TICK).await;
        }
        Ok(())
    }
    let mut workload = on_sim(captures);
    workload(ROUNDS);
    let some = allocations(|| workload(ROUNDS));
    let twice = allocations(|| workload(2 * ROUNDS));
    assert_eq!(twice - some, ROUNDS);
}

/// Makes the tests of scenarios, on the loops named.
macro_rules! steady {
    ($($(#[$meta:meta])* $name:ident: $scenario:ident on $($on:ident)*;)*) => { $(
        $(#[$meta])*
        mod $name {
            $(steady! { $on $scenario })*
        }
    )* };
    (sim $scenario:ident) => {
        #[test]
        fn sim() {
            super::is_steady(0, super::on_sim(super::$scenario));
        }
    };
    (real $scenario:ident) => {
        #[test]
        fn real() {
            super::is_steady(super::STRAY, super::on_real(super::$scenario));
        }
    };
}

steady! {
    a_stream_allocates_nothing_a_round: streams on sim real;
    a_buffered_stream_allocates_nothing_a_round: buffered_streams on sim real;
    a_datagram_allocates_nothing_a_round: datagrams on sim real;
    a_pause_and_a_resume_allocate_nothing: flow_control on sim real;
    a_timer_without_captures_allocates_nothing: timers on sim;
    a_timer_that_is_armed_anew_allocates_nothing: rearmed_timers on sim real;
    call_soon_without_captures_allocates_nothing: soon on sim real;
    a_sleep_allocates_nothing: sleeps on sim;
}
