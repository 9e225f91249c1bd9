//! What streams can show their applications, each fault alone and all together.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, Cx, Eof, Protocol, World};
use sim_net::{
    Boundary, Effect, Links, Operator, Partition, Plan, Probability, Recording, Report, Sim,
    StreamFaults,
};

use crate::protocols::{Echo, ms};

const SERVER: (&str, u16) = ("server", 7000);
const BODY: usize = 20_000;

fn always() -> Probability {
    Probability::ALWAYS
}

fn often() -> Probability {
    Probability::percent(30).unwrap()
}

fn body() -> Vec<u8> {
    (0..BODY).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// What a client saw of its echo.
#[derive(Default, Debug)]
struct Seen {
    data: Vec<u8>,
    reads: Vec<usize>,
    ended: bool,
    lost: Option<Option<io::ErrorKind>>,
}

struct Client(Rc<RefCell<Seen>>);

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        for piece in body().chunks(700) {
            cx.write(piece);
        }
        cx.write_eof();
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
        let mut seen = self.0.borrow_mut();
        seen.data.extend_from_slice(data);
        seen.reads.push(data.len());
    }

    fn eof_received(&mut self, _: &mut Cx<'_, Self>) -> Eof {
        self.0.borrow_mut().ended = true;
        Eof::Close
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.0.borrow_mut().lost = Some(error.map(|error| error.kind()));
    }
}

/// An exchange under faults, with what the client saw.
fn exchange(seed: u64, faults: StreamFaults) -> (Report<()>, Seen) {
    let once = || {
        let seen = Rc::<RefCell<Seen>>::default();
        let own = seen.clone();
        let report = Sim::new(seed).stream_faults(faults).run(|world: World| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let _server = server.create_server(SERVER, || Echo).await?;
            let conn = client.create_connection(SERVER, || Client(own)).await?;
            let _ = client.timeout(Duration::from_secs(600), conn.closed()).await;
            io::Result::Ok(())
        });
        (report, seen.take())
    };
    let (report, seen) = once();
    assert_eq!(once().0.hash, report.hash);
    (report, seen)
}

#[track_caller]
fn whole(faults: StreamFaults, name: &str) -> (Report<()>, Seen) {
    let (mut last, mut bites) = (None, 0);
    for seed in 0..10 {
        let (report, seen) = exchange(seed, faults);
        assert!(seen.data == body() && seen.ended && seen.lost == Some(None), "{seen:?}");
        bites += report.faults[name];
        last = Some((report, seen));
    }
    assert!(bites > 0, "{name} never happened");
    last.unwrap()
}

/// C-30, K-07: bytes behind a boundary come in a later turn, and none is missing.
#[test]
fn reads_end_at_boundaries() {
    let by =
        |boundary| whole(StreamFaults::new().boundaries(always(), boundary), "stream.boundary").1;
    assert!(by(Boundary::Byte).reads.iter().all(|&read| read == 1));
    assert!(by(Boundary::Every(37)).reads.iter().all(|&read| read <= 37));
    let geometric = by(Boundary::Geometric(50)).reads;
    let mean = BODY / geometric.len();
    assert!((35..60).contains(&mean), "{mean}");
    by(Boundary::Drawn);
}

/// A boundary of the kind `Writes` lies within a byte of the end of a write.
#[test]
fn reads_end_about_where_writes_did() {
    let faults = StreamFaults::new().boundaries(always(), Boundary::Writes);
    let sizes = Rc::new(RefCell::new(Vec::new()));
    struct Sink(Rc<RefCell<Vec<usize>>>);
    impl Protocol for Sink {
        fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
            self.0.borrow_mut().push(data.len());
        }
    }
    let list = sizes.clone();
    Sim::new(3)
        .stream_faults(faults)
        .run(|world| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let _server = server.create_server(SERVER, move || Sink(list.clone())).await?;
            let conn = client.create_connection(SERVER, || Echo).await?;
            for _ in 0..50 {
                conn.with(|_, cx| cx.write(&[7; 100]));
            }
            world.sleep(Duration::from_secs(1)).await;
            io::Result::Ok(())
        })
        .unwrap();
    let sizes = sizes.borrow();
    let mut at = 0;
    for size in sizes.iter() {
        at += size;
        assert!([0, 1, 99].contains(&(at % 100)), "{sizes:?}");
    }
    assert_eq!(at, 5_000);
    assert!(sizes.len() >= 40, "{sizes:?}");
}

