//! One node's part in the agreement.

use std::time::Duration;

use sim_core::{Rng, Time};

use super::message::{Entry, Id, Message, Record};
use super::{Bug, NODES};

/// How often a leader says that it is there.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How long a node waits for a leader: at least so long, and up to so many steps longer. Steps, so
/// that two nodes do run out of patience at once now and then.
const ELECTION_MIN: Duration = Duration::from_millis(300);
const ELECTION_STEP: Duration = Duration::from_millis(50);
const ELECTION_STEPS: u64 = 6;
/// How long a candidate waits before it asks again those that have not voted for it.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// A node of Raft (Ongaro and Ousterhout 2014), with leader election and a log, without membership
/// changes and snapshots.
///
/// A value without I/O or clock. It is told the time and what came ([`receive`](Self::receive)), when its
/// [`deadline`](Self::deadline) is over ([`tick`](Self::tick)), and what is to be agreed on
/// ([`propose`](Self::propose)). After each of them [`take_output`](Self::take_output) has what is to be
/// done: records to be made durable, and messages that may leave only after that.
#[derive(Debug)]
pub struct Raft {
    me: Id,
    term: u64,
    voted_for: Option<Id>,
    log: Vec<Entry>,
    commit: u64,
    role: Role,
    deadline: Time,
    rng: Rng,
    records: Vec<Record>,
    messages: Vec<(Id, Message)>,
    bug: Option<Bug>,
}

/// What a node is in its term.
#[derive(Debug)]
enum Role {
    Follower,
    Candidate {
        votes: [bool; NODES],
        gives_up: Time,
    },
    Leader {
        /// Of each other node, the first entry to be sent, and the last that it is known to have.
        next: [u64; NODES],
        matched: [u64; NODES],
        /// Who has answered.
        heard: [bool; NODES],
    },
}

impl Raft {
    /// Node `me` as it is at first, without a deadline yet.
    pub fn new(me: Id, rng: Rng, bug: Option<Bug>) -> Self {
        Self {
            me,
            term: 0,
            voted_for: None,
            log: Vec::new(),
            commit: 0,
            role: Role::Follower,
            deadline: Time::NEVER,
            rng,
            records: Vec::new(),
            messages: Vec::new(),
            bug,
        }
    }

    /// Takes in a record of a former life. They come in the order in which they were written.
    pub fn restore(&mut self, record: Record) {
        match record {
            Record::Term(term, _) if self.bug == Some(Bug::ForgetsVote) => self.term = term,
            Record::Term(term, vote) => (self.term, self.voted_for) = (term, vote),
            Record::Entry(index, entry) => {
                self.log.truncate(index.saturating_sub(1) as usize);
                self.log.push(entry);
            }
        }
    }

