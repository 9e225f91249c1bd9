//! Unix stream sockets.

use std::collections::VecDeque;
use std::io;

use sim_core::UnixAddr;
use sim_core::driver::SocketKind;

use super::{LocalFlow, Socket, charge};
use crate::buffer::{Payload, Pool};
use crate::errno::{self, ECONNREFUSED, ECONNRESET, EINVAL, EISCONN, ENOTCONN, EPIPE};
use crate::network::Network;
use crate::socket_table::{Kind, Ready, SocketId, SocketTable};

/// The longest queue of connections that wait to be accepted (`net.core.somaxconn`).
const BACKLOG_MAX: u32 = 4_096;

/// A stream socket before `connect` or `listen`.
#[derive(Debug)]
pub(crate) struct Unconnected {
    pub(super) local: UnixAddr,
    pub(super) send_buffer: usize,
}

impl Default for Unconnected {
    fn default() -> Self {
        Self { local: UnixAddr::UNNAMED, send_buffer: charge::SEND_BUFFER }
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) local: UnixAddr,
    backlog: usize,
    /// Connections that wait to be accepted. They are complete, and take data.
    waiting: VecDeque<SocketId>,
}

impl Listener {
    pub(super) fn readiness(&self) -> Ready {
        if self.waiting.is_empty() { Ready::NONE } else { Ready::READABLE }
    }
}

/// A stream socket with a peer, or one whose peer is gone.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) local: UnixAddr,
    pub(super) remote: UnixAddr,
    pub(super) peer: SocketId,
    pub(super) flow: LocalFlow,
    /// What the peer sent and nobody has read, with what each cost the peer.
    queue: VecDeque<(Payload, usize)>,
    available: usize,
    /// What of its own waits at the peer, as it is charged for it.
    charged: usize,
    pub(super) send_buffer: usize,
    /// A write found no room.
    is_blocked: bool,
    /// Nothing more can be written; nothing more will come.
    output_ended: bool,
    input_ended: bool,
    /// What the next read behind the data says.
    error: Option<i32>,
}

impl Stream {
    fn new(names: [UnixAddr; 2], peer: SocketId, flow: LocalFlow, send_buffer: usize) -> Self {
        let [local, remote] = names;
        Self {
            local,
            remote,
            peer,
            flow,
            queue: VecDeque::new(),
            available: 0,
            charged: 0,
            send_buffer,
            is_blocked: false,
            output_ended: false,
            input_ended: false,
            error: None,
        }
    }

    pub(super) fn readiness(&self) -> Ready {
        let mut ready = Ready::NONE;
        if !self.queue.is_empty() {
            ready = ready.with(Ready::READABLE);
        }
        if self.input_ended || self.error.is_some() {
            ready = ready.with(Ready::READABLE).with(Ready::READ_CLOSED);
        }
        if self.output_ended || charge::is_writable(self.charged, self.send_buffer) {
            ready = ready.with(Ready::WRITABLE);
        }
        ready
    }

    pub(super) fn available(&self) -> usize {
        self.available
    }

    /// How much of pieces of these lengths can be written, one after the other.
    pub(super) fn room(&self, pieces: impl Iterator<Item = usize>) -> usize {
        let (mut room, mut charged) = (0, self.charged);
        if self.output_ended {
            return 0;
        }
        for length in pieces {
            let mut rest = length;
            while rest > 0 && charged < self.send_buffer {
                let (bytes, cost) = charge::of_stream(rest, self.send_buffer);
                charged += cost;
                rest -= bytes;
            }
            room += length - rest;
            if rest > 0 {
                break;
            }
        }
        room
    }

    /// Fills `buf` from the queue, and says how much that was and what it cost the peer.
    fn take(&mut self, buf: &mut [u8], pool: &mut Pool) -> (usize, usize) {
        let (mut taken, mut freed) = (0, 0);
        while taken < buf.len()
            && let Some((payload, cost)) = self.queue.front_mut()
        {
            let bytes = payload.len().min(buf.len() - taken);
            buf[taken..taken + bytes].copy_from_slice(&payload.bytes()[..bytes]);
            taken += bytes;
            if bytes < payload.len() {
                payload.advance(bytes);
                break;
            }
            freed += *cost;
            if let Some((payload, _)) = self.queue.pop_front() {
                pool.put(payload);
            }
        }
        self.available -= taken;
        (taken, freed)
    }
}

