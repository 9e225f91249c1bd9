//! Elections and logs, message by message.

use std::time::Duration;

use sim_core::{Rng, Time};

use super::Bug;
use super::consensus::Raft;
use super::message::{Entry, Id, Message, Record};
use super::oracle::Oracle;

const fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn raft(me: Id, bug: Option<Bug>) -> Raft {
    let mut raft = Raft::new(me, Rng::from_seed([me; 32]), bug);
    raft.start(at(0));
    raft
}

fn entry(term: u64, command: u64) -> Entry {
    Entry { term, command }
}

/// What a node answers to a message.
fn answers(raft: &mut Raft, millis: u64, from: Id, message: Message) -> Vec<(Id, Message)> {
    raft.receive(at(millis), from, message);
    raft.take_output().1
}

/// A node that leads term 1, and that node 1 has heard.
fn leader() -> Raft {
    let mut raft = raft(0, None);
    raft.tick(at(550));
    answers(&mut raft, 551, 1, Message::Vote { term: 1, granted: true });
    answers(&mut raft, 652, 1, Message::Appended { term: 1, is_match: true, index: 0 });
    assert!(raft.is_leader());
    raft
}

fn append(previous: (u64, u64), commit: u64, entries: &[Entry]) -> Message {
    Message::Append { term: 1, previous, commit, entries: entries.to_vec() }
}

#[test]
fn a_candidate_asks_until_it_has_a_majority_and_then_sends_heartbeats() {
    let mut raft = raft(0, None);
    raft.tick(at(299));
    assert_eq!(raft.take_output(), (vec![], vec![]), "nobody is that impatient");
    raft.tick(at(550));
    let request = Message::RequestVote { term: 1, last: (0, 0) };
    let asked = vec![(1, request.clone()), (2, request.clone())];
    assert_eq!(raft.take_output(), (vec![Record::Term(1, Some(0))], asked.clone()));
    raft.tick(at(600));
    assert_eq!(raft.take_output(), (vec![], asked));
    assert_eq!(answers(&mut raft, 601, 1, Message::Vote { term: 1, granted: false }), []);
    assert!(!raft.is_leader());
    assert_eq!(answers(&mut raft, 602, 2, Message::Vote { term: 1, granted: true }), []);
    assert!(raft.is_leader() && !raft.propose(7), "nobody knows yet");
    raft.tick(at(702));
    let heartbeat = append((0, 0), 0, &[]);
    assert_eq!(raft.take_output().1, [(1, heartbeat.clone()), (2, heartbeat)]);
}

#[test]
fn a_vote_is_given_once_a_term_and_to_nobody_who_knows_less() {
    let mut raft = raft(0, None);
    let request = |term, last| Message::RequestVote { term, last };
    let vote = |term, granted| vec![(1, Message::Vote { term, granted })];
    let to_two = |term, granted| vec![(2, Message::Vote { term, granted })];
    assert_eq!(answers(&mut raft, 1, 1, request(1, (0, 0))), vote(1, true));
    assert_eq!(answers(&mut raft, 2, 2, request(1, (9, 1))), to_two(1, false));
    assert_eq!(answers(&mut raft, 3, 1, request(1, (0, 0))), vote(1, true));
    answers(&mut raft, 4, 1, append((0, 0), 0, &[entry(1, 7)]));
    assert_eq!(answers(&mut raft, 5, 2, request(2, (0, 0))), to_two(2, false));
    assert_eq!(answers(&mut raft, 6, 1, request(2, (1, 1))), vote(2, true));
    assert_eq!(answers(&mut raft, 7, 2, request(1, (1, 1))), to_two(2, false));
}

#[test]
fn a_vote_outlives_a_restart() {
    for (bug, granted) in [(None, false), (Some(Bug::ForgetsVote), true)] {
        let mut raft = raft(0, bug);
        raft.receive(at(1), 1, Message::RequestVote { term: 1, last: (0, 0) });
        let (records, _) = raft.take_output();
        let mut again = Raft::new(0, Rng::from_seed([0; 32]), bug);
        records.into_iter().for_each(|record| again.restore(record));
        assert_eq!(again.term(), 1);
        let answer = answers(&mut again, 9, 2, Message::RequestVote { term: 1, last: (0, 0) });
        assert_eq!(answer, [(2, Message::Vote { term: 1, granted })]);
    }
}

