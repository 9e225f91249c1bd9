//! Loss in the first flight: T8 of `linux-tcp.md`. RTT 100 ms.

use super::ladders::flights;
use super::*;
use crate::tcp::congestion::CongestionControl;

const RENO: Config = Config { algorithm: CongestionControl::Reno, ..LINUX };

/// Writes `bytes` on a fresh connection of RTT 100 ms that loses those segments of the first flight
/// (counted from 1); returns the pair after `time` and where its log begins.
fn first_flight(config: Config, lost: &[u32], bytes: usize, time: Duration) -> (Pair, usize) {
    let send_buffer = BufferSize::fixed(1 << 20);
    let mut pair = Pair::connected_with(Config { send_buffer, ..config }, ms(50));
    let lost = lost.to_vec();
    let from = pair.log.len();
    let mut count = 0;
    pair.fate = Box::new(move |sent| {
        let is_data = sent.by == 0 && sent.bytes > 0;
        count += u32::from(is_data);
        if is_data && lost.contains(&count) && count <= 10 { vec![] } else { vec![ms(50)] }
    });
    let until = pair.now + time;
    let mut left = bytes;
    while pair.now < until {
        left -= pair.try_write(0, &vec![0; left]).unwrap();
        pair.run_reading(ms(1));
    }
    (pair, from)
}

/// The segments of the first flight that were sent again, and when (ms after the first).
fn repeats(pair: &Pair, from: usize) -> Vec<(u32, u64)> {
    let (first, began) = (pair.log[from].offset, pair.log[from].millis());
    let again = pair.sent(0, from).filter(|sent| sent.attempt > 0);
    again.map(|sent| ((sent.offset - first) / 1_448 + 1, sent.millis() - began)).collect()
}

/// How many segments with data were sent in a round trip: by round trips, not flights, since the odd
/// segment of a flight is acknowledged 40 ms later.
fn in_round(pair: &Pair, from: usize, round: u64) -> usize {
    let began = pair.log[from].millis();
    let is_in = |sent: &&Sent| sent.bytes > 0 && (sent.millis() - began) / 100 == round;
    pair.sent(0, from).filter(is_in).count()
}

/// L-80: 10, 20, 40, then what the receive window allows, then more as it has grown. Here a flight
/// arrives in one instant: its last acknowledgement tells of what is not read yet, and the buffer
/// grows a round trip earlier than there.
#[test]
fn slow_start_doubles_until_the_receive_window_is_full() {
    let (pair, from) = first_flight(LINUX, &[], 400_000, ms(700));
    let sizes: Vec<usize> = flights(&pair, from).iter().map(|&(count, _)| count).collect();
    assert_eq!(sizes[..2], [10, 20]);
    assert!((37..=40).contains(&sizes[2]), "{sizes:?}");
    assert!((50..=80).contains(&sizes[3]), "{sizes:?}");
    assert!((100..=145).contains(&sizes[4]), "{sizes:?}");
}

/// L-82: the third duplicate repeats the segment, one round trip after it was sent, and the
/// threshold is half of the window, which had grown by what was acknowledged before.
#[test]
fn the_third_duplicate_acknowledgement_repeats_a_lost_segment() {
    for sack in [true, false] {
        for (k, threshold) in [(1, 5), (2, 5), (5, 7), (7, 8)] {
            let (mut pair, from) = first_flight(Config { sack, ..RENO }, &[k], 300_000, ms(190));
            assert_eq!(repeats(&pair, from), [(k, 100)], "sack {sack}, segment {k}");
            assert_eq!(pair.end(0).send.congestion.threshold, threshold);
            assert_eq!(pair.counters(0).fast_recoveries, 1);
        }
    }
    let (mut pair, _) = first_flight(LINUX, &[5], 300_000, ms(190));
    assert_eq!(pair.end(0).send.congestion.threshold, 9, "CUBIC keeps 0.7 of 14");
}

/// L-82: after it the window grows by one in a round trip.
#[test]
fn after_a_recovery_reno_climbs_by_one() {
    let (pair, from) = first_flight(RENO, &[5], 300_000, ms(790));
    let rounds = [0, 1, 2, 3, 4, 5, 6].map(|round| in_round(&pair, from, round));
    assert_eq!(rounds, [10, 12, 7, 8, 9, 10, 11]);
}

