//! What a simulated host offers its engine.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sim_core::driver::{
    Alarm, Driver, Family, Next, Readiness, Resolution, SocketKind, SocketOption, Source, Token,
};
use sim_core::trace::Record as EngineRecord;
use sim_core::{Rng, RunError, Time};

use crate::address::Endpoint;
use crate::bell::HostAlarm;
use crate::decisions::Entity;
use crate::errno::{
    self, EADDRNOTAVAIL, EAFNOSUPPORT, EBADF, EINVAL, EMFILE, ENETUNREACH, ENOTCONN, EOPNOTSUPP,
};
use crate::scheduler::{CONTROL, Scheduler};
use crate::socket_table::{Kind, Options, SocketId, Unconnected};
use crate::tcp::connection::State;
use crate::udp::Datagrams;

/// The driver of one host.
pub(crate) struct HostDriver {
    scheduler: Rc<Scheduler>,
    index: u32,
    name: Arc<str>,
    alarm: Arc<HostAlarm>,
    /// How many sockets the process has open.
    descriptors: Cell<u32>,
}

impl HostDriver {
    pub(crate) fn new(scheduler: Rc<Scheduler>, index: u32, name: Arc<str>) -> Self {
        let alarm = scheduler.bell.alarm(index);
        Self { scheduler, index, name, alarm, descriptors: Cell::new(0) }
    }

    /// Room for one more socket.
    fn has_descriptor(&self) -> io::Result<()> {
        let full = self.descriptors.get() >= self.scheduler.limits.max_descriptors;
        if full { Err(errno::os(EMFILE)) } else { Ok(()) }
    }

    fn give_back(&self) {
        self.descriptors.set(self.descriptors.get() - 1);
    }

    /// The endpoint for an address that a packet is to go to.
    fn target(addr: SocketAddr) -> io::Result<Endpoint> {
        Endpoint::from_addr(addr).ok_or_else(|| errno::os(ENETUNREACH))
    }
}

impl Driver for HostDriver {
    #[inline]
    fn now(&self) -> Time {
        self.scheduler.now()
    }

    fn open(&self, kind: SocketKind, family: Family) -> io::Result<Source> {
        self.has_descriptor()?;
        let kind = match kind {
            SocketKind::Stream => {
                Kind::Unconnected(Unconnected { local: None, options: Options::new(family) })
            }
            SocketKind::Datagram => Kind::Datagrams(Box::new(Datagrams::new(family))),
        };
        self.descriptors.set(self.descriptors.get() + 1);
        Ok(self.scheduler.network().sockets.insert(self.index, kind).source())
    }

    fn set_option(&self, source: Source, option: SocketOption) -> io::Result<()> {
        let mut network = self.scheduler.network();
        let id = SocketId::from_source(source);
        let socket = network.sockets.get_mut(id).ok_or_else(|| errno::os(EBADF))?;
        match &mut socket.kind {
            Kind::Unconnected(socket) => match option {
                SocketOption::ReuseAddress(on) => socket.options.reuse_address = on,
                SocketOption::ReusePort(on) => socket.options.reuse_port = on,
                SocketOption::SendBuffer(bytes) => socket.options.set_send_buffer(bytes),
                SocketOption::ReceiveBuffer(bytes) => socket.options.set_receive_buffer(bytes),
                _ => {}
            },
            Kind::Datagrams(socket) => match option {
                SocketOption::ReuseAddress(on) => socket.reuse_address = on,
                SocketOption::ReusePort(on) => socket.reuse_port = on,
                SocketOption::Broadcast(on) => socket.broadcast = on,
                SocketOption::SendBuffer(bytes) => socket.send_limit = Some(bytes),
                SocketOption::ReceiveBuffer(bytes) => socket.receive_limit = bytes,
                _ => {}
            },
            Kind::Stream(stream) => match option {
                SocketOption::SendBuffer(bytes) => stream.set_send_buffer(bytes),
                SocketOption::ReceiveBuffer(bytes) => stream.set_receive_buffer(bytes),
                _ => {}
            },
            Kind::Listener(_) => {}
        }
        Ok(())
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
            .filter(|local| local.ip.is_local_to(number) || !stream && local.ip.is_broadcast())
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
        let (id, remote) = self.scheduler.network().tcp_accept(SocketId::from_source(listener))?;
        self.descriptors.set(self.descriptors.get() + 1);
        Ok((id.source(), remote.to_addr()))
    }

