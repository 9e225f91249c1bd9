//! A built world, and runs in it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sim_core::program::Program;
use sim_core::{Boot, EventLoop, Loop, Outcome, Rng, Time, World, WorldBackend};

use crate::capture::Capture;
use crate::decisions::{Entity, Site, below};
use crate::driver::HostDriver;
use crate::leftovers::{self, HostLeftovers};
use crate::link::LinkError;
use crate::links::{LinkHandle, Links};
use crate::operator::Operator;
use crate::plan::Plan;
use crate::plane::binding::Bindings;
use crate::plane::census::Census;
use crate::properties::{PropertyCount, PropertyId};
use crate::report::{Finding, FindingKind, Report, panic_message};
use crate::scheduler::{CONTROL, Process, Scheduler, Settler};
use crate::sim::LIVENESS;
use crate::trace::{Log, Record};
use crate::tun::Tun;
use crate::wire::Wire;

/// A world that is built and can be run, bit by bit: several can live on one thread.
///
/// ```
/// use std::time::Duration;
/// use sim_net::Sim;
///
/// let (a, b) = (Sim::new(1).build(), Sim::new(2).build());
/// for world in [&a, &b, &a] {
///     let client = world.world().host("client");
///     world.run(async move { client.sleep(Duration::from_secs(1)).await })?;
/// }
/// assert_eq!(a.time().since_epoch(), Duration::from_secs(2));
/// assert_eq!(b.time().since_epoch(), Duration::from_secs(1));
/// # Ok::<(), sim_net::Finding>(())
/// ```
pub struct Simulation {
    /// There until the simulation has run.
    control: Option<Control>,
    /// What is left of it then.
    ended: Option<Process>,
    scheduler: Rc<Scheduler>,
    /// The log is for the user.
    shows_log: bool,
    /// What is left over is a finding.
    seeks_leftovers: bool,
}

/// The control loop, and what drives it.
struct Control {
    lp: EventLoop,
    driver: Rc<HostDriver>,
}

impl Simulation {
    pub(crate) fn new(
        control: Process,
        scheduler: Rc<Scheduler>,
        shows_log: bool,
        seeks_leftovers: bool,
    ) -> Self {
        let Process { engine, driver } = control;
        let control = Some(Control { lp: EventLoop::new(engine), driver });
        Self { control, ended: None, scheduler, shows_log, seeks_leftovers }
    }

    fn control(&self) -> &EventLoop {
        &self.control.as_ref().expect("it is there until the report is made").lp
    }

    /// The world, to give to a scenario or to make hosts in.
    pub fn world(&self) -> World {
        World::new(Rc::new(Backend(Rc::clone(&self.scheduler), (*self.control()).clone())))
    }

    /// The links of the world, to change them while it runs.
    pub fn links(&self) -> Links {
        Links::new(&self.scheduler)
    }

    /// The link from one host to another: short for [`Links::link`].
    ///
    /// # Errors
    ///
    /// A name that no host has.
    pub fn link(&self, from: &str, to: &str) -> Result<LinkHandle, LinkError> {
        self.links().link(from, to)
    }

