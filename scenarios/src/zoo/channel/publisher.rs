//! The side that tells what is new, at its own pace.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Protocol, Timer};

use super::Bug;
use super::transport::{Channel, Event, WINDOW_BYTES};
use crate::Violation;

/// How long it is from one update to the next: longer than a packet takes there and back.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// The bytes of an update: what the window holds.
pub(super) const UPDATE_BYTES: usize = WINDOW_BYTES;

/// The byte of all updates, one behind the other, that stands at `index`.
pub(super) fn byte_at(index: u32) -> u8 {
    (index ^ index >> 6) as u8
}

/// What publishers noticed that must not be, for the scenario.
pub(super) type Notes = Rc<RefCell<Option<Violation>>>;

/// The publisher's side of a connection.
///
/// Who falls behind is cut off, unless it asked to be waited for.
#[derive(Debug)]
pub(super) struct Publisher {
    channel: Channel,
    /// How many bytes there are, and how many of them were written.
    all: u32,
    written: u32,
    patient: bool,
    paused: bool,
    aborted: bool,
    notes: Notes,
    next: Option<Timer>,
}

impl Publisher {
    pub(super) fn new(updates: u32, notes: Notes, bug: Option<Bug>) -> Self {
        Self {
            channel: Channel::new(bug),
            all: updates * UPDATE_BYTES as u32,
            written: 0,
            patient: false,
            paused: false,
            aborted: false,
            notes,
            next: None,
        }
    }

    /// Tells the next update, or that there is no more.
    fn tell(&mut self, cx: &Cx<'_, Self>) {
        if self.written == self.all {
            self.channel.close();
        } else if !self.paused {
            let end = self.all.min(self.written + UPDATE_BYTES as u32);
            let update: Vec<u8> = (self.written..end).map(byte_at).collect();
            self.written = end;
            self.channel.write(&update);
            self.next = Some(cx.call_later(PACE, |this, cx| this.tell(cx)));
        }
        self.act(cx);
    }

    /// Does what the channel says, and sends what it has to send.
    fn act(&mut self, cx: &Cx<'_, Self>) {
        while let Some(event) = self.channel.poll() {
            match event {
                Event::Opened { from, patient } => {
                    (self.written, self.patient) = (from.min(self.all), patient);
                    self.tell(cx);
                }
                Event::PauseWriting if self.patient => self.paused = true,
                Event::PauseWriting => {
                    self.aborted = true;
                    self.channel.abort();
                }
                Event::ResumeWriting if self.aborted => {
                    let text = "writing was resumed on a channel that was aborted";
                    self.notes.borrow_mut().get_or_insert(Violation::new(text));
                }
                Event::ResumeWriting => {
                    self.paused = false;
                    self.next = Some(cx.call_later(PACE, |this, cx| this.tell(cx)));
                }
                Event::Lost => self.next = None,
                Event::Data(_) | Event::End => {}
            }
        }
        cx.write(&self.channel.take_output());
        if self.aborted {
            cx.close();
        }
    }
}

impl Protocol for Publisher {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        match self.channel.receive(data) {
            Ok(()) => self.act(cx),
            Err(_) => cx.abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    /// A publisher of ten updates, and the subscriber's end of its channel.
    fn opened(patient: bool) -> (testing::Peer<Publisher>, Channel) {
        let mut peer = testing::drive(Publisher::new(10, Notes::default(), None));
        let mut channel = Channel::new(None);
        channel.open(0, patient);
        peer.feed(&channel.take_output());
        (peer, channel)
    }

    /// What the subscriber hears; it takes the data, so that the window is open again.
    fn hear(peer: &mut testing::Peer<Publisher>, channel: &mut Channel) -> Vec<Event> {
        channel.receive(&peer.take_written()).unwrap();
        let events = std::iter::from_fn(|| channel.poll()).collect();
        peer.feed(&channel.take_output());
        events
    }

    #[test]
    fn updates_come_at_their_pace_and_then_the_end() {
        let (mut peer, mut channel) = opened(false);
        for update in 0..10 {
            let start = update * UPDATE_BYTES as u32;
            let bytes = (start..start + UPDATE_BYTES as u32).map(byte_at).collect();
            assert_eq!(hear(&mut peer, &mut channel), [Event::Data(bytes)]);
            peer.advance(PACE);
        }
        assert_eq!(hear(&mut peer, &mut channel), [Event::End]);
    }

    #[test]
    fn who_falls_behind_is_cut_off() {
        let (mut peer, mut channel) = opened(false);
        peer.advance(PACE * 3);
        assert!(peer.is_lost());
        assert_eq!(hear(&mut peer, &mut channel).last(), Some(&Event::Lost));
    }

    #[test]
    fn who_asked_for_it_is_waited_for() {
        let (mut peer, mut channel) = opened(true);
        peer.advance(PACE * 20);
        let mut bytes = 0;
        while !peer.is_lost() {
            for event in hear(&mut peer, &mut channel) {
                match event {
                    Event::Data(data) => bytes += data.len(),
                    Event::End => return assert_eq!(bytes, 10 * UPDATE_BYTES),
                    other => panic!("{other:?}"),
                }
            }
            peer.advance(PACE);
        }
    }
}
