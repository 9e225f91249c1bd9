//! What holds a host, by a plan and by hand: each hold ends by itself.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Loop, Signal, World};
use sim_net::{HostOperator, Operator, Plan, Sim};

use crate::protocols::{Recorder, ms};

fn plan(text: &str) -> Plan {
    format!("plan 1.0\n{text}").parse().unwrap_or_else(|errors| panic!("{errors}"))
}

/// Something that the test's own hand does, and when.
type Deed = (u64, fn(&HostOperator));

/// A host that ticks every 100 ms, under a plan and the test's own hand: between which ticks it was silent, in
/// milliseconds. All faults end at 8 s, and the run at 10 s.
#[track_caller]
fn silences(text: &str, deeds: &[Deed]) -> Vec<(u64, u64)> {
    let once = || {
        let sim = Sim::new(1).plan(&plan(text)).unwrap().quiesce(Duration::from_secs(8));
        let simulation = sim.build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let (ticks, deeds) = (Rc::new(RefCell::new(vec![0])), deeds.to_vec());
        let run = tick(world, operator, Rc::clone(&ticks), deeds);
        simulation.run(run).unwrap();
        (ticks.take(), simulation.hash())
    };
    let (mut ticks, hash) = once();
    assert_eq!(once().1, hash);
    ticks.push(10_000);
    let gaps = ticks.windows(2).map(|pair| (pair[0], pair[1]));
    gaps.filter(|(from, to)| to - from > 100).collect()
}

async fn tick(world: World, operator: Operator, ticks: Rc<RefCell<Vec<u64>>>, deeds: Vec<Deed>) {
    let clock = world.clone();
    world.boot("n", move |lp: Loop| {
        let (clock, ticks) = (clock.clone(), Rc::clone(&ticks));
        async move {
            for _ in 0..100 {
                lp.sleep(ms(100)).await;
                ticks.borrow_mut().push(clock.time().since_epoch().as_millis() as u64);
            }
        }
    });
    let host = operator.host("n");
    for (at, deed) in deeds {
        world.sleep(ms(at) - world.time().since_epoch()).await;
        deed(&host);
    }
    world.sleep(ms(10_000) - world.time().since_epoch()).await;
}

/// Two entries about one host: it is as both say until the later end, whichever began first.
#[test]
fn faults_of_a_plan_that_overlap_hold_until_the_last_has_ended() {
    for (word, boots) in [("pause", 0), ("freeze", 0), ("crash", 100)] {
        let entry = |from: u64, to: u64| match word {
            "crash" => format!("crash n {from}s for {}s", to - from),
            word => format!("{word} n {from}s..{to}s"),
        };
        for spans in [[(1, 4), (2, 5)], [(2, 5), (1, 4)], [(1, 5), (2, 3)], [(1, 3), (1, 5)]] {
            let text = spans.map(|(from, to)| entry(from, to)).join("\n");
            assert_eq!(silences(&text, &[]), [(900, 5_000 + boots)], "{text}");
        }
        // One behind the other at the same instant.
        let text = [entry(1, 3), entry(3, 5)].join("\n");
        let last = silences(&text, &[]).last().copied().unwrap();
        assert_eq!(last.1, 5_000 + boots, "{text}");
    }
}

