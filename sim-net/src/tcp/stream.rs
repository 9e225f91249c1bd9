//! A connection with its place in the world: what it sends goes on the wire, and its host's time
//! becomes the world's.

use std::mem::offset_of;

use sim_core::Time;
use sim_core::cache::prefetch_first;

use super::connection::{Connection, State};
use super::segment::Segment;
use crate::address::Endpoint;
use crate::agenda::{LazyTimer, Place};
use crate::buffer::Pool;
use crate::flow::Flow;
use crate::link::lane::Lane;
use crate::packet::{Body, Packet};
use crate::socket_table::{Options, Ready, SocketId};
use crate::wire::{Path, Wire};

/// A connection with its place in the world.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Stream {
    // What a segment needs, in the order of its way; what it does not, at the end. What the oracle of
    // streams looks at lies in two cache lines, from the flow to the queue of the sender.
    /// Which version of the links it has taken note of. A frozen machine's connections take no note of any, and
    /// there is a new one whenever a machine is frozen: nothing else has to be asked before something is sent.
    pub(super) links_seen: u32,
    /// It stands in its host's table of connections.
    pub(super) mapped: bool,
    /// The port is its own by `bind`.
    pub(super) bound: bool,
    /// Its socket has had another connection, whose last packets may still come.
    pub(super) succeeds: bool,
    /// The peer's socket, once it has answered.
    pub(super) peer: SocketId,
    /// The path to the peer's host.
    pub(super) path: Path,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
    /// The listener, until the connection waits to be accepted.
    pub(super) parent: Option<SocketId>,
    pub(super) timer: LazyTimer<2>,
    /// When the last segment arrives: no later one overtakes it.
    pub(super) last_arrival: Time,
    pub(super) lane: Option<Box<Lane>>,
    pub(super) flow: Flow,
    pub(crate) connection: Connection,
    pub(super) options: Options,
}

/// What others must hear of a connection after something was done to it.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct News {
    pub(super) signals: Ready,
    /// It is in TIME-WAIT or CLOSED.
    pub(super) is_over: bool,
}

/// Connections that are over, whose memory others take.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    #[allow(clippy::vec_box, reason = "it is the boxes that are used again")]
    over: Vec<Box<Stream>>,
}

/// How many of them are kept.
const OVER_MAX: usize = 64;

impl Streams {
    /// A place for a connection.
    pub(super) fn place(&mut self, stream: Stream) -> Box<Stream> {
        match self.over.pop() {
            Some(mut place) => {
                *place = stream;
                place
            }
            None => Box::new(stream),
        }
    }

    /// Keeps the memory of a connection that is over.
    pub(crate) fn put(&mut self, mut stream: Box<Stream>, pool: &mut Pool) {
        stream.connection.discard(pool);
        if self.over.len() < OVER_MAX {
            self.over.push(stream);
        }
    }
}

impl Stream {
    /// How many bytes a segment needs.
    pub(crate) const HOT: usize = offset_of!(Self, connection) + Connection::HOT;
    /// How many bytes the oracle of streams looks at, from the flow to the queue of the sender.
    const CHECKED: usize =
        offset_of!(Self, connection) + Connection::CHECKED - offset_of!(Self, flow);

    /// Asks for the memory that the oracle of streams looks at when the peer takes something in.
    #[inline]
    pub(crate) fn prefetch_for_check(&self) {
        prefetch_first(&self.flow, Self::CHECKED);
    }

    /// Asks for the bytes that were sent first and are not acknowledged.
    #[inline]
    pub(crate) fn prefetch_sent(&self) {
        self.connection.send.prefetch_first();
    }

    /// Asks for the bytes that wait to be read.
    #[inline]
    pub(crate) fn prefetch_received(&self) {
        self.connection.receive.prefetch_first();
    }

    /// What it sends.
    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }

    /// The host at the other end, if there is one.
    pub(crate) fn peer_host(&self) -> Option<u32> {
        self.path.host
    }

    /// The peer's socket, once it has answered.
    pub(crate) fn peer(&self) -> SocketId {
        self.peer
    }

    /// `SO_SNDBUF` of a connection.
    pub(crate) fn set_send_buffer(&mut self, asked: usize) {
        self.options.set_send_buffer(asked);
        self.connection.set_send_limit(self.options.send_buffer);
    }

    /// `SO_RCVBUF` of a connection.
    pub(crate) fn set_receive_buffer(&mut self, asked: usize) {
        self.options.set_receive_buffer(asked);
        self.connection.set_receive_limit(self.options.receive_buffer);
    }

    /// Sends what there is to send and arms the timer. To be called after anything was done to the
    /// connection; `id` is its own.
    #[inline]
    pub(super) fn flush(&mut self, id: SocketId, wire: &mut Wire, pool: &mut Pool) -> News {
        if self.connection.has_output() {
            self.transmit(id, wire, pool);
        }
        let deadline = wire.clocks.world(self.path.from, self.connection.deadline());
        if deadline != Time::NEVER && self.timer.arm(deadline) {
            wire.agenda.push_tcp_timer(deadline, id.slot());
        }
        News {
            signals: self.connection.take_signals(),
            is_over: matches!(self.connection.state(), State::Closed | State::TimeWait),
        }
    }

    /// Sends what there is to send.
    #[inline(never)]
    fn transmit(&mut self, id: SocketId, wire: &mut Wire, pool: &mut Pool) {
        let now = wire.local_time(self.path.from);
        let place = wire.agenda.reserve();
        match self.connection.transmit_step(now) {
            Some(segment) => self.send(place, segment, id, wire, pool),
            None => wire.agenda.give_back(place),
        }
        if self.connection.has_output() {
            self.transmit_all(id, now, wire, pool);
        }
    }

    #[inline(never)]
    fn transmit_all(&mut self, id: SocketId, now: Time, wire: &mut Wire, pool: &mut Pool) {
        while self.connection.has_output() {
            let Some(segment) = self.connection.transmit(now, pool) else { break };
            let place = wire.agenda.reserve();
            self.send(place, segment, id, wire, pool);
        }
    }

    /// The links have changed: whether trains may travel is asked again.
    #[cold]
    pub(super) fn look_at_links(&mut self, wire: &Wire) {
        self.links_seen = wire.links.version;
        self.connection.allow_trains(wire.allows_trains(self.path));
    }

    /// Sends a segment from a free place on the agenda.
    #[inline(always)]
    fn send(
        &mut self,
        place: Place,
        segment: Segment,
        id: SocketId,
        wire: &mut Wire,
        pool: &mut Pool,
    ) {
        let packet = Packet {
            source: self.local,
            target: self.remote,
            to_host: self.path.host.unwrap_or(u32::MAX),
            from: id,
            to: self.peer,
            flow: self.flow,
            offset: self.connection.offset(segment.seq),
            number: 0,
            body: Body::Tcp(segment),
        };
        let Self { path, lane, last_arrival, .. } = self;
        // A lost segment is sent again when its timer says so, so nothing is to be done now.
        let _ = wire.send_from(place, path, packet, lane, last_arrival, pool);
    }
}
