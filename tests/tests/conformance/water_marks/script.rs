//! What happens to a connection: generated.

use proptest::collection::vec;
use proptest::prelude::*;
use sim_core::WriteBufferLimits;

/// What a protocol does, in a callback or entered from outside.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write(usize),
    Writelines(Vec<usize>),
    /// High and low, backwards at times.
    Limits(usize, usize),
    Close,
    Abort,
    Fail,
    WriteEof,
    PauseReading,
    ResumeReading,
}

/// What happens outside the protocol; each step is followed by a rest.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The protocol is entered.
    Enter(Vec<Op>),
    /// The network takes more bytes.
    Take(usize),
    /// The peer ends its stream.
    End,
    /// The peer resets the connection.
    Reset,
}

/// A connection's life.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// How many bytes the network takes at first.
    pub(super) window: usize,
    pub(super) made: Vec<Op>,
    /// What the first, second, .. `pause_writing` does.
    pub(super) paused: Vec<Vec<Op>>,
    pub(super) resumed: Vec<Vec<Op>>,
    pub(super) ended: Vec<Op>,
    pub(super) lost: Vec<Op>,
    pub(super) steps: Vec<Step>,
}

/// The bytes of a stream from `start` on.
pub(super) fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|at| (at % 251) as u8).collect()
}

/// How an operation and what can be seen behind it stand in a log.
pub(super) fn observed(
    op: &Op,
    flags: [bool; 3],
    size: usize,
    limits: WriteBufferLimits,
) -> String {
    let [writable, closing, reading] = flags.map(u8::from);
    let WriteBufferLimits { high, low } = limits;
    format!(
        "{op:?}: writable {writable} closing {closing} reading {reading} {size} of {high}/{low}"
    )
}

/// Scripts whose sizes are multiples of `unit`, give or take a byte.
pub(super) fn scripts(unit: usize) -> impl Strategy<Value = Script> {
    let few = move || vec(ops(unit), 0..3);
    (sizes(unit), few(), vec(few(), 0..5), vec(few(), 0..5), few(), few(), vec(steps(unit), 1..25))
        .prop_map(|(window, made, paused, resumed, ended, lost, steps)| Script {
            window,
            made,
            paused,
            resumed,
            ended,
            lost,
            steps,
        })
}

fn sizes(unit: usize) -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => Just(0),
        1 => Just(1),
        8 => (0..40_usize).prop_map(move |times| times * unit),
        2 => (1..20_usize).prop_map(move |times| times * unit + 1),
    ]
}

fn limits(unit: usize) -> impl Strategy<Value = Op> {
    let equal = sizes(unit).prop_map(|mark| Op::Limits(mark, mark));
    let any = (sizes(unit), sizes(unit)).prop_map(|(one, other)| Op::Limits(one, other));
    let ordered = (sizes(unit), 0..=4_usize)
        .prop_map(|(high, part)| Op::Limits(high, (high * part).checked_div(4).unwrap_or(0)));
    prop_oneof![1 => equal, 1 => any, 3 => ordered]
}

fn ops(unit: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => sizes(unit).prop_map(Op::Write),
        3 => vec(sizes(unit), 0..4).prop_map(Op::Writelines),
        5 => limits(unit),
        1 => Just(Op::Close),
        1 => Just(Op::Abort),
        1 => Just(Op::Fail),
        1 => Just(Op::WriteEof),
        1 => Just(Op::PauseReading),
        1 => Just(Op::ResumeReading),
    ]
}

fn steps(unit: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(ops(unit), 1..4).prop_map(Step::Enter),
        8 => sizes(unit).prop_map(Step::Take),
        1 => Just(Step::End),
        1 => Just(Step::Reset),
    ]
}