/// L-82: without SACK, too, the round trips of a recovery and those after it have as many segments as
/// on Linux: a duplicate acknowledgement tells of one that was delivered.
#[test]
fn without_sack_the_window_is_reduced_in_proportion() {
    let plain = Config { sack: false, ..RENO };
    for (lost, rounds) in [(1, [10, 5, 5, 6, 7]), (2, [10, 7, 5, 6, 7]), (5, [10, 12, 7, 8, 9])] {
        let (pair, from) = first_flight(plain, &[lost], 300_000, ms(590));
        assert_eq!([0, 1, 2, 3, 4].map(|round| in_round(&pair, from, round)), rounds, "{lost}");
    }
}

/// L-83: with one or two duplicates, reordering is given a quarter of a round trip; without SACK
/// the next flight brings the third.
#[test]
fn near_the_end_of_a_flight_time_shows_the_loss() {
    for k in [8, 9] {
        let (pair, from) = first_flight(RENO, &[k], 300_000, ms(190));
        let found = repeats(&pair, from);
        assert!(found == [(k, 128)], "{found:?}");
        let (pair, from) = first_flight(Config { sack: false, ..RENO }, &[k], 300_000, ms(290));
        assert_eq!(repeats(&pair, from), [(k, 200)]);
    }
    let (pair, from) = first_flight(RENO, &[10], 300_000, ms(290));
    assert_eq!(repeats(&pair, from), [(10, 200)]);
}

/// L-84: SACK repairs two holes at once, NewReno one in a round trip.
#[test]
fn two_holes_take_one_round_trip_with_sack_and_two_without() {
    for lost in [[4, 5], [2, 6]] {
        let (pair, from) = first_flight(RENO, &lost, 300_000, ms(290));
        assert_eq!(repeats(&pair, from), lost.map(|k| (k, 100)));
        let (pair, from) = first_flight(Config { sack: false, ..RENO }, &lost, 300_000, ms(290));
        assert_eq!(repeats(&pair, from), [(lost[0], 100), (lost[1], 200)]);
    }
}

/// Writes 300 000 bytes as [`first_flight`] does, to a reader that does not read: the window that it announces
/// never grows, so that every duplicate acknowledgement repeats the one before it.
fn unread_flight(config: Config, lost: &[u32]) -> (Pair, usize) {
    let large = BufferSize::fixed(1 << 20);
    let config = Config { send_buffer: large, receive_buffer: large, ..config };
    let mut pair = Pair::connected_with(config, ms(50));
    let (lost, from) = (lost.to_vec(), pair.log.len());
    let mut count = 0;
    pair.fate = Box::new(move |sent| {
        let is_data = sent.by == 0 && sent.bytes > 0;
        count += u32::from(is_data);
        if is_data && lost.contains(&count) { vec![] } else { vec![ms(50)] }
    });
    assert_eq!(pair.try_write(0, &[0; 300_000]), Ok(300_000));
    pair.run(ms(890));
    (pair, from)
}

/// RFC 6582 §3.2: the third duplicate repeats the first hole. A partial acknowledgement repeats the next one at once,
/// and lets new data out as far as the window does; the reduction is spread over the round trip (RFC 6937 §3).
/// What acknowledges all that was out when it began ends it, with the window at the threshold.
#[test]
fn a_partial_acknowledgement_repeats_the_next_hole_at_once() {
    let (mut pair, from) = unread_flight(Config { sack: false, ..RENO }, &[2, 6]);
    let (first, began) = (pair.log[from].offset, pair.log[from].millis());
    let number = |offset: u32| (offset - first) / 1_448 + 1;
    let at = |millis: u64| -> Vec<(u32, u16)> {
        let then = pair.sent(0, from).filter(|sent| sent.millis() - began == millis);
        then.map(|sent| (number(sent.offset), sent.attempt)).collect()
    };
    // Of the first flight #1 is acknowledged, and seven duplicates follow: two let one segment out each
    // (RFC 3042), the third repeats #2, then every other one lets one out.
    let flight = [(11, 0), (12, 0), (13, 0), (14, 0), (2, 1), (15, 0), (16, 0)];
    assert_eq!(at(100), flight);
    // Four duplicates for #11 to #14; the partial acknowledgement of #2, up to #6; two for #15 and #16.
    assert_eq!(at(200), [(17, 0), (6, 1), (18, 0), (19, 0), (20, 0)]);
    // One duplicate for #17, then everything is acknowledged.
    assert_eq!(at(300), [(21, 0), (22, 0), (23, 0), (24, 0), (25, 0)]);
    let counters = pair.counters(0);
    assert_eq!((counters.retransmissions, counters.timeouts, counters.fast_recoveries), (2, 0, 1));
    assert_eq!(pair.end(0).send.congestion.threshold, 5);
}

