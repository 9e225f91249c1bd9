//! Judging candidates: in parallel, with one answer, each plan once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sim_net::Plan;

use super::{Bounds, Judge, Trial};
use crate::jobs;

/// The judge, what it has said, and how much more it may be asked.
pub(super) struct Trials<'a> {
    judge: &'a dyn Judge,
    jobs: usize,
    bounds: Bounds,
    replays: u64,
    events: u64,
    known: BTreeMap<String, Trial>,
}

impl<'a> Trials<'a> {
    pub(super) fn new(judge: &'a dyn Judge, jobs: usize, bounds: Bounds) -> Self {
        Self { judge, jobs: jobs.max(1), bounds, replays: 0, events: 0, known: BTreeMap::new() }
    }

    /// How many replays counted.
    pub(super) fn replays(&self) -> u64 {
        self.replays
    }

    /// True if a bound is reached, or the judge is not to be asked any more.
    pub(super) fn is_spent(&self) -> bool {
        let is_bound = self.replays >= self.bounds.replays || self.events >= self.bounds.events;
        is_bound || self.replays > 0 && self.judge.is_over()
    }

    /// The first candidate, in their order, that is interesting, with what came of it; `None` if there is
    /// none before a bound is reached.
    ///
    /// Only what stands before it counts as asked, so that bounds mean the same on any number of
    /// threads.
    pub(super) fn first_interesting(&mut self, candidates: &[Plan]) -> Option<(usize, Trial)> {
        let texts: Vec<String> = candidates.iter().map(Plan::to_string).collect();
        let mut begin = 0;
        while begin < candidates.len() && !self.is_spent() {
            // A handful at a time: what is judged beyond an interesting one is judged in vain.
            let end = candidates.len().min(begin + 4 * self.jobs);
            let trials = self.judge_all(&candidates[begin..end], &texts[begin..end]);
            for (offset, trial) in trials.into_iter().enumerate() {
                let index = begin + offset;
                let Some(trial) = trial else { continue };
                if !self.known.contains_key(&texts[index]) {
                    self.replays += 1;
                    self.events += trial.events;
                    self.known.insert(texts[index].clone(), trial.clone());
                }
                if trial.interesting {
                    return Some((index, trial));
                }
                if self.is_spent() {
                    return None;
                }
            }
            begin = end;
        }
        None
    }

    /// What comes of each, up to the first that is interesting.
    fn judge_all(&self, plans: &[Plan], texts: &[String]) -> Vec<Option<Trial>> {
        let known = |index: usize| self.known.get(&texts[index]).cloned();
        if self.jobs == 1 || plans.len() == 1 {
            let mut trials = Vec::with_capacity(plans.len());
            for (index, plan) in plans.iter().enumerate() {
                let trial = known(index).unwrap_or_else(|| self.judge.judge(plan));
                let interesting = trial.interesting;
                trials.push(Some(trial));
                if interesting {
                    break;
                }
            }
            return trials;
        }
        let next = AtomicUsize::new(0);
        let found = AtomicUsize::new(usize::MAX);
        let trials = Mutex::new(vec![None; plans.len()]);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                // Whatever stands behind an interesting one is not asked for.
                if index >= plans.len() || index > found.load(Ordering::Relaxed) {
                    return;
                }
                let trial = known(index).unwrap_or_else(|| self.judge.judge(&plans[index]));
                if trial.interesting {
                    found.fetch_min(index, Ordering::Relaxed);
                }
                trials.lock().expect("no thread panics with it")[index] = Some(trial);
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.jobs.min(plans.len()) {
                jobs::spawn(scope, "sim-check-shrink".to_owned(), work);
            }
            work();
        });
        trials.into_inner().expect("no thread panics with it")
    }
}
