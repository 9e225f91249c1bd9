//! Names of flows: who talks to whom, on what, the how-manieth time.

use std::fmt;
use std::sync::Arc;

use crate::decisions::{Entity, NameHash};
use crate::host::INCARNATIONS_MAX;
use crate::plan::FlowName;

/// One direction of a connection, or the datagrams of one endpoint to one address.
///
/// Its name is what traces print and what the draws about its packets are keyed by:
/// `client@1→server:7000#2` is what host `client`, in its first incarnation, sends on the second
/// connection that it opened to port 7000 of host `server`; with `←` it is what the server sends
/// back. Datagrams have `/udp` behind the port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    /// The hosts: client and server, from the high bits down.
    hosts: u64,
    /// Number, port, incarnation (14 bits), [`DATAGRAMS`] and [`BACK`], from the high bits down.
    name: u64,
}

const DATAGRAMS: u64 = 2;
const BACK: u64 = 1;

impl Flow {
    /// The flow that `client` opens to a port of `server`, as the `number`th to that port.
    pub(crate) fn new(
        (client, incarnation): (u32, u16),
        (server, port): (u32, u16),
        number: u32,
        datagrams: bool,
    ) -> Self {
        debug_assert!(incarnation <= INCARNATIONS_MAX, "{incarnation}");
        let flags = if datagrams { DATAGRAMS } else { 0 };
        let name = u64::from(number) << 32
            | u64::from(port) << 16
            | u64::from(incarnation & INCARNATIONS_MAX) << 2
            | flags;
        Self { hosts: u64::from(client) << 32 | u64::from(server), name }
    }

    /// The other direction of it.
    pub(crate) fn reversed(self) -> Self {
        Self { name: self.name ^ BACK, ..self }
    }

    /// The flow of the same name to another server.
    #[inline]
    pub(crate) fn to_server(self, server: u32) -> Self {
        Self { hosts: self.hosts & !u64::from(u32::MAX) | u64::from(server), ..self }
    }

    /// It as two words for a trace.
    pub(crate) fn words(self) -> [u64; 2] {
        [self.hosts, self.name]
    }

    /// The flow with these words.
    pub(crate) fn from_words([hosts, name]: [u64; 2]) -> Self {
        Self { hosts, name }
    }

    /// Its name, given the names of the world's hosts.
    pub(crate) fn name(self, hosts: &[Arc<str>]) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let mut result = Ok(());
            self.spell(hosts, |part| {
                result = result.and_then(|()| match part {
                    Part::Text(text) => f.write_str(text),
                    Part::Number(number) => write!(f, "{number}"),
                });
            });
            result
        })
    }

    /// Its name in its parts, as plans have it.
    pub(crate) fn to_name(self, hosts: &[Arc<str>]) -> FlowName {
        let host = |index: u64| hosts.get(index as usize).map_or("?", |name| name).to_owned();
        FlowName {
            client: host(self.hosts >> 32),
            incarnation: (self.name >> 2) as u16 & INCARNATIONS_MAX,
            server: host(self.hosts & u64::from(u32::MAX)),
            port: (self.name >> 16) as u16,
            number: (self.name >> 32) as u32,
            is_udp: self.name & DATAGRAMS != 0,
            is_reply: self.name & BACK != 0,
        }
    }

    /// What its draws are keyed by: its name, hashed.
    pub(crate) fn entity(self, hosts: &[Arc<str>]) -> Entity {
        let mut hash = NameHash::new();
        self.spell(hosts, |part| match part {
            Part::Text(text) => hash.text(text),
            Part::Number(number) => hash.number(number),
        });
        hash.finish()
    }

    /// What the draws about who sends it are keyed by, whichever connection it is: the hosts, from the
    /// sender to the receiver; and the hosts with their ports, the first being the sender's.
    pub(crate) fn ends(self, hosts: &[Arc<str>], from: u16, to: u16) -> (Entity, Entity) {
        let host = |index: u32| hosts.get(index as usize).map_or("?", |name| &**name);
        let mut hash = NameHash::new();
        hash.text(host(self.sender()));
        hash.text("→");
        hash.text(host(self.receiver()));
        let of_hosts = hash.finish();
        for port in [from, to] {
            hash.text(":");
            hash.number(port.into());
        }
        (of_hosts, hash.finish())
    }

    /// What the draws about answers are keyed by that no socket of the flow sends: resets of
    /// connections that are gone, and what the network itself says.
    pub(crate) fn answers_entity(self, hosts: &[Arc<str>]) -> Entity {
        Entity::named(format_args!("{}/answers", self.name(hosts)))
    }

    /// The index of the host that sends the packets of it; [`Log`](crate::Log) knows the names.
    pub fn sender(self) -> u32 {
        let of_client = self.name & BACK == 0;
        if of_client { (self.hosts >> 32) as u32 } else { self.hosts as u32 }
    }

    /// The index of the host that they are for; `u32::MAX` if no host has the address.
    pub fn receiver(self) -> u32 {
        self.reversed().sender()
    }

    fn spell(self, hosts: &[Arc<str>], mut say: impl FnMut(Part<'_>)) {
        let host = |index: u64| hosts.get(index as usize).map_or("?", |name| &**name);
        let has = |flag| self.name & flag != 0;
        say(Part::Text(host(self.hosts >> 32)));
        say(Part::Text("@"));
        say(Part::Number((self.name >> 2) as u32 & 0x3fff));
        say(Part::Text(if has(BACK) { "←" } else { "→" }));
        say(Part::Text(host(self.hosts & u64::from(u32::MAX))));
        say(Part::Text(":"));
        say(Part::Number(u32::from((self.name >> 16) as u16)));
        say(Part::Text(if has(DATAGRAMS) { "/udp#" } else { "#" }));
        say(Part::Number((self.name >> 32) as u32));
    }
}

/// A part of a name.
enum Part<'a> {
    Text(&'a str),
    Number(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_flow_and_is_what_its_entity_hashes() {
        let hosts = ["control", "client", "server"].map(Arc::from);
        let flow = Flow::new((1, 3), (2, 7000), 10, false);
        assert_eq!(flow.name(&hosts).to_string(), "client@3→server:7000#10");
        assert_eq!(flow.reversed().name(&hosts).to_string(), "client@3←server:7000#10");
        let datagrams = Flow::new((2, 1), (u32::MAX, 65_535), 4_000_000_000, true);
        assert_eq!(datagrams.name(&hosts).to_string(), "server@1→?:65535/udp#4000000000");
        for flow in [flow, flow.reversed(), datagrams] {
            assert_eq!(flow.entity(&hosts), Entity::named(flow.name(&hosts)));
            assert_eq!(Flow::from_words(flow.words()), flow);
            assert_eq!(flow.to_name(&hosts).to_string(), flow.name(&hosts).to_string());
            assert_ne!(flow.answers_entity(&hosts), flow.entity(&hosts));
        }
        let later = Flow::new((1, 4), (2, 7000), 11, false);
        for flow in [flow, later] {
            let ends = [("client→server", ":40000:7000"), ("server→client", ":7000:40000")];
            let ends = ends.map(|(hosts, ports)| {
                (Entity::named(hosts), Entity::named(format_args!("{hosts}{ports}")))
            });
            assert_eq!(flow.ends(&hosts, 40_000, 7_000), ends[0]);
            assert_eq!(flow.reversed().ends(&hosts, 7_000, 40_000), ends[1]);
        }
        assert_eq!((flow.sender(), flow.reversed().sender(), datagrams.sender()), (1, 2, 2));
    }
}
