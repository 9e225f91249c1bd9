//! The handle of a loop: asyncio's loop methods, without its life cycle.

mod unix;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::address::{HostPort, ToHostPort};
use crate::connect::Connecting;
use crate::driver::Family;
use crate::endpoint::DatagramBuilder;
use crate::engine::callbacks::Action;
use crate::engine::core::Core;
use crate::engine::report::{ErrorContext, ExceptionHandler};
use crate::property;
use crate::protocol::Attach;
use crate::server::ServerBuilder;
use crate::task::{self, Sleep, Task};
use crate::timer::{Handle, Timer};
use crate::trace::Record;
use crate::{Conn, DatagramProtocol, DatagramTransport, LoopFuture, Rng, Server, Store, Time};

/// A handle of a loop: bare, or a host of a [`World`](crate::World).
///
/// Clones are handles of the same loop; none of them keeps it running. After the loop is closed,
/// `call_*` and `create_task` drop what they are given and report it, and calls that return a
/// `Result` return an error (contract, ruling 7).
#[derive(Clone)]
pub struct Loop {
    pub(crate) core: Rc<Core>,
    pub(crate) view: Option<Rc<dyn HostView>>,
}

/// What a host that shares its loop with others has of its own.
pub trait HostView {
    /// Its name.
    fn name(&self) -> &str;

    /// The addresses of a host of its world; `None` leaves the name to the driver.
    fn resolve(&self, name: &str) -> Option<io::Result<Vec<IpAddr>>>;

    /// The name of the host of its world that has this address; `None` leaves it to the driver.
    fn name_of(&self, address: IpAddr) -> Option<String> {
        let _ = address;
        None
    }

    /// The local address that its connections and endpoints start from.
    fn local(&self, family: Family) -> Option<IpAddr>;

    /// Its random stream called `name`.
    fn rng(&self, name: &str) -> Rng;
}

/// What a panic in a callback costs (contract, ruling 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PanicPolicy {
    /// The run: the panic goes through `run_*` to its caller. The simulator's default, which makes
    /// it a finding. A loop that is run again goes on behind that callback (contract A-18): its connection is open, or gone if that was `connection_lost`.
    EndRun,
    /// The callback, or the connection whose protocol it was (C-32); the exception handler hears
    /// of it. The real loop's default.
    Contain,
}

/// The error of calls on a closed loop.
pub(crate) fn closed_error() -> io::Error {
    io::Error::other("event loop is closed")
}

impl Loop {
    pub(crate) fn new(core: Rc<Core>) -> Self {
        Self { core, view: None }
    }

    /// The same loop as `view` sees it: for worlds whose hosts share a loop.
    #[must_use]
    pub fn with_view(&self, view: Rc<dyn HostView>) -> Self {
        Self { core: Rc::clone(&self.core), view: Some(view) }
    }

    /// The name of the host that this loop runs.
    pub fn host(&self) -> String {
        match &self.view {
            Some(view) => view.name().to_owned(),
            None => self.core.driver.host().to_owned(),
        }
    }

    // Time and callbacks.

    /// The time on the loop's clock. In a simulation it stands still while callbacks run (A-44).
    pub fn time(&self) -> Time {
        self.core.driver.now()
    }

    /// The time of day on the host's clock, since the Unix epoch. It may be wrong, and set while the
    /// loop runs, so it may go back: it is for dates, never for measuring. A simulated world begins
    /// on 1 January 2000.
    pub fn wall_time(&self) -> Duration {
        self.core.driver.wall_time()
    }