#[test]
fn an_entry_is_committed_when_a_majority_has_it() {
    let mut raft = leader();
    assert!(raft.propose(7));
    let (records, messages) = raft.take_output();
    assert_eq!(records, [Record::Entry(1, entry(1, 7))]);
    let sent = append((0, 0), 0, &[entry(1, 7)]);
    assert_eq!(messages, [(1, sent.clone()), (2, sent)]);
    answers(&mut raft, 660, 2, Message::Appended { term: 1, is_match: true, index: 1 });
    assert_eq!(raft.commit(), 1);
    raft.propose(8);
    let messages = raft.take_output().1;
    assert_eq!(messages[0], (1, append((0, 0), 1, &[entry(1, 7), entry(1, 8)])));
    assert_eq!(messages[1], (2, append((1, 1), 1, &[entry(1, 8)])));
}

#[test]
fn a_follower_that_lacks_something_gets_it() {
    let mut raft = leader();
    raft.propose(7);
    answers(&mut raft, 660, 2, Message::Appended { term: 1, is_match: true, index: 1 });
    let missing = Message::Appended { term: 1, is_match: false, index: 0 };
    let again = answers(&mut raft, 661, 2, missing);
    assert_eq!(again, [(2, append((0, 0), 1, &[entry(1, 7)]))]);
    let mut follower = Raft::new(2, Rng::from_seed([2; 32]), None);
    let answer = answers(&mut follower, 1, 0, append((3, 1), 0, &[]));
    assert_eq!(answer, [(0, Message::Appended { term: 1, is_match: false, index: 0 })]);
}

#[test]
fn a_late_and_shorter_message_takes_nothing_away() {
    for (bug, length) in [(None, 2), (Some(Bug::CutsLog), 1)] {
        let mut raft = raft(0, bug);
        answers(&mut raft, 1, 1, append((0, 0), 0, &[entry(1, 7), entry(1, 8)]));
        answers(&mut raft, 2, 1, append((2, 1), 2, &[]));
        let late = answers(&mut raft, 3, 1, append((0, 0), 0, &[entry(1, 7)]));
        assert_eq!(late, [(1, Message::Appended { term: 1, is_match: true, index: 1 })]);
        assert_eq!((raft.log().len(), raft.commit()), (length, 2));
        let mut oracle = Oracle::default();
        oracle.look(&raft);
        assert_eq!(oracle.verdict().is_ok(), bug.is_none());
    }
}

#[test]
fn entries_of_an_overtaken_leader_make_way() {
    let mut raft = raft(0, None);
    answers(&mut raft, 1, 1, append((0, 0), 1, &[entry(1, 7), entry(1, 8), entry(1, 9)]));
    let entries = vec![entry(2, 5)];
    let message = Message::Append { term: 2, previous: (1, 1), commit: 9, entries };
    answers(&mut raft, 2, 2, message);
    assert_eq!(raft.log(), [entry(1, 7), entry(2, 5)]);
    assert_eq!(raft.commit(), 2, "no further than what was compared");
    let old = answers(&mut raft, 3, 1, append((3, 1), 3, &[]));
    assert_eq!(old, [(1, Message::Appended { term: 2, is_match: false, index: 0 })]);
}

#[test]
fn entries_of_earlier_terms_are_committed_with_one_of_this_term() {
    let mut raft = raft(0, None);
    raft.restore(Record::Term(1, None));
    raft.restore(Record::Entry(1, entry(1, 7)));
    raft.tick(at(550));
    answers(&mut raft, 551, 1, Message::Vote { term: 2, granted: true });
    answers(&mut raft, 552, 1, Message::Appended { term: 2, is_match: true, index: 1 });
    assert_eq!(raft.commit(), 0);
    assert!(raft.propose(8));
    answers(&mut raft, 553, 1, Message::Appended { term: 2, is_match: true, index: 2 });
    assert_eq!(raft.commit(), 2);
}

#[test]
fn a_later_term_ends_every_role_and_begins_a_new_wait() {
    let mut raft = leader();
    answers(&mut raft, 700, 2, Message::Vote { term: 5, granted: false });
    assert_eq!((raft.is_leader(), raft.term()), (false, 5));
    assert!(raft.deadline() >= at(700) + Duration::from_millis(300));
    // What nobody could have sent.
    raft.receive(at(701), 9, Message::Vote { term: 6, granted: true });
    raft.receive(at(701), 0, Message::Vote { term: 6, granted: true });
    assert_eq!(raft.term(), 5);
}

#[test]
fn two_leaders_of_a_term_are_noticed() {
    let mut oracle = Oracle::default();
    oracle.look(&leader());
    assert!(oracle.verdict().is_ok());
    let mut other = raft(1, None);
    other.tick(at(550));
    answers(&mut other, 551, 2, Message::Vote { term: 1, granted: true });
    oracle.look(&other);
    let text = oracle.verdict().unwrap_err().to_string();
    let expected = "one leader a term: two lead term 1\n  n1: leads term 1\n  n2: leads term 1";
    assert_eq!(text, expected);
}
