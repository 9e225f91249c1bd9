//! What a sender does when something is missing: SACK (RFC 2018, RFC 6675) or NewReno (RFC 6582),
//! proportional rate reduction (RFC 6937), timeouts (RFC 6298 §5), and taking a reduction back
//! when the loss was none (RFC 3522, RFC 3708).
//!
//! All of it is off the path of a stream that loses nothing: [`Trouble`] exists from the first
//! sign until a round trip after the last.

use sim_core::Time;

use super::flights::Flight;
use super::rack::{DUPLICATES, Latest};
use super::rtt::between;
use super::segment::{Block, Sacks, Segment, Seq};
use super::send::{Alarm, Cut, End, Sender};
use crate::buffer::Pool;
use crate::tcp::segment::Flags;

/// How bad it is, in Linux's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(super) enum Phase {
    /// Nothing is known to be missing.
    Open,
    /// Something was overtaken or repeated.
    Disorder,
    /// A loss was found: the window shrinks while it is repaired.
    Recovery,
    /// The retransmission timer ran out: slow start from one segment.
    Loss,
}

/// The state of a sender that misses something.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) phase: Phase,
    /// SND.NXT when the phase began: it is over when this is acknowledged.
    high: Seq,
    /// Window and threshold before it, to go back to; `None` if there is nothing to take back.
    before: Option<(u32, u32)>,
    /// The window before it, which the reduction is in proportion to.
    window_before: u32,
    /// Segments delivered, and sent, since recovery began.
    delivered: u32,
    pub(super) sent: u32,
    /// SND.UNA when it began, while the reduction may be taken back.
    undo_from: Option<Seq>,
    /// Repetitions that the peer has not reported as duplicates; `None` before the first.
    undo_repeats: Option<u32>,
    /// When something was first sent again in this phase.
    pub(super) first_repeat: Option<Time>,
    /// When something was first sent again since the peer last acknowledged anything.
    pub(super) stalled_since: Option<Time>,
    /// Timeouts since the peer last acknowledged anything.
    pub(super) timeouts: u8,
    latest: Latest,
    /// The end of the highest block that the peer has.
    highest_sacked: Seq,
    /// The blocks that are marked.
    marked: Sacks,
    /// A loss probe is out: SND.NXT then, and whether it repeated data.
    probe: Option<(Seq, bool)>,
}

/// What an acknowledgement says.
#[derive(Default)]
struct News {
    /// Segments that are delivered by it.
    delivered: u32,
    /// Of segments sent once: the round trip of the first and of the last acknowledged.
    first_rtt: Option<u64>,
    last_rtt: Option<u64>,
    /// The same for segments in SACK blocks.
    sacked_rtt: Option<u64>,
    /// It acknowledges something that was sent again.
    acks_repeated: bool,
    /// It has a SACK block that is new.
    has_sacked: bool,
    /// It reports a duplicate.
    has_duplicate: bool,
    advances: bool,
    /// It is a duplicate acknowledgement (RFC 5681 §2).
    is_duplicate: bool,
}

impl Trouble {
    pub(super) fn new(una: Seq, high: Seq) -> Self {
        Self {
            phase: Phase::Open,
            high,
            before: None,
            window_before: 0,
            delivered: 0,
            sent: 0,
            undo_from: None,
            undo_repeats: None,
            first_repeat: None,
            stalled_since: None,
            timeouts: 0,
            latest: Latest::new(),
            highest_sacked: una,
            marked: Sacks::default(),
            probe: None,
        }
    }

    /// True if a loss probe may help: nothing else is under way.
    pub(super) fn may_probe(&self) -> bool {
        self.phase == Phase::Open && self.probe.is_none() && self.timeouts == 0
    }

    /// A loss probe goes out.
    pub(super) fn on_probe(&mut self, nxt: Seq, repeats: bool) {
        self.probe = Some((nxt, repeats));
    }

    /// True if the reduction was for nothing: all repetitions were duplicates, or the peer answers
    /// what was sent before the first of them (RFC 3522).
    fn may_undo(&self, echo: Option<u32>) -> bool {
        self.undo_from.is_some() && (self.undo_repeats == Some(0) || self.answers_first(echo))
    }

    fn answers_first(&self, echo: Option<u32>) -> bool {
        let (Some(first), Some(echo)) = (self.first_repeat, echo) else {
            return false;
        };
        (echo.wrapping_sub(millis(first)) as i32) < 0
    }
}

