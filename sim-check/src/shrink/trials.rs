//! Judging candidates: in parallel, with one answer, each plan once.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sim_net::Plan;
use sim_net::plan::Environment;

use super::{Bounds, Judge, Offered, Trial};
use crate::jobs;

/// The judge, what it has said, and how much more it may be asked.
pub(super) struct Trials<'a> {
    judge: &'a dyn Judge,
    jobs: usize,
    bounds: Bounds,
    spent: Bounds,
    known: BTreeMap<Key, Trial>,
    /// The plan that was asked for what it offers last, and that.
    offered: Option<(Key, Arc<Offered>)>,
}

/// What a plan is remembered by: 128 bits of hash, so that what was judged takes no more memory the larger the plans.
pub(super) type Key = [u64; 2];

pub(super) fn key(plan: &Plan) -> Key {
    [0_u8, 1].map(|half| {
        let mut hasher = DefaultHasher::new();
        (half, plan.seed, &plan.scenario, &plan.entries).hash(&mut hasher);
        hasher.finish()
    })
}

/// Makes candidates by their number, when they are judged: all of them at once would be the plan many times over.
pub(super) type Make<'m> = &'m (dyn Fn(usize) -> Plan + Sync);

impl<'a> Trials<'a> {
    pub(super) fn new(judge: &'a dyn Judge, jobs: usize, bounds: Bounds) -> Self {
        let (jobs, known) = (jobs.max(1), BTreeMap::new());
        let spent = Bounds { replays: 0, events: 0 };
        Self { judge, jobs, bounds, spent, known, offered: None }
    }

    /// What was done that counted.
    pub(super) fn spent(&self) -> Bounds {
        self.spent
    }

    /// True if a bound is reached, or the judge is not to be asked any more.
    pub(super) fn is_spent(&self) -> bool {
        self.bounds.without(self.spent).is_none() || self.spent.replays > 0 && self.judge.is_over()
    }

    /// What the run of a plan that was judged offers; nothing once a bound is reached. If there is something, it took a
    /// replay to know.
    pub(super) fn offered(&mut self, plan: &Plan) -> Arc<Offered> {
        let key = key(plan);
        if let Some((_, offered)) = self.offered.as_ref().filter(|(known, _)| *known == key) {
            return Arc::clone(offered);
        }
        if self.is_spent() {
            return Arc::default();
        }
        let offered = Arc::new(self.judge.offered(plan));
        if !offered.is_empty() {
            self.spent.replays += 1;
            self.spent.events += self.known.get(&key).map_or(0, |trial| trial.events);
        }
        self.offered = Some((key, Arc::clone(&offered)));
        offered
    }

    /// The plan with what it leaves to the seed said packet by packet, which took a replay; `None` once a bound is
    /// reached, or if there is no such plan.
    pub(super) fn split(&mut self, plan: &Plan, environment: &[Environment]) -> Option<Plan> {
        if self.is_spent() {
            return None;
        }
        let split = self.judge.split(plan, environment)?;
        self.spent.replays += 1;
        self.spent.events += self.known.get(&key(plan)).map_or(0, |trial| trial.events);
        Some(split)
    }

    /// The first of `count` candidates, in their order, that is interesting, with what came of it; `None` if there
    /// is none before a bound is reached.
    ///
    /// Only what stands before it counts as asked, so that bounds mean the same on any number of
    /// threads.
    pub(super) fn first_interesting(
        &mut self,
        count: usize,
        make: Make<'_>,
    ) -> Option<(usize, Trial)> {
        let mut begin = 0;
        while begin < count && !self.is_spent() {
            // A handful at a time: what is judged beyond an interesting one is judged in vain.
            let end = count.min(begin + 4 * self.jobs);
            let trials = self.judge_all(begin, end - begin, make);
            for (offset, judged) in trials.into_iter().enumerate() {
                let Some((key, mut trial)) = judged else { continue };
                if !trial.interesting {
                    // Nobody asks what did not bind in it.
                    trial.unbound = Vec::new();
                }
                let otherwise = trial.otherwise.take();
                if !self.known.contains_key(&key) {
                    self.spent.replays += 1;
                    self.spent.events += trial.events;
                    if let Some(otherwise) = otherwise {
                        self.judge.met(&make(begin + offset), &otherwise);
                    }
                    self.known.insert(key, trial.clone());
                }
                if trial.interesting {
                    return Some((begin + offset, trial));
                }
                if self.is_spent() {
                    return None;
                }
            }
            begin = end;
        }
        None
    }

    /// What comes of each from `begin` on, up to the first that is interesting.
    fn judge_all(&self, begin: usize, count: usize, make: Make<'_>) -> Vec<Option<(Key, Trial)>> {
        let judge = |offset: usize| {
            let plan = make(begin + offset);
            let key = key(&plan);
            (key, self.known.get(&key).cloned().unwrap_or_else(|| self.judge.judge(&plan)))
        };
        if self.jobs == 1 || count == 1 {
            let mut trials = Vec::with_capacity(count);
            for offset in 0..count {
                let judged = judge(offset);
                let interesting = judged.1.interesting;
                trials.push(Some(judged));
                if interesting {
                    break;
                }
            }
            return trials;
        }
        let next = AtomicUsize::new(0);
        let found = AtomicUsize::new(usize::MAX);
        let trials = Mutex::new(vec![None; count]);
        let work = || {
            loop {
                let offset = next.fetch_add(1, Ordering::Relaxed);
                // Whatever stands behind an interesting one is not asked for.
                if offset >= count || offset > found.load(Ordering::Relaxed) {
                    return;
                }
                let judged = judge(offset);
                if judged.1.interesting {
                    found.fetch_min(offset, Ordering::Relaxed);
                }
                trials.lock().expect("no thread panics with it")[offset] = Some(judged);
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.jobs.min(count) {
                jobs::spawn(scope, "sim-check-shrink".to_owned(), work);
            }
            work();
        });
        trials.into_inner().expect("no thread panics with it")
    }
}
