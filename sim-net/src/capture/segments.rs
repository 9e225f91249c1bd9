//! Segments as they are on the wire, which depends on what the SYNs of their connection said.

use std::collections::BTreeMap;

use super::headers::{Ends, IP_LENGTH_MAX, Protocol, TcpHeader, write_ip};
use crate::flow::Flow;
use crate::packet::Packet;
use crate::tcp::config::TIMESTAMPS;
use crate::tcp::segment::{Flags, Sacks, Segment};

/// What the ends of connections agreed on in their SYNs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Agreements {
    /// The maximum segment size of each connection: the least that a SYN of it offered.
    segment_sizes: BTreeMap<[u64; 2], u16>,
    /// The window scale that each end of a connection offered, by the flow that it sends.
    window_scales: BTreeMap<[u64; 2], u8>,
}

impl Agreements {
    /// Takes note of what a segment offers, if it is a SYN.
    pub(crate) fn note(&mut self, flow: Flow, segment: &Segment) {
        if !segment.flags.has(Flags::SYN) {
            return;
        }
        let mss = segment.syn.mss;
        let least = self.segment_sizes.entry(connection(flow)).or_insert(mss);
        *least = (*least).min(mss);
        match segment.syn.window_scale {
            Some(scale) => self.window_scales.insert(flow.words(), scale),
            None => self.window_scales.remove(&flow.words()),
        };
    }

    /// Forgets the connection that a flow is of.
    pub(crate) fn forget(&mut self, flow: Flow) {
        self.segment_sizes.remove(&connection(flow));
        self.window_scales.remove(&flow.words());
        self.window_scales.remove(&flow.reversed().words());
    }

    /// By how much the window of a segment is shifted in its header: what its sender offered, if both
    /// ends did (RFC 7323 §2.2), and nothing on a SYN.
    pub(crate) fn window_scale(&self, flow: Flow, segment: &Segment) -> u8 {
        if segment.flags.has(Flags::SYN) {
            return 0;
        }
        let of = |flow: Flow| self.window_scales.get(&flow.words()).copied();
        of(flow.reversed()).and(of(flow)).unwrap_or(0)
    }

    /// How many bytes of data a segment of the connection carries.
    fn segment_size(&self, flow: Flow, header: &TcpHeader<'_>, ends: Ends) -> usize {
        let mss = self.segment_sizes.get(&connection(flow)).copied().unwrap_or(u16::MAX);
        let room = IP_LENGTH_MAX - ends.header() - header.length();
        let options = if header.timestamps.is_some() { TIMESTAMPS as usize } else { 0 };
        usize::from(mss).saturating_sub(options).clamp(1, room)
    }

    /// Appends the segments of a train, or the one that it is, from the IP header on; calls `end`
    /// behind each.
    pub(crate) fn write(
        &mut self,
        packet: &Packet,
        segment: &Segment,
        ends: Ends,
        out: &mut Vec<u8>,
        mut end: impl FnMut(&mut Vec<u8>),
    ) {
        let sacks = segment.sacks.as_deref().map_or(&[][..], Sacks::blocks);
        let sacks: Vec<_> = sacks.iter().map(|block| (block.start.0, block.end.0)).collect();
        self.note(packet.flow, segment);
        let scale = self.window_scale(packet.flow, segment);
        let mut header = tcp_header(packet, segment, scale, &sacks);
        let size = self.segment_size(packet.flow, &header, ends);
        let data = segment.payload.as_ref().map_or(&[][..], |payload| payload.bytes());
        let mut parts = data.chunks(size).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let is_last = parts.peek().is_none();
            // What ends a stream or a connection is in its last segment.
            let ending = Flags::FIN.with(Flags::RST).bits();
            let flags = if is_last { header.flags } else { header.flags & !ending };
            let this = TcpHeader { flags, ..header };
            write_ip(ends, Protocol::Tcp, out, |out| {
                this.write(out);
                out.extend(part);
            });
            end(out);
            header.seq = header.seq.wrapping_add(part.len() as u32);
            if is_last {
                return;
            }
        }
    }
}

/// What a connection is known by, in either direction.
fn connection(flow: Flow) -> [u64; 2] {
    flow.words().min(flow.reversed().words())
}

/// The header of a segment.
///
/// The window of a segment is in bytes; that of a header is scaled by what the SYN said, save on
/// the SYN itself.
fn tcp_header<'a>(
    packet: &Packet,
    segment: &Segment,
    scale: u8,
    sacks: &'a [(u32, u32)],
) -> TcpHeader<'a> {
    let is_syn = segment.flags.has(Flags::SYN);
    TcpHeader {
        source_port: packet.source.port,
        target_port: packet.target.port,
        seq: segment.seq.0,
        ack: segment.ack.0,
        flags: segment.flags.bits(),
        window: u16::try_from(segment.window >> scale).unwrap_or(u16::MAX),
        mss: is_syn.then_some(segment.syn.mss),
        window_scale: segment.syn.window_scale,
        sack_permitted: segment.syn.sack,
        timestamps: segment.timestamps.map(|timestamps| (timestamps.value, timestamps.echo)),
        sacks,
    }
}
