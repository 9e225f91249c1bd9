//! G-32: the programs of simulated hosts.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::Signal;
use sim_core::engine::LeftoverKind;
use sim_core::program::ProcessContext;
use sim_core::sync::Event;
use sim_net::Sim;
use tests::programs::{STAY, install};
use tests::sim_only;

use crate::loops::ms;

sim_only! {
    /// G-32, G-27: a program is found by its name or by a path, on every host, and a shell knows it by name.
    async fn a_program_is_found_by_its_name(world: World) -> io::Result<()> {
        let (one, other) = (world.host("one"), world.host("other"));
        world.program("say", |process: ProcessContext| async move {
            let said = process.args().join("|");
            process.stdout.write(said.as_bytes()).await.map_or(1, |()| 0)
        });
        for lp in [&one, &other] {
            for program in ["say", "/usr/bin/say"] {
                let mut child = lp.create_subprocess_exec(program, ["a b", "c"]).await?;
                assert_eq!(child.communicate(b"").await?.0, b"a b|c");
            }
        }
        let mut child = one.create_subprocess_shell("say 'a b' c").await?;
        assert_eq!(child.communicate(b"").await?.0, b"a b|c");
        let mut child = one.create_subprocess_shell("unsay a").await?;
        assert_eq!(child.communicate(b"").await?.1, b"sh: unsay: not found\n");
        assert_eq!(child.returncode(), Some(127));
        let error = one.create_subprocess_exec("unsay", ["a"]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        Ok(())
    }

    /// G-32: the numbers of processes are the same in every run, and never used again.
    async fn numbers_of_processes_are_not_used_again(world: World) -> io::Result<()> {
        install(&world);
        let (one, other) = (world.host("one"), world.host("other"));
        let mut pids = Vec::new();
        for lp in [&one, &one, &other] {
            let child = lp.create_subprocess_exec("true", [""; 0]).await?;
            child.wait().await?;
            pids.push(child.pid());
        }
        assert_eq!(pids, [2, 3, 2]);
        Ok(())
    }

    /// G-32, G-24: a program handles the signals that it wants to, and what it does not handle is done by default: it
    /// stands still, goes on, ends where it stands.
    async fn a_program_handles_signals(world: World) -> io::Result<()> {
        let (lp, ticks, told) = (world.host("host"), Rc::new(Cell::new(0)), Event::new());
        let (counter, heard) = (Rc::clone(&ticks), told.clone());
        world.program("clock", move |process: ProcessContext| {
            let (counter, heard) = (Rc::clone(&counter), heard.clone());
            async move {
                process.add_signal_handler(Signal::USR1, move || heard.set()).unwrap();
                assert!(process.add_signal_handler(Signal::KILL, || ()).is_err());
                assert!(!process.remove_signal_handler(Signal::TERM));
                loop {
                    process.event_loop().sleep(ms(10)).await;
                    counter.set(counter.get() + 1);
                }
            }
        });
        let child = lp.create_subprocess_exec("clock", [""; 0]).await?;
        lp.sleep(ms(55)).await;
        assert_eq!(ticks.get(), 5);
        child.send_signal(Signal::STOP)?;
        child.send_signal(Signal::USR1)?;
        lp.sleep(ms(100)).await;
        assert_eq!((ticks.get(), told.is_set()), (5, false));
        child.send_signal(Signal::CONT)?;
        lp.sleep(ms(25)).await;
        assert!(told.is_set() && ticks.get() > 5);
        child.send_signal(Signal::CHLD)?;
        lp.sleep(ms(25)).await;
        assert_eq!(child.returncode(), None);
        child.terminate()?;
        assert_eq!(child.wait().await?, -15);
        let ended = ticks.get();
        lp.sleep(ms(100)).await;
        assert_eq!(ticks.get(), ended);
        Ok(())
    }

    /// G-32: a signal that comes several times to a process that stands still is pending once, and `SIGCONT` takes back the
    /// stops that are pending: as the kernel does it.
    async fn what_is_pending_is_so_once(world: World) -> io::Result<()> {
        let (lp, heard) = (world.host("host"), Rc::new(Cell::new(0)));
        let counter = Rc::clone(&heard);
        world.program("count", move |process: ProcessContext| {
            let counter = Rc::clone(&counter);
            async move {
                process.add_signal_handler(Signal::USR1, move || counter.set(counter.get() + 1)).unwrap();
                process.event_loop().sleep(Duration::from_secs(60)).await;
                0
            }
        });
        let child = lp.create_subprocess_exec("count", [""; 0]).await?;
        lp.sleep(ms(5)).await;
        for signal in [Signal::STOP, Signal::USR1, Signal::TSTP, Signal::USR1, Signal::STOP] {
            child.send_signal(signal)?;
        }
        lp.sleep(ms(5)).await;
        child.send_signal(Signal::CONT)?;
        lp.sleep(ms(5)).await;
        assert_eq!(heard.get(), 1);
        let realtime = Signal::new(34)?;
        for signal in [Signal::STOP, realtime, Signal::CONT] {
            child.send_signal(signal)?;
        }
        assert_eq!(child.wait().await?, -34);
        Ok(())
    }

    /// G-32, G-22: a program that is killed drops what it had, and its pipes end.
    async fn a_killed_program_drops_what_it_had(world: World) -> io::Result<()> {
        struct Noted(Rc<Cell<bool>>);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let (lp, dropped) = (world.host("host"), Rc::new(Cell::new(false)));
        let own = Rc::clone(&dropped);
        world.program("hold", move |process: ProcessContext| {
            let noted = Noted(Rc::clone(&own));
            async move {
                process.stdout.write(b"said").await.unwrap();
                process.event_loop().sleep(Duration::from_secs(60)).await;
                drop(noted);
                0
            }
        });
        let mut child = lp.create_subprocess_exec("hold", [""; 0]).await?;
        lp.sleep(ms(5)).await;
        child.kill()?;
        assert!(!dropped.get(), "nothing of it runs in the call");
        assert_eq!(child.communicate(b"").await?.0, b"said");
        assert!(dropped.get() && child.returncode() == Some(-9));
        Ok(())
    }

    /// G-32: an exit code below zero is a death by that signal.
    async fn a_program_may_say_that_a_signal_ended_it(world: World) -> io::Result<()> {
        world.program("abort", |_| async { -Signal::ABRT.number() });
        let child = world.host("host").create_subprocess_exec("abort", [""; 0]).await?;
        assert_eq!(child.wait().await?, -6);
        Ok(())
    }
}

/// G-32: a host that dies takes the processes of its programs along.
// on: sim
#[test]
fn a_host_that_dies_takes_its_processes_along() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let ran = simulation.run(async move {
        let ticks = Rc::new(RefCell::new(Vec::new()));
        let own = Rc::clone(&ticks);
        world.program("tick", move |process: ProcessContext| {
            let ticks = Rc::clone(&own);
            async move {
                loop {
                    ticks.borrow_mut().push(process.pid());
                    process.event_loop().sleep(ms(10)).await;
                }
            }
        });
        world.boot("server", |lp| async move {
            let child = lp.create_subprocess_exec("tick", [""; 0]).await?;
            child.wait().await.map(drop)
        });
        world.sleep(ms(25)).await;
        for crash in [false, true] {
            let server = operator.host("server");
            assert!(if crash { server.crash() } else { server.kill() });
            let before = ticks.borrow().len();
            world.sleep(ms(50)).await;
            assert_eq!(ticks.borrow().len(), before);
            server.start();
            world.sleep(ms(25)).await;
        }
        let mut pids = ticks.borrow().clone();
        pids.dedup();
        assert_eq!(pids, [2, 3, 4]);
        io::Result::Ok(())
    });
    ran.unwrap();
}

