//! Plans at work.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, DatagramTransport, Failure, Loop, World};
use sim_net::{FindingKind, Link, LinkRule, Partition, Plan, Report, Sim};

use crate::protocols::{Datagrams, Echo, Name, Recorder, endpoint, ms};

const SERVER: (&str, u16) = ("server", 7000);

fn plan(text: &str) -> Plan {
    format!("plan 1.0\n{text}").parse().unwrap_or_else(|errors| panic!("{errors}"))
}

/// Every link takes a millisecond, unless another rule says otherwise.
fn flat() -> LinkRule {
    "latency=1ms".parse().unwrap()
}

#[track_caller]
fn sim(text: &str) -> Sim {
    Sim::new(1).plan(&plan(text)).unwrap_or_else(|error| panic!("{error}"))
}

/// A server that boots, and a client that asks it every 100 ms over a connection of its own; when
/// each answer came, and after how long.
fn asking(sim: &Sim, seconds: u64) -> (Report<()>, Vec<(Duration, Duration)>) {
    let once = || {
        let answers = Rc::new(RefCell::new(Vec::new()));
        let list = answers.clone();
        let report = sim.run(|world: World| async move {
            world.boot("server", |lp: Loop| async move {
                lp.create_server(SERVER, || Echo).await?.serve_forever().await
            });
            let client = world.host("client");
            for _ in 0..seconds * 10 {
                let began = world.time();
                let (lp, clock, list) = (client.clone(), world.clone(), list.clone());
                client.create_task(async move {
                    let asked = || Recorder::saying(b"?");
                    let Ok(conn) = lp.create_connection(SERVER, asked).await else { return };
                    for _ in 0..300 {
                        lp.sleep(ms(10)).await;
                        if !conn.with(|recorder, _| recorder.data.is_empty()) {
                            list.borrow_mut().push((began.since_epoch(), clock.time() - began));
                            break;
                        }
                    }
                    conn.transport().abort();
                });
                world.sleep(ms(100)).await;
            }
            world.sleep(Duration::from_secs(4)).await;
        });
        let answers = answers.borrow().clone();
        (report, answers)
    };
    let (report, answers) = once();
    assert_eq!(once().0.hash, report.hash);
    (report, answers)
}

fn answered(answers: &[(Duration, Duration)], from: Duration, to: Duration) -> usize {
    answers.iter().filter(|(at, took)| (from..to).contains(at) && *took < ms(50)).count()
}

#[test]
fn a_cut_begins_and_ends_by_itself() {
    let (report, answers) = asking(&sim("cut client server 1s..2s"), 3);
    assert_eq!(answered(&answers, ms(0), ms(1_000)), 10);
    assert_eq!(answered(&answers, ms(1_000), ms(2_000)), 0);
    assert_eq!(answered(&answers, ms(2_000), ms(3_000)), 10);
    assert!(report.faults["partition.drop"] > 0);
}

#[test]
fn a_crash_ends_in_a_boot() {
    let (report, answers) = asking(&sim("crash server 1s for 500ms"), 3);
    assert_eq!(answered(&answers, ms(0), ms(1_000)), 10);
    assert_eq!(answered(&answers, ms(1_000), ms(1_500)), 0);
    assert_eq!(answered(&answers, ms(1_500), ms(3_000)), 15);
    assert_eq!(report.faults["host.crash"], 1);
}

/// With other addresses: names lead there, and what was sent to the old ones is lost.
#[test]
fn a_host_may_come_back_elsewhere() {
    let (_, answers) = asking(&sim("crash server 1s for 500ms new-address"), 3);
    assert_eq!(answered(&answers, ms(1_500), ms(3_000)), 15);
}

#[test]
fn pauses_freezes_and_slowness_end() {
    for text in ["pause server 1s..2s", "freeze server 1s..2s", "slow server 1s..2s by 1s"] {
        let (report, answers) = asking(&sim(text), 4);
        assert_eq!(answered(&answers, ms(0), ms(1_000)), 10, "{text}");
        assert!(answered(&answers, ms(1_000), ms(2_000)) < 2, "{text}: {answers:?}");
        assert!(answered(&answers, ms(3_000), ms(4_000)) >= 9, "{text}: {answers:?}");
        assert_eq!(report.faults.values().filter(|&&count| count == 1).count(), 1, "{text}");
    }
}

