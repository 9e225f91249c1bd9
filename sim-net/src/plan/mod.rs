//! Plans: what goes wrong in a run, as data that prints as a person would say it.
//!
//! A [`Plan`] holds *faults*, which have a time; *deviations*, each a choice of the simulator that is
//! made otherwise, named by the content of the event that it concerns; *environment*, choices that
//! are left to the seed; and *workload*, what the scenario does otherwise. Its text has an entry a
//! line:
//!
//! ```text
//! plan 1.0                                          # the format; may be left out
//! scenario raft::single_leader                      # what it is for
//! seed 0x1f3a                                       # whence all other values come
//!
//! cut a b 1.2s..4.2s                                # both ways; packets are dropped
//! cut a->b 1.2s..4.2s hold port 7000                # one way, one port; they wait for the end
//! cut a,b | c,d 1.2s for 3s reject                  # groups; their senders are told
//! isolate n1 1.2s.. permanent                       # from all others, for ever
//! crash n2 1.9s for 200ms new-address               # and boots again, under another address
//! pause n2 1s..2s                                   # the process
//! freeze n2 1s..2s                                  # the machine
//! slow n2 1s..2s by 3ms                             # each callback costs 3 ms
//! dns n2 1s..3s nxdomain                            # its lookups: again, nxdomain, empty, silent
//! link a->b 1s..3s loss=20%,latency=20ms..80ms      # a<->b for both ways
//! kill n1 at 2.5s
//! signal n1 SIGTERM at 2.5s
//! clock n1 at 3s step +250ms
//! clock n2 offset +3ms drift +40ppm                 # for the whole run
//! crash n2 for 200ms after client@1→server:7000#2 data 1449 on server +10ms
//!
//! drop client@1→server:7000#2 data 1449 2nd         # its second transmission
//! delay client@1←server:7000#2 ack 1449 +37ms
//! duplicate client@1→server:53/udp#1 dgram 0x00f31a90c21d5b7e
//! rst@1449 client@1→server:7000#2 to both
//! fin@60 client@1←server:7000#2 to receiver         # it reads 60 bytes, and the end of the stream
//! fin@60 client@1←server:7000#2                     # the same, since the server is killed there
//! jitter a->b                                       # as this seed has it
//! ties a b from 1.2s                                # as it has them from then on
//! size clients = 3                                  # not as this seed has it
//! without writes 4,7-9                              # four operations fewer
//! ```
//!
//! A fault without an end lasts until the faults of a run are over, when links are at their base
//! again and all hosts are up; what is `permanent` stays even then. Times are exact, in ns, us, ms,
//! s, m or h.

mod check;
mod deviation;
mod diff;
mod error;
mod event;
mod fault;
mod grammar;
pub(crate) mod quantity;
mod reader;
#[cfg(test)]
mod tests;
mod workload;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sim_core::{Signal, Time};

use crate::names::NameFault;

pub use self::deviation::{
    Deviation, Environment, FIN_KILL, FIN_RECEIVER, FaultSite, Near, RESET_BOTH, RESET_RECEIVER,
    RESET_SENDER, Scope, Stream,
};
pub use self::diff::{Diff, EntryId};
pub use self::error::{Place, PlanError, PlanErrors, Problem};
pub use self::event::{EventId, FlowName, SegmentClass};
pub use self::fault::{
    Action, Anchor, Clock, Condition, Cut, CutMode, Fault, Incident, LinkText, Sides, Start,
};
pub use self::workload::Workload;

/// The version of the text form: another major one is refused, a later minor one has only more words.
pub(crate) const VERSION: (u32, u32) = (1, 0);

