//! The side that calls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, HostPort, Loop, LoopFuture, Protocol, Rng, Task, Time, ToHostPort, Transport};

use super::frame::{self, Decoder, FrameError};

/// How many calls of one client may be under way at once.
const CALLS_MAX: usize = 1_024;
/// How often a request is sent before the call fails.
const ATTEMPTS_MAX: u32 = 20;
/// How long the first attempt waits; each next one twice as long, up to [`ATTEMPT_MAX`].
const ATTEMPT_MIN: Duration = Duration::from_millis(100);
const ATTEMPT_MAX: Duration = Duration::from_millis(3_200);
/// How long a client waits, at most, before it connects again.
const RECONNECT_MAX: Duration = Duration::from_millis(20);

/// Makes calls to one server, over one connection at a time.
///
/// It connects by itself, and again when the connection is lost. Clones are handles of the same
/// client; when the last one is dropped the connection is closed.
#[derive(Clone)]
pub struct Client(Rc<Handle>);

/// Ends the client when the last handle is dropped.
struct Handle {
    shared: Rc<Shared>,
    connector: Task<()>,
}

/// Why a call failed. It may have been executed all the same, but not more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The request is too long to be sent.
    Frame(FrameError),
    /// Too many calls are under way; wait for one of them.
    Busy,
    /// No attempt was answered.
    Unanswered {
        /// How many attempts there were.
        attempts: u32,
    },
}

/// What the handles, the connector and the connection share.
struct Shared {
    lp: Loop,
    server: HostPort,
    link: RefCell<Link>,
    /// The calls under way, with who waits for each.
    waiting: RefCell<BTreeMap<u64, LoopFuture<Rc<[u8]>>>>,
    next_number: Cell<u64>,
    /// When something came from the server last.
    heard: Cell<Time>,
    attempts_max: u32,
}

enum Link {
    Down(LoopFuture<Transport>),
    Up(Transport),
}

impl Client {
    /// A client on `lp` of the server at `server`. It starts to connect at once.
    pub fn new(lp: &Loop, server: impl ToHostPort) -> Self {
        Self::with_attempts(lp, server, ATTEMPTS_MAX)
    }

    /// As [`new`](Self::new), but a call fails after `attempts_max` attempts without an answer.
    pub fn with_attempts(lp: &Loop, server: impl ToHostPort, attempts_max: u32) -> Self {
        let mut rng = lp.rng("rpc.client");
        let shared = Rc::new(Shared {
            lp: lp.clone(),
            server: server.to_host_port(),
            link: RefCell::new(Link::Down(lp.create_future())),
            waiting: RefCell::default(),
            // Where other clients' numbers hardly are.
            next_number: Cell::new(rng.next_u64()),
            heard: Cell::new(lp.time()),
            attempts_max,
        });
        let connector =
            lp.create_named_task("rpc connector", stay_connected(Rc::clone(&shared), rng));
        Self(Rc::new(Handle { shared, connector }))
    }

    /// Calls the server with `payload`, and returns its answer.
    ///
    /// The request is repeated, under the same number, until it is answered.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have been executed.
    pub async fn call(&self, payload: &[u8]) -> Result<Rc<[u8]>, CallError> {
        let shared = &self.0.shared;
        if shared.waiting.borrow().len() == CALLS_MAX {
            return Err(CallError::Busy);
        }
        let number = shared.next_number.get();
        shared.next_number.set(number.wrapping_add(1));
        let request = frame::encode(number, payload).map_err(CallError::Frame)?;
        let mut patience = ATTEMPT_MIN;
        for _ in 0..shared.attempts_max {
            if let Some(answer) = shared.attempt(number, &request, patience).await {
                return Ok(answer);
            }
            patience = (patience * 2).min(ATTEMPT_MAX);
        }
        Err(CallError::Unanswered { attempts: shared.attempts_max })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connector.cancel();
        if let Link::Up(transport) = &*self.shared.link.borrow() {
            transport.close();
        }
    }
}

