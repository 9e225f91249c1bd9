//! A block of loopback addresses, claimed from the whole machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use crate::driver::random_stream;

/// The port of a block's sentinel. It is above the range that Linux takes free ports from.
const SENTINEL_PORT: u16 = 61_127;
/// How many blocks are tried before giving up. A claim fails by itself only while hundreds of
/// worlds exist.
const TRIES_MAX: u32 = 512;
/// How many addresses a block has for hosts: all but the sentinel's, 0 and 255.
pub(crate) const HOSTS_MAX: usize = 253;
/// How long a datagram may take from a socket to itself before a fence gives up on it.
const FENCE_MAX: Duration = Duration::from_secs(1);

/// The addresses 127.x.y.0/24, for one world alone.
///
/// The claim is a datagram socket bound to 127.x.y.1 at a fixed port: the kernel gives it to one
/// holder on the machine, whatever process or thread asks, and takes it back when the holder ends,
/// however it ends.
#[derive(Debug)]
pub(crate) struct Block {
    sentinel: UdpSocket,
    network: [u8; 3],
}

impl Block {
    /// Claims a block that nobody holds, at random.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when there is none left, and what `socket` and `bind` give otherwise.
    pub(crate) fn claim() -> io::Result<Self> {
        let mut rng = random_stream();
        for _ in 0..TRIES_MAX {
            // Not 127.0.0.0/16, where local services live.
            let network = [127, rng.range(1..256) as u8, rng.below(256) as u8];
            match Self::claim_network(network) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                outcome => return outcome,
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!(
                "no block 127.x.y.0/24 is free: {TRIES_MAX} tries found UDP port {SENTINEL_PORT} of \
                 127.x.y.1 in use each time; end the programs that hold them, or whatever is bound \
                 to that port on all addresses"
            ),
        ))
    }

    fn claim_network(network: [u8; 3]) -> io::Result<Self> {
        let [a, b, c] = network;
        let sentinel =
            UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::new(a, b, c, 1), SENTINEL_PORT))?;
        sentinel.set_read_timeout(Some(FENCE_MAX))?;
        Ok(Self { sentinel, network })
    }

    /// The address of the host with this index, from 0.
    pub(crate) fn address(&self, index: usize) -> Option<Ipv4Addr> {
        let [a, b, c] = self.network;
        let last = u8::try_from(index + 2).ok()?;
        (index < HOSTS_MAX).then(|| Ipv4Addr::new(a, b, c, last))
    }

    /// Sends a datagram to itself and receives it: what was sent over loopback before is there.
    pub(crate) fn fence(&self) -> io::Result<()> {
        self.sentinel.send_to(&[0], self.sentinel.local_addr()?)?;
        self.sentinel.recv(&mut [0]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::thread;

    #[test]
    fn a_block_is_claimed_once_and_again_when_it_was_dropped() {
        let block = Block::claim().unwrap();
        let network = block.network;
        let error = Block::claim_network(network).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(block);
        Block::claim_network(network).unwrap();
    }

    #[test]
    fn claims_of_many_threads_are_all_different() {
        let claims = (0..16).map(|_| thread::spawn(|| Block::claim().unwrap()));
        let threads: Vec<_> = claims.collect();
        let blocks: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let mut networks: Vec<_> = blocks.iter().map(|block| block.network).collect();
        networks.sort_unstable();
        networks.dedup();
        assert_eq!(networks.len(), 16);
    }

    #[test]
    fn a_block_has_an_address_for_each_of_its_hosts_and_no_more() {
        let block = Block::claim().unwrap();
        assert_eq!(block.address(0).unwrap().octets()[3], 2);
        assert_eq!(block.address(HOSTS_MAX - 1).unwrap().octets()[3], 254);
        assert_eq!(block.address(HOSTS_MAX), None);
    }

    #[test]
    fn a_fence_passes() {
        Block::claim().unwrap().fence().unwrap();
    }
}
