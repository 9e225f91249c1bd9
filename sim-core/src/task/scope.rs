//! Where a cancellation goes: the scopes of a task.
//!
//! Rust cannot raise at an await of a foreign future. A cancellation is therefore handed to whoever
//! waits in a *scope* (contract, ruling 4). The scopes of a task form a tree whose root is the task;
//! a scope's parent is the one inside which it is polled, so `join!` and the like make branches.
//!
//! 1. It is *delivered* to the innermost pending scopes that take one and are awaited. [`catch_cancel`]
//!    takes it by dropping its future; an await of a task, or of several, passes it on to them; a
//!    deadline takes none but its own. If there is no such scope the sender takes it itself: the task
//!    ends, the deadline gives up its future. What a step of the task does not poll, its future still
//!    being there, is not awaited: somebody looked at it once, as `select` does, and does something
//!    else now (B-13, B-17). The step in which that happened does not show it, so the task takes
//!    another before a cancellation is passed on to tasks.
//! 2. It is *raised*, when an awaited task ended by it or a catcher lets it go on, to the next scope
//!    around that catches it, and no further than its [`Sender`]. An await that is not polled any
//!    more, its future still being there, cannot raise what it passed on: its task does so after the
//!    step that was to hear of it. So it is with a scope that catches and is not polled; one that is
//!    dropped before it has heard, or before the group whose it is has ended, raises at once.
//!
//! Whatever is done in the step that a cancellation takes to be passed on waits for it, as far as it is a scope: the
//! cancellation wins (B-33). A task that returns in that step is cancelled, too.
//!
//! Two cancellations that meet in a scope become one, that of the outer sender. So of nested
//! deadlines that pass together the outer reports, and a request from outside is never taken for a
//! deadline (B-41). Nor is it where a deadline passes while the one that caught a request inside it, or that of an
//! outer scope, cleans up: what was sent further out since the deadline began goes on in its stead.
//!
//! [`catch_cancel`]: super::catch_cancel

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use super::completions::Completions;
use super::header::{AnyTask, Header, PASSED_ON, REQUESTED, UPCOMING, Watcher};
use super::step;
use crate::engine::core::Core;
use crate::error::TaskError;
use crate::trace::TaskOutcome;

/// Who sent a cancellation, and so how far out it goes when nobody catches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sender {
    /// `Task::cancel`: it goes as far as the task.
    Request,
    /// The scope of this number: a deadline that passed, a group that gave up.
    Scope(u64),
}

/// What a scope does with a cancellation.
pub(crate) enum ScopeKind {
    /// Its future is dropped: `catch_cancel`, and the body of a task group.
    Catch,
    /// It takes none but its own.
    Deadline,
    /// An await of a task, which is cancelled instead.
    Join(Rc<dyn AnyTask>),
    /// An await of several tasks.
    JoinAll(Rc<Completions>),
}

/// A scope of a task.
pub(crate) struct Scope {
    kind: ScopeKind,
    /// Its number among the scopes of its task, from 1.
    number: u64,
    owner: Weak<dyn AnyTask>,
    parent: RefCell<Option<Rc<Scope>>>,
    /// Its place among the pending scopes of its task.
    place: Cell<Option<usize>>,
    ended: Cell<bool>,
    cancelled: Cell<Option<Sender>>,
    /// It passed a cancellation on that nobody else took: it watches the tasks that got it.
    watching: Cell<bool>,
    /// It caught a cancellation that nobody else took, and whose it still is.
    caught: Cell<Option<Caught>>,
    waker: RefCell<Option<Waker>>,
    /// The step in which its future was last polled; [`ELSEWHERE`] if with another waker than its task's.
    polled_in: Cell<u64>,
    /// The step in which what is inside was done, and a cancellation was to come behind it.
    late_in: Cell<u64>,
    /// How many requests its task had when it began.
    requests: u32,
    /// The number of the last scope of its task when it sent a cancellation of its own; 0 if it did not.
    sent: Cell<u64>,
}

