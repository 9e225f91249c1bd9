//! The runner, and the executor that it waits for (I, A.1, G.5).

use std::future::pending;
use std::io;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use real_net::{Remote, ThreadPool};
use sim_core::{Executor, Loop, RunError, Runner, Signal, TaskError, catch_cancel};
use tests::alone::alone;
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::awaiting::turns;
use crate::loops::{ms, reports_of};

/// The same program for either loop.
async fn program(lp: Loop) -> &'static str {
    lp.sleep(ms(1)).await;
    "done"
}

both_bare_loops! {
    /// I-04: the same program runs on either loop by one value.
    fn a_program_runs_on_either_loop(make: Make) {
        assert_eq!(Runner::new(make.new_loop()).run(program).unwrap(), "done");
    }

    /// I-05: several runs share one loop, and what one leaves behind goes on in the next.
    fn several_runs_share_a_loop(make: Make) {
        let (runner, log) = (Runner::new(make.new_loop()), Log::new());
        let left = log.clone();
        runner.run(async |lp| {
            let handle = lp.clone();
            drop(lp.create_task(async move {
                handle.sleep(ms(5)).await;
                left.push("left behind");
            }));
        }).unwrap();
        assert_eq!(log.text(), "");
        runner.run(async |lp| lp.sleep(ms(20)).await).unwrap();
        assert_eq!(log.text(), "left behind");
    }

    /// I-05: a runner does not run inside a running loop.
    fn a_runner_does_not_run_inside_a_running_loop(make: Make) {
        let runner = Rc::new(Runner::new(make.new_loop()));
        let inner = Rc::clone(&runner);
        let outcome = runner.run(async move |_| (inner.run(program).unwrap_err(), inner.close().unwrap_err()));
        let (run, close) = outcome.unwrap();
        assert!(matches!(run, RunError::AlreadyRunning), "{run}");
        assert!(matches!(close, RunError::AlreadyRunning), "{close}");
    }

    /// I-05: at the end the tasks that are left are cancelled and waited for, and the loop is closed; closing
    /// again does nothing, and running is refused.
    fn closing_cancels_and_waits(make: Make) {
        let (runner, log) = (Runner::new(make.new_loop()), Log::new());
        let tidies = log.clone();
        runner.run(async |lp| {
            let handle = lp.clone();
            drop(lp.create_task(async move {
                catch_cancel(pending::<()>()).await.unwrap_err();
                tidies.push("cancelled");
                handle.sleep(ms(5)).await;
                tidies.push("tidied");
            }));
            turns(&lp, 2).await;
        }).unwrap();
        assert_eq!(log.text(), "");
        runner.close().unwrap();
        assert_eq!(log.entries(), ["cancelled", "tidied"]);
        assert!(runner.event_loop().is_closed());
        runner.close().unwrap();
        assert!(matches!(runner.run(program), Err(RunError::Closed)));
    }

    /// I-05: a runner that is dropped closes its loop.
    fn dropping_a_runner_closes_it(make: Make) {
        let (runner, log) = (Runner::new(make.new_loop()), Log::new());
        let tidies = log.clone();
        runner.run(async |lp| {
            drop(lp.create_task(async move {
                catch_cancel(pending::<()>()).await.unwrap_err();
                tidies.push("cancelled");
            }));
            turns(&lp, 2).await;
        }).unwrap();
        drop(runner);
        assert_eq!(log.text(), "cancelled");
    }

    /// I-05: the panic of a task that was cancelled by the runner is reported.
    fn a_panic_while_closing_is_reported(make: Make) {
        let runner = Runner::new(make.containing_loop());
        let reports = reports_of(runner.event_loop());
        runner.run(async |lp| {
            drop(lp.create_named_task("stubborn", async {
                catch_cancel(pending::<()>()).await.unwrap_err();
                panic!("I will not go quietly");
            }));
            turns(&lp, 2).await;
        }).unwrap();
        runner.close().unwrap();
        assert_eq!(reports.count("unhandled exception during the shutdown of a runner"), 1, "{reports:?}");
    }

    /// I-06: the first SIGINT cancels the program, which cleans up; the run ends as interrupted.
    fn the_first_interrupt_cancels_the_program(make: Make) {
        // An interrupt is the whole process's, and the other tests' runners would hear it.
        alone(make, module_path!(), || {
            let (runner, log) = (Runner::new(make.new_loop()), Log::new());
            let tidies = log.clone();
            let outcome = runner.run(async move |lp: Loop| {
                lp.raise_signal(Signal::INT).unwrap();
                let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                tidies.push("cleans up");
                lp.sleep(ms(1)).await;
                tidies.push("done");
                cancelled.raise::<()>().await;
            });
            assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
            assert_eq!(log.entries(), ["cleans up", "done"]);
            assert_eq!(runner.run(program).unwrap(), "done", "the next run knows nothing of it");
        });
    }

    /// I-06: a program that catches its cancellation and goes on to its end has a value.
    fn an_interrupt_may_be_caught(make: Make) {
        // An interrupt is the whole process's, and the other tests' runners would hear it.
        alone(make, module_path!(), || {
            let runner = Runner::new(make.new_loop());
            let outcome = runner.run(async |lp: Loop| {
                lp.raise_signal(Signal::INT).unwrap();
                catch_cancel(pending::<()>()).await.is_err()
            });
            assert!(outcome.unwrap());
        });
    }

    /// I-06: the second SIGINT ends the run at once.
    fn the_second_interrupt_ends_the_run(make: Make) {
        // An interrupt is the whole process's, and the other tests' runners would hear it.
        alone(make, module_path!(), || {
            let (runner, log) = (Runner::new(make.new_loop()), Log::new());
            let stubborn = log.clone();
            let outcome = runner.run(async move |lp: Loop| {
                for _ in 0..2 {
                    lp.raise_signal(Signal::INT).unwrap();
                    catch_cancel(pending::<()>()).await.unwrap_err();
                    stubborn.push("will not end");
                }
            });
            assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
            assert_eq!(log.text(), "will not end");
        });
    }

    /// I-06: a handler of the program's own has the signal instead, and outlives the run, whether it was there
    /// before or came in the middle.
    fn a_handler_of_the_programs_own_is_left_alone(make: Make) {
        // An interrupt is the whole process's, and the other tests' runners would hear it.
        alone(make, module_path!(), || {
            for before in [true, false] {
                let (runner, heard) = (Runner::new(make.new_loop()), Log::new());
                let add = |lp: &Loop| {
                    let heard = heard.clone();
                    lp.add_signal_handler(Signal::INT, move || heard.push("own")).unwrap();
                };
                if before {
                    add(runner.event_loop());
                }
                let ran = runner.run(|lp: Loop| {
                    if !before {
                        add(&lp);
                    }
                    async move {
                        lp.raise_signal(Signal::INT).unwrap();
                        lp.sleep(ms(5)).await;
                        "not cancelled"
                    }
                });
                assert_eq!(ran.unwrap(), "not cancelled");
                assert_eq!(heard.text(), "own");
                assert!(runner.event_loop().remove_signal_handler(Signal::INT));
            }
        });
    }

    /// G-62: a job's value comes back, and its panic is told to who waits.
    fn a_job_gives_back_its_value(make: Make) {
        let runner = Runner::new(make.new_loop());
        let (sum, panicked) = runner.run(async |lp| {
            let sum = lp.run_in_executor(|| (1..=10).sum::<u32>()).unwrap().await;
            let panicked = lp.run_in_executor(|| panic!("in a job")).unwrap();
            let panicked: Result<(), TaskError> = panicked.await;
            (sum, panicked)
        }).unwrap();
        assert_eq!(sum, Ok(55));
        assert!(matches!(panicked, Err(TaskError::Panicked(text)) if text.contains("in a job")));
    }

    /// G-62: giving up the future does not stop the job.
    fn a_job_runs_on_when_its_future_is_dropped(make: Make) {
        let runner = Runner::new(make.new_loop());
        let ran = Arc::new(AtomicU32::new(0));
        let runs = Arc::clone(&ran);
        runner.run(async |lp| {
            let job = move || { runs.fetch_add(1, Ordering::Relaxed); };
            drop(lp.run_in_executor(job).unwrap());
            lp.shutdown_default_executor().await;
        }).unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    }

    /// shutting the executor down waits for its jobs, and afterwards it refuses more.
    fn an_executor_that_is_shut_down_refuses(make: Make) {
        let runner = Runner::new(make.new_loop());
        let error = runner.run(async |lp| {
            lp.shutdown_default_executor().await;
            lp.run_in_executor(|| ()).unwrap_err()
        }).unwrap();
        assert_eq!(error.to_string(), "executor shutdown has been called");
        runner.close().unwrap();
        assert!(runner.event_loop().run_in_executor(|| ()).is_err());
        assert!(runner.event_loop().run_in(&ThreadPool::new(1), || ()).is_err());
    }
}