/// The clock of timestamps, without the connection's offset.
pub(super) fn millis(now: Time) -> u32 {
    (now.as_nanos() / 1_000_000) as u32
}

impl Sender {
    /// An acknowledgement while something is missing, or the first sign that something is.
    #[cold]
    pub(super) fn on_ack_in_trouble(&mut self, segment: &Segment, now: Time, pool: &mut Pool) {
        let fresh = || Box::new(Trouble::new(self.una, self.nxt));
        let mut trouble = self.trouble.take().unwrap_or_else(fresh);
        self.take_ack(&mut trouble, segment, now, pool);
        let needed = trouble.phase != Phase::Open
            || self.flights.sacked + self.flights.lost + self.flights.repeated > 0
            || trouble.probe.is_some()
            || trouble.timeouts > 0
            // It may have lasted so long that its number lies ahead again.
            || self.una.before(trouble.high) && trouble.high.at_most(self.nxt);
        if needed {
            self.trouble = Some(trouble);
        }
    }

    fn take_ack(&mut self, t: &mut Trouble, segment: &Segment, now: Time, pool: &mut Pool) {
        let ack = segment.ack;
        let mut news = News { advances: self.una.before(ack), ..News::default() };
        let window = self.wnd;
        self.set_window(segment.seq, ack, segment.window);
        let says_nothing =
            !news.advances && ack == self.una && segment.len() == 0 && self.wnd == window;
        news.is_duplicate = says_nothing && self.flights.out > 0;
        self.counters.duplicate_acks += u64::from(news.is_duplicate);
        if let Some(sacks) = segment.sacks.as_deref().filter(|_| self.sack) {
            self.take_sacks(t, sacks, ack, &mut news, now);
        }
        if news.advances {
            self.take_cumulative(t, ack, &mut news, now, pool);
        } else if ack.before(self.una) && !news.has_sacked {
            return;
        }
        let echo = segment.timestamps.map(|timestamps| timestamps.echo);
        self.sample(&news, echo, now);
        self.judge_probe(t, ack, &news);
        let progress =
            news.advances || news.sacked_rtt.is_some_and(|rtt| self.outlives_first(rtt, now));
        if progress {
            self.set_alarm_beside(t, now);
        }
        let lost = self.flights.lost;
        self.decide(t, &mut news, echo, now);
        if t.phase == Phase::Recovery {
            self.reduce(t, &news, self.flights.lost > lost);
        } else if news.advances && news.delivered > 0 && self.is_window_limited() {
            self.congestion.grow(news.delivered, self.rtt.min(), now);
        }
    }

    /// Sets the timer as [`set_alarm`](Self::set_alarm) does, with the trouble in hand.
    fn set_alarm_beside(&mut self, t: &Trouble, now: Time) {
        let probes = std::mem::replace(&mut self.loss_probes, false);
        self.loss_probes = probes && t.may_probe();
        self.set_alarm(now, true);
        self.loss_probes = probes;
    }

    /// True if `rtt` is longer than the first segment has been under way: it was measured on one
    /// sent before, and the timer may start anew.
    fn outlives_first(&self, rtt: u64, now: Time) -> bool {
        self.flights.first().is_some_and(|first| rtt > between(first.sent, now))
    }

    // What the peer has.

    /// Marks what the SACK blocks say (RFC 2018 §4, RFC 2883 §4).
    fn take_sacks(&mut self, t: &mut Trouble, sacks: &Sacks, ack: Seq, news: &mut News, now: Time) {
        let blocks = sacks.blocks();
        let repeats_ack = |first: Block| first.end.at_most(ack);
        let in_second = |first: Block| blocks.get(1).is_some_and(|second| second.contains(first));
        let duplicate = blocks.first().copied().filter(|&b| repeats_ack(b) || in_second(b));
        if let Some(duplicate) = duplicate {
            self.take_duplicate(t, duplicate, news);
        }
        for &block in &blocks[usize::from(duplicate.is_some())..] {
            let is_valid = block.start.before(block.end)
                && self.una.before(block.end)
                && block.end.at_most(self.nxt);
            if is_valid {
                self.take_block(t, block, news, now);
            }
        }
        t.marked = Sacks::default();
        blocks[usize::from(duplicate.is_some())..].iter().for_each(|&block| t.marked.push(block));
    }

