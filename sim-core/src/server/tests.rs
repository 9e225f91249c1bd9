//! Listeners over a scripted driver, for errors that no test can make a kernel give.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::driver::{Driver, Source};
use crate::engine::{Engine, EngineMemory};
use crate::testing::ScriptDriver;
use crate::{Cx, EventLoop, Protocol, Server};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The listener's socket: the first that the driver makes.
const LISTENER: Source = Source(0);

const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EPROTO: i32 = 71;
const ECONNABORTED: i32 = 103;
const ENOBUFS: i32 = 105;
const EINTR: i32 = 4;

/// The text of a report of a listener that rests.
const RESTS: &str = "socket.accept() out of system resource";

/// What has happened: `made` for each connection, and the reports.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

struct Quiet(Log);

impl Protocol for Quiet {
    fn connection_made(&mut self, _: &mut Cx<'_, Self>) {
        self.0.0.borrow_mut().push("made".into());
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
}

struct Fixture {
    lp: EventLoop,
    driver: Rc<ScriptDriver>,
    server: Server,
    log: Log,
    /// Where the server was made.
    line: u32,
}

impl Fixture {
    fn new() -> Self {
        let driver = Rc::new(ScriptDriver::new());
        let lp = EventLoop::new(Engine::new(
            Rc::clone(&driver) as Rc<dyn Driver>,
            EngineMemory::default(),
        ));
        let log = Log::default();
        let (handle, factory) = ((*lp).clone(), log.clone());
        let server = async move {
            let factory = move || Quiet(factory.clone());
            let (serving, line) = (handle.create_server(("192.0.2.1", 7000), factory), line!());
            (serving.await.unwrap(), line)
        };
        let (server, line) = lp.run_until_complete(server).unwrap();
        let heard = log.clone();
        lp.set_exception_handler(Some(Rc::new(move |_, context| {
            heard.0.borrow_mut().push(context.message.clone());
        })));
        Self { lp, driver, server, log, line }
    }

    fn feed(&self, outcomes: &[Result<(), i32>]) {
        for &outcome in outcomes {
            self.driver.feed_connection(LISTENER, outcome);
        }
    }

