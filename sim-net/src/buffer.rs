//! Bytes in flight: shared, immutable once sent, and recycled.
//!
//! A write copies its bytes into a chunk once; the send queue, the packets and the receive queue
//! share it; the read copies them out. A chunk that nobody holds any more goes back to the pool, so
//! the steady state allocates nothing.

use std::rc::Rc;

/// Bytes of a small chunk: a page less than what most messages need.
const SMALL: usize = 1_448;
/// Bytes of a large chunk: 45 full segments.
pub(crate) const LARGE: usize = 45 * 1_448;
/// How many spare chunks of a size a world keeps.
const SPARE_MAX: usize = 64;

/// A part of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    chunk: Rc<Vec<u8>>,
    start: u32,
    end: u32,
}

/// Spare chunks of a world.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    small: Vec<Rc<Vec<u8>>>,
    large: Vec<Rc<Vec<u8>>>,
}

impl Pool {
    /// A new chunk that begins with as much of `data` as fits.
    pub(crate) fn chunk(&mut self, data: &[u8]) -> Payload {
        self.copy(&data[..data.len().min(LARGE)])
    }

    /// A chunk with exactly `data`, of any length.
    pub(crate) fn copy(&mut self, data: &[u8]) -> Payload {
        let (spare, capacity) = match data.len() {
            0..=SMALL => (&mut self.small, SMALL),
            length => (&mut self.large, LARGE.max(length)),
        };
        let mut chunk = spare.pop().unwrap_or_else(|| Rc::new(Vec::with_capacity(capacity)));
        let bytes = Rc::get_mut(&mut chunk).expect("a spare chunk has one owner");
        bytes.extend_from_slice(data);
        Payload { chunk, start: 0, end: data.len() as u32 }
    }

    /// Takes a payload back. Its chunk is used again if this was the last of it.
    #[inline]
    pub(crate) fn put(&mut self, payload: Payload) {
        let mut chunk = payload.chunk;
        let Some(bytes) = Rc::get_mut(&mut chunk) else {
            return;
        };
        bytes.clear();
        let spare = if bytes.capacity() < LARGE { &mut self.small } else { &mut self.large };
        if spare.len() < SPARE_MAX {
            spare.push(chunk);
        }
    }
}

impl Payload {
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.chunk[self.start as usize..self.end as usize]
    }

    /// Adds bytes of `data` behind this payload, if it is the end of a chunk that nobody else
    /// holds, and says how many.
    pub(crate) fn extend(&mut self, data: &[u8]) -> usize {
        let Some(bytes) = Rc::get_mut(&mut self.chunk) else {
            return 0;
        };
        debug_assert_eq!(bytes.len(), self.end as usize, "a queued payload ends its chunk");
        let taken = data.len().min(bytes.capacity() - bytes.len());
        bytes.extend_from_slice(&data[..taken]);
        self.end += taken as u32;
        taken
    }

    /// `length` bytes of it from `offset` on.
    pub(crate) fn part(&self, offset: usize, length: usize) -> Self {
        debug_assert!(offset + length <= self.len());
        let start = self.start + offset as u32;
        Self { chunk: Rc::clone(&self.chunk), start, end: start + length as u32 }
    }

    /// Drops its first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_used_again_when_its_last_holder_returns_it() {
        let mut pool = Pool::default();
        let whole = pool.copy(b"hello");
        let part = whole.part(1, 3);
        let address = whole.bytes().as_ptr();
        pool.put(whole);
        assert_eq!(part.bytes(), b"ell");
        pool.put(part);
        assert_eq!(pool.copy(b"again").bytes().as_ptr(), address);
    }

    #[test]
    fn what_is_shared_is_not_extended() {
        let mut pool = Pool::default();
        let mut tail = pool.copy(b"ab");
        let sent = tail.part(0, 2);
        assert_eq!(tail.extend(b"cd"), 0);
        drop(sent);
        assert_eq!((tail.extend(b"cd"), tail.bytes()), (2, &b"abcd"[..]));
    }
}
