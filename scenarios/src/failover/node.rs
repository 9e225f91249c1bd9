//! A node: a replica with a store, connections, and a role.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use sim_core::{Loop, LoopFuture, Time};

use super::Flaw;
use super::register::{Node, View};
use super::replica::{Change, Place, Put, Replica, Verdict, other};
use super::request::{Answer, Request};
use super::witness;
use crate::ending::Ending;
use crate::journal::Journal;
use crate::rpc::Client;
use crate::service::{Service, stop_at};

/// How often an idle primary asks its backup whether it is still the primary.
const BEAT: Duration = Duration::from_millis(30);
/// How long a primary waits for its backup.
const BACKUP_MAX: Duration = Duration::from_millis(400);
/// How long a primary serves alone before it looks for a backup, and between two times.
const ALONE_MIN: Duration = Duration::from_millis(200);
/// How long a node waits for a primary before it wants to be it; node 1 waits a little longer.
const SILENCE_MAX: Duration = Duration::from_millis(150);
const SILENCE_STEP: Duration = Duration::from_millis(50);
/// How many requests may wait for their turn. More are passed over.
const QUEUE_MAX: usize = 256;

/// What a node does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It listens to a primary, or waits for one.
    Follower,
    /// It serves clients.
    Primary {
        view: View,
        /// The view before it, in which the backup got its snapshot.
        base: u64,
    },
}

/// A request of a client that waits for its turn, with its answer.
type Work = (Request, LoopFuture<Answer>);

/// Answers that somebody waits for, and some that were given.
type Awaited = Rc<RefCell<Vec<LoopFuture<Answer>>>>;

/// One life of a node.
struct Running {
    lp: Loop,
    me: Node,
    replica: RefCell<Replica>,
    journal: Journal,
    role: Cell<Role>,
    /// When it looks for a backup, if it is a primary without one.
    pair_at: Cell<Time>,
    /// When a primary was heard, or this node was one, last.
    heard: Cell<Time>,
    peer: Client,
    witness: Client,
    queue: RefCell<VecDeque<Work>>,
    /// The answers that clients wait for, in the queue or in a turn.
    awaited: Awaited,
    /// Completes when something is queued.
    bell: RefCell<LoopFuture<()>>,
    flaw: Flaw,
}

/// Where nodes and witness are.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    pub(super) nodes: [(&'static str, u16); 2],
    pub(super) witness: (&'static str, u16),
}

/// Runs node `me`, with what its store has, to the end.
pub(super) async fn run(
    lp: Loop,
    me: Node,
    at: Addresses,
    flaw: Flaw,
    ending: Ending,
) -> io::Result<()> {
    let mut replica = Replica::default();
    let journal = Journal::open(lp.store("replica")?, |record| {
        if let Some(change) = Change::decode(record) {
            replica.apply(&change);
        }
    });
    let journal = journal.await?;
    let awaited = Awaited::default();
    let node = Rc::new(Running {
        me,
        replica: RefCell::new(replica),
        journal,
        role: Cell::new(Role::Follower),
        pair_at: Cell::new(Time::ZERO),
        heard: Cell::new(lp.time()),
        peer: Client::new(&lp, at.nodes[usize::from(other(me))]),
        witness: Client::new(&lp, at.witness),
        queue: RefCell::default(),
        awaited: Rc::clone(&awaited),
        bell: RefCell::new(lp.create_future()),
        flaw,
        lp: lp.clone(),
    });
    let (serving, shown) = (Rc::clone(&node), Rc::clone(&node));
    let service = Service::new(move |_, payload: Vec<u8>| {
        let node = Rc::clone(&serving);
        async move { node.answer(Request::decode(&payload)?).await }
    });
    let service = service.showing(move || shown.digest());
    let server = service.listen(&lp, at.nodes[usize::from(me)]).await?;
    let mut turns = Box::pin(async move {
        loop {
            node.turn().await?;
        }
    });
    let mut end = pin!(ending.comes(&lp));
    let ended = poll_fn(|cx| match end.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(Ok(())),
        Poll::Pending => turns.as_mut().poll(cx),
    });
    let ended: io::Result<()> = ended.await;
    // What the turns keep is given up now, in the middle of one.
    drop(turns);
    ended?;
    stop_at(&ending, &lp, server).await?;
    // Nobody has a turn any more.
    for answer in awaited.take() {
        answer.cancel();
    }
    Ok(())
}

