//! What the tests of futures, tasks and combinators share.

use std::future::pending;

use sim_core::{Loop, LoopFuture, Task, catch_cancel};
use tests::harness::Make;
use tests::recorder::Log;

use crate::loops::ms;

/// Runs `scenario` as the main task of a new bare loop.
#[track_caller]
pub(crate) fn run<T: 'static>(make: Make, scenario: impl AsyncFnOnce(Loop) -> T + 'static) -> T {
    let lp = make.new_loop();
    let handle = (*lp).clone();
    lp.run_until_complete(async move { scenario(handle).await }).expect("the scenario ends")
}

/// Lets `turns` turns pass.
pub(crate) async fn turns(lp: &Loop, turns: usize) {
    for _ in 0..turns {
        lp.sleep(ms(0)).await;
    }
}

/// A task that sleeps and then logs, and returns, its name.
pub(crate) fn sleeper(lp: &Loop, log: &Log, millis: u64, name: &'static str) -> Task<&'static str> {
    let (handle, log) = (lp.clone(), log.clone());
    lp.create_task(async move {
        handle.sleep(ms(millis)).await;
        log.push(name);
        name
    })
}

/// A task that waits for a gate to open, and then logs, and returns, its name: what happens in an
/// order and not at a time.
pub(crate) fn gated(
    lp: &Loop,
    log: &Log,
    gate: &LoopFuture<()>,
    name: &'static str,
) -> Task<&'static str> {
    let (gate, log) = (gate.clone(), log.clone());
    lp.create_task(async move {
        gate.await.expect("a gate is opened, and nothing else");
        log.push(name);
        name
    })
}

/// Opens a gate.
pub(crate) fn open(gate: &LoopFuture<()>) {
    gate.set_result(()).expect("a gate opens once");
}

/// A task that waits until it is cancelled, logs its name, and returns it.
pub(crate) fn swallower(lp: &Loop, log: &Log, name: &'static str) -> Task<&'static str> {
    let log = log.clone();
    lp.create_task(async move {
        catch_cancel(pending::<()>()).await.expect_err("nothing else ends it");
        log.push(name);
        name
    })
}

/// A task that waits until it is cancelled, gives up a turn, logs its name, and ends cancelled.
pub(crate) fn tidy<T: 'static>(lp: &Loop, log: &Log, name: &'static str) -> Task<T> {
    let (handle, log) = (lp.clone(), log.clone());
    lp.create_task(async move { tidying(handle, log, name).await })
}

/// The body of [`tidy`].
pub(crate) async fn tidying<T>(lp: Loop, log: Log, name: &'static str) -> T {
    let cancelled = catch_cancel(pending::<()>()).await.expect_err("nothing else ends it");
    turns(&lp, 1).await;
    log.push(name);
    cancelled.raise().await
}
