//! A world of named hosts: what a scenario is written against.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::combinators::Timeout;
use crate::program::{ProcessContext, Program};
use crate::task::Sleep;
use crate::{Loop, Outcome, Rng, Time};

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

/// What a host does when it starts, for a [`WorldBackend`].
pub type Boot = Rc<dyn Fn(Loop) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What a backend provides to make a [`World`].
pub trait WorldBackend {
    /// The loop of the host called `name`, made when first asked for.
    fn host(&self, name: &str) -> Loop;

    /// Completes when the world is quiet; see [`World::settle`].
    fn settle(&self) -> Pin<Box<dyn Future<Output = ()>>>;

    /// The loop that the scenario's own future runs on.
    fn control(&self) -> Loop;

    /// Runs `boot` on the host called `name`, now and each time it starts again.
    fn boot(&self, name: &str, boot: Boot) -> Loop;

    /// Makes `program` what every host starts under this name; see [`World::program`].
    fn program(&self, name: &str, program: Program) {
        let _ = (name, program);
    }

    /// A random stream of the scenario's own, apart from every host's.
    fn rng(&self, name: &str) -> Rng;

    /// A size of the workload; see [`World::size`].
    fn size(&self, name: &str, range: RangeInclusive<u64>) -> u64;

    /// The random stream of one of the operations called `name`, or `None` if it is left out; see
    /// [`World::ops`].
    fn operation(&self, name: &str, index: u64) -> Option<Rng>;

    /// When the last fault of the run is over, on the scenario's clock, as far as it is known: zero
    /// where there are none.
    fn calm_at(&self) -> Time {
        Time::ZERO
    }

    /// Until when what must hold in the end may take, if it is asked for at `from`.
    fn patience_from(&self, from: Time) -> Time {
        from + Duration::from_secs(30)
    }
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
    /// On a name that is empty, or has white space or any of `/:@#,|<>→←` in it: those characters
    /// separate names in traces and plans. On `.` and `..`, too: on the real loop a host's stores are
    /// in a folder of its name. On `control`: so traces call the loop that the scenario runs on.
    #[track_caller]
    pub fn host(&self, name: &str) -> Loop {
        check_host_name(name);
        self.0.host(name)
    }

    /// Gives the host called `name` what it does when it starts: `boot` runs as a task on its loop
    /// now, and again each time the host starts anew after a crash, with the loop of its new life.
    /// On the real loop hosts do not crash, and it runs once.
    ///
    /// An `Err` of `boot` is a panic of its task, and so a finding in the simulator. The loop that
    /// this returns is that of the host's first life: later ones are had by
    /// [`host`](Self::host), once they have begun.
    ///
    /// ```
    /// # use sim_core::{Cx, Loop, Protocol, World};
    /// # struct Echo;
    /// # impl Protocol for Echo { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
    /// async fn survives_restarts(world: World) -> std::io::Result<()> {
    ///     world.boot("server", |lp: Loop| async move {
    ///         lp.create_server(("server", 7000), || Echo).await?.serve_forever().await
    ///     });
    ///     world.sleep(std::time::Duration::from_secs(10)).await;
    ///     Ok(())
    /// }
    /// # drop(survives_restarts);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`host`](Self::host); if the host has been given one before.
    #[track_caller]
    pub fn boot<F, R>(&self, name: &str, boot: F) -> Loop
    where
        F: Fn(Loop) -> R + 'static,
        R: Future + 'static,
        R::Output: Outcome,
    {
        check_host_name(name);
        let host: Rc<str> = Rc::from(name);
        let boot: Boot = Rc::new(move |lp| {
            let (host, booting) = (Rc::clone(&host), boot(lp));
            Box::pin(async move {
                if let Err(failure) = booting.await.into_result() {
                    panic!("host {host:?} failed: {failure}");
                }
            })
        });
        self.0.boot(name, boot)
    }

    /// Gives the world's simulated machines a program: what their hosts start as a child process
    /// under this name, or under a path that ends in it. Registering a name again replaces what it
    /// was, for processes to come. On the real loop programs are the machine's own, and this does
    /// nothing: so a scenario registers stand-ins of what it uses there, such as `sh`.
    ///
    /// ```
    /// use sim_core::World;
    ///
    /// async fn false_fails(world: World) -> std::io::Result<()> {
    ///     world.program("false", |_process| async { 1 });
    ///     let child = world.host("server").subprocess_exec("false", [""; 0]).spawn().await?;
    ///     assert_eq!(child.wait().await?, 1);
    ///     Ok(())
    /// }
    /// # drop(false_fails);
    /// ```
    pub fn program<F, R>(&self, name: &str, program: F)
    where
        F: Fn(ProcessContext) -> R + 'static,
        R: Future<Output = i32> + 'static,
    {
        self.0.program(name, Rc::new(move |process| Box::pin(program(process))));
    }