/// Its future is polled by something inside its task that has wakers of its own, as sets of futures have. Such a thing
/// polls what was woken, and not in every step.
const ELSEWHERE: u64 = u64::MAX;

/// A cancellation on its way through a scope that catches.
#[derive(Clone, Copy)]
struct Caught {
    /// How many its task had heard by then: with one more, this is dealt with.
    heard: u64,
    heard_in: HeardIn,
}

/// The step that is to hear of a cancellation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeardIn {
    /// It came in a step of the task: the one behind that.
    AfterNext,
    Next,
    /// The scope's future knows of it.
    Done,
}

impl Scope {
    fn begin(task: &Rc<dyn AnyTask>, kind: ScopeKind) -> Rc<Self> {
        let header = task.header();
        Rc::new(Self {
            kind,
            number: header.next_scope(),
            owner: Rc::downgrade(task),
            parent: RefCell::new(header.current_scope()),
            place: Cell::new(None),
            ended: Cell::new(false),
            cancelled: Cell::new(None),
            watching: Cell::new(false),
            caught: Cell::new(None),
            waker: RefCell::new(None),
            polled_in: Cell::new(header.steps()),
            late_in: Cell::new(0),
            requests: header.requests(),
            sent: Cell::new(0),
        })
    }

    /// Its future is polled by its task, in whatever scope that is in.
    fn begin_poll(&self, owner: &Header) {
        self.polled_in.set(owner.steps());
        let moved = self.parent.replace(owner.current_scope());
        drop(moved);
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Itself as the sender of a cancellation.
    pub(crate) fn as_sender(&self) -> Sender {
        Sender::Scope(self.number)
    }

    /// Who cancelled it, if somebody did.
    pub(crate) fn cancelled(&self) -> Option<Sender> {
        self.cancelled.get()
    }

    /// Forgets who cancelled it: the cancellation was dealt with, and it waits for more.
    pub(crate) fn take_cancelled(&self) -> Option<Sender> {
        self.cancelled.take()
    }

    fn is_owned_by(&self, task: &Rc<dyn AnyTask>) -> bool {
        std::ptr::addr_eq(Weak::as_ptr(&self.owner), Rc::as_ptr(task))
    }

    /// The engine of its task, if that is still there.
    pub(crate) fn core(&self) -> Option<Rc<Core>> {
        self.owner.upgrade().map(|owner| Rc::clone(&owner.header().core))
    }

    /// The scope around it, of those that still wait.
    pub(crate) fn around(&self) -> Option<Rc<Self>> {
        let mut around = self.parent.borrow().clone();
        while let Some(scope) = around {
            if !scope.ended.get() {
                return Some(scope);
            }
            around = scope.parent.borrow().clone();
        }
        None
    }

    fn is_within(&self, outer: &Self) -> bool {
        let mut around = self.around();
        while let Some(scope) = around {
            if scope.number == outer.number {
                return true;
            }
            around = scope.around();
        }
        false
    }

    /// Whether its task waits in it, and has not just left it for something else.
    fn is_awaited(&self, owner: &Header) -> bool {
        let (polled, step) = (self.polled_in.get(), owner.steps());
        // A step that is running may come to it yet.
        polled == ELSEWHERE || polled == step || owner.is_running() && polled + 1 == step
    }

    /// A join whose tasks are done takes no cancellation: it belongs to the scope around (B-33).
    fn takes_cancel(&self) -> bool {
        match &self.kind {
            ScopeKind::Catch => true,
            ScopeKind::Deadline => false,
            ScopeKind::Join(task) => !task.header().is_done(),
            ScopeKind::JoinAll(tasks) => !tasks.is_done(),
        }
    }

    /// Whether a cancellation that was put off until the step that is running has shown what is awaited concerns it,
    /// which waited by then.
    pub(crate) fn is_upcoming(&self) -> bool {
        self.has_upcoming(|within, _| within.is_none_or(|outer| self.is_within(outer)))
    }

    fn has_upcoming(&self, wanted: impl Fn(Option<&Rc<Self>>, Sender) -> bool) -> bool {
        self.place.get().is_some()
            && self.owner.upgrade().is_some_and(|owner| {
                let header = owner.header();
                header.is_marked(UPCOMING) && header.is_running() && header.has_upcoming(wanted)
            })
    }

    /// Whether its own cancellation has come back to it, or would behind the step that is running, in which what
    /// is inside was done.
    pub(crate) fn is_cut_short(&self) -> bool {
        if self.has_upcoming(|_, sender| sender == self.as_sender()) {
            self.mark(self.as_sender());
        }
        self.cancelled().is_some()
    }

    /// Of a deadline that passes: a cancellation further out that was sent since it began. Whoever caught that one
    /// inside has not let it go on yet, and never will.
    pub(crate) fn outstanding(&self) -> Option<Sender> {
        let owner = self.owner.upgrade()?;
        // One that the task makes in this step reaches it where it waits next.
        if owner.header().requests() > self.requests && !owner.header().cancels_itself() {
            return Some(Sender::Request);
        }
        let mut outer = None;
        let mut around = self.around();
        while let Some(scope) = around {
            if scope.sent.get() >= self.number {
                outer = Some(scope.as_sender());
            }
            around = scope.around();
        }
        outer
    }

    /// What is inside is done, and waits for a cancellation that comes behind the step, and wins.
    pub(crate) fn wait_for_upcoming(self: &Rc<Self>, waker: &Waker) {
        if let Some(owner) = self.owner.upgrade() {
            self.begin_poll(owner.header());
            self.late_in.set(owner.header().steps());
        }
        self.wait(waker);
        // In case that it goes elsewhere.
        waker.wake_by_ref();
    }

    fn is_late(&self, owner: &Header) -> bool {
        self.late_in.get() == owner.steps()
    }

    /// Whether it lies in the outcome of something that is done.
    fn is_left_over(&self, owner: &Header) -> bool {
        let mut around = self.around();
        while let Some(scope) = around {
            if scope.is_late(owner) {
                return true;
            }
            around = scope.around();
        }
        false
    }

    /// Raises a cancellation that its tasks were to have, and ended too soon for.
    fn raise_for_ended(&self, sender: Sender) {
        self.mark(sender);
        self.end();
        if let Some(sender) = self.take_cancelled() {
            self.raise(sender);
        }
    }

    /// Takes a cancellation.
    fn take(&self, sender: Sender) {
        self.mark(sender);
        match &self.kind {
            ScopeKind::Catch | ScopeKind::Deadline => self.wake(),
            ScopeKind::Join(task) => drop(task.header().cancel()),
            ScopeKind::JoinAll(tasks) => tasks.cancel_all(),
        }
    }

    /// Answers for a cancellation that it has caught and nobody else hears of: its task takes a step, in which it
    /// is heard or raised.
    fn answer_for(&self, owner: &Header) {
        let is_running = owner.is_running();
        let heard_in = if is_running { HeardIn::AfterNext } else { HeardIn::Next };
        self.caught.set(Some(Caught { heard: owner.heard(), heard_in }));
        owner.mark(PASSED_ON);
        if !is_running {
            // Its own waker may wake nobody, as that of a set of futures that is not polled.
            owner.queue_step();
        }
    }

    /// Answers for a cancellation that it has passed on, which nobody caught as well.
    fn answer_for_tasks(self: &Rc<Self>, owner: &Header) {
        self.caught.set(Some(Caught { heard: owner.heard(), heard_in: HeardIn::Done }));
        self.watch();
    }

    /// What it caught and its future does not know of yet.
    fn unheard(&self) -> Option<Caught> {
        self.caught.get().filter(|caught| caught.heard_in != HeardIn::Done)
    }

    /// Its future knows that it was cancelled.
    pub(crate) fn hear(&self) {
        let (Some(owner), Some(caught)) = (self.owner.upgrade(), self.unheard()) else { return };
        let heard = owner.header().hear();
        let is_alone = heard == caught.heard + 1;
        let heard_in = HeardIn::Done;
        self.caught.set(is_alone.then_some(Caught { heard, heard_in }));
    }

    /// Whether the step that is over was to hear of what it caught, and did not.
    fn was_not_heard(&self, owner: &Header) -> bool {
        let Some(caught) = self.unheard() else { return false };
        if caught.heard != owner.heard() {
            self.caught.set(None);
            return false;
        }
        if caught.heard_in == HeardIn::AfterNext {
            self.caught.set(Some(Caught { heard_in: HeardIn::Next, ..caught }));
            owner.queue_step();
            return false;
        }
        true
    }

    /// Its future is dropped: what it caught, or passed on, and nobody has dealt with goes on, as far as its sender is.
    fn abandon(&self) {
        self.end();
        let (Some(owner), Some(caught)) = (self.owner.upgrade(), self.caught.take()) else {
            return;
        };
        let header = owner.header();
        let is_over = header.is_done() || header.core.is_closed() || header.core.is_dead();
        if is_over || header.is_doomed() || caught.heard != header.heard() || self.was_swallowed() {
            return;
        }
        if let Some(sender) = self.take_cancelled().filter(|sender| self.is_within_sender(*sender))
        {
            self.raise(sender);
        }
    }

    fn is_within_sender(&self, sender: Sender) -> bool {
        let Sender::Scope(number) = sender else { return true };
        let mut around = self.around();
        while let Some(scope) = around {
            if scope.number == number {
                return true;
            }
            around = scope.around();
        }
        false
    }

    /// Whether the task that it awaited ended in another way than by the cancellation (B-17).
    fn was_swallowed(&self) -> bool {
        let ScopeKind::Join(task) = &self.kind else { return false };
        task.header().outcome().is_some_and(|outcome| outcome != TaskOutcome::Cancelled)
    }

    /// Notes that it is cancelled: of two senders, by the outer one.
    fn mark(&self, sender: Sender) {
        let outer = match (self.cancelled.get(), sender) {
            (None, only) => only,
            (Some(Sender::Request), _) | (_, Sender::Request) => Sender::Request,
            (Some(Sender::Scope(known)), Sender::Scope(new)) => {
                Sender::Scope(self.outer_of(known, new))
            }
        };
        self.cancelled.set(Some(outer));
    }

    fn outer_of(&self, first: u64, second: u64) -> u64 {
        let mut outer = first;
        let mut around = self.around();
        while let Some(scope) = around {
            if scope.number == first || scope.number == second {
                outer = scope.number;
            }
            around = scope.around();
        }
        outer
    }

    /// The tasks that it awaits.
    fn awaited(&self) -> &[Rc<dyn AnyTask>] {
        match &self.kind {
            ScopeKind::Catch | ScopeKind::Deadline => &[],
            ScopeKind::Join(task) => std::slice::from_ref(task),
            ScopeKind::JoinAll(tasks) => tasks.tasks(),
        }
    }

    /// Has its task take a step when those that it awaits are done. Its own waker may wake nobody:
    /// that of a set of futures does so once for every time that the set is polled.
    fn watch(self: &Rc<Self>) {
        if self.awaited().is_empty() || self.watching.replace(true) {
            return;
        }
        let watcher: Rc<dyn Watcher> = Rc::clone(self) as Rc<dyn Watcher>;
        for task in self.awaited().iter().filter(|task| !task.header().is_done()) {
            task.header().watch(Rc::downgrade(&watcher), 0);
        }
    }

    fn unwatch(&self) {
        if self.watching.take() {
            for task in self.awaited() {
                task.header().unwatch(self);
            }
        }
    }

    /// Does what the poll of its future has not done: hands on the cancellation that ended its
    /// tasks. A task that ended in another way has dealt with it (B-17).
    fn raise_unpolled(&self) {
        self.unwatch();
        if matches!(self.kind, ScopeKind::Catch) {
            self.caught.set(None);
            // Nobody waits in it, until it is polled again.
            self.leave();
            if let Some(sender) = self.take_cancelled() {
                self.raise(sender);
            }
            return;
        }
        let swallowed = self.was_swallowed();
        if let Some(sender) = self.take_cancelled().filter(|_| !swallowed) {
            self.end();
            self.raise(sender);
        }
    }

    /// Whether its future is being polled.
    fn is_polled(&self, owner: &Header) -> bool {
        let mut polled = owner.current_scope();
        while let Some(scope) = polled {
            if scope.number == self.number {
                return true;
            }
            polled = scope.around();
        }
        false
    }

    /// Has its future polled, unless that is what is going on.
    fn wake(&self) {
        let Some(owner) = self.owner.upgrade() else { return };
        if self.is_polled(owner.header()) {
            return;
        }
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends a cancellation of its own to what it is around; takes it itself if nobody else does.
    pub(crate) fn send_cancel(self: &Rc<Self>) {
        let sender = self.as_sender();
        let owner = self.owner.upgrade();
        if let Some(owner) = &owner {
            self.sent.set(owner.header().last_scope());
        }
        if !owner.is_some_and(|owner| owner.header().deliver(Some(self), sender)) {
            self.take_itself(sender);
        }
    }

    fn take_itself(&self, sender: Sender) {
        self.mark(sender);
        self.wake();
    }

    /// Whether it would pass a cancellation on to tasks of which it is not sure that they are awaited.
    fn must_look(&self, owner: &Header) -> bool {
        matches!(self.kind, ScopeKind::Join(_) | ScopeKind::JoinAll(_))
            && self.polled_in.get() == owner.steps()
            && self.takes_cancel()
    }

    /// Makes it one of its task's pending scopes.
    pub(crate) fn wait(self: &Rc<Self>, waker: &Waker) {
        let old = if self.waker.borrow().as_ref().is_some_and(|old| old.will_wake(waker)) {
            None
        } else {
            self.waker.replace(Some(waker.clone()))
        };
        drop(old);
        let Some(owner) = self.owner.upgrade() else { return };
        let header = owner.header();
        if !header.is_woken_by(waker) {
            self.polled_in.set(ELSEWHERE);
        }
        if self.place.get().is_none() {
            self.place.set(Some(header.add_scope(Rc::clone(self))));
        }
    }

    fn end(&self) {
        self.ended.set(true);
        self.unwatch();
        self.leave();
    }

    /// It is none of its task's pending scopes any more.
    fn leave(&self) {
        if let Some(place) = self.place.take()
            && let Some(owner) = self.owner.upgrade()
        {
            owner.header().remove_scope(place);
        }
    }

    /// Polls what is inside the scope.
    pub(crate) fn poll_inside<R>(self: &Rc<Self>, poll: impl FnOnce() -> Poll<R>) -> Poll<R> {
        struct Restore {
            task: Rc<dyn AnyTask>,
            outer: Option<Rc<Scope>>,
        }
        impl Drop for Restore {
            fn drop(&mut self) {
                let inner = self.task.header().replace_current_scope(self.outer.take());
                drop(inner);
            }
        }
        let Some(task) = self.owner.upgrade() else {
            return poll();
        };
        let outer = task.header().replace_current_scope(Some(Rc::clone(self)));
        let _restore = Restore { task, outer };
        poll()
    }

    /// Hands `sender`'s cancellation, which ended what this scope waited for, to the scope around.
    pub(crate) fn raise(&self, sender: Sender) {
        let Some(owner) = self.owner.upgrade() else { return };
        let header = owner.header();
        if header.raise(self.around(), sender) {
            return;
        }
        if sender == Sender::Request {
            header.mark(REQUESTED);
        }
        header.doom();
    }
}

/// A future's scope, for as long as the future lives.
#[derive(Default)]
pub(crate) struct HeldScope {
    scope: Option<Rc<Scope>>,
    /// Its cancellation was raised: the future never completes.
    raised: bool,
}

impl HeldScope {
    /// The scope for a poll that is going on: below the one that is being polled, in the task that
    /// polls. `None` outside any task.
    pub(crate) fn enter(&mut self, kind: impl FnOnce() -> ScopeKind) -> Option<Rc<Scope>> {
        let task = step::current()?;
        match &self.scope {
            Some(scope) if scope.is_owned_by(&task) => {
                scope.begin_poll(task.header());
            }
            _ => {
                self.abandon();
                self.scope = Some(Scope::begin(&task, kind()));
            }
        }
        self.scope.clone()
    }

    /// Ends it: what it was around is over.
    pub(crate) fn end(&mut self) {
        if let Some(scope) = self.scope.take() {
            scope.end();
        }
    }

    /// Ends it, as [`end`](Self::end): the task that it awaited has a value. If that was cancelled here, it has
    /// dealt with it (B-17).
    pub(crate) fn end_with_value(&mut self) {
        if let Some(scope) = self.scope.take() {
            let owner = scope.cancelled().and_then(|_| scope.owner.upgrade());
            if let Some(owner) = owner {
                owner.header().hear();
            }
            scope.end();
        }
    }

    /// Whether a cancellation comes behind the step that is running, for what waited here by then.
    pub(crate) fn is_upcoming(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.is_upcoming())
    }

    /// What waited here is done, and waits for such a cancellation.
    pub(crate) fn wait_for_upcoming(&self, waker: &Waker) {
        if let Some(scope) = &self.scope {
            scope.wait_for_upcoming(waker);
        }
    }

    fn abandon(&mut self) {
        if let Some(scope) = self.scope.take() {
            scope.abandon();
        }
    }

    /// Ends it, and hands its cancellation to the scope around. What held it is dropped soon, and
    /// pending until then.
    pub(crate) fn raise(&mut self, sender: Sender) {
        self.raised = true;
        if let Some(scope) = self.scope.take() {
            scope.end();
            scope.raise(sender);
        }
    }

    /// Who cancelled it, if somebody did.
    pub(crate) fn cancelled(&self) -> Option<Sender> {
        self.scope.as_ref()?.cancelled()
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised
    }
}

impl Drop for HeldScope {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Watcher for Scope {
    fn task_done(&self, _number: usize, _error: Option<&TaskError>) {
        let owner = self.owner.upgrade().filter(|owner| !owner.header().is_done());
        if let Some(owner) = owner.filter(|_| !self.takes_cancel()) {
            owner.header().queue_step();
        }
    }
}

impl Header {
    /// Delivers a cancellation to the innermost pending scopes that are awaited, of those within `within` if
    /// given; behind a step of the task, if that must show which those are. False if there is none.
    pub(crate) fn deliver(&self, within: Option<&Rc<Scope>>, sender: Sender) -> bool {
        let concerned = |scope: &Rc<Scope>| within.is_none_or(|outer| scope.is_within(outer));
        let must_look = !self.is_running()
            && self.pending_scopes().iter().any(|scope| scope.must_look(self) && concerned(scope))
            && !self.awaits_itself();
        if must_look {
            self.put_off(within, sender);
        }
        must_look || self.deliver_now(within, sender)
    }

