//! A thousand child processes, and what is left of them: no zombie, no descriptor. Both are counted
//! for the process, so this test has one of its own.

use std::fs;
use std::io;
use std::time::Duration;

use sim_core::subprocess::Stdio;
use sim_core::{Loop, Signal};

/// How many children are started in all, and how many of them run at a time.
const CHILDREN: usize = 1_000;
const AT_A_TIME: usize = 50;
/// How many descriptors a loop has open for itself, at most.
const LOOP_DESCRIPTORS_MAX: usize = 4;

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// How many processes have this one as their parent, zombies included.
fn children() -> usize {
    let own = std::process::id().to_string();
    let is_own = |stat: String| {
        // After the name, which is in parentheses: the state, then the parent.
        let (_, rest) = stat.rsplit_once(')')?;
        (rest.split_whitespace().nth(1)? == own).then_some(())
    };
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    processes
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok().and_then(is_own))
        .count()
}

/// Starts some children that differ in what becomes of them, and waits for all.
async fn a_batch(lp: &Loop, first: usize) -> io::Result<()> {
    let mut batch = Vec::new();
    for number in first..first + AT_A_TIME {
        let mut child = match number % 4 {
            0 => lp.subprocess_exec("sleep", ["600"]).spawn().await?,
            1 => lp.subprocess_shell("exit 3").stdin(Stdio::Null).spawn().await?,
            2 => lp.subprocess_exec("cat", [""; 0]).stderr(Stdio::Stdout).spawn().await?,
            _ => lp.subprocess_shell("exec sleep 600").stdout(Stdio::Null).spawn().await?,
        };
        if number % 4 == 2 {
            drop(child.stdin.take());
        }
        batch.push(child);
        let missing = lp.create_subprocess_exec("no-such-program", [""; 0]).await;
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    for (number, child) in (first..).zip(&batch) {
        match number % 4 {
            0 => child.terminate()?,
            3 => child.send_signal(Signal::KILL)?,
            _ => {}
        }
    }
    for (number, child) in (first..).zip(&batch) {
        let expected = [-15, 3, 0, -9][number % 4];
        assert_eq!(child.wait().await?, expected, "child {number}");
    }
    Ok(())
}

async fn until_gone(lp: &Loop, descriptors: usize) {
    for _ in 0..2_000 {
        if children() == 0 && open_descriptors() <= descriptors {
            return;
        }
        lp.sleep(Duration::from_millis(5)).await;
    }
    panic!("{} children and {} descriptors are left", children(), open_descriptors());
}

#[test]
fn a_thousand_children_leave_no_zombie_and_no_descriptor() {
    let lp = real_net::new_loop().unwrap();
    let handle = (*lp).clone();
    let ran = lp.run_until_complete(async move {
        let lp = handle;
        let before = open_descriptors();
        for first in (0..CHILDREN).step_by(AT_A_TIME) {
            a_batch(&lp, first).await?;
        }
        until_gone(&lp, before).await;
        // Those whose start is given up, and those that nobody looks after any more.
        for _ in 0..AT_A_TIME {
            let start = lp.create_subprocess_exec("sleep", ["600"]);
            drop(lp.timeout(Duration::ZERO, start).await);
            drop(lp.create_subprocess_shell("exit 3").await?);
        }
        until_gone(&lp, before).await;
        // Those that run when their loop is closed.
        for _ in 0..AT_A_TIME {
            drop(lp.create_subprocess_exec("sleep", ["600"]).await?);
        }
        assert!(children() >= AT_A_TIME);
        io::Result::Ok(before)
    });
    let before = ran.unwrap().unwrap();
    lp.close().unwrap();
    let later = real_net::new_loop().unwrap();
    let (handle, own) = ((*later).clone(), before + LOOP_DESCRIPTORS_MAX);
    later.run_until_complete(async move { until_gone(&handle, own).await }).unwrap();
}
