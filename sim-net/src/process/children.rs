//! Child processes of a host's process: programs that the test registered (contract G-32).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use sim_core::driver::{Launch, Processes, Source, Spawned};
use sim_core::program::{Program, ProgramEnds, RunningProgram};
use sim_core::subprocess::Stdio;
use sim_core::{Loop, Signal};

use super::Notice;
use crate::driver::HostDriver;
use crate::errno::{self, EBADF, ENOENT};
use crate::memory::clear_map;
use crate::network::Network;
use crate::scheduler::Scheduler;
use crate::socket_table::{Kind, Ready, SocketId};

/// The exit code of a shell whose command there is not.
const COMMAND_NOT_FOUND: i32 = 127;

/// The programs of a world, by name.
#[derive(Default)]
pub(crate) struct Programs(BTreeMap<String, Program>);

impl Programs {
    /// There are none.
    pub(crate) fn renew(&mut self) {
        clear_map(&mut self.0);
    }

    pub(crate) fn insert(&mut self, name: &str, program: Program) {
        self.0.insert(name.to_owned(), program);
    }

    /// The program that a name or a path means, and its arguments: those of a command where it is the
    /// shell's, and nobody has registered a shell.
    fn find(&self, launch: &Launch) -> Option<(Program, Launch)> {
        let name = launch.program.to_str()?;
        let file = Path::new(name).file_name()?.to_str()?;
        if let Some(program) = self.0.get(name).or_else(|| self.0.get(file)) {
            return Some((Rc::clone(program), launch.clone()));
        }
        match (file, &launch.args[..]) {
            ("sh", [flag, command]) if flag == "-c" => {
                Some(self.of_command(launch, &command.to_string_lossy()))
            }
            _ => None,
        }
    }

    fn of_command(&self, launch: &Launch, command: &str) -> (Program, Launch) {
        let mut words = words(command).into_iter();
        let name = words.next().unwrap_or_default();
        match self.0.get(&name) {
            Some(program) => {
                let args = words.map(Into::into).collect();
                let launch = Launch { program: name.into(), args, ..launch.clone() };
                (Rc::clone(program), launch)
            }
            None => (not_found(name), launch.clone()),
        }
    }
}

/// What the shell does about a command that there is not.
fn not_found(name: String) -> Program {
    Rc::new(move |process| {
        let complaint = format!("sh: {name}: not found\n");
        Box::pin(async move {
            // Who does not listen is not told.
            let _ = process.stderr.write(complaint.as_bytes()).await;
            COMMAND_NOT_FOUND
        })
    })
}

/// The words of a command: white space separates them, unless it is quoted.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match quote {
            Some(mark) if c == mark => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The parent's ends of a child's pipes, and the child's.
struct Streams {
    parent: [Option<Source>; 3],
    child: ProgramEnds,
    /// How many descriptors that are.
    count: u32,
}

impl Network {
    /// Makes the standard streams of a child of the process of a host.
    fn standard_streams(&mut self, host: u32, stdio: [Stdio; 3]) -> Streams {
        let mut count = 0;
        let mut pipe = |network: &mut Self| {
            count += 2;
            network.pipe_open(host).map(SocketId::source)
        };
        let [stdin, writer] = pipe(self);
        let mut output = |network: &mut Self, stdio| match stdio {
            Stdio::Pipe => {
                let [reader, writer] = pipe(network);
                (Some(reader), Some(writer))
            }
            Stdio::Inherit | Stdio::Null | Stdio::Stdout => (None, None),
        };
        let (output_reader, stdout) = output(self, stdio[1]);
        let (errors_reader, stderr) = match stdio[2] {
            Stdio::Stdout => (None, stdout),
            other => output(self, other),
        };
        let input = if stdio[0] == Stdio::Pipe {
            Some(writer)
        } else {
            // There is nothing to read.
            self.unix_close(SocketId::from_source(writer), host);
            count -= 1;
            None
        };
        let child = ProgramEnds { stdin, stdout, stderr };
        Streams { parent: [input, output_reader, errors_reader], child, count }
    }

    /// A child of the process of a host has ended.
    fn child_ended(&mut self, id: SocketId, code: i32) {
        if let Some(Notice::Child { status }) = self.notice(id) {
            *status = Some(code);
            self.notify_now(id, Ready::READABLE);
        }
    }
}

impl Processes for HostDriver {
    fn spawn(&self, lp: &Loop, launch: &Launch) -> io::Result<Spawned> {
        let found = self.scheduler().programs.borrow().find(launch);
        let (program, launch) = found.ok_or_else(|| errno::os(ENOENT))?;
        let pipes = launch.stdio.iter().filter(|&&stdio| stdio == Stdio::Pipe).count() as u32;
        self.may_open(2 * pipes + 1)?;
        let name = launch.program.to_string_lossy().into_owned();
        let mut network = self.network();
        if network.injection.is_on
            && let Some(error) = network.spawn_error(self.index(), &name)
        {
            return Err(error);
        }
        let Streams { parent, child, count } = network.standard_streams(self.index(), launch.stdio);
        let notice = Kind::Notice(Box::new(Notice::Child { status: None }));
        let id = network.sockets.insert(self.index(), notice);
        let host = network.host(self.index());
        host.last_pid += 1;
        let pid = host.last_pid;
        let is_doomed = network.injection.is_on && network.dies_early(self.index(), &name);
        drop(network);
        self.opened(count + 1);
        let scheduler = Rc::downgrade(self.scheduler());
        let on_exit = move |code| {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.network().child_ended(id, code);
            }
        };
        let running = RunningProgram::start(lp, &program, &launch, pid, child, on_exit);
        if is_doomed {
            running.signal(Signal::KILL);
        }
        self.children().borrow_mut().insert(id, running);
        Ok(Spawned { child: id.source(), pid, pipes: parent })
    }

    fn exit_status(&self, child: Source) -> io::Result<Option<i32>> {
        match self.network().notice(SocketId::from_source(child)) {
            Some(Notice::Child { status }) => Ok(*status),
            _ => Err(errno::os(EBADF)),
        }
    }

    fn send_signal(&self, child: Source, signal: Signal) -> io::Result<()> {
        if self.is_dead() {
            return Ok(());
        }
        match self.children().borrow().get(&SocketId::from_source(child)) {
            Some(running) => running.signal(signal),
            None => return Err(errno::os(EBADF)),
        }
        Ok(())
    }
}

impl HostDriver {
    /// A child is given up: it is killed, if it still runs.
    pub(crate) fn forget_child(&self, id: SocketId) {
        let running = self.children().borrow_mut().remove(&id);
        if let Some(running) = running {
            running.signal(Signal::KILL);
        }
    }
}

/// The programs that run for a process, by what it knows them as.
pub(crate) type Children = BTreeMap<SocketId, RunningProgram>;

impl Scheduler {
    /// Registers a program of the world.
    pub(crate) fn add_program(&self, name: &str, program: Program) {
        self.programs.borrow_mut().insert(name, program);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_into_words() {
        for (command, expected) in [
            ("", &[][..]),
            ("  a\tb \n", &["a", "b"]),
            ("a 'b c' \"d 'e'\" f''g", &["a", "b c", "d 'e'", "fg"]),
            ("a '' b", &["a", "", "b"]),
            ("a 'b", &["a", "b"]),
        ] {
            assert_eq!(words(command), expected, "{command:?}");
        }
    }
}
