//! How a simulation is set up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sim_core::{EventLoop, Outcome, PanicPolicy, World};

use crate::capture::Capture;
use crate::link::table::LinkTable;
use crate::link::{Latency, Link, LinkRule, Rate};
use crate::links::Links;
use crate::names::Resolver;
use crate::network::Network;
use crate::orders::{self, Orders};
use crate::plan::{Plan, PlanError};
use crate::report::Report;
use crate::scheduler::{Limits, Scheduler};
use crate::simulation::Simulation;
use crate::stream_faults::StreamFaults;
use crate::tcp::config::TcpConfig;

/// How long after the end of all faults a scenario must be done.
pub(crate) const LIVENESS: Duration = Duration::from_secs(300);

/// A simulation to be run: a seed, a network, and bounds.
///
/// The same value gives the same run, on any thread, as often as one likes. It is plain data.
///
/// ```
/// use std::time::Duration;
/// use sim_net::Sim;
///
/// let report = Sim::new(7).run(|world| async move {
///     world.host("client").sleep(Duration::from_secs(5)).await;
/// });
/// assert!(report.outcome.is_ok());
/// assert_eq!(report.time.since_epoch(), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct Sim {
    seed: u64,
    link: Link,
    rules: Vec<LinkRule>,
    tcp: TcpConfig,
    limits: Limits,
    panics: PanicPolicy,
    keep_log: bool,
    capture: bool,
    stream_faults: StreamFaults,
    resolver: Resolver,
    plan: Plan,
    quiesce: Option<Duration>,
    liveness: Option<Duration>,
}

