//! Errors of ICMP as they are on the wire (RFC 792, RFC 1191, RFC 4443 §3), and what they quote.

use std::net::IpAddr;

use super::decoding::{PacketError, field, word};
use super::headers::{Ends, IP4, IP6, Protocol, write_ip};
use crate::address::{Endpoint, Ip};
use crate::packet::Icmp;
use crate::tcp::segment::Seq;

/// Bytes of the header.
const HEADER: usize = 8;
/// How many bytes of what follows its IP header a quote has at least: ports, and in TCP the sequence number.
const QUOTED_MIN: usize = 8;

/// How much of a packet is quoted: what makes 576 bytes (RFC 1812 §4.3.2.3) or 1 280 (RFC 4443 §2.4) in all.
pub(crate) const fn quote_max(ends: Ends) -> usize {
    match ends {
        Ends::V4(..) => 576 - IP4 - HEADER,
        Ends::V6(..) => 1_280 - IP6 - HEADER,
    }
}

/// Appends a message about a packet, from the IP header on. Of the packet, which is given from its IP
/// header on, it quotes what there is room for.
pub(crate) fn write_icmp(icmp: Icmp, ends: Ends, about: &[u8], out: &mut Vec<u8>) {
    let protocol = match ends {
        Ends::V4(..) => Protocol::Icmp4,
        Ends::V6(..) => Protocol::Icmp6,
    };
    // Type and code, and the MTU where they have one.
    let (head, mtu) = match (icmp, ends) {
        (Icmp::PortUnreachable, Ends::V4(..)) => ([3, 3], 0),
        (Icmp::PortUnreachable, Ends::V6(..)) => ([1, 4], 0),
        (Icmp::HostUnreachable, Ends::V4(..)) => ([3, 1], 0),
        (Icmp::HostUnreachable, Ends::V6(..)) => ([1, 3], 0),
        (Icmp::FragmentationNeeded(mtu), Ends::V4(..)) => ([3, 4], mtu & 0xffff),
        (Icmp::FragmentationNeeded(mtu), Ends::V6(..)) => ([2, 0], mtu),
    };
    let quote = &about[..about.len().min(quote_max(ends))];
    write_ip(ends, protocol, out, |out| {
        out.extend(head);
        out.extend([0; 2]);
        out.extend(mtu.to_be_bytes());
        out.extend(quote);
    });
}

/// Reads a message, whose checksum is right: what it says, and the packet that it quotes.
pub(super) fn read_icmp(payload: &[u8], ends: Ends) -> Result<(Icmp, &[u8]), PacketError> {
    let [kind, code] = field(payload, 0)?;
    let quote = payload.get(HEADER..).ok_or(PacketError::Truncated)?;
    let icmp = match (ends, kind, code) {
        (Ends::V4(..), 3, 3) | (Ends::V6(..), 1, 4) => Icmp::PortUnreachable,
        // No route to the network, or to the host.
        (Ends::V4(..), 3, 0 | 1) | (Ends::V6(..), 1, 0 | 3) => Icmp::HostUnreachable,
        (Ends::V4(..), 3, 4) => {
            Icmp::FragmentationNeeded(u16::from_be_bytes(field(payload, 6)?).into())
        }
        (Ends::V6(..), 2, 0) => Icmp::FragmentationNeeded(word(payload, 4)?),
        _ => return Err(PacketError::Icmp),
    };
    Ok((icmp, quote))
}

/// A packet that ICMP quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quoted {
    pub(crate) source: Endpoint,
    pub(crate) target: Endpoint,
    /// Its sequence number, or `None` for a datagram.
    pub(crate) seq: Option<Seq>,
}

