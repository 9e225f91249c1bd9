//! Packets whose bits change on the way.

use crate::decisions::below;
use crate::link::Probability;

/// How a link corrupts packets, and whether anybody notices.
///
/// A corrupt segment never arrives: TCP's checksum finds it. So does UDP's, unless the link is one
/// that corrupts behind it, as hardware with a fault does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Corruption {
    /// How likely it is for each packet.
    pub probability: Probability,
    /// True if datagrams are delivered corrupt, false if their checksum finds it.
    pub delivers: bool,
}

/// What is wrong with a corrupt datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// This bit is the other one.
    Flipped(u64),
    /// Only so many bytes are left.
    CutTo(usize),
}

impl Damage {
    /// The damage to a datagram of `length` bytes by what is left of a draw: a flipped bit or a
    /// truncation, one as likely as the other. `None` if there is nothing to damage.
    pub(crate) fn choose(rest: u64, length: usize) -> Option<Self> {
        let length_bits = length as u64 * 8;
        if length == 0 {
            None
        } else if rest >> 63 == 0 {
            Some(Self::Flipped(below(rest << 1, length_bits)))
        } else {
            Some(Self::CutTo(below(rest << 1, length as u64) as usize))
        }
    }

    /// The damage that a value of a decision about a datagram of `length` bytes stands for. `None` if
    /// there is nothing to damage.
    pub(crate) fn of_value(value: u64, length: usize) -> Option<Self> {
        let bits = length as u64 * 8;
        // A value that was meant for a longer one does something, too.
        let rest = value.saturating_sub(1).checked_rem(bits + length as u64)?;
        Some(match rest.checked_sub(bits) {
            None => Self::Flipped(rest),
            Some(left) => Self::CutTo(left as usize),
        })
    }

    /// It as the value of a decision about a datagram of `length` bytes; 0 would be none.
    pub(crate) fn value(self, length: usize) -> u64 {
        match self {
            Self::Flipped(bit) => 1 + bit,
            Self::CutTo(left) => 1 + length as u64 * 8 + left as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_covers_every_bit_and_every_length() {
        let step = u64::MAX / 1_000;
        let all: Vec<Damage> = (0..1_000).filter_map(|n| Damage::choose(n * step, 3)).collect();
        for bit in 0..24 {
            assert!(all.contains(&Damage::Flipped(bit)));
        }
        for left in 0..3 {
            assert!(all.contains(&Damage::CutTo(left)));
        }
        let mut values: Vec<u64> = all.iter().map(|damage| damage.value(3)).collect();
        for damage in &all {
            assert_eq!(Damage::of_value(damage.value(3), 3), Some(*damage));
        }
        values.sort_unstable();
        values.dedup();
        assert_eq!(values, (1..=27).collect::<Vec<_>>());
        assert_eq!((Damage::choose(5, 0), Damage::of_value(5, 0)), (None, None));
        assert_eq!(Damage::of_value(28, 3), Some(Damage::Flipped(0)));
    }
}