    /// Lets time pass, and says what happened in it.
    fn after(&self, time: Duration) -> Vec<String> {
        let handle = (*self.lp).clone();
        self.lp.run_until_complete(async move { handle.sleep(time).await }).unwrap();
        self.log.0.take()
    }
}

/// E-28, J-21: an aborted connection, and an interrupted call, do not end the accepting.
#[test]
fn an_aborted_connection_is_passed_over() {
    let fixture = Fixture::new();
    fixture.feed(&[Ok(()), Err(ECONNABORTED), Err(EINTR), Ok(()), Err(ECONNABORTED)]);
    assert_eq!(fixture.after(MS), ["made", "made"]);
    fixture.feed(&[Ok(())]);
    assert_eq!(fixture.after(MS), ["made"]);
}

/// E-29, J-20: out of descriptors or memory is reported once, and the listener rests for a second,
/// whatever arrives meanwhile; then it is tried once.
#[test]
fn a_listener_out_of_resources_rests_for_a_second() {
    for code in [EMFILE, ENFILE, ENOBUFS, ENOMEM] {
        let fixture = Fixture::new();
        fixture.feed(&[Ok(()), Err(code), Ok(())]);
        assert_eq!(fixture.after(MS), [RESTS, "made"], "{code}");
        fixture.feed(&[Err(code), Ok(())]);
        assert!(fixture.after(SECOND - 2 * MS).is_empty(), "{code}");
        assert_eq!(fixture.driver.unasked(LISTENER), 3);
        assert_eq!(fixture.after(2 * MS), [RESTS, "made"], "{code}");
        assert_eq!(fixture.driver.unasked(LISTENER), 1, "one retry: {code}");
        assert!(fixture.after(SECOND - 2 * MS).is_empty(), "{code}");
        assert_eq!(fixture.after(2 * MS), ["made"], "{code}");
        fixture.feed(&[Ok(())]);
        assert_eq!(fixture.after(MS), ["made"], "{code}");
    }
}

/// E-29, E-30, A-61: such a report has the error, the socket that listens, and in debug mode where its server was made.
#[test]
fn a_report_of_accepting_has_the_socket() {
    for debug in [true, false] {
        for (code, text) in [(EMFILE, RESTS), (EPROTO, "accept() failed")] {
            let fixture = Fixture::new();
            let reports = fixture.lp.report_count();
            let told: Rc<RefCell<Vec<String>>> = Rc::default();
            let heard = Rc::clone(&told);
            fixture.lp.set_debug(debug);
            fixture.lp.set_slow_callback_duration(SECOND);
            fixture.lp.set_exception_handler(Some(Rc::new(move |_, context| {
                heard.borrow_mut().push(context.to_string());
            })));
            fixture.feed(&[Err(code)]);
            fixture.after(MS);
            let error = std::io::Error::from_raw_os_error(code);
            let place = match debug {
                true => format!(", created at {}:{}", file!(), fixture.line),
                false => String::new(),
            };
            assert_eq!(told.take(), [format!("{text}: {error} (socket 192.0.2.1:1){place}")]);
            assert_eq!(fixture.lp.report_count(), reports + 1);
        }
    }
}

/// E-29, J-20: as long as it lasts there is one try, and one report, a second.
#[test]
fn retries_do_not_multiply() {
    let fixture = Fixture::new();
    fixture.feed(&[Err(EMFILE); 10]);
    assert_eq!(fixture.after(5 * SECOND + MS), [RESTS; 6]);
    assert_eq!(fixture.driver.unasked(LISTENER), 4);
}

/// E-29: a server that is closed while its listener rests tries no more, not even from the handler
/// of the report.
#[test]
fn a_closed_server_does_not_retry() {
    let fixture = Fixture::new();
    fixture.feed(&[Err(EMFILE), Ok(())]);
    assert_eq!(fixture.after(SECOND / 2), [RESTS]);
    fixture.server.close();
    assert!(fixture.after(5 * SECOND).is_empty());
    assert_eq!(fixture.driver.unasked(LISTENER), 1);

    for code in [EMFILE, EPROTO] {
        let fixture = Fixture::new();
        let server = fixture.server.clone();
        fixture.lp.set_exception_handler(Some(Rc::new(move |_, _| server.close())));
        fixture.feed(&[Err(code), Ok(())]);
        assert!(fixture.after(5 * SECOND).is_empty());
        assert_eq!(fixture.driver.unasked(LISTENER), 1, "{code}");
    }
}

/// E-30: another error is reported, and the listener goes on, at once.
#[test]
fn another_error_is_reported_and_the_listener_goes_on() {
    let fixture = Fixture::new();
    fixture.feed(&[Ok(()), Err(EPROTO), Err(EPROTO), Ok(())]);
    let happened = fixture.after(MS);
    let count = |text: &str| happened.iter().filter(|entry| *entry == text).count();
    assert_eq!((count("made"), count("accept() failed"), happened.len()), (2, 2, 4));
}

/// E-24, J-19: what was accepted and has no transport is reset when the server closes.
#[test]
fn an_accepted_connection_is_reset_by_close() {
    let fixture = Fixture::new();
    fixture.feed(&[Err(EPROTO), Ok(()), Err(EPROTO)]);
    // The second error comes in the turn in which the connection was accepted.
    let (server, reports) = (fixture.server.clone(), RefCell::new(0));
    fixture.lp.set_exception_handler(Some(Rc::new(move |_, _| {
        *reports.borrow_mut() += 1;
        if *reports.borrow() == 2 {
            server.close();
        }
    })));
    assert!(fixture.after(MS).is_empty(), "it was made");
    assert!(fixture.driver.is_reset(Source(1)));
    assert_eq!(fixture.server.connection_count(), 0);
}
