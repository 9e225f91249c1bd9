//! The world's one agenda: what happens when.

use sim_core::Time;
use sim_core::time_queue::{self, Kind, TimeQueue};

use crate::link::table::HeldBackKey;
use crate::memory::{ENTRIES_MAX, clear};
use crate::names::query::QueryId;
use crate::packet::Packet;
use crate::socket_table::SocketId;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet arrives.
    Arrival(Packet),
    /// A packet comes out of its host's downlink. Those are few, and a second packet in its place would make
    /// every event longer.
    Delivery(Box<Packet>),
    /// A packet that is held back has waited long enough.
    Late(HeldBackKey),
    /// Nothing, or nothing any more: it was taken off.
    Nothing,
    /// News of data that was held back comes.
    HeldNews(SocketId),
    /// The end of a stream that was held back is sent.
    LateEnd(SocketId),
    /// An order of a plan is to be carried out.
    Order(u32),
    /// A reset that nobody sent arrives at a connection.
    ForgedReset(SocketId),
    /// The answer of a name server arrives, or it is time to ask again.
    NameAnswer(QueryId),
}

/// What is due. Most of that is packets and timers. What there is to say of a timer stands in the queue itself, so it
/// takes no place among the events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// The event in this place.
    Event(Place),
    /// A host's timer may be due, or its processor free again.
    HostTimer(u32),
    /// The timer of the connection in this slot of the sockets may be due.
    TcpTimer(u32),
}

/// The numbers in the queue beyond all places: of hosts' timers, and of connections'.
const HOST_TIMER: u32 = 1 << 31;
const TCP_TIMER: u32 = 1 << 30;

/// The place of an event that is not in the queue: of one that is due or not yet scheduled, or of a datagram that waits to
/// be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(u32);

/// The place of a packet on the agenda, as long as it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InAgenda {
    slot: u32,
    stamp: u32,
}

impl Event {
    #[inline(always)]
    fn is_packet(&self) -> bool {
        matches!(self, Self::Arrival(_) | Self::Delivery(_))
    }
}

/// Future events, earliest first, those of one instant in order of insertion.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    queue: TimeQueue,
    /// The events, where their entries in the queue say.
    events: Vec<Event>,
    /// Places of `events` that are free.
    vacant: Vec<u32>,
    in_flight: usize,
}

impl Agenda {
    /// Makes it as new, but for its room.
    pub(crate) fn renew(&mut self) {
        let Self { queue, events, vacant, in_flight } = self;
        if queue.capacity() > ENTRIES_MAX {
            *queue = TimeQueue::default();
        }
        queue.clear();
        clear(events);
        clear(vacant);
        *in_flight = 0;
    }

    /// Adds an event. Inlined, so that a small one is not moved as if it were a packet.
    #[inline(always)]
    pub(crate) fn push(&mut self, at: Time, event: Event) {
        self.keep_stamps();
        self.in_flight += usize::from(event.is_packet());
        let place = self.reserve();
        self.fill(place, event);
        self.queue.push(at, place.0);
    }

    /// Adds a timer of a host, by its index. Hosts wait for their next period, if for anything.
    pub(crate) fn push_host_timer(&mut self, at: Time, host: u32) {
        self.keep_stamps();
        self.queue.push_in_order(at, HOST_TIMER | host, Kind::Long);
    }

    /// Adds a timer of a connection, by its slot among the sockets: another one may be there when it comes up, and must
    /// look whether it is its own.
    pub(crate) fn push_tcp_timer(&mut self, at: Time, slot: u32) {
        self.keep_stamps();
        self.queue.push(at, TCP_TIMER | slot);
    }

    /// Sees to it that there is a stamp for one entry more.
    #[inline(always)]
    fn keep_stamps(&mut self) {
        if self.queue.stamps_left() == 0 {
            self.queue.renumber(|_, _| {});
        }
    }

    /// A free place, to be [filled](Self::fill) or given [back](Self::give_back).
    #[inline(always)]
    pub(crate) fn reserve(&mut self) -> Place {
        Place(self.vacant.pop().unwrap_or_else(|| self.grow()))
    }

    /// Gives back a free place: an empty one, or that of a packet which owns nothing any more.
    #[inline]
    pub(crate) fn give_back(&mut self, place: Place) {
        self.vacant.push(place.0);
    }

