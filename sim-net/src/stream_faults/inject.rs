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
use crate::flow::Flow;
use crate::link::Probability;
use crate::network::Network;
use crate::plan::{
    EventId, FaultSite, RESET_BOTH, RESET_RECEIVER, RESET_SENDER, SegmentClass,
};
use crate::plane::census::OfferedCall;
use crate::plane::moment;
use crate::plane::passage::schedule;
use crate::socket_table::{Kind, Ready, SocketId};
use crate::trace::Record;
use crate::wire::Wire;

/// For how long news of data wait for more at most, if nothing says for how long.
const HELD_NEWS_MAX: Duration = Duration::from_secs(1);

/// What a network knows of the faults of its streams.
#[derive(Debug, Default)]
pub(crate) struct Injection {
    config: StreamFaults,
    /// Some of them can happen, or somebody looks at what could.
    pub(crate) is_on: bool,
    sockets: BTreeMap<SocketId, Injected>,
    /// How many accepts and connects there were, by what draws about them are keyed by.
    calls: BTreeMap<Entity, u64>,
}

/// What it knows of one stream.
#[derive(Debug)]
struct Injected {
    /// What it sends, and what it receives.
    flow: Flow,
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
    /// How far the stream had come when its news were last told or held back.
    told: u64,
    held: Option<Held>,
}

/// Until when news of data are held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// Until their time comes.
    ForATime,
    /// Until the stream has come beyond this place, or their time comes.
    UntilBeyond(u64),
}

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

impl Written {
    /// What came of a write that nothing but its result follows.
    #[inline]
    pub(crate) fn alone(result: io::Result<usize>) -> Self {
        Self { result, kills: false }
    }
}

/// What a fault is about, as a plan names it.
#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    /// A place in a stream.
    Place(Flow, Entity, u64),
    /// A stream as a whole, whose sender has come to this place.
    Stream(Flow, Entity, u64),
    /// The opening of a connection by this flow.
    Opening(Flow, Entity),
    /// A call, or something on a disk, by the key of its draw.
    Draw(&'a str, Entity, u64),
}

