//! One iteration of the loop (contract A-20..A-26).

use std::rc::Rc;

use super::core::{Core, Marks, Queued, Ready};
use super::look_ahead;
use super::report::ErrorContext;
use super::sources::{self, Flow, Registered};
use crate::arena::Key;
use crate::driver::{Next, Readiness};
use crate::trace::Record;
use crate::{Time, current, task};

/// Marks the core as in its turn, and puts things right when a panic ends it.
struct InTurn<'a>(&'a Core);

impl<'a> InTurn<'a> {
    fn begin(core: &'a Core) -> Self {
        core.in_turn.set(true);
        core.inbox.set_in_turn(true);
        Self(core)
    }
}

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            requeue(self.0);
        }
        self.0.in_turn.set(false);
        self.0.inbox.set_in_turn(false);
    }
}

/// A panic ended the batch: what is left of it is the beginning of the next one (contract A-18).
#[cold]
fn requeue(core: &Core) {
    let mut batch = core.batch.borrow_mut();
    let left = batch.len() - core.batch_left.replace(0);
    core.ready.borrow_mut().splice(..0, batch.drain(left..));
}

pub(super) fn turn(core: &Rc<Core>, now: Time, events: &mut Vec<Readiness>) -> Next {
    let _current = current::enter(core);
    let _in_turn = InTurn::begin(core);
    if core.batch_left.get() == 0 {
        let mut reads = 0;
        while let Some((source, event)) = lone_source(core, now, events) {
            if run_alone(core, source, event.as_ref()) {
                return next(core);
            }
            if !core.ready.borrow().is_empty() {
                if woke_tasks_alone(core) {
                    break;
                }
                return next(core);
            }
            reads += 1;
            if reads == READS_MAX || !has_more_alone(core) {
                return next(core);
            }
        }
        if let Some(entry) = lone_entry(core, now, events) {
            match entry {
                _ if core.marks.has(Marks::TIMED) => run_timed(core, entry),
                Ready::Task(key) => task::step(core, key),
                other => run(core, other),
            }
            if core.marks.has(Marks::FLOW | Marks::SPENT) {
                drain_flow(core);
                is_cut_short(core);
            }
            return next(core);
        }
        take_snapshot(core, now, events);
    } else {
        // The snapshot of an earlier turn is not done: what is ready waits for the next.
        let waiting = queue_readiness(core, events, &mut core.ready.borrow_mut());
        core.inbox.advance(waiting);
    }
    // Crossings outside any turn come first in it (ruling 1); what they queue is not part of it.
    drain_flow(core);
    if !is_cut_short(core) {
        run_batch(core);
    }
    next(core)
}

/// The callback that just ran spent time on a virtual clock: what is left waits until it is over.
/// Or the machine died in it: then what is left is dropped with the rest.
fn is_cut_short(core: &Core) -> bool {
    core.marks.take(Marks::SPENT) && (core.is_dead() || core.busy_until().is_some())
}

#[inline(always)]
pub(super) fn next(core: &Core) -> Next {
    let busy = core.busy_until();
    let is_ready = core.batch_left.get() > 0
        || !core.ready.borrow().is_empty()
        || core.inbox.is_waiting()
        || core.marks.has(Marks::FLOW | Marks::READABLE);
    if is_ready {
        return busy.map_or(Next::Now, Next::At);
    }
    match core.callbacks.borrow_mut().next_deadline() {
        Some(at) => Next::At(busy.map_or(at, |until| at.max(until))),
        None => Next::Never,
    }
}