#[test]
fn a_link_changes_for_a_while() {
    let (report, answers) = asking(&sim("link client<->server 1s..2s latency=200ms"), 3);
    assert_eq!(answered(&answers, ms(1_000), ms(2_000)), 0);
    let slow = answers.iter().filter(|(_, took)| *took >= ms(200)).count();
    assert_eq!((slow, answers.len()), (10, 30));
    report.unwrap();
}

/// How long a datagram takes from `a` to `b`, and one back, if they are sent half a second after each of the
/// first seconds; the hosts are made at `made`.
fn delays(sim: &Sim, made: Duration, seconds: u64) -> Vec<(u128, u128)> {
    let report = sim.run(async move |world: World| {
        world.sleep(made).await;
        let (a, b) = (world.host("a"), world.host("b"));
        let none: Option<Name> = None;
        let there = endpoint(&b, Some(("b", 9)), none, Datagrams::default).await?;
        let back = endpoint(&a, Some(("a", 9)), none, Datagrams::default).await?;
        let to_b = endpoint(&a, none, Some(("b", 9)), Datagrams::default).await?;
        let to_a = endpoint(&b, none, Some(("a", 9)), Datagrams::default).await?;
        let mut took = Vec::new();
        let first = u64::from(!made.is_zero()) + made.as_secs();
        for second in first..seconds {
            let sent = ms(second * 1_000 + 500);
            world.sleep(sent - world.time().since_epoch()).await;
            to_b.transport().send_to(b"x", None)?;
            to_a.transport().send_to(b"x", None)?;
            world.sleep(ms(400)).await;
            let last = |sink: &Conn<Datagrams, DatagramTransport>| {
                let at = sink.with(|it, _| it.received.last().map(|(_, _, at)| at.since_epoch()));
                at.unwrap_or_default().saturating_sub(sent).as_millis()
            };
            took.push((last(&there), last(&back)));
        }
        Ok::<_, Failure>(took)
    });
    report.unwrap()
}

/// As it was set up, one way or both, and after the end of all faults without what harms packets.
#[test]
fn a_link_is_what_it_was_set_up_as_again() {
    let text = "link a->b 1s..2s latency=200ms\nlink a<->b 3s..4s latency=100ms";
    let rules = ["a<->b: latency=70ms", "a->b: latency=50ms"].map(|it| it.parse().unwrap());
    let [both, there]: [LinkRule; 2] = rules;
    let expected = [(50, 70), (200, 70), (50, 70), (100, 100), (50, 70)];
    assert_eq!(delays(&sim(text).link(both.clone()).link(there), ms(0), 5), expected);
    let expected = [(70, 70), (200, 70), (70, 70), (100, 100), (70, 70)];
    assert_eq!(delays(&sim(text).link(both), ms(0), 5), expected);

    let lossy: LinkRule = "a<->b: latency=50ms,loss=100%".parse().unwrap();
    let sim = sim("link a->b 1s for 2s latency=20ms permanent").link(lossy).quiesce(ms(1_600));
    assert_eq!(delays(&sim, ms(0), 4), [(0, 0), (20, 0), (20, 50), (50, 50)]);
    assert_eq!(delays(&sim, ms(4_000), 6), [(50, 50)], "the links of later hosts are calm, too");
}

