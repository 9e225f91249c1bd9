//! The real world: named hosts as views of one loop, each with a loopback address.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use sim_core::driver::{Family, is_same_name};
use sim_core::{Boot, HostView, Loop, Rng, World, WorldBackend};

use crate::MioDriver;
use crate::block::{Block, HOSTS_MAX};
use crate::driver::random_stream;

/// How many turns in a row must pass without a step of any protocol until the world is quiet. An
/// accept alone takes four from the packet to `connection_made`, and tasks may take some more.
const QUIET_TURNS: u32 = 16;
/// How many turns settling takes at most, in a world that is never quiet.
const SETTLE_TURNS_MAX: u32 = 10_000;

/// A world on `lp`, which runs on `driver`.
///
/// Hosts get addresses of a block 127.x.y.0/24 that the world claims for itself, so that worlds of
/// other threads and processes do not meet. The first address is the claim's; hosts have 127.x.y.2,
/// 127.x.y.3, and so on, in the order in which they were first named.
///
/// # Errors
///
/// When no block is free.
pub(crate) fn new_world(lp: &Loop, driver: &Rc<MioDriver>, seed: Option<u64>) -> io::Result<World> {
    let names =
        Names { block: Block::claim()?, hosts: RefCell::default(), booted: RefCell::default() };
    let (lp, driver, names) = (lp.clone(), Rc::clone(driver), Rc::new(names));
    let workload = seed.unwrap_or_else(|| random_stream().next_u64());
    let backend = Loopback { lp, driver, names, workload };
    Ok(World::new(Rc::new(backend)))
}

struct Loopback {
    lp: Loop,
    driver: Rc<MioDriver>,
    names: Rc<Names>,
    /// The seed of the workload's operations.
    workload: u64,
}

/// The hosts of a world. The place of a name gives its address.
struct Names {
    block: Block,
    hosts: RefCell<Vec<Rc<str>>>,
    /// Those that have a boot function.
    booted: RefCell<Vec<Rc<str>>>,
}

/// A host, as a loop sees it.
struct Host {
    name: Rc<str>,
    address: Ipv4Addr,
    names: Rc<Names>,
}

impl Names {
    fn find(&self, name: &str) -> Option<usize> {
        self.hosts.borrow().iter().position(|host| &**host == name)
    }

    /// The address of the host that somebody means who asks for a name: the one of exactly that name, if there is one.
    fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let other = || self.hosts.borrow().iter().position(|host| is_same_name(host, name));
        self.find(name).or_else(other).and_then(|index| self.block.address(index))
    }

    /// The name and the address of a host, which is made if it is not there.
    fn host(&self, name: &str) -> (Rc<str>, Ipv4Addr) {
        let index = self.find(name).unwrap_or_else(|| {
            let mut hosts = self.hosts.borrow_mut();
            hosts.push(Rc::from(name));
            hosts.len() - 1
        });
        let address = self.block.address(index).unwrap_or_else(|| {
            panic!("host {name:?}: a world on loopback has room for {HOSTS_MAX} hosts")
        });
        (Rc::clone(&self.hosts.borrow()[index]), address)
    }
}

impl WorldBackend for Loopback {
    fn host(&self, name: &str) -> Loop {
        let (name, address) = self.names.host(name);
        self.lp.with_view(Rc::new(Host { name, address, names: Rc::clone(&self.names) }))
    }

    /// Passes a fence over loopback and a turn that does not wait, until several of them in a row
    /// brought no protocol anything.
    fn settle(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        let (driver, names) = (Rc::clone(&self.driver), Rc::clone(&self.names));
        Box::pin(async move {
            let (mut before, mut quiet) = (driver.protocol_steps(), 0);
            for _ in 0..SETTLE_TURNS_MAX {
                if let Err(error) = names.block.fence() {
                    tracing::warn!(target: "real_net", %error, "a fence over loopback failed");
                }
                next_turn().await;
                let steps = driver.protocol_steps();
                quiet = if steps == before { quiet + 1 } else { 0 };
                before = steps;
                if quiet == QUIET_TURNS {
                    return;
                }
            }
        })
    }

    fn control(&self) -> Loop {
        self.lp.clone()
    }

    fn boot(&self, name: &str, boot: Boot) -> Loop {
        let lp = self.host(name);
        let mut booted = self.names.booted.borrow_mut();
        let is_new = booted.iter().all(|host| &**host != name);
        assert!(is_new, "host {name:?} has been given a boot function before");
        booted.push(Rc::from(name));
        drop(booted);
        lp.create_named_task("boot", boot(lp.clone()));
        lp
    }

    fn rng(&self, _name: &str) -> Rng {
        random_stream()
    }

    fn size(&self, _name: &str, range: RangeInclusive<u64>) -> u64 {
        range.start() + (range.end() - range.start()) / 2
    }

    fn operation(&self, name: &str, index: u64) -> Option<Rng> {
        let mut seed = [0; 32];
        for (place, word) in
            seed.chunks_exact_mut(8).zip([self.workload, index, fnv1a(name), name.len() as u64])
        {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Some(Rng::from_seed(seed))
    }
}

impl HostView for Host {
    fn name(&self) -> &str {
        &self.name
    }

    fn resolve(&self, name: &str) -> Option<io::Result<Vec<IpAddr>>> {
        let known = match self.names.address(name) {
            None if name == "localhost" => Some(Ipv4Addr::LOCALHOST),
            address => address,
        };
        known.map(|address| Ok(vec![address.into()]))
    }

    fn name_of(&self, address: IpAddr) -> Option<String> {
        let hosts = self.names.hosts.borrow();
        let mut hosts = hosts.iter().enumerate();
        let found = hosts
            .find(|(place, _)| self.names.block.address(*place).is_some_and(|own| address == own));
        found.map(|(_, name)| name.to_string())
    }

    fn local(&self, family: Family) -> Option<IpAddr> {
        (family == Family::V4).then(|| self.address.into())
    }

    fn rng(&self, _name: &str) -> Rng {
        random_stream()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).field("address", &self.address).finish()
    }
}

/// FNV-1a, which tells names apart.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Completes in the next turn of the loop, which does not wait before it.
fn next_turn() -> impl Future<Output = ()> {
    let mut asked = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[cfg(test)]
mod tests;
