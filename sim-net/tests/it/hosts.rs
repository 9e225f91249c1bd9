//! What befalls hosts, and what of it the others see.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{
    Cx, Loop, LoopFuture, Outcome, Protocol, Signal, TaskError, Time, Transport, World,
};
use sim_net::{FindingKind, HostOperator, Operator, Sim};

use crate::protocols::{Echo, Recorder, ms};

const SERVER: (&str, u16) = ("server", 7000);

/// Runs a scenario with a hand on the switches, twice, and compares.
#[track_caller]
fn run<F, R>(scenario: F) -> <R::Output as Outcome>::Value
where
    F: Fn(World, Operator) -> R,
    R: Future + 'static,
    R::Output: Outcome + 'static,
{
    let once = || {
        let simulation = Sim::new(1).build();
        let future = scenario(simulation.world(), simulation.operator());
        let value = simulation.run(future).unwrap();
        (value, simulation.hash())
    };
    let (value, hash) = once();
    assert_eq!(once().1, hash);
    value
}

/// A server that echoes, on a host that boots it.
fn boot_echo(world: &World) -> Loop {
    world.boot("server", |lp: Loop| async move {
        lp.create_server(SERVER, || Echo).await?.serve_forever().await
    })
}

/// K-04: a crashed host is silent; after its restart what comes for its old connections is reset.
#[test]
fn a_crash_is_silence_and_after_the_restart_a_reset() {
    let (silent, lost) = run(|world, operator| async move {
        boot_echo(&world);
        world.sleep(ms(10)).await;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        assert!(operator.host("server").crash());
        world.sleep(Duration::from_secs(60)).await;
        let silent = conn.with(|recorder, cx| recorder.lost.is_none() && !cx.is_closing());
        assert!(operator.host("server").start());
        world.sleep(ms(10)).await;
        conn.with(|_, cx| cx.write(b"are you there?"));
        world.sleep(ms(10)).await;
        let lost = conn.with(|recorder, _| recorder.lost.take().unwrap().unwrap().kind());
        client.create_connection(SERVER, || Recorder::saying(b"hello")).await?;
        io::Result::Ok((silent, lost))
    });
    assert!(silent);
    assert_eq!(lost, io::ErrorKind::ConnectionReset);
}

/// K-04: of a killed process the kernel closes the sockets: an end of stream where everything was
/// read, a reset where it was not.
#[test]
fn a_kill_ends_streams_and_resets_those_with_unread_data() {
    let (ended, reset) = run(|world, operator| async move {
        struct Deaf;
        impl Protocol for Deaf {
            fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
                cx.pause_reading();
            }
            fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
        }
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.create_server(SERVER, || Deaf).await?;
        let idle = client.create_connection(SERVER, Recorder::default).await?;
        let unread = client.create_connection(SERVER, || Recorder::saying(b"x")).await?;
        world.sleep(ms(10)).await;
        assert!(operator.host("server").kill());
        world.sleep(ms(10)).await;
        let ended = idle.with(|recorder, _| recorder.ended && recorder.lost.is_some());
        let reset = unread.with(|recorder, _| recorder.lost.take().unwrap().unwrap().kind());
        let refused = client.create_connection(SERVER, Recorder::default).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        io::Result::Ok((ended, reset))
    });
    assert!(ended);
    assert_eq!(reset, io::ErrorKind::ConnectionReset);
}

/// A crashed host is dead before what it had is dropped: no destructor says goodbye.
#[test]
fn no_destructor_says_goodbye() {
    struct Polite(Option<Transport>);
    impl Protocol for Polite {
        fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
            self.0 = Some((**cx).clone());
        }
        fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
    }
    impl Drop for Polite {
        fn drop(&mut self) {
            let Some(transport) = &self.0 else { return };
            transport.event_loop().call_soon(|| panic!("a dead host runs nothing"));
            transport.event_loop().mark("goodbye", 1);
            transport.write(b"goodbye");
            transport.close();
        }
    }
    let data = run(|world, operator| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.create_server(SERVER, || Polite(None)).await?;
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        operator.host("server").crash();
        world.sleep(Duration::from_secs(1)).await;
        io::Result::Ok(conn.with(|recorder, _| (recorder.data.clone(), recorder.lost.is_some())))
    });
    assert_eq!(data, (vec![], false));
}

