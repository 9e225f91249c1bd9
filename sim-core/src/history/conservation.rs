//! What moves about is neither lost nor made on the way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::rc::Rc;

use super::anomaly::{self, Anomaly, Deed};
use crate::Time;

const CLAIM: &str = "conservation";

/// Who holds how much of something that is not to be lost, nor to come out of nothing: bytes of a stream, the credit of
/// a window, money.
///
/// Clones are the same record. Amounts are [made](Self::makes), [moved](Self::moves) from holder to holder, also to one
/// that stands for what is under way, and [used up](Self::uses). Nobody gives what he does not have; and what is said
/// to be [at rest](Self::all_with) in the end is with those that are named. Each record costs the logarithm of the number
/// of holders.
///
/// ```
/// use sim_core::history::Ledger;
///
/// let credit = Ledger::new("credit");
/// credit.makes("sender", 100)?;
/// credit.moves("sender", "receiver", 60)?; // 60 bytes are sent,
/// credit.moves("receiver", "sender", 60)?; // and granted again when they are read
/// credit.all_with(&["sender"])?;
/// credit.moves("sender", "receiver", 90)?;
/// assert!(credit.moves("sender", "receiver", 20).is_err(), "10 are left");
/// assert_eq!((credit.held_by(&"sender"), credit.total()), (10, 100));
/// assert!(credit.all_with(&["sender"]).is_err(), "90 never came back");
/// # Ok::<(), sim_core::history::Anomaly>(())
/// ```
pub struct Ledger<H>(Rc<Record<H>>);

struct Record<H> {
    /// What the amounts are of.
    what: &'static str,
    total: Cell<u64>,
    held: RefCell<BTreeMap<H, Held>>,
}

/// How much somebody holds, and since when it is so much.
#[derive(Clone, Copy, Default)]
struct Held {
    amount: u64,
    since: Option<Time>,
}

impl<H: Ord + Clone + Display> Ledger<H> {
    /// Nobody holds anything of `what`, yet.
    pub fn new(what: &'static str) -> Self {
        Self(Rc::new(Record { what, total: Cell::new(0), held: RefCell::default() }))
    }

    /// So much more comes into being, with `holder`.
    ///
    /// # Errors
    ///
    /// All there is would be more than 2⁶⁴ − 1; nothing has changed then.
    pub fn makes(&self, holder: H, amount: u64) -> Result<(), Anomaly> {
        let Some(total) = self.total().checked_add(amount) else {
            return Err(self.anomaly("is more than can be counted", &holder, "makes", amount));
        };
        self.0.total.set(total);
        self.change(holder, |held| held + amount);
        Ok(())
    }

    /// So much goes from one holder to another.
    ///
    /// # Errors
    ///
    /// The first has less than that; nothing has changed then.
    pub fn moves(&self, from: H, to: H, amount: u64) -> Result<(), Anomaly> {
        self.takes(from, "gives", amount)?;
        self.change(to, |held| held + amount);
        Ok(())
    }

    /// So much is used up by who holds it, and is no more.
    ///
    /// # Errors
    ///
    /// The holder has less than that; nothing has changed then.
    pub fn uses(&self, holder: H, amount: u64) -> Result<(), Anomaly> {
        self.takes(holder, "uses", amount)?;
        self.0.total.set(self.total() - amount);
        Ok(())
    }

    fn takes(&self, holder: H, how: &str, amount: u64) -> Result<(), Anomaly> {
        if self.held_by(&holder) < amount {
            return Err(self.anomaly("comes out of nothing", &holder, how, amount));
        }
        self.change(holder, |held| held - amount);
        Ok(())
    }

    fn change(&self, holder: H, change: impl FnOnce(u64) -> u64) {
        let mut held = self.0.held.borrow_mut();
        let held = held.entry(holder).or_default();
        let amount = change(held.amount);
        if amount != held.amount {
            *held = Held { amount, since: anomaly::now() };
        }
    }

    /// How much somebody holds.
    pub fn held_by(&self, holder: &H) -> u64 {
        self.0.held.borrow().get(holder).map_or(0, |held| held.amount)
    }

    /// How much all hold together: what was made and is not used up.
    pub fn total(&self) -> u64 {
        self.0.total.get()
    }