    // The scenario's own clock.

    /// The time on the scenario's clock, which no fault bends.
    pub fn time(&self) -> Time {
        self.0.control().time()
    }

    /// Completes after `delay` on the scenario's clock.
    pub fn sleep(&self, delay: Duration) -> Sleep {
        self.0.control().sleep(delay)
    }

    /// Runs `future` for at most `duration` on the scenario's clock; see
    /// [`Loop::timeout`](crate::Loop::timeout).
    pub fn timeout<F: Future>(&self, duration: Duration, future: F) -> Timeout<F> {
        self.0.control().timeout(duration, future)
    }

    /// Completes when nothing is left to happen without time passing beyond what is in flight: for
    /// tests of "nothing happens", instead of a sleep.
    ///
    /// In the simulator: when no host is ready and no packet is in flight. Timers may be pending.
    /// On the real loop: after a fence of packets over loopback and a few turns without a wait.
    pub async fn settle(&self) {
        self.0.settle().await;
    }

    /// Waits until all faults of the run are over, and then until `holds` says true; asks after ever
    /// longer pauses, from a millisecond to a second. False if it does not by the end of the time
    /// that is given: in the simulator what is left of the liveness window, or 300 s without one; 30
    /// s on the real loop. [`eventually!`](crate::eventually) makes a property of it.
    pub async fn eventually(&self, mut holds: impl FnMut() -> bool) -> bool {
        let calm = self.0.calm_at().saturating_since(self.time());
        if !calm.is_zero() {
            self.sleep(calm).await;
        }
        let until = self.0.patience_from(self.time());
        let mut pause = Duration::from_millis(1);
        loop {
            if holds() {
                return true;
            }
            let left = until.saturating_since(self.time());
            if left.is_zero() {
                return false;
            }
            self.sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// A random stream of the scenario's own, apart from every host's: for workloads.
    pub fn rng(&self, name: &str) -> Rng {
        self.0.rng(name)
    }

    /// How large a part of the workload called `name` is in this run: a draw of the workload class
    /// in the simulator, which a plan may set (`size writes = 5`); the middle of the range on the real
    /// loop.
    ///
    /// A failure that is made small has each size as low as it still fails with, down to the least of
    /// its range: few hosts and little to do are easier to look at. So let the range begin with the
    /// least that makes sense.
    ///
    /// # Panics
    ///
    /// If `range` is empty.
    #[track_caller]
    pub fn size(&self, name: &str, range: RangeInclusive<u64>) -> u64 {
        assert!(!range.is_empty(), "World::size({name:?}, {range:?}): the range is empty");
        self.0.size(name, range)
    }

    /// The operations of the workload that are called `name`: `count` of them, each made by
    /// `generate` from its index and a random stream of its own.
    ///
    /// No operation depends on how much of its stream another one used, nor on whether it is there:
    /// a plan of a simulation can leave single ones out (`without writes 4,7-9`), and all others are as
    /// they were. A failure that is made small is without all that it does not need. On the real loop
    /// none is left out.
    ///
    /// ```
    /// # use sim_core::World;
    /// async fn writes(world: World) {
    ///     let count = world.size("writes", 1..=20);
    ///     for (key, value) in world.ops("writes", count, |_, rng| (rng.below(3), rng.next_u64())) {
    ///         // Write value under key.
    /// #       drop((key, value));
    ///     }
    /// }
    /// # drop(writes);
    /// ```
    pub fn ops<T>(
        &self,
        name: &str,
        count: u64,
        mut generate: impl FnMut(u64, &mut Rng) -> T,
    ) -> Vec<T> {
        let made = (0..count).filter_map(|index| {
            let mut rng = self.0.operation(name, index)?;
            Some(generate(index, &mut rng))
        });
        made.collect()
    }
}

/// What traces call the loop that the scenario of a world runs on.
const CONTROL: &str = "control";

#[track_caller]
fn check_host_name(name: &str) {
    // What separates names in traces and plans.
    let separates =
        |c: char| matches!(c, '/' | ':' | '@' | '#' | ',' | '|' | '<' | '>' | '→' | '←');
    assert!(
        !name.is_empty() && !name.contains(|c: char| separates(c) || c.is_whitespace()),
        "host name {name:?}: give it at least one character, and no white space or any of /:@#,|<>→←"
    );
    assert!(
        name != CONTROL,
        "host name {name:?}: give it another, since the loop that the scenario runs on has this one"
    );
    let is_folder = matches!(name, "." | "..");
    assert!(
        !is_folder,
        "host name {name:?}: give it another, since its stores are in a folder of its name"
    );
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
