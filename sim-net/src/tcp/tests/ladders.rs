//! Retransmission ladders and giving up: T4 of `linux-tcp.md`, against its nominal times. Its kernel
//! counts in ticks of 4 ms, and so do these.

use super::*;

/// When the first end sends anything after now, in milliseconds from now, into a link that is dead;
/// and when it gives up.
fn ladder(mut pair: Pair, segments: usize) -> (Vec<u64>, u64, Pair) {
    pair.fate = dead();
    let (from, began) = (pair.log.len(), pair.now);
    pair.write(0, &vec![0; segments * 1_448]);
    pair.run_out(secs(2_000));
    let sent = pair.sent(0, from).map(|sent| (sent.at - began).as_millis() as u64).collect();
    let end = (pair.now - began).as_millis() as u64;
    (sent, end, pair)
}

fn talking(config: Config, rtt: u64) -> Pair {
    let mut pair = Pair::talking(config, ms(rtt / 2));
    // By now the estimate is the path's, and the variance its least.
    let nominal = (rtt + 200).next_multiple_of(4);
    assert!((nominal..=nominal + 4).contains(&timeout(&mut pair)));
    pair
}

/// R: the first end's timeout, in milliseconds.
fn timeout(pair: &mut Pair) -> u64 {
    pair.end(0).send.rtt.timeout() / 1_000_000
}

/// `R·(0, 1, 2, 4, 8 ..)` for a probe and timeouts counted from it; without the probe,
/// `R·(0, 1, 3, 7 ..)`.
fn steps(r: u64, count: usize, probe: bool) -> Vec<u64> {
    let mut at = if probe { vec![0, r] } else { vec![0] };
    for doublings in 0.. {
        if at.len() >= count {
            break;
        }
        at.push(at[at.len() - 1] + (r << doublings).min(120_000));
    }
    at
}

/// L-21, L-25, L-28: 17 transmissions, and ETIMEDOUT when 924.6 s have passed since the first timeout.
/// (At 600 ms it was 15: the last but one expiry, due after 923.3 s, came later than that.)
#[test]
fn a_lone_segment_is_repeated_for_a_quarter_of_an_hour() {
    for (rtt, count) in [(2, 17), (100, 17), (600, 16)] {
        let mut pair = talking(LINUX, rtt);
        let nominal = steps(timeout(&mut pair), count + 1, true);
        let (sent, end, mut pair) = ladder(pair, 1);
        assert_eq!(sent, nominal[..count], "{rtt}");
        assert_eq!(end, nominal[count]);
        let first_timeout = nominal[2];
        assert!(end - first_timeout >= 924_600 && sent[count - 1] - first_timeout < 924_600);
        assert_eq!(pair.read(0, 9), Err(ETIMEDOUT));
        assert_eq!(pair.read(0, 9), Ok(Some(vec![])));
        assert_eq!(pair.try_write(0, b"x"), Err(EPIPE));
        assert!(pair.log.iter().all(|sent| !sent.flags.has(Flags::RST)));
        let counters = pair.counters(0);
        assert_eq!((counters.loss_probes, counters.timeouts), (1, count as u64 - 2));
    }
}

/// L-26: the rule is a time, not a count.
#[test]
fn five_retries_are_twelve_seconds() {
    for (rtt, count) in [(2, 7), (100, 7)] {
        let (sent, end, _) = ladder(talking(Config { retries: 5, ..LINUX }, rtt), 1);
        let nominal = steps((rtt + 200).next_multiple_of(4), count + 1, true);
        assert_eq!((sent, end), (nominal[..count].to_vec(), nominal[count]));
    }
}

/// L-22: without the probe.
#[test]
fn without_loss_probes_the_timeout_comes_first() {
    let config = Config { retries: 5, loss_probes: false, ..LINUX };
    let (sent, end, _) = ladder(talking(config, 2), 1);
    let nominal = steps(204, 7, false);
    assert_eq!((sent, end), (nominal[..6].to_vec(), nominal[6]));
}

/// L-27: the user timeout counts from the first timeout, and replaces the count of retries.
#[test]
fn a_user_timeout_counts_from_the_first_timeout() {
    let config = Config { user_timeout: Some(secs(20)), retries: 5, ..LINUX };
    let (sent, end, mut pair) = ladder(talking(config, 2), 1);
    assert_eq!(sent, steps(204, 8, true));
    assert_eq!(end, 2 * 204 + 20_000);
    assert_eq!(pair.end(0).take_error(), Some(ETIMEDOUT));
}

