//! The simulated resolver: what a host's `getaddrinfo` and `getnameinfo` say, and when.
//!
//! A host knows its own name and `localhost` by itself. For all others it asks name servers, which stand
//! beside the world: no partition is between them and a host. By default they answer at once, and know
//! the hosts of the world. A [`Resolver`] makes them slow and unreliable, [`Names`](crate::Names) is the
//! test's own hand on what they say, and a plan takes them from a host for a while.

pub(crate) mod lookup;
pub(crate) mod operator;
pub(crate) mod query;
pub(crate) mod service;
pub(crate) mod zone;

use std::time::Duration;

use crate::decisions::Site;
use crate::link::{Latency, Probability};
use crate::plan::FaultSite;

/// How a lookup of a name goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[non_exhaustive]
pub enum NameFault {
    /// The servers fail: `EAI_AGAIN` ([`ResolveFailure::TryAgain`](sim_core::ResolveFailure)).
    #[default]
    TryAgain,
    /// They say that there is no such name: `EAI_NONAME`.
    Unknown,
    /// They know the name and no address of it (contract E-03).
    Empty,
    /// They do not answer. The host asks again after 5 s, and gives up after 10 with `EAI_AGAIN`, as
    /// Linux does by default (resolv.conf(5): `timeout`, `attempts`).
    Silent,
}

impl NameFault {
    pub(crate) const ALL: [Self; 4] = [Self::TryAgain, Self::Unknown, Self::Empty, Self::Silent];

    /// The word that plans write.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TryAgain => "again",
            Self::Unknown => "nxdomain",
            Self::Empty => "empty",
            Self::Silent => "silent",
        }
    }

    /// What a plan calls it.
    pub(crate) const fn fault_site(self) -> FaultSite {
        match self {
            Self::TryAgain => FaultSite::NameFailure,
            Self::Unknown => FaultSite::NameUnknown,
            Self::Empty => FaultSite::NameEmpty,
            Self::Silent => FaultSite::NameSilence,
        }
    }

    /// The site of its draws, whose name is also the name that it is counted under.
    pub(crate) const fn site(self) -> Site {
        match self {
            Self::TryAgain => Site::NameFailure,
            Self::Unknown => Site::NameUnknown,
            Self::Empty => Site::NameEmpty,
            Self::Silent => Site::NameSilence,
        }
    }
}

/// How the name servers of a world are: at once and never wrong by default.
///
/// ```
/// use std::time::Duration;
/// use sim_net::{NameFault, Probability, Resolver, Sim};
///
/// let resolver = Resolver::new()
///     .latency(Duration::from_millis(1)..Duration::from_millis(30))
///     .fault(NameFault::TryAgain, Probability::percent(5)?);
/// let sim = Sim::new(1).resolver(resolver);
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "give it to Sim::resolver"]
pub struct Resolver {
    pub(crate) latency: Latency,
    /// In the order of [`NameFault::ALL`].
    faults: [Probability; 4],
    pub(crate) is_dual_stack: bool,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            latency: Latency::from(Duration::ZERO),
            faults: [Probability::NEVER; 4],
            is_dual_stack: false,
        }
    }
}

impl Resolver {
    /// Servers that answer at once and always.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long an answer takes from the question on: a `Duration`, a range of them, or any
    /// [`Latency`]. Each question draws its own.
    pub fn latency(mut self, latency: impl Into<Latency>) -> Self {
        self.latency = latency.into();
        self
    }

    /// How likely a question meets a fault. Each question is a draw of the fault class, keyed by the
    /// host that asks and the name, and of several faults the first in the order of [`NameFault`] holds.
    pub fn fault(mut self, fault: NameFault, likely: Probability) -> Self {
        self.faults[fault as usize] = likely;
        self
    }

    /// Whether the name of a host has its IPv6 address, too, behind its IPv4 address (RFC 6724 §2.1
    /// prefers it to a unique local one). False by default: then a host's IPv6 address is found by
    /// asking for that family, or under its name with `ip6-` before it.
    pub fn dual_stack(mut self, dual: bool) -> Self {
        self.is_dual_stack = dual;
        self
    }

    pub(crate) fn likely(&self, fault: NameFault) -> Probability {
        self.faults[fault as usize]
    }

    /// It takes no time and knows no fault.
    pub(crate) fn is_prompt(&self) -> bool {
        self.latency == Latency::from(Duration::ZERO) && self.faults == [Probability::NEVER; 4]
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn calm(&mut self) {
        self.faults = [Probability::NEVER; 4];
    }
}