fn stream_of(sockets: &mut SocketTable, id: SocketId) -> Option<&mut Stream> {
    match &mut sockets.get_mut(id)?.kind {
        Kind::Unix(socket) => match &mut **socket {
            Socket::Stream(stream) => Some(stream),
            _ => None,
        },
        _ => None,
    }
}

impl Network {
    fn unix_stream(&mut self, id: SocketId) -> Option<&mut Stream> {
        stream_of(&mut self.sockets, id)
    }

    /// Two streams that are connected to each other.
    pub(super) fn unix_pair(&mut self, host: u32) -> [SocketId; 2] {
        let flow = self.unix_flow(host, &UnixAddr::UNNAMED);
        let unnamed = || [UnixAddr::UNNAMED, UnixAddr::UNNAMED];
        let end =
            |peer, flow| Socket::Stream(Stream::new(unnamed(), peer, flow, charge::SEND_BUFFER));
        let one = self.unix_open(host, end(SocketId::NONE, flow.clone()));
        let other = self.unix_open(host, end(one, flow.reversed()));
        if let Some(stream) = self.unix_stream(one) {
            stream.peer = other;
        }
        [one, other]
    }

    pub(crate) fn unix_listen(&mut self, id: SocketId, backlog: u32) -> io::Result<()> {
        let backlog = backlog.min(BACKLOG_MAX) as usize;
        let no_listener = self.no_listener(id);
        let Some(place) = self.unix(id) else { return Err(no_listener) };
        match place {
            Socket::Listener(listener) => listener.backlog = backlog,
            Socket::Unconnected(socket) if !socket.local.is_unnamed() => {
                let local = socket.local.clone();
                *place = Socket::Listener(Listener { local, backlog, waiting: VecDeque::new() });
            }
            _ => return Err(no_listener),
        }
        Ok(())
    }

    /// Connects, at once or not at all: the other end waits to be accepted, and takes data.
    pub(super) fn unix_connect_stream(
        &mut self,
        id: SocketId,
        host: u32,
        remote: &UnixAddr,
    ) -> io::Result<()> {
        let (local, send_buffer) = match self.unix(id) {
            Some(Socket::Unconnected(socket)) => (socket.local.clone(), socket.send_buffer),
            Some(Socket::Stream(_)) => return Err(errno::os(EISCONN)),
            _ => return Err(errno::os(EINVAL)),
        };
        let found = self.unix_find(host, remote, SocketKind::Stream).map_err(errno::os)?;
        match self.unix(found) {
            Some(Socket::Listener(listener)) if listener.waiting.len() > listener.backlog => {
                return Err(errno::would_block());
            }
            Some(Socket::Listener(_)) => {}
            _ => return Err(errno::os(ECONNREFUSED)),
        }
        let flow = self.unix_flow(host, remote);
        let names = [remote.clone(), local.clone()];
        let accepted = Stream::new(names, id, flow.clone().reversed(), charge::SEND_BUFFER);
        let peer = self.unix_open(host, Socket::Stream(accepted));
        let own = Stream::new([local, remote.clone()], peer, flow, send_buffer);
        if let Some(place) = self.unix(id) {
            *place = Socket::Stream(own);
        }
        if let Some(Socket::Listener(listener)) = self.unix(found) {
            listener.waiting.push_back(peer);
        }
        self.notify(found, Ready::READABLE);
        Ok(())
    }

    pub(super) fn unix_accept(&mut self, id: SocketId) -> io::Result<(SocketId, UnixAddr)> {
        let Some(Socket::Listener(listener)) = self.unix(id) else {
            return Err(self.no_listener(id));
        };
        let child = listener.waiting.pop_front().ok_or_else(errno::would_block)?;
        let remote = self.unix_stream(child).map(|stream| stream.remote.clone());
        Ok((child, remote.expect("what waits is a stream")))
    }

