//! Endings: T6 and T9 of `linux-tcp.md`.

use super::*;

/// L-50, L-55 and RFC 9293 figure 12.
#[test]
fn a_half_close_leaves_the_other_direction_open() {
    let mut pair = Pair::connected();
    pair.write(0, b"request");
    pair.shutdown(0);
    pair.run(DELAY);
    assert_eq!(pair.read(1, 100), Ok(Some(b"request".to_vec())));
    assert_eq!(pair.read(1, 100), Ok(Some(vec![])));
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::FinWait2, State::CloseWait]);
    pair.write(1, b"answer");
    pair.close(1);
    pair.run(DELAY);
    assert_eq!(pair.read(0, 100), Ok(Some(b"answer".to_vec())));
    assert_eq!(pair.read(0, 100), Ok(Some(vec![])));
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::TimeWait, State::Closed]);
}

/// L-60 and RFC 9293 figure 13.
#[test]
fn both_may_close_at_once() {
    let mut pair = Pair::connected();
    pair.close(0);
    pair.close(1);
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::Closing; 2]);
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::TimeWait; 2]);
}

/// L-51, L-52.
#[test]
fn closing_with_unread_data_resets_and_what_arrived_stays_readable() {
    let mut pair = Pair::connected();
    pair.write(0, b"sent by zero");
    pair.write(1, b"never read");
    pair.run(DELAY);
    pair.close(0);
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::Closed; 2]);
    assert_eq!(pair.read(1, 100), Ok(Some(b"sent by zero".to_vec())));
    assert_eq!(pair.read(1, 100), Err(ECONNRESET));
    assert_eq!(pair.read(1, 100), Ok(Some(vec![])));
}

/// L-50, L-65, L-66: the pending error of a reset after the peer's FIN is EPIPE, the writer's; reading
/// keeps giving the end.
#[test]
fn writing_to_a_closed_peer_gets_a_reset_and_then_epipe() {
    let mut pair = Pair::connected();
    pair.close(0);
    pair.run(DELAY * 2);
    assert_eq!(pair.read(1, 10), Ok(Some(vec![])));
    assert_eq!(pair.write(1, b"late"), 4);
    pair.run(DELAY * 2);
    assert_eq!(pair.try_write(1, b"later"), Err(EPIPE));
    assert_eq!(pair.read(1, 10), Ok(Some(vec![])));
}

/// L-53: all that was written before the close goes out as the peer reads, and the FIN after it.
#[test]
fn what_was_written_before_a_close_arrives_before_its_fin() {
    let mut pair = Pair::connected();
    assert_eq!(pair.write(0, &[1; 20_000]), 20_000);
    pair.close(0);
    pair.run(secs(1));
    assert!(!pair.sent(0, 0).any(|sent| sent.flags.has(Flags::FIN)), "half of it has no room");
    assert_eq!(pair.run_reading(secs(5))[1], 20_000);
    assert_eq!(pair.read(1, 9), Ok(Some(vec![])));
    assert_eq!(pair.states(), [State::FinWait2, State::CloseWait]);
}

/// L-59: an abort while the peer has unsent data. The peer's probe or data is not waited for.
#[test]
fn an_abort_takes_what_the_peer_had_not_sent() {
    let mut pair = Pair::connected();
    assert_eq!(pair.write(1, &[1; 20_000]), 20_000);
    pair.run(secs(1));
    assert!(pair.counters(1).sent < 20_000, "the window is full");
    pair.abort(0);
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::Closed; 2]);
    assert_eq!(pair.try_write(1, b"more"), Err(ECONNRESET));
    assert_eq!(pair.try_write(1, b"more"), Err(EPIPE));
}