/// C-62: a write that takes a part is followed by the rest.
#[test]
fn short_writes_lose_nothing() {
    whole(StreamFaults::new().short_writes(often()), "stream.short-write");
}

/// News that come late bring more at once; the end of the stream is not lost with them.
#[test]
fn held_news_and_stalls_lose_nothing() {
    whole(StreamFaults::new().held_reads(often(), ms(30)), "stream.coalesce");
    let stalls = StreamFaults::new().stalls(often(), Duration::from_secs(5));
    whole(stalls, "stream.stall");
}

#[test]
fn ends_come_late() {
    let late = StreamFaults::new().late_ends(always(), Duration::from_secs(9));
    let (report, _) = whole(late, "stream.delay-fin");
    assert!(report.time.since_epoch() > ms(50));
}

/// The end of a stream that is held back on a machine that freezes is sent when that goes on.
#[test]
fn a_late_end_waits_for_a_frozen_machine() {
    let simulation = Sim::new(1).stream_faults(StreamFaults::new().late_ends(always(), ms(50)));
    let simulation = simulation.build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        let seen = Rc::<RefCell<Seen>>::default();
        let own = seen.clone();
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.create_server(SERVER, move || Notes(own.clone())).await?;
        let conn = client.create_connection(SERVER, || Notes(Rc::default())).await?;
        world.sleep(ms(10)).await;
        conn.transport().write_eof();
        operator.host("client").freeze();
        world.sleep(ms(900)).await;
        let early = seen.borrow().ended;
        operator.host("client").thaw();
        world.sleep(ms(10)).await;
        let ended = seen.borrow().ended;
        io::Result::Ok((early, ended))
    };
    assert_eq!(simulation.run(run).unwrap(), (false, true));
}

/// G-56: readiness for nothing is nothing.
#[test]
fn spurious_readiness_is_nothing() {
    whole(StreamFaults::new().spurious_readiness(often()), "socket.spurious");
}

/// E-29: a server that cannot accept for want of descriptors or memory tries again.
#[test]
fn accepts_that_fail_are_tried_again() {
    whole(StreamFaults::new().accept_errors(Probability::percent(60).unwrap()), "socket.emfile");
}

#[test]
fn connects_fail_at_once() {
    let faults = StreamFaults::new().connect_errors(always());
    let report = Sim::new(1).stream_faults(faults).run(|world| async move {
        let _server = world.host("server").create_server(SERVER, || Echo).await?;
        let error = world.host("client").create_connection(SERVER, || Echo).await.unwrap_err();
        io::Result::Ok((world.time(), error.raw_os_error()))
    });
    assert_eq!(report.faults["socket.connect"], 1);
    assert_eq!(report.unwrap().0.since_epoch(), Duration::ZERO);
}

/// A reset ends in a prefix, and with an error at the end that hears of it.
#[test]
fn resets_leave_a_prefix() {
    let mut ends = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let faults = StreamFaults::new().resets(Probability::percent(3).unwrap());
        let (report, seen) = exchange(seed, faults);
        report.unwrap();
        assert!(body().starts_with(&seen.data), "{seen:?}");
        ends.insert(seen.lost);
    }
    assert!(
        ends.contains(&Some(None)) && ends.contains(&Some(Some(io::ErrorKind::ConnectionReset)))
    );
}

