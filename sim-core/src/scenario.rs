//! A scenario as a value: a protocol's workload with its invariants, for any loop.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

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
        Self { name, summary, run: Box::new(run), serve: None }
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
