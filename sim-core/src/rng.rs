//! Random numbers for protocols and tests: a named ChaCha8 stream.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A stream of random numbers that belongs to a host and a name.
///
/// [`Loop::rng`](crate::Loop::rng) hands it out: in a simulation it is a function of the run's
/// seed, the host and the name alone, so a draw more in one place moves nothing elsewhere; on the
/// real loop the operating system seeds it. It implements no trait of the `rand` crate, so that
/// their versions are not part of this API; [`fill`](Self::fill) feeds anything that wants bytes.
///
/// ```
/// use sim_core::Rng;
///
/// let (mut a, mut b) = (Rng::from_seed([7; 32]), Rng::from_seed([7; 32]));
/// assert_eq!(a.below(1_000), b.below(1_000));
/// ```
#[derive(Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of a 256-bit seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`, by one multiplication (bias below 2⁻⁶⁴ · `bound`).
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    #[track_caller]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "Rng::below(0): there is no number below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `range`.
    ///
    /// # Panics
    ///
    /// If `range` is empty.
    #[track_caller]
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "Rng::range({range:?}): the range is empty");
        range.start + self.below(range.end - range.start)
    }

    /// A duration in `range`, in whole nanoseconds.
    ///
    /// # Panics
    ///
    /// If `range` is empty.
    #[track_caller]
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.range(nanos(range.start)..nanos(range.end)))
    }

    /// True in `numerator` of `denominator` cases.
    ///
    /// # Panics
    ///
    /// If `denominator` is 0.
    #[track_caller]
    pub fn ratio(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Puts `items` in a random order, every order equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rng").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut seen = [0_u32; 5];
        for _ in 0..1_000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 120), "{seen:?}");
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Rng::from_seed([2; 32]).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "no number below 0")]
    fn below_zero_names_the_caller() {
        Rng::from_seed([0; 32]).below(0);
    }
}
