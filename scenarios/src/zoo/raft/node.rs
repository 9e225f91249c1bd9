//! A node with a socket, a timer and a store.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Loop, Time, Timer};

use super::consensus::Raft;
use super::message::{Id, Message, Record};
use super::oracle::Oracle;
use super::{Bug, HOSTS, PORT};
use crate::ending::Ending;
use crate::journal::Journal;

/// The datagram transport of a callback.
type Datagrams<'a> = Cx<'a, Node, DatagramTransport>;

/// How a node's application uses the log.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// How often it has something to write, if its node leads.
    pub(super) write_every: Duration,
    /// A node that knows so many entries to be committed does not write any more.
    pub(super) entries_max: u64,
    pub(super) oracle: Rc<RefCell<Oracle>>,
    pub(super) ending: Ending,
}

/// One life of a node: [`Raft`] with a socket, a timer and a store.
#[derive(Debug)]
pub struct Node {
    raft: Raft,
    journal: Rc<Journal>,
    /// How many batches of messages wait for the journal.
    syncing: usize,
    nodes: Vec<SocketAddr>,
    /// Runs at the deadline, or earlier: it looks again then.
    timer: Option<Timer>,
    timer_at: Time,
    next_write: Option<Timer>,
    work: Work,
    /// What the oracle has seen: term, committed entries, and whether it leads.
    seen: (u64, u64, bool),
    /// Why the store failed.
    failure: Option<io::Error>,
}

/// Runs node `me`, with what its store has, to the end of the scenario.
pub(super) async fn run(lp: Loop, me: Id, bug: Option<Bug>, work: Work) -> io::Result<()> {
    let mut raft = Raft::new(me, lp.rng("raft.election"), bug);
    let replay = |record: &[u8]| {
        if let Some(record) = Record::decode(record) {
            raft.restore(record);
        }
    };
    let journal = Rc::new(Journal::open(lp.store("raft")?, replay).await?);
    let mut nodes = Vec::new();
    for host in HOSTS {
        nodes.extend(lp.getaddrinfo((host, PORT)).await?.first().copied());
    }
    let ending = work.ending.clone();
    let node = || Node {
        raft,
        journal,
        syncing: 0,
        nodes,
        timer: None,
        timer_at: Time::NEVER,
        next_write: None,
        work,
        seen: (0, 0, false),
        failure: None,
    };
    let conn = lp.datagram().local((HOSTS[usize::from(me)], PORT)).bind(node).await?;
    ending.comes(&lp).await.map_err(io::Error::other)?;
    conn.transport().close();
    conn.closed().await?;
    conn.with(|node, _| node.failure.take()).map_or(Ok(()), Err)
}

impl Node {
    /// Does what the agreement wants done, and sets the timer.
    fn pump(&mut self, cx: &Datagrams<'_>) {
        let (records, messages) = self.raft.take_output();
        for record in &records {
            if let Err(error) = self.journal.append(&record.encode()) {
                return self.fail(cx, error);
            }
        }
        let seen = (self.raft.term(), self.raft.commit(), self.raft.is_leader());
        if !records.is_empty() || seen != self.seen {
            self.seen = seen;
            self.work.oracle.borrow_mut().look(&self.raft);
        }
        if records.is_empty() && self.syncing == 0 {
            self.send(cx, &messages);
        } else if !messages.is_empty() || !records.is_empty() {
            self.send_when_durable(cx, messages);
        }
        let deadline = self.raft.deadline();
        if self.timer.is_none() || deadline < self.timer_at {
            self.timer_at = deadline;
            self.timer = Some(cx.call_at(deadline, |this, cx| {
                this.timer = None;
                this.raft.tick(cx.event_loop().time());
                this.pump(cx);
            }));
        }
    }

    fn send_when_durable(&mut self, cx: &Datagrams<'_>, messages: Vec<(Id, Message)>) {
        self.syncing += 1;
        let journal = Rc::clone(&self.journal);
        cx.spawn(async move { journal.sync().await }, move |this, cx, synced| {
            this.syncing -= 1;
            match synced {
                Ok(()) => this.send(cx, &messages),
                Err(error) => this.fail(cx, error),
            }
        });
    }

    fn send(&self, cx: &Datagrams<'_>, messages: &[(Id, Message)]) {
        for (to, message) in messages {
            // What the socket refuses is lost, as others are.
            let _ = cx.send_to(&message.encode(), self.nodes.get(usize::from(*to)).copied());
        }
    }

    fn write(&mut self, cx: &mut Datagrams<'_>) {
        // What its node knows, not what is so: a new leader needs an entry of its own to know more.
        if self.raft.is_leader() && self.raft.commit() < self.work.entries_max {
            let command = self.work.oracle.borrow_mut().next_command();
            self.raft.propose(command);
        }
        self.next_write = Some(cx.call_later(self.work.write_every, Self::write));
        self.pump(cx);
    }

    /// A node that cannot remember takes no part any more.
    fn fail(&mut self, cx: &Datagrams<'_>, error: io::Error) {
        self.failure.get_or_insert(error);
        cx.abort();
    }
}

impl DatagramProtocol for Node {
    fn connection_made(&mut self, cx: &mut Datagrams<'_>) {
        self.raft.start(cx.event_loop().time());
        self.next_write = Some(cx.call_later(self.work.write_every, Self::write));
        self.pump(cx);
    }

    fn datagram_received(&mut self, cx: &mut Datagrams<'_>, data: &[u8], from: SocketAddr) {
        let from = self.nodes.iter().position(|node| *node == from);
        if let (Some(from), Some(message)) = (from, Message::decode(data)) {
            self.raft.receive(cx.event_loop().time(), from as Id, message);
            self.pump(cx);
        }
    }
}
