//! Requests and answers on a stream of bytes (RFC 9112), with chunked bodies.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use super::Bug;

/// The longest line, and the longest body, that a decoder takes, in bytes.
const LINE_BYTES_MAX: usize = 1_024;
const BODY_BYTES_MAX: usize = 1 << 20;
/// The one header that says something about a message here.
const CHUNKED: &str = "Transfer-Encoding: chunked";

/// A request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The line that it begins with, such as `GET /pages/1 HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub start: String,
    /// What it carries; empty if it has no body.
    pub body: Vec<u8>,
}

/// The peer does not speak this protocol. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// A line is too long, or is no text.
    Line,
    /// What stands where the size of a chunk should be is none.
    ChunkSize,
    /// A chunk is not followed by the end of its line.
    ChunkEnd,
    /// A body is too long.
    TooLong,
}

/// The bytes of a message whose body is cut into `chunks`.
pub fn encode<'a>(start: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = format!("{start}\r\n{CHUNKED}\r\n\r\n").into_bytes();
    // An empty one would be the last.
    for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// What a decoder reads next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    Headers { chunked: bool },
    ChunkSize,
    Chunk(usize),
    Trailers,
}

/// Cuts a stream into messages: [`feed`](Self::feed) it what comes, then [`poll`](Self::poll) until
/// there is no more.
///
/// ```
/// use scenarios::zoo::http_orders::message::{self, Decoder};
///
/// let bytes = message::encode("HTTP/1.1 200 OK", [&b"two "[..], b"chunks"]);
/// let mut decoder = Decoder::default();
/// decoder.feed(&bytes[..20]);
/// assert_eq!(decoder.poll()?, None);
/// decoder.feed(&bytes[20..]);
/// assert_eq!(decoder.poll()?.unwrap().body, b"two chunks");
/// # Ok::<(), message::MessageError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    buffer: VecDeque<u8>,
    part: Part,
    message: Message,
    bug: Option<Bug>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Message {
    const fn empty() -> Self {
        Self { start: String::new(), body: Vec::new() }
    }
}

impl Decoder {
    pub(super) fn new(bug: Option<Bug>) -> Self {
        Self { buffer: VecDeque::new(), part: Part::Start, message: Message::empty(), bug }
    }

    /// Takes in the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.buffer.extend(data);
    }

    /// The next message, if it is whole.
    ///
    /// # Errors
    ///
    /// [`MessageError`]: there is no way on then.
    pub fn poll(&mut self) -> Result<Option<Message>, MessageError> {
        while let Some(next) = self.advance()? {
            self.part = next;
            if next == Part::Start {
                return Ok(Some(std::mem::replace(&mut self.message, Message::empty())));
            }
        }
        Ok(None)
    }

    /// Reads a part that is whole, and says what follows it; `Part::Start` after the last.
    fn advance(&mut self) -> Result<Option<Part>, MessageError> {
        Ok(match self.part {
            Part::Start => self.line()?.map(|line| {
                self.message.start = line;
                Part::Headers { chunked: false }
            }),
            Part::Headers { chunked } => self.line()?.map(|line| match &*line {
                "" if chunked => Part::ChunkSize,
                "" => Part::Start,
                line => Part::Headers { chunked: chunked || line.eq_ignore_ascii_case(CHUNKED) },
            }),
            Part::ChunkSize => self.chunk_size()?.map(|size| match size {
                0 => Part::Trailers,
                size => Part::Chunk(size),
            }),
            Part::Chunk(size) => self.chunk(size)?.then_some(Part::ChunkSize),
            Part::Trailers => self.line()?.map(|line| match &*line {
                "" => Part::Start,
                _ => Part::Trailers,
            }),
        })
    }

    fn line(&mut self) -> Result<Option<String>, MessageError> {
        let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
            let is_too_long = self.buffer.len() > LINE_BYTES_MAX;
            return if is_too_long { Err(MessageError::Line) } else { Ok(None) };
        };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let line = line.strip_suffix(b"\r\n").ok_or(MessageError::Line)?;
        let text = std::str::from_utf8(line).map_err(|_| MessageError::Line)?;
        Ok(Some(text.to_owned()))
    }

    /// The size of a chunk: digits, and the end of the line.
    fn chunk_size(&mut self) -> Result<Option<usize>, MessageError> {
        let bytes = self.buffer.make_contiguous();
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        match &bytes[digits..] {
            [] if digits <= 8 => Ok(None),
            // Z03: a line is either whole or not begun, as far as its end goes. One boundary
            // suffices, between the two bytes that end the size of a chunk: what is there is no
            // size. Without one an answer comes whole, since it is sent by one write and fits into
            // a segment.
            [b'\r'] if self.bug != Some(Bug::EndOfSizeInHalves) => Ok(None),
            [b'\r', b'\n', ..] if (1..=8).contains(&digits) => {
                let text = std::str::from_utf8(&bytes[..digits]).expect("digits are text");
                let size = usize::from_str_radix(text, 16).map_err(|_| MessageError::ChunkSize)?;
                self.buffer.drain(..digits + 2);
                Ok(Some(size))
            }
            _ => Err(MessageError::ChunkSize),
        }
    }

    /// Takes a chunk with the end of its line, if it is whole.
    fn chunk(&mut self, size: usize) -> Result<bool, MessageError> {
        if self.message.body.len() + size > BODY_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        if self.buffer.len() < size + 2 {
            return Ok(false);
        }
        self.message.body.extend(self.buffer.drain(..size));
        if !self.buffer.drain(..2).eq(*b"\r\n") {
            return Err(MessageError::ChunkEnd);
        }
        Ok(true)
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line => "a line is too long, or no text",
            Self::ChunkSize => "a chunk has no size",
            Self::ChunkEnd => "a chunk has no end",
            Self::TooLong => "a body is too long",
        })
    }
}

