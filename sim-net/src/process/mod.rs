//! Signals and child processes: what the kernel of a host tells its process about them.

mod children;
mod signals;

use sim_core::Signal;

pub(crate) use self::children::{Children, Programs};
use crate::network::Network;
use crate::socket_table::{Kind, Ready, SocketId};

/// What a process waits to hear of its kernel.
#[derive(Debug)]
pub(crate) enum Notice {
    /// That a signal came.
    Signal {
        signal: Signal,
        /// How often it did since it was last asked.
        came: usize,
    },
    /// That a child has ended.
    Child {
        /// How it did, once it has.
        status: Option<i32>,
    },
}

impl Notice {
    pub(crate) fn readiness(&self) -> Ready {
        match self {
            Self::Signal { came: 0, .. } | Self::Child { status: None } => Ready::NONE,
            Self::Signal { .. } | Self::Child { .. } => Ready::READABLE,
        }
    }
}

impl Network {
    fn notice(&mut self, id: SocketId) -> Option<&mut Notice> {
        match &mut self.sockets.get_mut(id)?.kind {
            Kind::Notice(notice) => Some(notice),
            _ => None,
        }
    }
}
