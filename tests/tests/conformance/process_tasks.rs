//! G-30, and G-26..G-29 for tasks: child processes as tasks have them.

use std::io;
use std::time::Duration;

use sim_core::subprocess::Stdio;
use sim_core::{Loop, Signal, World};
use tests::both_loops;
use tests::programs::{DEAF, FLOOD, STAY, STUBBORN, TALK, install};

fn host(world: &World) -> Loop {
    install(world);
    world.host("host")
}

const NONE: [&str; 0] = [];

both_loops! {
    /// G-30: more goes through a child than its pipes hold, both ways at once, and nobody waits for ever.
    async fn much_output_does_not_deadlock(world: World) -> io::Result<()> {
        let lp = host(&world);
        let data: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut cat = lp.create_subprocess_exec("cat", NONE).await?;
        let (output, errors) = cat.communicate(&data).await?;
        assert!(output == data && errors.is_empty());
        assert_eq!(cat.returncode(), Some(0));
        Ok(())
    }

    /// G-30: a child that floods its errors while nobody has asked for them yet is read to its end.
    async fn a_flood_of_errors_does_not_deadlock(world: World) -> io::Result<()> {
        let lp = host(&world);
        let mut child = lp.create_subprocess_shell(FLOOD).await?;
        let (output, errors) = child.communicate(b"").await?;
        assert_eq!((&output[..], errors.len()), (&b"done\n"[..], 300_000));
        Ok(())
    }

    /// G-30: a child that does not read its input breaks nothing, whether it has gone or has closed it.
    async fn broken_input_is_ignored(world: World) -> io::Result<()> {
        let lp = host(&world);
        let mut child = lp.create_subprocess_exec("true", NONE).await?;
        child.communicate(&vec![7; 1_000_000]).await?;
        assert_eq!(child.returncode(), Some(0));
        let mut child = lp.create_subprocess_shell(DEAF).await?;
        let stdout = child.stdout.as_mut().unwrap();
        assert_eq!(stdout.read_line().await?, b"deaf\n");
        let killer = child.transport().clone();
        lp.call_later(Duration::from_millis(20), move || killer.kill().unwrap()).detach();
        child.communicate(&vec![7; 1_000_000]).await?;
        assert_eq!(child.returncode(), Some(-9));
        Ok(())
    }

    /// G-30: a limit of its output may be as large as can be.
    async fn the_limit_of_an_output_may_be_as_large_as_can_be(world: World) -> io::Result<()> {
        let lp = host(&world);
        let mut cat = lp.subprocess_exec("cat", NONE).limit(usize::MAX).spawn().await?;
        assert_eq!(cat.communicate(b"all of it").await?.0, b"all of it");
        Ok(())
    }

    /// G-30: empty input closes the child's input, too.
    async fn empty_input_closes_it(world: World) -> io::Result<()> {
        let lp = host(&world);
        let mut cat = lp.create_subprocess_exec("cat", NONE).await?;
        assert_eq!(cat.communicate(b"").await?, (Vec::new(), Vec::new()));
        assert_eq!(cat.wait().await?, 0);
        Ok(())
    }

    /// G-30: several wait for the exit; one that is cancelled disturbs nobody, and one that comes late is told.
    async fn several_wait_for_the_exit(world: World) -> io::Result<()> {
        let lp = host(&world);
        let child = std::rc::Rc::new(lp.subprocess_shell(STAY).spawn().await?);
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let child = std::rc::Rc::clone(&child);
                lp.create_task(async move { child.wait().await })
            })
            .collect();
        lp.sleep(Duration::from_millis(5)).await;
        waiters[1].cancel();
        child.terminate()?;
        let mut told = Vec::new();
        for waiter in waiters {
            told.push(waiter.await.ok().map(|exit| exit.unwrap()));
        }
        assert_eq!(told, [Some(-15), None, Some(-15)]);
        assert_eq!(child.wait().await?, -15);
        Ok(())
    }

    /// G-30, G-24: a task writes and reads in turn, and closing the input ends the child.
    async fn a_task_talks_with_a_child(world: World) -> io::Result<()> {
        let lp = host(&world);
        let mut cat = lp.create_subprocess_exec("cat", NONE).await?;
        for line in [&b"one\n"[..], b"two\n"] {
            let stdin = cat.stdin.as_ref().unwrap();
            stdin.write(line);
            stdin.drain().await?;
            assert_eq!(cat.stdout.as_mut().unwrap().read_line().await?, line);
        }
        assert_eq!(cat.returncode(), None);
        cat.stdin.take().unwrap().close();
        assert_eq!(cat.wait().await?, 0);
        assert!(cat.stdout.as_mut().unwrap().read(1).await?.is_empty());
        Ok(())
    }

    /// G-29: streams that are no pipes are not there.
    async fn what_is_no_pipe_is_not_there(world: World) -> io::Result<()> {
        let lp = host(&world);
        let start = lp.subprocess_shell(TALK).stdin(Stdio::Null).stderr(Stdio::Stdout);
        let mut child = start.spawn().await?;
        assert!(child.stdin.is_none() && child.stdout.is_some() && child.stderr.is_none());
        assert_eq!(child.communicate(b"ignored").await?.0, b"out\nerr\n");
        Ok(())
    }

    /// G-26, G-27: what is gone cannot be signalled, what is not there cannot be started; a shell says so by its exit.
    async fn errors_of_tasks_are_those_of_callbacks(world: World) -> io::Result<()> {
        let lp = host(&world);
        let error = lp.create_subprocess_exec("no-such-program", NONE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let mut child = lp.create_subprocess_shell(TALK).await?;
        child.communicate(b"").await?;
        world.settle().await;
        assert_eq!(child.send_signal(Signal::TERM).unwrap_err().raw_os_error(), Some(3));
        assert_eq!(child.wait().await?, 3);
        Ok(())
    }

    /// G-28: a child that is dropped while it runs goes on, and is reaped when it ends.
    async fn a_dropped_child_goes_on(world: World) -> io::Result<()> {
        let lp = host(&world);
        let child = lp.subprocess_shell(STUBBORN).spawn().await?;
        let transport = child.transport().clone();
        drop(child);
        lp.sleep(Duration::from_millis(20)).await;
        assert_eq!(transport.returncode(), None);
        transport.kill()?;
        while transport.returncode().is_none() {
            lp.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(transport.returncode(), Some(-9));
        Ok(())
    }
}