/// What goes wrong in a run.
///
/// It is plain data: built by hand, read from text, compared, printed. Its order is that of the
/// entries; it means nothing but which of two deviations claims an event first. Building checks
/// nothing; [`Plan::check`] does, against the hosts of a world.
///
/// ```
/// use std::time::Duration;
/// use sim_net::Plan;
///
/// let ms = Duration::from_millis;
/// let plan = Plan::new()
///     .partition(ms(200), "client", "server", ms(3_000))
///     .crash(ms(1_900), "server", ms(200));
/// let text = "cut client server 200ms..3.2s\ncrash server 1.9s for 200ms\n";
/// assert_eq!(plan.to_string(), format!("plan 1.0\n{text}"));
/// assert_eq!(text.parse::<Plan>()?, plan);
///
/// let error = plan.check(&["client", "sever"]).unwrap_err();
/// assert_eq!(
///     error.iter().next().unwrap().to_string(),
///     "entry 1 (cut client server 200ms..3.2s): no host is called \"server\"; \
///      host names are client, sever; did you mean sever?"
/// );
/// # Ok::<(), sim_net::plan::PlanErrors>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// The scenario that it is for.
    pub scenario: Option<String>,
    /// The seed of everything that it does not say.
    pub seed: Option<u64>,
    /// What it says.
    pub entries: Vec<Entry>,
}

/// A line of a plan, that can be taken out without touching the others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Entry {
    /// A fault with a time.
    Fault(Fault),
    /// How a host's clocks differ.
    Clock(Clock),
    /// A choice that is made otherwise.
    Deviation(Deviation),
    /// Choices that are left to the seed.
    Environment(Environment),
    /// What the scenario does otherwise.
    Workload(Workload),
}

impl Plan {
    /// A plan in which nothing goes wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the scenario that it is for.
    #[must_use]
    pub fn scenario(mut self, name: impl Into<String>) -> Self {
        self.scenario = Some(name.into());
        self
    }

    /// Sets the seed of everything that the plan does not say.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds an entry.
    #[must_use]
    pub fn with(mut self, entry: impl Into<Entry>) -> Self {
        self.entries.push(entry.into());
        self
    }

    /// Cuts two hosts off from each other, from `at` on, for `length`.
    #[must_use]
    pub fn partition(
        self,
        at: Duration,
        a: impl Into<String>,
        b: impl Into<String>,
        length: Duration,
    ) -> Self {
        self.cut(at, Cut::new(Sides::Between(vec![a.into()], vec![b.into()])), length)
    }

    /// Cuts a host off from all others, from `at` on, for `length`.
    #[must_use]
    pub fn isolate(self, at: Duration, host: impl Into<String>, length: Duration) -> Self {
        self.cut(at, Cut::new(Sides::Isolate(vec![host.into()])), length)
    }

    /// Makes any cut, from `at` on, for `length`.
    #[must_use]
    pub fn cut(self, at: Duration, cut: Cut, length: Duration) -> Self {
        self.interval(at, Condition::Cut(cut), length)
    }

    /// Crashes a host at `at`; it boots again after `length`, with the addresses that it had.
    #[must_use]
    pub fn crash(self, at: Duration, host: impl Into<String>, length: Duration) -> Self {
        self.interval(at, Condition::Crash { host: host.into(), changes_address: false }, length)
    }

    /// Stops a host's process from `at` on, for `length`; its kernel goes on.
    #[must_use]
    pub fn pause(self, at: Duration, host: impl Into<String>, length: Duration) -> Self {
        self.interval(at, Condition::Pause { host: host.into() }, length)
    }

    /// Stops a whole machine from `at` on, for `length`.
    #[must_use]
    pub fn freeze(self, at: Duration, host: impl Into<String>, length: Duration) -> Self {
        self.interval(at, Condition::Freeze { host: host.into() }, length)
    }

    /// Makes each callback on a host cost time, from `at` on, for `length`.
    #[must_use]
    pub fn slow(
        self,
        at: Duration,
        host: impl Into<String>,
        cost: Duration,
        length: Duration,
    ) -> Self {
        self.interval(at, Condition::Slow { host: host.into(), cost }, length)
    }

    /// Makes each lookup of a host go wrong, from `at` on, for `length`.
    #[must_use]
    pub fn names(
        self,
        at: Duration,
        host: impl Into<String>,
        fault: NameFault,
        length: Duration,
    ) -> Self {
        self.interval(at, Condition::Names { host: host.into(), fault }, length)
    }