    /// Whether all there is rests with these holders.
    ///
    /// # Errors
    ///
    /// Others hold something: they are named, with how much, and since when it is so much.
    pub fn all_with(&self, holders: &[H]) -> Result<(), Anomaly> {
        let held = self.0.held.borrow();
        let others = held.iter().filter(|(who, held)| held.amount > 0 && !holders.contains(who));
        let deeds = others.map(|(who, held)| {
            let what = format!("holds {} of {}", held.amount, self.0.what);
            Deed::new(who, held.since, what)
        });
        let deeds: Vec<Deed> = deeds.collect();
        if deeds.is_empty() {
            return Ok(());
        }
        Err(Anomaly::new(CLAIM, format!("{} is not where it should be", self.0.what), deeds))
    }

    fn anomaly(&self, wrong: &str, holder: &H, how: &str, amount: u64) -> Anomaly {
        let held = self.0.held.borrow().get(holder).copied().unwrap_or_default();
        let deeds = vec![
            Deed::new(holder, held.since, format!("holds {}", held.amount)),
            Deed::new(holder, anomaly::now(), format!("{how} {amount}")),
        ];
        Anomaly::new(CLAIM, format!("{} {wrong}", self.0.what), deeds)
    }
}

impl<H> Clone for Ledger<H> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<H> Debug for Ledger<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { what, held, .. } = &*self.0;
        f.debug_struct("Ledger")
            .field("what", what)
            .field("holders", &held.borrow().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    #[test]
    fn who_gives_what_he_does_not_have_is_named_with_what_he_has_and_since_when() {
        let credit = Ledger::new("credit");
        let lp = testing::new_loop();
        let (handle, record) = ((*lp).clone(), credit.clone());
        let told = lp.run_until_complete(async move {
            record.makes("a", 7).unwrap();
            handle.sleep(Duration::from_secs(1)).await;
            record.moves("a", "b", 3).unwrap();
            record.moves("a", "b", 0).unwrap();
            handle.sleep(Duration::from_secs(1)).await;
            [record.moves("a", "b", 5), record.uses("c", 1), record.all_with(&["a"])]
                .map(|result| result.unwrap_err().to_string())
        });
        let told = told.unwrap();
        let expected = [
            "conservation: credit comes out of nothing\n  1.000000000s a: holds 4\n  2.000000000s a: gives 5",
            "conservation: credit comes out of nothing\n  c: holds 0\n  2.000000000s c: uses 1",
            "conservation: credit is not where it should be\n  1.000000000s b: holds 3 of credit",
        ];
        assert_eq!(told, expected);
        assert_eq!((credit.held_by(&"a"), credit.held_by(&"b"), credit.total()), (4, 3, 7));
    }

    #[test]
    fn the_largest_amounts_and_none_are_told_apart() {
        let bytes = Ledger::new("bytes");
        bytes.makes(1, u64::MAX).unwrap();
        assert!(bytes.makes(2, 1).is_err());
        bytes.makes(2, 0).unwrap();
        bytes.moves(1, 1, u64::MAX).unwrap();
        bytes.moves(1, 2, u64::MAX).unwrap();
        assert_eq!((bytes.held_by(&1), bytes.total()), (0, u64::MAX));
        assert!(bytes.all_with(&[2]).is_ok() && bytes.all_with(&[1]).is_err());
        bytes.uses(2, u64::MAX).unwrap();
        assert!(bytes.all_with(&[]).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is asked for, what is there is what was made and not used.
        #[test]
        fn the_sum_is_what_was_made_and_not_used(
            steps in proptest::collection::vec((0_u8..3, 0_u8..4, 0_u8..4, 0_u64..20), 0..200),
        ) {
            let ledger = Ledger::new("money");
            let mut sum = 0;
            for (step, one, other, amount) in steps {
                match step {
                    0 => ledger.makes(one, amount).map(|()| sum += amount).unwrap(),
                    1 => drop(ledger.uses(one, amount).map(|()| sum -= amount)),
                    _ => drop(ledger.moves(one, other, amount)),
                }
                prop_assert_eq!(ledger.total(), sum);
                prop_assert_eq!((0..4).map(|who| ledger.held_by(&who)).sum::<u64>(), sum);
            }
        }
    }
}
