//! A client: a connection that is made again when it fails, and what is asked over it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sim_core::hyper::hyper::body::Incoming;
use sim_core::hyper::hyper::client::conn::{http1, http2};
use sim_core::hyper::hyper::{self, Method, Request, Response, Version as HttpVersion};
use sim_core::hyper::{IoProtocol, LoopIo, http1_client, http2_client_builder};
use sim_core::sync::{Event, Lock};
use sim_core::{Failure, Loop, Rng, Task, TaskError};

use super::payload::{Made, Payload, digest};
use super::server::{Resources, next, read, read_on, receipt};
use super::{AHEAD_BYTES_MAX, LARGE_BODY_BYTES, PORT, SOCKET_BUFFER_BYTES};
use crate::patience::within;
use crate::violation::ensure;
use crate::{Digest, Violation};

/// How long the first attempt may take; each one after it may take twice as long, up to a limit.
const ATTEMPT: Duration = Duration::from_secs(2);
const ATTEMPT_MAX: Duration = Duration::from_secs(3_600);
/// How much of a body may come over HTTP/2 that nobody has read: the least that RFC 9113 has by default.
const WINDOW_BYTES: u32 = 65_535;
/// How long a client rests between attempts.
const BACK_OFF: Duration = Duration::from_millis(50);
/// The length of a body of which a half is held back.
const HELD_BYTES: u64 = 50_000;
/// How long a reader that is late is late.
const LATE: Duration = Duration::from_millis(500);

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    kind: Kind,
    seed: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A body comes down.
    Get,
    /// A large body comes down, and is read late.
    GetLate,
    /// A body goes up, and is paid for with its digest.
    Digest,
    /// A body goes up and comes down at once.
    Echo,
}

impl Errand {
    /// One of a body of `bytes` bytes.
    pub(super) fn random(bytes: u64, rng: &mut Rng) -> Self {
        let kind = [Kind::Get, Kind::Digest, Kind::Echo][rng.below(3) as usize];
        Self { kind, seed: rng.next_u64(), bytes }
    }

    /// One of a large body that is read late.
    pub(super) fn late(rng: &mut Rng) -> Self {
        Self { kind: Kind::GetLate, seed: rng.next_u64(), bytes: LARGE_BODY_BYTES }
    }

    fn request(&self) -> Request<Payload> {
        let Self { seed, bytes, .. } = *self;
        let (method, path, payload) = match self.kind {
            Kind::Get | Kind::GetLate => {
                (Method::GET, format!("/bytes/{seed}/{bytes}"), Payload::Text(None))
            }
            Kind::Digest => (Method::PUT, "/digest".to_owned(), self.payload()),
            Kind::Echo => (Method::PUT, "/echo".to_owned(), self.payload()),
        };
        request(method, &path, payload)
    }

    fn payload(&self) -> Payload {
        Payload::made(self.seed, self.bytes, self.seed.is_multiple_of(2), &Made::default())
    }
}

fn request(method: Method, path: &str, payload: Payload) -> Request<Payload> {
    let request = Request::builder().method(method).uri(format!("http://server:{PORT}{path}"));
    request.header("host", "server").body(payload).expect("it is well formed")
}

/// Where requests are sent.
enum Sender {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
}

