//! What the protocols of a loop say of their state when a run is over.

use std::rc::Rc;

use super::core::Core;
use super::sources::Registered;
use crate::current;

/// Puts it into the trace, in the order in which their transports were made: slots are used again.
pub(super) fn tell(core: &Rc<Core>) {
    let mut transports: Vec<(u32, Registered)> = core
        .sources
        .borrow()
        .iter()
        .filter_map(|(_, source)| Some((source.transport_number()?, source.clone())))
        .collect();
    transports.sort_unstable_by_key(|(number, _)| *number);
    let _current = current::enter(core);
    for (_, transport) in transports {
        transport.tell_last_state();
    }
}
