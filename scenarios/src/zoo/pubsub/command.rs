//! What is sent: lines, and payloads behind two of them.

use std::error::Error;
use std::fmt;
use std::io;

/// The longest line, and the longest payload, in bytes.
const LINE_BYTES_MAX: usize = 128;
const PAYLOAD_BYTES_MAX: usize = 1_024;
const LINE_END: &[u8] = b"\r\n";

/// A command, of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The client wants to hear of a subject; publications come under this number.
    Subscribe {
        /// What it is about.
        subject: String,
        /// The client's name for the subscription.
        number: u32,
    },
    /// The client publishes.
    Publish {
        /// What it is about.
        subject: String,
        /// What is published.
        payload: Vec<u8>,
    },
    /// A publication, for a subscriber.
    Message {
        /// What it is about.
        subject: String,
        /// The number of the subscription.
        number: u32,
        /// What was published.
        payload: Vec<u8>,
    },
    /// Is anybody there?
    Ping,
    /// The answer to that.
    Pong,
}

/// Bytes that are no command. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandError;

impl Command {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let with_payload =
            |line: String, payload: &[u8]| [line.as_bytes(), LINE_END, payload, LINE_END].concat();
        match self {
            Self::Subscribe { subject, number } => format!("SUB {subject} {number}\r\n").into(),
            Self::Publish { subject, payload } => {
                with_payload(format!("PUB {subject} {}", payload.len()), payload)
            }
            Self::Message { subject, number, payload } => {
                with_payload(format!("MSG {subject} {number} {}", payload.len()), payload)
            }
            Self::Ping => b"PING\r\n".to_vec(),
            Self::Pong => b"PONG\r\n".to_vec(),
        }
    }
}

/// Commands from the bytes of a stream, cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Takes in the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// The next command; `None` until all of it is there.
    ///
    /// # Errors
    ///
    /// Bytes that are none.
    pub fn poll(&mut self) -> Result<Option<Command>, CommandError> {
        let end = self.bytes.windows(LINE_END.len()).position(|window| window == LINE_END);
        let Some(end) = end.filter(|end| *end <= LINE_BYTES_MAX) else {
            let is_short = self.bytes.len() <= LINE_BYTES_MAX + LINE_END.len();
            return if is_short && end.is_none() { Ok(None) } else { Err(CommandError) };
        };
        let line = std::str::from_utf8(&self.bytes[..end]).map_err(|_| CommandError)?;
        let words: Vec<&str> = line.split(' ').collect();
        let mut taken = end + LINE_END.len();
        let mut payload = |length: &str| -> Result<Option<Vec<u8>>, CommandError> {
            let length: usize = length.parse().map_err(|_| CommandError)?;
            if length > PAYLOAD_BYTES_MAX {
                return Err(CommandError);
            }
            let rest = &self.bytes[taken..];
            let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
            if rest.len() < LINE_END.len() {
                return Ok(None);
            }
            taken += length + LINE_END.len();
            if rest.starts_with(LINE_END) { Ok(Some(payload.to_vec())) } else { Err(CommandError) }
        };
        let number = |word: &str| word.parse().map_err(|_| CommandError);
        let command = match *words {
            ["PING"] => Some(Command::Ping),
            ["PONG"] => Some(Command::Pong),
            ["SUB", subject, word] => {
                Some(Command::Subscribe { subject: subject.to_owned(), number: number(word)? })
            }
            ["PUB", subject, length] => payload(length)?
                .map(|payload| Command::Publish { subject: subject.to_owned(), payload }),
            ["MSG", subject, word, length] => {
                let number = number(word)?;
                let subject = subject.to_owned();
                payload(length)?.map(|payload| Command::Message { subject, number, payload })
            }
            _ => return Err(CommandError),
        };
        if command.is_some() {
            self.bytes.drain(..taken);
        }
        Ok(command)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes that are no command; does the peer speak another protocol?")
    }
}

impl Error for CommandError {}

impl From<CommandError> for io::Error {
    fn from(error: CommandError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Vec<Command> {
        let subject = || "news".to_owned();
        vec![
            Command::Ping,
            Command::Subscribe { subject: subject(), number: 7 },
            Command::Publish { subject: subject(), payload: b"PING\r\n".to_vec() },
            Command::Message { subject: subject(), number: 7, payload: Vec::new() },
            Command::Pong,
        ]
    }

    #[test]
    fn commands_survive_a_stream_that_is_cut_anywhere() {
        let bytes: Vec<u8> = commands().iter().flat_map(Command::encode).collect();
        assert!(bytes.starts_with(b"PING\r\nSUB news 7\r\nPUB news 6\r\nPING\r\n\r\nMSG news 7 0"));
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut came = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                decoder.feed(piece);
                came.extend(std::iter::from_fn(|| decoder.poll().unwrap()));
            }
            assert_eq!(came, commands(), "{cut}");
        }
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        let long = "x".repeat(LINE_BYTES_MAX + 3);
        for text in ["HELLO\r\n", "SUB news\r\n", "PUB news x\r\n", "PUB news 1025\r\n", &long]
            .into_iter()
            .chain(["PUB news 1\r\nabc", "SUB news -1\r\n"])
        {
            let mut decoder = Decoder::default();
            decoder.feed(text.as_bytes());
            assert_eq!(decoder.poll(), Err(CommandError), "{text}");
        }
        let mut decoder = Decoder::default();
        decoder.feed(&long.as_bytes()[..LINE_BYTES_MAX]);
        assert_eq!(decoder.poll(), Ok(None));
    }
}