    /// How often each fault bit until now, by its name.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.links().faults()
    }

    /// Runs `future` on the control loop until it is done. What else goes on in the world goes on
    /// meanwhile, and stands still between runs.
    ///
    /// # Errors
    ///
    /// What was found: the future's own error, a panic anywhere, a deadlock, a limit. A [property](sim_core::property)
    /// that must hold and did not comes before all of these, unless the run was
    /// [stopped](crate::FindingKind::Stopped).
    pub fn run<F>(&self, future: F) -> Result<<F::Output as Outcome>::Value, Finding>
    where
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        let ran = self.contain(|| self.control().run_until_complete(future));
        self.judged(ran.and_then(|ran| match ran {
            Ok(output) => output.into_result().map_err(|failure| {
                self.finding(FindingKind::Failure, failure.to_string(), CONTROL)
            }),
            Err(error) => Err(Finding::of_run(&error, self.host_name(CONTROL), self.time())),
        }))
    }

    /// Runs a scenario and tells everything about it. The world ends with it.
    pub(crate) fn run_to_report<F, R>(
        mut self,
        scenario: F,
    ) -> Report<<R::Output as Outcome>::Value>
    where
        F: FnOnce(World) -> R,
        R: Future + 'static,
        R::Output: Outcome + 'static,
    {
        let world = self.world();
        // In its place from the start: it can be large.
        let future = self.judged(self.contain(|| Box::pin(scenario(world))));
        let outcome = future.and_then(|future| self.run(future));
        let mut outcome = outcome.and_then(|value| self.wind_down().map(|()| value));
        let leftovers = if self.seeks_leftovers { self.leftovers() } else { Vec::new() };
        // A person wants to see what came before.
        let tail = self.tail();
        if let Err(finding) = self.tell_states(&outcome) {
            outcome = outcome.and(Err(finding));
        }
        let (time, events, hash) = (self.time(), self.events(), self.hash());
        let log = self.log();
        let (faults, absent_hosts) = (self.faults(), self.absent_hosts());
        let properties = self.properties();
        let capture = self.scheduler.network().wire.capture.take();
        let capture = capture.map(|capture| self.with_hosts(*capture));
        let (bindings, recording, census) = (self.bindings(), self.recording(), self.take_census());
        // Destructors of protocols run here, and those of the scenario.
        self.ended = self.control.take().map(Control::into_process);
        let end_control = || self.ended.iter().for_each(|control| control.engine.end());
        for ended in [self.contain(|| self.scheduler.close()), self.contain(end_control)] {
            if let Err(finding) = self.judged(ended) {
                outcome = outcome.and(Err(finding));
            }
        }
        Report {
            outcome,
            time,
            events,
            hash,
            tail,
            log,
            leftovers,
            faults,
            properties,
            absent_hosts,
            capture,
            bindings,
            recording,
            census,
        }
    }

    /// Protocols whose connections are there tell their state, unless the run ended in the middle of a callback.
    fn tell_states<T>(&self, outcome: &Result<T, Finding>) -> Result<(), Finding> {
        match outcome {
            Err(Finding {
                kind: FindingKind::Panic | FindingKind::Property | FindingKind::Stopped,
                ..
            }) => Ok(()),
            _ => self.judged(self.contain(|| self.scheduler.tell_states())),
        }
    }

    /// The scenario is done: lets what is under way come to its end, and finds what does not.
    fn wind_down(&self) -> Result<(), Finding> {
        if !self.seeks_leftovers {
            return Ok(());
        }
        let calm_at = self.scheduler.limits().calm_at.map_or(Time::ZERO, |at| Time::ZERO + at);
        // A moment before the run would be ended for it.
        let last = self.scheduler.time_max() - Time::from_nanos(1_000_000);
        let until = (self.time().max(calm_at) + LIVENESS).min(Time::ZERO + last);
        let mut pause = Duration::from_millis(1);
        loop {
            let leftovers = self.leftovers();
            let Some(first) = leftovers.first() else { return Ok(()) };
            let now = self.time();
            let is_over = now >= calm_at && !self.scheduler.network().is_under_way();
            if is_over || now >= until {
                return Err(Finding {
                    kind: FindingKind::Leftover,
                    message: leftovers::told(&leftovers),
                    host: first.host.clone(),
                    time: now,
                    property: None,
                });
            }
            let world = self.world();
            let nap = pause.min(until - now);
            self.run(async move { world.sleep(nap).await })?;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// What user code has left on the hosts until now: timers that wait, tasks that are not done,
    /// transports that are not lost, and what these have not sent. Listeners and
    /// [boot functions](World::boot) are there for ever, and are not among them; nor is anything of a host
    /// that is down.
    pub fn leftovers(&self) -> Vec<HostLeftovers> {
        self.scheduler.leftovers()
    }

    /// Which entries of the plan have found what they are about until now.
    pub fn bindings(&self) -> Bindings {
        let network = self.scheduler.network();
        network.wire.plane.as_ref().map(|plane| plane.bindings()).unwrap_or_default()
    }

    /// The plan that the run amounts to until now, if [`Sim::record`](crate::Sim::record) asked for
    /// it.
    pub fn recording(&self) -> Option<Plan> {
        let network = self.scheduler.network();
        network.wire.plane.as_ref()?.recorded(&network.wire.trace.hosts)
    }

    /// Takes the census until now, if [`Sim::census`](crate::Sim::census) asked for it: it goes on
    /// with what comes later.
    pub fn take_census(&self) -> Option<Census> {
        let mut network = self.scheduler.network();
        let Wire { plane, trace, .. } = &mut network.wire;
        let census = plane.as_mut()?.census.as_deref_mut().map(std::mem::take)?;
        let log = trace.log()?;
        Some(census.finish(&trace.hosts, &log))
    }

    /// The properties that the code of the run came by until now, by their names and kinds.
    pub fn properties(&self) -> BTreeMap<PropertyId, PropertyCount> {
        self.scheduler.properties.borrow().counts().clone()
    }

    /// The names of its hosts, in order of creation.
    pub fn hosts(&self) -> Vec<String> {
        let network = self.scheduler.network();
        network.wire.trace.hosts.iter().skip(1).map(|name| name.to_string()).collect()
    }

    /// The hosts that links and plans name and that the world does not have (yet).
    pub fn absent_hosts(&self) -> Vec<String> {
        let network = self.scheduler.network();
        let of_plan = self.scheduler.orders.absent_hosts(|name| network.host_named(name).is_some());
        let mut absent = [network.absent_hosts(), of_plan].concat();
        absent.sort_unstable();
        absent.dedup();
        absent
    }

    /// The virtual time.
    pub fn time(&self) -> Time {
        self.scheduler.now()
    }

    /// The hand on the world's switches: crashes hosts, and more.
    pub fn operator(&self) -> Operator {
        Operator::new(&self.scheduler)
    }

    /// The TUN device of the host called `name`, which is made if there is none: from now on all its
    /// packets go to whoever holds the device, and its own sockets hear nothing. See [`Tun`].
    ///
    /// # Panics
    ///
    /// On a name that no host can have, as [`World::host`].
    #[track_caller]
    pub fn tun(&self, name: &str) -> Tun {
        // Through the world, which looks at the name.
        self.world().host(name);
        let index = self.scheduler.network().host_named(name).expect("it was just made");
        Tun::open(&self.scheduler, index)
    }

    /// How many records the trace has.
    pub fn events(&self) -> u64 {
        self.scheduler.network().wire.trace.steps()
    }

    /// The rolling hash over all records: equal for equal runs.
    pub fn hash(&self) -> u64 {
        self.scheduler.network().wire.trace.hash()
    }

    /// The last records.
    pub fn tail(&self) -> Log {
        self.scheduler.network().wire.trace.tail()
    }

    /// All records, if [`Sim::trace`](crate::Sim::trace) asked for them.
    pub fn log(&self) -> Option<Log> {
        self.shows_log.then(|| self.scheduler.network().wire.trace.log())?
    }

    /// All packets, if [`Sim::capture`](crate::Sim::capture) asked for them.
    pub fn capture(&self) -> Option<Capture> {
        let capture = self.scheduler.network().wire.capture.as_deref().cloned();
        capture.map(|capture| self.with_hosts(capture))
    }

    fn with_hosts(&self, capture: Capture) -> Capture {
        let network = self.scheduler.network();
        let names = network.wire.trace.hosts.iter().map(Arc::clone);
        capture.with_hosts(names.zip(network.hosts.iter().map(|host| host.number)))
    }

    /// Calls `f`, and makes a finding of a panic.
    fn contain<T>(&self, f: impl FnOnce() -> T) -> Result<T, Finding> {
        catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
            let message = panic_message(&*payload);
            self.finding(FindingKind::Panic, message, self.scheduler.current())
        })
    }

    /// What a run came to. A property that was broken is what it found: its panic is this one, or was taken by somebody
    /// before, and then what came of the run is worth nothing.
    fn judged<T>(&self, outcome: Result<T, Finding>) -> Result<T, Finding> {
        if matches!(&outcome, Err(found) if found.kind == FindingKind::Stopped) {
            return outcome;
        }
        let broken = self.scheduler.properties.borrow_mut().take_broken();
        broken.map_or(outcome, Err)
    }

    fn finding(&self, kind: FindingKind, message: String, host: u32) -> Finding {
        Finding { kind, message, host: self.host_name(host), time: self.time(), property: None }
    }

    fn host_name(&self, index: u32) -> String {
        self.scheduler.network().wire.trace.hosts[index as usize].to_string()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.scheduler.close();
        drop(self.control.take());
        self.scheduler.leave(self.ended.take());
    }
}

