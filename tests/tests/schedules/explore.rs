//! Runs a small program under every schedule: any task that is ready may run next, and any task that waits may
//! be cancelled, up to a number of cancellations.
//!
//! A loop of ours runs tasks in order; what holds under every schedule holds under that one, whatever arrives
//! when.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

type Body = Pin<Box<dyn Future<Output = ()>>>;

/// Says what is wrong, if something is.
type Check = Box<dyn Fn(&Ending) -> Option<String>>;

/// Some tasks, and what is to be true when nothing more happens.
#[derive(Default)]
pub(crate) struct Program {
    tasks: Vec<(String, Body)>,
    /// Says what is wrong at the end, given which tasks still wait.
    at_end: Option<Check>,
    wrong: Wrong,
}

/// What a task found to be wrong while it ran.
#[derive(Clone, Default)]
pub(crate) struct Wrong(Rc<RefCell<Option<String>>>);

impl Wrong {
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.0.borrow_mut().get_or_insert_with(|| what.into());
    }
}

/// Where a run came to: every task has ended, was cancelled, or waits for what nobody does.
#[derive(Debug)]
pub(crate) struct Ending {
    waiting: Vec<String>,
    cancelled: Vec<String>,
}

impl Ending {
    /// How many tasks whose names begin so still wait.
    pub(crate) fn waiting(&self, name: &str) -> usize {
        self.waiting.iter().filter(|waiting| waiting.starts_with(name)).count()
    }

    /// How many tasks whose names begin so were cancelled.
    pub(crate) fn cancelled(&self, name: &str) -> usize {
        self.cancelled.iter().filter(|cancelled| cancelled.starts_with(name)).count()
    }
}

impl Program {
    pub(crate) fn task(
        &mut self,
        name: impl Into<String>,
        body: impl Future<Output = ()> + 'static,
    ) {
        self.tasks.push((name.into(), Box::pin(body)));
    }

    pub(crate) fn at_end(&mut self, check: impl Fn(&Ending) -> Option<String> + 'static) {
        self.at_end = Some(Box::new(check));
    }

    pub(crate) fn wrong(&self) -> Wrong {
        self.wrong.clone()
    }
}

/// What came of all schedules.
pub(crate) struct Explored {
    pub(crate) schedules: u64,
    /// The first schedule that went wrong, step by step, and how.
    pub(crate) finding: Option<(Vec<String>, String)>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Running {
    name: String,
    /// `None` once it has ended or was cancelled.
    body: Option<Body>,
    ready: Arc<Flag>,
    began: bool,
    cancelled: bool,
}

enum Step {
    Run(usize),
    Cancel(usize),
    Stop,
}

/// Runs what `make` makes under every schedule with at most so many cancellations, until one goes wrong.
pub(crate) fn explore(make: impl Fn(&mut Program), cancellations: usize) -> Explored {
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut schedules = 0;
    loop {
        let mut program = Program::default();
        make(&mut program);
        let (steps, finding) = run(program, cancellations, &mut choices);
        schedules += 1;
        if let Some(finding) = finding {
            return Explored { schedules, finding: Some((steps, finding)) };
        }
        // The next sequence of choices: the last that has another one left takes it.
        while choices.last().is_some_and(|&(chosen, of)| chosen + 1 == of) {
            choices.pop();
        }
        let Some((chosen, _)) = choices.last_mut() else {
            return Explored { schedules, finding: None };
        };
        *chosen += 1;
    }
}

fn run(
    program: Program,
    mut cancellations: usize,
    choices: &mut Vec<(usize, usize)>,
) -> (Vec<String>, Option<String>) {
    let Program { tasks, at_end, wrong } = program;
    let begin = |(name, body)| Running {
        name,
        body: Some(body),
        ready: Arc::new(Flag(AtomicBool::new(true))),
        began: false,
        cancelled: false,
    };
    let mut tasks: Vec<Running> = tasks.into_iter().map(begin).collect();
    let mut told = Vec::new();
    for number in 0.. {
        let is_ready = |task: &Running| task.body.is_some() && task.ready.0.load(Ordering::Relaxed);
        let ready = (0..tasks.len()).filter(|&at| is_ready(&tasks[at])).map(Step::Run);
        let mut steps: Vec<Step> = ready.collect();
        if steps.is_empty() {
            steps.push(Step::Stop);
        }
        if cancellations > 0 {
            let waits = |task: &Running| task.body.is_some() && task.began;
            steps.extend((0..tasks.len()).filter(|&at| waits(&tasks[at])).map(Step::Cancel));
        }
        let chosen = match choices.get(number) {
            Some(&(chosen, _)) => chosen,
            None => {
                choices.push((0, steps.len()));
                0
            }
        };
        match steps[chosen] {
            Step::Stop => break,
            Step::Run(at) => {
                let task = &mut tasks[at];
                told.push(format!("run {}", task.name));
                task.began = true;
                task.ready.0.store(false, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&task.ready));
                let body = task.body.as_mut().expect("it has not ended");
                if body.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    task.body = None;
                }
            }
            Step::Cancel(at) => {
                cancellations -= 1;
                let task = &mut tasks[at];
                told.push(format!("cancel {}", task.name));
                task.cancelled = true;
                task.body = None;
            }
        }
        if let Some(wrong) = wrong.0.borrow_mut().take() {
            return (told, Some(wrong));
        }
    }
    let names = |of: fn(&Running) -> bool| {
        tasks.iter().filter(|task| of(task)).map(|task| task.name.clone()).collect()
    };
    let ending = Ending {
        waiting: names(|task| task.body.is_some()),
        cancelled: names(|task| task.cancelled),
    };
    let finding = at_end.and_then(|check| check(&ending));
    (told, finding)
}

/// Lets others run.
pub(crate) async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
