//! Timers against a sorted list: random deadlines, cancelled and re-armed from inside callbacks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use sim_core::{EventLoop, Loop, Time, Timer, testing};

use crate::loops::{ms, run_for};

/// What a timer does when it fires.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Nothing,
    /// Cancels the timer with this number, modulo how many there are.
    Cancel(usize),
    /// Arms another one, that does nothing, so many steps after the base.
    Arm(i64),
    /// Both: it is replaced by one that is armed at once.
    Replace(usize, i64),
}

/// A timer that is armed before the run.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Steps after the base of time; `None` is a deadline that never comes.
    at: Option<i64>,
    act: Act,
    cancelled: bool,
}

fn acts() -> impl Strategy<Value = Act> {
    let (other, at) = (0_usize..40, -4_i64..8);
    prop_oneof![
        3 => Just(Act::Nothing),
        3 => other.clone().prop_map(Act::Cancel),
        2 => at.clone().prop_map(Act::Arm),
        2 => (other, at).prop_map(|(other, at)| Act::Replace(other, at)),
    ]
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let at = prop_oneof![9 => (-4_i64..8).prop_map(Some), 1 => Just(None)];
    let plan = (at, acts(), prop::bool::weighted(0.1));
    vec(plan.prop_map(|(at, act, cancelled)| Plan { at, act, cancelled }), 0..40)
}

/// The moment `steps` steps after `base`.
fn moment(base: Time, step: Duration, steps: i64) -> Time {
    let nanos = i64::try_from(step.as_nanos()).expect("a short step") * steps;
    Time::from_nanos(base.as_nanos().saturating_add_signed(nanos))
}

/// A firing: the timer's number and the clock.
type Fired = Vec<(usize, Time)>;

/// What fires, by a list that is sorted before every turn, on a clock that jumps.
fn expected(plans: &[Plan], base: Time, step: Duration) -> Fired {
    let at = |steps| moment(base, step, steps);
    let mut fired = Vec::new();
    // The list is stable, so equal deadlines stay in order of arming.
    let mut waiting: Vec<(Time, usize, Act)> = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        if let Plan { at: Some(steps), act, cancelled: false } = *plan {
            waiting.push((at(steps), number, act));
        }
    }
    let (mut now, mut next) = (base, plans.len());
    while !waiting.is_empty() {
        waiting.sort_by_key(|(when, ..)| *when);
        now = now.max(waiting[0].0);
        let later = waiting.split_off(waiting.partition_point(|(when, ..)| *when <= now));
        let mut due = std::mem::replace(&mut waiting, later).into_iter().collect::<Vec<_>>();
        while !due.is_empty() {
            let (_, number, act) = due.remove(0);
            fired.push((number, now));
            let (cancels, arms) = effects(act, plans.len());
            if let Some(other) = cancels {
                due.retain(|(_, number, _)| *number != other);
                waiting.retain(|(_, number, _)| *number != other);
            }
            if let Some(steps) = arms {
                waiting.push((at(steps), next, Act::Nothing));
                next += 1;
            }
        }
    }
    fired
}

/// Which timer an act cancels, and when the one that it arms is due.
fn effects(act: Act, count: usize) -> (Option<usize>, Option<i64>) {
    match act {
        Act::Nothing => (None, None),
        Act::Cancel(other) => (Some(other % count), None),
        Act::Arm(steps) => (None, Some(steps)),
        Act::Replace(other, steps) => (Some(other % count), Some(steps)),
    }
}

/// The timers of a run, by number, and what they have done.
#[derive(Clone)]
struct Run {
    lp: Loop,
    base: Time,
    step: Duration,
    count: usize,
    timers: Rc<RefCell<Vec<Timer>>>,
    fired: Rc<RefCell<Fired>>,
    /// How many are armed and have neither fired nor been cancelled.
    left: Rc<Cell<usize>>,
}

impl Run {
    fn arm(&self, when: Time, act: Act) {
        let (run, number) = (self.clone(), self.timers.borrow().len());
        let timer = self.lp.call_at(when, move || run.fire(number, act));
        self.timers.borrow_mut().push(timer);
    }

