//! Worlds in what is left of others.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use sim_core::program::ProcessContext;
use sim_core::{Cx, Loop, PanicPolicy, Protocol, Signal, Time, World, sometimes};
use sim_net::{
    CongestionControl, LinkRule, Memory, NameFault, Plan, Probability, Rate, Recording, Report,
    Resolver, Sim, StopAt, StreamFaults, TcpConfig,
};

use crate::protocols::{Datagrams, Echo, Recorder, endpoint, ms, udp_echo};

const TCP: (&str, u16) = ("server", 7000);
const UDP: (&str, u16) = ("server", 53);

/// Something of everything, whatever comes of it: a server that boots, and clients over TCP, UDP and Unix sockets,
/// with files, programs, jobs, signals and groups.
async fn everything(world: World) {
    world.program("work", |process: ProcessContext| async move {
        process.event_loop().sleep(ms(5)).await;
        process.stdout.write(b"done").await.map_or(1, |()| 0)
    });
    world.boot("server", |lp: Loop| async move {
        let file = lp.store("starts")?;
        file.append(b"one.")?;
        let _udp = endpoint(&lp, Some(UDP), None, udp_echo).await?;
        lp.create_server(TCP, || Echo).await?.serve_forever().await
    });
    world.sleep(ms(10)).await;
    let mut clients = Vec::new();
    for number in 0..world.size("clients", 2..=4) {
        let (client, own) = (world.host(&format!("client-{number}")), world.clone());
        let calls = async move |lp: Loop| calls(own, lp, number).await;
        clients.push(client.create_task(calls(client.clone())));
    }
    for client in clients {
        sometimes!(matches!(client.await, Ok(Ok(()))), "all calls of a client went well");
    }
    world.sleep(Duration::from_secs(3)).await;
}

/// Says something, and counts what it hears.
struct Counting {
    hello: Vec<u8>,
    heard: usize,
}

impl Protocol for Counting {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&self.hello);
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
        self.heard += data.len();
    }

    fn digest(&self) -> Option<String> {
        Some(self.heard.to_string())
    }
}

async fn calls(world: World, lp: Loop, number: u64) -> io::Result<()> {
    let heard = Rc::new(RefCell::new(0));
    let ears = Rc::clone(&heard);
    lp.add_signal_handler(Signal::USR1, move || *ears.borrow_mut() += 1)?;
    lp.getaddrinfo(("server", 80)).await?;
    let hello = vec![number as u8; lp.rng("size").range(1..40_000) as usize];
    let conn = lp.create_connection(TCP, || Counting { hello, heard: 0 }).await?;
    let datagrams = endpoint(&lp, None, Some(UDP), Datagrams::default).await?;
    for _ in 0..5 {
        datagrams.transport().send_to(b"question", None)?;
        lp.sleep(ms(20)).await;
    }
    let group = [239, 0, 0, 7].into();
    let member = lp.datagram().local(("0.0.0.0", 99)).reuse_port(true);
    let member = member.bind(Datagrams::default).await?;
    member.transport().join_multicast(group, None)?;
    member.transport().send_to(b"all", Some((group, 99).into()))?;
    let _unix = lp.create_unix_server("/run/echo", || Echo).await?;
    let local = lp.create_unix_connection("/run/echo", || Recorder::saying(b"hello")).await?;
    let file = lp.store("log")?;
    file.append(b"line")?;
    file.sync().await?;
    let sum = lp.run_in_executor(move || number + 1)?.await;
    lp.mark("sum", sum.unwrap_or_default());
    let mut child = lp.create_subprocess_exec("/bin/work", [""; 0]).await?;
    child.communicate(b"").await?;
    lp.sleep(ms(500)).await;
    local.transport().close();
    conn.transport().close();
    // Left to the end of the world: a timer, a task, and what they hold.
    lp.call_later(Duration::from_secs(3_600), move || drop(world)).detach();
    lp.create_task(async move { std::future::pending::<()>().await });
    Ok(())
}

fn plan(text: &str) -> Plan {
    format!("plan 1.0\n{text}").parse().unwrap_or_else(|errors| panic!("{errors}"))
}

