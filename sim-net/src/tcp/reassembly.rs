//! What arrived beyond a gap, until the gap is filled; and what SACK blocks say of it.

use std::collections::VecDeque;

use super::segment::{Block, Sacks, Seq};
use crate::buffer::{Payload, Pool};

/// How many pieces wait at most: a stream of tiny segments fills the queue before the window.
const PIECES_MAX: usize = 8_192;

/// A run of numbers without a gap.
#[derive(Clone, Copy, Debug)]
struct Run {
    block: Block,
    /// When it last grew, in pieces that arrived.
    touched: u32,
}

/// The queue of what arrived out of order.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// Disjoint, in order.
    pieces: VecDeque<(Seq, Payload)>,
    /// What the pieces cover, and the FIN, in order.
    runs: Vec<Run>,
    /// The number of the FIN, if it came early.
    fin: Option<Seq>,
    arrivals: u32,
    /// What arrived twice and is not told yet (RFC 2883).
    duplicate: Option<Block>,
}

impl Reassembly {
    /// True if there is nothing left to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.duplicate.is_none()
    }

    /// Something arrived that was there before.
    pub(super) fn note_duplicate(&mut self, block: Block) {
        self.duplicate = Some(block);
    }

    /// Takes a segment that begins at `start`, at RCV.NXT or beyond a gap, and its FIN. What is there
    /// already stays as it is. What begins at RCV.NXT does not wait, so it is taken in any case.
    pub(super) fn insert(
        &mut self,
        nxt: Seq,
        start: Seq,
        payload: Option<Payload>,
        fin: bool,
        pool: &mut Pool,
    ) {
        let length = payload.as_ref().map_or(0, |payload| payload.len() as u32);
        let data_end = start.plus(length);
        if self.pieces.len() >= PIECES_MAX && start != nxt {
            payload.into_iter().for_each(|payload| pool.put(payload));
            return;
        }
        if let Some(payload) = payload {
            self.insert_data(start, payload, pool);
        }
        if fin {
            self.fin = Some(data_end);
        }
        self.cover(Block { start, end: data_end.plus(u32::from(fin)) });
    }

    fn insert_data(&mut self, start: Seq, mut rest: Payload, pool: &mut Pool) {
        let mut at = start;
        let end = |piece: &(Seq, Payload)| piece.0.plus(piece.1.len() as u32);
        let mut index = self.pieces.partition_point(|piece| end(piece).at_most(at));
        while rest.len() > 0 {
            let Some(next) = self.pieces.get(index) else {
                self.pieces.push_back((at, rest));
                return;
            };
            if next.0.at_most(at) {
                let covered = (end(next).since(at) as usize).min(rest.len());
                rest.advance(covered);
                at = at.plus(covered as u32);
            } else {
                let free = (next.0.since(at) as usize).min(rest.len());
                self.pieces.insert(index, (at, rest.part(0, free)));
                rest.advance(free);
                at = at.plus(free as u32);
            }
            index += 1;
        }
        pool.put(rest);
    }

    /// Notes that `block` is there, as the latest.
    fn cover(&mut self, mut block: Block) {
        let from = self.runs.partition_point(|run| run.block.end.before(block.start));
        let mut to = from;
        while let Some(run) = self.runs.get(to)
            && run.block.start.at_most(block.end)
        {
            if run.block.contains(block) {
                self.duplicate = Some(block);
            }
            let start = run.block.start.min(block.start);
            block = Block { start, end: run.block.end.max(block.end) };
            to += 1;
        }
        self.arrivals += 1;
        let touched = self.arrivals;
        self.runs.splice(from..to, [Run { block, touched }]);
    }

    /// The piece that begins at or before `nxt`, without what comes before.
    pub(super) fn take(&mut self, nxt: Seq, pool: &mut Pool) -> Option<Payload> {
        while let Some(&(start, _)) = self.pieces.front() {
            if nxt.before(start) {
                return None;
            }
            let (start, mut payload) = self.pieces.pop_front()?;
            let passed = nxt.since(start) as usize;
            if passed < payload.len() {
                payload.advance(passed);
                return Some(payload);
            }
            pool.put(payload);
        }
        None
    }

    /// True once, if the FIN is the next thing.
    pub(super) fn take_fin(&mut self, nxt: Seq) -> bool {
        let next = self.fin == Some(nxt);
        if next {
            self.fin = None;
        }
        next
    }

    /// Everything before `nxt` is in order now.
    pub(super) fn forget(&mut self, nxt: Seq) {
        let gone = self.runs.iter().take_while(|run| run.block.end.at_most(nxt)).count();
        self.runs.drain(..gone);
    }

    /// The blocks for the next acknowledgement: a duplicate first, then the latest
    /// (RFC 2018 §4, RFC 2883 §4). The duplicate is told once.
    pub(super) fn take_sacks(&mut self) -> Option<Box<Sacks>> {
        let mut sacks = Box::new(Sacks::default());
        if let Some(duplicate) = self.duplicate.take() {
            sacks.push(duplicate);
        }
        let mut before = u32::MAX;
        while sacks.blocks().len() < Sacks::BESIDE_TIMESTAMPS {
            let older = self.runs.iter().filter(|run| run.touched < before);
            let Some(latest) = older.max_by_key(|run| run.touched) else { break };
            sacks.push(latest.block);
            before = latest.touched;
        }
        (!sacks.blocks().is_empty()).then_some(sacks)
    }

    pub(super) fn discard(&mut self, pool: &mut Pool) {
        self.pieces.drain(..).for_each(|(_, payload)| pool.put(payload));
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn insert(queue: &mut Reassembly, pool: &mut Pool, start: u32, bytes: &[u8]) {
        let payload = pool.copy(bytes);
        queue.insert(Seq(0), Seq(start), Some(payload), false, pool);
    }

    fn block(start: u32, end: u32) -> Block {
        Block { start: Seq(start), end: Seq(end) }
    }

    /// RFC 2018 §4: the block with the latest segment comes first.
    #[test]
    fn blocks_are_told_latest_first() {
        let (mut queue, mut pool) = (Reassembly::default(), Pool::default());
        for start in [10, 50, 30, 70] {
            insert(&mut queue, &mut pool, start, &[0; 5]);
        }
        insert(&mut queue, &mut pool, 15, &[0; 5]);
        let sacks = queue.take_sacks().unwrap();
        assert_eq!(sacks.blocks(), [block(10, 20), block(70, 75), block(30, 35)]);
    }

    /// RFC 2883 §4: a duplicate is the first block of one acknowledgement.
    #[test]
    fn a_duplicate_is_told_once() {
        let (mut queue, mut pool) = (Reassembly::default(), Pool::default());
        insert(&mut queue, &mut pool, 10, &[0; 9]);
        insert(&mut queue, &mut pool, 12, &[0; 3]);
        assert_eq!(queue.take_sacks().unwrap().blocks(), [block(12, 15), block(10, 19)]);
        assert_eq!(queue.take_sacks().unwrap().blocks(), [block(10, 19)]);
    }

    #[test]
    fn pieces_are_bounded() {
        let (mut queue, mut pool) = (Reassembly::default(), Pool::default());
        for n in 0..PIECES_MAX as u32 + 10 {
            insert(&mut queue, &mut pool, 2 * n + 1, b"x");
        }
        assert_eq!(queue.pieces.len(), PIECES_MAX);
        assert_eq!(queue.runs.len(), PIECES_MAX, "what is not kept is not told");
    }

    proptest! {
        /// Whatever arrives, what is taken out is the stream, each byte once, and the runs are what
        /// the pieces cover.
        #[test]
        fn what_comes_out_is_the_stream(
            parts in prop::collection::vec((1..200_u32, 1..40_usize), 0..60),
            first in any::<u32>(),
        ) {
            let (mut queue, mut pool) = (Reassembly::default(), Pool::default());
            let byte = |at: u32| (at * 7 + at / 251) as u8;
            let base = Seq(first);
            let mut there = [false; 300];
            for (start, length) in parts {
                let bytes: Vec<u8> = (0..length as u32).map(|i| byte(start + i)).collect();
                there[start as usize..start as usize + length].fill(true);
                let payload = pool.copy(&bytes);
                queue.insert(base, base.plus(start), Some(payload), false, &mut pool);
            }
            let mut covered = [false; 300];
            for run in &queue.runs {
                let (start, end) = (run.block.start.since(base), run.block.end.since(base));
                covered[start as usize..end as usize].fill(true);
            }
            prop_assert_eq!(covered, there);
            let mut at = 0;
            while at < 300 {
                if !there[at as usize] {
                    at += 1;
                    continue;
                }
                let piece = queue.take(base.plus(at), &mut pool).expect("it is there");
                for (i, &got) in piece.bytes().iter().enumerate() {
                    prop_assert_eq!(got, byte(at + i as u32));
                }
                at += piece.len() as u32;
            }
            queue.forget(base.plus(300));
            prop_assert!(queue.runs.is_empty() && queue.pieces.is_empty());
        }
    }
}
