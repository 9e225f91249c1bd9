//! Copies and packets out of order, which are no losses.

use std::time::Duration;

use sim_net::Sim;

use crate::stream::{Stream, link};
use crate::transfer::retransmissions;

/// How many segments are sent again of 5 MB over 100 Mbit/s, with a window that fits the queue.
fn sent_again(text: &str) -> u64 {
    let link = link(&format!("{text},rate=100Mbit,queue=1000"));
    let sim = Sim::new(1).latency(Duration::from_millis(10)).trace(true);
    let report = sim.run_with_links(|world, links| async move {
        let stream = Stream::begin(world, links, link, 5_000_000, Some(262_144)).await?;
        let goodput = stream.finish(Duration::from_secs(60)).await;
        std::io::Result::Ok(goodput)
    });
    let again = retransmissions(report.log.as_ref().expect("it was asked for"));
    assert!(report.unwrap() > 20.0, "{text}");
    again
}

/// L-120: duplicates cause no retransmissions at all, and packets up to 5 ms out of order nearly none,
/// since recovery learns how late they may be (RFC 8985).
#[test]
fn what_is_not_lost_is_hardly_sent_again() {
    assert_eq!(sent_again("latency=10ms,dup=1%"), 0);
    assert_eq!(sent_again("latency=10ms,dup=10%"), 0);
    for jitter in [1, 5] {
        let again = sent_again(&format!("latency=10ms..{}ms,order=free", 10 + jitter));
        assert!(again <= 13, "{jitter} ms: {again} of 3454 segments");
    }
}
