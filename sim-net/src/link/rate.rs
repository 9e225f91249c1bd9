//! How fast a link takes packets, and which wait.

use std::collections::VecDeque;

use sim_core::Time;

use crate::link::LinkError;

/// How many packets wait at most, unless a queue says otherwise (netem's and Linux's own default).
pub(super) const QUEUE_PACKETS: u32 = 1_000;
/// Nanoseconds of a second, times bits of a byte.
const BYTE_NANOS: u128 = 8_000_000_000;

/// The bandwidth of a link, with a token bucket and the queue before it, which drops at its tail.
///
/// A packet counts with its headers from IP on: a full segment has 1500 bytes. It leaves when its
/// last bit is sent. `burst` bytes go at once after an idle time; in any time t no more than
/// burst + rate · t bytes leave. The queue holds what waits and what is being sent.
///
/// ```
/// use sim_net::Rate;
///
/// let dsl = Rate::bits_per_second(16_000_000)?.burst(15_000).queue_packets(100)?;
/// assert!(Rate::bits_per_second(0).is_err());
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    pub(super) bits: u64,
    pub(super) burst: u64,
    pub(super) queue_packets: u32,
    pub(super) queue_bytes: Option<u64>,
}

impl Rate {
    /// So many bits each second, no burst, and a queue of 1000 packets.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if it is 0: then nothing would ever arrive. A partition is for that.
    pub fn bits_per_second(bits: u64) -> Result<Self, LinkError> {
        if bits == 0 {
            let problem = "a rate of 0 would keep every packet for ever: ask for at least 1bit, or \
                           cut the link with a partition";
            return Err(LinkError::value("rate", problem));
        }
        Ok(Self { bits, burst: 0, queue_packets: QUEUE_PACKETS, queue_bytes: None })
    }

    /// Sets how many bytes leave at once after an idle time.
    #[must_use]
    pub fn burst(mut self, bytes: u64) -> Self {
        self.burst = bytes;
        self
    }

    /// Sets how many packets the queue holds.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if it is 0: nothing would pass.
    pub fn queue_packets(mut self, packets: u32) -> Result<Self, LinkError> {
        if packets == 0 {
            let problem =
                "a queue of 0 packets passes nothing: it holds at least the 1 that is sent";
            return Err(LinkError::value("queue", problem));
        }
        self.queue_packets = packets;
        Ok(self)
    }

    /// Sets how many bytes the queue holds: no limit by default.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if it is below 64: not even an empty segment would pass.
    pub fn queue_bytes(mut self, bytes: u64) -> Result<Self, LinkError> {
        if bytes < 64 {
            let problem = format!(
                "a queue of {bytes} bytes passes nothing: it holds at least 64, or better a full \
                 packet of 1500"
            );
            return Err(LinkError::value("queue", problem));
        }
        self.queue_bytes = Some(bytes);
        Ok(self)
    }

