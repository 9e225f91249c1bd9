//! The server: who is in the room, and what each of them is sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use sim_core::{Cx, Protocol, Transport, WriteBufferLimits};

use super::lines::{LINE_BYTES_MAX, Splitter};

/// The longest name of a member, in bytes.
const NAME_BYTES_MAX: usize = 32;
/// How many members a room has, at most.
const MEMBERS_MAX: usize = 1_024;

/// A room: its members, and the policy for those who read too slowly.
///
/// What waits for a member is bounded by its transport's high-water mark. While more than that
/// waits, lines for it are left out and counted; when it reads again it is told how many. Who
/// misses too many is thrown out. The others never wait for it.
///
/// Clones are handles of the same room.
#[derive(Debug, Clone)]
pub struct Room(Rc<RefCell<Members>>);

#[derive(Debug)]
struct Members {
    by_name: BTreeMap<String, Place>,
    limits: WriteBufferLimits,
    missed_max: u64,
    thrown_out: u64,
}

/// A member's place in the room.
#[derive(Debug)]
struct Place {
    transport: Transport,
    /// How many lines were left out since the last that was sent.
    missed: u64,
}

impl Room {
    /// A room in which as much waits for a member as `limits` say, and in which a member may miss
    /// `missed_max` lines in a row.
    pub fn new(limits: WriteBufferLimits, missed_max: u64) -> Self {
        Self(Rc::new(RefCell::new(Members {
            by_name: BTreeMap::new(),
            limits,
            missed_max,
            thrown_out: 0,
        })))
    }

    /// True when nobody is there.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().by_name.is_empty()
    }

    /// How many members were thrown out so far.
    pub fn thrown_out(&self) -> u64 {
        self.0.borrow().thrown_out
    }

    /// Seats a member.
    fn enter(&self, name: &str, transport: &Transport) -> Result<(), String> {
        let mut members = self.0.borrow_mut();
        let acceptable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(acceptable) {
            return Err(format!("a name has 1 to {NAME_BYTES_MAX} letters, digits, or any of -_."));
        }
        if members.by_name.contains_key(name) {
            return Err(format!("{name} is here already"));
        }
        if members.by_name.len() == MEMBERS_MAX {
            return Err("the room is full".into());
        }
        transport.set_write_buffer_limits(members.limits).map_err(|error| error.to_string())?;
        transport.write(format!("* welcome {name}\n").as_bytes());
        let place = Place { transport: transport.clone(), missed: 0 };
        members.by_name.insert(name.to_owned(), place);
        Ok(())
    }

    fn leave(&self, name: &str) {
        let place = self.0.borrow_mut().by_name.remove(name);
        drop(place);
    }

    /// Sends a line to everybody, its speaker too.
    fn say(&self, name: &str, text: &str) {
        let line = format!("{name}: {text}\n");
        let mut members = self.0.borrow_mut();
        let Members { by_name, missed_max, thrown_out, .. } = &mut *members;
        for place in by_name.values_mut().filter(|place| !place.transport.is_closing()) {
            if place.transport.is_writable() {
                place.tell_missed();
                place.transport.write(line.as_bytes());
                continue;
            }
            place.missed += 1;
            if place.missed > *missed_max {
                *thrown_out += 1;
                place.transport.abort();
            }
        }
    }

    /// A member reads again.
    fn catch_up(&self, name: &str) {
        if let Some(place) = self.0.borrow_mut().by_name.get_mut(name) {
            place.tell_missed();
        }
    }
}

impl Place {
    fn tell_missed(&mut self) {
        if self.missed > 0 && self.transport.is_writable() {
            self.transport.write(format!("* missed {}\n", self.missed).as_bytes());
            self.missed = 0;
        }
    }
}

/// The server's side of a member's connection. The first line is the member's name, each other one
/// goes to everybody. Lines from the server itself begin with an asterisk.
#[derive(Debug)]
pub struct Seat {
    room: Room,
    lines: Splitter,
    /// The member's name, once it is seated.
    name: Option<String>,
}