    fn fire(&self, number: usize, act: Act) {
        self.left.set(self.left.get() - 1);
        self.fired.borrow_mut().push((number, self.lp.time()));
        let (cancels, arms) = effects(act, self.count);
        if let Some(other) = cancels {
            self.cancel(other);
        }
        if let Some(steps) = arms {
            self.left.set(self.left.get() + 1);
            self.arm(moment(self.base, self.step, steps), Act::Nothing);
        }
    }

    fn cancel(&self, number: usize) {
        let timers = self.timers.borrow();
        let (timer, before) = (&timers[number], timers[number].cancelled());
        timer.cancel();
        if timer.cancelled() && !before && timer.when() != Time::NEVER {
            self.left.set(self.left.get() - 1);
        }
    }
}

/// What fires on a loop, with the deadlines of all timers.
fn observed(lp: &EventLoop, plans: &[Plan], base: Time, step: Duration) -> (Fired, Vec<Time>) {
    let run = Run {
        lp: (**lp).clone(),
        base,
        step,
        count: plans.len(),
        timers: Rc::default(),
        fired: Rc::default(),
        left: Rc::new(Cell::new(plans.iter().filter(|plan| plan.at.is_some()).count())),
    };
    for plan in plans {
        let when = plan.at.map_or(Time::NEVER, |steps| moment(base, step, steps));
        run.arm(when, plan.act);
    }
    for (number, plan) in plans.iter().enumerate() {
        if plan.cancelled {
            run.cancel(number);
        }
    }
    let (left, waits) = (Rc::clone(&run.left), run.lp.clone());
    let finished = async move {
        while left.get() > 0 {
            waits.sleep(step).await;
        }
    };
    lp.run_until_complete(finished).expect("all that is left comes to an end");
    let deadlines = run.timers.borrow().iter().map(Timer::when).collect();
    (run.fired.take(), deadlines)
}

/// On a virtual clock everything is exact: what fires, in which order, and when.
fn check_virtual(lp: &EventLoop, plans: &[Plan]) {
    // Far enough from the epoch for deadlines in the past.
    run_for(lp, ms(1));
    let (base, step) = (lp.time(), Duration::from_nanos(1));
    let (fired, _) = observed(lp, plans, base, step);
    assert_eq!(fired, expected(plans, base, step));
}

/// On the real clock the order of those that were armed before the run is exact, and of the others
/// that each fires once; none is early.
fn check_real(lp: &EventLoop, plans: &[Plan]) {
    let (base, step) = (lp.time(), Duration::from_micros(100));
    let (fired, deadlines) = observed(lp, plans, base, step);
    for &(number, at) in &fired {
        assert!(at >= deadlines[number], "{number}: due at {}, at {at}", deadlines[number]);
    }
    let first = |fired: Fired| -> (Vec<usize>, Vec<usize>) {
        fired.into_iter().map(|(number, _)| number).partition(|&number| number < plans.len())
    };
    let (armed_before, mut armed_later) = first(fired);
    let (expected_before, mut expected_later) = first(expected(plans, base, step));
    assert_eq!(armed_before, expected_before);
    armed_later.sort_unstable();
    expected_later.sort_unstable();
    assert_eq!(armed_later, expected_later);
}

fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(1_000))]

    /// timers fire as a sorted list says,
    /// over the scripted driver.
    // on: engine
    #[test]
    fn timers_agree_with_a_sorted_list(plans in plans()) {
        check_virtual(&testing::new_loop(), &plans);
    }
}

proptest! {
    #![proptest_config(config(300))]

    /// the same in the simulator.
    // on: sim
    #[test]
    fn simulated_timers_agree_with_a_sorted_list(plans in plans()) {
        check_virtual(&sim_net::new_loop(), &plans);
    }
}

proptest! {
    #![proptest_config(config(60))]

    /// the same on the real loop, as far as its clock
    /// lets one say.
    // on: real
    #[test]
    fn real_timers_agree_with_a_sorted_list(plans in plans()) {
        check_real(&real_net::new_loop().expect("there are descriptors left"), &plans);
    }
}