/// The hand's hold and the plan's end each by itself.
#[test]
fn the_hand_takes_back_what_it_did_and_a_plan_what_the_plan_did() {
    type Switch = fn(&HostOperator);
    let cases: [(&str, Switch, Switch, u64); 3] = [
        (
            "pause n 1s..4s",
            |host| assert!(host.pause() && !host.pause() && host.is_paused()),
            |host| assert!(host.resume() && !host.resume()),
            0,
        ),
        (
            "freeze n 1s..4s",
            |host| assert!(host.freeze() && !host.freeze() && host.is_frozen()),
            |host| assert!(host.thaw() && !host.thaw()),
            0,
        ),
        (
            "crash n 1s for 3s",
            |host| assert!(host.crash() && !host.crash() && !host.is_up()),
            |host| assert!(host.start() && !host.start()),
            100,
        ),
    ];
    for (text, stop, go_on, boots) in cases {
        let within = [(2_000, stop), (3_000, go_on)];
        assert_eq!(silences(text, &within), [(900, 4_000 + boots)], "{text}, by hand within");
        let beyond = [(2_000, stop), (6_000, go_on)];
        assert_eq!(silences(text, &beyond), [(900, 6_000 + boots)], "{text}, by hand beyond");
        let before = [(500, stop), (2_000, go_on)];
        assert_eq!(silences(text, &before), [(400, 4_000 + boots)], "{text}, by hand before");
        let for_ever = [(2_000, stop)];
        assert_eq!(silences(text, &for_ever), [(900, 8_000 + boots)], "{text}, until the end");
    }
    // What the hand has not done it does not take back.
    let nothing: Switch = |host| assert!(!host.resume() && !host.thaw() && !host.start());
    for text in ["pause n 1s..4s", "freeze n 1s..4s"] {
        assert_eq!(silences(text, &[(2_000, nothing)]), [(900, 4_000)], "{text}");
    }
    assert_eq!(silences("crash n 1s for 3s", &[(2_000, nothing)]), [(900, 4_100)]);
}

/// The end of all faults ends every hold but those of permanent faults.
#[test]
fn the_end_of_all_faults_leaves_permanent_holds_alone() {
    let both = [(500, (|host| assert!(host.pause() && host.freeze())) as fn(&HostOperator))];
    assert_eq!(silences("pause n 1s..\nfreeze n 2s..\npause n 3s..20s", &both), [(400, 8_000)]);
    for text in [
        "pause n 1s.. permanent\npause n 2s..3s",
        "freeze n 1s..3s\nfreeze n 2s.. permanent",
        "crash n 1s.. permanent\ncrash n 2s for 1s",
        "kill n at 1s permanent\nkill n at 2s",
        "kill n at 1s permanent\ncrash n 2s for 1s",
        "freeze n 1s..2s\nkill n at 1.5s permanent",
        "signal n SIGSTOP at 1s permanent\npause n 2s..3s",
        "signal n SIGTERM at 1s permanent",
    ] {
        let silent = silences(text, &[]).last().copied().unwrap();
        assert!(silent.0 <= 2_000 && silent.1 == 10_000, "{text}: {silent:?}");
    }
}

/// A permanent incident has no end of its own, so the hand may take it back, for good.
#[test]
fn the_hand_undoes_an_incident_even_a_permanent_one() {
    let start: Deed = (3_000, |host| assert!(host.start()));
    assert_eq!(silences("kill n at 1s permanent", &[start]), [(900, 3_100)]);
    let resume: Deed = (3_000, |host| assert!(host.resume()));
    assert_eq!(silences("signal n SIGSTOP at 1s permanent", &[resume]), [(900, 3_000)]);
}

/// What a permanent signal does not do ends with all faults: a process that dies of something else.
#[test]
fn a_permanent_signal_that_ends_nothing_keeps_nobody_down() {
    for signal in ["SIGSTOP", "SIGCONT", "SIGCHLD"] {
        let text = format!("freeze n 1s..3s\nkill n at 1.5s\nsignal n {signal} at 2s permanent");
        assert_eq!(silences(&text, &[]), [(900, 8_100)], "{text}");
    }
    let text = "pause n 1s..3s\nsignal n SIGTERM at 1.5s\nsignal n SIGCHLD at 2s permanent";
    assert_eq!(silences(text, &[]), [(900, 8_100)]);
}

