//! The way back from bytes to packets: what is wrong is refused, not guessed at.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::headers::{Ends, IP4, IP6, Protocol, fold, sum};
use super::icmp::{read_icmp, read_quote};
use crate::address::{Endpoint, Ip};
use crate::packet::Icmp;
use crate::tcp::segment::{Block, Flags, Sacks, Segment, Seq, Timestamps};

/// Bytes of a TCP header without options, and of a UDP header.
const TCP: usize = 20;
const UDP: usize = 8;
/// The maximum segment size of a peer that names none, in IPv4 and IPv6 (RFC 9293 §3.7.1, MUST-15).
const MSS_DEFAULT: (u16, u16) = (536, 1_220);
/// The most that a window may be shifted; more means this (RFC 7323 §2.3).
const SCALE_MAX: u8 = 14;

/// Why the bytes of a packet were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PacketError {
    /// It ends before its headers do, or before the lengths in them say.
    Truncated,
    /// It is neither IPv4 nor IPv6.
    Version,
    /// The checksum of its IPv4 header is wrong (RFC 791 §3.1).
    HeaderChecksum,
    /// It is a fragment; none is put together here.
    Fragment,
    /// It is neither TCP nor UDP, nor ICMP of its version.
    Protocol,
    /// The checksum of its segment or datagram is wrong.
    Checksum,
    /// Its TCP options are not well formed (RFC 9293 §3.1).
    Options,
    /// It is ICMP, and says neither that a port or a host is unreachable nor that a packet is too big.
    Icmp,
    /// It is ICMP, and quotes no segment or datagram that its target sent to its source.
    Quote,
    /// Its source is not an address of its host, or no host can have one of its addresses.
    Address,
    /// There is no route to its target.
    NoRoute,
}

/// What a packet says.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    /// The ends. ICMP is from where the packet that it quotes was to go, to where that came from.
    pub(crate) source: Endpoint,
    pub(crate) target: Endpoint,
    pub(crate) content: Content,
    /// The data, or what ICMP quotes.
    pub(crate) data: &'a [u8],
}

/// What kind of packet it is.
#[derive(Debug)]
pub(crate) enum Content {
    /// A segment, without its data. Its window is the field of its header.
    Segment(Segment),
    Datagram,
    Icmp(Icmp),
}

/// Reads a packet, from its IP header on.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn decode(packet: &[u8]) -> Result<Decoded<'_>, PacketError> {
    let (ends, protocol, payload) = match packet.first().ok_or(PacketError::Truncated)? >> 4 {
        4 => read_ip4(packet)?,
        6 => read_ip6(packet)?,
        _ => return Err(PacketError::Version),
    };
    let (source, target): (IpAddr, IpAddr) = match ends {
        Ends::V4(source, target) => (source.into(), target.into()),
        Ends::V6(source, target) => (source.into(), target.into()),
    };
    let (content, data) = match protocol {
        Protocol::Tcp => {
            let (segment, data) = read_tcp(payload, ends)?;
            (Content::Segment(segment), data)
        }
        Protocol::Udp => (Content::Datagram, read_udp(payload, ends)?),
        Protocol::Icmp4 | Protocol::Icmp6 => return decode_icmp(payload, protocol, ends),
    };
    let endpoint = |ip: IpAddr, at: usize| {
        let ip = Ip::from_addr(ip).ok_or(PacketError::Address)?;
        Ok(Endpoint::new(ip, u16::from_be_bytes(field(payload, at)?)))
    };
    Ok(Decoded { source: endpoint(source, 0)?, target: endpoint(target, 2)?, content, data })
}

/// Reads ICMP that one end of a conversation sends to the other.
fn decode_icmp(payload: &[u8], protocol: Protocol, ends: Ends) -> Result<Decoded<'_>, PacketError> {
    check(ends, protocol, payload)?;
    let (icmp, data) = read_icmp(payload, ends)?;
    let quoted = read_quote(data)?;
    let (from, to): (IpAddr, IpAddr) = match ends {
        Ends::V4(source, target) => (source.into(), target.into()),
        Ends::V6(source, target) => (source.into(), target.into()),
    };
    let (source, target) = (quoted.target, quoted.source);
    if (source.ip.to_addr(), target.ip.to_addr()) != (from, to) {
        return Err(PacketError::Quote);
    }
    Ok(Decoded { source, target, content: Content::Icmp(icmp), data })
}

