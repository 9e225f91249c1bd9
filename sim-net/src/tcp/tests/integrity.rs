//! Every byte arrives, in order, or the right error does.

use proptest::prelude::*;

use super::*;

/// What an application does at one end, now and then.
#[derive(Clone, Debug)]
enum Action {
    Write(usize),
    Read(usize),
    Shutdown,
    Wait(u64),
}

fn action() -> impl Strategy<Value = (usize, Action)> {
    let what = prop_oneof![
        6 => (1..9_000_usize).prop_map(Action::Write),
        6 => (1..9_000_usize).prop_map(Action::Read),
        1 => Just(Action::Shutdown),
        4 => (0..90_u64).prop_map(Action::Wait),
    ];
    (0..2_usize, what)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// Whatever the two applications do, every byte arrives, in order, and both ends end.
    #[test]
    fn every_byte_arrives_in_order_and_both_ends_end(
        actions in prop::collection::vec(action(), 0..120),
        delay in 0..120_u64,
        train in prop_oneof![Just(1_448_u32), Just(65_160)],
        buffers in (2_000..40_000_usize, 2_000..40_000_usize),
    ) {
        let (send, receive) = (BufferSize::fixed(buffers.0), BufferSize::fixed(buffers.1));
        let config = Config { train, send_buffer: send, receive_buffer: receive, ..LINUX };
        let second = Config { mss: 900, train: train.max(900), ..config };
        let mut pair = Pair::over(faultless(ms(delay)), config, second);
        pair.run(Duration::from_secs(3));
        prop_assert_eq!(pair.states(), [State::Established; 2]);
        let (mut written, mut read) = ([0_usize; 2], [0_usize; 2]);
        let (mut shut, mut ended) = ([false; 2], [false; 2]);
        let byte = |end: usize, at: usize| (at * 7 + end * 3 + at / 251) as u8;
        let finish = [Action::Shutdown, Action::Read(usize::MAX)].map(|a| [(0, a.clone()), (1, a)]);
        for (end, action) in actions.into_iter().chain(finish.into_iter().flatten()) {
            let drain = matches!(action, Action::Read(usize::MAX));
            match action {
                Action::Write(length) if !shut[end] => {
                    let data: Vec<u8> = (0..length).map(|i| byte(end, written[end] + i)).collect();
                    written[end] += pair.write(end, &data);
                }
                Action::Write(_) => {}
                Action::Shutdown => {
                    shut[end] = true;
                    pair.shutdown(end);
                }
                Action::Wait(millis) => pair.run(Duration::from_millis(millis)),
                Action::Read(most) => {
                    for round in 0.. {
                        prop_assert!(round < 10_000, "it never ends");
                        match pair.read(end, most.min(5_000)) {
                            Ok(Some(data)) if data.is_empty() => ended[end] = true,
                            Ok(Some(data)) => for got in data {
                                prop_assert_eq!(got, byte(1 - end, read[end]));
                                read[end] += 1;
                            },
                            Ok(None) => {}
                            Err(error) => prop_assert!(false, "error {}", error),
                        }
                        if !drain || ended[end] {
                            break;
                        }
                        pair.run(Duration::from_millis(50));
                    }
                }
            }
        }
        prop_assert_eq!(ended, [true; 2]);
        prop_assert_eq!(read, [written[1], written[0]]);
        pair.run(Duration::from_secs(5));
        for state in pair.states() {
            prop_assert!(matches!(state, State::Closed | State::TimeWait), "{:?}", state);
        }
    }
}

/// How a pipe treats segments, in parts of a thousand.
#[derive(Clone, Copy, Debug)]
struct Weather {
    seed: u64,
    loss: u64,
    duplicates: u64,
    delay: u64,
    jitter: u64,
}

impl Weather {
    fn fate(self) -> Fate {
        let mut chance = Chance(self.seed);
        Box::new(move |_| {
            let mut travel =
                |it: Self| Duration::from_micros(it.delay + chance.below(it.jitter + 1));
            let (first, second) = (travel(self), travel(self));
            match chance.below(1_000) {
                n if n < self.loss => vec![],
                n if n < self.loss + self.duplicates => vec![first, second],
                _ => vec![first],
            }
        })
    }
}

fn weather() -> impl Strategy<Value = Weather> {
    (any::<u64>(), 0..250_u64, 0..200_u64, 0..50_000_u64, 0..60_000_u64).prop_map(
        |(seed, loss, duplicates, delay, jitter)| Weather { seed, loss, duplicates, delay, jitter },
    )
}

