//! Tasks that a simulation cancels where they wait.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use sim_core::{LoopFuture, TaskError, World};
use sim_net::plan::FaultSite;
use sim_net::{Plan, Probability, Recording, Sim, StreamFaults};

use crate::protocols::ms;

/// What a worker says of its waits: how many it came back from, and how it ended.
type Said = (u32, Result<(), TaskError>);

/// Two workers of one name wait three times each, 10 ms at a time; a third has no name.
async fn workers(world: World, are_declared: bool) -> io::Result<Vec<Said>> {
    let lp = world.host("host");
    let counts: Rc<RefCell<Vec<u32>>> = Rc::new(RefCell::new(vec![0; 3]));
    let mut tasks = Vec::new();
    for number in 0..3 {
        let (counts, clock) = (Rc::clone(&counts), lp.clone());
        let work = async move {
            for _ in 0..3 {
                clock.sleep(ms(10)).await;
                counts.borrow_mut()[number] += 1;
            }
        };
        let task = match number {
            2 => lp.create_task(work),
            _ => lp.create_named_task("worker", work),
        };
        tasks.push(if are_declared { task.cancellable() } else { task });
    }
    let mut said = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        let end = task.await;
        said.push((counts.borrow()[number], end));
    }
    Ok(said)
}

const ALL: Said = (3, Ok(()));
const fn cancelled_after(waits: u32) -> Said {
    (waits, Err(TaskError::Cancelled))
}

fn always() -> StreamFaults {
    StreamFaults::new().cancellations(Probability::ALWAYS)
}

/// K-09: a plan names the task by its name, its number among those of that name, and the wait.
#[test]
fn a_plan_says_which_task_is_cancelled_and_where() {
    let cases = [
        ("cancel host@1/task:worker#1 nr 0", vec![cancelled_after(0), ALL, ALL]),
        ("cancel host@1/task:worker#2 nr 2", vec![ALL, cancelled_after(2), ALL]),
        ("cancel host@1/woken:worker#1 nr 1", vec![cancelled_after(1), ALL, ALL]),
    ];
    for (text, expected) in cases {
        let plan: Plan = text.parse().unwrap();
        assert_eq!(plan.to_string().lines().last(), Some(text));
        let report = Sim::new(1).replay(&plan).unwrap().run(|world| workers(world, true));
        assert_eq!(report.bindings.to_string(), "bound 1 of 1", "{text}");
        assert_eq!(report.faults["task.cancel"], 1);
        assert_eq!(report.unwrap(), expected, "{text}");
    }
    for text in ["cancel host@2/task:worker#1 nr 0", "cancel host@1/task:worker#3 nr 0"] {
        let plan: Plan = text.parse().unwrap();
        let report = Sim::new(1).replay(&plan).unwrap().run(|world| workers(world, true));
        assert_eq!(report.bindings.to_string(), "bound 0 of 1");
        assert_eq!(report.unwrap(), vec![ALL; 3]);
    }
}

/// K-09: what nobody declared is not cancelled, and a run without such tasks is what it was.
#[test]
fn tasks_that_nobody_declared_are_left_alone() {
    for seed in 0..5 {
        let sim = || Sim::new(seed);
        let without = sim().run(|world| workers(world, false));
        let with = sim().stream_faults(always()).run(|world| workers(world, false));
        assert_eq!((with.hash, with.time), (without.hash, without.time));
        assert!(!with.faults.contains_key("task.cancel"), "nobody could have been cancelled");
        assert_eq!(with.unwrap(), vec![ALL; 3]);
        let declared = sim().run(|world| workers(world, true));
        assert_eq!(declared.hash, without.hash, "declared, and no faults");
    }
}

/// What a seed draws is recorded, and its recording is the same run. Some are cancelled when they begin to
/// wait, and some when they were woken.
#[test]
fn what_befalls_tasks_is_recorded_and_run_again() {
    let faults = StreamFaults::new().cancellations(Probability::percent(15).unwrap());
    let (mut waiting, mut woken) = (0, 0);
    for seed in 0..30 {
        let run = Sim::new(seed).stream_faults(faults).record(Recording::new());
        let run = run.run(|world| workers(world, true));
        let plan = run.recording.clone().unwrap();
        let again = Sim::new(seed).replay(&plan).unwrap().run(|world| workers(world, true));
        assert_eq!((again.hash, again.time), (run.hash, run.time), "seed {seed}: {plan}");
        let text = plan.to_string();
        waiting += text.matches("cancel host@1/task:").count();
        woken += text.matches("cancel host@1/woken:").count();
        let ended = run.faults["task.cancel"];
        let said = run.unwrap();
        assert_eq!(said.iter().filter(|(_, end)| end.is_err()).count() as u64, ended, "{plan}");
        assert_eq!(again.unwrap(), said);
    }
    assert!(waiting > 10 && woken > 10, "{waiting}, {woken}");
}

