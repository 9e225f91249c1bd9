//! Child processes of the kernel.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio as Redirection};
use std::thread;

use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use sim_core::driver::{Launch, Processes, Source, Spawned};
use sim_core::subprocess::Stdio;
use sim_core::{Loop, Signal};

use crate::MioDriver;
use crate::signals::kernel_signal;
use crate::sockets::{Descriptor, Reads};

/// A child process, and the descriptor that becomes readable when it exits. Dropping it reaps it.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    /// `None` once it is reaped, or somebody else waits for it.
    child: Option<Child>,
    exit: OwnedFd,
}

impl ChildProcess {
    fn new(mut child: Child) -> io::Result<Self> {
        match pidfd_open(Pid::from_child(&child), PidfdFlags::NONBLOCK) {
            Ok(exit) => Ok(Self { child: Some(child), exit }),
            Err(error) => {
                // It has not been reaped, so the number is still its own.
                let _ = child.kill().and_then(|()| child.wait());
                Err(error.into())
            }
        }
    }

    /// How it ended, if it has.
    fn try_wait(&mut self) -> io::Result<Option<i32>> {
        let Some(child) = &mut self.child else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let Some(status) = child.try_wait()? else {
            return Ok(None);
        };
        self.child = None;
        Ok(Some(code_of(status)))
    }

    /// Sends a signal through the descriptor, which stands for the process whatever has become of its
    /// number.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.exit, kernel_signal(signal)?) {
            // It has exited, and is only not reaped yet.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

impl AsRawFd for ChildProcess {
    fn as_raw_fd(&self) -> RawFd {
        self.exit.as_raw_fd()
    }
}

impl Drop for ChildProcess {
    /// One that still runs is killed. Where it does not end at once a thread waits for it.
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        if matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
            let reap = move || drop(child.wait());
            if let Err(error) = thread::Builder::new().name("reaper".into()).spawn(reap) {
                tracing::warn!(target: "real_net", %error, "a child process is not reaped");
            }
        }
    }
}

/// An exit code, or a signal as a negative number.
fn code_of(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => -signal,
        (None, None) => status.into_raw(),
    }
}

/// What std calls a redirection of the child's input or output.
fn redirection(stdio: Stdio) -> Redirection {
    match stdio {
        Stdio::Pipe => Redirection::piped(),
        Stdio::Inherit | Stdio::Stdout => Redirection::inherit(),
        Stdio::Null => Redirection::null(),
    }
}

fn command(launch: &Launch) -> Command {
    let mut command = Command::new(&launch.program);
    command.args(&launch.args);
    if launch.clears_env {
        command.env_clear();
    }
    for (name, value) in &launch.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(directory) = &launch.current_dir {
        command.current_dir(directory);
    }
    command
}

impl Processes for MioDriver {
    fn spawn(&self, _lp: &Loop, launch: &Launch) -> io::Result<Spawned> {
        let [stdin, stdout, stderr] = launch.stdio;
        let mut command = command(launch);
        command.stdin(redirection(stdin)).stdout(redirection(stdout)).stderr(redirection(stderr));
        // Of a pipe that both write to, the child has two copies of the one end.
        let merged = match (stdout, stderr) {
            (Stdio::Pipe, Stdio::Stdout) => {
                let (reader, writer) = io::pipe()?;
                command.stdout(writer.try_clone()?).stderr(writer);
                Some(reader)
            }
            (Stdio::Null, Stdio::Stdout) => {
                command.stderr(Redirection::null());
                None
            }
            (_, Stdio::Stdout) => {
                command.stderr(io::stdout());
                None
            }
            _ => None,
        };
        let mut child = command.spawn()?;
        let pid = child.id();
        // Or this process would keep the child's copies of the merged pipe open.
        drop(command);
        let pipes = [
            child.stdin.take().map(OwnedFd::from),
            child.stdout.take().map(OwnedFd::from).or(merged.map(OwnedFd::from)),
            child.stderr.take().map(OwnedFd::from),
        ];
        let child = ChildProcess::new(child)?;
        for end in pipes.iter().flatten() {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        let insert = |descriptor, reads| {
            let inserted = self.insert_descriptor(descriptor, reads);
            inserted.expect("a table of 2³² sockets is never full")
        };
        // The child may write packets.
        let pipe = |end| insert(Descriptor::Pipe { end, is_shared: false }, Reads::Messages);
        let pipes = pipes.map(|end| end.map(pipe));
        let child = insert(Descriptor::Child(child), Reads::Bytes);
        Ok(Spawned { child, pid, pipes })
    }

    fn exit_status(&self, child: Source) -> io::Result<Option<i32>> {
        self.with_child(child, ChildProcess::try_wait)
    }

    fn send_signal(&self, child: Source, signal: Signal) -> io::Result<()> {
        self.with_child(child, |child| child.signal(signal))
    }
}
