//! Whose turn it is, and how runs end.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Failure, Loop, Protocol, RunError};
use sim_net::{FindingKind, HostOperator, Sim};

use crate::protocols::{Recorder, ms};

#[test]
fn time_jumps_to_the_next_deadline() {
    let report = Sim::new(1).run(|world| async move {
        world.host("a").sleep(Duration::from_secs(86_400)).await;
        io::Result::Ok(world.host("a").time())
    });
    assert_eq!(report.time.since_epoch().as_secs(), 86_400);
    assert_eq!(report.time, report.outcome.unwrap());
}

#[test]
fn a_world_in_which_nothing_can_happen_is_a_deadlock_that_names_its_tasks() {
    let report = Sim::new(1).run(|world| async move {
        let host = world.host("server");
        host.create_named_task("stuck", std::future::pending::<()>());
        std::future::pending::<()>().await;
    });
    let finding = report.finding().unwrap();
    assert_eq!(finding.kind, FindingKind::Deadlock);
    assert!(finding.message.contains("server: task \"stuck\""), "{finding}");
}

#[test]
fn limits_are_reported_by_name() {
    async fn spin(world: sim_core::World) {
        fn again(lp: Loop) {
            let next = lp.clone();
            lp.call_soon(move || again(next));
        }
        again(world.host("a"));
        std::future::pending::<()>().await;
    }
    async fn tick(world: sim_core::World) {
        loop {
            world.host("a").sleep(ms(1)).await;
        }
    }
    let spinning = Sim::new(1).max_turns_per_instant(1_000).run(spin);
    let ticking = Sim::new(1).max_time(Duration::from_secs(1)).run(tick);
    let counted = Sim::new(1).max_events(5_000).run(tick);
    for (report, name) in
        [(spinning, "max_turns_per_instant"), (ticking, "max_time"), (counted, "max_events")]
    {
        let finding = report.finding().unwrap();
        assert_eq!(finding.kind, FindingKind::Limit);
        assert!(finding.message.contains(name), "{finding}");
    }
}

/// Ruling 2, "the panic names its host".
#[test]
fn a_panic_in_a_callback_is_a_finding_with_host_time_and_tail() {
    struct Bomb;
    impl Protocol for Bomb {
        fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {
            panic!("boom");
        }
    }
    let report = Sim::new(1).run(|world| async move {
        let server = world.host("server");
        let _listening = server.create_server(("server", 1), || Bomb).await?;
        let hello = || Recorder::saying(b"hello");
        let conn = world.host("client").create_connection(("server", 1), hello).await?;
        conn.closed().await
    });
    let finding = report.finding().unwrap();
    assert_eq!((finding.kind, &*finding.message), (FindingKind::Panic, "boom"));
    assert_eq!((&*finding.host, finding.time.since_epoch()), ("server", ms(3)));
    let tail = report.tail.to_string();
    assert!(tail.contains("deliver client@1→server:1#1 DATA seq 1 len 5"), "{tail}");
}

/// what was queued behind a panic that ended a run runs in the next, on any host.
#[test]
fn a_panic_leaves_the_rest_of_a_hosts_turn_for_the_next_run() {
    let simulation = Sim::new(1).build();
    let (world, ran) = (simulation.world(), Rc::new(RefCell::new(false)));
    let host = world.host("server");
    host.call_soon(|| panic!("boom"));
    let flag = Rc::clone(&ran);
    host.call_soon(move || *flag.borrow_mut() = true);
    let settle = || {
        let world = simulation.world();
        simulation.run(async move { world.settle().await })
    };
    assert_eq!(settle().unwrap_err().host, "server");
    assert!(!*ran.borrow());
    settle().unwrap();
    assert!(*ran.borrow());
}

#[test]
fn an_error_of_the_scenario_is_a_finding() {
    let report = Sim::new(1).run(|_| async { Err::<(), _>(io::Error::other("no luck")) });
    let finding = report.finding().unwrap();
    assert_eq!((finding.kind, &*finding.message), (FindingKind::Failure, "no luck"));
}

/// Ruling 8.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about threads")]
fn a_wake_up_from_a_foreign_thread_names_it() {
    let report = Sim::new(1).run(|world| async move {
        let host = world.host("a");
        let task = host.create_task(std::future::poll_fn(|cx| {
            let waker = cx.waker().clone();
            let builder = std::thread::Builder::new().name("intruder".into());
            builder.spawn(move || waker.wake()).unwrap().join().unwrap();
            std::task::Poll::<()>::Pending
        }));
        let _ = task.await;
    });
    let finding = report.finding().unwrap();
    assert_eq!(finding.kind, FindingKind::ForeignWake, "{finding}");
    assert!(finding.message.contains("intruder"), "{finding}");
}