    /// Whether tasks that it awaits await it: a cancellation would go round for ever.
    fn awaits_itself(&self) -> bool {
        let mut ahead = self.awaited_tasks();
        let mut known = BTreeSet::new();
        while let Some(task) = ahead.pop() {
            let header = task.header();
            if std::ptr::eq(header, self) {
                return true;
            }
            // Told apart by their places in memory, which decide nothing else.
            if known.insert(std::ptr::from_ref(header).addr()) {
                ahead.extend(header.awaited_tasks());
            }
        }
        false
    }

    fn awaited_tasks(&self) -> Vec<Rc<dyn AnyTask>> {
        self.pending_scopes().iter().flat_map(|scope| scope.awaited().to_vec()).collect()
    }

    /// Delivers the cancellations that were put off until the step that is over.
    #[cold]
    pub(super) fn deliver_upcoming(&self) {
        for (within, sender) in self.take_upcoming() {
            match within {
                Some(scope) if scope.ended.get() => {}
                Some(scope) if !self.deliver_now(Some(&scope), sender) => scope.take_itself(sender),
                None if !self.deliver_now(None, sender) => self.doom(),
                _ => {}
            }
        }
    }

    fn deliver_now(&self, within: Option<&Rc<Scope>>, sender: Sender) -> bool {
        let mut taking = self.pending_scopes();
        taking.retain(|scope| {
            (scope.takes_cancel() || scope.is_late(self))
                && scope.is_awaited(self)
                && !scope.is_left_over(self)
                && within.is_none_or(|outer| scope.is_within(outer))
        });
        taking.sort_by_key(|scope| scope.number);
        let mut outer = BTreeSet::new();
        for scope in &taking {
            let mut around = scope.around();
            while let Some(scope) = around.filter(|scope| outer.insert(scope.number)) {
                around = scope.around();
            }
        }
        taking.retain(|scope| !outer.contains(&scope.number));
        let (late, taking): (Vec<_>, Vec<_>) =
            taking.into_iter().partition(|scope| !scope.takes_cancel());
        taking.iter().for_each(|scope| scope.take(sender));
        // What is caught as well has been heard.
        let catches = |scope: &&Rc<Scope>| matches!(scope.kind, ScopeKind::Catch);
        let caught = taking.iter().filter(catches).count();
        if caught == 0 && !taking.is_empty() {
            taking.iter().for_each(|scope| scope.answer_for_tasks(self));
            self.mark(PASSED_ON);
        } else if caught == taking.len() {
            taking.iter().for_each(|scope| scope.answer_for(self));
        }
        late.iter().for_each(|scope| scope.raise_for_ended(sender));
        !taking.is_empty() || !late.is_empty()
    }

