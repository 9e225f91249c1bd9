//! How a simulation is set up.

use std::future::Future;
use std::time::Duration;

use sim_core::{EventLoop, Outcome, PanicPolicy, Time, World};

use crate::jobs::Jobs;
use crate::link::{Latency, Link, LinkRule, Rate};
use crate::links::Links;
use crate::memory::Memory;
use crate::names::Resolver;
use crate::orders;
use crate::plan::{Plan, PlanError};
use crate::plane::Plane;
use crate::plane::recording::Recording;
use crate::report::Report;
use crate::scheduler::{Limits, Scheduler};
use crate::simulation::Simulation;
use crate::stop_at::StopAt;
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
    log_max: usize,
    log_after: u64,
    capture: bool,
    stream_faults: StreamFaults,
    resolver: Resolver,
    executor: Latency,
    plan: Plan,
    quiesce: Option<Duration>,
    liveness: Option<Duration>,
    /// The plan decides what goes wrong, and not the seed; until this time, if there is one.
    is_replay: bool,
    until: Option<Time>,
    recording: Option<Recording>,
    census: bool,
    leftovers: bool,
    forms_trains: bool,
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
            log_max: usize::MAX,
            log_after: 0,
            capture: false,
            stream_faults: StreamFaults::new(),
            resolver: Resolver::new(),
            executor: Jobs::default_latency(),
            plan: Plan::new(),
            quiesce: None,
            liveness: None,
            is_replay: false,
            until: None,
            recording: None,
            census: false,
            leftovers: false,
            forms_trains: true,
        }
    }

    /// Sets what befalls hosts and links, and when: the scheduled faults and the clocks of a plan, and
    /// its workload. What else goes wrong the seed decides; see [`replay`](Self::replay) for a plan
    /// that decides everything. Hosts that it names need not exist yet; those that never do are in
    /// [`Report::absent_hosts`].
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
    /// A deviation or an environment, which are about what a run from a seed leaves to chance; a link
    /// that is none.
    pub fn plan(mut self, plan: &Plan) -> Result<Self, PlanError> {
        orders::check(plan, false)?;
        self.plan = plan.clone();
        self.is_replay = false;
        Ok(self)
    }

    /// The plan of [`plan`](Self::plan); `None` if [`replay`](Self::replay) set one, which decides everything.
    pub fn planned(&self) -> Option<&Plan> {
        (!self.is_replay).then_some(&self.plan)
    }

    /// Runs from a plan: nothing goes wrong but what it says. Of all that a run from a seed leaves to
    /// chance, faults do not happen unless a deviation is about them, delays are the least and hosts
    /// that are ready at the same instant go in the order of their making unless an entry leaves them
    /// to the seed. Everything else is as set up (rates, queues, base delays, MTUs, packets that a
    /// link loses by their number), and who somebody is and what the scenario does come from the plan's
    /// seed; if it has none, from that of the simulation.
    ///
    /// [`Report::bindings`] says which entries found what they are about; those that did not are no
    /// error.
    ///
    /// ```
    /// use sim_net::{Link, Recording, Sim};
    ///
    /// # async fn scenario(world: sim_core::World) {
    /// #     let (a, b) = (world.host("a"), world.host("b"));
    /// #     world.settle().await;
    /// #     drop((a, b));
    /// # }
    /// let sim = Sim::new(7).link("latency=1ms..9ms,loss=5%".parse::<Link>()?);
    /// let found = sim.clone().record(Recording::new()).run(scenario);
    /// let plan = found.recording.unwrap();
    /// let again = sim.replay(&plan.to_string().parse()?)?.run(scenario);
    /// assert_eq!(again.hash, found.hash);
    /// assert_eq!(again.bindings.bound(), plan.entries.len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A deviation that is about what its kind cannot befall (a `drop` of a place in a stream), a
    /// fault that follows neither a packet nor a place in a stream, ties of a flow, a link that is
    /// none.
    pub fn replay(mut self, plan: &Plan) -> Result<Self, PlanError> {
        orders::check(plan, true)?;
        self.seed = plan.seed.unwrap_or(self.seed);
        self.plan = plan.clone();
        self.is_replay = true;
        Ok(self)
    }

    /// After `time` the seed decides again what goes wrong: a plan's beginning, then chance. Scheduled
    /// faults keep their times. What the seed then decides is in the plan of the run ([`record`](Self::record)): its
    /// jitter and ties as left to the seed from that time on (`jitter a->b from 1.2s`).
    #[must_use]
    pub fn then_by_chance(mut self, time: Duration) -> Self {
        self.until = Some(Time::ZERO + time);
        self
    }

    /// Writes down the plan that the run amounts to, for [`Report::recording`]: replayed under the
    /// same simulation, it gives the same run, to the hash. Changes neither times nor the hash.
    #[must_use]
    pub fn record(mut self, recording: Recording) -> Self {
        self.recording = Some(recording);
        self
    }

    /// Lists everything that a fault could have befallen, for [`Report::census`]. Off by default.
    /// Changes neither times nor the hash.
    #[must_use]
    pub fn census(mut self, take: bool) -> Self {
        self.census = take;
        self
    }

    /// Whether it is a finding if something is still there when the scenario has succeeded: a timer that
    /// waits, a task that is not done, a transport that is not lost, bytes that were not sent. It is not by
    /// default, and not looked for. [`Report::leftovers`] tells of a run that failed in another way, too.
    ///
    /// What the network has under way at that time comes to its end first, after the last fault if there
    /// are any, in no more than 300 s; nothing else is waited for. A server that listens is no leftover, nor
    /// is the function of a host that [boots](World::boot), nor anything of a host that is down.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sim_net::{FindingKind, Sim};
    ///
    /// let report = Sim::new(1).leftovers(true).run(|world| async move {
    ///     let lp = world.host("server");
    ///     let tick = lp.clone();
    ///     lp.create_named_task("ticks", async move { tick.sleep(Duration::MAX).await });
    /// });
    /// let finding = report.finding().unwrap();
    /// assert_eq!(finding.kind, FindingKind::Leftover);
    /// assert!(finding.message.contains("host server: 1 task not done (\"ticks\", created at "));
    /// ```
    ///
    /// # Determinism
    ///
    /// Of a run that leaves nothing over it changes neither times nor the hash.
    #[must_use]
    pub fn leftovers(mut self, find: bool) -> Self {
        self.leftovers = find;
        self
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

    /// When [`quiesce`](Self::quiesce) said that all faults end.
    pub fn quiesces_at(&self) -> Option<Duration> {
        self.quiesce
    }

    /// Sets what streams show their applications beyond what links do.
    #[must_use]
    pub fn stream_faults(mut self, faults: StreamFaults) -> Self {
        self.stream_faults = faults;
        self
    }

    /// Changes what streams show, by what was set before.
    #[must_use]
    pub fn map_stream_faults(mut self, change: impl FnOnce(StreamFaults) -> StreamFaults) -> Self {
        self.stream_faults = change(self.stream_faults);
        self
    }

    /// Sets how name servers answer: at once and always by default.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// Sets how long a job of [`run_in_executor`](sim_core::Loop::run_in_executor) takes: a `Duration`, or a range of
    /// them for a time that each job draws. By default that is 10 µs to 1 ms, so that jobs may end in another order
    /// than they began.
    ///
    /// A plan says `job-delay client@1/executor nr 0 +3ms` of the first job of a host, beyond the least.
    #[must_use]
    pub fn executor(mut self, takes: impl Into<Latency>) -> Self {
        self.executor = takes.into();
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
    ///
    /// # Panics
    ///
    /// On a rule about a link of a host to itself, of which there is none. One that was read from text is not.
    #[must_use]
    #[track_caller]
    pub fn link(mut self, rule: impl Into<LinkRule>) -> Self {
        let rule = rule.into();
        if let Some(host) = rule.of_itself() {
            panic!("Sim::link: {host:?} has no link to itself: name two hosts");
        }
        match rule {
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

    /// Whether full segments of a connection leave as one, a *train*, where nothing on their way tells them apart: links
    /// that are a fixed delay and nothing else. They do by default, since a body then costs fewer events. A capture has
    /// segments either way.
    ///
    /// For those who want to see that it makes no difference to their protocol.
    ///
    /// # Determinism
    ///
    /// Without trains it is another run, with another hash: more packets, and an acknowledgement for every two segments
    /// instead of one for a train, so bytes may come in other pieces. What streams carry and how they end is the same.
    #[must_use]
    pub fn segment_trains(mut self, form: bool) -> Self {
        self.forms_trains = form;
        self
    }

    /// Says what a panic in a callback costs: the run by default, which makes it a finding.
    #[must_use]
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.panics = policy;
        self
    }

    /// Keeps every record for [`Report::log`], with the first bytes of each packet and what protocols say
    /// of their state. Off by default. Changes neither times nor the hash.
    #[must_use]
    pub fn trace(mut self, keep: bool) -> Self {
        self.keep_log = keep;
        self
    }

    /// Keeps the first so many records for [`Report::log`].
    #[must_use]
    pub fn trace_first(mut self, records: usize) -> Self {
        (self.keep_log, self.log_max) = (true, records);
        self
    }

    /// Keeps the records from a step on for [`Report::log`], and of what was before no more than partitions, links
    /// and slow hosts.
    #[must_use]
    pub fn trace_from(mut self, step: u64) -> Self {
        (self.keep_log, self.log_after) = (true, step.saturating_sub(1));
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

    /// Ends the run when it has come to this place: a [finding](crate::FindingKind::Stopped). Of a run that is
    /// stopped at a step the log ends with it, though the rest of its turn has run.
    ///
    /// The function `sim_net::stop_at::reached` is called there, in the middle of whatever makes the record: a
    /// breakpoint for a debugger. A log is kept for that, if only inside.
    ///
    /// ```
    /// use sim_net::{FindingKind, Sim, StopAt};
    ///
    /// let sim = Sim::new(1).trace(true).stop_at(StopAt::Step(5));
    /// let report = sim.run(|world| async move {
    ///     let lp = world.host("client");
    ///     for n in 0..10 {
    ///         lp.sleep(std::time::Duration::from_secs(1)).await;
    ///         lp.mark("n", n);
    ///     }
    /// });
    /// assert_eq!(report.finding().unwrap().kind, FindingKind::Stopped);
    /// assert_eq!(report.log.unwrap().entries().len(), 5);
    /// ```
    #[must_use]
    pub fn stop_at(mut self, place: StopAt) -> Self {
        self.limits.stop_at = Some(place);
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

    /// As [`run`](Self::run), in the memory that other runs have left.
    pub fn run_in<F, R>(
        &self,
        memory: &Memory,
        scenario: F,
    ) -> Report<<R::Output as Outcome>::Value>
    where
        F: FnOnce(World) -> R,
        R: Future + 'static,
        R::Output: Outcome + 'static,
    {
        self.build_in(Some(memory)).run_to_report(scenario)
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
        self.build_in(None)
    }

    fn build_in(&self, memory: Option<&Memory>) -> Simulation {
        let scheduler = memory.and_then(Memory::take).unwrap_or_else(Scheduler::new);
        // The census reads its turns off the log, and where a run stops is seen there.
        let stops = matches!(self.limits.stop_at, Some(StopAt::Step(_)));
        let keep_log = self.keep_log || self.census || stops;
        let mut network = scheduler.network();
        network.begin(self.seed, &self.link, &self.rules, keep_log, 0);
        network.wire.trace.bound_log(self.log_max);
        network.wire.trace.leave_out(self.log_after);
        if let Some(StopAt::Step(step)) = self.limits.stop_at {
            network.wire.trace.stop_at(step);
        }
        if !self.keep_log {
            network.wire.trace.omit_notes();
        }
        network.tcp = self.tcp;
        network.wire.forms_trains = self.forms_trains;
        if self.capture {
            network.wire.start_capture();
        }
        let Self { seed, is_replay, until, census, .. } = *self;
        let recording = self.recording.clone();
        network.set_stream_faults(self.stream_faults);
        network.set_plane(Plane::new(&self.plan, seed, is_replay, until, recording, census));
        network.set_resolver(self.resolver.clone());
        network.jobs.begin(self.executor.clone());
        drop(network);
        let mut limits = self.limits;
        if let Some(quiesce) = self.quiesce {
            limits.calm_at = Some(quiesce);
            limits.live_until = Some(quiesce.saturating_add(self.liveness.unwrap_or(LIVENESS)));
        }
        scheduler.begin_world(limits, self.panics, memory);
        scheduler.orders.begin(&self.plan);
        let control = scheduler.control_process("control", false);
        scheduler.schedule_orders(self.quiesce);
        Simulation::new(control, scheduler, self.keep_log, self.leftovers)
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
    let scheduler = Scheduler::new();
    scheduler.network().begin(0, &Link::default(), &[], false, 1);
    scheduler.begin_world(Limits::default(), PanicPolicy::EndRun, None);
    EventLoop::new(scheduler.control_process("host", true).engine)
}