    /// Changes the link from one host to another, from `at` on, for `length`.
    #[must_use]
    pub fn link(
        self,
        at: Duration,
        from: impl Into<String>,
        to: impl Into<String>,
        link: impl Into<String>,
        length: Duration,
    ) -> Self {
        let (from, to, link) = (from.into(), to.into(), LinkText(link.into()));
        self.interval(at, Condition::Link { from, to, is_mutual: false, link }, length)
    }

    /// Kills a host's process at `at`.
    #[must_use]
    pub fn kill(self, at: Duration, host: impl Into<String>) -> Self {
        self.moment(at, Incident::Kill { host: host.into() })
    }

    /// Sends a host's process a signal at `at`.
    ///
    /// # Panics
    ///
    /// For a real-time signal, which has no name.
    #[must_use]
    #[track_caller]
    pub fn signal(self, at: Duration, host: impl Into<String>, signal: Signal) -> Self {
        assert!(signal.number() <= 31, "{signal} has no name");
        self.moment(at, Incident::Signal { host: host.into(), signal })
    }

    /// Sets a host's wall clock forward or back at `at`, by nanoseconds.
    #[must_use]
    pub fn clock_step(self, at: Duration, host: impl Into<String>, step_nanos: i64) -> Self {
        self.moment(at, Incident::ClockStep { host: host.into(), step_nanos })
    }

    /// Sets how far a host's wall clock is ahead, in nanoseconds, and how much faster its clocks
    /// run, in parts per billion.
    #[must_use]
    pub fn clock(self, host: impl Into<String>, offset_nanos: i64, drift_ppb: i64) -> Self {
        self.with(Clock { host: host.into(), offset_nanos, drift_ppb, is_permanent: false })
    }

    /// Makes a choice otherwise.
    #[must_use]
    pub fn deviation(self, site: FaultSite, event: EventId, value: u64) -> Self {
        self.with(Deviation::new(site, event, value))
    }

    /// Leaves choices to the seed.
    #[must_use]
    pub fn environment(self, stream: Stream, scope: Scope) -> Self {
        self.with(Environment::new(stream, scope))
    }

    /// Makes the last entry outlive the faults of the run.
    ///
    /// # Panics
    ///
    /// If the last entry is no fault and no clock.
    #[must_use]
    #[track_caller]
    pub fn permanent(mut self) -> Self {
        match self.entries.last_mut() {
            Some(Entry::Fault(fault)) => fault.is_permanent = true,
            Some(Entry::Clock(clock)) => clock.is_permanent = true,
            _ => panic!("permanent() is about the fault before it, and there is none"),
        }
        self
    }

    /// Ties the last entry to an event, beside its time.
    ///
    /// # Panics
    ///
    /// If the last entry is no fault.
    #[must_use]
    #[track_caller]
    pub fn anchored(mut self, anchor: Anchor) -> Self {
        match self.entries.last_mut() {
            Some(Entry::Fault(fault)) => {
                fault.start = match fault.start.time() {
                    Some(time) => Start::Both(time, anchor),
                    None => Start::After(anchor),
                };
            }
            _ => panic!("anchored() is about the fault before it, and there is none"),
        }
        self
    }

    fn interval(self, at: Duration, condition: Condition, length: Duration) -> Self {
        self.with(Fault::interval(Start::At(Time::ZERO + at), condition, length))
    }

    fn moment(self, at: Duration, incident: Incident) -> Self {
        self.with(Fault::moment(Start::At(Time::ZERO + at), incident))
    }

