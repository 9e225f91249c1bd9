//! The same bugs, found by a check that cancels tasks, and made small.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sim_check::{Family, Profile, Verdict, check};
use sim_core::queue::Queue;
use sim_core::sync::{Condition, Lock, Semaphore};
use sim_core::{Failure, Task, TaskError, World};
use sim_net::plan::{Entry, FaultSite};

use crate::planted;
use crate::programs::{Channel, Exclusive, Notifier};

const MOMENT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(10);

/// Something that counts while it is there.
struct Inside(Rc<Cell<u32>>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// How many of some tasks neither ended nor were cancelled.
fn waiting(tasks: &[Task<()>]) -> usize {
    tasks.iter().filter(|task| !task.done()).count()
}

/// Three tasks that may be cancelled take turns.
async fn taking_turns<E: Exclusive>(world: World) -> Result<(), Failure> {
    let lp = world.host("host");
    let (lock, inside, most) = (E::make(), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let taker = |number: u32| {
        let (lock, inside, most, clock) =
            (lock.clone(), Rc::clone(&inside), Rc::clone(&most), lp.clone());
        let take = async move {
            let guard = lock.take().await;
            inside.set(inside.get() + 1);
            most.set(most.get().max(inside.get()));
            let here = Inside(inside);
            clock.sleep(MOMENT).await;
            drop(here);
            drop(guard);
        };
        lp.create_named_task(format!("taker{number}"), take).cancellable()
    };
    let tasks: Vec<Task<()>> = (0..3).map(taker).collect();
    world.sleep(LONG).await;
    if most.get() > 1 {
        return Err("two have it at once".into());
    }
    match waiting(&tasks) {
        0 => Ok(()),
        _ => Err("it is free, and somebody waits".into()),
    }
}

/// A getter that may be cancelled, and one that stays; what the first did not get the second does.
async fn passing_on<C: Channel>(world: World) -> Result<(), Failure> {
    let lp = world.host("host");
    let (channel, got) = (C::make(0), Rc::new(Cell::new(0)));
    let getter = |name: &str, count: u32| {
        let (channel, got) = (channel.clone(), Rc::clone(&got));
        let get = async move {
            for _ in 0..count {
                channel.get().await;
                got.set(got.get() + 1);
            }
        };
        lp.create_named_task(name, get)
    };
    let hasty = getter("hasty", 1).cancellable();
    let _patient = getter("patient", 2);
    lp.sleep(MOMENT).await;
    channel.put(1).await;
    channel.put(2).await;
    world.sleep(LONG).await;
    match got.get() as usize + channel.len() {
        2 => Ok(()),
        _ if hasty.await == Err(TaskError::Cancelled) => Err("an item is lost".into()),
        count => Err(format!("{count} of 2 items").into()),
    }
}

/// Two wait for one notification, and one of them may be cancelled: the other has it then.
async fn notifying<N: Notifier>(world: World) -> Result<(), Failure> {
    let lp = world.host("host");
    let notifier = N::make();
    let waiter = |name: &str| {
        let notifier = notifier.clone();
        lp.create_named_task(name, async move { notifier.wait().await })
    };
    let tasks = [waiter("hasty").cancellable(), waiter("patient")];
    lp.sleep(MOMENT).await;
    notifier.notify().await;
    world.sleep(LONG).await;
    let notified = tasks.iter().filter(|task| task.done() && !task.cancelled()).count();
    if notified == 1 { Ok(()) } else { Err("a notification reached nobody".into()) }
}

fn verdict<F>(scenario: impl Fn(World) -> F + Send + Sync + 'static) -> Verdict
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let profile = Profile::only([Family::Cancel]);
    check("cancellations").profile(profile).seeds(1_000).verdict(scenario)
}

/// A check finds it, and says in one line who is cancelled where.
#[track_caller]
fn comes_down_to_one_cancellation(verdict: &Verdict, says: &str) {
    let explanation = verdict.explanation.as_ref().unwrap_or_else(|| panic!("{verdict}"));
    assert!(explanation.error.contains(says), "{verdict}");
    let [step] = &explanation.steps[..] else { panic!("{verdict}") };
    let Entry::Deviation(deviation) = &step.entry else { panic!("{verdict}") };
    assert_eq!((deviation.site, explanation.bound), (FaultSite::Cancel, 1), "{verdict}");
    let text = verdict.to_string();
    assert!(text.contains("cancel host@1/") && text.contains("is cancelled: a fault"), "{text}");
}

/// It stands every cancellation, and some there were.
#[track_caller]
fn stands(verdict: &Verdict) {
    assert!(verdict.is_green(), "{verdict}");
    assert!(verdict.faults["task.cancel"] > 40, "{verdict}");
    let singles = verdict.coverage.iter().find(|covered| covered.family == Family::Cancel);
    assert!(singles.is_some_and(|covered| covered.done == covered.total), "{verdict}");
}

/// H-42, H-46, H-49, H-62: what the library has stands cancellations, in a world as in its model.
// on: engine
#[test]
fn the_primitives_stand_injected_cancellations() {
    stands(&verdict(taking_turns::<Lock>));
    stands(&verdict(taking_turns::<Semaphore>));
    stands(&verdict(passing_on::<Queue<u32>>));
    stands(&verdict(notifying::<Condition>));
}

/// J-33: the lost wake-up and the double grant, each by one cancellation.
// on: engine
#[test]
fn a_check_finds_the_bugs_of_a_lock() {
    let (lost, granted) = ("it is free, and somebody waits", "two have it at once");
    comes_down_to_one_cancellation(&verdict(taking_turns::<planted::LosesWakeUps>), lost);
    comes_down_to_one_cancellation(&verdict(taking_turns::<planted::GrantsTwice>), granted);
}

/// J-34: the deadlock of asyncio's semaphore, by one cancellation.
// on: engine
#[test]
fn a_check_finds_the_deadlock_of_a_semaphore() {
    let verdict = verdict(taking_turns::<planted::HangsAfterCancel>);
    comes_down_to_one_cancellation(&verdict, "it is free, and somebody waits");
}

/// J-35, J-37: the lost notification and the lost item, each by one cancellation: of a task that was woken.
// on: engine
#[test]
fn a_check_finds_what_is_lost_with_a_woken_task() {
    let item = verdict(passing_on::<planted::LosesItems>);
    comes_down_to_one_cancellation(&item, "an item is lost");
    assert!(item.to_string().contains("cancel host@1/woken:hasty#1"), "{item}");
    let notification = verdict(notifying::<planted::LosesNotifications>);
    comes_down_to_one_cancellation(&notification, "a notification reached nobody");
    assert!(notification.to_string().contains("cancel host@1/woken:hasty#1"), "{notification}");
}