    fn take_duplicate(&mut self, t: &mut Trouble, block: Block, news: &mut News) {
        news.has_duplicate = true;
        let segments = block.end.since(block.start).div_ceil(self.mss.max(1)).max(1);
        self.counters.spurious += u64::from(segments.min(u32::from(u16::MAX)));
        if t.undo_from.is_some_and(|from| from.before(block.end))
            && let Some(repeats) = &mut t.undo_repeats
        {
            *repeats = repeats.saturating_sub(segments);
        }
        self.reordering.widen(self.una, self.nxt);
    }

    fn take_block(&mut self, t: &mut Trouble, block: Block, news: &mut News, now: Time) {
        let known = t
            .marked
            .blocks()
            .iter()
            .find(|known| known.start.at_most(block.start) && block.start.before(known.end));
        let from = known.map_or(block.start, |known| known.end);
        let mut index = self.flights.find(from);
        while index < self.flights.len() {
            let flight = self.flights.get(index);
            if !flight.end.at_most(block.end) {
                break;
            }
            if !flight.is_sacked() && block.start.at_most(flight.start) {
                self.take_sacked(t, index, &flight, news, now);
            }
            index += 1;
        }
        t.highest_sacked = t.highest_sacked.max(block.end);
    }

    fn take_sacked(
        &mut self,
        t: &mut Trouble,
        index: usize,
        flight: &Flight,
        news: &mut News,
        now: Time,
    ) {
        if flight.repeats == 0 {
            self.reordering.seen |= flight.start.before(t.highest_sacked);
            news.sacked_rtt = news.sacked_rtt.or(Some(between(flight.sent, now)));
        }
        t.latest.on_delivered(flight, self.rtt.min(), now);
        self.flights.mark_sacked(index);
        news.delivered += u32::from(flight.segments);
        news.has_sacked = true;
        self.counters.sacked += u64::from(flight.segments);
    }

    /// Takes the cumulative acknowledgement.
    fn take_cumulative(
        &mut self,
        t: &mut Trouble,
        ack: Seq,
        news: &mut News,
        now: Time,
        pool: &mut Pool,
    ) {
        let (out, min_rtt, sack) = (self.flights.out, self.rtt.min(), self.sack);
        let virtual_sacks = if sack { 0 } else { std::mem::take(&mut self.flights.sacked) };
        let mut sacked_before = 0;
        let mut reordered = false;
        self.flights.acknowledge(ack, self.mss, |flight| {
            if flight.is_sacked() {
                sacked_before += u32::from(flight.segments);
                return;
            }
            t.latest.on_delivered(flight, min_rtt, now);
            if flight.repeats > 0 {
                news.acks_repeated = true;
            } else {
                let rtt = between(flight.sent, now);
                news.first_rtt = news.first_rtt.or(Some(rtt));
                news.last_rtt = Some(rtt);
                reordered |= sack && flight.start.before(t.highest_sacked);
            }
        });
        self.reordering.seen |= reordered;
        let acked = out - self.flights.out;
        news.delivered += acked - sacked_before;
        if !sack {
            // One of them was the hole; the duplicates before were for the others.
            let left = virtual_sacks.saturating_sub(acked.saturating_sub(1));
            self.flights.sacked = left.min(self.flights.out.saturating_sub(1));
            news.delivered = news.delivered.saturating_sub(virtual_sacks - left);
        }
        self.forget(ack, pool);
        self.una = ack;
        t.highest_sacked = t.highest_sacked.max(ack);
        (t.timeouts, t.stalled_since) = (0, None);
    }

    /// RFC 6298 §3: no sample from an acknowledgement of what was sent again, save what the
    /// timestamp says, which may be a long time (L-114).
    fn sample(&mut self, news: &News, echo: Option<u32>, now: Time) {
        let measured = news.first_rtt.filter(|_| !news.acks_repeated).or(news.sacked_rtt);
        let echoed = || {
            let echo = echo.filter(|_| news.advances)?;
            Some(u64::from(millis(now).wrapping_sub(echo).max(1)) * 1_000_000)
        };
        if let Some(rtt) = measured.or_else(echoed) {
            self.rtt.sample(rtt, self.una, self.nxt);
            self.backoff = 0;
        }
    }

