//! Hosts and instants of a simulation (rulings 6 and 10), and its reproduction.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Loop, RunError, Time, World};
use sim_net::{FindingKind, Report, Sim};
use tests::recorder::{Log, Recorder};
use tests::{both_loops, sim_only};

use crate::connected::connect;
use crate::loops::{ms, note, note_soon, reports_of};

both_loops! {
    /// the scenario awaits futures and tasks of several hosts.
    async fn a_scenario_awaits_what_belongs_to_several_hosts(world: World) -> io::Result<()> {
        let (a, b) = (world.host("a"), world.host("b"));
        let future = a.create_future::<u32>();
        let setter = future.clone();
        let waits = future.clone();
        let on_b = b.create_named_task("on b", async move { 40 });
        a.call_later(ms(1), move || setter.set_result(2).unwrap()).detach();
        assert_eq!(on_b.await.unwrap() + future.await.unwrap(), 42);
        assert_eq!(waits.await.unwrap(), 2);
        b.sleep(ms(1)).await;
        a.sleep(ms(1)).await;
        Ok(())
    }
}

sim_only! {
    /// what a callback spends moves its host's clock after the callback: the rest of its
    /// turn waits, other hosts go on, and what arrives meanwhile waits too.
    async fn what_a_callback_spends_delays_its_host_alone(world: World) {
        let (busy, other, log) = (world.host("busy"), world.host("other"), Log::new());
        let start = busy.time();
        let at = |lp: &Loop, name: &'static str| {
            let (lp, log) = (lp.clone(), log.clone());
            move || log.push(format!("{name}@{}", (lp.time() - start).as_millis()))
        };
        let (first, costs) = (at(&busy, "first"), busy.clone());
        busy.call_soon(move || {
            costs.spend(ms(10));
            first();
            costs.spend(ms(5));
        });
        busy.call_soon(at(&busy, "second"));
        busy.call_later(ms(2), at(&busy, "timer")).detach();
        busy.call_later(ms(20), at(&busy, "late")).detach();
        other.call_later(ms(2), at(&other, "other")).detach();
        let (remote, woken) = (busy.clone(), at(&busy, "queued"));
        let queues = move || {
            remote.call_soon(woken);
        };
        other.call_later(ms(3), queues).detach();
        other.sleep(ms(30)).await;
        assert_eq!(log.text(), "first@0 other@2 second@15 queued@15 timer@15 late@20");
    }

    /// of a packet and a timer of one instant the packet was there first, since the turn takes
    /// I/O before timers; and timers of one host go by deadline, then by age.
    async fn within_a_host_the_order_of_an_instant_is_that_of_the_turn(world: World) -> io::Result<()> {
        let (log, lp) = (Log::new(), world.host("client"));
        let (conn, peer) = connect(&world, Recorder::new(&log), Recorder::new(&Log::new())).await?;
        world.settle().await;
        let when = lp.time() + ms(50);
        let _timers = ["t1", "t2", "t3"].map(|name| lp.call_at(when, note(&log, name)));
        let costs = lp.clone();
        lp.call_later(ms(40), move || costs.spend(ms(10))).detach();
        world.host("server").call_later(ms(41), move || peer.with(|_, cx| cx.write(b"data"))).detach();
        lp.sleep(ms(60)).await;
        assert_eq!(log.text(), "CM DR t1 t2 t3");
        drop(conn);
        Ok(())
    }
}

/// Three hosts that are due at one instant, and a scenario that waits for the first one.
async fn hosts_at_one_instant(world: World, log: Log) {
    let hosts = ["a", "b", "c"].map(|name| (name, world.host(name)));
    let done = hosts[0].1.create_future::<()>();
    for (name, host) in &hosts {
        let (seen, done) = (log.clone(), done.clone());
        let first = *name == "a";
        let (handle, name) = (host.clone(), *name);
        let due = move || {
            seen.push(name);
            note_soon(&handle, &seen, &["+"]);
            if first {
                done.set_result(()).unwrap();
            }
        };
        host.call_at(Time::ZERO + ms(5), due).detach();
    }
    done.await.unwrap();
    log.push("control");
    hosts[0].1.sleep(ms(1)).await;
}

/// hosts that are ready at one instant go in an order that the seed decides, and the
/// scenario right after the turn that woke it, before any other host (ruling 6).
#[test]
// on: sim
fn the_order_of_hosts_at_an_instant_is_the_seeds() {
    let mut orders = BTreeSet::new();
    for seed in 0..64 {
        let run = || {
            let log = Log::new();
            let seen = log.clone();
            Sim::new(seed).run(|world| hosts_at_one_instant(world, seen)).unwrap();
            log.entries()
        };
        let order = run();
        assert_eq!(order, run(), "seed {seed}");
        let control = order.iter().position(|entry| entry == "control").unwrap();
        assert_eq!(order[control - 1], "a", "{order:?}");
        let hosts = order.into_iter().filter(|entry| "abc".contains(entry.as_str()));
        orders.insert(hosts.collect::<String>());
    }
    assert_eq!(orders.len(), 6, "all orders of three hosts: {orders:?}");
}

/// the bound on turns at one instant ends a livelock with an error that names the bound; one
/// turn less is no livelock.
#[test]
// on: sim
fn a_livelock_is_reported() {
    async fn turns(world: World, count: u32) {
        let host = world.host("host");
        for _ in 0..count {
            host.sleep(Duration::ZERO).await;
        }
    }
    // How many turns a run with `count` yields takes at its only instant.
    let passes = |bound: u64, count: u32| {
        let report = Sim::new(1).max_turns_per_instant(bound).run(|world| turns(world, count));
        match report.outcome {
            Ok(()) => true,
            Err(finding) => {
                assert_eq!(finding.kind, FindingKind::Limit);
                assert!(finding.message.contains("max_turns_per_instant"), "{finding}");
                assert_eq!(finding.time, Time::ZERO);
                false
            }
        }
    };
    let least = (1..1_000).find(|&bound| passes(bound, 100)).expect("a hundred turns are few");
    assert!((100..=210).contains(&least), "{least}");
    assert!(!passes(least - 1, 100) && passes(least, 100) && !passes(least, 101));
}

