//! What befalls writes: how much of them is taken, and what comes behind.

use std::io;
use std::time::Duration;

use super::inject::at_most;
use super::{Boundary, StreamFaults};
use crate::agenda::Event;
use crate::decisions::{Entity, Site, below};
use crate::link::Probability;
use crate::network::Network;
use crate::plan::{FIN_KILL, FIN_RECEIVER, FaultSite, RESET_BOTH, RESET_RECEIVER, RESET_SENDER};
use crate::plane::moment;
use crate::plane::question::{Question, Subject};
use crate::plane::stream_name::StreamName;
use crate::socket_table::{Kind, Ready, SocketId};
use crate::wire::Wire;

/// What becomes of a write.
#[derive(Clone, Copy, Debug)]
struct CutWrite {
    /// How many bytes are taken.
    length: usize,
    end: Option<WriteEnd>,
}

/// What happens behind the bytes that a write takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WriteEnd {
    /// The connection is reset: at these ends.
    Reset(u64),
    /// The stream ends for its reader, and takes nothing more.
    Fin,
    /// The process that writes is killed.
    Kill,
}

/// What came of a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) result: io::Result<usize>,
    /// The process that wrote is to be killed.
    pub(crate) kills: bool,
}

impl Network {
    /// [`tcp_write`](Self::tcp_write) of a part of the pieces, perhaps the last of its connection or
    /// of the process that writes.
    #[cold]
    pub(crate) fn write_in_part<'a>(
        &mut self,
        id: SocketId,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Written {
        let whole: usize = pieces.clone().map(<[u8]>::len).sum();
        let room = match self.sockets.stream(id) {
            Some(stream) => stream.connection.room(),
            None => self.unix_room(id, pieces.clone().map(<[u8]>::len)),
        };
        let CutWrite { length, end } = match whole.min(room) {
            0 => CutWrite { length: whole, end: None },
            most => self.cut_write(id, whole, most),
        };
        let (before, end) = if length == 0 { (end, None) } else { (None, end) };
        if before == Some(WriteEnd::Kill) {
            return Written { result: Ok(whole), kills: true };
        }
        // A reset before the first byte does not keep the write from being taken; the end of the stream does.
        self.end_write(id, before);
        let length = if before.is_some() { whole } else { length };
        let mut left = length;
        let parts = pieces.map_while(|piece| {
            let part = &piece[..piece.len().min(left)];
            left -= part.len();
            (!part.is_empty() || piece.is_empty()).then_some(part)
        });
        let result = self.tcp_write(id, parts);
        if let Ok(written) = result {
            self.note_write(id, written, length < whole && written == length);
            self.end_write(id, end);
        }
        Written { result, kills: end == Some(WriteEnd::Kill) }
    }

    fn end_write(&mut self, id: SocketId, end: Option<WriteEnd>) {
        match end {
            Some(WriteEnd::Reset(ends)) => self.reset_by_middlebox(id, ends),
            Some(WriteEnd::Fin) => {
                if let Some(injected) = self.injection.get_mut(id) {
                    injected.has_ended = true;
                }
                // It may be over by now, which the application hears of in another way.
                let _ = self.tcp_shutdown_write(id);
            }
            Some(WriteEnd::Kill) | None => {}
        }
    }

