//! What readers are shown: where reads end, and when they hear that there is something.

use std::io;
use std::time::Duration;

use sim_core::driver::{READ_MAX, Read, lengthen};

use super::StreamFaults;
use super::inject::{Held, at_most};
use crate::agenda::Event;
use crate::decisions::{Entity, Site};
use crate::network::Network;
use crate::plan::FaultSite;
use crate::plane::question::{Question, Subject};
use crate::socket_table::{Kind, Ready, SocketId};
use crate::trace::Record;

/// For how long news of data wait for more at most, if nothing says for how long.
const HELD_NEWS_MAX: Duration = Duration::from_secs(1);

/// What the next read of a socket may get.
struct NextRead {
    /// How many bytes wait.
    available: usize,
    /// How many bytes there are up to the next boundary, whether they have come or not.
    most: usize,
    /// The host that reads, if something is known of the stream.
    reader: Option<u32>,
}

impl Network {
    /// What the next read of a socket may get.
    fn next_read(&mut self, id: SocketId) -> NextRead {
        let agenda = &self.wire.agenda;
        let available = self.sockets.get(id).map_or(0, |socket| socket.kind.available(agenda));
        let is_planned = self.wire.is_planned();
        let Some((host, injected)) = self.injected(id) else {
            return NextRead { available, most: usize::MAX, reader: None };
        };
        let stretch = if is_planned {
            let (read, inward) = (injected.read, injected.inward);
            let claims = self.wire.plane.as_mut().map(|plane| plane.claims());
            let next = claims
                .and_then(|it| it.first_place((inward, FaultSite::Boundary), read + 1..=u64::MAX));
            next.map_or(u64::MAX, |next| next - read)
        } else {
            let Self { wire, injection, .. } = self;
            injection.get_mut(id).map_or(u64::MAX, |it| it.stretch_left(&wire.decisions))
        };
        let most = usize::try_from(stretch).unwrap_or(usize::MAX);
        NextRead { available, most, reader: Some(host) }
    }

    /// Notes what a host's read got; behind a boundary there is more in a later turn.
    fn note_read(&mut self, id: SocketId, host: u32, bytes: usize, is_cut: bool) {
        let Some(injected) = self.injection.get_mut(id) else { return };
        let before = injected.read;
        injected.advance(bytes);
        let (read, inward) = (injected.read, injected.inward);
        if bytes > 0 {
            self.reach(host, inward, read);
            self.pass_boundaries(inward, before, read);
        }
        if !is_cut {
            return;
        }
        self.record(host, Record::Draw { site: Site::ReadBoundary, value: 1 });
        self.wire.faults.count_drawn(Site::ReadBoundary);
        if self.wire.is_recorded()
            && let Some(injected) = self.injection.get_mut(id)
        {
            let name = injected.name.clone().reversed();
            self.note_stream_fault(FaultSite::Boundary, Subject::Place(&name, inward, read), 1);
        }
        self.notify_now(id, Ready::READABLE);
    }

    /// The reader of a stream has come from one place to another: the plan's boundaries there are
    /// behind it, whether more was there to be read or not.
    fn pass_boundaries(&mut self, inward: Entity, from: u64, to: u64) {
        if !self.wire.is_planned() {
            return;
        }
        let Some(plane) = &mut self.wire.plane else { return };
        let claims = plane.claims();
        while claims.take_place((inward, FaultSite::Boundary), from + 1..=to).is_some() {}
    }

