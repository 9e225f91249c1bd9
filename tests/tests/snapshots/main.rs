//! Traces that a person can read, and has read.
//!
//! Each is the whole log of a small run with a constant millisecond between the hosts: held against
//! RFC 9293 and the contract once, and against itself since.

use std::io;
use std::time::Duration;

use sim_core::{
    Conn, Cx, DatagramProtocol, DatagramTransport, Eof, Protocol, ToHostPort, World,
    WriteBufferLimits,
};
use sim_net::Sim;

const SERVER: (&str, u16) = ("server", 7000);

/// The trace of a scenario.
fn trace<R>(scenario: impl FnOnce(World) -> R) -> String
where
    R: Future<Output = io::Result<()>> + 'static,
{
    let report = Sim::new(1).trace(true).run(scenario);
    let log = report.log.clone().expect("it was asked for");
    report.unwrap();
    log.to_string()
}

macro_rules! assert_trace {
    ($name:literal, $scenario:expr) => {
        insta::with_settings!({
            snapshot_path => ".", prepend_module_to_snapshot => false, omit_expression => true
        }, {
            insta::assert_snapshot!($name, trace($scenario));
        })
    };
}

/// Echoes, and keeps the connection open at the end of the stream if told so.
struct Echo(Eof);

impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        cx.write(data);
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        if self.0 == Eof::KeepOpen {
            cx.write(b"bye");
            cx.call_soon(|_, cx| cx.close());
        }
        self.0
    }
}

/// Does nothing of its own.
struct Quiet;

impl Protocol for Quiet {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
}

async fn connect(world: &World, eof: Eof) -> io::Result<Conn<Quiet>> {
    let (server, client) = (world.host("server"), world.host("client"));
    server.create_server(SERVER, move || Echo(eof)).await?;
    client.create_connection(SERVER, || Quiet).await
}

#[test]
fn a_connection_from_its_beginning_to_its_end() {
    assert_trace!("connect_echo_close", |world| async move {
        let conn = connect(&world, Eof::Close).await?;
        conn.transport().write(b"hello");
        world.settle().await;
        conn.transport().close();
        conn.closed().await?;
        world.settle().await;
        Ok(())
    });
}

#[test]
fn a_refused_connection() {
    assert_trace!("refused", |world| async move {
        let (_server, client) = (world.host("server"), world.host("client"));
        let refused = client.create_connection(SERVER, || Quiet).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn a_half_close() {
    assert_trace!("half_close", |world| async move {
        let conn = connect(&world, Eof::KeepOpen).await?;
        conn.transport().write(b"hello");
        conn.transport().write_eof();
        conn.closed().await?;
        world.settle().await;
        Ok(())
    });
}

#[test]
fn a_reset_with_data_in_flight() {
    assert_trace!("reset_with_data_in_flight", |world| async move {
        let conn = connect(&world, Eof::Close).await?;
        world.settle().await;
        conn.transport().write(b"hello");
        // The echo is under way when the client gives up.
        world.host("client").sleep(Duration::from_micros(1_500)).await;
        conn.transport().abort();
        conn.closed().await?;
        world.settle().await;
        Ok(())
    });
}

struct Datagrams;

impl DatagramProtocol for Datagrams {
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        data: &[u8],
        from: std::net::SocketAddr,
    ) {
        if cx.peername().is_none() {
            cx.send_to(data, Some(from)).expect("the endpoint is not connected");
        }
    }
}

#[test]
fn datagrams_to_an_open_and_to_a_closed_port() {
    assert_trace!("udp_closed_port", |world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let (open, closed) = (("server", 53).to_host_port(), ("server", 54).to_host_port());
        let echo = server.create_datagram_endpoint(Some(open.clone()), None, || Datagrams).await?;
        for target in [open, closed] {
            let endpoint =
                client.create_datagram_endpoint(None, Some(target), || Datagrams).await?;
            endpoint.transport().send_to(b"question", None)?;
            world.settle().await;
            endpoint.transport().close();
            endpoint.closed().await?;
        }
        echo.transport().close();
        echo.closed().await
    });
}

#[test]
fn writing_pauses_and_resumes() {
    assert_trace!("flow_control", |world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        server.server().receive_buffer(4_096).bind(SERVER, || Quiet).await?;
        let conn = client.connection().send_buffer(4_096).connect(SERVER, || Quiet).await?;
        world.settle().await;
        let transport = conn.transport();
        transport.set_write_buffer_limits(WriteBufferLimits { high: 2_000, low: 500 })?;
        transport.write(&[7; 10_000]);
        assert!(!transport.is_writable());
        world.settle().await;
        assert!(transport.is_writable());
        transport.close();
        conn.closed().await
    });
}

#[test]
fn settling_waits_for_packets_and_not_for_timers() {
    assert_trace!("settle", |world| async move {
        let conn = connect(&world, Eof::Close).await?;
        let timer = world.host("client").call_later(Duration::from_secs(60), || {});
        conn.transport().write(b"hello");
        world.settle().await;
        assert!(world.host("client").time().since_epoch() < Duration::from_millis(10));
        drop(timer);
        // Nothing is in flight: no time passes.
        let before = world.host("client").time();
        world.settle().await;
        assert_eq!(world.host("client").time(), before);
        Ok(())
    });
}
