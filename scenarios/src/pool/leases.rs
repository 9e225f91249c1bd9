//! The pool: connections that are lent, looked at, and let go.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::stream::{StreamProtocol, StreamReader, StreamWriter};
use sim_core::sync::{Permit, Semaphore};
use sim_core::{HostPort, Loop, Time, Timer, ToHostPort};

use super::Flaw;

/// What a [`Pool`] keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections there are at most, lent or idle.
    pub connections: usize,
    /// How long [`Pool::acquire`] takes at most, all in all.
    pub acquire: Duration,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// From when on an idle connection is asked whether it is alive before it is lent.
    pub check_after: Duration,
    /// How long that may take.
    pub check: Duration,
    /// How long a connection is kept idle.
    pub idle: Duration,
    /// How old a connection is at most when it is lent.
    pub life: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum AcquireError {
    /// The pool is closed.
    Closed,
    /// None was free in time.
    TimedOut,
    /// One was to be made, and could not be.
    Unreachable(io::Error),
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the pool is closed"),
            Self::TimedOut => f.write_str("no connection was free in time"),
            Self::Unreachable(error) => write!(f, "no connection could be made: {error}"),
        }
    }
}

impl Error for AcquireError {}

/// A pool of connections to one server, for requests and replies of a line each. Who waits for a
/// connection is served in order. Clones are handles of the same pool.
#[derive(Debug, Clone)]
pub struct Pool(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    lp: Loop,
    server: HostPort,
    limits: Limits,
    flaw: Flaw,
    /// A permit is the right to one of the connections; idle ones need none, since one is made only
    /// by who has a permit and finds none idle.
    slots: Semaphore,
    /// A permit is kept for each connection until it is gone.
    room: Semaphore,
    /// The one that came last is the last.
    idle: RefCell<Vec<Idle>>,
    is_closed: Cell<bool>,
    open: Cell<usize>,
    open_max: Cell<usize>,
}

/// A connection that nobody uses.
#[derive(Debug)]
struct Idle {
    line: Line,
    since: Time,
    /// Lets it go.
    expiry: Timer,
}

/// A connection.
#[derive(Debug)]
struct Line {
    reader: StreamReader,
    writer: StreamWriter,
    made: Time,
    /// Whether a reply is to come.
    owes: bool,
}

impl Line {
    /// False if it is seen to be over.
    fn is_open(&self) -> bool {
        !self.writer.is_closing() && !self.reader.at_eof()
    }

