//! Lines on a stream of bytes.

use std::error::Error;
use std::fmt;

/// The longest line, without its end, in bytes.
pub const LINE_BYTES_MAX: usize = 1_024;

/// A line was longer than is allowed. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong {
    /// The longest allowed, in bytes.
    pub bytes_max: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line of more than {} bytes", self.bytes_max)
    }
}

impl Error for LineTooLong {}

/// Cuts a stream into lines: [`feed`](Self::feed) it what comes, then [`poll`](Self::poll) until
/// there is no more.
///
/// A line ends with a line feed; a carriage return before it is taken off. Bytes that are no UTF-8
/// are replaced. It holds at most one incomplete line, and whatever was fed since the last poll.
///
/// ```
/// use scenarios::chat::lines::{LineTooLong, Splitter};
///
/// let mut lines = Splitter::new(10);
/// lines.feed(b"one\r\ntw");
/// assert_eq!(lines.poll(), Ok(Some("one".into())));
/// assert_eq!(lines.poll(), Ok(None));
/// lines.feed(b"o\nmuch too long");
/// assert_eq!(lines.poll(), Ok(Some("two".into())));
/// assert_eq!(lines.poll(), Err(LineTooLong { bytes_max: 10 }));
/// ```
#[derive(Debug)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// How many bytes at the front of the buffer were given out.
    consumed: usize,
    bytes_max: usize,
}

impl Splitter {
    /// A splitter of lines of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), consumed: 0, bytes_max }
    }

    /// Takes in the next bytes of the stream.
    pub fn feed(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next line, without its end; `None` until more is fed.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`], as soon as that is sure, and from then on at every call.
    pub fn poll(&mut self) -> Result<Option<String>, LineTooLong> {
        let rest = &self.buffer[self.consumed..];
        // The longest line that is allowed may have two bytes of line end.
        let searched = &rest[..rest.len().min(self.bytes_max + 2)];
        let Some(end) = searched.iter().position(|&byte| byte == b'\n') else {
            if searched.len() == self.bytes_max + 2 {
                return Err(self.too_long());
            }
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
            return Ok(None);
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if line.len() > self.bytes_max {
            return Err(self.too_long());
        }
        let line = String::from_utf8_lossy(line).into_owned();
        self.consumed += end + 1;
        Ok(Some(line))
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong { bytes_max: self.bytes_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_all(lines: &mut Splitter) -> Vec<String> {
        std::iter::from_fn(|| lines.poll().unwrap()).collect()
    }

    #[test]
    fn lines_come_out_whole_wherever_the_stream_is_cut() {
        let text = "one\r\n\ndrei äöü\nfour\n".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut lines = Splitter::new(LINE_BYTES_MAX);
                let mut heard = Vec::new();
                for piece in [&text[..first], &text[first..second], &text[second..]] {
                    lines.feed(piece);
                    heard.extend(split_all(&mut lines));
                }
                assert_eq!(heard, ["one", "", "drei äöü", "four"], "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_byte_more_fails() {
        for end in ["\n", "\r\n"] {
            let mut lines = Splitter::new(4);
            lines.feed(format!("1234{end}12345{end}").as_bytes());
            assert_eq!(lines.poll(), Ok(Some("1234".into())));
            assert_eq!(lines.poll(), Err(LineTooLong { bytes_max: 4 }));
            assert_eq!(lines.poll(), Err(LineTooLong { bytes_max: 4 }), "there is no way on");
        }
    }

    #[test]
    fn a_line_without_end_fails_when_no_end_can_help() {
        let mut lines = Splitter::new(4);
        lines.feed(b"12345");
        assert_eq!(lines.poll(), Ok(None), "the fifth byte might have been a carriage return");
        lines.feed(b"6");
        assert_eq!(lines.poll(), Err(LineTooLong { bytes_max: 4 }));
    }
}
