//! Names: what the simulated resolver says, when, and how it goes wrong.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::driver::Family;
use sim_core::{Hints, Loop, ResolveError, ResolveFailure, TaskError, World};
use sim_net::plan::FaultSite;
use sim_net::{
    Class, FindingKind, NameFault, Operator, Plan, Probability, Record, Report, Resolver, Sim, Site,
};

use crate::protocols::{Echo, Recorder, ms};

/// Runs a scenario that has its hand on the world's switches.
fn operated<F, R, T>(sim: &Sim, scenario: F) -> T
where
    F: FnOnce(World, Operator) -> R,
    R: Future<Output = io::Result<T>> + 'static,
    T: 'static,
{
    let simulation = sim.build();
    let (world, operator) = (simulation.world(), simulation.operator());
    simulation.run(scenario(world, operator)).unwrap_or_else(|finding| panic!("{finding}"))
}

/// The addresses of a name, as text, or why there are none.
async fn ask(lp: &Loop, name: &str) -> Result<String, ResolveFailure> {
    answer(lp.getaddrinfo((name, 7)).await)
}

fn answer(found: io::Result<Vec<std::net::SocketAddr>>) -> Result<String, ResolveFailure> {
    match found {
        Ok(found) => {
            assert!(found.iter().all(|addr| addr.port() == 7));
            let found: Vec<String> = found.iter().map(|addr| addr.ip().to_string()).collect();
            Ok(found.join(" "))
        }
        Err(error) => match ResolveError::of(&error) {
            Some(error) => Err(error.failure().clone()),
            None => panic!("not the resolver's: {error:?}"),
        },
    }
}

fn found(text: &str) -> Result<String, ResolveFailure> {
    Ok(text.to_owned())
}

/// A host is found by its name, in the family that is wanted; services have ports; and back.
#[test]
fn hosts_and_services_have_names() {
    Sim::new(1)
        .run(|world| async move {
            let (client, _server) = (world.host("client"), world.host("server"));
            let six = Hints::new().family(Family::V6);
            assert_eq!(ask(&client, "server").await, found("10.0.0.2"));
            assert_eq!(ask(&client, "ip6-server").await, found("fd00::2"));
            let asked = client.getaddrinfo_with(("server", 7), six).await;
            assert_eq!(answer(asked), found("fd00::2"));
            assert_eq!(ask(&client, "localhost").await, found("127.0.0.1"));
            assert_eq!(ask(&client, "nobody").await, Err(ResolveFailure::Unknown));
            let four = Hints::new().family(Family::V4);
            let asked = client.getaddrinfo_with(("ip6-server", 7), four).await;
            assert_eq!(answer(asked), Err(ResolveFailure::NoAddress));
            assert_eq!(client.getaddrinfo(("server", "domain")).await?[0].port(), 53);
            for (addr, host, service) in [
                ("10.0.0.2:80", "server", "http"),
                ("[fd00::2]:80", "server", "http"),
                ("10.0.0.1:7001", "client", "7001"),
                ("127.0.0.1:7", "localhost", "echo"),
                ("[::1]:123", "localhost", "123"),
                ("10.9.9.9:443", "10.9.9.9", "https"),
                ("[2001:db8::1]:1", "2001:db8::1", "1"),
            ] {
                let names = client.getnameinfo(addr.parse().unwrap()).await?;
                assert_eq!((&*names.host, &*names.service), (host, service), "{addr}");
            }
            io::Result::Ok(())
        })
        .unwrap();
}

/// With two stacks a name has both addresses; connections try one after the other.
#[test]
fn a_dual_stack_gives_both_addresses() {
    let sim = Sim::new(1).resolver(Resolver::new().dual_stack(true));
    sim.run(|world| async move {
        let (client, server) = (world.host("client"), world.host("server"));
        assert_eq!(ask(&client, "server").await, found("10.0.0.2 fd00::2"));
        assert_eq!(ask(&client, "localhost").await, found("127.0.0.1 ::1"));
        let _six = server.server().family(Family::V6).bind(("server", 9), || Echo).await?;
        let conn = client.create_connection(("server", 9), Recorder::default).await?;
        assert!(conn.transport().peername().is_some_and(|peer| peer.is_ipv6()));
        io::Result::Ok(())
    })
    .unwrap();
}

