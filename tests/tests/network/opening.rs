//! How connections begin.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sim_core::driver::{Family, SocketKind};
use sim_core::{Failure, Socket, World};
use sim_net::{Link, Sim};
use tests::recorder::{Log, Recorder};

use crate::stream::link;
use crate::transfer::SERVER;

/// When a connect through `link` is done.
fn connected_after(link: &Link, seed: u64) -> Duration {
    let connect = |world: World| async move {
        let (client, server) = (world.host("client"), world.host("server"));
        let listening = server.create_server(SERVER, || Recorder::new(&Log::new())).await?;
        let _conn = client.create_connection(SERVER, || Recorder::new(&Log::new())).await?;
        listening.close();
        io::Result::Ok(world.time().since_epoch())
    };
    Sim::new(seed).link(link.clone()).run(connect).unwrap()
}

/// L-113: a round trip; each SYN or SYN-ACK that is lost adds a second at first, and by 20 % loss a
/// third of the attempts lose one.
#[test]
fn a_lost_opening_costs_a_second() {
    const SEEDS: u64 = 400;
    for (loss, expected) in [(5, 0.10), (10, 0.19), (20, 0.36)] {
        let link = link(&format!("latency=10ms,loss={loss}%"));
        let mut late = 0;
        for seed in 0..SEEDS {
            let extra = connected_after(&link, seed) - Duration::from_millis(20);
            assert_eq!(extra.subsec_nanos(), 0, "{extra:?}");
            late += u64::from(!extra.is_zero());
        }
        let share = late as f64 / SEEDS as f64;
        assert!((share - expected).abs() < 0.07, "{loss} %: {share} of the attempts are late");
    }
}

/// L-97: a socket that connects to its own address is connected to itself, and reads what it writes.
#[test]
fn a_socket_may_connect_to_itself() {
    let told = Sim::new(1).run(|world| async move {
        let host = world.host("host");
        let own = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let mut socket = Socket::open(&host, SocketKind::Stream, Family::V4)?;
        socket.bind(own)?;
        socket.connect(own).await?;
        assert_eq!((socket.local_addr()?, socket.peer_addr()?), (own, own));
        let log = Log::new();
        let recorder = Recorder::new(&log).on_made(|cx| {
            cx.write(b"hello, me");
            cx.write_eof();
        });
        let conn = host.connection().adopt(socket, move || recorder).await?;
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(conn.with(|it, _| it.data.clone()), b"hello, me");
        Result::<_, Failure>::Ok(log.text())
    });
    assert_eq!(told.unwrap(), "CM DR ER CL(None)");
}