/// L-58: unsent data is discarded, sent data is delivered before the error.
#[test]
fn an_abort_discards_what_was_not_sent() {
    let mut pair = Pair::connected();
    assert_eq!(pair.write(0, &[1; 20_000]), 20_000);
    pair.abort(0);
    pair.run(DELAY);
    let mut received = 0;
    let error = loop {
        match pair.read(1, 4_000) {
            Ok(Some(data)) => received += data.len(),
            Ok(None) => unreachable!("it was reset"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, ECONNRESET);
    assert!((8_000..=10_112).contains(&received), "one window: {received}");
}

/// An orphan does not wait in FIN_WAIT2 for ever.
#[test]
fn an_orphan_is_given_up_after_a_minute() {
    let mut pair = Pair::connected();
    pair.close(0);
    pair.run(DELAY * 2);
    assert_eq!(pair.states(), [State::FinWait2, State::CloseWait]);
    let at = pair.end(0).deadline();
    assert_eq!(at - pair.now, Duration::from_secs(60));
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.states()[0], State::Closed);
}

/// Fates that lose the `n`th segment that end `by` sends with FIN, or after it.
fn losing_after_fin(by: usize, n: u32) -> Fate {
    let (mut fin_seen, mut count) = (false, 0);
    Box::new(move |sent| {
        fin_seen |= sent.flags.has(Flags::FIN);
        let counts = sent.by == by && fin_seen;
        count += u32::from(counts);
        if counts && count == n { vec![] } else { vec![DELAY] }
    })
}

/// Whichever one segment of the closing is lost, both ends get there.
#[test]
fn one_loss_does_not_keep_the_ends_from_closing() {
    for (by, n) in [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)] {
        let mut pair = Pair::talking(LINUX, DELAY);
        pair.fate = losing_after_fin(by, n);
        pair.write(0, b"last");
        pair.close(0);
        pair.run(DELAY * 2);
        pair.run_reading(secs(2));
        pair.close(1);
        pair.run(secs(3));
        let states = pair.states();
        assert_eq!(states, [State::TimeWait, State::Closed], "{by} {n}\n{pair:?}");
    }
}

/// L-50, L-54: data that crossed the close gets a reset; what comes then gets one too.
#[test]
fn data_for_an_orphan_is_answered_by_a_reset() {
    let mut pair = Pair::connected();
    pair.write(1, &[7; 100]);
    pair.close(0);
    pair.run(DELAY);
    assert_eq!(pair.states()[0], State::Closed);
    let reset = pair.log.iter().find(|sent| sent.flags.has(Flags::RST)).unwrap();
    assert!(!reset.flags.has(Flags::ACK));
    pair.run(DELAY);
    assert_eq!(pair.states()[1], State::Closed);
    assert_eq!(pair.read(1, 9), Ok(Some(vec![])), "the FIN came first");
    assert_eq!(pair.try_write(1, b"x"), Err(EPIPE));
}

/// L-90, L-91: a peer that has forgotten the connection resets it when it hears of it.
#[test]
fn a_forgotten_connection_is_reset_at_the_next_segment() {
    let mut pair = Pair::talking(LINUX, DELAY);
    (pair.ends[1], pair.listens) = (None, false);
    pair.run(secs(100));
    assert_eq!(pair.states()[0], State::Established, "it never notices by itself");
    pair.write(0, b"hello?");
    pair.run(DELAY * 2);
    assert_eq!(pair.read(0, 9), Err(ECONNRESET));
    assert_eq!(pair.try_write(0, b"x"), Err(EPIPE));
}

/// RFC 5961 §3: a reset that lost data was ahead of is challenged, and the second one is exact.
#[test]
fn a_reset_behind_a_gap_is_challenged_and_repeated() {
    let mut pair = Pair::connected();
    pair.fate = Box::new(|sent| if sent.bytes > 0 { vec![] } else { vec![DELAY] });
    pair.write(0, &[1; 3_000]);
    pair.abort(0);
    pair.run(DELAY);
    assert_eq!(pair.states()[1], State::Established);
    (pair.ends[0], pair.listens) = (None, false);
    pair.run(DELAY * 2);
    assert_eq!(pair.read(1, 9), Err(ECONNRESET));
}

const KEEPALIVE: Config = Config {
    keepalive: Some(sim_core::Keepalive { idle: secs(2), interval: secs(1), count: 3 }),
    ..LINUX
};

