//! Headers as they are on the wire: IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293 §3.1), UDP (RFC 768),
//! ICMP (RFC 792, RFC 4443), with right lengths and checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an IPv4 header without options.
pub(crate) const IP4: usize = 20;
/// Bytes of an IPv6 header without extensions.
pub(crate) const IP6: usize = 40;
/// Bytes of a TCP header without options.
const TCP: usize = 20;
/// The most bytes that options of TCP can take.
const TCP_OPTIONS_MAX: usize = 40;
/// The most bytes that a packet of either family can have, beyond IPv6's own header.
pub(crate) const IP_LENGTH_MAX: usize = 65_535;

const HOP_LIMIT: u8 = 64;
/// What Linux gives to datagrams to groups unless it is told otherwise.
const MULTICAST_HOP_LIMIT: u8 = 1;
const DONT_FRAGMENT: u16 = 0x4000;

/// What follows an IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Icmp4 = 1,
    Tcp = 6,
    Udp = 17,
    Icmp6 = 58,
}

impl Protocol {
    /// Where its checksum is.
    const fn checksum_at(self) -> usize {
        match self {
            Self::Icmp4 | Self::Icmp6 => 2,
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// From where to where: addresses of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    /// The addresses, or `None` if they are of two families.
    pub(crate) fn new(source: IpAddr, target: IpAddr) -> Option<Self> {
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => Some(Self::V4(source, target)),
            (IpAddr::V6(source), IpAddr::V6(target)) => Some(Self::V6(source, target)),
            _ => None,
        }
    }

    /// Bytes of the IP header.
    pub(crate) const fn header(self) -> usize {
        match self {
            Self::V4(..) => IP4,
            Self::V6(..) => IP6,
        }
    }

    const fn hop_limit(self) -> u8 {
        let is_multicast = match self {
            Self::V4(_, target) => target.is_multicast(),
            Self::V6(_, target) => target.is_multicast(),
        };
        if is_multicast { MULTICAST_HOP_LIMIT } else { HOP_LIMIT }
    }

    /// The sum over the pseudo header of a payload.
    pub(super) fn pseudo_header(self, protocol: Protocol, length: usize) -> u32 {
        let addresses = match self {
            Self::V4(source, target) => sum(&source.octets()) + sum(&target.octets()),
            Self::V6(source, target) => sum(&source.octets()) + sum(&target.octets()),
        };
        addresses + protocol as u32 + length as u32
    }
}

/// A TCP header and its options.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct TcpHeader<'a> {
    pub(crate) source_port: u16,
    pub(crate) target_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// The control bits as the header has them, from FIN as bit 0 on.
    pub(crate) flags: u8,
    /// The field of the header.
    pub(crate) window: u16,
    /// Maximum segment size (RFC 9293 §3.2), on a SYN.
    pub(crate) mss: Option<u16>,
    /// Window scale (RFC 7323 §2.2), on a SYN.
    pub(crate) window_scale: Option<u8>,
    /// SACK permitted (RFC 2018 §2), on a SYN.
    pub(crate) sack_permitted: bool,
    /// TSval and TSecr (RFC 7323 §3.2).
    pub(crate) timestamps: Option<(u32, u32)>,
    /// SACK blocks (RFC 2018 §3): first number, and the number after the last. Those for which there is
    /// no room are left out.
    pub(crate) sacks: &'a [(u32, u32)],
}