/// Keeps a connection, until it is cancelled.
async fn stay_connected(shared: Rc<Shared>, mut rng: Rng) {
    let lp = shared.lp.clone();
    loop {
        let answers = || Answers { shared: Rc::clone(&shared), decoder: Decoder::default() };
        let connecting = lp.create_connection(shared.server.clone(), answers);
        if let Ok(Ok(conn)) = lp.timeout(ATTEMPT_MAX, connecting).await {
            // How it ended makes no difference: the calls are repeated.
            let _ = conn.closed().await;
        }
        lp.sleep(rng.duration(Duration::from_millis(1)..RECONNECT_MAX)).await;
    }
}

/// A call that waits for an answer; it waits no more when this is dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    number: u64,
    answer: LoopFuture<Rc<[u8]>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiting = self.shared.waiting.borrow_mut().remove(&self.number);
        drop(waiting);
    }
}

impl Shared {
    /// Sends a request once, and waits for the answer; `None` if it did not come.
    async fn attempt(&self, number: u64, request: &[u8], patience: Duration) -> Option<Rc<[u8]>> {
        let transport = self.lp.timeout(patience, self.connected()).await.ok()??;
        let begun = self.lp.time();
        let waiting = self.wait_for(number);
        // A closing transport will be lost in a moment, and this attempt be cancelled.
        if !transport.is_closing() {
            transport.write(request);
        }
        match self.lp.timeout(patience, waiting.answer.clone()).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                // Not a sign of life: the connection may be dead without saying so.
                if self.heard.get() < begun {
                    transport.abort();
                }
                None
            }
        }
    }

    async fn connected(&self) -> Option<Transport> {
        let coming = match &*self.link.borrow() {
            Link::Up(transport) => return Some(transport.clone()),
            Link::Down(coming) => coming.clone(),
        };
        coming.await.ok()
    }

    fn wait_for(&self, number: u64) -> Waiting<'_> {
        let answer = self.lp.create_future();
        self.waiting.borrow_mut().insert(number, answer.clone());
        Waiting { shared: self, number, answer }
    }

    fn up(&self, transport: &Transport) {
        self.heard.set(self.lp.time());
        let before = self.link.replace(Link::Up(transport.clone()));
        if let Link::Down(waited_for) = before {
            // Nobody may be waiting for it.
            let _ = waited_for.set_result(transport.clone());
        }
    }

    /// The connection is lost: every call under way is told, and asks again over the next one.
    fn down(&self) {
        drop(self.link.replace(Link::Down(self.lp.create_future())));
        for answer in self.waiting.take().into_values() {
            answer.cancel();
        }
    }

    fn answered(&self, number: u64, payload: Vec<u8>) {
        let waiting = self.waiting.borrow_mut().remove(&number);
        if let Some(answer) = waiting {
            // A caller that stopped waiting has taken its future out.
            let _ = answer.set_result(payload.into());
        }
    }
}

/// The client's side of a connection.
struct Answers {
    shared: Rc<Shared>,
    decoder: Decoder,
}

impl Protocol for Answers {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.shared.up(cx.transport());
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.shared.heard.set(cx.event_loop().time());
        self.decoder.feed(data);
        loop {
            match self.decoder.poll() {
                Ok(Some(answer)) => self.shared.answered(answer.number, answer.payload),
                Ok(None) => return,
                Err(error) => return cx.fail(error.into()),
            }
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        self.shared.down();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.0.shared.server)
            .field("under_way", &self.0.shared.waiting.borrow().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Busy => write!(f, "{CALLS_MAX} calls are under way; wait for one of them"),
            Self::Unanswered { attempts } => {
                write!(f, "no answer to any of {attempts} attempts; is the server there?")
            }
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Frame(error) => Some(error),
            _ => None,
        }
    }
}
