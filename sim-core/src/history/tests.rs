//! Histories whose verdict is known, and random ones against a search without any shortcut.

use proptest::prelude::*;

use super::{Call, Ended, History, Model, Operation, Verdict, check, check_within};

/// Registers by key: `(key, Some(value))` writes, `(key, None)` reads.
struct Registers;

impl Model for Registers {
    type Input = (u64, Option<u64>);
    type Output = u64;
    type State = u64;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, input: &Self::Input, output: Option<&u64>) -> Option<u64> {
        match input.1 {
            Some(written) => Some(written),
            None => output.is_none_or(|read| read == state).then_some(*state),
        }
    }

    fn part(&self, input: &Self::Input) -> u64 {
        input.0
    }
}

type Registered = History<(u64, Option<u64>), u64>;

fn write(history: &Registered, process: u64, value: u64) -> Call {
    history.call(process, (0, Some(value)))
}

fn read(history: &Registered, process: u64, value: u64) {
    let call = history.call(process, (0, None));
    history.returns(call, value);
}

#[test]
fn an_empty_history_can_be() {
    assert!(check(&Registers, &Registered::new()).is_yes());
}

#[test]
fn a_write_that_nobody_knows_of_may_have_happened_at_any_time_or_never() {
    for (seen, can_be) in
        [(&[0, 0, 0][..], true), (&[0, 7, 7], true), (&[7, 7], true), (&[7, 0], false)]
    {
        let history = Registered::new();
        write(&history, 1, 7);
        seen.iter().for_each(|&value| read(&history, 2, value));
        assert_eq!(check(&Registers, &history).is_yes(), can_be, "{seen:?}");
    }
}

#[test]
fn a_write_that_failed_was_seen_by_nobody() {
    let history = Registered::new();
    let call = write(&history, 1, 7);
    history.fails(call);
    read(&history, 2, 0);
    assert!(check(&Registers, &history).is_yes());
    read(&history, 2, 7);
    let verdict = check(&Registers, &history);
    let Verdict::Violated(violation) = &verdict else { panic!("{verdict}") };
    assert_eq!(violation.longest.len(), 1);
    assert_eq!(violation.stuck, ["4.. process 2: (0, None) -> 7 at 5"]);
    assert!(verdict.to_string().contains("none of these can come next"), "{verdict}");
}

#[test]
fn two_readers_see_two_writes_in_one_order() {
    let history = Registered::new();
    let (a, b) = (write(&history, 1, 1), write(&history, 2, 2));
    read(&history, 3, 1);
    read(&history, 3, 2);
    read(&history, 4, 1);
    history.returns(a, 0);
    history.returns(b, 0);
    assert!(!check(&Registers, &history).is_yes());
}

#[test]
fn keys_have_nothing_to_do_with_each_other() {
    // Thirty keys with five overlapping writes each: together far too many orders to look at.
    let history = Registered::new();
    let mut calls = Vec::new();
    for key in 0..30 {
        for value in 0..5 {
            calls.push(history.call(key * 10 + value, (key, Some(value))));
        }
    }
    calls.into_iter().for_each(|call| history.returns(call, 0));
    assert!(check_within(&Registers, &history, 1_000).is_yes());
}

#[test]
fn a_search_that_is_ended_is_no_yes() {
    let history = Registered::new();
    let calls: Vec<Call> = (0..20).map(|n| write(&history, n, n)).collect();
    // Nobody wrote what is read, which only a full search can tell.
    let reading = history.call(99, (0, None));
    calls.into_iter().for_each(|call| history.returns(call, 0));
    history.returns(reading, 1_000);
    let verdict = check_within(&Registers, &history, 500);
    assert!(matches!(verdict, Verdict::Unknown { looked_at: 501 }) && !verdict.is_yes());
}

#[test]
#[should_panic(expected = "process 1 has an operation that is open")]
fn a_process_has_one_operation_at_a_time() {
    let history = Registered::new();
    write(&history, 1, 7);
    write(&history, 1, 8);
}

/// Tries every order.
fn can_be(
    operations: &[Operation<(u64, Option<u64>), u64>],
    placed: &mut Vec<usize>,
    state: u64,
) -> bool {
    let open = |index: &usize| !placed.contains(index);
    let must = |index: &usize| matches!(operations[*index].ended, Ended::Ok(..));
    if !(0..operations.len()).filter(open).any(|index| must(&index)) {
        return true;
    }
    for index in (0..operations.len()).filter(open).collect::<Vec<usize>>() {
        let operation = &operations[index];
        let too_early = (0..operations.len()).filter(|it| !placed.contains(it)).any(
            |other| matches!(operations[other].ended, Ended::Ok(_, at) if at < operation.called),
        );
        let output = match &operation.ended {
            Ended::Ok(output, _) => Some(output),
            _ => None,
        };
        let next = Registers.step(&state, &operation.input, output);
        if let (false, Some(next)) = (too_early, next) {
            placed.push(index);
            if can_be(operations, placed, next) {
                return true;
            }
            placed.pop();
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_search_agrees_with_one_that_tries_every_order(
        script in proptest::collection::vec((0_u64..3, proptest::option::of(0_u64..3), 0_u64..3, 0_u8..4), 0..8),
    ) {
        let history = Registered::new();
        let mut open: Vec<(Call, u64)> = Vec::new();
        for (number, (_, written, seen, what)) in script.into_iter().enumerate() {
            open.push((history.call(number as u64, (0, written)), seen));
            // Some return now, some later, some never.
            if what > 1 {
                let (call, seen) = open.remove(0);
                history.returns(call, seen);
            }
        }
        let slow = can_be(&history.operations(), &mut Vec::new(), 0);
        prop_assert_eq!(check(&Registers, &history).is_yes(), slow);
    }
}
