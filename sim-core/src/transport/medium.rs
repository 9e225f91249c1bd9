//! What a stream runs over.

use crate::driver::{Driver, Source};
use crate::{Address, PipeEnd};

/// What a stream runs over, which decides what its addresses are and which of its two directions
/// there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Medium {
    Internet,
    Unix,
    ReadPipe,
    WritePipe,
}

impl Medium {
    /// The local and the remote address of a socket, as far as it has them.
    pub(crate) fn names(
        self,
        driver: &dyn Driver,
        source: Source,
    ) -> (Option<Address>, Option<Address>) {
        match self {
            Self::Internet => {
                let (local, peer) = (driver.local_addr(source), driver.peer_addr(source));
                (local.ok().map(Address::Ip), peer.ok().map(Address::Ip))
            }
            Self::Unix => {
                let local = driver.unix().and_then(|unix| unix.local_addr(source));
                let peer = driver.unix().and_then(|unix| unix.peer_addr(source));
                (local.ok().map(Address::Unix), peer.ok().map(Address::Unix))
            }
            Self::ReadPipe | Self::WritePipe => (None, None),
        }
    }

    /// Which end of a pipe it is, if it is one.
    pub(crate) fn pipe_end(self) -> Option<PipeEnd> {
        match self {
            Self::Internet | Self::Unix => None,
            Self::ReadPipe => Some(PipeEnd::Read),
            Self::WritePipe => Some(PipeEnd::Write),
        }
    }
}
