//! Protocols that the tests share.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Eof, Protocol, Time};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        cx.write(data);
    }
}

/// Notes everything.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) hello: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) chunks: usize,
    pub(crate) arrivals: Vec<Time>,
    pub(crate) ended: bool,
    pub(crate) keep_open: bool,
    pub(crate) lost: Option<Option<io::Error>>,
    pub(crate) lost_at: Time,
}

impl Recorder {
    pub(crate) fn saying(hello: &[u8]) -> Self {
        Self { hello: hello.to_vec(), ..Self::default() }
    }

    /// The number of the error that the connection was lost with.
    #[track_caller]
    pub(crate) fn errno(&self) -> Option<i32> {
        let lost = self.lost.as_ref().expect("connection_lost was called");
        lost.as_ref().map(|error| error.raw_os_error().expect("an error of the system"))
    }
}

impl Protocol for Recorder {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if !self.hello.is_empty() {
            cx.write(&self.hello);
        }
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.data.extend_from_slice(data);
        self.chunks += 1;
        self.arrivals.push(cx.event_loop().time());
    }

    fn eof_received(&mut self, _: &mut Cx<'_, Self>) -> Eof {
        self.ended = true;
        if self.keep_open { Eof::KeepOpen } else { Eof::Close }
    }

    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.lost = Some(error);
        self.lost_at = cx.event_loop().time();
    }
}

#[derive(Default)]
pub(crate) struct Datagrams {
    pub(crate) received: Vec<(Vec<u8>, SocketAddr, Time)>,
    pub(crate) errors: Vec<io::Error>,
    pub(crate) paused: u32,
    pub(crate) resumed: u32,
    pub(crate) echo: bool,
}

impl DatagramProtocol for Datagrams {
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        data: &[u8],
        from: SocketAddr,
    ) {
        self.received.push((data.to_vec(), from, cx.event_loop().time()));
        if self.echo {
            cx.send_to(data, Some(from)).unwrap();
        }
    }

    fn error_received(&mut self, _: &mut Cx<'_, Self, DatagramTransport>, error: io::Error) {
        self.errors.push(error);
    }

    fn pause_writing(&mut self, _: &mut Cx<'_, Self, DatagramTransport>) {
        self.paused += 1;
    }

    fn resume_writing(&mut self, _: &mut Cx<'_, Self, DatagramTransport>) {
        self.resumed += 1;
    }
}

/// An address by host name.
pub(crate) type Name = (&'static str, u16);

/// A datagram endpoint.
pub(crate) async fn endpoint(
    host: &sim_core::Loop,
    local: Option<Name>,
    remote: Option<Name>,
    protocol: fn() -> Datagrams,
) -> io::Result<sim_core::Conn<Datagrams, DatagramTransport>> {
    let mut builder = host.datagram();
    if let Some(local) = local {
        builder = builder.local(local);
    }
    if let Some(remote) = remote {
        builder = builder.remote(remote);
    }
    builder.bind(protocol).await
}

pub(crate) fn udp_echo() -> Datagrams {
    Datagrams { echo: true, ..Datagrams::default() }
}