    // What is to be done.

    fn decide(&mut self, t: &mut Trouble, news: &mut News, echo: Option<u32>, now: Time) {
        if t.phase == Phase::Recovery && !self.una.before(t.high) {
            if self.end_phase(t, echo) {
                return;
            }
            if t.before.is_some() {
                self.congestion.window = self.congestion.threshold;
            }
            self.reordering.on_recovered();
        }
        match t.phase {
            Phase::Recovery => {
                if news.advances {
                    if self.undo_partial(t, echo) {
                        return;
                    }
                } else {
                    self.count_duplicate(news);
                }
                if t.undo_from.is_some() && t.undo_repeats == Some(0) {
                    self.undo(t, true);
                    t.phase = Phase::Open;
                    return;
                }
                self.find_losses(t, news, now);
            }
            Phase::Loss => {
                if news.advances && t.may_undo(echo) {
                    self.undo(t, true);
                    t.phase = Phase::Open;
                } else if !self.una.before(t.high) {
                    self.end_phase(t, echo);
                } else if news.is_duplicate && t.high.before(self.nxt) {
                    self.count_duplicate(news);
                }
                self.find_losses(t, news, now);
            }
            Phase::Open | Phase::Disorder => {
                if !self.sack && news.advances {
                    self.flights.sacked = 0;
                }
                self.count_duplicate(news);
                if t.undo_from.is_some() && t.undo_repeats == Some(0) {
                    self.undo(t, false);
                }
                self.find_losses(t, news, now);
                if self.flights.lost > 0 {
                    self.enter_recovery(t);
                } else {
                    let odd = self.flights.sacked > 0 || self.flights.repeated > 0;
                    t.phase = if odd { Phase::Disorder } else { Phase::Open };
                }
            }
        }
    }

    /// Without SACK a duplicate acknowledgement stands for a segment that arrived (RFC 5681 §3.2,
    /// RFC 6937 §3).
    fn count_duplicate(&mut self, news: &mut News) {
        let most = self.flights.out.saturating_sub(1);
        if !self.sack && news.is_duplicate && self.flights.sacked < most {
            self.flights.sacked += 1;
            news.delivered += 1;
        }
    }

    fn find_losses(&mut self, t: &mut Trouble, news: &News, now: Time) {
        if self.sack {
            self.detect_losses(&t.latest, t.phase >= Phase::Recovery, now);
            return;
        }
        // RFC 6582: the third duplicate shows the first hole, a partial acknowledgement the next.
        let shown = match t.phase {
            Phase::Open | Phase::Disorder => self.flights.sacked >= DUPLICATES,
            Phase::Recovery => news.advances,
            Phase::Loss => false,
        };
        if shown && self.flights.first().is_some_and(|first| !first.is_lost()) {
            self.mark_first_lost();
        }
    }

    fn mark_first_lost(&mut self) {
        let mss = self.mss;
        let first = self.flights.get(0);
        if first.end.since(first.start) > mss.saturating_add(1) {
            self.flights.split(0, mss, mss);
        }
        self.flights.mark_lost(0);
    }

    /// Fast retransmit (RFC 5681 §3.2, RFC 6675 §5).
    fn enter_recovery(&mut self, t: &mut Trouble) {
        self.begin_reduction(t);
        (t.window_before, t.delivered, t.sent) = (self.congestion.window, 0, 0);
        t.phase = Phase::Recovery;
        t.high = self.nxt;
        self.congestion.on_loss();
        self.counters.fast_recoveries += 1;
    }

    /// Remembers what may have to be restored.
    fn begin_reduction(&mut self, t: &mut Trouble) {
        if self.flights.repeated == 0 {
            t.first_repeat = None;
        }
        t.before = Some((self.congestion.window, self.congestion.threshold));
        t.undo_from = Some(self.una);
        t.undo_repeats = Some(self.flights.repeated).filter(|&count| count > 0);
    }