/// closing a loop does not wait for its executor.
// on: real
#[test]
fn closing_does_not_wait_for_the_executor() {
    let lp = real_net::new_loop().unwrap();
    let (go_on, waits) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel();
    let job = move || {
        waits.recv().unwrap();
        done.send(()).unwrap();
    };
    drop(lp.run_in_executor(job).unwrap());
    lp.close().unwrap();
    go_on.send(()).unwrap();
    is_done.recv().unwrap();
}

/// G-62: jobs run beside the loop and beside each other, on the threads of the pool that was chosen.
// on: real
#[test]
fn jobs_run_on_the_threads_of_a_pool() {
    let runner = Runner::new(real_net::new_loop().unwrap());
    let outcome: io::Result<Vec<bool>> = runner
        .run(async |lp| {
            lp.set_default_executor(ThreadPool::new(2))?;
            // Each needs the other: they run at once.
            let meet = Arc::new(std::sync::Barrier::new(2));
            let names = Arc::new(Mutex::new(Vec::new()));
            let job = || {
                let (meet, names) = (Arc::clone(&meet), Arc::clone(&names));
                move || {
                    names.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
                    meet.wait().is_leader()
                }
            };
            let (one, two) = (lp.run_in_executor(job())?, lp.run_in_executor(job())?);
            let leaders = vec![one.await.unwrap(), two.await.unwrap()];
            assert_eq!(*names.lock().unwrap(), [Some("executor".into()), Some("executor".into())]);
            assert_eq!(lp.run_in(&ThreadPool::new(1), || 7)?.await, Ok(7));
            Ok(leaders)
        })
        .unwrap();
    assert_eq!(outcome.unwrap().iter().filter(|is_leader| **is_leader).count(), 1);
}