    /// What becomes of a write of `whole` bytes, of which there is room for `most`.
    fn cut_write(&mut self, id: SocketId, whole: usize, most: usize) -> CutWrite {
        let StreamFaults { short_writes, resets, early_ends, .. } = self.injection.config;
        let all = CutWrite { length: whole, end: None };
        let Some((host, injected)) = self.injected(id) else { return all };
        if injected.has_ended {
            return all;
        }
        injected.write_calls += 1;
        let (name, out) = (injected.name.clone(), injected.out);
        let (written, call) = (injected.written, injected.write_calls);
        if self.wire.is_planned() {
            return self.cut_write_by_plan(host, (&name, out), written, (whole, most));
        }
        let part = |rest: u64| 1 + below(rest, most as u64);
        let mut length = 0;
        let question = |site, fault, likely, place| Question {
            host,
            site,
            fault,
            likely,
            entity: out,
            ordinal: call,
            subject: Subject::Place(&name, out, place),
        };
        // The place is known when the draw is.
        let is_on_its_way = name.tcp().is_some();
        let mut rest_of = |site, likely: Probability| {
            let Self { wire, injection, .. } = &mut *self;
            let draw = (!likely.is_never() && is_on_its_way)
                .then(|| injection.recent.at(&wire.decisions, site, out, call))?;
            likely.rest(draw)
        };
        let ends = (rest_of(Site::StreamReset, resets), rest_of(Site::EarlyEnd, early_ends));
        if let (Some(rest), _) = ends {
            let taken = part(rest);
            let ends = [RESET_BOTH, RESET_SENDER, RESET_RECEIVER][below(rest << 8, 3) as usize];
            let asked = question(Site::StreamReset, FaultSite::Reset, resets, written + taken);
            self.happens(&asked, ends);
            return CutWrite { length: taken as usize, end: Some(WriteEnd::Reset(ends)) };
        }
        if let (None, Some(rest)) = ends {
            let taken = part(rest);
            let asked = question(Site::EarlyEnd, FaultSite::Fin, early_ends, written + taken);
            self.happens(&asked, FIN_RECEIVER);
            return CutWrite { length: taken as usize, end: Some(WriteEnd::Fin) };
        }
        if whole > 1 {
            let asked = question(Site::ShortWrite, FaultSite::ShortWrite, short_writes, written);
            length = self.ask(&asked, |rest| part(rest).min(whole as u64 - 1)).unwrap_or(0);
        }
        if length > 0 { CutWrite { length: length as usize, end: None } } else { all }
    }

