//! Goodput over a path with loss, against the formula of Mathis et al. 1997, coarsely.

use super::*;
use crate::tcp::congestion::CongestionControl;

/// Bytes a second that arrive in two minutes after the first ten seconds, of a sender that always
/// has something to send, over a path that loses `loss` of a million each way.
fn goodput(config: Config, rtt: u64, loss: u64, seed: u64) -> f64 {
    let mut pair = Pair::connected_with(config, ms(rtt / 2));
    let mut chance = Chance(seed);
    pair.fate =
        Box::new(move |_| if chance.below(1_000_000) < loss { vec![] } else { vec![ms(rtt / 2)] });
    let mut bytes = [0, 0];
    for (stage, seconds) in [(0, 10), (1, 120)] {
        let until = pair.now + secs(seconds);
        while pair.now < until {
            while pair.try_write(0, &[0; 65_536]).unwrap() > 0 {}
            bytes[stage] += pair.run_reading(ms(5))[1];
        }
        pair.log.clear();
        pair.attempts.clear();
    }
    bytes[1] as f64 / 120.0
}

/// MSS/RTT · √1.5/√p.
fn mathis(rtt: u64, loss: u64) -> f64 {
    1_448.0 / (rtt as f64 / 1_000.0) * (1.5 / (loss as f64 / 1_000_000.0)).sqrt()
}

/// L-101, L-104: Reno at 1 % and 0.1 %, RTT 50 and 100 ms, is at 0.98 to 1.30 of Mathis.
#[test]
fn reno_follows_mathis() {
    let reno = Config { algorithm: CongestionControl::Reno, ..LINUX };
    for (rtt, loss) in [(50, 10_000), (100, 10_000), (50, 1_000), (100, 1_000)] {
        let ratio = goodput(reno, rtt, loss, rtt + loss) / mathis(rtt, loss);
        assert!((0.7..=1.45).contains(&ratio), "RTT {rtt} ms, loss {loss} ppm: {ratio:.2}");
    }
}

/// L-101: CUBIC is at 0.8 to 0.99 of Reno at 1 %; L-105: NewReno at 0.86 to 0.91.
#[test]
fn cubic_and_newreno_are_not_far_from_it() {
    let newreno = Config { algorithm: CongestionControl::Reno, sack: false, ..LINUX };
    for config in [LINUX, newreno] {
        let ratio = goodput(config, 50, 10_000, 7) / mathis(50, 10_000);
        assert!((0.55..=1.35).contains(&ratio), "{:?}: {ratio:.2}", config.algorithm);
    }
}

/// How long 1 MiB takes from the first SYN on, in milliseconds: the median of 15 seeds.
fn completion(config: Config, rtt: u64, loss: u64) -> u64 {
    const LENGTH: usize = 1 << 20;
    let run = |seed: u64| {
        let mut chance = Chance(seed * 7_919 + 13);
        for _ in 0..10 {
            chance.below(2);
        }
        let fate = move |_: &Sent| {
            if chance.below(1_000_000) < loss { vec![] } else { vec![ms(rtt / 2)] }
        };
        let mut pair = Pair::over(Box::new(fate), config, config);
        let (mut left, mut read) = (LENGTH, 0);
        while read < LENGTH {
            assert!(pair.now < Time::ZERO + secs(3_600), "no progress: {read}");
            if pair.states()[0] == State::Established {
                left -= pair.try_write(0, &vec![0; left]).unwrap();
            }
            read += pair.run_reading(ms(2))[1];
        }
        pair.now.as_nanos() / 1_000_000
    };
    let mut times: Vec<u64> = (0..15).map(run).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// L-111, L-112: the medians of T2, within a factor of two, and no run fails.
#[test]
fn a_mebibyte_takes_about_as_long_as_on_linux() {
    let reno = Config { algorithm: CongestionControl::Reno, ..LINUX };
    for (rtt, loss, on_reno, on_cubic) in [
        (20, 10_000, 1_007, 665),
        (20, 50_000, 3_436, 3_691),
        (20, 100_000, 7_298, 8_081),
        (100, 50_000, 14_667, 14_783),
        (100, 100_000, 26_903, 29_124),
    ] {
        for (config, linux) in [(reno, on_reno), (LINUX, on_cubic)] {
            let took = completion(config, rtt, loss);
            let near = linux / 2..=linux * 2;
            assert!(near.contains(&took), "RTT {rtt} ms, loss {loss} ppm: {took}, Linux {linux}");
        }
    }
}