impl Running {
    /// Its role and where its copy stands, in a few words.
    fn digest(&self) -> String {
        let replica = self.replica.borrow();
        let (Place { view, index }, fence) = (replica.place(), replica.fence());
        let copy = format!("copy {view}.{index}, fence {fence}");
        match self.role.get() {
            Role::Follower => format!("follower, {copy}"),
            Role::Primary { view, .. } => {
                let how = if view.paired { "paired" } else { "alone" };
                format!("primary of view {} ({how}), {copy}", view.number)
            }
        }
    }

    /// Answers anybody.
    async fn answer(&self, request: Request) -> Option<Vec<u8>> {
        let answer = match request {
            Request::Change(change) => match self.take(&change).await {
                Ok(true) => Answer::Taken,
                Ok(false) | Err(_) => Answer::Refused,
            },
            client if self.queue.borrow().len() < QUEUE_MAX => {
                let answer = self.lp.create_future();
                self.queue.borrow_mut().push_back((client, answer.clone()));
                self.await_answer(&answer);
                let bell = self.bell.borrow().clone();
                // It has rung already if something else is queued.
                let _ = bell.set_result(());
                answer.await.ok()?
            }
            _ => return None,
        };
        Some(answer.encode())
    }

    /// Notes that somebody waits for an answer.
    fn await_answer(&self, answer: &LoopFuture<Answer>) {
        let mut awaited = self.awaited.borrow_mut();
        awaited.retain(|answer| !answer.done());
        awaited.push(answer.clone());
    }

    /// Takes a change of a primary: true once it is durable.
    async fn take(&self, change: &Change) -> io::Result<bool> {
        let verdict = self.replica.borrow().judge(change, self.flaw != Flaw::NoFence);
        match verdict {
            Verdict::Refuse => return Ok(false),
            Verdict::Known => {}
            Verdict::Apply => {
                self.write(change)?;
                if matches!(change, Change::Snapshot { .. }) {
                    // There is a later primary than this node, if it was one.
                    self.role.set(Role::Follower);
                }
            }
        }
        self.heard.set(self.lp.time());
        self.sync().await?;
        Ok(true)
    }

    /// Does the next thing: what a client asked, or what is due when nobody asks.
    async fn turn(&self) -> io::Result<()> {
        let work = self.next_work().await;
        let Role::Primary { view, base } = self.role.get() else {
            if let Some((_, answer)) = work {
                // Who asked may be gone.
                let _ = answer.set_result(Answer::Refused);
            }
            return self.watch().await;
        };
        let put = match &work {
            Some((Request::Write(put), _)) => Some(*put),
            _ => None,
        };
        let served = self.commit(view, base, put).await?;
        if let Some((request, answer)) = work {
            let done = served.map_or(Answer::Refused, |view| Answer::Done {
                view: view.number,
                node: self.me,
                value: self.replica.borrow().get(request.key()),
            });
            let _ = answer.set_result(done);
        }
        match self.role.get() {
            Role::Primary { view, .. } if !view.paired && self.lp.time() >= self.pair_at.get() => {
                self.pair(view).await
            }
            _ => Ok(()),
        }
    }

    /// What a client asked first; `None` if nobody did for a while.
    async fn next_work(&self) -> Option<Work> {
        if self.queue.borrow().is_empty() {
            let bell = self.lp.create_future();
            self.bell.replace(bell.clone());
            // Either is a reason to look.
            let _ = self.lp.timeout(BEAT, bell).await;
        }
        self.queue.borrow_mut().pop_front()
    }

