//! A scenario as a value: a protocol's workload with its invariants, for any loop.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::{Loop, Server, World};

/// What failed, as a scenario reports it.
pub type Failure = Box<dyn Error + Send + Sync>;

type RunFn = dyn Fn(World) -> Pin<Box<dyn Future<Output = Result<(), Failure>>>> + Send + Sync;
type ServeFn =
    dyn Fn(Loop, SocketAddr) -> Pin<Box<dyn Future<Output = io::Result<Serving>>>> + Send + Sync;

/// A named scenario: a function over a [`World`], and, if the protocol has one, its server half
/// alone, for deployment.
///
/// ```
/// use sim_core::{Scenario, World};
///
/// async fn nothing(_world: World) {}
///
/// let scenario = Scenario::new("nothing", "does nothing, successfully", nothing);
/// assert_eq!(scenario.name(), "nothing");
/// assert!(!scenario.can_serve());
/// ```
pub struct Scenario {
    name: &'static str,
    summary: &'static str,
    run: Box<RunFn>,
    serve: Option<Box<ServeFn>>,
    faults: Option<FaultMix>,
}

/// What may befall the world of a scenario while it is checked: what the protocol claims to stand.
///
/// Plain data, because a scenario knows no simulator; whoever runs it in one applies it. The values
/// are bounds: each run draws how often, when, whom and for how long, from nothing at all up to
/// them. A host that the world does not have is passed over.
///
/// ```
/// use std::time::Duration;
/// use sim_core::FaultMix;
///
/// let mix = FaultMix::new("latency=1ms..20ms,loss=2%")
///     .cuts(2, Duration::from_secs(3))
///     .crashes(&["server"], 1, Duration::from_secs(1))
///     .within(Duration::from_secs(2));
/// assert_eq!((mix.cuts, mix.crashes_max), (2, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultMix {
    /// What all links do, in the words of a link option: `latency=1ms..20ms,loss=2%`. Empty for links
    /// that do nothing out of the way.
    pub link: &'static str,
    /// How many partitions there are, at most. A partition drops what two hosts, or two groups of
    /// them, send each other.
    pub cuts: u32,
    /// How long each lasts, at most.
    pub cut_for: Duration,
    /// The hosts that may crash, each to start again.
    pub crashes: &'static [&'static str],
    /// How many crashes there are in all, at most. They come one at a time: a host is up again before the
    /// next one crashes.
    pub crashes_max: u32,
    /// How long a crashed host is down, at most.
    pub down_for: Duration,
    /// How long after the beginning of the run a partition or a crash may begin, at the latest.
    pub within: Duration,
    /// What streams may show, in the words of plans, with commas between: `boundary,short-write`, and `fin`, their end
    /// before their writer is through; what befalls child processes: `spawn`, `early-death`; and `cancel`: tasks that
    /// were declared [`cancellable`](crate::Task::cancellable) are cancelled where they wait.
    pub streams: &'static str,
}

impl FaultMix {
    /// What any stream may show at any time, and no right protocol minds: reads that end anywhere,
    /// writes that take a part, news that come late or for nothing, readers that hear nothing for a
    /// while, and ends that come late.
    pub const HARMLESS: &'static str = "boundary,short-write,coalesce,stall,delay-fin,spurious";
    /// Those, and whatever ends a connection or keeps it from being made: resets, accepts and connects
    /// that fail.
    pub const ROUGH: &'static str = "boundary,short-write,coalesce,stall,delay-fin,spurious,rst,\
                                     accept-reset,emfile,connect";

    /// Links as `link` says, and no other faults.
    pub const fn new(link: &'static str) -> Self {
        Self {
            link,
            cuts: 0,
            cut_for: Duration::ZERO,
            crashes: &[],
            crashes_max: 0,
            down_for: Duration::ZERO,
            within: Duration::ZERO,
            streams: "",
        }
    }

    /// With streams that show their applications what `streams` names, such as
    /// [`HARMLESS`](Self::HARMLESS).
    #[must_use]
    pub const fn streams(mut self, streams: &'static str) -> Self {
        self.streams = streams;
        self
    }

    /// With up to `cuts` partitions of up to `cut_for` each.
    #[must_use]
    pub const fn cuts(mut self, cuts: u32, cut_for: Duration) -> Self {
        self.cuts = cuts;
        self.cut_for = cut_for;
        self
    }