impl Sender {
    async fn send(&mut self, request: Request<Payload>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// A request of which half the body has gone up and come down.
pub(super) struct Held {
    client: Client,
    /// Keeps the connection open.
    _sender: Sender,
    seed: u64,
    came: Digest,
    rest: Incoming,
}

impl Held {
    /// Reads the rest, which must be whole.
    pub(super) async fn finish(mut self, lp: &Loop) -> Result<(), Violation> {
        let rest = read_on(self.rest, &mut self.came);
        let read = within(lp, "the rest of an answer that had begun", rest).await?;
        ensure!(read.is_ok(), "the end of the server cut an answer that had begun: {read:?}");
        let (came, expected) = (receipt(&self.came), digest(self.seed, HELD_BYTES));
        ensure!(
            (self.came.bytes(), self.came.finish()) == (HELD_BYTES, expected),
            "an answer over the end of the server is {came:?}"
        );
        self.client.ended().await.map(drop)
    }
}

/// A client host's connection, which several tasks may use if it speaks HTTP/2.
pub(super) struct Client {
    lp: Loop,
    version: Version,
    resources: Rc<Resources>,
    /// The connection in use, and the how-manieth it is. That of HTTP/1.1 is taken out by its user.
    sender: Lock<(u32, Option<Sender>)>,
    connections: RefCell<Vec<Task<hyper::Result<()>>>>,
    failed: Cell<u32>,
}

impl Client {
    pub(super) fn new(lp: &Loop, version: Version, resources: &Rc<Resources>) -> Self {
        Self {
            lp: lp.clone(),
            version,
            resources: Rc::clone(resources),
            sender: Lock::new((0, None)),
            connections: RefCell::default(),
            failed: Cell::new(0),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn event_loop(&self) -> &Loop {
        &self.lp
    }

    /// Asks until it is answered.
    pub(super) async fn run(&self, errand: Errand) -> Result<(), Failure> {
        let mut patience = ATTEMPT;
        loop {
            // The connection that an attempt fails over is not used again.
            let used = Cell::new(None);
            match self.lp.timeout(patience, self.attempt(errand, &used)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) if failure.is::<Violation>() => return Err(failure),
                Ok(Err(_)) | Err(_) => {
                    self.failed.set(self.failed.get() + 1);
                    self.give_up(used.get()).await;
                    self.lp.sleep(BACK_OFF).await;
                }
            }
            patience = (2 * patience).min(ATTEMPT_MAX);
        }
    }

    /// Asks once.
    async fn attempt(&self, errand: Errand, used: &Cell<Option<u32>>) -> Result<(), Failure> {
        let (number, mut sender) = self.sender().await?;
        used.set(Some(number));
        let made = self.resources.watch(errand.seed);
        let response = sender.send(errand.request()).await?;
        self.judge(errand, response, &made).await?;
        self.resources.forget(errand.seed);
        if self.version == Version::Http1 {
            *self.sender.acquire().await = (number, Some(sender));
        }
        Ok(())
    }

    /// Asks for an echo, of which half comes at once and the rest when `go` is set.
    pub(super) async fn begin(self, seed: u64, go: &Event) -> Result<Held, Failure> {
        let (_, mut sender) = self.sender().await?;
        let payload = Payload::in_two_parts(seed, HELD_BYTES, go);
        let response = sender.send(request(Method::PUT, "/echo", payload)).await?;
        let (mut rest, mut came) = (response.into_body(), Digest::default());
        while came.bytes() == 0 {
            let frame = next(&mut rest).await.ok_or("an echo ends before it begins")??;
            came.update(frame.data_ref().map_or(&[], |data| data));
        }
        Ok(Held { client: self, _sender: sender, seed, came, rest })
    }

    async fn judge(
        &self,
        errand: Errand,
        response: Response<Incoming>,
        made: &Made,
    ) -> Result<(), Failure> {
        let Errand { kind, seed, bytes } = errand;
        let spoken = match self.version {
            Version::Http1 => HttpVersion::HTTP_11,
            Version::Http2 => HttpVersion::HTTP_2,
        };
        ensure!(
            response.version() == spoken && response.status().is_success(),
            "a request over {spoken:?} was answered {response:?}"
        );
        ensure!(response.headers().contains_key("date"), "an answer has no date");
        if kind == Kind::GetLate {
            self.lp.sleep(LATE).await;
            let ahead = made.get();
            ensure!(
                ahead <= AHEAD_BYTES_MAX,
                "{ahead} bytes were made of a body that nobody reads"
            );
        }
        let came = read(response.into_body()).await?;
        let expected = digest(seed, bytes);
        if kind == Kind::Digest {
            let text = format!("{bytes} {expected:016x}\n");
            let expected = Digest::of(text.as_bytes());
            ensure!(came.finish() == expected, "a receipt is not {text:?}");
        } else {
            let text = receipt(&came);
            ensure!(
                (came.bytes(), came.finish()) == (bytes, expected),
                "a body is {text:?} and should be {bytes} {expected:016x}"
            );
        }
        Ok(())
    }

    /// Where to send the next request; connects if need be.
    async fn sender(&self) -> Result<(u32, Sender), Failure> {
        let mut sender = self.sender.acquire().await;
        let (number, current) = &mut *sender;
        if current.is_none() {
            *number += 1;
            *current = Some(self.connect().await?);
        }
        let usable = match current {
            Some(Sender::Http2(shared)) => Some(Sender::Http2(shared.clone())),
            other => other.take(),
        };
        Ok((*number, usable.expect("it was just made")))
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let connecting = self.lp.connection().receive_buffer(SOCKET_BUFFER_BYTES);
        let conn = connecting.connect(("server", PORT), IoProtocol::new).await?;
        let io = LoopIo::new(&conn);
        let (sender, connection) = match self.version {
            Version::Http1 => {
                let (sender, connection) = http1_client(io).await?;
                (Sender::Http1(sender), connection)
            }
            Version::Http2 => {
                let mut builder = http2_client_builder(&self.lp);
                builder.initial_stream_window_size(WINDOW_BYTES);
                let (sender, connection) = builder.handshake(io).await?;
                (Sender::Http2(sender), self.lp.create_task(connection))
            }
        };
        self.connections.borrow_mut().push(connection);
        Ok(sender)
    }

    /// Has nobody use the connection of this number again.
    async fn give_up(&self, number: Option<u32>) {
        let mut sender = self.sender.acquire().await;
        if number == Some(sender.0) {
            sender.1 = None;
        }
    }

    /// Closes, waits until every connection has ended, and says how many attempts failed.
    pub(super) async fn leave(&self) -> Result<u32, Violation> {
        self.sender.acquire().await.1 = None;
        // How they ended, their last requests knew before.
        self.ended().await?;
        Ok(self.failed.get())
    }

    /// Waits until every connection has ended, of itself or because the server wants it: how each did.
    pub(super) async fn ended(
        &self,
    ) -> Result<Vec<Result<hyper::Result<()>, TaskError>>, Violation> {
        let mut ends = Vec::new();
        for connection in self.connections.take() {
            ends.push(within(&self.lp, "the end of a client's connection", connection).await?);
        }
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use sim_net::Sim;

    use super::super::Flaw;
    use super::*;

    /// Patience that doubled at each attempt would come to more than a `Duration` holds.
    #[test]
    fn a_dead_server_is_asked_for_as_long_as_one_likes() {
        let asked = Sim::new(1).run(|world| async move {
            world.host("server");
            let lp = world.host("client");
            let resources = Rc::new(Resources::new(Flaw::None));
            let client = Client::new(&lp, Version::Http1, &resources);
            let errand = Errand { kind: Kind::Get, seed: 1, bytes: 1 };
            let asked = lp.timeout(Duration::from_secs(60), client.run(errand)).await;
            Ok::<_, Failure>((asked.is_err(), client.failed.get()))
        });
        let (gave_up, failed) = asked.unwrap();
        assert!(gave_up && failed > 1_000, "{failed}");
    }
}
