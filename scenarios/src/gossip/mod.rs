//! A membership protocol over datagrams: everybody learns who is there, at a constant cost for each.
//!
//! SWIM, as Das, Gupta and Motivala describe it. In each period a member asks one other whether it is
//! there; if it does not answer, a few are asked to ask; if it does not answer them either, it is
//! suspected. What is known of members travels on these messages. Who hears that it is suspected says
//! that it is alive, in a higher incarnation; who does not in time is dead. The workload stops one
//! member and starts it again, without memory. Invariants: in the end every member's view is exactly
//! who is there; and nobody was ever declared dead who was not gone.
//!
//! # What it stands
//!
//! Loss, reordering, duplication and corruption of datagrams; crashes and restarts; partitions that
//! are shorter than the suspicion time, [`Swim::suspicion_periods`] less what it takes to be heard
//! again. Behind a longer one the others are declared dead, rightly: the second invariant does not hold
//! then, the first does once it has healed.
//!
//! | where | what |
//! | --- | --- |
//! | [`Message`], [`News`] | what is sent |
//! | [`Swim`] | a member: a value without I/O or clock |
//! | [`Node`] | the member with a socket and a timer |
//! | [`steady`] | a group of any size that lives in peace, to count what it sends |
//! | [`Flaw`] | the protocol with one line broken |

mod message;
mod node;
mod swim;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::history::Replicas;
use sim_core::{Conn, DatagramTransport, Failure, FaultMix, Loop, Scenario, Time, World};

pub use self::message::{
    Health, Kind, MESSAGE_BYTES_MAX, Member, Message, NEWS_MAX, News, NewsList,
};
pub use self::node::{Node, Roster};
pub use self::swim::Swim;
use crate::ending::Ending;
use crate::patience::PATIENCE;
use crate::violation::ensure;

const PORT: u16 = 7000;
const PERIOD: Duration = Duration::from_millis(20);
/// How long the group lives in peace at the beginning and at the end, in periods.
const PEACE_PERIODS: u32 = 10;
const FAULTS: FaultMix =
    FaultMix::new("latency=500us..2500us,loss=3%,dup=1%,reorder=1%,corrupt=0.1%/deliver")
        .cuts(1, Duration::from_millis(100))
        .crashes(&["host-0", "host-1", "host-2"], 2, Duration::from_secs(1))
        .within(Duration::from_millis(500));

/// One line of the protocol that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flaw {
    /// It is as it should be.
    #[default]
    None,
    /// A member does not look whether it is spoken of in a higher incarnation than it has. One that
    /// starts again, without memory, does not outbid its former life, and stays dead.
    NoIncarnationCheck,
    /// Who is suspected says nothing. A few lost datagrams are a death.
    NoRefutation,
    /// Who does not answer is dead at once. A few lost datagrams are a death.
    NoSuspicion,
}

/// The scenario `gossip`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "members of a group learn who is there, and declare nobody dead who is";
    Scenario::new("gossip", summary, move |world| run(world, flaw)).faults(FAULTS)
}

/// A member of the workload: whether it is to be there, and its present life.
#[derive(Debug)]
struct Seat {
    wanted: Cell<bool>,
    lives: Cell<u32>,
    /// When the first of them began: late, if the host was down at the beginning.
    first: Cell<Option<Time>>,
    swim: RefCell<Option<Rc<RefCell<Swim>>>>,
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let size = world.size("gossip.hosts", 3..=12) as u32;
    let roster = Rc::new(Roster::new(addresses(&world, size).await?, PERIOD));
    let seat = || Seat {
        wanted: Cell::new(true),
        lives: Cell::new(0),
        first: Cell::new(None),
        swim: RefCell::default(),
    };
    let seats: Rc<[Seat]> = (0..size).map(|_| seat()).collect();
    let (ending, begun) = (Ending::default(), world.time());
    for member in 0..size {
        let (roster, seats) = (Rc::clone(&roster), Rc::clone(&seats));
        let ends = ending.clone();
        world.boot(&name(member), move |lp| {
            let (roster, seats, ending) = (Rc::clone(&roster), Rc::clone(&seats), ends.clone());
            async move { attend(lp, member, &roster, &seats[member as usize], flaw, &ending).await }
        });
    }

    world.sleep(PERIOD * PEACE_PERIODS).await;
    agree(&world, &seats, &[]).await?;
    let stopped = world.rng("stopped").below(size.into()) as Member;
    seats[stopped as usize].wanted.set(false);
    agree(&world, &seats, &[stopped]).await?;
    seats[stopped as usize].wanted.set(true);
    agree(&world, &seats, &[]).await?;
    world.sleep(PERIOD * PEACE_PERIODS).await;
    agree(&world, &seats, &[]).await?;

