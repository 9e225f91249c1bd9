//! Whose turn it is: cases are handed out in order, none is left out, and no thread gets far ahead of the
//! slowest.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many cases are handed out beyond the first that is not gathered yet. What came of them is kept until
/// that one is done, so this bounds what a search has in memory.
const AHEAD_MAX: u64 = 4_096;

/// Why a search ended before its last case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// Its wall time was used up.
    Budget,
    /// It was told to stop.
    Told,
}

/// Hands out the numbers of cases to the threads that run them.
#[derive(Debug)]
pub(crate) struct Turns {
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Debug)]
struct Progress {
    /// The case that is handed out next.
    next: u64,
    /// No case from here on is.
    end: u64,
    /// All cases before this one are gathered.
    gathered: u64,
    cut: Option<Cut>,
}

impl Progress {
    fn is_far_ahead(&self) -> bool {
        self.next < self.end && self.next - self.gathered.min(self.next) >= AHEAD_MAX
    }
}

impl Turns {
    /// From one number up to another, without it; all before are gathered.
    pub(crate) fn new(next: u64, end: u64) -> Self {
        let progress = Progress { next, end, gathered: next, cut: None };
        Self { progress: Mutex::new(progress), moved: Condvar::new() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next case, as soon as it is not too far ahead; `None` when there is none left to run, or there is a reason
    /// to end. Whoever has to wait does `before_waiting` first: what it keeps may be what others wait for.
    pub(crate) fn take(
        &self,
        before_waiting: impl FnOnce(),
        reason_to_end: impl FnOnce() -> Option<Cut>,
    ) -> Option<u64> {
        let mut progress = self.progress();
        if progress.is_far_ahead() {
            drop(progress);
            before_waiting();
            let waited = self.moved.wait_while(self.progress(), |progress| progress.is_far_ahead());
            progress = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let next = progress.next;
        if next >= progress.end {
            return None;
        }
        let cut = reason_to_end();
        if cut.is_some() {
            (progress.cut, progress.end) = (cut, next);
            self.moved.notify_all();
            return None;
        }
        progress.next += 1;
        Some(next)
    }

    /// Ends with a case: none behind it is handed out any more.
    pub(crate) fn end_with(&self, index: u64) {
        let mut progress = self.progress();
        progress.end = progress.end.min(index + 1);
        self.moved.notify_all();
    }

    /// Says that all cases before this one are gathered.
    pub(crate) fn gathered(&self, before: u64) {
        self.progress().gathered = before;
        self.moved.notify_all();
    }

    /// Hands out nothing more, and lets go who waits. A thread that has left never comes back with its case.
    pub(crate) fn close(&self) {
        let mut progress = self.progress();
        progress.end = progress.end.min(progress.next);
        self.moved.notify_all();
    }

    /// Why it ended before its last case, if it did.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.progress().cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> Option<Cut> {
        None
    }

    #[test]
    fn cases_are_handed_out_in_order_until_there_are_no_more() {
        let turns = Turns::new(0, 3);
        let taken: Vec<u64> = std::iter::from_fn(|| turns.take(|| {}, never)).collect();
        assert_eq!((taken, turns.cut()), (vec![0, 1, 2], None));
    }

    #[test]
    fn a_reason_to_end_holds_for_all_that_come_after() {
        for cut in [Cut::Budget, Cut::Told] {
            let turns = Turns::new(0, 3);
            assert_eq!(turns.take(|| {}, never), Some(0));
            assert_eq!(turns.take(|| {}, || Some(cut)), None);
            assert_eq!((turns.take(|| {}, never), turns.cut()), (None, Some(cut)));
        }
    }

    #[test]
    fn behind_a_case_that_ends_it_nothing_is_run() {
        let turns = Turns::new(0, 9);
        for index in 0..4 {
            assert_eq!(turns.take(|| {}, never), Some(index));
        }
        turns.end_with(2);
        turns.end_with(3);
        assert_eq!((turns.take(|| {}, never), turns.cut()), (None, None));
    }

    #[test]
    fn nobody_gets_further_ahead_than_what_is_gathered_allows() {
        let turns = Turns::new(0, u64::MAX);
        for _ in 0..AHEAD_MAX {
            assert!(!turns.progress().is_far_ahead());
            assert!(turns.take(|| {}, never).is_some());
        }
        assert!(turns.progress().is_far_ahead());
        turns.gathered(1);
        assert_eq!(turns.take(|| {}, never), Some(AHEAD_MAX));
        assert!(turns.progress().is_far_ahead());
        // Who waits is let go by who leaves.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.take(|| {}, never));
            turns.close();
            assert_eq!(waiting.join().expect("it does not panic"), None);
        });
    }

    #[test]
    fn whoever_has_to_wait_tells_first_what_others_wait_for() {
        let turns = Turns::new(0, u64::MAX);
        let told = std::cell::Cell::new(0);
        let tell = || {
            told.set(told.get() + 1);
            let next = turns.progress().next;
            turns.gathered(next);
        };
        for number in 0..3 * AHEAD_MAX {
            assert_eq!(turns.take(tell, never), Some(number));
        }
        assert_eq!(told.get(), 2);
    }
}