/// The draws are the task's own: another task of the host that is declared, too, moves none of them.
#[test]
fn the_draws_of_a_task_are_its_own() {
    async fn with_others(world: World, others: bool) -> io::Result<Said> {
        let lp = world.host("host");
        if others {
            let clock = lp.clone();
            let other = async move {
                for _ in 0..9 {
                    clock.sleep(ms(3)).await;
                }
            };
            drop(lp.create_named_task("other", other).cancellable());
        }
        Ok(workers(world, true).await?.swap_remove(0))
    }
    let faults = StreamFaults::new().cancellations(Probability::percent(20).unwrap());
    let mut ends = Vec::new();
    for seed in 0..30 {
        let run = |others| {
            let sim = Sim::new(seed).stream_faults(faults);
            sim.run(move |world| with_others(world, others)).unwrap()
        };
        let said = run(false);
        assert_eq!(run(true), said, "seed {seed}");
        ends.push(said);
    }
    assert!(ends.contains(&ALL) && ends.iter().any(|(_, end)| end.is_err()));
}

/// A census has every place, and looking changes nothing.
#[test]
fn a_census_names_every_place() {
    let plain = Sim::new(3).run(|world| workers(world, true));
    let watched = Sim::new(3).census(true).run(|world| workers(world, true));
    assert_eq!(watched.hash, plain.hash);
    let census = watched.census.unwrap();
    let offered = census.calls().iter().filter(|call| call.site == FaultSite::Cancel);
    let names: Vec<String> = offered.map(|call| call.event.to_string()).collect();
    // Three tasks, three waits, each begun and ended.
    assert_eq!(names.len(), 18, "{names:#?}");
    for name in ["host@1/task:worker#1 nr 0", "host@1/woken:worker#2 nr 2"] {
        assert!(names.iter().any(|offered| offered.contains(name)), "{name}: {names:#?}");
    }
    let unnamed = names.iter().filter(|name| name.contains("host@1/task:cancellations.rs:"));
    assert_eq!(unnamed.count(), 3, "{names:#?}");
}

/// K-09: one that was woken and is cancelled before it goes on is the race in which what it was given gets lost.
#[test]
fn a_woken_task_is_cancelled_before_it_goes_on() {
    async fn handed(world: World) -> io::Result<(Option<u32>, bool)> {
        let lp = world.host("host");
        let (given, got): (LoopFuture<u32>, Rc<RefCell<Option<u32>>>) =
            (lp.create_future(), Rc::default());
        let (waits, takes) = (given.clone(), Rc::clone(&got));
        let taker = async move {
            let value = waits.await.expect("it is given");
            takes.replace(Some(value));
        };
        let taker = lp.create_named_task("taker", taker).cancellable();
        lp.sleep(ms(1)).await;
        assert!(!taker.done());
        given.set_result(7).expect("nobody else gives it");
        let end = taker.await;
        let got = *got.borrow();
        Ok((got, end == Err(TaskError::Cancelled)))
    }
    let calm = Sim::new(1).run(handed).unwrap();
    assert_eq!(calm, (Some(7), false));
    let plan: Plan = "cancel host@1/woken:taker#1 nr 0".parse().unwrap();
    let report = Sim::new(1).replay(&plan).unwrap().trace(true).run(handed);
    let log = report.log.as_ref().unwrap().to_string();
    assert!(log.contains("is cancelled: a fault"), "{log}");
    assert_eq!(report.unwrap(), (None, true));
}

/// A host that boots again counts its tasks anew, and a plan says of which incarnation it speaks.
#[test]
fn incarnations_are_told_apart() {
    async fn reboots(world: World) -> io::Result<Vec<bool>> {
        let ends: Rc<RefCell<Vec<bool>>> = Rc::default();
        let own = Rc::clone(&ends);
        let boot = move |lp: sim_core::Loop| {
            let (ends, clock) = (Rc::clone(&own), lp.clone());
            async move {
                let work = async move { clock.sleep(ms(10)).await };
                let task = lp.create_named_task("worker", work).cancellable();
                let end = task.await;
                ends.borrow_mut().push(end.is_ok());
            }
        };
        world.boot("host", boot);
        world.sleep(ms(200)).await;
        Ok(ends.take())
    }
    let run = |text: &str| {
        let plan: Plan = text.parse().unwrap();
        Sim::new(1).replay(&plan).unwrap().run(reboots).unwrap()
    };
    let crash = "crash host 50ms for 50ms\n";
    assert_eq!(run(crash), [true, true]);
    assert_eq!(run(&format!("{crash}cancel host@1/task:worker#1 nr 0")), [false, true]);
    assert_eq!(run(&format!("{crash}cancel host@2/task:worker#1 nr 0")), [true, false]);
}

/// K-09: when the faults of a run are over, nothing is cancelled any more.
#[test]
fn a_quiesce_ends_it() {
    let sim = Sim::new(1).stream_faults(always()).quiesce(ms(1));
    let report = sim.run(|world| async move {
        let early = workers(world.clone(), true).await?;
        world.sleep(ms(5)).await;
        io::Result::Ok((early, workers(world, true).await?))
    });
    let (early, late) = report.unwrap();
    assert_eq!(early, vec![cancelled_after(0); 3]);
    assert_eq!(late, vec![ALL; 3]);
}
