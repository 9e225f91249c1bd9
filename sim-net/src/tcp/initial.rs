//! What a new connection begins with: its first sequence number (RFC 6528), and where the clock of its
//! timestamps begins (RFC 7323 §5.4).
//!
//! Both grow with the time of the host, so that the numbers of a pair of ends that is used again lie
//! beyond those of the connection before, and TIME-WAIT lets it in.

use sim_core::Time;

use super::segment::Seq;
use crate::address::Endpoint;
use crate::decisions::Site;
use crate::flow::Flow;
use crate::network::Network;

/// The first number grows by one in so many nanoseconds, a power of two (as in Linux's
/// `secure_tcp_seq`).
const STEP_SHIFT: u32 = 6;
/// How near to the wrap the numbers are that are to be near.
const NEAR: u32 = 0xffff;

impl Network {
    /// The first number of a connection on `host` that sends `flow` from `local` to `remote`, and what
    /// the clock of its timestamps showed when that of the host began.
    pub(super) fn initial_numbers(
        &mut self,
        host: u32,
        flow: Flow,
        (local, remote): (Endpoint, Endpoint),
    ) -> (Seq, u32) {
        let now = self.wire.local_time(host);
        let (hosts, ends) = flow.ends(&self.wire.trace.hosts, local.port, remote.port);
        let draw = self.wire.draw(host, Site::InitialSequence, ends, 0);
        (first_number(draw, now), self.wire.decisions.stamps_from(hosts))
    }
}

/// The first number of a pair of ends at a time: any, and of one pair in sixteen one that soon wraps.
fn first_number(draw: u64, now: Time) -> Seq {
    let (any, passed) = (draw as u32, (now.as_nanos() >> STEP_SHIFT) as u32);
    let soon_wraps = draw >> 60 == 0;
    Seq(if soon_wraps {
        u32::MAX - (any.wrapping_sub(passed) & NEAR)
    } else {
        any.wrapping_add(passed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_pair_grow_with_time_and_some_are_near_the_wrap() {
        let at = Time::from_nanos;
        for draw in [1 << 60, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(first_number(draw, at(0)), Seq(draw as u32));
            for (nanos, grown) in
                [(63, 0), (64, 1), (1_000_000, 15_625), (60_000_000_000, 937_500_000)]
            {
                assert_eq!(first_number(draw, at(nanos)).since(Seq(draw as u32)), grown);
            }
        }
        for draw in [0, 77_777, (1 << 60) - 1] {
            let numbers: Vec<Seq> = (0..100).map(|n| first_number(draw, at(n * 64))).collect();
            assert!(numbers.iter().all(|number| number.0 >= u32::MAX - NEAR));
            let steps = numbers.windows(2).filter(|pair| pair[1].since(pair[0]) == 1).count();
            assert!(steps >= 98, "they grow, up to the wrap");
        }
    }
}
