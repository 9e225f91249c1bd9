//! Windows, buffers, delayed acknowledgements and Nagle's algorithm: T5 and T7 of `linux-tcp.md`.

use super::*;

/// A receiver that does not read is never sent more than its window, and hears nothing more.
#[test]
fn the_receive_window_bounds_what_is_in_flight() {
    let mut pair = Pair::connected();
    assert_eq!(pair.write(0, &[1; 50_000]), 20_000, "the send buffer");
    pair.run(Duration::from_secs(100));
    let unread = pair.end(1).available();
    assert!((8_552..=10_112).contains(&unread), "{unread}");
    let from = pair.log.len();
    pair.run(Duration::from_secs(100));
    assert!(pair.sent(0, from).all(|sent| sent.bytes == 0), "probes alone");
    assert_eq!(pair.read(1, 10_240).unwrap().unwrap().len(), unread);
    pair.run(Duration::from_secs(1));
    assert!(pair.end(1).available() > 8_000, "the update let the rest go");
}

/// L-74: in a dialogue the acknowledgements ride on the answers.
#[test]
fn a_dialogue_needs_two_segments_a_round() {
    let mut pair = Pair::connected();
    for round in 0..20 {
        let before = pair.log.len();
        pair.write(0, b"ping");
        pair.run(DELAY);
        assert_eq!(pair.read(1, 9), Ok(Some(b"ping".to_vec())));
        pair.write(1, b"pong");
        pair.run(DELAY);
        assert_eq!(pair.read(0, 9), Ok(Some(b"pong".to_vec())));
        if round > 0 {
            assert_eq!(pair.log.len() - before, 2, "round {round}");
        }
    }
}

/// A connection of RTT 2 ms whose receiver does not read, with the window closed.
fn stalled(config: Config) -> Pair {
    let mut pair = Pair::talking(config, ms(1));
    while pair.try_write(0, &[0; 4_096]).unwrap() > 0 {
        pair.run(ms(1));
    }
    // The rest of the window, too small for a segment, is used by the first probe (L-49).
    pair.run(ms(300));
    assert_eq!(pair.end(0).send.wnd, 0);
    pair
}

/// L-40, L-41: what two ends take that do not read, with 65 536 asked for.
#[test]
fn an_unread_stream_takes_both_buffers() {
    let send_buffer = BufferSize::send_buffer_of(65_536);
    let receive_buffer = BufferSize::receive_buffer_of(65_536);
    let mut pair = stalled(Config { send_buffer, receive_buffer, ..LINUX });
    let received = pair.end(1).available();
    assert!(received.abs_diff(82_328) < 1_448, "{received}");
    let counters = pair.counters(0);
    let in_all = counters.written - 30 * 4;
    assert!(in_all.abs_diff(166_520) < 3_000, "{in_all}");
}

/// L-41: by default 30 kB at the first refusal, 173 to 200 kB when all has settled.
#[test]
fn a_send_buffer_grows_with_the_congestion_window() {
    let mut pair = Pair::connected_with(LINUX, ms(25));
    assert_eq!(pair.write(0, &[0; 1 << 20]), 30_408);
    for _ in 0..200 {
        pair.run(ms(5));
        pair.try_write(0, &[0; 1 << 20]).unwrap();
    }
    let (sent, unread) = (pair.counters(0).written as usize, pair.end(1).available());
    assert!((82_000..83_000).contains(&unread), "{unread}");
    assert!((150_000..220_000).contains(&(sent - unread)), "{}", sent - unread);
}

/// L-45: empty segments with an old number, after R·(1, 2, 4, 8 ..), for ever.
#[test]
fn a_closed_window_is_probed_with_doubling_intervals() {
    let mut pair = stalled(CONFIG);
    let from = pair.log.len();
    pair.run(secs(400));
    let probes: Vec<u64> = pair.sent(0, from).map(Sent::millis).collect();
    assert!(pair.sent(0, from).all(|sent| sent.bytes == 0 && sent.window > 0));
    let intervals: Vec<u64> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let r = pair.end(0).send.rtt.timeout() / 1_000_000;
    assert!(intervals[0] == 2 * r || intervals[0] == 4 * r, "{r} {intervals:?}");
    assert!(intervals[1..7].iter().zip(&intervals).all(|(next, last)| next.abs_diff(2 * last) < 2));
    assert!(probes.len() >= 10 && intervals.iter().all(|&interval| interval <= 120_000));
    assert_eq!(pair.states(), [State::Established; 2]);
    assert!(pair.counters(0).window_probes >= probes.len() as u64);
}

