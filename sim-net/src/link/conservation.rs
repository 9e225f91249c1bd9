//! Nothing vanishes and nothing comes from nowhere, whatever a link does.

use std::io;
use std::net::SocketAddr;

use proptest::prelude::*;
use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};

use super::Link;
use super::printing::tests::links;
use crate::sim::Sim;
use crate::trace::{PacketKind, Record};

struct Sink;

impl DatagramProtocol for Sink {
    fn datagram_received(
        &mut self,
        _: &mut Cx<'_, Self, DatagramTransport>,
        _: &[u8],
        _: SocketAddr,
    ) {
    }
}

/// Sends datagrams of these sizes from `a` to `b`, and waits until nothing is in flight.
async fn send(world: World, sizes: Vec<usize>) -> io::Result<()> {
    let (a, b) = (world.host("a"), world.host("b"));
    let _sink = b.datagram().local(("b", 9)).bind(|| Sink).await?;
    let source = a.datagram().local(("a", 9)).bind(|| Sink).await?;
    let target = Some(SocketAddr::from(([10, 0, 0, 2], 9)));
    for size in sizes {
        source.transport().send_to(&vec![7; size], target)?;
        a.sleep(std::time::Duration::from_micros(300)).await;
    }
    world.settle().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What is sent or copied is delivered or dropped for a reason; every fault that the report
    /// counts is in the trace; and the same seed does the same again.
    #[test]
    fn packets_are_conserved(
        link in links(),
        seed in 0_u64..1_000,
        sizes in prop::collection::vec(0_usize..2_000, 1..60),
    ) {
        let run = |link: Link, keep: bool| {
            let sizes = sizes.clone();
            Sim::new(seed).link(link).trace(keep).run(move |world| send(world, sizes))
        };
        let report = run(link.clone(), true);
        prop_assert!(report.outcome.is_ok(), "{:?}", report.finding());
        let log = report.log.as_ref().unwrap();
        let count = |is_it: &dyn Fn(Record) -> bool| {
            log.entries().filter(|entry| is_it(entry.record)).count() as u64
        };
        let is_datagram = |packet: crate::trace::PacketRecord| packet.kind == PacketKind::Datagram;
        let sent = count(&|it| matches!(it, Record::Sent(packet) if is_datagram(packet)));
        let copied = count(&|it| matches!(it, Record::Duplicated(_)));
        let delivered = count(&|it| matches!(it, Record::Delivered(packet) if is_datagram(packet)));
        let dropped = count(&|it| matches!(it, Record::Dropped(..)));
        prop_assert_eq!(sent + copied, delivered + dropped);
        let fault = |name: &str| report.faults.get(name).copied().unwrap_or(0);
        prop_assert_eq!(copied, fault("packet.duplicate"));
        prop_assert_eq!(count(&|it| matches!(it, Record::Corrupted(_))), fault("packet.corrupt"));
        prop_assert_eq!(count(&|it| matches!(it, Record::HeldBack(_))), fault("packet.reorder"));
        let again = run(link, false);
        prop_assert_eq!((report.hash, report.time), (again.hash, again.time));
    }
}
