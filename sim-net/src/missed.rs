//! What the kernel of a frozen machine would have done: it does that when the machine goes on.

use std::collections::BTreeSet;

use crate::address::Endpoint;
use crate::names::query::QueryId;
use crate::packet::Packet;
use crate::socket_table::SocketId;

/// Something that the kernel of a frozen machine does when it goes on.
#[derive(Debug)]
pub(crate) enum Missed {
    /// The timer of a connection came up.
    Timer(SocketId),
    /// Something was done to a connection, by another host or by the test's own hand: it may have something to
    /// send.
    Output(SocketId),
    /// A datagram was to be sent there; it may count in the buffer of its socket.
    Datagram { from: SocketId, to: Endpoint, data: Vec<u8>, counted: bool },
    /// A datagram socket was closed.
    Close(SocketId),
    /// A packet was to be sent from the machine's TUN device.
    Device(Vec<u8>),
    /// A name server was to be asked.
    Question(QueryId),
    /// A name server answered, or would have been asked again.
    Answer(QueryId),
    /// A packet of the machine's own arrived: it was never anywhere else.
    Arrival(Box<Packet>),
}

/// What is done once, however often it was missed: a connection sends all that it has, and so on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Once {
    Timer(SocketId),
    Output(SocketId),
    Answer(QueryId),
}

/// What was missed, in order. Without anything it takes no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct MissedEvents(Option<Box<Queue<Missed, Once>>>);

/// Events in order, those with a key in the place of the first one that has it.
#[derive(Debug)]
struct Queue<E, K> {
    events: Vec<E>,
    keys: BTreeSet<K>,
}

impl Missed {
    fn once(&self) -> Option<Once> {
        match *self {
            Self::Timer(id) => Some(Once::Timer(id)),
            Self::Output(id) => Some(Once::Output(id)),
            Self::Answer(id) => Some(Once::Answer(id)),
            Self::Datagram { .. }
            | Self::Close(_)
            | Self::Device(_)
            | Self::Question(_)
            | Self::Arrival(_) => None,
        }
    }
}

impl MissedEvents {
    pub(crate) fn add(&mut self, event: Missed) {
        let key = event.once();
        self.0.get_or_insert_default().add(event, key);
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> Vec<Missed> {
        self.0.take().map(|queue| queue.events).unwrap_or_default()
    }
}

impl<E, K> Default for Queue<E, K> {
    fn default() -> Self {
        Self { events: Vec::new(), keys: BTreeSet::new() }
    }
}

impl<E, K: Ord> Queue<E, K> {
    fn add(&mut self, event: E, key: Option<K>) {
        if key.is_none_or(|key| self.keys.insert(key)) {
            self.events.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;
    use std::rc::Rc;

    use super::*;

    /// A number that counts how often it is compared.
    struct Counted(u32, Rc<Cell<u64>>);

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            self.1.set(self.1.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    #[test]
    fn many_events_cost_a_few_comparisons_each() {
        const EVENTS: u32 = 10_000;
        let compared = Rc::<Cell<u64>>::default();
        let mut queue = Queue::default();
        // Neither in order nor in reverse.
        let numbers = || (0..EVENTS).map(|n| n * 7_919 % EVENTS);
        for number in numbers().chain(numbers()) {
            queue.add(number, Some(Counted(number, Rc::clone(&compared))));
        }
        assert!(queue.events.iter().copied().eq(numbers()), "each once, where it came first");
        // As many as the levels of a tree have keys.
        let each = compared.get() / u64::from(2 * EVENTS);
        assert!(each <= 64, "{each} comparisons for each event");
    }

    #[test]
    fn what_is_done_once_stands_where_it_came_first() {
        let (a, b) = (SocketId::of_device(1), SocketId::of_device(2));
        let to = Endpoint::new(crate::address::Ip::v4(1), 9);
        let datagram = || Missed::Datagram { from: a, to, data: vec![1], counted: false };
        let mut missed = MissedEvents::default();
        for event in [Missed::Output(a), datagram(), Missed::Timer(a), Missed::Output(b)] {
            missed.add(event);
        }
        for event in [Missed::Timer(a), datagram(), Missed::Output(a)] {
            missed.add(event);
        }
        let told: Vec<String> = missed.take().iter().map(|event| format!("{event:?}")).collect();
        let first: Vec<&str> =
            told.iter().filter_map(|text| text.split([' ', '(']).next()).collect();
        assert_eq!(first, ["Output", "Datagram", "Timer", "Output", "Datagram"]);
        assert!(missed.take().is_empty());
    }
}