/// Worlds that differ in all that can be said of one.
fn sims() -> Vec<(&'static str, Sim)> {
    let likely = |chance: f64| Probability::new(chance).unwrap();
    let rate = |bits| Rate::bits_per_second(bits).unwrap();
    let jittered = || Sim::new(7).latency(ms(1)..ms(20));
    let faults = StreamFaults::new()
        .short_writes(likely(0.3))
        .held_reads(likely(0.2), ms(5))
        .spurious_readiness(likely(0.2))
        .accept_errors(likely(0.1))
        .connect_errors(likely(0.1))
        .resets(likely(0.02))
        .spawn_errors(likely(0.3))
        .cancellations(likely(0.01));
    let links = "latency=1ms..9ms,loss=3%,dup=3%,reorder=5%/2,corrupt=2%/deliver,rate=2Mbit";
    let lossy = || jittered().link(links.parse::<LinkRule>().unwrap());
    let trouble = "crash server 40ms for 200ms\n\
        pause client-0 20ms for 100ms\n\
        freeze client-1 30ms for 50ms\n\
        slow client-0 10ms for 1s by 1ms\n\
        kill client-1 700ms\n\
        signal client-0 SIGUSR1 25ms\n\
        clock client-1 offset +3ms drift +40ppm\n\
        clock client-0 at 30ms step +250ms\n\
        cut client-0 | server 60ms for 80ms\n\
        cut nobody | server 60ms for 80ms";
    let endless = "cut client-0->server 20ms.. hold\n\
        isolate client-1 25ms.. reject\n\
        freeze client-1 45ms..\n\
        pause client-3 30ms..\n\
        slow client-0 10ms.. by 1ms\n\
        dns client-2 1ms.. silent permanent\n\
        link client-1<->server 15ms.. latency=70ms,reorder=50%/9\n\
        crash server 300ms for 50ms new-address";
    let dead = "crash server 20ms..\ncrash client-0 30ms..\nkill client-1 at 35ms";
    let resolver = Resolver::new().latency(ms(2)..ms(9)).fault(NameFault::TryAgain, likely(0.3));
    let tcp = TcpConfig::default().congestion(CongestionControl::Cubic).sack(false);
    vec![
        ("plain", Sim::new(7)),
        ("another seed", Sim::new(8)),
        ("jitter", jittered()),
        ("links", lossy()),
        ("some links", jittered().link("client-0<->server: loss=20%".parse::<LinkRule>().unwrap())),
        ("stream faults", jittered().stream_faults(faults)),
        ("trouble", jittered().plan(&plan(trouble)).unwrap()),
        ("endless trouble", jittered().plan(&plan(endless)).unwrap()),
        ("endless trouble on loss", lossy().stream_faults(faults).plan(&plan(endless)).unwrap()),
        ("dead", jittered().plan(&plan(dead)).unwrap()),
        ("narrow", jittered().uplink("client-0", rate(256_000)).downlink("server", rate(512_000))),
        ("trouble that ends", jittered().plan(&plan(trouble)).unwrap().quiesce(ms(100))),
        ("recorded", jittered().stream_faults(faults).record(Recording::new())),
        (
            "replayed",
            jittered()
                .replay(&plan("crash server 40ms for 200ms\nemfile server@1/accept:7000 nr 1 = 2"))
                .unwrap(),
        ),
        ("census", jittered().census(true)),
        ("logged", jittered().trace(true)),
        ("captured", jittered().capture(true)),
        ("resolver and executor", jittered().resolver(resolver).executor(ms(1)..ms(30))),
        ("tcp", lossy().tcp(tcp).segment_trains(false)),
        ("few descriptors", jittered().max_descriptors(6)),
        ("few events", jittered().max_events(300)),
        ("stopped", jittered().stop_at(StopAt::Step(250))),
        ("leftovers", jittered().leftovers(true)),
        ("contained", jittered().panic_policy(PanicPolicy::Contain)),
    ]
}

/// All that a report has.
fn told(report: &Report<()>) -> String {
    format!("{report:?}")
}

/// Worlds that end of themselves, and in the middle of everything.
#[test]
fn no_world_can_tell_which_ones_went_before_it() {
    let sims = sims();
    let alone: Vec<String> = sims.iter().map(|(_, sim)| told(&sim.run(everything))).collect();
    let memory = Memory::default();
    for (before, first) in &sims {
        for ((name, sim), expected) in sims.iter().zip(&alone) {
            for end in [11, 28, 47, 115, 125, 140, 160, 500, 9_000] {
                drop(first.run_in(&memory, move |world| async move {
                    let all = everything(world.clone());
                    let _ = world.timeout(ms(end), all).await;
                }));
                let after = told(&sim.run_in(&memory, everything));
                assert!(
                    after == *expected,
                    "{name} after {before} for {end} ms: {after}\nand alone: {expected}"
                );
            }
        }
    }
}

#[test]
fn a_world_ends_with_all_that_it_was_given() {
    let (memory, given) = (Memory::default(), Rc::new(()));
    for round in 0..3 {
        let own = given.clone();
        let report = Sim::new(round).run_in(&memory, |world| async move {
            let lp = world.host("client");
            let held = [(); 8].map(|()| own.clone());
            let [protocol, task, timer, boot, handler, signal, program, soon] = held;
            lp.create_server(("client", 1), move || {
                drop(protocol.clone());
                Echo
            })
            .await?;
            lp.create_task(async move {
                std::future::pending::<()>().await;
                drop(task);
            });
            lp.call_later(ms(60_000), move || drop(timer)).detach();
            world.boot("booted", move |_| {
                let boot = boot.clone();
                async move {
                    std::future::pending::<()>().await;
                    drop(boot);
                    io::Result::Ok(())
                }
            });
            lp.set_exception_handler(Some(Rc::new(move |_: &Loop, _: &sim_core::ErrorContext| {
                drop(handler.clone());
            })));
            lp.add_signal_handler(Signal::USR1, move || drop(signal.clone()))?;
            world.program("holds", move |_: ProcessContext| {
                drop(program.clone());
                async { 0 }
            });
            lp.sleep(ms(1)).await;
            lp.call_soon(move || drop(soon));
            io::Result::Ok(())
        });
        assert!(report.outcome.is_ok());
        assert_eq!(Rc::strong_count(&given), 1, "something still holds it");
    }
}

