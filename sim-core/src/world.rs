//! A world of named hosts: what a scenario is written against.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;

use crate::{Loop, Rng};

/// A world of named hosts, simulated or real.
///
/// In the simulator every host is a loop of its own, with its own ready queue, clock, tasks and
/// addresses. On the real loop the hosts are views of one loop, each with a loopback address of
/// its own. A scenario cannot tell which it got, and must not try.
///
/// The scenario's own future runs on the world's *control loop*. It alone may await futures of
/// several hosts; it is polled right after the host turn that woke it, before any other host's
/// (contract, ruling 6).
///
/// ```
/// # use sim_core::{World, Cx, Protocol};
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
///         cx.write(data);
///     }
/// }
///
/// async fn echo_server_starts(world: World) -> std::io::Result<()> {
///     let server = world.host("server").create_server(("server", 7000), || Echo).await?;
///     assert_eq!(server.sockets().len(), 1);
///     Ok(())
/// }
/// # drop(echo_server_starts);
/// ```
#[derive(Clone)]
pub struct World(Rc<dyn WorldBackend>);

/// What a backend provides to make a [`World`].
pub trait WorldBackend {
    /// The loop of the host called `name`, made when first asked for.
    fn host(&self, name: &str) -> Loop;

    /// Completes when the world is quiet; see [`World::settle`].
    fn settle(&self) -> Pin<Box<dyn Future<Output = ()>>>;

    /// A random stream of the scenario's own, apart from every host's.
    fn rng(&self, name: &str) -> Rng;

    /// A size of the workload; see [`World::size`].
    fn size(&self, name: &str, range: RangeInclusive<u64>) -> u64;
}

impl World {
    /// A world over `backend`.
    pub fn new(backend: Rc<dyn WorldBackend>) -> Self {
        Self(backend)
    }

    /// The loop of the host called `name`. The first call makes the host; its name resolves to its
    /// address from then on, on every host of the world.
    ///
    /// # Panics
    ///
    /// On a name that is empty, or has white space, `/`, `:`, `@`, `#` or `→` in it: those
    /// characters separate the parts of a flow's name in traces and plans.
    #[track_caller]
    pub fn host(&self, name: &str) -> Loop {
        let separator = |c: char| c.is_whitespace() || "/:@#→".contains(c);
        assert!(
            !name.is_empty() && !name.contains(separator),
            "host name {name:?}: give it at least one character, and no white space or any of /:@#→"
        );
        self.0.host(name)
    }

    /// Completes when nothing is left to happen without time passing beyond what is in flight: for
    /// tests of "nothing happens", instead of a sleep.
    ///
    /// In the simulator: when no host is ready and no packet is in flight. Timers may be pending.
    /// On the real loop: after a fence of packets over loopback and a few turns without a wait.
    pub async fn settle(&self) {
        self.0.settle().await;
    }

    /// A random stream of the scenario's own, apart from every host's: for workloads.
    pub fn rng(&self, name: &str) -> Rng {
        self.0.rng(name)
    }

    /// How large a part of the workload called `name` is in this run: a draw of the workload class
    /// in the simulator, which a shrinker may lower to the start of the range; the middle of the
    /// range on the real loop.
    ///
    /// # Panics
    ///
    /// If `range` is empty.
    #[track_caller]
    pub fn size(&self, name: &str, range: RangeInclusive<u64>) -> u64 {
        assert!(!range.is_empty(), "World::size({name:?}, {range:?}): the range is empty");
        self.0.size(name, range)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
