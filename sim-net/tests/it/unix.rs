//! Unix sockets and pipes of simulated hosts: their name space, what befalls it, and their faults.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Eof, Loop, Protocol, World};
use sim_net::{Boundary, Link, Plan, Probability, Recording, Report, Sim, StreamFaults};

use crate::protocols::{Echo, ms};

const PATH: &str = "/run/echo.sock";
const HIDDEN: &str = "\0echo";
const BODY: usize = 300_000;

fn body() -> Vec<u8> {
    (0..BODY).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// What a client or a reader saw.
#[derive(Default, PartialEq, Debug)]
struct Seen {
    data: Vec<u8>,
    largest: usize,
    ended: bool,
    lost: Option<Option<io::ErrorKind>>,
}

/// Writes what it is given, ends, and notes what it sees.
struct Client {
    says: Vec<u8>,
    seen: Rc<RefCell<Seen>>,
}

impl Client {
    fn new(says: Vec<u8>, seen: &Rc<RefCell<Seen>>) -> Self {
        Self { says, seen: Rc::clone(seen) }
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if self.says.is_empty() {
            return;
        }
        for piece in self.says.chunks(701) {
            cx.write(piece);
        }
        cx.write_eof();
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
        let mut seen = self.seen.borrow_mut();
        seen.data.extend_from_slice(data);
        seen.largest = seen.largest.max(data.len());
    }

    fn eof_received(&mut self, _: &mut Cx<'_, Self>) -> Eof {
        self.seen.borrow_mut().ended = true;
        Eof::Close
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.seen.borrow_mut().lost = Some(error.map(|error| error.kind()));
    }
}

/// An echo over a Unix stream, and then bytes through a pipe.
async fn exchange(world: World, echoed: Rc<RefCell<Seen>>, piped: Rc<RefCell<Seen>>) {
    let lp = world.host("n");
    let _server = lp.create_unix_server(PATH, || Echo).await.unwrap();
    let conn = lp.create_unix_connection(PATH, || Client::new(body(), &echoed)).await.unwrap();
    conn.closed().await.unwrap();
    let (reader, writer) = lp.pipe().unwrap();
    let reader = lp.connect_read_pipe(reader, || Client::new(Vec::new(), &piped)).await.unwrap();
    let writes = || Client::new(body(), &Rc::default());
    let writer = lp.connect_write_pipe(writer, writes).await.unwrap();
    writer.closed().await.unwrap();
    reader.closed().await.unwrap();
}

fn exchanged(seed: u64, faults: StreamFaults) -> (Report<()>, [Seen; 2]) {
    let once = || {
        let seen = [Rc::<RefCell<Seen>>::default(), Rc::default()];
        let [echoed, piped] = seen.clone();
        let sim = Sim::new(seed).stream_faults(faults);
        let report = sim.run(|world| exchange(world, echoed, piped));
        (report, seen.map(|seen| seen.take()))
    };
    let (report, seen) = once();
    let again = once();
    assert_eq!((again.0.hash, &again.1), (report.hash, &seen));
    (report, seen)
}

/// Exchanges under faults, all of which come whole.
#[track_caller]
fn whole(faults: StreamFaults, name: &str) -> Vec<(Report<()>, [Seen; 2])> {
    let runs: Vec<_> = (0..8).map(|seed| exchanged(seed, faults)).collect();
    for (report, seen) in &runs {
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
        for seen in seen {
            assert!(seen.data == body() && seen.ended && seen.lost == Some(None), "{seen:?}");
        }
    }
    let bites: u64 = runs.iter().map(|(report, _)| report.faults[name]).sum();
    assert!(bites > 0, "{name} never happened");
    runs
}

fn often() -> Probability {
    Probability::percent(30).unwrap()
}

/// E-43: nothing takes time, and no link has to do with it.
#[test]
fn what_stays_on_a_host_takes_no_time_and_is_not_lost() {
    let seen = [Rc::<RefCell<Seen>>::default(), Rc::default()];
    let [echoed, piped] = seen.clone();
    let lossy = "latency=500ms,loss=90%".parse::<Link>().unwrap();
    let report = Sim::new(1).link(lossy).run(|world| exchange(world, echoed, piped));
    assert_eq!(report.time.since_epoch(), Duration::ZERO);
    report.unwrap();
    assert!(seen.iter().all(|seen| seen.borrow().data == body()));
}

/// E-43: each host has a name space of its own.
#[test]
fn a_path_is_of_one_host() {
    Sim::new(1)
        .run(|world| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let _server = a.create_unix_server(PATH, || Echo).await?;
            let error = b.create_unix_connection(PATH, || Echo).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            b.create_unix_server(PATH, || Echo).await?;
            io::Result::Ok(())
        })
        .unwrap();
}

async fn outcome(lp: &Loop, path: &str) -> Option<io::ErrorKind> {
    lp.create_unix_connection(path, || Echo).await.err().map(|error| error.kind())
}

