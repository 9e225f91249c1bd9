//! What is on its way and not acknowledged: a record for each segment sent, the scoreboard of
//! RFC 6675 §3.

use sim_core::Time;

use super::queue::Queue;
use super::segment::Seq;

/// A segment's place among all that a connection sent, repetitions included. Several are sent at
/// one instant, so their times do not say it.
pub(super) type Order = Seq;

/// A segment on its way, or a train of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) start: Seq,
    /// The number after its last; a FIN counts.
    pub(super) end: Seq,
    /// When it was last sent.
    pub(super) sent: Time,
    pub(super) order: Order,
    /// How many full segments it makes.
    pub(super) segments: u16,
    /// How often it has been sent again.
    pub(super) repeats: u16,
    marks: u8,
}

impl Flight {
    /// The peer has said that it has it.
    const SACKED: u8 = 1;
    /// It is taken for lost.
    const LOST: u8 = 2;
    /// A repetition of it is on its way.
    const REPEATED: u8 = 4;

    #[inline(always)]
    pub(super) fn new(start: Seq, end: Seq, mss: u32, sent: Time) -> Self {
        let segments = if end.since(start) > mss { count(start, end, mss) } else { 1 };
        Self { start, end, sent, order: Seq(0), segments, repeats: 0, marks: 0 }
    }

    fn count(&mut self, mss: u32) {
        self.segments = count(self.start, self.end, mss);
    }

    pub(super) fn is_sacked(&self) -> bool {
        self.marks & Self::SACKED != 0
    }

    pub(super) fn is_lost(&self) -> bool {
        self.marks & Self::LOST != 0
    }

    pub(super) fn is_repeated(&self) -> bool {
        self.marks & Self::REPEATED != 0
    }
}

/// How many segments it takes from `start` to `end`.
fn count(start: Seq, end: Seq, mss: u32) -> u16 {
    end.since(start).div_ceil(mss).clamp(1, u16::MAX.into()) as u16
}

/// The segments on their way, in order of their numbers, and how many of them are what.
#[derive(Debug, Default)]
pub(super) struct Flights {
    queue: Queue<Flight>,
    /// Segments in all.
    pub(super) out: u32,
    /// Those that the peer has; without SACK, as many as there were duplicate acknowledgements.
    pub(super) sacked: u32,
    /// Those taken for lost.
    pub(super) lost: u32,
    /// Those with a repetition on its way.
    pub(super) repeated: u32,
    next_order: Order,
    /// No flight before this place waits to be repeated.
    repeat_from: usize,
}