    /// How long `bytes` take, in nanoseconds, rounded down.
    fn nanos(&self, bytes: u64) -> u64 {
        let nanos = u128::from(bytes) * BYTE_NANOS / u128::from(self.bits);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// A rate at work: what has been sent, and what waits.
#[derive(Debug)]
pub(crate) struct Gate {
    rate: Rate,
    /// When the last bit of everything admitted is sent, if there were no burst: nanoseconds, and
    /// the part of a nanosecond in units of 1/bits.
    finish: (u64, u64),
    /// What waits: when it leaves, and its size.
    waiting: VecDeque<(Time, u32)>,
    waiting_bytes: u64,
}

impl Gate {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, finish: (0, 0), waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    /// Changes the rate at `now`. What was admitted leaves as it would have.
    pub(crate) fn set_rate(&mut self, now: Time, rate: Rate) {
        let old = std::mem::replace(&mut self.rate, rate);
        let finish = self.finish.0.saturating_add(u64::from(self.finish.1 > 0));
        let done = finish.saturating_sub(old.nanos(old.burst));
        self.finish = if done > now.as_nanos() {
            // Who waits has left nothing of the burst, and what comes next is behind it.
            (done.saturating_add(rate.nanos(rate.burst)), 0)
        } else {
            // What of the burst is used up is so many bytes, which come back at the new rate.
            let used = u128::from(finish.saturating_sub(now.as_nanos())) * u128::from(old.bits);
            let used = used.min(u128::from(rate.burst) * BYTE_NANOS);
            let (nanos, part) = (used / u128::from(rate.bits), used % u128::from(rate.bits));
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            (now.as_nanos().saturating_add(nanos), part as u64)
        };
    }

    /// A packet of `size` bytes comes at `now`: when it leaves, or `None` if the queue is full.
    pub(crate) fn admit(&mut self, now: Time, size: u32) -> Option<Time> {
        while let Some(&(leaves, size)) = self.waiting.front()
            && leaves <= now
        {
            self.waiting.pop_front();
            self.waiting_bytes -= u64::from(size);
        }
        let start = self.finish.max((now.as_nanos(), 0));
        let bits = u128::from(self.rate.bits);
        let work = u128::from(size) * BYTE_NANOS + u128::from(start.1);
        let nanos = u64::try_from(work / bits).unwrap_or(u64::MAX);
        let finish = (start.0.saturating_add(nanos), (work % bits) as u64);
        let whole = finish.0.saturating_add(u64::from(finish.1 > 0));
        let leaves = whole.saturating_sub(self.rate.nanos(self.rate.burst)).max(now.as_nanos());
        let leaves = Time::from_nanos(leaves);
        if leaves > now {
            let bytes = self.waiting_bytes + u64::from(size);
            let is_full = self.waiting.len() >= self.rate.queue_packets as usize
                || self.rate.queue_bytes.is_some_and(|most| bytes > most);
            if is_full {
                return None;
            }
            self.waiting.push_back((leaves, size));
            self.waiting_bytes = bytes;
        }
        self.finish = finish;
        Some(leaves)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gate(rate: Rate) -> Gate {
        Gate::new(rate)
    }

    const fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn packets_leave_one_after_the_other() {
        // 1500 bytes take 1.2 ms.
        let mut gate = gate(Rate::bits_per_second(10_000_000).unwrap());
        for n in 1..=5 {
            assert_eq!(gate.admit(at(0), 1_500), Some(at(n * 1_200_000)));
        }
        assert_eq!(gate.admit(at(100_000_000), 1_500), Some(at(101_200_000)));
    }

    #[test]
    fn parts_of_a_nanosecond_add_up() {
        // A byte takes 8/3 ns.
        let mut gate = gate(Rate::bits_per_second(3_000_000_000).unwrap());
        let leaves: Vec<u64> = (0..6).map(|_| gate.admit(at(0), 1).unwrap().as_nanos()).collect();
        assert_eq!(leaves, [3, 6, 8, 11, 14, 16]);
    }

    #[test]
    fn the_queue_holds_so_many_packets_and_not_one_more() {
        let rate = Rate::bits_per_second(8_000_000).unwrap().queue_packets(3).unwrap();
        let mut gate = gate(rate);
        let taken = (0..5).filter(|_| gate.admit(at(0), 1_000).is_some()).count();
        assert_eq!(taken, 3);
        // A thousand bytes take a millisecond: then there is room for one.
        assert_eq!(gate.admit(at(999_999), 1_000), None);
        assert_eq!(gate.admit(at(1_000_000), 1_000), Some(at(4_000_000)));
        assert_eq!(gate.admit(at(1_000_000), 1_000), None);
    }

    #[test]
    fn the_queue_holds_so_many_bytes_and_not_one_more() {
        let rate = Rate::bits_per_second(8_000_000).unwrap().queue_bytes(2_500).unwrap();
        let mut gate = gate(rate);
        assert!(gate.admit(at(0), 2_000).is_some());
        assert!(gate.admit(at(0), 501).is_none());
        assert!(gate.admit(at(0), 500).is_some());
    }

    #[test]
    fn a_burst_goes_at_once_and_comes_back_with_time() {
        let mut gate = gate(Rate::bits_per_second(8_000_000).unwrap().burst(3_000));
        let leaves: Vec<u64> =
            (0..5).map(|_| gate.admit(at(0), 1_000).unwrap().as_nanos()).collect();
        assert_eq!(leaves, [0, 0, 0, 1_000_000, 2_000_000]);
        // Four milliseconds after it was empty it is full again.
        let again = at(10_000_000);
        assert!((0..3).all(|_| gate.admit(again, 1_000) == Some(again)));
        assert!(gate.admit(again, 1_000) > Some(again));
    }

    fn rate(bits: u64, burst: u64) -> Rate {
        Rate::bits_per_second(bits).unwrap().burst(burst)
    }

    /// Nine of ten thousand bytes are used up: that is no time that another rate would have to sit out.
    #[test]
    fn a_burst_that_is_used_up_stalls_no_other_rate() {
        let used_up = || {
            let mut gate = gate(rate(8_000, 10_000));
            assert!((0..9).all(|_| gate.admit(at(0), 1_000) == Some(at(0))));
            gate
        };
        let later = at(100_000_000);
        let mut fast = used_up();
        fast.set_rate(later, rate(1_000_000_000, 0));
        assert_eq!(fast.admit(later, 1_000), Some(at(100_008_000)));
        // 8900 bytes are still missing, so one goes at once; and of a smaller burst all of it is.
        let mut slower = used_up();
        slower.set_rate(later, rate(4_000, 10_000));
        assert_eq!(slower.admit(later, 1_000), Some(later));
        assert_eq!(slower.admit(later, 1_000), Some(at(100_000_000 + 2 * 900_000_000)));
        let mut smaller = used_up();
        smaller.set_rate(later, rate(8_000_000, 2_000));
        assert_eq!(smaller.admit(later, 1_000), Some(at(101_000_000)));
        // The same rate again changes nothing, however often.
        let mut same = used_up();
        (0..1_000).for_each(|n| same.set_rate(at(n * 100_000), rate(8_000, 10_000)));
        assert_eq!(same.admit(later, 1_100), Some(later));
        assert_eq!(same.admit(later, 1), Some(at(101_000_000)));
    }

    #[test]
    fn what_waits_when_the_rate_changes_leaves_as_it_would_have_and_first() {
        let mut gate = gate(rate(8_000, 1_000));
        let leaves = (0..3).map(|_| gate.admit(at(0), 1_000).unwrap()).collect::<Vec<_>>();
        assert_eq!(leaves, [at(0), at(1_000_000_000), at(2_000_000_000)]);
        gate.set_rate(at(1), rate(8_000_000, 10_000));
        assert_eq!(gate.admit(at(1), 1_000), Some(at(2_001_000_000)));
    }

    #[test]
    fn impossible_rates_are_refused() {
        assert!(Rate::bits_per_second(0).is_err());
        let rate = Rate::bits_per_second(1).unwrap();
        assert!(rate.queue_packets(0).is_err() && rate.queue_bytes(63).is_err());
    }

    proptest! {
        /// What leaves conforms to the token bucket: between any two departures no more than burst
        /// plus rate · time, save the nanosecond that times are rounded to. And nobody overtakes.
        #[test]
        fn departures_conform_to_the_bucket(
            bits in 1_000_u64..10_000_000_000,
            burst in 0_u64..20_000,
            packets in 1_u32..50,
            arrivals in prop::collection::vec((0_u64..3_000_000, 20_u32..1_500), 1..120),
        ) {
            let rate = Rate::bits_per_second(bits).unwrap().burst(burst);
            let mut gate = Gate::new(rate.queue_packets(packets).unwrap());
            let mut now = 0;
            let mut left: Vec<(u64, u64)> = Vec::new();
            for (gap, size) in arrivals {
                now += gap;
                if let Some(leaves) = gate.admit(at(now), size) {
                    prop_assert!(leaves >= at(now));
                    left.push((leaves.as_nanos(), u64::from(size)));
                }
                let waiting = left.iter().filter(|&&(leaves, _)| leaves > now).count();
                prop_assert!(waiting <= packets as usize);
            }
            prop_assert!(left.is_sorted_by_key(|&(leaves, _)| leaves));
            for (first, &(start, _)) in left.iter().enumerate() {
                let mut bytes = 0;
                for &(end, size) in &left[first..] {
                    bytes += size;
                    // The first one was sent in the time before `start`.
                    let time = u128::from(end - start + 1) + u128::from(rate.nanos(left[first].1)) + 1;
                    let most = u128::from(burst) * BYTE_NANOS + time * u128::from(bits);
                    prop_assert!(u128::from(bytes) * BYTE_NANOS <= most + u128::from(bits));
                }
            }
        }
    }
}