/// Ruling 10: what `spend` costs delays the rest of the host, and nobody else.
#[test]
fn a_busy_host_is_late_and_the_others_are_not() {
    let times = Sim::new(1)
        .run(|world| async move {
            let times = Rc::new(RefCell::new(Vec::new()));
            for name in ["slow", "fast"] {
                let host = world.host(name);
                let (list, lp) = (times.clone(), host.clone());
                host.call_later(ms(10), move || {
                    list.borrow_mut().push((lp.host(), lp.time().since_epoch()));
                })
                .detach();
            }
            let slow = world.host("slow");
            let lp = slow.clone();
            slow.call_later(ms(5), move || lp.spend(ms(100))).detach();
            slow.sleep(ms(200)).await;
            io::Result::Ok(Rc::try_unwrap(times).unwrap().into_inner())
        })
        .unwrap();
    assert_eq!(times, [("fast".to_owned(), ms(10)), ("slow".to_owned(), ms(105))]);
}

/// The control loop is drained right after the host turn that woke it (ruling 6).
#[test]
fn the_scenario_goes_on_before_any_other_host() {
    for seed in 0..20 {
        let order = Sim::new(seed)
            .run(|world| async move {
                let order = Rc::new(RefCell::new(Vec::new()));
                let futures: Vec<_> = ["a", "b", "c"]
                    .into_iter()
                    .map(|name| {
                        let (host, order) = (world.host(name), order.clone());
                        let lp = host.clone();
                        host.create_task(async move {
                            lp.sleep(ms(1)).await;
                            order.borrow_mut().push(format!("{name} host"));
                            name
                        })
                    })
                    .collect();
                let tell = |name: &str| order.borrow_mut().push(format!("{name} seen"));
                let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
                std::future::poll_fn(|cx| {
                    futures.retain_mut(|task| match task.as_mut().poll(cx) {
                        std::task::Poll::Ready(name) => {
                            tell(name.unwrap());
                            false
                        }
                        std::task::Poll::Pending => true,
                    });
                    if futures.is_empty() {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
                let order = order.borrow().clone();
                io::Result::Ok(order)
            })
            .unwrap();
        for pair in order.chunks(2) {
            assert_eq!(pair[0].replace("host", "seen"), pair[1], "seed {seed}: {order:?}");
        }
    }
}

/// A tie between hosts is broken by the seed: over a few seeds, every order comes up.
#[test]
fn hosts_that_are_ready_at_the_same_instant_go_in_any_order() {
    let orders: std::collections::BTreeSet<String> = (0..60)
        .map(|seed| {
            Sim::new(seed)
                .run(|world| async move {
                    let order = Rc::new(RefCell::new(String::new()));
                    for name in ["a", "b", "c"] {
                        let order = order.clone();
                        let push = move || order.borrow_mut().push_str(name);
                        world.host(name).call_later(ms(1), push).detach();
                    }
                    world.host("a").sleep(ms(2)).await;
                    io::Result::Ok(order.take())
                })
                .unwrap()
        })
        .collect();
    assert_eq!(orders.len(), 6, "{orders:?}");
}

/// Each turn of a host is drawn for anew, so that one which is ready again and again at an instant
/// leaves room for others, whichever of them was ready first.
#[test]
fn a_host_that_is_always_ready_does_not_starve_the_others() {
    const TURNS: u32 = 100;
    fn again(lp: &Loop, turns: Rc<Cell<u32>>) {
        turns.set(turns.get() + 1);
        if turns.get() < TURNS {
            let next = lp.clone();
            lp.call_soon(move || again(&next, turns));
        }
    }
    let waited = |seed: u64| {
        Sim::new(seed).run(|world| async move {
            let (turns, waited) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(TURNS)));
            let names = if seed.is_multiple_of(2) { ["busy", "other"] } else { ["other", "busy"] };
            for name in names {
                let (lp, turns, waited) = (world.host(name), turns.clone(), waited.clone());
                let own = lp.clone();
                let begin = move || match name {
                    "busy" => again(&own, turns),
                    _ => waited.set(turns.get()),
                };
                lp.call_later(ms(1), begin).detach();
            }
            world.sleep(ms(2)).await;
            assert_eq!(turns.get(), TURNS);
            io::Result::Ok(waited.get())
        })
    };
    let waited: Vec<u32> = (0..60).map(|seed| waited(seed).unwrap()).collect();
    // It waits for k turns or more once in k + 1 times.
    assert!(waited.iter().filter(|&&turns| turns == TURNS).count() <= 3, "{waited:?}");
    assert!(waited.iter().any(|&turns| turns > 0) && waited.contains(&0), "{waited:?}");
}

#[test]
fn settle_waits_for_what_is_in_flight_and_not_for_timers() {
    let at = Sim::new(1)
        .run(|world| async move {
            let server = world.host("server");
            let _listening = server.create_server(("server", 1), Recorder::default).await?;
            let client = world.host("client");
            let hello = || Recorder::saying(b"hello");
            let _conn = client.create_connection(("server", 1), hello).await?;
            client.call_later(Duration::from_secs(60), || {}).detach();
            world.settle().await;
            io::Result::Ok(client.time().since_epoch())
        })
        .unwrap();
    assert!((ms(3)..=ms(4)).contains(&at), "{at:?}");
}

#[test]
fn a_bare_loop_talks_to_itself() {
    let lp = sim_net::new_loop();
    let handle = lp.clone();
    let echoed = lp
        .run_until_complete(async move {
            let server = handle.create_server(("127.0.0.1", 0), || crate::protocols::Echo).await?;
            let target = server.sockets()[0];
            let conn = handle.create_connection(target, || Recorder::saying(b"hi")).await?;
            handle.sleep(ms(1)).await;
            io::Result::Ok(conn.with(|it, _| it.data.clone()))
        })
        .unwrap();
    assert_eq!(echoed.unwrap(), b"hi");
    let stuck = lp.run_until_complete(std::future::pending::<()>());
    assert!(matches!(stuck, Err(RunError::Deadlock { .. })), "{stuck:?}");
}

/// The next timer of a host is known after one that was taken back has come up for nothing, whatever keeps the host from
/// its turns then: a processor that is busy, a pause, a freeze.
#[test]
fn a_timer_behind_one_that_was_cancelled_fires_whatever_the_host_does_then() {
    type Stop = fn(&HostOperator) -> bool;
    let busy: Stop = |_| true;
    let stops: [(Stop, Stop); 3] = [
        (busy, busy),
        (HostOperator::pause, HostOperator::resume),
        (HostOperator::freeze, HostOperator::thaw),
    ];
    for (stop, go_on) in stops {
        let is_busy = std::ptr::fn_addr_eq(stop, busy);
        let simulation = Sim::new(1).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let run = async move {
            let lp = world.host("n");
            let fired = lp.create_future();
            let (clock, last) = (world.clone(), fired.clone());
            lp.call_later(ms(20), move || {
                let _ = last.set_result(clock.time().since_epoch());
            })
            .detach();
            let cancelled = lp.call_later(ms(5), || panic!("it was cancelled"));
            let own = lp.clone();
            world.sleep(ms(1)).await;
            lp.call_soon(move || {
                drop(cancelled);
                if is_busy {
                    own.spend(ms(10));
                }
            });
            world.sleep(ms(1)).await;
            let host = operator.host("n");
            assert!(stop(&host));
            world.sleep(ms(10)).await;
            assert!(go_on(&host));
            Ok::<_, Failure>(fired.await?)
        };
        assert_eq!(simulation.run(run).unwrap(), ms(20));
    }
}

/// A process on a slow machine that stops itself in a callback goes on where it was.
#[test]
fn a_slow_process_that_stops_itself_loses_nothing() {
    for stop in [HostOperator::pause as fn(&HostOperator) -> bool, HostOperator::freeze] {
        let simulation = Sim::new(1).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let run = async move {
            let lp = world.host("n");
            let host = operator.host("n");
            host.slow(ms(3));
            let (fired, own, clock) = (lp.create_future(), operator.host("n"), world.clone());
            let (last, later) = (fired.clone(), lp.clone());
            lp.call_soon(move || {
                assert!(stop(&own));
                let then = move || {
                    let _ = last.set_result(clock.time().since_epoch());
                };
                later.call_later(ms(10), then).detach();
            });
            world.sleep(ms(100)).await;
            assert!(host.resume() | host.thaw());
            Ok::<_, Failure>(world.timeout(ms(1_000), fired).await??)
        };
        assert_eq!(simulation.run(run).unwrap(), ms(100));
    }
}

/// A panic in a callback of a slow host ends the run as any other does.
#[test]
fn a_panic_on_a_slow_host_is_the_end_of_the_run_alone() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let report = simulation.run(async move {
        let lp = world.host("n");
        operator.host("n").slow(ms(3));
        lp.call_soon(|| ());
        lp.call_soon(|| panic!("mine"));
        world.sleep(ms(100)).await;
        Ok::<_, Failure>(())
    });
    assert!(report.unwrap_err().to_string().contains("mine"));
}
