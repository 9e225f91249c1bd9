//! Work beside a loop, as threads would do it: how long a job of `run_in_executor` takes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decisions::{Entity, Site};
use crate::link::{Latency, Probability};
use crate::network::Network;
use crate::plan::FaultSite;
use crate::plane::question::{Question, Subject};
use crate::trace::Record;

/// How long jobs take, unless somebody says otherwise.
const SHORTEST: Duration = Duration::from_micros(10);
const LONGEST: Duration = Duration::from_millis(1);

/// What a network knows of the jobs of its hosts.
#[derive(Debug)]
pub(crate) struct Jobs {
    latency: Latency,
    /// How many each host, in its incarnation, has given away.
    given: BTreeMap<u32, (u16, u64)>,
}

impl Jobs {
    pub(crate) fn new(latency: Latency) -> Self {
        Self { latency, given: BTreeMap::new() }
    }

    /// How long jobs take by default.
    pub(crate) fn default_latency() -> Latency {
        Latency::from(SHORTEST..LONGEST)
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self::new(Self::default_latency())
    }
}

impl Network {
    /// How long it takes until the job is done that a host gives away now.
    pub(crate) fn job_delay(&mut self, host: u32) -> Duration {
        let incarnation = self.host(host).incarnation;
        let given = self.jobs.given.entry(host).or_default();
        if given.0 != incarnation {
            *given = (incarnation, 0);
        }
        let ordinal = given.1;
        given.1 += 1;
        let latency = self.jobs.latency.clone();
        let is_planned = self.wire.is_planned();
        if !latency.varies() && !is_planned {
            return latency.least();
        }
        let of = format!("{}@{incarnation}/executor", self.wire.trace.hosts[host as usize]);
        let entity = Entity::named(&of);
        let asked = Question {
            host,
            site: Site::JobDelay,
            fault: FaultSite::JobDelay,
            // Asked each time: how likely it is says the distribution.
            likely: Probability::ALWAYS,
            entity,
            ordinal,
            subject: Subject::Draw(&of, entity, ordinal),
        };
        let value = if is_planned {
            self.choice_of_plan(&asked).unwrap_or(0)
        } else {
            latency.beyond_least(self.wire.decisions.at(Site::JobDelay, entity, ordinal))
        };
        if latency.varies() || value > 0 {
            self.record(host, Record::Draw { site: Site::JobDelay, value });
        }
        if value > 0 {
            self.note_stream_fault(asked.fault, asked.subject, value);
        }
        latency.least() + Duration::from_nanos(value)
    }
}