/// Where two are about the same, the one that began last holds, and after its end the other.
#[test]
fn faults_of_a_link_that_overlap_end_each_for_itself() {
    let text = "link a->b 1s..5s latency=70ms\nlink a<->b 2s..3s latency=40ms";
    let expected = [(1, 1), (70, 1), (40, 40), (70, 1), (70, 1), (1, 1)];
    assert_eq!(delays(&sim(text).link(flat()), ms(0), 6), expected);
    let text = "link a<->b 2s..4s latency=40ms\nlink a->b 1s..3s latency=70ms";
    let expected = [(1, 1), (70, 1), (40, 40), (40, 40), (1, 1)];
    assert_eq!(delays(&sim(text).link(flat()), ms(0), 5), expected);
    // Also on hosts that are made under them.
    assert_eq!(delays(&sim(text).link(flat()), ms(2_100), 5)[..], expected[3..]);
}

/// How long a callback of a host takes, in milliseconds.
async fn cost(world: &World, host: &Loop) -> Result<u128, Failure> {
    let (lp, clock) = (host.clone(), world.clone());
    let task = host.create_task(async move {
        let began = clock.time();
        lp.sleep(ms(0)).await;
        clock.time() - began
    });
    Ok(task.await?.as_millis())
}

#[test]
fn a_host_stays_slow_while_another_fault_says_so() {
    let text = "slow n 1s..4s by 10ms\nslow n 2s..3s by 70ms";
    let report = sim(text).run(async |world: World| {
        let host = world.host("n");
        let mut costs = Vec::new();
        for second in 0..5 {
            let at = ms(second * 1_000 + 500);
            world.sleep(at - world.time().since_epoch()).await;
            costs.push(cost(&world, &host).await?);
        }
        Ok::<_, Failure>(costs)
    });
    assert_eq!(report.unwrap(), [0, 10, 70, 10, 0]);
}

#[test]
fn clocks_are_set_from_the_start_and_step() {
    let text = "clock n offset +3ms drift +100000ppm\nclock n at 2s step -1s";
    sim(text)
        .run(|world: World| async move {
            let host = world.host("n");
            let year_2000 = Duration::from_secs(946_684_800);
            assert_eq!(host.wall_time() - year_2000, ms(3));
            world.sleep(Duration::from_secs(1)).await;
            assert_eq!(host.time().since_epoch(), ms(1_100));
            world.sleep(Duration::from_secs(2)).await;
            assert_eq!(host.wall_time() - year_2000, ms(3_300) + ms(3) - ms(1_000));
        })
        .unwrap();
}

/// The end of all faults: intervals without an end are over, hosts are up, links lose nothing.
#[test]
fn the_quiesce_ends_everything() {
    let text = "isolate client 500ms..\ncrash server 1s for 1h\nkill server at 3s";
    let sim = sim(text).link("latency=1ms,loss=90%".parse::<Link>().unwrap());
    let (report, answers) = asking(&sim.quiesce(Duration::from_secs(2)), 4);
    assert!(answered(&answers, ms(500), ms(2_000)) == 0);
    assert_eq!(answered(&answers, ms(2_000), ms(4_000)), 20, "{answers:?}");
    report.unwrap();
}

/// Clocks that a plan bends are right again, save those that stay.
#[test]
fn the_quiesce_sets_clocks_right() {
    let text = "clock a offset +3ms drift +100000ppm\nclock b drift +100000ppm permanent";
    sim(text)
        .quiesce(Duration::from_secs(1))
        .run(|world: World| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            world.sleep(Duration::from_secs(3)).await;
            assert_eq!(a.time().since_epoch(), ms(3_100));
            assert_eq!(b.time().since_epoch(), ms(3_300));
            assert_eq!(a.wall_time() - Duration::from_secs(946_684_800), ms(3_100));
        })
        .unwrap();
}

/// Faults may end more than once, by hand and at their time: clocks are set right once. Who comes afterwards has a
/// clock that is right.
#[test]
fn a_second_quiesce_moves_no_clock() {
    let simulation = sim("clock a offset +3s\nclock late offset +3s drift +100000ppm")
        .quiesce(Duration::from_secs(1))
        .build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        let a = world.host("a");
        operator.quiesce();
        world.sleep(Duration::from_secs(2)).await;
        let late = world.host("late");
        world.sleep(Duration::from_secs(1)).await;
        Ok::<_, Failure>((a.wall_time(), late.wall_time(), late.time().since_epoch()))
    };
    let right = Duration::from_secs(946_684_800 + 3);
    assert_eq!(simulation.run(run).unwrap(), (right, right, Duration::from_secs(3)));
}