/// E-40, E-41: a process that dies, of a kill or with its machine, leaves its file behind and takes its
/// abstract names along; the next one is not kept from serving.
#[test]
fn the_dead_leave_their_files_behind() {
    for crash in [false, true] {
        let simulation = Sim::new(1).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let run = async move {
            let lp = world.host("n");
            let _servers = (
                lp.create_unix_server(PATH, || Echo).await?,
                lp.create_unix_server(HIDDEN, || Echo).await?,
            );
            let conn = lp.create_unix_connection(PATH, || Echo).await?;
            let pipe = lp.pipe()?;
            if crash {
                assert!(operator.host("n").crash());
            } else {
                assert!(operator.host("n").kill());
            }
            assert!(conn.closed().await.is_err());
            assert!(lp.create_unix_connection(PATH, || Echo).await.is_err());
            assert!(operator.host("n").start());
            drop(pipe);
            let lp = world.host("n");
            assert_eq!(outcome(&lp, PATH).await, Some(io::ErrorKind::ConnectionRefused));
            assert_eq!(outcome(&lp, HIDDEN).await, Some(io::ErrorKind::ConnectionRefused));
            let _servers = (
                lp.create_unix_server(PATH, || Echo).await?,
                lp.create_unix_server(HIDDEN, || Echo).await?,
            );
            assert_eq!((outcome(&lp, PATH).await, outcome(&lp, HIDDEN).await), (None, None));
            io::Result::Ok(())
        };
        simulation.run(run).unwrap();
    }
}

/// A machine that crashes after some of what it does swallows the rest, on Unix sockets too.
#[test]
fn a_crash_inside_a_callback_swallows_the_rest() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let seen = Rc::<RefCell<Seen>>::default();
    let own = seen.clone();
    let run = async move {
        let lp = world.host("n");
        let served = own.clone();
        let factory = move || Client::new(Vec::new(), &served);
        let _server = lp.create_unix_server(PATH, factory).await?;
        let conn = lp.create_unix_connection(PATH, || Echo).await?;
        operator.host("n").crash_after(2);
        conn.with(|_, cx| {
            cx.write(b"one");
            cx.write(b"two");
            cx.write(b"three");
        });
        assert!(!operator.host("n").is_up());
        assert!(conn.closed().await.is_err());
        io::Result::Ok(())
    };
    simulation.run(run).unwrap();
    assert_eq!(seen.borrow().data, b"");
}

/// A pipe takes two descriptors, which are free again when its ends are dropped.
#[test]
fn a_process_has_only_so_many_descriptors() {
    Sim::new(1)
        .max_descriptors(63)
        .run(|world| async move {
            let lp = world.host("n");
            let mut pipes = Vec::new();
            let error = loop {
                match lp.pipe() {
                    Ok(pipe) => pipes.push(pipe),
                    Err(error) => break error,
                }
            };
            assert_eq!((error.raw_os_error(), pipes.len()), (Some(24), 31));
            let half = pipes.len() / 2;
            pipes.truncate(half);
            lp.pipe()?;
            io::Result::Ok(())
        })
        .unwrap();
}

/// C-30, K-07, E-43: reads end at boundaries, on Unix streams and pipes as on TCP.
#[test]
fn reads_of_unix_streams_and_pipes_end_at_boundaries() {
    let by = |boundary| {
        let faults = StreamFaults::new().boundaries(Probability::ALWAYS, boundary);
        whole(faults, "stream.boundary")
    };
    for (_, seen) in by(Boundary::Every(37)) {
        assert!(seen.iter().all(|seen| seen.largest <= 37));
    }
    by(Boundary::Writes);
    by(Boundary::Drawn);
}

/// C-62, C-74: short writes, news that come late, stalls, late ends and readiness for nothing lose
/// nothing, and cost time where they should.
#[test]
fn what_unix_streams_and_pipes_show_loses_nothing() {
    whole(StreamFaults::new().short_writes(often()), "stream.short-write");
    whole(StreamFaults::new().spurious_readiness(often()), "socket.spurious");
    for (report, _) in whole(StreamFaults::new().held_reads(often(), ms(30)), "stream.coalesce") {
        assert!(report.time.since_epoch() > Duration::ZERO);
    }
    whole(StreamFaults::new().stalls(often(), Duration::from_secs(5)), "stream.stall");
    let late = StreamFaults::new().late_ends(Probability::ALWAYS, Duration::from_secs(9));
    whole(late, "stream.delay-fin");
}

/// E-29: an accept that fails is tried again; a connect fails at once.
#[test]
fn unix_accepts_and_connects_fail() {
    let faults = StreamFaults::new().accept_errors(Probability::percent(60).unwrap());
    whole(faults, "socket.emfile");
    let faults = StreamFaults::new().connect_errors(Probability::ALWAYS);
    let report = Sim::new(1).stream_faults(faults).run(|world| async move {
        let lp = world.host("n");
        let _server = lp.create_unix_server(PATH, || Echo).await?;
        let error = lp.create_unix_connection(PATH, || Echo).await.unwrap_err();
        assert!(error.to_string().contains(PATH), "{error}");
        io::Result::Ok(())
    });
    assert_eq!(report.faults["socket.connect"], 1);
    report.unwrap();
}

