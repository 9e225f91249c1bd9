//! What an application is told, and when, of all that can go wrong: on Linux, in the simulator, and on
//! real sockets as far as loopback can be made to fail.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use sim_core::driver::{Family, SocketKind};
use sim_core::{
    Conn, Cx, Eof, Failure, Keepalive, Loop, LoopFuture, Protocol, Socket, Time, World,
};
use sim_net::{Effect, Links, Operator, Partition, Sim};

use crate::process;
use crate::transfer::SERVER;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const HOUR: Duration = Duration::from_secs(3_600);

/// What an application was told, since its own last action, and how long after it.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Since>>);

#[derive(Default)]
struct Since {
    acted: Time,
    told: Vec<(String, Duration)>,
}

impl Told {
    fn begin(&self, now: Time) {
        *self.0.borrow_mut() = Since { acted: now, told: Vec::new() };
    }

    fn note(&self, what: &str, now: Time) {
        let mut since = self.0.borrow_mut();
        let after = now - since.acted;
        since.told.push((what.to_owned(), after));
    }

    fn with_times(&self) -> String {
        self.text("nothing for an hour", |what, after| {
            let after = after.as_secs_f64();
            let after = if after < 1.0 {
                format!("{:.0} ms", after * 1e3)
            } else {
                format!("{after:.1} s")
            };
            format!("{what} after {after}")
        })
    }

    /// The times of real sockets are nobody's promise.
    fn without_times(&self) -> String {
        self.text("nothing", |what, _| what.to_owned())
    }

    fn text(&self, nothing: &str, entry: impl Fn(&str, Duration) -> String) -> String {
        let told = &self.0.borrow().told;
        if told.is_empty() {
            return nothing.to_owned();
        }
        told.iter().map(|(what, after)| entry(what, *after)).collect::<Vec<_>>().join(", ")
    }
}

/// Its kind; of those that have no name for it, the number.
fn name(error: &io::Error) -> String {
    let kind = format!("{:?}", error.kind());
    let number = error.raw_os_error().filter(|_| kind == "Uncategorized");
    number.map_or_else(|| kind.clone(), |number| format!("{kind}, os error {number}"))
}

/// Notes its callbacks; half-closed if told so.
struct Witness {
    told: Told,
    keep_open: bool,
}

impl Protocol for Witness {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, _: &[u8]) {
        self.told.note("data_received", cx.event_loop().time());
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.told.note("eof_received", cx.event_loop().time());
        if self.keep_open { Eof::KeepOpen } else { Eof::Close }
    }

    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        let error = error.map_or_else(|| "no error".to_owned(), |error| name(&error));
        self.told.note(&format!("connection_lost({error})"), cx.event_loop().time());
    }
}

/// The server's end, which does nothing unless the test does it.
struct Peer {
    here: LoopFuture<Conn<Self>>,
}

impl Protocol for Peer {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.here.set_result(cx.conn()).ok();
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}

    fn eof_received(&mut self, _: &mut Cx<'_, Self>) -> Eof {
        Eof::KeepOpen
    }
}

/// What only a simulated world has.
#[derive(Clone)]
struct Hands {
    links: Links,
    operator: Operator,
}

/// A world with a client and a server that boots.
#[derive(Clone)]
struct Stage {
    world: World,
    /// Every hand on it, if it is simulated.
    hands: Option<Hands>,
    client: Loop,
    told: Told,
    accepted: LoopFuture<Conn<Peer>>,
}

impl Stage {
    fn new(world: World, hands: Option<Hands>) -> Self {
        let client = world.host("client");
        let accepted: LoopFuture<Conn<Peer>> = client.create_future();
        let here = accepted.clone();
        world.boot("server", move |lp: Loop| {
            let here = here.clone();
            async move {
                let make = move || Peer { here: here.clone() };
                lp.create_server(SERVER, make).await?.serve_forever().await
            }
        });
        Self { world, hands, client, told: Told::default(), accepted }
    }

    fn hands(&self) -> &Hands {
        self.hands.as_ref().expect("this case is for the simulator")
    }

    fn server(&self) -> sim_net::HostOperator {
        self.hands().operator.host("server")
    }

    /// Until everything that was begun has been heard of.
    async fn later(&self) {
        match &self.hands {
            Some(_) => self.world.sleep(ms(100)).await,
            None => self.world.settle().await,
        }
    }

    /// A process that serves.
    fn process(&self) -> Serving {
        match &self.hands {
            Some(_) => Serving::Host(self.server()),
            None => Serving::Process(process::Server::start()),
        }
    }

