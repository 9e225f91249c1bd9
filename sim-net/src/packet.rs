//! What travels: segments, datagrams and the answers of the network itself.

use sim_core::driver::Family;

use crate::address::{Endpoint, Ip};
use crate::buffer::Payload;
use crate::flow::Flow;
use crate::socket_table::SocketId;
use crate::tcp::config::TIMESTAMPS;
use crate::tcp::segment::{Flags, Segment};
use crate::trace::{PacketKind, PacketRecord};

fn ip_header(target: Ip) -> u32 {
    if target.family() == Family::V4 { IP4 } else { IP6 }
}

/// Bytes of the headers of a datagram to an address, from IP on.
pub(crate) fn udp_headers(target: Ip) -> u32 {
    ip_header(target) + UDP
}

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) source: Endpoint,
    pub(crate) target: Endpoint,
    pub(crate) to_host: u32,
    /// The socket that sent it, or what a TUN device knows it by, or `NONE`.
    pub(crate) from: SocketId,
    /// The socket that it is for, if the sender knows, or `NONE`; it may be gone by the time of
    /// arrival.
    pub(crate) to: SocketId,
    pub(crate) flow: Flow,
    /// The sequence number relative to the sender's initial one.
    pub(crate) offset: u32,
    /// The number by which a log or a capture knows it, from 1 on; 0 if there is neither. Before ICMP is
    /// sent, that of the packet that it is about.
    pub(crate) number: u32,
    pub(crate) body: Body,
}

/// What is in a packet.
#[derive(Debug)]
pub(crate) enum Body {
    /// A TCP segment, or a train of full ones that nothing on the path tells apart.
    Tcp(Segment),
    /// A UDP datagram; `counted` if its sender's buffer keeps account of it.
    Udp { payload: Payload, counted: bool },
    /// What the network has to say about a packet that `to` sent to `source`, and the beginning of that
    /// packet if a TUN device says it, which has only bytes.
    Icmp(Icmp, Option<Payload>),
}

/// A message of ICMP (RFC 792, RFC 4443).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Icmp {
    /// No socket has the port.
    PortUnreachable,
    /// Something on the way rejects the packet.
    HostUnreachable,
    /// The packet is larger than a link allows: at most so many bytes from IP on.
    FragmentationNeeded(u32),
}

/// Bytes of headers: IPv4 and IPv6; TCP without options, with timestamps, and with the options of a
/// SYN; UDP; ICMP with the headers that it quotes.
const IP4: u32 = 20;
const IP6: u32 = 40;
const TCP: u32 = 20;
const TCP_TIMESTAMPS: u32 = TCP + TIMESTAMPS;
const TCP_SYN: u32 = 40;
const UDP: u32 = 8;
const ICMP: u32 = 36;
const ICMP_HEADER: u32 = 8;

impl Packet {
    /// The packet as a trace tells it.
    #[inline(always)]
    pub(crate) fn record(&self) -> PacketRecord {
        let (kind, bytes) = match &self.body {
            Body::Tcp(segment) => (segment.kind(), segment.data_len()),
            Body::Udp { payload, .. } => (PacketKind::Datagram, payload.len() as u32),
            Body::Icmp(Icmp::PortUnreachable, _) => (PacketKind::PortUnreachable, 0),
            Body::Icmp(Icmp::HostUnreachable, _) => (PacketKind::HostUnreachable, 0),
            Body::Icmp(Icmp::FragmentationNeeded(_), _) => (PacketKind::FragmentationNeeded, 0),
        };
        PacketRecord { flow: self.flow, kind, offset: self.offset, bytes }
    }

    /// The data in it.
    pub(crate) fn data(&self) -> &[u8] {
        match &self.body {
            Body::Tcp(segment) => segment.payload.as_ref().map_or(&[], Payload::bytes),
            Body::Udp { payload, .. } => payload.bytes(),
            Body::Icmp(..) => &[],
        }
    }

    /// Bytes of the headers, from IP on.
    pub(crate) fn headers(&self) -> u32 {
        ip_header(self.target.ip)
            + match &self.body {
                Body::Tcp(segment) if segment.flags.has(Flags::SYN) => TCP_SYN,
                Body::Tcp(segment) if segment.timestamps.is_some() => TCP_TIMESTAMPS,
                Body::Tcp(_) => TCP,
                Body::Udp { .. } => UDP,
                Body::Icmp(_, None) => ICMP,
                Body::Icmp(_, Some(quote)) => ICMP_HEADER + quote.len() as u32,
            }
    }

    /// Bytes in all, from IP on.
    pub(crate) fn size(&self) -> u32 {
        self.headers() + self.record().bytes
    }