impl Error for MessageError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> ([Message; 3], Vec<u8>) {
        let message = |start: &str, body: &[u8]| Message { start: start.into(), body: body.into() };
        let sent = [
            message("GET /pages/1 HTTP/1.1", b""),
            message("HTTP/1.1 200 OK", b"x\r\ny, and a long second chunk"),
            message("HTTP/1.1 404 Not Found", b""),
        ];
        let (one, two) = sent[1].body.split_at(4);
        let mut stream = b"GET /pages/1 HTTP/1.1\r\nHost: server\r\n\r\n".to_vec();
        stream.extend(encode(&sent[1].start, [one, b"", two]));
        stream.extend(encode(&sent[2].start, []));
        (sent, stream)
    }

    fn poll_all(decoder: &mut Decoder) -> Result<Vec<Message>, MessageError> {
        std::iter::from_fn(|| decoder.poll().transpose()).collect()
    }

    fn decode_cut(
        bug: Option<Bug>,
        stream: &[u8],
        cut: usize,
    ) -> Result<Vec<Message>, MessageError> {
        let mut decoder = Decoder::new(bug);
        decoder.feed(&stream[..cut]);
        let mut messages = poll_all(&mut decoder)?;
        decoder.feed(&stream[cut..]);
        messages.extend(poll_all(&mut decoder)?);
        Ok(messages)
    }

    #[test]
    fn messages_come_out_whole_wherever_the_stream_is_cut() {
        let (sent, stream) = messages();
        for cut in 0..=stream.len() {
            assert_eq!(decode_cut(None, &stream, cut).unwrap(), sent, "cut at {cut}");
        }
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for byte in stream {
            decoder.feed(&[byte]);
            out.extend(poll_all(&mut decoder).unwrap());
        }
        assert_eq!(out, sent);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let after_head = |rest: &[u8]| decode_cut(None, &[head, rest].concat(), 0).unwrap_err();
        assert_eq!(after_head(b"\r\n"), MessageError::ChunkSize);
        assert_eq!(after_head(b"x\r\n"), MessageError::ChunkSize);
        assert_eq!(after_head(b"3\n"), MessageError::ChunkSize);
        assert_eq!(after_head(b"123456789"), MessageError::ChunkSize);
        assert_eq!(after_head(b"3\r\nabcd\r\n"), MessageError::ChunkEnd);
        assert_eq!(after_head(b"ffffffff\r\n"), MessageError::TooLong);
        let line = decode_cut(None, &vec![b'a'; LINE_BYTES_MAX + 1], 0);
        assert_eq!(line, Err(MessageError::Line));
    }

    #[test]
    fn the_bug_minds_cuts_in_the_ends_of_sizes_alone() {
        let (_, stream) = messages();
        let minded: Vec<usize> = (0..=stream.len())
            .filter(|cut| decode_cut(Some(Bug::EndOfSizeInHalves), &stream, *cut).is_err())
            .collect();
        let ends = (1..stream.len()).filter(|&at| {
            let digits = stream[..at - 1].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let is_size = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
            is_size && stream[at - 1..].starts_with(b"\r\n")
        });
        assert_eq!(minded, ends.collect::<Vec<_>>());
        assert_eq!(minded.len(), 4, "two chunks, and the last of each body");
    }
}