    /// Puts an event into a free place. It is built there, and not moved, if nothing can panic between
    /// its making and here: so a place is reserved first.
    #[inline(always)]
    fn fill(&mut self, place: Place, event: Event) {
        debug_assert!((place.0 as usize) < self.events.len(), "a reserved place");
        match self.events.get_mut(place.0 as usize) {
            // A free place holds nothing that would have to be dropped.
            Some(slot) => std::mem::forget(std::mem::replace(slot, event)),
            None => std::mem::forget(event),
        }
    }

    /// Puts a packet into a free place, where it will arrive. It must be [scheduled](Self::schedule),
    /// or taken.
    #[inline(always)]
    pub(crate) fn place(&mut self, place: Place, packet: Packet) {
        self.fill(place, Event::Arrival(packet));
    }

    /// Has a packet arrive at `at`.
    #[inline(always)]
    pub(crate) fn schedule(&mut self, at: Time, place: Place) {
        self.keep_stamps();
        self.in_flight += 1;
        self.queue.push_in_order(at, place.0, Kind::Short);
    }

    #[cold]
    fn grow(&mut self) -> u32 {
        self.events.push(Event::Nothing);
        self.events.len() as u32 - 1
    }

    /// Takes what is next off the queue if it is due by `now`; else `Err` says when it is. An event stays in
    /// its place, so that a packet need not be moved, until it is [taken](Self::take) or its place
    /// [given back](Self::give_back).
    #[inline(always)]
    pub(crate) fn next_due(&mut self, now: Time) -> Result<Due, Option<Time>> {
        let slot = self.queue.pop_due(now).map_err(|next| next.map(|due| due.at))?.slot;
        match self.events.get(slot as usize) {
            Some(event) => {
                self.in_flight -= usize::from(event.is_packet());
                Ok(Due::Event(Place(slot)))
            }
            None if slot & HOST_TIMER != 0 => Ok(Due::HostTimer(slot & !HOST_TIMER)),
            None => {
                debug_assert!(slot & TCP_TIMER != 0, "{slot}");
                Ok(Due::TcpTimer(slot & !TCP_TIMER))
            }
        }
    }

    /// An event that comes soon, with so many others between it and the next, as far as those come in the order in which they
    /// were scheduled.
    #[inline(always)]
    pub(crate) fn upcoming(&self, distance: usize) -> Option<&Event> {
        self.events.get(self.queue.upcoming(distance)? as usize)
    }

    /// Takes an event that is due out of its place.
    pub(crate) fn take(&mut self, place: Place) -> Event {
        self.vacant.push(place.0);
        std::mem::replace(&mut self.events[place.0 as usize], Event::Nothing)
    }

    /// The packet at this place, to look at.
    pub(crate) fn packet(&self, place: Place) -> Option<&Packet> {
        match &self.events[place.0 as usize] {
            Event::Arrival(packet) => Some(packet),
            _ => None,
        }
    }

    /// The packet that arrives at this place, if it is one.
    #[inline]
    pub(crate) fn arriving(&mut self, place: Place) -> Option<&mut Packet> {
        match &mut self.events[place.0 as usize] {
            Event::Arrival(packet) => Some(packet),
            _ => None,
        }
    }

    /// Takes a packet that arrives out of its place.
    pub(crate) fn take_packet(&mut self, place: Place) -> Packet {
        match self.take(place) {
            Event::Arrival(packet) => packet,
            Event::Delivery(packet) => *packet,
            other => unreachable!("{other:?} is no packet"),
        }
    }

    /// How many packets are on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Calls `see` for each packet on its way, in the order of arrival. Costs as much as sorting
    /// everything.
    pub(crate) fn each_packet(&self, mut see: impl FnMut(InAgenda, Time, &Packet)) {
        let mut queue = self.queue.clone();
        while let Some(time_queue::Due { at, slot, stamp }) = queue.pop() {
            match self.events.get(slot as usize) {
                Some(Event::Arrival(packet)) => see(InAgenda { slot, stamp }, at, packet),
                Some(Event::Delivery(packet)) => see(InAgenda { slot, stamp }, at, packet),
                _ => {}
            }
        }
    }

