//! Views, and the register of the witness that decides between them.

/// The number of a node: 0 or 1.
pub type Node = u8;

/// Who serves: a number that only grows, the primary, and who has every acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its number.
    pub number: u64,
    /// The node that serves clients in it.
    pub primary: Node,
    /// True if the other node is the backup, without whom the primary acknowledges nothing; false if
    /// the primary serves alone.
    pub paired: bool,
}

impl View {
    /// The bytes of an encoded view.
    pub const BYTES: usize = 10;
    /// The first view: both nodes are empty, and have everything.
    pub const FIRST: Self = Self { number: 1, primary: 0, paired: true };

    /// True if `node` has every write that was acknowledged up to this view.
    pub fn has(self, node: Node) -> bool {
        self.paired || self.primary == node
    }

    /// The next view, with `node` as its primary.
    #[must_use]
    pub fn next(self, node: Node, paired: bool) -> Self {
        Self { number: self.number + 1, primary: node, paired }
    }

    /// The number as 64 bits, big-endian; the primary; whether it is paired.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        (bytes[8], bytes[9]) = (self.primary, u8::from(self.paired));
        bytes
    }

    /// The view that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*number);
        match *rest {
            [primary @ 0..=1, paired @ 0..=1] => {
                Some(Self { number, primary, paired: paired == 1 })
            }
            _ => None,
        }
    }
}

/// What the witness keeps: the current view. A node that wants another one proposes it; the first
/// proposal for a number wins.
///
/// A value without I/O. What it answers must be durable.
///
/// ```
/// use scenarios::failover::{Register, View};
///
/// let mut register = Register::default();
/// let backup_alone = View::FIRST.next(1, false);
/// assert!(register.propose(backup_alone));
/// assert!(!register.propose(View::FIRST.next(0, false)));
/// assert_eq!(register.view(), backup_alone);
/// // Node 0 does not have what node 1 acknowledged alone.
/// assert!(!register.propose(backup_alone.next(0, false)));
/// ```
#[derive(Debug)]
pub struct Register {
    view: View,
}

impl Default for Register {
    fn default() -> Self {
        Self { view: View::FIRST }
    }
}

impl Register {
    /// The current view.
    pub fn view(&self) -> View {
        self.view
    }

    /// Takes the current view from the store.
    pub fn restore(&mut self, view: View) {
        self.view = view;
    }

    /// Makes `next` the current view, if its number is the next one and its primary has every
    /// acknowledged write. Says whether `next` is the current view now: a proposal that is repeated
    /// is no other one.
    pub fn propose(&mut self, next: View) -> bool {
        if next.number == self.view.number + 1 && self.view.has(next.primary) {
            self.view = next;
        }
        self.view == next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_the_wire() {
        for view in [View::FIRST, View { number: u64::MAX, primary: 1, paired: false }] {
            assert_eq!(View::decode(&view.encode()), Some(view));
            assert_eq!(View::decode(&view.encode()[..9]), None);
        }
        assert_eq!(View::decode(&[0, 0, 0, 0, 0, 0, 0, 1, 2, 0]), None);
    }

    #[test]
    fn of_two_proposals_for_a_number_the_first_wins() {
        let mut register = Register::default();
        let (zero, one) = (View::FIRST.next(0, false), View::FIRST.next(1, false));
        assert!(register.propose(zero));
        assert!(!register.propose(one));
        assert!(register.propose(zero), "it is repeated");
        assert!(!register.propose(zero.next(1, false)), "1 lacks what 0 acknowledged");
        assert!(register.propose(zero.next(0, true)), "1 has caught up");
        assert!(register.propose(zero.next(0, true).next(1, false)));
    }
}