/// L-47: the window update is lost, and the next probe finds the window open.
#[test]
fn a_lost_window_update_is_found_by_a_probe() {
    let mut pair = stalled(CONFIG);
    pair.fate = dead();
    assert!(!pair.read(1, 10_000).unwrap().unwrap().is_empty());
    pair.fate = faultless(ms(1));
    let took = pair.run_reading(secs(2));
    assert!(took[1] > 8_000, "{took:?}");
}

/// L-46: probes are answered at most once in 500 ms.
#[test]
fn probes_are_answered_twice_a_second_at_most() {
    let mut pair = stalled(CONFIG);
    let from = pair.log.len();
    pair.run(ms(3_500));
    let answers: Vec<u64> = pair.sent(1, from).map(Sent::millis).collect();
    assert!(answers.windows(2).all(|pair| pair[1] - pair[0] >= 500), "{answers:?}");
    assert!(answers.len() < pair.sent(0, from).count());
}

/// L-48: 20 s after the first of them, unanswered probes end the connection if that is wanted.
#[test]
fn unanswered_probes_end_with_the_user_timeout() {
    let config = Config { user_timeout: Some(secs(20)), ..CONFIG };
    let mut pair = stalled(config);
    let closed_at = pair.log.iter().rfind(|sent| sent.by == 1).unwrap().at;
    pair.fate = dead();
    pair.run_out(secs(300));
    let took = (pair.now - closed_at).as_millis();
    assert!((20_150..20_450).contains(&took), "{took}");
    assert_eq!(pair.end(0).take_error(), Some(ETIMEDOUT));
}

/// L-49: a window below a segment is used when the probe timer fires.
#[test]
fn a_small_window_is_used_by_the_probe() {
    let mut pair = stalled(CONFIG);
    pair.end(0).send.wnd = 700;
    let from = pair.log.len();
    pair.run(secs(1));
    assert!(pair.sent(0, from).any(|sent| sent.bytes == 700), "{pair:?}");
}

/// L-44: a reader that takes one byte at a time causes no window update.
#[test]
fn single_bytes_update_no_window() {
    let mut pair = stalled(LINUX);
    let from = pair.log.len();
    for _ in 0..1_000 {
        assert_eq!(pair.read(1, 1).unwrap().map(|data| data.len()), Some(1));
    }
    assert_eq!(pair.sent(1, from).count(), 0);
}

/// L-42: there is room again when a third of the send buffer is free.
#[test]
fn a_full_send_buffer_is_writable_again_below_two_thirds() {
    let config = Config { send_buffer: BufferSize::send_buffer_of(262_144), ..LINUX };
    let limit = config.send_buffer.now;
    let mut pair = Pair::connected_with(config, ms(1));
    while pair.try_write(0, &[0; 16_384]).unwrap() > 0 {}
    let mut waiting = limit;
    while !pair.end(0).readiness().has(Ready::WRITABLE) {
        let counters = pair.counters(0);
        waiting = (counters.written - counters.acknowledged) as usize;
        assert!(waiting > limit / 2, "not writable with {waiting} of {limit}");
        pair.run_reading(Duration::from_micros(50));
    }
    let counters = pair.counters(0);
    let left = (counters.written - counters.acknowledged) as usize;
    assert!(left <= limit * 2 / 3 && waiting > limit * 2 / 3, "{waiting}, then {left} of {limit}");
}

/// L-71: of a stream one way that is read at once, every segment is acknowledged at once.
#[test]
fn a_reader_acknowledges_as_it_reads() {
    let mut pair = Pair::connected_with(LINUX, ms(1));
    for n in 0..60 {
        let (from, at) = (pair.log.len(), pair.now);
        pair.write(0, b"small");
        pair.run_reading(ms(20));
        let ack = pair.sent(1, from).next().expect("it is acknowledged").at - at;
        assert_eq!(ack, ms(1), "segment {n}");
    }
}

/// L-79: write, write, read: with Nagle's algorithm the second write waits for an acknowledgement,
/// which waits for an answer; without it the exchange takes a round trip.
#[test]
fn write_write_read_takes_a_delayed_acknowledgement_with_nagle() {
    for (nagle, first, later) in [(true, 40, 80), (false, 20, 20)] {
        let mut pair = Pair::connected_with(Config { nagle, ..LINUX }, DELAY);
        for exchange in 0..6 {
            let began = pair.now;
            pair.write(0, &[1; 10]);
            pair.write(0, &[2; 10]);
            let (mut asked, mut answered) = (0, 0);
            while answered < 10 {
                let read = pair.run_reading(ms(1));
                (asked, answered) = (asked + read[1], answered + read[0]);
                if asked == 20 {
                    asked = 0;
                    pair.write(1, &[3; 10]);
                }
            }
            let took = (pair.now - began).as_millis() as u64;
            let nominal = if exchange == 0 { first } else { later };
            // Reading looks once in a millisecond, three times in an exchange.
            assert!((nominal..=nominal + 4).contains(&took), "{nagle} {exchange}: {took} ms");
        }
    }
}

