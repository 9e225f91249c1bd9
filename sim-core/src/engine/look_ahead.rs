//! What an engine asks of memory before it needs it.

use std::cell::RefCell;
use std::rc::Rc;

use super::core::{Core, Queued, Ready};
use super::sources::Registered;
use crate::arena::{Arena, Key};
use crate::cache::{Stage, prefetch, prefetch_first};
use crate::driver::Source;

/// For a snapshot of so many entries it is worth the look: what they need is more than the processor's nearer caches hold.
pub(super) const MANY: usize = 256;
/// How far the look goes.
pub(super) const FAR: usize = 12;

/// Of a protocol's cell, at most so many bytes.
const CELL_MAX: usize = 256;

/// Asks for the memory of a source, if it is one of those that are the many.
#[inline]
pub(super) fn prefetch_source(sources: &Arena<Registered>, key: Key, stage: Stage) {
    if stage == Stage::Entry {
        return sources.prefetch(key);
    }
    match (sources.get(key), stage) {
        (Some(Registered::Stream(stream)), Stage::Object) => prefetch(&**stream),
        (Some(Registered::Stream(stream)), _) => stream.prefetch_handler(),
        (Some(Registered::Endpoint(endpoint)), Stage::Object) => prefetch(&**endpoint),
        (Some(Registered::Endpoint(endpoint)), _) => endpoint.prefetch_handler(),
        (Some(_) | None, _) => {}
    }
}

/// Asks for the memory of what is shared, of which not even the count is touched.
pub(crate) fn prefetch_shared<T: ?Sized>(place: &RefCell<Option<Rc<T>>>) {
    if let Ok(place) = place.try_borrow()
        && let Some(shared) = &*place
    {
        prefetch_first(&**shared, size_of_val(&**shared).min(CELL_MAX));
    }
}

/// More than [`FAR`] entries of a snapshot are left: asks for what those will need that come a little later.
pub(super) fn look_ahead(core: &Core, left: &[Queued]) {
    let sources = core.sources.borrow();
    let key = |distance: usize| match Ready::from(left[distance]) {
        Ready::Io { source, .. } => Some(source),
        _ => None,
    };
    let ask = |distance, stage| {
        if let Some(key) = key(distance) {
            prefetch_source(&sources, key, stage);
        }
    };
    let ask_driver = |distance, stage| {
        let source = key(distance).and_then(|key| source_of(sources.get(key)?));
        if let Some(source) = source {
            core.driver.prefetch(source, stage);
        }
    };
    ask(FAR, Stage::Entry);
    ask(9, Stage::Object);
    ask(7, Stage::Content);
    ask_driver(7, Stage::Entry);
    ask_driver(5, Stage::Object);
    ask_driver(2, Stage::Content);
}

/// What the driver calls it.
fn source_of(registered: &Registered) -> Option<Source> {
    match registered {
        Registered::Stream(stream) => Some(stream.source()),
        Registered::Endpoint(endpoint) => Some(endpoint.source()),
        _ => None,
    }
}
