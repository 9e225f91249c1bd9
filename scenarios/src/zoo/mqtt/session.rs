//! What is under way, on either side. It outlives connections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Bug;
use super::packet::Packet;

/// How many messages may be under way.
const UNDER_WAY_MAX: usize = 3;
const TOPIC: &str = "news";

/// The side that publishes.
#[derive(Debug)]
pub struct Outgoing {
    waiting: VecDeque<Vec<u8>>,
    /// The messages under way, by their identifiers: older ones have lower ones.
    under_way: BTreeMap<u16, Message>,
    next_id: u16,
    bug: Option<Bug>,
}

#[derive(Debug)]
struct Message {
    payload: Vec<u8>,
    /// True when its arrival was heard of, and `PUBREL` sent.
    is_released: bool,
}

impl Outgoing {
    /// A session with messages to be published.
    pub fn new(messages: impl IntoIterator<Item = Vec<u8>>, bug: Option<Bug>) -> Self {
        let waiting = messages.into_iter().collect();
        Self { waiting, under_way: BTreeMap::new(), next_id: 1, bug }
    }

    /// True when all messages are completed.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// What is to be sent first over a new connection: where each message under way goes on.
    pub fn resume(&self) -> Vec<Packet> {
        let next = |(&id, message): (&u16, &Message)| {
            if message.is_released && self.bug != Some(Bug::PublishesReleased) {
                Packet::PubRel(id)
            } else {
                publish(id, true, &message.payload)
            }
        };
        self.under_way.iter().map(next).collect()
    }

    /// The next message, if one more may be under way.
    pub fn publish_next(&mut self) -> Option<Packet> {
        if self.under_way.len() == UNDER_WAY_MAX {
            return None;
        }
        let payload = self.waiting.pop_front()?;
        let id = self.next_id;
        self.next_id += 1;
        let packet = publish(id, false, &payload);
        self.under_way.insert(id, Message { payload, is_released: false });
        Some(packet)
    }

    /// A message has arrived: the packet that releases it.
    pub fn arrived(&mut self, id: u16) -> Packet {
        if let Some(message) = self.under_way.get_mut(&id) {
            message.is_released = true;
        }
        Packet::PubRel(id)
    }

    /// A message is completed; false if it was before.
    pub fn completed(&mut self, id: u16) -> bool {
        self.under_way.remove(&id).is_some()
    }
}

fn publish(id: u16, again: bool, payload: &[u8]) -> Packet {
    Packet::Publish { id, again, topic: TOPIC.to_owned(), payload: payload.to_vec() }
}

/// The side that delivers.
#[derive(Debug, Default)]
pub struct Incoming {
    /// The identifiers of messages that were delivered and may come again.
    unreleased: BTreeSet<u16>,
}

impl Incoming {
    /// A message came: true if it is to be delivered.
    pub fn publish(&mut self, id: u16) -> bool {
        self.unreleased.insert(id)
    }

    /// A message will not come again.
    pub fn release(&mut self, id: u16) {
        self.unreleased.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(messages: u8, bug: Option<Bug>) -> Outgoing {
        Outgoing::new((0..messages).map(|number| vec![number]), bug)
    }

    #[test]
    fn so_many_are_under_way_and_a_completion_frees_a_place() {
        let mut session = outgoing(4, None);
        for id in 1..=3 {
            assert_eq!(session.publish_next(), Some(publish(id, false, &[id as u8 - 1])));
        }
        assert_eq!(session.publish_next(), None);
        assert_eq!(session.arrived(2), Packet::PubRel(2));
        assert!(session.completed(2) && !session.completed(2));
        assert_eq!(session.publish_next(), Some(publish(4, false, &[3])));
        assert!([1, 3, 4].into_iter().all(|id| session.completed(id)) && session.is_done());
    }

    #[test]
    fn a_message_goes_on_where_it_was() {
        for (bug, second) in
            [(None, Packet::PubRel(2)), (Some(Bug::PublishesReleased), publish(2, true, &[1]))]
        {
            let mut session = outgoing(2, bug);
            assert_eq!(session.resume(), []);
            session.publish_next();
            session.publish_next();
            session.arrived(2);
            assert_eq!(session.resume(), [publish(1, true, &[0]), second]);
        }
    }

    #[test]
    fn a_message_is_delivered_once_until_it_is_released() {
        let mut session = Incoming::default();
        assert!(session.publish(7) && !session.publish(7));
        session.release(7);
        session.release(7);
        assert!(session.publish(7));
    }
}
