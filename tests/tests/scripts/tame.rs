//! Taking the races out of a script.
//!
//! Two loops cannot be compared where a race decides. So a script obeys rules, and each is a race that
//! the contract leaves open:
//!
//! * What ends a connection (`abort`, `fail`, `close`) comes in a round in which the other end does
//!   nothing of its own, and is the last round but for single acts of the survivor: how much a
//!   survivor can still write before it hears of the end is a question of time.
//! * Who gives up in the middle of a flood aborts: whether a `close` finds data unread, and so whether
//!   the writer hears of an end before the reset, is a question of time.
//! * In `resume_writing` nothing is put off, and an end is the last act: whether output is still
//!   pending afterwards, and so whether a write after a `close` is dropped (C-67) or sent (C-68), hangs
//!   on what the kernel took. Nor does reading change there while the peer may be writing.
//! * An end of stream and a reset do not come together: which of them a reader finds is the kernel's
//!   affair.
//! * Nothing is written before an end while something of the peer may still be on its way: that meets
//!   a closed port then, whose reset overtakes the data where packets have jitter.
//! * An act in `eof_received` is one act: its second write may meet a reset that its first caused.
//! * Chains of `call_soon` are deeper than one link only where nothing can arrive meanwhile: how many
//!   turns lie between two arrivals is nobody's promise (E-31).
//! * Writes are either small enough for every kernel or too large for any, never in between. So it is
//!   known whether output is pending.
//! * What depends on where data is cut (a pause, a change of protocol or an end in `data_received`)
//!   reacts to a chunk that is not cut.

use crate::script::{Act, Reading, Round, Script, Side};

/// How much an end writes in all, floods apart: less than any kernel holds for a peer that does not
/// read.
const WRITTEN_MAX: usize = 40_000;
/// A chunk that is never cut: less than a segment.
pub(crate) const CHUNK_MAX: usize = 1_000;

/// The script without the races that its parts have together.
pub(crate) fn tamed(mut script: Script) -> Script {
    let floods = script.rounds.iter().any(|round| matches!(round, Round::Flood { .. }));
    let pauses = Side::BOTH.map(|side| pauses(&mut script, side));
    let mut budget = [WRITTEN_MAX; 2];
    for side in Side::BOTH {
        let character = match side {
            Side::Client => &mut script.client,
            Side::Server => &mut script.server,
        };
        let budget = &mut budget[side as usize];
        flatten(&mut character.made);
        separate_ends(&mut character.made, pauses[side as usize]);
        limit(&mut character.made, budget);
        limit(character.at_eof.as_mut_slice(), budget);
        if floods {
            character.reading.widen();
        }
    }
    // Who will abort when its flood has gone out.
    let mut aborts_later = None;
    for round in &mut script.rounds {
        tame(round, pauses, aborts_later);
        for (side, acts) in parts(round) {
            limit(acts, &mut budget[side as usize]);
        }
        if let Round::Flood { from, at_resume, .. } = round
            && at_resume.iter().any(Act::is_abrupt)
        {
            aborts_later = Some(*from);
        }
    }
    if floods {
        let characters = [&mut script.client, &mut script.server];
        characters.into_iter().for_each(|character| widen(&mut character.made));
        script.rounds.iter_mut().flat_map(parts).for_each(|(_, acts)| widen(acts));
    }
    script
}

/// True if a side may have data unread when it closes.
fn pauses(script: &mut Script, side: Side) -> bool {
    let pauses = |acts: &[Act]| contains(acts, &|act| *act == Act::PauseReading);
    pauses(&script.character(side).made)
        || script.rounds.iter_mut().flat_map(parts).any(|(who, acts)| who == side && pauses(acts))
}