/// G-63: an answer takes the latency that the resolver was given; numeric addresses, the host's own
/// name and `localhost` take no time.
#[test]
fn an_answer_takes_its_latency_and_local_names_take_none() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(30)));
    sim.run(|world| async move {
        let (client, _server) = (world.host("client"), world.host("server"));
        for name in ["10.0.0.2", "::1", "localhost", "client", "ip6-client"] {
            assert!(ask(&client, name).await.is_ok(), "{name}");
        }
        client.getnameinfo("127.0.0.1:7".parse().unwrap()).await?;
        client.getnameinfo("10.0.0.1:7".parse().unwrap()).await?;
        client.getaddrinfo(("10.0.0.2", "http")).await?;
        assert_eq!(world.time().since_epoch(), ms(0));
        assert_eq!(ask(&client, "server").await, found("10.0.0.2"));
        assert_eq!(world.time().since_epoch(), ms(30));
        assert!(ask(&client, "nobody").await.is_err());
        client.getnameinfo("10.0.0.2:7".parse().unwrap()).await?;
        assert_eq!(world.time().since_epoch(), ms(90));
        io::Result::Ok(())
    })
    .unwrap();
}

/// The loop goes on while a name is looked up.
#[test]
fn a_lookup_keeps_no_loop() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(30)));
    sim.run(|world| async move {
        let (client, _server) = (world.host("client"), world.host("server"));
        let lp = client.clone();
        let asking = client.create_task(async move { ask(&lp, "server").await });
        for _ in 0..29 {
            client.sleep(ms(1)).await;
            assert!(!asking.done());
        }
        client.sleep(ms(2)).await;
        assert!(asking.done());
        io::Result::Ok(())
    })
    .unwrap();
}

/// G-63, E-03: each fault is its error, at its time.
#[test]
fn each_fault_is_its_error_at_its_time() {
    for (fault, failure, time) in [
        (NameFault::TryAgain, ResolveFailure::TryAgain, ms(20)),
        (NameFault::Unknown, ResolveFailure::Unknown, ms(20)),
        (NameFault::Empty, ResolveFailure::NoAddress, ms(20)),
        (NameFault::Silent, ResolveFailure::TryAgain, ms(10_000)),
    ] {
        let resolver = Resolver::new().latency(ms(20)).fault(fault, Probability::ALWAYS);
        let report = Sim::new(1).resolver(resolver).run(move |world| async move {
            let (client, _server) = (world.host("client"), world.host("server"));
            assert_eq!(ask(&client, "server").await, Err(failure));
            assert_eq!(world.time().since_epoch(), time);
            // What needs no name servers is not concerned.
            assert_eq!(ask(&client, "client").await, found("10.0.0.1"));
            io::Result::Ok(())
        });
        let questions = if fault == NameFault::Silent { 2 } else { 1 };
        let counts: Vec<_> = report.faults.iter().map(|(&name, &count)| (name, count)).collect();
        assert_eq!(counts, [(fault_name(fault), questions)]);
        report.unwrap();
    }
}

fn fault_name(fault: NameFault) -> &'static str {
    match fault {
        NameFault::TryAgain => "dns.again",
        NameFault::Unknown => "dns.nxdomain",
        NameFault::Empty => "dns.empty",
        _ => "dns.silent",
    }
}

/// An address whose name cannot be found is its own name; only a failure is one.
#[test]
fn an_address_without_an_answer_is_its_own_name() {
    let faults = [
        (NameFault::Unknown, Ok("10.0.0.2")),
        (NameFault::Empty, Ok("10.0.0.2")),
        (NameFault::TryAgain, Err(())),
        (NameFault::Silent, Err(())),
    ];
    for (fault, expected) in faults {
        let resolver = Resolver::new().fault(fault, Probability::ALWAYS);
        let answer = Sim::new(1)
            .resolver(resolver)
            .run(|world| async move {
                let (client, _server) = (world.host("client"), world.host("server"));
                io::Result::Ok(client.getnameinfo("10.0.0.2:80".parse().unwrap()).await)
            })
            .unwrap();
        let answer = answer.map(|names| {
            assert_eq!(names.service, "http");
            names.host
        });
        match expected {
            Ok(host) => assert_eq!(answer.unwrap(), host),
            Err(()) => assert!(ResolveError::of(&answer.unwrap_err()).unwrap().is_temporary()),
        }
    }
}