/// The usual turn: one source is ready or has more to read, and nothing else waits. Such a turn needs no
/// queue. Says which source it is, and its readiness if that is new.
#[inline]
fn lone_source(
    core: &Core,
    now: Time,
    events: &mut Vec<Readiness>,
) -> Option<(Key, Option<Readiness>)> {
    let is_alone = core.ready.borrow().is_empty()
        && !core.inbox.is_waiting()
        && !core.marks.has(Marks::FLOW | Marks::SPENT)
        && !core.callbacks.borrow().may_be_due(now);
    if !is_alone {
        return None;
    }
    match (&events[..], core.marks.has(Marks::READABLE)) {
        (&[event], false) => {
            events.clear();
            Some((Key::from_bits(event.token.0), Some(event)))
        }
        (&[], true) => {
            let mut still_readable = core.still_readable.borrow_mut();
            let &[source] = &still_readable[..] else {
                return None;
            };
            still_readable.clear();
            core.marks.set(Marks::READABLE, false);
            Some((source, None))
        }
        _ => None,
    }
}

/// Nearly as usual: one handle is queued, and nothing else waits. Such a turn needs no snapshot.
#[inline]
fn lone_entry(core: &Core, now: Time, events: &[Readiness]) -> Option<Ready> {
    let mut ready = core.ready.borrow_mut();
    let is_alone = ready.len() == 1
        && events.is_empty()
        && !core.inbox.is_waiting()
        && !core.marks.has(Marks::FLOW | Marks::READABLE | Marks::SPENT);
    if !is_alone {
        return None;
    }
    let mut callbacks = core.callbacks.borrow_mut();
    if callbacks.may_be_due(now) {
        return None;
    }
    callbacks.clean();
    ready.pop().map(Ready::from)
}

/// Runs the handles of a source that is ready alone; true if that ends the turn.
#[inline]
fn run_alone(core: &Rc<Core>, key: Key, event: Option<&Readiness>) -> bool {
    // What it is is asked once, of those that are the many.
    let sources = core.sources.borrow();
    match sources.get(key) {
        Some(Registered::Stream(stream)) => {
            let stream = Rc::clone(stream);
            drop(sources);
            let noted = match event {
                Some(event) => stream.note_readiness(event),
                None => (stream.begin_read(), false),
            };
            run_noted(core, key, noted, |read, write| {
                sources::run_stream(core, &stream, read, write);
            })
        }
        Some(Registered::Endpoint(endpoint)) => {
            let endpoint = Rc::clone(endpoint);
            drop(sources);
            let noted = match event {
                Some(event) => endpoint.note_readiness(event),
                None => (endpoint.begin_read(), false),
            };
            run_noted(core, key, noted, |read, write| {
                sources::run_endpoint(core, &endpoint, read, write);
            })
        }
        Some(other) => {
            let other = other.clone();
            drop(sources);
            let noted = match event {
                Some(event) => other.note(event),
                None => (other.begin_read(), false),
            };
            run_noted(core, key, noted, |read, write| sources::run_io(core, &other, read, write))
        }
        None => false,
    }
}

/// Runs the handles of a source, which are those that are `noted` as due: the read and the write handle. True if that
/// ends the turn.
#[inline(always)]
fn run_noted(core: &Rc<Core>, key: Key, noted: (bool, bool), run: impl FnOnce(bool, bool)) -> bool {
    let (read, write) = noted;
    if !read && !write {
        return false;
    }
    if core.marks.has(Marks::TIMED) {
        run_timed(core, Ready::Io { source: key, read, write });
    } else {
        run(read, write);
    }
    drain_flow(core);
    is_cut_short(core)
}

/// How often a source that is ready alone is read in one turn.
const READS_MAX: u32 = 8;

/// True if the handles of a source, which queued nothing, left more to read. Their iteration follows at once, as that
/// of tasks does, and its poll is left out.
#[inline]
fn has_more_alone(core: &Core) -> bool {
    core.marks.has(Marks::READABLE) && !core.stopping.get()
}

