//! Errors and debug mode (A.4).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sim_core::{ErrorContext, EventLoop, ExceptionHandler, Loop, PanicPolicy};
use tests::harness::Make;
use tests::recorder::{Log, Recorder};
use tests::{both_bare_loops, both_loops};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};

use crate::connected::connect;
use crate::loops::{ms, note, note_soon, reports_of, run_a_turn};

/// Keeps the reports of a loop.
fn contexts_of(lp: &Loop) -> Rc<RefCell<Vec<ErrorContext>>> {
    let contexts: Rc<RefCell<Vec<ErrorContext>>> = Rc::default();
    let heard = Rc::clone(&contexts);
    lp.set_exception_handler(Some(Rc::new(move |_, context: &ErrorContext| {
        heard.borrow_mut().push(context.clone());
    })));
    contexts
}

/// What the default handler logs, while `code` runs.
fn logged(code: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);
    impl Visit for Lines {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }
    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "sim_core"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let lines = Lines::default();
    // While there is one subscriber alone, `tracing` asks the default of the thread that comes first
    // to an event whether anybody wants it; the other tests' threads have none.
    let _second = tracing::Dispatch::new(Lines::default());
    tracing::subscriber::with_default(lines.clone(), code);
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

fn panicking_handler() -> ExceptionHandler {
    Rc::new(|_, _: &ErrorContext| panic!("the handler is broken"))
}

/// A loop in debug mode for which `slow` is slow.
fn debugging(make: Make, slow: Duration) -> (EventLoop, Log) {
    let lp = make.new_loop();
    let reports = reports_of(&lp);
    lp.set_slow_callback_duration(slow);
    lp.set_debug(true);
    (lp, reports)
}

both_bare_loops! {
    /// a panic in a callback is reported, and the loop goes on with the next handle.
    fn a_panic_in_a_callback_is_reported(make: Make) {
        let (lp, log) = (make.containing_loop(), Log::new());
        let contexts = contexts_of(&lp);
        note_soon(&lp, &log, &["before"]);
        lp.call_soon(|| panic!("ouch {}", 7));
        note_soon(&lp, &log, &["after"]);
        let _timer = lp.call_later(ms(0), || panic!("in a timer"));
        let _next = lp.call_later(ms(0), note(&log, "next timer"));
        run_a_turn(&lp);
        assert_eq!(log.text(), "before after next timer");
        let contexts = contexts.take();
        assert_eq!(contexts.len(), 2);
        for (context, panic) in contexts.iter().zip(["ouch 7", "in a timer"]) {
            assert!(context.message.starts_with("Exception in callback"), "{context}");
            assert_eq!(context.panic.as_deref(), Some(panic));
        }
        run_a_turn(&lp);
        assert_eq!(lp.report_count(), 2);
    }

    /// a report says what there is to say, and no more.
    fn a_report_has_what_there_is(make: Make) {
        let lp = make.containing_loop();
        let contexts = contexts_of(&lp);
        lp.call_soon(|| panic!("plain"));
        lp.create_named_task("worker", async { panic!("in a task") });
        run_a_turn(&lp);
        let given = ErrorContext::message("by hand");
        lp.call_exception_handler(given);
        let [callback, task, by_hand] = <[ErrorContext; 3]>::try_from(contexts.take()).unwrap();
        assert_eq!((callback.task, callback.transport, callback.protocol), (None, None, None));
        assert!(callback.error.is_none() && callback.original.is_none());
        assert_eq!(task.task.as_deref(), Some("worker"));
        assert_eq!(task.panic.as_deref(), Some("in a task"));
        assert_eq!(by_hand.to_string(), "by hand");
        assert!(by_hand.panic.is_none() && by_hand.error.is_none());
    }

    /// `None` restores the default handler, and stands for it.
    fn the_default_handler_comes_back(make: Make) {
        let lp = make.new_loop();
        assert!(lp.exception_handler().is_none());
        let reports = reports_of(&lp);
        let handler = lp.exception_handler().expect("it was set");
        lp.call_exception_handler(ErrorContext::message("first"));
        lp.set_exception_handler(None);
        assert!(lp.exception_handler().is_none());
        let lines = logged(|| lp.call_exception_handler(ErrorContext::message("second")));
        assert_eq!(lines, ["second"]);
        lp.set_exception_handler(Some(handler));
        lp.call_exception_handler(ErrorContext::message("third"));
        assert_eq!((reports.text().as_str(), lp.report_count()), ("first third", 3));
    }

    /// a handler may replace itself, and report in turn.
    fn a_handler_may_replace_itself(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let seen = log.clone();
        lp.set_exception_handler(Some(Rc::new(move |lp: &Loop, context: &ErrorContext| {
            seen.push(format!("first:{}", context.message));
            let seen = seen.clone();
            lp.set_exception_handler(Some(Rc::new(move |_, context: &ErrorContext| {
                seen.push(format!("second:{}", context.message));
            })));
            lp.call_exception_handler(ErrorContext::message("b"));
        })));
        lp.call_exception_handler(ErrorContext::message("a"));
        lp.call_exception_handler(ErrorContext::message("c"));
        assert_eq!(log.text(), "first:a second:b second:c");
    }

    /// when a handler panics, the default one hears of both, and the loop goes on.
    fn a_broken_handler_leaves_the_loop_alone(make: Make) {
        let (lp, log) = (make.containing_loop(), Log::new());
        lp.set_exception_handler(Some(panicking_handler()));
        lp.call_soon(|| panic!("the callback is broken"));
        note_soon(&lp, &log, &["next"]);
        let lines = logged(|| run_a_turn(&lp));
        assert_eq!(log.text(), "next");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(
            lines[0],
            "Unhandled error in exception handler: panicked: the handler is broken; while handling: \
             Exception in callback: panicked: the callback is broken"
        );
        let lines = logged(|| lp.call_exception_handler(ErrorContext::message("by hand")));
        assert!(lines[0].ends_with("while handling: by hand"), "{lines:?}");
        assert!(lp.exception_handler().is_some());
    }

    /// under `EndRun` the panic is not reported at all.
    fn what_ends_the_run_is_not_reported(make: Make) {
        let lp = make.new_loop();
        lp.set_panic_policy(PanicPolicy::EndRun);
        let reports = reports_of(&lp);
        lp.call_soon(|| panic!("ouch"));
        assert_eq!(crate::loops::panic_of(|| lp.run_forever()), "ouch");
        assert_eq!(reports.text(), "");
    }

    /// in debug mode what lasts as long as the limit is reported once, with its name.
    fn a_slow_handle_is_reported_once(make: Make) {
        let (lp, reports) = debugging(make, ms(2));
        let (timers, tasks) = (lp.clone(), lp.clone());
        let _timer = lp.call_later(ms(0), move || timers.spend(ms(2)));
        lp.create_named_task("slow task", async move { tasks.spend(ms(3)) });
        run_a_turn(&lp);
        run_a_turn(&lp);
        let reports = reports.entries();
        assert_eq!(reports.len(), 2, "{reports:?}");
        assert!(reports[0].starts_with("Executing slow task took "), "{reports:?}");
        assert!(reports[1].starts_with("Executing a callback took "), "{reports:?}");
    }

    /// outside debug mode nothing is slow, and in it nothing that takes less than the limit.
    fn what_is_fast_enough_is_not_reported(make: Make) {
        let (lp, reports) = debugging(make, Duration::from_secs(3_600));
        let costs = lp.clone();
        lp.call_soon(move || costs.spend(ms(2)));
        run_a_turn(&lp);
        lp.set_slow_callback_duration(ms(1));
        lp.set_debug(false);
        let costs = lp.clone();
        lp.call_soon(move || costs.spend(ms(2)));
        run_a_turn(&lp);
        assert_eq!(reports.text(), "");
    }

    /// debug mode is switched while the loop runs, from the next handle on.
    fn debug_mode_is_switched_while_the_loop_runs(make: Make) {
        let lp = make.new_loop();
        let reports = reports_of(&lp);
        lp.set_slow_callback_duration(ms(1));
        assert!(!lp.debug());
        for (debug, cost) in [(true, 1), (false, 0), (false, 1), (true, 0), (true, 2)] {
            let handle = lp.clone();
            lp.call_soon(move || {
                handle.set_debug(debug);
                handle.spend(ms(cost));
            });
        }
        run_a_turn(&lp);
        assert!(lp.debug());
        // The last one alone: the first began, and the third ran, outside debug mode.
        assert_eq!(reports.entries().len(), 1, "{reports:?}");
    }
}

