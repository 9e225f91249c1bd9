//! Running a scenario on real sockets.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use sim_core::engine::{Engine, EngineMemory};
use sim_core::{ErrorContext, EventLoop, Failure, Outcome, RunError, Scenario, World};

use crate::MioDriver;
use crate::world::new_world;

/// How long a run may take unless [`Runner::limit`] says otherwise.
pub const LIMIT_DEFAULT: Duration = Duration::from_secs(120);

/// Makes a loop on real sockets: asyncio's `new_event_loop`.
///
/// Panics in its callbacks are [contained](sim_core::PanicPolicy::Contain) unless told otherwise. Its
/// [debug mode](sim_core::Loop::set_debug) is on if the environment has `LOOP_DEBUG` set to anything but 0 (contract
/// A-68).
///
/// # Errors
///
/// When there is no descriptor left for its selector.
///
/// ```
/// let lp = real_net::new_loop()?;
/// assert_eq!(lp.run_until_complete(async { 6 * 7 })?, 42);
/// # std::io::Result::Ok(())
/// ```
pub fn new_loop() -> io::Result<EventLoop> {
    Ok(new_loop_and_driver()?.0)
}

/// A loop with the driver below it, for [`MioDriver::adopt`] and [`MioDriver::events`].
///
/// # Errors
///
/// As [`new_loop`].
pub fn new_loop_and_driver() -> io::Result<(EventLoop, Rc<MioDriver>)> {
    let driver = Rc::new(MioDriver::new()?);
    let engine = Engine::new(Rc::clone(&driver) as Rc<_>, EngineMemory::default());
    let lp = EventLoop::new(engine);
    let debug = std::env::var_os("LOOP_DEBUG");
    lp.set_debug(debug.is_some_and(|value| !value.is_empty() && value != "0"));
    Ok((lp, driver))
}

/// Runs a scenario on real sockets over loopback, and returns what it yields.
///
/// It is [`Runner`] with its defaults: the run may take [`LIMIT_DEFAULT`], and a panic in a callback
/// fails it.
///
/// # Errors
///
/// The scenario's own error; see [`Runner::run`] for the others.
///
/// ```
/// use std::io;
/// use sim_core::{Cx, Protocol, World};
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
///         cx.write(data);
///     }
/// }
///
/// #[derive(Default)]
/// struct Hello(Vec<u8>);
/// impl Protocol for Hello {
///     fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
///         cx.write(b"hello");
///         cx.write_eof();
///     }
///     fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
///         self.0.extend_from_slice(data);
///     }
/// }
///
/// async fn hello_is_echoed(world: World) -> io::Result<Vec<u8>> {
///     let (server, client) = (world.host("server"), world.host("client"));
///     let _listening = server.create_server(("server", 7000), || Echo).await?;
///     let conn = client.create_connection(("server", 7000), Hello::default).await?;
///     conn.closed().await?;
///     Ok(conn.with(|hello, _| hello.0.clone()))
/// }
///
/// assert_eq!(real_net::run(hello_is_echoed)?, b"hello");
/// # io::Result::Ok(())
/// ```
pub fn run<S, F>(scenario: S) -> io::Result<<F::Output as Outcome>::Value>
where
    S: FnOnce(World) -> F,
    F: Future + 'static,
    F::Output: Outcome,
{
    Runner::new().run(scenario)
}

/// [`Runner::report`] with the defaults.
pub fn run_report(scenario: &Scenario) -> Report {
    Runner::new().report(scenario)
}

/// How to run scenarios on real sockets.
///
/// ```
/// use std::io;
/// use std::time::Duration;
/// use real_net::Runner;
/// use sim_core::World;
///
/// async fn waits_for_ever(world: World) {
///     world.host("idle").create_future::<()>().await.ok();
/// }
///
/// let error = Runner::new().limit(Duration::from_millis(1)).run(waits_for_ever).unwrap_err();
/// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a runner does nothing until `run` or `report`"]
pub struct Runner {
    limit: Option<Duration>,
    contained_panics_allowed: bool,
    store_dir: Option<PathBuf>,
    seed: Option<u64>,
}

/// How a run of a [`Scenario`] went.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The scenario's name.
    pub name: &'static str,
    /// What it yielded: its own error, a [`RunError`], [`TimedOut`] or [`ContainedPanics`].
    pub outcome: Result<(), Failure>,
    /// How long the run took, by the wall clock.
    pub elapsed: Duration,
    /// How many steps the engine took.
    pub events: u64,
    /// What each panic in a callback said, in order, up to 100 of them.
    pub contained_panics: Vec<String>,
}

/// A run took longer than its limit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TimedOut {
    /// The limit.
    pub limit: Duration,
    /// The names of the tasks that were not done.
    pub pending: Vec<String>,
}

/// Callbacks of a run panicked, though the scenario itself went well.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ContainedPanics {
    /// How many there were.
    pub count: usize,
    /// What the first was.
    pub first: String,
}

/// How many contained panics a report keeps.
const PANICS_MAX: usize = 100;

impl Runner {
    /// A runner with a limit of [`LIMIT_DEFAULT`], that takes a panic for a failure.
    pub fn new() -> Self {
        let limit = Some(LIMIT_DEFAULT);
        Self { limit, contained_panics_allowed: false, store_dir: None, seed: None }
    }

    /// Ends a run that takes longer than `limit`; `None` lets it take its time.
    ///
    /// It ends waits. A callback that never returns is not interrupted.
    pub fn limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// Lets a run succeed although callbacks panicked: for tests of what a panic costs.
    ///
    /// Without it such a run fails with [`ContainedPanics`]: a real loop goes on after a panic, and a
    /// test of it must not pass in silence. A scenario that sets an exception handler of its own
    /// takes that over.
    pub fn allow_contained_panics(mut self, allow: bool) -> Self {
        self.contained_panics_allowed = allow;
        self
    }

