//! A reliable stream each way, as a state machine.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use sim_core::Time;

use super::Flaw;
use super::segment::{Carried, PAYLOAD_BYTES_MAX, Part, SELECTIVE, Segment};
use super::timeout::RetransmissionTimeout;

/// How many segments may be on their way.
const WINDOW: u64 = SELECTIVE;
/// How many segments beyond a missing one say that it is lost, and not late.
const BEYOND_MAX: u32 = 3;
/// How many segments one timeout sends again.
const BURST_MAX: usize = 8;
/// How long a side that has something to send goes without a new acknowledgement before it gives up.
const GIVE_UP: Duration = Duration::from_secs(45);

/// One side of a connection: what it sends, and what it gets.
///
/// A value without I/O or clock: it is told the time, what came, and when its timer ran out; what it
/// sends goes to `send`. Selective repeat: each segment is acknowledged on its own, and sent again
/// when three beyond it have arrived or its time ran out. The end of a stream is a segment like others,
/// so a connection is closed when both sides' ends are acknowledged. Who closed goes on acknowledging:
/// the other side may not know yet.
#[derive(Debug)]
pub struct Connection {
    // What is sent.
    unsent: VecDeque<Part>,
    /// Segments that were sent, from `first` on.
    flight: VecDeque<Flying>,
    first: u64,
    rto: RetransmissionTimeout,
    /// When something new was acknowledged, or there was nothing to acknowledge, last.
    progress: Time,
    retransmissions: u64,
    // What is received.
    next: u64,
    /// What came beyond a gap.
    early: BTreeMap<u64, Part>,
    ended: bool,
    ack_due: bool,
    received: Vec<u8>,
    bytes: Vec<u8>,
    flaw: Flaw,
}

/// A segment on its way.
#[derive(Debug)]
struct Flying {
    part: Part,
    sent: Time,
    again: bool,
    arrived: bool,
    /// How many segments beyond it arrived since it was sent.
    beyond: u32,
}

impl Connection {
    /// A side that has got and sent nothing.
    pub fn new(flaw: Flaw) -> Self {
        Self {
            unsent: VecDeque::new(),
            flight: VecDeque::new(),
            first: 0,
            rto: RetransmissionTimeout::default(),
            progress: Time::ZERO,
            retransmissions: 0,
            next: 0,
            early: BTreeMap::new(),
            ended: false,
            ack_due: false,
            received: Vec::new(),
            bytes: Vec::new(),
            flaw,
        }
    }

    /// Queues `data`, to be sent when the window allows.
    pub fn write(&mut self, data: &[u8]) {
        self.unsent.extend(data.chunks(PAYLOAD_BYTES_MAX).map(|part| Part::Data(part.to_vec())));
    }

    /// Queues the end of the stream.
    pub fn finish(&mut self) {
        self.unsent.push_back(Part::End);
    }

