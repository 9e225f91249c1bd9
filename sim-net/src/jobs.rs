//! Work beside a loop, as threads would do it: how long a job of `run_in_executor` takes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decisions::Site;
use crate::link::Latency;
use crate::memory::clear_map;
use crate::network::Network;
use crate::plan::FaultSite;

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
    /// Another world begins, in which jobs take so long.
    pub(crate) fn begin(&mut self, latency: Latency) {
        self.latency = latency;
        clear_map(&mut self.given);
    }

    /// How long jobs take by default.
    pub(crate) fn default_latency() -> Latency {
        Latency::from(SHORTEST..LONGEST)
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self { latency: Self::default_latency(), given: BTreeMap::new() }
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
        let of = format!("{}@{incarnation}/executor", self.wire.trace.hosts[host as usize]);
        self.draw_latency(&latency, (Site::JobDelay, FaultSite::JobDelay), host, &of, ordinal)
    }
}
