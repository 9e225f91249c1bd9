//! G-40..G-43: signals.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::thread;

use real_net::new_loop;
use rustix::process::{getpid, kill_process};
use sim_core::sync::Event;
use sim_core::{Loop, Signal, World};
use sim_net::Sim;
use tests::alone::{alone, end_of};
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::loops::{ms, run_a_turn, run_for};

/// A handler that adds an entry to a log.
fn noting(log: &Log, entry: &str) -> impl Fn() + 'static {
    let (log, entry) = (log.clone(), entry.to_owned());
    move || log.push(entry.clone())
}

both_bare_loops! {
    /// G-40: a handler never runs inside the call that raises the signal; it is a callback of the loop.
    fn a_handler_runs_as_a_callback_of_the_loop(make: Make) {
        alone(make, module_path!(), || {
            let (lp, log) = (make.new_loop(), Log::new());
            lp.add_signal_handler(Signal::USR1, noting(&log, "handler")).unwrap();
            let (handle, own) = ((*lp).clone(), log.clone());
            lp.call_soon(move || {
                handle.raise_signal(Signal::USR1).unwrap();
                own.push("raised");
            });
            run_for(&lp, ms(50));
            assert_eq!(log.text(), "raised handler");
        });
    }

    /// G-40: each delivered signal queues the handler; a kernel may merge several into one.
    fn each_signal_queues_its_handler(make: Make) {
        alone(make, module_path!(), || {
            let (lp, log) = (make.new_loop(), Log::new());
            lp.add_signal_handler(Signal::USR1, noting(&log, "1")).unwrap();
            lp.add_signal_handler(Signal::USR2, noting(&log, "2")).unwrap();
            for signal in [Signal::USR1, Signal::USR2, Signal::USR1] {
                lp.raise_signal(signal).unwrap();
            }
            run_for(&lp, ms(50));
            let heard = |entry| log.entries().iter().filter(|it| *it == entry).count();
            assert!((1..=2).contains(&heard("1")) && heard("2") == 1, "{}", log.text());
        });
    }

    /// G-41: a handler that is added again replaces the one before; removing says whether there was one.
    fn adding_replaces_and_removing_tells(make: Make) {
        alone(make, module_path!(), || {
            let (lp, log) = (make.new_loop(), Log::new());
            assert!(!lp.remove_signal_handler(Signal::USR1));
            lp.add_signal_handler(Signal::USR1, noting(&log, "first")).unwrap();
            lp.add_signal_handler(Signal::USR1, noting(&log, "second")).unwrap();
            lp.raise_signal(Signal::USR1).unwrap();
            run_for(&lp, ms(50));
            assert_eq!(log.text(), "second");
            assert!(lp.remove_signal_handler(Signal::USR1));
            assert!(!lp.remove_signal_handler(Signal::USR1));
        });
    }

    /// G-41: closing the loop removes its handlers, and a later loop's are its own.
    fn closing_the_loop_removes_its_handlers(make: Make) {
        alone(make, module_path!(), || {
            let (earlier, later, log) = (make.new_loop(), make.new_loop(), Log::new());
            earlier.add_signal_handler(Signal::USR1, noting(&log, "earlier")).unwrap();
            earlier.close().unwrap();
            assert!(!earlier.remove_signal_handler(Signal::USR1));
            assert!(earlier.add_signal_handler(Signal::USR1, || ()).is_err());
            later.add_signal_handler(Signal::USR1, noting(&log, "later")).unwrap();
            later.raise_signal(Signal::USR1).unwrap();
            run_for(&later, ms(50));
            assert_eq!(log.text(), "later");
        });
    }

    /// G-42: a signal that cannot be caught, or does not exist, is an error.
    fn what_cannot_be_caught_is_an_error(make: Make) {
        let lp = make.new_loop();
        for signal in [Signal::KILL, Signal::STOP] {
            let error = lp.add_signal_handler(signal, || ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("sig {} cannot be caught", signal.number()));
        }
        for number in [i32::MIN, -1, 0, 65, i32::MAX] {
            let error = Signal::new(number).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{number}");
        }
        assert!((1..=64).all(|number| Signal::new(number).unwrap().number() == number));
        // Nothing was left behind.
        run_a_turn(&lp);
    }
}