/// G-62: a job of a pool that panics costs that job, and not the thread.
// on: real
#[test]
fn a_job_that_panics_costs_no_thread() {
    let lp = real_net::new_loop().unwrap();
    let pool = ThreadPool::new(1);
    pool.execute(Box::new(|| panic!("a job panics"))).unwrap();
    let job = lp.run_in(&pool, || 7).unwrap();
    assert_eq!(lp.run_until_complete(job).unwrap(), Ok(7));
}

/// I-05, A-70: while a runner ends, jobs and cleanups may still be waiting for what comes from another thread.
// on: real
#[test]
fn a_remote_works_until_its_runner_has_ended() {
    let runner = Runner::new(real_net::new_loop().unwrap());
    let reports = reports_of(runner.event_loop());
    let (begin, begins) = mpsc::channel::<()>();
    let called = runner
        .run(async |lp| {
            let remote = Remote::new(&lp);
            let (answer, answered) = mpsc::channel();
            drop(lp.run_in_executor(move || {
                begins.recv().unwrap();
                let (send, receive) = mpsc::channel();
                remote.call_soon(move |_| send.send("called").unwrap()).unwrap();
                answer.send(receive.recv().unwrap()).unwrap();
            }));
            // It is told to go on by what the end of the runner cancels.
            lp.create_task(async move {
                let on_drop = futures::channel::oneshot::channel::<()>();
                let _tells = Tells(begin);
                on_drop.1.await.ok();
                drop(on_drop.0);
            });
            lp.sleep(Duration::ZERO).await;
            answered
        })
        .unwrap();
    runner.close().unwrap();
    assert_eq!(called.recv().unwrap(), "called");
    assert_eq!(reports.text(), "");
}

/// Says so when it is dropped.
struct Tells(mpsc::Sender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

/// G-62: a simulated host has no threads, and says so.
// on: sim
#[test]
fn a_simulated_host_takes_no_threads() {
    let lp = sim_net::new_loop();
    let error = lp.set_default_executor(ThreadPool::new(1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(lp.run_in(&ThreadPool::new(1), || ()).is_err());
    let before = lp.time();
    let job = lp.run_in_executor(|| std::thread::current().id()).unwrap();
    assert_eq!(lp.run_until_complete(job).unwrap(), Ok(std::thread::current().id()));
    let takes = Duration::from_micros(10)..Duration::from_millis(1);
    assert!(takes.contains(&(lp.time() - before)));
}

/// the environment turns debug mode on, for the real loop.
// on: real
#[test]
fn the_environment_turns_debug_mode_on() {
    let wanted = std::env::var("LOOP_DEBUG").is_ok_and(|value| value == "1");
    assert_eq!(real_net::new_loop().unwrap().debug(), wanted);
    assert!(!sim_net::new_loop().debug(), "no environment reaches a simulation");
    for value in ["1", "0", ""] {
        if std::env::var("LOOP_DEBUG_CHILD").is_ok() {
            return;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "runners::the_environment_turns_debug_mode_on"]);
        let ended = child.env("LOOP_DEBUG", value).env("LOOP_DEBUG_CHILD", "1").output().unwrap();
        assert!(ended.status.success(), "{value:?}: {}", String::from_utf8_lossy(&ended.stdout));
    }
}
