//! Connections in TIME-WAIT: sixty seconds of memory of a connection that both sides have ended
//! (RFC 9293 §3.3.2), without a socket and without a timer.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sim_core::Time;

use super::segment::{Flags, Segment, Seq};
use super::stamps::Stamps;
use crate::address::Endpoint;
use crate::memory::{clear_map, clear_queue};

/// How long a connection stays (`TCP_TIMEWAIT_LEN`).
const DURATION: Duration = Duration::from_secs(60);

/// A connection's two ends: its own and its peer's.
pub(crate) type Pair = (Endpoint, Endpoint);

/// The TIME-WAIT connections of a host. They leave when somebody looks and their time is over.
#[derive(Debug, Default)]
pub(crate) struct TimeWaits {
    by_pair: BTreeMap<Pair, Rest>,
    /// In order of expiry, which is that of insertion. An entry whose time does not match the
    /// map's was replaced.
    expiries: VecDeque<(Time, Pair)>,
}

/// What a connection leaves behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remains {
    pub(super) snd_nxt: Seq,
    pub(super) rcv_nxt: Seq,
    pub(super) stamps: Stamps,
}

impl Remains {
    /// True if a segment opens the next connection of the pair: its number or its timestamp is newer
    /// than all that was heard, and the timestamp is not older (RFC 6191, RFC 9293 §3.10.7.4; Linux's
    /// `tcp_timewait_state_process`).
    fn are_succeeded_by(&self, segment: &Segment, now: Time) -> bool {
        segment.flags.has(Flags::SYN)
            && !segment.flags.has(Flags::ACK)
            && self.stamps.is_recent(segment, now, now)
            && (self.rcv_nxt.before(segment.seq) || self.stamps.is_newer(segment))
    }
}

/// What is left of a connection, and how long.
#[derive(Clone, Copy, Debug)]
struct Rest {
    remains: Remains,
    until: Time,
}

/// What TIME-WAIT makes of a segment.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// No such connection is remembered, or the segment opens its successor (RFC 9293 §3.6.1).
    Pass,
    /// It is answered.
    Answer(Segment),
    /// It is swallowed.
    Ignore,
}

impl TimeWaits {
    /// There are none.
    pub(crate) fn renew(&mut self) {
        let Self { by_pair, expiries } = self;
        clear_map(by_pair);
        clear_queue(expiries);
    }

    pub(crate) fn insert(&mut self, pair: Pair, remains: Remains, now: Time) {
        self.expire(now);
        let until = now + DURATION;
        self.by_pair.insert(pair, Rest { remains, until });
        self.expiries.push_back((until, pair));
    }

    fn expire(&mut self, now: Time) {
        while let Some(&(until, pair)) = self.expiries.front() {
            if until > now {
                break;
            }
            self.expiries.pop_front();
            if self.by_pair.get(&pair).is_some_and(|rest| rest.until == until) {
                self.by_pair.remove(&pair);
            }
        }
    }

    /// True if the pair is taken.
    pub(crate) fn holds(&mut self, pair: Pair, now: Time) -> bool {
        self.expire(now);
        self.by_pair.contains_key(&pair)
    }

    /// True if a connection on this local port is remembered whose address competes with `local`.
    pub(crate) fn holds_port(&mut self, local: Endpoint, now: Time) -> bool {
        self.expire(now);
        crate::ports::on_port(&self.by_pair, local.port)
            .any(|(pair, _)| pair.0.ip.overlaps(local.ip))
    }

