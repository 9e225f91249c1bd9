//! A run of a scenario in which nothing goes wrong: what the faults of a seed are aimed at.

use std::time::Duration;

use sim_core::Time;
use sim_core::trace::Record as EngineRecord;
use sim_net::{Log, Record, Report};

/// The largest calm run of which all moments are looked at, in events.
pub(crate) const MOMENTS_MAX: usize = 200_000;

/// What a calm run was like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calm {
    /// The hosts, in order of creation.
    pub(crate) hosts: Vec<String>,
    /// How long it took.
    pub(crate) length: Duration,
    /// When its events were, in order; none if there were more than [`MOMENTS_MAX`].
    pub(crate) moments: Vec<Time>,
    /// How long the scenario's own timers are: each length once, from short to long.
    pub(crate) timers: Vec<Duration>,
}

/// Says what a calm run was like, when it is needed.
pub(crate) type AskCalm<'a> = &'a dyn Fn() -> &'a Calm;

impl Calm {
    /// What is known of a run whose first [`MOMENTS_MAX`] records were kept.
    pub(crate) fn of(report: &Report<()>) -> Self {
        let log = report.log.as_ref().filter(|_| report.events <= MOMENTS_MAX as u64);
        let moments = |log: &Log| log.entries().map(|entry| entry.time).collect();
        Self {
            hosts: report.hosts().map(str::to_owned).collect(),
            length: report.time.since_epoch().max(Duration::from_millis(1)),
            moments: log.map(moments).unwrap_or_default(),
            timers: log.map(timers).unwrap_or_default(),
        }
    }
}

fn timers(log: &Log) -> Vec<Duration> {
    let mut lengths: Vec<Duration> = log
        .entries()
        .filter_map(|entry| match entry.record {
            Record::Engine(EngineRecord::TimerArmed { at }) => {
                Some(at.saturating_since(entry.time))
            }
            _ => None,
        })
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}