    pub(super) fn unix_read_stream(&mut self, id: SocketId, buf: &mut [u8]) -> io::Result<usize> {
        let Self { sockets, pool, .. } = self;
        let Some(stream) = stream_of(sockets, id) else {
            return Err(errno::os(EINVAL));
        };
        if stream.queue.is_empty() {
            return match stream.error.take() {
                Some(error) => Err(errno::os(error)),
                None if stream.input_ended => Ok(0),
                None => Err(errno::would_block()),
            };
        }
        let (taken, freed) = stream.take(buf, pool);
        let peer = stream.peer;
        self.unix_refund(peer, freed);
        Ok(taken)
    }

    /// What a stream sent was read: it may send again.
    fn unix_refund(&mut self, id: SocketId, freed: usize) {
        let Some(stream) = self.unix_stream(id) else {
            return;
        };
        stream.charged -= freed;
        if stream.is_blocked && charge::is_writable(stream.charged, stream.send_buffer) {
            stream.is_blocked = false;
            self.notify(id, Ready::WRITABLE);
        }
    }

    pub(super) fn unix_write_stream(&mut self, id: SocketId, data: &[u8]) -> io::Result<usize> {
        let Some(stream) = self.unix_stream(id) else {
            return Err(errno::os(EPIPE));
        };
        if stream.output_ended {
            return Err(errno::os(EPIPE));
        }
        let (peer, send_buffer, mut charged) = (stream.peer, stream.send_buffer, stream.charged);
        let mut rest = data;
        while !rest.is_empty() && charged < send_buffer {
            let (bytes, cost) = charge::of_stream(rest.len(), send_buffer);
            let payload = self.pool.copy(&rest[..bytes]);
            let other = self.unix_stream(peer).expect("a stream whose peer is gone has ended");
            other.queue.push_back((payload, cost));
            other.available += bytes;
            charged += cost;
            rest = &rest[bytes..];
        }
        let taken = data.len() - rest.len();
        if let Some(stream) = self.unix_stream(id) {
            stream.charged = charged;
            stream.is_blocked |= !rest.is_empty();
        }
        if taken > 0 {
            self.notify(peer, Ready::READABLE);
        }
        Ok(taken)
    }

    /// Ends what a stream sends. One that is not connected has nothing to end.
    #[cold]
    pub(crate) fn unix_shutdown_write(&mut self, id: SocketId) -> io::Result<()> {
        let Some(stream) = self.unix_stream(id) else {
            return Err(errno::os(ENOTCONN));
        };
        stream.output_ended = true;
        let peer = stream.peer;
        if let Some(stream) = self.unix_stream(peer) {
            stream.input_ended = true;
            self.notify(peer, Ready::READABLE.with(Ready::READ_CLOSED));
        }
        Ok(())
    }

    /// Tells the peer of a stream that is gone. If data was not read, or the stream was never
    /// accepted, the peer's next read behind its own data is a reset.
    pub(super) fn unix_end_stream(&mut self, stream: Stream, unaccepted: bool) {
        let unread = !stream.queue.is_empty();
        stream.queue.into_iter().for_each(|(payload, _)| self.pool.put(payload));
        let Some(peer) = self.unix_stream(stream.peer) else {
            return;
        };
        peer.output_ended = true;
        peer.input_ended = true;
        peer.peer = SocketId::NONE;
        if unread || unaccepted {
            peer.error = Some(ECONNRESET);
        }
        self.notify(stream.peer, Ready::ALL);
    }

    /// Ends the connections that wait in a listener that is gone (contract E-25).
    pub(super) fn unix_end_listener(&mut self, listener: Listener) {
        for child in listener.waiting {
            self.injection.forget(child);
            let kind = self.sockets.remove(child).map(|socket| socket.kind);
            if let Some(Kind::Unix(socket)) = kind
                && let Socket::Stream(stream) = *socket
            {
                self.unix_end_stream(stream, true);
            }
        }
    }
}
