//! Calls that fail, connections that do not outlive their accept, children that die at once, tasks that are
//! cancelled, and what crashes take from disks.

use std::fmt;
use std::io;
use std::sync::Arc;

use sim_core::UnixAddr;
use sim_core::driver::Suspension;

use crate::decisions::{Entity, Site, below};
use crate::errno::{self, EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
use crate::flow::Flow;
use crate::host::Host;
use crate::link::Probability;
use crate::network::Network;
use crate::plan::FaultSite;
use crate::plane::question::{DrawName, Question, Subject};
use crate::socket_table::{Kind, SocketId};
use crate::trace::Record;

impl Network {
    /// The error that an accept fails with, if it does.
    #[cold]
    pub(crate) fn accept_error(&mut self, listener: SocketId, host: u32) -> Option<io::Error> {
        let errors = [EMFILE, ENFILE, ENOBUFS];
        let likely = self.injection.config.accept_errors;
        let call = match &self.sockets.get(listener)?.kind {
            Kind::Listener(listener) => Call::Accept(listener.local().port),
            Kind::Unix(socket) => Call::AcceptUnix(socket.local()),
            _ => return None,
        };
        let name = self.name_of_calls(host, call);
        self.call_error(host, (Site::AcceptError, FaultSite::Emfile, likely), &name, errors)
    }

    /// The error that a connect fails with at once, if it does.
    #[cold]
    pub(crate) fn connect_error(&mut self, host: u32) -> Option<io::Error> {
        self.one_of_connect_errors(host, [ENOBUFS, EADDRNOTAVAIL, EMFILE])
    }

    /// The error that a connect to a Unix socket fails with, if it does.
    #[cold]
    pub(crate) fn unix_connect_error(&mut self, host: u32) -> Option<io::Error> {
        self.one_of_connect_errors(host, [ENOBUFS, ENFILE, EMFILE])
    }

    fn one_of_connect_errors(&mut self, host: u32, errors: [i32; 3]) -> Option<io::Error> {
        let likely = self.injection.config.connect_errors;
        let name = self.name_of_calls(host, Call::Connect);
        self.call_error(host, (Site::ConnectError, FaultSite::Connect, likely), &name, errors)
    }

    /// The error that starting a program fails with, if it does.
    #[cold]
    pub(crate) fn spawn_error(&mut self, host: u32, program: &str) -> Option<io::Error> {
        let likely = self.injection.config.spawn_errors;
        let name = self.name_of_calls(host, Call::Spawn(program));
        let errors = [EAGAIN, ENOMEM, EMFILE];
        self.call_error(host, (Site::SpawnError, FaultSite::Spawn, likely), &name, errors)
    }

    /// Whether a process of a program is killed as soon as it has started.
    #[cold]
    pub(crate) fn dies_early(&mut self, host: u32, program: &str) -> bool {
        let likely = self.injection.config.early_deaths;
        let name = self.name_of_calls(host, Call::Child(program));
        self.befalls_call(host, (Site::EarlyDeath, FaultSite::EarlyDeath, likely), &name, 1)
            .is_some()
    }

    /// Whether a task is cancelled at a place where it waits.
    #[cold]
    pub(crate) fn cancels_task(
        &mut self,
        host: u32,
        task: &str,
        suspension: Suspension,
        ordinal: u64,
    ) -> bool {
        let call = match suspension {
            Suspension::Waiting => Call::Waiting(task),
            Suspension::Woken => Call::Woken(task),
        };
        let name = self.name_of_calls(host, call);
        let (site, fault, entity) = (Site::TaskCancel, FaultSite::Cancel, name.entity);
        let likely = self.injection.config.cancellations;
        if !likely.is_never() {
            // Not before: of a world without such tasks nobody asks whether it bit.
            self.wire.faults.enable_drawn(site);
        }
        let subject = Subject::Draw(DrawName::Call(&name), entity, ordinal);
        let asked = Question { host, site, fault, likely, entity, ordinal, subject };
        self.offer_call(&asked, 1);
        self.ask(&asked, |_| 1).is_some()
    }

    fn call_error(
        &mut self,
        host: u32,
        (site, fault, likely): (Site, FaultSite, Probability),
        name: &CallName<'_>,
        errors: [i32; 3],
    ) -> Option<io::Error> {
        let value = self.befalls_call(host, (site, fault, likely), name, errors.len() as u64)?;
        Some(errno::os(errors[(value as usize - 1).min(errors.len() - 1)]))
    }

    /// Which of so many things befalls the next of the calls of a name, if one does.
    fn befalls_call(
        &mut self,
        host: u32,
        (site, fault, likely): (Site, FaultSite, Probability),
        name: &CallName<'_>,
        most: u64,
    ) -> Option<u64> {
        let entity = name.entity;
        let count = self.injection.calls.entry(entity).or_default();
        let ordinal = *count;
        *count += 1;
        let subject = Subject::Draw(DrawName::Call(name), entity, ordinal);
        let asked = Question { host, site, fault, likely, entity, ordinal, subject };
        self.offer_call(&asked, most);
        self.ask(&asked, |rest| 1 + below(rest, most))
    }

    /// Whether a connection that was just accepted is reset.
    #[cold]
    pub(crate) fn resets_accepted(&mut self, id: SocketId) -> bool {
        let likely = self.injection.config.accept_resets;
        let Some((host, injected)) = self.injected(id) else { return false };
        let entity = injected.inward;
        let Some(flow) = injected.name.tcp().map(Flow::reversed) else { return false };
        let asked = Question {
            host,
            site: Site::AcceptReset,
            fault: FaultSite::AcceptReset,
            likely,
            entity,
            ordinal: 0,
            subject: Subject::Opening(flow, entity),
        };
        self.offer_call(&asked, 1);
        self.ask(&asked, |_| 1).is_some()
    }

    /// How much of something on a host's disk a crash takes, of `most`: the seed draws it, a plan says
    /// it.
    pub(crate) fn disk_loss(
        &mut self,
        host: u32,
        (site, fault): (Site, FaultSite),
        file: &str,
        most: u64,
    ) -> u64 {
        let name = self.name_of_calls(host, Call::Crash(file));
        let (entity, ordinal) = (name.entity, 0);
        let subject = Subject::Draw(DrawName::Call(&name), entity, ordinal);
        let likely = Probability::ALWAYS;
        let asked = Question { host, site, fault, likely, entity, ordinal, subject };
        self.offer_call(&asked, most);
        let value = if self.wire.is_planned() {
            self.choice_of_plan(&asked).unwrap_or(0).min(most)
        } else {
            below(self.wire.decisions.at(site, entity, ordinal), most.saturating_add(1))
        };
        self.record(host, Record::Draw { site, value });
        if value > 0 {
            self.note_stream_fault(fault, subject, value);
        }
        value
    }

    /// What draws about the calls of a host's process are keyed by.
    fn name_of_calls<'a>(&self, host: u32, call: Call<'a>) -> CallName<'a> {
        let Host { incarnation, calls, .. } = self.hosts[host as usize];
        let mut hash = calls;
        call.spell(&mut hash).expect("a hasher takes every string");
        let host = Arc::clone(&self.wire.trace.hosts[host as usize]);
        CallName { host, incarnation, call, entity: hash.finish() }
    }
}

