//! The side that asks: commands in batches, over connections that are kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, Cx, Loop, LoopFuture, Protocol};

use super::codec::{Decoder, Value, encode_command};
use super::{Bug, PORT};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How many bytes a batch has, about.
const BATCH_BYTES: usize = 128;

/// Connections that wait for work. Clones are handles of the same pool.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    lp: Loop,
    idle: Rc<RefCell<Vec<Conn<Connection>>>>,
    bug: Option<Bug>,
}

/// Why there are no replies: what was asked for may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unanswered;

/// A connection that is taken out of a pool; it goes back when this is dropped.
struct Lease {
    conn: Conn<Connection>,
    pool: Pool,
}

impl Pool {
    pub(super) fn new(lp: &Loop, bug: Option<Bug>) -> Self {
        Self { lp: lp.clone(), idle: Rc::default(), bug }
    }

    /// Sends commands, and takes a reply to each.
    ///
    /// # Cancel safety
    ///
    /// Commands of a batch that is dropped may have been executed. Its replies are nobody's.
    pub(super) async fn ask(&self, commands: &[&[&str]]) -> Result<Vec<Value>, Unanswered> {
        let lease = self.lease().await.ok_or(Unanswered)?;
        let replies = lease.conn.with(|connection, cx| connection.ask(cx, commands));
        replies.await.unwrap_or(Err(Unanswered))
    }

    /// Lets go of the connections that wait, which their server may have closed without being heard.
    pub(super) fn leave(&self) {
        let idle = self.idle.take();
        for conn in idle.iter().filter(|conn| !conn.transport().is_closing()) {
            conn.transport().abort();
        }
    }

    /// A connection that waits, or a new one.
    async fn lease(&self) -> Option<Lease> {
        let waiting = self.idle.borrow_mut().pop();
        let conn = match waiting {
            Some(conn) => conn,
            None => {
                let connecting = self.lp.create_connection(("server", PORT), Connection::default);
                self.lp.timeout(CONNECT_MAX, connecting).await.ok()?.ok()?
            }
        };
        Some(Lease { conn, pool: self.clone() })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let transport = self.conn.transport();
        if transport.is_closing() {
            return;
        }
        let owed = self.conn.with(|connection, _| connection.forget());
        // Z13: a connection goes back whatever its server still owes. One deviation suffices: one
        // packet that is lost with a batch or its replies, so that the batch is given up; the next
        // one over the connection takes the replies for its own. Without one no batch is given up.
        if owed && self.pool.bug != Some(Bug::KeepsOwing) {
            return transport.abort();
        }
        self.pool.idle.borrow_mut().push(self.conn.clone());
    }
}

/// The client's side of a connection.
#[derive(Debug, Default)]
struct Connection {
    decoder: Decoder,
    replies: VecDeque<Value>,
    /// How many replies somebody waits for.
    wanted: usize,
    waiting: Option<LoopFuture<Result<Vec<Value>, Unanswered>>>,
}

impl Connection {
    fn ask(
        &mut self,
        cx: &Cx<'_, Self>,
        commands: &[&[&str]],
    ) -> LoopFuture<Result<Vec<Value>, Unanswered>> {
        let waiting = cx.event_loop().create_future();
        (self.wanted, self.waiting) = (commands.len(), Some(waiting.clone()));
        let mut bytes = Vec::with_capacity(BATCH_BYTES);
        commands.iter().for_each(|command| encode_command(command, &mut bytes));
        cx.write(&bytes);
        if cx.is_closing() {
            self.settle(Err(Unanswered));
        } else {
            self.answer();
        }
        waiting
    }

    /// Gives out the replies, if there are as many as are wanted.
    fn answer(&mut self) {
        if self.waiting.is_some() && self.replies.len() >= self.wanted {
            let replies = self.replies.drain(..self.wanted).collect();
            self.settle(Ok(replies));
        }
    }

    fn settle(&mut self, replies: Result<Vec<Value>, Unanswered>) {
        if let Some(waiting) = self.waiting.take() {
            // Who waited may have given up.
            let _ = waiting.set_result(replies);
        }
    }

    /// Nobody waits any more: whether the server still owes something.
    fn forget(&mut self) -> bool {
        self.waiting.take().is_some()
    }
}

impl Protocol for Connection {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        loop {
            match self.decoder.poll() {
                Ok(Some(reply)) => self.replies.push_back(reply),
                Ok(None) => return self.answer(),
                Err(_) => return cx.abort(),
            }
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        self.settle(Err(Unanswered));
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    #[test]
    fn replies_are_given_out_when_all_of_them_are_there() {
        let mut peer = testing::drive(Connection::default());
        let commands = [&["GET", "a"][..], &["GET", "b"]];
        let coming = peer.with(|connection, cx| connection.ask(cx, &commands));
        peer.feed(b"$1\r\n1\r\n$");
        assert!(!coming.done());
        peer.feed(b"-1\r\n");
        let replies = vec![Value::Bulk(Some(b"1".to_vec())), Value::Bulk(None)];
        assert_eq!(coming.result().unwrap(), Ok(replies));
        assert!(!peer.with(|connection, _| connection.forget()));
    }

    #[test]
    fn who_gives_up_leaves_something_owed() {
        let mut peer = testing::drive(Connection::default());
        let commands = [&["GET", "a"][..]];
        let coming = peer.with(|connection, cx| connection.ask(cx, &commands));
        assert!(peer.with(|connection, _| connection.forget()));
        peer.feed(b"$1\r\n1\r\n");
        assert!(!coming.done());
    }

    #[test]
    fn the_end_of_the_connection_leaves_the_outcome_unknown() {
        let mut peer = testing::drive(Connection::default());
        let commands = [&["GET", "a"][..]];
        let coming = peer.with(|connection, cx| connection.ask(cx, &commands));
        peer.feed_eof();
        assert_eq!(coming.result().unwrap(), Err(Unanswered));
        let late = peer.with(|connection, cx| connection.ask(cx, &commands));
        assert_eq!(late.result().unwrap(), Err(Unanswered));
    }
}