/// A start that waits for the end of a process is taken back by what ends it once more.
#[test]
fn of_a_kill_and_a_start_that_wait_the_last_holds() {
    let wait: Deed = (1_000, |host| {
        assert!(host.freeze() && host.kill() && !host.kill() && host.start() && host.kill());
    });
    let go_on: Deed = (2_000, |host| assert!(host.thaw() && !host.is_up()));
    assert_eq!(silences("", &[wait, go_on]), [(900, 8_100)]);
    let wait: Deed = (1_000, |host| {
        assert!(host.pause() && host.signal(Signal::TERM) && host.start());
        assert!(host.signal(Signal::INT));
    });
    let go_on: Deed = (2_000, |host| assert!(host.resume() && !host.is_up()));
    assert_eq!(silences("", &[wait, go_on]), [(900, 8_100)]);
}

/// The clocks of a slow host may change their rate at any time, and it loses no timer by it: while its processor is
/// busy, and while its process or its machine stands still. So at the end of all faults, too.
#[test]
fn a_slow_host_that_stands_still_keeps_its_timers_when_its_clock_changes() {
    let slow: Deed = (500, |host| host.slow(ms(20)));
    let drift: Deed = (2_000, |host| host.drift(0));
    let resume: Deed = (3_000, |host| assert!(host.resume() | host.thaw()));
    for stop in [
        (1_000, (|host| assert!(host.pause())) as fn(&HostOperator)),
        (1_000, |host| assert!(host.freeze())),
    ] {
        let silent = silences("", &[slow, stop, drift, resume]);
        // Slow, each tick is 20 ms late.
        let long: Vec<_> = silent.into_iter().filter(|(from, to)| to - from > 200).collect();
        assert_eq!(long.len(), 1, "{long:?}");
        assert!(long[0].0 < 1_000 && (3_000..3_100).contains(&long[0].1), "{long:?}");
    }
    let text = "clock n drift +100ppm\nslow n 1s.. by 20ms\npause n 2s.. permanent";
    let silent = silences(text, &[]).last().copied().unwrap();
    assert!((1_800..2_000).contains(&silent.0) && silent.1 == 10_000, "{silent:?}");
}

/// G-43: SIGSTOP and SIGCONT are `pause` and `resume`; neither moves the end of a plan's pause.
#[test]
fn a_signal_does_not_end_a_pause_of_a_plan() {
    let stop: Deed = (2_000, |host| assert!(host.signal(Signal::STOP)));
    let go_on: Deed = (3_000, |host| assert!(host.signal(Signal::CONT) && host.is_paused()));
    assert_eq!(silences("pause n 1s..4s", &[stop, go_on]), [(900, 4_000)]);
    let go_on: Deed = (5_000, |host| assert!(host.signal(Signal::CONT) && !host.is_paused()));
    assert_eq!(silences("pause n 1s..4s", &[stop, go_on]), [(900, 5_000)]);
}

/// What is of the machine outlives a crash: a machine that is frozen starts frozen. A pause ends with its
/// process, and where there is no process there is nothing to pause.
#[test]
fn a_freeze_outlives_the_process_and_a_pause_does_not() {
    let crash: Deed = (2_000, |host| assert!(host.crash()));
    let start: Deed = (3_000, |host| assert!(host.start() && host.is_up()));
    assert_eq!(silences("freeze n 1s..5s", &[crash, start]), [(900, 5_100)]);
    assert_eq!(silences("pause n 1s..5s", &[crash, start]), [(900, 3_100)]);
    for (text, end) in [("freeze n 1s.. permanent", 10_000), ("pause n 1s.. permanent", 3_100)] {
        assert_eq!(silences(text, &[crash, start]), [(900, end)], "{text}");
    }
    // They begin while it is off.
    assert_eq!(silences("crash n 1s for 2s\nfreeze n 2s..5s", &[]), [(900, 5_100)]);
    assert_eq!(silences("crash n 1s for 2s\npause n 2s..5s", &[]), [(900, 3_100)]);
    assert_eq!(silences("crash n 1s for 2s\nfreeze n 2s..2.5s", &[]), [(900, 3_100)]);
    // A kill is of the process alone.
    let kill: Deed = (2_000, |host| assert!(host.kill() && host.start() && !host.is_paused()));
    assert_eq!(silences("pause n 1s..5s", &[kill]), [(900, 2_100)]);
    let frozen: Deed = (500, |host| assert!(host.freeze() && host.crash() && host.is_frozen()));
    let thaw: Deed = (4_000, |host| assert!(host.start() && host.thaw() && !host.is_frozen()));
    assert_eq!(silences("", &[frozen, thaw]), [(400, 4_100)]);
}