/// The name of what a host's process does again and again.
#[derive(Debug)]
pub(crate) struct CallName<'a> {
    host: Arc<str>,
    incarnation: u16,
    call: Call<'a>,
    /// What its draws are keyed by: the hash of the name.
    entity: Entity,
}

#[derive(Debug)]
enum Call<'a> {
    /// At this port.
    Accept(u16),
    AcceptUnix(UnixAddr),
    Connect,
    /// Of this program.
    Spawn(&'a str),
    Child(&'a str),
    /// By this task.
    Waiting(&'a str),
    Woken(&'a str),
    /// For this file.
    Crash(&'a str),
}

impl fmt::Display for CallName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, incarnation, call, .. } = self;
        write!(f, "{host}@{incarnation}/")?;
        call.spell(f)
    }
}

impl Call<'_> {
    fn spell(&self, to: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Accept(port) => write!(to, "accept:{port}"),
            Self::AcceptUnix(local) => write!(to, "accept:unix:{local}"),
            Self::Connect => to.write_str("connect"),
            Self::Spawn(program) => write!(to, "spawn:{program}"),
            Self::Child(program) => write!(to, "child:{program}"),
            Self::Waiting(task) => write!(to, "task:{task}"),
            Self::Woken(task) => write!(to, "woken:{task}"),
            Self::Crash(file) => to.write_str(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    /// What is drawn and what a plan says of it meet in the name.
    #[test]
    fn the_key_of_a_call_is_the_hash_of_its_name() {
        let unix = UnixAddr::new("/run/a").unwrap();
        let calls = [
            (Call::Accept(7000), "n1@2/accept:7000"),
            (Call::AcceptUnix(unix), "n1@2/accept:unix:/run/a"),
            (Call::Connect, "n1@2/connect"),
            (Call::Spawn("sort"), "n1@2/spawn:sort"),
            (Call::Child("sort"), "n1@2/child:sort"),
            (Call::Waiting("reader"), "n1@2/task:reader"),
            (Call::Woken("reader"), "n1@2/woken:reader"),
            (Call::Crash("log"), "n1@2/log"),
        ];
        for (call, spelled) in calls {
            let mut host = Host::new(1, "n1");
            host.begin_incarnation("n1");
            let mut hash = host.calls;
            call.spell(&mut hash).unwrap();
            let entity = hash.finish();
            let name = CallName { host: "n1".into(), incarnation: 2, call, entity };
            assert_eq!((name.to_string().as_str(), entity), (spelled, Entity::named(spelled)));
        }
    }
}
