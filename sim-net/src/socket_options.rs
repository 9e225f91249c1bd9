//! The options of sockets: `setsockopt` and `getsockopt`.

use std::io;

use sim_core::driver::{SocketOption, TcpOptions};

use crate::errno::{self, EBADF, ENOPROTOOPT};
use crate::network::Network;
use crate::socket_table::{Kind, Options, SocketId};
use crate::tcp::stream::Stream;
use crate::udp::Datagrams;

impl Network {
    /// Sets an option of a socket, whose connections have it from the start if it listens. One that
    /// says nothing to its kind is ignored.
    pub(crate) fn set_option(&mut self, id: SocketId, option: SocketOption) -> io::Result<()> {
        let Some((host, kind)) = self.sockets.host_and_kind(id) else {
            return Err(errno::os(EBADF));
        };
        match kind {
            Kind::Unconnected(socket) => set_early(&mut socket.options, &mut socket.tcp, option),
            Kind::Listener(listener) => set_early(&mut listener.options, &mut listener.tcp, option),
            Kind::Datagrams(socket) => return set_of_datagrams(socket, option),
            Kind::Unix(socket) => {
                if let SocketOption::SendBuffer(bytes) = option {
                    socket.set_send_buffer(bytes);
                }
            }
            Kind::Notice(_) => return Err(errno::os(ENOPROTOOPT)),
            Kind::Stream(stream) => {
                let now = self.wire.local_time(host);
                set_of_stream(stream, option, now);
                // Nagle's algorithm may have held something back, and timers have moved.
                self.tcp_flush(id);
            }
        }
        Ok(())
    }

    /// What is set of a stream socket's TCP.
    pub(crate) fn tcp_options(&self, id: SocketId) -> io::Result<TcpOptions> {
        match &self.sockets.get(id).ok_or_else(|| errno::os(EBADF))?.kind {
            Kind::Unconnected(socket) => Ok(socket.tcp),
            Kind::Listener(listener) => Ok(listener.tcp),
            Kind::Stream(stream) => Ok(stream.connection.options()),
            Kind::Datagrams(_) | Kind::Unix(_) | Kind::Notice(_) => Err(errno::os(ENOPROTOOPT)),
        }
    }
}

/// Of a stream socket before it has a peer.
fn set_early(options: &mut Options, tcp: &mut TcpOptions, option: SocketOption) {
    if tcp.set(option) {
        return;
    }
    match option {
        SocketOption::ReuseAddress(on) => options.reuse_address = on,
        SocketOption::ReusePort(on) => options.reuse_port = on,
        SocketOption::SendBuffer(bytes) => options.set_send_buffer(bytes),
        SocketOption::ReceiveBuffer(bytes) => options.set_receive_buffer(bytes),
        _ => {}
    }
}

fn set_of_stream(stream: &mut Stream, option: SocketOption, now: sim_core::Time) {
    match option {
        SocketOption::SendBuffer(bytes) => stream.set_send_buffer(bytes),
        SocketOption::ReceiveBuffer(bytes) => stream.set_receive_buffer(bytes),
        SocketOption::NoDelay(on) => stream.connection.set_nodelay(on),
        SocketOption::Keepalive(keepalive) => stream.connection.set_keepalive(keepalive, now),
        SocketOption::UserTimeout(timeout) => stream.connection.set_user_timeout(timeout),
        _ => {}
    }
}

fn set_of_datagrams(socket: &mut Datagrams, option: SocketOption) -> io::Result<()> {
    match option {
        SocketOption::ReuseAddress(on) => socket.reuse_address = on,
        SocketOption::ReusePort(on) => socket.reuse_port = on,
        SocketOption::Broadcast(on) => socket.broadcast = on,
        SocketOption::SendBuffer(bytes) => socket.send_limit = Some(bytes),
        SocketOption::ReceiveBuffer(bytes) => socket.receive_limit = bytes,
        SocketOption::NoDelay(_) | SocketOption::Keepalive(_) | SocketOption::UserTimeout(_) => {
            return Err(errno::os(ENOPROTOOPT));
        }
        _ => {}
    }
    Ok(())
}
