//! Histories whose verdict is known, and random ones against a search without any shortcut.

use proptest::prelude::*;

use super::search::check_by_search;
use super::{
    Call, Ended, History, Model, Operation, Queue, QueueInput, Register, RegisterInput, Set,
    SetInput, Verdict, Violation, check, check_within,
};

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
    let Verdict::Violated(Violation::NoOrder { longest, stuck }) = &verdict else {
        panic!("{verdict}")
    };
    assert_eq!(longest.len(), 1);
    assert_eq!(*stuck, ["4.. process 2: (0, None) -> 7 at 5"]);
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

#[test]
#[should_panic(expected = "History: the operation is one of another history")]
fn an_operation_is_of_the_history_that_it_was_called_of() {
    let (one, other) = (Registered::new(), Registered::new());
    let call = write(&one, 1, 7);
    write(&other, 1, 8);
    other.returns(call, 0);
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

// Shortcuts.

/// A script of operations on one thing: what is asked (from a small range), what is answered, and whether
/// one returns (and which), or fails.
type Script = Vec<(u8, u8, u8)>;

/// Carries a script out: `input` makes the nth input, `output` the answer to it.
fn recorded<I: Clone + std::fmt::Debug, O: Clone + std::fmt::Debug>(
    script: &Script,
    input: impl Fn(usize, u8) -> I,
    output: impl Fn(&I, u8) -> O,
) -> History<I, O> {
    let history = History::new();
    let mut open: Vec<(Call, I, u8)> = Vec::new();
    for (number, &(asked, answered, what)) in script.iter().enumerate() {
        let asked = input(number, asked);
        open.push((history.call(number as u64, asked.clone()), asked, answered));
        let returns = match what {
            0 => 0,
            1..6 => 1,
            6 => 2,
            _ => {
                let (call, ..) = open.remove(0);
                history.fails(call);
                0
            }
        };
        for _ in 0..returns {
            if !open.is_empty() {
                let place = usize::from(what) % open.len();
                let (call, asked, answered) = open.remove(place);
                history.returns(call, output(&asked, answered));
            }
        }
    }
    history
}

/// Runs a script against a thing that takes each operation somewhere between its call and its return, and
/// then answers: a history that can be, if all its answers are true. The one of the operation `lie` is
/// another.
fn run_against<M: Model<Output: PartialEq>>(
    model: &M,
    script: &Script,
    input: impl Fn(usize, u8) -> M::Input,
    outputs: &[M::Output],
    lie: Option<usize>,
) -> History<M::Input, M::Output> {
    let history = History::new();
    let mut state = model.initial();
    // Called and not done; done and not answered.
    let (mut called, mut done) = (Vec::new(), Vec::new());
    for (number, &(asked, place, what)) in script.iter().enumerate() {
        let asked = input(number, asked);
        called.push((history.call(number as u64, asked.clone()), asked));
        if what > 1 {
            let (call, asked) = called.remove(usize::from(place) % called.len());
            let answers = outputs.iter().filter_map(|output| {
                Some((output.clone(), model.step(&state, &asked, Some(output))?))
            });
            let (output, next) = answers.last().expect("one of these is the answer");
            state = next;
            let told = outputs.iter().position(|it| *it == output).map_or(0, |it| it + number + 1);
            let is_lie = lie == Some(number);
            done.push((call, if is_lie { outputs[told % outputs.len()].clone() } else { output }));
        }
        if what > 2 && !done.is_empty() {
            let (call, output) = done.remove(usize::from(what) % done.len());
            history.returns(call, output);
        }
    }
    history
}

fn agrees<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
) -> Result<bool, TestCaseError> {
    let (quick, slow) = (check(model, history), check_by_search(model, history));
    prop_assert_eq!(
        quick.is_yes(),
        slow.is_yes(),
        "{} but {}\n{:#?}",
        quick,
        slow,
        history.operations()
    );
    Ok(slow.is_yes())
}

fn script() -> impl Strategy<Value = Script> {
    proptest::collection::vec((0_u8..6, 0_u8..6, 0_u8..8), 0..9)
}

fn of_register(number: usize, asked: u8) -> RegisterInput<u8> {
    if asked < 3 { RegisterInput::Read(0) } else { RegisterInput::Write(0, number as u8 + 1) }
}

fn of_set(added: &std::cell::Cell<bool>) -> impl Fn(usize, u8) -> SetInput + '_ {
    |_, asked| match asked {
        0 | 1 => SetInput::Remove(0),
        2 | 3 if !added.replace(true) => SetInput::Add(0),
        _ => SetInput::Contains(0),
    }
}

fn of_queue(number: usize, asked: u8) -> QueueInput<u8> {
    if asked < 3 { QueueInput::Dequeue } else { QueueInput::Enqueue(number as u8) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_shortcut_of_registers_agrees_with_the_search(script in script(), lie in 0_usize..9) {
        let model = Register::new(0_u8);
        agrees(&model, &recorded(&script, of_register, |input, answered| match input {
            RegisterInput::Read(_) => Some(answered),
            RegisterInput::Write(..) => None,
        }))?;
        let outputs: Vec<_> = (0..12).map(Some).chain([None]).collect();
        prop_assert!(agrees(&model, &run_against(&model, &script, of_register, &outputs, None))?);
        agrees(&model, &run_against(&model, &script, of_register, &outputs, Some(lie)))?;
    }

    #[test]
    fn the_shortcut_of_sets_agrees_with_the_search(script in script(), lie in 0_usize..9) {
        agrees(&Set, &recorded(&script, of_set(&false.into()), |_, answered| answered < 3))?;
        let run = |lie| run_against(&Set, &script, of_set(&false.into()), &[false, true], lie);
        prop_assert!(agrees(&Set, &run(None))?);
        agrees(&Set, &run(Some(lie)))?;
    }

    #[test]
    fn the_shortcut_of_queues_agrees_with_the_search(script in script(), lie in 0_usize..9) {
        let model = Queue::new();
        agrees(&model, &recorded(&script, of_queue, |input, answered| match input {
            QueueInput::Dequeue => answered.checked_sub(1),
            QueueInput::Enqueue(_) => None,
        }))?;
        let outputs: Vec<_> = (0..12).map(Some).chain([None]).collect();
        prop_assert!(agrees(&model, &run_against(&model, &script, of_queue, &outputs, None))?);
        agrees(&model, &run_against(&model, &script, of_queue, &outputs, Some(lie)))?;
    }
}

#[test]
fn long_histories_of_different_values_are_judged_at_once() {
    // With four writes at a time, in more orders than a search could look at.
    let history = History::new();
    for round in 0..20_000_u64 {
        let writes = [0, 1, 2, 3].map(|n| (n, RegisterInput::Write(0, 1 + 4 * round + n)));
        let calls = writes.map(|(process, write)| history.call(process, write));
        calls.into_iter().for_each(|call| history.returns(call, None));
        let read = history.call(9, RegisterInput::Read(0));
        history.returns(read, Some(1 + 4 * round));
    }
    let model = Register::new(0);
    assert!(check_within(&model, &history, 0).is_yes());
    let stale = history.call(9, RegisterInput::Read(0));
    history.returns(stale, Some(1));
    let Verdict::Violated(Violation::Contradiction { why, operations }) =
        check_within(&model, &history, 0)
    else {
        panic!("nobody noticed");
    };
    assert_eq!(why, "a value was read after a later one was there");
    assert!((2..=4).contains(&operations.len()), "{operations:?}");
    assert!(operations[0].contains("Read(0) -> Some(1)"), "{operations:?}");
}
