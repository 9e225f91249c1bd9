//! The test's own hand on names.

use std::fmt;
use std::net::IpAddr;
use std::rc::Weak;
use std::time::Duration;

use super::NameFault;
use super::zone::forget;
use crate::network::Network;
use crate::scheduler::Scheduler;

/// What the name servers of a world say, while it runs. See [`Operator::names`](crate::Operator::names).
///
/// A question gets the answer that holds when it is asked: what changes while it is under way, comes too
/// late for it. After the end of its world nothing happens any more.
///
/// ```
/// use sim_core::ResolveError;
/// use sim_net::{NameFault, Sim};
///
/// let simulation = Sim::new(1).build();
/// let (world, operator) = (simulation.world(), simulation.operator());
/// simulation.run(async move {
///     let (client, _server) = (world.host("client"), world.host("server"));
///     let names = operator.names();
///     names.set("db", operator.host("server").addresses());
///     assert_eq!(client.getaddrinfo(("db", 5432)).await?.len(), 2);
///     names.fail("db", NameFault::TryAgain);
///     let error = client.getaddrinfo(("db", 5432)).await.unwrap_err();
///     assert!(ResolveError::of(&error).is_some_and(ResolveError::is_temporary));
///     std::io::Result::Ok(())
/// })?;
/// # Ok::<(), sim_net::Finding>(())
/// ```
#[derive(Clone)]
pub struct Names {
    scheduler: Weak<Scheduler>,
}

impl Names {
    pub(crate) fn new(scheduler: Weak<Scheduler>) -> Self {
        Self { scheduler }
    }

    fn act<T: Default>(&self, act: impl FnOnce(&mut Network) -> T) -> T {
        self.scheduler.upgrade().map_or_else(T::default, |scheduler| act(&mut scheduler.network()))
    }

    /// Gives a name these addresses, in this order, of either family. If a host of the world has the
    /// name, it is found under it no more, and knows no better itself. No addresses: the name is known,
    /// and has none.
    pub fn set(&self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().collect();
        self.act(|network| network.name_service.zone.set(name, addresses));
    }

    /// Takes a name away, that of a host too: nobody knows it any more.
    pub fn remove(&self, name: &str) {
        self.act(|network| network.name_service.zone.remove(name));
    }

    /// Takes back what [`set`](Self::set) and [`remove`](Self::remove) said about a name: it is that of
    /// the host that has it, or nobody's. Says whether there was something.
    pub fn restore(&self, name: &str) -> bool {
        self.act(|network| network.name_service.zone.restore(name))
    }

    /// Every question about a name, or about an address in its text form, goes wrong from now on.
    pub fn fail(&self, name: &str, fault: NameFault) {
        self.act(|network| {
            let said = &mut network.name_service.of_names;
            forget(said, name);
            said.insert(name.to_owned(), fault);
        });
    }

    /// Every question of a host goes wrong from now on. The host need not exist yet.
    pub fn fail_for(&self, host: &str, fault: NameFault) {
        self.act(|network| network.name_service.of_hosts.insert(host.to_owned(), fault));
    }

    /// Every answer about a name takes so long from now on, whatever [`Resolver`](crate::Resolver) says.
    pub fn delay(&self, name: &str, delay: Duration) {
        self.act(|network| {
            let said = &mut network.name_service.delays;
            forget(said, name);
            said.insert(name.to_owned(), delay);
        });
    }

    /// Takes back every [`fail`](Self::fail), [`fail_for`](Self::fail_for) and [`delay`](Self::delay).
    pub fn mend(&self) {
        self.act(|network| network.name_service.mend());
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}
