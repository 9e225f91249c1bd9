//! Two runs of one thing, held against each other.

use sim_net::{Log, Sim};

use crate::jobs;
use crate::subject::{Ran, Runs, Subject};

/// How many records of a paired run are kept: 64 MiB of them.
pub(crate) const RECORDS_MAX: usize = (64 << 20) / 40;
/// How many records before the first difference are shown.
const CONTEXT: usize = 20;

/// Runs a simulation on a thread of its own, with its log kept: what depends on the thread, on its hashers or
/// on what ran on it before goes differently there.
pub(crate) fn run_elsewhere(subject: &Subject<'_>, sim: &Sim) -> Ran {
    let run = || subject.run(&sim.clone().trace_first(RECORDS_MAX), &Runs::default());
    std::thread::scope(|scope| {
        let running = jobs::spawn(scope, "sim-check-twice".to_owned(), run);
        running.join().expect("a run contains its panics")
    })
}

/// Where two runs part, in words: the first two records that differ, with those before them. `None` if
/// what was kept of them is the same.
pub(crate) fn first_difference(one: &Log, other: &Log) -> Option<String> {
    let (ones, others): (Vec<_>, Vec<_>) = (one.entries().collect(), other.entries().collect());
    let lines = |log: &Log, entries: &[sim_net::Entry], place: usize| {
        entries.get(place).map_or("(it has ended)".to_owned(), |entry| log.line(entry))
    };
    let count = ones.len().max(others.len());
    // Compared as lines: names of hosts and flows count, and numbers of hosts need not.
    let place = (0..count).find(|&place| {
        ones.get(place) != others.get(place)
            && lines(one, &ones, place) != lines(other, &others, place)
    })?;
    let begin = place.saturating_sub(CONTEXT);
    let mut text = Vec::new();
    if begin > 0 {
        text.push(format!("  .. {begin} records that are the same"));
    }
    text.extend((begin..place).map(|place| format!("  {}", lines(one, &ones, place))));
    text.push(format!("- {}", lines(one, &ones, place)));
    text.push(format!("+ {}", lines(other, &others, place)));
    Some(text.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn log(rounds: u64, odd: bool) -> Log {
        let report = Sim::new(1).trace(true).run(move |world| async move {
            let lp = world.host("n1");
            for n in 0..rounds {
                lp.sleep(Duration::from_secs(1)).await;
                lp.mark("n", if odd && n == 30 { 99 } else { n });
            }
        });
        report.log.unwrap()
    }

    #[test]
    fn the_first_two_records_that_differ_stand_under_what_was_the_same() {
        assert_eq!(first_difference(&log(50, false), &log(50, false)), None);
        let text = first_difference(&log(50, false), &log(50, true)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + CONTEXT + 2, "{text}");
        assert!(lines[0].starts_with("  .. ") && lines[0].ends_with(" records that are the same"));
        let (one, other) = (lines[CONTEXT + 1], lines[CONTEXT + 2]);
        assert!(one.starts_with("- ") && one.ends_with("= 30"), "{one}");
        assert!(other.starts_with("+ ") && other.ends_with("= 99"), "{other}");
    }

    #[test]
    fn a_run_that_ends_earlier_says_so() {
        let text = first_difference(&log(3, false), &log(2, false)).unwrap();
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert!(last.iter().all(|line| line.len() > 2), "{text}");
    }
}