    /// Proportional rate reduction (RFC 6937): the window goes down to the threshold in proportion
    /// to what is delivered.
    fn reduce(&mut self, t: &mut Trouble, news: &News, lost_more: bool) {
        if news.delivered == 0 || t.window_before == 0 {
            return;
        }
        t.delivered += news.delivered;
        let in_flight = self.flights.in_flight();
        let threshold = self.congestion.threshold;
        let room = if in_flight > threshold {
            let share = u64::from(threshold) * u64::from(t.delivered);
            (share.div_ceil(u64::from(t.window_before)) as u32).saturating_sub(t.sent)
        } else {
            let mut room = t.delivered.saturating_sub(t.sent).max(news.delivered);
            if news.advances && !lost_more {
                room += 1;
            }
            room.min(threshold - in_flight)
        };
        // The first repetition goes out at once.
        let room = room.max(u32::from(t.sent == 0));
        self.congestion.window = (in_flight + room).max(1);
    }

    /// Everything up to `high` is acknowledged. True if the phase goes on all the same: without
    /// SACK, late duplicates would look like a new loss (RFC 6582 §6).
    fn end_phase(&mut self, t: &mut Trouble, echo: Option<u32>) -> bool {
        if t.may_undo(echo) {
            self.undo(t, false);
        }
        if !self.sack {
            self.flights.sacked = 0;
            if self.una == t.high && self.flights.out > 0 {
                return true;
            }
        }
        t.phase = Phase::Open;
        // For a round trip the peer may still report that a repetition was needless.
        t.high = self.nxt;
        t.first_repeat = None;
        false
    }

    /// A partial acknowledgement that answers the first copy: reordering, not loss.
    fn undo_partial(&mut self, t: &mut Trouble, echo: Option<u32>) -> bool {
        if t.undo_from.is_none() || !t.answers_first(echo) {
            return false;
        }
        self.reordering.seen = true;
        if self.flights.repeated > 0 {
            return true;
        }
        self.undo(t, true);
        t.phase = Phase::Open;
        true
    }

    fn undo(&mut self, t: &mut Trouble, unmark: bool) {
        if unmark {
            self.flights.unmark_lost();
        }
        if let Some((window, threshold)) = t.before.take() {
            self.congestion.undo(window, threshold);
        }
        t.undo_from = None;
        t.first_repeat = None;
    }

    // Probes and timeouts.

    /// What an acknowledgement says of the loss probe that is out (RFC 8985 §7.4).
    fn judge_probe(&mut self, t: &mut Trouble, ack: Seq, news: &News) {
        let Some((high, repeats)) = t.probe.filter(|&(high, _)| high.at_most(ack)) else {
            return;
        };
        if !repeats || news.has_duplicate {
            t.probe = None;
        } else if high.before(ack) || news.advances {
            // Only the probe can have repaired it: a loss without any other sign.
            t.probe = None;
            if t.phase == Phase::Open || t.phase == Phase::Disorder {
                self.congestion.on_loss();
                self.congestion.window = self.congestion.threshold;
            }
        } else if news.is_duplicate {
            t.probe = None;
        }
    }

    /// The time has come for overtaken segments.
    pub(super) fn on_reordering_alarm(&mut self, now: Time) {
        let Some(mut trouble) = self.trouble.take() else {
            // It is over since the alarm was set.
            self.set_alarm(now, false);
            return;
        };
        let lost = self.flights.lost;
        self.alarm = Alarm::Off;
        self.detect_losses(&trouble.latest, trouble.phase >= Phase::Recovery, now);
        if self.flights.lost > lost && trouble.phase < Phase::Recovery {
            self.enter_recovery(&mut trouble);
            self.congestion.window = self.flights.in_flight() + 1;
        }
        self.trouble = Some(trouble);
        if self.alarm == Alarm::Off {
            self.set_alarm(now, false);
        }
    }

    /// The retransmission timer has run out (RFC 6298 §5.4 to §5.6): everything is taken for lost,
    /// and the first segment goes out again.
    pub(super) fn on_timeout(&mut self, now: Time) {
        let fresh = || Box::new(Trouble::new(self.una, self.nxt));
        let mut trouble = self.trouble.take().unwrap_or_else(fresh);
        let t = &mut *trouble;
        self.counters.timeouts += 1;
        let anew = t.phase < Phase::Recovery
            || !self.una.before(t.high)
            || t.phase == Phase::Loss && t.timeouts == 0;
        if anew {
            self.begin_reduction(t);
            self.congestion.on_loss();
        }
        let reneged = !self.sack || self.flights.first().is_some_and(Flight::is_sacked);
        if !self.sack {
            self.flights.sacked = 0;
        }
        self.flights.mark_all_lost(reneged);
        if reneged {
            t.marked = Sacks::default();
        }
        self.congestion.on_timeout();
        self.congestion.window = self.flights.in_flight() + 1;
        t.phase = Phase::Loss;
        t.high = self.nxt;
        t.probe = None;
        t.timeouts = t.timeouts.saturating_add(1);
        // It counts as sent again even if it is the window that holds it back.
        t.stalled_since = t.stalled_since.or(Some(now));
        self.trouble = Some(trouble);
        self.backoff = self.backoff.saturating_add(1);
        self.set_alarm(now, true);
    }

