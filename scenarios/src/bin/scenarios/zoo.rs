//! `scenarios zoo`: how fast the search finds the bugs of the zoo, and how small it makes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use scenarios::zoo::{Specimen, specimens};
use serde_json::json;
use sim_check::{Origin, check};

use crate::check::profile;
use crate::options::Zoo;
use crate::{Done, Trouble, interrupts};

/// So far apart are the first seeds of two searches.
const APART: u64 = 1 << 32;

/// What came of one specimen.
struct Row {
    specimen: Specimen,
    /// Of each search that ended by itself or found it: what found it, after how many runs, in how much time of the
    /// processor.
    searches: Vec<Option<Found>>,
}

struct Found {
    stage: &'static str,
    runs: u64,
    /// How long the processor worked until the first run had failed.
    cpu: Duration,
    /// Entries of the small plan, lines of it and of its story together, and how long shrinking took.
    deviations: Option<usize>,
    lines: usize,
    shrinking: Duration,
    plan: String,
    /// The twin passes under the small plan, and all of its entries befall the twin, too.
    twin_binds: bool,
}

/// How a search for a specimen ended.
enum Search {
    /// It was stopped before anything was found.
    Stopped,
    /// With what it found, if that was anything.
    Over(Option<Found>),
}

pub(crate) fn zoo(options: &Zoo) -> Done {
    let all = specimens();
    let known: Vec<&str> = all.iter().map(|specimen| specimen.id).collect();
    if let Some(unknown) = options.only.iter().find(|id| !known.contains(&id.as_str())) {
        let hint = format!("the zoo has no {unknown:?}; it has {}", known.join(", "));
        return Err(Trouble::usage(hint));
    }
    let wanted = |specimen: &&Specimen| {
        options.only.is_empty() || options.only.iter().any(|id| id == specimen.id)
    };
    let stop = interrupts::stop_flag()?;
    let (mut rows, mut interrupted) = (Vec::new(), false);
    if !options.json {
        say!("{HEAD}");
    }
    for specimen in all.iter().filter(wanted) {
        let mut row = Row { specimen: *specimen, searches: Vec::new() };
        for number in 0..options.searches {
            match look_for(specimen, number, options, &stop)? {
                Search::Over(found) => row.searches.push(found),
                Search::Stopped => {
                    interrupted = true;
                    break;
                }
            }
        }
        if !row.searches.is_empty() {
            if !options.json {
                say!("{}", row.line());
            }
            rows.push(row);
        }
        if interrupted {
            break;
        }
    }
    if options.json {
        say!("{}", rows.iter().map(Row::json).collect::<serde_json::Value>());
    } else if options.plans {
        for row in &rows {
            row.tell_plan();
        }
    }
    let all_found = rows.iter().all(|row| row.searches.iter().all(Option::is_some));
    if all_found && interrupted {
        return Err(Trouble::interrupted("interrupted; what was looked for until then was found"));
    }
    Ok(all_found)
}

/// Searches for the bug of a specimen, from one seed on. What is found before it is stopped is as small as it is by
/// then.
fn look_for(
    specimen: &Specimen,
    number: u64,
    options: &Zoo,
    stop: &Arc<AtomicBool>,
) -> Result<Search, Trouble> {
    if stop.load(Ordering::Relaxed) {
        return Ok(Search::Stopped);
    }
    let (mutant, twin) = ((specimen.mutant)(), (specimen.twin)());
    let mut search = check(specimen.id)
        .seeds(options.seeds)
        .first_seed(number.wrapping_mul(APART))
        .jobs(1)
        .budget(options.budget)
        .stop_flag(Arc::clone(stop))
        .stop_at_first(true);
    if let Some(mix) = mutant.fault_mix() {
        search = search.profile(profile(mix)?);
    }
    let begun = processor_time();
    let search = search.shrinks(false);
    let ended = Ended::default();
    let verdict = search.verdict(|world| ended.clone().watch(mutant.run(world)));
    let cpu = ended.first_failure().unwrap_or_else(processor_time).saturating_sub(begun);
    let Some(first) = verdict.failures.first() else {
        return Ok(if verdict.interrupted { Search::Stopped } else { Search::Over(None) });
    };
    let stage = match &first.origin {
        Origin::Single(_) => "single fault",
        _ => "swarm",
    };
    let singles: u64 = verdict.coverage.iter().map(|coverage| coverage.done).sum();
    let begun = processor_time();
    let verdict = search.explained(verdict, |world| mutant.run(world), |world| twin.run(world));
    let shrinking = processor_time().saturating_sub(begun);
    let explanation = verdict.explanation.as_ref();
    let plan = explanation.map(|it| it.shrunk.plan.to_string());
    let twin_binds = explanation.is_some_and(|it| {
        let replayed = search.replay(&it.shrunk.plan, |world| twin.run(world));
        replayed.is_green() && replayed.corpus.stale.is_empty()
    });
    Ok(Search::Over(Some(Found {
        stage,
        runs: verdict.seeds + singles,
        cpu,
        deviations: explanation.map(|it| it.steps.len()),
        lines: explanation.map_or(0, |it| it.steps.len() + it.workload.len() + it.story.len() + 1),
        shrinking,
        plan: plan.or(verdict.unexplained).unwrap_or_default(),
        twin_binds,
    })))
}

