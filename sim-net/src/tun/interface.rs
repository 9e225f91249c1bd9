//! What stands where the kernel of a host would: packets out, bytes in, and the names of flows.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use sim_core::Time;

use super::conversation::Conversation;
use crate::address::{Endpoint, Ip, Route};
use crate::bell::Bell;
use crate::capture::decoding::{Content, Decoded, PacketError, decode};
use crate::capture::headers::{Ends, Protocol, write_ip, write_udp};
use crate::capture::icmp::{read_quote, write_icmp};
use crate::capture::segments::Agreements;
use crate::flow::Flow;
use crate::missed::Missed;
use crate::multicast::Interface as Way;
use crate::network::Network;
use crate::packet::{Body, Packet};
use crate::socket_table::SocketId;
use crate::tcp::segment::{Flags, Segment};
use crate::trace::{DropReason, Record};
use crate::wire::Path;

/// How many packets wait to be received (`TUN_READQ_SIZE`). A train that comes in while there is room
/// is taken whole.
const QUEUE_MAX: usize = 500;
/// How many conversations are known.
const CONVERSATIONS_MAX: usize = 4_096;
/// How many packets that were sent are known, for ICMP to quote them; of more, the oldest is forgotten.
const SENT_MAX: usize = 1_024;
/// How much of each: what ICMP quotes of a packet of IPv6.
const SENT_BYTES: usize = 1_232;

/// The TUN device of a host.
#[derive(Debug)]
pub(crate) struct Interface {
    queue: VecDeque<(Time, Vec<u8>)>,
    waker: Option<Waker>,
    conversations: BTreeMap<Parties, Conversation>,
    /// How many conversations there were.
    begun: u64,
    /// The beginnings of the packets that were sent last, and the number of the next.
    sent: VecDeque<Box<[u8]>>,
    next_packet: u32,
    agreements: Agreements,
    refused: u64,
    /// How the scheduler learns that somebody is to be woken.
    bell: Arc<Bell>,
}

/// Who talks to whom: the end here, the end there, and in what.
type Parties = (Endpoint, Endpoint, Talk);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Talk {
    Stream,
    Datagrams,
    /// What is sent to many, on its way to one of the hosts.
    DatagramsTo(u32),
}

impl Interface {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self {
            queue: VecDeque::new(),
            waker: None,
            conversations: BTreeMap::new(),
            begun: 0,
            sent: VecDeque::new(),
            next_packet: 0,
            agreements: Agreements::default(),
            refused: 0,
            bell,
        }
    }

    /// Forgets what was in the machine's memory.
    pub(crate) fn wipe(&mut self) {
        self.queue.clear();
        self.conversations.clear();
        self.sent.clear();
        self.agreements = Agreements::default();
    }

    pub(crate) fn is_readable(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn receive(&mut self) -> Option<(Time, Vec<u8>)> {
        self.queue.pop_front()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Notes who is to be woken by the next packet, and returns who was before.
    pub(crate) fn wait(&mut self, waker: Waker) -> Option<Waker> {
        self.waker.replace(waker)
    }

    /// A conversation begins, perhaps where another was.
    fn begin(&mut self, parties: Parties, flow: Flow) {
        if self.conversations.len() >= CONVERSATIONS_MAX
            && !self.conversations.contains_key(&parties)
        {
            let oldest = self.conversations.iter().min_by_key(|(_, it)| it.number);
            let oldest = oldest.map(|(&parties, _)| parties);
            if let Some(oldest) = oldest.and_then(|parties| self.conversations.remove(&parties)) {
                self.agreements.forget(oldest.flow);
            }
        }
        self.begun += 1;
        let new = Conversation::new(flow, self.begun);
        if let Some(before) = self.conversations.insert(parties, new) {
            self.agreements.forget(before.flow);
        }
    }

    /// Notes a packet that is sent, and returns what it is known by.
    fn note_sent(&mut self, packet: &[u8]) -> SocketId {
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(packet[..packet.len().min(SENT_BYTES)].into());
        let number = self.next_packet;
        // The last number is that of no packet.
        self.next_packet = if number + 1 == u32::MAX { 0 } else { number + 1 };
        SocketId::of_device(number)
    }

    /// The beginning of a packet that was sent, if it is still known.
    fn sent_as(&self, id: SocketId) -> Option<&[u8]> {
        let ago = self.next_packet.checked_sub(id.device_packet()?)?;
        let place = self.sent.len().checked_sub(ago as usize)?;
        self.sent.get(place).map(|packet| &**packet)
    }

    /// Takes a packet in, as bytes.
    fn take_in(&mut self, now: Time, packet: &Packet) {
        let (source, target) = (packet.source, packet.target);
        let Some(ends) = Ends::new(source.ip.to_addr(), target.ip.to_addr()) else {
            return;
        };
        let Self { queue, agreements, .. } = self;
        let mut bytes = Vec::new();
        match &packet.body {
            Body::Tcp(segment) => agreements.write(packet, segment, ends, &mut bytes, |bytes| {
                queue.push_back((now, mem::take(bytes)));
            }),
            Body::Udp { payload, .. } => {
                write_ip(ends, Protocol::Udp, &mut bytes, |out| {
                    write_udp(source.port, target.port, payload.len(), out);
                    out.extend(payload.bytes());
                });
                queue.push_back((now, bytes));
            }
            Body::Icmp(icmp, quote) => {
                let about = match quote {
                    Some(quote) => quote.bytes(),
                    None => self.sent_as(packet.to).unwrap_or_default(),
                };
                write_icmp(*icmp, ends, about, &mut bytes);
                self.queue.push_back((now, bytes));
            }
        }
    }
}

fn opens(segment: &Segment) -> bool {
    segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK)
}

