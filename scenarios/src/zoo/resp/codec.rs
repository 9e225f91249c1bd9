//! Commands and replies on a stream of bytes: RESP, as Redis speaks it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// The longest string, and the most parts of a command, that a decoder takes.
const BYTES_MAX: usize = 1 << 16;
const PARTS_MAX: usize = 16;
/// What ends a line.
const END: &[u8] = b"\r\n";

/// A value on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A word, such as `OK`.
    Simple(Cow<'static, str>),
    /// What went wrong.
    Error(Cow<'static, str>),
    /// A string; `None` where there is none.
    Bulk(Option<Vec<u8>>),
    /// Several: a command.
    Array(Vec<Self>),
}

/// The peer does not speak this protocol. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueError;

impl Value {
    /// A command of these parts.
    pub fn command(parts: &[&str]) -> Self {
        Self::Array(parts.iter().map(|part| Self::Bulk(Some(part.as_bytes().to_vec()))).collect())
    }

    /// Appends its bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(word) => put(out, b'+', word.as_bytes()),
            Self::Error(text) => put(out, b'-', text.as_bytes()),
            Self::Bulk(None) => put(out, b'$', b"-1"),
            Self::Bulk(Some(bytes)) => put_string(out, bytes),
            Self::Array(values) => {
                put_count(out, b'*', values.len());
                values.iter().for_each(|value| value.encode(out));
            }
        }
    }
}

