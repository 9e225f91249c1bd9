//! What a failure comes down to: its plan, made small, run once more for people to look at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sim_core::Time;
use sim_net::plan::{Entry, Environment, Workload};
use sim_net::{Bound, Census, Log, OfferedWorkload, Plan, Recording, Report, Sim};

use crate::shrink::{
    Bounds, Judge, Offered, Shrunk, Trial, first_interesting, shrink_faults, shrink_workload,
};
use crate::signature::Signature;
use crate::story::story;
use crate::subject::{Ran, Runs, Subject};
use crate::verdict::{Failed, Origin};

/// The largest plan of which each entry is tried alone and left out.
const ABLATED_MAX: usize = 12;

/// How many single faults are tried for a failure that seems to need more than one.
const SINGLES_MAX: usize = 4_000;
/// How many kinds of other failures are kept that come up meanwhile.
const MET_MAX: usize = 10;
/// How many records of a run are kept to be looked at: of a longer one the last.
const RECORDS_MAX: u64 = 200_000;
/// The largest plan of which every entry must befall the twin, too. In a larger one the two part early,
/// and what comes after binds to one of them alone.
const SMALL: usize = 4;

/// What a failure comes down to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// How it was made small, and the plan.
    pub shrunk: Shrunk,
    /// What each entry of the plan did, in the order of time. What it says of the workload is not among them.
    pub steps: Vec<Step>,
    /// What the plan says of the workload, in its order.
    pub workload: Vec<Scale>,
    /// How many of the steps found what they are about in the run below.
    pub bound: usize,
    /// What failed in the run of the small plan, in a line.
    pub error: String,
    /// The host on which it happened.
    pub host: String,
    /// The virtual time.
    pub time: Time,
    /// That run's trace hash.
    pub hash: u64,
    /// The few of its records that tell what happened, a line each.
    pub story: Vec<String>,
    /// The run, with its packets and its records: all of them, or the last 200 000 ([`Log::before`](sim_net::Log::before)).
    pub report: Arc<Report<()>>,
}

/// An entry of a plan, and what it is for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// When it took effect; `None` if it did not, or has no time.
    pub time: Option<Time>,
    /// The entry.
    pub entry: Entry,
    /// The failure is gone without it; `None` if that was not tried.
    pub necessary: Option<bool>,
    /// It alone makes the failure; `None` if that was not tried.
    pub sufficient: Option<bool>,
}

/// A line of a plan about the workload: no fault, but how large the scenario is. It prints
/// `size clients = 1 (of 1 to 8; the seed has 5)`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Scale {
    /// The line.
    pub line: Workload,
    /// What the scenario asked for under its name: nothing, if the line found nothing.
    pub offered: Option<OfferedWorkload>,
}

/// How much may be done about it.
pub(crate) struct Effort<'a> {
    pub(crate) jobs: usize,
    pub(crate) bounds: Bounds,
    /// Ends it with what it has, as soon as it is true.
    pub(crate) stop: Option<&'a AtomicBool>,
    /// Says which failures are the same, if that is not told by their signatures.
    pub(crate) same: Option<&'a SameFailure>,
}

/// Whether a failure with the second signature is the same as one with the first.
pub(crate) type SameFailure = dyn Fn(&Signature, &Signature) -> bool + Send + Sync;

/// The failure that is looked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    signature: &'a Signature,
    same: Option<&'a SameFailure>,
}

impl Wanted<'_> {
    fn is(&self, found: &Signature) -> bool {
        found == self.signature || self.same.is_some_and(|same| same(self.signature, found))
    }
}

/// What failed in another way while a plan was made small: a plan of each kind.
#[derive(Default)]
struct Met(Mutex<Vec<(Signature, Plan)>>);

