//! The network and the kernels of its hosts: everything in a world but the engines.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::task::Waker;

use sim_core::driver::{Family, Next, Readiness, Token};
use sim_core::{Address, Time};

use crate::address::{Endpoint, Ip, Route};
use crate::agenda::{Due, Event, Place};
use crate::buffer::{Payload, Pool};
use crate::capture::icmp::read_quote;
use crate::decisions::{Draws, Site};
use crate::errno::{self, EINVAL, ENETUNREACH, EOPNOTSUPP};
use crate::flow::Flow;
use crate::host::Host;
use crate::jobs::Jobs;
use crate::link::{Link, LinkError, LinkRule};
use crate::memory::{clear, clear_map};
use crate::missed::Missed;
use crate::multicast::Groups;
use crate::names::query::NameService;
use crate::packet::{Body, Icmp, Packet};
use crate::plane::Plane;
use crate::ready_hosts::ReadyHosts;
use crate::scheduler::CONTROL;
use crate::socket_table::{Kind, Ready, Socket, SocketId, SocketTable};
use crate::stream_faults::StreamFaults;
use crate::stream_faults::inject::Injection;
use crate::tcp::config::TcpConfig;
use crate::tcp::stream::Streams;
use crate::trace::{DropReason, Record};
use crate::unix;
use crate::wire::{Path, Wire};

/// The network, one for each world.
#[derive(Default, Debug)]
pub(crate) struct Network {
    pub(crate) wire: Wire,
    pub(crate) sockets: SocketTable,
    pub(crate) hosts: Vec<Host>,
    /// Hosts of the last world that this one does not have yet, the first ones last.
    rested_hosts: Vec<Host>,
    /// Connections that are over.
    pub(crate) streams: Streams,
    pub(crate) pool: Pool,
    /// What the TCP of every host is set to.
    pub(crate) tcp: TcpConfig,
    pub(crate) ready: ReadyHosts,
    is_control_ready: bool,
    /// How many hosts have something to do as soon as their processor is free.
    pub(crate) delayed_hosts: usize,
    pub(crate) injection: Injection,
    /// Somebody waits for the world to be quiet, or is to be woken.
    pub(crate) is_watched: bool,
    /// Who waited for a packet at a TUN device that has one now.
    pub(crate) woken: Vec<Waker>,
    pub(crate) names: BTreeMap<Arc<str>, u32>,
    pub(crate) name_service: NameService,
    pub(crate) jobs: Jobs,
    pub(crate) groups: Groups,
    /// The number of host 0.
    pub(crate) first_number: u32,
    /// Hosts that came back with other addresses, by the numbers that they got; and how many did.
    moved: BTreeMap<u32, u32>,
    moves: u32,
}

/// The largest number that a host can have: 10.255.255.255 is the broadcast address.
const NUMBER_MAX: u32 = 0xff_fffe;
/// How many hosts are left to the next world.
const HOSTS_LEFT_MAX: usize = 64;

impl Network {
    /// A world begins: with this seed, links as `link`, save where the rules say otherwise, and this number for its
    /// first host.
    pub(crate) fn begin(
        &mut self,
        seed: u64,
        link: &Link,
        rules: &[LinkRule],
        keep_log: bool,
        first_number: u32,
    ) {
        self.wire.begin(seed, link, rules, keep_log);
        self.first_number = first_number;
    }