    /// Raises the cancellations that awaits passed on which the step that is over has not polled,
    /// though their tasks are done, and those that it was to hear of and has not.
    #[cold]
    pub(super) fn raise_unpolled(&self) {
        let mut passing = self.pending_scopes();
        passing.retain(|scope| scope.watching.get() || scope.unheard().is_some());
        let (over, waiting): (Vec<_>, Vec<_>) =
            passing.into_iter().partition(|scope| match scope.kind {
                ScopeKind::Catch => scope.was_not_heard(self),
                _ => !scope.takes_cancel(),
            });
        if waiting.iter().all(|scope| !scope.watching.get() && scope.unheard().is_none()) {
            self.unmark(PASSED_ON);
        }
        over.iter().for_each(|scope| scope.raise_unpolled());
    }

    /// Hands a cancellation outwards, from `around` on, to the first scope that catches it; false if there is none.
    pub(super) fn raise(&self, mut around: Option<Rc<Scope>>, sender: Sender) -> bool {
        while let Some(scope) = around {
            let catches = match scope.kind {
                ScopeKind::Catch => scope.is_awaited(self),
                ScopeKind::Deadline => sender == scope.as_sender(),
                ScopeKind::Join(_) | ScopeKind::JoinAll(_) => false,
            };
            if catches {
                scope.mark(sender);
                scope.wake();
                if matches!(scope.kind, ScopeKind::Catch) {
                    scope.answer_for(self);
                }
                return true;
            }
            around = scope.around();
        }
        false
    }
}