/// The bytes from `at` on.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], PacketError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.copied().ok_or(PacketError::Truncated)
}

pub(super) fn word(bytes: &[u8], at: usize) -> Result<u32, PacketError> {
    field(bytes, at).map(u32::from_be_bytes)
}

fn protocol_of(number: u8, icmp: Protocol) -> Result<Protocol, PacketError> {
    let known = [Protocol::Tcp, Protocol::Udp, icmp];
    known.into_iter().find(|&known| known as u8 == number).ok_or(PacketError::Protocol)
}

type Read<'a> = Result<(Ends, Protocol, &'a [u8]), PacketError>;

fn read_ip4(packet: &[u8]) -> Read<'_> {
    let header = packet.get(..IP4).ok_or(PacketError::Truncated)?;
    let header_length = usize::from(header[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes(field(header, 2)?));
    // What is beyond its length is padding of a link.
    let packet = packet.get(..length).ok_or(PacketError::Truncated)?;
    if header_length < IP4 || header_length > length {
        return Err(PacketError::Truncated);
    }
    let (with_options, payload) = packet.split_at(header_length);
    if fold(sum(with_options)) != 0 {
        return Err(PacketError::HeaderChecksum);
    }
    // More fragments, and where this one begins.
    if u16::from_be_bytes(field(header, 6)?) & 0x3fff != 0 {
        return Err(PacketError::Fragment);
    }
    let address = |at| word(header, at).map(Ipv4Addr::from_bits);
    Ok((Ends::V4(address(12)?, address(16)?), protocol_of(header[9], Protocol::Icmp4)?, payload))
}

fn read_ip6(packet: &[u8]) -> Read<'_> {
    let header = packet.get(..IP6).ok_or(PacketError::Truncated)?;
    let length = usize::from(u16::from_be_bytes(field(header, 4)?));
    let payload = packet.get(IP6..IP6 + length).ok_or(PacketError::Truncated)?;
    let address = |at| field(header, at).map(Ipv6Addr::from_octets);
    Ok((Ends::V6(address(8)?, address(24)?), protocol_of(header[6], Protocol::Icmp6)?, payload))
}

fn check(ends: Ends, protocol: Protocol, payload: &[u8]) -> Result<(), PacketError> {
    let pseudo_header = match protocol {
        Protocol::Icmp4 => 0,
        _ => ends.pseudo_header(protocol, payload.len()),
    };
    let total = pseudo_header + sum(payload);
    if fold(total) == 0 { Ok(()) } else { Err(PacketError::Checksum) }
}

/// The data of a datagram (RFC 768).
fn read_udp(payload: &[u8], ends: Ends) -> Result<&[u8], PacketError> {
    let length = usize::from(u16::from_be_bytes(field(payload, 4)?));
    let datagram = payload.get(..length).ok_or(PacketError::Truncated)?;
    let data = datagram.get(UDP..).ok_or(PacketError::Truncated)?;
    let has_checksum = field(datagram, 6)? != [0, 0];
    // In IPv6 there must be one (RFC 8200 §8.1).
    if has_checksum || matches!(ends, Ends::V6(..)) {
        check(ends, Protocol::Udp, datagram)?;
    }
    Ok(data)
}

