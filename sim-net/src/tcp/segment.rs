//! Segments and sequence numbers (RFC 9293 §3.1, §3.4).

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

    /// The bits as a header has them.
    pub(crate) const fn bits(self) -> u8 {
        self.0
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
    /// The maximum segment size option; only on a SYN, else 0.
    pub(crate) mss: u16,
    pub(crate) payload: Option<Payload>,
}

impl Segment {
    /// How many bytes of data it carries.
    pub(crate) fn data_len(&self) -> u32 {
        self.payload.as_ref().map_or(0, |payload| payload.len() as u32)
    }

    /// SEG.LEN: data, and one each for SYN and FIN.
    pub(crate) fn len(&self) -> u32 {
        let controls = self.flags.has(Flags::SYN) as u32 + self.flags.has(Flags::FIN) as u32;
        self.data_len() + controls
    }

    /// The reset that answers this segment when no connection takes it (RFC 9293 §3.10.7.1).
    pub(crate) fn refusal(&self) -> Self {
        let (seq, ack, flags) = if self.flags.has(Flags::ACK) {
            (self.ack, Seq(0), Flags::RST)
        } else {
            (Seq(0), self.seq.plus(self.len()), Flags::RST.with(Flags::ACK))
        };
        Self { seq, ack, window: 0, flags, mss: 0, payload: None }
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
    }
}