    /// Runs `callback` in the next iteration, after everything queued before it (A-22, A-23).
    #[track_caller]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        self.core.call_soon(Some(Location::caller()), Action::Call(Box::new(callback)))
    }

    /// Runs `callback` after `delay`. Dropping the timer cancels it.
    ///
    /// # Ordering
    ///
    /// By deadline, equal deadlines in order of the calls (A-41); never before the deadline (A-42).
    /// A delay of zero is due in the next iteration, behind the callbacks queued before it.
    #[track_caller]
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> Timer {
        self.call_at(self.time() + delay, callback)
    }

    /// Runs `callback` at `when` on the loop's clock. Dropping the timer cancels it.
    #[track_caller]
    pub fn call_at(&self, when: Time, callback: impl FnOnce() + 'static) -> Timer {
        self.core.call_at(when, Some(Location::caller()), Action::Call(Box::new(callback)))
    }

    /// Completes after `delay`; with a delay of zero, after one iteration (B-12).
    pub fn sleep(&self, delay: Duration) -> Sleep {
        Sleep::new(self, delay)
    }

    // Tasks and futures.

    /// Runs `future` as a task. Its first step comes in the next iteration (B-10).
    #[track_caller]
    pub fn create_task<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        task::spawn(self, None, future)
    }

    /// [`create_task`](Self::create_task) with a name for reports.
    #[track_caller]
    pub fn create_named_task<F>(&self, name: impl Into<String>, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        task::spawn(self, Some(name.into()), future)
    }

    /// A future that is completed by hand.
    #[track_caller]
    pub fn create_future<T: Clone + 'static>(&self) -> LoopFuture<T> {
        LoopFuture::new(self)
    }

    /// The names of the tasks that are not done, in order of creation.
    pub fn all_tasks(&self) -> Vec<String> {
        self.core.pending_tasks()
    }

    /// The name of the task whose step is running; `None` in plain callbacks (B-20).
    pub fn current_task(&self) -> Option<String> {
        self.core.current_task.borrow().as_ref().map(|task| task.header().name())
    }

    // Connections.

    /// Connects to `addr` and makes the protocol that `factory` returns its protocol.
    ///
    /// Completes after `connection_made` and before the first `data_received` (C-03). A name's
    /// addresses are tried one after another (E-04). Dropping the future before it completes closes
    /// the connection (C-16).
    ///
    /// # Errors
    ///
    /// The error of the one attempt, with the address in its text, or all of them (E-05, E-06).
    ///
    /// ```
    /// # use sim_core::{Conn, Cx, Loop, Protocol};
    /// # struct Hello;
    /// # impl Protocol for Hello { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
    /// async fn greet(client: Loop) -> std::io::Result<()> {
    ///     let conn: Conn<Hello> = client.create_connection(("server", 7000), || Hello).await?;
    ///     conn.with(|_, cx| cx.write(b"hello"));
    ///     Ok(())
    /// }
    /// # drop(greet);
    /// ```
    #[track_caller]
    pub fn create_connection<P, K>(
        &self,
        addr: impl ToHostPort,
        factory: impl FnOnce() -> P,
    ) -> impl Future<Output = io::Result<Conn<P>>>
    where
        P: Attach<K>,
    {
        self.connection().connect(addr, factory)
    }

    /// A connection with options.
    #[track_caller]
    pub fn connection(&self) -> Connecting {
        Connecting::new(self)
    }

    /// Listens at `addr`, and gives each connection a protocol from `factory`.
    ///
    /// # Errors
    ///
    /// The name's that does not resolve, or the bind's, with the address in its text (E-17).
    #[track_caller]
    pub fn create_server<P, K>(
        &self,
        addr: impl ToHostPort,
        factory: impl FnMut() -> P + 'static,
    ) -> impl Future<Output = io::Result<Server>>
    where
        P: Attach<K>,
    {
        self.server().bind(addr, factory)
    }

    /// A server with options.
    #[track_caller]
    pub fn server(&self) -> ServerBuilder {
        ServerBuilder::new(self)
    }

    /// Makes a datagram endpoint, bound to `local` if given, connected to `remote` if given.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if both are missing (D-19), else the bind's or the resolver's (D-21).
    #[track_caller]
    pub fn create_datagram_endpoint<P: DatagramProtocol>(
        &self,
        local: Option<HostPort>,
        remote: Option<HostPort>,
        factory: impl FnOnce() -> P,
    ) -> impl Future<Output = io::Result<Conn<P, DatagramTransport>>> {
        let mut builder = self.datagram();
        if let Some(local) = local {
            builder = builder.local(local);
        }
        if let Some(remote) = remote {
            builder = builder.remote(remote);
        }
        builder.bind(factory)
    }

    /// A datagram endpoint with options.
    #[track_caller]
    pub fn datagram(&self) -> DatagramBuilder {
        DatagramBuilder::new(self)
    }

    /// The local address that this host's connections start from when none is named.
    pub(crate) fn default_local(&self, family: Family) -> Option<IpAddr> {
        match &self.view {
            Some(view) => view.local(family),
            None => self.core.driver.default_local(family),
        }
    }

    // Reports and debugging.

    /// Sends reports to `handler`; `None` restores the default, which logs them (A-62).
    pub fn set_exception_handler(&self, handler: Option<ExceptionHandler>) {
        self.core.reporter.set(handler);
    }

    /// The handler in use; `None` for the default.
    pub fn exception_handler(&self) -> Option<ExceptionHandler> {
        self.core.reporter.get()
    }

    /// Reports `context` to the exception handler.
    pub fn call_exception_handler(&self, context: ErrorContext) {
        self.core.report(context);
    }

    /// How many reports the exception handler has been given.
    pub fn report_count(&self) -> u64 {
        self.core.reporter.count()
    }

    /// Says what a panic in a callback costs.
    pub fn set_panic_policy(&self, policy: PanicPolicy) {
        self.core.policy.set(policy);
    }

    /// Debug mode: what takes long (A-66), and what is dropped or left open that ought to be closed or awaited
    /// (A-69), is reported to the exception handler, with where it was made. Off by default. It changes
    /// nothing about a run: a simulation has the same trace with it and without.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use sim_core::{ErrorContext, Loop, testing};
    ///
    /// let lp = testing::new_loop();
    /// let reports: Rc<RefCell<Vec<String>>> = Rc::default();
    /// let heard = Rc::clone(&reports);
    /// lp.set_exception_handler(Some(Rc::new(move |_: &Loop, context: &ErrorContext| {
    ///     heard.borrow_mut().push(context.to_string());
    /// })));
    /// lp.set_debug(true);
    /// lp.create_named_task("worker", std::future::pending::<()>());
    /// drop(lp);
    /// assert!(reports.borrow()[0].starts_with(
    ///     "Task was destroyed but it is pending: worker, created at "
    /// ));
    /// ```
    pub fn set_debug(&self, debug: bool) {
        self.core.set_debug(debug);
    }

    /// True in debug mode.
    pub fn debug(&self) -> bool {
        self.core.debug()
    }

    /// How long a callback may take in debug mode; 100 ms by default.
    pub fn set_slow_callback_duration(&self, duration: Duration) {
        self.core.slow_callback.set(duration);
    }

    /// True after the loop was closed.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    // The world around it.

    /// The random stream of this host called `name`: a function of the seed, the host and the name
    /// in a simulation, seeded by the operating system on the real loop.
    pub fn rng(&self, name: &str) -> Rng {
        match &self.view {
            Some(view) => view.rng(name),
            None => self.core.driver.rng(name),
        }
    }

    /// The file of this host called `name`, which is made if it is not there; see [`Store`]. In the
    /// simulator it outlives the host's crashes. On the real loop it is a file in the directory that
    /// `real_net::Runner::store_dir` names.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a name that is empty, begins with a dot, or has anything but letters,
    /// digits and `._-` in it; `Unsupported` where there is no directory; the file system's.
    pub fn store(&self, name: &str) -> io::Result<Store> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
            let text = format!("store {name:?}: a name is made of letters, digits and any of ._-");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if self.core.is_closed() {
            return Err(closed_error());
        }
        let storage = self.core.driver.open_store(&self.host(), name)?;
        Ok(Store::new(self, storage))
    }

    /// Puts a value into the run's trace, and so into its hash.
    pub fn mark(&self, label: &str, value: u64) {
        self.core.trace(Record::Mark { label: property::label(label), value });
    }

    /// The driver below, if it is a `D` and shows itself: for crates of drivers, whose functions take a loop and
    /// need more of it than all loops have.
    ///
    /// ```
    /// use sim_core::testing::{self, ScriptDriver};
    ///
    /// assert!(testing::new_loop().driver::<ScriptDriver>().is_none());
    /// ```
    pub fn driver<D: 'static>(&self) -> Option<&D> {
        self.core.driver.as_any()?.downcast_ref()
    }

    /// Spends `cost` of processor time in the running callback: moves the host's clock after the
    /// callback in a simulation, blocks the thread on the real loop.
    pub fn spend(&self, cost: Duration) {
        self.core.spend(cost);
    }
}

impl PartialEq for Loop {
    /// True for handles of the same loop.
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.core, &other.core)
    }
}

impl Eq for Loop {}

impl fmt::Debug for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop").field("host", &self.host()).finish_non_exhaustive()
    }
}