    /// A segment arrived that no connection takes.
    pub(crate) fn on_segment(&mut self, pair: Pair, segment: &Segment, now: Time) -> Verdict {
        if self.by_pair.is_empty() {
            return Verdict::Pass;
        }
        self.expire(now);
        let Some(&Rest { remains, .. }) = self.by_pair.get(&pair) else {
            return Verdict::Pass;
        };
        if segment.flags.has(Flags::RST) {
            // As on Linux (`tcp_rfc1337` is off), one that is exact ends it.
            if segment.seq == remains.rcv_nxt {
                self.by_pair.remove(&pair);
            }
            return Verdict::Ignore;
        }
        if remains.are_succeeded_by(segment, now) {
            self.by_pair.remove(&pair);
            return Verdict::Pass;
        }
        if segment.len() == 0 {
            return Verdict::Ignore;
        }
        // The peer has not heard the last acknowledgement: its time begins anew. Not so for a SYN, which
        // may be that of a new connection whose numbers are lower.
        if segment.flags.has(Flags::ACK) {
            self.insert(pair, remains, now);
        }
        let Remains { snd_nxt, rcv_nxt, stamps } = remains;
        let timestamps = stamps.option(now);
        Verdict::Answer(Segment { timestamps, ..Segment::bare(snd_nxt, rcv_nxt, 0, Flags::ACK) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::Timestamps;
    use super::*;
    use crate::address::Ip;

    #[test]
    fn a_pair_is_held_for_sixty_seconds_and_no_longer() {
        let end = |port| Endpoint::new(Ip::v4(0x0a00_0001), port);
        let mut waits = TimeWaits::default();
        let remains = Remains { snd_nxt: Seq(0), rcv_nxt: Seq(0), stamps: Stamps::new(0) };
        waits.insert((end(1), end(2)), remains, Time::ZERO);
        let last = Time::ZERO + (DURATION - Duration::from_nanos(1));
        assert!(waits.holds((end(1), end(2)), last) && waits.holds_port(end(1), last));
        assert!(!waits.holds((end(1), end(3)), last) && !waits.holds_port(end(2), last));
        assert!(!waits.holds((end(1), end(2)), Time::ZERO + DURATION));
        assert!(waits.expiries.is_empty());
    }

    /// RFC 9293 §3.10.7.4, the second check: a reset exactly at RCV.NXT ends it, and no other does.
    /// As on Linux a SYN that opens nothing is answered, and does not have the time begin anew.
    #[test]
    fn a_reset_ends_it_and_a_syn_does_not_renew_it() {
        let pair = (Endpoint::new(Ip::v4(1), 1), Endpoint::new(Ip::v4(2), 2));
        let mut waits = TimeWaits::default();
        let mut stamps = Stamps::new(0);
        stamps.on = false;
        let remains = Remains { snd_nxt: Seq(70), rcv_nxt: Seq(500), stamps };
        let half = Time::ZERO + DURATION / 2;
        let segment = |seq, flags| Segment::bare(Seq(seq), Seq(70), 0, flags);
        waits.insert(pair, remains, Time::ZERO);
        let verdict = waits.on_segment(pair, &segment(499, Flags::SYN), half);
        assert!(matches!(verdict, Verdict::Answer(answer) if answer.ack == Seq(500)));
        for seq in [499, 501] {
            let verdict = waits.on_segment(pair, &segment(seq, Flags::RST), half);
            assert!(matches!(verdict, Verdict::Ignore) && waits.holds(pair, half));
        }
        assert!(!waits.holds(pair, Time::ZERO + DURATION));
        waits.insert(pair, remains, Time::ZERO);
        waits.on_segment(pair, &segment(499, Flags::FIN.with(Flags::ACK)), half);
        assert!(waits.holds(pair, Time::ZERO + DURATION), "the peer has not heard the end");
        let verdict = waits.on_segment(pair, &segment(500, Flags::RST), half);
        assert!(matches!(verdict, Verdict::Ignore) && !waits.holds(pair, half));
    }

    /// RFC 6191: what is newer by its number or its timestamp opens the next connection; what is older by
    /// its timestamp, or no newer by either, is an old duplicate.
    #[test]
    fn a_syn_with_a_newer_number_or_timestamp_opens_the_next_connection() {
        let pair = (Endpoint::new(Ip::v4(1), 1), Endpoint::new(Ip::v4(2), 2));
        let opens = |seq, value: Option<u32>, flags: Flags| {
            let timestamps = value.map(|value| Timestamps { value, echo: 0 });
            let said =
                |seq, flags| Segment { timestamps, ..Segment::bare(Seq(seq), Seq(0), 0, flags) };
            let mut stamps = Stamps::new(0);
            let old = Some(Timestamps { value: u32::MAX, echo: 0 });
            stamps.begin(&Segment { timestamps: old, ..said(0, Flags::SYN) });
            let mut waits = TimeWaits::default();
            let remains = Remains { snd_nxt: Seq(70), rcv_nxt: Seq(500), stamps };
            waits.insert(pair, remains, Time::ZERO);
            let verdict = waits.on_segment(pair, &said(seq, flags), Time::ZERO);
            let passes = matches!(verdict, Verdict::Pass);
            assert_eq!(waits.holds(pair, Time::ZERO), !passes);
            assert!(passes || matches!(verdict, Verdict::Answer(answer) if answer.ack == Seq(500)));
            passes
        };
        for (seq, value, wanted) in [
            (501, Some(u32::MAX), true),
            (500, Some(u32::MAX), false),
            (500, Some(0), true),
            (0, Some(5), true),
            (501, Some(u32::MAX - 1), false),
            (501, None, true),
            (500, None, false),
        ] {
            assert_eq!(opens(seq, value, Flags::SYN), wanted, "{seq} {value:?}");
        }
        assert!(!opens(501, Some(5), Flags::SYN.with(Flags::ACK)));
    }
}
