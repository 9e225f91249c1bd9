//! The properties that the code of a run came by.

use std::collections::BTreeMap;
use std::panic::Location;

use sim_core::Time;
use sim_core::property::{Property, PropertyKind};

use crate::memory::clear_map;
use crate::report::{Finding, FindingKind};

/// How often code came by a property.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PropertyCount {
    /// How often it held.
    pub held: u64,
    /// How often it did not.
    pub failed: u64,
}

/// A property as the source has it: what it is called, and what is claimed of it. One name that is claimed in two ways
/// is two properties.
pub type PropertyId = (&'static str, PropertyKind);

/// What a run found of a property that must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The property's name.
    pub name: &'static str,
    /// Where in the source it is claimed.
    pub place: &'static Location<'static>,
}

/// Counts by property.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    counts: BTreeMap<PropertyId, PropertyCount>,
    /// The first that must hold and does not, until somebody is told.
    broken: Option<Finding>,
}

impl Properties {
    /// Nothing was come by.
    pub(crate) fn renew(&mut self) {
        let Self { counts, broken } = self;
        clear_map(counts);
        *broken = None;
    }

    /// Code came by a property.
    pub(crate) fn count(&mut self, property: &Property) {
        let Property { name, kind, holds } = *property;
        let count = self.counts.entry((name, kind)).or_default();
        *(if holds { &mut count.held } else { &mut count.failed }) += 1;
    }

    /// One that must hold does not, and panics with `message`. Whoever takes that panic, it is what the run found.
    pub(crate) fn note_broken(&mut self, claim: Claim, message: &str, host: &str, time: Time) {
        self.broken.get_or_insert_with(|| Finding {
            kind: FindingKind::Property,
            message: message.to_owned(),
            host: host.to_owned(),
            time,
            property: Some(claim),
        });
    }

    pub(crate) fn counts(&self) -> &BTreeMap<PropertyId, PropertyCount> {
        &self.counts
    }

    /// The first that was broken since this was asked last.
    pub(crate) fn take_broken(&mut self) -> Option<Finding> {
        self.broken.take()
    }
}
