//! What a TUN device knows of a connection, or of the datagrams between two endpoints.

use std::collections::VecDeque;

use sim_core::Time;

use crate::flow::Flow;
use crate::link::lane::Lane;
use crate::tcp::segment::{Flags, Segment, Seq};

/// How many segments that are not acknowledged are known; of more, the oldest is forgotten.
const UNACKNOWLEDGED_MAX: usize = 4_096;

/// A connection, or the datagrams between two endpoints.
#[derive(Debug)]
pub(super) struct Conversation {
    /// What is sent from here.
    pub(super) flow: Flow,
    /// The how-manieth it was.
    pub(super) number: u64,
    /// The initial sequence number of this end.
    pub(super) initial: Option<Seq>,
    pub(super) lane: Option<Box<Lane>>,
    pub(super) last_arrival: Time,
    /// Where segments began that are not acknowledged, in order, and how often each was sent again.
    unacknowledged: VecDeque<(Seq, u16)>,
    /// What was acknowledged last without data, and how often again.
    acknowledgement: Option<(Seq, u16)>,
}

impl Conversation {
    pub(super) fn new(flow: Flow, number: u64) -> Self {
        Self {
            flow,
            number,
            initial: None,
            lane: None,
            last_arrival: Time::ZERO,
            unacknowledged: VecDeque::new(),
            acknowledgement: None,
        }
    }

    /// Counts a segment that is sent from here, and says how often it was sent before.
    pub(super) fn count(&mut self, segment: &Segment) -> u16 {
        if segment.flags.has(Flags::RST) {
            return 0;
        }
        if segment.len() == 0 {
            let again = self.acknowledgement.filter(|&(ack, _)| ack == segment.ack);
            let count = again.map_or(0, |(_, count)| count.saturating_add(1));
            self.acknowledgement = Some((segment.ack, count));
            return count;
        }
        let place = self.unacknowledged.partition_point(|(seq, _)| seq.before(segment.seq));
        match self.unacknowledged.get_mut(place) {
            Some((seq, count)) if *seq == segment.seq => {
                *count = count.saturating_add(1);
                *count
            }
            _ => {
                self.unacknowledged.insert(place, (segment.seq, 0));
                if self.unacknowledged.len() > UNACKNOWLEDGED_MAX {
                    self.unacknowledged.pop_front();
                }
                0
            }
        }
    }

    /// Everything before `ack` has arrived at the other end.
    pub(super) fn acknowledge(&mut self, ack: Seq) {
        while self.unacknowledged.pop_front_if(|(seq, _)| seq.before(ack)).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;

    fn conversation() -> Conversation {
        Conversation::new(Flow::new((1, 1), (2, 80), 1, false), 1)
    }

    fn segment(seq: u32, ack: u32, flags: Flags) -> Segment {
        Segment::bare(Seq(seq), Seq(ack), 0, flags)
    }

    /// Sends ten bytes.
    fn send(conversation: &mut Conversation, seq: u32) -> u16 {
        let payload = Some(Pool::default().copy(&[7; 10]));
        conversation.count(&Segment { payload, ..segment(seq, 1, Flags::ACK) })
    }

    #[test]
    fn a_segment_that_is_sent_again_is_counted_until_it_is_acknowledged() {
        let mut conversation = conversation();
        let before_wrap = u32::MAX - 9;
        let syn = segment(before_wrap.wrapping_sub(1), 0, Flags::SYN);
        assert_eq!([(); 2].map(|()| conversation.count(&syn)), [0, 1]);
        let counts = [before_wrap, 0, before_wrap, before_wrap, 0];
        assert_eq!(counts.map(|seq| send(&mut conversation, seq)), [0, 0, 1, 2, 1]);
        conversation.acknowledge(Seq(0));
        assert_eq!(conversation.unacknowledged, [(Seq(0), 1)]);
        conversation.acknowledge(Seq(10));
        assert!(conversation.unacknowledged.is_empty());
        let fin = segment(10, 1, Flags::FIN.with(Flags::ACK));
        assert_eq!([(); 2].map(|()| conversation.count(&fin)), [0, 1]);
    }

    #[test]
    fn an_acknowledgement_is_counted_until_there_is_another() {
        let mut conversation = conversation();
        let counts = [1, 1, 1, 2, 2, 1].map(|ack| {
            let acknowledgement = segment(5, ack, Flags::ACK);
            conversation.count(&acknowledgement)
        });
        assert_eq!(counts, [0, 1, 2, 0, 1, 0]);
    }

    #[test]
    fn so_many_segments_are_known_and_then_the_oldest_is_forgotten() {
        let mut conversation = conversation();
        let last = UNACKNOWLEDGED_MAX as u32;
        for seq in 0..=last {
            assert_eq!(send(&mut conversation, seq), 0);
        }
        assert_eq!(conversation.unacknowledged.len(), UNACKNOWLEDGED_MAX);
        assert_eq!([1, last].map(|seq| send(&mut conversation, seq)), [1, 1]);
        assert_eq!(send(&mut conversation, 0), 0);
    }
}