    /// The world has ended: makes this as new, but for its room.
    pub(crate) fn renew(&mut self) {
        let Self {
            wire,
            sockets,
            hosts,
            rested_hosts,
            streams,
            pool,
            tcp,
            ready,
            is_control_ready,
            delayed_hosts,
            is_watched,
            woken,
            names,
            name_service,
            // Whoever begins a world says what they do in it.
            injection: _,
            jobs: _,
            groups,
            first_number,
            moved,
            moves,
        } = self;
        // First, so that nobody else holds what connections have sent.
        wire.renew();
        sockets.renew(|socket| {
            if let Kind::Stream(stream) = socket.kind {
                streams.put(stream, pool);
            }
        });
        let room = HOSTS_LEFT_MAX.saturating_sub(rested_hosts.len());
        hosts.iter_mut().take(room).for_each(Host::rest);
        rested_hosts.extend(hosts.drain(..).take(room).rev());
        clear(hosts);
        ready.renew();
        clear(woken);
        clear_map(names);
        name_service.renew();
        groups.renew();
        clear_map(moved);
        *tcp = TcpConfig::default();
        (*is_control_ready, *is_watched) = (false, false);
        (*delayed_hosts, *first_number, *moves) = (0, 0, 0);
        // After all that holds payloads.
        pool.renew();
    }

    /// Sets what streams show their applications.
    pub(crate) fn set_stream_faults(&mut self, faults: StreamFaults) {
        self.injection = Injection::new(faults, &mut self.wire.faults);
    }

    /// Sets who decides beside the seed, and who looks on: before anything happens.
    pub(crate) fn set_plane(&mut self, plane: Option<Box<Plane>>) {
        if let Some(plane) = &plane {
            self.wire.links.watch(plane.watches_packets(), plane.watches_arrivals());
            self.injection.is_on |= plane.watches_streams();
        }
        self.wire.plane = plane;
    }

    // Hosts and names.

    /// Adds a host and returns its index. Others find it by its name if `is_named`.
    pub(crate) fn add_host(&mut self, name: &Arc<str>, is_named: bool) -> u32 {
        let index = self.hosts.len() as u32;
        let number = index + self.first_number;
        match self.rested_hosts.pop() {
            Some(mut host) => {
                host.begin(number, name);
                self.hosts.push(host);
            }
            None => self.hosts.push(Host::new(number, name)),
        }
        self.wire.trace.hosts.push(Arc::clone(name));
        if is_named {
            self.names.insert(Arc::clone(name), index);
            let Self { wire, names, .. } = self;
            let find = |name: &str| names.get(name).copied();
            wire.links.host_added(name, wire.now, find, &mut wire.faults);
        }
        index
    }

    /// Changes the links that a rule is about.
    ///
    /// # Errors
    ///
    /// A name that no host has.
    pub(crate) fn apply_rule(&mut self, rule: &LinkRule) -> Result<(), LinkError> {
        let Self { wire, names, .. } = self;
        let find = |name: &str| names.get(name).copied();
        let unknown = |name: &str| LinkError::UnknownHost { name: name.to_owned() };
        wire.links.apply(rule, wire.now, find, &mut wire.faults).map_err(unknown)
    }

    /// The hosts that rules are about and that the world does not have.
    pub(crate) fn absent_hosts(&self) -> Vec<String> {
        self.wire.links.absent_hosts(|name| self.host_named(name))
    }