/// Appends the bytes of a command of these parts to `out`.
pub fn encode_command(parts: &[&str], out: &mut Vec<u8>) {
    put_count(out, b'*', parts.len());
    for part in parts {
        put_string(out, part.as_bytes());
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(END);
}

/// Appends a line.
fn put(out: &mut Vec<u8>, kind: u8, line: &[u8]) {
    out.push(kind);
    out.extend_from_slice(line);
    out.extend_from_slice(END);
}

fn put_count(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    put_digits(out, count);
    out.extend_from_slice(END);
}

fn put_digits(out: &mut Vec<u8>, number: usize) {
    if number > 9 {
        put_digits(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

/// Cuts a stream into values: [`feed`](Self::feed) it what comes, then [`poll`](Self::poll) until
/// there is no more.
///
/// ```
/// use scenarios::zoo::resp::{Decoder, Value, encode_command};
///
/// let mut bytes = Vec::new();
/// encode_command(&["GET", "key"], &mut bytes);
/// assert_eq!(bytes, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
/// let mut decoder = Decoder::default();
/// decoder.feed(&bytes);
/// assert_eq!(decoder.poll(), Ok(Some(Value::command(&["GET", "key"]))));
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// With fewer bytes in it there is nothing to look for.
    wanted: usize,
    /// The parts so far of an array that is not whole, and how many it will have.
    array: Option<(Vec<Value>, usize)>,
}

/// What is not read yet.
struct Rest<'a> {
    bytes: &'a [u8],
    /// How many more there must be, at least, for anything to be whole.
    missing: usize,
}

/// What stands at the beginning of it.
enum Item {
    Value(Value),
    /// An array of so many parts begins.
    Array(usize),
}

impl Decoder {
    /// Takes in the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next value, if it is whole.
    ///
    /// # Errors
    ///
    /// [`ValueError`]: there is no way on then.
    pub fn poll(&mut self) -> Result<Option<Value>, ValueError> {
        if self.buffer.len() < self.wanted {
            return Ok(None);
        }
        let mut rest = Rest { bytes: &self.buffer, missing: 0 };
        let value = next_value(&mut rest, &mut self.array)?;
        let Rest { bytes, missing } = rest;
        self.wanted = bytes.len() + missing;
        let read = self.buffer.len() - bytes.len();
        self.buffer.drain(..read);
        Ok(value)
    }
}

/// The next value, if it is whole; if it is not, what is there of an array.
fn next_value(
    rest: &mut Rest<'_>,
    array: &mut Option<(Vec<Value>, usize)>,
) -> Result<Option<Value>, ValueError> {
    loop {
        if let Some((values, _)) = array.take_if(|(values, count)| values.len() == *count) {
            return Ok(Some(Value::Array(values)));
        }
        let item = if array.is_some() { rest.part()? } else { rest.item()? };
        match (item, &mut *array) {
            (None, _) => return Ok(None),
            (Some(Item::Array(count)), _) => *array = Some((Vec::with_capacity(count), count)),
            (Some(Item::Value(value)), Some((values, _))) => values.push(value),
            (Some(Item::Value(value)), None) => return Ok(Some(value)),
        }
    }
}

impl<'a> Rest<'a> {
    fn line(&mut self) -> Result<Option<&'a str>, ValueError> {
        let Some(end) = self.bytes.windows(2).position(|window| window == END) else {
            return if self.bytes.len() > BYTES_MAX { Err(ValueError) } else { Ok(None) };
        };
        let (line, rest) = self.bytes.split_at(end);
        self.bytes = &rest[2..];
        std::str::from_utf8(line).map(Some).map_err(|_| ValueError)
    }

    /// A number that is at most `most`; `None` for -1.
    fn number(text: &str, most: usize) -> Result<Option<usize>, ValueError> {
        if text == "-1" {
            return Ok(None);
        }
        let number = text.parse().map_err(|_| ValueError)?;
        if number > most { Err(ValueError) } else { Ok(Some(number)) }
    }

    /// What comes next, if it is whole; else nothing of it is read.
    fn item(&mut self) -> Result<Option<Item>, ValueError> {
        let all = self.bytes;
        let Some(line) = self.line()? else { return Ok(None) };
        let (kind, text) = line.split_at_checked(1).ok_or(ValueError)?;
        let value = match kind {
            "+" => Value::Simple(text.to_owned().into()),
            "-" => Value::Error(text.to_owned().into()),
            "$" => match Self::number(text, BYTES_MAX)? {
                Some(bytes) => match self.bulk(bytes)? {
                    Some(string) => string,
                    None => {
                        self.missing = bytes + END.len() - self.bytes.len();
                        self.bytes = all;
                        return Ok(None);
                    }
                },
                None => Value::Bulk(None),
            },
            "*" => {
                let parts = Self::number(text, PARTS_MAX)?.ok_or(ValueError)?;
                return Ok(Some(Item::Array(parts)));
            }
            _ => return Err(ValueError),
        };
        Ok(Some(Item::Value(value)))
    }

    /// A part of an array: a string, so that arrays do not nest.
    fn part(&mut self) -> Result<Option<Item>, ValueError> {
        match self.bytes.first() {
            Some(b'$') => self.item(),
            Some(_) => Err(ValueError),
            None => Ok(None),
        }
    }

    fn bulk(&mut self, bytes: usize) -> Result<Option<Value>, ValueError> {
        let Some((string, rest)) = self.bytes.split_at_checked(bytes) else { return Ok(None) };
        let Some((end, rest)) = rest.split_at_checked(2) else { return Ok(None) };
        if end != END {
            return Err(ValueError);
        }
        let value = Value::Bulk(Some(string.to_vec()));
        self.bytes = rest;
        Ok(Some(value))
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value is of no known kind, or too long")
    }
}

impl Error for ValueError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_whole_wherever_the_stream_is_cut() {
        let sent = [
            Value::command(&["SET", "key", "a\r\nb"]),
            Value::Simple("OK".into()),
            Value::Bulk(None),
            Value::Bulk(Some(Vec::new())),
            Value::Error("ERR what?".into()),
            Value::Array(Vec::new()),
        ];
        let mut stream = Vec::new();
        sent.iter().for_each(|value| value.encode(&mut stream));
        let decoded = |pieces: &[&[u8]]| {
            let (mut decoder, mut values) = (Decoder::default(), Vec::new());
            for piece in pieces {
                decoder.feed(piece);
                values.extend(std::iter::from_fn(|| decoder.poll().unwrap()));
            }
            values
        };
        for cut in 0..=stream.len() {
            assert_eq!(decoded(&[&stream[..cut], &stream[cut..]]), sent, "cut at {cut}");
        }
        assert_eq!(decoded(&stream.chunks(1).collect::<Vec<_>>()), sent, "byte by byte");
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        for bytes in [
            "\r\n",
            "?\r\n",
            "$x\r\n",
            "$65537\r\n",
            "*-1\r\n",
            "*17\r\n",
            "*1\r\n+a\r\n",
            "$1\r\nabc",
        ] {
            let mut decoder = Decoder::default();
            decoder.feed(bytes.as_bytes());
            assert_eq!(decoder.poll(), Err(ValueError), "{bytes:?}");
        }
    }
}