    /// What goes wrong in it, and what is left to the seed: its entries without those about the workload, which say how
    /// large the scenario is.
    ///
    /// ```
    /// use sim_net::Plan;
    ///
    /// let plan: Plan = "kill n1 at 2s\nsize clients = 1\n".parse()?;
    /// assert_eq!((plan.faults().count(), plan.entries.len()), (1, 2));
    /// # Ok::<(), sim_net::plan::PlanErrors>(())
    /// ```
    pub fn faults(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.is_workload())
    }

    /// Reads a plan and checks it against the names of a world's hosts. Errors name lines.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the text, and what [`Plan::check`] finds in the rest.
    pub fn parse_for(text: &str, hosts: &[&str]) -> Result<Self, PlanErrors> {
        let mut parsed = grammar::parse(text);
        let found = check::check(&parsed.plan, hosts);
        parsed.errors.extend(found.into_iter().map(|(index, problem)| PlanError {
            place: Place::Line(parsed.lines[index]),
            problem: problem.renumbered(|index| parsed.lines[index]),
        }));
        parsed.errors.sort_by_key(|error| match error.place {
            Place::Text { line, .. } | Place::Line(line) => line,
            Place::Entry { number, .. } => number,
            Place::Plan => 0,
        });
        parsed.into_result()
    }

    /// Checks it against the names of a world's hosts.
    ///
    /// # Errors
    ///
    /// Names that no host has, intervals without length, deviations to 0, and what cannot happen to a host
    /// because of another entry, such as a crash of a crashed host. What has no time of its own is
    /// compared with nothing.
    pub fn check(&self, hosts: &[&str]) -> Result<(), PlanErrors> {
        let found = check::check(self, hosts);
        if found.is_empty() {
            return Ok(());
        }
        let errors = found.into_iter().map(|(index, problem)| PlanError {
            place: Place::Entry { number: index + 1, text: self.entries[index].to_string() },
            problem,
        });
        Err(PlanErrors(errors.collect()))
    }

    /// Checks that it is for a scenario: that it names this one or none.
    ///
    /// # Errors
    ///
    /// With both names, if it names another.
    pub fn check_scenario(&self, wanted: &str) -> Result<(), PlanError> {
        match &self.scenario {
            Some(found) if found != wanted => {
                let (found, wanted) = (found.clone(), wanted.to_owned());
                let problem = Problem::Scenario { found, wanted };
                Err(PlanError { place: Place::Plan, problem })
            }
            _ => Ok(()),
        }
    }

    /// The hash of all of it: equal for equal plans, on every platform and in every version.
    pub fn id(&self) -> EntryId {
        EntryId::of(self)
    }

    /// What has to be added to and removed from this plan to make `other` of it.
    pub fn diff(&self, other: &Self) -> Diff {
        diff::diff(self, other)
    }
}

impl Entry {
    /// True if it says how large the scenario is, and nothing of what goes wrong in it.
    pub fn is_workload(&self) -> bool {
        matches!(self, Self::Workload(_))
    }

    /// The hash of it: equal for equal entries, on every platform and in every version.
    pub fn id(&self) -> EntryId {
        EntryId::of(self)
    }
}

impl From<Fault> for Entry {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Clock> for Entry {
    fn from(clock: Clock) -> Self {
        Self::Clock(clock)
    }
}

impl From<Deviation> for Entry {
    fn from(deviation: Deviation) -> Self {
        Self::Deviation(deviation)
    }
}

impl From<Environment> for Entry {
    fn from(environment: Environment) -> Self {
        Self::Environment(environment)
    }
}

impl From<Workload> for Entry {
    fn from(workload: Workload) -> Self {
        Self::Workload(workload)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Clock(clock) => clock.fmt(f),
            Self::Deviation(deviation) => deviation.fmt(f),
            Self::Environment(environment) => environment.fmt(f),
            Self::Workload(workload) => workload.fmt(f),
        }
    }
}

impl fmt::Display for Plan {
    /// A line for the format, lines for scenario and seed, and one for each entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {}.{}", VERSION.0, VERSION.1)?;
        if let Some(scenario) = &self.scenario {
            writeln!(f, "scenario {}", reader::text(scenario, true))?;
        }
        if let Some(seed) = self.seed {
            writeln!(f, "seed {seed:#x}")?;
        }
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl FromStr for Plan {
    type Err = PlanErrors;

    /// Reads the text form. All errors are told, not the first alone. The mark that some editors put
    /// before a text in UTF-8 is passed over.
    fn from_str(text: &str) -> Result<Self, PlanErrors> {
        grammar::parse(text).into_result()
    }
}

impl FromStr for Entry {
    type Err = PlanErrors;

    /// Reads one line.
    fn from_str(text: &str) -> Result<Self, PlanErrors> {
        grammar::parse_entry(text)
    }
}