/// When the first run of a search had failed. Clones are of the same search.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Option<Duration>>>);

impl Ended {
    /// Runs a scenario, and notes when it fails: at its end, or where it panics or is given up.
    async fn watch<T, E>(self, run: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut watch = Watch { ended: self, is_well: false };
        let outcome = run.await;
        watch.is_well = outcome.is_ok();
        outcome
    }

    fn first_failure(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that is going on; dropped, it is over.
struct Watch {
    ended: Ended,
    is_well: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_well {
            let mut first = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A run that fails is run once more.
            first.get_or_insert_with(processor_time);
        }
    }
}

const HEAD: &str =
    "id   stage         runs   cpu ms  deviations  minimum  lines  shrink ms   twin  bug";

impl Row {
    fn found(&self) -> Vec<&Found> {
        self.searches.iter().flatten().collect()
    }

    /// The median of what `of` says of each search.
    fn median<T: Ord + Copy + Default>(&self, of: impl Fn(&Found) -> T) -> T {
        let mut values: Vec<T> = self.found().into_iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// The stage that found it most often.
    fn stage(&self) -> &'static str {
        let found = self.found();
        let single = found.iter().filter(|found| found.stage == "single fault").count();
        if found.is_empty() {
            "not found"
        } else if single * 2 >= found.len() {
            "single fault"
        } else {
            "swarm"
        }
    }

    fn line(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let Specimen { id, bug, minimum, .. } = self.specimen;
        let deviations = self.median(|found| found.deviations.unwrap_or(usize::MAX));
        let deviations =
            if deviations == usize::MAX { "?".to_owned() } else { deviations.to_string() };
        format!(
            "{id}  {:<12}  {:>4}  {:>7.2}  {deviations:>10}  {minimum:>7}  {:>5}  {:>9.1}  {:>5}  {bug}",
            self.stage(),
            self.median(|found| found.runs),
            ms(self.median(|found| found.cpu)),
            self.median(|found| found.lines),
            ms(self.median(|found| found.shrinking)),
            format!("{}/{}", self.twins(), self.searches.len()),
        )
    }

    /// In how many searches the twin stands up to all that the small plan does.
    fn twins(&self) -> usize {
        self.found().iter().filter(|found| found.twin_binds).count()
    }

    fn json(&self) -> serde_json::Value {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let found = self.found();
        json!({
            "id": self.specimen.id,
            "bug": self.specimen.bug,
            "seen_in": self.specimen.seen_in,
            "found": found.len() == self.searches.len(),
            "searches": self.searches.len(),
            "stage": self.stage(),
            "seeds": self.median(|found| found.runs),
            "cpu_ms": ms(self.median(|found| found.cpu)),
            "cpu_ms_max": found.iter().map(|found| ms(found.cpu)).fold(0.0, f64::max),
            "deviations": found.iter().map(|found| found.deviations).max().flatten()
                .map(|_| self.median(|found| found.deviations.unwrap_or(usize::MAX))),
            "lines": self.median(|found| found.lines),
            "minimum": self.specimen.minimum,
            "twin_binds": self.twins() == self.searches.len(),
            "shrink_ms": ms(self.median(|found| found.shrinking)),
            "shrink_ms_max": found.iter().map(|found| ms(found.shrinking)).fold(0.0, f64::max),
            "plan": found.first().map(|found| &found.plan),
        })
    }

    fn tell_plan(&self) {
        say!("\n{}: {}", self.specimen.id, self.specimen.bug);
        match self.found().first() {
            Some(found) => say!("{}", found.plan.trim_end()),
            None => say!("not found"),
        }
    }
}

/// How long the processor has worked for this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
