//! The state, and how a copy of it is kept.

use super::ACCOUNTS;

/// One change of the state. They are numbered from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposit {
    /// Its number.
    pub number: u64,
    /// The account.
    pub account: u8,
    /// How much is added to it.
    pub amount: u64,
}

/// What is in each account, after some deposits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The number of the last deposit.
    pub version: u64,
    /// The accounts.
    pub accounts: [u64; ACCOUNTS],
}

impl State {
    /// Takes in the next deposit. One to an account that there is not counts and changes nothing.
    pub fn apply(&mut self, deposit: Deposit) {
        self.version = deposit.number;
        if let Some(account) = self.accounts.get_mut(usize::from(deposit.account)) {
            *account = account.wrapping_add(deposit.amount);
        }
    }
}

/// A copy of a state: updates that come before the snapshot are kept until it is there.
#[derive(Debug, Default)]
pub struct Replica {
    state: Option<State>,
    early: Vec<Deposit>,
}

impl Replica {
    /// The state, once the snapshot is there.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// An update came.
    pub fn update(&mut self, deposit: Deposit) {
        match &mut self.state {
            None => self.early.push(deposit),
            Some(state) if deposit.number > state.version => state.apply(deposit),
            Some(_) => {}
        }
    }

    /// The snapshot came.
    pub fn begin(&mut self, snapshot: State) {
        self.state = Some(snapshot);
        for deposit in std::mem::take(&mut self.early) {
            self.update(deposit);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn deposit(number: u64) -> Deposit {
        Deposit { number, account: (number % 3) as u8, amount: 10 * number }
    }

    /// The state after so many deposits.
    pub(in super::super) fn state(deposits: u64) -> State {
        let mut state = State::default();
        (1..=deposits).for_each(|number| state.apply(deposit(number)));
        state
    }

    #[test]
    fn a_copy_is_the_same_whenever_the_snapshot_comes() {
        for version in 0..=5 {
            for before in version..=5 {
                // Subscribed after `from` deposits, which is not after the snapshot.
                for from in 0..=version {
                    let mut copy = Replica::default();
                    (from + 1..=before).for_each(|number| copy.update(deposit(number)));
                    copy.begin(state(version));
                    (before + 1..=5).for_each(|number| copy.update(deposit(number)));
                    assert_eq!(copy.state(), Some(&state(5)), "{version} {before} {from}");
                }
            }
        }
    }
}
