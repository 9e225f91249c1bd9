//! Start, stop and close (A.1).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use sim_core::driver::{Family, SocketKind};
use sim_core::{
    Cx, Eof, ErrorContext, EventLoop, Loop, PanicPolicy, Protocol, RunError, Socket, TaskError,
    Time,
};
use tests::both_bare_loops;
use tests::harness::Make;
use tests::recorder::{Log, Recorder};

use crate::loops::{NoteDrop, ms, note, note_soon, panic_of, reports_of, run_a_turn, run_for};

/// A future that logs that it was polled.
async fn noted(log: Log, entry: &'static str) {
    log.push(entry);
}

/// Gives up one turn.
async fn a_turn(lp: &Loop) {
    lp.sleep(ms(0)).await;
}

/// What a future that must not wait yields.
#[track_caller]
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

both_bare_loops! {
    /// a closed loop does not run, and polls nothing that it is given.
    fn a_closed_loop_does_not_run(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        note_soon(&lp, &log, &["queued"]);
        lp.close().unwrap();
        assert!(matches!(lp.run_forever(), Err(RunError::Closed)));
        let dropped = NoteDrop(log.clone(), "dropped");
        let polled = noted(log.clone(), "polled");
        let outcome = lp.run_until_complete(async move {
            polled.await;
            drop(dropped);
        });
        assert!(matches!(outcome, Err(RunError::Closed)));
        assert!(!lp.is_running());
        assert_eq!(log.text(), "dropped");
    }

    /// a loop that runs does not run again inside itself, and goes on running.
    fn a_running_loop_refuses_to_run_again(make: Make) {
        let (lp, log) = (Rc::new(make.new_loop()), Log::new());
        let (inner, seen) = (Rc::clone(&lp), log.clone());
        lp.call_soon(move || {
            assert!(matches!(inner.run_forever(), Err(RunError::AlreadyRunning)));
            let polled = noted(seen.clone(), "polled");
            let nested = inner.run_until_complete(polled);
            assert!(matches!(nested, Err(RunError::AlreadyRunning)));
            assert!(inner.is_running());
            seen.push("refused");
        });
        let inner = Rc::clone(&lp);
        let from_a_task = lp.run_until_complete(async move { inner.run_forever() });
        assert!(matches!(from_a_task, Ok(Err(RunError::AlreadyRunning))));
        run_a_turn(&lp);
        assert_eq!(log.text(), "refused");
    }

    /// one loop a thread on the real loop; in the simulator, one a world, and each bare loop
    /// is a world.
    fn a_second_loop_inside_a_running_one(make: Make) {
        let (outer, inner) = (make.new_loop(), Rc::new(make.new_loop()));
        let nested = Rc::clone(&inner);
        let ran = outer.run_until_complete(async move { nested.run_until_complete(async { 7 }) });
        match (make, ran.unwrap()) {
            (Make::Sim, Ok(7)) | (Make::Real, Err(RunError::AlreadyRunning)) => {}
            (make, other) => panic!("{make:?}: {other:?}"),
        }
        assert_eq!(inner.run_until_complete(async { 8 }).unwrap(), 8);
        let other = std::thread::spawn(move || make.new_loop().run_until_complete(async { 9 }));
        assert_eq!(other.join().unwrap().unwrap(), 9);
    }

    /// a loop of the other kind may run inside a callback, but what it runs does not hide the
    /// loop that is running around it.
    fn a_loop_between_does_not_hide_the_running_one(make: Make) {
        let (outer, inner) = (make.new_loop(), make.new_loop());
        let between = match make {
            Make::Sim => Make::Real,
            Make::Real => Make::Sim,
        };
        let ran = outer.run_until_complete(async move {
            between.new_loop().run_until_complete(async move {
                inner.run_until_complete(async { 7 })
            })
        });
        match (make, ran.unwrap().unwrap()) {
            (Make::Sim, Ok(7)) | (Make::Real, Err(RunError::AlreadyRunning)) => {}
            (make, other) => panic!("{make:?}: {other:?}"),
        }
    }

    /// what is entered from outside is not a loop that runs.
    fn a_destructor_outside_any_run_may_run_another_loop(make: Make) {
        struct RunsALoop(EventLoop, Log);
        impl Drop for RunsALoop {
            fn drop(&mut self) {
                self.1.push(format!("{:?}", self.0.run_until_complete(async { 7 })));
            }
        }
        let (lp, log) = (make.new_loop(), Log::new());
        let runs = RunsALoop(make.new_loop(), log.clone());
        lp.call_soon(move || drop(runs));
        lp.close().unwrap();
        assert_eq!(log.text(), "Ok(7)");
    }

    /// TR-30, TR-31: all of the snapshot runs after `stop`; what it queued waits for the
    /// next run, in order, and then the timers that are due.
    fn stop_finishes_the_turn_and_nothing_else(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let (handle, stop, seen) = (lp.clone(), lp.stop_handle(), log.clone());
        lp.call_soon(move || {
            seen.push("A");
            handle.call_later(ms(0), note(&seen, "A.timer")).detach();
            handle.call_soon(note(&seen, "A.first"));
            stop.stop();
            stop.stop();
            handle.call_soon(note(&seen, "A.second"));
        });
        note_soon(&lp, &log, &["B", "C"]);
        lp.run_forever().unwrap();
        assert_eq!(log.text(), "A B C");
        run_a_turn(&lp);
        assert_eq!(log.text(), "A B C A.first A.second A.timer");
    }

    /// a handle that costs time does not end the turn that `stop` was called in.
    fn stop_finishes_a_turn_that_takes_its_time(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        for name in ["A", "B", "C"] {
            let (handle, stop, seen) = (lp.clone(), lp.stop_handle(), log.clone());
            lp.call_soon(move || {
                seen.push(name);
                handle.spend(ms(1));
                handle.call_soon(note(&seen, "later"));
                stop.stop();
            });
        }
        lp.run_forever().unwrap();
        assert_eq!(log.text(), "A B C");
        assert!(lp.time() >= Time::ZERO + ms(2), "{:?}", lp.time());
        run_a_turn(&lp);
        assert_eq!(log.text(), "A B C later later later");
    }

    /// a stop before the run lets one turn run, and no more; the flag is clear then.
    fn a_stop_before_the_run_lets_one_turn_run(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let (handle, seen) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            handle.call_soon(note(&seen, "child"));
        });
        let _past = lp.call_at(Time::ZERO, note(&log, "past"));
        let _due = lp.call_later(ms(0), note(&log, "due"));
        let _far = lp.call_later(ms(3_600_000), note(&log, "far"));
        lp.stop();
        lp.stop();
        lp.run_forever().unwrap();
        assert_eq!(log.text(), "past due");
        let (stop, seen) = (lp.stop_handle(), log.clone());
        let _end = lp.call_later(ms(1), move || {
            seen.push("end");
            stop.stop();
        });
        lp.run_forever().unwrap();
        assert_eq!(log.text(), "past due child end");
    }

    /// with the flag set the poll does not wait for a far timer.
    fn a_stopped_loop_does_not_wait(make: Make) {
        let lp = make.new_loop();
        let _far = lp.call_later(ms(3_600_000), || panic!("an hour passed"));
        run_a_turn(&lp);
        let stop = lp.stop_handle();
        lp.call_soon(move || stop.stop());
        lp.run_forever().unwrap();
        assert!(lp.time() < Time::ZERO + ms(3_600_000));
        if let Make::Sim = make {
            assert_eq!(lp.time(), Time::ZERO);
        }
    }

    /// `stop` is legal in every state.
    fn stop_is_legal_on_a_closed_loop(make: Make) {
        let lp = make.new_loop();
        let reports = reports_of(&lp);
        let stop = lp.stop_handle();
        lp.close().unwrap();
        lp.stop();
        stop.stop();
        assert!(matches!(lp.run_forever(), Err(RunError::Closed)));
        assert_eq!(reports.text(), "");
    }

    /// `is_running` from entry to exit, in callbacks, timers, tasks and handlers.
    fn a_loop_is_running_inside_everything_that_it_runs(make: Make) {
        let lp = make.containing_loop();
        let (stop, log) = (lp.stop_handle(), Log::new());
        let noted = |what: &'static str| {
            let (stop, log) = (stop.clone(), log.clone());
            move || log.push(format!("{what}:{}", stop.is_running()))
        };
        noted("before")();
        lp.call_soon(noted("soon"));
        let _timer = lp.call_later(ms(0), noted("timer"));
        let handler = noted("handler");
        lp.set_exception_handler(Some(Rc::new(move |_, _: &ErrorContext| handler())));
        lp.call_soon(|| panic!("ouch"));
        let task = noted("task");
        lp.run_until_complete(async move { task() }).unwrap();
        noted("after")();
        assert_eq!(
            log.text(),
            "before:false soon:true handler:true task:true timer:true after:false"
        );
    }

    /// a panic that ends the run leaves the loop stopped; the rest of the snapshot runs
    /// first in the next run, and nothing is reported.
    fn a_panic_that_ends_the_run_keeps_the_rest_of_the_turn(make: Make) {
        let lp = make.new_loop();
        lp.set_panic_policy(PanicPolicy::EndRun);
        let (log, reports) = (Log::new(), reports_of(&lp));
        let (handle, seen) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            seen.push("A");
            handle.call_soon(note(&seen, "A.child"));
            panic!("ouch");
        });
        note_soon(&lp, &log, &["B", "C"]);
        let _timer = lp.call_later(ms(0), note(&log, "timer"));
        assert_eq!(panic_of(|| lp.run_forever()), "ouch");
        assert!(!lp.is_running());
        assert_eq!(log.text(), "A");
        run_a_turn(&lp);
        assert_eq!(log.text(), "A B C timer A.child");
        assert_eq!((reports.text(), lp.report_count()), (String::new(), 0));
    }

    /// a panic in a task's step goes through `run_until_complete`, and costs no other task.
    fn a_panic_in_a_task_ends_the_run(make: Make) {
        let lp = make.new_loop();
        lp.set_panic_policy(PanicPolicy::EndRun);
        let (log, reports) = (Log::new(), reports_of(&lp));
        let run = || lp.run_until_complete(async { panic!("ouch") });
        lp.create_task(noted(log.clone(), "before"));
        assert_eq!(panic_of(run), "ouch");
        lp.create_task(noted(log.clone(), "after"));
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!((log.text(), reports.text()), ("before after".into(), String::new()));
    }

    /// a connection in whose callbacks a panic ended the run goes on in the next: it is open, reads on, and
    /// comes to its end.
    fn a_connection_goes_on_behind_panics_that_ended_runs(make: Make) {
        struct Stumbles(Log);
        impl Stumbles {
            fn stumble(&self, callback: &str) {
                self.0.push(callback);
                panic!("{callback}");
            }
        }
        impl Protocol for Stumbles {
            fn connection_made(&mut self, _: &mut Cx<'_, Self>) {
                self.stumble("CM");
            }
            fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
                assert_eq!(data, b"hello");
                self.stumble("DR");
            }
            fn eof_received(&mut self, _: &mut Cx<'_, Self>) -> Eof {
                self.0.push("ER");
                Eof::Close
            }
            fn connection_lost(&mut self, _: &mut Cx<'_, Self>, error: Option<io::Error>) {
                self.0.push(format!("CL({})", error.is_some()));
            }
        }
        let lp = make.new_loop();
        lp.set_panic_policy(PanicPolicy::EndRun);
        let (log, handle) = (Log::new(), (*lp).clone());
        let heard = log.clone();
        let listen = async move {
            handle.create_server(("127.0.0.1", 0), move || Stumbles(heard.clone())).await
        };
        let server = lp.run_until_complete(listen).unwrap().unwrap();
        let (handle, at) = ((*lp).clone(), server.sockets()[0]);
        let connect = lp.create_task(async move {
            let peer = handle.create_connection(at, || Recorder::new(&Log::new())).await?;
            peer.transport().write(b"hello");
            peer.transport().close();
            peer.closed().await
        });
        assert_eq!(panic_of(|| lp.run_forever()), "CM");
        assert_eq!(panic_of(|| lp.run_forever()), "DR");
        lp.run_until_complete(connect).unwrap().unwrap().unwrap();
        run_for(&lp, ms(50));
        assert_eq!(log.text(), "CM DR ER CL(false)");
    }

    /// a run that a stop ended says so.
    fn a_stopped_run_has_no_value(make: Make) {
        let lp = make.new_loop();
        let (stop, never) = (lp.stop_handle(), lp.create_future::<()>());
        lp.call_soon(move || stop.stop());
        assert!(matches!(lp.run_until_complete(never), Err(RunError::Stopped)));
        assert!(!lp.is_running());
        assert_eq!(lp.run_until_complete(async { "value" }).unwrap(), "value");
    }

    /// J-31: the end of an abandoned future does not stop a later run.
    fn an_abandoned_future_does_not_stop_a_later_run(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let future = lp.create_future::<u32>();
        let stop = lp.stop_handle();
        lp.call_soon(move || stop.stop());
        let (waits, seen) = (future.clone(), log.clone());
        let outcome = lp.run_until_complete(async move {
            waits.await.unwrap();
            seen.push("abandoned");
        });
        assert!(matches!(outcome, Err(RunError::Stopped)));
        future.set_result(1).unwrap();
        let (handle, seen) = (lp.clone(), log.clone());
        lp.run_until_complete(async move {
            for turn in ["1", "2", "3", "4"] {
                a_turn(&handle).await;
                seen.push(turn);
            }
        })
        .unwrap();
        assert_eq!(log.text(), "abandoned 1 2 3 4");
    }

    /// a future that is done already takes exactly one turn.
    fn a_future_that_is_done_takes_one_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let done = lp.create_future::<u32>();
        done.set_result(5).unwrap();
        let (handle, seen) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            seen.push("queued");
            handle.call_soon(note(&seen, "child"));
        });
        let _due = lp.call_later(ms(0), note(&log, "due"));
        assert_eq!(lp.run_until_complete(done.clone()).unwrap().unwrap(), 5);
        assert_eq!(log.text(), "queued due");
        assert_eq!(lp.run_until_complete(done).unwrap().unwrap(), 5);
        assert_eq!(log.text(), "queued due child");
    }

    /// what finishes in the step that stops succeeds; what needs another turn does not, and the
    /// end of that one does not stop the next run.
    fn completion_is_judged_after_the_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let stop = lp.stop_handle();
        let finishes = lp.run_until_complete(async move {
            stop.stop();
            1
        });
        assert_eq!(finishes.unwrap(), 1);

        let (stop, handle) = (lp.stop_handle(), lp.clone());
        let finishes_late = lp.run_until_complete(async move {
            a_turn(&handle).await;
            stop.stop();
            2
        });
        assert_eq!(finishes_late.unwrap(), 2);

        let (stop, handle, seen) = (lp.stop_handle(), lp.clone(), log.clone());
        let needs_another = lp.run_until_complete(async move {
            stop.stop();
            a_turn(&handle).await;
            seen.push("finished");
        });
        assert!(matches!(needs_another, Err(RunError::Stopped)));
        assert_eq!(log.text(), "");
        run_for(&lp, ms(1));
        assert_eq!(log.text(), "finished");
        let (stop, seen) = (lp.stop_handle(), log.clone());
        let (handle, second) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            seen.push("first");
            handle.call_soon(move || {
                second.push("second");
                stop.stop();
            });
        });
        lp.run_forever().unwrap();
        assert_eq!(log.text(), "finished first second");
    }

    /// a run tells how the future's task ended.
    fn a_run_tells_how_its_task_ended(make: Make) {
        let lp = make.containing_loop();
        let reports = reports_of(&lp);
        let panicked = lp.run_until_complete(async { panic!("ouch {}", 1) });
        assert!(matches!(panicked, Err(RunError::Panicked(text)) if text == "ouch 1"));
        assert_eq!(reports.text(), "Exception in task");
        let task = lp.create_task(poll_fn(|_| Poll::<u32>::Pending));
        task.cancel();
        assert_eq!(lp.run_until_complete(task).unwrap(), Err(TaskError::Cancelled));
    }

    /// `close` fails while the loop runs; then it discards what is queued, once.
    fn a_running_loop_cannot_be_closed(make: Make) {
        let (lp, log) = (Rc::new(make.new_loop()), Log::new());
        let inner = Rc::clone(&lp);
        lp.run_until_complete(async move {
            assert!(matches!(inner.close(), Err(RunError::AlreadyRunning)));
            assert!(!inner.is_closed());
        })
        .unwrap();
        let kept = NoteDrop(log.clone(), "discarded");
        lp.call_soon(move || drop(kept));
        assert!(!lp.is_closed());
        lp.close().unwrap();
        lp.close().unwrap();
        assert!(lp.is_closed());
        assert_eq!(log.text(), "discarded");
    }

    /// what is queued and scheduled is dropped in order of creation, without running.
    fn close_discards_what_is_scheduled_in_order(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let dropping = |name: &'static str| {
            let kept = NoteDrop(log.clone(), name);
            move || {
                kept.0.push("ran");
                drop(kept);
            }
        };
        let first = lp.call_later(ms(1), dropping("1"));
        lp.call_later(ms(9), dropping("2")).detach();
        lp.call_soon(dropping("3"));
        first.cancel();
        lp.call_soon(dropping("4"));
        lp.call_later(ms(0), dropping("5")).detach();
        lp.call_at(Time::NEVER, dropping("6")).detach();
        lp.close().unwrap();
        assert_eq!(log.text(), "1 2 3 4 5 6");
    }

    /// a destructor that calls back while the loop closes meets a closed loop.
    fn a_destructor_may_call_back_while_the_loop_closes(make: Make) {
        struct CallsBack(Loop, Log);
        impl Drop for CallsBack {
            fn drop(&mut self) {
                let (log, again) = (self.1.clone(), self.1.clone());
                self.0.call_soon(move || log.push("ran"));
                assert!(self.0.call_later(ms(0), move || again.push("ran")).cancelled());
                self.1.push(if self.0.is_closed() { "closed" } else { "open" });
            }
        }
        let (lp, log) = (make.new_loop(), Log::new());
        let reports = reports_of(&lp);
        for _ in 0..2 {
            let calls = CallsBack(lp.clone(), log.clone());
            lp.call_soon(move || drop(calls));
        }
        lp.close().unwrap();
        assert_eq!(log.text(), "closed closed");
        assert_eq!(reports.entries().len(), 4);
    }

    /// after the close callbacks are dropped, handles are cancelled ones, and each call is
    /// reported once.
    fn a_closed_loop_drops_what_it_gets_and_reports_it(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let reports = reports_of(&lp);
        lp.close().unwrap();
        let dropping = |name: &'static str| {
            let kept = NoteDrop(log.clone(), name);
            move || drop(kept)
        };
        let soon = lp.call_soon(dropping("soon"));
        let later = lp.call_later(ms(5), dropping("later"));
        let at = lp.call_at(Time::from_nanos(7), dropping("at"));
        assert_eq!(log.text(), "soon later at");
        assert!(soon.cancelled() && later.cancelled() && at.cancelled());
        assert_eq!(at.when(), Time::from_nanos(7));
        soon.cancel();
        later.detach();
        drop(at);
        assert_eq!(reports.entries().len(), 3);
        let kept = NoteDrop(log.clone(), "task");
        let task = lp.create_task(async move { drop(kept) });
        assert!(task.done() && task.cancelled());
        assert_eq!(task.take_result(), Some(Err(TaskError::Cancelled)));
        assert_eq!((log.text().as_str(), lp.report_count()), ("soon later at task", 4));
        for report in reports.entries() {
            assert!(report.contains("closed event loop"), "{report}");
        }
    }

    /// what returns a result returns an error on a closed loop.
    fn a_closed_loop_answers_with_errors(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let reports = reports_of(&lp);
        lp.close().unwrap();
        let addr = ("127.0.0.1", 7);
        let recorder = || Recorder::new(&log);
        let made = log.clone();
        let errors: [io::Error; 4] = [
            at_once(lp.create_connection(addr, recorder)).unwrap_err(),
            at_once(lp.create_server(addr, move || Recorder::new(&made))).unwrap_err(),
            at_once(lp.getaddrinfo(addr)).unwrap_err(),
            Socket::open(&lp, SocketKind::Stream, Family::V4).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("closed"), "{error}");
        }
        assert_eq!((log.text(), reports.text()), (String::new(), String::new()));
    }

    /// the clock, the flags, futures and reports work on a closed loop.
    fn a_closed_loop_still_answers(make: Make) {
        let lp = make.new_loop();
        let reports = reports_of(&lp);
        lp.set_debug(true);
        lp.close().unwrap();
        assert!(lp.time() <= lp.time());
        assert!(lp.debug());
        let future = lp.create_future::<u32>();
        future.set_result(3).unwrap();
        assert_eq!(future.result().unwrap(), 3);
        lp.call_exception_handler(ErrorContext::message("by hand"));
        assert_eq!(reports.text(), "by hand");
    }

    /// tasks that are pending when a loop closes stay so, and are reported once each, in order
    /// of creation, when they are dropped with the loop.
    fn pending_tasks_are_reported_when_the_loop_is_dropped(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let reports = reports_of(&lp);
        let never = lp.create_future::<()>();
        let pending = |name: &'static str| {
            let (never, kept) = (never.clone(), NoteDrop(log.clone(), name));
            lp.create_named_task(name, async move {
                never.await.unwrap();
                drop(kept);
            })
        };
        let finished = lp.create_named_task("finished", async {});
        let tasks = [pending("first"), pending("second")];
        run_a_turn(&lp);
        drop(finished);
        // It takes over the place of the one that finished, and is younger all the same.
        let unborn = pending("unborn");
        lp.close().unwrap();
        assert!(tasks.iter().all(|task| !task.done()) && !unborn.done());
        assert_eq!((log.text(), reports.text()), (String::new(), String::new()));
        drop(lp);
        assert_eq!(log.text(), "first second unborn");
        let names = ["first", "second", "unborn"];
        let expected =
            names.map(|name| format!("Task was destroyed but it is pending: {name}")).to_vec();
        assert_eq!(reports.entries(), expected);
    }

    /// a loop that is dropped without `close` is closed, and so are its handles.
    fn dropping_a_loop_closes_it(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let (handle, stop) = (lp.clone(), lp.stop_handle());
        let kept = NoteDrop(log.clone(), "discarded");
        let timer = lp.call_later(ms(5), move || drop(kept));
        drop(lp);
        assert_eq!(log.text(), "discarded");
        assert!(handle.is_closed() && !stop.is_running() && !timer.cancelled());
        stop.stop();
        assert!(handle.call_soon(|| {}).cancelled());
    }

    /// a task may be dropped with the loop while its own destructor calls back.
    fn a_task_dropped_with_the_loop_may_call_back(make: Make) {
        struct Calls(Loop, Log);
        impl Drop for Calls {
            fn drop(&mut self) {
                assert!(self.0.call_soon(|| {}).cancelled());
                assert!(self.0.create_task(async {}).cancelled());
                self.1.push("called");
            }
        }
        let (lp, log) = (make.new_loop(), Log::new());
        let calls = Calls(lp.clone(), log.clone());
        let seen = Rc::new(RefCell::new(Some(calls)));
        let (held, slept) = (Rc::clone(&seen), Rc::new(Cell::new(false)));
        let (handle, flag) = (lp.clone(), Rc::clone(&slept));
        lp.create_task(async move {
            let _calls = held.borrow_mut().take();
            handle.sleep(ms(60_000)).await;
            flag.set(true);
        });
        run_a_turn(&lp);
        drop(lp);
        assert_eq!((log.text().as_str(), slept.get()), ("called", false));
    }
}