/// A crash inside a callback swallows the rest of it; nothing unwinds.
#[test]
fn a_crash_after_the_second_write_swallows_the_third() {
    struct Three(Rc<Cell<u32>>);
    impl Protocol for Three {
        fn data_received(&mut self, cx: &mut Cx<'_, Self>, _: &[u8]) {
            for text in [b"one", b"two", b"six"] {
                cx.write(text);
                self.0.set(self.0.get() + 1);
            }
            cx.event_loop().call_soon(|| panic!("a dead host runs nothing"));
            cx.call_later(ms(1), |_, _| panic!("nor its timers")).detach();
        }
    }
    let (data, writes, up) = run(|world, operator| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let writes = Rc::new(Cell::new(0));
        let counter = writes.clone();
        let _server = server.create_server(SERVER, move || Three(counter.clone())).await?;
        let conn = client.create_connection(SERVER, || Recorder::saying(b"go")).await?;
        operator.host("server").crash_after(2);
        world.sleep(Duration::from_secs(1)).await;
        let data = conn.with(|recorder, _| recorder.data.clone());
        io::Result::Ok((data, writes.get(), operator.host("server").is_up()))
    });
    assert_eq!((data.as_slice(), writes, up), (&b"onetwo"[..], 3, false));
}

/// Sets a future when data come, and then does something.
struct Tells<F>(LoopFuture<()>, F);

impl<F: FnMut(&Transport) + 'static> Protocol for Tells<F> {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, _: &[u8]) {
        self.0.set_result(()).unwrap();
        (self.1)(cx.transport());
    }
}

/// K-04: what a callback has woken before it crashed its machine does not run.
#[test]
fn a_task_that_was_woken_before_a_crash_does_not_run() {
    let went_on = run(|world, operator| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let (woken, went_on) = (server.create_future(), Rc::new(Cell::new(false)));
        let (waits, seen) = (woken.clone(), Rc::clone(&went_on));
        server.create_task(async move {
            waits.await.unwrap();
            seen.set(true);
        });
        let _server = server
            .create_server(SERVER, move || {
                Tells(woken.clone(), |transport: &Transport| transport.write(b"last"))
            })
            .await?;
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        world.sleep(ms(10)).await;
        operator.host("server").crash_after(1);
        conn.with(|_, cx| cx.write(b"go"));
        world.sleep(Duration::from_secs(1)).await;
        assert!(!operator.host("server").is_up());
        io::Result::Ok(went_on.get())
    });
    assert!(!went_on);
}

/// A task that a callback woke goes on when the time that the callback spent is over.
#[test]
fn a_task_that_was_woken_waits_for_the_time_that_was_spent() {
    let (spent, read) = run(|world, _| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let (woken, times) = (server.create_future(), Rc::new(Cell::new((Time::ZERO, Time::ZERO))));
        let (waits, seen, lp) = (woken.clone(), Rc::clone(&times), server.clone());
        let task = server.create_task(async move {
            waits.await.unwrap();
            seen.set((seen.get().0, lp.time()));
        });
        let (seen, lp) = (Rc::clone(&times), server.clone());
        let spends = move || {
            let (seen, lp) = (Rc::clone(&seen), lp.clone());
            Tells(woken.clone(), move |_: &Transport| {
                seen.set((lp.time(), Time::ZERO));
                lp.spend(ms(10));
            })
        };
        let _server = server.create_server(SERVER, spends).await?;
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        world.sleep(ms(10)).await;
        conn.with(|_, cx| cx.write(b"go"));
        task.await.unwrap();
        io::Result::Ok(times.get())
    });
    assert_eq!(read - spent, ms(10));
}

