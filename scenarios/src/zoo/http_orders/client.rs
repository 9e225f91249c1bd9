//! The side that asks, over a connection that it keeps.

use std::io;
use std::time::Duration;

use sim_core::{Conn, Cx, Loop, LoopFuture, Protocol, Rng};

use super::message::{self, Decoder, Message, MessageError};
use super::{Bug, PORT};

/// How long a connection may take to be made, and an answer to come.
const CONNECT_MAX: Duration = Duration::from_millis(500);
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long the client waits, at most, before it tries again.
const RETRY_MAX: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// May be asked for any number of times.
    Get,
    /// Does something each time.
    Post,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The connection was lost, or nothing came for too long: what was asked for may have been done.
    Unknown,
    /// Something came that is no answer.
    Malformed(MessageError),
}

type Answer = Result<Message, Unanswered>;

/// A client that asks one thing at a time.
#[derive(Debug)]
pub(super) struct Client {
    lp: Loop,
    /// The connection of the last answer, for the next request.
    idle: Option<Conn<Connection>>,
    rng: Rng,
    bug: Option<Bug>,
}

impl Client {
    pub(super) fn new(lp: &Loop, bug: Option<Bug>) -> Self {
        Self { lp: lp.clone(), idle: None, rng: lp.rng("http.client"), bug }
    }

    /// Asks until there is an answer; once, if what is asked for is not to be done twice.
    pub(super) async fn ask(&mut self, method: Method, path: &str) -> Answer {
        let verb = if method == Method::Get { "GET" } else { "POST" };
        let request = message::encode(&format!("{verb} {path} HTTP/1.1"), []);
        loop {
            let kept = self.idle.take().filter(|conn| !conn.transport().is_closing());
            let is_kept = kept.is_some();
            let conn = match kept {
                Some(conn) => Some(conn),
                None => self.connect().await,
            };
            if let Some(conn) = conn {
                let answer = self.ask_over(&conn, &request).await;
                if answer.is_ok() {
                    self.idle = Some(conn);
                    return answer;
                }
                let was_lost = conn.transport().is_closing();
                conn.transport().abort();
                // Z14: a kept connection that is lost was closed by the server while it was idle, so
                // that the request was not heard, and may be repeated. One deviation suffices: a
                // reset behind the request of a POST, when it was executed, and before its answer
                // is whole. Without one a kept connection is lost only if the server closed it
                // indeed: then the request meets a closed socket.
                let was_idle = self.bug == Some(Bug::RetriesAll) && is_kept && was_lost;
                let is_repeated = method == Method::Get || was_idle;
                if !is_repeated || matches!(answer, Err(Unanswered::Malformed(_))) {
                    return answer;
                }
            }
            self.lp.sleep(self.rng.duration(Duration::from_millis(1)..RETRY_MAX)).await;
        }
    }

    /// Lets go of the connection that it keeps, which its server may have closed without being heard.
    pub(super) fn leave(self) {
        if let Some(conn) = self.idle.filter(|conn| !conn.transport().is_closing()) {
            conn.transport().abort();
        }
    }

    async fn connect(&self) -> Option<Conn<Connection>> {
        let bug = self.bug;
        let connecting = self.lp.create_connection(("server", PORT), move || Connection::new(bug));
        // Nothing was asked yet: it is tried again.
        self.lp.timeout(CONNECT_MAX, connecting).await.ok()?.ok()
    }

    async fn ask_over(&self, conn: &Conn<Connection>, request: &[u8]) -> Answer {
        let coming = conn.with(|connection, cx| connection.ask(cx, request));
        let answer = self.lp.timeout(ANSWER_MAX, coming).await;
        answer.ok().and_then(Result::ok).unwrap_or(Err(Unanswered::Unknown))
    }
}

/// The client's side of a connection.
#[derive(Debug)]
struct Connection {
    decoder: Decoder,
    coming: Option<LoopFuture<Answer>>,
}

impl Connection {
    fn new(bug: Option<Bug>) -> Self {
        Self { decoder: Decoder::new(bug), coming: None }
    }

    fn ask(&mut self, cx: &Cx<'_, Self>, request: &[u8]) -> LoopFuture<Answer> {
        let coming = cx.event_loop().create_future();
        self.coming = Some(coming.clone());
        cx.write(request);
        if cx.is_closing() {
            self.settle(Err(Unanswered::Unknown));
        }
        coming
    }

    fn settle(&mut self, answer: Answer) {
        if let Some(coming) = self.coming.take() {
            // Who waited may have given up.
            let _ = coming.set_result(answer);
        }
    }
}

impl Protocol for Connection {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        match self.decoder.poll() {
            Ok(None) => {}
            Ok(Some(answer)) => self.settle(Ok(answer)),
            Err(error) => self.settle(Err(Unanswered::Malformed(error))),
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        self.settle(Err(Unanswered::Unknown));
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    fn ask() -> (testing::Peer<Connection>, LoopFuture<Answer>) {
        let mut peer = testing::drive(Connection::new(None));
        let coming = peer.with(|connection, cx| connection.ask(cx, b"?"));
        assert_eq!(peer.take_written(), b"?");
        (peer, coming)
    }

    #[test]
    fn an_answer_is_heard_when_it_is_whole() {
        let (mut peer, coming) = ask();
        let bytes = message::encode("HTTP/1.1 200 OK", [&b"body"[..]]);
        peer.feed(&bytes[..bytes.len() - 1]);
        assert!(!coming.done());
        peer.feed(&bytes[bytes.len() - 1..]);
        assert_eq!(coming.result().unwrap().unwrap().body, b"body");
    }

    #[test]
    fn the_end_of_the_connection_leaves_the_outcome_unknown() {
        let (mut peer, coming) = ask();
        peer.feed(b"HTTP/1.1 200");
        peer.feed_eof();
        assert_eq!(coming.result().unwrap(), Err(Unanswered::Unknown));
        let late = peer.with(|connection, cx| connection.ask(cx, b"?"));
        assert_eq!(late.result().unwrap(), Err(Unanswered::Unknown));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let (mut peer, coming) = ask();
        peer.feed(b"\n");
        let error = Err(Unanswered::Malformed(MessageError::Line));
        assert_eq!(coming.result().unwrap(), error);
    }
}
