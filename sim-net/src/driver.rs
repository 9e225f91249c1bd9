//! What a simulated host offers its engine.

use std::cell::{Cell, RefCell, RefMut};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sim_core::cache::Stage;
use sim_core::driver::{
    Alarm, Driver, Family, Next, Question, Read, Readiness, Received, Resolution, SocketKind,
    SocketOption, Source, Suspension, TcpOptions, Token,
};
use sim_core::property::Property;
use sim_core::{Job, NameInfo, Rng, RunError, Storage, Time};

use crate::address::{Endpoint, Route};
use crate::bell::HostAlarm;
use crate::decisions::Entity;
use crate::disk::OpenFile;
use crate::errno::{
    self, EADDRNOTAVAIL, EAFNOSUPPORT, EBADF, EINVAL, EIO, EMFILE, ENETUNREACH, ENOTCONN,
    EOPNOTSUPP,
};
use crate::holds::Holder;
use crate::names::lookup::resolution;
use crate::names::query::{Answer, gone};
use crate::network::Network;
use crate::plan::RESET_BOTH;
use crate::process::Children;
use crate::properties::Claim;
use crate::scheduler::{CONTROL, Scheduler};
use crate::socket_table::{Kind, SocketId, Unconnected};
use crate::stream_faults::writes::Written;
use crate::tcp::connection::State;
use crate::udp::Datagrams;

/// The driver of one host.
#[repr(C)]
pub(crate) struct HostDriver {
    // What every call needs comes first.
    scheduler: Rc<Scheduler>,
    index: u32,
    /// After how many more outgoing actions the machine crashes; 0 for never.
    fuse: Cell<u32>,
    /// The process is gone: nothing that is still called does anything.
    dead: Cell<bool>,
    /// The host's clock is not the world's.
    has_own_clock: Cell<bool>,
    /// How many sockets the process has open.
    descriptors: Cell<u32>,
    name: Arc<str>,
    alarm: Arc<HostAlarm>,
    /// The programs that it has started.
    children: RefCell<Children>,
}

impl HostDriver {
    pub(crate) fn new(scheduler: Rc<Scheduler>, index: u32, name: Arc<str>) -> Self {
        let alarm = scheduler.bell.alarm(index);
        Self {
            scheduler,
            index,
            name,
            alarm,
            descriptors: Cell::new(0),
            dead: Cell::new(false),
            fuse: Cell::new(0),
            has_own_clock: Cell::new(false),
            children: RefCell::default(),
        }
    }

    /// True if somebody beside its process and its engine holds it.
    pub(crate) fn is_held(self: &Rc<Self>) -> bool {
        let is_held = Rc::strong_count(self) > 2 || Rc::weak_count(self) > 0;
        is_held || Arc::strong_count(&self.alarm) > 2
    }