/// A paused process gets no turns, while its kernel acknowledges for it.
#[test]
fn a_paused_process_answers_when_it_goes_on() {
    let (early, arrival, sent) = run(|world, operator| async move {
        boot_echo(&world);
        world.sleep(ms(10)).await;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        assert!(operator.host("server").pause());
        assert!(!operator.host("server").pause());
        conn.with(|_, cx| cx.write(b"ping"));
        world.sleep(Duration::from_secs(5)).await;
        let early = conn.with(|recorder, _| recorder.data.len());
        let sent = conn.with(|_, cx| cx.write_buffer_size());
        assert!(operator.host("server").resume());
        let resumed = world.time();
        world.sleep(ms(10)).await;
        let arrival = conn.with(|recorder, _| recorder.arrivals[0]);
        io::Result::Ok((early, arrival - resumed, sent))
    });
    assert_eq!((early, arrival, sent), (0, ms(1), 0));
}

/// Packets to a frozen machine are lost; its own timers come late.
#[test]
fn a_frozen_machine_hears_nothing_and_its_timers_wait() {
    let (heard, woke) = run(|world, operator| async move {
        let server = world.host("server");
        let heard = Rc::new(RefCell::new(Vec::new()));
        let woke = server.create_future::<Time>();
        let (lp, waking) = (server.clone(), woke.clone());
        let sleeper = server.call_later(ms(100), move || {
            waking.set_result(lp.time()).unwrap();
        });
        struct Hearing(Rc<RefCell<Vec<u8>>>);
        impl sim_core::DatagramProtocol for Hearing {
            fn datagram_received(
                &mut self,
                _: &mut Cx<'_, Self, sim_core::DatagramTransport>,
                data: &[u8],
                _: std::net::SocketAddr,
            ) {
                self.0.borrow_mut().push(data[0]);
            }
        }
        let hearing = Hearing(heard.clone());
        let _sink = server.datagram().local(SERVER).bind(|| hearing).await?;
        let client = world.host("client");
        let source = client.datagram().remote(SERVER).bind(|| Quiet).await?;
        operator.host("server").freeze();
        source.with(|_, cx| cx.send_to(&[1], None))?;
        world.sleep(Duration::from_secs(1)).await;
        operator.host("server").thaw();
        source.with(|_, cx| cx.send_to(&[2], None))?;
        let woke = woke.await.map_err(io::Error::other)?;
        world.sleep(ms(10)).await;
        drop(sleeper);
        let heard = heard.borrow().clone();
        io::Result::Ok((heard, woke.since_epoch()))
    });
    assert_eq!(heard, [2]);
    assert_eq!(woke, Duration::from_secs(1));
}

/// A frozen machine sends nothing: a process that is killed then dies when the machine goes on, and
/// a start waits for its death.
#[test]
fn a_frozen_machine_closes_nothing_until_it_goes_on() {
    for end in [|host: &HostOperator| host.kill(), |host: &HostOperator| host.signal(Signal::KILL)]
    {
        run(|world, operator| async move {
            boot_echo(&world);
            world.sleep(ms(10)).await;
            let client = world.host("client");
            let conn = client.create_connection(SERVER, Recorder::default).await?;
            world.sleep(ms(10)).await;
            let host = operator.host("server");
            assert!(host.freeze() && end(&host) && !host.kill());
            assert!(host.start() && !host.start() && host.is_up());
            world.sleep(ms(900)).await;
            assert!(conn.with(|recorder, _| recorder.lost.is_none()));
            assert_eq!(host.incarnation(), 1);
            assert!(host.thaw());
            assert_eq!((host.is_up(), host.incarnation()), (true, 2));
            world.sleep(ms(10)).await;
            assert!(conn.with(|recorder, _| recorder.ended && recorder.lost.is_some()));
            // A crash is at once, and takes back what was to come.
            assert!(host.freeze() && host.kill() && host.crash() && host.start());
            world.sleep(ms(10)).await;
            assert_eq!((host.is_up(), host.incarnation()), (true, 3));
            io::Result::Ok(())
        });
    }
}