fn tame(round: &mut Round, pauses: [bool; 2], aborts_later: Option<Side>) {
    match round {
        Round::Together { client, server, client_on_data, server_on_data } => {
            for acts in [client, server, client_on_data, server_on_data] {
                flatten(acts);
            }
        }
        Round::Ask { eof, reaction, .. } => {
            flatten(reaction);
            if *eof && contains(reaction, &Act::is_final) {
                retain(reaction, &|act| !is_write(act));
            }
        }
        Round::Flood { at_resume, reaction, .. } => {
            inline(at_resume);
            flatten(reaction);
            visit(reaction, &mut |act| {
                if *act == Act::Close {
                    *act = Act::Abort;
                }
            });
            retain(reaction, &|act| *act != Act::PauseReading);
            if contains(reaction, &Act::is_abrupt) {
                retain(reaction, &|act| !is_write(act));
            }
            if let Some(place) = at_resume.iter().position(Act::is_final) {
                at_resume.truncate(place + 1);
                retain(at_resume, &|act| !is_write(act));
            } else {
                retain(at_resume, &|act| !changes_reading(act));
            }
        }
        Round::Alone { acts, .. } => {
            if contains(acts, &|act| *act == Act::ResumeReading) {
                flatten(acts);
            }
        }
    }
    let reacts = matches!(round, Round::Ask { .. });
    for (side, acts) in parts(round) {
        separate_ends(acts, reacts || pauses[side as usize]);
        if aborts_later == Some(side) {
            retain(acts, &|act| *act != Act::WriteEof);
        }
    }
}

/// The acts of a round, with those who do them.
fn parts(round: &mut Round) -> Vec<(Side, &mut Vec<Act>)> {
    match round {
        Round::Together { client, server, client_on_data, server_on_data } => vec![
            (Side::Client, client),
            (Side::Client, client_on_data),
            (Side::Server, server),
            (Side::Server, server_on_data),
        ],
        Round::Ask { from, reaction, .. } => vec![(from.other(), reaction)],
        Round::Flood { from, at_resume, reaction, .. } => {
            vec![(*from, at_resume), (from.other(), reaction)]
        }
        Round::Alone { side, acts } => vec![(*side, acts)],
    }
}

/// Takes the end of the stream out of acts that reset the connection, or may, with data unread.
fn separate_ends(acts: &mut Vec<Act>, may_be_unread: bool) {
    if acts.iter().any(Act::is_abrupt) || may_be_unread && acts.iter().any(Act::is_final) {
        retain(acts, &|act| *act != Act::WriteEof);
    }
}

/// Makes every chain of `call_soon` one link long.
fn flatten(acts: &mut [Act]) {
    for act in acts {
        if let Act::Soon(inner) = act {
            inline(inner);
        }
    }
}

/// Does at once what would be put off.
fn inline(acts: &mut Vec<Act>) {
    fn leaves(acts: Vec<Act>, into: &mut Vec<Act>) {
        for act in acts {
            match act {
                Act::Soon(inner) => leaves(inner, into),
                act => into.push(act),
            }
        }
    }
    leaves(std::mem::take(acts), acts);
}

/// Cuts writes down to what is left of the budget.
fn limit(acts: &mut [Act], budget: &mut usize) {
    let mut take = |bytes: &mut usize| {
        *bytes = (*bytes).min(*budget);
        *budget -= *bytes;
    };
    visit(acts, &mut |act| match act {
        Act::Write(bytes) => take(bytes),
        Act::WriteLines(lines) => lines.iter_mut().for_each(&mut take),
        _ => {}
    });
}

/// Makes every buffer large enough for a flood to take its time, and no longer.
fn widen(acts: &mut [Act]) {
    visit(acts, &mut |act| {
        if let Act::Switch(reading) = act {
            reading.widen();
        }
    });
}

impl Reading {
    fn widen(&mut self) {
        if let Self::Buffered(size) = self {
            *size = (*size).max(CHUNK_MAX);
        }
    }
}

fn is_write(act: &Act) -> bool {
    matches!(act, Act::Write(_) | Act::WriteLines(_))
}

fn changes_reading(act: &Act) -> bool {
    matches!(act, Act::PauseReading | Act::ResumeReading | Act::Switch(_))
}

// Acts, those inside `call_soon` included.

fn contains(acts: &[Act], wanted: &dyn Fn(&Act) -> bool) -> bool {
    acts.iter().any(|act| match act {
        Act::Soon(inner) => contains(inner, wanted),
        act => wanted(act),
    })
}

fn visit(acts: &mut [Act], visitor: &mut dyn FnMut(&mut Act)) {
    for act in acts {
        match act {
            Act::Soon(inner) => visit(inner, visitor),
            act => visitor(act),
        }
    }
}

fn retain(acts: &mut Vec<Act>, wanted: &dyn Fn(&Act) -> bool) {
    acts.retain_mut(|act| match act {
        Act::Soon(inner) => {
            retain(inner, wanted);
            true
        }
        act => wanted(act),
    });
}
