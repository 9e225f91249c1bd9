//! Jobs of `run_in_executor`: when they run.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sim_core::{Time, World};
use sim_net::{Plan, Recording, Report, Sim};

/// When each of a host's jobs was done, and which it was.
type Done = Rc<RefCell<Vec<(Time, u32)>>>;

/// Gives away so many jobs at once, and waits for all of them.
async fn work(world: World, jobs: u32, done: Done) -> io::Result<()> {
    let lp = world.host("a");
    let mut tasks = Vec::new();
    for job in 0..jobs {
        let executing = lp.run_in_executor(move || job)?;
        let (at, done) = (lp.clone(), Rc::clone(&done));
        tasks.push(lp.create_task(async move {
            let job = executing.await.unwrap();
            done.borrow_mut().push((at.time(), job));
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    Ok(())
}

fn run(sim: &Sim, jobs: u32) -> (Report<()>, Vec<(Time, u32)>) {
    let done = Done::default();
    let kept = Rc::clone(&done);
    let mut report = sim.run(move |world| async move { work(world, jobs, kept).await.unwrap() });
    report.recording.iter_mut().for_each(|plan| plan.scenario = None);
    (report, done.take())
}

#[test]
fn jobs_take_time_that_each_draws_and_end_in_any_order() {
    let (_, one) = run(&Sim::new(1), 8);
    let (_, other) = run(&Sim::new(2), 8);
    for done in [&one, &other] {
        assert!(done.iter().all(|(at, _)| {
            (Duration::from_micros(10)..Duration::from_millis(1)).contains(&at.since_epoch())
        }));
        assert!(done.is_sorted() && !done.is_sorted_by_key(|(_, job)| job), "{done:?}");
    }
    assert_ne!(one, other);
    assert_eq!(run(&Sim::new(1), 8).1, one);
    // One more changes nothing about those before it.
    let (_, more) = run(&Sim::new(1), 9);
    assert!(one.iter().all(|it| more.contains(it)));
}

#[test]
fn how_long_they_take_can_be_said() {
    let (_, done) = run(&Sim::new(1).executor(Duration::from_millis(5)), 3);
    let at = Time::ZERO + Duration::from_millis(5);
    assert_eq!(done, [(at, 0), (at, 1), (at, 2)]);
}

#[test]
fn a_plan_says_how_much_longer_than_the_least_a_job_takes() {
    let plan: Plan = "job-delay a@1/executor nr 1 +3ms".parse().unwrap();
    assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
    let (report, done) = run(&Sim::new(1).replay(&plan).unwrap(), 3);
    let at = |micros| Time::ZERO + Duration::from_micros(micros);
    assert_eq!(done, [(at(10), 0), (at(10), 2), (at(3_010), 1)]);
    assert_eq!(report.bindings.to_string(), "bound 1 of 1");
}

#[test]
fn a_recorded_run_is_the_same_again() {
    let (recorded, done) = run(&Sim::new(7).record(Recording::new()), 8);
    let plan = recorded.recording.unwrap();
    let text = plan.to_string();
    assert_eq!(text.lines().filter(|line| line.starts_with("job-delay a@1/executor")).count(), 8);
    let (replayed, again) = run(&Sim::new(7).replay(&text.parse().unwrap()).unwrap(), 8);
    assert_eq!((replayed.hash, again), (recorded.hash, done));
    assert_eq!(replayed.bindings.to_string(), "bound 8 of 8");
}

#[test]
fn a_crash_takes_the_jobs_of_its_host() {
    let done = Arc::new(AtomicU32::new(0));
    let in_world = Arc::clone(&done);
    let plan = Plan::new().crash(Duration::from_millis(2), "a", Duration::from_millis(20));
    let sim = Sim::new(1).executor(Duration::from_millis(5)).plan(&plan).unwrap();
    let report = sim.run(move |world| async move {
        let in_job = Arc::clone(&in_world);
        world.boot("a", move |lp| {
            let in_job = Arc::clone(&in_job);
            async move {
                drop(lp.run_in_executor(move || in_job.fetch_add(1, Ordering::Relaxed))?);
                io::Result::Ok(())
            }
        });
        world.sleep(Duration::from_millis(21)).await;
        assert_eq!(in_world.load(Ordering::Relaxed), 0);
        world.sleep(Duration::from_millis(20)).await;
    });
    report.unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

/// A job that nobody awaits is left over at the end, and who gave it away is named.
#[test]
fn a_job_that_is_not_done_is_told_with_its_place() {
    let sim = Sim::new(1).leftovers(true).executor(Duration::from_secs(1));
    let report = sim.run(|world| async move {
        drop(world.host("a").run_in_executor(|| ()).unwrap());
    });
    let told = report.outcome.unwrap_err().to_string();
    assert!(told.contains("it/jobs.rs"), "{told}");
}