/// What a site is asked.
#[derive(Clone, Copy, Debug)]
struct Question<'a> {
    host: u32,
    site: Site,
    fault: FaultSite,
    likely: Probability,
    /// The key of the draw.
    entity: Entity,
    ordinal: u64,
    subject: Subject<'a>,
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
    /// Asks for a fault: its value, if it happens. Only then is it recorded and counted. `value` makes
    /// one of what is left of a draw.
    fn ask(&mut self, question: &Question<'_>, value: impl FnOnce(u64) -> u64) -> Option<u64> {
        let Question { site, likely, entity, ordinal, .. } = *question;
        let chosen = if self.wire.is_planned() {
            self.choice_of_plan(question)?
        } else if likely.is_never() {
            return None;
        } else {
            value(likely.rest(self.wire.decisions.at(site, entity, ordinal))?)
        };
        (chosen > 0).then(|| self.happens(question, chosen))
    }

    /// What the plan of the run says.
    fn choice_of_plan(&mut self, question: &Question<'_>) -> Option<u64> {
        let Wire { plane, trace, .. } = &mut self.wire;
        let claims = plane.as_mut()?.claims();
        let site = question.fault;
        match question.subject {
            Subject::Place(_, entity, place) => {
                claims.take_place((entity, site), place..=place).map(|(_, value)| value)
            }
            Subject::Stream(flow, entity, place) => {
                claims.take_only((entity, site), place, || flow.to_name(&trace.hosts))
            }
            Subject::Opening(_, entity) => claims.take_draw(site, entity, 0),
            Subject::Draw(_, entity, ordinal) => claims.take_draw(site, entity, ordinal),
        }
    }

    /// A fault happens.
    fn happens(&mut self, question: &Question<'_>, value: u64) -> u64 {
        let Question { host, site, fault, .. } = *question;
        self.record(host, Record::Draw { site, value });
        self.wire.faults.count(site.name());
        self.note_stream_fault(fault, question.subject, value);
        value
    }

    /// Notes what has happened, for the plan of the run.
    fn note_stream_fault(&mut self, fault: FaultSite, subject: Subject<'_>, value: u64) {
        let Wire { plane, trace, .. } = &mut self.wire;
        let Some(recorder) = plane.as_mut().and_then(|plane| plane.recorder.as_mut()) else {
            return;
        };
        recorder.other(fault, event(subject, fault, &trace.hosts), value);
    }

    /// Shows the census a call that could fail.
    fn offer_call(&mut self, question: &Question<'_>, most: u64) {
        let Wire { plane, trace, now, .. } = &mut self.wire;
        let Some(census) = plane.as_mut().and_then(|plane| plane.census.as_mut()) else { return };
        let Question { host, fault, subject, .. } = *question;
        census.called(OfferedCall {
            site: fault,
            event: event(subject, fault, &trace.hosts),
            most,
            host: std::sync::Arc::clone(&trace.hosts[host as usize]),
            moment: moment(host, *now, trace.steps()),
        });
    }

    /// An application has come to a place of a stream: what follows it is scheduled.
    fn reach(&mut self, host: u32, stream: Entity, place: u64) {
        let Wire { plane, trace, agenda, now, .. } = &mut self.wire;
        let Some(plane) = plane else { return };
        let followers = plane.stream_followers(stream, place, &trace.hosts[host as usize]);
        followers.into_iter().for_each(|follower| schedule(follower, *now, agenda));
    }

    /// What is known of a stream that an application has; nothing of one that it has let go.
    fn injected(&mut self, id: SocketId) -> Option<(u32, &mut Injected)> {
        let (host, stream) = self.sockets.host_and_stream(id)?;
        if stream.connection.is_orphan() {
            return None;
        }
        let flow = stream.flow();
        if !self.injection.sockets.contains_key(&id) {
            let new = self.inject_into(flow);
            self.injection.sockets.insert(id, new);
        }
        Some((host, self.injection.sockets.get_mut(&id)?))
    }

    fn inject_into(&mut self, flow: Flow) -> Injected {
        let (out, inward) = (self.wire.flow_entity(flow), self.wire.flow_entity(flow.reversed()));
        let StreamFaults { boundaries, boundary, .. } = self.injection.config;
        let rest = (!self.wire.is_planned()).then(|| {
            boundaries.rest(self.wire.decisions.at(Site::ReadBoundary, inward, 0))
        });
        let boundary = rest.flatten().map(|rest| match (boundary, below(rest, 5)) {
            (Boundary::Drawn, 0) => Boundary::Byte,
            (Boundary::Drawn, 1) => Boundary::Every(1 + below(rest << 3, 64) as u32),
            (Boundary::Drawn, 2) => Boundary::Every(1_448),
            (Boundary::Drawn, 3) => Boundary::Geometric(1 + below(rest << 3, 200) as u32),
            (Boundary::Drawn, _) => Boundary::Writes,
            (chosen, _) => chosen,
        });
        Injected {
            flow,
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
            told: 0,
            held: None,
        }
    }

    // Reading.

    /// How many bytes the next read may get.
    fn readable_now(&mut self, id: SocketId) -> u64 {
        let is_planned = self.wire.is_planned();
        let Some((_, injected)) = self.injected(id) else { return u64::MAX };
        let (read, inward) = (injected.read, injected.inward);
        if is_planned {
            let claims = self.wire.plane.as_mut().map(|plane| plane.claims());
            let next = claims
                .and_then(|it| it.first_place((inward, FaultSite::Boundary), read + 1..=u64::MAX));
            return next.map_or(u64::MAX, |next| next - read);
        }
        if injected.boundary.is_none() {
            return u64::MAX;
        }
        if read >= injected.next_boundary {
            injected.boundaries += 1;
            let ordinal = injected.boundaries;
            let draw = self.wire.decisions.at(Site::ReadBoundary, inward, ordinal);
            let Some((_, injected)) = self.injected(id) else { return u64::MAX };
            injected.next_boundary = read.saturating_add(injected.stretch(draw));
        }
        let Some((_, injected)) = self.injected(id) else { return u64::MAX };
        injected.next_boundary - read
    }

    /// Notes what a read got; behind a boundary there is more in a later turn.
    fn note_read(&mut self, id: SocketId, bytes: usize, is_cut: bool) {
        if let Some((host, injected)) = self.injected(id) {
            let before = injected.read;
            injected.read += bytes as u64;
            let (read, flow, inward) = (injected.read, injected.flow.reversed(), injected.inward);
            injected.writes.retain(|&end| end + 1 > read);
            if bytes > 0 {
                self.reach(host, inward, read);
                self.pass_boundaries(inward, before, read);
            }
            if is_cut {
                let (site, fault) = (Site::ReadBoundary, FaultSite::Boundary);
                let subject = Subject::Place(flow, inward, read);
                self.record(host, Record::Draw { site, value: 1 });
                self.wire.faults.count(site.name());
                self.note_stream_fault(fault, subject, 1);
            }
        }
        if is_cut {
            self.notify_now(id, Ready::READABLE);
        }
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
        let available = self.sockets.stream(id).map_or(0, |stream| stream.connection.available());
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
        let available = self.sockets.stream(id).map_or(0, |stream| stream.connection.available());
        let most = (buf.len() as u64).min(self.readable_now(id)) as usize;
        let bytes = self.tcp_read(id, &mut buf[..most])?;
        self.note_read(id, bytes, bytes > 0 && bytes < available && bytes < buf.len());
        Ok(bytes)
    }

    // Writing.

    /// [`tcp_write`](Self::tcp_write) of a part of the pieces, perhaps the last of its connection or
    /// of the process that writes.
    #[cold]
    pub(crate) fn write_in_part<'a>(
        &mut self,
        id: SocketId,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Written {
        let whole: usize = pieces.clone().map(<[u8]>::len).sum();
        let has_room = self.sockets.stream(id).is_some_and(|stream| stream.connection.has_room());
        let CutWrite { length, end } = match has_room && whole > 0 {
            true => self.cut_write(id, whole),
            false => CutWrite { length: whole, end: None },
        };
        let (before, end) = if length == 0 { (end, None) } else { (None, end) };
        if before == Some(WriteEnd::Kill) {
            return Written { result: Ok(whole), kills: true };
        }
        // A reset before the first byte does not keep the write from being taken.
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
        if let Some(WriteEnd::Reset(ends)) = end {
            self.reset_by_middlebox(id, ends);
        }
    }

    /// What becomes of a write of `whole` bytes.
    fn cut_write(&mut self, id: SocketId, whole: usize) -> CutWrite {
        let StreamFaults { short_writes, resets, .. } = self.injection.config;
        let all = CutWrite { length: whole, end: None };
        let Some((host, injected)) = self.injected(id) else { return all };
        injected.write_calls += 1;
        let (flow, out) = (injected.flow, injected.out);
        let (written, call) = (injected.written, injected.write_calls);
        if self.wire.is_planned() {
            return self.cut_write_by_plan(host, (flow, out), written, whole);
        }
        let part = |rest: u64| 1 + below(rest, whole as u64);
        let mut length = 0;
        let question = |site, fault, likely, place| Question {
            host,
            site,
            fault,
            likely,
            entity: out,
            ordinal: call,
            subject: Subject::Place(flow, out, place),
        };
        // The place is known when the draw is.
        let draw = (!resets.is_never())
            .then(|| self.wire.decisions.at(Site::StreamReset, out, call));
        if let Some(rest) = draw.and_then(|draw| resets.rest(draw)) {
            let taken = part(rest);
            let ends = [RESET_BOTH, RESET_SENDER, RESET_RECEIVER][below(rest << 8, 3) as usize];
            let asked = question(Site::StreamReset, FaultSite::Reset, resets, written + taken);
            self.happens(&asked, ends);
            return CutWrite { length: taken as usize, end: Some(WriteEnd::Reset(ends)) };
        }
        if whole > 1 {
            let asked = question(Site::ShortWrite, FaultSite::ShortWrite, short_writes, written);
            length = self.ask(&asked, |rest| part(rest).min(whole as u64 - 1)).unwrap_or(0);
        }
        if length > 0 { CutWrite { length: length as usize, end: None } } else { all }
    }

    /// What the plan makes of a write of `whole` bytes behind the first `written` of its stream.
    fn cut_write_by_plan(
        &mut self,
        host: u32,
        (flow, out): (Flow, Entity),
        written: u64,
        whole: usize,
    ) -> CutWrite {
        let all = CutWrite { length: whole, end: None };
        let Some(plane) = &mut self.wire.plane else { return all };
        let claims = plane.claims();
        let until = written + whole as u64;
        let mut take = |site, range| claims.take_place((out, site), range);
        let reset = take(FaultSite::Reset, written..=until);
        let kill = if reset.is_none() { take(FaultSite::Fin, written..=until) } else { None };
        let short = match reset.or(kill) {
            None => take(FaultSite::ShortWrite, written..=until - 1),
            Some(_) => None,
        };
        let question = |site, fault, place| Question {
            host,
            site,
            fault,
            likely: Probability::NEVER,
            entity: out,
            ordinal: 0,
            subject: Subject::Place(flow, out, place),
        };
        if let Some((place, ends)) = reset {
            self.happens(&question(Site::StreamReset, FaultSite::Reset, place), ends);
            return CutWrite {
                length: (place - written) as usize,
                end: Some(WriteEnd::Reset(ends)),
            };
        }
        if let Some((place, _)) = kill {
            self.wire.faults.count(FaultSite::Fin.name());
            self.note_stream_fault(FaultSite::Fin, Subject::Place(flow, out, place), 1);
            return CutWrite { length: (place - written) as usize, end: Some(WriteEnd::Kill) };
        }
        let Some((_, bytes)) = short else { return all };
        // At least a byte, and not all of them.
        let length = bytes.clamp(1, (whole as u64 - 1).max(1));
        self.happens(&question(Site::ShortWrite, FaultSite::ShortWrite, written), length);
        CutWrite { length: length as usize, end: None }
    }

    /// Notes that a write took `bytes`, fewer than it was given if it `fell_short`: then there is
    /// room again in a later turn.
    fn note_write(&mut self, id: SocketId, bytes: usize, fell_short: bool) {
        let Some((host, injected)) = self.injected(id) else { return };
        injected.written += bytes as u64;
        let (written, flow) = (injected.written, injected.flow);
        let (out, call) = (injected.out, injected.write_calls);
        let peer = self.sockets.stream(id).map_or(SocketId::NONE, |stream| stream.peer());
        if let Some((_, peer)) = self.injected(peer)
            && peer.boundary == Some(Boundary::Writes)
        {
            peer.writes.push(written);
        }
        let Wire { plane, trace, now, .. } = &mut self.wire;
        if let Some(census) = plane.as_mut().and_then(|plane| plane.census.as_mut()) {
            census.wrote(flow, written, moment(host, *now, trace.steps()));
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
            subject: Subject::Place(flow, out, written),
        };
        if self.ask(&asked, |_| 1).is_some() {
            self.notify_now(id, Ready::READABLE.with(Ready::WRITABLE));
        }
    }

    // News.

    /// True if the news that data has arrived is held back: it comes later by itself.
    #[cold]
    pub(crate) fn holds_back_news(&mut self, id: SocketId) -> bool {
        let StreamFaults { held_reads, held_for, stalls, stalled_for, .. } = self.injection.config;
        let is_planned = self.wire.is_planned();
        let Some(waiting) = self.sockets.stream(id).map(|stream| stream.connection.waiting()) else {
            return false;
        };
        let Some((host, injected)) = self.injected(id) else { return false };
        let come = injected.read + waiting;
        match injected.held {
            Some(Held::UntilBeyond(place)) if come > place => injected.held = None,
            Some(_) => return true,
            None => {}
        }
        if come <= injected.told {
            return false;
        }
        let before = std::mem::replace(&mut injected.told, come);
        injected.arrivals += 1;
        let (flow, inward) = (injected.flow.reversed(), injected.inward);
        let arrival = injected.arrivals;
        let question = |site, fault, likely, place| Question {
            host,
            site,
            fault,
            likely,
            entity: inward,
            ordinal: arrival,
            subject: Subject::Place(flow, inward, place),
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
        if let Some((_, injected)) = self.injected(id) {
            injected.held = Some(held);
        }
        let at = self.wire.now + delay;
        self.wire.agenda.push(at, Event::HeldNews(id));
        true
    }

    /// News that were held back come.
    #[cold]
    pub(crate) fn tell_held_news(&mut self, id: SocketId) {
        if let Some((_, injected)) = self.injected(id) {
            injected.held = None;
        }
        let ready = match self.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Stream(stream)) => stream.connection.readiness(),
            _ => return,
        };
        self.notify_now(id, ready);
    }

    // Ends.

    /// True if the end of a stream is sent later, by itself.
    #[cold]
    pub(crate) fn delays_end(&mut self, id: SocketId) -> bool {
        let StreamFaults { late_ends, end_after, .. } = self.injection.config;
        let Some((host, injected)) = self.injected(id) else { return false };
        let (flow, out, written) = (injected.flow, injected.out, injected.written);
        let Wire { plane, trace, now, .. } = &mut self.wire;
        if let Some(census) = plane.as_mut().and_then(|plane| plane.census.as_mut()) {
            census.ended(flow, written, moment(host, *now, trace.steps()));
        }
        let asked = Question {
            host,
            site: Site::LateEnd,
            fault: FaultSite::DelayFin,
            likely: late_ends,
            entity: out,
            ordinal: 0,
            subject: Subject::Stream(flow, out, written),
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

    // Calls.

    /// The error that an accept fails with, if it does.
    #[cold]
    pub(crate) fn accept_error(&mut self, listener: SocketId, host: u32) -> Option<io::Error> {
        let port = self.sockets.listener(listener)?.local().port;
        let errors = [EMFILE, ENFILE, ENOBUFS];
        let likely = self.injection.config.accept_errors;
        let name = self.name_of_calls(host, format_args!("accept:{port}"));
        self.call_error(host, (Site::AcceptError, FaultSite::Emfile, likely), &name, errors)
    }

    /// The error that a connect fails with at once, if it does.
    #[cold]
    pub(crate) fn connect_error(&mut self, host: u32) -> Option<io::Error> {
        let errors = [ENOBUFS, EADDRNOTAVAIL, EMFILE];
        let likely = self.injection.config.connect_errors;
        let name = self.name_of_calls(host, format_args!("connect"));
        self.call_error(host, (Site::ConnectError, FaultSite::Connect, likely), &name, errors)
    }

    fn call_error(
        &mut self,
        host: u32,
        (site, fault, likely): (Site, FaultSite, Probability),
        name: &str,
        errors: [i32; 3],
    ) -> Option<io::Error> {
        let entity = Entity::named(name);
        let count = self.injection.calls.entry(entity).or_default();
        let ordinal = *count;
        *count += 1;
        let subject = Subject::Draw(name, entity, ordinal);
        let asked = Question { host, site, fault, likely, entity, ordinal, subject };
        self.offer_call(&asked, errors.len() as u64);
        let value = self.ask(&asked, |rest| 1 + below(rest, errors.len() as u64))?;
        Some(errno::os(errors[(value as usize - 1).min(errors.len() - 1)]))
    }

    /// Whether a connection that was just accepted is reset.
    #[cold]
    pub(crate) fn resets_accepted(&mut self, id: SocketId) -> bool {
        let likely = self.injection.config.accept_resets;
        let Some((host, injected)) = self.injected(id) else { return false };
        let (flow, entity) = (injected.flow.reversed(), injected.inward);
        let asked = Question {
            host,
            site: Site::AcceptReset,
            fault: FaultSite::AcceptReset,
            likely,
            entity,
            ordinal: 0,
            subject: Subject::Opening(flow, entity),
        };
        self.offer_call(&asked, 1);
        self.ask(&asked, |_| 1).is_some()
    }

    /// How much of something on a host's disk a crash takes, of `most`: the seed draws it, a plan says
    /// it.
    pub(crate) fn disk_loss(
        &mut self,
        host: u32,
        (site, fault): (Site, FaultSite),
        file: &str,
        most: u64,
    ) -> u64 {
        let name = self.name_of_calls(host, format_args!("{file}"));
        let (entity, ordinal) = (Entity::named(&name), 0);
        let subject = Subject::Draw(&name, entity, ordinal);
        let likely = Probability::ALWAYS;
        let asked = Question { host, site, fault, likely, entity, ordinal, subject };
        self.offer_call(&asked, most);
        let value = if self.wire.is_planned() {
            self.choice_of_plan(&asked).unwrap_or(0).min(most)
        } else {
            below(self.wire.decisions.at(site, entity, ordinal), most.saturating_add(1))
        };
        self.record(host, Record::Draw { site, value });
        if value > 0 {
            self.note_stream_fault(fault, subject, value);
        }
        value
    }

    /// What draws about the calls of a host's process are keyed by.
    fn name_of_calls(&self, host: u32, what: std::fmt::Arguments<'_>) -> String {
        let name = &self.wire.trace.hosts[host as usize];
        format!("{name}@{}/{what}", self.hosts[host as usize].incarnation)
    }
}

/// What a plan calls the subject of a fault.
fn event(subject: Subject<'_>, fault: FaultSite, hosts: &[std::sync::Arc<str>]) -> EventId {
    match subject {
        Subject::Place(flow, _, offset) | Subject::Stream(flow, _, offset) => {
            EventId::Stream { flow: flow.to_name(hosts), offset }
        }
        Subject::Opening(flow, _) => EventId::Segment {
            flow: flow.to_name(hosts),
            class: SegmentClass::Syn,
            offset: 0,
            transmission: 1,
        },
        Subject::Draw(entity, _, ordinal) => EventId::Draw {
            site: fault.name().to_owned(),
            entity: entity.to_owned(),
            ordinal,
        },
    }
}

/// Nanoseconds up to `longest`, but not none.
fn at_most(rest: u64, longest: Duration) -> u64 {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    1 + below(rest, nanos)
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
        assert_eq!(at_most(0, Duration::ZERO), 1);
        assert_eq!(at_most(u64::MAX, Duration::from_millis(5)), 5_000_000);
    }
}