    /// Keeps the files of [`Loop::store`](sim_core::Loop::store) in `directory`, which is made when it
    /// is needed: one directory for each host, one file for each store. They outlive the run.
    pub fn store_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(directory.into());
        self
    }

    /// Draws the operations of [`World::ops`] from this seed, so that two runs have the same; from the
    /// operating system without it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Runs `scenario` in a new world on this thread, and returns what it yields.
    ///
    /// # Errors
    ///
    /// The scenario's error, as it is if it is an [`io::Error`], else as the source of one;
    /// [`io::ErrorKind::TimedOut`] with [`TimedOut`], which names the tasks that were not done;
    /// [`ContainedPanics`]; [`RunError`] with the text of a panic of the scenario itself, or because a
    /// loop is running on this thread already; `AddrInUse` if no block of loopback addresses is free.
    pub fn run<S, F>(&self, scenario: S) -> io::Result<<F::Output as Outcome>::Value>
    where
        S: FnOnce(World) -> F,
        F: Future + 'static,
        F::Output: Outcome,
    {
        let (outcome, _) = self.measure(scenario);
        outcome.map_err(into_io)
    }

    /// Runs `scenario` in a new world on this thread, and reports how it went.
    pub fn report(&self, scenario: &Scenario) -> Report {
        let (outcome, measured) = self.measure(|world| scenario.run(world));
        let Measured { elapsed, events, panics } = measured;
        Report { name: scenario.name(), outcome, elapsed, events, contained_panics: panics }
    }

    fn measure<S, F>(
        &self,
        scenario: S,
    ) -> (Result<<F::Output as Outcome>::Value, Failure>, Measured)
    where
        S: FnOnce(World) -> F,
        F: Future + 'static,
        F::Output: Outcome,
    {
        let mut run = match Run::new(self.seed) {
            Ok(run) => run,
            Err(error) => return (Err(error.into()), Measured::default()),
        };
        run.driver.set_limit(self.limit);
        run.driver.set_store_dir(self.store_dir.clone());
        let future = scenario(run.world.take().expect("a new run has a world"));
        let ended = run.lp.run_until_complete(future);
        let outcome = match ended {
            Ok(outcome) => outcome.into_result(),
            Err(RunError::Limit { .. }) => Err(run.timed_out(self.limit)),
            Err(error) => Err(error.into()),
        };
        let measured = run.measured();
        match ContainedPanics::of(&measured.panics) {
            Some(panics) if outcome.is_ok() && !self.contained_panics_allowed => {
                (Err(panics.into()), measured)
            }
            _ => (outcome, measured),
        }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

/// One run under way.
struct Run {
    lp: EventLoop,
    driver: Rc<MioDriver>,
    world: Option<World>,
    panics: Rc<RefCell<Vec<String>>>,
}

#[derive(Default)]
struct Measured {
    elapsed: Duration,
    events: u64,
    panics: Vec<String>,
}

impl Run {
    fn new(seed: Option<u64>) -> io::Result<Self> {
        let (lp, driver) = new_loop_and_driver()?;
        let world = Some(new_world(&lp, &driver, seed)?);
        let panics = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&panics);
        lp.set_exception_handler(Some(Rc::new(move |_, context: &ErrorContext| {
            tracing::error!(target: "real_net", "{context}");
            let mut heard = heard.borrow_mut();
            if context.panic.is_some() && heard.len() < PANICS_MAX {
                heard.push(context.to_string());
            }
        })));
        Ok(Self { lp, driver, world, panics })
    }

    fn timed_out(&self, limit: Option<Duration>) -> Failure {
        let pending = self.lp.all_tasks();
        TimedOut { limit: limit.unwrap_or_default(), pending }.into()
    }

    fn measured(self) -> Measured {
        let (elapsed, events) = (self.lp.time().since_epoch(), self.driver.events());
        Measured { elapsed, events, panics: self.panics.take() }
    }
}

impl ContainedPanics {
    fn of(panics: &[String]) -> Option<Self> {
        let first = panics.first()?.clone();
        Some(Self { count: panics.len(), first })
    }
}

impl Report {
    /// True if the scenario succeeded.
    pub fn is_ok(&self) -> bool {
        self.outcome.is_ok()
    }
}

/// A failure as an `io::Error`, which it may be already.
fn into_io(failure: Failure) -> io::Error {
    match failure.downcast::<io::Error>() {
        Ok(error) => *error,
        Err(failure) if failure.is::<TimedOut>() => {
            io::Error::new(io::ErrorKind::TimedOut, failure)
        }
        Err(failure) => io::Error::other(failure),
    }
}

impl fmt::Display for Report {
    /// A line: the name, the outcome, the time, the events; then what panicked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(()) => write!(f, "{}: ok", self.name)?,
            Err(failure) => write!(f, "{}: FAILED: {failure}", self.name)?,
        }
        write!(f, " ({:.3} s, {} events)", self.elapsed.as_secs_f64(), self.events)?;
        self.contained_panics.iter().try_for_each(|panic| write!(f, "\n  contained: {panic}"))
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run took longer than its limit of {:?}; ", self.limit)?;
        write!(f, "these tasks were not done: {}", self.pending.join(", "))
    }
}

impl Error for TimedOut {}

impl fmt::Display for ContainedPanics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "a callback panicked: {}", self.first),
            count => write!(f, "{count} callbacks panicked, the first: {}", self.first),
        }
    }
}

impl Error for ContainedPanics {}

#[cfg(test)]
mod tests;