/// Which of these questions of `client` fail, one after the other.
fn outcomes(seed: u64, between: &'static [&'static str]) -> Vec<bool> {
    let half = Probability::percent(50).unwrap();
    let resolver = Resolver::new().latency(ms(1)..ms(9)).fault(NameFault::TryAgain, half);
    let report = Sim::new(seed).resolver(resolver).trace(true).run(move |world| async move {
        let (client, other) = (world.host("client"), world.host("other"));
        world.host("server");
        let mut failed = Vec::new();
        for _ in 0..40 {
            failed.push(ask(&client, "server").await.is_err());
            for name in between {
                let _ = ask(&client, name).await;
                let _ = ask(&other, "server").await;
            }
        }
        io::Result::Ok(failed)
    });
    let log = report.log.as_ref().unwrap();
    let drawn = |record| match record {
        Record::Draw { site: Site::NameFailure, value } => {
            assert_eq!(value, 1);
            true
        }
        _ => false,
    };
    let drawn = log.entries().filter(|entry| drawn(entry.record)).count() as u64;
    assert_eq!(report.faults["dns.again"], drawn);
    report.unwrap()
}

/// The choice about a question is keyed by who asks for what, and how often before: other questions
/// move nothing.
#[test]
fn other_questions_move_nothing() {
    let alone = outcomes(5, &[]);
    let failures = alone.iter().filter(|failed| **failed).count();
    assert!((8..=32).contains(&failures), "{failures} of 40");
    assert_eq!(alone, outcomes(5, &["other", "nobody"]));
    assert_ne!(alone, outcomes(6, &[]));
    assert_eq!(Site::NameFailure.class(), Class::Fault);
    assert_eq!(Site::NameDelay.class(), Class::Environment);
}

/// A resolver that takes no time and never fails leaves no trace.
#[test]
fn a_prompt_resolver_is_as_none() {
    let run = |sim: Sim| {
        sim.run(|world| async move {
            let (client, server) = (world.host("client"), world.host("server"));
            let _listening = server.create_server(("server", 7), || Echo).await?;
            client.create_connection(("server", 7), Recorder::default).await?;
            io::Result::Ok(())
        })
    };
    let (plain, prompt) = (run(Sim::new(1)), run(Sim::new(1).resolver(Resolver::new())));
    assert_eq!((plain.hash, plain.events), (prompt.hash, prompt.events));
    assert!(prompt.faults.is_empty());
}

/// A name of the test's own has addresses of both families, in its order, and changes while the world
/// runs; what is under way has the answer of when it was asked.
#[test]
fn a_name_changes_its_addresses_during_a_run() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(10)));
    operated(&sim, |world, operator| async move {
        let (client, server) = (world.host("client"), world.host("server"));
        let names = operator.names();
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        names.set("db", ["fd00::2", "10.0.0.2", "192.0.2.1"].map(ip));
        assert_eq!(ask(&client, "db").await, found("fd00::2 10.0.0.2 192.0.2.1"));
        let names_of = |addr: &'static str| client.getnameinfo(addr.parse().unwrap());
        assert_eq!(names_of("192.0.2.1:1").await?.host, "db");
        let six = client.getaddrinfo_with(("db", 7), Hints::new().family(Family::V6)).await;
        assert_eq!(answer(six), found("fd00::2"));

        let _listening = server.create_server(("server", 7), || Echo).await?;
        let conn = client.create_connection(("db", 7), Recorder::default).await?;
        assert_eq!(conn.transport().peername().unwrap().ip(), ip("10.0.0.2"));

        let lp = client.clone();
        let asking = client.create_task(async move { ask(&lp, "db").await });
        client.sleep(ms(5)).await;
        names.set("db", [ip("10.0.0.1")]);
        assert_eq!(asking.await.unwrap(), found("fd00::2 10.0.0.2 192.0.2.1"));
        assert_eq!(ask(&client, "db").await, found("10.0.0.1"));
        names.set("db", []);
        assert_eq!(ask(&client, "db").await, Err(ResolveFailure::NoAddress));
        names.remove("db");
        assert_eq!(ask(&client, "db").await, Err(ResolveFailure::Unknown));
        assert!(names.restore("db") && !names.restore("db"));
        assert_eq!(ask(&client, "db").await, Err(ResolveFailure::Unknown));

        // A host can be hidden, even from itself, and shown again.
        names.remove("server");
        assert_eq!(ask(&client, "server").await, Err(ResolveFailure::Unknown));
        assert_eq!(ask(&server, "server").await, Err(ResolveFailure::Unknown));
        assert_eq!(names_of("10.0.0.2:1").await?.host, "10.0.0.2");
        assert!(names.restore("server"));
        assert_eq!(ask(&client, "server").await, found("10.0.0.2"));
        Ok(())
    });
}