/// time that passes starts the count anew.
#[test]
// on: sim
fn turns_at_different_instants_are_no_livelock() {
    let report = Sim::new(1).max_turns_per_instant(20).run(|world| async move {
        for _ in 0..1_000 {
            world.host("host").sleep(Duration::from_nanos(1)).await;
        }
    });
    report.unwrap();
}

/// a bare loop that can never go on says so, with the names of its tasks.
#[test]
// on: sim
fn a_deadlock_names_the_tasks_that_wait() {
    let lp = sim_net::new_loop();
    let reports = reports_of(&lp);
    let never = lp.create_future::<()>();
    let waits = never.clone();
    lp.create_named_task("stuck", async move { waits.await.ok() });
    match lp.run_until_complete(never) {
        Err(RunError::Deadlock { pending }) => {
            assert_eq!(pending, ["host: task \"stuck\"", "host: task \"main\""]);
        }
        other => panic!("{other:?}"),
    }
    assert!(!lp.is_running());
    assert_eq!(reports.text(), "");
    assert_eq!(lp.run_until_complete(async { 7 }).unwrap(), 7);
}

/// Hosts with connections, timers, tasks, random numbers and processor time.
async fn a_bit_of_everything(world: World, log: Log) -> io::Result<Vec<u64>> {
    let peer_log = log.clone();
    let peer = Recorder::new(&peer_log).named("S:").on_data(|cx, data| cx.write(data));
    let subject = Recorder::new(&log).named("C:");
    let (conn, _peer) = connect(&world, subject, peer).await?;
    let times: Rc<RefCell<Vec<u64>>> = Rc::default();
    let mut tasks = Vec::new();
    for name in ["client", "server", "third"] {
        let (lp, log, times) = (world.host(name), log.clone(), Rc::clone(&times));
        let transport = conn.transport().clone();
        let handle = lp.clone();
        tasks.push(handle.create_task(async move {
            let mut rng = lp.rng("delays");
            for round in 0..5_u8 {
                lp.sleep(Duration::from_micros(rng.below(900))).await;
                lp.spend(Duration::from_micros(rng.below(50)));
                times.borrow_mut().push(lp.time().as_nanos());
                log.push(lp.host());
                if lp.host() == "client" {
                    transport.write(&[round; 3_000]);
                }
            }
        }));
    }
    for task in tasks {
        task.await.map_err(io::Error::from)?;
    }
    conn.with(|_, cx| cx.write_eof());
    conn.closed().await?;
    let mut times = times.take();
    times.push(world.host("client").time().as_nanos());
    Ok(times)
}

/// What came of a run, whole.
type Whole = (Vec<u64>, String, String, u64, u64);

fn run_of(seed: u64) -> Whole {
    let log = Log::new();
    let seen = log.clone();
    let latency = Duration::from_micros(200)..ms(2);
    let sim = Sim::new(seed).latency(latency).trace(true);
    let report: Report<Vec<u64>> = sim.run(|world| a_bit_of_everything(world, seen));
    let trace = report.log.as_ref().expect("it was asked for").to_string();
    let (hash, events) = (report.hash, report.events);
    (report.unwrap(), log.text(), trace, hash, events)
}

/// K-06: the same seed and program give the same trace of callbacks, virtual times and turns, in any
/// order of runs and on any thread; another seed gives another.
#[test]
// on: sim
fn the_same_seed_gives_the_same_run() {
    let first: Vec<Whole> = (0..6).map(run_of).collect();
    let again: Vec<Whole> = (0..6).rev().map(run_of).rev().collect();
    assert_eq!(first, again);
    let elsewhere = std::thread::spawn(|| (0..6).map(run_of).collect::<Vec<_>>());
    assert_eq!(first, elsewhere.join().unwrap());
    let hashes: BTreeSet<u64> = first.iter().map(|run| run.3).collect();
    assert_eq!(hashes.len(), 6);
    let (times, callbacks, trace, ..) = &first[0];
    assert_eq!(times.len(), 16);
    assert!(callbacks.starts_with("C:CM ") || callbacks.starts_with("S:CM "), "{callbacks}");
    assert!(callbacks.ends_with("C:CL(None)") || callbacks.ends_with("S:CL(None)"), "{callbacks}");
    assert!(trace.contains("data_received") && trace.contains("turn"), "{trace}");
}

/// K-06: two worlds that take turns on one thread do not disturb each other.
#[test]
// on: sim
fn worlds_on_one_thread_do_not_disturb_each_other() {
    let step = |world: &sim_net::Simulation| {
        let host = world.world().host("host");
        let future = async move {
            let delay = host.rng("delay").below(1_000);
            host.sleep(Duration::from_micros(delay)).await;
            host.spend(ms(1));
        };
        world.run(future).unwrap();
        (world.hash(), world.time())
    };
    let alone = |seed| {
        let world = Sim::new(seed).build();
        [(); 4].map(|()| step(&world))
    };
    let (a, b) = (Sim::new(1).build(), Sim::new(2).build());
    let together = [(); 4].map(|()| (step(&a), step(&b)));
    assert_eq!(together.map(|(first, _)| first), alone(1));
    assert_eq!(together.map(|(_, second)| second), alone(2));
    assert_ne!(alone(1), alone(2));
}
