//! Segments and sequence numbers (RFC 9293 §3.1, §3.4), with the options of RFC 7323 and RFC 2018.

use std::fmt;

use crate::buffer::Payload;
use crate::trace::PacketKind;

/// A sequence number: 32 bits that wrap, compared by their distance.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    pub(crate) const fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    pub(crate) const fn minus(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// How far `self` is ahead of `earlier`, modulo 2³².
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// True if `self` comes before `other`, which is less than 2³¹ away.
    pub(crate) const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    pub(crate) const fn at_most(self, other: Self) -> bool {
        !other.before(self)
    }

    /// True if `self` is one of the numbers from `first` to `last`, however far away it is: what is
    /// not looked at for 2³¹ bytes would be on the wrong side of both.
    pub(crate) const fn is_within(self, first: Self, last: Self) -> bool {
        self.since(first) <= last.since(first)
    }

    /// The later of the two.
    pub(crate) const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    pub(crate) const fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The control bits, as a set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) const FIN: Self = Self(1);
    pub(crate) const SYN: Self = Self(2);
    pub(crate) const RST: Self = Self(4);
    pub(crate) const ACK: Self = Self(16);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those of a header's bits that mean something here.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        let known = Self::FIN.0 | Self::SYN.0 | Self::RST.0 | Self::ACK.0;
        Self(bits & known)
    }

    /// The bits as a header has them.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }
}

/// The options that only a SYN carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SynOptions {
    /// The maximum segment size (RFC 9293 §3.7.1), which does not count options; 0 without it.
    pub(crate) mss: u16,
    /// The window scale (RFC 7323 §2), if it is offered.
    pub(crate) window_scale: Option<u8>,
    /// SACK permitted (RFC 2018 §2).
    pub(crate) sack: bool,
}

impl SynOptions {
    /// Those of a segment that is no SYN.
    pub(crate) const NONE: Self = Self { mss: 0, window_scale: None, sack: false };
}

/// The timestamps option (RFC 7323 §3), in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timestamps {
    /// TSval: the sender's clock.
    pub(crate) value: u32,
    /// TSecr: the latest that it has from its peer; 0 without an ACK.
    pub(crate) echo: u32,
}

/// A range of sequence numbers that the receiver has: from `start` to before `end`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Block {
    pub(crate) start: Seq,
    pub(crate) end: Seq,
}

impl Block {
    /// True if all of `other` is in it.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.start.at_most(other.start) && other.end.at_most(self.end)
    }
}

/// The SACK option (RFC 2018 §3). The first block may report a duplicate (RFC 2883).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Sacks {
    blocks: [Block; Self::MAX],
    count: u8,
}

impl Sacks {
    /// How many blocks an option has room for.
    const MAX: usize = 4;
    /// How many it has room for beside timestamps.
    pub(crate) const BESIDE_TIMESTAMPS: usize = 3;

    /// Adds a block, if there is room for it.
    pub(crate) fn push(&mut self, block: Block) {
        if let Some(place) = self.blocks.get_mut(usize::from(self.count)) {
            *place = block;
            self.count += 1;
        }
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks[..usize::from(self.count)]
    }
}

/// A segment, in the words of RFC 9293 §3.3.1.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// SEG.SEQ
    pub(crate) seq: Seq,
    /// SEG.ACK, if the ACK bit is set.
    pub(crate) ack: Seq,
    /// SEG.WND in bytes: the field of the header, shifted by the sender's window scale.
    pub(crate) window: u32,
    pub(crate) flags: Flags,
    /// How often this was sent before: these bytes, this SYN, or this acknowledgement. Not on the
    /// wire: it is how a plan names a packet.
    pub(crate) attempt: u16,
    pub(crate) syn: SynOptions,
    pub(crate) timestamps: Option<Timestamps>,
    /// Boxed, since only acknowledgements of a stream with gaps have it.
    pub(crate) sacks: Option<Box<Sacks>>,
    pub(crate) payload: Option<Payload>,
}

impl Segment {
    /// Drops all that it owns, where it stands.
    #[inline(always)]
    pub(crate) fn forget_contents(&mut self) {
        self.sacks = None;
        self.payload = None;
    }

    /// A segment without options and data.
    pub(crate) const fn bare(seq: Seq, ack: Seq, window: u32, flags: Flags) -> Self {
        Self {
            seq,
            ack,
            window,
            flags,
            attempt: 0,
            syn: SynOptions::NONE,
            timestamps: None,
            sacks: None,
            payload: None,
        }
    }

    /// How many bytes of data it carries.
    pub(crate) fn data_len(&self) -> u32 {
        self.payload.as_ref().map_or(0, |payload| payload.len() as u32)
    }

    /// SEG.LEN: data, and one each for SYN and FIN.
    pub(crate) fn len(&self) -> u32 {
        let controls = self.flags.has(Flags::SYN) as u32 + self.flags.has(Flags::FIN) as u32;
        self.data_len() + controls
    }

    /// The number after its last.
    pub(crate) fn end(&self) -> Seq {
        self.seq.plus(self.len())
    }

    /// The reset that answers this segment when no connection takes it (RFC 9293 §3.10.7.1).
    pub(crate) fn refusal(&self) -> Self {
        let (seq, ack, flags) = if self.flags.has(Flags::ACK) {
            (self.ack, Seq(0), Flags::RST)
        } else {
            (Seq(0), self.end(), Flags::RST.with(Flags::ACK))
        };
        Self::bare(seq, ack, 0, flags)
    }

    /// What a trace calls it.
    pub(crate) fn kind(&self) -> PacketKind {
        let has = |flag| self.flags.has(flag);
        if has(Flags::RST) {
            PacketKind::Reset
        } else if has(Flags::SYN) {
            if has(Flags::ACK) { PacketKind::SynAck } else { PacketKind::Syn }
        } else if has(Flags::FIN) {
            PacketKind::Fin
        } else if self.payload.is_some() {
            PacketKind::Data
        } else {
            PacketKind::Ack
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let (low, high) = (Seq(5), Seq(u32::MAX - 5));
        assert!(high.before(low) && !low.before(high));
        assert_eq!((high.plus(11), low.since(high)), (low, 11));
        assert!(low.at_most(low));
        assert_eq!((low.max(high), low.min(high)), (low, high));
    }

    #[test]
    fn a_number_far_behind_is_not_within() {
        let (first, last) = (Seq(u32::MAX - 5), Seq(5));
        assert!([first, Seq(0), last].iter().all(|seq| seq.is_within(first, last)));
        let outside = [first.minus(1), last.plus(1), first.minus(1 << 31), first.minus(3 << 30)];
        assert!(!outside.iter().any(|seq| seq.is_within(first, last)));
    }

    #[test]
    fn a_fifth_block_has_no_room() {
        let mut sacks = Sacks::default();
        for n in 0..5 {
            sacks.push(Block { start: Seq(n * 10), end: Seq(n * 10 + 5) });
        }
        assert_eq!(sacks.blocks().len(), 4);
    }
}
