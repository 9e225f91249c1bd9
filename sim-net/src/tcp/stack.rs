//! TCP as the sockets of a host see it: the calls, and which connection a segment is for.
//!
//! Here time goes in, by the clock of the host; [`Stream::flush`] takes deadlines out.

use std::collections::VecDeque;
use std::io;

use sim_core::Time;
use sim_core::driver::{Family, READ_MAX, Read, TcpOptions, lengthen};

use super::arrival;
use super::config::{BufferSize, Config, TIMESTAMPS};
use super::connection::{Connection, State};
use super::segment::{Flags, Segment, Seq};
use super::stream::Stream;
use super::time_wait::Verdict;
use crate::address::{Endpoint, Ip};
use crate::agenda::{Event, LazyTimer, Place};
use crate::buffer::LARGE;
use crate::errno::{
    self, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EALREADY, ECONNREFUSED, EHOSTUNREACH, EINVAL,
    EISCONN, ENOTCONN,
};
use crate::host::Host;
use crate::missed::Missed;
use crate::network::Network;
use crate::packet::{Body, Icmp, Packet};
use crate::ports::{Bind, ephemeral};
use crate::socket_table::{Kind, Options, Ready, Socket, SocketId, SocketTable, Unconnected};
use crate::trace::{DropReason, Record};
use crate::wire::{Path, Wire};

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) struct Listener {
    local: Endpoint,
    pub(crate) options: Options,
    /// What its connections begin with.
    pub(crate) tcp: TcpOptions,
    backlog: usize,
    /// Connections that wait to be accepted.
    waiting: VecDeque<SocketId>,
    /// Connections whose handshake is not done.
    half_open: usize,
}

impl Options {
    pub(crate) fn new(family: Family) -> Self {
        Self {
            family,
            reuse_address: false,
            reuse_port: false,
            send_buffer: BufferSize::SEND,
            receive_buffer: BufferSize::RECEIVE,
        }
    }

    /// `SO_SNDBUF`.
    pub(crate) fn set_send_buffer(&mut self, asked: usize) {
        self.send_buffer = BufferSize::send_buffer_of(asked);
    }

    /// `SO_RCVBUF`.
    pub(crate) fn set_receive_buffer(&mut self, asked: usize) {
        self.receive_buffer = BufferSize::receive_buffer_of(asked);
    }

    fn bind(&self, ip: Ip) -> Bind {
        let Self { reuse_address, reuse_port, .. } = *self;
        Bind { ip, reuse_address, reuse_port, listening: false }
    }
}

impl Listener {
    pub(crate) fn local(&self) -> Endpoint {
        self.local
    }

    /// True if no more connections may wait: one more than asked for do (L-07).
    fn is_full(&self) -> bool {
        self.waiting.len() > self.backlog
    }

    pub(crate) fn readiness(&self) -> Ready {
        if self.waiting.is_empty() { Ready::NONE } else { Ready::READABLE }
    }
}

/// The most data bytes of a segment on a path.
fn segment_size(path: Path, family: Family) -> u32 {
    let headers = if family == Family::V4 { 40 } else { 60 };
    path.mtu - headers - TIMESTAMPS
}

// The calls.
impl Network {
    fn tcp_config(&self, path: Path, options: &Options, tcp: TcpOptions) -> Config {
        let mss = segment_size(path, options.family);
        let train = if self.wire.allows_trains(path) { mss.max(LARGE as u32) } else { mss };
        let Options { send_buffer, receive_buffer, .. } = *options;
        Config { train, send_buffer, receive_buffer, ..self.tcp.on_path(mss, tcp) }
    }

    pub(crate) fn tcp_bind(&mut self, id: SocketId, host: u32, local: Endpoint) -> io::Result<()> {
        let Some(Socket { kind: Kind::Unconnected(socket), .. }) = self.sockets.get(id) else {
            return Err(errno::os(EINVAL));
        };
        let options = socket.options;
        if socket.local.is_some() {
            return Err(errno::os(EINVAL));
        }
        let bind = options.bind(local.ip);
        let port = match local.port {
            0 => {
                let draw = self.draw_port(host);
                let wanted = |port| Endpoint::new(local.ip, port);
                ephemeral(draw, |port| {
                    self.hosts[host as usize].tcp.is_free(port)
                        && !self.tcp_port_in_use(host, wanted(port), false)
                })
                .ok_or_else(|| errno::os(EADDRINUSE))?
            }
            port => port,
        };
        let local = Endpoint::new(local.ip, port);
        let taken = self.host(host).tcp.conflict(port, id, &bind)
            || self.tcp_port_in_use(host, local, bind.reuse_address);
        if taken {
            return Err(errno::os(EADDRINUSE));
        }
        self.host(host).tcp.insert(port, id, bind);
        if let Some(Socket { kind: Kind::Unconnected(socket), .. }) = self.sockets.get_mut(id) {
            socket.local = Some(local);
        }
        Ok(())
    }