impl TcpHeader<'_> {
    /// Its bytes, with the options.
    pub(crate) fn length(&self) -> usize {
        let on_syn = 4 * usize::from(self.mss.is_some())
            + 4 * usize::from(self.window_scale.is_some())
            + if self.has_lone_sack_permitted() { 4 } else { 0 };
        let blocks = self.blocks_that_fit(on_syn + self.timestamps_length());
        let sacks = if blocks > 0 { 4 + 8 * blocks } else { 0 };
        TCP + on_syn + self.timestamps_length() + sacks
    }

    fn timestamps_length(&self) -> usize {
        if self.timestamps.is_some() { 12 } else { 0 }
    }

    /// SACK permitted takes the two bytes before the timestamps, where they are not there for padding.
    fn has_lone_sack_permitted(&self) -> bool {
        self.sack_permitted && self.timestamps.is_none()
    }

    fn blocks_that_fit(&self, other_options: usize) -> usize {
        self.sacks.len().min(TCP_OPTIONS_MAX.saturating_sub(other_options + 4) / 8)
    }

    /// Appends it. The options are in the order and with the padding of Linux.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let length = self.length();
        out.extend(self.source_port.to_be_bytes());
        out.extend(self.target_port.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend([(length as u8 / 4) << 4, self.flags]);
        out.extend(self.window.to_be_bytes());
        // Checksum and urgent pointer.
        out.extend([0; 4]);
        if let Some(mss) = self.mss {
            out.extend([2, 4]);
            out.extend(mss.to_be_bytes());
        }
        if let Some((value, echo)) = self.timestamps {
            out.extend(if self.sack_permitted { [4, 2] } else { [1, 1] });
            out.extend([8, 10]);
            out.extend(value.to_be_bytes());
            out.extend(echo.to_be_bytes());
        }
        if self.has_lone_sack_permitted() {
            out.extend([1, 1, 4, 2]);
        }
        if let Some(shift) = self.window_scale {
            out.extend([1, 3, 3, shift]);
        }
        let blocks = self.blocks_that_fit(out.len() - start - TCP);
        if blocks > 0 {
            out.extend([1, 1, 5, 2 + 8 * blocks as u8]);
            for (first, end) in &self.sacks[..blocks] {
                out.extend(first.to_be_bytes());
                out.extend(end.to_be_bytes());
            }
        }
        debug_assert_eq!(out.len() - start, length);
    }
}

/// Appends the header of a datagram with so many bytes of data.
pub(crate) fn write_udp(source_port: u16, target_port: u16, data: usize, out: &mut Vec<u8>) {
    out.extend(source_port.to_be_bytes());
    out.extend(target_port.to_be_bytes());
    out.extend(((data + 8) as u16).to_be_bytes());
    out.extend([0; 2]);
}

