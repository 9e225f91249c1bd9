//! What holds in every run of Raft, whatever becomes of nodes and messages.

use sim_core::history::Leaders;
use sim_core::{Loop, LoopFuture};

use super::consensus::Raft;
use super::message::Entry;
use super::{HOSTS, NODES};
use crate::{Progress, Violation};

/// Looks at all nodes whenever something changes in one of them. It is no part of the protocol.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Who led each term.
    leaders: Leaders<&'static str>,
    /// What is committed, and in which term it was.
    committed: Vec<(Entry, u64)>,
    /// How many commands were proposed.
    commands: u64,
    /// How many entries each node knew to be committed, at best.
    known: [u64; NODES],
    known_to_all: Progress,
    violation: Option<Violation>,
}

impl Oracle {
    /// A command that no other is like.
    pub fn next_command(&mut self) -> u64 {
        self.commands += 1;
        self.commands
    }

    /// How many entries are committed.
    pub fn committed(&self) -> u64 {
        self.committed.len() as u64
    }

    /// Completes when all nodes know of so many committed entries, or something is wrong.
    pub fn reaches(&mut self, lp: &Loop, entries: u64) -> LoopFuture<()> {
        self.known_to_all.reaches(lp, entries)
    }

    /// What is wrong.
    ///
    /// # Errors
    ///
    /// The first thing that was.
    pub fn verdict(&self) -> Result<(), Violation> {
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// Something may have changed in a node.
    pub fn look(&mut self, raft: &Raft) {
        if self.violation.is_some() {
            return;
        }
        if let Err(violation) = self.check(raft) {
            self.violation = Some(violation);
            // Nobody is to wait any more.
            return self.known_to_all.add(u64::MAX / 2);
        }
        let known = &mut self.known[usize::from(raft.me())];
        *known = raft.commit().max(*known);
        let all = self.known.iter().min().copied().unwrap_or(0);
        self.known_to_all.add(all - self.known_to_all.count());
    }

    fn check(&mut self, raft: &Raft) -> Result<(), Violation> {
        let (term, log) = (raft.term(), raft.log());
        let wrong = |text: String| Err(Violation::new(text));
        if raft.is_leader() {
            self.leaders.leads(term, HOSTS[usize::from(raft.me())])?;
            let mut before = (0..).zip(&self.committed).filter(|(_, (_, at))| *at < term);
            if let Some((place, _)) =
                before.find(|(place, (entry, _))| log.get(*place) != Some(entry))
            {
                return wrong(format!("a leader lacks committed entry {}", place + 1));
            }
        }
        for place in 0..raft.commit() as usize {
            let Some(entry) = log.get(place) else {
                return wrong(format!("committed entry {} has left a log", place + 1));
            };
            match self.committed.get(place) {
                Some((committed, _)) if committed == entry => {}
                Some(_) => {
                    return wrong(format!("two nodes have committed other entries {}", place + 1));
                }
                None => self.committed.push((*entry, term)),
            }
        }
        Ok(())
    }
}