/// True if all that the handles of a source queued, which is something, are tasks that they woke. Their iteration
/// follows at once, and its poll, which would ask again what was asked a moment ago, is taken to have found nothing: a
/// message to a task then costs no system call of its own, and no turn of the simulator's. What it might have found
/// would have run behind the tasks, and does so in the iteration after it, which polls: nothing is starved.
#[inline]
fn woke_tasks_alone(core: &Core) -> bool {
    let ready = core.ready.borrow();
    ready.iter().all(|&entry| matches!(Ready::from(entry), Ready::Task(_)))
        && !core.marks.has(Marks::FLOW | Marks::READABLE | Marks::SPENT)
        && !core.inbox.is_waiting()
        && !core.stopping.get()
}

/// Makes the snapshot: what was queued, what is ready, the timers that are due. No user code runs
/// here.
#[inline]
fn take_snapshot(core: &Core, now: Time, events: &mut Vec<Readiness>) {
    let mut batch = core.batch.borrow_mut();
    batch.clear();
    if core.inbox.is_waiting() {
        merge_wakeups(core, &mut batch);
    } else {
        std::mem::swap(&mut *core.ready.borrow_mut(), &mut *batch);
    }
    let mut arisen = queue_still_readable(core, &mut batch);
    arisen += queue_readiness(core, events, &mut batch);
    arisen += queue_due_timers(core, now, &mut batch);
    core.inbox.advance(arisen);
    core.batch_left.set(batch.len());
}

/// Begins the snapshot with the queued handles and the woken tasks, each where it was woken.
fn merge_wakeups(core: &Core, batch: &mut Vec<Queued>) {
    let mut woken = core.woken.take();
    core.inbox.take(&mut woken);
    let mut ready = core.ready.borrow_mut();
    let mut wakeups = woken.drain(..).peekable();
    let first = core.inbox.position() - ready.len() as u64;
    for (position, entry) in (first..).zip(ready.drain(..)) {
        while let Some(wakeup) = wakeups.next_if(|wakeup| wakeup.position <= position) {
            batch.push(Ready::Task(wakeup.task).into());
        }
        batch.push(entry);
    }
    batch.extend(wakeups.map(|wakeup| Queued::from(Ready::Task(wakeup.task))));
    drop(ready);
    core.woken.replace(woken);
}

/// Sources that a read left with more to read come before new readiness, in the order of those
/// reads (the key that contract A-27 asks for). Says how many entries it queued.
#[inline]
fn queue_still_readable(core: &Core, queue: &mut Vec<Queued>) -> u64 {
    if !core.marks.take(Marks::READABLE) {
        return 0;
    }
    let mut queued = 0;
    let sources = core.sources.borrow();
    for source in core.still_readable.borrow_mut().drain(..) {
        if sources.get(source).is_some_and(Registered::begin_read) {
            queue.push(Ready::Io { source, read: true, write: false }.into());
            queued += 1;
        }
    }
    queued
}

/// Queues the handles of new readiness. Says how many entries it queued.
#[inline]
fn queue_readiness(core: &Core, events: &mut Vec<Readiness>, queue: &mut Vec<Queued>) -> u64 {
    if events.is_empty() {
        return 0;
    }
    let mut queued = 0;
    let sources = core.sources.borrow();
    for event in events.iter() {
        let source = Key::from_bits(event.token.0);
        let (read, write) = sources.get(source).map_or((false, false), |it| it.note(event));
        if read || write {
            queue.push(Ready::Io { source, read, write }.into());
            queued += 1;
        }
    }
    drop(sources);
    events.clear();
    queued
}

/// Queues the timers that are due. Says how many entries it queued.
#[inline]
fn queue_due_timers(core: &Core, now: Time, queue: &mut Vec<Queued>) -> u64 {
    let mut callbacks = core.callbacks.borrow_mut();
    // Here and not only before a wait, since a loop that is always ready never waits.
    callbacks.clean();
    let mut queued = 0;
    while let Some(key) = callbacks.pop_due(now) {
        queue.push(Ready::Callback(key).into());
        queued += 1;
    }
    queued
}