/// Reads the beginning of a packet that is quoted. What it says of its length and its checksums counts for
/// nothing: it is cut off.
pub(crate) fn read_quote(quote: &[u8]) -> Result<Quoted, PacketError> {
    let (header, protocol) = match quote.first().ok_or(PacketError::Quote)? >> 4 {
        4 => (usize::from(quote[0] & 15) * 4, quote.get(9)),
        6 => (IP6, quote.get(6)),
        _ => return Err(PacketError::Quote),
    };
    let rest = quote.get(header..).filter(|rest| header >= IP4 && rest.len() >= QUOTED_MIN);
    let (rest, &protocol) = rest.zip(protocol).ok_or(PacketError::Quote)?;
    let (source, target): (IpAddr, IpAddr) = if header == IP6 && quote[0] >> 4 == 6 {
        (field::<16>(quote, 8)?.into(), field::<16>(quote, 24)?.into())
    } else {
        (field::<4>(quote, 12)?.into(), field::<4>(quote, 16)?.into())
    };
    let endpoint = |ip, at| {
        let ip = Ip::from_addr(ip).ok_or(PacketError::Quote)?;
        Ok(Endpoint::new(ip, u16::from_be_bytes(field(rest, at)?)))
    };
    let is = |known: Protocol| protocol == known as u8;
    let seq = match protocol {
        _ if is(Protocol::Tcp) => Some(Seq(word(rest, 4)?)),
        _ if is(Protocol::Udp) => None,
        _ => return Err(PacketError::Quote),
    };
    Ok(Quoted { source: endpoint(source, 0)?, target: endpoint(target, 2)?, seq })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sim_core::driver::Family;

    use super::super::decoding::{Content, decode};
    use super::super::headers::{TcpHeader, write_udp};
    use super::*;

    fn ends(family: Family) -> Ends {
        let [source, target] = [1, 2].map(|number| Ip::of_host(number, family).to_addr());
        Ends::new(source, target).unwrap()
    }

    /// A datagram or a segment from host 1, port 7, to host 2, port 9.
    fn packet(family: Family, seq: Option<u32>, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match seq {
            None => write_ip(ends(family), Protocol::Udp, &mut out, |out| {
                write_udp(7, 9, data.len(), out);
                out.extend(data);
            }),
            Some(seq) => write_ip(ends(family), Protocol::Tcp, &mut out, |out| {
                let (source_port, target_port) = (7, 9);
                TcpHeader { source_port, target_port, seq, ..TcpHeader::default() }.write(out);
                out.extend(data);
            }),
        }
        out
    }

    /// What host 2 says about a packet.
    fn answer(icmp: Icmp, family: Family, about: &[u8]) -> Vec<u8> {
        let [source, target] = [2, 1].map(|number| Ip::of_host(number, family).to_addr());
        let mut out = Vec::new();
        write_icmp(icmp, Ends::new(source, target).unwrap(), about, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_message_that_is_written_is_read_again(
            six in any::<bool>(),
            seq in proptest::option::of(any::<u32>()),
            data in vec(any::<u8>(), 0..1_400),
            kind in 0..3,
            mtu in any::<u16>(),
        ) {
            let family = if six { Family::V6 } else { Family::V4 };
            let icmp = match kind {
                0 => Icmp::PortUnreachable,
                1 => Icmp::HostUnreachable,
                _ => Icmp::FragmentationNeeded(mtu.into()),
            };
            let about = packet(family, seq, &data);
            let bytes = answer(icmp, family, &about);
            let most = if six { 1_280 } else { 576 };
            prop_assert!(bytes.len() <= most);
            let decoded = decode(&bytes).unwrap();
            let Content::Icmp(read) = decoded.content else { panic!("it is ICMP") };
            prop_assert_eq!(read, icmp);
            prop_assert!(about.starts_with(decoded.data));
            let endpoint = |host, port| Endpoint::new(Ip::of_host(host, family), port);
            prop_assert_eq!((decoded.source, decoded.target), (endpoint(2, 9), endpoint(1, 7)));
            let quoted = read_quote(decoded.data).unwrap();
            let expected =
                Quoted { source: endpoint(1, 7), target: endpoint(2, 9), seq: seq.map(Seq) };
            prop_assert_eq!(quoted, expected);
        }

        #[test]
        fn no_quote_does_harm(quote in vec(any::<u8>(), 0..80), version in prop::sample::select(vec![0x40, 0x45, 0x4f, 0x60])) {
            let mut quote = quote;
            if let Some(first) = quote.first_mut() {
                *first = version;
            }
            let _ = read_quote(&quote);
            for family in [Family::V4, Family::V6] {
                let _ = decode(&answer(Icmp::PortUnreachable, family, &quote));
            }
        }
    }

    #[test]
    fn eight_bytes_behind_the_header_are_enough_and_needed() {
        for (family, header) in [(Family::V4, 20), (Family::V6, 40)] {
            let about = packet(family, Some(5), b"data");
            let quoted = read_quote(&about[..header + 8]).unwrap();
            assert_eq!(quoted.seq, Some(Seq(5)));
            assert_eq!(read_quote(&about[..header + 7]), Err(PacketError::Quote));
            assert_eq!(read_quote(&about[..header]), Err(PacketError::Quote));
        }
        assert_eq!(read_quote(&[]), Err(PacketError::Quote));
    }

    #[test]
    fn other_messages_and_other_quotes_are_refused() {
        let about = packet(Family::V4, None, b"data");
        let refused = |bytes: &[u8]| decode(bytes).map(|_| ()).unwrap_err();
        let mut echo = answer(Icmp::PortUnreachable, Family::V4, &about);
        (echo[20], echo[21]) = (8, 0);
        assert_eq!(refused(&echo), PacketError::Checksum);
        // 8 instead of 3, and 0 instead of 3: the checksum is less by as much.
        let sum = u16::from_be_bytes([echo[22], echo[23]]).wrapping_sub(0x0500 - 3);
        echo[22..24].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(refused(&echo), PacketError::Icmp);
        // It quotes a packet that was sent to somebody else, or by somebody else.
        for at in [15, 19] {
            let mut about = about.clone();
            about[at] = 77;
            assert_eq!(
                refused(&answer(Icmp::HostUnreachable, Family::V4, &about)),
                PacketError::Quote
            );
        }
        let short = answer(Icmp::HostUnreachable, Family::V4, &about[..20]);
        assert_eq!(refused(&short), PacketError::Quote);
    }
}