    pub(crate) fn host_named(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    pub(crate) fn host(&mut self, index: u32) -> &mut Host {
        &mut self.hosts[index as usize]
    }

    /// A host that is off comes back with another address: the number after all that were given.
    pub(crate) fn move_host(&mut self, index: u32) -> bool {
        if !self.hosts[index as usize].life.off {
            return false;
        }
        // Hosts that are made later take numbers from the front.
        let number = NUMBER_MAX - self.moves;
        self.moves += 1;
        let host = &mut self.hosts[index as usize];
        host.number = number;
        host.life.moved = true;
        self.moved.insert(number, index);
        self.wire.links.routes_changed();
        true
    }

    /// The host that has the address with this number now.
    fn host_numbered(&self, number: u32) -> Option<u32> {
        let place = number.checked_sub(self.first_number).filter(|&index| {
            self.hosts.get(index as usize).is_some_and(|host| host.number == number)
        });
        place.or_else(|| {
            let moved = self.moved.get(&number).copied();
            moved.filter(|&index| self.hosts[index as usize].number == number)
        })
    }

    /// The host that has an address now, beyond loopback.
    pub(crate) fn host_at(&self, ip: Ip) -> Option<u32> {
        match ip.route(u32::MAX) {
            Route::Host(number) => self.host_numbered(number),
            Route::Loopback | Route::Many | Route::None => None,
        }
    }

    /// The path from a host to an address, or `None` without a route.
    pub(crate) fn path(&self, from: u32, to: Ip) -> Option<Path> {
        match to.route(self.hosts[from as usize].number) {
            Route::Loopback => Some(self.wire.path_between(from, from)),
            Route::Host(number) => Some(self.wire.path_out(from, self.host_numbered(number))),
            Route::Many | Route::None => None,
        }
    }

    /// The path from an address of a host, if its socket has one, to another address. What comes from a
    /// loopback address leaves no host: Linux refuses to send it over IPv4, and drops it where it arrives over
    /// IPv6 (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
    pub(crate) fn path_from(&self, from: u32, own: Option<Ip>, to: Ip) -> io::Result<Path> {
        let path = self.path(from, to).ok_or_else(|| errno::os(ENETUNREACH))?;
        if path.host == Some(from) || !own.is_some_and(Ip::is_loopback) {
            return Ok(path);
        }
        match to.family() {
            Family::V4 => Err(errno::os(EINVAL)),
            Family::V6 => Ok(self.wire.path_out(from, None)),
        }
    }

    /// The address that packets from a host to `to` come from, if its socket has none of its own.
    pub(crate) fn source_for(&self, from: u32, to: Ip) -> Ip {
        match to.family() {
            family if !to.is_any() && !to.is_loopback() => {
                Ip::of_host(self.hosts[from as usize].number, family)
            }
            Family::V4 => Ip::LOCALHOST4,
            Family::V6 => Ip::LOOPBACK6,
        }
    }

    /// A flow that a host opens, with the next number.
    pub(crate) fn open_flow(
        &mut self,
        from: u32,
        to: Option<u32>,
        port: u16,
        datagrams: bool,
    ) -> Flow {
        let server = to.unwrap_or(u32::MAX);
        let host = self.host(from);
        let number = host.flows.next(server, port, datagrams);
        let incarnation = host.incarnation;
        Flow::new((from, incarnation), (server, port), number, datagrams)
    }

    // Decisions and the trace.

    #[inline(always)]
    pub(crate) fn record(&mut self, host: u32, record: Record) {
        self.wire.record(host, record);
    }

    /// Where a search for an ephemeral port of a host starts.
    pub(crate) fn draw_port(&mut self, index: u32) -> u64 {
        let host = self.host(index);
        let (entity, ordinal) = (host.entity, host.ports_drawn);
        host.ports_drawn += 1;
        self.wire.draw(index, Site::EphemeralPort, entity, ordinal)
    }

    // Packets.

    /// A packet is lost at its host.
    pub(crate) fn drop_packet(&mut self, host: u32, packet: Packet, reason: DropReason) {
        self.wire.drop_packet(host, packet, reason, &mut self.pool);
    }

    /// Handles every event that is due now, and says when the next one is; or, if it comes to an order of
    /// a plan, `Err` has that.
    #[inline]
    pub(crate) fn run_due(&mut self) -> Result<Option<Time>, u32> {
        loop {
            let place = match self.wire.agenda.next_due(self.wire.now) {
                Ok(Due::Event(place)) => place,
                Ok(Due::HostTimer(host)) => {
                    self.host_timer(host);
                    continue;
                }
                Ok(Due::TcpTimer(slot)) => {
                    self.tcp_timer(slot);
                    continue;
                }
                Err(next) => return Ok(next),
            };
            self.look_ahead_to_packets();
            if let Some(packet) = self.wire.agenda.arriving(place) {
                let to = packet.to_host as usize;
                if !self.wire.links.judges_arrivals && !self.hosts[to].diverts {
                    self.deliver(place);
                    continue;
                }
            }
            if let Some(order) = self.run_event(place) {
                return Err(order);
            }
        }
    }

    /// Handles an event that is not just a packet for its host; returns an order of a plan.
    fn run_event(&mut self, place: Place) -> Option<u32> {
        match self.wire.agenda.take(place) {
            Event::Arrival(packet) => self.arrive(packet),
            Event::Delivery(packet) => self.judge_arrival(*packet, true),
            Event::Late(key) => self.late(key),
            Event::Nothing => {}
            Event::Order(order) => return Some(order),
            Event::HeldNews(id) => self.tell_held_news(id),
            Event::LateEnd(id) => self.send_late_end(id),
            Event::ForgedReset(id) => self.tcp_forged_reset(id),
            Event::NameAnswer(id) => self.name_answer(id),
        }
        None
    }

    /// A packet comes to the end of its way, in a world where something may be in it.
    #[cold]
    fn arrive(&mut self, packet: Packet) {
        if self.wire.links.judges_arrivals {
            self.judge_arrival(packet, false);
        } else {
            self.take_in(packet);
        }
    }

    /// A packet is at its host.
    #[cold]
    pub(crate) fn take_in(&mut self, packet: Packet) {
        if self.hosts[packet.to_host as usize].diverts {
            self.divert(packet);
        } else {
            self.deliver_moved(packet);
        }
    }

    /// The network stack of its host takes a packet that is not on the agenda any more.
    fn deliver_moved(&mut self, packet: Packet) {
        let place = self.wire.agenda.reserve();
        self.wire.agenda.place(place, packet);
        self.deliver(place);
    }

    /// The network stack of its host takes a packet, from its place on the agenda.
    #[inline(always)]
    fn deliver(&mut self, place: Place) {
        match self.wire.agenda.arriving(place).map(|packet| &packet.body) {
            Some(Body::Tcp(_)) => self.tcp_arrival(place),
            Some(Body::Udp { .. }) => self.udp_arrival(place),
            _ => self.icmp_arrival(place),
        }
    }

    /// A packet is at a host that does not take every packet, or whose sockets take none.
    #[cold]
    fn divert(&mut self, packet: Packet) {
        let host = &mut self.hosts[packet.to_host as usize];
        if host.life.frozen && packet.flow.sender() == packet.to_host {
            host.miss(Missed::Arrival(Box::new(packet)));
        } else if host.is_deaf() && !host.hears(packet.target.ip) {
            self.udp_left(&packet);
            self.drop_packet(packet.to_host, packet, DropReason::HostDown);
        } else if host.has_interface() {
            self.interface_arrival(packet);
        } else {
            self.deliver_moved(packet);
        }
    }

    /// ICMP arrived: the socket that it is about hears of it, if it is still there.
    #[cold]
    fn icmp_arrival(&mut self, place: Place) {
        let packet = self.wire.agenda.take_packet(place);
        let Body::Icmp(icmp, _) = packet.body else { return };
        self.wire.record_packet(packet.to_host, &packet, Record::Delivered);
        let (to, icmp) = match &packet.body {
            Body::Icmp(_, Some(quote)) => self.icmp_by_quote(&packet, icmp, quote),
            _ => (packet.to, icmp),
        };
        match self.sockets.get(to).map(|socket| &socket.kind) {
            Some(Kind::Datagrams(_)) => self.udp_icmp(to, packet.source, icmp),
            Some(Kind::Stream(_)) => self.tcp_icmp(to, [packet.target, packet.source], icmp),
            Some(_) | None => {}
        }
        if let Body::Icmp(_, Some(quote)) = packet.body {
            self.pool.put(quote);
        }
    }

    /// The socket that ICMP is about, found by what it quotes, and what it says to that: no path is
    /// taken for narrower than the narrowest (`ip_rt_min_pmtu`; RFC 8200 §5).
    fn icmp_by_quote(&mut self, packet: &Packet, icmp: Icmp, quote: &Payload) -> (SocketId, Icmp) {
        let least = if packet.source.ip.family() == Family::V4 { 552 } else { 1_280 };
        let icmp = match icmp {
            Icmp::FragmentationNeeded(mtu) => Icmp::FragmentationNeeded(mtu.max(least)),
            other => other,
        };
        let to = match read_quote(quote.bytes()).map(|quoted| quoted.seq) {
            Ok(Some(seq)) => self.tcp_that_sent(packet, seq),
            Ok(None) => self.udp_taker(packet.to_host, packet.target, packet.source),
            Err(_) => None,
        };
        (to.unwrap_or(SocketId::NONE), icmp)
    }

    // Readiness and turns.

    /// Tells the engine of a socket's host what has become possible, unless a fault holds it back.
    #[inline]
    pub(crate) fn notify(&mut self, id: SocketId, what: Ready) {
        if self.injection.is_on && what.has(Ready::READABLE) {
            // Where nobody listens there is nothing to hold back.
            let is_heard = self.sockets.get(id).is_some_and(|socket| socket.token.is_some());
            if is_heard && self.holds_back_news(id) {
                return;
            }
        }
        self.notify_now(id, what);
    }

    /// Tells the engine of a socket's host what has become possible.
    #[inline]
    pub(crate) fn notify_now(&mut self, id: SocketId, what: Ready) {
        if let Some(socket) = self.sockets.get_mut(id)
            && socket.becomes(what)
        {
            let host = socket.host;
            self.list_ready(host, id);
        }
    }

    /// Puts a socket into its host's list of those with news.
    #[inline(always)]
    pub(crate) fn list_ready(&mut self, index: u32, id: SocketId) {
        self.host(index).ready.push(id);
        self.wake_host(index);
    }

    /// Why a socket neither listens nor accepts: no socket of datagrams can, and others could.
    pub(crate) fn no_listener(&self, id: SocketId) -> io::Error {
        let is_datagrams = self.sockets.get(id).is_some_and(|socket| match &socket.kind {
            Kind::Datagrams(_) => true,
            Kind::Unix(socket) => matches!(**socket, unix::Socket::Datagrams(_)),
            _ => false,
        });
        errno::os(if is_datagrams { EOPNOTSUPP } else { EINVAL })
    }

    /// Begins to report a socket's readiness, with what is ready now.
    pub(crate) fn register(&mut self, id: SocketId, token: Token) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.token = Some(token);
        let ready = socket.kind.readiness();
        self.notify(id, ready);
    }