/// What goes wrong by hand is about a name, a host, or the time that it takes, until it is mended.
#[test]
fn lookups_are_failed_and_delayed_by_hand() {
    let run = |world: World, operator: Operator| async move {
        let hosts = ["client", "other", "server"].map(|name| world.host(name));
        let [client, other, _] = &hosts;
        let names = operator.names();
        names.fail("server", NameFault::Unknown);
        assert_eq!(ask(client, "server").await, Err(ResolveFailure::Unknown));
        assert_eq!(ask(client, "other").await, found("10.0.0.2"));
        names.fail_for("client", NameFault::TryAgain);
        assert_eq!(ask(client, "other").await, Err(ResolveFailure::TryAgain));
        assert_eq!(ask(other, "client").await, found("10.0.0.1"));
        // What is said of the name goes before what is said of the host.
        assert_eq!(ask(client, "server").await, Err(ResolveFailure::Unknown));
        names.mend();
        assert_eq!(ask(client, "server").await, found("10.0.0.3"));
        names.delay("server", ms(700));
        assert_eq!(ask(client, "server").await, found("10.0.0.3"));
        assert_eq!(world.time().since_epoch(), ms(700));
        // A host need not be there yet.
        names.fail_for("late", NameFault::Empty);
        assert_eq!(ask(&world.host("late"), "client").await, Err(ResolveFailure::NoAddress));
        Ok(())
    };
    operated(&Sim::new(1), run);
}

#[test]
fn a_hand_keeps_no_world_alive() {
    let names = Sim::new(1).build().operator().names();
    names.set("db", []);
    names.fail_for("nobody", NameFault::Empty);
    names.mend();
    assert!(!names.restore("db"));
}

/// A server that does not answer is asked again after 5 s.
#[test]
fn the_second_question_may_be_answered() {
    operated(&Sim::new(1), |world, operator| async move {
        let (client, _server) = (world.host("client"), world.host("server"));
        operator.names().fail("server", NameFault::Silent);
        let asking = client.create_task({
            let client = client.clone();
            async move { ask(&client, "server").await }
        });
        client.sleep(ms(4_999)).await;
        operator.names().mend();
        assert_eq!(asking.await.unwrap(), found("10.0.0.2"));
        assert_eq!(world.time().since_epoch(), ms(5_000));
        Ok(())
    });
}

/// Cancelling a lookup takes the question back, however often; nothing comes of it later.
#[test]
fn a_cancelled_lookup_leaves_nothing() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(30)));
    operated(&sim, |world, _| async move {
        let (client, _server) = (world.host("client"), world.host("server"));
        for _ in 0..3 {
            let lp = client.clone();
            let asking = client.create_task(async move { ask(&lp, "server").await });
            client.sleep(ms(10)).await;
            asking.cancel();
            assert_eq!(asking.await, Err(TaskError::Cancelled));
        }
        let waited = client.timeout(ms(29), client.getaddrinfo(("server", 7))).await;
        assert!(waited.is_err());
        // Nobody waits for an answer, so the world is quiet.
        let now = world.time();
        world.settle().await;
        assert_eq!(world.time(), now);
        assert_eq!(ask(&client, "server").await, found("10.0.0.2"));
        assert_eq!((world.time() - now, client.report_count()), (ms(30), 0));
        Ok(())
    });
}