    /// Begins to wait for a leader.
    pub fn start(&mut self, now: Time) {
        self.deadline = now + self.patience();
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Time {
        self.deadline
    }

    /// Its number.
    pub fn me(&self) -> Id {
        self.me
    }

    /// The term it is in.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// True while it leads its term.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// Its log.
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// How many of its entries it knows to be committed.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// What is to be made durable, and what is to be sent when it is.
    pub fn take_output(&mut self) -> (Vec<Record>, Vec<(Id, Message)>) {
        (std::mem::take(&mut self.records), std::mem::take(&mut self.messages))
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        if now < self.deadline {
            return;
        }
        match &self.role {
            Role::Leader { .. } => {
                self.deadline = now + HEARTBEAT;
                self.append_everywhere();
            }
            Role::Candidate { gives_up, .. } if now < *gives_up => self.ask(now, *gives_up),
            Role::Candidate { .. } | Role::Follower => {
                let gives_up = now + self.patience();
                self.set_term(self.term + 1, Some(self.me));
                self.role = Role::Candidate { votes: self.only_me(), gives_up };
                self.ask(now, gives_up);
            }
        }
    }

    /// Appends an entry, if this node leads and a majority knows: false if it does not.
    pub fn propose(&mut self, command: u64) -> bool {
        let Role::Leader { heard, .. } = &self.role else { return false };
        if !is_majority(heard) {
            return false;
        }
        self.push(Entry { term: self.term, command });
        self.append_everywhere();
        true
    }

    /// A message came.
    pub fn receive(&mut self, now: Time, from: Id, message: Message) {
        if usize::from(from) >= NODES || from == self.me {
            return;
        }
        if message.term() > self.term {
            self.set_term(message.term(), None);
            if !matches!(self.role, Role::Follower) {
                self.follow(now);
            }
        }
        let is_current = message.term() == self.term;
        match message {
            Message::RequestVote { last, .. } => {
                self.vote(now, from, last, is_current);
            }
            Message::Vote { granted, .. } if is_current && granted => self.count(now, from),
            Message::Append { previous, commit, entries, .. } if is_current => {
                if !self.is_leader() {
                    self.follow(now);
                    self.accept(from, previous, commit, entries);
                }
            }
            Message::Append { .. } => {
                self.send(from, Message::Appended { term: self.term, is_match: false, index: 0 });
            }
            Message::Appended { is_match, index, .. } if is_current => {
                self.acknowledged(from, is_match, index);
            }
            Message::Vote { .. } | Message::Appended { .. } => {}
        }
    }

    // Elections.

    fn patience(&mut self) -> Duration {
        ELECTION_MIN + ELECTION_STEP * self.rng.below(ELECTION_STEPS) as u32
    }

    fn set_term(&mut self, term: u64, vote: Option<Id>) {
        (self.term, self.voted_for) = (term, vote);
        self.records.push(Record::Term(term, vote));
    }

    fn follow(&mut self, now: Time) {
        self.role = Role::Follower;
        self.deadline = now + self.patience();
    }

    /// Asks for the votes that are missing.
    fn ask(&mut self, now: Time, gives_up: Time) {
        self.deadline = gives_up.min(now + ASK_AGAIN);
        let Role::Candidate { votes, .. } = self.role else { return };
        let request = Message::RequestVote { term: self.term, last: self.last() };
        for node in self.others().filter(|node| !votes[usize::from(*node)]) {
            self.send(node, request.clone());
        }
    }

    fn vote(&mut self, now: Time, from: Id, (index, term): (u64, u64), is_current: bool) {
        let (my_index, my_term) = self.last();
        let is_free = self.voted_for.is_none_or(|voted_for| voted_for == from);
        let granted = is_current && is_free && (term, index) >= (my_term, my_index);
        if granted {
            if self.voted_for.is_none() {
                self.set_term(self.term, Some(from));
            }
            self.deadline = now + self.patience();
        }
        self.send(from, Message::Vote { term: self.term, granted });
    }

    fn count(&mut self, now: Time, from: Id) {
        let Role::Candidate { votes, .. } = &mut self.role else { return };
        votes[usize::from(from)] = true;
        if is_majority(votes) {
            let (next, matched) = ([self.log.len() as u64 + 1; NODES], [0; NODES]);
            self.role = Role::Leader { next, matched, heard: self.only_me() };
            // It says so with its first heartbeat.
            self.deadline = now + HEARTBEAT;
        }
    }

    // The log.

    /// Takes in entries of the leader.
    fn accept(&mut self, from: Id, previous: (u64, u64), commit: u64, entries: Vec<Entry>) {
        let (previous, previous_term) = previous;
        if self.term_of(previous) != Some(previous_term) {
            let index = previous.saturating_sub(1).min(self.log.len() as u64);
            let answer = Message::Appended { term: self.term, is_match: false, index };
            return self.send(from, answer);
        }
        let last = previous + entries.len() as u64;
        if self.bug == Some(Bug::CutsLog) && !entries.is_empty() {
            self.log.truncate(previous as usize);
        }
        for (index, entry) in (previous + 1..).zip(entries) {
            // What is there stays, and what comes after it: the message may be old.
            if self.term_of(index) != Some(entry.term) {
                self.log.truncate(index as usize - 1);
                self.push(entry);
            }
        }
        self.commit = self.commit.max(commit.min(last));
        self.send(from, Message::Appended { term: self.term, is_match: true, index: last });
    }

    fn acknowledged(&mut self, from: Id, is_match: bool, index: u64) {
        let Role::Leader { next, matched, heard } = &mut self.role else { return };
        let node = usize::from(from);
        heard[node] = true;
        if !is_match {
            next[node] = next[node].min(index + 1);
            return self.append(from);
        }
        matched[node] = matched[node].max(index);
        next[node] = next[node].max(index + 1);
        let mut sorted = *matched;
        sorted[usize::from(self.me)] = self.log.len() as u64;
        sorted.sort_unstable();
        let majority_has = sorted[NODES / 2];
        // Those of earlier terms are committed with one of this term (§5.4.2 of the paper).
        if majority_has > self.commit && self.term_of(majority_has) == Some(self.term) {
            self.commit = majority_has;
        }
    }

    fn append_everywhere(&mut self) {
        self.others().for_each(|node| self.append(node));
    }

    /// Sends a node all that it is not known to have.
    fn append(&mut self, to: Id) {
        let Role::Leader { next, .. } = &self.role else { return };
        let previous = next[usize::from(to)] - 1;
        let entries = self.log.get(previous as usize..).unwrap_or_default().to_vec();
        let previous = (previous, self.term_of(previous).unwrap_or(0));
        let message = Message::Append { term: self.term, previous, commit: self.commit, entries };
        self.send(to, message);
    }

    fn push(&mut self, entry: Entry) {
        self.log.push(entry);
        self.records.push(Record::Entry(self.log.len() as u64, entry));
    }

    /// The term of an entry; `None` if it is not there.
    fn term_of(&self, index: u64) -> Option<u64> {
        match index.checked_sub(1) {
            None => Some(0),
            Some(place) => self.log.get(place as usize).map(|entry| entry.term),
        }
    }

    /// The number and the term of the last entry.
    fn last(&self) -> (u64, u64) {
        (self.log.len() as u64, self.log.last().map_or(0, |entry| entry.term))
    }

    fn send(&mut self, to: Id, message: Message) {
        self.messages.push((to, message));
    }

    fn others(&self) -> impl Iterator<Item = Id> + use<> {
        let me = self.me;
        (0..NODES as Id).filter(move |node| *node != me)
    }

    fn only_me(&self) -> [bool; NODES] {
        std::array::from_fn(|node| node == usize::from(self.me))
    }
}

fn is_majority(nodes: &[bool; NODES]) -> bool {
    nodes.iter().filter(|is_in| **is_in).count() > NODES / 2
}