    /// Moves a host's readiness into `events`.
    #[inline(always)]
    pub(crate) fn take_readiness(&mut self, index: u32, events: &mut Vec<Readiness>) {
        let Self { hosts, sockets, .. } = self;
        hosts[index as usize].ready.take(|id| {
            if let Some(event) = sockets.get_mut(id).and_then(Socket::take_news) {
                events.push(event);
            }
        });
    }

    /// A host has something to do: it gets a turn, now or when its processor is free.
    #[inline(always)]
    pub(crate) fn wake_host(&mut self, index: u32) {
        let now = self.wire.now;
        let host = self.host(index);
        if host.queued || host.delayed {
            return;
        }
        if host.busy_until > now {
            self.delay_host(index);
            return;
        }
        host.queued = true;
        // The control loop is not one of many: it goes before all hosts.
        if index == CONTROL {
            self.is_control_ready = true;
        } else {
            self.ready.add(index);
        }
    }

    /// A host whose processor is busy has something to do.
    #[cold]
    fn delay_host(&mut self, index: u32) {
        let host = self.host(index);
        if host.is_halted() {
            host.miss_turn();
            return;
        }
        host.delayed = true;
        let at = host.busy_until;
        self.delayed_hosts += 1;
        self.arm_host_timer(index, at);
    }

