//! A failure detector over datagrams: silence is suspected, and forgiven.
//!
//! Every host sends heartbeats to every other, and suspects those that it misses too many of. The
//! workload stops one host and starts it again. Invariants: while all are there nobody is suspected;
//! who stopped is suspected by every other host, and who came back is trusted, each within a bounded
//! number of intervals; and who came back suspects nobody.
//!
//! | where | what |
//! | --- | --- |
//! | [`Detector`] | who is suspected: a value without I/O or clock |
//! | [`Member`] | the detector with a socket and a timer |

mod detector;
mod member;

use std::io;
use std::time::Duration;

use sim_core::{Conn, DatagramTransport, Failure, FaultMix, Scenario, World};

pub use self::detector::{Change, Detector, Heartbeat};
pub use self::member::{Group, Member};
use crate::patience::within;
use crate::violation::ensure;

const PORT: u16 = 7000;
/// Heartbeats are not repeated: a partition of as long as it takes to suspect is rightly suspected. They
/// have no checksum either.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..10ms,loss=2%,dup=1%,reorder=1%");
const INTERVAL: Duration = Duration::from_millis(20);
const MISSED_MAX: u32 = 10;
/// How long the group lives in peace, in intervals: longer than it may take to notice anything, so
/// that a late suspicion shows, and a host that is mistaken for its former life does.
const PEACE_TICKS: u64 = 25;
/// How many intervals a host may need to notice that another stopped, or is back: those that it has
/// to miss, and as many for heartbeats that were on their way.
const NOTICE_TICKS: u64 = 2 * MISSED_MAX as u64;

/// A running member.
type Endpoint = Conn<Member, DatagramTransport>;

/// The scenario `heartbeat`.
pub fn scenario() -> Scenario {
    let summary = "hosts suspect the one that stops, trust it when it is back, and nobody else";
    Scenario::new("heartbeat", summary, run).faults(FAULTS)
}

async fn run(world: World) -> Result<(), Failure> {
    let size = world.size("heartbeat.hosts", 3..=6) as u32;
    let mut members = Vec::new();
    for number in 0..size {
        let host = world.host(&name(number));
        members.extend(host.getaddrinfo((name(number), PORT)).await?);
    }
    let group = Group { members, interval: INTERVAL, missed_max: MISSED_MAX };
    let mut endpoints = Vec::new();
    for number in 0..size {
        endpoints.push(start(&world, &group, number, 1).await?);
    }
    live(&endpoints, PEACE_TICKS).await?;
    for endpoint in &endpoints {
        expect_changes(endpoint, &[])?;
        let knows = endpoint.with(|member, _| member.detector().knows_everybody());
        ensure!(knows, "a host has not heard of every other after {PEACE_TICKS} intervals");
    }

    let stopped = world.rng("victim").below(size.into()) as usize;
    let victim = endpoints.remove(stopped);
    let ticks = ticks_of(&endpoints);
    victim.transport().close();
    victim.closed().await?;
    let suspected = Change::Suspected(stopped as u32);
    for (endpoint, since) in endpoints.iter().zip(ticks) {
        await_changes(endpoint, 1, since).await?;
        expect_changes(endpoint, &[suspected])?;
    }

    let trusted = Change::Trusted(stopped as u32);
    let ticks = ticks_of(&endpoints);
    let back = start(&world, &group, stopped as u32, 2).await?;
    for (endpoint, since) in endpoints.iter().zip(ticks) {
        await_changes(endpoint, 2, since).await?;
    }
    live(std::slice::from_ref(&back), PEACE_TICKS).await?;
    for endpoint in &endpoints {
        expect_changes(endpoint, &[suspected, trusted])?;
    }
    expect_changes(&back, &[])?;
    for endpoint in endpoints.iter().chain([&back]) {
        endpoint.transport().close();
        endpoint.closed().await?;
    }
    Ok(())
}

fn name(number: u32) -> String {
    format!("host-{number}")
}

async fn start(world: &World, group: &Group, number: u32, life: u32) -> io::Result<Endpoint> {
    let host = world.host(&name(number));
    let member = || Member::new(group, number, life);
    host.datagram().local((name(number), PORT)).bind(member).await
}

/// Waits until each has lived `ticks` more intervals.
async fn live(endpoints: &[Endpoint], ticks: u64) -> Result<(), Failure> {
    let lives = endpoints.iter().map(|endpoint| {
        let lp = endpoint.transport().event_loop();
        (lp, endpoint.with(|member, _| member.lives(lp, member.ticks() + ticks)))
    });
    for (lp, lived) in lives.collect::<Vec<_>>() {
        within(lp, "a host's next interval", lived).await??;
    }
    Ok(())
}

/// How many intervals each has lived.
fn ticks_of(endpoints: &[Endpoint]) -> Vec<u64> {
    endpoints.iter().map(|endpoint| endpoint.with(|member, _| member.ticks())).collect()
}

/// Waits until a host has changed its mind `changes` times. Holds if the last time was soon after
/// its tick `since`.
async fn await_changes(endpoint: &Endpoint, changes: usize, since: u64) -> Result<(), Failure> {
    let lp = endpoint.transport().event_loop();
    let changed = endpoint.with(|member, _| member.changes_its_mind(lp, changes as u64));
    within(lp, "a host's change of mind", changed).await??;
    let (at, change) = endpoint.with(|member, _| member.changes()[changes - 1]);
    ensure!(
        at <= since + NOTICE_TICKS,
        "{}: {change:?} took {} intervals, more than {NOTICE_TICKS}",
        lp.host(),
        at - since
    );
    Ok(())
}

/// Holds if a host changed its mind exactly so.
fn expect_changes(endpoint: &Endpoint, expected: &[Change]) -> Result<(), Failure> {
    let host = endpoint.transport().event_loop().host();
    let seen: Vec<Change> =
        endpoint.with(|member, _| member.changes().iter().map(|(_, change)| *change).collect());
    ensure!(seen == expected, "{host} noticed {seen:?} instead of {expected:?}");
    Ok(())
}
