//! Plays a tree.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use sim_core::combinators::{gather, gather_all, shield};
use sim_core::{Loop, Task, TaskError, catch_cancel};

use crate::tree::{Case, Failures, Tree};

/// Longer than all that a tree does when it is cancelled.
const LONG: Duration = Duration::from_secs(1);

type Outcome = Result<(), ()>;

#[derive(Clone)]
struct Play {
    lp: Loop,
    /// How many tasks there are.
    live: Rc<Cell<usize>>,
    wrong: Rc<RefCell<Vec<String>>>,
}

/// Counts a task for as long as its future lives.
struct Live(Rc<Cell<usize>>);

impl Live {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Whether all is right with a case.
pub(crate) fn holds(case: &Case) -> Result<(), String> {
    let lp = sim_net::new_loop();
    let play = Play { lp: (*lp).clone(), live: Rc::default(), wrong: Rc::default() };
    let (playing, case) = (play.clone(), case.clone());
    let ended = lp.run_until_complete(async move { playing.play(case).await });
    if let Err(error) = ended {
        play.say(error.to_string());
    }
    let wrong = play.wrong.borrow().join("; ");
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

impl Play {
    fn say(&self, what: String) {
        self.wrong.borrow_mut().push(what);
    }

    async fn turns(&self, turns: u64) {
        for _ in 0..turns {
            self.lp.sleep(Duration::ZERO).await;
        }
    }

    async fn play(self, case: Case) {
        let tree = case.tree.clone();
        let mut task = self.task(tree.clone());
        self.lp.sleep(ms(1) * u32::try_from(case.at).expect("it is small") / 2).await;
        self.turns(case.turns).await;
        let asked = task.cancel();
        if case.twice {
            self.turns(1).await;
            task.cancel();
        }
        match self.lp.timeout(LONG, shield(&mut task)).await {
            Err(_) if tree.may_swallow() => return,
            Err(_) => self.say("the task hangs".to_owned()),
            Ok(ended) => self.check(&tree, asked, ended),
        }
        self.lp.sleep(LONG).await;
        if asked && !tree.leaves_tasks() && self.live.get() > 0 {
            self.say(format!("{} tasks are left", self.live.get()));
        }
    }

    fn check(&self, tree: &Tree, asked: bool, ended: Result<Outcome, TaskError>) {
        match ended {
            Ok(value) if asked && !tree.may_swallow() => {
                self.say(format!("cancelled, and ended with {value:?}: {tree:?}"));
            }
            Err(TaskError::Panicked(message)) => self.say(message.to_string()),
            _ => {}
        }
    }

    fn task(&self, tree: Tree) -> Task<Outcome> {
        let (live, play) = (Live::new(&self.live), self.clone());
        self.lp.create_task(async move {
            let _live = live;
            play.run(tree).await
        })
    }

    fn tasks(&self, trees: Vec<Tree>) -> Vec<Task<Outcome>> {
        trees.into_iter().map(|tree| self.task(tree)).collect()
    }

    fn run(&self, tree: Tree) -> Pin<Box<dyn Future<Output = Outcome>>> {
        let play = self.clone();
        Box::pin(async move {
            match tree {
                Tree::Sleep(time) => play.lp.sleep(ms(time)).await,
                Tree::Turns(turns) => play.turns(turns).await,
                Tree::Forever => pending().await,
                Tree::Fail => return Err(()),
                Tree::Timeout(limit, tree) => return play.timeout(limit, *tree).await,
                Tree::Join(tree) => return play.task(*tree).await.unwrap_or(Err(())),
                Tree::Cancelled(turns, tree) => return play.cancelled(turns, *tree).await,
                Tree::Shield(tree) => return shield(play.task(*tree)).await.unwrap_or(Err(())),
                Tree::Gather(trees) => {
                    return gather(play.tasks(trees)).await.map(drop).map_err(drop);
                }
                Tree::GatherAll(trees) => drop(gather_all(play.tasks(trees)).await),
                Tree::Group(failures, trees, body) => {
                    return play.group(failures, trees, *body).await;
                }
                Tree::Catch(time, tree) => match catch_cancel(play.run(*tree)).await {
                    Ok(ended) => return ended,
                    Err(cancelled) => {
                        play.lp.sleep(ms(time)).await;
                        cancelled.raise().await
                    }
                },
                Tree::Sequence(trees) => {
                    for tree in trees {
                        let _whatever = play.run(tree).await;
                    }
                }
                Tree::Select(one, two) => {
                    let first = select(play.run(*one), play.run(*two)).await;
                    let (Either::Left((ended, _)) | Either::Right((ended, _))) = first;
                    return ended;
                }
            }
            Ok(())
        })
    }

    async fn timeout(&self, limit: u64, tree: Tree) -> Outcome {
        let began = self.lp.time();
        let timeout = self.lp.timeout(ms(limit), self.run(tree.clone()));
        let deadline = timeout.deadline().clone();
        let ended = timeout.await;
        let took = self.lp.time() - began;
        if ended.is_ok() && deadline.expired() && !tree.may_swallow() {
            self.say(format!("a deadline of {limit} ms passed, and a value came: {tree:?}"));
        }
        let is_late = took > ms(limit) || ended.is_err() && took < ms(limit);
        if is_late && !tree.catches() {
            self.say(format!("a deadline of {limit} ms came after {took:?}: {tree:?}"));
        }
        ended.unwrap_or(Err(()))
    }

    /// A task that is cancelled; who awaits it is not.
    async fn cancelled(&self, turns: u64, tree: Tree) -> Outcome {
        let task = self.task(tree.clone());
        self.turns(turns).await;
        let asked = task.cancel();
        let ended = task.await;
        self.check(&tree, asked, ended.clone());
        ended.unwrap_or(Err(()))
    }

    async fn group(&self, failures: Failures, trees: Vec<Tree>, body: Tree) -> Outcome {
        let group = self.lp.task_group(async |group| {
            for tree in trees {
                let (live, play) = (Live::new(&self.live), self.clone());
                group.spawn(async move {
                    let _live = live;
                    failures.of(play.run(tree).await)
                });
            }
            failures.of(self.run(body).await)
        });
        group.await.map_err(drop)
    }
}

impl Failures {
    fn of(self, ended: Outcome) -> Outcome {
        if self == Self::Strict { ended } else { Ok(()) }
    }
}