    /// Makes it as new, for another world that has the same host.
    pub(crate) fn renew(&self) {
        let Self {
            scheduler: _,
            index: _,
            fuse,
            dead,
            has_own_clock,
            descriptors,
            name: _,
            alarm,
            children,
        } = self;
        alarm.renew();
        fuse.set(0);
        descriptors.set(0);
        dead.set(false);
        has_own_clock.set(false);
        drop(children.take());
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The process is gone: no destructor says goodbye through this driver.
    pub(crate) fn die(&self) {
        self.dead.set(true);
        self.alarm.silence();
    }

    /// The machine crashes after this many more outgoing actions, in the middle of whatever does the
    /// last of them; 0 takes that back.
    pub(crate) fn set_fuse(&self, actions: u32) {
        self.fuse.set(actions);
    }

    pub(crate) fn use_own_clock(&self) {
        self.has_own_clock.set(true);
    }

    /// Something went out: a write, a datagram, a connect, an end of stream, a close.
    #[inline]
    pub(crate) fn acted(&self) {
        if self.fuse.get() > 0 {
            self.burn();
        }
    }

    #[cold]
    fn burn(&self) {
        self.fuse.set(self.fuse.get() - 1);
        if self.fuse.get() == 0 {
            self.scheduler.crash(self.index, Holder::Hand);
        }
    }

    /// What a write came to, which may be the last thing that the process did.
    #[inline]
    fn wrote(&self, written: Written) -> io::Result<usize> {
        if written.kills {
            self.kill();
        }
        self.acted();
        written.result
    }

    #[cold]
    fn kill(&self) {
        if self.index != CONTROL {
            // On a frozen machine it ends later, and writes nothing behind this all the same.
            self.die();
            self.scheduler.kill(self.index);
        }
    }

    #[inline(never)]
    fn settle_trace(&self) {
        self.scheduler.network().wire.trace.settle(0);
    }

    /// Room for one more socket.
    fn has_descriptor(&self) -> io::Result<()> {
        self.has_descriptors(1)
    }

    fn has_descriptors(&self, count: u32) -> io::Result<()> {
        let left = self.scheduler.limits().max_descriptors.saturating_sub(self.descriptors.get());
        if count > left { Err(errno::os(EMFILE)) } else { Ok(()) }
    }

    /// Whether so many more sockets can be opened.
    pub(crate) fn may_open(&self, count: u32) -> io::Result<()> {
        if self.is_dead() { Err(errno::os(EBADF)) } else { self.has_descriptors(count) }
    }

    /// Notes that so many more sockets are open.
    pub(crate) fn opened(&self, count: u32) {
        self.descriptors.set(self.descriptors.get() + count);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn children(&self) -> &RefCell<Children> {
        &self.children
    }

    pub(crate) fn scheduler(&self) -> &Rc<Scheduler> {
        &self.scheduler
    }

    pub(crate) fn network(&self) -> RefMut<'_, Network> {
        self.scheduler.network()
    }

    /// Closes a socket; a stream's peer hears a reset if so asked.
    fn end(&self, source: Source, reset: bool) {
        if self.dead.get() {
            return;
        }
        self.descriptors.set(self.descriptors.get() - 1);
        let mut network = self.scheduler.network();
        let id = SocketId::from_source(source);
        if network.injection.is_on {
            network.injection.forget(id);
        }
        match network.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Datagrams(_)) => network.udp_close(id, self.index),
            Some(Kind::Unix(_)) => network.unix_close(id, self.index),
            Some(Kind::Notice(_)) => {
                network.sockets.remove(id);
                drop(network);
                return self.forget_child(id);
            }
            _ => network.tcp_close(id, self.index, reset),
        }
        drop(network);
        self.acted();
    }

    /// The endpoint for an address that a packet is to go to.
    fn target(addr: SocketAddr) -> io::Result<Endpoint> {
        Endpoint::from_addr(addr).ok_or_else(|| errno::os(ENETUNREACH))
    }
}

impl Driver for HostDriver {
    #[inline]
    fn now(&self) -> Time {
        if self.has_own_clock.get() {
            return self.scheduler.local_time(self.index);
        }
        self.scheduler.now()
    }

    fn wall_time(&self) -> Duration {
        let mut network = self.scheduler.network();
        let now = network.wire.local_time(self.index);
        network.host(self.index).wall_time(now)
    }

    fn open(&self, kind: SocketKind, family: Family) -> io::Result<Source> {
        if self.dead.get() {
            return Err(errno::os(EBADF));
        }
        self.has_descriptor()?;
        let kind = match kind {
            SocketKind::Stream => Kind::Unconnected(Box::new(Unconnected::new(family))),
            SocketKind::Datagram => Kind::Datagrams(Box::new(Datagrams::new(family))),
        };
        self.descriptors.set(self.descriptors.get() + 1);
        Ok(self.scheduler.network().sockets.insert(self.index, kind).source())
    }

    fn set_option(&self, source: Source, option: SocketOption) -> io::Result<()> {
        if self.dead.get() {
            return Ok(());
        }
        let (mut network, id) = (self.scheduler.network(), SocketId::from_source(source));
        match network.set_multicast(id, self.index, option) {
            Some(set) => set,
            None => network.set_option(id, option),
        }
    }

