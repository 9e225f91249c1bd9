//! A driver that writes down how its loop waits.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sim_core::driver::{
    Alarm, Driver, Family, Next, Question, Readiness, Resolution, SocketKind, SocketOption, Source,
    TcpOptions, Token, UnixSockets,
};
use sim_core::engine::{Engine, EngineMemory};
use sim_core::testing::ScriptDriver;
use sim_core::{EventLoop, NameInfo, Rng, RunError, Time};

/// What the loop asked its driver to wait for, turn by turn.
#[derive(Clone, Default)]
pub(crate) struct Waits(Rc<RefCell<Vec<Next>>>);

impl Waits {
    /// The waits since the last call.
    pub(crate) fn take(&self) -> Vec<Next> {
        self.0.take()
    }
}

/// A bare loop over the scripted driver, with its waits.
pub(crate) fn scripted_loop() -> (EventLoop, Waits) {
    watch(Rc::new(ScriptDriver::new()))
}

/// A bare loop on real sockets, with its waits.
pub(crate) fn real_loop() -> (EventLoop, Waits) {
    watch(Rc::new(real_net::MioDriver::new().expect("there are descriptors left")))
}

fn watch(inner: Rc<dyn Driver>) -> (EventLoop, Waits) {
    let waits = Waits::default();
    let driver = Watched { inner, waits: waits.clone() };
    (EventLoop::new(Engine::new(Rc::new(driver), EngineMemory::default())), waits)
}

/// Passes everything on.
struct Watched {
    inner: Rc<dyn Driver>,
    waits: Waits,
}

impl Driver for Watched {
    fn now(&self) -> Time {
        self.inner.now()
    }

    fn wall_time(&self) -> Duration {
        self.inner.wall_time()
    }

    fn open(&self, kind: SocketKind, family: Family) -> io::Result<Source> {
        self.inner.open(kind, family)
    }

    fn set_option(&self, source: Source, option: SocketOption) -> io::Result<()> {
        self.inner.set_option(source, option)
    }

    fn tcp_options(&self, source: Source) -> io::Result<TcpOptions> {
        self.inner.tcp_options(source)
    }

    fn bind(&self, source: Source, local: SocketAddr) -> io::Result<()> {
        self.inner.bind(source, local)
    }

    fn listen(&self, source: Source, backlog: u32) -> io::Result<()> {
        self.inner.listen(source, backlog)
    }

    fn accept(&self, listener: Source) -> io::Result<(Source, SocketAddr)> {
        self.inner.accept(listener)
    }

    fn connect(&self, source: Source, remote: SocketAddr) -> io::Result<()> {
        self.inner.connect(source, remote)
    }

    fn finish_connect(&self, source: Source) -> io::Result<()> {
        self.inner.finish_connect(source)
    }

    fn read_hint(&self, source: Source) -> usize {
        self.inner.read_hint(source)
    }

    fn read(&self, source: Source, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(source, buf)
    }

    fn write(&self, source: Source, data: &[u8]) -> io::Result<usize> {
        self.inner.write(source, data)
    }

    fn write_vectored(&self, source: Source, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write_vectored(source, data)
    }

    fn shutdown_write(&self, source: Source) -> io::Result<()> {
        self.inner.shutdown_write(source)
    }

    fn send_to(&self, source: Source, data: &[u8], to: Option<&SocketAddr>) -> io::Result<usize> {
        self.inner.send_to(source, data, to)
    }

    fn receive_from(&self, source: Source, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner.receive_from(source, buf)
    }

    fn close(&self, source: Source) {
        self.inner.close(source);
    }

    fn reset(&self, source: Source) {
        self.inner.reset(source);
    }

    fn local_addr(&self, source: Source) -> io::Result<SocketAddr> {
        self.inner.local_addr(source)
    }

    fn peer_addr(&self, source: Source) -> io::Result<SocketAddr> {
        self.inner.peer_addr(source)
    }

    fn unix(&self) -> io::Result<&dyn UnixSockets> {
        self.inner.unix()
    }

    fn register(&self, source: Source, token: Token) -> io::Result<()> {
        self.inner.register(source, token)
    }

    fn wait(&self, next: Next, events: &mut Vec<Readiness>) -> Result<(), RunError> {
        self.waits.0.borrow_mut().push(next);
        self.inner.wait(next, events)
    }

    fn alarm(&self) -> Arc<dyn Alarm> {
        self.inner.alarm()
    }

    fn schedule(&self) {
        self.inner.schedule();
    }

    fn one_run_per_thread(&self) -> bool {
        self.inner.one_run_per_thread()
    }

    fn is_simulated(&self) -> bool {
        self.inner.is_simulated()
    }

    fn spend(&self, cost: Duration) {
        self.inner.spend(cost);
    }

    fn busy_until(&self) -> Option<Time> {
        self.inner.busy_until()
    }

    fn resolve(&self, question: Question<'_>) -> Resolution<Vec<SocketAddr>> {
        self.inner.resolve(question)
    }

    fn name_of(&self, addr: SocketAddr) -> Resolution<NameInfo> {
        self.inner.name_of(addr)
    }

    fn default_local(&self, family: Family) -> Option<IpAddr> {
        self.inner.default_local(family)
    }

    fn rng(&self, name: &str) -> Rng {
        self.inner.rng(name)
    }

    fn host(&self) -> &str {
        self.inner.host()
    }

    fn trace(&self, kind: u64, first: u64, second: u64) {
        self.inner.trace(kind, first, second);
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waits").field(&self.0.borrow()).finish()
    }
}
