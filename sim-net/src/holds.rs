//! What holds a host: who keeps its machine off or frozen, its process paused, its callbacks slow.
//!
//! A host is off, frozen, without a process, paused or slow as long as anybody holds it so, and each hold ends by
//! itself. What is of the machine (off, frozen, slow) outlives the process, and so does that there is to be none; a
//! pause ends with it.

use std::time::Duration;

/// What a host is held in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Its machine is off, and so it has no process.
    Off,
    /// It has no process, whether or not its machine is on.
    Gone,
    /// Its machine stands still.
    Frozen,
    /// Its process stands still.
    Paused,
}

/// Who holds a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// The test's own hand, or what has no end of its own: a signal, an incident of a plan.
    Hand,
    /// A permanent incident of a plan.
    Incident,
    /// A fault of a plan that lasts, by its number among the plan's faults.
    Fault(u32),
}

/// Which holds end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// What the test's own hand can take back: all but what ends by a plan.
    ByHand,
    /// What does not outlive the end of all faults, beside the plan's faults that last.
    OfAllFaults,
    /// That of a fault of a plan.
    Of(u32),
}

/// Everything that holds a host. Without faults it is empty, and takes no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    states: Vec<(State, Holder)>,
    /// What a callback costs by each, in the order in which they said it.
    costs: Vec<(Holder, Duration)>,
}

impl End {
    fn ends(self, holder: Holder) -> bool {
        match (self, holder) {
            (Self::ByHand, Holder::Hand | Holder::Incident) | (Self::OfAllFaults, Holder::Hand) => {
                true
            }
            (Self::Of(fault), Holder::Fault(other)) => fault == other,
            _ => false,
        }
    }
}

impl Holds {
    /// Nobody holds it.
    pub(crate) fn renew(&mut self) {
        let Self { states, costs } = self;
        states.clear();
        costs.clear();
    }

    /// Somebody holds the host in a state. False if they did before.
    pub(crate) fn begin(&mut self, state: State, by: Holder) -> bool {
        let is_news = !self.states.contains(&(state, by));
        if is_news {
            self.states.push((state, by));
        }
        is_news
    }

    /// Some do not hold it there any more. False if none of them did.
    pub(crate) fn end(&mut self, state: State, end: End) -> bool {
        let before = self.states.len();
        self.states.retain(|&(other, by)| other != state || !end.ends(by));
        self.states.len() < before
    }

    /// True while anybody holds it there.
    pub(crate) fn has(&self, state: State) -> bool {
        self.states.iter().any(|&(other, _)| other == state)
    }

    /// The process is gone, and its pauses with it.
    pub(crate) fn forget_process(&mut self) {
        self.states.retain(|&(state, _)| state != State::Paused);
    }

    /// From now on a callback costs so much by somebody's word, the last one.
    pub(crate) fn begin_cost(&mut self, by: Holder, cost: Duration) {
        self.costs.retain(|&(other, _)| other != by);
        self.costs.push((by, cost));
    }

    /// Some say nothing any more of what a callback costs. False if none of them did.
    pub(crate) fn end_cost(&mut self, end: End) -> bool {
        let before = self.costs.len();
        self.costs.retain(|&(by, _)| !end.ends(by));
        self.costs.len() < before
    }

    /// What a callback costs: as the last one says who says anything.
    pub(crate) fn cost(&self) -> Duration {
        self.costs.last().map(|&(_, cost)| cost).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Holder = Holder::Fault(0);
    const SECOND: Holder = Holder::Fault(1);

    #[test]
    fn a_state_lasts_until_the_last_hold_has_ended() {
        let mut holds = Holds::default();
        assert!(holds.begin(State::Frozen, FIRST) && holds.begin(State::Frozen, SECOND));
        assert!(holds.begin(State::Frozen, Holder::Hand) && !holds.begin(State::Frozen, FIRST));
        assert!(!holds.has(State::Off) && !holds.end(State::Off, End::Of(0)));
        assert!(holds.end(State::Frozen, End::Of(0)) && !holds.end(State::Frozen, End::Of(0)));
        assert!(holds.end(State::Frozen, End::ByHand) && holds.has(State::Frozen));
        assert!(holds.end(State::Frozen, End::Of(1)) && !holds.has(State::Frozen));
    }

    #[test]
    fn a_permanent_incident_ends_by_hand_alone() {
        let mut holds = Holds::default();
        holds.begin(State::Paused, Holder::Incident);
        assert!(!holds.end(State::Paused, End::OfAllFaults) && holds.has(State::Paused));
        assert!(holds.end(State::Paused, End::ByHand) && !holds.has(State::Paused));
    }

    #[test]
    fn pauses_end_with_the_process_and_nothing_else_does() {
        let mut holds = Holds::default();
        for state in [State::Off, State::Gone, State::Frozen, State::Paused] {
            holds.begin(state, FIRST);
        }
        holds.forget_process();
        let stays = [State::Off, State::Gone, State::Frozen];
        assert!(stays.into_iter().all(|state| holds.has(state)) && !holds.has(State::Paused));
    }

    #[test]
    fn the_last_word_on_what_a_callback_costs_holds() {
        let cost = Duration::from_millis;
        let mut holds = Holds::default();
        assert_eq!(holds.cost(), Duration::ZERO);
        holds.begin_cost(FIRST, cost(1));
        holds.begin_cost(SECOND, cost(2));
        holds.begin_cost(Holder::Hand, cost(3));
        assert_eq!(holds.cost(), cost(3));
        holds.begin_cost(FIRST, cost(4));
        assert_eq!(holds.cost(), cost(4));
        assert!(holds.end_cost(End::Of(0)) && !holds.end_cost(End::Of(0)));
        assert_eq!(holds.cost(), cost(3));
        assert!(holds.end_cost(End::OfAllFaults));
        assert_eq!(holds.cost(), cost(2));
    }
}
