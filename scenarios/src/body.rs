//! A body to be sent, and how fast it went.

use std::time::Duration;

use sim_core::Rng;

use crate::Digest;

/// The length of a chunk of a body, the last one excepted.
pub(crate) const CHUNK_BYTES: usize = 16 << 10;

/// A body that is made as it is sent: one random chunk, with its place written in front of each
/// copy, so that no two chunks are alike.
#[derive(Debug)]
pub(crate) struct Body {
    chunk: Vec<u8>,
    left: u64,
    made: u64,
    digest: Digest,
}

impl Body {
    /// A body of `bytes` bytes.
    pub(crate) fn new(bytes: u64, rng: &mut Rng) -> Self {
        let mut chunk = vec![0; CHUNK_BYTES];
        rng.fill(&mut chunk);
        Self { chunk, left: bytes, made: 0, digest: Digest::default() }
    }

    /// The next chunk: never empty, `None` at the end.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        if self.left == 0 {
            return None;
        }
        self.chunk[..8].copy_from_slice(&self.made.to_be_bytes());
        self.made += 1;
        let bytes = self.left.min(CHUNK_BYTES as u64);
        self.left -= bytes;
        let chunk = &self.chunk[..bytes as usize];
        self.digest.update(chunk);
        Some(chunk)
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The digest of what was made so far.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// How many bytes a second passed, in whole numbers, when `bytes` passed in `time`.
pub(crate) fn goodput(bytes: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_chunks_are_alike_and_the_last_is_what_is_left() {
        let mut body = Body::new(2 * CHUNK_BYTES as u64 + 1, &mut Rng::from_seed([1; 32]));
        let first = body.next().map(<[u8]>::to_vec);
        let second = body.next().map(<[u8]>::to_vec);
        assert!(first != second && first.is_some());
        assert_eq!((body.left(), body.next().map(<[u8]>::len)), (1, Some(1)));
        assert_eq!((body.left(), body.next()), (0, None));
        assert_eq!(body.digest().bytes(), 2 * CHUNK_BYTES as u64 + 1);
    }

    #[test]
    fn goodput_is_bytes_over_seconds() {
        assert_eq!(goodput(1_000, Duration::from_millis(500)), 2_000);
        assert_eq!(goodput(u64::MAX, Duration::ZERO), u64::MAX);
    }
}