impl Network {
    /// Sends the bytes of a packet from a host's TUN device, now or when its machine goes on.
    pub(crate) fn interface_send(&mut self, index: u32, packet: &[u8]) -> Result<(), PacketError> {
        let host = self.host(index);
        if host.life.off {
            return Ok(());
        }
        let (number, is_frozen) = (host.number, host.life.frozen);
        let Some(mut interface) = host.take_interface() else {
            return Ok(());
        };
        let is_own = |ip: Ip| ip == Ip::of_host(number, ip.family());
        let decoded = decode(packet);
        let decoded = decoded.and_then(|it| match is_own(it.source.ip) {
            true => Ok(it),
            false => Err(PacketError::Address),
        });
        let sent = decoded.and_then(|decoded| {
            if is_frozen {
                return self.interface_miss(index, packet, &decoded);
            }
            let from = interface.note_sent(packet);
            self.send_decoded(index, &mut interface, from, decoded)
        });
        interface.refused += u64::from(sent.is_err());
        self.host(index).put_interface(interface);
        sent
    }

    /// Keeps a packet that can be sent until its machine goes on.
    #[cold]
    fn interface_miss(
        &mut self,
        index: u32,
        packet: &[u8],
        Decoded { target, content, .. }: &Decoded<'_>,
    ) -> Result<(), PacketError> {
        if !self.is_for_many(index, *target, content) {
            self.path(index, target.ip).ok_or(PacketError::NoRoute)?;
        }
        self.host(index).miss(Missed::Device(packet.to_vec()));
        Ok(())
    }

    fn is_for_many(&self, index: u32, target: Endpoint, content: &Content) -> bool {
        matches!(content, Content::Datagram)
            && target.ip.route(self.hosts[index as usize].number) == Route::Many
    }

    fn send_decoded(
        &mut self,
        index: u32,
        interface: &mut Interface,
        from: SocketId,
        Decoded { source, target, content, data }: Decoded<'_>,
    ) -> Result<(), PacketError> {
        if self.is_for_many(index, target, &content) {
            let audience = self.audience(index, target.ip, Way::Network, 1, false);
            let payload = self.pool.copy(data);
            for to in audience.into_iter().filter(|&to| to != index) {
                let path = self.wire.path_between(index, to);
                let parties = (source, target, Talk::DatagramsTo(to));
                let part = payload.part(0, payload.len());
                let body = Body::Udp { payload: part, counted: false };
                self.send_from_device(index, interface, (from, path, parties), body);
            }
            self.pool.put(payload);
            return Ok(());
        }
        let path = self.path(index, target.ip).ok_or(PacketError::NoRoute)?;
        let (talk, body) = match content {
            Content::Segment(segment) => {
                let payload = (!data.is_empty()).then(|| self.pool.copy(data));
                (Talk::Stream, Body::Tcp(Segment { payload, ..segment }))
            }
            Content::Datagram => {
                (Talk::Datagrams, Body::Udp { payload: self.pool.copy(data), counted: false })
            }
            Content::Icmp(icmp) => {
                let is_of_stream = read_quote(data).is_ok_and(|quoted| quoted.seq.is_some());
                let talk = if is_of_stream { Talk::Stream } else { Talk::Datagrams };
                (talk, Body::Icmp(icmp, Some(self.pool.copy(data))))
            }
        };
        self.send_from_device(index, interface, (from, path, (source, target, talk)), body);
        Ok(())
    }

