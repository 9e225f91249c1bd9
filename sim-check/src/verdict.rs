//! What a sweep found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sim_core::Time;
use sim_net::{Finding, Log};

use crate::signature::Signature;

/// What a sweep over seeds found, and what a green one is worth.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// The check's name.
    pub name: String,
    /// How many seeds ran.
    pub seeds: u64,
    /// The seeds that failed, lowest first; only the lowest if the sweep was to stop there.
    pub failures: Vec<Failed>,
    /// How many records the runs had together.
    pub events: u64,
    /// How much virtual time passed in all runs together.
    pub time: Duration,
    /// How often each fault bit in all runs together, by its name; 0 for one that could have and
    /// never did.
    pub faults: BTreeMap<&'static str, u64>,
    /// How long the sweep took.
    pub wall: Duration,
    /// True if the budget ended the sweep before its last seed.
    pub cut_short: bool,
}

/// A seed that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What failed, in a line: the scenario's error, or the panic with its place.
    pub error: String,
    /// What it is known by: failures of one signature found one thing.
    pub signature: Signature,
    /// The host on which it happened.
    pub host: String,
    /// The virtual time.
    pub time: Time,
    /// The run's trace hash.
    pub hash: u64,
    /// The last records of the run, a line each.
    pub tail: String,
    /// False if a second run of the seed went differently: then no other line here can be trusted.
    pub deterministic: bool,
}

impl Failed {
    pub(crate) fn found(
        seed: u64,
        finding: &Finding,
        place: Option<String>,
        hash: u64,
        tail: &Log,
        deterministic: bool,
    ) -> Self {
        let signature = Signature::of(finding, place.as_deref());
        let place = place.map(|place| format!(", at {place}")).unwrap_or_default();
        Self {
            seed,
            error: format!("{}{place}", finding.message),
            signature,
            host: finding.host.clone(),
            time: finding.time,
            hash,
            tail: tail.to_string(),
            deterministic,
        }
    }

    pub(crate) fn nondeterministic(seed: u64, first: u64, second: u64) -> Self {
        Self {
            seed,
            error: format!("two runs of the seed differ: trace hashes {first:016x}, {second:016x}"),
            signature: Signature::nondeterminism(),
            host: "control".to_owned(),
            time: Time::ZERO,
            hash: first,
            tail: String::new(),
            deterministic: false,
        }
    }
}

impl Verdict {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seeds: 0,
            failures: Vec::new(),
            events: 0,
            time: Duration::ZERO,
            faults: BTreeMap::new(),
            wall: Duration::ZERO,
            cut_short: false,
        }
    }

    pub(crate) fn add(
        &mut self,
        events: u64,
        time: Duration,
        faults: &BTreeMap<&'static str, u64>,
        failed: Option<Failed>,
    ) {
        for (name, count) in faults {
            *self.faults.entry(name).or_default() += count;
        }
        self.seeds += 1;
        self.events += events;
        self.time = self.time.saturating_add(time);
        self.failures.extend(failed);
    }

    pub(crate) fn finish(&mut self, wall: Duration, cut_short: bool, only_lowest: bool) {
        self.failures.sort_by_key(|failed| failed.seed);
        if only_lowest {
            self.failures.truncate(1);
        }
        (self.wall, self.cut_short) = (wall, cut_short);
    }

    fn tell_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> =
            self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(f, "\nfaults that bit: {}", counts.join(", "))
    }

    /// True when no seed failed.
    pub fn is_green(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Verdict {
    /// A line for a green verdict; for a red one, the lowest seed's failure and the other seeds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seeds, events, time, wall, .. } = self;
        let cut = if self.cut_short { ", cut short by its budget" } else { "" };
        let Some(lowest) = self.failures.first() else {
            write!(
                f,
                "{name}: green on {seeds} seeds ({events} events, {time:.1?} virtual, {wall:.1?}{cut}); \
                 the chance that a seed fails is below {:.2} % (3/n, at 95 % confidence)",
                300.0 / (*seeds).max(1) as f64,
            )?;
            return self.tell_faults(f);
        };
        write!(f, "{name}: {lowest}")?;
        if self.failures.len() > 1 {
            let others: Vec<_> =
                self.failures[1..].iter().take(10).map(|failed| failed.seed.to_string()).collect();
            let more = if self.failures.len() > 11 { ", .." } else { "" };
            write!(f, "\nalso failed: seeds {}{more}", others.join(", "))?;
        }
        write!(f, "\n{} of {seeds} seeds failed ({wall:.1?}{cut})", self.failures.len())?;
        self.tell_faults(f)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, error, host, time, hash, .. } = self;
        writeln!(f, "{error}")?;
        writeln!(f, "seed {seed}, host {host}, {time} virtual, trace hash {hash:016x}")?;
        if !self.deterministic {
            writeln!(f, "NOT DETERMINISTIC: a second run of this seed went differently")?;
        }
        if self.tail.is_empty() {
            return Ok(());
        }
        write!(f, "the last records:\n{}", self.tail.trim_end())
    }
}
