//! The test's own hand on the world's switches.

use std::fmt;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use sim_core::Signal;
use sim_core::driver::Family;

use crate::address::Ip;
use crate::holds::{End, Holder, State};
use crate::names::operator::Names;
use crate::scheduler::Scheduler;

/// The hand on the switches of a world, while it runs: what a plan does as data, a test does here.
///
/// It can be moved into a scenario, and keeps no world alive: after the end of its world nothing
/// happens any more. All of it takes effect at the present instant of virtual time.
///
/// ```
/// use std::time::Duration;
/// use sim_net::Sim;
///
/// let simulation = Sim::new(1).build();
/// let (world, operator) = (simulation.world(), simulation.operator());
/// simulation.run(async move {
///     let boots = std::rc::Rc::new(std::cell::Cell::new(0));
///     let counter = boots.clone();
///     world.boot("server", move |_| {
///         counter.set(counter.get() + 1);
///         async {}
///     });
///     world.sleep(Duration::from_secs(1)).await;
///     operator.host("server").crash();
///     world.sleep(Duration::from_secs(1)).await;
///     operator.host("server").start();
///     world.sleep(Duration::from_secs(1)).await;
///     assert_eq!(boots.get(), 2);
/// })?;
/// # Ok::<(), sim_net::Finding>(())
/// ```
#[derive(Clone)]
pub struct Operator {
    scheduler: Weak<Scheduler>,
}

/// The switches of one host. See [`Operator::host`].
///
/// A host is off, frozen or paused as long as anything holds it so: this hand, or any fault of a plan. `start`,
/// `thaw` and `resume` take back what the hand has done, and what has no end of its own: signals, kills. A
/// plan's fault that lasts ends when the plan says so, or with all faults.
///
/// What is done to the machine outlives its process: a frozen machine that crashes is frozen again from its
/// start on, and a slow one is slow. A pause ends with the process.
///
/// A machine that is on may have no process: one that was killed. Its kernel goes on, refuses connections and answers
/// what comes for old ones with a reset. Whatever turns a machine on starts a process, too, unless a plan has killed
/// that for good (`kill n at 1s permanent`): then the end of a crash leaves the machine on without one.
///
/// ```
/// use std::time::Duration;
/// use sim_net::{Plan, Sim};
///
/// let plan: Plan = "pause server 1s..3s".parse()?;
/// let simulation = Sim::new(1).plan(&plan)?.build();
/// let (world, operator) = (simulation.world(), simulation.operator());
/// simulation.run(async move {
///     world.host("server");
///     let server = operator.host("server");
///     world.sleep(Duration::from_secs(2)).await;
///     assert!(server.pause() && server.resume());
///     assert!(server.is_paused(), "until its third second");
///     world.sleep(Duration::from_secs(2)).await;
///     assert!(!server.is_paused());
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Each method that stops or starts something says whether it changed anything: a `pause` of a process that the
/// hand has paused does not, nor does a `resume` of one that it has not.
#[derive(Clone)]
pub struct HostOperator {
    scheduler: Weak<Scheduler>,
    index: u32,
}

impl Operator {
    pub(crate) fn new(scheduler: &Rc<Scheduler>) -> Self {
        Self { scheduler: Rc::downgrade(scheduler) }
    }

    /// The switches of the host called `name`.
    ///
    /// # Panics
    ///
    /// If the world has no host of that name yet.
    #[track_caller]
    pub fn host(&self, name: &str) -> HostOperator {
        let scheduler = self.scheduler.upgrade();
        let index = scheduler.and_then(|scheduler| scheduler.network().host_named(name));
        let Some(index) = index else {
            panic!("Operator::host({name:?}): the world has no host of that name (yet)");
        };
        HostOperator { scheduler: Weak::clone(&self.scheduler), index }
    }
}

impl Operator {
    /// What the name servers say.
    pub fn names(&self) -> Names {
        Names::new(Weak::clone(&self.scheduler))
    }

    /// Ends all faults, as [`Sim::quiesce`](crate::Sim::quiesce) does at its time.
    pub fn quiesce(&self) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            scheduler.quiesce();
        }
    }
}

impl HostOperator {
    fn act(&self, act: impl FnOnce(&Rc<Scheduler>, u32) -> bool) -> bool {
        self.scheduler.upgrade().is_some_and(|scheduler| act(&scheduler, self.index))
    }

    /// The machine loses power: nothing more leaves it, no destructor says goodbye, its peers hear
    /// nothing, and what is not synced is lost (contract K-04). What its user gave it is dropped
    /// before anything else happens in the world. In a callback of the host itself, the rest of the
    /// callback is swallowed.
    pub fn crash(&self) -> bool {
        self.act(|scheduler, index| scheduler.crash(index, Holder::Hand))
    }

    /// The machine crashes after `actions` more outgoing actions (writes, datagrams, connects, ends
    /// of streams, closes), in the middle of the callback that does the last of them. 0 takes it back, as does the
    /// end of all faults.
    pub fn crash_after(&self, actions: u32) {
        self.act(|scheduler, index| {
            scheduler.crash_after(index, actions);
            true
        });
    }

    /// The process dies, and its kernel closes its sockets as one does: a stream with unread data is
    /// reset, others end after what was written (contract K-04). On a frozen machine it dies when that
    /// goes on, and a [`start`](Self::start) before waits for it.
    pub fn kill(&self) -> bool {
        self.act(|scheduler, index| scheduler.kill(index))
    }