    async fn ask(&mut self, request: &str) -> io::Result<String> {
        if self.owes {
            let text = "a reply to an earlier request is still to come";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        if request.contains('\n') {
            let text = "a request is one line";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.owes = true;
        self.writer.write(format!("{request}\n").as_bytes());
        let reply = self.reader.read_line().await?;
        let Some(reply) = reply.strip_suffix(b"\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        self.owes = false;
        Ok(String::from_utf8_lossy(reply).into_owned())
    }
}

/// A connection that is lent. It goes back when this is dropped, or is closed if a reply is still to
/// come.
#[derive(Debug)]
pub struct Lease {
    /// `None` for what was closed.
    line: Option<Line>,
    pool: Pool,
    /// Given back after the connection.
    permit: Option<Permit>,
}

impl Pool {
    /// A pool without connections: they are made when they are wanted.
    pub fn new(lp: &Loop, server: impl ToHostPort, limits: Limits) -> Self {
        Self::with_flaw(lp, server, limits, Flaw::None)
    }

    pub(super) fn with_flaw(
        lp: &Loop,
        server: impl ToHostPort,
        limits: Limits,
        flaw: Flaw,
    ) -> Self {
        Self(Rc::new(Shared {
            lp: lp.clone(),
            server: server.to_host_port(),
            limits,
            flaw,
            slots: Semaphore::new(limits.connections),
            room: Semaphore::new(limits.connections),
            idle: RefCell::default(),
            is_closed: Cell::new(false),
            open: Cell::new(0),
            open_max: Cell::new(0),
        }))
    }

    /// A connection that is alive as far as can be told: an idle one, or a new one.
    ///
    /// # Errors
    ///
    /// When none is free in time, none can be made, or the pool is closed.
    ///
    /// # Cancel safety
    ///
    /// One that is dropped leaves its place in the queue, and its connection, if it had got one.
    pub async fn acquire(&self) -> Result<Lease, AcquireError> {
        let limits = self.0.limits;
        let acquired = self.0.lp.timeout(limits.acquire, self.acquire_slowly()).await;
        acquired.unwrap_or(Err(AcquireError::TimedOut))
    }

    async fn acquire_slowly(&self) -> Result<Lease, AcquireError> {
        let permit = match self.0.flaw {
            Flaw::OpensMore => self.0.slots.try_acquire(),
            _ => Some(self.0.slots.acquire().await),
        };
        if self.0.is_closed.get() {
            return Err(AcquireError::Closed);
        }
        let mut lease = Lease { line: None, pool: self.clone(), permit };
        while let Some(idle) = self.take_idle() {
            let is_fresh = self.0.lp.time() < idle.since + self.0.limits.check_after;
            lease.line = Some(idle.line);
            // The question takes its time, in which it may grow old.
            if is_fresh || lease.is_alive().await && !lease.is_old() {
                return Ok(lease);
            }
            lease.discard();
        }
        let dialled = self.dial().await;
        if dialled.is_err()
            && self.0.flaw == Flaw::LosesSlots
            && let Some(permit) = lease.permit.take()
        {
            permit.forget();
        }
        lease.line = Some(dialled.map_err(AcquireError::Unreachable)?);
        Ok(lease)
    }

    /// An idle connection that looks alive and is young enough: the last that came, so that those that
    /// are not needed grow old.
    fn take_idle(&self) -> Option<Idle> {
        loop {
            let idle = self.0.idle.borrow_mut().pop()?;
            if idle.line.is_open() && !self.is_old(&idle.line) {
                return Some(idle);
            }
            idle.line.writer.transport().abort();
        }
    }

    fn is_old(&self, line: &Line) -> bool {
        self.0.lp.time() >= line.made + self.0.limits.life
    }

    async fn dial(&self) -> io::Result<Line> {
        let lp = &self.0.lp;
        // One that was closed just now may not be gone yet.
        let room = match self.0.flaw {
            Flaw::OpensMore => None,
            _ => Some(self.0.room.acquire().await),
        };
        let counted = Counted::new(&self.0, room);
        let connecting = lp.create_connection(self.0.server.clone(), StreamProtocol::new);
        let conn = lp.timeout(self.0.limits.connect, connecting).await??;
        let (reader, writer) = StreamProtocol::split(&conn);
        lp.create_named_task("pooled connection", async move {
            // However it ends, it is one less.
            let _ = conn.closed().await;
            drop(counted);
        });
        Ok(Line { reader, writer, made: lp.time(), owes: false })
    }

    /// Takes a connection back. An old one, and one whose pool is closed, goes.
    fn take_back(&self, mut line: Line) {
        line.owes &= self.0.flaw != Flaw::KeepsOwing;
        if line.owes || self.0.is_closed.get() || !line.is_open() || self.is_old(&line) {
            return line.writer.transport().abort();
        }
        let since = self.0.lp.time();
        let until = (since + self.0.limits.idle).min(line.made + self.0.limits.life);
        let pool = Rc::downgrade(&self.0);
        let expiry = self.0.lp.call_at(until, move || {
            if let Some(shared) = pool.upgrade() {
                Self(shared).expire();
            }
        });
        self.0.idle.borrow_mut().push(Idle { line, since, expiry });
    }

    /// Lets go of the idle connections whose time has come.
    fn expire(&self) {
        let now = self.0.lp.time();
        let is_over = |idle: &mut Idle| idle.expiry.when() <= now;
        let over: Vec<Idle> = self.0.idle.borrow_mut().extract_if(.., is_over).collect();
        for idle in over {
            idle.line.writer.transport().abort();
        }
    }

    /// How many connections there are now: lent, idle, being made, or not yet gone.
    pub fn open(&self) -> usize {
        self.0.open.get()
    }

    /// The most that there ever were.
    pub fn open_max(&self) -> usize {
        self.0.open_max.get()
    }

    /// Lets go of the idle connections, and of others when they come back; it lends no more.
    pub fn close(&self) {
        self.0.is_closed.set(true);
        let idle = self.0.idle.take();
        for idle in idle {
            idle.line.writer.transport().abort();
        }
    }
}

impl Lease {
    /// Sends a request of a line, and takes the reply.
    ///
    /// # Errors
    ///
    /// Why there is none; the request may have been carried out. `InvalidInput` for one of several lines,
    /// which is not sent; `BrokenPipe` if the reply to an earlier one is still to come.
    ///
    /// # Cancel safety
    ///
    /// The reply of one that is dropped is nobody's: no more can be asked, and the connection is closed when
    /// the lease ends.
    pub async fn ask(&mut self, request: &str) -> io::Result<String> {
        match &mut self.line {
            Some(line) => line.ask(request).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// How old the connection is.
    pub fn age(&self) -> Duration {
        let now = self.pool.0.lp.time();
        self.line.as_ref().map_or(Duration::ZERO, |line| now.saturating_since(line.made))
    }

    fn is_old(&self) -> bool {
        self.line.as_ref().is_some_and(|line| self.pool.is_old(line))
    }

    /// Asks the server for a sign of life.
    async fn is_alive(&mut self) -> bool {
        let shared = Rc::clone(&self.pool.0);
        let pong = shared.lp.timeout(shared.limits.check, self.ask("ping")).await;
        matches!(pong, Ok(Ok(pong)) if pong == "pong")
    }

    /// Closes the connection, and keeps the right to another.
    fn discard(&mut self) {
        if let Some(line) = self.line.take() {
            line.writer.transport().abort();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.pool.take_back(line);
        }
    }
}

/// A connection that exists, from the first packet to the end.
struct Counted {
    shared: Rc<Shared>,
    _room: Option<Permit>,
}

impl Counted {
    fn new(shared: &Rc<Shared>, room: Option<Permit>) -> Self {
        let open = shared.open.get() + 1;
        shared.open.set(open);
        shared.open_max.set(shared.open_max.get().max(open));
        Self { shared: Rc::clone(shared), _room: room }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.open.set(self.shared.open.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use sim_core::World;
    use sim_net::Sim;

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 1,
        acquire: Duration::from_secs(1),
        connect: Duration::from_secs(1),
        check_after: Duration::from_secs(1),
        check: Duration::from_secs(1),
        idle: Duration::from_secs(1),
        life: Duration::from_secs(10),
    };

    /// A pool to a server that answers lines, for a test.
    fn pooled<F: Future<Output = ()> + 'static>(test: impl FnOnce(Loop, Pool) -> F + 'static) {
        let ran = Sim::new(1).run(|world: World| async move {
            let server = world.host("server");
            let _server = server.start_server(("server", 1), super::super::answer).await?;
            let lp = world.host("client");
            test(lp.clone(), Pool::new(&lp, ("server", 1), LIMITS)).await;
            io::Result::Ok(())
        });
        ran.unwrap();
    }

    #[test]
    fn who_gave_up_waiting_for_a_reply_does_not_get_it_for_another_request() {
        pooled(|lp, pool| async move {
            let mut lease = pool.acquire().await.unwrap();
            let given_up = lp.timeout(Duration::from_micros(1), lease.ask("one")).await;
            assert!(given_up.is_err());
            lp.sleep(Duration::from_secs(1)).await;
            let next = lease.ask("two").await.map_err(|error| error.kind());
            assert_eq!(next, Err(io::ErrorKind::BrokenPipe));
            drop(lease);
            let mut lease = pool.acquire().await.unwrap();
            assert_eq!(lease.ask("three").await.unwrap(), "re: three");
        });
    }

    #[test]
    fn a_request_of_two_lines_is_refused_and_nothing_is_sent() {
        pooled(|_, pool| async move {
            let mut lease = pool.acquire().await.unwrap();
            let asked = lease.ask("one\ntwo").await.map_err(|error| error.kind());
            assert_eq!(asked, Err(io::ErrorKind::InvalidInput));
            assert_eq!(lease.ask("three").await.unwrap(), "re: three");
        });
    }

    #[test]
    fn a_closed_pool_lends_nothing_not_even_to_who_waits() {
        pooled(|lp, pool| async move {
            let lease = pool.acquire().await.unwrap();
            let waiting = pool.clone();
            let waits = lp.create_task(async move { waiting.acquire().await });
            lp.sleep(Duration::from_millis(1)).await;
            pool.close();
            drop(lease);
            assert!(matches!(waits.await.unwrap(), Err(AcquireError::Closed)));
            assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
            lp.sleep(Duration::from_secs(1)).await;
            assert_eq!(pool.open(), 0);
        });
    }
}