    /// Takes the payload of a datagram, if it is one. The body that it has then owns nothing.
    #[inline(always)]
    pub(crate) fn take_datagram(&mut self) -> Option<Payload> {
        // Asked before, so that of the body nothing else is moved.
        if !matches!(self.body, Body::Udp { .. }) {
            return None;
        }
        match std::mem::replace(&mut self.body, Body::Icmp(Icmp::PortUnreachable, None)) {
            Body::Udp { payload, .. } => Some(payload),
            Body::Tcp(_) | Body::Icmp(..) => None,
        }
    }

    /// A copy of it, which counts in nobody's buffer.
    pub(crate) fn copy(&self) -> Self {
        let body = match &self.body {
            Body::Tcp(segment) => Body::Tcp(segment.clone()),
            Body::Udp { payload, .. } => Body::Udp { payload: payload.clone(), counted: false },
            Body::Icmp(icmp, quote) => Body::Icmp(*icmp, quote.clone()),
        };
        Self { body, ..*self }
    }

    /// If it is a train of segments: takes the first `mss` bytes of it off as a packet of its own.
    pub(crate) fn split_off(&mut self, mss: u32) -> Option<Self> {
        let Body::Tcp(segment) = &mut self.body else { return None };
        let payload = segment.payload.as_mut().filter(|payload| payload.len() > mss as usize)?;
        let first = payload.part(0, mss as usize);
        payload.advance(mss as usize);
        let body = Body::Tcp(Segment {
            flags: segment.flags.without(Flags::FIN),
            payload: Some(first),
            sacks: segment.sacks.take(),
            ..*segment
        });
        segment.seq = segment.seq.plus(mss);
        let offset = self.offset;
        self.offset = offset.wrapping_add(mss);
        Some(Self { body, offset, ..*self })
    }

    /// What the network answers the sender with, as from the packet's target.
    pub(crate) fn answer(&self, icmp: Icmp) -> Self {
        Self {
            source: self.target,
            target: self.source,
            to_host: self.flow.sender(),
            from: SocketId::NONE,
            to: self.from,
            flow: self.flow.reversed(),
            offset: 0,
            number: self.number,
            body: Body::Icmp(icmp, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;
    use crate::tcp::segment::{Seq, SynOptions, Timestamps};

    #[test]
    fn a_full_segment_fills_the_mtu_with_timestamps_and_without() {
        let size = |data, timestamps| {
            let payload = Some(Pool::default().copy(&vec![7; data]));
            let bare = Segment::bare(Seq(1), Seq(1), 9, Flags::ACK);
            let endpoint = |n| Endpoint::new(Ip::v4(n), 80);
            let packet = Packet {
                source: endpoint(1),
                target: endpoint(2),
                to_host: 2,
                from: SocketId::NONE,
                to: SocketId::NONE,
                flow: Flow::new((1, 1), (2, 80), 1, false),
                offset: 0,
                number: 0,
                body: Body::Tcp(Segment { payload, timestamps, ..bare }),
            };
            packet.size()
        };
        assert_eq!(size(1_460, None), 1_500);
        assert_eq!(size(1_448, Some(Timestamps { value: 1, echo: 2 })), 1_500);
    }

    #[test]
    fn a_train_falls_into_segments_and_the_last_ends_the_stream() {
        let mut pool = Pool::default();
        let data: Vec<u8> = (0..100).collect();
        let endpoint = |n| Endpoint::new(Ip::v4(n), 80);
        let mut train = Packet {
            source: endpoint(1),
            target: endpoint(2),
            to_host: 2,
            from: SocketId::NONE,
            to: SocketId::NONE,
            flow: Flow::new((1, 1), (2, 80), 1, false),
            offset: 7,
            number: 0,
            body: Body::Tcp(Segment {
                seq: Seq(u32::MAX - 9),
                ack: Seq(5),
                window: 9,
                flags: Flags::FIN.with(Flags::ACK),
                attempt: 0,
                syn: SynOptions::NONE,
                timestamps: None,
                sacks: None,
                payload: Some(pool.copy(&data)),
            }),
        };
        assert_eq!(train.size(), 140);
        let mut parts = Vec::new();
        while let Some(part) = train.split_off(40) {
            parts.push(part);
        }
        parts.push(train);
        let told: Vec<(u32, u32, bool, &[u8])> = parts
            .iter()
            .map(|part| match &part.body {
                Body::Tcp(Segment { seq, flags, payload: Some(payload), .. }) => {
                    (part.offset, seq.0, flags.has(Flags::FIN), payload.bytes())
                }
                _ => unreachable!("a segment with data"),
            })
            .collect();
        let expected = [
            (7, u32::MAX - 9, false, &data[..40]),
            (47, 30, false, &data[40..80]),
            (87, 70, true, &data[80..]),
        ];
        assert_eq!(told, expected);
    }
}