    /// True once if the control loop has something to do.
    #[inline]
    pub(crate) fn take_control_ready(&mut self) -> bool {
        if self.is_control_ready {
            self.is_control_ready = false;
            self.host(CONTROL).queued = false;
            return true;
        }
        false
    }

    /// Takes the host whose turn is next at this instant.
    #[inline]
    pub(crate) fn next_ready(&mut self) -> Option<u32> {
        loop {
            match self.ready.take()? {
                Ok(index) => {
                    let host = self.host(index);
                    host.queued = false;
                    if host.is_halted() {
                        host.miss_turn();
                        continue;
                    }
                    return Some(index);
                }
                Err(index) => {
                    self.look_ahead_to_ranks();
                    let (rank, group) = self.draw_rank(index);
                    self.ready.add_ranked(index, rank, group);
                }
            }
        }
    }

    fn draw_rank(&mut self, index: u32) -> (u64, u32) {
        if let (Some(plane), Some(other)) = (&mut self.wire.plane, self.ready.other()) {
            let is_by_chance = plane.goes_on_by_chance(self.wire.now);
            if let Some(recorder) = &mut plane.recorder {
                recorder.tie(index, other, is_by_chance);
            }
        }
        let host = &mut self.hosts[index as usize];
        let ranks =
            host.ranks.get_or_insert_with(|| Box::new(Draws::new(Site::HostOrder, host.entity)));
        self.wire.draw_rank(index, ranks)
    }