    for dead in roster.declared_dead() {
        let Seat { lives, first, .. } = &seats[dead as usize];
        let came_late = first.get().is_none_or(|first| first > begun);
        ensure!(
            lives.get() > 1 || came_late,
            "member {dead} was declared dead, and was there all the time"
        );
    }
    ending.give(&world).await;
    Ok(())
}

/// A host of the workload: it has a member running whenever one is wanted.
async fn attend(
    lp: Loop,
    member: Member,
    roster: &Rc<Roster>,
    seat: &Seat,
    flaw: Flaw,
    ending: &Ending,
) -> io::Result<()> {
    let mut endpoint: Option<Conn<Node, DatagramTransport>> = None;
    while !ending.has_come() {
        match endpoint.take() {
            None if seat.wanted.get() => {
                seat.lives.set(seat.lives.get() + 1);
                seat.first.set(seat.first.get().or(Some(lp.time())));
                let (swim, conn) = start(&lp, member, roster, flaw).await?;
                seat.swim.replace(Some(swim));
                endpoint = Some(conn);
            }
            Some(conn) if !seat.wanted.get() => {
                conn.transport().close();
                conn.closed().await?;
            }
            unchanged => endpoint = unchanged,
        }
        lp.sleep(PERIOD).await;
    }
    if let Some(conn) = endpoint {
        conn.transport().close();
        conn.closed().await?;
    }
    Ok(())
}

/// Starts a member on its host, at a moment of its own within the period.
async fn start(
    lp: &Loop,
    member: Member,
    roster: &Rc<Roster>,
    flaw: Flaw,
) -> io::Result<(Rc<RefCell<Swim>>, Conn<Node, DatagramTransport>)> {
    let mut rng = lp.rng("gossip");
    let phase = rng.duration(Duration::ZERO..roster.period);
    let swim = Rc::new(RefCell::new(Swim::new(member, roster.size(), rng, flaw)));
    let node = || Node::new(roster, &swim, phase);
    let conn = lp.datagram().local(roster.addresses[member as usize]).bind(node).await?;
    Ok((swim, conn))
}

/// Waits until every member that is to be there takes exactly `dead` for dead.
async fn agree(world: &World, seats: &[Seat], dead: &[Member]) -> Result<(), Failure> {
    let views = Replicas::new();
    let deadline = world.time() + PATIENCE;
    loop {
        for (member, seat) in (0..).zip(seats).filter(|(_, seat)| seat.wanted.get()) {
            match &*seat.swim.borrow() {
                Some(swim) => views.holds(name(member), swim.borrow().dead().collect::<Vec<_>>()),
                None => views.is_silent(name(member)),
            }
        }
        match views.converged_on(&dead.to_vec()) {
            Ok(()) => return Ok(()),
            Err(anomaly) if world.time() >= deadline => return Err(anomaly.into()),
            Err(_) => world.sleep(PERIOD).await,
        }
    }
}

/// A group that lives in peace: how large it is, how long a period is, and how long it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The number of hosts, each with one member; at least two.
    pub hosts: u32,
    /// The period: each member asks one other in it, and is asked by one on average.
    pub period: Duration,
    /// How long it goes on.
    pub duration: Duration,
}

/// A group of any size that lives in peace: how many datagrams it sent. Where none is lost, that is
/// two for each host and period. The cost of a member does not depend on the size of the group.
///
/// # Errors
///
/// What a host's network refuses; a violation if anybody was declared dead.
pub async fn steady(world: World, group: Group) -> Result<u64, Failure> {
    let Group { hosts, period, duration } = group;
    let roster = Rc::new(Roster::new(addresses(&world, hosts).await?, period));
    let mut running = Vec::new();
    for member in 0..hosts {
        let lp = world.host(&name(member));
        running.push(start(&lp, member, &roster, Flaw::None).await?.1);
    }
    world.sleep(duration).await;
    let dead = roster.declared_dead();
    ensure!(dead.is_empty(), "members {dead:?} were declared dead, and were there all the time");
    for endpoint in &running {
        endpoint.transport().abort();
    }
    Ok(roster.datagrams())
}

fn name(member: Member) -> String {
    format!("host-{member}")
}

/// Where the members are.
async fn addresses(world: &World, size: u32) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for member in 0..size {
        let host = world.host(&name(member));
        addresses.extend(host.getaddrinfo((name(member), PORT)).await?.first());
    }
    Ok(addresses)
}
