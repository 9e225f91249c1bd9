//! What travels: segments, datagrams and the answers of the network itself.

use crate::address::Endpoint;
use crate::buffer::Payload;
use crate::flow::Flow;
use crate::socket_table::SocketId;
use crate::tcp::segment::Segment;
use crate::trace::{PacketKind, PacketRecord};

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) source: Endpoint,
    pub(crate) target: Endpoint,
    pub(crate) to_host: u32,
    /// The socket that sent it, or `NONE`.
    pub(crate) from: SocketId,
    /// The socket that it is for, if the sender knows, or `NONE`; it may be gone by the time of
    /// arrival.
    pub(crate) to: SocketId,
    pub(crate) flow: Flow,
    /// The sequence number relative to the sender's initial one.
    pub(crate) offset: u32,
    /// Its number in the capture, from 1 on; 0 without one. Before ICMP is sent, that of the packet that
    /// it is about.
    pub(crate) frame: u32,
    pub(crate) body: Body,
}

/// What is in a packet.
#[derive(Debug)]
pub(crate) enum Body {
    /// A TCP segment, or a train of full ones that nothing on the path tells apart.
    Tcp(Segment),
    /// A UDP datagram; `counted` if its sender's buffer keeps account of it.
    Udp { payload: Payload, counted: bool },
    /// ICMP "port unreachable", about a datagram that `to` sent to `source`.
    PortUnreachable,
}

impl Packet {
    /// The packet as a trace tells it.
    #[inline(always)]
    pub(crate) fn record(&self) -> PacketRecord {
        let (kind, bytes) = match &self.body {
            Body::Tcp(segment) => (segment.kind(), segment.data_len()),
            Body::Udp { payload, .. } => (PacketKind::Datagram, payload.len() as u32),
            Body::PortUnreachable => (PacketKind::PortUnreachable, 0),
        };
        PacketRecord { flow: self.flow, kind, offset: self.offset, bytes }
    }
}
