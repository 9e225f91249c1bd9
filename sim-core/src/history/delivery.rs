//! Messages that are delivered once each, and in order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::rc::Rc;

use super::anomaly::{self, Anomaly, Deed};
use crate::Time;

/// What was sent and what was delivered, by streams: those of a sender, or of a sender to a receiver.
///
/// Clones are the same record. Messages of a stream differ from each other: number them. Until it is known
/// how a sending ended, because of a timeout or a crash, or for ever, its message may be delivered, once
/// and in its place, or not at all. One that was accepted must be; one that was refused must not. A
/// record and its share of a check cost the logarithm of the length of the stream.
///
/// ```
/// use sim_core::history::{Deliveries, Promise};
///
/// let log = Deliveries::new();
/// for message in 1..=3 {
///     let sending = log.sends("client", message);
///     log.accepted(sending);
/// }
/// let unknown = log.sends("client", 4);
/// log.delivered("client", 1);
/// log.delivered("client", 2);
/// assert!(log.check(Promise::EXACTLY_ONCE).is_err()); // 3 is lost
/// assert!(log.check(Promise::EXACTLY_ONCE.losing_the_end()).is_ok());
///
/// log.delivered("client", 4); // it may have been accepted
/// let anomaly = log.check(Promise::EXACTLY_ONCE.losing_the_end()).unwrap_err();
/// assert_eq!(anomaly.what, "a message was lost, and a later one was not");
/// log.accepted(unknown);
/// ```
pub struct Deliveries<S, M> {
    /// What is handed out knows by it whose it is.
    identity: Rc<()>,
    streams: Rc<RefCell<BTreeMap<S, Stream<M>>>>,
}

/// A message that was given to its sender.
#[derive(Debug)]
pub struct Sending<S> {
    /// That of its record.
    identity: Rc<()>,
    stream: S,
    place: usize,
}

/// What is promised of messages that were accepted, and never more of others.
///
/// ```
/// use sim_core::history::Promise;
///
/// let of_calls = Promise::EXACTLY_ONCE.in_any_order();
/// let of_a_connection_that_may_break = Promise::EXACTLY_ONCE.losing_the_end();
/// assert_ne!(of_calls, of_a_connection_that_may_break);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    in_order: bool,
    loses_the_end: bool,
}

/// How a sending ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Accepted,
    Refused,
}

struct Stream<M> {
    sent: Vec<Sent<M>>,
    places: BTreeMap<M, usize>,
    delivered: Vec<Delivered<M>>,
}

struct Sent<M> {
    message: M,
    time: Option<Time>,
    fate: Fate,
}

struct Delivered<M> {
    message: M,
    time: Option<Time>,
    /// Which of the messages that had been sent by then it is.
    place: Option<usize>,
}

impl Promise {
    /// Each message is delivered once, in the order of sending.
    pub const EXACTLY_ONCE: Self = Self { in_order: true, loses_the_end: false };

    /// In whatever order.
    #[must_use]
    pub const fn in_any_order(self) -> Self {
        Self { in_order: false, ..self }
    }

    /// The last ones may be lost, those behind which nothing of their stream was delivered.
    #[must_use]
    pub const fn losing_the_end(self) -> Self {
        Self { loses_the_end: true, ..self }
    }

    const fn claim(self) -> &'static str {
        if self.in_order { "exactly once, in order" } else { "exactly once" }
    }
}

impl<S: Ord + Clone + Display, M: Ord + Clone + Debug> Deliveries<S, M> {
    /// Nothing was sent yet.
    pub fn new() -> Self {
        Self { identity: Rc::new(()), streams: Rc::default() }
    }

    /// `message` is to be sent on `stream`. Whether it was accepted is unknown until somebody says so.
    ///
    /// # Panics
    ///
    /// If the stream has had the same message.
    #[track_caller]
    pub fn sends(&self, stream: S, message: M) -> Sending<S> {
        let mut streams = self.streams.borrow_mut();
        let it = streams.entry(stream.clone()).or_default();
        let place = it.sent.len();
        let same = it.places.insert(message.clone(), place);
        assert!(same.is_none(), "Deliveries::sends: {stream} has sent {message:?} before");
        it.sent.push(Sent { message, time: anomaly::now(), fate: Fate::Unknown });
        Sending { identity: Rc::clone(&self.identity), stream, place }
    }

    /// It was accepted: it has to be delivered.
    ///
    /// # Panics
    ///
    /// If it is a message of another record: a verdict about what was recorded wrongly would be wrong.
    #[track_caller]
    pub fn accepted(&self, sending: Sending<S>) {
        self.end(sending, Fate::Accepted);
    }

