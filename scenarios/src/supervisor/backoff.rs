//! How long to wait before the next attempt.

use std::time::Duration;

/// An exponential back-off: each failure in a row doubles the wait, up to a bound.
///
/// ```
/// use scenarios::supervisor::Backoff;
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let mut backoff = Backoff::new(ms(2), ms(10));
/// let waits: Vec<Duration> = (0..4).map(|_| backoff.fail()).collect();
/// assert_eq!(waits, [ms(2), ms(4), ms(8), ms(10)]);
/// backoff.succeed();
/// assert_eq!(backoff.fail(), ms(2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// A back-off that begins with `first` and never exceeds `most`.
    ///
    /// # Panics
    ///
    /// If `first` is zero or more than `most`: that is none.
    #[track_caller]
    pub fn new(first: Duration, most: Duration) -> Self {
        assert!(!first.is_zero() && first <= most, "a back-off from {first:?} to {most:?}");
        Self { first, most, next: first }
    }

    /// An attempt failed: how long to wait before the next.
    #[must_use]
    pub fn fail(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.most);
        wait
    }

    /// An attempt got somewhere: the next failure is a first one.
    pub fn succeed(&mut self) {
        self.next = self.first;
    }
}
