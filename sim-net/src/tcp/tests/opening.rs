//! Handshakes: T3 and T10 of `linux-tcp.md`.

use super::*;

/// L-02: the client after one round trip, the server after one and a half.
#[test]
fn a_handshake_takes_one_round_trip_for_the_client() {
    let mut pair = Pair::new(CONFIG, CONFIG);
    assert_eq!(pair.end(0).deadline(), Time::ZERO + Duration::from_secs(1));
    pair.run(DELAY * 2);
    assert_eq!(pair.states(), [State::Established, State::SynReceived]);
    assert_eq!(pair.end(0).take_signals(), Ready::WRITABLE);
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::Established; 2]);
    assert_eq!(pair.log.len(), 3);
}

/// L-01.
#[test]
fn a_reset_in_answer_to_a_syn_is_a_refusal() {
    let mut pair = Pair::new(CONFIG, CONFIG);
    let (_, (_, syn)) = pair.wire.pop_first().unwrap();
    pair.deliver(0, syn.refusal());
    assert_eq!(pair.read(0, 1), Err(ECONNREFUSED));
    assert_eq!(pair.read(0, 1), Ok(Some(vec![])));
    assert_eq!(pair.try_write(0, b"x"), Err(EPIPE));
}

/// L-96.
#[test]
fn two_ends_may_open_at_once() {
    let mut pair = Pair::new(CONFIG, CONFIG);
    pair.ends[1] = Some(Connection::connect(pair.now, Seq(9), CONFIG));
    pair.flush();
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::SynReceived; 2]);
    pair.run(DELAY);
    assert_eq!(pair.states(), [State::Established; 2]);
    pair.write(0, b"hello");
    pair.run(DELAY);
    assert_eq!(pair.read(1, 9), Ok(Some(b"hello".to_vec())));
}

/// When the first end sends SYNs into nothing, in seconds, and when it gives up.
fn syn_ladder(config: Config) -> (Vec<u64>, u64, Option<i32>) {
    let mut pair = Pair::over(dead(), config, config);
    pair.run_out(secs(10_000));
    let sent = pair.log.iter().map(|sent| sent.at.as_nanos() / 1_000_000_000).collect();
    let attempts: Vec<u16> = pair.log.iter().map(|sent| sent.attempt).collect();
    assert_eq!(attempts, (0..attempts.len() as u16).collect::<Vec<_>>());
    (sent, pair.now.as_nanos() / 1_000_000_000, pair.end(0).take_error())
}

/// L-03, L-04, L-05: the default, without linear timeouts, with a count of its own, and with a user
/// timeout.
#[test]
fn a_silent_peer_is_given_up_on_the_ladder_of_syns() {
    let timed_out = Some(ETIMEDOUT);
    let usual = vec![0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67];
    assert_eq!(syn_ladder(LINUX), (usual, 131, timed_out));
    let classic = Config { syn_linear_timeouts: 0, ..LINUX };
    assert_eq!(syn_ladder(classic), (vec![0, 1, 3, 7, 15, 31, 63], 127, timed_out));
    let counted = Config { syn_retries: 2, ..LINUX };
    assert_eq!(syn_ladder(counted), (vec![0, 1, 2, 3, 4, 5], 7, timed_out));
    let timed = Config { user_timeout: Some(secs(5)), ..LINUX };
    assert_eq!(syn_ladder(timed), (vec![0, 1, 2, 3, 4], 5, timed_out));
}

/// L-03, L-05, L-24: as long as a user timeout says, every two minutes in the end.
#[test]
fn a_long_user_timeout_repeats_the_syn_every_two_minutes() {
    let patient = Config { user_timeout: Some(secs(7_200)), ..LINUX };
    let (sent, over, error) = syn_ladder(patient);
    assert_eq!(sent[..13], [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 131, 251]);
    assert!(sent[11..].windows(2).all(|two| two[1] - two[0] == 120), "{sent:?}");
    assert_eq!((sent.last(), over, error), (Some(&7_091), 7_200, Some(ETIMEDOUT)));
}

/// L-06: the SYN-ACK is repeated after 1, 3, 7, 15 and 31 s; L-08: after 63 s it is forgotten.
#[test]
fn a_syn_ack_is_repeated_five_times() {
    let mut pair =
        Pair::over(Box::new(|sent| if sent.by == 0 { vec![DELAY] } else { vec![] }), LINUX, LINUX);
    pair.run(DELAY);
    pair.ends[0] = None;
    let from = pair.now;
    pair.run_out(secs(100));
    let sent = |sent: &Sent| (sent.at - from).as_secs();
    assert_eq!(pair.sent(1, 0).map(sent).collect::<Vec<_>>(), [0, 1, 3, 7, 15, 31]);
    assert_eq!((pair.now - from, pair.states()[1]), (secs(63), State::Closed));
}