    /// The path takes smaller segments: those that were too large are sent again, and nobody is
    /// to blame (RFC 1191 §6.4).
    pub(super) fn lower_mss(&mut self, mss: u32) {
        self.mss = mss;
        let mut index = 0;
        while index < self.flights.len() {
            let flight = self.flights.get(index);
            if !flight.is_sacked() && self.data_in(flight.start, flight.end) > mss as usize {
                self.flights.mark_lost(index);
            }
            index += 1;
        }
        if self.flights.lost > 0 && self.trouble.is_none() {
            let mut trouble = Box::new(Trouble::new(self.una, self.nxt));
            trouble.phase = Phase::Loss;
            self.trouble = Some(trouble);
        }
    }

    // Sending again.

    /// The next segment to send again, if the window lets it out.
    #[cold]
    pub(super) fn repeat_lost(
        &mut self,
        size_max: usize,
        now: Time,
        pool: &mut Pool,
    ) -> Option<Cut> {
        let index = self.flights.next_lost()?;
        if self.flights.in_flight() >= self.congestion.window {
            return None;
        }
        Some(self.repeat(index, size_max, now, pool))
    }

    /// Sends a flight again, or its first `size_max` bytes.
    pub(super) fn repeat(
        &mut self,
        index: usize,
        size_max: usize,
        now: Time,
        pool: &mut Pool,
    ) -> Cut {
        let mut flight = self.flights.get(index);
        let size_max = size_max.max(self.mss as usize);
        if self.data_in(flight.start, flight.end) > size_max {
            self.flights.split(index, size_max as u32, self.mss);
            flight = self.flights.get(index);
        }
        self.flights.mark_repeated(index, now);
        self.counters.retransmissions += 1;
        if let Some(t) = &mut self.trouble {
            t.first_repeat = t.first_repeat.or(Some(now));
            t.stalled_since = t.stalled_since.or(Some(now));
            t.undo_repeats = Some(t.undo_repeats.unwrap_or(0) + u32::from(flight.segments));
            t.sent += u32::from(flight.segments);
        }
        let data = self.data_in(flight.start, flight.end);
        let payload = (data > 0).then(|| self.copy(flight.start, data, pool));
        let fin = flight.end.since(flight.start) as usize > data;
        debug_assert!(!fin || self.end == End::Sent);
        let flags = if fin { Flags::FIN } else { Flags::default() };
        // The timer watches the first segment, from when it was last sent; a timeout has set it.
        let timed_out = self.trouble.as_ref().is_some_and(|t| t.phase == Phase::Loss);
        if index == 0 && !timed_out && self.alarm != Alarm::Reordering {
            self.set_alarm(now, true);
        }
        Cut { seq: flight.start, payload, flags, attempt: flight.repeats + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::segment::Flags;
    use super::*;

    /// Trouble that has lasted for 2 GiB and more ends with its last sign.
    #[test]
    fn trouble_is_over_however_long_it_has_lasted() {
        for behind in [0, 1, 1 << 31, 3 << 30] {
            let (now, mut pool) = (Time::ZERO, Pool::default());
            let mut sender = Sender::new(Seq(99), &Config::new(100));
            sender.una = sender.nxt;
            sender.set_first_window(Seq(1), sender.una, 1_000);
            sender.write(&[1; 100], &mut pool);
            assert!(sender.next(100, now, &mut pool).is_some());
            let high = sender.nxt.minus(behind);
            sender.trouble = Some(Box::new(Trouble::new(sender.una, high)));
            let answer = Segment::bare(Seq(1), sender.nxt, 1_000, Flags::ACK);
            sender.on_ack(&answer, now, &mut pool);
            assert!(sender.trouble.is_none(), "{behind} behind");
        }
    }
}