    fn tcp_options(&self, source: Source) -> io::Result<TcpOptions> {
        self.scheduler.network().tcp_options(SocketId::from_source(source))
    }

    fn bind(&self, source: Source, local: SocketAddr) -> io::Result<()> {
        let mut network = self.scheduler.network();
        let id = SocketId::from_source(source);
        let (family, stream) = match network.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Unconnected(socket)) => (socket.options.family, true),
            Some(Kind::Datagrams(socket)) => (socket.family(), false),
            _ => return Err(errno::os(EINVAL)),
        };
        if Family::of(&local) != family {
            return Err(errno::os(EAFNOSUPPORT));
        }
        let number = network.host(self.index).number;
        let endpoint = Endpoint::from_addr(local)
            .filter(|local| {
                local.ip.is_local_to(number) || !stream && local.ip.route(number) == Route::Many
            })
            .ok_or_else(|| errno::os(EADDRNOTAVAIL))?;
        if stream {
            network.tcp_bind(id, self.index, endpoint)
        } else {
            network.udp_bind(id, self.index, endpoint)
        }
    }

    fn listen(&self, source: Source, backlog: u32) -> io::Result<()> {
        self.scheduler.network().tcp_listen(SocketId::from_source(source), self.index, backlog)
    }

    fn accept(&self, listener: Source) -> io::Result<(Source, SocketAddr)> {
        // Before it looks whether a connection waits, as Linux does.
        self.has_descriptor()?;
        let mut network = self.scheduler.network();
        let listener = SocketId::from_source(listener);
        if network.injection.is_on
            && let Some(error) = network.accept_error(listener, self.index)
        {
            return Err(error);
        }
        let (id, remote) = network.tcp_accept(listener)?;
        if network.injection.is_on && network.resets_accepted(id) {
            network.reset_by_middlebox(id, RESET_BOTH);
        }
        self.descriptors.set(self.descriptors.get() + 1);
        Ok((id.source(), remote.to_addr()))
    }

    fn connect(&self, source: Source, remote: SocketAddr) -> io::Result<()> {
        let mut network = self.scheduler.network();
        let id = SocketId::from_source(source);
        let remote = Self::target(remote)?;
        let connected = match network.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Datagrams(_)) => network.udp_connect(id, self.index, remote),
            Some(_) => match network.injection.is_on.then(|| network.connect_error(self.index)) {
                Some(Some(error)) => Err(error),
                _ => network.tcp_connect(id, self.index, remote),
            },
            None => Err(errno::os(EBADF)),
        };
        drop(network);
        self.acted();
        connected
    }

    fn finish_connect(&self, source: Source) -> io::Result<()> {
        self.scheduler.network().tcp_finish_connect(SocketId::from_source(source))
    }

    fn read_hint(&self, source: Source) -> usize {
        let network = self.scheduler.network();
        let socket = network.sockets.get(SocketId::from_source(source));
        socket.map_or(0, |socket| socket.kind.available(&network.wire.agenda))
    }

    #[inline]
    fn read(&self, source: Source, buf: &mut [u8]) -> io::Result<usize> {
        let (mut network, id) = (self.scheduler.network(), SocketId::from_source(source));
        if network.injection.is_on {
            return network.read_to_boundary(id, buf);
        }
        network.tcp_read(id, buf)
    }

    fn prefetch(&self, source: Source, stage: Stage) {
        self.scheduler.network().sockets.prefetch(SocketId::from_source(source), stage);
    }

    fn read_available(&self, source: Source, buffer: &mut Vec<u8>) -> io::Result<Read> {
        let (mut network, id) = (self.scheduler.network(), SocketId::from_source(source));
        if network.injection.is_on {
            return network.read_available_to_boundary(id, buffer);
        }
        network.tcp_read_available(id, buffer)
    }

    #[inline]
    fn write(&self, source: Source, data: &[u8]) -> io::Result<usize> {
        if self.dead.get() {
            return Ok(data.len());
        }
        let (mut network, id) = (self.scheduler.network(), SocketId::from_source(source));
        if network.injection.is_on {
            let written = network.write_in_part(id, std::iter::once(data));
            drop(network);
            return self.wrote(written);
        }
        let written = network.tcp_write(id, [data].into_iter());
        drop(network);
        self.acted();
        written
    }

    fn write_vectored(&self, source: Source, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.dead.get() {
            return Ok(data.iter().map(|piece| piece.len()).sum());
        }
        let (mut network, id) = (self.scheduler.network(), SocketId::from_source(source));
        let data = data.iter().map(|piece| &**piece);
        if network.injection.is_on {
            let written = network.write_in_part(id, data);
            drop(network);
            return self.wrote(written);
        }
        let written = network.tcp_write(id, data);
        drop(network);
        self.acted();
        written
    }

    fn shutdown_write(&self, source: Source) -> io::Result<()> {
        if self.dead.get() {
            return Ok(());
        }
        let (mut network, id) = (self.scheduler.network(), SocketId::from_source(source));
        let ended = if network.injection.is_on && network.delays_end(id) {
            Ok(())
        } else {
            network.tcp_shutdown_write(id)
        };
        drop(network);
        self.acted();
        ended
    }

    fn send_to(&self, source: Source, data: &[u8], to: Option<&SocketAddr>) -> io::Result<usize> {
        if self.dead.get() {
            return Ok(data.len());
        }
        let to = to.map(|&to| Self::target(to)).transpose()?;
        let id = SocketId::from_source(source);
        let sent = self.scheduler.network().udp_send(id, self.index, data, to);
        self.acted();
        sent
    }

    fn receive_from(&self, source: Source, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let id = SocketId::from_source(source);
        let (length, from) = self.scheduler.network().udp_receive(id, buf)?;
        Ok((length, from.to_addr()))
    }

    fn receive_available(&self, source: Source, buffer: &mut Vec<u8>) -> io::Result<Received> {
        self.scheduler.network().udp_receive_available(SocketId::from_source(source), buffer)
    }

    fn close(&self, source: Source) {
        self.end(source, false);
    }

    fn reset(&self, source: Source) {
        self.end(source, true);
    }

    fn local_addr(&self, source: Source) -> io::Result<SocketAddr> {
        let network = self.scheduler.network();
        let socket = network.sockets.get(SocketId::from_source(source));
        let (local, family) = match socket.map(|socket| &socket.kind) {
            Some(Kind::Unconnected(socket)) => (socket.local, socket.options.family),
            Some(Kind::Listener(listener)) => return Ok(listener.local().to_addr()),
            Some(Kind::Stream(stream)) => return Ok(stream.local.to_addr()),
            Some(Kind::Datagrams(socket)) => (socket.local, socket.family()),
            Some(Kind::Unix(_) | Kind::Notice(_)) => return Err(errno::os(EAFNOSUPPORT)),
            None => return Err(errno::os(EBADF)),
        };
        Ok(local.map_or(family.unspecified(), Endpoint::to_addr))
    }

    fn peer_addr(&self, source: Source) -> io::Result<SocketAddr> {
        let network = self.scheduler.network();
        let socket = network.sockets.get(SocketId::from_source(source));
        let remote = match socket.map(|socket| &socket.kind) {
            Some(Kind::Stream(stream)) => match stream.connection.state() {
                State::SynSent | State::SynReceived | State::Closed => None,
                _ => Some(stream.remote),
            },
            Some(Kind::Datagrams(socket)) => socket.remote,
            Some(_) => None,
            None => return Err(errno::os(EBADF)),
        };
        remote.map(Endpoint::to_addr).ok_or_else(|| errno::os(ENOTCONN))
    }

    fn unix(&self) -> io::Result<&dyn sim_core::driver::UnixSockets> {
        Ok(self)
    }

    fn signals(&self) -> io::Result<&dyn sim_core::driver::Signals> {
        Ok(self)
    }

    fn processes(&self) -> io::Result<&dyn sim_core::driver::Processes> {
        Ok(self)
    }

    fn register(&self, source: Source, token: Token) -> io::Result<()> {
        self.scheduler.network().register(SocketId::from_source(source), token);
        Ok(())
    }

    /// Runs the world until the control loop has something to do.
    fn wait(&self, next: Next, events: &mut Vec<Readiness>) -> Result<(), RunError> {
        if self.index != CONTROL {
            return Err(RunError::Io(errno::os(EOPNOTSUPP)));
        }
        self.scheduler.run(next, events)
    }

    fn alarm(&self) -> Arc<dyn Alarm> {
        Arc::clone(&self.alarm) as Arc<dyn Alarm>
    }

    fn schedule(&self) {
        if !self.dead.get() {
            self.scheduler.schedule(self.index);
        }
    }

    fn one_run_per_thread(&self) -> bool {
        false
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn spend(&self, cost: Duration) {
        if !self.dead.get() {
            self.scheduler.network().spend(self.index, cost);
        }
    }

    fn busy_until(&self) -> Option<Time> {
        let mut network = self.scheduler.network();
        let now = network.wire.now;
        let until = network.host(self.index).processor_busy_until();
        (until > now).then(|| network.wire.clocks.local(self.index, until))
    }

    fn resolve(&self, question: Question<'_>) -> Resolution<Vec<SocketAddr>> {
        if self.dead.get() {
            return Resolution::Now(Err(gone()));
        }
        let asked = self.scheduler.network().ask_addresses(self.index, question);
        resolution(&self.scheduler, asked, Answer::into_addresses)
    }

    fn name_of(&self, addr: SocketAddr) -> Resolution<NameInfo> {
        if self.dead.get() {
            return Resolution::Now(Err(gone()));
        }
        let asked = self.scheduler.network().ask_name(self.index, addr);
        resolution(&self.scheduler, asked, Answer::into_name)
    }

    fn default_local(&self, family: Family) -> Option<IpAddr> {
        let _ = family;
        None
    }

    fn rng(&self, name: &str) -> Rng {
        let mut network = self.scheduler.network();
        let incarnation = network.host(self.index).incarnation;
        let entity = Entity::named(format_args!("{}@{incarnation}/{name}", self.name));
        network.wire.decisions.rng(entity)
    }

    fn open_store(&self, _host: &str, name: &str) -> io::Result<Rc<dyn Storage>> {
        if self.dead.get() {
            return Err(errno::os(EIO));
        }
        Ok(Rc::new(OpenFile::open(&self.scheduler, self.index, name)))
    }

    fn host(&self) -> &str {
        &self.name
    }

    fn execute(&self, job: Job) -> io::Result<Option<(Job, Duration)>> {
        if self.dead.get() {
            return Err(gone());
        }
        let takes = self.scheduler.network().job_delay(self.index);
        Ok(Some((job, takes)))
    }

    fn cancels(&self, task: &str, suspension: Suspension, ordinal: u64) -> bool {
        if self.dead.get() {
            return false;
        }
        let mut network = self.scheduler.network();
        network.injection.is_on && network.cancels_task(self.index, task, suspension, ordinal)
    }

    fn property(&self, property: &Property) -> bool {
        if self.dead.get() {
            return false;
        }
        self.scheduler.properties.borrow_mut().count(property);
        self.scheduler.network().wire.trace.name(property);
        true
    }

    fn broken(&self, property: &Property, message: &str, place: &'static Location<'static>) {
        let claim = Claim { name: property.name, place };
        let time = self.scheduler.now();
        self.scheduler.properties.borrow_mut().note_broken(claim, message, &self.name, time);
    }

    #[inline]
    fn trace(&self, kind: u64, first: u64, second: u64) {
        if self.dead.get() {
            return;
        }
        let mut network = self.scheduler.network();
        let now = network.wire.now;
        let unsettled = network.wire.trace.record_engine(now, self.index, [kind, first, second]);
        drop(network);
        if unsettled {
            self.settle_trace();
        }
    }

    fn keeps_states(&self) -> bool {
        self.scheduler.network().wire.trace.takes_notes()
    }

    fn keep_state(&self, connection: u32, digest: &str) {
        if !self.dead.get() {
            self.scheduler.network().wire.trace.note_state(self.index, connection, digest);
        }
    }
}