/// What befalls a host at one instant, in either order, comes to the same; and what lasts no time leaves nothing
/// behind.
#[test]
fn at_one_instant_the_order_does_not_matter() {
    for (first, second, silent) in [
        ("crash n 1s for 1s", "freeze n 1s..3s", (900, 3_100)),
        ("crash n 1s for 2s", "freeze n 1s..3s", (900, 3_100)),
        ("crash n 1s for 3s", "pause n 1s..5s", (900, 4_100)),
        ("kill n at 1s", "freeze n 1s..3s", (900, 8_100)),
        ("kill n at 1s", "pause n 1s..3s", (900, 8_100)),
        ("kill n at 1s", "crash n 1s for 1s", (900, 2_100)),
        ("pause n 1s..3s", "freeze n 1s..2s", (900, 3_000)),
        ("clock n at 1s step -1h", "freeze n 1s..2s", (900, 2_000)),
        ("kill n at 1s permanent", "crash n 1s for 1s", (900, 10_000)),
        ("kill n at 1s permanent", "kill n at 1s", (900, 10_000)),
        ("kill n at 1s permanent", "freeze n 1s..3s", (900, 10_000)),
        ("signal n SIGKILL at 1s permanent", "crash n 1s for 1s", (900, 10_000)),
        ("signal n SIGTERM at 1s permanent", "crash n 1s for 1s", (900, 10_000)),
        ("signal n SIGTERM at 1s permanent", "kill n at 1s", (900, 10_000)),
        ("signal n SIGSTOP at 1s permanent", "crash n 1s for 1s", (900, 2_100)),
        ("signal n SIGTERM at 1s", "pause n 1s..3s", (900, 8_100)),
    ] {
        assert_eq!(silences(&format!("{first}\n{second}"), &[]), [silent], "{first}, {second}");
        assert_eq!(silences(&format!("{second}\n{first}"), &[]), [silent], "{second}, {first}");
    }
    assert_eq!(silences("pause n 1s..1s\nfreeze n 1s..1s", &[]), []);
    assert_eq!(silences("crash n 1s for 0s\npause n 1s..1s", &[]), [(900, 1_100)]);
}

/// What the clients of a server see under a plan that ends its process and its machine, second by second: it answers,
/// refuses, or is silent. All faults end at 6 s.
#[track_caller]
fn faces(text: &str, deeds: &[Deed]) -> String {
    let sim = Sim::new(1).plan(&plan(text)).unwrap().quiesce(Duration::from_secs(6));
    let simulation = sim.build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let deeds = deeds.to_vec();
    let run = async move {
        world.boot("n", |lp: Loop| async move {
            let server = lp.create_server(("n", 7), Recorder::default).await?;
            server.serve_forever().await
        });
        let (client, host) = (world.host("client"), operator.host("n"));
        let mut faces = String::new();
        for second in 0..8 {
            let (from, to) = (1_000 * second, 1_000 * second + 500);
            for (_, deed) in deeds.iter().filter(|(at, _)| (from..to).contains(at)) {
                deed(&host);
            }
            world.sleep(ms(to) - world.time().since_epoch()).await;
            let connecting = client.create_connection(("n", 7), Recorder::default);
            let face = match client.timeout(ms(10), connecting).await {
                Err(_) => '.',
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => 'R',
                Ok(Err(error)) => return Err(error),
                Ok(Ok(conn)) => {
                    conn.with(|_, cx| cx.abort());
                    'A'
                }
            };
            assert_eq!(host.is_up(), face == 'A', "{second} s");
            assert_eq!(host.is_on(), face != '.', "{second} s");
            faces.push(face);
        }
        io::Result::Ok(faces)
    };
    simulation.run(run).unwrap()
}

