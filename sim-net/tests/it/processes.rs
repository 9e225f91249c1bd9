//! What befalls child processes: starts that fail, and children that die at once.

use std::io;
use std::time::Duration;

use sim_core::program::ProcessContext;
use sim_core::{Signal, World};
use sim_net::{Plan, Probability, Recording, Sim, StreamFaults};

use crate::protocols::ms;

/// How each of so many children of a host ends: an exit code, a signal, or an error of its start.
async fn ends(world: World, children: usize) -> io::Result<Vec<Result<i32, i32>>> {
    world.program("work", |process: ProcessContext| async move {
        process.event_loop().sleep(ms(5)).await;
        process.stdout.write(b"done").await.map_or(1, |()| 0)
    });
    let lp = world.host("host");
    let mut ends = Vec::new();
    for _ in 0..children {
        let end = async {
            let mut child = lp.create_subprocess_exec("/usr/bin/work", [""; 0]).await?;
            let (output, _) = child.communicate(b"").await?;
            let code = child.wait().await?;
            assert_eq!(output, if code == 0 { &b"done"[..] } else { b"" });
            io::Result::Ok(code)
        };
        ends.push(end.await.map_err(|error| error.raw_os_error().unwrap()));
    }
    Ok(ends)
}

const SPAWN: &str = "host@1/spawn:/usr/bin/work";
const CHILD: &str = "host@1/child:/usr/bin/work";

/// A plan names the start, or the child, by its program and its number, and says what goes wrong.
#[test]
fn a_plan_says_which_start_fails_and_which_child_dies() {
    let plan = format!("spawn {SPAWN} nr 1 = 2\nearly-death {CHILD} nr 1\nspawn {SPAWN} nr 99");
    let plan: Plan = plan.parse().unwrap();
    let report = Sim::new(1).replay(&plan).unwrap().run(|world| ends(world, 4));
    assert_eq!(report.bindings.to_string(), "bound 2 of 3");
    // The child that could not be started is none: the next is the second.
    assert_eq!(report.unwrap(), [Ok(0), Err(12), Ok(-9), Ok(0)]);
}

/// What a seed draws is recorded, and its recording is the same run.
#[test]
fn what_befalls_children_is_recorded_and_run_again() {
    let often = Probability::percent(30).unwrap();
    let faults = StreamFaults::new().spawn_errors(often).early_deaths(often);
    let (mut errors, mut deaths) = (0, 0);
    for seed in 0..10 {
        let sim = || Sim::new(seed).latency(ms(1)..ms(2));
        let run = sim().stream_faults(faults).record(Recording::new()).run(|world| ends(world, 9));
        let plan = run.recording.clone().unwrap();
        let again = sim().replay(&plan).unwrap().run(|world| ends(world, 9));
        assert_eq!((again.hash, again.time), (run.hash, run.time), "seed {seed}: {plan}");
        let ends = run.unwrap();
        assert_eq!(again.unwrap(), ends);
        errors += ends.iter().filter(|end| end.is_err()).count();
        deaths += ends.iter().filter(|end| **end == Ok(-9)).count();
    }
    assert!(errors > 10 && deaths > 10, "{errors} errors, {deaths} deaths");
}

/// Without such faults the streams' alone befall a child's pipes, and its output is what it was.
#[test]
fn the_faults_of_streams_befall_the_pipes_of_children() {
    let often = Probability::percent(40).unwrap();
    let faults = StreamFaults::new().short_writes(often).held_reads(often, ms(20));
    for seed in 0..20 {
        let report = Sim::new(seed).stream_faults(faults).run(|world| ends(world, 3));
        assert_eq!(report.unwrap(), [Ok(0); 3], "seed {seed}");
    }
}

/// A plan's signal ends a process that does not handle it, and its quiesce starts it again.
#[test]
fn a_signal_of_a_plan_is_over_when_the_faults_are() {
    let plan: Plan = "signal host SIGTERM at 10ms\nsignal other SIGSTOP at 10ms".parse().unwrap();
    let sim = Sim::new(1).plan(&plan).unwrap().quiesce(Duration::from_secs(1));
    let report = sim.run(|world: World| async move {
        let boots = std::rc::Rc::new(std::cell::Cell::new(0));
        let own = boots.clone();
        world.boot("host", move |_| {
            own.set(own.get() + 1);
            async {}
        });
        let other = world.host("other");
        let waited = other.create_task({
            let other = other.clone();
            async move { other.sleep(ms(20)).await }
        });
        world.sleep(ms(500)).await;
        assert!(!waited.done() && boots.get() == 1);
        world.sleep(ms(1_000)).await;
        io::Result::Ok((boots.get(), waited.done()))
    });
    assert_eq!(report.unwrap(), (2, true));
}

/// G-43: while a process gets no turns, a standard signal is pending at most once, however often it is sent;
/// each of another number, and of a realtime number, is another one.
#[test]
fn a_signal_is_pending_once() {
    let realtime = Signal::new(34).unwrap();
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let counts = simulation.run(async move {
        let lp = world.host("host");
        let counts = std::rc::Rc::new(std::cell::RefCell::new([0; 3]));
        for (place, signal) in [Signal::USR1, Signal::USR2, realtime].into_iter().enumerate() {
            let own = counts.clone();
            lp.add_signal_handler(signal, move || own.borrow_mut()[place] += 1)?;
        }
        let host = operator.host("host");
        for (stop, go_on) in [(0, 0), (1, 1)] {
            assert!(if stop == 0 { host.pause() } else { host.freeze() });
            for _ in 0..5 {
                host.signal(Signal::USR1);
                host.signal(realtime);
            }
            host.signal(Signal::USR2);
            world.sleep(ms(10)).await;
            assert!(if go_on == 0 { host.resume() } else { host.thaw() });
            world.sleep(ms(10)).await;
        }
        let paused = *counts.borrow();
        // One that runs hears of each.
        for _ in 0..3 {
            host.signal(Signal::USR1);
        }
        world.sleep(ms(10)).await;
        let counts = *counts.borrow();
        io::Result::Ok((paused, counts))
    });
    assert_eq!(counts.unwrap(), ([2, 2, 10], [5, 2, 10]));
}