/// A segment and its data (RFC 9293 §3.1). What else its header says is not known here: PSH, URG and
/// the bits of ECN.
fn read_tcp(payload: &[u8], ends: Ends) -> Result<(Segment, &[u8]), PacketError> {
    let header = payload.get(..TCP).ok_or(PacketError::Truncated)?;
    let header_length = usize::from(header[12] >> 4) * 4;
    let options = payload.get(TCP..header_length).ok_or(PacketError::Truncated)?;
    check(ends, Protocol::Tcp, payload)?;
    let window = u32::from(u16::from_be_bytes(field(header, 14)?));
    let flags = Flags::from_bits(header[13]);
    let mut segment = Segment::bare(Seq(word(header, 4)?), Seq(word(header, 8)?), window, flags);
    if flags.has(Flags::SYN) {
        let (in_ip4, in_ip6) = MSS_DEFAULT;
        segment.syn.mss = if matches!(ends, Ends::V4(..)) { in_ip4 } else { in_ip6 };
    }
    read_options(options, &mut segment)?;
    Ok((segment, &payload[header_length..]))
}

/// Reads the options that are known here, and passes over others (RFC 9293 §3.1, MUST-6).
fn read_options(mut options: &[u8], segment: &mut Segment) -> Result<(), PacketError> {
    let is_syn = segment.flags.has(Flags::SYN);
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => break,
            1 => {
                options = rest;
                continue;
            }
            _ => {}
        }
        let length = usize::from(*rest.first().ok_or(PacketError::Options)?);
        let option = options.get(2..length).ok_or(PacketError::Options)?;
        options = &options[length..];
        match (kind, option) {
            (2, &[high, low]) if is_syn => segment.syn.mss = u16::from_be_bytes([high, low]),
            (3, &[scale]) if is_syn => segment.syn.window_scale = Some(scale.min(SCALE_MAX)),
            (4, []) if is_syn => segment.syn.sack = true,
            (5, blocks) if !blocks.is_empty() && blocks.len().is_multiple_of(8) => {
                let mut sacks = Sacks::default();
                for block in blocks.chunks_exact(8) {
                    let (start, end) = (Seq(word(block, 0)?), Seq(word(block, 4)?));
                    sacks.push(Block { start, end });
                }
                segment.sacks = Some(Box::new(sacks));
            }
            (8, times) if times.len() == 8 => {
                let (value, echo) = (word(times, 0)?, word(times, 4)?);
                segment.timestamps = Some(Timestamps { value, echo });
            }
            // Where they mean nothing (RFC 9293 §3.1: "sent only in the initial connection request").
            (2..=4, _) if !is_syn => {}
            (2..=5 | 8, _) => return Err(PacketError::Options),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "it ends before its lengths say",
            Self::Version => "it is neither IPv4 nor IPv6",
            Self::HeaderChecksum => "the checksum of its IPv4 header is wrong",
            Self::Fragment => "it is a fragment: send whole packets",
            Self::Protocol => "it is neither TCP nor UDP nor ICMP",
            Self::Checksum => "the checksum of its segment or datagram is wrong",
            Self::Options => "its TCP options are not well formed",
            Self::Icmp => "it is ICMP that says neither \"unreachable\" nor \"too big\"",
            Self::Quote => "it is ICMP, and quotes nothing that its target sent to its source",
            Self::Address => "its source is not its host, or no host can have its target",
            Self::NoRoute => "there is no route to its target",
        })
    }
}