    /// True when no host has anything to do at this instant and no packet or answer is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.is_empty()
            && self.delayed_hosts == 0
            && self.wire.agenda.in_flight() == 0
            && !self.wire.links.holds_back()
            && self.name_service.is_idle()
    }

    /// True while the network goes on by itself: something is to be done at this instant or on its way, or
    /// a connection has sent what is not acknowledged.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.is_quiet() || self.sockets.streams().any(|stream| stream.connection.is_under_way())
    }

    /// What people call an address: by its host, if one has it.
    pub(crate) fn name_of(&self, address: &Address) -> String {
        let Address::Ip(addr) = address else { return address.to_string() };
        let host = Ip::from_addr(addr.ip()).and_then(|ip| self.host_at(ip));
        match host.and_then(|index| self.wire.trace.hosts.get(index as usize)) {
            Some(host) => format!("{host}:{}", addr.port()),
            None => addr.to_string(),
        }
    }

    /// Notes when a host's engine wants its next turn.
    #[inline(always)]
    pub(crate) fn plan(&mut self, index: u32, next: Next) {
        match next {
            Next::Now => {
                self.host(index).deadline = Time::NEVER;
                self.wake_host(index);
            }
            Next::At(at) => self.set_deadline(index, at),
            Next::Never => self.host(index).deadline = Time::NEVER,
        }
    }

    /// A host's engine wants a turn when the host's clock shows `local`.
    #[inline(always)]
    fn set_deadline(&mut self, index: u32, local: Time) {
        let deadline = self.wire.clocks.world(index, local);
        self.host(index).deadline = deadline;
        if deadline != Time::NEVER {
            self.arm_host_timer(index, deadline);
        }
    }

    #[inline]
    fn arm_host_timer(&mut self, index: u32, at: Time) {
        if self.host(index).timer.arm(at) {
            self.push_host_timer(index, at);
        }
    }

    #[inline(never)]
    fn push_host_timer(&mut self, index: u32, at: Time) {
        self.wire.agenda.push_host_timer(at, index);
    }

    #[inline(never)]
    fn host_timer(&mut self, index: u32) {
        let now = self.wire.now;
        let host = self.host(index);
        host.timer.came_up(now);
        let (busy_until, deadline) = (host.busy_until, host.deadline);
        let is_due = host.delayed || deadline <= now;
        if is_due && busy_until > now {
            self.arm_host_timer(index, busy_until);
        } else if is_due {
            if host.delayed {
                host.delayed = false;
                self.delayed_hosts -= 1;
            }
            self.wake_host(index);
        } else if deadline != Time::NEVER {
            self.arm_host_timer(index, deadline);
        }
    }

    /// A local endpoint with the address of its socket, for a packet to `to`.
    pub(crate) fn source_endpoint(&self, from: u32, local: Endpoint, to: Ip) -> Endpoint {
        if local.ip.is_any() { Endpoint::new(self.source_for(from, to), local.port) } else { local }
    }
}
