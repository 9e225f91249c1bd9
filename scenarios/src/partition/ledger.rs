//! What was executed, in order: the state of the server.

use std::collections::BTreeMap;

/// One deposit: the number of the call that asked for it, and its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number of the call.
    pub number: u64,
    /// What is added to the balance.
    pub amount: u64,
}

impl Entry {
    /// The bytes of an encoded entry.
    pub const BYTES: usize = 16;

    /// Two numbers of 64 bits, big-endian.
    pub fn encode(self) -> [u8; Self::BYTES] {
        (u128::from(self.number) << 64 | u128::from(self.amount)).to_be_bytes()
    }

    /// The entry that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { number: (both >> 64) as u64, amount: both as u64 })
    }
}

/// An account: its deposits, and the answer that each of them got.
///
/// A value without I/O. It is a function of its entries: replaying them after a restart gives the
/// same answers to the same calls.
///
/// ```
/// use scenarios::partition::{Entry, Ledger};
///
/// let mut ledger = Ledger::default();
/// assert_eq!(ledger.execute(Entry { number: 7, amount: 30 }), 30);
/// assert_eq!(ledger.execute(Entry { number: 9, amount: 12 }), 42);
/// assert_eq!(ledger.answer_to(7), Some(30));
/// assert_eq!(ledger.answer_to(8), None);
/// ```
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    balance: u64,
    answers: BTreeMap<u64, u64>,
}

impl Ledger {
    /// Executes a deposit: the balance after it, which is the answer.
    pub fn execute(&mut self, entry: Entry) -> u64 {
        self.entries.push(entry);
        self.balance = self.balance.wrapping_add(entry.amount);
        self.answers.insert(entry.number, self.balance);
        self.balance
    }

    /// What the call of that number was answered, if it was executed.
    pub fn answer_to(&self, number: u64) -> Option<u64> {
        self.answers.get(&number).copied()
    }

    /// Forgets which calls were executed, though not what they did: what a server does that keeps its
    /// duplicate filter in memory alone.
    pub fn forget_answers(&mut self) {
        self.answers.clear();
    }

    /// Everything that was executed, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_disk() {
        let entry = Entry { number: u64::MAX - 1, amount: 3 };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        assert_eq!(Entry::decode(&entry.encode()[1..]), None);
    }

    #[test]
    fn a_replayed_ledger_gives_the_same_answers() {
        let (mut first, mut again) = (Ledger::default(), Ledger::default());
        for number in 0..20 {
            first.execute(Entry { number, amount: number * number });
        }
        for entry in first.entries() {
            again.execute(*entry);
        }
        for number in 0..21 {
            assert_eq!(first.answer_to(number), again.answer_to(number));
        }
        again.forget_answers();
        assert_eq!((again.answer_to(3), again.entries()), (None, first.entries()));
    }
}