    /// What the plan makes of a write of `whole` bytes behind the first `written` of its stream, of
    /// which there is room for `most`.
    fn cut_write_by_plan(
        &mut self,
        host: u32,
        (name, out): (&StreamName, Entity),
        written: u64,
        (whole, most): (usize, usize),
    ) -> CutWrite {
        let all = CutWrite { length: whole, end: None };
        let Some(plane) = &mut self.wire.plane else { return all };
        let claims = plane.claims();
        let until = written + most as u64;
        let at = |fault, range| {
            let found = claims.peek_place((out, fault), range);
            found.map(|(place, value)| (place, fault, value))
        };
        let ends = [FaultSite::Reset, FaultSite::Fin].map(|fault| at(fault, written..=until));
        let end = ends.into_iter().flatten().min_by_key(|&(place, ..)| place);
        let short = at(FaultSite::ShortWrite, written..=until - 1).filter(|_| whole > 1);
        // So many from that place on: at least a byte in all, and not all of them.
        let longest = (whole - 1).clamp(1, most) as u64;
        let short = short.and_then(|(place, _, bytes)| {
            let length = (place - written).saturating_add(bytes);
            let begins_there = place == written;
            (begins_there || length <= longest).then(|| (place, length.clamp(1, longest)))
        });
        let question = |site, fault, place| Question {
            host,
            site,
            fault,
            likely: Probability::NEVER,
            entity: out,
            ordinal: 0,
            subject: Subject::Place(name, out, place),
        };
        // Whichever comes first in the stream.
        if let Some((place, length)) = short
            && end.is_none_or(|(end, ..)| written + length < end)
        {
            claims.take_place((out, FaultSite::ShortWrite), place..=place);
            self.happens(&question(Site::ShortWrite, FaultSite::ShortWrite, written), length);
            return CutWrite { length: length as usize, end: None };
        }
        let Some((place, fault, value)) = end else { return all };
        claims.take_place((out, fault), place..=place);
        let length = (place - written) as usize;
        if fault == FaultSite::Fin && value == FIN_RECEIVER {
            self.happens(&question(Site::EarlyEnd, fault, place), value);
            return CutWrite { length, end: Some(WriteEnd::Fin) };
        }
        if fault == FaultSite::Fin {
            self.wire.faults.count(fault.name());
            self.note_stream_fault(fault, Subject::Place(name, out, place), FIN_KILL);
            return CutWrite { length, end: Some(WriteEnd::Kill) };
        }
        self.happens(&question(Site::StreamReset, fault, place), value);
        CutWrite { length, end: Some(WriteEnd::Reset(value)) }
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

    /// Notes that a write took `bytes`, fewer than it was given if it `fell_short`: then there is
    /// room again in a later turn.
    fn note_write(&mut self, id: SocketId, bytes: usize, fell_short: bool) {
        let Some((host, injected)) = self.injected(id) else { return };
        injected.written += bytes as u64;
        let (written, name) = (injected.written, injected.name.clone());
        let (out, call) = (injected.out, injected.write_calls);
        let peer = self.other_end(id);
        if let Some((_, peer)) = self.injected(peer)
            && peer.boundary == Some(Boundary::Writes)
        {
            peer.writes.push_back(written);
        }
        let Wire { plane, trace, now, .. } = &mut self.wire;
        if let Some(census) = plane.as_mut().and_then(|plane| plane.census.as_mut()) {
            census.wrote(&name, written, moment(host, *now, trace.steps()));
        }
        self.reach(host, out, written);
        if fell_short {
            self.notify_now(id, Ready::WRITABLE);
        }
        let asked = Question {
            host,
            site: Site::SpuriousReadiness,
            fault: FaultSite::Spurious,
            likely: self.injection.config.spurious,
            entity: out,
            ordinal: call,
            subject: Subject::Place(&name, out, written),
        };
        if self.ask(&asked, |_| 1).is_some() {
            self.notify_now(id, Ready::READABLE.with(Ready::WRITABLE));
        }
    }

    /// True if the end of a stream is sent later, by itself.
    #[cold]
    pub(crate) fn delays_end(&mut self, id: SocketId) -> bool {
        let StreamFaults { late_ends, end_after, .. } = self.injection.config;
        let Some((host, injected)) = self.injected(id) else { return false };
        let (name, out) = (injected.name.clone(), injected.out);
        let written = injected.written;
        let Wire { plane, trace, now, .. } = &mut self.wire;
        if let Some(census) = plane.as_mut().and_then(|plane| plane.census.as_mut()) {
            census.ended(&name, written, moment(host, *now, trace.steps()));
        }
        let asked = Question {
            host,
            site: Site::LateEnd,
            fault: FaultSite::DelayFin,
            likely: late_ends,
            entity: out,
            ordinal: 0,
            subject: Subject::Stream(&name, out, written),
        };
        let Some(nanos) = self.ask(&asked, |rest| at_most(rest, end_after)) else { return false };
        let at = self.wire.now + Duration::from_nanos(nanos);
        self.wire.agenda.push(at, Event::LateEnd(id));
        true
    }

    /// The end of a stream that was held back is sent.
    #[cold]
    pub(crate) fn send_late_end(&mut self, id: SocketId) {
        // It may be over by now, which the application hears of in another way.
        let _ = self.tcp_shutdown_write(id);
    }

    /// Something on the way resets a connection behind what `id` has sent, at these ends.
    pub(crate) fn reset_by_middlebox(&mut self, id: SocketId, ends: u64) {
        let peer = self.sockets.stream(id).map_or(SocketId::NONE, |stream| stream.peer());
        if ends & RESET_RECEIVER != 0 {
            self.tcp_forge_reset(id, peer);
        }
        if ends & RESET_SENDER != 0 {
            self.tcp_forge_reset(peer, id);
        }
    }
}