/// G-40: a signal wakes a loop that waits in the kernel.
// on: real
#[test]
fn a_signal_wakes_a_loop_that_waits() {
    let ended = end_of("signals::a_signal_wakes_a_loop_that_waits", || {
        let lp = new_loop().unwrap();
        let came = Event::new();
        let own = came.clone();
        lp.add_signal_handler(Signal::USR1, move || own.set()).unwrap();
        let sender = thread::spawn(|| {
            thread::sleep(ms(30));
            kill_process(getpid(), rustix::process::Signal::USR1).unwrap();
        });
        lp.run_until_complete(async move { came.wait().await }).unwrap();
        sender.join().unwrap();
    });
    assert_eq!(ended.status.code(), Some(77), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// G-41: a signal whose handler is removed does again what it does by default, also after a loop that
/// was closed.
// on: real
#[test]
fn what_a_signal_does_by_default_is_restored() {
    let name = "signals::what_a_signal_does_by_default_is_restored";
    let ended = end_of(name, || {
        let lp = new_loop().unwrap();
        lp.add_signal_handler(Signal::TERM, || ()).unwrap();
        lp.add_signal_handler(Signal::INT, || ()).unwrap();
        assert!(lp.remove_signal_handler(Signal::INT));
        lp.raise_signal(Signal::TERM).unwrap();
        run_for(&lp, ms(10));
        lp.close().unwrap();
        let later = new_loop().unwrap();
        later.raise_signal(Signal::TERM).unwrap();
        // Another thread may have been chosen to take it.
        run_for(&later, ms(10_000));
    });
    assert_eq!(ended.status.signal(), Some(15), "{:?}", ended);
}

/// The world of the statements about simulated processes.
async fn two_hosts(world: World) -> io::Result<(Loop, Loop, Log)> {
    Ok((world.host("server"), world.host("client"), Log::new()))
}

/// G-43, G-40: a signal that a test injects reaches the process of one host, in the order of events.
// on: sim
#[test]
fn an_injected_signal_reaches_one_process_in_order() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let ran = simulation.run(async move {
        let (server, client, log) = two_hosts(world.clone()).await?;
        server.add_signal_handler(Signal::TERM, noting(&log, "server"))?;
        client.add_signal_handler(Signal::TERM, noting(&log, "client"))?;
        server.call_soon({
            let log = log.clone();
            move || log.push("queued before")
        });
        assert!(operator.host("server").signal(Signal::TERM));
        world.sleep(ms(1)).await;
        assert_eq!(log.text(), "queued before server");
        // Who stands still hears of it when it goes on.
        operator.host("server").pause();
        assert!(operator.host("server").signal(Signal::TERM));
        world.sleep(ms(1)).await;
        assert_eq!(log.text(), "queued before server");
        operator.host("server").signal(Signal::CONT);
        world.sleep(ms(1)).await;
        assert_eq!(log.text(), "queued before server server");
        io::Result::Ok(())
    });
    ran.unwrap();
}

/// G-43, G-41: what a simulated process does not handle is done by default: it ends, stands still, goes
/// on, or nothing.
// on: sim
#[test]
fn what_a_simulated_process_does_not_handle_is_done_by_default() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let ran = simulation.run(async move {
        let log = Log::new();
        let booted = log.clone();
        world.boot("server", move |lp| {
            booted.push("boot");
            async move { lp.sleep(ms(1_000)).await }
        });
        let server = operator.host("server");
        world.sleep(ms(1)).await;
        assert!(server.signal(Signal::CHLD) && server.is_up());
        server.signal(Signal::STOP);
        server.signal(Signal::CONT);
        let lp = world.host("server");
        lp.add_signal_handler(Signal::TERM, || ())?;
        assert!(server.signal(Signal::TERM) && server.is_up());
        assert!(lp.remove_signal_handler(Signal::TERM));
        lp.raise_signal(Signal::TERM)?;
        assert!(!server.is_up() && !server.signal(Signal::TERM));
        assert!(lp.raise_signal(Signal::TERM).is_err());
        server.start();
        world.sleep(ms(1)).await;
        assert_eq!(log.text(), "boot boot");
        // The new process has none of the old one's handlers.
        assert!(server.signal(Signal::KILL) && !server.is_up());
        io::Result::Ok(())
    });
    ran.unwrap();
}

/// G-43: a plan sends signals, too.
// on: sim
#[test]
fn a_plan_sends_a_signal() {
    let plan = "signal server SIGUSR1 at 5ms".parse().unwrap();
    let report = Sim::new(1).plan(&plan).unwrap().run(|world| async move {
        let (server, _, log) = two_hosts(world.clone()).await?;
        server.add_signal_handler(Signal::USR1, noting(&log, "came"))?;
        world.sleep(ms(4)).await;
        assert_eq!(log.text(), "");
        world.sleep(ms(2)).await;
        assert_eq!(log.text(), "came");
        io::Result::Ok(())
    });
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    assert_eq!(report.faults["host.signal"], 1);
}