/// L-84: with two holes the round trips of a recovery have as many segments as on Linux. An acknowledgement that
/// announces another window is no duplicate (RFC 5681 §2), so where the reader has read in between, one segment
/// goes out later.
#[test]
fn a_duplicate_with_another_window_is_none() {
    let plain = Config { sack: false, ..RENO };
    let rounds = |(pair, from): &(Pair, usize)| {
        [0, 1, 2, 3, 4, 5, 6].map(|round| in_round(pair, *from, round))
    };
    let linux = [10, 10, 6, 6, 7, 8, 9];
    let mut unread = unread_flight(plain, &[4, 5]);
    assert_eq!(rounds(&unread), linux);
    let mut read = first_flight(plain, &[4, 5], 300_000, ms(790));
    assert_eq!(rounds(&read), [10, 10, 5, 6, 7, 8, 9]);
    let duplicates = [unread.0.counters(0), read.0.counters(0)].map(|it| it.duplicate_acks);
    assert_eq!(duplicates, [17, 15]);
}

/// L-85: all ten lost. The probe is new data, its SACK marks the ten.
#[test]
fn a_lost_flight_is_found_by_a_probe_of_new_data() {
    let all: Vec<u32> = (1..=10).collect();
    let (mut pair, from) = first_flight(RENO, &all, 300_000, ms(390));
    let sizes = flights(&pair, from);
    assert_eq!((sizes[1].0, sizes[1].1 - sizes[0].1), (1, 204), "a probe at 2·SRTT and a tick");
    let found = repeats(&pair, from);
    assert_eq!(found[0], (1, 304), "its answer marks the ten");
    assert_eq!(pair.end(0).send.congestion.threshold, 5);
    assert_eq!(pair.counters(0).timeouts, 0);
}

/// L-85: the plain case. The timeout at R = 300 ms, then 1, 2, 4.
#[test]
fn without_sack_a_lost_flight_is_a_timeout() {
    let all: Vec<u32> = (1..=10).collect();
    let (mut pair, from) = first_flight(Config { sack: false, ..RENO }, &all, 300_000, ms(690));
    let sizes: Vec<(usize, u64)> = flights(&pair, from);
    let began = sizes[0].1;
    let told: Vec<(usize, u64)> = sizes.iter().map(|&(n, at)| (n, at - began)).collect();
    assert_eq!(told[..4], [(10, 0), (1, 300), (2, 400), (4, 500)], "{told:?}");
    assert_eq!(pair.end(0).send.congestion.threshold, 5);
}

/// L-86: a lost tail. The probe comes a timeout after the last acknowledgement.
#[test]
fn a_lost_tail_is_repaired_by_a_probe() {
    let (mut pair, from) = first_flight(RENO, &[10], 14_480, ms(600));
    assert_eq!(repeats(&pair, from), [(10, 400)]);
    let counters = pair.counters(0);
    assert_eq!((counters.loss_probes, counters.timeouts), (1, 0));
    assert_eq!(counters.acknowledged, 14_480);
    let (pair, from) = first_flight(RENO, &[8], 14_480, ms(600));
    assert_eq!(repeats(&pair, from), [(8, 128)]);
}

/// RFC 8985 §6: a repetition that is lost is found by what was sent after it; RFC 6675 alone would
/// wait for the timeout.
#[test]
fn a_lost_repetition_is_found_without_a_timeout() {
    let mut pair = Pair::connected_with(LINUX, ms(50));
    let mut copies = 0;
    pair.fate = Box::new(move |sent| {
        let is_it = sent.by == 0 && sent.offset == 1_449;
        copies += u32::from(is_it);
        if is_it && copies <= 2 { vec![] } else { vec![ms(50)] }
    });
    let mut left = 100_000;
    for _ in 0..1_000 {
        left -= pair.try_write(0, &vec![0; left]).unwrap();
        pair.run_reading(ms(1));
    }
    let counters = pair.counters(0);
    assert_eq!((counters.acknowledged, counters.timeouts), (100_000, 0));
    assert_eq!(pair.sent(0, 0).filter(|sent| sent.offset == 1_449).count(), 3);
}

