//! What an application is told, and when, of all that can go wrong: beside Linux.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, Cx, Eof, Failure, Loop, LoopFuture, Protocol, Time, World};
use sim_net::{Effect, Links, Operator, Partition, Sim};

use crate::transfer::SERVER;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const HOUR: Duration = Duration::from_secs(3_600);

/// What an application was told, since its own last action.
#[derive(Clone)]
struct Told(Rc<RefCell<(Time, Vec<String>)>>);

impl Told {
    fn begin(&self, now: Time) {
        *self.0.borrow_mut() = (now, Vec::new());
    }

    fn note(&self, what: &str, now: Time) {
        let mut told = self.0.borrow_mut();
        let after = (now - told.0).as_secs_f64();
        let after =
            if after < 1.0 { format!("{:.0} ms", after * 1e3) } else { format!("{after:.1} s") };
        told.1.push(format!("{what} after {after}"));
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

/// A world with a client, a server that boots, and every hand on them.
#[derive(Clone)]
struct Stage {
    world: World,
    links: Links,
    operator: Operator,
    client: Loop,
    told: Told,
    accepted: LoopFuture<Conn<Peer>>,
}

impl Stage {
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
        self.world.sleep(ms(1_000)).await;
        self.told.begin(self.client.time());
        Ok((conn, peer))
    }

    fn cut(&self, effect: Effect) -> Result<sim_net::Cut, Failure> {
        Ok(self.links.partition(&Partition::between("client", "server").effect(effect))?)
    }

    fn write(&self, conn: &Conn<Witness>, bytes: usize) {
        self.told.begin(self.client.time());
        conn.transport().write(&vec![1; bytes]);
    }
}

type Act = fn(Stage) -> Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// A call, what it meets, and what Linux does (`linux-tcp` says so under its numbers).
struct Case {
    call: &'static str,
    against: &'static str,
    linux: &'static str,
    act: Act,
}

macro_rules! cases {
    ($($call:literal, $against:literal, $linux:literal: |$stage:ident| $act:block)*) => {
        [$(Case {
            call: $call,
            against: $against,
            linux: $linux,
            act: |$stage| Box::pin(async move { $act Ok(()) }),
        }),*]
    };
}

/// RTT 20 ms, as in the measurements.
fn outcome(case: &Case) -> String {
    let simulation = Sim::new(1).latency(ms(10)).max_descriptors(30_000).build();
    let (world, links, operator) = (simulation.world(), simulation.links(), simulation.operator());
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
    let told = Told(Rc::new(RefCell::new((Time::ZERO, Vec::new()))));
    let stage =
        Stage { world: world.clone(), links, operator, client, told: told.clone(), accepted };
    let acting = (case.act)(stage);
    let run = simulation.run(async move {
        world.sleep(ms(10)).await;
        acting.await?;
        world.sleep(HOUR).await;
        Result::<_, Failure>::Ok(())
    });
    run.unwrap_or_else(|finding| panic!("{} against {}: {finding}", case.call, case.against));
    let told = told.0.borrow();
    if told.1.is_empty() { "nothing for an hour".to_owned() } else { told.1.join(", ") }
}

/// L-01, L-03, L-10, L-25, L-28, L-50, L-51, L-58, L-64, L-65, L-90, L-91: what a connect, a read, a
/// write and a close are told of everything that can go wrong, and when.
#[test]
fn the_table_of_errors() {
    let cases = cases! {
        "connect", "a closed port", "ECONNREFUSED after 1 RTT (L-01)": |it| {
            it.connect(("server", 1)).await;
        }
        "connect", "an address off the network", "ENETUNREACH at once (L-10)": |it| {
            it.connect(("192.0.2.1", 7000)).await;
        }
        "connect", "a router that says unreachable", "EHOSTUNREACH when the ICMP is back": |it| {
            it.cut(Effect::Reject)?;
            it.connect(SERVER).await;
        }
        "connect", "a partition", "ETIMEDOUT after 131 s (L-03)": |it| {
            it.cut(Effect::Drop)?;
            it.connect(SERVER).await;
        }
        "connect", "a crashed host", "ETIMEDOUT after 131 s (L-03)": |it| {
            it.operator.host("server").crash();
            it.connect(SERVER).await;
        }
        "connect", "a killed process", "ECONNREFUSED after 1 RTT (L-01)": |it| {
            it.operator.host("server").kill();
            it.connect(SERVER).await;
        }
        "connect", "no port left", "EADDRNOTAVAIL at once": |it| {
            let mut kept = Vec::new();
            while let Some(conn) = it.connect(SERVER).await {
                kept.push(conn);
            }
            assert_eq!(kept.len(), 61_000 - 32_768);
            it.world.sleep(ms(50)).await;
        }
        "connect", "no descriptor left", "EMFILE at once": |it| {
            let mut kept = Vec::new();
            for port in 1..=30_000 {
                kept.push(it.client.server().start_serving(false).bind(("client", port), || Quiet).await?);
            }
            it.connect(SERVER).await;
        }
        "read", "a peer that closes", "read 0 after ½ RTT (L-50)": |it| {
            let (_conn, peer) = it.established(false).await?;
            peer.transport().close();
            it.world.sleep(ms(100)).await;
        }
        "read", "a peer that resets", "ECONNRESET after ½ RTT (L-58)": |it| {
            let (_conn, peer) = it.established(false).await?;
            peer.transport().abort();
            it.world.sleep(ms(100)).await;
        }
        "read", "a peer that closes with bytes unread", "ECONNRESET after ½ RTT (L-51)": |it| {
            let (conn, peer) = it.established(false).await?;
            peer.transport().pause_reading();
            it.write(&conn, 1);
            it.world.sleep(ms(100)).await;
            it.told.begin(it.client.time());
            peer.transport().close();
            it.world.sleep(ms(100)).await;
        }
        "read", "a peer that wrote, then resets", "the data, then ECONNRESET (L-52, L-58)": |it| {
            let (conn, peer) = it.established(false).await?;
            conn.transport().pause_reading();
            peer.transport().write(b"last");
            it.world.sleep(ms(100)).await;
            peer.transport().abort();
            it.world.sleep(ms(100)).await;
            it.told.begin(it.client.time());
            conn.transport().resume_reading();
            it.world.sleep(ms(100)).await;
        }
        "read", "a killed process", "read 0 after ½ RTT (L-50, L-64)": |it| {
            let (_conn, _peer) = it.established(false).await?;
            it.operator.host("server").kill();
            it.world.sleep(ms(100)).await;
        }
        "read", "a partition", "nothing (L-90)": |it| {
            let (_conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.world.sleep(HOUR).await;
        }
        "read", "a crashed host", "nothing (L-90)": |it| {
            let (_conn, _peer) = it.established(false).await?;
            it.operator.host("server").crash();
            it.world.sleep(HOUR).await;
        }
        "read", "a restarted host", "nothing (L-90)": |it| {
            let (_conn, _peer) = it.established(false).await?;
            it.operator.host("server").crash();
            it.operator.host("server").start();
            it.world.sleep(HOUR).await;
        }
        "write", "a peer that closed: the first", "RST after 1 RTT, no error (L-50)": |it| {
            let (conn, peer) = it.established(true).await?;
            peer.transport().close();
            it.world.sleep(ms(100)).await;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        "write", "a peer that closed: the next", "EPIPE (L-50)": |it| {
            let (conn, peer) = it.established(true).await?;
            peer.transport().close();
            it.world.sleep(ms(100)).await;
            it.write(&conn, 1);
            it.world.sleep(ms(100)).await;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        "write", "a partition", "ETIMEDOUT after 924.6 s and the rest of an interval (L-25)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        "write", "a router that says unreachable", "EHOSTUNREACH when it would be ETIMEDOUT": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Reject)?;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        "write", "a crashed host", "ETIMEDOUT, as for a partition (L-25)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.operator.host("server").crash();
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        "write", "a restarted host", "ECONNRESET after 1 RTT (L-90)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.operator.host("server").crash();
            it.operator.host("server").start();
            it.world.sleep(ms(100)).await;
            it.write(&conn, 1);
            it.world.sleep(HOUR).await;
        }
        "write", "a host that is down for a second",
            "ECONNRESET 1 RTT after the first retransmission that gets through (L-91)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.operator.host("server").crash();
            it.write(&conn, 1);
            it.world.sleep(ms(1_000)).await;
            it.operator.host("server").start();
            it.world.sleep(HOUR).await;
        }
        "close", "a peer that is there", "at once; the kernel goes on alone": |it| {
            let (conn, _peer) = it.established(false).await?;
            conn.transport().close();
            it.world.sleep(HOUR).await;
        }
        "close", "a partition, with little unsent", "at once; the orphan ends silently (L-31)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.write(&conn, 1);
            conn.transport().close();
            it.world.sleep(HOUR).await;
        }
        "close", "a partition, with more than the kernel takes", "write: ETIMEDOUT (L-25)": |it| {
            let (conn, _peer) = it.established(false).await?;
            it.cut(Effect::Drop)?;
            it.write(&conn, 1_000_000);
            conn.transport().close();
            it.world.sleep(HOUR).await;
        }
        "close", "a peer that resets meanwhile", "write: ECONNRESET (L-59)": |it| {
            let (conn, peer) = it.established(false).await?;
            peer.transport().pause_reading();
            it.write(&conn, 1_000_000);
            conn.transport().close();
            it.world.sleep(ms(500)).await;
            it.told.begin(it.client.time());
            peer.transport().abort();
            it.world.sleep(HOUR).await;
        }
    };
    let mut table = String::from(
        "RTT 20 ms. Times count from the last action of either side.\n\n\
         call     against                                       Linux 6.18\n\
         \x20                                                      the simulator\n",
    );
    for case in &cases {
        let told = outcome(case);
        let _ = writeln!(table, "\n{:<8} {:<45} {}", case.call, case.against, case.linux);
        let _ = writeln!(table, "{:<54} {told}", "");
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!("errors", table);
    });
}

/// Serves nobody.
struct Quiet;

impl Protocol for Quiet {
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
}
