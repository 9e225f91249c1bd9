//! What protocols said of their state, at the events after which they said it.

use std::collections::BTreeMap;

use sim_core::trace::Record as EngineRecord;
use sim_net::{Entry, Log, Record};

/// What a protocol said, and after which event of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Said<'a> {
    pub(super) place: usize,
    pub(super) connection: u32,
    pub(super) text: &'a str,
}

/// What protocols said in a run: each at the callback after which they were asked, and what was said
/// outside of any at the last event of the host.
pub(super) fn said(log: &Log) -> Vec<Said<'_>> {
    let mut reader = Reader::default();
    let mut said = Vec::new();
    let mut states = log.states().iter().peekable();
    for (place, entry) in log.entries().enumerate() {
        while let Some(state) = states.next_if(|state| state.step < entry.step) {
            said.extend(reader.place(state));
        }
        reader.read(place, &entry);
    }
    said.extend(states.filter_map(|state| reader.place(state)));
    said.sort_by_key(|said| said.place);
    said
}

#[derive(Default)]
struct Reader {
    /// The last event of each host.
    last: BTreeMap<u32, usize>,
    /// The last callback of each connection in the turn of its host.
    callbacks: BTreeMap<(u32, u32), usize>,
}

impl Reader {
    fn read(&mut self, place: usize, entry: &Entry) {
        self.last.insert(entry.host, place);
        match entry.record {
            Record::Turn => self.callbacks.retain(|&(host, _), _| host != entry.host),
            Record::Engine(EngineRecord::Callback { connection, .. }) => {
                self.callbacks.insert((entry.host, connection), place);
            }
            _ => {}
        }
    }

    fn place<'a>(&self, state: &'a sim_net::State) -> Option<Said<'a>> {
        let callback = self.callbacks.get(&(state.host, state.connection));
        let place = *callback.or_else(|| self.last.get(&state.host))?;
        Some(Said { place, connection: state.connection, text: &state.text })
    }
}