fn run_batch(core: &Rc<Core>) {
    loop {
        let left = core.batch_left.get();
        if left == 0 {
            break;
        }
        core.batch_left.set(left - 1);
        let batch = core.batch.borrow();
        if batch.len() >= look_ahead::MANY && left > look_ahead::FAR {
            look_ahead::look_ahead(core, &batch[batch.len() - left..]);
        }
        let entry = Ready::from(batch[batch.len() - left]);
        drop(batch);
        if core.marks.has(Marks::TIMED) {
            run_timed(core, entry);
        } else {
            run(core, entry);
        }
        drain_flow(core);
        if is_cut_short(core) {
            break;
        }
    }
}

/// Runs a handle that costs its host time.
#[cold]
fn run_timed(core: &Rc<Core>, entry: Ready) {
    if core.debug() {
        run_watched(core, entry);
    } else {
        run(core, entry);
    }
    let cost = core.callback_cost();
    if !cost.is_zero() {
        core.spend(cost);
    }
}

/// Debug mode: reports a handle that took long (contract A-66).
fn run_watched(core: &Rc<Core>, entry: Ready) {
    let (name, place) = match entry {
        Ready::Callback(key) => ("a callback".to_owned(), core.callbacks.borrow().place(key)),
        Ready::Task(key) => match core.task(key) {
            Some(task) => (task.header().name(), Some(task.header().place())),
            None => (String::new(), None),
        },
        Ready::Io { source, .. } | Ready::Life(source, _) => {
            let found = sources::find(core, source);
            (sources::describe(found.as_ref()), found.and_then(|source| source.place()))
        }
    };
    let began = core.driver.now();
    run(core, entry);
    let ended = core.busy_until().unwrap_or_else(|| core.driver.now());
    let took = ended - began;
    if took >= core.slow_callback.get() {
        let text = format!("Executing {name} took {took:?}");
        core.report_debug(ErrorContext::message(text), place);
    }
}

fn run(core: &Rc<Core>, entry: Ready) {
    match entry {
        Ready::Callback(key) => run_callback(core, key),
        Ready::Task(key) => task::step(core, key),
        Ready::Io { source, read, write } => {
            if let Some(source) = sources::find(core, source) {
                sources::run_io(core, &source, read, write);
            }
        }
        Ready::Life(source, step) => sources::run_life(core, source, step),
    }
}

fn run_callback(core: &Rc<Core>, key: Key) {
    use super::callbacks::Action;

    let Some((action, deadline, place)) = core.callbacks.borrow_mut().take(key) else {
        return;
    };
    match deadline {
        Some(at) => core.trace(Record::TimerFired { at }),
        None => core.trace(Record::Soon),
    }
    match action {
        Action::Call(callback) => {
            if let Err(message) = core.contain(callback) {
                let context = ErrorContext::panic("Exception in callback", message);
                core.report_made(context, place);
            }
        }
        Action::Posted(table, slot) => table.run(slot, place),
        Action::Wake(waker) => waker.wake(),
        Action::Step(task) => {
            if let Some(task) = core.task(task) {
                task.header().queue_step();
            }
        }
    }
}

/// Delivers the flow events that the last callback caused, before anything else (ruling 1).
#[inline]
pub(crate) fn drain_flow(core: &Rc<Core>) {
    if core.marks.has(Marks::FLOW) {
        deliver_flow(core);
    }
}

#[cold]
fn deliver_flow(core: &Rc<Core>) {
    loop {
        let Some(event) = core.flow.borrow_mut().pop_front() else {
            core.marks.set(Marks::FLOW, false);
            break;
        };
        match event {
            Flow::Pause(stream) => stream.deliver_pause(),
            Flow::PauseLayer(layer) => layer.deliver_pause(),
            Flow::PauseDatagrams(endpoint) => endpoint.deliver_pause(),
            Flow::Error(endpoint, error) => endpoint.deliver_error(error),
        }
    }
}
