//! Bytes in flight: shared, immutable once sent, and recycled.
//!
//! A write copies its bytes into a chunk once; the send queue, the packets and the receive queue
//! share it; the read copies them out. A chunk that nobody holds any more goes back to the pool, so
//! the steady state allocates nothing.

use std::rc::Rc;

use sim_core::cache::prefetch_first;

/// Bytes that a chunk has room for in itself: a short message takes one allocation, of 256 bytes.
const SHORT: usize = 232;
/// Bytes that a chunk for a segment can hold.
const SEGMENT: usize = 1_448;
/// Bytes of a large chunk: 45 full segments.
pub(crate) const LARGE: usize = 45 * SEGMENT;
/// How much of a chunk is asked for before it is needed: most messages are short.
const CHUNK_HEAD: usize = 128;
/// And of which spare one, counted from the next.
const NEXT_SPARE: usize = 3;
/// How many spare chunks of each size a world keeps: at most 4 MiB of each.
const SHORT_SPARE_MAX: usize = 16_384;
const SEGMENT_SPARE_MAX: usize = 2_896;
const LARGE_SPARE_MAX: usize = 64;
/// How many of them it leaves to the next world: at most 64 KiB of each.
const SHORT_LEFT_MAX: usize = 256;
const SEGMENT_LEFT_MAX: usize = 45;

/// A part of a chunk. In two words, so that it passes through registers.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    chunk: Rc<Chunk>,
    part: Part,
}

/// Where a part begins, and before which byte it ends.
#[derive(Clone, Copy, Debug)]
struct Part(u64);

impl Part {
    fn new(start: u32, end: u32) -> Self {
        Self(u64::from(start) << 32 | u64::from(end))
    }

    fn start(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn end(self) -> u32 {
        self.0 as u32
    }
}

/// Bytes that several payloads share.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "short messages are the many, and lie in it for speed"
)]
enum Chunk {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Vec<u8>),
}

/// Spare chunks of a world.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    short: Vec<Rc<Chunk>>,
    segment: Vec<Rc<Chunk>>,
    large: Vec<Rc<Chunk>>,
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }

    /// How many bytes can be added. A short chunk can become one for a segment.
    fn room(&self) -> usize {
        match self {
            Self::Short { length, .. } => SEGMENT - usize::from(*length),
            Self::Long(bytes) => bytes.capacity() - bytes.len(),
        }
    }

    /// Adds bytes for which there is room.
    fn extend(&mut self, data: &[u8]) {
        match self {
            Self::Short { length, bytes } => {
                let start = usize::from(*length);
                if let Some(place) = bytes.get_mut(start..start + data.len()) {
                    place.copy_from_slice(data);
                    *length += data.len() as u8;
                    return;
                }
                let mut long = Vec::with_capacity(SEGMENT);
                long.extend_from_slice(&bytes[..start]);
                long.extend_from_slice(data);
                *self = Self::Long(long);
            }
            Self::Long(bytes) => bytes.extend_from_slice(data),
        }
    }
}

impl Pool {
    /// Makes it as new, but for some chunks of which none is unlike a new one.
    pub(crate) fn renew(&mut self) {
        let Self { short, segment, large } = self;
        short.truncate(SHORT_LEFT_MAX);
        segment.truncate(SEGMENT_LEFT_MAX);
        // They differ in size, which a connection can tell.
        large.clear();
    }

    /// A new chunk that begins with as much of `data` as fits.
    pub(crate) fn chunk(&mut self, data: &[u8]) -> Payload {
        self.copy(&data[..data.len().min(LARGE)])
    }

    /// A chunk with exactly `data`, of any length.
    #[inline(always)]
    pub(crate) fn copy(&mut self, data: &[u8]) -> Payload {
        if data.len() > SHORT {
            return self.copy_long(data);
        }
        if let Some(mut chunk) = self.short.pop() {
            // Many that wait have not been looked at for long.
            if let Some(next) = self.short.len().checked_sub(NEXT_SPARE) {
                prefetch_first(&*self.short[next], CHUNK_HEAD);
            }
            let place = Rc::get_mut(&mut chunk);
            if let Some(Chunk::Short { length, bytes }) = place {
                bytes[..data.len()].copy_from_slice(data);
                *length = data.len() as u8;
            }
            return Payload { chunk, part: Part::new(0, data.len() as u32) };
        }
        self.join(data.len(), [data])
    }

    fn copy_long(&mut self, data: &[u8]) -> Payload {
        let spare = if data.len() <= SEGMENT { &mut self.segment } else { &mut self.large };
        let Some(mut chunk) = spare.pop() else {
            return self.join(data.len(), [data]);
        };
        if let Some(Chunk::Long(bytes)) = Rc::get_mut(&mut chunk) {
            bytes.extend_from_slice(data);
        }
        Payload { chunk, part: Part::new(0, data.len() as u32) }
    }