/// A world in which somebody waits for an answer is not quiet.
#[test]
fn settling_waits_for_answers() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(30)));
    operated(&sim, |world, _| async move {
        let (client, _server) = (world.host("client"), world.host("server"));
        let lp = client.clone();
        let asking = client.create_task(async move { ask(&lp, "server").await });
        client.sleep(ms(1)).await;
        world.settle().await;
        assert_eq!((world.time().since_epoch(), asking.done()), (ms(30), true));
        Ok(())
    });
}

/// K-04: whoever waits elsewhere for what a host asked hears that the host is gone, and the host's own
/// tasks hear nothing. The next life asks anew, with draws of its own.
#[test]
fn a_crash_ends_what_the_host_asked() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(30)));
    for kill in [false, true] {
        operated(&sim, |world, operator| async move {
            let heard = Rc::new(RefCell::new(Vec::new()));
            let list = heard.clone();
            world.host("server");
            world.boot("client", move |lp: Loop| {
                let list = list.clone();
                async move {
                    let answer = ask(&lp, "server").await;
                    list.borrow_mut().push(answer);
                }
            });
            let client = world.host("client");
            let (watcher, host) = (world.host("watcher"), operator.host("client"));
            let lp = watcher.clone();
            watcher.create_task(async move {
                lp.sleep(ms(10)).await;
                assert!(if kill { host.kill() } else { host.crash() });
            });
            let answer = client.getaddrinfo(("server", 7)).await;
            assert!(answer.unwrap_err().to_string().contains("closed"));
            assert_eq!((world.time().since_epoch(), heard.borrow().len()), (ms(10), 0));
            let late = client.getaddrinfo(("server", 7)).await;
            assert!(late.is_err(), "the process is dead");
            assert!(operator.host("client").start());
            world.sleep(ms(31)).await;
            assert_eq!(*heard.borrow(), [found("10.0.0.1")]);
            Ok(())
        });
    }
}

/// A question that the end of its host has answered is not answered again when the answer of the
/// servers comes, while who waits has not heard of the first.
#[test]
fn what_the_end_of_a_host_answered_is_not_answered_again() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(5)));
    for kill in [false, true] {
        operated(&sim, |world, operator| async move {
            let (client, watcher) = (world.host("client"), world.host("watcher"));
            let asking = watcher.create_task(async move {
                client.getaddrinfo(("watcher", 7)).await.unwrap_err().to_string()
            });
            world.sleep(ms(1)).await;
            assert!(operator.host("watcher").pause());
            let client = operator.host("client");
            assert!(if kill { client.kill() } else { client.crash() });
            world.sleep(ms(100)).await;
            assert!(operator.host("watcher").resume());
            assert!(asking.await.unwrap().contains("closed"));
            world.settle().await;
            Ok(())
        });
    }
}

/// A frozen machine hears no answer; it asks again when it goes on. A paused process hears it then.
#[test]
fn an_answer_to_a_frozen_machine_is_lost() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(30)));
    for (freeze, expected) in [(true, ms(5_030)), (false, ms(1_000))] {
        operated(&sim, |world, operator| async move {
            let (client, _server) = (world.host("client"), world.host("server"));
            let lp = client.clone();
            let asking = client.create_task(async move { (ask(&lp, "server").await, lp.time()) });
            world.sleep(ms(10)).await;
            let host = operator.host("client");
            assert!(if freeze { host.freeze() } else { host.pause() });
            world.sleep(ms(990)).await;
            assert!(if freeze { host.thaw() } else { host.resume() });
            let (answer, time) = asking.await.unwrap();
            assert_eq!((answer, time.since_epoch()), (found("10.0.0.2"), expected));
            Ok(())
        });
    }
}

