//! The properties that the code of a run came by.

use std::collections::BTreeMap;

use sim_core::property::{Property, PropertyKind};

/// How often code came by a property.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PropertyCount {
    /// What is claimed.
    pub kind: PropertyKind,
    /// How often it held.
    pub held: u64,
    /// How often it did not.
    pub failed: u64,
}

/// Counts by the name of the property.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    counts: BTreeMap<&'static str, PropertyCount>,
    /// One that must hold and does not: its panic ends the run.
    broken: bool,
}

impl Properties {
    /// Code came by a property.
    pub(crate) fn count(&mut self, property: &Property) {
        let Property { name, kind, holds } = *property;
        let fresh = PropertyCount { kind, held: 0, failed: 0 };
        let count = self.counts.entry(name).or_insert(fresh);
        *(if holds { &mut count.held } else { &mut count.failed }) += 1;
        self.broken |= !holds && matches!(kind, PropertyKind::Always | PropertyKind::Eventually);
    }

    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, PropertyCount> {
        &self.counts
    }

    /// True if one that must hold did not.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }
}
