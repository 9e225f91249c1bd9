//! All replicas hold the same in the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::rc::Rc;

use super::anomaly::{self, Anomaly, Deed};
use crate::Time;

const CLAIM: &str = "convergence";

/// What each replica holds, as it was last seen.
///
/// Clones are the same record. It is asked after the quiesce: before that replicas may well differ. A
/// replica that could not be asked may hold anything, so nothing has converged as long as there is one.
/// Each record costs the logarithm of the number of replicas; a check compares each with one other.
///
/// ```
/// use sim_core::history::Replicas;
///
/// let replicas = Replicas::new();
/// replicas.holds("n1", 7);
/// replicas.holds("n2", 5);
/// assert!(replicas.converged().is_err());
/// replicas.holds("n2", 7);
/// replicas.is_silent("n3"); // it did not answer
/// assert!(replicas.converged().is_err());
/// replicas.leaves("n3"); // it is none any more
/// assert!(replicas.converged().is_ok());
/// assert!(replicas.converged_on(&5).is_err());
/// ```
pub struct Replicas<N, V>(Rc<RefCell<BTreeMap<N, Seen<V>>>>);

/// What was seen of a replica: what it holds, if that is known, and since when it was seen so.
struct Seen<V> {
    value: Option<V>,
    since: Option<Time>,
}

impl<N: Ord + Display, V: PartialEq + Debug> Replicas<N, V> {
    /// There are none yet.
    pub fn new() -> Self {
        Self(Rc::default())
    }

    /// `replica` holds `value` now.
    pub fn holds(&self, replica: N, value: V) {
        self.see(replica, Some(value));
    }

    /// Nobody knows what `replica` holds now: it is down, or did not answer.
    pub fn is_silent(&self, replica: N) {
        self.see(replica, None);
    }

    /// `replica` is none any more.
    pub fn leaves(&self, replica: N) {
        self.0.borrow_mut().remove(&replica);
    }

    fn see(&self, replica: N, value: Option<V>) {
        let mut seen = self.0.borrow_mut();
        // Since when it is as it is.
        if seen.get(&replica).is_none_or(|before| before.value != value) {
            seen.insert(replica, Seen { value, since: anomaly::now() });
        }
    }

    /// Whether all replicas hold the same.
    ///
    /// # Errors
    ///
    /// Two that do not, or one of which nobody knows.
    pub fn converged(&self) -> Result<(), Anomaly> {
        let replicas = self.0.borrow();
        let mut known = replicas.iter().filter(|(_, seen)| seen.value.is_some());
        let Some(first) = known.next() else { return self.all_known() };
        match known.find(|(_, seen)| seen.value != first.1.value) {
            None => self.all_known(),
            Some(other) => {
                let deeds = vec![deed(first), deed(other)];
                Err(Anomaly::new(CLAIM, "two replicas differ", deeds))
            }
        }
    }

    /// Whether all replicas hold `value`.
    ///
    /// # Errors
    ///
    /// One that does not, or of which nobody knows.
    pub fn converged_on(&self, value: &V) -> Result<(), Anomaly> {
        let replicas = self.0.borrow();
        let differs = |seen: &Seen<V>| seen.value.as_ref().is_some_and(|held| held != value);
        match replicas.iter().find(|(_, seen)| differs(seen)) {
            None => self.all_known(),
            Some(other) => {
                let what = format!("a replica does not hold {value:?}");
                Err(Anomaly::new(CLAIM, what, vec![deed(other)]))
            }
        }
    }

    fn all_known(&self) -> Result<(), Anomaly> {
        match self.0.borrow().iter().find(|(_, seen)| seen.value.is_none()) {
            None => Ok(()),
            Some(silent) => {
                Err(Anomaly::new(CLAIM, "unknown: a replica is silent", vec![deed(silent)]))
            }
        }
    }
}

fn deed<N: Display, V: Debug>((replica, seen): (&N, &Seen<V>)) -> Deed {
    let what = match &seen.value {
        Some(value) => format!("holds {value:?}"),
        None => "is silent".to_owned(),
    };
    Deed::new(replica, seen.since, what)
}

impl<N: Ord + Display, V: PartialEq + Debug> Default for Replicas<N, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N, V> Clone for Replicas<N, V> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<N, V> Debug for Replicas<N, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("replicas", &self.0.borrow().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    #[test]
    fn replicas_that_differ_are_named_with_what_they_hold_and_since_when() {
        let replicas = Replicas::new();
        let lp = testing::new_loop();
        let (handle, record) = ((*lp).clone(), replicas.clone());
        lp.run_until_complete(async move {
            for _ in 0..3 {
                record.holds("n1", 7);
                handle.sleep(Duration::from_secs(1)).await;
                record.holds("n2", 5);
            }
        })
        .unwrap();
        let expected = "convergence: two replicas differ\n  0.000000000s n1: holds 7\n  \
                        1.000000000s n2: holds 5";
        assert_eq!(replicas.converged().unwrap_err().to_string(), expected);
        let on = replicas.converged_on(&7).unwrap_err().to_string();
        assert_eq!(on, "convergence: a replica does not hold 7\n  1.000000000s n2: holds 5");
    }

    #[test]
    fn a_silent_replica_is_no_yes_and_hides_no_difference() {
        let replicas = Replicas::new();
        assert!(replicas.converged().is_ok());
        replicas.is_silent(3);
        let silent = "convergence: unknown: a replica is silent\n  3: is silent";
        assert_eq!(replicas.converged().unwrap_err().to_string(), silent);
        replicas.holds(1, 'a');
        assert_eq!(replicas.converged_on(&'a').unwrap_err().to_string(), silent);
        replicas.holds(4, 'b');
        assert_eq!(replicas.converged().unwrap_err().what, "two replicas differ");
        replicas.holds(3, 'b');
        replicas.leaves(1);
        assert!(replicas.converged().is_ok() && replicas.converged_on(&'b').is_ok());
    }
}