#[test]
fn liveness_may_have_no_limit() {
    let report = Sim::new(1)
        .quiesce(Duration::from_secs(1))
        .liveness(Duration::MAX)
        .run(|world: World| async move { world.sleep(Duration::from_secs(11)).await });
    report.outcome.unwrap();
}

/// A fault that stands befalls the hosts that are made under it.
#[test]
fn what_stands_befalls_hosts_that_come_later() {
    let text = "cut a b 0s..10s\npause late 0s..1s\ncrash gone 0s for 1s";
    let simulation = sim(text).build();
    let world = simulation.world();
    let run = async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(("b", 1), || Echo).await?;
        let connecting = async { a.create_connection(("b", 1), || Echo).await };
        assert!(a.timeout(Duration::from_secs(5), connecting).await.is_err(), "they are cut off");
        let began = world.time();
        assert!(began.since_epoch() >= Duration::from_secs(5));
        world.sleep(Duration::from_secs(6)).await;
        a.create_connection(("b", 1), || Echo).await?;
        Ok::<(), Failure>(())
    };
    simulation.run(run).unwrap();
    let simulation = sim(text).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        let late = world.host("late");
        world.host("gone");
        let began = late.create_task({
            let late = late.clone();
            async move { late.time().since_epoch() }
        });
        assert!(operator.host("gone").is_up(), "as long as it is being made");
        world.sleep(ms(1)).await;
        assert!(!operator.host("gone").is_up());
        assert_eq!(began.await.unwrap(), Duration::from_secs(1), "it stands still until then");
        world.sleep(ms(1)).await;
        assert!(operator.host("gone").is_up());
    };
    simulation.run(run).unwrap();
    let report = sim(text).run(|world: World| async move {
        for name in ["a", "b", "late", "gone"] {
            world.host(name);
        }
        world.sleep(Duration::from_secs(11)).await;
    });
    assert_eq!(report.bindings.bound(), 3);
}

#[test]
fn what_is_permanent_stays() {
    let sim = sim("isolate client 500ms.. permanent").quiesce(Duration::from_secs(1));
    let (_, answers) = asking(&sim, 3);
    assert_eq!(answered(&answers, ms(500), ms(3_000)), 0);
}

/// What the test's own hand has done is over too; a permanent crash is not.
#[test]
fn the_quiesce_ends_what_was_done_by_hand() {
    let simulation = sim("crash gone 100ms.. permanent").quiesce(Duration::from_secs(1)).build();
    let (world, operator, links) = (simulation.world(), simulation.operator(), simulation.links());
    let run = async move {
        for name in ["gone", "a", "b"] {
            world.host(name);
        }
        operator.host("a").pause();
        operator.host("b").crash();
        links.partition(&Partition::between("a", "b"))?;
        world.sleep(Duration::from_secs(2)).await;
        assert!(operator.host("b").is_up() && !operator.host("a").resume());
        assert!(!operator.host("gone").is_up());
        let _server = world.host("b").create_server(("b", 1), || Echo).await?;
        world.host("a").create_connection(("b", 1), || Echo).await?;
        Ok::<(), Failure>(())
    };
    simulation.run(run).unwrap();
}