    /// It was refused: it is not to be delivered.
    ///
    /// # Panics
    ///
    /// If it is a message of another record.
    #[track_caller]
    pub fn refused(&self, sending: Sending<S>) {
        self.end(sending, Fate::Refused);
    }

    #[track_caller]
    fn end(&self, sending: Sending<S>, fate: Fate) {
        let is_own = Rc::ptr_eq(&sending.identity, &self.identity);
        assert!(is_own, "Deliveries: the message is one of another record");
        let mut streams = self.streams.borrow_mut();
        let stream = streams.get_mut(&sending.stream).expect("it was sent on it");
        stream.sent[sending.place].fate = fate;
    }

    /// `message` of `stream` was delivered.
    pub fn delivered(&self, stream: S, message: M) {
        let mut streams = self.streams.borrow_mut();
        let stream = streams.entry(stream).or_default();
        let place = stream.places.get(&message).copied();
        stream.delivered.push(Delivered { message, time: anomaly::now(), place });
    }

    /// How many messages were delivered, on all streams.
    pub fn count(&self) -> usize {
        self.streams.borrow().values().map(|stream| stream.delivered.len()).sum()
    }

    /// Whether a promise was kept on each stream.
    ///
    /// # Errors
    ///
    /// A message that was delivered twice, out of order, refused or never sent; or one that was accepted
    /// and lost.
    pub fn check(&self, promise: Promise) -> Result<(), Anomaly> {
        let streams = self.streams.borrow();
        streams.iter().try_for_each(|(name, stream)| {
            stream.check(promise).map_err(|(what, deeds)| {
                let deed = |(time, what)| Deed::new(name, time, what);
                let deeds = deeds.into_iter().map(deed).collect();
                Anomaly::new(promise.claim(), what, deeds)
            })
        })
    }
}