/// L-70: 16 segments are acknowledged at once, then a lone one after 40 ms.
#[test]
fn the_first_segments_are_acknowledged_at_once() {
    let mut pair = Pair::connected_with(LINUX, ms(1));
    for n in 0..20 {
        let (from, at) = (pair.log.len(), pair.now);
        pair.write(0, b"small");
        pair.run(ms(300));
        let ack = pair.sent(1, from).next().expect("it is acknowledged").at - at;
        assert_eq!(ack, if n < 16 { ms(1) } else { ms(41) }, "segment {n}");
    }
}

/// L-75: in bulk, one acknowledgement for two full segments.
#[test]
fn every_second_full_segment_is_acknowledged() {
    let mut pair = Pair::connected_with(LINUX, ms(1));
    for _ in 0..50 {
        pair.write(0, &[0; 28_960]);
        pair.run_reading(ms(10));
    }
    let (data, acks) = (pair.sent(0, 3).count(), pair.sent(1, 3).count());
    assert!(acks * 2 <= data + 40 && acks * 3 > data, "{acks} for {data}");
}

/// L-77, L-78: only a small segment that is out holds back the next small one.
#[test]
fn nagle_holds_back_small_segments_alone() {
    let config = Config { nagle: true, ..LINUX };
    let mut pair = Pair::connected_with(config, DELAY);
    let from = pair.log.len();
    for _ in 0..3 {
        pair.write(0, &[0; 10]);
    }
    pair.run_reading(ms(100));
    let sizes = |pair: &Pair, from| {
        pair.sent(0, from).map(|s| s.bytes).filter(|&b| b > 0).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&pair, from), [10, 20]);
    let from = pair.log.len();
    pair.write(0, &[0; 2_000]);
    assert_eq!(sizes(&pair, from), [1_448, 552]);
    let mut pair = Pair::connected_with(LINUX, DELAY);
    let from = pair.log.len();
    for _ in 0..3 {
        pair.write(0, &[0; 10]);
    }
    assert_eq!(sizes(&pair, from), [10, 10, 10]);
}

/// An end of a dialogue that has nothing to do is small: at most 2 KiB, its queues included. After
/// bulk its queues keep some room, but a bounded one.
#[test]
fn an_idle_end_is_small() {
    let held = |pair: &mut Pair, end| {
        let connection = pair.end(end);
        size_of::<Connection>() + connection.send.held() + connection.receive.held()
    };
    let mut pair = Pair::talking(LINUX, ms(1));
    assert!([0, 1].map(|end| held(&mut pair, end)).iter().all(|&bytes| bytes <= 2_048));
    for _ in 0..200 {
        pair.try_write(0, &[0; 1 << 20]).unwrap();
        pair.run_reading(ms(2));
    }
    pair.run_reading(secs(5));
    assert!([0, 1].map(|end| held(&mut pair, end)).iter().all(|&bytes| bytes <= 20_480));
}

/// A train is cut into segments from the moment on at which each is to be judged on its own, and
/// what is lost of an earlier train is repeated in segments.
#[test]
fn trains_can_be_forbidden_during_a_connection() {
    let mut pair = Pair::connected_with(Config { train: 65_160, ..LINUX }, DELAY);
    pair.fate = dead();
    pair.write(0, &[7; 20_000]);
    assert!(pair.sent(0, 3).any(|sent| sent.bytes > 1_448));
    pair.end(0).allow_trains(false);
    pair.fate = faultless(DELAY);
    let from = pair.log.len();
    assert_eq!(pair.run_reading(secs(10))[1], 20_000);
    assert!(pair.sent(0, from).all(|sent| sent.bytes <= 1_448), "{pair:?}");
}

/// Keepalive is silent while a FIN waits for room in the peer's window, as it is with data.
#[test]
fn keepalive_is_silent_while_a_fin_waits() {
    let keepalive = Some(sim_core::Keepalive { idle: secs(2), interval: secs(1), count: 3 });
    let mut pair = Pair::new(Config { keepalive, ..CONFIG }, CONFIG);
    pair.run(DELAY * 3);
    assert_eq!(pair.write(0, &[1; 10_000]), 10_000);
    pair.run(secs(1));
    assert_eq!(pair.counters(0).acknowledged, 10_000);
    pair.shutdown(0);
    let from = pair.log.len();
    pair.run(secs(60));
    let told = pair.sent(0, from).map(Sent::millis).collect::<Vec<_>>();
    assert!(told.len() < 10, "the window is asked for at {told:?}");
    assert_eq!(pair.run_reading(secs(120))[1], 10_000);
    assert_eq!(pair.states(), [State::FinWait2, State::CloseWait]);
}