/// What a frozen machine is asked to look up it asks when it goes on, be the answer there at once or not; what it knows
/// itself it says.
#[test]
fn a_frozen_machine_asks_when_it_goes_on() {
    for (latency, expected) in [(0, ms(1_000)), (30, ms(1_030))] {
        let sim = Sim::new(1).resolver(Resolver::new().latency(ms(latency)));
        operated(&sim, |world, operator| async move {
            let (client, _server) = (world.host("client"), world.host("server"));
            let (host, clock) = (operator.host("client"), world.clone());
            assert!(host.freeze());
            assert_eq!(ask(&client, "client").await, found("10.0.0.1"));
            assert_eq!(ask(&client, "10.0.0.9").await, found("10.0.0.9"));
            // What befalls a question does so when it is asked.
            operator.names().fail_for("client", NameFault::Unknown);
            let asking = world.host("watcher").create_task(async move {
                let given_up = clock.timeout(ms(100), ask(&client, "server")).await;
                assert!(given_up.is_err(), "it is frozen");
                (ask(&client, "server").await, clock.time())
            });
            world.sleep(ms(900)).await;
            operator.names().mend();
            world.settle().await;
            world.sleep(ms(1_000) - world.time().since_epoch()).await;
            assert!(!asking.done() && host.thaw());
            let (answer, time) = asking.await.unwrap();
            assert_eq!((answer, time.since_epoch()), (found("10.0.0.2"), expected));
            Ok(())
        });
    }
}

/// A machine that stays frozen asks nothing: a world in which nothing else is to happen is quiet, and ends. Whoever waits
/// hears when it goes on, long after, or when it crashes.
#[test]
fn a_frozen_machine_that_waits_for_an_answer_keeps_no_world_busy() {
    let sim = Sim::new(1).resolver(Resolver::new().latency(ms(30)));
    for crash in [false, true] {
        operated(&sim, |world, operator| async move {
            let (client, _server) = (world.host("client"), world.host("server"));
            let lp = world.clone();
            let asking = client.clone();
            let asking = world.host("watcher").create_task(async move {
                let answer = asking.getaddrinfo(("server", 7)).await;
                (answer.is_ok(), lp.time().since_epoch())
            });
            world.sleep(ms(10)).await;
            let host = operator.host("client");
            assert!(host.freeze());
            world.settle().await;
            assert_eq!(world.time().since_epoch(), ms(30));
            world.sleep(ms(20_000)).await;
            assert!(!asking.done());
            assert!(if crash { host.crash() } else { host.thaw() });
            let expected = if crash { (false, ms(20_030)) } else { (true, ms(20_060)) };
            assert_eq!(asking.await.unwrap(), expected);
            world.settle().await;
            assert_eq!(world.time().since_epoch(), expected.1);
            Ok(())
        });
    }
    let simulation = sim.build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let stuck = simulation.run(async move {
        let (client, _server) = (world.host("client"), world.host("server"));
        operator.host("client").freeze();
        client.getaddrinfo(("server", 7)).await.map(drop)
    });
    assert!(stuck.unwrap_err().to_string().contains("nothing can ever happen"), "it is a deadlock");
}

/// A host that starts again under another address is found by its name.
#[test]
fn a_host_that_moved_is_found_by_its_name() {
    operated(&Sim::new(1), |world, operator| async move {
        let client = world.host("client");
        world.boot("server", |lp: Loop| async move {
            lp.create_server(("server", 7), || Echo).await?.serve_forever().await
        });
        world.sleep(ms(10)).await;
        let host = operator.host("server");
        let before = host.addresses();
        assert!(!host.move_addresses(), "it is on");
        assert!(host.crash() && host.move_addresses() && host.start());
        let after = host.addresses();
        world.sleep(ms(10)).await;
        assert_ne!(before, after);
        assert_eq!(ask(&client, "server").await, found(&after[0].to_string()));
        let conn = client.create_connection(("server", 7), Recorder::default).await?;
        let peer = conn.transport().peername().unwrap();
        assert_eq!(peer.ip(), after[0]);
        assert_eq!(client.getnameinfo(peer).await?.host, "server");
        let old = (before[0].to_string(), 7);
        assert_eq!(client.getnameinfo((before[0], 7).into()).await?.host, old.0);
        Ok(())
    });
}