/// L-23: of ten segments the last is the probe, and each timeout repeats the first. The window is 1,
/// the threshold 5, and it is not lowered again.
#[test]
fn of_ten_segments_the_last_is_probed_and_the_first_repeated() {
    use crate::tcp::congestion::CongestionControl;
    let config = Config { retries: 5, algorithm: CongestionControl::Reno, ..LINUX };
    for rtt in [2, 100] {
        let mut pair = talking(config, rtt);
        pair.fate = dead();
        let (from, began) = (pair.log.len(), pair.now);
        pair.write(0, &[0; 14_480]);
        pair.run(secs(10));
        let sent: Vec<&Sent> = pair.sent(0, from).skip(10).collect();
        let first = pair.log[from].offset;
        let offsets: Vec<u32> = sent.iter().map(|s| (s.offset - first) / 1_448).collect();
        assert_eq!(offsets, [9, 0, 0, 0, 0, 0][..offsets.len()]);
        let (probe, r) = ((2 * rtt + 2).next_multiple_of(4), (rtt + 200).next_multiple_of(4));
        let at = |n: usize| (sent[n].at - began).as_millis() as u64;
        assert_eq!([at(0), at(1), at(2), at(3)], [probe, probe + r, probe + 3 * r, probe + 7 * r]);
        let congestion = &pair.end(0).send.congestion;
        assert_eq!((congestion.window, congestion.threshold), (1, 5));
    }
}

/// L-30: a hole ends with the next expiry; then slow start from one, the repeated segments first.
#[test]
fn after_a_hole_slow_start_begins_at_one() {
    let mut pair = talking(LINUX, 100);
    pair.fate = dead();
    pair.write(0, &[0; 14_480]);
    pair.run(secs(3));
    pair.fate = faultless(ms(50));
    let from = pair.log.len();
    pair.run_reading(secs(5));
    let flights = flights(&pair, from);
    let sizes: Vec<usize> = flights.iter().map(|&(count, _)| count).collect();
    assert_eq!(sizes, [1, 2, 4, 3]);
    assert_eq!(pair.counters(0).acknowledged, pair.counters(0).written);
    // RTO is what it was, since the timestamp tells the repetition from the first.
    assert_eq!(pair.end(0).send.backoff, 0);
}

/// Segments with data by the time at which they were sent, in milliseconds: how many, and when.
pub(super) fn flights(pair: &Pair, from: usize) -> Vec<(usize, u64)> {
    let mut flights: Vec<(usize, u64)> = Vec::new();
    for sent in pair.sent(0, from).filter(|sent| sent.bytes > 0) {
        match flights.last_mut() {
            Some((count, at)) if sent.millis() - *at < 20 => *count += 1,
            _ => flights.push((1, sent.millis())),
        }
    }
    flights
}

/// L-31: an orphan makes eight timeouts and vanishes without a word.
#[test]
fn an_orphan_makes_eight_timeouts() {
    let mut pair = talking(LINUX, 2);
    pair.fate = dead();
    let from = pair.log.len();
    pair.close(0);
    pair.run_out(secs(1_000));
    // The FIN, a probe, eight timeouts.
    assert_eq!(pair.sent(0, from).count(), 10);
    assert!(pair.sent(0, from).all(|sent| sent.flags.has(Flags::FIN)));
    let attempts: Vec<u16> = pair.sent(0, from).map(|sent| sent.attempt).collect();
    assert_eq!(attempts, (0..10).collect::<Vec<_>>());
    assert_eq!(pair.states()[0], State::Closed);
    assert_eq!(pair.counters(0).timeouts, 8);
}

/// L-29: with only the acknowledgements lost the ladder is the same, and each repetition is answered
/// with a report of the duplicate (RFC 2883).
#[test]
fn a_repetition_that_was_needless_is_reported() {
    let mut pair = talking(LINUX, 2);
    pair.fate = Box::new(|sent| if sent.by == 1 { vec![] } else { vec![ms(1)] });
    let from = pair.log.len();
    pair.write(0, b"x");
    pair.run(secs(1));
    assert_eq!(pair.sent(0, from).count(), 4);
    let answers: Vec<usize> = pair.sent(1, from).map(|sent| sent.sacks).collect();
    assert!(answers.ends_with(&[1, 1, 1]), "{answers:?}");
    pair.fate = faultless(ms(1));
    pair.run(secs(2));
    assert_eq!(pair.counters(0).spurious, 1);
}

/// What the network said of the peer is the error of a connection that times out, unless the peer
/// was heard of since.
#[test]
fn a_soft_error_replaces_the_timeout() {
    use crate::tcp::arrival::Icmp;
    const EHOSTUNREACH: i32 = 113;
    for heard in [false, true] {
        let mut pair = talking(Config { retries: 3, ..LINUX }, 2);
        pair.fate = dead();
        pair.write(0, b"x");
        pair.run(ms(300));
        let Pair { ends: [Some(client), _], pool, .. } = &mut pair else { unreachable!() };
        client.on_icmp(Icmp::Unreachable(EHOSTUNREACH), pool);
        if heard {
            pair.fate = faultless(ms(1));
            pair.run(secs(1));
            pair.fate = dead();
            pair.write(0, b"y");
        }
        pair.run_out(secs(100));
        let error = if heard { ETIMEDOUT } else { EHOSTUNREACH };
        assert_eq!(pair.end(0).take_error(), Some(error));
    }
    let mut pair = Pair::over(dead(), LINUX, LINUX);
    let Pair { ends: [Some(client), _], pool, .. } = &mut pair else { unreachable!() };
    client.on_icmp(Icmp::Unreachable(EHOSTUNREACH), pool);
    assert_eq!(pair.end(0).take_error(), Some(EHOSTUNREACH), "a SYN is refused at once");
}