    /// [`tcp_read_available`](Self::tcp_read_available) up to the next boundary.
    #[cold]
    pub(crate) fn read_available_to_boundary(
        &mut self,
        id: SocketId,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Read> {
        let NextRead { available, most, reader } = self.next_read(id);
        let wanted = available.min(most).min(READ_MAX);
        lengthen(buffer, wanted);
        let read = self.tcp_read(id, &mut buffer[..wanted.max(usize::from(available == 0))]);
        let bytes = read?;
        let is_cut = bytes > 0 && bytes < available;
        if let Some(host) = reader {
            self.note_read(id, host, bytes, is_cut && bytes < READ_MAX);
        }
        Ok(Read { bytes, more: bytes == READ_MAX && is_cut })
    }

    /// [`tcp_read`](Self::tcp_read) up to the next boundary.
    #[cold]
    pub(crate) fn read_to_boundary(&mut self, id: SocketId, buf: &mut [u8]) -> io::Result<usize> {
        let NextRead { available, most, reader } = self.next_read(id);
        let wanted = most.min(buf.len());
        let bytes = self.tcp_read(id, &mut buf[..wanted])?;
        if let Some(host) = reader {
            self.note_read(id, host, bytes, bytes > 0 && bytes < available && bytes < buf.len());
        }
        Ok(bytes)
    }

    /// True if the news that data has arrived is held back: it comes later by itself.
    #[cold]
    pub(crate) fn holds_back_news(&mut self, id: SocketId) -> bool {
        let StreamFaults { held_reads, held_for, stalls, stalled_for, .. } = self.injection.config;
        let is_planned = self.wire.is_planned();
        let waiting = match self.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Stream(stream)) => stream.connection.waiting(),
            Some(Kind::Unix(socket)) => socket.available() as u64,
            _ => return false,
        };
        let Some((host, injected)) = self.injected(id) else { return false };
        let come = injected.read + waiting;
        match injected.held {
            Some((Held::UntilBeyond(place), _)) if come > place => injected.held = None,
            Some(_) => return true,
            None => {}
        }
        if come <= injected.told {
            return false;
        }
        let before = std::mem::replace(&mut injected.told, come);
        injected.arrivals += 1;
        let (name, inward) = (injected.name.clone().reversed(), injected.inward);
        let arrival = injected.arrivals;
        let question = |site, fault, likely, place| Question {
            host,
            site,
            fault,
            likely,
            entity: inward,
            ordinal: arrival,
            subject: Subject::Place(&name, inward, place),
        };
        // A plan names any place on the way here.
        let from = if before == 0 { 0 } else { before + 1 };
        let place_of = |network: &mut Self, site| {
            let plane = network.wire.plane.as_mut().filter(|_| is_planned);
            let claims = plane.map(|plane| plane.claims());
            let place = claims.and_then(|it| it.first_place((inward, site), from..=come));
            place.unwrap_or(come)
        };
        let held_at = place_of(self, FaultSite::Coalesce);
        let hold = question(Site::HeldRead, FaultSite::Coalesce, held_reads, held_at);
        let hold = self.ask(&hold, |rest| 1 + at_most(rest, held_for));
        let stall_at = place_of(self, FaultSite::Stall);
        let stall = question(Site::ReadStall, FaultSite::Stall, stalls, stall_at);
        let stall = self.ask(&stall, |rest| at_most(rest, stalled_for));
        let (held, delay) = match (hold, stall) {
            (_, Some(nanos)) => (Held::ForATime, Duration::from_nanos(nanos)),
            // What lies before it and behind it is there already.
            (Some(1), None) if come > held_at => return false,
            (Some(1), None) => (Held::UntilBeyond(held_at), HELD_NEWS_MAX),
            (Some(value), None) => (Held::ForATime, Duration::from_nanos(value - 1)),
            (None, None) => return false,
        };
        let at = self.wire.now + delay;
        if let Some((_, injected)) = self.injected(id) {
            injected.held = Some((held, at));
        }
        self.wire.agenda.push(at, Event::HeldNews(id));
        true
    }

    /// News that were held back come, unless what held them is over and something else does.
    #[cold]
    pub(crate) fn tell_held_news(&mut self, id: SocketId) {
        let now = self.wire.now;
        if let Some((_, injected)) = self.injected(id) {
            if injected.held.is_some_and(|(_, until)| until > now) {
                return;
            }
            injected.held = None;
        }
        if let Some(ready) = self.sockets.get(id).map(|socket| socket.kind.readiness()) {
            self.notify_now(id, ready);
        }
    }
}