impl Flights {
    /// `pipe` of RFC 6675: segments that are in the network, as far as one can know.
    #[inline]
    pub(super) fn in_flight(&self) -> u32 {
        (self.out + self.repeated).saturating_sub(self.sacked + self.lost)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn get(&self, index: usize) -> Flight {
        self.queue[index]
    }

    pub(super) fn first(&self) -> Option<&Flight> {
        self.queue.front()
    }

    /// The place of the first flight that ends after `seq`.
    pub(super) fn find(&self, seq: Seq) -> usize {
        self.queue.partition_point(|flight| flight.end.at_most(seq))
    }

    #[inline(always)]
    pub(super) fn push(&mut self, flight: Flight) {
        self.out += u32::from(flight.segments);
        let order = self.next_order;
        self.next_order = order.plus(1);
        self.queue.push_back(Flight { order, ..flight });
    }

    /// Drops what `ack` covers, and calls `each` with every flight dropped.
    #[inline(always)]
    pub(super) fn acknowledge(&mut self, ack: Seq, mss: u32, mut each: impl FnMut(&Flight)) {
        while let Some(&first) = self.queue.front() {
            if ack.before(first.end) {
                if first.start.before(ack) {
                    self.trim_first(ack, mss);
                }
                return;
            }
            self.queue.pop_front();
            self.out -= u32::from(first.segments);
            if first.marks != 0 {
                self.unmark(first.marks, first.segments);
            }
            each(&first);
            self.repeat_from = self.repeat_from.saturating_sub(1);
        }
    }

    /// A part of a train is acknowledged.
    #[cold]
    fn trim_first(&mut self, ack: Seq, mss: u32) {
        let first = &mut self.queue[0];
        let before = first.segments;
        first.start = ack;
        first.count(mss);
        let (gone, marks) = (before - first.segments, first.marks);
        self.out -= u32::from(gone);
        self.unmark(marks, gone);
    }

    #[cold]
    fn unmark(&mut self, marks: u8, segments: u16) {
        let count = |mark| if marks & mark != 0 { u32::from(segments) } else { 0 };
        self.sacked -= count(Flight::SACKED);
        self.lost -= count(Flight::LOST);
        self.repeated -= count(Flight::REPEATED);
    }

    fn set(&mut self, index: usize, marks: u8) {
        let flight = &mut self.queue[index];
        let (old, segments) = (flight.marks, flight.segments);
        flight.marks = marks;
        self.unmark(old, segments);
        let count = |mark| if marks & mark != 0 { u32::from(segments) } else { 0 };
        self.sacked += count(Flight::SACKED);
        self.lost += count(Flight::LOST);
        self.repeated += count(Flight::REPEATED);
    }

    /// The peer has it, whatever was thought of it.
    pub(super) fn mark_sacked(&mut self, index: usize) {
        self.set(index, Flight::SACKED);
    }

    /// It is taken for lost, its last repetition too. True if that is new.
    pub(super) fn mark_lost(&mut self, index: usize) -> bool {
        let marks = self.queue[index].marks;
        if marks == Flight::LOST {
            return false;
        }
        self.set(index, Flight::LOST);
        self.repeat_from = self.repeat_from.min(index);
        true
    }

    /// It was sent again.
    pub(super) fn mark_repeated(&mut self, index: usize, now: Time) {
        let marks = self.queue[index].marks | Flight::REPEATED;
        self.set(index, marks);
        let flight = &mut self.queue[index];
        flight.sent = now;
        flight.order = self.next_order;
        self.next_order = self.next_order.plus(1);
        flight.repeats = flight.repeats.saturating_add(1);
    }

    /// Everything that the peer has not said to have is taken for lost. With `reneged`, what it
    /// said counts no more (RFC 2018 §8).
    pub(super) fn mark_all_lost(&mut self, reneged: bool) {
        for index in 0..self.queue.len() {
            if reneged || !self.queue[index].is_sacked() {
                self.mark_lost(index);
            }
        }
        self.repeat_from = 0;
    }

    /// Nothing was lost after all.
    pub(super) fn unmark_lost(&mut self) {
        for index in 0..self.queue.len() {
            let marks = self.queue[index].marks & !Flight::LOST;
            self.set(index, marks);
        }
    }

    /// The first that is lost and not sent again.
    pub(super) fn next_lost(&mut self) -> Option<usize> {
        if self.lost == 0 {
            return None;
        }
        while let Some(flight) = self.queue.get(self.repeat_from) {
            if flight.is_lost() && !flight.is_repeated() {
                return Some(self.repeat_from);
            }
            self.repeat_from += 1;
        }
        None
    }

    /// Makes two flights of one: the first is of `length` bytes.
    pub(super) fn split(&mut self, index: usize, length: u32, mss: u32) {
        let mut head = self.queue[index];
        let marks = head.marks;
        self.set(index, 0);
        self.out -= u32::from(head.segments);
        let mut tail = head;
        head.end = head.start.plus(length);
        tail.start = head.end;
        for part in [&mut head, &mut tail] {
            part.count(mss);
            part.marks = 0;
            self.out += u32::from(part.segments);
        }
        self.queue[index] = head;
        self.queue.insert(index + 1, tail);
        self.set(index, marks);
        self.set(index + 1, marks);
    }

    /// Bytes of memory beyond its own.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.queue.held()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten() -> Flights {
        let mut flights = Flights::default();
        for n in 0..10 {
            flights.push(Flight::new(Seq(n * 100), Seq(n * 100 + 100), 100, Time::ZERO));
        }
        flights
    }

    fn counts(flights: &Flights) -> [u32; 4] {
        [flights.out, flights.sacked, flights.lost, flights.repeated]
    }

    #[test]
    fn the_counts_follow_the_marks() {
        let mut flights = ten();
        flights.mark_sacked(3);
        assert!(flights.mark_lost(0) && !flights.mark_lost(0));
        flights.mark_repeated(0, Time::ZERO);
        assert_eq!((counts(&flights), flights.in_flight()), ([10, 1, 1, 1], 9));
        assert!(flights.mark_lost(0), "its repetition is lost too");
        assert_eq!((counts(&flights), flights.in_flight()), ([10, 1, 1, 0], 8));
        assert_eq!(flights.next_lost(), Some(0));
        flights.mark_sacked(0);
        assert_eq!((counts(&flights), flights.next_lost()), ([10, 2, 0, 0], None));
        let mut dropped = 0;
        flights.acknowledge(Seq(450), 100, |_| dropped += 1);
        assert_eq!((dropped, counts(&flights)), (4, [6, 0, 0, 0]));
    }

    #[test]
    fn a_train_is_split_and_acknowledged_in_parts() {
        let mut flights = Flights::default();
        flights.push(Flight::new(Seq(0), Seq(1_001), 100, Time::ZERO));
        assert_eq!(flights.out, 11);
        flights.mark_lost(0);
        flights.split(0, 100, 100);
        assert_eq!((flights.len(), counts(&flights)), (2, [11, 0, 11, 0]));
        flights.acknowledge(Seq(350), 100, |_| {});
        assert_eq!((flights.len(), counts(&flights)), (1, [7, 0, 7, 0]));
    }
}