/// Nothing is on the way that could reset a Unix stream, or end it.
#[test]
fn unix_streams_are_not_reset() {
    let faults = StreamFaults::new().resets(often()).accept_resets(Probability::ALWAYS);
    let faults = faults.early_ends(often());
    let (report, seen) = exchanged(1, faults);
    report.unwrap();
    assert!(seen.iter().all(|seen| seen.data == body() && seen.lost == Some(None)));
}

/// All of them at once.
#[test]
fn all_faults_together_break_no_unix_stream() {
    let faults = StreamFaults::new()
        .boundaries(often(), Boundary::Drawn)
        .short_writes(often())
        .held_reads(often(), ms(40))
        .stalls(Probability::new(0.01).unwrap(), Duration::from_secs(3))
        .late_ends(often(), Duration::from_secs(1))
        .spurious_readiness(often())
        .accept_errors(often());
    whole(faults, "stream.short-write");
}

/// The run that a plan says.
fn replayed(plan: &Plan) -> (Report<()>, [Seen; 2]) {
    let seen = [Rc::<RefCell<Seen>>::default(), Rc::default()];
    let [echoed, piped] = seen.clone();
    let sim = Sim::new(1).replay(plan).unwrap_or_else(|error| panic!("{error}"));
    let report = sim.run(|world| exchange(world, echoed, piped));
    (report, seen.map(|seen| seen.take()))
}

/// A plan names places in Unix streams and pipes by the name of the stream and the place; nothing
/// else goes wrong with them.
#[test]
fn a_plan_names_places_in_unix_streams_and_pipes() {
    let (clean, before) = replayed(&Plan::default());
    clean.unwrap();
    let plan: Plan = "boundary n@1←unix:/run/echo.sock#1 nr 3\n\
         short-write n@1→unix:/run/echo.sock#1 nr 0 = 5\n\
         stall n@1→unix:(unnamed)#1 nr 7 +2s\n\
         delay-fin n@1→unix:/run/echo.sock#1 nr 300000 +3s"
        .parse()
        .unwrap();
    assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
    let (report, seen) = replayed(&plan);
    for name in ["stream.boundary", "stream.short-write", "stream.stall", "stream.delay-fin"] {
        assert_eq!(report.faults[name], 1, "{name}: {:?}", report.faults);
    }
    assert!(report.time.since_epoch() >= Duration::from_secs(3));
    report.unwrap();
    assert!(before.iter().zip(&seen).all(|(before, seen)| before.data == seen.data && seen.ended));
    let reset = "rst n@1→unix:/run/echo.sock#1 nr 5 to both".parse::<Plan>().unwrap();
    assert!(Sim::new(1).replay(&reset).is_err());
}

/// The process that writes is killed behind as many bytes as the plan says, whatever it wrote.
#[test]
fn a_plan_kills_a_writer_at_a_place_in_a_pipe() {
    for place in [0, 1, 4_096, 70_000] {
        let plan = format!("fin n@1→unix:(unnamed)#1 nr {place}").parse::<Plan>().unwrap();
        let (report, _) = replayed(&plan);
        assert_eq!(report.faults["stream.fin"], 1, "{place}");
    }
}

/// What befell Unix streams in a run from a seed befalls them in the run from its record.
#[test]
fn a_record_gives_the_same_run_of_unix_streams() {
    let faults = StreamFaults::new()
        .boundaries(often(), Boundary::Drawn)
        .short_writes(often())
        .held_reads(often(), ms(40))
        .stalls(Probability::percent(1).unwrap(), Duration::from_secs(3))
        .late_ends(often(), Duration::from_secs(1))
        .spurious_readiness(often())
        .connect_errors(Probability::percent(20).unwrap())
        .accept_errors(often());
    for seed in 0..6 {
        let run = |sim: Sim| {
            let seen = [Rc::<RefCell<Seen>>::default(), Rc::default()];
            let [echoed, piped] = seen.clone();
            let mut report = sim.run(|world| exchange(world, echoed, piped));
            let plan = report.recording.take();
            report.faults.retain(|_, count| *count > 0);
            (report.hash, report.faults, plan, seen.map(|seen| seen.take()))
        };
        let (hash, counts, plan, seen) =
            run(Sim::new(seed).stream_faults(faults).record(Recording::new()));
        let plan = plan.expect("it was recorded");
        let plan: Plan = plan.to_string().parse().unwrap();
        let again = run(Sim::new(seed).replay(&plan).unwrap());
        assert_eq!(again.1, counts, "seed {seed}");
        assert!(again.3 == seen, "seed {seed}");
        assert_eq!(again.0, hash, "seed {seed}");
    }
}
