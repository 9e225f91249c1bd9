//! Names of flows: who talks to whom, on what, the how-manieth time.

use std::fmt;
use std::sync::Arc;

/// One direction of a connection, or the datagrams of one endpoint to one address.
///
/// Its name is what traces print and what the draws about its packets are keyed by:
/// `client@1→server:7000#2` is what host `client`, in its first incarnation, sends on the second
/// connection that it opened to port 7000 of host `server`; with `←` it is what the server sends
/// back. Datagrams have `/udp` behind the port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    pub(crate) client: u32,
    pub(crate) server: u32,
    pub(crate) number: u32,
    pub(crate) port: u16,
    pub(crate) incarnation: u16,
    pub(crate) datagrams: bool,
    pub(crate) back: bool,
}

impl Flow {
    /// The other direction of it.
    pub(crate) fn reversed(self) -> Self {
        Self { back: !self.back, ..self }
    }

    /// Its name, given the names of the world's hosts.
    pub(crate) fn name(self, hosts: &[Arc<str>]) -> impl fmt::Display {
        struct Name<'a>(Flow, &'a [Arc<str>]);

        impl fmt::Display for Name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(flow, hosts) = self;
                let host = |index: u32| hosts.get(index as usize).map_or("?", |name| &**name);
                write!(
                    f,
                    "{}@{}{}{}:{}{}#{}",
                    host(flow.client),
                    flow.incarnation,
                    if flow.back { '←' } else { '→' },
                    host(flow.server),
                    flow.port,
                    if flow.datagrams { "/udp" } else { "" },
                    flow.number
                )
            }
        }

        Name(self, hosts)
    }

    /// It as two words for a hash.
    pub(crate) fn words(self) -> [u64; 2] {
        let flags = u64::from(self.datagrams) << 1 | u64::from(self.back);
        [
            u64::from(self.client) << 32 | u64::from(self.server),
            u64::from(self.number) << 32
                | u64::from(self.port) << 16
                | u64::from(self.incarnation & 0x3fff) << 2
                | flags,
        ]
    }
}
