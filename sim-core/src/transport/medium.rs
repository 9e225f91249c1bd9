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
    /// The local address of a socket, if it has one.
    pub(crate) fn local(self, driver: &dyn Driver, source: Source) -> Option<Address> {
        match self {
            Self::Internet => driver.local_addr(source).ok().map(Address::Ip),
            Self::Unix => driver.unix().ok()?.local_addr(source).ok().map(Address::Unix),
            Self::ReadPipe | Self::WritePipe => None,
        }
    }

    /// The remote address of a socket, if it is connected.
    pub(crate) fn peer(self, driver: &dyn Driver, source: Source) -> Option<Address> {
        match self {
            Self::Internet => driver.peer_addr(source).ok().map(Address::Ip),
            Self::Unix => driver.unix().ok()?.peer_addr(source).ok().map(Address::Unix),
            Self::ReadPipe | Self::WritePipe => None,
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