    fn connect(&self, source: Source, remote: SocketAddr) -> io::Result<()> {
        let mut network = self.scheduler.network();
        let id = SocketId::from_source(source);
        let remote = Self::target(remote)?;
        match network.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Datagrams(_)) => network.udp_connect(id, self.index, remote),
            Some(_) => network.tcp_connect(id, self.index, remote),
            None => Err(errno::os(EBADF)),
        }
    }

    fn finish_connect(&self, source: Source) -> io::Result<()> {
        self.scheduler.network().tcp_finish_connect(SocketId::from_source(source))
    }

    fn read_hint(&self, source: Source) -> usize {
        let mut network = self.scheduler.network();
        match network.sockets.get_mut(SocketId::from_source(source)).map(|socket| &socket.kind) {
            Some(Kind::Stream(stream)) => stream.connection.available(),
            Some(Kind::Datagrams(datagrams)) => datagrams.next_len(),
            _ => 0,
        }
    }

    #[inline]
    fn read(&self, source: Source, buf: &mut [u8]) -> io::Result<usize> {
        self.scheduler.network().tcp_read(SocketId::from_source(source), buf)
    }

    #[inline]
    fn write(&self, source: Source, data: &[u8]) -> io::Result<usize> {
        self.scheduler.network().tcp_write(SocketId::from_source(source), [data].into_iter())
    }

    fn write_vectored(&self, source: Source, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let pieces = data.iter().map(|piece| &**piece);
        self.scheduler.network().tcp_write(SocketId::from_source(source), pieces)
    }

    fn shutdown_write(&self, source: Source) -> io::Result<()> {
        self.scheduler.network().tcp_shutdown_write(SocketId::from_source(source))
    }

    fn send_to(&self, source: Source, data: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
        let to = to.map(Self::target).transpose()?;
        let id = SocketId::from_source(source);
        self.scheduler.network().udp_send(id, self.index, data, to)
    }

    fn receive_from(&self, source: Source, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.scheduler.network().udp_receive(SocketId::from_source(source), buf);
        received.map(|(length, from)| (length, from.to_addr()))
    }

    fn may_receive(&self, source: Source) -> bool {
        let mut network = self.scheduler.network();
        let socket = network.sockets.datagrams(SocketId::from_source(source));
        socket.is_some_and(|socket| socket.may_receive())
    }

    fn close(&self, source: Source) {
        self.give_back();
        let mut network = self.scheduler.network();
        let id = SocketId::from_source(source);
        match network.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Datagrams(_)) => network.udp_close(id, self.index),
            _ => network.tcp_close(id, self.index, false),
        }
    }

    fn reset(&self, source: Source) {
        self.give_back();
        let mut network = self.scheduler.network();
        let id = SocketId::from_source(source);
        match network.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Datagrams(_)) => network.udp_close(id, self.index),
            _ => network.tcp_close(id, self.index, true),
        }
    }

    fn local_addr(&self, source: Source) -> io::Result<SocketAddr> {
        let network = self.scheduler.network();
        let socket = network.sockets.get(SocketId::from_source(source));
        let (local, family) = match socket.map(|socket| &socket.kind) {
            Some(Kind::Unconnected(socket)) => (socket.local, socket.options.family),
            Some(Kind::Listener(listener)) => return Ok(listener.local().to_addr()),
            Some(Kind::Stream(stream)) => return Ok(stream.local.to_addr()),
            Some(Kind::Datagrams(socket)) => (socket.local, socket.family()),
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
        self.scheduler.schedule(self.index);
    }

    fn one_run_per_thread(&self) -> bool {
        false
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn spend(&self, cost: Duration) {
        let mut network = self.scheduler.network();
        let now = network.wire.now;
        let host = network.host(self.index);
        host.busy_until = host.busy_until.max(now) + cost;
    }

    fn busy_until(&self) -> Option<Time> {
        let mut network = self.scheduler.network();
        let now = network.wire.now;
        Some(network.host(self.index).busy_until).filter(|&until| until > now)
    }

    fn resolve(&self, name: &str) -> Resolution {
        Resolution::Now(self.scheduler.network().resolve(name))
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

    fn host(&self) -> &str {
        &self.name
    }

    #[inline]
    fn trace(&self, record: &EngineRecord) {
        let mut network = self.scheduler.network();
        let now = network.wire.now;
        network.wire.trace.record_engine(now, self.index, record);
    }
}