/// RFC 3522, RFC 2883: a flight that comes 330 ms late, while it is being repeated, is no loss. The
/// window is what it was.
#[test]
fn a_delay_spike_is_taken_back() {
    let mut pair = Pair::talking(LINUX, ms(50));
    let window = pair.end(0).send.congestion.window;
    let until = pair.now + ms(10);
    let late = ms(330);
    let mut now = pair.now;
    pair.fate = Box::new(move |sent| {
        now = now.max(sent.at);
        if now < until { vec![late] } else { vec![ms(50)] }
    });
    pair.write(0, &[0; 14_480]);
    pair.run_reading(secs(4));
    let counters = pair.counters(0);
    assert!(counters.retransmissions > 0 && counters.spurious > 0, "{counters:?}");
    assert_eq!(counters.acknowledged, counters.written);
    assert!(pair.end(0).send.congestion.window >= window);
}

/// RFC 7323 §5: a duplicate from long ago, whose numbers are in the window again, is no data.
#[test]
fn an_old_duplicate_is_known_by_its_timestamp() {
    let mut pair = Pair::talking(LINUX, DELAY);
    pair.write(0, b"old!");
    let (_, (_, mut old)) = pair.wire.pop_last().unwrap();
    pair.run(secs(1));
    assert_eq!(pair.read(1, 9), Ok(Some(b"old!".to_vec())), "by the repetition");
    pair.write(0, b"newer");
    pair.run(DELAY);
    pair.read(1, 9).unwrap();
    old.seq = pair.end(1).receive.nxt;
    pair.deliver(1, old);
    assert_eq!(pair.read(1, 9), Ok(None));
}

/// RFC 1191: the path's MTU was lowered. What was too large is sent again in parts, and the window
/// is not reduced for it.
#[test]
fn a_lower_mtu_cuts_what_is_on_its_way() {
    use crate::tcp::arrival::Icmp;
    let mut pair = Pair::connected_with(LINUX, DELAY);
    pair.fate = Box::new(|sent| if sent.bytes > 1_000 { vec![] } else { vec![DELAY] });
    pair.write(0, &[7; 10_000]);
    let window = pair.end(0).send.congestion.window;
    let from = pair.log.len();
    let Pair { ends: [Some(client), _], pool, .. } = &mut pair else { unreachable!() };
    client.on_icmp(Icmp::TooBig { mss: 1_000 }, pool);
    let read = pair.run_reading(ms(200));
    assert_eq!(read[1], 10_000, "{pair:?}");
    assert!(pair.sent(0, from).all(|sent| sent.bytes <= 1_000));
    assert_eq!(pair.counters(0).timeouts, 0);
    assert!(pair.end(0).send.congestion.window >= window);
}

/// RFC 7323 §4.3: TS.Recent never goes back, though an acknowledgement that another has overtaken is heard.
#[test]
fn an_overtaken_acknowledgement_sets_no_timestamp_back() {
    let mut pair = Pair::connected();
    pair.run(secs(1));
    pair.write(0, b"asked");
    pair.run_reading(secs(1));
    let now = pair.now;
    let newest = pair.end(0).stamps.option(now).map(|stamps| stamps.echo);
    let peer = pair.end(1);
    let (seq, ack) = (peer.send.nxt, peer.receive.nxt);
    let timestamps = peer.stamps.option(Time::ZERO + (now.since_epoch() - ms(1_500)));
    assert!(timestamps.map(|stamps| stamps.value) < newest);
    pair.deliver(0, Segment { timestamps, ..Segment::bare(seq, ack, 9_000, Flags::ACK) });
    assert_eq!(pair.end(0).send.wnd, 9_000, "it was heard");
    assert_eq!(pair.end(0).stamps.option(now).map(|stamps| stamps.echo), newest);
}
