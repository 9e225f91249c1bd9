//! The side that wants to know what is new.

use std::time::Duration;

use sim_core::{Cx, Protocol, Timer};

use super::Bug;
use super::publisher::byte_at;
use super::transport::{Channel, Event};
use crate::Violation;

/// How long a subscriber hears nothing before it connects again.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// What came of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Got {
    /// How many bytes there are now.
    pub(super) got: u32,
    /// The channel has ended, and was not lost.
    pub(super) ended: bool,
    /// The other side gave the channel up.
    pub(super) cut_off: bool,
}

/// The subscriber's side of a connection.
#[derive(Debug)]
pub(super) struct Subscriber {
    channel: Channel,
    outcome: Got,
    violation: Option<Violation>,
    silence: Option<Timer>,
}

impl Subscriber {
    /// A subscriber that has the bytes up to `from`.
    pub(super) fn new(from: u32, patient: bool, bug: Option<Bug>) -> Self {
        let mut channel = Channel::new(bug);
        channel.open(from, patient);
        let outcome = Got { got: from, ..Got::default() };
        Self { channel, outcome, violation: None, silence: None }
    }

    /// What came of the connection.
    ///
    /// # Errors
    ///
    /// What came that is wrong.
    pub(super) fn outcome(&self) -> Result<Got, Violation> {
        self.violation.clone().map_or(Ok(self.outcome), Err)
    }

    fn act(&mut self, cx: &Cx<'_, Self>) {
        while let Some(event) = self.channel.poll() {
            match event {
                Event::Data(data) => {
                    let end = self.outcome.got + data.len() as u32;
                    if !(self.outcome.got..end).map(byte_at).eq(data) {
                        let text = "an update came that is none, or not the next";
                        self.violation.get_or_insert(Violation::new(text));
                    }
                    self.outcome.got = end;
                }
                Event::End => self.outcome.ended = true,
                Event::Lost => self.outcome.cut_off = true,
                Event::Opened { .. } | Event::PauseWriting | Event::ResumeWriting => {}
            }
        }
        cx.write(&self.channel.take_output());
        if self.outcome.ended || self.outcome.cut_off {
            return cx.close();
        }
        self.silence = Some(cx.call_later(SILENCE_MAX, |_, cx| cx.abort()));
    }
}

impl Protocol for Subscriber {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.act(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        match self.channel.receive(data) {
            Ok(()) => self.act(cx),
            Err(error) => {
                self.violation.get_or_insert(Violation::new(error.to_string()));
                cx.abort();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::super::record::Record;
    use super::*;

    fn encoded(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        bytes
    }

    #[test]
    fn it_opens_takes_and_ends() {
        let mut peer = testing::drive(Subscriber::new(5, true, None));
        assert_eq!(peer.take_written(), encoded(&[Record::Open { from: 5, patient: true }]));
        peer.feed(&encoded(&[Record::Data(vec![byte_at(5), byte_at(6)]), Record::End]));
        assert_eq!(peer.take_written(), encoded(&[Record::Window(2)]));
        assert!(peer.is_lost());
        let got = Got { got: 7, ended: true, cut_off: false };
        assert_eq!(peer.with(|this, _| this.outcome()), Ok(got));
    }

    #[test]
    fn it_notices_that_it_was_cut_off_behind_what_came_before() {
        let mut peer = testing::drive(Subscriber::new(0, false, None));
        peer.feed(&encoded(&[Record::Data(vec![byte_at(0)]), Record::Reset]));
        let got = Got { got: 1, ended: false, cut_off: true };
        assert_eq!(peer.with(|this, _| this.outcome()), Ok(got));
        assert!(peer.is_lost());
    }

    #[test]
    fn another_update_is_a_violation_and_silence_ends_the_connection() {
        let mut peer = testing::drive(Subscriber::new(5, false, None));
        peer.feed(&encoded(&[Record::Data(vec![byte_at(6)])]));
        assert!(peer.with(|this, _| this.outcome()).is_err());
        peer.advance(SILENCE_MAX);
        assert!(peer.is_lost());
    }
}
