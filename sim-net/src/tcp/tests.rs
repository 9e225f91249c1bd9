//! Two connections and a pipe between them: RFC 9293 as a whole, without hosts or sockets.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use sim_core::Time;

use super::connection::{Config, Connection, State};
use super::segment::{Flags, Segment, Seq};
use crate::buffer::Pool;
use crate::errno::{ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT};
use crate::socket_table::Ready;

const CONFIG: Config =
    Config { mss: 1_448, train: 1_448, send_buffer: 20_000, receive_buffer: 10_000 };
const DELAY: Duration = Duration::from_millis(10);

/// Two ends and the segments between them, in order.
struct Pair {
    now: Time,
    pool: Pool,
    ends: [Option<Connection>; 2],
    /// What is on its way to each end.
    wires: [VecDeque<(Time, Segment)>; 2],
    /// Every segment sent: by whom, its control bits, its data.
    log: Vec<(usize, Flags, u32)>,
    delay: Duration,
    second: Config,
}

impl Pair {
    /// A client that has just asked to connect, and a listening server.
    fn new(first: Config, second: Config) -> Self {
        let now = Time::ZERO;
        let client = Connection::connect(now, Seq(u32::MAX - 3_000), first);
        let mut pair = Self {
            now,
            pool: Pool::default(),
            ends: [Some(client), None],
            wires: Default::default(),
            log: Vec::new(),
            delay: DELAY,
            second,
        };
        pair.flush();
        pair
    }

    fn connected() -> Self {
        let mut pair = Self::new(CONFIG, CONFIG);
        pair.run(DELAY * 3);
        assert_eq!(pair.states(), [State::Established; 2]);
        pair
    }

    #[track_caller]
    fn end(&mut self, end: usize) -> &mut Connection {
        self.ends[end].as_mut().expect("it exists")
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|end| self.ends[end].as_ref().map_or(State::Closed, Connection::state))
    }

    fn flush(&mut self) {
        for end in 0..2 {
            let Some(connection) = &mut self.ends[end] else {
                continue;
            };
            while let Some(segment) = connection.transmit(self.now) {
                self.log.push((end, segment.flags, segment.data_len()));
                self.wires[1 - end].push_back((self.now + self.delay, segment));
            }
        }
    }

    /// The next moment at which something happens.
    fn next_time(&self) -> Time {
        let arrivals = self.wires.iter().filter_map(|wire| wire.front()).map(|&(at, _)| at);
        let timers = self.ends.iter().flatten().map(Connection::deadline);
        arrivals.chain(timers).min().unwrap_or(Time::NEVER)
    }

    fn step(&mut self) {
        for end in 0..2 {
            while self.wires[end].front().is_some_and(|&(at, _)| at <= self.now) {
                let (_, segment) = self.wires[end].pop_front().unwrap();
                self.deliver(end, segment);
                self.flush();
            }
            if let Some(connection) = &mut self.ends[end]
                && connection.deadline() <= self.now
            {
                connection.on_timer(self.now, &mut self.pool);
            }
        }
        self.flush();
    }

    fn deliver(&mut self, end: usize, segment: Segment) {
        match &mut self.ends[end] {
            Some(connection) => connection.on_segment(segment, self.now, &mut self.pool),
            None if segment.flags.has(Flags::SYN) => {
                self.ends[end] = Some(Connection::accept(&segment, Seq(77), self.second));
            }
            None => {}
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.next_time() <= until {
            self.now = self.next_time().max(self.now);
            self.step();
        }
        self.now = until;
    }

    #[track_caller]
    fn write(&mut self, end: usize, data: &[u8]) -> usize {
        let connection = self.ends[end].as_mut().expect("it exists");
        let written = connection.write(data, &mut self.pool).expect("it can be written to");
        self.flush();
        written
    }

    fn read(&mut self, end: usize, most: usize) -> Result<Option<Vec<u8>>, i32> {
        let mut buf = vec![0; most];
        let connection = self.ends[end].as_mut().expect("it exists");
        let read = connection.read(&mut buf, &mut self.pool);
        self.flush();
        read.map(|read| {
            read.map(|length| {
                buf.truncate(length);
                buf
            })
        })
    }

    fn close(&mut self, end: usize) {
        let now = self.now;
        let connection = self.ends[end].as_mut().expect("it exists");
        connection.close(now, &mut self.pool);
        self.flush();
    }

    fn shutdown(&mut self, end: usize) {
        self.end(end).shutdown_write();
        self.flush();
    }

    fn abort(&mut self, end: usize) {
        let connection = self.ends[end].as_mut().expect("it exists");
        connection.abort(&mut self.pool);
        self.flush();
    }
}

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

/// L-03: SYNs at 0, 1, 2, 3, 4, 5, 7, 11, 19, 35 and 67 s, the error at 131 s.
#[test]
fn a_silent_peer_is_given_up_after_131_seconds() {
    let mut connection = Connection::connect(Time::ZERO, Seq(1), CONFIG);
    let (mut now, mut sent) = (Time::ZERO, Vec::new());
    while connection.state() == State::SynSent {
        if connection.transmit(now).is_some() {
            sent.push(now.since_epoch().as_secs());
        }
        now = connection.deadline();
        connection.on_timer(now, &mut Pool::default());
    }
    assert_eq!(sent, [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67]);
    assert_eq!(now.since_epoch(), Duration::from_secs(131));
    assert_eq!(connection.take_error(), Some(ETIMEDOUT));
}

/// L-01.
#[test]
fn a_reset_in_answer_to_a_syn_is_a_refusal() {
    let mut pair = Pair::new(CONFIG, CONFIG);
    let (_, syn) = pair.wires[1].pop_front().unwrap();
    pair.deliver(0, syn.refusal());
    assert_eq!(pair.read(0, 1), Err(ECONNREFUSED));
    assert_eq!(pair.read(0, 1), Ok(Some(vec![])));
    let Pair { ends: [Some(client), _], pool, .. } = &mut pair else { unreachable!() };
    assert_eq!(client.write(b"x", pool), Err(EPIPE));
}

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

/// L-50: the first write after the peer closed succeeds, its answer is a reset, and the error is
/// the writer's.
#[test]
fn writing_to_a_closed_peer_gets_a_reset_and_then_epipe() {
    let mut pair = Pair::connected();
    pair.close(0);
    pair.run(DELAY * 2);
    assert_eq!(pair.read(1, 10), Ok(Some(vec![])));
    assert_eq!(pair.write(1, b"late"), 4);
    pair.run(DELAY * 2);
    let Pair { ends: [_, Some(server)], pool, .. } = &mut pair else { unreachable!() };
    assert_eq!(server.write(b"later", pool), Err(EPIPE));
    assert_eq!(pair.read(1, 10), Ok(Some(vec![])));
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

/// A receiver that does not read is never sent more than its window, and hears nothing more.
#[test]
fn the_receive_window_bounds_what_is_in_flight() {
    let mut pair = Pair::connected();
    assert_eq!(pair.write(0, &[1; 50_000]), 20_000, "the send buffer");
    pair.run(Duration::from_secs(100));
    let unread = pair.end(1).available();
    assert!((8_552..=10_112).contains(&unread), "{unread}");
    let segments = pair.log.len();
    pair.run(Duration::from_secs(100));
    assert_eq!(pair.log.len(), segments);
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
        let config = Config { train, send_buffer: buffers.0, receive_buffer: buffers.1, ..CONFIG };
        let mut pair = Pair::new(config, Config { mss: 900, train: train.max(900), ..config });
        pair.delay = Duration::from_millis(delay);
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