/// L-92: probes at 2, 3 and 4 s after the last data, a reset and the error at 5 s.
#[test]
fn keepalive_gives_a_silent_peer_up() {
    let mut pair = Pair::connected_with(KEEPALIVE, DELAY);
    let began = pair.end(0).heard_at;
    pair.fate = dead();
    let from = pair.log.len();
    pair.run_out(secs(100));
    let at = |sent: &Sent| (sent.at - began).as_secs();
    assert_eq!(pair.sent(0, from).map(at).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert!(pair.sent(0, from).last().unwrap().flags.has(Flags::RST));
    assert_eq!(pair.read(0, 9), Err(ETIMEDOUT));
}

/// L-92: answered probes come once in an idle time, and go on for ever.
#[test]
fn answered_keepalive_probes_go_on() {
    let mut pair = Pair::connected_with(KEEPALIVE, DELAY);
    pair.ends[1].as_mut().unwrap().config.keepalive = None;
    let from = pair.log.len();
    pair.run(secs(100));
    let probes = pair.sent(0, from).count();
    assert!((48..=50).contains(&probes), "{probes}");
    assert_eq!(pair.sent(1, from).count(), probes);
}

/// L-94: with unacknowledged data only the ladder of timeouts counts. L-93: a peer that is gone.
#[test]
fn keepalive_is_silent_while_data_is_out_and_finds_a_gone_peer() {
    let mut pair = Pair::connected_with(KEEPALIVE, DELAY);
    pair.fate = dead();
    pair.write(0, b"x");
    pair.run(secs(60));
    assert_eq!(pair.states()[0], State::Established);
    let mut pair = Pair::connected_with(KEEPALIVE, DELAY);
    (pair.ends[1], pair.listens) = (None, false);
    pair.run(secs(2) + DELAY);
    assert_eq!(pair.read(0, 9), Err(ECONNRESET));
}

/// L-95: with a user timeout of 3.5 s the error comes at the first expiry after it, at 4 s.
#[test]
fn a_user_timeout_ends_keepalive_too() {
    let config = Config { user_timeout: Some(ms(3_500)), ..KEEPALIVE };
    let mut pair = Pair::connected_with(config, DELAY);
    let began = pair.end(0).heard_at;
    pair.fate = dead();
    pair.run_out(secs(100));
    let end = pair.log.iter().find(|sent| sent.flags.has(Flags::RST)).unwrap();
    assert_eq!((end.at - began).as_secs(), 4);
}

/// A retransmitted FIN finds the last acknowledgement lost: it is repeated, with its timestamps.
#[test]
fn time_wait_answers_a_repeated_fin() {
    use crate::address::{Endpoint, Ip};
    use crate::tcp::time_wait::{TimeWaits, Verdict};
    let mut pair = Pair::talking(LINUX, DELAY);
    pair.close(0);
    pair.run(DELAY);
    pair.fate = Box::new(|sent| if sent.by == 0 { vec![] } else { vec![DELAY] });
    pair.close(1);
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::TimeWait, State::LastAck]);
    let mut waits = TimeWaits::default();
    let end = |port| Endpoint::new(Ip::v4(0x0a00_0001), port);
    let names = (end(1), end(2));
    waits.insert(names, pair.end(0).remains(), pair.now);
    pair.fate = faultless(secs(100));
    pair.run(secs(1));
    let (_, (_, fin)) = pair.wire.pop_last().expect("it is repeated");
    let Verdict::Answer(answer) = waits.on_segment(names, &fin, pair.now) else {
        panic!("a FIN is answered");
    };
    pair.deliver(1, answer);
    assert_eq!(pair.states()[1], State::Closed);
    let again = pair.now + secs(60);
    assert!(waits.holds(names, Time::from_nanos(again.as_nanos() - 1)), "its time began anew");
    assert!(!waits.holds(names, again));
}

/// Linux's `tcp_probe_timer`: an orphan whose peer keeps its window closed is given up when its probes are two
/// minutes apart, however well they are answered. What is open goes on asking.
#[test]
fn an_orphan_is_given_up_if_its_peer_never_reads() {
    for closes in [true, false] {
        let mut pair = Pair::connected();
        pair.write(0, &[1; 20_000]);
        pair.run(secs(1));
        if closes {
            pair.close(0);
        }
        pair.run(secs(300));
        assert_ne!(pair.states()[0], State::Closed);
        pair.run(secs(100));
        assert_eq!(pair.states()[0] == State::Closed, closes);
    }
}