    /// True if connections keep `local` from being bound: any that does not allow its port to be
    /// used again, and all of them if the binder does not.
    fn tcp_port_in_use(&mut self, index: u32, local: Endpoint, reuse_address: bool) -> bool {
        let now = self.wire.local_time(index);
        let host = &mut self.hosts[index as usize];
        if !reuse_address && host.time_waits.holds_port(local, now) {
            return true;
        }
        host.connections.on_port(local.port).any(|(pair, id)| {
            pair.0.ip.overlaps(local.ip) && {
                let stream = self.sockets.stream(id);
                // An explicit bind stands in the table of ports and is judged there.
                stream.is_some_and(|s| !(s.bound || reuse_address && s.options.reuse_address))
            }
        })
    }

    pub(crate) fn tcp_listen(&mut self, id: SocketId, host: u32, backlog: u32) -> io::Result<()> {
        let socket = match self.sockets.get_mut(id).map(|socket| &mut socket.kind) {
            Some(Kind::Unconnected(socket)) => **socket,
            Some(Kind::Listener(listener)) => {
                listener.backlog = backlog as usize;
                return Ok(());
            }
            Some(Kind::Unix(_)) => return self.unix_listen(id, backlog),
            _ => return Err(self.no_listener(id)),
        };
        let local = match socket.local {
            Some(local) => local,
            None => {
                self.tcp_bind(id, host, Endpoint::new(Ip::any(socket.options.family), 0))?;
                return self.tcp_listen(id, host, backlog);
            }
        };
        let bind = Bind { listening: true, ..socket.options.bind(local.ip) };
        if self.host(host).tcp.conflict(local.port, id, &bind) {
            return Err(errno::os(EADDRINUSE));
        }
        self.host(host).tcp.insert(local.port, id, bind);
        if let Some(place) = self.sockets.get_mut(id) {
            place.kind = Kind::Listener(Box::new(Listener {
                local,
                options: socket.options,
                tcp: socket.tcp,
                backlog: backlog as usize,
                waiting: VecDeque::new(),
                half_open: 0,
            }));
        }
        Ok(())
    }

