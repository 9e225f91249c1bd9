//! Everything that the simulator can put on a wire, in one run.

use std::io;
use std::time::Duration;

use sim_core::{
    Conn, Cx, DatagramProtocol, DatagramTransport, Eof, Loop, Protocol, World, WriteBufferLimits,
};
use sim_net::{Report, Sim};
use tests::echo::Echo;

/// Bytes of each bulk connection.
pub(crate) const BODY: usize = 300_000;

/// The byte at a place of a body.
pub(crate) fn body_byte(place: usize) -> u8 {
    (place % 251) as u8
}

/// Sends a body, or says nothing.
struct Upload(usize);

impl Protocol for Upload {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        let body: Vec<u8> = (0..self.0).map(body_byte).collect();
        cx.write(&body);
        if self.0 > 0 {
            cx.write_eof();
        }
    }

    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
}

/// Reads nothing for a second, then everything.
struct Sleeper;

impl Protocol for Sleeper {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.pause_reading();
        cx.call_later(Duration::from_secs(1), |_, cx| cx.resume_reading()).detach();
    }

    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}

    fn eof_received(&mut self, _cx: &mut Cx<'_, Self>) -> Eof {
        Eof::Close
    }
}

struct Quiet;

impl DatagramProtocol for Quiet {
    fn datagram_received(
        &mut self,
        _cx: &mut Cx<'_, Self, DatagramTransport>,
        _data: &[u8],
        _from: std::net::SocketAddr,
    ) {
    }
}

async fn endpoint(
    host: &Loop,
    local: (&'static str, u16),
    remote: Option<&str>,
) -> io::Result<Conn<Quiet, DatagramTransport>> {
    let builder = host.datagram().local(local).broadcast(remote.is_none());
    let Some((name, port)) = remote.and_then(|remote| remote.rsplit_once(' ')) else {
        return builder.bind(|| Quiet).await;
    };
    builder.remote((name.to_owned(), port.parse::<u16>().expect("a port"))).bind(|| Quiet).await
}

async fn everything(world: World) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));

    // Bulk, back and forth, in both families; and over two loopbacks with the same addresses.
    let _four = server.create_server(("server", 7000), || Echo).await?;
    let _six = server.create_server(("ip6-server", 7000), || Echo).await?;
    for name in ["server", "ip6-server"] {
        let conn = client.create_connection((name, 7000), || Upload(BODY)).await?;
        conn.closed().await?;
    }
    for host in [&server, &client] {
        let _local = host.create_server(("localhost", 7001), || Echo).await?;
        host.create_connection(("localhost", 7001), || Upload(BODY)).await?.closed().await?;
    }

    // A reader that sleeps: its window closes.
    let _sleeping = server.create_server(("server", 7002), || Sleeper).await?;
    let conn = client.create_connection(("server", 7002), || Upload(0)).await?;
    conn.transport().set_write_buffer_limits(WriteBufferLimits { high: 1 << 22, low: 0 })?;
    conn.with(|_, cx| (0..40).for_each(|_| cx.write(&[7; 50_000])));
    client.sleep(Duration::from_secs(5)).await;
    conn.transport().abort();

    // A refused connection.
    client.create_connection(("server", 1), || Upload(0)).await.expect_err("nobody listens");

    // A backlog that is full: SYNs are dropped, and sent again.
    let _narrow = server.server().backlog(0).bind(("server", 7003), || Echo).await?;
    let busy = server.clone();
    server.call_soon(move || busy.spend(Duration::from_millis(500)));
    let clients = (0..3).map(|number| {
        let client = world.host(&format!("client{number}"));
        let task = client.clone();
        client.create_task(
            async move { task.create_connection(("server", 7003), || Upload(9)).await },
        )
    });
    for task in clients.collect::<Vec<_>>() {
        task.await??.closed().await?;
    }

    // Datagrams: answered, to a port that is closed, to nobody, to everybody.
    let _echo = server.datagram().local(("server", 5_300)).bind(|| Echo).await?;
    for (local, remote) in
        [("client", "server 5300"), ("client", "server 9"), ("ip6-client", "ip6-server 9")]
    {
        let conn = endpoint(&client, (local, 0), Some(remote)).await?;
        conn.transport().send_to(b"odd", None)?;
        conn.transport().send_to(&[1; 1_400], None)?;
        client.sleep(Duration::from_millis(10)).await;
    }
    let any = endpoint(&client, ("", 4_000), None).await?;
    any.transport().send_to(b"is anybody there?", Some("10.9.9.9:1".parse().unwrap()))?;
    for _ in 0..2 {
        any.transport().send_to(b"everybody", Some("10.255.255.255:4000".parse().unwrap()))?;
    }
    world.settle().await;
    Ok(())
}

/// Runs it.
pub(crate) fn run(seed: u64, capture: bool) -> Report<()> {
    Sim::new(seed).trace(true).capture(capture).run(everything)
}