/// The timers of both ends, in words.
fn alarms(pair: &Pair) -> Vec<String> {
    pair.ends.iter().flatten().map(Connection::deadline_told).collect()
}

/// Sends `lengths` bytes from each end to the other, and closes; what each got, and the time.
fn exchange(mut pair: Pair, lengths: [usize; 2]) -> Result<(Pair, Duration), TestCaseError> {
    let byte = |end: usize, at: usize| (at * 7 + end * 3 + at / 251) as u8;
    let (mut written, mut read) = ([0_usize; 2], [0_usize; 2]);
    let mut ended = [false; 2];
    let limit = Time::ZERO + secs(7_200);
    let mut standing = 0;
    while ended != [true; 2] {
        prop_assert!(
            pair.now < limit,
            "no progress: {:?} of {:?}\n{:?}",
            read,
            lengths,
            pair.states()
        );
        for end in 0..2 {
            if pair.ends[end].is_none() {
                continue;
            }
            let rest: Vec<u8> =
                (written[end]..lengths[end]).take(20_000).map(|at| byte(end, at)).collect();
            let state = pair.states()[end];
            let may_write = matches!(state, State::Established | State::CloseWait);
            if may_write && rest.is_empty() {
                pair.shutdown(end);
            } else if may_write {
                written[end] += pair.write(end, &rest);
            }
            while !ended[end] && state != State::SynSent {
                match pair.read(end, 5_000) {
                    Ok(Some(data)) if data.is_empty() => ended[end] = true,
                    Ok(Some(data)) => {
                        for got in data {
                            prop_assert_eq!(got, byte(1 - end, read[end]));
                            read[end] += 1;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => prop_assert!(false, "error {}", error),
                }
            }
        }
        let next = pair.next_time();
        prop_assert!(
            next != Time::NEVER,
            "it hangs: {:?} of {:?}: {:?}",
            read,
            lengths,
            alarms(&pair)
        );
        standing = if next > pair.now { 0 } else { standing + 1 };
        prop_assert!(standing < 100_000, "time stands still at {}: {:?}", pair.now, alarms(&pair));
        pair.now = next.max(pair.now);
        pair.step();
    }
    prop_assert_eq!(read, [lengths[1], lengths[0]]);
    let took = pair.now - Time::ZERO;
    Ok((pair, took))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    /// Loss up to a quarter, duplicates, reordering: what is read is what was written, all of it.
    #[test]
    fn every_byte_arrives_through_any_weather(
        weather in weather(),
        lengths in (0..120_000_usize, 0..60_000_usize),
        sack in any::<bool>(),
        reno in any::<bool>(),
        small in any::<bool>(),
    ) {
        use crate::tcp::congestion::CongestionControl;
        let algorithm = if reno { CongestionControl::Reno } else { CongestionControl::Cubic };
        let base = if small { CONFIG } else { LINUX };
        // A connection that gives up in such weather, as Linux does, is none of this test's business.
        let patient = Config { sack, algorithm, syn_retries: 30, syn_ack_retries: 30, retries: 60, ..base };
        let pair = Pair::over(weather.fate(), patient, Config { mss: 1_000, ..patient });
        let (mut pair, _) = exchange(pair, [lengths.0, lengths.1])?;
        for (end, length) in [(0, lengths.0), (1, lengths.1)] {
            let (own, peer) = (pair.counters(end), pair.counters(1 - end));
            prop_assert_eq!((own.written, own.sent), (length as u64, length as u64));
            prop_assert_eq!((peer.received, peer.read), (length as u64, length as u64));
        }
    }

    /// A link that dies for good ends in ETIMEDOUT, and nothing false is read before.
    #[test]
    fn a_dead_link_ends_in_a_timeout(after in 3..200_usize, length in 1..200_000_usize) {
        let mut count = 0;
        let fate = move |_: &Sent| {
            count += 1;
            if count > after { vec![] } else { vec![DELAY] }
        };
        let mut pair = Pair::over(Box::new(fate), LINUX, LINUX);
        pair.run(DELAY * 4);
        let data = vec![7; length];
        let mut written = 0;
        for _ in 0..100 {
            written += pair.try_write(0, &data[written..]).unwrap_or(0);
            pair.run_reading(ms(50));
        }
        pair.run_out(secs(3_600));
        let counters = pair.counters(0);
        if counters.acknowledged < counters.written {
            prop_assert_eq!(pair.states()[0], State::Closed);
            prop_assert_eq!(pair.end(0).take_error(), Some(ETIMEDOUT));
        }
        prop_assert!(pair.counters(1).received <= counters.written);
    }
}
