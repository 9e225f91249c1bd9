//! Unix datagram sockets.

use std::collections::VecDeque;
use std::io;

use sim_core::UnixAddr;
use sim_core::driver::SocketKind;

use super::{Socket, charge};
use crate::buffer::Payload;
use crate::errno::{self, ECONNREFUSED, EINVAL, EMSGSIZE, ENOTCONN, EPERM};
use crate::network::Network;
use crate::socket_table::{Ready, SocketId};

/// A socket with more datagrams than this is full (`net.unix.max_dgram_qlen`).
const QUEUE_MAX: usize = 10;

/// A datagram socket.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(super) local: UnixAddr,
    remote: Option<(UnixAddr, SocketId)>,
    queue: VecDeque<Datagram>,
    /// What of its own waits at receivers, as it is charged for it.
    charged: usize,
    pub(super) send_buffer: usize,
    /// A send found no room in the send buffer.
    is_blocked: bool,
    /// Who found it full.
    waiting: Vec<SocketId>,
}

#[derive(Debug)]
struct Datagram {
    payload: Payload,
    from: UnixAddr,
    sender: SocketId,
    cost: usize,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self {
            local: UnixAddr::UNNAMED,
            remote: None,
            queue: VecDeque::new(),
            charged: 0,
            send_buffer: charge::SEND_BUFFER,
            is_blocked: false,
            waiting: Vec::new(),
        }
    }
}

impl Datagrams {
    pub(super) fn remote(&self) -> Option<UnixAddr> {
        self.remote.as_ref().map(|(name, _)| name.clone())
    }

    pub(super) fn next_len(&self) -> usize {
        self.queue.front().map_or(0, |datagram| datagram.payload.len())
    }

    pub(super) fn readiness(&self) -> Ready {
        let readable = if self.queue.is_empty() { Ready::NONE } else { Ready::READABLE };
        let writable = charge::is_writable(self.charged, self.send_buffer);
        if writable { readable.with(Ready::WRITABLE) } else { readable }
    }

    /// True if `sender` may send here: a socket that is connected hears of its peer alone.
    fn hears(&self, sender: SocketId) -> bool {
        self.remote.as_ref().is_none_or(|(_, peer)| *peer == sender)
    }

    /// True if `sender` must wait. A peer that it is connected to may go on.
    fn is_full_for(&self, sender: SocketId) -> bool {
        let is_peer = self.remote.as_ref().is_some_and(|(_, peer)| *peer == sender);
        !is_peer && self.queue.len() > QUEUE_MAX
    }
}

impl Network {
    fn unix_datagrams(&mut self, id: SocketId) -> Option<&mut Datagrams> {
        match self.unix(id)? {
            Socket::Datagrams(datagrams) => Some(datagrams),
            _ => None,
        }
    }

    pub(super) fn unix_connect_datagrams(
        &mut self,
        id: SocketId,
        host: u32,
        remote: &UnixAddr,
    ) -> io::Result<()> {
        let found = self.unix_find(host, remote, SocketKind::Datagram).map_err(errno::os)?;
        if !self.unix_datagrams(found).is_some_and(|target| target.hears(id)) {
            return Err(errno::os(EPERM));
        }
        if let Some(datagrams) = self.unix_datagrams(id) {
            datagrams.remote = Some((remote.clone(), found));
        }
        Ok(())
    }

    /// Sends a datagram, to the peer if `to` is `None`.
    #[cold]
    pub(crate) fn unix_send(
        &mut self,
        id: SocketId,
        host: u32,
        data: &[u8],
        to: Option<&UnixAddr>,
    ) -> io::Result<usize> {
        let sender = self.unix_datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        let peer = sender.remote.as_ref().map(|(_, peer)| *peer);
        if to.is_none() && peer.is_none() {
            return Err(errno::os(ENOTCONN));
        }
        if data.len() + charge::DATAGRAM_SPARE > sender.send_buffer {
            return Err(errno::os(EMSGSIZE));
        }
        if sender.charged >= sender.send_buffer {
            sender.is_blocked = true;
            return Err(errno::would_block());
        }
        let from = sender.local.clone();
        let target = match (to, peer) {
            (Some(to), _) => self.unix_find(host, to, SocketKind::Datagram).map_err(errno::os)?,
            (None, peer) => peer.unwrap_or(SocketId::NONE),
        };
        let Some(receiver) = self.unix_datagrams(target) else {
            // The peer is gone: that is told once, and then there is none.
            if let Some(sender) = self.unix_datagrams(id) {
                sender.remote = None;
            }
            return Err(errno::os(ECONNREFUSED));
        };
        if !receiver.hears(id) {
            return Err(errno::os(EPERM));
        }
        if target != id && receiver.is_full_for(id) {
            if !receiver.waiting.contains(&id) {
                receiver.waiting.push(id);
            }
            return Err(errno::would_block());
        }
        let (payload, cost) = (self.pool.copy(data), charge::of_datagram(data.len()));
        if let Some(receiver) = self.unix_datagrams(target) {
            receiver.queue.push_back(Datagram { payload, from, sender: id, cost });
        }
        if let Some(sender) = self.unix_datagrams(id) {
            sender.charged += cost;
        }
        self.notify(target, Ready::READABLE);
        Ok(data.len())
    }

    /// Takes the next datagram, with its sender, and whether another waits.
    pub(super) fn unix_take(&mut self, id: SocketId) -> io::Result<(Payload, UnixAddr, bool)> {
        let socket = self.unix_datagrams(id).ok_or_else(|| errno::os(EINVAL))?;
        let Datagram { payload, from, sender, cost } =
            socket.queue.pop_front().ok_or_else(errno::would_block)?;
        let more = !socket.queue.is_empty();
        let waiting = std::mem::take(&mut socket.waiting);
        self.unix_datagram_gone(sender, cost);
        waiting.into_iter().for_each(|sender| self.notify(sender, Ready::WRITABLE));
        Ok((payload, from, more))
    }

    /// A datagram is no longer in its sender's buffer.
    fn unix_datagram_gone(&mut self, sender: SocketId, cost: usize) {
        let Some(socket) = self.unix_datagrams(sender) else {
            return;
        };
        socket.charged -= cost;
        if socket.is_blocked && charge::is_writable(socket.charged, socket.send_buffer) {
            socket.is_blocked = false;
            self.notify(sender, Ready::WRITABLE);
        }
    }

    /// A socket is gone, and with it what waited there. Who waited for room tries again and hears.
    pub(super) fn unix_end_datagrams(&mut self, socket: Datagrams) {
        for Datagram { payload, sender, cost, .. } in socket.queue {
            self.pool.put(payload);
            self.unix_datagram_gone(sender, cost);
        }
        socket.waiting.into_iter().for_each(|sender| self.notify(sender, Ready::WRITABLE));
    }
}
