//! Which entries of a plan found what they are about.

use std::fmt;

use sim_core::Time;

use crate::plan::{Entry, EventId, Near, Plan};

/// Whether an entry of a plan found what it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bound {
    /// It found nothing: no such event, host, time or operation was in the run.
    Unbound,
    /// It found what it names.
    Exact,
    /// It took another event of the same kind instead, since its own could come no more.
    Near {
        /// The event.
        event: EventId,
        /// Where it was, if it is a packet.
        place: Option<Near>,
    },
}

/// What became of the entries of a plan in a run. Prints `bound 2 of 2`, of the entries that are not about the workload:
/// those say how large the run is.
///
/// ```
/// use std::time::Duration;
/// use sim_net::{Plan, Sim};
///
/// let plan: Plan = "crash a 1s for 1s\ndrop a@1→b:7#1 syn\n".parse()?;
/// let report = Sim::new(1).replay(&plan)?.run(|world| async move {
///     world.host("a");
///     world.host("b");
///     world.sleep(Duration::from_secs(5)).await;
/// });
/// assert_eq!(report.bindings.to_string(), "bound 1 of 2");
/// let (number, entry) = report.bindings.unbound().next().unwrap();
/// assert_eq!((number, entry.to_string().as_str()), (2, "drop a@1→b:7#1 syn"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Bindings {
    pub(crate) entries: Vec<(Entry, Bound)>,
    pub(crate) times: Vec<Option<Time>>,
}

impl Bindings {
    /// The entries, in the order of the plan, and what became of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Entry, &Bound)> {
        self.entries.iter().map(|(entry, bound)| (entry, bound))
    }

    /// When entry number `place`, from 0 on, found what it is about.
    pub fn time(&self, place: usize) -> Option<Time> {
        self.times.get(place).copied().flatten()
    }

    /// How many entries the plan has, those about the workload included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if the plan has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many found something, the event that they name or another.
    pub fn bound(&self) -> usize {
        self.len() - self.unbound().count()
    }

    /// The entries that found nothing, each with its number in the plan, from 1 on.
    pub fn unbound(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let all = (1..).zip(&self.entries);
        all.filter(|(_, (_, bound))| *bound == Bound::Unbound).map(|(n, (entry, _))| (n, entry))
    }

    /// The plan without what found nothing, and with the events that were found.
    #[must_use]
    pub fn rewritten(&self, plan: &Plan) -> Plan {
        let entries = self.entries.iter().filter_map(|(entry, bound)| match (entry, bound) {
            (_, Bound::Unbound) => None,
            (Entry::Deviation(deviation), Bound::Near { event, place }) => {
                let mut deviation = deviation.clone();
                (deviation.event, deviation.near) = (event.clone(), *place);
                Some(Entry::Deviation(deviation))
            }
            (entry, _) => Some(entry.clone()),
        });
        Plan { entries: entries.collect(), ..plan.clone() }
    }
}

impl fmt::Display for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = || self.entries.iter().filter(|(entry, _)| !entry.is_workload());
        let bound = faults().filter(|(_, bound)| *bound != Bound::Unbound).count();
        write!(f, "bound {bound} of {}", faults().count())
    }
}
