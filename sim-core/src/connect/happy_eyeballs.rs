//! Several addresses at once: RFC 8305.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::driver::Family;
use crate::{Loop, Sleep};

/// Orders addresses so that families take turns, after `first_count - 1` of the family that comes first
/// (contract E-09; RFC 8305, section 4).
pub(super) fn interleave(addrs: &[SocketAddr], first_count: usize) -> Vec<SocketAddr> {
    let mut families: Vec<(Family, Vec<SocketAddr>)> = Vec::new();
    for &addr in addrs {
        let family = Family::of(&addr);
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, members)) => members.push(addr),
            None => families.push((family, vec![addr])),
        }
    }
    let mut ordered = Vec::with_capacity(addrs.len());
    let mut queues: Vec<_> = families.into_iter().map(|(_, members)| members.into_iter()).collect();
    if let Some(first) = queues.first_mut() {
        ordered.extend(first.by_ref().take(first_count.saturating_sub(1)));
    }
    while ordered.len() < addrs.len() {
        ordered.extend(queues.iter_mut().filter_map(Iterator::next));
    }
    ordered
}

/// Attempts under way.
struct Attempts<F> {
    running: Vec<(usize, Pin<Box<F>>)>,
    errors: Vec<(usize, io::Error)>,
}

/// Begins one attempt after another: the next when one fails, or when `delay` has passed. The first that
/// succeeds wins, and the others are dropped (contract E-08, E-10; RFC 8305, section 5).
///
/// # Errors
///
/// Those of all attempts, in the order in which they began.
pub(super) async fn staggered<T, F>(
    lp: &Loop,
    delay: Duration,
    attempts: impl IntoIterator<Item = F>,
) -> Result<T, Vec<io::Error>>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = attempts.into_iter().enumerate();
    let mut under_way = Attempts { running: Vec::new(), errors: Vec::new() };
    while let Some((number, attempt)) = waiting.next() {
        under_way.running.push((number, Box::pin(attempt)));
        let mut timer = pin!(lp.sleep(delay));
        let is_last = waiting.size_hint().1 == Some(0);
        if let Some(value) =
            poll_fn(|cx| under_way.poll(cx, (!is_last).then_some(timer.as_mut()))).await
        {
            return Ok(value);
        }
    }
    under_way.errors.sort_by_key(|(number, _)| *number);
    Err(under_way.errors.into_iter().map(|(_, error)| error).collect())
}

impl<T, F: Future<Output = io::Result<T>>> Attempts<F> {
    /// Waits until one succeeds; `None` when it is time for the next: one has failed, the timer has run out, or
    /// nothing is under way. Without a timer there is no next, and all are waited for.
    fn poll(&mut self, cx: &mut Context<'_>, timer: Option<Pin<&mut Sleep>>) -> Poll<Option<T>> {
        let failed_before = self.errors.len();
        let mut place = 0;
        while let Some((number, attempt)) = self.running.get_mut(place) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(value)) => return Poll::Ready(Some(value)),
                Poll::Ready(Err(error)) => {
                    self.errors.push((*number, error));
                    drop(self.running.remove(place));
                }
            }
        }
        let is_time = match timer {
            Some(timer) => self.errors.len() > failed_before || timer.poll(cx).is_ready(),
            None => false,
        };
        if is_time || self.running.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::testing;

    fn addrs(text: &str) -> Vec<SocketAddr> {
        let addr = |word: &str| match word.split_at(1) {
            ("4", host) => format!("10.0.0.{host}:1").parse(),
            (_, host) => format!("[fd00::{host}]:1").parse(),
        };
        text.split(',').map(|word| addr(word).expect("an address")).collect()
    }

    #[test]
    fn families_take_turns() {
        let mixed = addrs("41,42,43,61,62");
        assert_eq!(interleave(&mixed, 1), addrs("41,61,42,62,43"));
        assert_eq!(interleave(&mixed, 2), addrs("41,42,61,43,62"));
        assert_eq!(interleave(&mixed, 9), mixed);
        assert_eq!(interleave(&addrs("61,41,42"), 1), addrs("61,41,42"));
        assert_eq!(interleave(&addrs("41,42"), 1), addrs("41,42"));
        assert_eq!(interleave(&[], 1), []);
    }

    /// Runs attempts that end after some seconds, with success or not; what came of it, with when each began, when
    /// it was over, and which ran to their end.
    fn race(delay: u64, ends: &[(u64, bool)]) -> (Result<usize, usize>, Vec<u64>, u64) {
        let lp = testing::new_loop();
        let handle = (*lp).clone();
        let (ends, began) = (ends.to_vec(), Rc::new(RefCell::new(Vec::new())));
        let times = Rc::clone(&began);
        let outcome = lp.run_until_complete(async move {
            let now = |lp: &Loop| lp.time().since_epoch().as_secs();
            let attempts = ends.iter().enumerate().map(|(number, &(seconds, succeeds))| {
                let (lp, times) = (handle.clone(), Rc::clone(&times));
                async move {
                    times.borrow_mut().push(now(&lp));
                    lp.sleep(Duration::from_secs(seconds)).await;
                    if succeeds { Ok(number) } else { Err(io::Error::other(number.to_string())) }
                }
            });
            let attempts: Vec<_> = attempts.collect();
            let outcome = staggered(&handle, Duration::from_secs(delay), attempts).await;
            let outcome = outcome.map_err(|errors| {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let expected: Vec<String> = (0..errors.len()).map(|n| n.to_string()).collect();
                assert_eq!(texts, expected, "in the order in which they began");
                errors.len()
            });
            (outcome, now(&handle))
        });
        let (outcome, ended) = outcome.expect("it ends");
        (outcome, began.take(), ended)
    }

    #[test]
    fn the_next_begins_after_the_delay_or_a_failure() {
        // The first is slow: the second begins after the delay, and wins.
        assert_eq!(race(2, &[(9, true), (1, true), (1, true)]), (Ok(1), vec![0, 2], 3));
        // The first fails: the second begins at once.
        assert_eq!(race(5, &[(1, false), (1, true)]), (Ok(1), vec![0, 1], 2));
        // The first wins although the second has begun.
        assert_eq!(race(2, &[(3, true), (9, true)]), (Ok(0), vec![0, 2], 3));
        // Nobody waits for a timer when there is none left to begin.
        assert_eq!(race(9, &[(4, true)]), (Ok(0), vec![0], 4));
        assert_eq!(race(1, &[(6, false), (1, false), (1, false)]), (Err(3), vec![0, 1, 2], 6));
        assert_eq!(race(1, &[]), (Err(0), vec![], 0));
    }

    #[test]
    fn of_two_that_succeed_at_once_the_first_wins() {
        assert_eq!(race(2, &[(4, true), (2, true)]), (Ok(0), vec![0, 2], 4));
    }
}
