//! Reading and writing a socket by hand: asyncio's `sock_recv` and its siblings.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Socket;
use crate::driver::{SocketKind, Source};
use crate::error::AddressError;
use crate::transport::Medium;

/// Each call is tried at once, and waits only if it would block (contract G-53). One task may read while another
/// writes.
///
/// # Cancel safety
///
/// A receive that is dropped takes nothing, and the next works as if it had not been (G-54); a
/// [`send_all`](Socket::send_all) may have sent the first part (G-55).
///
/// ```
/// # use sim_core::driver::{Family, SocketKind};
/// # use sim_core::{Loop, Socket};
/// async fn ask(lp: Loop) -> std::io::Result<Vec<u8>> {
///     let mut socket = Socket::open(&lp, SocketKind::Stream, Family::V4)?;
///     socket.connect(lp.getaddrinfo(("server", 7000)).await?[0]).await?;
///     socket.send_all(b"what time is it?\n").await?;
///     socket.recv(100).await
/// }
/// # drop(ask);
/// ```
impl Socket {
    /// Receives at most `max` bytes; empty at the end of the stream (contract G-58): asyncio's `sock_recv`. Of a datagram
    /// socket it takes one datagram, be it empty, and what is longer is cut off (G-59).
    ///
    /// # Errors
    ///
    /// What the read gives: `ConnectionReset`, `NotConnected`.
    pub async fn recv(&self, max: usize) -> io::Result<Vec<u8>> {
        let mut data = vec![0; max];
        let length = self.recv_into(&mut data).await?;
        data.truncate(length);
        Ok(data)
    }

    /// Receives into a buffer, and says how much: asyncio's `sock_recv_into`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_into(&self, buf: &mut [u8]) -> io::Result<usize> {
        let driver = Rc::clone(&self.event_loop().core.driver);
        match (self.kind(), self.medium()) {
            (SocketKind::Datagram, Medium::Internet) => {
                let received = self.repeat(|source| driver.receive_from(source, buf)).await;
                received.map(|(length, _)| length)
            }
            _ => self.repeat(|source| driver.read(source, buf)).await,
        }
    }

    /// Sends all of it, in order: asyncio's `sock_sendall`. A datagram socket sends it to its peer, as one datagram,
    /// be it empty (contract G-59).
    ///
    /// # Errors
    ///
    /// What the write gives: `ConnectionReset`, `BrokenPipe`; of a datagram socket what the send gives, `EDESTADDRREQ` or
    /// `NotConnected` if it has no peer.
    pub async fn send_all(&self, data: &[u8]) -> io::Result<()> {
        let driver = Rc::clone(&self.event_loop().core.driver);
        if self.kind() == SocketKind::Datagram {
            // Whole or not at all.
            self.repeat(|source| driver.send_to(source, data, None)).await?;
            return Ok(());
        }
        let mut sent = 0;
        while sent < data.len() {
            sent += self.repeat(|source| driver.write(source, &data[sent..])).await?;
        }
        Ok(())
    }

    /// Receives a datagram, and says how long it is and who sent it; what is longer than the buffer is cut off:
    /// asyncio's `sock_recvfrom_into`.
    ///
    /// # Errors
    ///
    /// What the receive gives: `ConnectionRefused` for an earlier datagram that nobody took. `InvalidInput` for a stream
    /// or a Unix socket, of which nothing is taken (contract G-59).
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.expect_datagrams("recv")?;
        let driver = Rc::clone(&self.event_loop().core.driver);
        self.repeat(|source| driver.receive_from(source, buf)).await
    }

    /// Sends a datagram, and says how much of it went: asyncio's `sock_sendto`.
    ///
    /// # Errors
    ///
    /// What the send gives, with the address in its text. `InvalidInput` for a stream or a Unix socket, which send
    /// nothing (contract G-59).
    pub async fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.expect_datagrams("send_all")?;
        let driver = Rc::clone(&self.event_loop().core.driver);
        let sent = self.repeat(|source| driver.send_to(source, data, Some(&to))).await;
        sent.map_err(|error| AddressError::wrap("send to", to, error))
    }

    /// For calls with an address, which datagrams of the internet alone have.
    fn expect_datagrams(&self, instead: &str) -> io::Result<()> {
        self.expect(Medium::Internet, instead)?;
        match self.kind() {
            SocketKind::Datagram => Ok(()),
            SocketKind::Stream => {
                let text = format!("this is a stream: call {instead}");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }

    /// Calls until it neither blocks nor is interrupted.
    async fn repeat<T>(&self, mut call: impl FnMut(Source) -> io::Result<T>) -> io::Result<T> {
        let source = self.source();
        let watch = self.watch()?;
        loop {
            match call(source) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    watch.readiness().await?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}
