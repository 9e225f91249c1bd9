//! The side that keeps messages.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Protocol, Timer};

use super::lines::Lines;
use super::record::{Content, Opener, Sealer};
use super::{Bug, TO_CLIENT, TO_SERVER};

/// How long the server waits for a command before it ends the connection, as it is: without a word.
const IDLE_MAX: Duration = Duration::from_millis(100);

/// The messages that were put there. They outlast the process.
pub(super) type Mailbox = Rc<RefCell<BTreeSet<String>>>;

/// What the two sides talk through.
#[derive(Debug)]
enum Layer {
    /// Lines as they are.
    Plain,
    /// Lines in records.
    Protected(Opener, Sealer),
}

/// The server's side of a connection.
#[derive(Debug)]
pub(super) struct Server {
    layer: Layer,
    lines: Lines,
    mailbox: Mailbox,
    /// How many lines a list has, and how many of them were told.
    list_lines: u64,
    told: u64,
    idle: Option<Timer>,
    bug: Option<Bug>,
}

impl Server {
    pub(super) fn new(list_lines: u64, mailbox: Mailbox, bug: Option<Bug>) -> Self {
        let (layer, lines) = (Layer::Plain, Lines::default());
        Self { layer, lines, mailbox, list_lines, told: 0, idle: None, bug }
    }

    fn command(&mut self, cx: &Cx<'_, Self>, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is_protected = matches!(self.layer, Layer::Protected(..));
        match word {
            "STARTTLS" if !is_protected => {
                self.reply(cx, "220 go ahead");
                self.layer = Layer::Protected(Opener::new(TO_SERVER), Sealer::new(TO_CLIENT));
                // Z08: what came behind the line, and was not protected, stays where lines are. One
                // deviation suffices: one packet that is lost, or news that come late, so that the
                // line and what somebody has sent behind it are read together. Without one it comes
                // alone, and is no record.
                if self.bug != Some(Bug::KeepsPlaintext) {
                    self.lines.clear();
                }
            }
            "PUT" | "LIST" | "NEXT" if !is_protected => self.reply(cx, "530 STARTTLS first"),
            "PUT" => {
                self.mailbox.borrow_mut().insert(rest.to_owned());
                self.reply(cx, "250 kept");
            }
            "LIST" => {
                self.told = rest.parse().unwrap_or(0);
                self.tell(cx);
            }
            "NEXT" => self.tell(cx),
            _ => self.reply(cx, "500 what?"),
        }
    }

    /// Tells the next line of the list, or that there is no more.
    fn tell(&mut self, cx: &Cx<'_, Self>) {
        if self.told < self.list_lines {
            self.reply(cx, &format!("{} {}", self.told, list_line(self.told)));
            self.told += 1;
        } else if let Layer::Protected(_, sealer) = &mut self.layer {
            cx.write(&sealer.seal(&Content::CloseNotify));
            cx.close();
        }
    }

    fn reply(&mut self, cx: &Cx<'_, Self>, line: &str) {
        let line = format!("{line}\r\n").into_bytes();
        match &mut self.layer {
            Layer::Plain => cx.write(&line),
            Layer::Protected(_, sealer) => cx.write(&sealer.seal(&Content::Data(line))),
        }
    }

    /// Takes in what came, as far as there are lines in it; false if it is not from the client.
    fn take_in(&mut self, data: &[u8]) -> bool {
        let Layer::Protected(opener, _) = &mut self.layer else {
            self.lines.feed(data);
            return true;
        };
        opener.feed(data);
        loop {
            match opener.poll() {
                Ok(Some(Content::Data(data))) => self.lines.feed(&data),
                Ok(Some(Content::CloseNotify)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn wait(&mut self, cx: &Cx<'_, Self>) {
        self.idle = Some(cx.call_later(IDLE_MAX, |_, cx| cx.close()));
    }
}

/// What the lines of the list say.
pub(super) fn list_line(number: u64) -> String {
    format!("{:08x}", number.wrapping_mul(0x9e37_79b9) as u32)
}

impl Protocol for Server {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.wait(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if !self.take_in(data) {
            return cx.abort();
        }
        while !cx.is_closing()
            && let Some(line) = self.lines.poll()
        {
            self.command(cx, &line);
        }
        self.wait(cx);
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    /// A client's half of the record layer.
    struct Client(Sealer, Opener);

    impl Client {
        fn says(&mut self, peer: &mut testing::Peer<Server>, line: &str) -> Vec<Content> {
            let data = Content::Data(format!("{line}\r\n").into_bytes());
            peer.feed(&self.0.seal(&data));
            self.1.feed(&peer.take_written());
            std::iter::from_fn(|| self.1.poll().unwrap()).collect()
        }
    }

    fn protected(bug: Option<Bug>) -> (testing::Peer<Server>, Client, Mailbox) {
        let mailbox = Mailbox::default();
        let mut peer = testing::drive(Server::new(2, Rc::clone(&mailbox), bug));
        peer.feed(b"STARTTLS\r\n");
        assert_eq!(peer.take_written(), b"220 go ahead\r\n");
        (peer, Client(Sealer::new(TO_SERVER), Opener::new(TO_CLIENT)), mailbox)
    }

    fn line(text: &str) -> Content {
        Content::Data(format!("{text}\r\n").into_bytes())
    }

    #[test]
    fn nothing_is_done_that_was_not_protected() {
        let mailbox = Mailbox::default();
        let mut peer = testing::drive(Server::new(2, Rc::clone(&mailbox), None));
        peer.feed(b"PUT x\r\nHELO\r\nSTARTTLS\r\nPUT y\r\n");
        let said = b"530 STARTTLS first\r\n500 what?\r\n220 go ahead\r\n";
        assert_eq!(peer.take_written(), said);
        peer.feed(b"PUT z, as no record\r\n");
        assert!(peer.is_reset() && mailbox.borrow().is_empty());
    }

    #[test]
    fn messages_are_kept_and_a_list_ends_with_a_word() {
        let (mut peer, mut client, mailbox) = protected(None);
        assert_eq!(client.says(&mut peer, "PUT hello"), [line("250 kept")]);
        assert!(mailbox.borrow().contains("hello"));
        assert_eq!(client.says(&mut peer, "LIST 1"), [line(&format!("1 {}", list_line(1)))]);
        assert_eq!(client.says(&mut peer, "NEXT"), [Content::CloseNotify]);
        assert!(matches!(peer.lost(), Some(None)));
    }

    #[test]
    fn an_idle_connection_ends_without_a_word() {
        let (mut peer, _, _) = protected(None);
        peer.advance(IDLE_MAX);
        assert!(matches!(peer.lost(), Some(None)) && peer.take_written().is_empty());
    }

    #[test]
    fn the_bug_is_what_it_says() {
        let mailbox = Mailbox::default();
        let bug = Some(Bug::KeepsPlaintext);
        let mut peer = testing::drive(Server::new(2, Rc::clone(&mailbox), bug));
        peer.feed(b"STARTTLS\r\nPUT y\r\n");
        assert!(mailbox.borrow().contains("y"));
        let (mut peer, _, mailbox) = protected(bug);
        peer.feed(b"PUT y, as no record\r\n");
        assert!(peer.is_reset() && mailbox.borrow().is_empty());
    }
}