    pub(crate) fn tcp_connect(
        &mut self,
        id: SocketId,
        host: u32,
        remote: Endpoint,
    ) -> io::Result<()> {
        let (mut timer, mut succeeds) = (LazyTimer::default(), false);
        let Unconnected { local, options, tcp } = match &self.sockets.get(id).map(|s| &s.kind) {
            Some(Kind::Unconnected(socket)) => **socket,
            // A connect that failed may be tried again (contract G-56).
            Some(Kind::Stream(old)) if !old.mapped && old.connection.state() == State::Closed => {
                (timer, succeeds) = (old.timer, true);
                let local = old.bound.then_some(old.local);
                Unconnected { local, options: old.options, tcp: old.connection.options() }
            }
            Some(Kind::Stream(stream)) if stream.connection.state() == State::SynSent => {
                return Err(errno::os(EALREADY));
            }
            _ => return Err(errno::os(EISCONN)),
        };
        if remote.ip.family() != options.family {
            return Err(errno::os(EAFNOSUPPORT));
        }
        // Connecting to the wildcard means the host itself.
        let target = if remote.ip.is_any() { self.source_for(host, remote.ip) } else { remote.ip };
        let remote = Endpoint::new(target, remote.port);
        let bound = local.is_some();
        let path = self.path_from(host, local.map(|local| local.ip), remote.ip)?;
        let local = self.tcp_local_for(host, local, remote)?;
        if self.host(host).connections.contains(&(local, remote)) {
            return Err(errno::os(EADDRNOTAVAIL));
        }
        let flow = self.open_flow(host, path.host, remote.port, false);
        let (iss, stamps_from) = self.initial_numbers(host, flow, (local, remote));
        let config = Config { stamps_from, ..self.tcp_config(path, &options, tcp) };
        let stream = Stream {
            connection: Connection::connect(self.wire.local_time(host), iss, config),
            local,
            remote,
            path,
            peer: SocketId::NONE,
            flow,
            timer,
            lane: None,
            last_arrival: Time::ZERO,
            mapped: true,
            bound,
            succeeds,
            parent: None,
            options,
            // A frozen machine sends no SYN.
            links_seen: self.wire.links.version - u32::from(self.hosts[host as usize].life.frozen),
        };
        self.host(host).connections.insert((local, remote), id);
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.kind = Kind::Stream(self.streams.place(stream));
        }
        self.tcp_flush(id);
        Ok(())
    }

    /// The local end of a new connection: address and port filled in where they are not bound.
    fn tcp_local_for(
        &mut self,
        host: u32,
        bound: Option<Endpoint>,
        remote: Endpoint,
    ) -> io::Result<Endpoint> {
        let now = self.wire.local_time(host);
        if let Some(local) = bound {
            let local = self.source_endpoint(host, local, remote.ip);
            let waits = self.host(host).time_waits.holds((local, remote), now);
            return if waits { Err(errno::os(EADDRNOTAVAIL)) } else { Ok(local) };
        }
        let source = match remote.ip.route(self.host(host).number) {
            crate::address::Route::Loopback if !remote.ip.is_loopback() => remote.ip,
            _ => self.source_for(host, remote.ip),
        };
        let draw = self.draw_port(host);
        let host = self.host(host);
        let port = ephemeral(draw, |port| {
            let pair = (Endpoint::new(source, port), remote);
            host.tcp.is_free(port)
                && !host.connections.contains(&pair)
                && !host.time_waits.holds(pair, now)
        });
        Ok(Endpoint::new(source, port.ok_or_else(|| errno::os(EADDRNOTAVAIL))?))
    }

    pub(crate) fn tcp_accept(&mut self, id: SocketId) -> io::Result<(SocketId, Endpoint)> {
        let Some(listener) = self.sockets.listener(id) else { return Err(self.no_listener(id)) };
        let child = listener.waiting.pop_front().ok_or_else(errno::would_block)?;
        let stream = self.sockets.stream(child).expect("what waits is a stream");
        Ok((child, stream.remote))
    }

    pub(crate) fn tcp_finish_connect(&mut self, id: SocketId) -> io::Result<()> {
        let stream = self.sockets.stream(id).ok_or_else(|| errno::os(ENOTCONN))?;
        match (stream.connection.take_error(), stream.connection.state()) {
            (Some(error), _) => Err(errno::os(error)),
            (None, State::SynSent | State::SynReceived) => Err(errno::would_block()),
            (None, _) => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn tcp_read(&mut self, id: SocketId, buf: &mut [u8]) -> io::Result<usize> {
        let Some((host, stream)) = self.sockets.host_and_stream(id) else {
            return self.unix_read(id, buf);
        };
        let now = self.wire.local_time(host);
        let read = stream.connection.read(buf, now, &mut self.pool).map_err(errno::os)?;
        if stream.connection.has_output() {
            self.tcp_flush(id);
        }
        read.ok_or_else(errno::would_block)
    }

    /// Reads what waits, as far as one read goes, to the front of `buffer`.
    #[inline]
    pub(crate) fn tcp_read_available(
        &mut self,
        id: SocketId,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Read> {
        let Some((host, stream)) = self.sockets.host_and_stream(id) else {
            return self.unix_read_available(id, buffer);
        };
        let available = stream.connection.available();
        let wanted = available.min(READ_MAX);
        lengthen(buffer, wanted);
        let now = self.wire.local_time(host);
        let read = stream.connection.read(&mut buffer[..wanted], now, &mut self.pool);
        let read = read.map_err(errno::os)?;
        if stream.connection.has_output() {
            self.tcp_flush(id);
        }
        let bytes = read.ok_or_else(errno::would_block)?;
        Ok(Read { bytes, more: bytes < available })
    }

    /// Writes as much of the pieces, one after the other, as there is room for.
    #[inline]
    pub(crate) fn tcp_write<'a>(
        &mut self,
        id: SocketId,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        let Self { sockets, pool, .. } = self;
        let Some(stream) = sockets.stream(id) else {
            return self.unix_write(id, pieces);
        };
        let mut taken = 0;
        for piece in pieces {
            let of_piece = stream.connection.write(piece, pool).map_err(errno::os)?;
            taken += of_piece;
            if of_piece < piece.len() {
                break;
            }
        }
        if taken == 0 {
            return Err(errno::would_block());
        }
        self.tcp_flush(id);
        Ok(taken)
    }

    pub(crate) fn tcp_shutdown_write(&mut self, id: SocketId) -> io::Result<()> {
        let Some(stream) = self.sockets.stream(id) else {
            return self.unix_shutdown_write(id);
        };
        let state = stream.connection.state();
        if matches!(state, State::Closed | State::SynSent | State::SynReceived) {
            return Err(errno::os(ENOTCONN));
        }
        stream.connection.shutdown_write();
        self.tcp_flush(id);
        Ok(())
    }

    /// Closes a stream socket of any kind; with `reset`, so that the peer hears a reset.
    pub(crate) fn tcp_close(&mut self, id: SocketId, host: u32, reset: bool) {
        let now = self.wire.local_time(host);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.token = None;
        match &mut socket.kind {
            Kind::Unconnected(socket) => {
                if let Some(local) = socket.local {
                    self.host(host).tcp.remove(local.port, id);
                }
                self.sockets.remove(id);
            }
            Kind::Listener(listener) => {
                let waiting = std::mem::take(&mut listener.waiting);
                let (local, half_open) = (listener.local, listener.half_open);
                self.host(host).tcp.remove(local.port, id);
                self.sockets.remove(id);
                if half_open > 0 {
                    self.tcp_forget_half_open(id, host);
                }
                // They were completed and nobody will accept them (E-25, L-61).
                waiting.into_iter().for_each(|child| self.tcp_close(child, host, true));
            }
            Kind::Stream(stream) => {
                let pool = &mut self.pool;
                if reset {
                    stream.connection.abort(pool);
                } else {
                    stream.connection.close(now, pool);
                }
                self.tcp_flush(id);
            }
            Kind::Datagrams(_) | Kind::Unix(_) | Kind::Notice(_) => {
                debug_assert!(false, "what is no TCP socket has its own close");
            }
        }
    }

    /// A listener is gone, and so is what it knew of handshakes: what still comes to them is refused.
    #[cold]
    fn tcp_forget_half_open(&mut self, listener: SocketId, host: u32) {
        for id in self.sockets.of_host(host) {
            let child = self.sockets.get_stream(id).filter(|it| it.parent == Some(listener));
            let Some(pair) = child.map(|it| (it.local, it.remote)) else { continue };
            self.host(host).connections.remove(&pair);
            let removed = self.sockets.remove(id);
            if let Some(Socket { kind: Kind::Stream(stream), .. }) = removed {
                self.streams.put(stream, &mut self.pool);
            }
        }
    }
}

// Segments out.
impl Network {
    /// Sends what a connection has to send, tells its engine what is ready, arms its timer, and
    /// buries it if it is over. To be called after anything was done to a connection.
    pub(crate) fn tcp_flush(&mut self, id: SocketId) {
        let Self { sockets, wire, pool, injection, hosts, .. } = self;
        let Some(socket) = sockets.get_mut(id) else {
            return;
        };
        let (host, Kind::Stream(stream)) = (socket.host, &mut socket.kind) else {
            return;
        };
        if stream.links_seen != wire.links.version {
            let host = &mut hosts[host as usize];
            if host.life.frozen {
                host.miss(Missed::Output(id));
                return;
            }
            stream.look_at_links(wire);
        }
        let news = stream.flush(id, wire, pool);
        if !news.signals.is_none() {
            if stream.parent.is_some() || injection.is_on {
                self.tcp_signal(id, news.signals);
            } else if socket.becomes(news.signals) {
                self.list_ready(host, id);
            }
        }
        if news.is_over {
            self.tcp_bury(id);
        }
    }

    /// Passes a connection's news on: to the engine, or to the listener that it comes from.
    fn tcp_signal(&mut self, id: SocketId, signals: Ready) {
        let Some(stream) = self.sockets.stream(id) else {
            return;
        };
        let Some(parent) = stream.parent else {
            self.notify(id, signals);
            return;
        };
        if matches!(stream.connection.state(), State::SynReceived) {
            return;
        }
        stream.parent = None;
        let established = stream.connection.state() != State::Closed;
        match self.sockets.listener(parent) {
            Some(listener) => {
                listener.half_open -= 1;
                if established {
                    listener.waiting.push_back(id);
                    self.notify(parent, Ready::READABLE);
                    return;
                }
            }
            None => debug_assert!(self.sockets.get(parent).is_none()),
        }
        // It was reset before it was complete, or the listener is gone.
        if let Some(stream) = self.sockets.stream(id) {
            stream.connection.abort(&mut self.pool);
        }
        self.tcp_flush(id);
    }

    /// Takes a connection that is over out of the tables; its socket goes when the application has
    /// let go of it.
    fn tcp_bury(&mut self, id: SocketId) {
        let Some(Socket { host, kind: Kind::Stream(stream), .. }) = self.sockets.get_mut(id) else {
            return;
        };
        let host = *host;
        let waits = stream.connection.state() == State::TimeWait;
        let orphan = stream.connection.is_orphan();
        if waits && !orphan {
            return;
        }
        let pair = (stream.local, stream.remote);
        let remains = stream.connection.remains();
        let (mapped, bound) = (std::mem::take(&mut stream.mapped), stream.bound);
        if mapped {
            self.host(host).connections.remove(&pair);
            if waits {
                let now = self.wire.local_time(host);
                self.host(host).time_waits.insert(pair, remains, now);
            }
        }
        if orphan {
            if bound {
                self.host(host).tcp.remove(pair.0.port, id);
            }
            let removed = self.sockets.remove(id);
            if let Some(Socket { kind: Kind::Stream(stream), .. }) = removed {
                self.streams.put(stream, &mut self.pool);
            }
        }
    }

    /// The clock of a host has another rate: the deadlines of its connections come at other times.
    pub(crate) fn tcp_clock_changed(&mut self, host: u32) {
        self.sockets.of_host(host).into_iter().for_each(|id| self.tcp_flush(id));
    }

    /// Sends what a connection could not send while its machine was frozen.
    #[cold]
    pub(crate) fn tcp_missed_output(&mut self, id: SocketId) {
        self.tcp_open_late(id);
        self.tcp_flush(id);
    }

    /// A connection whose machine was frozen when it was to be opened begins now, whatever comes first of what
    /// it missed: a timer of an earlier connection may have come up for it.
    pub(crate) fn tcp_open_late(&mut self, id: SocketId) {
        if let Some((host, stream)) = self.sockets.host_and_stream(id) {
            stream.connection.open_late(self.wire.local_time(host));
        }
    }

    /// The timer of a connection came up.
    #[inline(never)]
    pub(crate) fn tcp_timer(&mut self, slot: u32) {
        let Some((id, index, stream)) = self.sockets.stream_in(slot) else {
            return;
        };
        if !stream.timer.came_up(self.wire.now) {
            return;
        }
        if self.hosts[index as usize].life.frozen {
            self.host(index).miss(Missed::Timer(id));
            return;
        }
        self.tcp_timer_due(id);
    }

    /// The timer of a connection, whose machine is not frozen, may be due.
    pub(crate) fn tcp_timer_due(&mut self, id: SocketId) {
        let Some((index, stream)) = self.sockets.host_and_stream(id) else {
            return;
        };
        let now = self.wire.local_time(index);
        if stream.connection.deadline() <= now {
            stream.connection.on_timer(now, &mut self.pool);
        }
        self.tcp_flush(id);
    }
}

// Segments in.
impl Network {
    /// A segment arrived at its host.
    pub(crate) fn tcp_arrival(&mut self, place: Place) {
        let Self { sockets, hosts, wire, pool, .. } = self;
        let Wire { agenda, clocks, trace, now, .. } = wire;
        let Some(packet) = agenda.arriving(place) else {
            return;
        };
        let host = packet.to_host;
        let Some(id) = tcp_connection_for(packet, sockets, &hosts[host as usize]) else {
            let packet = agenda.take_packet(place);
            self.tcp_arrival_at_no_connection(packet);
            return;
        };
        trace.record_packet(*now, host, Record::Delivered(packet.record()), packet.number);
        let Body::Tcp(segment) = &mut packet.body else {
            return;
        };
        let stream = sockets.stream(id).expect("the table of connections holds streams");
        stream.peer = packet.from;
        let before = stream.connection.taken_in();
        stream.connection.on_segment(segment, clocks.local(host, *now), pool);
        let is_moved = stream.connection.taken_in() != before;
        segment.forget_contents();
        agenda.give_back(place);
        if is_moved {
            self.check_stream(id, before.0);
        }
        self.tcp_flush(id);
    }

    #[cold]
    fn tcp_arrival_at_no_connection(&mut self, packet: Packet) {
        let host = packet.to_host;
        let (now, pair) = (self.wire.local_time(host), (packet.target, packet.source));
        if let Some(id) = self.host(host).connections.get(&pair) {
            self.drop_packet(host, packet, DropReason::Backlog);
            if self.tcp.resets_on_overflow() {
                self.tcp_close(id, host, true);
            }
            return;
        }
        let Body::Tcp(segment) = &packet.body else {
            return;
        };
        match self.host(host).time_waits.on_segment(pair, segment, now) {
            Verdict::Pass => {}
            Verdict::Ignore => {
                self.wire.record_packet(host, &packet, Record::Delivered);
                return;
            }
            Verdict::Answer(answer) => {
                self.wire.record_packet(host, &packet, Record::Delivered);
                self.tcp_answer(&packet, answer);
                return;
            }
        }
        let opens = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK);
        let resets = segment.flags.has(Flags::RST);
        let listens = |_, bind: &Bind| bind.listening.then_some(());
        let found = self.host(host).tcp.find(packet.target, packet.source, listens);
        match found.filter(|&id| opens && self.sockets.listener(id).is_some()) {
            Some(listener) => self.tcp_arrival_at_listener(listener, packet),
            None if resets => self.drop_packet(host, packet, DropReason::NoSocket),
            None => {
                let told = if opens { Record::Refused } else { Record::Delivered };
                self.wire.record_packet(host, &packet, told);
                let answer = segment_of(&packet).refusal();
                self.tcp_answer(&packet, answer);
                self.recycle(packet);
            }
        }
    }

    fn tcp_arrival_at_listener(&mut self, listener: SocketId, packet: Packet) {
        let host = packet.to_host;
        let held = self.sockets.listener(listener).expect("the caller found it");
        // As many handshakes may run as connections may wait (L-07, L-09).
        if held.is_full() || held.half_open > held.backlog {
            self.drop_packet(host, packet, DropReason::Backlog);
            return;
        }
        held.half_open += 1;
        let (options, tcp) = (held.options, held.tcp);
        self.wire.record_packet(host, &packet, Record::Delivered);
        let flow = packet.flow.reversed();
        let (iss, stamps_from) = self.initial_numbers(host, flow, (packet.target, packet.source));
        let path = self.path(host, packet.source.ip).expect("where it came from");
        let config = Config { stamps_from, ..self.tcp_config(path, &options, tcp) };
        let now = self.wire.local_time(host);
        let stream = Stream {
            connection: Connection::accept(segment_of(&packet), now, iss, config),
            local: packet.target,
            remote: packet.source,
            path,
            peer: packet.from,
            flow,
            timer: LazyTimer::default(),
            lane: None,
            last_arrival: Time::ZERO,
            mapped: true,
            bound: false,
            succeeds: false,
            parent: Some(listener),
            options,
            links_seen: self.wire.links.version,
        };
        let id = self.sockets.insert(host, Kind::Stream(self.streams.place(stream)));
        self.host(host).connections.insert((packet.target, packet.source), id);
        self.tcp_flush(id);
    }

    /// Sends a segment that no connection sends, in answer to `packet`.
    fn tcp_answer(&mut self, packet: &Packet, answer: Segment) {
        let host = packet.to_host;
        let Some(path) = self.path(host, packet.source.ip) else {
            return;
        };
        let asks = self.sockets.get_stream(packet.from);
        let offset = asks.and_then(|it| it.connection.peer_offset(answer.seq)).unwrap_or(0);
        let reply = Packet {
            source: packet.target,
            target: packet.source,
            to_host: path.host.unwrap_or(u32::MAX),
            from: SocketId::NONE,
            to: packet.from,
            flow: packet.flow.reversed(),
            offset,
            number: 0,
            body: Body::Tcp(answer),
        };
        self.wire.answer(path, reply, &mut self.pool);
    }

    /// ICMP arrived about a segment that a socket sent from `local` to `remote`.
    pub(crate) fn tcp_icmp(&mut self, id: SocketId, [local, remote]: [Endpoint; 2], icmp: Icmp) {
        let stream = self.sockets.stream(id);
        // What the socket's connection before this one has sent is not this one's.
        let Some(stream) = stream.filter(|it| (it.local, it.remote) == (local, remote)) else {
            return;
        };
        let news = match icmp {
            Icmp::FragmentationNeeded(mtu) => {
                stream.path.mtu = stream.path.mtu.min(mtu);
                arrival::Icmp::TooBig { mss: segment_size(stream.path, stream.options.family) }
            }
            Icmp::HostUnreachable => arrival::Icmp::Unreachable(EHOSTUNREACH),
            // Our own TCP answers with a reset; a stack at a TUN device may say it.
            Icmp::PortUnreachable => arrival::Icmp::Unreachable(ECONNREFUSED),
        };
        stream.connection.on_icmp(news, &mut self.pool);
        self.tcp_flush(id);
    }

    /// The connection that sent a segment of which ICMP quotes the sequence number, if the segment may
    /// still be on its way: what quotes another is nobody's (RFC 5927 §4.1).
    pub(crate) fn tcp_that_sent(&self, packet: &Packet, seq: Seq) -> Option<SocketId> {
        let host = &self.hosts[packet.to_host as usize];
        let id = host.connections.get(&(packet.target, packet.source))?;
        let sender = &self.sockets.get_stream(id)?.connection.send;
        (!seq.before(sender.una) && !sender.nxt.before(seq)).then_some(id)
    }

    /// Sends a connection a reset that its peer knows nothing of, behind what the peer has sent.
    pub(crate) fn tcp_forge_reset(&mut self, peer: SocketId, to: SocketId) {
        if !self.admits_reset(to) {
            return;
        }
        let now = self.wire.now;
        let behind = self.sockets.stream(peer).map_or(now, |stream| stream.last_arrival);
        self.wire.agenda.push(behind.max(now), Event::ForgedReset(to));
    }

    /// A forged reset is at the end of its way.
    pub(crate) fn tcp_forged_reset(&mut self, id: SocketId) {
        if !self.takes_in_reset(id) {
            return;
        }
        if let Some(stream) = self.sockets.stream(id) {
            stream.connection.on_forged_reset(&mut self.pool);
            self.tcp_flush(id);
        }
    }

    fn recycle(&mut self, packet: Packet) {
        if let Body::Tcp(Segment { payload: Some(payload), .. }) = packet.body {
            self.pool.put(payload);
        }
    }
}

/// The connection that takes a segment at `host`.
#[inline]
fn tcp_connection_for(packet: &Packet, sockets: &mut SocketTable, host: &Host) -> Option<SocketId> {
    let is_open = |it: &Stream| it.mapped && it.parent.is_none() && !it.succeeds;
    if sockets.get_stream(packet.to).is_some_and(is_open) {
        return Some(packet.to);
    }
    let id = host.connections.get(&(packet.target, packet.source))?;
    (!overflows(sockets, id, segment_of(packet))).then_some(id)
}

/// True if a segment would complete a handshake while as many connections wait as may: the
/// listener does not hear it, and its SYN-ACK is sent again (L-08).
fn overflows(sockets: &mut SocketTable, id: SocketId, segment: &Segment) -> bool {
    let parent = sockets.get_stream(id).filter(|it| it.connection.completes(segment));
    let listener = parent.and_then(|stream| stream.parent);
    listener.and_then(|id| sockets.listener(id)).is_some_and(|it| it.is_full())
}

fn segment_of(packet: &Packet) -> &Segment {
    match &packet.body {
        Body::Tcp(segment) => segment,
        Body::Udp { .. } | Body::Icmp(..) => unreachable!("TCP handles segments alone"),
    }
}
