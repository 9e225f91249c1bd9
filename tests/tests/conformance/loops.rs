//! What the tests of loops, timers and reports share.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, ErrorContext, EventLoop, Loop};
use tests::recorder::{Log, Recorder};

use crate::connected::SMALL;

/// `n` milliseconds.
pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A callback that adds an entry to a log.
pub(crate) fn note(log: &Log, entry: &str) -> impl FnOnce() + 'static {
    let (log, entry) = (log.clone(), entry.to_owned());
    move || log.push(entry)
}

/// Queues callbacks that add an entry each.
pub(crate) fn note_soon(lp: &Loop, log: &Log, entries: &[&str]) {
    for entry in entries {
        lp.call_soon(note(log, entry));
    }
}

/// Runs exactly one turn.
#[track_caller]
pub(crate) fn run_a_turn(lp: &EventLoop) {
    lp.stop();
    lp.run_forever().expect("the loop is open");
}

/// Runs the loop for `time`.
#[track_caller]
pub(crate) fn run_for(lp: &EventLoop, time: Duration) {
    let stop = lp.stop_handle();
    let _timer = lp.call_later(time, move || stop.stop());
    lp.run_forever().expect("the loop is open");
}

/// Collects the messages of the reports of a loop, without what changes from run to run.
pub(crate) fn reports_of(lp: &Loop) -> Log {
    let log = Log::new();
    let heard = log.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context: &ErrorContext| {
        heard.push(context.message.clone());
    })));
    log
}

/// The text of the panic that `code` ends with.
#[track_caller]
pub(crate) fn panic_of<T>(code: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(code)) else {
        panic!("expected a panic");
    };
    match payload.downcast::<&str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => *payload.downcast::<String>().expect("a panic with a text"),
    }
}

/// Adds an entry to a log when dropped.
#[derive(Debug)]
pub(crate) struct NoteDrop(pub(crate) Log, pub(crate) &'static str);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.push(self.1);
    }
}

/// Two ends of a connection on one bare loop, over small kernel buffers.
pub(crate) fn connect_on(
    lp: &EventLoop,
    client: Recorder,
    server: Recorder,
) -> (Conn<Recorder>, Conn<Recorder>) {
    let handle = (**lp).clone();
    let accepted = lp.create_future();
    let mut server = Some(server.announce(accepted.clone()));
    let connected = async move {
        let factory = move || server.take().expect("one connection");
        let builder = handle.server().send_buffer(SMALL).receive_buffer(SMALL);
        let listening = builder.bind(("127.0.0.1", 0), factory).await?;
        let addr = listening.sockets()[0];
        let builder = handle.connection().send_buffer(SMALL).receive_buffer(SMALL);
        let client = builder.connect(addr, || client).await?;
        let server = accepted.await.expect("connection_made completes it");
        io::Result::Ok((client, server))
    };
    lp.run_until_complete(connected).expect("the loop is open").expect("loopback works")
}
