//! The faults of streams, at work.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use sim_core::driver::{READ_MAX, Read, lengthen};

use super::{Boundary, StreamFaults};
use crate::agenda::Event;
use crate::decisions::{Entity, Site, below};
use crate::errno::{self, EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS};
use crate::faults::Faults;
use crate::link::Probability;
use crate::network::Network;
use crate::socket_table::{Kind, Ready, SocketId};
use crate::unix::Directions;

/// What a network knows of the faults of its streams.
#[derive(Debug, Default)]
pub(crate) struct Injection {
    config: StreamFaults,
    /// Some of them can happen.
    pub(crate) is_on: bool,
    sockets: BTreeMap<SocketId, Injected>,
    /// Accepts of each listener, and connects of each host.
    accepts: BTreeMap<SocketId, u64>,
    connects: BTreeMap<u32, u64>,
}

/// What it knows of one stream.
#[derive(Debug)]
struct Injected {
    /// What it sends, and what it receives.
    out: Entity,
    inward: Entity,
    boundary: Option<Boundary>,
    /// How many boundaries there were, and before which byte read the next one is.
    boundaries: u64,
    next_boundary: u64,
    /// Bytes read.
    read: u64,
    /// Where writes ended that are not read yet: the peer's, by bytes written.
    writes: Vec<u64>,
    written: u64,
    write_calls: u64,
    arrivals: u64,
    /// News of data is held back.
    is_held: bool,
}

impl Injection {
    pub(crate) fn new(config: StreamFaults, faults: &mut Faults) -> Self {
        let kinds = [
            (Site::ReadBoundary, config.boundaries),
            (Site::ShortWrite, config.short_writes),
            (Site::HeldRead, config.held_reads),
            (Site::ReadStall, config.stalls),
            (Site::LateEnd, config.late_ends),
            (Site::SpuriousReadiness, config.spurious),
            (Site::AcceptError, config.accept_errors),
            (Site::ConnectError, config.connect_errors),
            (Site::StreamReset, config.resets),
            (Site::AcceptReset, config.accept_resets),
        ];
        for (site, likely) in kinds {
            if !likely.is_never() {
                faults.enable(site.name());
            }
        }
        Self { config, is_on: !config.are_none(), ..Self::default() }
    }

    pub(crate) fn forget(&mut self, id: SocketId) {
        self.sockets.remove(&id);
        self.accepts.remove(&id);
    }
}

impl Injected {
    /// How long the next stretch of a stream is up to a boundary, given a draw.
    fn stretch(&self, draw: u64) -> u64 {
        match self.boundary {
            None => u64::MAX,
            Some(Boundary::Byte | Boundary::Drawn) => 1,
            Some(Boundary::Every(bytes)) => u64::from(bytes.max(1)),
            Some(Boundary::Geometric(mean)) => geometric(draw, mean),
            Some(Boundary::Writes) => {
                let end = self.writes.iter().find(|&&end| end > self.read);
                let wanted = end.map_or(u64::MAX, |end| end + below(draw, 3) - 1);
                wanted.saturating_sub(self.read).max(1)
            }
        }
    }
}