/// L-06: a repeated SYN is answered at once.
#[test]
fn a_repeated_syn_is_answered_at_once() {
    let mut lost = 0;
    let fate = move |sent: &Sent| {
        let is_first = sent.by == 1 && lost == 0;
        lost += u32::from(is_first);
        let delay = if sent.attempt == 0 { ms(400) } else { ms(300) };
        if is_first { vec![] } else { vec![delay] }
    };
    let mut pair = Pair::over(Box::new(fate), LINUX, LINUX);
    pair.run(ms(1_299));
    assert_eq!(pair.sent(1, 0).count(), 1);
    pair.run(ms(1));
    let (again, at) = (pair.sent(1, 0).count(), pair.now);
    assert_eq!((again, at.as_nanos()), (2, 1_300_000_000));
    pair.run(ms(300));
    assert_eq!(pair.states()[0], State::Established);
}

/// L-06: when the third ACK is lost the client is connected all the same, and the server is when
/// its repeated SYN-ACK is answered, or when data arrives.
#[test]
fn a_lost_third_ack_is_made_good_by_the_syn_ack_or_by_data() {
    for with_data in [false, true] {
        let mut seen = 0;
        let fate = move |sent: &Sent| {
            seen += u32::from(sent.by == 0);
            if sent.by == 0 && seen == 2 { vec![] } else { vec![DELAY] }
        };
        let mut pair = Pair::over(Box::new(fate), LINUX, LINUX);
        pair.run(DELAY * 4);
        assert_eq!(pair.states(), [State::Established, State::SynReceived]);
        if with_data {
            pair.write(0, b"hello");
            pair.run(DELAY);
            assert_eq!(pair.read(1, 9), Ok(Some(b"hello".to_vec())));
        } else {
            pair.run(ms(990));
        }
        assert_eq!(pair.states(), [State::Established; 2]);
    }
}

/// L-81: with two SYNs lost the first flight is one segment.
#[test]
fn two_lost_syns_make_a_cautious_start() {
    for (lost, flight) in [(0, 10), (1, 10), (2, 1)] {
        let mut syns = 0;
        let fate = move |sent: &Sent| {
            syns += u32::from(sent.flags.has(Flags::SYN));
            if syns <= lost { vec![] } else { vec![ms(50)] }
        };
        let mut pair = Pair::over(Box::new(fate), LINUX, LINUX);
        pair.run(secs(3));
        let from = pair.log.len();
        pair.write(0, &[0; 30_000]);
        assert_eq!(pair.sent(0, from).count(), flight, "{lost} lost");
    }
}

/// RFC 9293 §3.5.1, figure 9; RFC 5961 §4: a host that has forgotten its connection opens it anew.
#[test]
fn a_half_open_peer_is_challenged_reset_and_connected_anew() {
    let mut pair = Pair::connected();
    pair.write(1, b"never read");
    pair.run(DELAY);
    pair.ends[0] = Some(Connection::connect(pair.now, Seq(5_000), CONFIG));
    pair.flush();
    pair.run(DELAY * 3);
    assert_eq!(pair.states(), [State::SynSent, State::Closed]);
    assert_eq!(pair.read(1, 9), Err(ECONNRESET));
    pair.ends[1] = None;
    pair.run(secs(1));
    assert_eq!(pair.states(), [State::Established; 2]);
}

/// RFC 7323 §2.2, RFC 2018 §2: what the peer does not offer is not used.
#[test]
fn options_are_used_only_if_both_offer_them() {
    let mut pair = Pair::new(LINUX, LINUX);
    let (key, (end, mut syn)) = pair.wire.pop_first().unwrap();
    (syn.syn.sack, syn.syn.window_scale, syn.timestamps) = (false, None, None);
    pair.wire.insert(key, (end, syn));
    pair.run(DELAY);
    let (_, (_, syn_ack)) = pair.wire.first_key_value().unwrap();
    assert_eq!((syn_ack.syn.sack, syn_ack.syn.window_scale), (false, None));
    assert_eq!((syn_ack.timestamps, syn_ack.syn.mss), (None, 1_460));
    pair.run(DELAY * 2);
    pair.write(1, &[0; 3_000]);
    let sizes: Vec<u32> = pair.sent(1, 0).map(|sent| sent.bytes).collect();
    assert_eq!(sizes, [0, 1_460, 1_460, 80]);
}

/// RFC 9293 §3.7.1: no segment carries more than its peer takes, whatever the sender's own path does.
#[test]
fn a_segment_is_as_large_as_the_smaller_of_both_ends_takes() {
    for [first, second] in [[1_448, 536], [536, 1_448]] {
        let config = |mss| Config { mss, train: mss, ..LINUX };
        let mut pair = Pair::new(config(first), config(second));
        pair.run(secs(1));
        for end in 0..2 {
            pair.write(end, &[7; 20_000]);
        }
        assert_eq!(pair.run_reading(secs(10)), [20_000; 2]);
        assert_eq!(pair.log.iter().map(|sent| sent.bytes).max(), Some(536));
    }
}
