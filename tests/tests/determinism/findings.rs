//! What a run says that went wrong.

use std::io;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use sim_core::{Cx, Protocol, World};
use sim_net::{Finding, FindingKind, Sim};
use tests::echo::Echo;

use crate::programs::{SERVER, Talk};

/// a wake-up from another thread ends the run, and its error names the thread.
// on: sim
#[test]
fn a_wake_up_from_a_foreign_thread_names_it() {
    async fn woken_from(world: World, host: &'static str) -> io::Result<()> {
        let lp = world.host("client");
        let (tell, told) = mpsc::channel();
        let mut tell = Some(tell);
        let wait = std::future::poll_fn(move |cx| {
            if let Some(tell) = tell.take() {
                tell.send(cx.waker().clone()).expect("the thread waits for it");
                return Poll::<()>::Pending;
            }
            Poll::Ready(())
        });
        let meddler = thread::Builder::new().name("meddler".to_owned());
        let meddler = meddler.spawn(move || told.recv().expect("it is sent").wake());
        let meddler = meddler.expect("a thread can be started");
        let clock = lp.clone();
        let joined = async move {
            clock.sleep(Duration::from_millis(1)).await;
            meddler.join().expect("it does not panic");
            clock.sleep(Duration::from_secs(1)).await;
        };
        if host == "control" {
            lp.create_task(joined);
            wait.await;
        } else {
            lp.create_task(wait);
            joined.await;
        }
        Ok(())
    }
    for host in ["control", "client"] {
        let report = Sim::new(1).run(|world| woken_from(world, host));
        let Finding { kind, message, .. } = report.outcome.expect_err("it is foreign");
        assert_eq!(kind, FindingKind::ForeignWake, "{message}");
        assert!(message.contains("meddler"), "{message}");
    }
}

#[test]
fn a_deadlock_names_the_tasks_that_wait() {
    let report = Sim::new(1).run(|world| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let never = a.create_future::<()>();
        a.create_named_task("reader of the book", never.clone());
        b.create_task(std::future::pending::<()>());
        b.create_named_task("done", async {});
        a.sleep(Duration::from_secs(3)).await;
        never.await.ok();
    });
    let finding = report.outcome.expect_err("nobody completes it");
    assert_eq!(finding.kind, FindingKind::Deadlock);
    assert_eq!(finding.time.since_epoch(), Duration::from_secs(3));
    let lines: Vec<&str> = finding.message.lines().map(str::trim).collect();
    assert!(lines.contains(&"a: task \"reader of the book\""), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("b: task \"task-")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("done")), "{lines:?}");
}

/// virtual time stands still under an endless chain of `call_soon`; the bound on turns ends it.
// on: sim
#[test]
fn limits_are_reported_by_the_names_that_set_them() {
    async fn endless(world: World) {
        let lp = world.host("busy");
        loop {
            lp.sleep(Duration::ZERO).await;
        }
    }
    async fn long(world: World) {
        let lp = world.host("slow");
        loop {
            lp.sleep(Duration::from_secs(1)).await;
        }
    }
    let limited = |sim: Sim, spins: bool| {
        let outcome = if spins { sim.run(endless).outcome } else { sim.run(long).outcome };
        outcome.expect_err("it never ends")
    };
    let sim = || Sim::new(1);
    for (found, name, seconds) in [
        (limited(sim().max_turns_per_instant(100), true), "`max_turns_per_instant` of 100 ", 0),
        (limited(sim().max_events(1_000), true), "`max_events` of 1000 ", 0),
        (limited(sim().max_time(Duration::from_secs(10)), false), "`max_time` of 10s ", 10),
    ] {
        assert_eq!(found.kind, FindingKind::Limit);
        assert!(found.message.contains(name), "{found}");
        assert_eq!(found.time.since_epoch(), Duration::from_secs(seconds), "{found}");
    }
}

/// Panics on the third byte.
struct Fragile(usize);

impl Protocol for Fragile {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.0 += data.len();
        assert!(self.0 < 3, "three bytes are too many");
        cx.write(data);
    }
}

async fn breaks(world: World) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(SERVER, || Fragile(0)).await?;
    client.sleep(Duration::from_secs(5)).await;
    let says = b"abc".to_vec();
    let conn = client.create_connection(SERVER, || Talk { says, heard: 0 }).await?;
    conn.closed().await
}

#[test]
fn a_protocol_that_panics_is_a_finding_with_host_time_and_tail() {
    let report = Sim::new(1).run(breaks);
    let finding = report.finding().expect("it panics");
    assert_eq!(finding.kind, FindingKind::Panic);
    assert_eq!(finding.host, "server");
    // Five seconds, a handshake of two milliseconds, and the data with the third packet or after it.
    let after = finding.time.since_epoch() - Duration::from_secs(5);
    assert!((3..=4).contains(&after.as_millis()), "{after:?}");
    assert!(finding.message.contains("three bytes are too many"), "{finding}");
    let tail = report.tail.to_string();
    let last = tail.lines().last().expect("there are records");
    assert!(last.contains("server") && last.ends_with("data_received 3 B"), "{last}");
}

#[test]
fn a_check_tells_the_seed_that_failed() {
    let verdict = sim_check::check("breaks").seeds(3).first_seed(40).verdict(breaks);
    let failed = verdict.failures.first().expect("every seed fails");
    assert_eq!((failed.seed(), failed.host.as_str()), (40, "server"));
    assert!(failed.is_deterministic());
    let text = verdict.to_string();
    for part in ["three bytes are too many", "seed 0x28, host server, 5.0", "data_received 3 B"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

/// A world after a panic is done for; the thread is not.
#[test]
fn a_run_after_a_finding_is_as_any_other() {
    async fn calm(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let _listening = server.create_server(SERVER, || Echo).await?;
        let says = b"abc".to_vec();
        client.create_connection(SERVER, || Talk { says, heard: 0 }).await?.closed().await
    }
    let before = Sim::new(2).run(calm).hash;
    Sim::new(1).run(breaks).outcome.expect_err("it panics");
    assert_eq!(Sim::new(2).run(calm).hash, before);
}
