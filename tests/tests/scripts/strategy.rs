//! Random scripts whose outcome the contract determines.
//!
//! What races its parts have together, [`tamed`] takes out.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sim_core::Eof;

use crate::script::{Act, Character, Reading, Round, Script, Side};
use crate::tame::{CHUNK_MAX, tamed};

pub(crate) fn scripts() -> impl Strategy<Value = Script> {
    let peaceful = vec(round(), 0..6);
    let last = prop_oneof![
        2 => Just(Vec::new()),
        5 => last_round().prop_map(|round| vec![round]),
    ];
    let after = vec((side(), after_act()), 0..5);
    let script = (character(), character(), peaceful, last, after).prop_map(
        |(client, server, mut rounds, last, after)| {
            rounds.extend(last);
            rounds.extend(
                after.into_iter().map(|(side, act)| Round::Alone { side, acts: vec![act] }),
            );
            Script { client, server, rounds }
        },
    );
    prop_oneof![19 => script, 1 => ended_at_once()].prop_map(tamed)
}

/// An end that gives up in `connection_made`. A client does not abort there: whether a server
/// accepts a connection that was reset while it waited is up to the server's kernel.
fn ended_at_once() -> impl Strategy<Value = Script> {
    let client = vec(prop_oneof![write(), Just(Act::Close), Just(Act::WriteEof)], 1..4);
    let server = vec(prop_oneof![write(), final_act(), Just(Act::WriteEof)], 1..4);
    let acts = prop_oneof![
        client.prop_map(|acts| (Side::Client, acts)),
        server.prop_map(|acts| (Side::Server, acts)),
    ];
    (character(), character(), acts, vec((side(), after_act()), 0..3)).prop_map(
        |(mut client, mut server, (side, acts), after)| {
            (client.made, server.made) = match side {
                Side::Client => (acts, Vec::new()),
                Side::Server => (Vec::new(), acts),
            };
            let rounds = after
                .into_iter()
                .filter(|(other, _)| *other != side)
                .map(|(side, act)| Round::Alone { side, acts: vec![act] });
            Script { client, server, rounds: rounds.collect() }
        },
    )
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        2 => Just(Reading::Plain),
        1 => (20..100_usize).prop_map(Reading::Buffered),
        2 => (100..70_000_usize).prop_map(Reading::Buffered),
    ]
}

fn character() -> impl Strategy<Value = Character> {
    let at_eof = option::weighted(0.4, prop_oneof![3 => write(), 1 => limits(), 3 => final_act()]);
    let eof = prop_oneof![Just(Eof::Close), Just(Eof::KeepOpen)];
    (reading(), vec(act(), 0..3), at_eof, eof).prop_map(|(reading, made, at_eof, eof)| Character {
        reading,
        made,
        at_eof,
        eof,
    })
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0_usize),
        4 => 1..2_000_usize,
        2 => 1_440..1_480_usize,
        2 => 4_000..12_000_usize,
    ]
}

fn write() -> impl Strategy<Value = Act> {
    prop_oneof![size().prop_map(Act::Write), vec(size(), 0..4).prop_map(Act::WriteLines)]
}

fn limits() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::SetLimits { high: 0, low: 0 }),
        Just(Act::SetLimits { high: 1_000, low: 100 }),
        Just(Act::SetLimits { high: 65_536, low: 16_384 }),
        Just(Act::SetLimits { high: usize::MAX, low: 0 }),
    ]
}

/// What neither ends the connection nor changes how it reads.
fn small_act() -> impl Strategy<Value = Act> {
    let act = prop_oneof![4 => write(), 1 => limits()];
    act.prop_recursive(2, 4, 2, |inner| vec(inner, 1..3).prop_map(Act::Soon))
}

/// What does not end the connection.
fn act() -> impl Strategy<Value = Act> {
    let act = prop_oneof![
        6 => write(),
        1 => limits(),
        1 => Just(Act::WriteEof),
        1 => Just(Act::PauseReading),
        2 => Just(Act::ResumeReading),
        1 => reading().prop_map(Act::Switch),
    ];
    act.prop_recursive(3, 6, 3, |inner| vec(inner, 1..3).prop_map(Act::Soon))
}

fn final_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Close),
        2 => Just(Act::Abort),
        1 => any::<bool>().prop_map(|os| Act::Fail { os }),
    ]
}

/// Acts of which one at least ends the connection.
fn final_acts() -> impl Strategy<Value = Vec<Act>> {
    let soon = |end: Act| prop_oneof![3 => Just(end.clone()), 1 => Just(Act::Soon(vec![end]))];
    let end = final_act().prop_flat_map(soon);
    (vec(act(), 0..3), end, vec(prop_oneof![act(), final_act()], 0..3)).prop_map(
        |(mut before, end, after)| {
            before.push(end);
            before.extend(after);
            before
        },
    )
}

fn after_act() -> impl Strategy<Value = Act> {
    let act = prop_oneof![
        5 => (1..2_000_usize).prop_map(Act::Write),
        2 => Just(Act::WriteEof),
        2 => Just(Act::PauseReading),
        3 => Just(Act::ResumeReading),
        1 => limits(),
        1 => reading().prop_map(Act::Switch),
        3 => final_act(),
    ];
    prop_oneof![4 => act.clone(), 1 => act.prop_map(|act| Act::Soon(vec![act]))]
}

fn chunk() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), 2..CHUNK_MAX]
}

fn flooded() -> impl Strategy<Value = usize> {
    600_000..1_200_000_usize
}

fn mark() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0_usize), Just(1_000), Just(65_536)]
}

fn round() -> impl Strategy<Value = Round> {
    let together =
        (vec(act(), 0..4), vec(act(), 0..4), vec(small_act(), 0..3), vec(small_act(), 0..3))
            .prop_map(|(client, server, client_on_data, server_on_data)| Round::Together {
                client,
                server,
                client_on_data,
                server_on_data,
            });
    let ask = (side(), chunk(), any::<bool>(), vec(act(), 0..3))
        .prop_map(|(from, bytes, eof, reaction)| Round::Ask { from, bytes, eof, reaction });
    let flood =
        (side(), flooded(), mark(), vec(act(), 0..3)).prop_map(|(from, bytes, high, at_resume)| {
            Round::Flood { from, bytes, high, at_resume, reaction: Vec::new() }
        });
    let alone = (side(), vec(act(), 0..4)).prop_map(|(side, acts)| Round::Alone { side, acts });
    prop_oneof![4 => together, 2 => ask, 1 => flood, 2 => alone]
}

fn last_round() -> impl Strategy<Value = Round> {
    let alone = (side(), final_acts()).prop_map(|(side, acts)| Round::Alone { side, acts });
    let ask = (side(), chunk(), any::<bool>(), final_acts())
        .prop_map(|(from, bytes, eof, reaction)| Round::Ask { from, bytes, eof, reaction });
    let flood = (side(), flooded(), mark(), final_acts(), any::<bool>()).prop_map(
        |(from, bytes, high, acts, by_writer)| {
            let (at_resume, reaction) =
                if by_writer { (acts, Vec::new()) } else { (Vec::new(), acts) };
            Round::Flood { from, bytes, high, at_resume, reaction }
        },
    );
    prop_oneof![4 => alone, 3 => ask, 2 => flood]
}