impl std::error::Error for PacketError {}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use sim_core::driver::Family;

    use super::super::headers::{write_ip, write_udp};
    use super::super::segments::Agreements;
    use super::*;
    use crate::buffer::Pool;
    use crate::flow::Flow;
    use crate::packet::{Body, Packet};
    use crate::socket_table::SocketId;
    use crate::tcp::segment::SynOptions;

    fn packet(family: Family, ports: (u16, u16), segment: Segment) -> Packet {
        Packet {
            source: Endpoint::new(Ip::of_host(1, family), ports.0),
            target: Endpoint::new(Ip::of_host(2, family), ports.1),
            to_host: 2,
            from: SocketId::NONE,
            to: SocketId::NONE,
            flow: Flow::new((1, 1), (2, 7_000), 1, false),
            offset: 0,
            number: 0,
            body: Body::Tcp(segment),
        }
    }

    fn written(agreements: &mut Agreements, packet: &Packet) -> Vec<u8> {
        let Body::Tcp(segment) = &packet.body else { unreachable!("a segment") };
        let (source, target) = (packet.source.ip.to_addr(), packet.target.ip.to_addr());
        let ends = Ends::new(source, target).unwrap();
        let mut out = Vec::new();
        agreements.write(packet, segment, ends, &mut out, |_| {});
        out
    }

    fn segments() -> impl Strategy<Value = Segment> {
        let syn = (1..=u16::MAX, option::of(0..=SCALE_MAX), any::<bool>());
        let sacks = option::of(vec(any::<(u32, u32)>(), 1..4));
        let data = vec(any::<u8>(), 0..1_400);
        let numbers = (any::<u32>(), any::<u32>(), any::<u16>(), 0..32_u8);
        (numbers, syn, option::of(any::<(u32, u32)>()), sacks, data).prop_map(
            |((seq, ack, window, bits), (mss, window_scale, sack), times, blocks, data)| {
                let flags = Flags::from_bits(bits);
                let is_syn = flags.has(Flags::SYN);
                let mut segment = Segment::bare(Seq(seq), Seq(ack), window.into(), flags);
                if is_syn {
                    segment.syn = SynOptions { mss, window_scale, sack };
                }
                segment.timestamps = times.map(|(value, echo)| Timestamps { value, echo });
                segment.sacks = blocks.filter(|_| !is_syn).map(|blocks| {
                    let mut sacks = Sacks::default();
                    let block = |(start, end)| Block { start: Seq(start), end: Seq(end) };
                    blocks.into_iter().map(block).for_each(|block| sacks.push(block));
                    Box::new(sacks)
                });
                let carries_data = !data.is_empty() && !is_syn;
                segment.payload = carries_data.then(|| Pool::default().copy(&data));
                segment
            },
        )
    }

    fn segment_in(bytes: &[u8]) -> Result<Segment, PacketError> {
        decode(bytes).map(|decoded| match decoded.content {
            Content::Segment(segment) => segment,
            other => panic!("it is TCP: {other:?}"),
        })
    }

    fn families() -> impl Strategy<Value = Family> {
        prop_oneof![Just(Family::V4), Just(Family::V6)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            family in families(),
            ports in any::<(u16, u16)>(),
            segment in segments(),
        ) {
            let packet = packet(family, ports, segment.clone());
            let bytes = written(&mut Agreements::default(), &packet);
            let decoded = decode(&bytes).unwrap();
            prop_assert_eq!((decoded.source, decoded.target), (packet.source, packet.target));
            let data = segment.payload.as_ref().map_or(&[][..], |payload| payload.bytes());
            prop_assert_eq!(decoded.data, data);
            let bare = Content::Segment(Segment { payload: None, ..segment });
            prop_assert_eq!(format!("{:?}", decoded.content), format!("{bare:?}"));
        }

        #[test]
        fn a_scaled_window_is_read_again(
            scale in 0..=SCALE_MAX,
            field in any::<u16>(),
            both in any::<bool>(),
        ) {
            let mut agreements = Agreements::default();
            let flow = Flow::new((1, 1), (2, 7_000), 1, false);
            let mut syn = Segment::bare(Seq(1), Seq(0), 9, Flags::SYN);
            syn.syn = SynOptions { mss: 1_460, window_scale: Some(scale), sack: true };
            agreements.note(flow, &syn);
            syn.syn.window_scale = both.then_some(3);
            agreements.note(flow.reversed(), &syn);
            let shift = if both { scale } else { 0 };
            let window = u32::from(field) << shift;
            let sent = Segment::bare(Seq(2), Seq(2), window, Flags::ACK);
            let bytes = written(&mut agreements, &packet(Family::V4, (1, 7_000), sent));
            let decoded = segment_in(&bytes).unwrap();
            prop_assert_eq!(decoded.window << agreements.window_scale(flow, &decoded), window);
        }

        #[test]
        fn a_flipped_bit_is_noticed(segment in segments(), bit in any::<prop::sample::Index>()) {
            let mut bytes = written(&mut Agreements::default(), &packet(Family::V4, (1, 2), segment));
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_do_harm(
            mut bytes in vec(any::<u8>(), 0..200),
            version in prop::sample::select(vec![0x45, 0x46, 0x60]),
            mend in any::<bool>(),
        ) {
            if mend && bytes.len() >= IP4 {
                // A header that passes, so that what follows is looked at.
                let length = bytes.len() as u16;
                bytes[0] = version;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                (bytes[6], bytes[7], bytes[9]) = (0, 0, 6);
                bytes[10..12].copy_from_slice(&[0, 0]);
                let header = usize::from(version & 15) * 4;
                if let Some(header) = bytes.get(..header) {
                    let checksum = fold(sum(header));
                    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
                }
            }
            let _ = decode(&bytes);
        }

        #[test]
        fn no_options_do_harm(bytes in vec(any::<u8>(), 0..40), syn in any::<bool>()) {
            let flags = if syn { Flags::SYN } else { Flags::ACK };
            let _ = read_options(&bytes, &mut Segment::bare(Seq(0), Seq(0), 0, flags));
        }
    }

    fn syn_with(options: &[u8]) -> Result<Segment, PacketError> {
        let ends = Ends::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut bytes = Vec::new();
        write_ip(ends, Protocol::Tcp, &mut bytes, |out| {
            out.extend([0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0]);
            out.extend([((TCP + options.len()) as u8 / 4) << 4, 2, 0, 9, 0, 0, 0, 0]);
            out.extend(options);
        });
        segment_in(&bytes)
    }

    /// RFC 9293 §3.7.1, MUST-15.
    #[test]
    fn a_syn_without_a_segment_size_means_the_default() {
        let none = SynOptions { mss: 536, window_scale: None, sack: false };
        assert_eq!(syn_with(&[]).unwrap().syn, none);
        // An option that nobody knows is passed over (MUST-6), and a shift of more than 14 means 14.
        let syn = syn_with(&[253, 4, 9, 9, 1, 3, 3, 200]).unwrap().syn;
        assert_eq!(syn, SynOptions { window_scale: Some(14), ..none });
    }

    #[test]
    fn options_that_are_not_well_formed_are_refused() {
        for options in [[2, 3, 5, 0], [2, 0, 5, 180], [1, 1, 1, 2], [8, 9, 0, 0], [5, 2, 0, 0]] {
            assert_eq!(syn_with(&options).unwrap_err(), PacketError::Options, "{options:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let ends = Ends::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut datagram = Vec::new();
        write_ip(ends, Protocol::Udp, &mut datagram, |out| {
            write_udp(7, 8, 3, out);
            out.extend(b"abc");
        });
        let with = |at: usize, bytes: &[u8]| {
            let mut packet = datagram.clone();
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            packet[10..12].copy_from_slice(&[0, 0]);
            let checksum = fold(sum(&packet[..IP4]));
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            decode(&packet).map(|decoded| decoded.data.to_vec())
        };
        assert_eq!(with(0, &[]), Ok(b"abc".to_vec()));
        // Without a checksum nothing is checked (RFC 768).
        assert_eq!(with(26, &[0, 0, b'x']), Ok(b"xbc".to_vec()));
        assert_eq!(with(28, b"x"), Err(PacketError::Checksum));
        assert_eq!(with(0, &[0x55]), Err(PacketError::Version));
        assert_eq!(with(0, &[0x44]), Err(PacketError::Truncated));
        assert_eq!(with(3, &[200]), Err(PacketError::Truncated));
        assert_eq!(with(6, &[0x20]), Err(PacketError::Fragment));
        assert_eq!(with(9, &[2]), Err(PacketError::Protocol));
        assert_eq!(with(9, &[58]), Err(PacketError::Protocol));
        assert_eq!(with(9, &[1]), Err(PacketError::Checksum));
        assert_eq!(with(24, &[0, 7]), Err(PacketError::Truncated));
        datagram[8] = 3;
        assert_eq!(decode(&datagram).unwrap_err(), PacketError::HeaderChecksum);
        assert_eq!(decode(&[]).unwrap_err(), PacketError::Truncated);
    }
}