/// A stopped process acts on a signal that ends it when it goes on, and on `SIGKILL` at once.
#[test]
fn a_paused_process_dies_of_a_signal_when_it_goes_on() {
    run(|world, operator| async move {
        world.host("n");
        let host = operator.host("n");
        assert!(host.pause() && host.signal(Signal::TERM) && host.is_up());
        assert!(host.freeze() && host.resume() && host.is_up());
        assert!(host.thaw() && !host.is_up());
        assert!(host.start() && host.is_up());
        assert!(host.pause() && host.signal(Signal::TERM) && host.signal(Signal::CONT));
        assert!(!host.is_up() && host.start());
        assert!(host.pause() && host.signal(Signal::TERM) && host.signal(Signal::KILL));
        assert!(!host.is_up() && host.start());
        // Nothing of it is left for the next life.
        assert!(host.pause() && host.resume() && host.is_up());
        // A start while it waits to die follows the death.
        assert!(host.pause() && host.signal(Signal::TERM) && host.start() && host.resume());
        assert_eq!((host.is_up(), host.incarnation()), (true, 5));
    });
}

struct Quiet;

impl sim_core::DatagramProtocol for Quiet {
    fn datagram_received(
        &mut self,
        _: &mut Cx<'_, Self, sim_core::DatagramTransport>,
        _: &[u8],
        _: std::net::SocketAddr,
    ) {
    }
}

/// Callbacks of a slow process follow each other at its pace.
#[test]
fn a_slow_process_takes_its_time() {
    let times = run(|world, operator| async move {
        let host = world.host("host");
        operator.host("host").slow(ms(7));
        let times = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..3 {
            let (lp, times) = (host.clone(), times.clone());
            host.call_soon(move || times.borrow_mut().push(lp.time().since_epoch()));
        }
        world.sleep(Duration::from_secs(1)).await;
        let times = times.borrow().clone();
        io::Result::Ok(times)
    });
    assert_eq!(times, [ms(0), ms(7), ms(14)]);
}

/// A clock that runs a tenth fast fires its timers early, on the world's clock, and says so never.
#[test]
fn a_fast_clock_fires_early() {
    let (own, world) = run(|world, operator| async move {
        let host = world.host("host");
        host.sleep(Duration::from_secs(1)).await;
        operator.host("host").drift(100_000_000);
        let (began, began_own) = (world.time(), host.time());
        host.sleep(Duration::from_millis(1_100)).await;
        io::Result::Ok((host.time() - began_own, world.time() - began))
    });
    assert_eq!((own, world), (ms(1_100), ms(1_000)));
}

/// Timers that were set before the rate changed come at the new one.
#[test]
fn a_change_of_rate_moves_the_timers_that_wait() {
    let woke = run(|world, operator| async move {
        let (host, own) = (world.host("host"), world.clone());
        let lp = host.clone();
        let sleeping = host.create_task(async move {
            lp.sleep(Duration::from_secs(2)).await;
            own.time()
        });
        world.sleep(Duration::from_secs(1)).await;
        operator.host("host").drift(-500_000_000);
        sleeping.await.map_err(io::Error::other)
    });
    assert_eq!(woke.since_epoch(), Duration::from_secs(3));
}

/// The time of day may step, and goes back; the monotonic clock does not notice.
#[test]
fn the_time_of_day_steps_and_the_monotonic_clock_does_not() {
    run(|world, operator| async move {
        let host = world.host("host");
        let year_2000 = Duration::from_secs(946_684_800);
        assert_eq!(host.wall_time(), year_2000);
        world.sleep(Duration::from_secs(5)).await;
        operator.host("host").step_wall_clock(-7_000_000_000);
        assert_eq!(host.wall_time(), year_2000 - Duration::from_secs(2));
        assert_eq!(host.time().since_epoch(), Duration::from_secs(5));
    });
}