/// Appends a packet; `write` appends what follows the IP header, with a checksum of 0.
pub(crate) fn write_ip(
    ends: Ends,
    protocol: Protocol,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.resize(start + ends.header(), 0);
    let payload = out.len();
    write(out);
    let length = out.len() - payload;
    let (header, payload) = out[start..].split_at_mut(ends.header());
    match ends {
        Ends::V4(source, target) => {
            debug_assert!(IP4 + length <= IP_LENGTH_MAX);
            header[0] = 0x45;
            header[2..4].copy_from_slice(&((IP4 + length) as u16).to_be_bytes());
            header[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
            (header[8], header[9]) = (ends.hop_limit(), protocol as u8);
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&target.octets());
            let checksum = fold(sum(header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Ends::V6(source, target) => {
            debug_assert!(length <= IP_LENGTH_MAX);
            header[0] = 0x60;
            header[4..6].copy_from_slice(&(length as u16).to_be_bytes());
            (header[6], header[7]) = (protocol as u8, ends.hop_limit());
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&target.octets());
        }
    }
    let pseudo_header =
        if protocol == Protocol::Icmp4 { 0 } else { ends.pseudo_header(protocol, length) };
    let checksum = match fold(pseudo_header + sum(payload)) {
        // In UDP, 0 says that there is none.
        0 if protocol == Protocol::Udp => u16::MAX,
        checksum => checksum,
    };
    let at = protocol.checksum_at();
    payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The sum of the words of `bytes` (RFC 1071). At most 64 KiB of them: it does not overflow.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |&byte| u32::from(byte) << 8);
    odd + words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u32>()
}

/// The checksum for a sum.
pub(super) fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn ends() -> Ends {
        Ends::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }

    /// The example of RFC 1071 §3.
    #[test]
    fn the_sum_is_that_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), !0xddf2);
        assert_eq!(sum(&[1]), 0x100);
    }

    #[test]
    fn a_syn_has_the_bytes_that_linux_sends() {
        let syn = TcpHeader {
            source_port: 32_768,
            target_port: 7_000,
            seq: 0x0102_0304,
            flags: 2,
            window: 64_240,
            mss: Some(1_460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((5, 0)),
            ..TcpHeader::default()
        };
        let mut out = Vec::new();
        write_ip(ends(), Protocol::Tcp, &mut out, |out| syn.write(out));
        assert_eq!(out[..10], [0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6]);
        let options = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 5, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(out[40..], options);
        assert_eq!((out[32], out[33]), (0xa0, 2));
        assert_eq!(fold(sum(&out[..20])), 0);
        assert_eq!(fold(ends().pseudo_header(Protocol::Tcp, 40) + sum(&out[20..])), 0);
    }

    #[test]
    fn options_are_padded_and_blocks_without_room_left_out() {
        let sacks: Vec<(u32, u32)> = (0..5).map(|n| (n * 10, n * 10 + 5)).collect();
        let with = |header: TcpHeader<'_>| {
            let mut out = Vec::new();
            header.write(&mut out);
            assert_eq!(
                (out.len(), usize::from(out[12] >> 4) * 4),
                (header.length(), header.length())
            );
            out.split_off(20)
        };
        let none = TcpHeader::default();
        assert_eq!(with(none), []);
        assert_eq!(with(TcpHeader { sack_permitted: true, ..none }), [1, 1, 4, 2]);
        let timed = TcpHeader { timestamps: Some((1, 2)), ..none };
        assert_eq!(with(timed), [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        let lone = with(TcpHeader { sacks: &sacks, ..none });
        assert_eq!((lone.len(), &lone[..4]), (36, &[1, 1, 5, 34][..]));
        let beside = with(TcpHeader { sacks: &sacks, ..timed });
        assert_eq!((beside.len(), &beside[12..16]), (40, &[1, 1, 5, 26][..]));
        assert_eq!(beside[16..24], [0, 0, 0, 0, 0, 0, 0, 5]);
    }

    proptest! {
        #[test]
        fn lengths_and_checksums_are_right_whatever_is_sent(
            six in any::<bool>(),
            fields in any::<(u16, u16, u32, u32, u8, u16)>(),
            mss in option::of(any::<u16>()),
            window_scale in option::of(0..15_u8),
            sack_permitted in any::<bool>(),
            timestamps in option::of(any::<(u32, u32)>()),
            sacks in vec(any::<(u32, u32)>(), 0..6),
            data in vec(any::<u8>(), 0..3_000),
        ) {
            let (source_port, target_port, seq, ack, flags, window) = fields;
            let header = TcpHeader {
                source_port, target_port, seq, ack, flags, window,
                mss, window_scale, sack_permitted, timestamps, sacks: &sacks,
            };
            let ends = if six {
                Ends::V6(Ipv6Addr::from_bits(seq.into()), Ipv6Addr::LOCALHOST)
            } else {
                ends()
            };
            let mut out = vec![7; 3];
            write_ip(ends, Protocol::Tcp, &mut out, |out| {
                header.write(out);
                out.extend(&data);
            });
            let (ip, tcp) = out[3..].split_at(ends.header());
            let length = u16::from_be_bytes(if six { [ip[4], ip[5]] } else { [ip[2], ip[3]] });
            let before = if six { 0 } else { IP4 };
            prop_assert_eq!(usize::from(length), before + tcp.len());
            prop_assert!(six || fold(sum(ip)) == 0);
            prop_assert_eq!(fold(ends.pseudo_header(Protocol::Tcp, tcp.len()) + sum(tcp)), 0);
            prop_assert_eq!(usize::from(tcp[12] >> 4) * 4, header.length());
            prop_assert!(header.length() <= TCP + TCP_OPTIONS_MAX);
            prop_assert_eq!(&tcp[header.length()..], &data[..]);
        }
    }

    #[test]
    fn a_datagram_whose_checksum_would_be_zero_has_another() {
        let mut out = Vec::new();
        let write = |data: [u8; 2], out: &mut Vec<u8>| {
            write_ip(ends(), Protocol::Udp, out, |out| {
                write_udp(1, 2, 2, out);
                out.extend(data);
            });
        };
        write([0, 0], &mut out);
        let checksum = [out[26], out[27]];
        out.clear();
        write(checksum, &mut out);
        assert_eq!([out[26], out[27]], [0xff, 0xff]);
    }

    #[test]
    fn icmp_has_a_pseudo_header_in_ipv6_alone() {
        let six = Ends::V6("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let mut out = Vec::new();
        write_ip(six, Protocol::Icmp6, &mut out, |out| out.extend([1, 4, 0, 0, 9]));
        assert_eq!(out[..8], [0x60, 0, 0, 0, 0, 5, 58, 64]);
        assert_eq!(fold(six.pseudo_header(Protocol::Icmp6, 5) + sum(&out[40..])), 0);
        out.clear();
        write_ip(ends(), Protocol::Icmp4, &mut out, |out| out.extend([3, 3, 0, 0, 9]));
        assert_eq!(fold(sum(&out[20..])), 0);
    }
}