    /// Sends the process a signal: its handler runs, or what the signal does by default is done
    /// (contract G-43). `SIGKILL` and `SIGSTOP` are [`kill`](Self::kill) and [`pause`](Self::pause).
    /// A paused process acts on all but `SIGKILL` and `SIGCONT` when it goes on.
    /// False if there is no process.
    pub fn signal(&self, signal: Signal) -> bool {
        self.act(|scheduler, index| scheduler.signal(index, signal, Holder::Hand))
    }

    /// A host that crashed or was killed starts again, with a new loop and a new incarnation, and
    /// runs its boot function: its machine first, if that is off, and the process even if a plan killed it for good.
    /// If a plan has the machine off, too, the host starts when that ends. It starts 16 383 times at most: once more
    /// is a [limit](crate::FindingKind::Limit) of the run.
    pub fn start(&self) -> bool {
        self.act(|scheduler, index| scheduler.start(index, End::ByHand))
    }

    /// A machine that is off gets other addresses, which its name resolves to from now on. Whoever
    /// still sends to the old ones reaches nobody.
    pub fn move_addresses(&self) -> bool {
        self.act(|scheduler, index| scheduler.network().move_host(index))
    }

    /// The addresses of the machine, IPv4 and IPv6; none after the end of its world.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.scheduler.upgrade().map_or_else(Vec::new, |scheduler| {
            let number = scheduler.network().host(self.index).number;
            let of = |family| Ip::of_host(number, family).to_addr();
            [Family::V4, Family::V6].into_iter().map(of).collect()
        })
    }

    /// The process stops, as on `SIGSTOP`. Its kernel goes on: it acknowledges until its buffers
    /// are full. Where there is no process nothing happens.
    pub fn pause(&self) -> bool {
        self.act(|scheduler, index| scheduler.network().pause(index, Holder::Hand))
    }

    /// A paused process goes on, as on `SIGCONT`, if no plan has it paused, too.
    pub fn resume(&self) -> bool {
        self.act(|scheduler, index| scheduler.resume(index, End::ByHand))
    }

    /// The machine stops, as a virtual one does: packets to it are lost but for its own, its timers wait. Its clocks
    /// go on. One that is off is frozen from its start on.
    pub fn freeze(&self) -> bool {
        self.act(|scheduler, index| scheduler.network().freeze(index, Holder::Hand))
    }

    /// A frozen machine goes on, if no plan has it frozen, too.
    pub fn thaw(&self) -> bool {
        self.act(|scheduler, index| scheduler.thaw(index, End::ByHand))
    }

    /// Every callback and task step on the machine costs `cost` of its processor's time from now on, until a
    /// plan says otherwise; zero takes it back. A process that starts anew is as slow.
    pub fn slow(&self, cost: Duration) {
        self.act(|scheduler, index| {
            if cost.is_zero() {
                scheduler.quicken(index, End::ByHand);
            } else {
                scheduler.slow(index, Holder::Hand, cost);
            }
            true
        });
    }

    /// The clocks of the machine run faster from now on by `parts_per_billion`, or slower by a
    /// negative number. Their time never goes back. Its TCP goes by them too: its timers, its
    /// round-trip times and its timestamps. Until the end of all faults.
    ///
    /// # Panics
    ///
    /// If that is more than half of the true rate.
    #[track_caller]
    pub fn drift(&self, parts_per_billion: i64) {
        assert!(
            parts_per_billion.unsigned_abs() <= 500_000_000,
            "drift by {parts_per_billion} parts in a billion: at most 500 000 000 either way"
        );
        self.act(|scheduler, index| {
            scheduler.set_drift(index, parts_per_billion);
            true
        });
    }

    /// The time of day that the machine shows is set ahead by `nanos`, or back by a negative number, until the end of
    /// all faults.
    pub fn step_wall_clock(&self, nanos: i64) {
        self.act(|scheduler, index| {
            scheduler.step_by_hand(index, nanos);
            true
        });
    }

    /// True unless its machine is off: it crashed, and nothing has turned it on again.
    pub fn is_on(&self) -> bool {
        self.act(|scheduler, index| !scheduler.network().host(index).life.off)
    }

    /// True if it has a process: it has neither crashed nor been killed since it started.
    pub fn is_up(&self) -> bool {
        self.act(|scheduler, index| !scheduler.network().host(index).life.dead)
    }

    /// True while its process is paused, by whomever.
    pub fn is_paused(&self) -> bool {
        self.act(|scheduler, index| scheduler.network().host(index).life.holds.has(State::Paused))
    }

    /// True while its machine is frozen, by whomever, or would be if it were on.
    pub fn is_frozen(&self) -> bool {
        self.act(|scheduler, index| scheduler.network().host(index).life.holds.has(State::Frozen))
    }

    /// How many times it has started, from 1 on; 0 after the end of its world.
    pub fn incarnation(&self) -> u16 {
        let scheduler = self.scheduler.upgrade();
        scheduler.map_or(0, |scheduler| scheduler.network().host(self.index).incarnation)
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

impl fmt::Debug for HostOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostOperator").field("index", &self.index).finish_non_exhaustive()
    }
}