/// Whoever waits from another host for something of a crashed one hears of its end.
#[test]
fn a_crash_leaves_nobody_waiting() {
    let (task, closed, slept) = run(|world, operator| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.create_server(SERVER, || Echo).await?;
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        let task = client.create_task(std::future::pending::<()>());
        let (crashing, own) = (operator.clone(), world.clone());
        world.host("other").create_task(async move {
            own.sleep(ms(100)).await;
            crashing.host("client").crash();
        });
        client.sleep(Duration::from_secs(3600)).await;
        let slept = world.time().since_epoch();
        let closed = conn.closed().await.unwrap_err();
        let task = task.await.unwrap_err();
        assert!(client.is_closed());
        assert!(client.create_connection(SERVER, Recorder::default).await.is_err());
        client.call_soon(|| panic!("a dead host runs nothing"));
        io::Result::Ok((task, closed.kind(), slept))
    });
    assert!(matches!(task, TaskError::Cancelled), "{task:?}");
    assert_eq!(closed, io::ErrorKind::ConnectionAborted);
    assert_eq!(slept, ms(102));
}

/// The stream of a crashed host is lost for whoever uses it from another one.
#[test]
fn a_crash_ends_the_waits_at_its_streams() {
    let errors = run(|world, operator| async move {
        struct Deaf;
        impl Protocol for Deaf {
            fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
                cx.pause_reading();
            }
            fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
        }
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.create_server(SERVER, || Deaf).await?;
        let (mut reader, writer) = client.open_connection(SERVER).await?;
        writer.write(&[0; 1 << 22]);
        let crashing = operator.clone();
        let crash = world.host("other");
        drop(crash.clone().create_task(async move {
            crash.sleep(ms(100)).await;
            crashing.host("client").crash();
        }));
        let drain = world.host("other").create_task(async move { writer.drain().await });
        let line = reader.read_line().await;
        let drained = drain.await.expect("its host lives");
        let again = reader.read(1).await;
        let line = io::Error::from(line.unwrap_err());
        io::Result::Ok([line, drained.unwrap_err(), again.unwrap_err()].map(|error| error.kind()))
    });
    assert_eq!(errors, [io::ErrorKind::ConnectionAborted; 3]);
}

/// A deadline of a crashed host passes in its time for who waits on another one; no sleep begins there.
#[test]
fn a_crash_stops_no_deadline_of_others() {
    let times = run(|world, operator| async move {
        let (client, crash) = (world.host("client"), world.host("other"));
        let crashing = operator.clone();
        drop(crash.clone().create_task(async move {
            crash.sleep(ms(100)).await;
            crashing.host("client").crash();
        }));
        let hour = Duration::from_secs(3600);
        let own = client.clone();
        drop(client.create_task(async move {
            let _ = own.timeout(hour, std::future::pending::<()>()).await;
            panic!("a dead host runs nothing");
        }));
        let mut times = Vec::new();
        assert!(client.timeout(hour, std::future::pending::<()>()).await.is_err());
        times.push(world.time().since_epoch());
        assert!(client.is_closed());
        client.sleep(hour).await;
        times.push(world.time().since_epoch());
        assert!(client.timeout(hour, std::future::pending::<()>()).await.is_err());
        times.push(world.time().since_epoch());
        assert!(client.timeout(hour, async { 1 }).await.is_ok());
        let own = client.clone();
        let moved = client.timeout_with(None, async |deadline| {
            assert!(deadline.reschedule(Some(own.time() + hour)));
            std::future::pending::<()>().await;
        });
        assert!(moved.await.is_err());
        times.push(world.time().since_epoch());
        io::Result::Ok(times)
    });
    assert_eq!(times, [1, 1, 2, 3].map(|hours| Duration::from_secs(hours * 3600)));
}