/// G-32, G-24: a program that panics, where panics are contained, exits as Rust's do.
// on: sim
#[test]
fn a_program_that_panics_exits() {
    let report = Sim::new(1).panic_policy(sim_core::PanicPolicy::Contain).run(|world| async move {
        world.program("bug", |_| async { panic!("a bug") });
        let child = world.host("host").create_subprocess_exec("bug", [""; 0]).await?;
        assert_eq!(child.wait().await?, 101);
        io::Result::Ok(())
    });
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

/// G-32: a process in the machine of a world that ends is no error of the world's, and is told as left over.
// on: sim
#[test]
fn a_world_may_end_while_a_program_runs() {
    let run = |sim: Sim| {
        sim.run(|world| async move {
            install(&world);
            let child = world.host("host").create_subprocess_shell(STAY).await?;
            io::Result::Ok(child.pid())
        })
    };
    assert_eq!(run(Sim::new(1)).outcome.unwrap(), 2);
    let report = run(Sim::new(1).leftovers(true));
    let left = report.leftovers.iter().flat_map(|host| &host.items);
    let processes = left.filter(|it| it.kind == LeftoverKind::Process);
    let text = tests::harness::only(processes).to_string();
    assert!(text.starts_with("pid 2, created at ") && text.contains("programs.rs:"), "{text}");
}