    async fn connect(&self, to: (&'static str, u16)) -> Option<Conn<Witness>> {
        self.connect_as(to, false).await
    }

    /// Notes how it ended.
    async fn connect_as(&self, to: (&'static str, u16), keep_open: bool) -> Option<Conn<Witness>> {
        self.told.begin(self.client.time());
        let told = self.told.clone();
        let made = self.client.create_connection(to, move || Witness { told, keep_open }).await;
        match made {
            Ok(conn) => Some(conn),
            Err(error) => {
                self.told.note(&name(&error), self.client.time());
                None
            }
        }
    }

    /// Connected at both ends, with some time gone by.
    async fn established(&self, keep_open: bool) -> Result<(Conn<Witness>, Conn<Peer>), Failure> {
        let conn = self.connect_as(SERVER, keep_open).await.expect("the server listens");
        let peer = self.accepted.clone().await?;
        match &self.hands {
            Some(_) => self.world.sleep(ms(1_000)).await,
            None => self.world.settle().await,
        }
        self.told.begin(self.client.time());
        Ok((conn, peer))
    }

    fn cut(&self, effect: Effect) -> Result<sim_net::Cut, Failure> {
        let partition = Partition::between("client", "server").effect(effect);
        Ok(self.hands().links.partition(&partition)?)
    }

    fn write(&self, conn: &Conn<Witness>, bytes: usize) {
        self.told.begin(self.client.time());
        conn.transport().write(&vec![1; bytes]);
    }
}

/// A process that serves, and can be killed.
enum Serving {
    Host(sim_net::HostOperator),
    Process(process::Server),
}

impl Serving {
    fn place(&self) -> (&'static str, u16) {
        match self {
            Self::Host(_) => SERVER,
            Self::Process(server) => ("127.0.0.1", server.port()),
        }
    }

    /// Connected at both ends.
    async fn accept(&mut self, it: &Stage) -> Conn<Witness> {
        let conn = it.connect(self.place()).await.expect("it listens");
        if let Self::Process(server) = self {
            server.accepted();
        }
        it.later().await;
        it.told.begin(it.client.time());
        conn
    }

    fn kill(self) {
        match self {
            Self::Host(server) => assert!(server.kill()),
            Self::Process(server) => server.kill(),
        }
    }
}

type Act = fn(Stage) -> Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// Where a case can be made to happen.
#[derive(Clone, Copy, PartialEq)]
enum On {
    /// In the simulator alone.
    Sim,
    /// On loopback too.
    Both,
    /// On loopback too, by a process that has few descriptors.
    BothWithFewDescriptors,
}

/// A call, what it meets, and what Linux does (`linux-tcp` says so under its numbers).
struct Case {
    call: &'static str,
    against: &'static str,
    linux: &'static str,
    on: On,
    act: Act,
}

macro_rules! cases {
    ($($on:ident $call:literal, $against:literal, $linux:literal: |$stage:ident| $act:block)*) => {
        [$(Case {
            call: $call,
            against: $against,
            linux: $linux,
            on: On::$on,
            act: |$stage| Box::pin(async move { $act Ok(()) }),
        }),*]
    };
}

/// RTT 20 ms, as in the measurements.
fn simulated(case: &Case) -> String {
    let simulation = Sim::new(1).latency(ms(10)).max_descriptors(30_000).build();
    let hands = Hands { links: simulation.links(), operator: simulation.operator() };
    let world = simulation.world();
    let stage = Stage::new(world.clone(), Some(hands));
    let (told, acting) = (stage.told.clone(), (case.act)(stage));
    let run = simulation.run(async move {
        world.sleep(ms(10)).await;
        acting.await?;
        world.sleep(HOUR).await;
        Result::<_, Failure>::Ok(())
    });
    run.unwrap_or_else(|finding| panic!("{} against {}: {finding}", case.call, case.against));
    told.with_times()
}

fn on_loopback(case: &Case) -> String {
    match case.on {
        On::Sim => "not on loopback".to_owned(),
        On::Both => on_real_sockets(case),
        On::BothWithFewDescriptors => out_of_descriptors().expect("this is not the child"),
    }
}

fn on_real_sockets(case: &Case) -> String {
    let runner = real_net::Runner::new().limit(Duration::from_secs(60));
    let act = case.act;
    let run = runner.run(|world| async move {
        let stage = Stage::new(world.clone(), None);
        let told = stage.told.clone();
        world.settle().await;
        act(stage).await?;
        world.settle().await;
        Result::<_, Failure>::Ok(told.without_times())
    });
    run.unwrap_or_else(|error| panic!("{} against {}: {error}", case.call, case.against))
}

/// All cases.
fn cases() -> Vec<Case> {
    let cases = cases! {
        Both "connect", "a closed port", "ECONNREFUSED after 1 RTT (L-01)": |it| {
            it.connect(("server", 1)).await;
        }
        Sim "connect", "an address off the network", "ENETUNREACH at once (L-10)": |it| {
            it.connect(("192.0.2.1", 7000)).await;
        }
        Sim "connect", "a router that says unreachable", "EHOSTUNREACH when the ICMP is back": |it| {
            it.cut(Effect::Reject)?;
            it.connect(SERVER).await;
        }
        Sim "connect", "a partition", "ETIMEDOUT after 131 s (L-03)": |it| {
            it.cut(Effect::Drop)?;
            it.connect(SERVER).await;
        }
        Sim "connect", "a crashed host", "ETIMEDOUT after 131 s (L-03)": |it| {
            it.server().crash();
            it.connect(SERVER).await;
        }
        Both "connect", "a killed process", "ECONNREFUSED after 1 RTT (L-01)": |it| {
            let server = it.process();
            let place = server.place();
            server.kill();
            it.connect(place).await;
        }
        Sim "connect", "no port left", "EADDRNOTAVAIL at once": |it| {
            let mut kept = Vec::new();
            while let Some(conn) = it.connect(SERVER).await {
                kept.push(conn);
            }
            assert_eq!(kept.len(), 61_000 - 32_768);
            it.world.sleep(ms(50)).await;
        }
        BothWithFewDescriptors "connect", "no descriptor left", "EMFILE at once": |it| {
            let mut kept = Vec::new();
            while let Ok(socket) = Socket::open(&it.client, SocketKind::Stream, Family::V4) {
                kept.push(socket);
            }
            it.connect(SERVER).await;
        }
        Both "read", "a peer that closes", "read 0 after ½ RTT (L-50)": |it| {
            let (_conn, peer) = it.established(false).await?;
            peer.transport().close();
            it.later().await;
        }
        Both "read", "a peer that resets", "ECONNRESET after ½ RTT (L-58)": |it| {
            let (_conn, peer) = it.established(false).await?;
            peer.transport().abort();
            it.later().await;
        }
        Both "read", "a peer that closes with bytes unread", "ECONNRESET after ½ RTT (L-51)": |it| {
            let (conn, peer) = it.established(false).await?;
            peer.transport().pause_reading();
            it.write(&conn, 1);
            it.later().await;
            it.told.begin(it.client.time());
            peer.transport().close();
            it.later().await;
        }
        Both "read", "a peer that wrote, then resets", "the data, then ECONNRESET (L-52, L-58)": |it| {
            let (conn, peer) = it.established(false).await?;
            conn.transport().pause_reading();
            peer.transport().write(b"last");
            it.later().await;
            peer.transport().abort();
            it.later().await;
            it.told.begin(it.client.time());
            conn.transport().resume_reading();
            it.later().await;
        }
        Both "read", "a killed process", "read 0 after ½ RTT (L-50, L-64)": |it| {
            let mut server = it.process();
            let _conn = server.accept(&it).await;
            server.kill();
            it.later().await;
        }
        Sim "read", "a partition", "nothing (L-90)": |it| {
            let (_conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.world.sleep(HOUR).await;
        }
        Sim "read", "a crashed host", "nothing (L-90)": |it| {
            let (_conn, _peer) = it.established(false).await?;
            it.server().crash();
            it.world.sleep(HOUR).await;
        }
        Sim "read", "a crashed host, with keepalive 2 s, 1 s, 3",
            "ETIMEDOUT after 5 s (L-92)": |it| {
            let (conn, _peer) = it.established(false).await?;
            let (idle, interval) = (ms(2_000), ms(1_000));
            let socket = conn.transport().socket();
            socket.set_keepalive(Some(Keepalive { idle, interval, count: 3 }))?;
            conn.transport().write(b"x");
            it.world.sleep(ms(20)).await;
            it.told.begin(it.client.time());
            it.server().crash();
            it.world.sleep(HOUR).await;
        }
        Sim "read", "a restarted host, with keepalive",
            "ECONNRESET 1 RTT after the first probe (L-93)": |it| {
            let (conn, _peer) = it.established(false).await?;
            let (idle, interval) = (ms(2_000), ms(1_000));
            let socket = conn.transport().socket();
            socket.set_keepalive(Some(Keepalive { idle, interval, count: 3 }))?;
            conn.transport().write(b"x");
            it.world.sleep(ms(20)).await;
            it.told.begin(it.client.time());
            it.server().crash();
            it.server().start();
            it.world.sleep(HOUR).await;
        }
        Sim "read", "a restarted host", "nothing (L-90)": |it| {
            let (_conn, _peer) = it.established(false).await?;
            it.server().crash();
            it.server().start();
            it.world.sleep(HOUR).await;
        }
        Both "write", "a peer that closed: the first", "RST after 1 RTT, no error (L-50)": |it| {
            let (conn, peer) = it.established(true).await?;
            peer.transport().close();
            it.later().await;
            it.write(&conn, 1);
            it.later().await;
        }
        Both "write", "a peer that closed: the next", "EPIPE (L-50)": |it| {
            let (conn, peer) = it.established(true).await?;
            peer.transport().close();
            it.later().await;
            it.write(&conn, 1);
            it.later().await;
            it.write(&conn, 1);
            it.later().await;
        }
        Sim "write", "a partition", "ETIMEDOUT after 924.6 s and the rest of an interval (L-25)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        Sim "write", "a partition, with a user timeout of 20 s",
            "ETIMEDOUT 20 s after the first timeout (L-27)": |it| {
            let (conn, _peer) = it.established(false).await?;
            conn.transport().socket().set_user_timeout(Some(ms(20_000)))?;
            it.cut(Effect::Drop)?;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        Sim "write", "a router that says unreachable", "EHOSTUNREACH when it would be ETIMEDOUT": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Reject)?;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        Sim "write", "a crashed host", "ETIMEDOUT, as for a partition (L-25)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.server().crash();
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        Sim "write", "a restarted host", "ECONNRESET after 1 RTT (L-90)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.server().crash();
            it.server().start();
            it.world.sleep(ms(100)).await;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        Sim "write", "a host that is down for a second",
            "ECONNRESET 1 RTT after the first retransmission that gets through (L-91)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.server().crash();
            it.write(&conn, 1);
            it.world.sleep(ms(1_000)).await;
            it.server().start();
            it.world.sleep(HOUR).await;
        }
        Both "close", "a peer that is there", "at once; the kernel goes on alone": |it| {
            let (conn, _peer) = it.established(false).await?;
            conn.transport().close();
            it.later().await;
        }
        Sim "close", "a partition, with little unsent", "at once; the orphan ends silently (L-31)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.write(&conn, 1);
            conn.transport().close();
            it.world.sleep(HOUR).await;
        }
        Sim "close", "a partition, with more than the kernel takes", "write: ETIMEDOUT (L-25)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.write(&conn, 1_000_000);
            conn.transport().close();
            it.world.sleep(HOUR).await;
        }
        Both "close", "a peer that resets meanwhile", "write: ECONNRESET (L-59)": |it| {
            let (conn, peer) = it.established(false).await?;
            peer.transport().pause_reading();
            it.write(&conn, 30_000_000);
            conn.transport().close();
            it.later().await;
            it.told.begin(it.client.time());
            peer.transport().abort();
            it.later().await;
        }
    };
    cases.into()
}