/// Each life has its own identity: random streams and ports are those of an incarnation.
#[test]
fn each_incarnation_draws_its_own() {
    let seen = run(|world, operator| async move {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let list = seen.clone();
        let _server = world.host("server").create_server(SERVER, || Echo).await?;
        world.boot("client", move |lp: Loop| {
            let list = list.clone();
            async move {
                let conn = lp.create_connection(SERVER, Recorder::default).await?;
                let port = conn.with(|_, cx| cx.sockname().unwrap().port());
                list.borrow_mut().push((lp.rng("id").next_u64(), port));
                io::Result::Ok(())
            }
        });
        for _ in 0..2 {
            world.sleep(Duration::from_secs(1)).await;
            assert!(operator.host("client").crash());
            assert!(operator.host("client").start());
        }
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(operator.host("client").incarnation(), 3);
        let seen = seen.borrow().clone();
        io::Result::Ok(seen)
    });
    assert_eq!(seen.len(), 3);
    assert!(seen[0].0 != seen[1].0 && seen[1].0 != seen[2].0 && seen[0].0 != seen[2].0);
    assert!(seen[0].1 != seen[1].1 || seen[1].1 != seen[2].1);
}

/// What was synced survives a crash, and of the rest a prefix; a kill loses nothing.
#[test]
fn a_crash_takes_a_suffix_of_what_was_not_synced() {
    let survived = |seed: u64| {
        let simulation = Sim::new(seed).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let run = async move {
            let file = world.host("n").store("log")?;
            file.append(b"synced.")?;
            file.sync().await?;
            for text in ["one.", "two.", "three."] {
                file.append(text.as_bytes())?;
            }
            operator.host("n").crash();
            file.append(b"the dead write nothing")?;
            assert!(file.sync().await.is_err() && world.host("n").store("log").is_err());
            operator.host("n").start();
            let file = world.host("n").store("log")?;
            let survived = file.read()?;
            file.append(b"!")?;
            operator.host("n").kill();
            operator.host("n").start();
            assert_eq!(world.host("n").store("log")?.read()?, [&survived[..], b"!"].concat());
            io::Result::Ok(survived)
        };
        simulation.run(run).unwrap()
    };
    let all = b"synced.one.two.three.";
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let survived = survived(seed);
        assert!(all.starts_with(&survived) && survived.starts_with(b"synced."), "{survived:?}");
        lengths.insert(survived.len());
    }
    assert!(lengths.contains(&all.len()) && lengths.contains(&7), "{lengths:?}");
    assert!(lengths.iter().any(|length| ![7, 11, 15, all.len()].contains(length)), "torn writes");
}

#[test]
fn switches_say_whether_they_changed_anything() {
    run(|world, operator| async move {
        world.host("n");
        let host = operator.host("n");
        assert!(!host.start() && !host.resume() && !host.thaw());
        assert!(host.kill() && !host.kill() && host.crash() && !host.crash());
        assert!(!host.is_up() && !host.pause() && host.freeze() && host.thaw());
        assert!(host.start() && !host.start() && host.is_up());
        assert_eq!(host.incarnation(), 2);
    });
}

#[test]
fn a_boot_that_fails_is_a_finding_of_its_host() {
    let finding = Sim::new(1)
        .run(|world| async move {
            world.boot("n7", |_| async { Err::<(), _>(io::Error::other("no disk")) });
            world.sleep(Duration::from_secs(1)).await;
        })
        .outcome
        .unwrap_err();
    assert_eq!((finding.kind, finding.host.as_str()), (FindingKind::Panic, "n7"));
    assert!(finding.message.contains("no disk"), "{finding}");
}