/// A length of at least 1 with about this mean: the number of draws until the first whose chance is
/// one in `mean` comes true, with each draw made of the one before.
fn geometric(mut draw: u64, mean: u32) -> u64 {
    let chance = u64::MAX / u64::from(mean.max(1));
    let longest = 20 * u64::from(mean.max(1));
    let mut length = 1;
    while draw > chance && length < longest {
        // SplitMix64 (Steele, Lea, Flood 2014).
        draw = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
        draw = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        draw = (draw ^ (draw >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        draw ^= draw >> 31;
        length += 1;
    }
    length
}

impl Network {
    /// Asks for a fault: the rest of the draw if it happens. Only then is it recorded and counted.
    fn fault(
        &mut self,
        host: u32,
        site: Site,
        likely: Probability,
        entity: Entity,
        ordinal: u64,
    ) -> Option<u64> {
        if likely.is_never() {
            return None;
        }
        let rest = likely.rest(self.wire.decisions.at(site, entity, ordinal))?;
        self.record(host, crate::trace::Record::Draw { site, value: 1 });
        self.wire.faults.count(site.name());
        Some(rest)
    }

    /// What is known of a stream that an application has; nothing of one that it has let go.
    fn injected(&mut self, id: SocketId) -> Option<(u32, &mut Injected)> {
        let socket = self.sockets.get(id)?;
        let host = socket.host;
        let (directions, is_read) = match &socket.kind {
            Kind::Stream(stream) if stream.connection.is_orphan() => return None,
            Kind::Stream(stream) => (Err(stream.flow()), true),
            Kind::Unix(socket) => (Ok(socket.directions()?), socket.is_read_from()),
            _ => return None,
        };
        if !self.injection.sockets.contains_key(&id) {
            let directions = directions.unwrap_or_else(|flow| Directions {
                out: self.wire.flow_entity(flow),
                inward: self.wire.flow_entity(flow.reversed()),
            });
            let new = self.inject_into(host, directions, is_read);
            self.injection.sockets.insert(id, new);
        }
        Some((host, self.injection.sockets.get_mut(&id)?))
    }

    fn inject_into(&mut self, host: u32, directions: Directions, is_read: bool) -> Injected {
        let Directions { out, inward } = directions;
        let StreamFaults { boundaries, boundary, .. } = self.injection.config;
        let boundaries = if is_read { boundaries } else { Probability::default() };
        let rest = self.fault(host, Site::ReadBoundary, boundaries, inward, 0);
        let boundary = rest.map(|rest| match (boundary, below(rest, 5)) {
            (Boundary::Drawn, 0) => Boundary::Byte,
            (Boundary::Drawn, 1) => Boundary::Every(1 + below(rest << 3, 64) as u32),
            (Boundary::Drawn, 2) => Boundary::Every(1_448),
            (Boundary::Drawn, 3) => Boundary::Geometric(1 + below(rest << 3, 200) as u32),
            (Boundary::Drawn, _) => Boundary::Writes,
            (chosen, _) => chosen,
        });
        Injected {
            out,
            inward,
            boundary,
            boundaries: 0,
            next_boundary: 0,
            read: 0,
            writes: Vec::new(),
            written: 0,
            write_calls: 0,
            arrivals: 0,
            is_held: false,
        }
    }

    /// How many bytes the next read may get.
    fn readable_now(&mut self, id: SocketId) -> u64 {
        let Some((_, injected)) = self.injected(id) else { return u64::MAX };
        if injected.boundary.is_none() {
            return u64::MAX;
        }
        if injected.read >= injected.next_boundary {
            injected.boundaries += 1;
            let (entity, ordinal) = (injected.inward, injected.boundaries);
            let draw = self.wire.decisions.at(Site::ReadBoundary, entity, ordinal);
            let Some((_, injected)) = self.injected(id) else { return u64::MAX };
            injected.next_boundary = injected.read.saturating_add(injected.stretch(draw));
        }
        let Some((_, injected)) = self.injected(id) else { return u64::MAX };
        injected.next_boundary - injected.read
    }

    /// Notes what a read got; behind a boundary there is more in a later turn.
    fn note_read(&mut self, id: SocketId, bytes: usize, is_cut: bool) {
        if let Some((_, injected)) = self.injected(id) {
            injected.read += bytes as u64;
            let read = injected.read;
            injected.writes.retain(|&end| end + 1 > read);
        }
        if is_cut {
            self.notify_now(id, Ready::READABLE);
        }
    }

    /// How many bytes wait to be read.
    fn available(&self, id: SocketId) -> usize {
        self.sockets.get(id).map_or(0, |socket| socket.kind.available())
    }

    /// The other end of a stream, or `NONE`.
    fn other_end(&self, id: SocketId) -> SocketId {
        let peer = match self.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Stream(stream)) => Some(stream.peer()),
            Some(Kind::Unix(socket)) => socket.peer(),
            _ => None,
        };
        peer.unwrap_or(SocketId::NONE)
    }

    /// [`tcp_read_available`](Self::tcp_read_available) up to the next boundary.
    #[cold]
    pub(crate) fn read_available_to_boundary(
        &mut self,
        id: SocketId,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Read> {
        let available = self.available(id);
        let wanted = (available as u64).min(self.readable_now(id)).min(READ_MAX as u64) as usize;
        lengthen(buffer, wanted);
        let read = self.tcp_read(id, &mut buffer[..wanted.max(usize::from(available == 0))]);
        let bytes = read?;
        let is_cut = bytes > 0 && bytes < available;
        self.note_read(id, bytes, is_cut && bytes < READ_MAX);
        Ok(Read { bytes, more: bytes == READ_MAX && is_cut })
    }

    /// [`tcp_read`](Self::tcp_read) up to the next boundary.
    #[cold]
    pub(crate) fn read_to_boundary(&mut self, id: SocketId, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.available(id);
        let most = (buf.len() as u64).min(self.readable_now(id)) as usize;
        let bytes = self.tcp_read(id, &mut buf[..most])?;
        self.note_read(id, bytes, bytes > 0 && bytes < available && bytes < buf.len());
        Ok(bytes)
    }

    /// [`tcp_write`](Self::tcp_write) of a part of `data`, perhaps the last of its connection.
    #[cold]
    pub(crate) fn write_in_part(&mut self, id: SocketId, data: &[u8]) -> io::Result<usize> {
        let (length, reset) = self.cut_write(id, data.len());
        let written = self.tcp_write(id, [&data[..length]].into_iter())?;
        self.note_write(id, written, length < data.len() && written == length);
        if let Some(who) = reset {
            self.reset_by_middlebox(id, who);
        }
        Ok(written)
    }

    /// How many bytes of a write of `length` are taken, and who hears of a reset behind them, if one
    /// comes.
    fn cut_write(&mut self, id: SocketId, length: usize) -> (usize, Option<u64>) {
        let StreamFaults { short_writes, resets, .. } = self.injection.config;
        let Some((host, injected)) = self.injected(id) else { return (length, None) };
        injected.write_calls += 1;
        let (out, call) = (injected.out, injected.write_calls);
        let part = |rest: u64| 1 + below(rest, length as u64) as usize;
        // Nothing on the way could reset a Unix stream or a pipe.
        if self.sockets.get_stream(id).is_some()
            && let Some(rest) = self.fault(host, Site::StreamReset, resets, out, call)
        {
            return (part(rest), Some(below(rest << 8, 3)));
        }
        if length > 1
            && let Some(rest) = self.fault(host, Site::ShortWrite, short_writes, out, call)
        {
            return (part(rest).min(length - 1), None);
        }
        (length, None)
    }

    /// Notes that a write took `bytes`, fewer than it was given if it `fell_short`: then there is
    /// room again in a later turn.
    fn note_write(&mut self, id: SocketId, bytes: usize, fell_short: bool) {
        let Some((host, injected)) = self.injected(id) else { return };
        injected.written += bytes as u64;
        let (written, out, call) = (injected.written, injected.out, injected.write_calls);
        let peer = self.other_end(id);
        if let Some((_, peer)) = self.injected(peer)
            && peer.boundary == Some(Boundary::Writes)
        {
            peer.writes.push(written);
        }
        if fell_short {
            self.notify_now(id, Ready::WRITABLE);
        }
        let spurious = self.injection.config.spurious;
        if self.fault(host, Site::SpuriousReadiness, spurious, out, call).is_some() {
            self.notify_now(id, Ready::READABLE.with(Ready::WRITABLE));
        }
    }

    /// True if the news that data has arrived is held back: it comes later by itself.
    #[cold]
    pub(crate) fn holds_back_news(&mut self, id: SocketId) -> bool {
        let StreamFaults { held_reads, held_for, stalls, stalled_for, .. } = self.injection.config;
        let Some((host, injected)) = self.injected(id) else { return false };
        if injected.is_held {
            return true;
        }
        injected.arrivals += 1;
        let (inward, arrival) = (injected.inward, injected.arrivals);
        let hold = self.fault(host, Site::HeldRead, held_reads, inward, arrival);
        let stall = self.fault(host, Site::ReadStall, stalls, inward, arrival);
        let delay = match (hold, stall) {
            (_, Some(rest)) => at_most(rest, stalled_for),
            (Some(rest), None) => at_most(rest, held_for),
            (None, None) => return false,
        };
        if let Some((_, injected)) = self.injected(id) {
            injected.is_held = true;
        }
        let at = self.wire.now + delay;
        self.wire.agenda.push(at, Event::HeldNews(id));
        true
    }

    /// News that were held back come.
    #[cold]
    pub(crate) fn tell_held_news(&mut self, id: SocketId) {
        if let Some((_, injected)) = self.injected(id) {
            injected.is_held = false;
        }
        if let Some(ready) = self.sockets.get(id).map(|socket| socket.kind.readiness()) {
            self.notify_now(id, ready);
        }
    }

    /// True if the end of a stream is sent later, by itself.
    #[cold]
    pub(crate) fn delays_end(&mut self, id: SocketId) -> bool {
        let StreamFaults { late_ends, end_after, .. } = self.injection.config;
        let Some((host, injected)) = self.injected(id) else { return false };
        let out = injected.out;
        let Some(rest) = self.fault(host, Site::LateEnd, late_ends, out, 0) else { return false };
        let at = self.wire.now + at_most(rest, end_after);
        self.wire.agenda.push(at, Event::LateEnd(id));
        true
    }

    /// The end of a stream that was held back is sent.
    #[cold]
    pub(crate) fn send_late_end(&mut self, id: SocketId) {
        // It may be over by now, which the application hears of in another way.
        let _ = self.tcp_shutdown_write(id);
    }

    /// Something on the way resets a connection: behind what `id` has sent, its peer hears of it
    /// (`who` is 0 or 2), and so does `id` itself (0 or 1).
    pub(crate) fn reset_by_middlebox(&mut self, id: SocketId, who: u64) {
        let peer = self.other_end(id);
        if who != 1 {
            self.tcp_forge_reset(id, peer);
        }
        if who != 2 {
            self.tcp_forge_reset(peer, id);
        }
    }

    /// The error that an accept fails with, if it does.
    #[cold]
    pub(crate) fn accept_error(&mut self, listener: SocketId, host: u32) -> Option<io::Error> {
        let likely = self.injection.config.accept_errors;
        let entity = match &self.sockets.get(listener)?.kind {
            Kind::Listener(listener) => {
                self.entity_of(host, format_args!("accept:{}", listener.local().port))
            }
            Kind::Unix(socket) => {
                self.entity_of(host, format_args!("accept:unix:{}", socket.local()))
            }
            _ => return None,
        };
        let ordinal = next(&mut self.injection.accepts, listener);
        let rest = self.fault(host, Site::AcceptError, likely, entity, ordinal)?;
        Some(errno::os([EMFILE, ENFILE, ENOBUFS][below(rest, 3) as usize]))
    }

    /// The error that a connect fails with at once, if it does.
    #[cold]
    pub(crate) fn connect_error(&mut self, host: u32) -> Option<io::Error> {
        self.one_of_connect_errors(host, [ENOBUFS, EADDRNOTAVAIL, EMFILE])
    }

    /// The error that a connect to a Unix socket fails with, if it does.
    #[cold]
    pub(crate) fn unix_connect_error(&mut self, host: u32) -> Option<io::Error> {
        self.one_of_connect_errors(host, [ENOBUFS, ENFILE, EMFILE])
    }

    fn one_of_connect_errors(&mut self, host: u32, errors: [i32; 3]) -> Option<io::Error> {
        let likely = self.injection.config.connect_errors;
        let ordinal = next(&mut self.injection.connects, host);
        let entity = self.entity_of(host, format_args!("connect"));
        let rest = self.fault(host, Site::ConnectError, likely, entity, ordinal)?;
        Some(errno::os(errors[below(rest, 3) as usize]))
    }

    /// Whether a connection that was just accepted is reset.
    #[cold]
    pub(crate) fn resets_accepted(&mut self, id: SocketId) -> bool {
        let likely = self.injection.config.accept_resets;
        let Some((host, injected)) = self.injected(id) else { return false };
        let inward = injected.inward;
        self.fault(host, Site::AcceptReset, likely, inward, 0).is_some()
    }

    fn entity_of(&self, host: u32, what: std::fmt::Arguments<'_>) -> Entity {
        let name = &self.wire.trace.hosts[host as usize];
        Entity::named(format_args!("{name}@{}/{what}", self.hosts[host as usize].incarnation))
    }
}

/// A duration of up to `longest`, but not nothing.
fn at_most(rest: u64, longest: Duration) -> Duration {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(1 + below(rest, nanos))
}

/// Counts, from 0 on.
fn next<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) -> u64 {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_about_the_mean_that_was_asked_for() {
        for mean in [1, 2, 10, 100] {
            let total: u64 = (0..10_000_u64)
                .map(|n| geometric(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), mean))
                .sum();
            let average = total as f64 / 1e4;
            let wanted = f64::from(mean);
            assert!((average - wanted).abs() < 0.05 * wanted, "{average} for {mean}");
        }
    }

    #[test]
    fn a_delay_is_never_nothing_and_never_too_long() {
        assert_eq!(at_most(0, Duration::ZERO), Duration::from_nanos(1));
        assert_eq!(at_most(u64::MAX, Duration::from_millis(5)), Duration::from_millis(5));
    }
}