impl Control {
    fn into_process(self) -> Process {
        Process { engine: self.lp.into_engine(), driver: self.driver }
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("time", &self.time()).finish_non_exhaustive()
    }
}

/// The world as `sim-core` sees it.
struct Backend(Rc<Scheduler>, Loop);

impl WorldBackend for Backend {
    fn host(&self, name: &str) -> Loop {
        self.0.host(name)
    }

    fn control(&self) -> Loop {
        self.1.clone()
    }

    fn boot(&self, name: &str, boot: Boot) -> Loop {
        self.0.boot(name, boot)
    }

    fn settle(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(Settle { scheduler: Rc::clone(&self.0), settler: None })
    }

    fn program(&self, name: &str, program: Program) {
        self.0.add_program(name, program);
    }

    fn rng(&self, name: &str) -> Rng {
        self.0.network().wire.decisions.rng(Entity::named(format_args!("world/{name}")))
    }

    fn size(&self, name: &str, range: RangeInclusive<u64>) -> u64 {
        let mut network = self.0.network();
        let (least, most) = (*range.start(), *range.end());
        let entity = Entity::named(format_args!("world/{name}"));
        let draw = network.wire.decisions.at(Site::WorkloadSize, entity, 0);
        let drawn = least + below(draw, (most - least).saturating_add(1));
        let planned = network.wire.plane.as_mut().and_then(|plane| plane.size(name));
        let planned = planned.map(|value| value.clamp(least, most));
        let recorded = planned.unwrap_or(draw);
        network.record(CONTROL, Record::Draw { site: Site::WorkloadSize, value: recorded });
        let value = planned.unwrap_or(drawn);
        if let Some(plane) = &mut network.wire.plane {
            plane.offer_size(name, range, value, drawn);
        }
        value
    }