    /// Sends a packet as one of the conversation that it belongs to.
    fn send_from_device(
        &mut self,
        index: u32,
        interface: &mut Interface,
        (from, path, parties): (SocketId, Path, Parties),
        mut body: Body,
    ) {
        let (source, target, talk) = parties;
        let is_new = interface.conversations.get(&parties).is_none_or(|known| match &body {
            Body::Tcp(segment) => opens(segment) && known.initial != Some(segment.seq),
            Body::Udp { .. } | Body::Icmp(..) => false,
        });
        if is_new {
            let flow = self.open_flow(index, path.host, target.port, talk != Talk::Stream);
            interface.begin(parties, flow);
        }
        let Interface { conversations, agreements, .. } = interface;
        let Some(conversation) = conversations.get_mut(&parties) else {
            return;
        };
        let flow = conversation.flow;
        let mut offset = 0;
        if let Body::Tcp(segment) = &mut body {
            if segment.flags.has(Flags::SYN) {
                conversation.initial = Some(segment.seq);
                agreements.note(flow, segment);
            }
            offset = conversation.initial.map_or(0, |initial| segment.seq.since(initial));
            segment.window <<= agreements.window_scale(flow, segment);
            segment.attempt = conversation.count(segment);
        }
        let is_answer = matches!(body, Body::Icmp(..));
        let packet = Packet {
            source,
            target,
            to_host: path.host.unwrap_or(u32::MAX),
            from,
            to: SocketId::NONE,
            flow,
            offset,
            number: 0,
            body,
        };
        let Self { wire, pool, .. } = self;
        if path.host.is_none() {
            wire.lose(index, packet, pool);
        } else if is_answer {
            wire.answer(path, packet, pool);
        } else {
            let Conversation { lane, last_arrival, .. } = conversation;
            // Whoever sent it hears of its loss by ICMP, if at all.
            let _ = wire.send_whole(path, packet, lane, last_arrival, pool);
        }
    }

    /// A packet reached a host that has a TUN device.
    pub(crate) fn interface_arrival(&mut self, packet: Packet) {
        self.udp_left(&packet);
        let (index, now) = (packet.to_host, self.wire.now);
        let Some(interface) = self.hosts[index as usize].interface() else {
            return;
        };
        if interface.queue.len() >= QUEUE_MAX {
            self.drop_packet(index, packet, DropReason::ReceiveBuffer);
            return;
        }
        match &packet.body {
            // It is about nothing that is known to have been sent from here.
            Body::Icmp(_, None) if interface.sent_as(packet.to).is_none() => {
                self.drop_packet(index, packet, DropReason::NoSocket);
                return;
            }
            Body::Tcp(segment) => {
                let parties = (packet.target, packet.source, Talk::Stream);
                let flow = packet.flow.reversed();
                let known = interface.conversations.get(&parties);
                if known.is_none_or(|known| opens(segment) && known.flow != flow) {
                    interface.begin(parties, flow);
                }
                if let Some(conversation) = interface.conversations.get_mut(&parties)
                    && segment.flags.has(Flags::ACK)
                {
                    conversation.acknowledge(segment.ack);
                }
            }
            Body::Udp { .. } | Body::Icmp(..) => {}
        }
        interface.take_in(now, &packet);
        if let Some(waker) = interface.waker.take() {
            interface.bell.ring();
            self.woken.push(waker);
            self.is_watched = true;
        }
        self.wire.record_packet(index, &packet, Record::Delivered);
        match packet.body {
            Body::Tcp(Segment { payload: Some(payload), .. })
            | Body::Udp { payload, .. }
            | Body::Icmp(_, Some(payload)) => self.pool.put(payload),
            Body::Tcp(_) | Body::Icmp(_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::segment::{Seq, SynOptions};

    #[test]
    fn so_many_conversations_are_known_and_then_the_first_is_forgotten() {
        let mut interface = Interface::new(Arc::default());
        let parties =
            |n: u32| (Endpoint::new(Ip::v4(1), 80), Endpoint::new(Ip::v4(n), 80), Talk::Stream);
        let flow = |n: u32| Flow::new((1, 1), (2, 80), n, false);
        let mut syn = Segment::bare(Seq(0), Seq(0), 0, Flags::SYN);
        syn.syn = SynOptions { mss: 1_460, window_scale: Some(7), sack: false };
        // The first in order is not the one that is known for longest.
        for n in (0..CONVERSATIONS_MAX as u32).rev() {
            interface.begin(parties(n), flow(n));
            interface.agreements.note(flow(n), &syn);
        }
        interface.begin(parties(7), flow(7_000));
        assert_eq!(interface.conversations.len(), CONVERSATIONS_MAX);
        interface.begin(parties(9_999), flow(9_999));
        assert_eq!(interface.conversations.len(), CONVERSATIONS_MAX);
        let oldest = CONVERSATIONS_MAX as u32 - 1;
        assert!(!interface.conversations.contains_key(&parties(oldest)));
        assert!(interface.conversations.contains_key(&parties(0)));
        // What it agreed on is forgotten with it, and with what was on the same ports before.
        let mut left = Agreements::default();
        for n in (0..oldest).filter(|&n| n != 7) {
            left.note(flow(n), &syn);
        }
        assert_eq!(interface.agreements, left);
    }
}
