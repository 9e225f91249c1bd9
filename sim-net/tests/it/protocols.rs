//! Protocols that the tests share.

use std::io;
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Eof, Protocol, Time};
use std::net::SocketAddr;

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        cx.write(data);
    }
}

/// Notes everything.
#[derive(Default)]
pub struct Recorder {
    pub hello: Vec<u8>,
    pub data: Vec<u8>,
    pub chunks: usize,
    pub arrivals: Vec<Time>,
    pub ended: bool,
    pub keep_open: bool,
    pub lost: Option<Option<io::Error>>,
    pub lost_at: Time,
}

impl Recorder {
    pub fn saying(hello: &[u8]) -> Self {
        Self { hello: hello.to_vec(), ..Self::default() }
    }

    /// The number of the error that the connection was lost with.
    #[track_caller]
    pub fn errno(&self) -> Option<i32> {
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
pub struct Datagrams {
    pub received: Vec<(Vec<u8>, SocketAddr, Time)>,
    pub errors: Vec<io::Error>,
    pub paused: u32,
    pub resumed: u32,
    pub echo: bool,
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
