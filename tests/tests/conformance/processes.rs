//! G-20..G-29, J-42, J-43, TR-25: child processes by callbacks.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sim_core::subprocess::{Stdio, Subprocess, SubprocessProtocol, SubprocessTransport};
use sim_core::{Conn, Cx, Loop, Signal, World};
use tests::programs::{DEAF, ECHO_ENV, POLITE, STAY, STUBBORN, TALK, install};
use tests::recorder::Log;
use tests::{both_loops, real_only};

type Ctx<'a> = Cx<'a, Watcher, SubprocessTransport>;

/// Writes down what it hears.
pub(crate) struct Watcher {
    log: Log,
    pub(crate) data: [Vec<u8>; 3],
    on_exit: Option<fn(&mut Ctx<'_>)>,
}

impl Watcher {
    pub(crate) fn new(log: &Log) -> Self {
        Self { log: log.clone(), data: Default::default(), on_exit: None }
    }
}

impl SubprocessProtocol for Watcher {
    fn connection_made(&mut self, cx: &mut Ctx<'_>) {
        self.log.push("CM");
        assert!(cx.pid() > 0);
    }

    fn pipe_data_received(&mut self, _cx: &mut Ctx<'_>, fd: usize, data: &[u8]) {
        if self.data[fd].is_empty() {
            self.log.push(format!("PDR{fd}"));
        }
        self.data[fd].extend_from_slice(data);
    }

    fn pipe_connection_lost(&mut self, _cx: &mut Ctx<'_>, fd: usize, error: Option<io::Error>) {
        self.log.push(format!("PCL{fd}({})", kind_of(error.as_ref())));
    }

    fn pause_writing(&mut self, _cx: &mut Ctx<'_>) {
        self.log.push("PW");
    }

    fn resume_writing(&mut self, _cx: &mut Ctx<'_>) {
        self.log.push("RW");
    }

    fn process_exited(&mut self, cx: &mut Ctx<'_>) {
        self.log.push(format!("PX({})", cx.returncode().expect("it has exited")));
        if let Some(act) = self.on_exit {
            act(cx);
        }
    }

    fn connection_lost(&mut self, _cx: &mut Ctx<'_>, error: Option<io::Error>) {
        self.log.push(format!("CL({})", kind_of(error.as_ref())));
    }
}

/// What a loss was with.
fn kind_of(error: Option<&io::Error>) -> String {
    error.map_or_else(|| "None".to_owned(), |error| format!("{:?}", error.kind()))
}

type Watched = Conn<Watcher, SubprocessTransport>;

fn host(world: &World) -> Loop {
    install(world);
    world.host("host")
}

fn script(lp: &Loop, script: &str) -> Subprocess {
    lp.subprocess_shell(script)
}

/// Starts a child and waits until it has said something.
async fn ready(lp: &Loop, log: &Log, command: &str) -> io::Result<Watched> {
    let conn = script(lp, command).connect(|| Watcher::new(log)).await?;
    until(lp, log, || conn.with(|watcher, _| !watcher.data[1].is_empty())).await;
    Ok(conn)
}

/// Waits until something is so.
async fn until(lp: &Loop, log: &Log, mut is_so: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        lp.sleep(Duration::from_millis(1)).await;
    }
    panic!("it has not come to what was waited for: {}", log.text());
}