/// The failures of `client`, which asks every 100 ms.
fn asking(sim: &Sim) -> (Report<()>, Vec<(Duration, ResolveFailure)>) {
    let failures = Rc::new(RefCell::new(Vec::new()));
    let list = failures.clone();
    let report = sim.run(move |world: World| async move {
        let client = world.host("client");
        world.host("server");
        for _ in 0..50 {
            let asked = world.time().since_epoch();
            if let Err(failure) = ask(&client, "server").await {
                list.borrow_mut().push((asked, failure));
            }
            world.sleep(ms(100)).await;
        }
    });
    let failures = failures.take();
    (report, failures)
}

/// A plan takes the name servers from a host for a while.
#[test]
fn a_plan_fails_the_lookups_of_a_host() {
    let plan: Plan = "dns client 1s..1.25s\ndns client 2s for 150ms nxdomain\ndns other 0s..5s"
        .parse()
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(plan.to_string().lines().nth(2), Some("dns client 2s..2.15s nxdomain"));
    let (report, failures) = asking(&Sim::new(1).plan(&plan).unwrap());
    use ResolveFailure::{TryAgain, Unknown};
    let expected = [
        (ms(1_000), TryAgain),
        (ms(1_100), TryAgain),
        (ms(1_200), TryAgain),
        (ms(2_000), Unknown),
        (ms(2_100), Unknown),
    ];
    assert_eq!(failures, expected);
    assert_eq!((report.faults["dns.again"], report.faults["dns.nxdomain"]), (3, 2));
    assert_eq!(report.absent_hosts, ["other"]);
    report.unwrap();
}

/// When the faults of a run end, lookups work again, however they went wrong.
#[test]
fn the_quiesce_mends_names() {
    let plan = Plan::new().names(ms(0), "client", NameFault::TryAgain, ms(100_000));
    let always = Resolver::new().fault(NameFault::Unknown, Probability::ALWAYS);
    let sim = Sim::new(1).resolver(always).plan(&plan).unwrap().quiesce(ms(1_050));
    let (report, failures) = asking(&sim);
    assert_eq!(failures.len(), 11);
    report.unwrap();
    let permanent: Plan = "dns client 0s.. empty permanent".parse().unwrap();
    let (report, failures) = asking(&Sim::new(1).plan(&permanent).unwrap().quiesce(ms(1_050)));
    assert_eq!(failures.len(), 50);
    report.unwrap();
}

/// What a plan says of a question befalls it, whatever else the servers are: an entry about anything else switches
/// nothing on. And the census offers each question that asks the servers, by the name that the plan has for it.
#[test]
fn an_entry_about_a_question_needs_no_resolver() {
    let three = |world: World| async move {
        let client = world.host("client");
        world.host("server");
        let mut answers = Vec::new();
        for _ in 0..3 {
            let asked = world.time();
            answers.push((ask(&client, "server").await, world.time() - asked));
            ask(&client, "client").await.unwrap();
        }
        io::Result::Ok(answers)
    };
    let well = || (found("10.0.0.2"), ms(0));
    let replay = |text: &str, sim: Sim| {
        let plan: Plan = text.parse().unwrap_or_else(|errors| panic!("{errors}"));
        let report = sim.replay(&plan).unwrap().run(three);
        (report.bindings.to_string(), report.unwrap())
    };
    use ResolveFailure::{NoAddress, TryAgain, Unknown};
    let entries = [
        ("dns-again client@1?server nr 1", (Err(TryAgain), ms(0))),
        ("dns-nxdomain client@1?server nr 1", (Err(Unknown), ms(0))),
        ("dns-empty client@1?server nr 1", (Err(NoAddress), ms(0))),
        ("dns-delay client@1?server nr 1 +50ms", (found("10.0.0.2"), ms(50))),
        // Asked again after 5 s.
        ("dns-silent client@1?server nr 1", (found("10.0.0.2"), ms(5_000))),
    ];
    for (entry, befallen) in entries {
        let expected = ("bound 1 of 1".to_owned(), vec![well(), befallen, well()]);
        let special = Resolver::new().fault(NameFault::TryAgain, Probability::percent(1).unwrap());
        assert_eq!(replay(entry, Sim::new(1)), expected, "{entry}");
        assert_eq!(replay(entry, Sim::new(1).resolver(special)), expected, "{entry}");
        // Once the faults are over, none is new; what takes its time still does.
        let (bound, answers) = replay(entry, Sim::new(1).quiesce(ms(0)));
        let is_delay = entry.starts_with("dns-delay");
        assert_eq!(bound, format!("bound {} of 1", u8::from(is_delay)), "{entry}");
        assert_eq!(answers == expected.1, is_delay, "{entry}: {answers:?}");
    }

    let plain = Sim::new(1).run(three);
    let seen = Sim::new(1).census(true).run(three);
    assert_eq!((plain.hash, plain.events), (seen.hash, seen.events));
    let offered: Vec<_> = seen.census.as_ref().unwrap().calls().iter().collect();
    let again = offered.iter().filter(|call| call.site == FaultSite::NameFailure);
    let again: Vec<String> = again.map(|call| call.event.to_string()).collect();
    let names = [0, 1, 2].map(|ordinal| format!("dns.again client@1?server nr {ordinal}"));
    assert_eq!((again.as_slice(), offered.len()), (names.as_slice(), 3 * 4));
}