/// E-15: the end of a crash turns the machine on, and starts its process unless that was killed for good: then the
/// kernel refuses whoever connects. It is the same in whatever order the two come, and however they overlap.
#[test]
fn a_machine_whose_process_was_killed_for_good_is_on_without_one() {
    for (text, seen) in [
        ("crash n 1s for 2s", "A..AAAAA"),
        ("kill n at 1s", "ARRRRRAA"),
        ("kill n at 1s permanent", "ARRRRRRR"),
        ("kill n at 1s permanent\ncrash n 1s for 2s", "A..RRRRR"),
        ("crash n 1s for 2s\nkill n at 1s permanent", "A..RRRRR"),
        ("crash n 1s for 2s\nkill n at 2s permanent", "A..RRRRR"),
        ("crash n 1s for 2s\nkill n at 3s permanent", "A..RRRRR"),
        ("kill n at 3s permanent\ncrash n 1s for 2s", "A..RRRRR"),
        ("kill n at 1s permanent\ncrash n 3s for 1s\ncrash n 3s for 2s", "ARR..RRR"),
        ("kill n at 1s permanent\ncrash n 3s..", "ARR...RR"),
        ("kill n at 1s permanent\ncrash n 3s.. permanent", "ARR....."),
        ("signal n SIGKILL at 2s permanent\ncrash n 1s for 2s", "A..RRRRR"),
        ("signal n SIGTERM at 2s permanent\ncrash n 1s for 2s", "A..AAAAA"),
        ("kill n at 2s\ncrash n 1s for 2s", "A..AAAAA"),
    ] {
        assert_eq!(faces(text, &[]), seen, "{text}");
    }
}

/// By hand a host starts whoever killed it, and its machine whoever turned it off but a plan.
#[test]
fn a_start_by_hand_brings_back_a_process_that_was_killed_for_good() {
    let crash: Deed = (2_000, |host| assert!(host.crash()));
    let start: Deed = (4_000, |host| assert!(host.start() && !host.start()));
    let text = "kill n at 1s permanent";
    assert_eq!(faces(text, &[start]), "ARRRAAAA");
    assert_eq!(faces(text, &[crash, start]), "AR..AAAA");
    // What the hand did the end of all faults takes back, and no more.
    assert_eq!(faces(text, &[crash]), "AR....RR");
    let early: Deed = (2_000, |host| assert!(host.start() && !host.start() && !host.is_up()));
    assert_eq!(faces("kill n at 1s permanent\ncrash n 1s for 3s", &[early]), "A...AAAA");
}

/// A machine that is on without a process is frozen and thawed as any.
#[test]
fn a_machine_without_a_process_may_be_frozen() {
    for text in [
        "kill n at 1s permanent\ncrash n 1s for 1s\nfreeze n 3s..4s",
        "freeze n 3s..4s\ncrash n 1s for 1s\nkill n at 1s permanent",
    ] {
        let start: Deed = (5_000, |host| assert!(host.start() && host.is_up()));
        assert_eq!(silences(text, &[start]), [(900, 5_100)], "{text}");
    }
    let start: Deed = (3_000, |host| assert!(host.is_on() && host.start() && host.is_frozen()));
    let text = "kill n at 1s permanent\ncrash n 1s for 1s\nfreeze n 1s..5s";
    assert_eq!(silences(text, &[start]), [(900, 5_100)]);
}