    /// Makes a write, or none, durable wherever this view asks for it: the view in which it now holds,
    /// or `None` if this node is the primary no more.
    async fn commit(&self, view: View, base: u64, put: Option<Put>) -> io::Result<Option<View>> {
        let change = self.replica.borrow().next(view.number, base, put);
        if let Change::Put { put: Some(_), .. } = change {
            self.write(&change)?;
        }
        self.sync().await?;
        if !view.paired {
            return Ok(Some(view));
        }
        if self.flaw == Flaw::AckBeforeBackup {
            let (peer, payload) = (self.peer.clone(), change.encode());
            self.lp.create_task(async move { peer.call(&payload).await });
            return Ok(Some(view));
        }
        if self.send(&change).await {
            return Ok(Some(view));
        }
        self.lead(view.next(self.me, false)).await
    }

    /// Looks for a backup: gives the other node everything, and tells the witness that it has it.
    /// Nothing is written meanwhile, as turns come one by one.
    async fn pair(&self, view: View) -> io::Result<()> {
        let snapshot = self.replica.borrow().snapshot();
        if self.send(&snapshot).await {
            self.lead(view.next(self.me, true)).await?;
        }
        self.pair_at.set(self.lp.time() + ALONE_MIN);
        Ok(())
    }

    /// Becomes the primary if no primary is heard, and this node has every acknowledged write.
    async fn watch(&self) -> io::Result<()> {
        let silence_max = SILENCE_MAX + SILENCE_STEP * u32::from(self.me);
        if self.lp.time() - self.heard.get() < silence_max {
            return Ok(());
        }
        if self.flaw == Flaw::NoWitness {
            let number = self.replica.borrow().fence().max(View::FIRST.number);
            let own = View { number, primary: self.me, paired: true };
            return self.become_primary(own.next(self.me, false)).await;
        }
        let Some(view) = witness::ask(&self.witness, None).await else { return Ok(()) };
        // A primary may have spoken while the witness was asked.
        let silent = self.lp.time() - self.heard.get() >= silence_max;
        if silent && view.has(self.me) {
            self.lead(view.next(self.me, false)).await?;
        }
        Ok(())
    }

    /// Leads the view `next` if the witness agrees, and else follows. Until the witness has answered,
    /// it is not known what holds, and nothing can be acknowledged.
    async fn lead(&self, next: View) -> io::Result<Option<View>> {
        let view = loop {
            if let Some(view) = witness::ask(&self.witness, Some(next)).await {
                break view;
            }
        };
        if view == next {
            self.become_primary(next).await?;
            return Ok(Some(next));
        }
        self.replica.borrow_mut().hear_of(view);
        self.role.set(Role::Follower);
        self.heard.set(self.lp.time());
        Ok(None)
    }

    /// Puts up the fence for good, and serves.
    async fn become_primary(&self, view: View) -> io::Result<()> {
        self.write(&Change::Lead { view: view.number })?;
        self.sync().await?;
        self.lp.mark("failover.view", view.number);
        self.pair_at.set(self.lp.time() + ALONE_MIN);
        self.role.set(Role::Primary { view, base: view.number - 1 });
        Ok(())
    }

    async fn send(&self, change: &Change) -> bool {
        let answer = self.lp.timeout(BACKUP_MAX, self.peer.call(&change.encode())).await;
        let answer = answer.ok().and_then(Result::ok);
        answer.is_some_and(|answer| Answer::decode(&answer) == Some(Answer::Taken))
    }

    fn write(&self, change: &Change) -> io::Result<()> {
        self.journal.append(&change.encode())?;
        self.replica.borrow_mut().apply(change);
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        if self.flaw == Flaw::NoSync {
            return Ok(());
        }
        self.journal.sync().await
    }
}