/// RFC 4343, RFC 1034 §3.1: the case of letters makes no other name, nor does a dot at the end; so it is for what a
/// hand says of names. Two dots are no name.
#[test]
fn names_have_no_case_and_may_end_in_a_dot() {
    operated(&Sim::new(1), |world, operator| async move {
        let (client, _server) = (world.host("client"), world.host("server"));
        let names = operator.names();
        for name in ["server", "Server", "SERVER.", "server.", "db", "DB."] {
            names.set("Db", ["10.0.0.2".parse().unwrap()]);
            assert_eq!(ask(&client, name).await, found("10.0.0.2"), "{name}");
        }
        assert_eq!(ask(&client, "IP6-Server.").await, found("fd00::2"));
        assert_eq!(ask(&client, "LocalHost.").await, found("127.0.0.1"));
        for name in ["server..", ".", "..", "ſerver"] {
            assert_eq!(ask(&client, name).await, Err(ResolveFailure::Unknown), "{name}");
        }
        names.fail("sErver.", NameFault::TryAgain);
        assert_eq!(ask(&client, "Server").await, Err(ResolveFailure::TryAgain));
        names.mend();
        names.delay("SERVER", ms(5));
        let asked = world.time();
        assert_eq!(ask(&client, "server.").await, found("10.0.0.2"));
        assert_eq!(world.time() - asked, ms(5));
        names.remove("DB");
        assert_eq!(ask(&client, "db").await, Err(ResolveFailure::Unknown));
        assert!(names.restore("db.") && !names.restore("db"));
        // Of two hosts the one of exactly this name is meant.
        let big = world.host("Client");
        assert_eq!(ask(&big, "client").await, found("10.0.0.1"));
        assert_eq!(ask(&client, "Client").await, found("10.0.0.3"));
        Ok(())
    });
}

/// Two runs of a seed are the same; a scenario that never gets an answer is a finding.
#[test]
fn lookups_are_deterministic() {
    let resolver = || {
        let some = Probability::percent(30).unwrap();
        let faults = [NameFault::TryAgain, NameFault::Unknown, NameFault::Empty, NameFault::Silent];
        let resolver = Resolver::new().latency(ms(1)..ms(40));
        faults.into_iter().fold(resolver, |resolver, fault| resolver.fault(fault, some))
    };
    let run = |seed| asking(&Sim::new(seed).resolver(resolver()));
    let ((first, one), (second, other), (third, _)) = (run(3), run(3), run(4));
    assert_eq!((first.hash, one.len()), (second.hash, other.len()));
    assert_ne!(first.hash, third.hash);
    assert!(!one.is_empty());
    let report = Sim::new(1).run(|world| async move {
        world.host("client").create_connection(("nobody", 1), Recorder::default).await?;
        io::Result::Ok(())
    });
    let finding = report.finding().expect("nobody has the name");
    assert_eq!(finding.kind, FindingKind::Failure);
    assert!(finding.message.contains("nobody"), "{finding}");
}