/// What others hear does not depend on the order of a plan either: of a process that is killed as its machine stops the
/// sockets are closed first.
#[test]
fn what_stops_a_machine_comes_behind_the_end_of_its_process() {
    for (end, stop) in [
        ("kill n at 1s", "crash n 1s for 1s"),
        ("kill n at 1s", "freeze n 1s..3s"),
        ("signal n SIGTERM at 1s", "crash n 1s for 1s"),
        ("signal n SIGTERM at 1s", "pause n 1s..3s"),
    ] {
        for text in [format!("{end}\n{stop}"), format!("{stop}\n{end}")] {
            let report = Sim::new(1).plan(&plan(&text)).unwrap().run(async move |world: World| {
                let (n, client) = (world.host("n"), world.host("client"));
                let server = n.create_server(("n", 7), Recorder::default).await?;
                let conn = client.create_connection(("n", 7), Recorder::default).await?;
                world.sleep(ms(5_000)).await;
                drop(server);
                io::Result::Ok(conn.with(|it, _| (it.ended, it.lost_at.since_epoch())))
            });
            assert_eq!(report.unwrap(), (true, ms(1_001)), "{text}");
        }
    }
}

/// How long a callback takes on the host `n`, in milliseconds.
async fn cost(world: &World) -> u128 {
    let (lp, clock) = (world.host("n"), world.clone());
    let task = lp.clone().create_task(async move {
        let began = clock.time();
        lp.sleep(ms(0)).await;
        clock.time() - began
    });
    task.await.expect("its host is up").as_millis()
}

/// A slow machine is slow whatever its process does, and whoever slowed it.
#[test]
fn a_slow_machine_is_slow_after_a_restart() {
    let text = "slow n 1s.. by 10ms permanent\ncrash n 2s for 1s\nslow n 3500ms..5s by 70ms";
    let sim = Sim::new(1).plan(&plan(text)).unwrap().quiesce(Duration::from_secs(8));
    let simulation = sim.build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let costs = simulation.run(async move {
        world.host("n");
        let host = operator.host("n");
        let mut costs = Vec::new();
        for (at, deed) in [
            (1_100, None),
            (3_100, None),
            (3_600, None),
            (4_000, Some((|host| assert!(host.kill() && host.start())) as fn(&HostOperator))),
            (5_100, None),
            (5_500, Some(|host| host.slow(ms(30)))),
            (6_000, Some(|host| assert!(host.crash() && host.start()))),
            (6_500, Some(|host| host.slow(Duration::ZERO))),
            (7_000, Some(|host| host.slow(ms(50)))),
            (8_100, None),
        ] {
            world.sleep(ms(at) - world.time().since_epoch()).await;
            if let Some(deed) = deed {
                deed(&host);
            }
            costs.push(cost(&world).await);
        }
        io::Result::Ok(costs)
    });
    assert_eq!(costs.unwrap(), [10, 10, 70, 70, 10, 30, 30, 10, 50, 10]);
}

/// What slows a machine that is off slows it when it starts; what ended meanwhile does not.
#[test]
fn a_machine_that_is_off_may_become_slow_and_quick() {
    for (text, after) in [("slow n 2s..9s by 10ms", 10), ("slow n 500ms..2s by 10ms", 0)] {
        let sim = Sim::new(1).plan(&plan(&format!("{text}\ncrash n 1s for 2s"))).unwrap();
        let report = sim.run(async move |world: World| {
            world.host("n");
            world.sleep(ms(3_500)).await;
            io::Result::Ok(cost(&world).await)
        });
        assert_eq!(report.unwrap(), after, "{text}");
    }
}

/// With other addresses, too: it moves at the end of its own crash, and starts at the end of the last.
#[test]
fn a_host_moves_under_another_crash() {
    let text = "crash n 1s for 2s new-address\ncrash n 2s for 3s";
    assert_eq!(silences(text, &[]), [(900, 5_100)]);
    let simulation = Sim::new(1).plan(&plan(text)).unwrap().build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let moved = simulation.run(async move {
        world.host("n");
        let host = operator.host("n");
        let before = host.addresses();
        world.sleep(ms(4_000)).await;
        let is_down = !host.is_up();
        world.sleep(ms(2_000)).await;
        io::Result::Ok((is_down, host.is_up(), host.addresses() != before, host.incarnation()))
    });
    assert_eq!(moved.unwrap(), (true, true, true, 2));
}
