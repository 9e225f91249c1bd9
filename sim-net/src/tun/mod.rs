//! A host's packets as bytes, for a stack that is not ours.

mod conversation;
pub(crate) mod interface;

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;

use sim_core::Time;
use sim_core::driver::Family;

use self::interface::Interface;
use crate::address::Ip;
pub use crate::capture::decoding::PacketError;
use crate::link::MTU;
use crate::scheduler::Scheduler;

/// The TUN device of a host: IP packets that reach the host come out as bytes, and bytes that go in
/// travel like the packets of any host, over the same links and with the same faults, names, traces and
/// captures. A program on the host can so run a network stack of its own; it takes time, timers and
/// random numbers from the host's [`Loop`](sim_core::Loop), which keeps the run deterministic.
///
/// [`Simulation::tun`](crate::Simulation::tun) makes one. From then on nothing reaches the sockets of
/// the host any more. It holds TCP, UDP and errors of ICMP over IPv4 and IPv6. Whatever has happened to the host (it is frozen, or crashed) holds for its device
/// too: a crash takes what was not received, and the device is there again when the host starts.
///
/// At most 500 packets wait to be received (the figure of Linux's device); what comes then is dropped.
/// Packets that go in belong to the flow of their connection (addresses and ports); the device knows
/// 4096 of them, and forgets the one that it has known for longest. A segment counts as sent
/// again if one that began at the same sequence number, or acknowledged the same, was sent before.
///
/// ```
/// use std::time::Duration;
/// use sim_core::{Cx, Protocol};
/// use sim_net::Sim;
///
/// struct Quiet;
/// impl Protocol for Quiet {
///     fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
/// }
///
/// let simulation = Sim::new(1).build();
/// let (world, tun) = (simulation.world(), simulation.tun("foreign"));
/// simulation.run(async move {
///     let client = world.host("client");
///     let connecting = client.clone().create_task(async move {
///         client.create_connection(("foreign", 7), || Quiet).await.map(drop)
///     });
///     tun.readable().await;
///     let (time, syn) = tun.receive().expect("it is readable");
///     assert_eq!(time.since_epoch(), Duration::from_millis(1));
///     assert_eq!((syn[0] >> 4, syn[9], syn[33]), (4, 6, 2), "IPv4, TCP, SYN");
///     connecting.cancel();
/// })?;
/// # Ok::<(), sim_net::Finding>(())
/// ```
///
/// It can be cloned and moved into a scenario, and keeps no world alive.
#[derive(Clone)]
pub struct Tun {
    scheduler: Weak<Scheduler>,
    index: u32,
}

impl Tun {
    pub(crate) fn open(scheduler: &Rc<Scheduler>, index: u32) -> Self {
        let bell = || Arc::clone(&scheduler.bell);
        scheduler.network().host(index).open_interface(|| Interface::new(bell()));
        Self { scheduler: Rc::downgrade(scheduler), index }
    }

    /// The addresses of the host: IPv4 and IPv6.
    ///
    /// # Panics
    ///
    /// After the end of the world.
    #[track_caller]
    pub fn addresses(&self) -> [IpAddr; 2] {
        let scheduler = self.scheduler.upgrade().expect("Tun::addresses: the world has ended");
        let number = scheduler.network().host(self.index).number;
        [Family::V4, Family::V6].map(|family| Ip::of_host(number, family).to_addr())
    }

    /// The largest packet that it takes as a network does, in bytes from IP on. Links that are narrower
    /// drop what is larger than they allow.
    pub fn mtu(&self) -> usize {
        MTU as usize
    }

    /// Sends a packet, from its IP header on: now, or when the machine goes on if that is frozen. One that is off
    /// sends nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the packet, which is dropped, and counted by [`refused`](Self::refused).
    pub fn send(&self, packet: &[u8]) -> Result<(), PacketError> {
        match self.scheduler.upgrade() {
            Some(scheduler) => scheduler.network().interface_send(self.index, packet),
            None => Ok(()),
        }
    }

    /// The next packet, and when it reached the host.
    pub fn receive(&self) -> Option<(Time, Vec<u8>)> {
        let scheduler = self.scheduler.upgrade()?;
        let mut network = scheduler.network();
        network.host(self.index).interface()?.receive()
    }

    /// Completes when there is a packet to receive. One task at a time can wait: of several, the
    /// last to do so is woken.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing, so nothing is lost with it.
    pub async fn readable(&self) {
        poll_fn(|cx| {
            let Some(scheduler) = self.scheduler.upgrade() else { return Poll::Pending };
            let mut network = scheduler.network();
            let Some(interface) = network.host(self.index).interface() else {
                return Poll::Pending;
            };
            if interface.is_readable() {
                return Poll::Ready(());
            }
            let before = interface.wait(cx.waker().clone());
            drop(network);
            drop(before);
            Poll::Pending
        })
        .await;
    }

    /// How many packets [`send`](Self::send) refused.
    pub fn refused(&self) -> u64 {
        let scheduler = self.scheduler.upgrade();
        scheduler.map_or(0, |scheduler| {
            let mut network = scheduler.network();
            network.host(self.index).interface().map_or(0, |interface| interface.refused())
        })
    }
}

impl fmt::Debug for Tun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tun").field("index", &self.index).finish_non_exhaustive()
    }
}