/// A host starts so often and no more: the run that would have it so is a finding, however it goes about it.
#[test]
fn a_host_that_starts_too_often_is_a_finding() {
    for waits in [false, true] {
        let simulation = Sim::new(1).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let finding = simulation.run(async move {
            world.host("a");
            let host = operator.host("a");
            for starts in 2..=16_383 {
                assert!(host.crash() && host.start());
                assert_eq!(host.incarnation(), starts);
            }
            if waits {
                world.sleep(ms(1)).await;
            }
            assert!(host.crash());
            host.start();
            assert!(!host.is_up() && host.incarnation() == 16_383);
            world.sleep(ms(1)).await;
            io::Result::Ok("it goes on")
        });
        let finding = finding.unwrap_err();
        assert_eq!(finding.kind, FindingKind::Limit, "{finding}");
        assert!(finding.message.contains("max_incarnations"), "{finding}");
        assert!(finding.message.contains("host a started 16383 times"), "{finding}");
    }
}

#[test]
#[should_panic(expected = "no host of that name")]
fn a_host_that_does_not_exist_has_no_switches() {
    Sim::new(1).build().operator().host("nobody");
}

/// Panics when it is dropped.
struct Explodes(&'static str);

impl Drop for Explodes {
    fn drop(&mut self) {
        panic!("{} explodes", self.0);
    }
}

/// A panic anywhere is a finding, of destructors too: of the scenario's own and of its tasks, however many, when the
/// world ends.
#[test]
fn destructors_that_panic_are_findings_however_many() {
    let report = Sim::new(1).run(|world| async move {
        let host = world.host("n1");
        for (name, held) in [("n1", "one"), ("n1", "another"), ("n2", "a third")] {
            let held = Explodes(held);
            drop(world.host(name).create_task(async move {
                std::future::pending::<()>().await;
                drop(held);
            }));
        }
        let held = Explodes("the scenario");
        host.sleep(ms(1)).await;
        std::future::pending::<()>().await;
        drop(held);
    });
    let finding = report.outcome.unwrap_err();
    assert_eq!(finding.kind, FindingKind::Deadlock, "the first thing that was wrong");
    let report = Sim::new(1).run(|world| async move {
        let held = Explodes("a task");
        drop(world.host("n1").create_task(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        world.sleep(ms(1)).await;
    });
    let finding = report.outcome.unwrap_err();
    assert_eq!((finding.kind, finding.message.as_str()), (FindingKind::Panic, "a task explodes"));
}

/// Whatever destructors ask of the switches when their world ends, nothing happens any more.
#[test]
fn switches_do_nothing_when_their_world_ends() {
    struct Meddles(Operator, Rc<Cell<bool>>);
    impl Drop for Meddles {
        fn drop(&mut self) {
            let (off, up) = (self.0.host("off"), self.0.host("up"));
            up.crash_after(1);
            assert!(!off.start() && !off.is_up());
            self.1.set(true);
        }
    }
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let asked = Rc::new(Cell::new(false));
    let meddles = Meddles(operator.clone(), asked.clone());
    let run = async move {
        let (up, _off) = (world.host("up"), world.host("off"));
        operator.host("off").crash();
        drop(up.create_task(async move {
            let _held = meddles;
            std::future::pending::<()>().await;
        }));
        world.sleep(ms(5)).await;
    };
    simulation.run(run).unwrap();
    drop(simulation);
    assert!(asked.get());
}

/// A world ends with its run, even if a program that it gave its hosts keeps it.
#[test]
fn a_program_that_keeps_its_world_does_not_keep_it_alive() {
    let token = Rc::new(());
    let held = Rc::clone(&token);
    Sim::new(1)
        .run(|world| async move {
            let (own, held) = (world.clone(), held);
            world.program("tool", move |_program| {
                let (own, held) = (own.clone(), Rc::clone(&held));
                async move {
                    drop((own, held));
                    0
                }
            });
            world.host("n1");
        })
        .unwrap();
    assert_eq!(Rc::strong_count(&token), 1);
}
