//! What carries a stream of bytes, and what plans call the places in it.

use std::sync::Arc;

use crate::decisions::Entity;
use crate::flow::Flow;
use crate::plan::{EventId, FaultSite};
use crate::unix::LocalFlow;

/// One direction of what carries a stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum StreamName {
    /// A connection between hosts.
    Tcp(Flow),
    /// A Unix stream or a pipe.
    Local(LocalFlow),
}

impl StreamName {
    pub(crate) fn reversed(self) -> Self {
        match self {
            Self::Tcp(flow) => Self::Tcp(flow.reversed()),
            Self::Local(flow) => Self::Local(flow.reversed()),
        }
    }

    /// What its draws are keyed by.
    pub(crate) fn entity(&self, hosts: &[Arc<str>]) -> Entity {
        match self {
            Self::Tcp(flow) => flow.entity(hosts),
            Self::Local(flow) => flow.entity(hosts),
        }
    }

    /// The flow of a connection.
    pub(crate) fn tcp(&self) -> Option<Flow> {
        match self {
            Self::Tcp(flow) => Some(*flow),
            Self::Local(_) => None,
        }
    }

    /// What a plan calls a place in it where a fault happens.
    pub(crate) fn event(&self, fault: FaultSite, place: u64, hosts: &[Arc<str>]) -> EventId {
        match self {
            Self::Tcp(flow) => EventId::Stream { flow: flow.to_name(hosts), offset: place },
            Self::Local(flow) => EventId::Draw {
                site: fault.name().to_owned(),
                entity: flow.name(hosts).to_string(),
                ordinal: place,
            },
        }
    }
}
