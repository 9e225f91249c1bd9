//! Scripts as data: what two ends of a connection do, and when.

use std::fmt;

use sim_core::Eof;

/// An end of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Client, Self::Server];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How an end takes its data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// By `data_received`.
    Plain,
    /// By `get_buffer` and `buffer_updated`, with a buffer of this length.
    Buffered(usize),
}

/// Something that an end does.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Write(usize),
    WriteLines(Vec<usize>),
    WriteEof,
    Close,
    Abort,
    /// `fail`, with an error of the operating system or one of its own.
    Fail {
        os: bool,
    },
    PauseReading,
    ResumeReading,
    SetLimits {
        high: usize,
        low: usize,
    },
    /// `set_protocol` to a twin.
    Switch(Reading),
    /// `call_soon`.
    Soon(Vec<Self>),
}

/// What an end is, apart from the rounds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Character {
    pub(crate) reading: Reading,
    /// What it does in `connection_made`.
    pub(crate) made: Vec<Act>,
    /// What it does in `eof_received`, and answers.
    pub(crate) at_eof: Option<Act>,
    pub(crate) eof: Eof,
}

/// A part of a script. It begins when the world is quiet, which is the barrier between the ends.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Round {
    /// Both ends act at the barrier, and once more at the first data of the round.
    Together {
        client: Vec<Act>,
        server: Vec<Act>,
        client_on_data: Vec<Act>,
        server_on_data: Vec<Act>,
    },
    /// One end sends a chunk that is never cut on its way, perhaps with the end of its stream; the
    /// other reacts to it.
    Ask { from: Side, bytes: usize, eof: bool, reaction: Vec<Act> },
    /// One end writes more than any kernel takes, and acts when it may write again; the other acts
    /// at the first data.
    Flood { from: Side, bytes: usize, high: usize, at_resume: Vec<Act>, reaction: Vec<Act> },
    /// One end acts, alone.
    Alone { side: Side, acts: Vec<Act> },
}

/// A script. After the last round both ends read all there is, and close.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) client: Character,
    pub(crate) server: Character,
    pub(crate) rounds: Vec<Round>,
}

impl Script {
    pub(crate) fn character(&self, side: Side) -> &Character {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }
}

impl Act {
    /// True if it ends the connection for the end that does it, now or later.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Close | Self::Abort | Self::Fail { .. } => true,
            Self::Soon(acts) => acts.iter().any(Self::is_final),
            _ => false,
        }
    }

    /// True if it ends the connection and drops what is still to be sent.
    pub(crate) fn is_abrupt(&self) -> bool {
        match self {
            Self::Abort | Self::Fail { .. } => true,
            Self::Soon(acts) => acts.iter().any(Self::is_abrupt),
            _ => false,
        }
    }
}

// A failing script is read by a person: a line for each round.

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  client is {:?}", self.client)?;
        write!(f, "\n  server is {:?}", self.server)?;
        (1..).zip(&self.rounds).try_for_each(|(number, round)| write!(f, "\n  {number}. {round:?}"))
    }
}

impl fmt::Debug for Character {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}; made: {}; ", self.reading, List(&self.made))?;
        let at_eof = self.at_eof.as_slice();
        write!(f, "at eof: {}, answers {:?}", List(at_eof), self.eof)
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Buffered(size) => write!(f, "buffered({size})"),
        }
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Together { client, server, client_on_data, server_on_data } => {
                write!(f, "client: {}, on data: {}; ", List(client), List(client_on_data))?;
                write!(f, "server: {}, on data: {}", List(server), List(server_on_data))
            }
            Self::Ask { from, bytes, eof, reaction } => {
                let eof = if *eof { " and its end" } else { "" };
                let other = from.other();
                write!(f, "{from:?} sends {bytes} B{eof}; {other:?} reacts: {}", List(reaction))
            }
            Self::Flood { from, bytes, high, at_resume, reaction } => {
                write!(f, "{from:?} floods {bytes} B over a mark of {high} B; ")?;
                write!(f, "at resume: {}; ", List(at_resume))?;
                write!(f, "{:?} reacts: {}", from.other(), List(reaction))
            }
            Self::Alone { side, acts } => write!(f, "{side:?} alone: {}", List(acts)),
        }
    }
}

struct List<'a>(&'a [Act]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        let acts: Vec<String> = self.0.iter().map(|act| format!("{act:?}")).collect();
        f.write_str(&acts.join(" "))
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(bytes) => write!(f, "write({bytes})"),
            Self::WriteLines(lines) => write!(f, "writelines({lines:?})"),
            Self::WriteEof => f.write_str("write_eof"),
            Self::Close => f.write_str("close"),
            Self::Abort => f.write_str("abort"),
            Self::Fail { os: true } => f.write_str("fail(os)"),
            Self::Fail { os: false } => f.write_str("fail(own)"),
            Self::PauseReading => f.write_str("pause_reading"),
            Self::ResumeReading => f.write_str("resume_reading"),
            Self::SetLimits { high, low } => write!(f, "limits({high}, {low})"),
            Self::Switch(reading) => write!(f, "set_protocol({reading:?})"),
            Self::Soon(acts) => write!(f, "call_soon({})", List(acts)),
        }
    }
}