/// Nothing that a hand has set befalls anything after the quiesce: no crash that was to come, no clock that is wrong
/// but as a permanent entry has it.
#[test]
fn the_quiesce_takes_back_what_a_hand_has_set_for_later() {
    const EPOCH: Duration = Duration::from_secs(946_684_800);
    let text =
        "clock b offset +3ms drift +100000ppm permanent\nclock b at 100ms step +4ms permanent";
    let simulation = sim(text).quiesce(Duration::from_secs(1)).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(("b", 1), || Echo).await?;
        let conn = a.create_connection(("b", 1), || Echo).await?;
        operator.host("a").crash_after(1);
        for name in ["a", "b"] {
            operator.host(name).drift(200_000_000);
            operator.host(name).step_wall_clock(7_000_000_000);
        }
        world.sleep(Duration::from_secs(2)).await;
        conn.transport().write(b"x");
        world.sleep(ms(100)).await;
        assert!(operator.host("a").is_on(), "the crash was to come before");
        let local = [&a, &b].map(|host| host.time());
        world.sleep(Duration::from_secs(1)).await;
        let passed = [&a, &b].map(|host| host.time());
        assert_eq!([0, 1].map(|n| passed[n] - local[n]), [ms(1_000), ms(1_100)]);
        let ahead = |host: &Loop| host.wall_time() - EPOCH - host.time().since_epoch();
        assert_eq!([&a, &b].map(ahead), [ms(0), ms(7)]);
        Ok::<(), Failure>(())
    };
    simulation.run(run).unwrap();
}

/// A permanent fault keeps up what it does, and nothing else: not other faults, and not of its own hosts.
#[test]
fn what_is_permanent_keeps_up_nothing_else() {
    let text = "cut c d 100ms.. permanent\nlink b->a 100ms.. latency=20ms permanent\n\
                slow e 100ms.. by 10ms permanent\ndns a 100ms.. nxdomain permanent";
    let simulation = sim(text).quiesce(Duration::from_secs(1)).build();
    let (world, operator, links) = (simulation.world(), simulation.operator(), simulation.links());
    let run = async move {
        let [a, _, _, d, e] = ["a", "b", "c", "d", "e"].map(|name| world.host(name));
        links.partition(&Partition::between("a", "b"))?;
        links.link("b", "a")?.hold();
        operator.host("b").crash();
        operator.host("c").crash();
        operator.host("d").freeze();
        operator.host("e").pause();
        world.sleep(Duration::from_secs(2)).await;
        let names = ["a", "b", "c", "d", "e"];
        assert!(names.iter().all(|name| operator.host(name).is_up()));
        assert!(!operator.host("d").thaw() && !operator.host("e").resume());
        assert_eq!(cost(&world, &e).await?, 10);
        let _servers = [
            world.host("b").create_server(("b", 1), || Echo).await?,
            world.host("c").create_server(("c", 1), || Echo).await?,
        ];
        let b = world.host("b").getaddrinfo(("b", 1)).await?[0];
        let began = world.time();
        a.create_connection(b, || Echo).await?;
        assert!(world.time() - began >= ms(20));
        let cut_off = async { d.create_connection(("c", 1), || Echo).await };
        assert!(d.timeout(Duration::from_secs(5), cut_off).await.is_err());
        Ok::<(), Failure>(())
    };
    simulation.run(run).unwrap();
}

/// What a permanent fault keeps a host from, it is kept from, whatever else did so as well.
#[test]
fn hosts_stay_as_permanent_faults_have_them() {
    let text = "kill off at 50ms\ncrash off 200ms.. permanent\n\
                signal ended SIGTERM at 50ms\nsignal ended SIGTERM at 200ms permanent\n\
                pause still 50ms..\nsignal still SIGSTOP at 200ms permanent\n\
                freeze ice 100ms.. permanent\n\
                slow lag 200ms.. by 10ms permanent\nslow lag 300ms.. by 70ms";
    let simulation = sim(text).quiesce(Duration::from_secs(1)).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        for name in ["off", "ended", "still", "ice"] {
            world.host(name);
        }
        let lag = world.host("lag");
        world.sleep(ms(100)).await;
        assert!(operator.host("off").start() && operator.host("ended").start());
        world.sleep(ms(400)).await;
        operator.host("ice").pause();
        operator.host("still").freeze();
        world.sleep(Duration::from_secs(1)).await;
        assert!(!operator.host("off").is_up() && !operator.host("ended").is_up());
        assert!(!operator.host("still").thaw() && operator.host("still").resume());
        assert!(!operator.host("ice").is_paused() && operator.host("ice").is_frozen());
        assert_eq!(cost(&world, &lag).await?, 10);
        Ok::<(), Failure>(())
    };
    simulation.run(run).unwrap();
}

