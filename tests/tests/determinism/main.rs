//! A run is a function of program, seed and plan.
//!
//! The same seed gives the same trace hash: again, on another thread, after other runs, beside other
//! worlds, watched or not, in debug and in release. What has nothing to do with a flow moves none of
//! its packets. And a run that goes wrong says where.

mod findings;
mod observing;
mod programs;
mod unrelated;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sim_core::World;
use sim_net::{LinkRule, Memory, Sim, Simulation};

use programs::{PROGRAMS, everything, jittered};

/// What is compared of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    hash: u64,
    events: u64,
    nanos: u64,
}

fn print(sim: &Sim) -> Print {
    let report = sim.run(everything);
    let print = Print { hash: report.hash, events: report.events, nanos: report.time.as_nanos() };
    report.unwrap();
    print
}

#[test]
fn a_seed_gives_one_run_again_and_on_another_thread() {
    for seed in 0..16 {
        let here = print(&jittered(seed));
        assert_eq!(print(&jittered(seed)), here);
        let there = thread::Builder::new().name(format!("worker {seed}"));
        let there = there.spawn(move || print(&jittered(seed))).expect("a thread can be started");
        assert_eq!(there.join().expect("the run succeeds there too"), here);
    }
}

#[test]
fn a_thousand_runs_before_it_change_nothing() {
    let first = print(&jittered(3));
    for seed in 0..1_000 {
        Sim::new(seed).run(programs::greeting).unwrap();
    }
    assert_eq!(print(&jittered(3)), first);
}

/// A world takes the memory of one before it, and nothing else: after none, and after each program.
#[test]
fn what_a_world_leaves_behind_tells_the_next_one_nothing() {
    let memory = Memory::default();
    for program in PROGRAMS {
        let expected = program.run(7).hash;
        for before in PROGRAMS {
            (before.run_in)(8, &memory);
            let after = (program.run_in)(7, &memory).hash;
            assert_eq!(after, expected, "{} after {}", program.name, before.name);
        }
    }
}

/// Where all links are alike, a packet that chance spares takes a short way. Where one is named it does not, even
/// if it is like the others.
#[test]
fn the_short_way_of_a_packet_leaves_the_trace_of_the_long_one() {
    let links = [
        "loss=10%",
        "latency=1ms..9ms,loss=3%,dup=3%,reorder=5%/2,corrupt=2%/deliver",
        "latency=exp(2ms,+5ms),dup=10%",
        "latency=table(1ms,4ms),reorder=20%",
        "latency=0ms,corrupt=5%",
    ];
    for link in links {
        let mut bitten = 0;
        for seed in 0..12 {
            let everywhere: LinkRule = link.parse().expect("a link");
            let named: LinkRule = format!("server<->client: {link}").parse().expect("a rule");
            let short = Sim::new(seed).link(everywhere.clone());
            let long = short.clone().link(named);
            let [short, long] = [short, long].map(|sim| {
                let report = sim.run(|world| async move {
                    // What is lost of datagrams is not sent again.
                    let until = Duration::from_secs(30);
                    drop(world.clone().timeout(until, everything(world)).await);
                });
                (report.hash, report.events, report.faults)
            });
            assert_eq!(short, long, "{link}, seed {seed}");
            bitten += short.2.values().sum::<u64>();
        }
        assert!(bitten > 10, "{link} did nothing");
    }
}

/// Runs of the same parts in a world.
fn step(world: &Simulation, number: u64) {
    let client = world.world().host("client");
    world
        .run(async move {
            client.sleep(Duration::from_micros(900 + 100 * number)).await;
            client.mark("step", number);
        })
        .expect("a step succeeds");
}

#[test]
fn worlds_on_one_thread_do_not_see_each_other() {
    const STEPS: u64 = 30;
    let begin = |seed| {
        let world = jittered(seed).build();
        let (tx, scene) = (world.world(), everything(world.world()));
        let host = tx.host("client");
        world.run(async move { drop(host.create_task(scene)) }).expect("it begins");
        world
    };
    let alone = |seed| {
        let world = begin(seed);
        (0..STEPS).for_each(|number| step(&world, number));
        (world.hash(), world.events(), world.time())
    };
    let expected = [alone(1), alone(2), alone(2)];
    let beside = [1, 2, 2].map(begin);
    for number in 0..STEPS {
        beside.iter().for_each(|world| step(world, number));
    }
    let found = beside.each_ref().map(|world| (world.hash(), world.events(), world.time()));
    assert_eq!(found, expected);
    assert_eq!(found[1], found[2]);
    assert_ne!(found[0].0, found[1].0);
}

/// A world is built, and runs, inside a callback of another.
#[test]
fn a_world_inside_a_world_is_a_world() {
    async fn outer(world: World) -> io::Result<u64> {
        let client = world.host("client");
        client.sleep(Duration::from_millis(1)).await;
        let inner = print(&jittered(5));
        client.sleep(Duration::from_millis(1)).await;
        assert_eq!(client.time().since_epoch(), Duration::from_millis(2));
        Ok(inner.hash)
    }
    assert_eq!(Sim::new(1).run(outer).unwrap(), print(&jittered(5)).hash);
}

/// Counts what it is told.
struct Listener {
    heard: Arc<AtomicU64>,
    lines: Arc<Mutex<Vec<u8>>>,
}

impl io::Write for &Listener {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let mut lines = self.lines.lock().expect("nobody panics with it");
        if lines.len() < 1_000 {
            lines.extend_from_slice(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn observation_changes_nothing() {
    let plain = print(&jittered(4));
    assert_eq!(print(&jittered(4).trace(true)), plain);
    // While there is one subscriber alone, `tracing` asks the default of the thread that comes first
    // to an event whether anybody wants it; the other tests' threads have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    for level in [tracing::Level::ERROR, tracing::Level::TRACE] {
        let (heard, lines) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let listener = Arc::new(Listener { heard: Arc::clone(&heard), lines: Arc::clone(&lines) });
        let subscriber =
            tracing_subscriber::fmt().with_max_level(level).with_writer(listener).finish();
        let watched = tracing::subscriber::with_default(subscriber, || print(&jittered(4)));
        assert_eq!(watched, plain);
        let heard = heard.load(Ordering::Relaxed);
        assert_eq!(heard >= plain.events, level == tracing::Level::TRACE, "{heard} lines");
    }
}

#[test]
fn seeds_differ() {
    let mut hashes: Vec<u64> = (0..200).map(|seed| print(&jittered(seed)).hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 200);
}

/// The table changes with whatever breaks traces: a seed of an older version means another run then,
/// which `CHANGELOG.md` says. It holds in debug and in release, and on every platform.
#[test]
fn hashes_of_fixed_programs_are_what_they_were() {
    let mut table =
        String::from("program             seed  trace hash        events  virtual time\n");
    for program in PROGRAMS {
        for seed in [0, 1, 0xdead_beef] {
            let (name, report) = (program.name, program.run(seed));
            table += &format!(
                "{name:<15} {seed:>8x}  {:016x}  {:>6}  {}\n",
                report.hash, report.events, report.time
            );
            report.unwrap();
        }
    }
    insta::with_settings!({
        snapshot_path => ".", prepend_module_to_snapshot => false, omit_expression => true
    }, {
        insta::assert_snapshot!("hashes", table);
    });
}