/// L-01, L-03, L-10, L-25, L-27, L-28, L-50, L-51, L-58, L-64, L-65, L-90 to L-93: what a connect, a
/// read, a write and a close are told of everything that can go wrong, and when.
#[test]
fn the_table_of_errors() {
    let mut table = String::from(
        "RTT 20 ms. Times count from the last action of either side.\n\n\
         call     against                                       Linux 6.18\n\
         \x20                                                      the simulator\n\
         \x20                                                      real sockets on loopback\n",
    );
    for case in &cases() {
        let _ = writeln!(table, "\n{:<8} {:<45} {}", case.call, case.against, case.linux);
        for told in [simulated(case), on_loopback(case)] {
            let _ = writeln!(table, "{:<54} {told}", "");
        }
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!("errors", table);
    });
}

/// A process that has no descriptor left says so with the kernel's number. The table asks for it too.
#[test]
fn a_process_out_of_descriptors_connects_no_more() {
    if let Some(told) = out_of_descriptors() {
        assert_eq!(told, "Uncategorized, os error 24");
    }
}

/// What the case is told that needs few descriptors; `None` in the process that has few.
fn out_of_descriptors() -> Option<String> {
    let of_its_own = |case: &Case| case.on == On::BothWithFewDescriptors;
    let case = cases().into_iter().find(of_its_own).expect("there is one");
    let test = "errors::a_process_out_of_descriptors_connects_no_more";
    process::with_few_descriptors(test, || on_real_sockets(&case))
}