    /// With up to `crashes_max` crashes of any of `hosts`, one at a time, each down for up to
    /// `down_for`.
    #[must_use]
    pub const fn crashes(
        mut self,
        hosts: &'static [&'static str],
        crashes_max: u32,
        down_for: Duration,
    ) -> Self {
        self.crashes = hosts;
        self.crashes_max = crashes_max;
        self.down_for = down_for;
        self
    }

    /// With partitions and crashes that begin at the latest so long after the run did.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

/// A deployed server half: it serves as long as the value lives, and [`stop`](Self::stop) ends it.
pub struct Serving {
    local: SocketAddr,
    stop: Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>>>,
}

impl Scenario {
    /// A scenario that runs `run`. Its future need not be `Send`; `run` itself is shared by the
    /// threads of a sweep. An `Err` or a panic is a finding.
    pub fn new<F, R>(name: &'static str, summary: &'static str, run: F) -> Self
    where
        F: Fn(World) -> R + Send + Sync + 'static,
        R: Future + 'static,
        R::Output: Outcome,
    {
        let run = move |world: World| -> Pin<Box<dyn Future<Output = Result<(), Failure>>>> {
            let future = run(world);
            Box::pin(async move { future.await.into_result().map(drop) })
        };
        Self { name, summary, run: Box::new(run), serve: None, faults: None }
    }

    /// Adds the server half: `serve` starts it at an address.
    #[must_use]
    pub fn serve<F, R>(mut self, serve: F) -> Self
    where
        F: Fn(Loop, SocketAddr) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<Serving>> + 'static,
    {
        self.serve = Some(Box::new(move |lp, addr| Box::pin(serve(lp, addr))));
        self
    }

    /// Says what may befall the world while the scenario is checked, so that it still holds.
    #[must_use]
    pub fn faults(mut self, mix: FaultMix) -> Self {
        self.faults = Some(mix);
        self
    }

    /// What it stands; `None` if it does not say.
    pub fn fault_mix(&self) -> Option<&FaultMix> {
        self.faults.as_ref()
    }

    /// Its name, as a command takes it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is about, in a line.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Starts a run in `world`.
    pub fn run(&self, world: World) -> impl Future<Output = Result<(), Failure>> + use<> {
        (self.run)(world)
    }

    /// True when it has a server half.
    pub fn can_serve(&self) -> bool {
        self.serve.is_some()
    }

    /// Starts the server half on `lp` at `listen`; `None` if it has none.
    pub fn start_serving(
        &self,
        lp: Loop,
        listen: SocketAddr,
    ) -> Option<impl Future<Output = io::Result<Serving>> + use<>> {
        self.serve.as_ref().map(|serve| serve(lp, listen))
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Serving {
    /// Something that serves at `local`; `stop` stops it, and waits for what must end first.
    pub fn new<F, R>(local: SocketAddr, stop: F) -> Self
    where
        F: FnOnce() -> R + 'static,
        R: Future<Output = ()> + 'static,
    {
        Self { local, stop: Box::new(move || Box::pin(stop())) }
    }

    /// Its address, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops it.
    pub async fn stop(self) {
        (self.stop)().await;
    }
}

impl From<Server> for Serving {
    /// Serves until stopped; then it listens no more, and open connections are aborted.
    ///
    /// # Panics
    ///
    /// If the server is closed.
    fn from(server: Server) -> Self {
        let local = *server.sockets().first().expect("Serving::from: the server is closed");
        Self::new(local, move || async move {
            server.close();
            server.abort_clients();
            server.wait_closed().await;
        })
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("local", &self.local).finish_non_exhaustive()
    }
}

/// What a scenario's future may yield: `()`, or a `Result` with any error.
pub trait Outcome {
    /// What it yields when it succeeds.
    type Value;

    /// The value, or what failed.
    ///
    /// # Errors
    ///
    /// The scenario's own.
    fn into_result(self) -> Result<Self::Value, Failure>;
}

impl Outcome for () {
    type Value = ();

    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<T, E: Into<Failure>> Outcome for Result<T, E> {
    type Value = T;

    fn into_result(self) -> Result<T, Failure> {
        self.map_err(Into::into)
    }
}