    /// Takes a packet off the agenda, if it is still there. Costs a look at everything.
    pub(crate) fn recall(&mut self, place: InAgenda) -> Option<Packet> {
        let mut is_there = false;
        self.queue.retain(|due| {
            is_there |= due.slot == place.slot && due.stamp == place.stamp;
            true
        });
        let event = &mut self.events[place.slot as usize];
        if !(is_there && event.is_packet()) {
            return None;
        }
        self.in_flight -= 1;
        match std::mem::replace(event, Event::Nothing) {
            Event::Arrival(packet) => Some(packet),
            Event::Delivery(packet) => Some(*packet),
            _ => None,
        }
    }
}

/// A timer that is set and cleared far more often than it fires.
///
/// It remembers the times of its own entries on the agenda, earliest first, and asks for another
/// only when it must fire before all of them. Setting it later or clearing it touches nothing: the
/// entry comes up, and its owner looks at the deadline that holds then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LazyTimer<const ENTRIES: usize> {
    queued: [Time; ENTRIES],
}

impl<const ENTRIES: usize> Default for LazyTimer<ENTRIES> {
    fn default() -> Self {
        Self { queued: [Time::NEVER; ENTRIES] }
    }
}

impl<const ENTRIES: usize> LazyTimer<ENTRIES> {
    /// Makes sure that an entry comes up by `deadline`: true if the caller must queue one for then.
    #[inline]
    #[must_use]
    pub(crate) fn arm(&mut self, deadline: Time) -> bool {
        if deadline >= self.queued[0] {
            return false;
        }
        // With more than `ENTRIES` the latest but one is forgotten: it comes up as a stranger.
        self.queued.copy_within(0..ENTRIES - 1, 1);
        self.queued[0] = deadline;
        true
    }

    /// An entry came up at `now`: true if it is one of this timer that it remembers. Any other one is of somebody who
    /// had its name before, or was forgotten, and then the timer has one that comes up no later than it is wanted.
    pub(crate) fn came_up(&mut self, now: Time) -> bool {
        let is_own = self.queued[0] <= now;
        while self.queued[0] <= now {
            self.queued.copy_within(1.., 0);
            self.queued[ENTRIES - 1] = Time::NEVER;
        }
        is_own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn an_event_takes_no_more_room_than_a_packet() {
        assert_eq!((size_of::<Event>(), size_of::<Packet>()), (128, 128));
    }

    #[test]
    fn setting_a_timer_later_queues_nothing() {
        let mut timer = LazyTimer::<2>::default();
        assert!(timer.arm(at(40)));
        assert!((41..100).all(|t| !timer.arm(at(t))));
        assert!(!timer.came_up(at(39)), "nothing of it is due");
        assert!(timer.came_up(at(40)) && !timer.came_up(at(40)));
        assert!(timer.arm(at(99)));
    }

    #[test]
    fn a_far_entry_is_not_queued_again_after_a_near_one() {
        let mut timer = LazyTimer::<2>::default();
        assert!(timer.arm(at(1_000)));
        for near in 1..50 {
            assert!(timer.arm(at(near)));
            assert!(timer.came_up(at(near)));
            assert!(!timer.arm(at(1_000)));
        }
    }

    #[test]
    fn events_of_one_instant_keep_their_order() {
        let mut agenda = Agenda::default();
        agenda.push(at(3), Event::Order(7));
        agenda.push_tcp_timer(at(3), 2);
        (0..3).for_each(|host| agenda.push_host_timer(at(3), host));
        agenda.push_host_timer(at(2), 9);
        assert_eq!(agenda.next_due(at(1)), Err(Some(at(2))));
        assert_eq!(agenda.next_due(at(3)), Ok(Due::HostTimer(9)));
        let Ok(Due::Event(place)) = agenda.next_due(at(3)) else { panic!("no order") };
        assert!(matches!(agenda.take(place), Event::Order(7)));
        let timers: Vec<_> = std::iter::from_fn(|| agenda.next_due(at(3)).ok()).collect();
        let hosts = (0..3).map(Due::HostTimer);
        assert_eq!(timers, std::iter::once(Due::TcpTimer(2)).chain(hosts).collect::<Vec<_>>());
    }
}
