//! The file format: pcapng (draft-ietf-opsawg-pcapng), little endian, one section.

use std::io::{self, Write};

use sim_core::Time;

/// Link type: packets begin with their IP header.
const LINKTYPE_RAW: u16 = 101;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const ISB_IFDROP: u16 = 5;
const NRB_RECORD_IPV4: u16 = 1;
const NRB_RECORD_IPV6: u16 = 2;

/// A resolution of 10⁻⁹ seconds.
const NANOSECONDS: u8 = 9;

/// Writes blocks.
#[derive(Debug)]
pub(super) struct Writer<W> {
    out: W,
    /// The body of the block that is written next.
    body: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, body: Vec::new() }
    }

    /// The first block.
    pub(super) fn section_header(&mut self, application: &str) -> io::Result<()> {
        self.body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        // Version 1.0, and a section of unknown length.
        self.body.extend([1, 0, 0, 0]);
        self.body.extend(u64::MAX.to_le_bytes());
        self.option(SHB_USERAPPL, application.as_bytes());
        self.end_options();
        self.block(SECTION_HEADER)
    }

    /// An interface; they are numbered in order, from 0 on.
    pub(super) fn interface(&mut self, name: &str) -> io::Result<()> {
        self.body.extend(LINKTYPE_RAW.to_le_bytes());
        // Reserved, and packets of any length.
        self.body.extend([0; 6]);
        self.option(IF_NAME, name.as_bytes());
        self.option(IF_TSRESOL, &[NANOSECONDS]);
        self.end_options();
        self.block(INTERFACE_DESCRIPTION)
    }

    /// The names of addresses: each of 4 or 16 bytes.
    pub(super) fn names<'a, A: AsRef<[u8]>>(
        &mut self,
        names: impl Iterator<Item = (A, &'a str)>,
    ) -> io::Result<()> {
        for (address, name) in names {
            let address = address.as_ref();
            let kind = if address.len() == 4 { NRB_RECORD_IPV4 } else { NRB_RECORD_IPV6 };
            let record = [address, name.as_bytes(), &[0]].concat();
            self.option(kind, &record);
        }
        // The end of the records, and no options.
        self.end_options();
        self.block(NAME_RESOLUTION)
    }

    /// A packet.
    pub(super) fn packet<'a>(
        &mut self,
        interface: u32,
        time: Time,
        bytes: &[u8],
        comments: impl Iterator<Item = &'a str>,
    ) -> io::Result<()> {
        self.body.extend(interface.to_le_bytes());
        self.time(time);
        // Its length as captured and as it was.
        self.body.extend((bytes.len() as u32).to_le_bytes());
        self.body.extend((bytes.len() as u32).to_le_bytes());
        self.body.extend(bytes);
        self.pad();
        let before = self.body.len();
        for comment in comments {
            self.option(OPT_COMMENT, comment.as_bytes());
        }
        if self.body.len() > before {
            self.end_options();
        }
        self.block(ENHANCED_PACKET)
    }

    /// How many packets of an interface are not in the file.
    pub(super) fn left_out(&mut self, interface: u32, time: Time, packets: u64) -> io::Result<()> {
        self.body.extend(interface.to_le_bytes());
        self.time(time);
        self.option(ISB_IFDROP, &packets.to_le_bytes());
        self.end_options();
        self.block(INTERFACE_STATISTICS)
    }

    fn time(&mut self, time: Time) {
        let nanos = time.as_nanos();
        self.body.extend(((nanos >> 32) as u32).to_le_bytes());
        self.body.extend((nanos as u32).to_le_bytes());
    }

    /// A value longer than an option can be is cut off.
    fn option(&mut self, code: u16, value: &[u8]) {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.body.extend(code.to_le_bytes());
        self.body.extend((value.len() as u16).to_le_bytes());
        self.body.extend(value);
        self.pad();
    }

    fn end_options(&mut self) {
        self.body.extend([0; 4]);
    }

    fn pad(&mut self) {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    fn block(&mut self, kind: u32) -> io::Result<()> {
        let length = (self.body.len() as u32 + 12).to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&length)?;
        self.out.write_all(&self.body)?;
        self.out.write_all(&length)?;
        self.body.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_padded_and_has_its_time_in_two_halves() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let time = Time::from_nanos(0x0000_0001_0000_0002);
        writer.packet(3, time, &[7; 5], ["lost"].into_iter()).unwrap();
        let words: Vec<u32> =
            out.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        let data = [0x0707_0707, 7];
        let comment = [4 << 16 | 1, u32::from_le_bytes(*b"lost"), 0];
        assert_eq!(words, [&[6, 52, 3, 1, 2, 5, 5][..], &data, &comment, &[52]].concat());
    }

    #[test]
    fn a_packet_without_comments_has_no_options() {
        let mut out = Vec::new();
        Writer::new(&mut out).packet(0, Time::ZERO, &[7; 4], std::iter::empty()).unwrap();
        assert_eq!(out.len(), 36);
    }
}
