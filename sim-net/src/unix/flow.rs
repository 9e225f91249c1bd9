//! Names of Unix streams and pipes: who opened them, at what name, the how-manieth time.

use std::fmt;
use std::sync::Arc;

use sim_core::UnixAddr;

use crate::decisions::Entity;

/// One direction of a Unix stream or a pipe: what [`Flow`](crate::Flow) is to a connection.
///
/// `client@1→unix:/run/app.sock#2` is what the client sends on the second connection to that name
/// that host `client`, in its first incarnation, opened to itself; with `←` it is what it receives.
/// Pairs and pipes have no name, so all of a host are counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LocalFlow {
    pub(super) host: u32,
    pub(super) incarnation: u16,
    pub(super) name: UnixAddr,
    pub(super) number: u32,
    pub(super) is_reply: bool,
}

impl LocalFlow {
    /// The other direction of it.
    pub(crate) fn reversed(self) -> Self {
        Self { is_reply: !self.is_reply, ..self }
    }

    /// Its name, given the names of the world's hosts.
    pub(crate) fn name(&self, hosts: &[Arc<str>]) -> impl fmt::Display {
        let Self { host, incarnation, name, number, is_reply } = self;
        let arrow = if *is_reply { '←' } else { '→' };
        fmt::from_fn(move |f| {
            let host = &hosts[*host as usize];
            write!(f, "{host}@{incarnation}{arrow}unix:{name}#{number}")
        })
    }

    /// What its draws are keyed by: its name, hashed.
    pub(crate) fn entity(&self, hosts: &[Arc<str>]) -> Entity {
        Entity::named(self.name(hosts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_host_the_path_and_the_direction() {
        let hosts = ["control", "client"].map(Arc::from);
        let name = UnixAddr::new("/run/app.sock").unwrap();
        let flow = LocalFlow { host: 1, incarnation: 3, name, number: 2, is_reply: false };
        assert_eq!(flow.name(&hosts).to_string(), "client@3→unix:/run/app.sock#2");
        assert_eq!(flow.reversed().name(&hosts).to_string(), "client@3←unix:/run/app.sock#2");
    }
}
