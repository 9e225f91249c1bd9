//! Futures (B.1).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use sim_core::{FutureError, LoopFuture};
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::awaiting::run;
use crate::loops::{note, reports_of, run_a_turn};

/// Registers a callback that adds an entry to a log.
fn note_done(future: &LoopFuture<u32>, log: &Log, entry: &'static str) -> sim_core::DoneCallbackId {
    let log = log.clone();
    future.add_done_callback(move |_| log.push(entry))
}

fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

both_bare_loops! {
    /// B-01: a future changes once, whatever is tried afterwards.
    fn a_future_changes_once(make: Make) {
        let lp = make.new_loop();
        let finished = lp.create_future::<u32>();
        assert!(!finished.done());
        finished.set_result(1).unwrap();
        assert!(finished.done() && !finished.cancelled());
        assert!(matches!(finished.set_result(2), Err(FutureError::InvalidState)));
        assert!(matches!(finished.set_exception(broken()), Err(FutureError::InvalidState)));
        assert!(!finished.cancel());
        assert_eq!(finished.result().unwrap(), 1);

        let cancelled = lp.create_future::<u32>();
        assert!(cancelled.cancel());
        assert!(!cancelled.cancel());
        assert!(cancelled.done() && cancelled.cancelled());
        assert!(matches!(cancelled.set_result(2), Err(FutureError::InvalidState)));
    }

    /// B-02: a pending future has no result to read, a cancelled one says so.
    fn reading_a_result_too_early_is_an_error(make: Make) {
        let lp = make.new_loop();
        let future = lp.create_future::<u32>();
        assert!(matches!(future.result(), Err(FutureError::InvalidState)));
        assert!(matches!(future.exception(), Err(FutureError::InvalidState)));
        future.cancel();
        assert!(matches!(future.result(), Err(FutureError::Cancelled)));
        assert!(matches!(future.exception(), Err(FutureError::Cancelled)));

        let failed = lp.create_future::<u32>();
        failed.set_exception(broken()).unwrap();
        let error = failed.exception().unwrap().expect("it has an error");
        assert_eq!(error.get().kind(), io::ErrorKind::BrokenPipe);
        assert!(matches!(failed.result(), Err(FutureError::Failed(_))));
    }

    /// B-03: callbacks are queued one by one, in order of registration and among other handles.
    fn completion_queues_a_handle_per_callback(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let future = lp.create_future::<u32>();
        let (handle, between) = ((*lp).clone(), log.clone());
        future.add_done_callback(move |future| {
            between.push(format!("first {}", future.result().unwrap()));
            handle.call_soon(note(&between, "queued by the first"));
        });
        note_done(&future, &log, "second");
        lp.call_soon(note(&log, "queued before"));
        future.set_result(7).unwrap();
        lp.call_soon(note(&log, "queued after"));
        log.push("set_result returned");
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["set_result returned", "queued before", "first 7", "second", "queued after"]);
        run_a_turn(&lp);
        assert_eq!(log.entries().last().unwrap(), "queued by the first");
    }

    /// B-04: a callback of a future that is done is queued at once, not called.
    fn a_late_callback_is_queued(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let future = lp.create_future::<u32>();
        future.cancel();
        note_done(&future, &log, "late");
        assert_eq!(log.text(), "");
        run_a_turn(&lp);
        assert_eq!(log.text(), "late");
    }

    /// B-03, B-04: a callback that registers another one has it called in the next turn.
    fn a_callback_registered_by_a_callback_waits_a_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let future = lp.create_future::<u32>();
        let inner = log.clone();
        future.add_done_callback(move |future| {
            note_done(future, &inner, "inner");
            inner.push("outer");
        });
        future.set_result(0).unwrap();
        run_a_turn(&lp);
        assert_eq!(log.text(), "outer");
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["outer", "inner"]);
    }

    /// B-05: removing works once, and not any more when the callback is queued.
    fn a_removed_callback_is_not_called(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let future = lp.create_future::<u32>();
        let removed = note_done(&future, &log, "removed");
        let kept = note_done(&future, &log, "kept");
        assert_eq!(future.remove_done_callback(removed), 1);
        assert_eq!(future.remove_done_callback(removed), 0);
        let late = Rc::new(RefCell::new(None));
        let id = Rc::clone(&late);
        future.add_done_callback(move |future| {
            let id = id.borrow().expect("it was set");
            assert_eq!(future.remove_done_callback(id), 0);
        });
        late.replace(Some(note_done(&future, &log, "queued already")));
        future.set_result(0).unwrap();
        assert_eq!(future.remove_done_callback(kept), 0);
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["kept", "queued already"]);
    }

    /// B-05: an id removes its own callback, never what waits for another future, be it of another loop.
    fn an_id_of_another_future_removes_nothing(make: Make) {
        let (lp, other_lp, log) = (make.new_loop(), make.new_loop(), Log::new());
        let (future, awaited, called) = (lp.create_future(), lp.create_future(), lp.create_future());
        let id = note_done(&future, &log, "own");
        let waits = awaited.clone();
        let task = lp.create_task(async move { waits.await.unwrap() });
        run_a_turn(&lp);
        note_done(&called, &log, "another's");
        let far = other_lp.create_future();
        let far_id = note_done(&far, &log, "another loop's");
        assert_ne!(id, far_id);
        for other in [&awaited, &called, &far] {
            assert_eq!(other.remove_done_callback(id), 0);
            other.set_result(7).unwrap();
        }
        run_a_turn(&other_lp);
        run_a_turn(&lp);
        assert_eq!((log.text().as_str(), task.done()), ("another loop's another's", true));
        assert_eq!(future.remove_done_callback(far_id), 0);
        assert_eq!(future.remove_done_callback(id), 1);
    }

    /// B-06: a callback that panics is reported, and the others run.
    fn a_panic_in_a_callback_costs_that_callback(make: Make) {
        let (lp, log) = (make.containing_loop(), Log::new());
        let reports = reports_of(&lp);
        let future = lp.create_future::<u32>();
        future.add_done_callback(|_| panic!("bad callback"));
        note_done(&future, &log, "the next");
        future.set_result(0).unwrap();
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["the next"]);
        assert_eq!(reports.entries(), ["Exception in callback"]);
    }

    /// B-07: an error that nobody looked at is reported once, when the last handle is dropped.
    fn an_error_that_nobody_retrieved_is_reported(make: Make) {
        let lp = make.new_loop();
        let reports = reports_of(&lp);
        let future = lp.create_future::<u32>();
        let other = future.clone();
        future.set_exception(broken()).unwrap();
        drop(future);
        assert_eq!(reports.text(), "");
        drop(other);
        assert_eq!(reports.entries(), ["Future exception was never retrieved"]);
    }

    /// B-07: reading, awaiting and cancelling count as retrieving.
    fn an_error_that_somebody_saw_is_not_reported(make: Make) {
        let lp = make.new_loop();
        let reports = reports_of(&lp);
        let failed = || {
            let future = lp.create_future::<u32>();
            future.set_exception(broken()).unwrap();
            future
        };
        assert!(failed().result().is_err());
        assert!(failed().exception().is_ok());
        assert!(!failed().cancel());
        assert!(lp.run_until_complete(failed()).unwrap().is_err());
        assert_eq!(reports.text(), "");
    }

    /// B-11: the waiters of a future get its value, each a copy, and later ones get it at once.
    fn a_future_may_be_awaited_by_many_and_again(make: Make) {
        let values = run(make, async |lp| {
            let future = lp.create_future::<String>();
            let early: Vec<_> = (0..3).map(|_| lp.create_task(future.clone())).collect();
            lp.sleep(std::time::Duration::ZERO).await;
            future.set_result("value".to_owned()).unwrap();
            let mut values = Vec::new();
            for task in early {
                values.push(task.await.unwrap().unwrap());
            }
            values.push(future.clone().await.unwrap());
            values.push(future.await.unwrap());
            values
        });
        assert_eq!(values, ["value"; 5]);
    }
}