both_loops! {
    contain;

    /// a panic in a protocol is reported with the transport's number and the protocol's
    /// type.
    async fn a_protocols_panic_is_reported_with_its_name(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let contexts = contexts_of(&lp);
        let subject = Recorder::new(&Log::new()).on_data(|_, _| panic!("ouch"));
        let (conn, peer) = connect(&world, subject, Recorder::new(&Log::new())).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        let context = tests::harness::only(contexts.take());
        assert_eq!(context.transport, Some(conn.transport().number()));
        assert!(context.protocol.is_some_and(|name| name.ends_with("Recorder")), "{context}");
        assert!(context.to_string().contains("ouch"), "{context}");
        Ok(())
    }
}

both_loops! {
    /// an OS error given to `fail` is not reported; any other is, once, with its text.
    async fn an_os_error_is_not_reported_and_another_is(world: World) -> io::Result<()> {
        let contexts = contexts_of(&world.host("client"));
        let cases = [
            (io::Error::from_raw_os_error(104), None),
            (io::ErrorKind::TimedOut.into(), None),
            (io::Error::other("bad frame"), Some("bad frame")),
            (io::Error::new(io::ErrorKind::ConnectionReset, "odd frame"), Some("odd frame")),
        ];
        for (error, reported) in cases {
            let kind = error.kind();
            let log = Log::new();
            let subject = Recorder::new(&log);
            let (conn, _peer) = connect(&world, subject, Recorder::new(&Log::new())).await?;
            conn.with(|_, cx| cx.fail(error));
            world.settle().await;
            assert_eq!(log.text(), format!("CM CL({kind:?})"));
            let texts: Vec<String> = contexts
                .take()
                .iter()
                .map(|context| context.error.as_ref().expect("it has one").to_string())
                .collect();
            assert_eq!(texts, reported.into_iter().collect::<Vec<_>>());
        }
        Ok(())
    }

    /// an error of the kernel's own, here a reset by the peer, is not reported.
    async fn a_reset_by_the_peer_is_not_reported(world: World) -> io::Result<()> {
        let (log, contexts) = (Log::new(), contexts_of(&world.host("client")));
        let (_conn, peer) =
            connect(&world, Recorder::new(&log), Recorder::new(&Log::new())).await?;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        assert!(contexts.take().is_empty());
        Ok(())
    }
}

/// in the simulator the duration is what was spent, to the nanosecond; the limit is 100 ms
/// unless set.
#[test]
// on: sim
fn the_limit_of_slowness_is_exact() {
    let lp = sim_net::new_loop();
    let reports = reports_of(&lp);
    lp.set_debug(true);
    let limit = ms(100);
    for cost in [limit - Duration::from_nanos(1), Duration::ZERO, limit] {
        let handle = lp.clone();
        lp.call_soon(move || handle.spend(cost));
    }
    run_a_turn(&lp);
    assert_eq!(reports.text(), "Executing a callback took 100ms");
}