    /// How many parts wait to be sent.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// What came since this was asked last, in order.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// True when all that was queued is acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.unsent.is_empty() && self.flight.is_empty()
    }

    /// True when the other side's stream has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many segments were sent again.
    pub fn retransmissions(&self) -> u64 {
        self.retransmissions
    }

    /// A datagram came.
    pub fn receive(&mut self, now: Time, datagram: &[u8]) {
        let Some(segment) = Segment::decode(datagram, self.flaw != Flaw::NoChecksum) else {
            return;
        };
        if self.flaw == Flaw::DeafWhenClosed && self.ended && self.is_acknowledged() {
            return;
        }
        self.acknowledge(now, &segment);
        if let Some(carried) = segment.carries {
            self.ack_due = true;
            self.accept(carried);
        }
    }

    /// Takes in what the other side has got.
    fn acknowledge(&mut self, now: Time, segment: &Segment) {
        let Segment { ack, selective, .. } = *segment;
        let sent = self.first + self.flight.len() as u64;
        if ack > sent {
            return;
        }
        let mut newest: Option<usize> = None;
        let mut sample = None;
        for (index, flying) in self.flight.iter_mut().enumerate() {
            let number = self.first + index as u64;
            let bit = number.wrapping_sub(ack).wrapping_sub(1);
            let arrived = number < ack || (bit < SELECTIVE && selective >> bit & 1 == 1);
            if arrived && !flying.arrived {
                flying.arrived = true;
                newest = Some(index);
                if !flying.again {
                    sample = Some(now - flying.sent);
                }
            }
        }
        let Some(newest) = newest else { return };
        self.progress = now;
        if let Some(rtt) = sample {
            self.rto.sample(rtt);
        }
        let newest_sent = self.flight[newest].sent;
        for flying in self.flight.iter_mut().take(newest) {
            flying.beyond += u32::from(flying.sent <= newest_sent);
        }
        while self.flight.front().is_some_and(|flying| flying.arrived) {
            self.flight.pop_front();
            self.first += 1;
        }
    }

    /// Takes in a part of the stream.
    fn accept(&mut self, Carried { number, part }: Carried) {
        if self.flaw == Flaw::NoReordering {
            self.next = self.next.max(number + 1);
            return self.deliver(part);
        }
        if number < self.next {
            if self.flaw == Flaw::NoDuplicateFilter {
                self.deliver(part);
            }
            return;
        }
        if number > self.next + SELECTIVE {
            return;
        }
        self.early.insert(number, part);
        while let Some(part) = self.early.remove(&self.next) {
            self.next += 1;
            self.deliver(part);
        }
    }

    fn deliver(&mut self, part: Part) {
        match part {
            Part::Data(data) => self.received.extend(data),
            Part::End => self.ended = true,
        }
    }

    /// Sends what is to be sent now: what is lost, what the window allows, and an acknowledgement.
    pub fn flush(&mut self, now: Time, mut send: impl FnMut(&[u8])) {
        if self.flaw != Flaw::NoRetransmission {
            self.send_again(now, &mut send);
        }
        if self.flight.is_empty() {
            self.progress = now;
        }
        while (self.flight.len() as u64) < WINDOW
            && let Some(part) = self.unsent.pop_front()
        {
            let flying = Flying { part, sent: now, again: false, arrived: false, beyond: 0 };
            self.flight.push_back(flying);
            self.emit(Some(self.flight.len() - 1), &mut send);
        }
        if self.ack_due {
            self.emit(None, &mut send);
        }
    }

    fn send_again(&mut self, now: Time, send: &mut impl FnMut(&[u8])) {
        let rto = self.rto.get();
        let mut timed_out = 0;
        for index in 0..self.flight.len() {
            let flying = &mut self.flight[index];
            let late = now - flying.sent >= rto && timed_out < BURST_MAX;
            if flying.arrived || !(late || flying.beyond >= BEYOND_MAX) {
                continue;
            }
            timed_out += usize::from(late);
            (flying.sent, flying.again, flying.beyond) = (now, true, 0);
            self.retransmissions += 1;
            self.emit(Some(index), send);
        }
        if timed_out > 0 {
            self.rto.back_off();
        }
    }

    /// Sends the segment of a place in the flight, or an acknowledgement alone.
    fn emit(&mut self, index: Option<usize>, send: &mut impl FnMut(&[u8])) {
        let early = self.early.keys().map(|number| number - self.next - 1);
        let selective = early.fold(0, |bits, bit| bits | 1 << bit);
        let ack = match (self.flaw, self.early.last_key_value()) {
            (Flaw::AcknowledgeGaps, Some((last, _))) => last + 1,
            _ => self.next,
        };
        let carries = index.map(|index| (self.first + index as u64, &self.flight[index].part));
        Segment::encode(ack, selective, carries, &mut self.bytes);
        send(&self.bytes);
        self.ack_due = false;
    }

    /// When [`flush`](Self::flush) has something to do although nothing came; `None` if never.
    pub fn deadline(&self) -> Option<Time> {
        if self.flaw == Flaw::NoRetransmission {
            return None;
        }
        let oldest = self.flight.iter().filter(|flying| !flying.arrived);
        oldest.map(|flying| flying.sent).min().map(|sent| sent + self.rto.get())
    }

    /// True when the other side has acknowledged nothing new for too long.
    pub fn is_hopeless(&self, now: Time) -> bool {
        !self.flight.is_empty() && now - self.progress >= GIVE_UP
    }
}

impl fmt::Display for Connection {
    /// Where its streams are: `sends 12.., 5 in flight, 3 wait; takes 7.., 2 early`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, flight, unsent, next, early, .. } = self;
        let (flying, waiting) = (flight.len(), unsent.len());
        match self.is_acknowledged() {
            true => write!(f, "sent {first}; ")?,
            false => write!(f, "sends {first}.., {flying} in flight, {waiting} wait; ")?,
        }
        match (self.ended, early.len()) {
            (true, _) => write!(f, "took {next}"),
            (false, 0) => write!(f, "takes {next}.."),
            (false, early) => write!(f, "takes {next}.., {early} early"),
        }
    }
}
