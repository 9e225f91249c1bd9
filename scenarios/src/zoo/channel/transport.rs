//! One end of a channel: a transport on a transport, as a value without I/O.

use std::collections::VecDeque;

use super::Bug;
use super::record::{Decoder, Record, RecordError};

/// How many bytes may be sent before the other end has taken any.
pub const WINDOW_BYTES: usize = 64;
/// The water marks: with more than the first waiting to be sent the application is to pause, with
/// at most the second it may go on.
pub const HIGH_BYTES: usize = 128;
/// The lower one.
pub const LOW_BYTES: usize = 64;

/// What an end tells its application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The other end wants to be told what there is from here on.
    Opened {
        /// Where, in bytes from the start.
        from: u32,
        /// Whether it is to be waited for if it falls behind.
        patient: bool,
    },
    /// Bytes.
    Data(Vec<u8>),
    /// There is no more. It comes behind all data.
    End,
    /// Too much waits to be sent.
    PauseWriting,
    /// It was sent. Comes only behind [`PauseWriting`](Self::PauseWriting), and not behind
    /// [`Lost`](Self::Lost).
    ResumeWriting,
    /// The channel is over. Nothing comes behind it.
    Lost,
}

/// Where an end is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// What waits is still sent, and then the end.
    Closing,
    /// Nothing more is sent.
    Over,
}

/// One end of a channel.
///
/// Inputs are what [came](Self::receive) and what the application does; outputs are
/// [bytes](Self::take_output) for the connection below, and [events](Self::poll), one at a time, so
/// that the application may act on one before it sees the next.
#[derive(Debug)]
pub struct Channel {
    decoder: Decoder,
    phase: Phase,
    // What is received.
    inbox: VecDeque<Vec<u8>>,
    ended: bool,
    // What is sent.
    buffer: VecDeque<u8>,
    window: usize,
    paused: bool,
    output: Vec<u8>,
    events: VecDeque<Event>,
    bug: Option<Bug>,
}

impl Channel {
    /// An end with an open window.
    pub(super) fn new(bug: Option<Bug>) -> Self {
        Self {
            decoder: Decoder::default(),
            phase: Phase::Open,
            inbox: VecDeque::new(),
            ended: false,
            buffer: VecDeque::new(),
            window: WINDOW_BYTES,
            paused: false,
            output: Vec::new(),
            events: VecDeque::new(),
            bug,
        }
    }

    // What the application does.

    /// Asks the other end for what there is from `from` on.
    pub fn open(&mut self, from: u32, patient: bool) {
        Record::Open { from, patient }.encode(&mut self.output);
    }

    /// Sends `data` behind everything before. Nothing if the channel is closing.
    pub fn write(&mut self, data: &[u8]) {
        if self.phase > Phase::Open {
            return;
        }
        self.buffer.extend(data);
        self.flush();
        if self.buffer.len() > HIGH_BYTES && !self.paused {
            self.paused = true;
            self.events.push_back(Event::PauseWriting);
        }
    }