/// Whoever keeps a handle of a world that has ended keeps what that was: the next world is another.
#[test]
fn handles_of_a_world_that_has_ended_are_not_of_the_next() {
    let expected = told(&Sim::new(7).run(everything));
    let ended = Time::ZERO + ms(1_234);
    for which in 0..4 {
        let memory = Memory::default();
        let kept = Rc::new(RefCell::new(None));
        let place = kept.clone();
        let report = Sim::new(1).run_in(&memory, move |world| async move {
            let lp = world.host("client-0");
            lp.sleep(ms(1_234)).await;
            let file = lp.store("log").unwrap();
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let look: Box<dyn Fn()> = match which {
                0 => Box::new(move || assert_eq!((lp.time(), lp.is_closed()), (ended, true))),
                1 => Box::new(move || assert_eq!(world.time(), ended)),
                2 => Box::new(move || assert!(file.append(b"late").is_ok())),
                _ => Box::new(move || waker.wake_by_ref()),
            };
            *place.borrow_mut() = Some(look);
        });
        assert!(report.outcome.is_ok());
        let look: Box<dyn Fn()> = kept.take().unwrap();
        let report = Sim::new(7).run_in(&memory, move |world| async move {
            world.clone().timeout(ms(200), everything(world.clone())).await.unwrap_err();
            look();
            world.sleep(Duration::from_secs(1)).await;
        });
        let alone = Sim::new(7).run(|world| async move {
            world.clone().timeout(ms(200), everything(world.clone())).await.unwrap_err();
            world.sleep(Duration::from_secs(1)).await;
        });
        assert!(alone.outcome.is_ok());
        assert_eq!(told(&report), told(&alone), "with handle {which}");
        assert_eq!(told(&Sim::new(7).run_in(&memory, everything)), expected);
    }
}

/// More hosts and fewer, others at their places, and more than are kept.
#[test]
fn worlds_of_other_hosts_follow_each_other() {
    let shapes = [("a", 3), ("a", 1), ("b", 7), ("a", 7), ("b", 2), ("a", 90), ("a", 0), ("b", 5)];
    let sim = Sim::new(5).latency(ms(1)..ms(9));
    let memory = Memory::default();
    for _ in 0..2 {
        for (first, clients) in shapes {
            let scenario = async move |world: World| {
                let server = world.host("server");
                let _listening = server.create_server(TCP, || Echo).await?;
                let mut conns = Vec::new();
                for number in 0..clients {
                    // Every other place has the same host in all worlds.
                    let first = if number % 2 == 0 { first } else { "c" };
                    let client = world.host(&format!("{first}{number}"));
                    let hello = || Recorder::saying(b"hello");
                    conns.push(client.create_connection(TCP, hello).await?);
                }
                world.sleep(ms(100)).await;
                let heard = conns.iter().map(|conn| conn.with(|it, _| it.data.len())).sum();
                io::Result::Ok(heard)
            };
            let alone: Report<usize> = sim.run(scenario);
            let after: Report<usize> = sim.run_in(&memory, scenario);
            assert_eq!(*alone.outcome.as_ref().unwrap(), clients * 5);
            assert_eq!(format!("{after:?}"), format!("{alone:?}"), "{first}, {clients}");
        }
    }
}

/// A world inside another, in the same memory, and worlds that fail, leave others what they need.
#[test]
fn worlds_inside_worlds_and_worlds_that_fail_share_a_memory() {
    let memory = Memory::default();
    let expected = told(&Sim::new(7).run(everything));
    let inner = memory.clone();
    for _ in 0..2 {
        let (inner, wanted) = (inner.clone(), expected.clone());
        let outer = Sim::new(3).run_in(&memory, |world| async move {
            world.host("a").sleep(ms(1)).await;
            let report = Sim::new(7).run_in(&inner, everything);
            assert!(told(&report) == wanted);
            let failed = Sim::new(1).run_in(&inner, |world| async move {
                world.host("b").sleep(ms(1)).await;
                assert!(world.time() == Time::ZERO, "on purpose");
            });
            assert_eq!(failed.finding().unwrap().message, "on purpose");
            world.host("a").sleep(ms(1)).await;
        });
        assert!(outer.outcome.is_ok());
        assert!(told(&Sim::new(7).run_in(&memory, everything)) == expected);
    }
}