/// Of several faults of one host's lookups the one that began last holds; each ends by itself, alike or not.
#[test]
fn faults_of_names_that_overlap_end_each_for_itself() {
    let text = "dns a 1s..3s nxdomain\ndns a 2s..9s silent\ndns a 2500ms..9s nxdomain";
    let kinds = sim(text).run(async |world: World| {
        let a = world.host("a");
        world.host("b");
        let mut kinds = Vec::new();
        for at in [500, 1_500, 2_700, 3_500, 9_500] {
            world.sleep(ms(at) - world.time().since_epoch()).await;
            let answer = a.timeout(ms(10), a.getaddrinfo(("b", 1))).await;
            kinds.push(match answer {
                Ok(Ok(_)) => "found",
                Ok(Err(_)) => "none",
                Err(_) => "silence",
            });
        }
        Ok::<_, Failure>(kinds)
    });
    assert_eq!(kinds.unwrap(), ["found", "none", "none", "none", "found"]);
}

/// A scenario that is not done long after the last fault is a finding.
#[test]
fn liveness_has_a_window() {
    let report = Sim::new(1)
        .quiesce(Duration::from_secs(1))
        .liveness(Duration::from_secs(9))
        .run(|world: World| async move { world.sleep(Duration::from_secs(11)).await });
    let finding = report.outcome.unwrap_err();
    assert_eq!(finding.kind, FindingKind::Limit);
    assert!(finding.message.contains("liveness"), "{finding}");
}

#[test]
fn hosts_that_never_come_are_named() {
    let report = sim("crash nobody 1s for 1s\ncut a b 1s..2s").run(|world: World| async move {
        world.host("a");
        world.sleep(Duration::from_secs(5)).await;
    });
    assert_eq!(report.absent_hosts, ["b", "nobody"]);
    report.unwrap();
}

#[test]
fn a_link_that_is_none_is_refused_with_its_entry() {
    let error = Sim::new(1).plan(&plan("link a->b 1s..2s loss=150%")).unwrap_err().to_string();
    assert!(error.contains("loss=150%") && error.contains('1'), "{error}");
    assert!(Sim::new(1).plan(&plan("drop client@1→server:7000#1 data 1")).is_err());
}

/// Nothing between two hosts is between a host and itself.
#[test]
fn a_link_of_a_host_to_itself_is_refused() {
    for text in ["link a->a 1s..2s loss=5%", "link a<->a 1s..2s loss=5%"] {
        let told = [
            Sim::new(1).plan(&plan(text)).unwrap_err().to_string(),
            Sim::new(1).replay(&plan(text)).unwrap_err().to_string(),
            plan(text).check(&["a"]).unwrap_err().to_string(),
        ];
        for error in told {
            assert!(error.contains("host a has no link to itself"), "{text}: {error}");
        }
    }
    let link: Link = "loss=5%".parse().unwrap();
    let own = [
        LinkRule::OneWay("a".to_owned(), "a".to_owned(), link.clone()),
        LinkRule::BothWays("a".to_owned(), "a".to_owned(), link),
    ];
    for rule in own {
        let set = rule.clone();
        let report = Sim::new(1).run_with_links(|world, links| async move {
            world.host("a");
            io::Result::Ok(links.set(set).unwrap_err().to_string())
        });
        assert!(report.unwrap().contains("no link to itself"));
        let made = std::panic::catch_unwind(|| Sim::new(1).link(rule));
        let panic = made.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("\"a\" has no link to itself"), "{text}");
    }
}

#[test]
fn a_task_on_the_way_hears_of_the_end() {
    let report = sim("kill n at 1s").run(|world: World| async move {
        let task = world.host("n").create_task(std::future::pending::<()>());
        task.await.map_err(|_| io::Error::other("it was killed"))
    });
    let finding = report.outcome.unwrap_err();
    assert!(finding.message.contains("killed"), "{finding}");
}
