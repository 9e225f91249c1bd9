//! The client: a member of the room.

use sim_core::{Cx, Loop, LoopFuture, Protocol};

use super::lines::Splitter;
use crate::Progress;

/// The longest line that a server sends: a name and what it says.
const LINE_BYTES_MAX: usize = 2_048;

/// What a member learnt of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Its text, with who said it.
    Line(String),
    /// So many lines were left out here.
    Missed(u64),
}

impl Heard {
    /// The line, if it was heard.
    pub fn text(&self) -> Option<&String> {
        match self {
            Self::Line(text) => Some(text),
            Self::Missed(_) => None,
        }
    }
}

/// A member: keeps what it hears.
#[derive(Debug)]
pub struct Member {
    name: String,
    lines: Splitter,
    heard: Vec<Heard>,
    welcomes: Progress,
    /// Lines that were heard, or reported as missed.
    accounted: Progress,
}

impl Member {
    /// A member called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lines: Splitter::new(LINE_BYTES_MAX),
            heard: Vec::new(),
            welcomes: Progress::default(),
            accounted: Progress::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Completes when the server has seated it.
    pub fn seated(&mut self, lp: &Loop) -> LoopFuture<()> {
        self.welcomes.reaches(lp, 1)
    }

    /// Completes when it has heard, or was told that it missed, `lines` lines in all.
    pub fn hears(&mut self, lp: &Loop, lines: u64) -> LoopFuture<()> {
        self.accounted.reaches(lp, lines)
    }

    /// What it heard since the last call.
    pub fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    fn line(&mut self, line: String) {
        let Some(notice) = line.strip_prefix("* ") else {
            self.heard.push(Heard::Line(line));
            return self.accounted.add(1);
        };
        if notice.starts_with("welcome ") {
            self.welcomes.add(1);
        } else if let Some(Ok(lines)) = notice.strip_prefix("missed ").map(str::parse) {
            self.heard.push(Heard::Missed(lines));
            self.accounted.add(lines);
        }
    }
}

impl Protocol for Member {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.writelines([&self.name[..], "\n"]);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.lines.feed(data);
        loop {
            match self.lines.poll() {
                Ok(Some(line)) => self.line(line),
                Ok(None) => return,
                Err(error) => {
                    return cx.fail(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    #[test]
    fn lines_count_one_each_and_missed_ones_as_told() {
        let mut peer = testing::drive(Member::new("ann"));
        assert_eq!(peer.take_written(), b"ann\n");
        let (seated, hears) = peer.with(|member, cx| {
            let lp = cx.event_loop();
            (member.seated(lp), member.hears(lp, 4))
        });
        peer.feed(b"* welcome ann\nbob: hi\n* missed 2\n");
        assert!(seated.done() && !hears.done());
        peer.feed(b"bob: * not a notice\n");
        assert!(hears.done());
        let heard = peer.with(|member, _| member.take_heard());
        let line = |text: &str| Heard::Line(text.into());
        assert_eq!(heard, [line("bob: hi"), Heard::Missed(2), line("bob: * not a notice")]);
    }

    #[test]
    fn a_server_that_sends_no_lines_is_given_up() {
        let mut peer = testing::drive(Member::new("ann"));
        peer.feed(&[b'x'; LINE_BYTES_MAX + 2]);
        assert!(peer.is_reset());
    }
}
