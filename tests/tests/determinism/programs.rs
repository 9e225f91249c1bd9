//! Programs whose runs are compared.

use std::io;
use std::time::Duration;

use sim_core::{
    Cx, DatagramProtocol, DatagramTransport, Protocol, ToHostPort, World, WriteBufferLimits,
};
use sim_net::{Memory, Report, Sim};
use tests::echo::Echo;

pub(crate) const SERVER: (&str, u16) = ("server", 7000);

/// A program with its network.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) run_in: fn(u64, &Memory) -> Report<()>,
}

impl Program {
    /// Runs it in memory of its own.
    pub(crate) fn run(&self, seed: u64) -> Report<()> {
        (self.run_in)(seed, &Memory::default())
    }
}

/// Everything that the simulator has a model of is in one of them.
pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "greeting", run_in: |seed, memory| Sim::new(seed).run_in(memory, greeting) },
    Program { name: "echo", run_in: |seed, memory| Sim::new(seed).run_in(memory, everything) },
    Program {
        name: "echo, jitter",
        run_in: |seed, memory| jittered(seed).run_in(memory, everything),
    },
    Program { name: "timers", run_in: |seed, memory| Sim::new(seed).run_in(memory, timers) },
    Program { name: "bulk", run_in: |seed, memory| jittered(seed).run_in(memory, bulk) },
];

/// A network on which every packet draws its delay.
pub(crate) fn jittered(seed: u64) -> Sim {
    Sim::new(seed).latency(Duration::from_millis(1)..Duration::from_millis(20))
}

/// Sends a message, and counts what comes back.
#[derive(Default)]
pub(crate) struct Talk {
    pub(crate) says: Vec<u8>,
    pub(crate) heard: usize,
}

impl Protocol for Talk {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&self.says);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.heard += data.len();
        if self.heard == self.says.len() {
            cx.close();
        }
    }
}

impl DatagramProtocol for Talk {
    fn datagram_received(
        &mut self,
        _cx: &mut Cx<'_, Self, DatagramTransport>,
        data: &[u8],
        _from: std::net::SocketAddr,
    ) {
        self.heard += data.len();
    }
}

/// One connection, one message.
pub(crate) async fn greeting(world: World) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(SERVER, || Echo).await?;
    let hello = || Talk { says: b"hello".to_vec(), heard: 0 };
    client.create_connection(SERVER, hello).await?.closed().await
}

/// Streams and datagrams between several hosts, sizes and names drawn, a refused connection.
pub(crate) async fn everything(world: World) -> io::Result<()> {
    let server = world.host("server");
    let _streams = server.create_server(SERVER, || Echo).await?;
    let at = ("server", 53).to_host_port();
    let _datagrams = server.create_datagram_endpoint(Some(at.clone()), None, || Echo).await?;
    let (mut conns, mut endpoints) = (Vec::new(), Vec::new());
    for number in 0..world.size("clients", 2..=6) {
        let client = world.host(&format!("client{number}"));
        let says = vec![number as u8; client.rng("size").range(1..100_000) as usize];
        conns.push(client.create_connection(SERVER, || Talk { says, heard: 0 }).await?);
        let endpoint =
            client.create_datagram_endpoint(None, Some(at.clone()), Talk::default).await?;
        endpoint.transport().send_to(b"question", None)?;
        endpoints.push(endpoint);
        let refused = client.create_connection(("server", 1), Talk::default).await;
        assert_eq!(refused.expect_err("nobody listens").kind(), io::ErrorKind::ConnectionRefused);
    }
    for conn in conns {
        conn.closed().await?;
    }
    world.settle().await;
    Ok(())
}

/// Tasks and timers alone.
async fn timers(world: World) -> io::Result<()> {
    let mut tasks = Vec::new();
    for host in ["a", "b", "c"] {
        let lp = world.host(host);
        let mut rng = lp.rng("delays");
        tasks.push(lp.clone().create_task(async move {
            for _ in 0..100 {
                let delay = rng.duration(Duration::ZERO..Duration::from_millis(10));
                drop(lp.call_later(delay / 2, || {}));
                lp.call_soon(|| {});
                lp.sleep(delay).await;
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}

/// A body that is larger than every buffer.
pub(crate) async fn bulk(world: World) -> io::Result<()> {
    struct Source {
        left: usize,
    }
    impl Source {
        fn pump(&mut self, cx: &Cx<'_, Self>) {
            while self.left > 0 && cx.is_writable() {
                cx.write(&[7; 10_000]);
                self.left -= 1;
            }
            if self.left == 0 {
                cx.write_eof();
            }
        }
    }
    impl Protocol for Source {
        fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
            let marks = WriteBufferLimits { high: 30_000, low: 10_000 };
            cx.set_write_buffer_limits(marks).expect("low is below high");
            self.pump(cx);
        }
        fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
        fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
            self.pump(cx);
        }
    }
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.server().receive_buffer(20_000).bind(SERVER, || Echo).await?;
    let source = client.create_connection(SERVER, || Source { left: 50 }).await?;
    source.closed().await
}
