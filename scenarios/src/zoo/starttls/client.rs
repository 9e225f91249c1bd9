//! The side that puts a message and reads a list.

use std::time::Duration;

use sim_core::{Cx, Eof, Protocol, Timer};

use super::lines::Lines;
use super::record::{Content, Opener, Sealer};
use super::server::list_line;
use super::{Bug, TO_CLIENT, TO_SERVER};
use crate::Violation;

/// How long the client hears nothing before it gives a connection up.
const SILENCE_MAX: Duration = Duration::from_millis(500);

/// What the client has done, over all its connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Done {
    /// Its message is kept.
    pub(super) put: bool,
    /// How many lines of the list it has.
    pub(super) lines: u64,
    /// The list has ended.
    pub(super) ended: bool,
}

/// The client's side of a connection.
#[derive(Debug)]
pub(super) struct Client {
    message: String,
    done: Done,
    lines: Lines,
    /// The record layer, once it is in use.
    layer: Option<(Opener, Sealer)>,
    violation: Option<Violation>,
    silence: Option<Timer>,
    bug: Option<Bug>,
}

impl Client {
    /// A client that puts `message` and reads the list, as far as that is not `done`.
    pub(super) fn new(message: &str, done: Done, bug: Option<Bug>) -> Self {
        Self {
            message: message.to_owned(),
            done,
            lines: Lines::default(),
            layer: None,
            violation: None,
            silence: None,
            bug,
        }
    }

    /// What is done by now.
    ///
    /// # Errors
    ///
    /// What came that is wrong.
    pub(super) fn done(&self) -> Result<Done, Violation> {
        self.violation.clone().map_or_else(|| Ok(self.done.clone()), Err)
    }

    /// Says what is to be done next.
    fn ask(&mut self, cx: &Cx<'_, Self>, command: &str) {
        if let Some((_, sealer)) = &mut self.layer {
            cx.write(&sealer.seal(&Content::Data(format!("{command}\r\n").into_bytes())));
        }
    }

    fn reply(&mut self, cx: &Cx<'_, Self>, line: &str) {
        match line.split_once(' ') {
            Some(("220", _)) if self.layer.is_none() => {
                self.lines.clear();
                self.layer = Some((Opener::new(TO_CLIENT), Sealer::new(TO_SERVER)));
                if self.done.put {
                    self.ask(cx, &format!("LIST {}", self.done.lines));
                } else {
                    self.ask(cx, &format!("PUT {}", self.message));
                }
            }
            Some(("250", _)) if !self.done.put => {
                self.done.put = true;
                self.ask(cx, &format!("LIST {}", self.done.lines));
            }
            Some((number, text))
                if number.parse() == Ok(self.done.lines) && text == list_line(self.done.lines) =>
            {
                self.done.lines += 1;
                self.ask(cx, "NEXT");
            }
            _ => {
                let text = "the server said something that it should not say";
                self.violation.get_or_insert(Violation::new(text));
                cx.abort();
            }
        }
    }

    fn take_in(&mut self, cx: &Cx<'_, Self>, data: &[u8]) {
        let Some((opener, _)) = &mut self.layer else {
            return self.lines.feed(data);
        };
        opener.feed(data);
        loop {
            match opener.poll() {
                Ok(Some(Content::Data(data))) => self.lines.feed(&data),
                Ok(Some(Content::CloseNotify)) => self.done.ended = true,
                Ok(None) => return,
                Err(error) => {
                    self.violation.get_or_insert(Violation::new(error.to_string()));
                    return cx.abort();
                }
            }
        }
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(b"STARTTLS\r\n");
        self.silence = Some(cx.call_later(SILENCE_MAX, |_, cx| cx.abort()));
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.take_in(cx, data);
        while let Some(line) = self.lines.poll() {
            self.reply(cx, &line);
        }
        self.silence = Some(cx.call_later(SILENCE_MAX, |_, cx| cx.abort()));
    }

    fn eof_received(&mut self, _cx: &mut Cx<'_, Self>) -> Eof {
        // Z09: the end of the connection is taken for the end of the list. One deviation suffices:
        // one packet of the list that is lost, so that the server tires of waiting, or its process
        // is killed. Without one the connection ends behind a `close_notify` alone.
        if self.bug == Some(Bug::EndWithoutNotify) && self.layer.is_some() {
            self.done.ended = true;
        }
        Eof::Close
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    /// A client that has begun, and the server's half of the record layer.
    fn begun(done: Done, bug: Option<Bug>) -> (testing::Peer<Client>, Sealer, Opener) {
        let mut peer = testing::drive(Client::new("hello", done, bug));
        assert_eq!(peer.take_written(), b"STARTTLS\r\n");
        peer.feed(b"220 go ahead\r\n");
        (peer, Sealer::new(TO_CLIENT), Opener::new(TO_SERVER))
    }

    fn line(text: &str) -> Content {
        Content::Data(format!("{text}\r\n").into_bytes())
    }

    fn asked(peer: &mut testing::Peer<Client>, opener: &mut Opener) -> Option<Content> {
        opener.feed(&peer.take_written());
        opener.poll().unwrap()
    }

    #[test]
    fn it_puts_its_message_and_reads_the_list_to_its_end() {
        let (mut peer, mut sealer, mut opener) = begun(Done::default(), None);
        assert_eq!(asked(&mut peer, &mut opener), Some(line("PUT hello")));
        peer.feed(&sealer.seal(&line("250 kept")));
        assert_eq!(asked(&mut peer, &mut opener), Some(line("LIST 0")));
        peer.feed(&sealer.seal(&line(&format!("0 {}", list_line(0)))));
        assert_eq!(asked(&mut peer, &mut opener), Some(line("NEXT")));
        peer.feed(&sealer.seal(&Content::CloseNotify));
        peer.feed_eof();
        let done = Done { put: true, lines: 1, ended: true };
        assert_eq!(peer.with(|client, _| client.done()), Ok(done));
    }

    #[test]
    fn an_end_without_a_word_is_none_but_for_the_bug() {
        for bug in [None, Some(Bug::EndWithoutNotify)] {
            let done = Done { put: true, lines: 3, ended: false };
            let (mut peer, _, mut opener) = begun(done.clone(), bug);
            assert_eq!(asked(&mut peer, &mut opener), Some(line("LIST 3")));
            peer.feed_eof();
            let done = Done { ended: bug.is_some(), ..done };
            assert_eq!(peer.with(|client, _| client.done()), Ok(done));
        }
    }

    #[test]
    fn what_is_no_reply_is_a_violation_and_silence_ends_the_connection() {
        let (mut peer, mut sealer, _) = begun(Done::default(), None);
        peer.feed(&sealer.seal(&line("7 0")));
        assert!(peer.with(|client, _| client.done()).is_err());
        let (mut peer, _, _) = begun(Done::default(), None);
        peer.feed(b"250 kept, but this is no record\r\n");
        assert!(peer.with(|client, _| client.done()).is_err());
        let (mut peer, _, _) = begun(Done::default(), None);
        peer.advance(SILENCE_MAX);
        assert!(peer.is_lost());
    }
}