both_loops! {
    /// G-20, G-21, G-22, G-24, J-42, TR-25: `connection_made` is first though the child has exited long before, every pipe is
    /// lost once, the exit is heard of once, and the loss of the connection is last.
    async fn the_callbacks_of_a_child_come_in_order(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = script(&lp, TALK).connect(|| Watcher::new(&log)).await?;
        conn.closed().await?;
        let entries = log.entries();
        assert_eq!(entries.first().map(String::as_str), Some("CM"), "{}", log.text());
        assert_eq!(entries.last().map(String::as_str), Some("CL(None)"), "{}", log.text());
        let mut sorted = entries;
        sorted.sort();
        let expected =
            ["CL(None)", "CM", "PCL0(None)", "PCL1(None)", "PCL2(None)", "PDR1", "PDR2", "PX(3)"];
        assert_eq!(sorted, expected);
        conn.with(|watcher, cx| {
            assert_eq!(watcher.data, [&b""[..], b"out\n", b"err\n"]);
            assert_eq!(cx.returncode(), Some(3));
        });
        Ok(())
    }

    /// G-21, J-43: the loss of the connection waits for output that is read after the exit, all of which comes; and
    /// reading that goes on after the pipe is closed is harmless.
    async fn output_is_delivered_after_the_exit(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = lp.subprocess_exec("cat", [""; 0]).connect(|| Watcher::new(&log)).await?;
        let [input, output] = [0, 1].map(|fd| conn.transport().get_pipe_transport(fd).unwrap());
        output.pause_reading();
        input.write(b"out");
        input.close();
        until(&lp, &log, || log.count("PX(0)") == 1 && log.count("PCL2(None)") == 1).await;
        world.settle().await;
        assert_eq!((log.count("PDR1"), log.count("CL(None)")), (0, 0), "{}", log.text());
        output.resume_reading();
        conn.closed().await?;
        assert_eq!(conn.with(|watcher, _| watcher.data[1].clone()), b"out");
        assert!(log.text().ends_with("PDR1 PCL1(None) CL(None)"), "{}", log.text());
        output.resume_reading();
        output.pause_reading();
        Ok(())
    }

    /// J-43: much output is delivered whole, though its reading is paused and goes on again and again.
    async fn no_output_is_lost(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = lp.subprocess_exec("cat", [""; 0]).connect(|| Watcher::new(&log)).await?;
        let data: Vec<u8> = (0..400_000_u32).map(|at| (at % 251) as u8).collect();
        let (input, output) =
            (conn.transport().get_pipe_transport(0).unwrap(), conn.transport().get_pipe_transport(1).unwrap());
        input.write(&data);
        input.close();
        for _ in 0..20 {
            output.pause_reading();
            lp.sleep(Duration::from_millis(1)).await;
            output.resume_reading();
            lp.sleep(Duration::from_millis(1)).await;
        }
        conn.closed().await?;
        assert!(conn.with(|watcher, _| watcher.data[1] == data));
        Ok(())
    }

    /// G-23: the callbacks of a child are queued, so none comes inside the call that causes it; the flow events of its
    /// input come as those of any transport do.
    async fn callbacks_are_queued_and_flow_events_handed_on(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = lp.subprocess_exec("cat", [""; 0]).connect(|| Watcher::new(&log)).await?;
        let input = conn.transport().get_pipe_transport(0).unwrap();
        // More than a pipe and the write buffer hold.
        input.write(&vec![7; 300_000]);
        assert!(!input.is_writable());
        assert_eq!(log.text(), "CM");
        until(&lp, &log, || log.entries().len() > 1).await;
        assert!(log.text().starts_with("CM PW"), "{}", log.text());
        until(&lp, &log, || log.count("RW") == 1).await;
        conn.transport().close();
        assert_eq!(log.count("PCL1(None)") + log.count("CL(None)"), 0, "{}", log.text());
        conn.closed().await?;
        Ok(())
    }

    /// G-24: there is no exit status while the child runs; afterwards it is its code, or a signal as a negative number,
    /// and stays.
    async fn the_exit_status_is_a_code_or_a_signal(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        for (command, signal, status) in [
            (STAY, Signal::TERM, -15),
            (STAY, Signal::USR1, -10),
            (STUBBORN, Signal::KILL, -9),
            (POLITE, Signal::TERM, 7),
        ] {
            let conn = ready(&lp, &log, command).await?;
            let transport = conn.transport();
            assert_eq!(transport.returncode(), None);
            transport.send_signal(signal)?;
            conn.closed().await?;
            assert_eq!(transport.returncode(), Some(status), "{command}");
            assert_eq!(log.count(&format!("PX({status})")), 1, "{}", log.text());
        }
        Ok(())
    }

    /// G-26: a child that ignores a request to end goes on, and cannot ignore its killing.
    async fn a_child_may_ignore_what_can_be_caught(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = ready(&lp, &log, STUBBORN).await?;
        conn.transport().terminate()?;
        lp.sleep(Duration::from_millis(20)).await;
        assert_eq!(conn.transport().returncode(), None);
        conn.transport().kill()?;
        conn.closed().await?;
        assert_eq!(conn.transport().returncode(), Some(-9));
        Ok(())
    }

    /// G-32: a child that was stopped twice goes on when it is told to once.
    async fn a_child_that_was_stopped_twice_goes_on(world: World) -> io::Result<()> {
        let lp = host(&world);
        let mut child = lp.create_subprocess_shell(POLITE).await?;
        assert_eq!(child.stdout.as_mut().unwrap().read_line().await?, b"ready\n");
        for signal in [Signal::STOP, Signal::STOP, Signal::CONT, Signal::TERM] {
            child.send_signal(signal)?;
        }
        assert_eq!(child.wait().await?, 7);
        Ok(())
    }

    /// G-25: closing closes the pipes and kills the child; the loss comes when that is reaped, and once.
    async fn closing_kills_what_still_runs(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = ready(&lp, &log, STUBBORN).await?;
        conn.transport().close();
        conn.transport().close();
        assert!(conn.transport().is_closing());
        conn.closed().await?;
        assert_eq!(conn.transport().returncode(), Some(-9));
        for entry in ["PX(-9)", "CL(None)", "PCL0(None)", "PCL1(None)", "PCL2(None)"] {
            assert_eq!(log.count(entry), 1, "{}", log.text());
        }
        conn.transport().close();
        Ok(())
    }

    /// G-25, G-05: input that still waits when the child is closed is dropped: nobody will read it, and the end of its pipe
    /// is none by a failure.
    async fn closing_drops_what_waits_for_the_child(world: World) -> io::Result<()> {
        for ends_input in [false, true] {
            let (lp, log) = (host(&world), Log::new());
            let conn = ready(&lp, &log, STAY).await?;
            let input = conn.transport().get_pipe_transport(0).unwrap();
            input.write(&[0; 1 << 20]);
            world.settle().await;
            if ends_input {
                input.write_eof();
            }
            conn.transport().close();
            conn.closed().await?;
            for entry in ["PX(-9)", "CL(None)", "PCL0(None)", "PCL1(None)", "PCL2(None)"] {
                assert_eq!(log.count(entry), 1, "{}", log.text());
            }
        }
        Ok(())
    }

    /// G-26: a signal to a child that has exited does nothing until the connection is lost, and is an error then.
    async fn a_signal_to_a_child_that_is_gone_is_an_error(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let signal = |cx: &mut Ctx<'_>| cx.kill().expect("it has exited, and is not lost");
        let conn = script(&lp, TALK)
            .connect(|| Watcher { on_exit: Some(signal), ..Watcher::new(&log) })
            .await?;
        conn.closed().await?;
        assert_eq!(log.count("PX(3)"), 1);
        let transport = conn.transport();
        for sent in [transport.send_signal(Signal::TERM), transport.terminate(), transport.kill()] {
            assert_eq!(sent.unwrap_err().raw_os_error(), Some(3));
        }
        assert_eq!(transport.returncode(), Some(3));
        Ok(())
    }

    /// G-27: a program that there is not: an error of the call, and no callback.
    async fn a_program_that_is_not_there_is_an_error(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        for program in ["no-such-program", "./no/such/program", ""] {
            let start = lp.subprocess_exec(program, ["argument"]);
            let error = start.connect(|| Watcher::new(&log)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{program:?}");
        }
        world.settle().await;
        assert_eq!(log.text(), "");
        Ok(())
    }

    /// G-28: a child whose start nobody waits for any more is killed and reaped.
    async fn cancelling_the_start_kills_the_child(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let (handle, own) = (lp.clone(), log.clone());
        let begun = lp.create_task(async move {
            let mut starting = pin!(script(&handle, STUBBORN).connect(|| Watcher::new(&own)));
            poll_fn(|cx| Poll::Ready(starting.as_mut().poll(cx).is_pending())).await
        });
        assert!(begun.await?, "the start takes a while");
        until(&lp, &log, || log.count("CL(None)") == 1).await;
        assert_eq!(log.count("PX(-9)"), 1, "{}", log.text());
        Ok(())
    }

    /// G-29: a stream that is no pipe has no transport, and is never lost; errors may go where the output goes.
    async fn streams_are_redirected(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let start = script(&lp, TALK).stdin(Stdio::Null).stderr(Stdio::Stdout);
        let conn = start.connect(|| Watcher::new(&log)).await?;
        let pipes = [0, 1, 2, 3].map(|fd| conn.transport().get_pipe_transport(fd).is_some());
        assert_eq!(pipes, [false, true, false, false]);
        conn.closed().await?;
        assert_eq!(conn.with(|watcher, _| watcher.data[1].clone()), b"out\nerr\n");
        assert_eq!(log.count("PCL0(None)") + log.count("PCL2(None)"), 0, "{}", log.text());
        let nothing = script(&lp, TALK).stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
        let conn = nothing.connect(|| Watcher::new(&Log::new())).await?;
        conn.closed().await?;
        assert_eq!(conn.transport().returncode(), Some(3));
        let wrong = script(&lp, TALK).stdout(Stdio::Stdout).spawn().await.unwrap_err();
        assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    }

    /// G-22: input that a child closes is lost once, with what failed if output waits.
    async fn a_child_that_closes_its_input_is_heard_of(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = ready(&lp, &log, DEAF).await?;
        until(&lp, &log, || log.count("PCL0(None)") == 1).await;
        let input = conn.transport().get_pipe_transport(0).unwrap();
        assert!(input.is_closing() && conn.transport().returncode().is_none());
        input.write(b"nobody reads this");
        conn.transport().close();
        conn.closed().await?;
        assert_eq!(log.entries().iter().filter(|it| it.starts_with("PCL0")).count(), 1);
        Ok(())
    }

    /// G-29: a child has the environment and the directory that its parent chose.
    async fn a_child_has_what_it_was_given(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let start = script(&lp, ECHO_ENV).env("GREETING", "hello").env("OTHER", "x").env_remove("OTHER");
        let conn = start.current_dir("/").connect(|| Watcher::new(&log)).await?;
        conn.closed().await?;
        assert_eq!(conn.with(|watcher, _| watcher.data[1].clone()), b"hello from /\n");
        Ok(())
    }
}

real_only! {
    /// G-21: what a grandchild writes after the child has exited is delivered, and the loss of the connection waits for it.
    async fn a_grandchild_may_write_after_the_exit(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = script(&lp, "(sleep 0.2; echo late) & exit 5").connect(|| Watcher::new(&log)).await?;
        conn.closed().await?;
        assert_eq!(conn.with(|watcher, _| watcher.data[1].clone()), b"late\n");
        let entries = log.entries();
        let place = |entry: &str| entries.iter().position(|it| it == entry);
        assert!(place("PX(5)") < place("PDR1"), "{}", log.text());
        assert_eq!(entries.last().map(String::as_str), Some("CL(None)"));
        Ok(())
    }

    /// G-25: the loss comes with the exit though a grandchild keeps the child's end of its input open, and does not read.
    async fn closing_does_not_wait_for_a_grandchild(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let conn = ready(&lp, &log, "exec 3<&0; sleep 5 <&3 & echo ready; exec sleep 600").await?;
        conn.transport().get_pipe_transport(0).unwrap().write(&[0; 1 << 20]);
        world.settle().await;
        conn.transport().close();
        lp.timeout(Duration::from_secs(2), conn.closed()).await??;
        assert!(log.text().ends_with("PX(-9) CL(None)"), "{}", log.text());
        Ok(())
    }

    /// G-31: a later child has not inherited the end of an earlier one's pipe, which ends when its parent closes it.
    async fn pipes_are_not_inherited_by_other_children(world: World) -> io::Result<()> {
        let (lp, log) = (host(&world), Log::new());
        let reader = lp.subprocess_exec("cat", [""; 0]).connect(|| Watcher::new(&log)).await?;
        let other = ready(&lp, &Log::new(), STAY).await?;
        reader.transport().get_pipe_transport(0).unwrap().close();
        reader.closed().await?;
        assert_eq!(reader.transport().returncode(), Some(0));
        assert_eq!(other.transport().returncode(), None);
        other.transport().close();
        other.closed().await?;
        Ok(())
    }
}
