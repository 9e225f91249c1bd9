//! Who has which name: the hosts of the world, and what the test's own hand said.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use sim_core::ResolveFailure;
use sim_core::driver::{Family, is_same_name};

use crate::address::Ip;
use crate::memory::clear_map;
use crate::network::Network;

/// What was said about names by hand.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    /// The addresses of a name; `None` if there is no such name.
    records: BTreeMap<String, Option<Vec<IpAddr>>>,
}

impl Zone {
    pub(super) fn renew(&mut self) {
        clear_map(&mut self.records);
    }

    /// The name has these addresses from now on, whoever else has it.
    pub(super) fn set(&mut self, name: &str, addresses: Vec<IpAddr>) {
        self.restore(name);
        self.records.insert(name.to_owned(), Some(addresses));
    }

    /// There is no such name from now on.
    pub(super) fn remove(&mut self, name: &str) {
        self.restore(name);
        self.records.insert(name.to_owned(), None);
    }

    /// What was said about the name is forgotten. Says whether something was.
    pub(super) fn restore(&mut self, name: &str) -> bool {
        forget(&mut self.records, name)
    }

    pub(super) fn is_about(&self, name: &str) -> bool {
        said_of(&self.records, name).is_some()
    }

    /// The first name that was given this address.
    fn name_of(&self, address: IpAddr) -> Option<&str> {
        let has = |addresses: &Option<Vec<IpAddr>>| {
            addresses.as_ref().is_some_and(|addresses| addresses.contains(&address))
        };
        let mut found = self.records.iter().filter(|(_, addresses)| has(addresses));
        found.next().map(|(name, _)| &**name)
    }
}

/// What was said of a name, however it was written.
pub(super) fn said_of<'a, T>(said: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    let as_written = said.get(name);
    as_written.or_else(|| said.iter().find(|(own, _)| is_same_name(own, name)).map(|(_, it)| it))
}

/// Forgets what was said of a name, however it was written. Says whether something was.
pub(super) fn forget<T>(said: &mut BTreeMap<String, T>, name: &str) -> bool {
    let known = said.len();
    said.retain(|own, _| !is_same_name(own, name));
    said.len() < known
}

/// What stands behind `ip6-` in a name.
fn behind_six(name: &str) -> Option<&str> {
    let (six, rest) = name.split_at_checked(4)?;
    six.eq_ignore_ascii_case("ip6-").then_some(rest)
}

impl Network {
    /// The host that somebody means who asks for a name: the one of exactly that name, if there is one.
    fn host_meant(&self, name: &str) -> Option<u32> {
        let other = || self.names.iter().find(|(own, _)| is_same_name(own, name));
        self.host_named(name).or_else(|| other().map(|(_, &index)| index))
    }

    /// True if a host knows the name without asking anybody: its own, and `localhost`.
    pub(super) fn is_local_name(&self, host: u32, name: &str) -> bool {
        let own =
            |name: &str| is_same_name(name, "localhost") || self.host_meant(name) == Some(host);
        let is_local = own(name) || behind_six(name).is_some_and(own);
        is_local && !self.name_service.zone.is_about(name)
    }

    /// The addresses of a name as they are now: the IPv4 address of a host, unless another family is
    /// wanted or the name has `ip6-` before it; with a port.
    pub(super) fn addresses_of(
        &self,
        name: &str,
        port: u16,
        wanted: Option<Family>,
    ) -> Result<Vec<SocketAddr>, ResolveFailure> {
        let is_wanted = |family: Family| wanted.is_none_or(|wanted| wanted == family);
        let of = |ip: &IpAddr| if ip.is_ipv4() { Family::V4 } else { Family::V6 };
        match said_of(&self.name_service.zone.records, name) {
            Some(Some(known)) => {
                let known = known.iter().filter(|ip| is_wanted(of(ip)));
                return Ok(known.map(|&ip| SocketAddr::new(ip, port)).collect());
            }
            Some(None) => return Err(ResolveFailure::Unknown),
            None => {}
        }
        let (six, host) = match behind_six(name) {
            Some(rest) if self.host_meant(name).is_none() => (true, rest),
            _ => (false, name),
        };
        let own = match self.host_meant(host) {
            Some(index) => {
                let number = self.hosts[index as usize].number;
                [Family::V4, Family::V6].map(|family| Ip::of_host(number, family))
            }
            None if is_same_name(host, "localhost") => [Ip::LOCALHOST4, Ip::LOOPBACK6],
            None => return Err(ResolveFailure::Unknown),
        };
        let is_dual = self.name_service.config.is_dual_stack;
        let has = |ip: &Ip| match (ip.family(), wanted) {
            (Family::V4, _) => !six,
            (Family::V6, wanted) => six || is_dual || wanted == Some(Family::V6),
        };
        let found = own.into_iter().filter(|ip| has(ip) && is_wanted(ip.family()));
        Ok(found.map(|ip| SocketAddr::new(ip.to_addr(), port)).collect())
    }

    /// The name of an address as it is now, if it has one.
    pub(super) fn name_at(&self, address: IpAddr) -> Option<String> {
        if let Some(name) = self.name_service.zone.name_of(address) {
            return Some(name.to_owned());
        }
        let index = self.host_at(Ip::from_addr(address)?)?;
        let name = &self.wire.trace.hosts[index as usize];
        let is_known = self.host_named(name) == Some(index);
        (is_known && !self.name_service.zone.is_about(name)).then(|| name.to_string())
    }
}
