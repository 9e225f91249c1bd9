//! Water marks.

use std::io;

/// The water marks of a write buffer, in bytes (contract C-80).
///
/// `pause_writing` comes when more than `high` bytes wait to be written, `resume_writing` when at
/// most `low` are left.
///
/// ```
/// use sim_core::WriteBufferLimits;
///
/// assert_eq!(WriteBufferLimits::default().high, 65_536);
/// assert_eq!(WriteBufferLimits::from_high(100).low, 25);
/// assert!(WriteBufferLimits::new(10, 20).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WriteBufferLimits {
    /// Writing pauses above this size. At 0, any byte that waits pauses it.
    pub high: usize,
    /// Writing resumes at or below this size.
    pub low: usize,
}

impl WriteBufferLimits {
    /// Both marks as given.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `high >= low`.
    pub fn new(high: usize, low: usize) -> io::Result<Self> {
        if high < low {
            let text = format!("high ({high:?}) must be >= low ({low:?}) must be >= 0");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self { high, low })
    }

    /// The high mark as given, the low one a quarter of it.
    pub const fn from_high(high: usize) -> Self {
        Self { high, low: high / 4 }
    }

    /// The low mark as given, the high one four times as much.
    pub const fn from_low(low: usize) -> Self {
        Self { high: low.saturating_mul(4), low }
    }
}

impl Default for WriteBufferLimits {
    /// 64 KiB and 16 KiB.
    fn default() -> Self {
        Self::from_high(64 << 10)
    }
}
