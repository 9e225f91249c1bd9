//! `smoltcp` on a simulated host: its packets go through the host's TUN device, its time, timers and
//! random numbers come from the host's loop.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sim_core::{Loop, Time};
use sim_net::Tun;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

thread_local! {
    /// What the timestamps of the stack show, in milliseconds: `smoltcp` asks a plain function.
    static CLOCK: Cell<u32> = const { Cell::new(0) };
}

/// The protocol number of TCP.
const TCP: u8 = 6;
const SYN: u8 = 2;
const RST: u8 = 4;
/// How often a stack may ask to be polled again without time passing.
const POLLS_MAX: u32 = 1_000;

/// What runs over the stack's socket. It is asked to go on after each poll.
pub(crate) trait Application {
    /// Does what can be done now, and says when it wants to be asked again without news.
    fn go_on(&mut self, socket: &mut tcp::Socket<'static>, now: Time) -> Option<Time>;
}

/// How the socket is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opening {
    /// It waits for a connection to this port.
    Listen(u16),
    /// It connects to this address and port.
    Connect(Ipv4Addr, u16),
    /// It does neither, so that the stack refuses whatever comes.
    Nothing,
}

/// What a socket is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Bytes of the receive buffer; above 65535 the window is scaled.
    pub(crate) receive_buffer: usize,
    /// Timestamps (RFC 7323).
    pub(crate) timestamps: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { receive_buffer: 65_535, timestamps: false }
    }
}

/// A stack with one socket.
pub(crate) struct Stack {
    lp: Loop,
    port: Port,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl Stack {
    pub(crate) fn new(lp: Loop, tun: Tun, opening: Opening, options: Options) -> Self {
        let mut rng = lp.rng("smoltcp");
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = rng.next_u64();
        let mut port = Port { tun, timestamps: options.timestamps };
        let mut interface = Interface::new(config, &mut port, instant(lp.time()));
        let [IpAddr::V4(address), _] = port.tun.addresses() else {
            panic!("the first address is IPv4");
        };
        interface.update_ip_addrs(|addresses| {
            let own = IpCidr::new(IpAddress::Ipv4(address), 8);
            addresses.push(own).expect("there is room for one address");
        });
        let buffer = |bytes| tcp::SocketBuffer::new(vec![0; bytes]);
        let mut socket = tcp::Socket::new(buffer(options.receive_buffer), buffer(65_535));
        socket.set_congestion_control(tcp::CongestionControl::Reno);
        if options.timestamps {
            socket.set_tsval_generator(Some(|| CLOCK.get()));
        }
        match opening {
            Opening::Listen(port) => socket.listen(port).expect("the port is free"),
            Opening::Connect(to, port) => {
                let local = rng.range(49_152..65_536) as u16;
                let remote = (IpAddress::Ipv4(to), port);
                socket.connect(interface.context(), remote, local).expect("there is a route");
            }
            Opening::Nothing => {}
        }
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(socket);
        Self { lp, port, interface, sockets, socket }
    }

    /// Runs the stack until its socket, which was opened, is closed.
    pub(crate) async fn run(&mut self, mut application: impl Application) {
        let mut polls = 0;
        loop {
            let time = self.lp.time();
            let now = instant(time);
            CLOCK.set(now.total_millis() as u32);
            self.interface.poll(now, &mut self.port, &mut self.sockets);
            let socket = self.sockets.get_mut(self.socket);
            let wanted = application.go_on(socket, time);
            let is_closed = socket.state() == tcp::State::Closed;
            // What the application did is sent, the reset of an abort among it.
            self.interface.poll(now, &mut self.port, &mut self.sockets);
            if is_closed {
                return;
            }
            let delay = self.interface.poll_delay(now, &self.sockets).map(Duration::from);
            polls = if delay == Some(Duration::ZERO) { polls + 1 } else { 0 };
            assert!(polls < POLLS_MAX, "the stack wants to be polled without end");
            if polls > 0 {
                continue;
            }
            let until = wanted.map(|wanted| wanted.saturating_since(time));
            match delay.into_iter().chain(until).min() {
                Some(delay) => drop(self.lp.timeout(delay, self.port.tun.readable()).await),
                None => self.port.tun.readable().await,
            }
        }
    }

    /// Runs the stack while its socket is closed, for ever: it resets whatever comes.
    pub(crate) async fn refuse(&mut self) {
        loop {
            let now = instant(self.lp.time());
            self.interface.poll(now, &mut self.port, &mut self.sockets);
            self.port.tun.readable().await;
        }
    }
}

/// `smoltcp` counts microseconds.
fn instant(time: Time) -> Instant {
    Instant::from_micros((time.as_nanos() / 1_000) as i64)
}

/// The TUN device as `smoltcp` wants it.
struct Port {
    tun: Tun,
    /// Timestamps were agreed on, if a connection was.
    timestamps: bool,
}

struct Received(Vec<u8>);

struct Outgoing<'a>(&'a Tun);

impl Device for Port {
    type RxToken<'a> = Received;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Outgoing<'_>)> {
        let (_, packet) = self.tun.receive()?;
        self.check_timestamps(&packet);
        Some((Received(packet), Outgoing(&self.tun)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(&self.tun))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.tun.mtu();
        capabilities
    }
}

impl Port {
    /// If they were agreed on, all segments but resets have timestamps, and else none
    /// (RFC 7323 §3.2).
    fn check_timestamps(&self, packet: &[u8]) {
        if packet[9] != TCP {
            return;
        }
        let tcp = &packet[usize::from(packet[0] & 15) * 4..];
        let options = &tcp[20..usize::from(tcp[12] >> 4) * 4];
        if tcp[13] & (SYN | RST) == 0 {
            let padded_timestamps = [1, 1, 8, 10];
            assert_eq!(options.starts_with(&padded_timestamps), self.timestamps, "{options:?}");
        }
    }
}

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let result = write(&mut packet);
        self.0.send(&packet).expect("the stack sends well-formed packets");
        result
    }
}
