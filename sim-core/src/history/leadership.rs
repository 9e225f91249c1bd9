//! At most one leader a term.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::rc::Rc;

use super::anomaly::{self, Anomaly, Deed};
use crate::Time;

/// Who led each term: election safety, as Raft calls it (Ongaro and Ousterhout, 2014, §5.2).
///
/// Clones are the same record. A node that leads says so, as often as it likes; what is not known for
/// sure is not recorded: a candidate that crashed before it knew that it had won led nothing. Each record
/// costs the logarithm of the number of terms.
///
/// ```
/// use sim_core::history::Leaders;
///
/// let leaders = Leaders::new();
/// leaders.leads(1, "n1")?;
/// leaders.leads(2, "n2")?; // the next term has a leader of its own
/// leaders.leads(1, "n1")?; // n1 does not know yet
/// assert_eq!(leaders.of(2), Some("n2"));
/// assert!(leaders.leads(2, "n3").is_err());
/// # Ok::<(), sim_core::history::Anomaly>(())
/// ```
pub struct Leaders<N>(Rc<RefCell<Terms<N>>>);

/// Who was the first to lead each term, and when.
type Terms<N> = BTreeMap<u64, (N, Option<Time>)>;

impl<N: PartialEq + Clone + Display> Leaders<N> {
    /// Nobody has led yet.
    pub fn new() -> Self {
        Self(Rc::default())
    }

    /// `node` leads `term`.
    ///
    /// # Errors
    ///
    /// Another node does so, or did.
    pub fn leads(&self, term: u64, node: N) -> Result<(), Anomaly> {
        let mut terms = self.0.borrow_mut();
        let now = anomaly::now();
        let (first, since) = terms.entry(term).or_insert_with(|| (node.clone(), now));
        if *first == node {
            return Ok(());
        }
        let deed = |node: &N, time| Deed::new(node, time, format!("leads term {term}"));
        let deeds = vec![deed(first, *since), deed(&node, now)];
        Err(Anomaly::new("one leader a term", format!("two lead term {term}"), deeds))
    }

    /// Who was the first to lead `term`.
    pub fn of(&self, term: u64) -> Option<N> {
        self.0.borrow().get(&term).map(|(node, _)| node.clone())
    }
}

impl<N: PartialEq + Clone + Display> Default for Leaders<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N> Clone for Leaders<N> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<N> Debug for Leaders<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaders").field("terms", &self.0.borrow().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    #[test]
    fn two_leaders_of_a_term_are_named_with_the_times_of_both() {
        let leaders = Leaders::new();
        let lp = testing::new_loop();
        let (handle, record) = ((*lp).clone(), leaders.clone());
        let found = lp.run_until_complete(async move {
            record.leads(4, "n1").unwrap();
            handle.sleep(Duration::from_secs(2)).await;
            record.leads(4, "n1").unwrap();
            record.leads(5, "n2").unwrap();
            record.leads(4, "n2").unwrap_err()
        });
        let expected = "one leader a term: two lead term 4\n  0.000000000s n1: leads term 4\n  \
                        2.000000000s n2: leads term 4";
        assert_eq!(found.unwrap().to_string(), expected);
        assert_eq!((leaders.of(4), leaders.of(5), leaders.of(6)), (Some("n1"), Some("n2"), None));
    }
}