/// A stream that is ended on its way is a part for its reader, and no error tells it; its writer hears of it once, when
/// it writes on. What a seed made of it a plan makes again, to the hash.
#[test]
fn early_ends_leave_a_part_and_no_error() {
    let mut parts = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let faults = StreamFaults::new().early_ends(Probability::percent(6).unwrap());
        let run = |sim: Sim| {
            let (read, written) = (Rc::<RefCell<Seen>>::default(), Rc::<RefCell<Seen>>::default());
            let (reads, writes) = (read.clone(), written.clone());
            let report = sim.record(Recording::new()).run(|world: World| async move {
                let (server, client) = (world.host("server"), world.host("client"));
                let _server = server.create_server(SERVER, move || Notes(reads.clone())).await?;
                let conn = client.create_connection(SERVER, || Notes(writes)).await?;
                for piece in body().chunks(700) {
                    conn.transport().write(piece);
                    client.sleep(ms(3)).await;
                }
                conn.transport().write_eof();
                let _ = conn.closed().await;
                world.sleep(Duration::from_secs(9)).await;
                io::Result::Ok(())
            });
            (report, read.take(), written.take())
        };
        let (report, read, written) = run(Sim::new(seed).stream_faults(faults));
        let is_cut = report.faults["stream.fin"] == 1;
        assert!(is_cut || report.faults["stream.fin"] == 0);
        assert!(body().starts_with(&read.data) && read.ended && read.lost == Some(None));
        assert!(is_cut || read.data.len() == BODY, "{read:?}");
        // An end behind the very last byte is none that it could hear of.
        let is_told = matches!(written.lost, Some(Some(io::ErrorKind::BrokenPipe)));
        assert!(is_told || written.lost == Some(None), "{written:?}");
        assert_eq!(read.data.len() == BODY, !is_told, "{written:?}");
        let plan = report.recording.as_ref().unwrap();
        let (again, part, _) = run(Sim::new(seed).replay(plan).unwrap());
        assert_eq!((again.hash, part.data.len()), (report.hash, read.data.len()), "{plan}");
        assert_eq!(again.bindings.unbound().count(), 0, "{plan}");
        parts.insert(read.data.len());
    }
    assert!(parts.len() > 15 && parts.contains(&BODY), "{parts:?}");
}

/// What a server notes of its only connection.
struct Notes(Rc<RefCell<Seen>>);

impl Protocol for Notes {
    fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
        self.0.borrow_mut().data.extend_from_slice(data);
    }

    fn eof_received(&mut self, _: &mut Cx<'_, Self>) -> Eof {
        self.0.borrow_mut().ended = true;
        Eof::Close
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.0.borrow_mut().lost = Some(error.map(|error| error.kind()));
    }
}

/// What is in the way of a reset that something on the way sends to the server, and from when on;
/// the write that it comes behind is at 10 ms, and the way takes 1 ms.
fn reset_behind(obstacle: impl Fn(&Operator, &Links) + 'static, from_micros: u64) -> Seen {
    let plan: Plan = "rst@5 client@1→server:7000#1 to receiver".parse().unwrap();
    let simulation = Sim::new(1).replay(&plan).unwrap().build();
    let (world, operator, links) = (simulation.world(), simulation.operator(), simulation.links());
    let run = async move {
        let seen = Rc::<RefCell<Seen>>::default();
        let own = seen.clone();
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.create_server(SERVER, move || Notes(own.clone())).await?;
        let conn = client.create_connection(SERVER, || Notes(Rc::default())).await?;
        let until =
            |micros| Duration::from_micros(micros).saturating_sub(world.time().since_epoch());
        let write = async |conn: &Conn<Notes>| {
            world.sleep(until(10_000)).await;
            conn.transport().write(b"hello world");
        };
        if from_micros >= 10_000 {
            write(&conn).await;
        }
        world.sleep(until(from_micros)).await;
        obstacle(&operator, &links);
        if from_micros < 10_000 {
            write(&conn).await;
        }
        if from_micros == 9_000 {
            // Away before the reset would be there.
            world.sleep(until(10_500)).await;
            links.heal();
        }
        world.sleep(until(500_000)).await;
        assert_eq!(seen.borrow().lost, None, "what is in the way is no longer");
        operator.host("server").thaw();
        links.heal();
        world.sleep(ms(5_000)).await;
        io::Result::Ok(seen.take())
    };
    simulation.run(run).unwrap()
}

