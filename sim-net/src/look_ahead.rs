//! What a large world asks of memory before it needs it.
//!
//! What happens next is known here: the packets that arrive one after the other, and the hosts that have their turns one after
//! the other. So each step of the way to what they need, from table to table, is taken some events before, and the memory
//! comes while others are at work (see `sim_core::cache`). Nothing else depends on it. How many events before hardly
//! matters: half as many do as well.

use sim_core::cache::{Stage, prefetch, prefetch_first};
use sim_core::driver::Token;
use sim_core::engine::Engine;

use crate::agenda::Event;
use crate::host::Host;
use crate::network::Network;
use crate::scheduler::Scheduler;
use crate::socket_table::SocketId;

/// From so many sockets on it is worth the look: what they and their hosts need, some 5 KiB each, is more than the processor's
/// nearer caches hold.
const MANY: usize = 512;

impl Network {
    fn is_large(&self) -> bool {
        self.sockets.len() >= MANY
    }

    /// A packet is about to arrive. Of those that come behind it, asks for what they need.
    #[inline(always)]
    pub(crate) fn look_ahead_to_packets(&self) {
        if self.is_large() {
            self.ask_for_packets();
        }
    }

    #[inline(never)]
    fn ask_for_packets(&self) {
        let Self { sockets, hosts, wire, .. } = self;
        let Some(event) = wire.agenda.upcoming(24) else { return };
        prefetch(event);
        let packet = |distance| match wire.agenda.upcoming(distance) {
            Some(Event::Arrival(packet)) => Some(packet),
            _ => None,
        };
        if let Some(packet) = packet(16) {
            sockets.prefetch(packet.to, Stage::Entry);
            sockets.prefetch(packet.from, Stage::Entry);
            if let Some(host) = hosts.get(packet.to_host as usize) {
                prefetch_first(host, Host::HOT);
            }
        }
        if let Some(packet) = packet(9) {
            sockets.prefetch(packet.to, Stage::Object);
            if let Some(sender) = sockets.get_stream(packet.from) {
                sender.prefetch_for_check();
            }
        }
        if let Some(packet) = packet(3)
            && let Some(stream) = sockets.get_stream(packet.to)
        {
            stream.prefetch_sent();
        }
    }

    /// A host is about to draw its rank. Of those that do behind it, asks for what they draw from.
    #[inline]
    pub(crate) fn look_ahead_to_ranks(&self) {
        if !self.is_large() {
            return;
        }
        let host = |distance| self.hosts.get(self.ready.upcoming_unranked(distance)? as usize);
        if let Some(host) = host(8) {
            prefetch_first(host, Host::HOT);
            prefetch(&host.ranks);
        }
        if let Some(ranks) = host(4).and_then(|host| host.ranks.as_ref()) {
            prefetch(&**ranks);
        }
    }
}

impl Scheduler {
    /// A host is about to have its turn. Of those that have theirs behind it, asks for what they need.
    #[inline(always)]
    pub(crate) fn look_ahead_to_turns(&self, network: &Network) {
        if network.is_large() {
            self.ask_for_turns(network);
        }
    }

    #[inline(never)]
    fn ask_for_turns(&self, network: &Network) {
        let Network { sockets, hosts, ready, .. } = network;
        let Some(far) = ready.upcoming(10) else { return };
        let seats = self.seats();
        if let (Some(host), Some(seat)) = (hosts.get(far as usize), seats.get(far as usize)) {
            prefetch_first(host, Host::HOT);
            prefetch(seat);
        }
        let turn = |distance| -> Option<(&Engine, Option<SocketId>)> {
            let index = ready.upcoming(distance)? as usize;
            Some((seats.get(index)?.engine()?, hosts.get(index)?.ready.first()))
        };
        if let Some((engine, socket)) = turn(8) {
            engine.prefetch();
            if let Some(id) = socket {
                sockets.prefetch(id, Stage::Entry);
            }
        }
        let read = |distance| -> Option<(&Engine, SocketId, Token)> {
            let (engine, socket) = turn(distance)?;
            let id = socket?;
            Some((engine, id, sockets.get(id)?.token?))
        };
        if let Some((engine, id, token)) = read(6) {
            engine.prefetch_source(token, Stage::Entry);
            sockets.prefetch(id, Stage::Object);
        }
        if let Some((engine, id, token)) = read(4) {
            engine.prefetch_source(token, Stage::Object);
            sockets.prefetch(id, Stage::Content);
        }
        if let Some((engine, _, token)) = read(2) {
            engine.prefetch_source(token, Stage::Content);
        }
    }
}
