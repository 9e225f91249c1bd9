//! What the tests of servers, connects and datagrams share.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::driver::{Family, SocketKind, SocketOption};
use sim_core::{ErrorContext, Loop, Socket};
use tests::recorder::{Log, Recorder};

/// Where most servers of these tests listen.
pub(crate) const PLACE: (&str, u16) = ("server", 7000);

/// Long enough for handshakes to be done by the kernels while a host does not look.
pub(crate) const BUSY: Duration = Duration::from_millis(10);

/// The reports to a loop's exception handler, as text.
#[derive(Clone, Default)]
pub(crate) struct Heard(Rc<RefCell<Vec<ErrorContext>>>);

impl Heard {
    /// Takes over the reports of a loop.
    pub(crate) fn by(lp: &Loop) -> Self {
        let heard = Self::default();
        let list = Rc::clone(&heard.0);
        lp.set_exception_handler(Some(Rc::new(move |_, context| {
            list.borrow_mut().push(context.clone());
        })));
        heard
    }

    /// Takes the reports so far.
    pub(crate) fn take(&self) -> Vec<ErrorContext> {
        self.0.take()
    }

    /// The messages so far.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.0.borrow().iter().map(|context| context.message.clone()).collect()
    }

    /// The texts of the panics so far.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.0
            .borrow()
            .iter()
            .filter_map(|context| Some(context.panic.as_ref()?.to_string()))
            .collect()
    }
}

/// Keeps the host of `lp` busy from its next turn on, so that what arrives waits in its kernel.
pub(crate) fn keep_busy(lp: &Loop) {
    let busy = lp.clone();
    lp.call_soon(move || busy.spend(BUSY));
}

/// How a connection from `lp` to `place` fails: at once, or later.
///
/// A connection that the server's kernel completed and then reset may look either way, depending on
/// how soon the client looks.
pub(crate) async fn failure(lp: Loop, place: (&'static str, u16)) -> io::ErrorKind {
    match lp.create_connection(place, || Recorder::new(&Log::new())).await {
        Err(error) => error.kind(),
        Ok(conn) => match conn.closed().await {
            Err(error) => error.kind(),
            Ok(()) => panic!("the connection ended in good order"),
        },
    }
}

/// A listening socket by hand. It allows its port to be used again, as servers do: another world
/// may get these addresses while its connections are in TIME_WAIT.
pub(crate) async fn listen_by_hand(lp: &Loop, host: &str, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::open(lp, SocketKind::Stream, Family::V4)?;
    socket.set_option(SocketOption::ReuseAddress(true))?;
    socket.bind(lp.getaddrinfo((host, 7000)).await?[0])?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// A port of the host of `lp` that no socket has, not even one in TIME_WAIT.
pub(crate) async fn free_port(lp: &Loop) -> io::Result<u16> {
    let socket = Socket::open(lp, SocketKind::Stream, Family::V4)?;
    socket.bind(lp.getaddrinfo((lp.host(), 0)).await?[0])?;
    Ok(socket.local_addr()?.port())
}

/// How a connect from `lp` to `place` that must fail at once fails.
pub(crate) async fn refusal(lp: &Loop, place: (&str, u16)) -> io::Error {
    let outcome = lp.create_connection(place, || Recorder::new(&Log::new())).await;
    outcome.expect_err("nobody accepts connections there")
}