    /// A chunk with exactly the `length` bytes of `parts`.
    #[inline]
    pub(crate) fn join<'a>(
        &mut self,
        length: usize,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Payload {
        let long = |capacity| move || Rc::new(Chunk::Long(Vec::with_capacity(capacity)));
        let mut chunk = if length <= SHORT {
            let short = || Rc::new(Chunk::Short { length: 0, bytes: [0; SHORT] });
            self.short.pop().unwrap_or_else(short)
        } else if length <= SEGMENT {
            self.segment.pop().unwrap_or_else(long(SEGMENT))
        } else {
            self.large.pop().unwrap_or_else(long(LARGE.max(length)))
        };
        let place = Rc::get_mut(&mut chunk).expect("a spare chunk has one owner");
        parts.into_iter().for_each(|part| place.extend(part));
        debug_assert_eq!(place.bytes().len(), length);
        Payload { chunk, part: Part::new(0, length as u32) }
    }

    /// Takes a payload back. Its chunk is used again if this was the last of it.
    #[inline]
    pub(crate) fn put(&mut self, payload: Payload) {
        let mut chunk = payload.chunk;
        let (spare, spare_max) = match Rc::get_mut(&mut chunk) {
            None => return,
            Some(Chunk::Short { length, .. }) => {
                *length = 0;
                (&mut self.short, SHORT_SPARE_MAX)
            }
            Some(Chunk::Long(bytes)) => {
                bytes.clear();
                if bytes.capacity() < LARGE {
                    (&mut self.segment, SEGMENT_SPARE_MAX)
                } else {
                    (&mut self.large, LARGE_SPARE_MAX)
                }
            }
        };
        if spare.len() < spare_max {
            spare.push(chunk);
        }
    }
}

impl Payload {
    /// Asks for the memory of its chunk, and of the first bytes in it if it is short.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch_first(&*self.chunk, CHUNK_HEAD);
    }

    pub(crate) fn len(&self) -> usize {
        (self.part.end() - self.part.start()) as usize
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        let part = self.part.start() as usize..self.part.end() as usize;
        match &*self.chunk {
            Chunk::Short { bytes, .. } => &bytes[part],
            Chunk::Long(bytes) => &bytes[part],
        }
    }

    /// The same bytes with one bit flipped, in a chunk of its own.
    pub(crate) fn with_flipped_bit(&self, bit: u64, pool: &mut Pool) -> Self {
        let mut copy = pool.copy(self.bytes());
        let place = (bit / 8) as usize;
        let bytes = match Rc::get_mut(&mut copy.chunk).expect("a new chunk has one owner") {
            Chunk::Short { bytes, .. } => &mut bytes[..],
            Chunk::Long(bytes) => bytes,
        };
        bytes[place] ^= 1 << (bit % 8);
        copy
    }

    /// Adds bytes of `data` behind this payload, if it is the end of a chunk that nobody else
    /// holds, and says how many.
    pub(crate) fn extend(&mut self, data: &[u8]) -> usize {
        let Some(chunk) = Rc::get_mut(&mut self.chunk) else {
            return 0;
        };
        let end = self.part.end();
        debug_assert_eq!(chunk.bytes().len(), end as usize, "a queued payload ends its chunk");
        let taken = data.len().min(chunk.room());
        chunk.extend(&data[..taken]);
        self.part = Part::new(self.part.start(), end + taken as u32);
        taken
    }

    /// `length` bytes of it from `offset` on.
    pub(crate) fn part(&self, offset: usize, length: usize) -> Self {
        debug_assert!(offset + length <= self.len());
        let start = self.part.start() + offset as u32;
        Self { chunk: Rc::clone(&self.chunk), part: Part::new(start, start + length as u32) }
    }

    /// True if it is the part of `whole` from `offset` on: the same memory, so the same bytes.
    #[inline]
    pub(crate) fn is_part_of(&self, whole: &Self, offset: u32) -> bool {
        Rc::ptr_eq(&self.chunk, &whole.chunk)
            && u64::from(whole.part.start()) + u64::from(offset) == u64::from(self.part.start())
            && self.part.end() <= whole.part.end()
    }

    /// Drops its first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.part = Part::new(self.part.start() + count as u32, self.part.end());
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
    fn flipping_a_bit_leaves_the_other_holders_alone() {
        let mut pool = Pool::default();
        for length in [3, 1_000] {
            let sent = pool.copy(&vec![7; length + 2]).part(1, length);
            let flipped = sent.with_flipped_bit(17, &mut pool);
            assert_eq!((sent.bytes()[2], flipped.bytes()[2]), (7, 5));
            assert_eq!((flipped.len(), &flipped.bytes()[..2]), (length, &[7, 7][..]));
        }
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

    #[test]
    fn a_short_chunk_grows_to_a_segment_and_no_further() {
        let mut tail = Pool::default().copy(&[7; 200]);
        for _ in 0..6 {
            assert_eq!(tail.extend(&[7; 200]), 200);
        }
        assert_eq!((tail.extend(&[7; 200]), tail.extend(b"x")), (48, 0));
        assert_eq!(tail.bytes(), [7; SEGMENT]);
    }
}