    fn operation(&self, name: &str, index: u64) -> Option<Rng> {
        let mut network = self.0.network();
        if let Some(plane) = &mut network.wire.plane {
            plane.offer_operation(name, index);
            if plane.leaves_out(name, index) {
                return None;
            }
        }
        Some(network.wire.decisions.rng(Entity::named(format_args!("world#{name}#{index}"))))
    }

    fn calm_at(&self) -> Time {
        self.0.limits().calm_at.map_or(Time::ZERO, |at| Time::ZERO + at)
    }

    fn patience_from(&self, from: Time) -> Time {
        match self.0.limits().live_until {
            // A moment before the run is ended for it.
            Some(until) => (Time::ZERO + until.saturating_sub(Duration::from_millis(1))).max(from),
            None => from + LIVENESS,
        }
    }
}

/// Waits for the world to be quiet.
struct Settle {
    scheduler: Rc<Scheduler>,
    settler: Option<Rc<Settler>>,
}

impl Future for Settle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let settler = match &self.settler {
            Some(settler) => Rc::clone(settler),
            None => {
                let settler = Rc::<Settler>::default();
                self.scheduler.add_settler(Rc::clone(&settler));
                self.settler = Some(Rc::clone(&settler));
                settler
            }
        };
        if settler.quiet.get() {
            return Poll::Ready(());
        }
        settler.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}
