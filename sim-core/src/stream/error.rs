//! Why a read of a certain shape failed.

use std::error::Error;
use std::fmt;
use std::io;

/// Why [`read_exact`](super::StreamReader::read_exact), [`read_until`](super::StreamReader::read_until) or
/// [`read_line`](super::StreamReader::read_line) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended before (contract H-05, H-08): asyncio's `IncompleteReadError`.
    Incomplete {
        /// What came before the end; it is taken out of the reader.
        partial: Vec<u8>,
        /// How many bytes were asked for; `None` for a separator.
        expected: Option<usize>,
    },
    /// There is more before the separator than the reader's limit (H-07): asyncio's `LimitOverrunError`. Nothing
    /// is taken out of the reader.
    LimitOverrun {
        /// How many bytes certainly belong before the separator.
        consumed: usize,
    },
    /// A line is longer than the reader's limit. It was dropped, up to its newline if that has come already
    /// (H-09).
    LineTooLong,
    /// A separator without a byte.
    EmptySeparator,
    /// The connection was lost.
    Lost(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { partial, expected: Some(expected) } => {
                write!(f, "{} bytes read on a total of {expected} expected bytes", partial.len())
            }
            Self::Incomplete { partial, expected: None } => {
                write!(
                    f,
                    "{} bytes read, and then the stream ended without the separator",
                    partial.len()
                )
            }
            Self::LimitOverrun { consumed } => {
                write!(
                    f,
                    "the separator does not come within the limit: {consumed} bytes are before it"
                )
            }
            Self::LineTooLong => f.write_str("a line is longer than the limit"),
            Self::EmptySeparator => f.write_str("a separator has at least one byte"),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Lost(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::Lost(error) => return error,
            ReadError::Incomplete { .. } => io::ErrorKind::UnexpectedEof,
            ReadError::LimitOverrun { .. } | ReadError::LineTooLong => io::ErrorKind::InvalidData,
            ReadError::EmptySeparator => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