impl Sim {
    /// A simulation with this seed: a millisecond between hosts, 20 µs over a host's loopback.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            link: Link::default(),
            rules: Vec::new(),
            tcp: TcpConfig::default(),
            limits: Limits::default(),
            panics: PanicPolicy::EndRun,
            keep_log: false,
            capture: false,
            stream_faults: StreamFaults::new(),
            resolver: Resolver::new(),
            plan: Plan::new(),
            quiesce: None,
            liveness: None,
        }
    }

    /// Sets what befalls hosts and links, and when: the scheduled faults and the clocks of a plan.
    /// Hosts that it names need not exist yet; those that never do are in [`Report::absent_hosts`].
    ///
    /// ```
    /// use sim_net::{Plan, Sim};
    ///
    /// let plan: Plan = "plan 1.0\ncut a b 1.2s..4.2s\ncrash b 5s for 200ms\n".parse()?;
    /// let sim = Sim::new(1).plan(&plan)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An entry that is bound to an event of a run (a deviation, or a fault without a time of its
    /// own), which needs a run to bind to; a link that is none.
    pub fn plan(mut self, plan: &Plan) -> Result<Self, PlanError> {
        orders::check(plan)?;
        self.plan = plan.clone();
        Ok(self)
    }

    /// Ends all faults after `time`: hosts are up again, nothing is in the way, links lose nothing,
    /// and nothing new is injected. Only what a plan calls permanent stays.
    #[must_use]
    pub fn quiesce(mut self, time: Duration) -> Self {
        self.quiesce = Some(time);
        self
    }

    /// Says how long after the [`quiesce`](Self::quiesce) the scenario must be done: 300 s by
    /// default, since retransmissions back off to 120 s. A run that is not is a finding.
    #[must_use]
    pub fn liveness(mut self, window: Duration) -> Self {
        self.liveness = Some(window);
        self
    }

    /// Sets what streams show their applications beyond what links do.
    #[must_use]
    pub fn stream_faults(mut self, faults: StreamFaults) -> Self {
        self.stream_faults = faults;
        self
    }

    /// Sets how name servers answer: at once and always by default.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// Sets the one-way delay between hosts: a `Duration`, or a range of them for a delay that each
    /// packet draws.
    ///
    /// TCP segments of a connection never overtake each other; datagrams may, and so may the reset
    /// with which a host answers for a connection that it no longer knows.
    #[must_use]
    pub fn latency(mut self, latency: impl Into<Latency>) -> Self {
        self.link.latency = latency.into();
        self
    }

    /// Sets what links do to packets: everywhere, if it is given a [`Link`], or where a [`LinkRule`]
    /// says. Of two rules about the same hosts the later holds. Hosts need not exist yet; those that
    /// never do are in [`Report::absent_hosts`].
    ///
    /// ```
    /// use sim_net::{LinkRule, Sim};
    ///
    /// let everywhere: LinkRule = "latency=20ms..80ms,loss=5%".parse()?;
    /// let back: LinkRule = "server->client: latency=20ms,rate=1Mbit,queue=20".parse()?;
    /// let sim = Sim::new(1).link(everywhere).link(back);
    /// # Ok::<(), sim_net::LinkError>(())
    /// ```
    #[must_use]
    pub fn link(mut self, rule: impl Into<LinkRule>) -> Self {
        match rule.into() {
            LinkRule::Everywhere(link) => self.link = link,
            rule => self.rules.push(rule),
        }
        self
    }

    /// Changes all links alike.
    #[must_use]
    pub fn each_link(mut self, change: impl Fn(Link) -> Link) -> Self {
        self.link = change(self.link);
        let rules = self.rules.into_iter().map(|rule| match rule {
            LinkRule::OneWay(from, to, link) => LinkRule::OneWay(from, to, change(link)),
            LinkRule::BothWays(a, b, link) => LinkRule::BothWays(a, b, change(link)),
            other => other,
        });
        self.rules = rules.collect();
        self
    }

    /// Sets the rate that everything shares which a host sends to others.
    #[must_use]
    pub fn uplink(self, host: &str, rate: Rate) -> Self {
        self.link(LinkRule::Uplink(host.to_owned(), rate))
    }

    /// Sets the rate that everything shares which a host receives from others: what makes incast
    /// show.
    #[must_use]
    pub fn downlink(self, host: &str, rate: Rate) -> Self {
        self.link(LinkRule::Downlink(host.to_owned(), rate))
    }

    /// Sets what the TCP of every host is set to: as Linux is by default.
    #[must_use]
    pub fn tcp(mut self, config: TcpConfig) -> Self {
        self.tcp = config;
        self
    }

    /// Says what a panic in a callback costs: the run by default, which makes it a finding.
    #[must_use]
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.panics = policy;
        self
    }

    /// Keeps every record for [`Report::log`]. Off by default. Changes neither times nor the hash.
    #[must_use]
    pub fn trace(mut self, keep: bool) -> Self {
        self.keep_log = keep;
        self
    }

    /// Keeps every packet for [`Report::capture`]. Off by default. Changes neither times nor the hash.
    #[must_use]
    pub fn capture(mut self, keep: bool) -> Self {
        self.capture = keep;
        self
    }

    /// Sets how much virtual time a run may take: 10 years by default.
    #[must_use]
    pub fn max_time(mut self, time: Duration) -> Self {
        self.limits.max_time = time;
        self
    }

    /// Sets how many records a run may have: 10¹⁰ by default.
    #[must_use]
    pub fn max_events(mut self, events: u64) -> Self {
        self.limits.max_events = events;
        self
    }

    /// Sets how many turns all hosts together may take without time passing: a million by default.
    /// More is a livelock, such as an endless chain of `call_soon` (contract, ruling 10).
    #[must_use]
    pub fn max_turns_per_instant(mut self, turns: u64) -> Self {
        self.limits.max_turns_per_instant = turns;
        self
    }

    /// Sets how many sockets each host may have open: no limit by default. Then opening and
    /// accepting fail with `EMFILE`, as in a process at its limit of descriptors (contract E-29).
    #[must_use]
    pub fn max_descriptors(mut self, sockets: u32) -> Self {
        self.limits.max_descriptors = sockets;
        self
    }

    /// Runs a scenario to its end.
    ///
    /// A panic anywhere in it is a finding, not a panic of this method.
    pub fn run<F, R>(&self, scenario: F) -> Report<<R::Output as Outcome>::Value>
    where
        F: FnOnce(World) -> R,
        R: Future + 'static,
        R::Output: Outcome + 'static,
    {
        self.build().run_to_report(scenario)
    }

    /// Runs a scenario that changes links or makes partitions while it runs.
    pub fn run_with_links<F, R>(&self, scenario: F) -> Report<<R::Output as Outcome>::Value>
    where
        F: FnOnce(World, Links) -> R,
        R: Future + 'static,
        R::Output: Outcome + 'static,
    {
        let simulation = self.build();
        let links = simulation.links();
        simulation.run_to_report(|world| scenario(world, links))
    }

    /// Builds the world without running anything.
    pub fn build(&self) -> Simulation {
        let links = LinkTable::new(self.link.clone(), self.rules.clone());
        let mut network = Network::new(self.seed, links, self.keep_log, 0);
        network.tcp = self.tcp;
        network.wire.capture = self.capture.then(|| Box::new(Capture::new()));
        network.set_stream_faults(self.stream_faults);
        network.set_resolver(self.resolver.clone());
        let mut limits = self.limits;
        if let Some(quiesce) = self.quiesce {
            limits.calm_at = Some(quiesce);
            limits.live_until = Some(quiesce + self.liveness.unwrap_or(LIVENESS));
        }
        let scheduler = Scheduler::new(network, Orders::new(&self.plan), limits, self.panics);
        let engine = scheduler.control_engine(&Arc::from("control"), false);
        scheduler.schedule_orders(self.quiesce);
        Simulation::new(EventLoop::new(engine), scheduler)
    }
}

/// A bare loop on a virtual clock, with a network of its own that has one host, called `host`: the
/// addresses 127.0.0.0/8, ::1, 10.0.0.1 and fd00::1.
///
/// ```
/// use std::time::Duration;
///
/// let lp = sim_net::new_loop();
/// let handle = lp.clone();
/// lp.run_until_complete(async move { handle.sleep(Duration::from_secs(3600)).await })?;
/// assert_eq!(lp.time().since_epoch(), Duration::from_secs(3600));
/// # Ok::<(), sim_core::RunError>(())
/// ```
pub fn new_loop() -> EventLoop {
    let network = Network::new(0, LinkTable::default(), false, 1);
    let limits = Limits::default();
    let scheduler = Scheduler::new(network, Orders::default(), limits, PanicPolicy::EndRun);
    EventLoop::new(scheduler.control_engine(&Arc::from("host"), true))
}