/// What is wrong, and what was done when.
type Wrong = (&'static str, Vec<(Option<Time>, String)>);

impl<M: Ord + Debug> Stream<M> {
    fn check(&self, promise: Promise) -> Result<(), Wrong> {
        // Where each message was delivered.
        let mut deliveries = vec![None; self.sent.len()];
        let mut last: Option<(usize, &Delivered<M>)> = None;
        for delivered in &self.delivered {
            let Some(place) = delivered.place else {
                return Err((
                    "a message was delivered that nobody had sent",
                    vec![delivered.told()],
                ));
            };
            let sent = &self.sent[place];
            if let Some(before) = deliveries[place].replace(delivered) {
                let deeds = vec![sent.told(), before.told(), delivered.told()];
                return Err(("a message was delivered twice", deeds));
            }
            if sent.fate == Fate::Refused {
                let deeds = vec![sent.told(), delivered.told()];
                return Err(("a message was delivered that was refused", deeds));
            }
            match last {
                Some((later, before)) if promise.in_order && later > place => {
                    let deeds = vec![before.told(), delivered.told()];
                    return Err(("a message was delivered after a later one", deeds));
                }
                _ => last = Some((place, delivered)),
            }
        }
        let end = deliveries.iter().rposition(Option::is_some).map_or(0, |place| place + 1);
        let is_lost = |place: &usize| {
            deliveries[*place].is_none() && self.sent[*place].fate == Fate::Accepted
        };
        match (0..self.sent.len()).find(is_lost) {
            Some(lost) if lost < end => {
                let later = deliveries[end - 1].into_iter().map(Delivered::told);
                let deeds = [self.sent[lost].told()].into_iter().chain(later).collect();
                Err(("a message was lost, and a later one was not", deeds))
            }
            Some(lost) if !promise.loses_the_end => {
                Err(("a message was accepted, and is lost", vec![self.sent[lost].told()]))
            }
            _ => Ok(()),
        }
    }
}

impl<M: Debug> Sent<M> {
    fn told(&self) -> (Option<Time>, String) {
        let fate = match self.fate {
            Fate::Accepted => "",
            Fate::Refused => ", refused",
            Fate::Unknown => ", outcome unknown",
        };
        (self.time, format!("sent {:?}{fate}", self.message))
    }
}

impl<M: Debug> Delivered<M> {
    fn told(&self) -> (Option<Time>, String) {
        (self.time, format!("delivered {:?}", self.message))
    }
}

impl<M> Default for Stream<M> {
    fn default() -> Self {
        Self { sent: Vec::new(), places: BTreeMap::new(), delivered: Vec::new() }
    }
}

impl<S: Ord + Clone + Display, M: Ord + Clone + Debug> Default for Deliveries<S, M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, M> Clone for Deliveries<S, M> {
    fn clone(&self) -> Self {
        Self { identity: Rc::clone(&self.identity), streams: Rc::clone(&self.streams) }
    }
}

impl<S, M> Debug for Deliveries<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries")
            .field("streams", &self.streams.borrow().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream of as many messages as there are fates: `a`ccepted, `r`efused or `?`; and what is said of
    /// these deliveries.
    fn verdict(fates: &str, delivered: &[usize], promise: Promise) -> Result<(), String> {
        let log = Deliveries::new();
        for (message, fate) in fates.chars().enumerate() {
            let sending = log.sends("s", message);
            match fate {
                'a' => log.accepted(sending),
                'r' => log.refused(sending),
                _ => {}
            }
        }
        delivered.iter().for_each(|&message| log.delivered("s", message));
        assert_eq!(log.count(), delivered.len());
        log.check(promise).map_err(|anomaly| anomaly.what)
    }

    #[test]
    #[should_panic(expected = "the message is one of another record")]
    fn a_message_is_of_the_record_that_it_was_given_to() {
        let (one, other) = (Deliveries::new(), Deliveries::new());
        other.sends("s", 1);
        other.accepted(one.sends("s", 1));
    }

    #[test]
    fn each_way_to_break_the_promise_has_a_name() {
        const ONCE: Promise = Promise::EXACTLY_ONCE;
        for (fates, delivered, promise, expected) in [
            ("aaa", &[0, 1, 2][..], ONCE, ""),
            ("aaa", &[0, 2, 1], ONCE, "a message was delivered after a later one"),
            ("aaa", &[0, 2, 1], ONCE.in_any_order(), ""),
            ("aaa", &[0, 1, 1, 2], ONCE.in_any_order(), "a message was delivered twice"),
            ("aaa", &[0, 1], ONCE, "a message was accepted, and is lost"),
            ("aaa", &[0, 1], ONCE.losing_the_end(), ""),
            ("aaa", &[0, 2], ONCE.losing_the_end(), "a message was lost, and a later one was not"),
            ("aa", &[0, 1, 2], ONCE, "a message was delivered that nobody had sent"),
            ("ara", &[0, 1, 2], ONCE, "a message was delivered that was refused"),
            ("ara", &[0, 2], ONCE, ""),
            ("a?a", &[0, 2], ONCE, ""),
            ("a?a", &[0, 1, 2], ONCE, ""),
            ("a?a", &[0, 2, 1], ONCE, "a message was delivered after a later one"),
            ("a?a", &[0, 1, 2, 1], ONCE.in_any_order(), "a message was delivered twice"),
            ("???", &[], ONCE, ""),
        ] {
            let found = verdict(fates, delivered, promise).err().unwrap_or_default();
            assert_eq!(found, expected, "{fates} {delivered:?} {promise:?}");
        }
    }

    #[test]
    fn what_is_delivered_before_it_is_sent_was_sent_by_nobody() {
        let log = Deliveries::new();
        log.delivered("a to b", 1);
        let sending = log.sends("a to b", 1);
        log.accepted(sending);
        let anomaly = log.check(Promise::EXACTLY_ONCE).unwrap_err();
        assert_eq!(
            anomaly.to_string(),
            "exactly once, in order: a message was delivered that nobody had sent\n  \
             a to b: delivered 1"
        );
    }

    #[test]
    #[should_panic(expected = "s has sent 1 before")]
    fn equal_messages_of_a_stream_are_refused() {
        let log = Deliveries::new();
        log.sends("s", 1);
        log.sends("s", 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Some way of letting unknown messages be accepted or refused must keep the promise, by its
        /// plain definition.
        #[test]
        fn the_check_agrees_with_trying_every_outcome(
            fates in "[ar?]{0,5}",
            delivered in proptest::collection::vec(0_usize..6, 0..6),
            in_order: bool,
            loses_the_end: bool,
        ) {
            let promise = Promise { in_order, loses_the_end };
            let kept = |accepted: &dyn Fn(usize) -> bool| {
                let wanted: Vec<usize> = (0..fates.len()).filter(|&it| accepted(it)).collect();
                let mut got = delivered.clone();
                if !in_order {
                    got.sort_unstable();
                }
                got == wanted || (loses_the_end && wanted.starts_with(&got))
            };
            let unknown: Vec<usize> =
                fates.char_indices().filter(|(_, fate)| *fate == '?').map(|(it, _)| it).collect();
            let expected = (0..1_u32 << unknown.len()).any(|chosen| {
                kept(&|it| match fates.as_bytes()[it] {
                    b'a' => true,
                    b'r' => false,
                    _ => chosen >> unknown.iter().position(|&u| u == it).unwrap() & 1 == 1,
                })
            });
            prop_assert_eq!(verdict(&fates, &delivered, promise).is_ok(), expected);
        }
    }
}
