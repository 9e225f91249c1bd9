//! Names with the addresses that a test wants, on either loop.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use sim_core::driver::Family;
use sim_core::{HostView, Loop, Rng};
use tests::recorder::Log;

/// A host as it is, except for its resolver.
struct Resolver {
    lp: Loop,
    host: String,
    address: IpAddr,
    known: BTreeMap<&'static str, Vec<IpAddr>>,
    asked: Log,
}

impl HostView for Resolver {
    fn name(&self) -> &str {
        &self.host
    }

    fn resolve(&self, name: &str) -> Option<io::Result<Vec<IpAddr>>> {
        self.asked.push(name);
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is unknown"));
        Some(self.known.get(name).cloned().ok_or_else(unknown))
    }

    fn local(&self, family: Family) -> Option<IpAddr> {
        (family == Family::V4).then_some(self.address)
    }

    fn rng(&self, name: &str) -> Rng {
        self.lp.rng(name)
    }
}

/// The address of a host.
pub(crate) async fn address_of(lp: &Loop) -> io::Result<IpAddr> {
    Ok(lp.getaddrinfo((lp.host(), 0)).await?[0].ip())
}

/// The host of `lp` with a resolver that knows these names alone, and the names that it was asked
/// for.
pub(crate) async fn with_names(
    lp: &Loop,
    known: &[(&'static str, &[IpAddr])],
) -> io::Result<(Loop, Log)> {
    let asked = Log::new();
    let known = known.iter().map(|&(name, addresses)| (name, addresses.to_vec())).collect();
    let (host, address) = (lp.host(), address_of(lp).await?);
    let view = Resolver { lp: lp.clone(), host, address, known, asked: asked.clone() };
    Ok((lp.with_view(Rc::new(view)), asked))
}
