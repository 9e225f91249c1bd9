//! What a connection does while nothing gets through.

use std::time::Duration;

use sim_core::{Failure, World};
use sim_net::{Links, Partition, Sim};
use tests::recorder::{Log, Recorder};

use crate::transfer::SERVER;

async fn cut_and_healed(world: World, links: Links) -> Result<(), Failure> {
    let (client, server) = (world.host("client"), world.host("server"));
    let accepted = client.create_future();
    let (peer_log, announced) = (Log::new(), accepted.clone());
    let make = move || Recorder::new(&peer_log).announce(announced.clone());
    let _listening = server.create_server(SERVER, make).await?;
    let log = Log::new();
    let recorder = Recorder::new(&log);
    let conn = client.create_connection(SERVER, move || recorder).await?;
    let peer = accepted.await?;

    let cut = links.partition(&Partition::between("client", "server"))?;
    let mut written = Vec::new();
    for byte in 0..40 {
        written.extend_from_slice(&[byte; 10_000]);
        conn.transport().write(&[byte; 10_000]);
        world.sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(log.text(), "CM PW");
    assert!(!conn.transport().is_writable() && !conn.transport().is_closing());
    assert!(conn.transport().write_buffer_size() > 300_000, "the writes wait");
    assert_eq!(peer.with(|it, _| it.data.len()), 0);
    assert_eq!(peer.with(|it, _| it.log.text()), "CM");

    links.heal_one(cut);
    // At most 120 s until the next transmission (L-24, L-30).
    world.sleep(Duration::from_secs(130)).await;
    assert_eq!(log.text(), "CM PW RW");
    assert_eq!(conn.transport().write_buffer_size(), 0);
    assert!(peer.with(|it, _| it.data == written));
    Ok(())
}

/// K-03, L-24, L-30: for minutes writes are buffered, `pause_writing` comes, and nothing else. After
/// the healing everything arrives, and `resume_writing` comes.
// on: sim
#[test]
fn a_partition_is_nothing_at_all() {
    for seed in 0..3 {
        Sim::new(seed).run_with_links(cut_and_healed).unwrap();
    }
}