    /// Ends the channel when everything was sent.
    pub fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.flush();
        }
    }

    /// Ends the channel at once: what waits is dropped.
    pub fn abort(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.buffer.clear();
        Record::Reset.encode(&mut self.output);
        // Z12: that writing is paused is not forgotten with what waited; so the empty buffer is
        // taken for one that was sent. One deviation suffices: one packet that is lost with data or
        // with news of the window, so that updates pile up until the application is told to pause,
        // and aborts. Without one the window is open again before the next update.
        if self.bug != Some(Bug::ResumesWhenAborted) {
            self.paused = false;
        }
        self.judge_resume();
        self.events.push_back(Event::Lost);
    }

    // What the connection below does.

    /// Takes in what came.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: there is no way on then.
    pub fn receive(&mut self, data: &[u8]) -> Result<(), RecordError> {
        self.decoder.feed(data);
        while let Some(record) = self.decoder.poll()? {
            match record {
                Record::Open { from, patient } => {
                    self.events.push_back(Event::Opened { from, patient });
                }
                Record::Data(data) => self.inbox.push_back(data),
                Record::End => self.ended = true,
                Record::Window(bytes) => {
                    self.window += bytes as usize;
                    self.flush();
                    self.judge_resume();
                }
                Record::Reset => {
                    self.phase = Phase::Over;
                    self.events.push_back(Event::Lost);
                }
            }
        }
        Ok(())
    }

    /// What is to be sent over the connection below.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What the application is to hear next. Data that it takes open the window again.
    pub fn poll(&mut self) -> Option<Event> {
        // Z06: the end is looked at before what there is to read. One deviation suffices: one packet
        // that is lost, or news that come late, so that the last update and the end are read
        // together. Without one an update is read before the end is sent.
        let is_end_first = self.bug == Some(Bug::EndBeforeData);
        if self.ended && (self.inbox.is_empty() || is_end_first) {
            self.ended = false;
            self.inbox.clear();
            return Some(Event::End);
        }
        if let Some(data) = self.inbox.pop_front() {
            Record::Window(data.len() as u32).encode(&mut self.output);
            return Some(Event::Data(data));
        }
        self.events.pop_front()
    }

    /// Sends what the window lets, and the end behind the last byte.
    fn flush(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        let sent = self.buffer.len().min(self.window);
        if sent > 0 {
            self.window -= sent;
            Record::Data(self.buffer.drain(..sent).collect()).encode(&mut self.output);
        }
        // Z05: it is not looked whether something still waits. One deviation suffices: one packet
        // that is lost with one of the last updates but the very last, or with news of the window,
        // so that the window is closed when the channel is. Without one the last update was sent,
        // since the window was open.
        let is_sent = self.buffer.is_empty() || self.bug == Some(Bug::ClosesUnflushed);
        if self.phase == Phase::Closing && is_sent {
            self.phase = Phase::Over;
            Record::End.encode(&mut self.output);
        }
    }

    fn judge_resume(&mut self) {
        if self.paused && self.buffer.len() <= LOW_BYTES {
            self.paused = false;
            self.events.push_back(Event::ResumeWriting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one end says, to the other.
    fn pass(from: &mut Channel, to: &mut Channel) {
        to.receive(&from.take_output()).unwrap();
    }

    fn events(channel: &mut Channel) -> Vec<Event> {
        std::iter::from_fn(|| channel.poll()).collect()
    }

    fn data(channel: &mut Channel) -> Vec<u8> {
        let events = events(channel).into_iter();
        let bytes = events.flat_map(|event| match event {
            Event::Data(data) => data,
            other => panic!("{other:?}"),
        });
        bytes.collect()
    }

    fn pair(bug: Option<Bug>) -> (Channel, Channel) {
        (Channel::new(bug), Channel::new(bug))
    }

    #[test]
    fn the_window_holds_what_was_not_taken() {
        let (mut one, mut other) = pair(None);
        one.write(&[1; WINDOW_BYTES + 1]);
        pass(&mut one, &mut other);
        assert_eq!(one.take_output(), []);
        assert_eq!(data(&mut other), [1; WINDOW_BYTES]);
        pass(&mut other, &mut one);
        pass(&mut one, &mut other);
        assert_eq!(data(&mut other), [1]);
    }

    #[test]
    fn writing_pauses_above_the_high_mark_and_resumes_at_the_low_one() {
        let (mut one, mut other) = pair(None);
        one.write(&[1; WINDOW_BYTES + HIGH_BYTES]);
        assert_eq!(events(&mut one), []);
        one.write(&[1]);
        assert_eq!(events(&mut one), [Event::PauseWriting]);
        one.write(&[1]);
        assert_eq!(events(&mut one), [], "once");
        for resumed in [false, true] {
            pass(&mut one, &mut other);
            data(&mut other);
            pass(&mut other, &mut one);
            assert_eq!(events(&mut one) == [Event::ResumeWriting], resumed);
        }
    }

    #[test]
    fn a_close_sends_what_waits_and_then_the_end() {
        let (mut one, mut other) = pair(None);
        one.write(&[1; WINDOW_BYTES + 1]);
        one.close();
        one.write(b"too late");
        pass(&mut one, &mut other);
        assert_eq!(data(&mut other).len(), WINDOW_BYTES);
        pass(&mut other, &mut one);
        pass(&mut one, &mut other);
        assert_eq!(events(&mut other), [Event::Data(vec![1]), Event::End]);
    }

    #[test]
    fn an_abort_drops_what_waits_and_is_the_last_event() {
        let (mut one, mut other) = pair(None);
        one.write(&[1; WINDOW_BYTES + HIGH_BYTES + 1]);
        assert_eq!(one.poll(), Some(Event::PauseWriting));
        one.abort();
        one.abort();
        one.close();
        assert_eq!(events(&mut one), [Event::Lost]);
        pass(&mut one, &mut other);
        assert_eq!(events(&mut other), [Event::Data(vec![1; WINDOW_BYTES]), Event::Lost]);
    }

    #[test]
    fn bugs_are_what_they_say() {
        let (mut one, mut other) = pair(Some(Bug::ClosesUnflushed));
        one.write(&[1; WINDOW_BYTES + 1]);
        one.close();
        pass(&mut one, &mut other);
        assert_eq!(events(&mut other).last(), Some(&Event::End));
        pass(&mut other, &mut one);
        assert_eq!(one.take_output(), []);

        let (mut one, mut other) = pair(Some(Bug::EndBeforeData));
        one.write(&[1]);
        one.close();
        pass(&mut one, &mut other);
        assert_eq!(events(&mut other), [Event::End]);

        let (mut one, _) = pair(Some(Bug::ResumesWhenAborted));
        one.write(&[1; WINDOW_BYTES + HIGH_BYTES + 1]);
        one.abort();
        let heard = [Event::PauseWriting, Event::ResumeWriting, Event::Lost];
        assert_eq!(events(&mut one), heard);
    }
}
