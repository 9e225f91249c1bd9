//! Two state machines over a pipe that loses, reorders, doubles and damages.

use std::time::Duration;

use proptest::prelude::*;
use sim_core::{Rng, Time};

use super::Flaw;
use super::connection::Connection;

/// What the pipe does, each to so many of a thousand datagrams.
#[derive(Debug, Clone, Copy)]
struct Pipe {
    lost: u64,
    doubled: u64,
    damaged: u64,
    /// The longest that one takes; the shortest is a millisecond.
    delay_max: Duration,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Both sides closed, with what each got, and how long it took.
    Closed([Vec<u8>; 2], Duration),
    /// Somebody gave up, or it would have gone on for ever.
    Stuck,
}

fn transfer(bodies: [&[u8]; 2], pipe: Pipe, seed: u64, flaw: Flaw) -> End {
    let mut rng = Rng::from_seed([seed as u8; 32]);
    let mut sides = [Connection::new(flaw), Connection::new(flaw)];
    let mut got = [Vec::new(), Vec::new()];
    // By arrival: when, whereto, and what.
    let mut wire: Vec<(Time, usize, Vec<u8>)> = Vec::new();
    for (side, body) in sides.iter_mut().zip(bodies) {
        side.write(body);
        side.finish();
    }
    let mut now = Time::ZERO;
    for _ in 0..200_000 {
        for (from, side) in sides.iter_mut().enumerate() {
            side.flush(now, |datagram| {
                let copies = 1 + u64::from(rng.ratio(pipe.doubled, 1_000));
                for _ in 0..copies {
                    if rng.ratio(pipe.lost, 1_000) {
                        continue;
                    }
                    let mut datagram = datagram.to_vec();
                    if rng.ratio(pipe.damaged, 1_000) {
                        let bit = rng.below(datagram.len() as u64 * 8) as usize;
                        datagram[bit / 8] ^= 1 << (bit % 8);
                    }
                    let delay = rng.duration(Duration::from_millis(1)..pipe.delay_max);
                    wire.push((now + delay, 1 - from, datagram));
                }
            });
        }
        if sides.iter().all(|side| side.has_ended() && side.is_acknowledged()) {
            return End::Closed(got, now.since_epoch());
        }
        let arrival = wire.iter().map(|(at, ..)| *at).min();
        let deadline = sides.iter().filter_map(Connection::deadline).min();
        let Some(next) = arrival.into_iter().chain(deadline).min() else { return End::Stuck };
        now = now.max(next);
        if sides.iter().any(|side| side.is_hopeless(now)) {
            return End::Stuck;
        }
        while let Some(index) = wire.iter().position(|(at, ..)| *at <= now) {
            let (_, to, datagram) = wire.swap_remove(index);
            sides[to].receive(now, &datagram);
            got[to].extend(sides[to].take_received());
        }
    }
    End::Stuck
}

const BAD: Pipe =
    Pipe { lost: 100, doubled: 50, damaged: 20, delay_max: Duration::from_millis(30) };

fn body(length: usize, salt: u8) -> Vec<u8> {
    (0..length).map(|index| (index / 7) as u8 ^ (index as u8).wrapping_mul(salt)).collect()
}

#[test]
fn a_good_pipe_needs_no_repetition() {
    let (left, right) = (body(50_000, 3), body(1, 5));
    let mut sides = [Connection::new(Flaw::None), Connection::new(Flaw::None)];
    sides[0].write(&left);
    sides[1].write(&right);
    sides.iter_mut().for_each(Connection::finish);
    let (mut now, mut got) = (Time::ZERO, [Vec::new(), Vec::new()]);
    for _ in 0..10 {
        let mut wire = [Vec::new(), Vec::new()];
        for from in 0..2 {
            sides[from].flush(now, |datagram| wire[1 - from].push(datagram.to_vec()));
        }
        now += Duration::from_millis(1);
        for to in 0..2 {
            for datagram in &wire[to] {
                sides[to].receive(now, datagram);
            }
            got[to].extend(sides[to].take_received());
        }
    }
    assert_eq!(got, [right, left]);
    assert!(sides.iter().all(|side| side.is_acknowledged() && side.retransmissions() == 0));
}

#[test]
fn the_window_bounds_what_is_on_its_way() {
    let mut side = Connection::new(Flaw::None);
    side.write(&vec![1; 1_000_000]);
    let mut sent = 0;
    side.flush(Time::ZERO, |_| sent += 1);
    side.flush(Time::ZERO, |_| sent += 1);
    assert_eq!(sent, 64);
}

#[test]
fn a_lost_segment_is_sent_again_before_its_time_when_three_beyond_it_came() {
    let (mut left, mut right) = (Connection::new(Flaw::None), Connection::new(Flaw::None));
    left.write(&vec![1; 6_000]);
    let mut wire = Vec::new();
    left.flush(Time::ZERO, |datagram| wire.push(datagram.to_vec()));
    wire.remove(0);
    let now = Time::ZERO + Duration::from_millis(1);
    let mut sent = Vec::new();
    for datagram in wire {
        right.receive(now, &datagram);
        right.flush(now, |ack| left.receive(now, ack));
        left.flush(now, |datagram| sent.push(datagram.to_vec()));
    }
    assert_eq!(sent.len(), 1);
    right.receive(now, &sent[0]);
    assert_eq!(right.take_received().len(), 6_000);
}

#[test]
fn every_flaw_is_caught_on_a_bad_pipe() {
    let (left, right) = (body(60_000, 3), body(40_000, 5));
    let is_right = |seed, flaw| match transfer([&left, &right], BAD, seed, flaw) {
        End::Closed([to_left, to_right], _) => (to_left, to_right) == (right.clone(), left.clone()),
        End::Stuck => false,
    };
    for flaw in [
        Flaw::NoRetransmission,
        Flaw::NoDuplicateFilter,
        Flaw::NoReordering,
        Flaw::AcknowledgeGaps,
        Flaw::NoChecksum,
        Flaw::DeafWhenClosed,
    ] {
        assert!((0..40).any(|seed| !is_right(seed, flaw)), "{flaw:?}");
    }
    assert!((0..40).all(|seed| is_right(seed, Flaw::None)));
}

#[test]
fn a_third_of_loss_is_slow_and_no_more() {
    let pipe = Pipe { lost: 333, ..BAD };
    let body = body(20_000, 3);
    for seed in 0..10 {
        match transfer([&body, &body], pipe, seed, Flaw::None) {
            End::Closed(got, took) => {
                assert!(got == [body.clone(), body.clone()]);
                assert!(took < Duration::from_secs(30), "{took:?}");
            }
            End::Stuck => panic!("seed {seed}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the pipe does, both sides get exactly what the other wrote, and close.
    #[test]
    fn both_bodies_arrive_whole(
        lengths in [0_usize..40_000, 0_usize..40_000],
        lost in 0_u64..250,
        doubled in 0_u64..300,
        damaged in 0_u64..100,
        delay_max in 2_u64..80,
        seed in 0_u64..256,
    ) {
        let delay_max = Duration::from_millis(delay_max);
        let bodies = [body(lengths[0], 3), body(lengths[1], 5)];
        let pipe = Pipe { lost, doubled, damaged, delay_max };
        match transfer([&bodies[0], &bodies[1]], pipe, seed, Flaw::None) {
            End::Closed(got, _) => {
                prop_assert!(got[0] == bodies[1] && got[1] == bodies[0]);
            }
            End::Stuck => prop_assert!(false, "stuck"),
        }
    }
}