/// A reset that something on the way sends meets what packets meet: machines that hear nothing, and
/// partitions, where it begins its way and where it ends it. In a jam it waits.
#[test]
fn resets_meet_what_packets_meet() {
    let cut = |effect| {
        move |_: &Operator, links: &Links| {
            links.partition(&Partition::between("client", "server").effect(effect)).unwrap();
        }
    };
    let whole = |seen: &Seen| seen.data == b"hello world" && seen.lost.is_none();
    let frozen = reset_behind(|operator, _| assert!(operator.host("server").freeze()), 10_500);
    assert!(whole(&frozen), "{frozen:?}");
    for effect in [Effect::Drop, Effect::Reject] {
        for from_micros in [5_000, 9_000, 10_500] {
            let seen = reset_behind(cut(effect), from_micros);
            assert!(whole(&seen), "{effect:?} from {from_micros} µs: {seen:?}");
        }
    }
    for from_micros in [5_000, 10_500] {
        let held = reset_behind(cut(Effect::Hold), from_micros);
        assert_eq!(held.lost, Some(Some(io::ErrorKind::ConnectionReset)), "{held:?}");
        let jam = |_: &Operator, links: &Links| links.link("client", "server").unwrap().hold();
        let held = reset_behind(jam, from_micros);
        assert_eq!(held.lost, Some(Some(io::ErrorKind::ConnectionReset)), "{held:?}");
    }
}

#[test]
fn accepted_connections_are_reset() {
    let (report, seen) = exchange(1, StreamFaults::new().accept_resets(always()));
    assert_eq!(report.faults["socket.accept-reset"], 1);
    assert_eq!(seen.lost, Some(Some(io::ErrorKind::ConnectionReset)));
}

/// All of them at once, on a bad link: what is read is a prefix of what was written, always.
#[test]
fn all_of_them_together_break_nothing() {
    let rare = Probability::new(0.01).unwrap();
    let faults = StreamFaults::new()
        .boundaries(often(), Boundary::Drawn)
        .short_writes(often())
        .held_reads(often(), ms(40))
        .stalls(rare, Duration::from_secs(3))
        .late_ends(often(), Duration::from_secs(1))
        .spurious_readiness(often())
        .accept_errors(rare)
        .connect_errors(rare)
        .resets(Probability::new(0.002).unwrap())
        .early_ends(Probability::new(0.002).unwrap())
        .accept_resets(rare);
    let whole = Cell::new(0);
    for seed in 0..100 {
        let sim = Sim::new(seed).stream_faults(faults);
        let sim = sim
            .link("latency=1ms..9ms,loss=3%,dup=2%,reorder=2%".parse::<sim_net::Link>().unwrap());
        let seen = Rc::<RefCell<Seen>>::default();
        let own = seen.clone();
        sim.run(|world: World| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let _server = server.create_server(SERVER, || Echo).await?;
            if let Ok(conn) = client.create_connection(SERVER, || Client(own)).await {
                let _ = client.timeout(Duration::from_secs(3_600), conn.closed()).await;
            }
            io::Result::Ok(())
        })
        .unwrap();
        let seen = seen.take();
        assert!(body().starts_with(&seen.data), "seed {seed}: {seen:?}");
        whole.set(whole.get() + usize::from(seen.data.len() == BODY));
    }
    assert!(whole.get() > 50, "{}", whole.get());
}

/// Faults that cannot happen change nothing.
#[test]
fn none_is_none() {
    let (with, _) = exchange(5, StreamFaults::new());
    assert!(with.faults.is_empty());
}