impl Seat {
    /// A seat in `room` for whoever connects.
    pub fn new(room: &Room) -> Self {
        Self { room: room.clone(), lines: Splitter::new(LINE_BYTES_MAX), name: None }
    }

    fn line(&mut self, cx: &Cx<'_, Self>, line: &str) {
        if let Some(name) = &self.name {
            return self.room.say(name, line);
        }
        match self.room.enter(line, cx.transport()) {
            Ok(()) => self.name = Some(line.to_owned()),
            Err(why) => refuse(cx, &why),
        }
    }
}

/// Says why, and closes.
fn refuse(cx: &Transport, why: &str) {
    cx.write(format!("* refused: {why}\n").as_bytes());
    cx.close();
}

impl Protocol for Seat {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.lines.feed(data);
        while !cx.is_closing() {
            match self.lines.poll() {
                Ok(Some(line)) => self.line(cx, &line),
                Ok(None) => return,
                Err(error) => refuse(cx, &error.to_string()),
            }
        }
    }

    fn resume_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        if let Some(name) = &self.name {
            self.room.catch_up(name);
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        if let Some(name) = &self.name {
            self.room.leave(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    const LIMITS: WriteBufferLimits = WriteBufferLimits { high: 16, low: 0 };

    fn written(peer: &mut testing::Peer<Seat>) -> String {
        String::from_utf8(peer.take_written()).unwrap()
    }

    fn room() -> Room {
        Room::new(LIMITS, 3)
    }

    #[test]
    fn a_line_goes_to_everybody_who_has_a_name() {
        let room = room();
        let mut ann = testing::drive(Seat::new(&room));
        let mut unnamed = testing::drive(Seat::new(&room));
        ann.feed(b"ann\nhello\n");
        assert_eq!(written(&mut ann), "* welcome ann\nann: hello\n");
        assert_eq!(written(&mut unnamed), "");
    }

    #[test]
    fn bad_names_and_long_lines_are_refused() {
        let room = room();
        let mut first = testing::drive(Seat::new(&room));
        first.feed(b"ann\n");
        let long = "x".repeat(LINE_BYTES_MAX + 2);
        for (text, why) in [
            ("\n", "a name has 1 to 32"),
            ("a b\n", "a name has 1 to 32"),
            ("ann\n", "ann is here already"),
            (&long, "a line of more than 1024 bytes"),
        ] {
            let mut peer = testing::drive(Seat::new(&room));
            peer.feed(text.as_bytes());
            assert!(written(&mut peer).starts_with(&format!("* refused: {why}")), "{text:?}");
            assert!(matches!(peer.lost(), Some(None)));
        }
        assert!(!first.is_lost() && !room.is_empty());
        first.feed_eof();
        assert!(room.is_empty());
    }

    #[test]
    fn a_member_who_reads_again_is_told_what_it_missed() {
        let room = room();
        let mut slow = testing::drive_with_window(Seat::new(&room), 14);
        slow.feed(b"slow\n");
        assert_eq!(written(&mut slow), "* welcome slow");
        slow.feed(b"0123456789\n1\n2\n3\n");
        slow.take(1_000);
        assert_eq!(written(&mut slow), "\nslow: 0123456789\n* missed 3\n");
        slow.feed(b"4\n");
        assert_eq!(written(&mut slow), "slow: 4\n");
    }

    #[test]
    fn a_member_who_misses_one_line_too_many_is_thrown_out() {
        let room = room();
        let mut slow = testing::drive_with_window(Seat::new(&room), 14);
        slow.feed(b"slow\n0123456789\n1\n2\n3\n");
        assert!(!slow.is_lost());
        slow.feed(b"4\n");
        assert!(slow.is_reset() && matches!(slow.lost(), Some(None)));
        assert_eq!((room.thrown_out(), room.is_empty()), (1, true));
    }
}