impl Met {
    /// Keeps a plan, if it is the first of its kind, or the shortest.
    fn note(&self, plan: &Plan, signature: &Signature) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = met.iter_mut().find(|(known, _)| known == signature) {
            if plan.entries.len() < known.entries.len() {
                *known = plan.clone();
            }
        } else if met.len() < MET_MAX {
            met.push((signature.clone(), plan.clone()));
        }
    }

    /// Runs each once more, for people to look at.
    fn failures(self, subject: &Subject<'_>) -> Vec<Failed> {
        let met = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failures = met.into_iter().filter_map(|(before, plan)| {
            let ran = subject.run(&subject.replay(&plan).ok()?, &Runs::default());
            Some(Failed::once_more(Origin::Tried(plan), &ran, &before))
        });
        failures.collect()
    }
}

/// A judge that may be told to stop.
struct Stoppable<'a, F> {
    judge: F,
    met: &'a Met,
    subject: &'a Subject<'a>,
    stop: Option<&'a AtomicBool>,
}

impl<F: Fn(&Plan) -> Trial + Sync> Judge for Stoppable<'_, F> {
    fn judge(&self, plan: &Plan) -> Trial {
        (self.judge)(plan)
    }

    fn offered(&self, plan: &Plan) -> Offered {
        let Ok(sim) = self.subject.replay(plan) else { return Offered::default() };
        let report = self.subject.run(&sim.census(true), &Runs::default()).report;
        let times = (0..plan.entries.len()).map(|place| report.bindings.time(place)).collect();
        let census = report.census.as_ref();
        census.map(|census| Offered { times, ..Offered::from(census) }).unwrap_or_default()
    }

    fn split(&self, plan: &Plan, environment: &[Environment]) -> Option<Plan> {
        let split = environment.iter().cloned().fold(Recording::new(), Recording::split);
        let sim = self.subject.replay(plan).ok()?.record(split);
        self.subject.run(&sim, &Runs::default()).report.recording
    }

    fn met(&self, plan: &Plan, otherwise: &Signature) {
        self.met.note(plan, otherwise);
    }

    fn is_over(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

/// Looks into a failure: what it comes down to, or in words why that cannot be said; and what else failed meanwhile,
/// each in a way of its own. With a twin everything that fails for the one alone is the bug.
pub(crate) fn explain(
    subject: &Subject<'_>,
    twin: Option<&Subject<'_>>,
    failed: &Failed,
    effort: &Effort<'_>,
) -> (Result<Explanation, String>, Vec<Failed>) {
    let met = Met::default();
    let explanation = make_small(subject, twin, failed, effort, &met);
    (explanation, met.failures(subject))
}

/// What a further failure comes down to: the run of its small plan. Nothing, if that cannot be said.
pub(crate) fn small(subject: &Subject<'_>, failed: &Failed, effort: &Effort<'_>) -> Option<Failed> {
    let explanation = make_small(subject, None, failed, effort, &Met::default()).ok()?;
    let plan = explanation.shrunk.plan;
    let ran = subject.run(&subject.replay(&plan).ok()?, &Runs::default());
    Some(match ran.signature() {
        Some(_) => Failed::new(Origin::Tried(plan), &ran, None),
        None => Failed::once_more(Origin::Tried(plan), &ran, &failed.signature),
    })
}

/// Makes the plan of a failure small, and runs it.
fn make_small(
    subject: &Subject<'_>,
    twin: Option<&Subject<'_>>,
    failed: &Failed,
    effort: &Effort<'_>,
    met: &Met,
) -> Result<Explanation, String> {
    if !failed.is_deterministic() {
        return Err("it cannot be replayed: two runs of it differ".to_owned());
    }
    let plan = match &failed.origin {
        Origin::Seed(seed) => recorded(subject, *seed)?,
        Origin::Single(plan) | Origin::Calm(plan) | Origin::Kept(_, plan) | Origin::Tried(plan) => {
            plan.clone()
        }
    };
    // All entries of plans with so many faults must bind; of none, if there is no such number.
    let wanted = Wanted { signature: &failed.signature, same: effort.same };
    let judge_up_to = |strict: Option<usize>, candidate: &Plan| {
        let small = strict.is_some_and(|most| candidate.faults().count() <= most);
        judge(subject, twin, candidate, wanted, small)
    };
    let faults = plan.faults().count();
    let lenient = faults <= SMALL && !judge_up_to(Some(SMALL), &plan).interesting;
    let strict = if lenient { faults.checked_sub(1) } else { Some(SMALL) };
    let judge = |candidate: &Plan| judge_up_to(strict, candidate);
    let judge = Stoppable { judge, met, subject, stop: effort.stop };
    let shrunk = shrink_faults(&plan, &judge, effort.jobs, effort.bounds);
    if shrunk.replays == 0 {
        return Err("its bounds leave no replay for it".to_owned());
    }
    if !shrunk.reproduced {
        let of_twin = if twin.is_some() { ", or it fails for its twin, too" } else { "" };
        return Err(format!("its plan does not fail in the same way{of_twin}:\n{plan}"));
    }
    let shrunk = with_one_fault(subject, shrunk, &judge, effort);
    let shrunk = with_less_to_do(shrunk, &judge, effort);
    let is_over = judge.is_over();
    show(subject, twin, shrunk, wanted, !is_over)
}

/// A plan of more than one entry may be a local minimum: looks for a single fault of a calm run that
/// fails in the same way.
fn with_one_fault(
    subject: &Subject<'_>,
    shrunk: Shrunk,
    judge: &dyn Judge,
    &Effort { jobs, bounds, .. }: &Effort<'_>,
) -> Shrunk {
    let left = bounds.without(shrunk.spent());
    if shrunk.plan.faults().count() < 2 || left.is_none() || judge.is_over() {
        return shrunk;
    }
    let singles = subject.singles(shrunk.plan.seed.unwrap_or_default());
    let count = singles.len().min(SINGLES_MAX);
    let plan = |index: usize| singles.plan(index);
    // What there is to be tried took a replay to know.
    let looked = Bounds { replays: u64::from(count > 0), events: 0 };
    let (found, tried) = first_interesting(count, &plan, judge, jobs, left.without(looked));
    let shrunk = shrunk.and_spent(looked).and_spent(tried);
    let Some(index) = found else { return shrunk };
    let left = bounds.without(shrunk.spent());
    let simpler = shrink_faults(&plan(index), judge, jobs, left);
    let shrunk = shrunk.and_spent(simpler.spent());
    if simpler.plan.faults().count() < shrunk.plan.faults().count() {
        // It fails, though there may be no replay left to see it once more.
        Shrunk { plan: simpler.plan, is_minimal: simpler.is_minimal, ..shrunk }
    } else {
        shrunk
    }
}

/// A plan of as few faults, and less of a workload. That comes last: a fault less is worth more.
fn with_less_to_do(
    shrunk: Shrunk,
    judge: &dyn Judge,
    &Effort { jobs, bounds, .. }: &Effort<'_>,
) -> Shrunk {
    let left = bounds.without(shrunk.spent());
    if !shrunk.is_minimal || left.is_none() || judge.is_over() {
        return Shrunk { is_minimal: false, ..shrunk };
    }
    let smaller = shrink_workload(&shrunk.plan, judge, jobs, left);
    let shrunk = shrunk.and_spent(smaller.spent());
    Shrunk { plan: smaller.plan, is_minimal: smaller.is_minimal, ..shrunk }
}

/// Looks into the failure of a plan that is small already.
pub(crate) fn explain_as_is(
    subject: &Subject<'_>,
    failed: &Failed,
    same: Option<&SameFailure>,
) -> Result<Explanation, String> {
    let plan = failed.origin.plan().ok_or("a seed has no plan of its own")?.clone();
    let before = plan.faults().count();
    let shrunk =
        Shrunk { plan, before, replays: 1, events: 0, is_minimal: false, reproduced: true };
    show(subject, None, shrunk, Wanted { signature: &failed.signature, same }, true)
}

/// The plan that the run of a seed amounts to.
fn recorded(subject: &Subject<'_>, seed: u64) -> Result<Plan, String> {
    let sim = subject.simulation(seed).record(subject.recording(seed));
    let report = subject.run(&sim, &Runs::default()).report;
    report.recording.ok_or_else(|| "its run was not written down".to_owned())
}

/// Whether a plan fails in the same way, and not for the twin. If `all_bind`, then all that befalls the
/// one must befall the twin, too: one that never meets the fault has stood up to nothing.
fn judge(
    subject: &Subject<'_>,
    twin: Option<&Subject<'_>>,
    plan: &Plan,
    wanted: Wanted<'_>,
    all_bind: bool,
) -> Trial {
    let runs = Runs::default();
    let Ok(sim) = subject.replay(plan) else { return Trial::default() };
    let ran = subject.run(&sim, &runs);
    // What fails for the mutant and not for the twin is the bug, whatever it looks like.
    let (mut interesting, otherwise) = match twin {
        Some(_) => (ran.report.outcome.is_err(), None),
        None => match ran.signature() {
            Some(own) if wanted.is(&own) => (true, None),
            otherwise => (false, otherwise),
        },
    };
    let mut events = ran.report.events;
    let unbound = unbound(&ran);
    if let (true, Some(twin)) = (interesting, twin) {
        let passes = twin.replay(plan).is_ok_and(|sim| {
            let ran = twin.run(&sim, &runs);
            events += ran.report.events;
            let binds = || self::unbound(&ran).iter().all(|place| unbound.contains(place));
            ran.report.outcome.is_ok() && (!all_bind || binds())
        });
        interesting = passes;
    }
    Trial { interesting, unbound, events, otherwise }
}

/// The entries that bound to nothing in a run, by their place in the plan.
fn unbound(ran: &Ran) -> Vec<usize> {
    ran.report.bindings.unbound().map(|(number, _)| number - 1).collect()
}

/// Runs the small plan once more, with everything kept, and asks what each entry is for if it is to be ablated.
fn show(
    subject: &Subject<'_>,
    twin: Option<&Subject<'_>>,
    shrunk: Shrunk,
    wanted: Wanted<'_>,
    ablate: bool,
) -> Result<Explanation, String> {
    let runs = Runs::default();
    let sim = subject.replay(&shrunk.plan).map_err(|error| error.to_string())?;
    let says_size = shrunk.plan.entries.iter().any(Entry::is_workload);
    let sim = if says_size { sim.census(true) } else { sim };
    let (beginning, Ran { report, place }) = looked_at(subject, sim, &runs);
    let workload = scales(&shrunk.plan, report.census.as_ref());
    let Some(finding) = report.finding() else {
        return Err("NOT DETERMINISTIC: its small plan fails once and succeeds once".to_owned());
    };
    let place = place.map(|place| format!(", at {place}")).unwrap_or_default();
    let fails = |plan: &Plan| judge(subject, twin, plan, wanted, false).interesting;
    let plan = &shrunk.plan;
    let is_small = ablate && (2..=ABLATED_MAX).contains(&plan.faults().count());
    let faults = plan.entries.iter().enumerate().filter(|(_, entry)| !entry.is_workload());
    let steps = faults.map(|(number, entry)| {
        // The workload is as it is in all of them.
        let others = |keep: bool| {
            let all = plan.entries.iter().enumerate();
            let kept = all.filter(|(at, it)| it.is_workload() || (*at == number) == keep);
            Plan { entries: kept.map(|(_, entry)| entry.clone()).collect(), ..plan.clone() }
        };
        Step {
            time: report.bindings.time(number),
            entry: entry.clone(),
            necessary: is_small.then(|| !fails(&others(false))),
            sufficient: is_small.then(|| fails(&others(true))),
        }
    });
    let mut steps: Vec<Step> = steps.collect();
    // As the shrinker puts them: what found nothing has no time, and comes last.
    steps.sort_by_key(|step| (step.time.is_none(), step.time));
    let found =
        |(entry, bound): &(&Entry, &Bound)| !entry.is_workload() && **bound != Bound::Unbound;
    Ok(Explanation {
        steps,
        workload,
        bound: report.bindings.iter().filter(found).count(),
        error: format!("{}{place}", finding.message),
        host: finding.host.clone(),
        time: finding.time,
        hash: report.hash,
        story: story(beginning.as_ref(), report.log.as_ref().unwrap_or(&report.tail)),
        report: Arc::new(report),
        shrunk,
    })
}

/// What a plan says of the workload, with what its run asked for.
fn scales(plan: &Plan, census: Option<&Census>) -> Vec<Scale> {
    let offered = census.map_or(&[][..], Census::workload);
    let lines = plan.entries.iter().filter_map(|entry| match entry {
        Entry::Workload(line) => Some(line.clone()),
        _ => None,
    });
    let scales = lines.map(|line| {
        let offered = offered.iter().find(|offered| match (&line, offered) {
            (Workload::Size { name, .. }, OfferedWorkload::Size { name: asked, .. })
            | (Workload::Without { name, .. }, OfferedWorkload::Operations { name: asked, .. }) => {
                name == asked
            }
            _ => false,
        });
        Scale { offered: offered.cloned(), line }
    });
    scales.collect()
}

/// Runs a simulation with its packets and records, and gives the first of these if it has not all of them: faults are at
/// the beginning of a run, and what came of them is at its end.
fn looked_at(subject: &Subject<'_>, sim: Sim, runs: &Runs) -> (Option<Log>, Ran) {
    let sim = sim.capture(true);
    let mut ran = subject.run(&sim.clone().trace_first(RECORDS_MAX as usize), runs);
    let Some(count @ 1..) = ran.report.events.checked_sub(RECORDS_MAX) else { return (None, ran) };
    let beginning = ran.report.log.take();
    drop(ran);
    (beginning, subject.run(&sim.trace_from(count + 1), runs))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use sim_core::World;
    use sim_net::LinkRule;

    use super::*;
    use crate::story::tests::Sink;
    use crate::{Timeline, check};

    /// Loses a datagram, sleeps so often, sends another one, and fails.
    async fn fails_late(world: World, sleeps: u32) -> io::Result<()> {
        let (a, b) = (world.host("a"), world.host("b"));
        let _sink = b.datagram().local(("b", 9)).bind(|| Sink).await?;
        let source = a.datagram().remote(("b", 9)).bind(|| Sink).await?;
        source.transport().send_to(&[1], None)?;
        for _ in 0..sleeps {
            a.sleep(Duration::from_millis(1)).await;
        }
        source.transport().send_to(&[2], None)?;
        a.sleep(Duration::from_secs(1)).await;
        Err(io::Error::other("wrong in the end"))
    }

    #[test]
    fn a_long_run_is_told_by_its_beginning_and_shown_from_late_on() {
        let explained = |sleeps| {
            let rule: LinkRule = "a->b: loss=packets(1)".parse().unwrap();
            let check = check("late").seeds(1).sim(move |sim| sim.link(rule.clone()));
            let verdict = check.verdict(move |world| fails_late(world, sleeps));
            let text = verdict.to_string();
            let explanation = verdict.explanation.expect("it fails");
            let mut page = Vec::new();
            let timeline = Timeline::new("late", &explanation.report).expect("a log was kept");
            timeline.write_html(&mut page).unwrap();
            (explanation, text, String::from_utf8(page).unwrap())
        };
        let (whole, text, page) = explained(20_000);
        let log = whole.report.log.as_ref().unwrap();
        assert!((100_000..=RECORDS_MAX).contains(&whole.report.events), "{}", whole.report.events);
        assert_eq!((log.before(), log.entries().len() as u64), (0, whole.report.events));
        assert!(!text.contains("left out") && !page.contains("are left out:"));

        let (late, text, page) = explained(100_000);
        let log = late.report.log.as_ref().unwrap();
        let left_out = late.report.events - RECORDS_MAX;
        assert!(left_out > RECORDS_MAX, "{left_out}");
        assert_eq!((log.before(), log.entries().len() as u64), (left_out, RECORDS_MAX));
        let told = format!("begin with event #{}: {left_out} are left out", left_out + 1);
        assert!(text.contains(&told), "{text}");
        assert!(page.contains(&format!("The first {left_out} events are left out")));
        assert!(page.len() < 20 << 20, "{}", page.len());
        // What was lost long before, and what arrived at the end.
        assert_eq!((late.hash, late.story.len()), (late.report.hash, whole.story.len()));
        assert!(late.story.iter().any(|line| line.contains("the link lost it")), "{text}");
        assert!(late.story.iter().any(|line| line.contains("deliver")), "{text}");
    }
}
