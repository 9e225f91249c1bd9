//! What entries have in common, and can be taken out by.

use sim_net::plan::{Action, Condition, Entry, EventId, Scope};

/// What entries are grouped by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Span {
    /// What kind of thing they make happen.
    Kind,
    /// The host that it happens to, or that sends.
    Host,
    /// The flow.
    Flow,
}

/// All of them, the widest first.
pub(super) const ALL: [Span; 3] = [Span::Kind, Span::Host, Span::Flow];

/// The places of the entries that have something in common: the largest group first, and of two that are
/// equally large the one that begins first.
pub(super) fn groups(entries: &[Entry], span: Span) -> Vec<Vec<usize>> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let key = key(entry, span);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, places)) => places.push(place),
            None => groups.push((key, vec![place])),
        }
    }
    groups.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
    groups.into_iter().map(|(_, places)| places).collect()
}

fn key(entry: &Entry, span: Span) -> String {
    match span {
        // The word that the line begins with.
        Span::Kind => entry.to_string().split([' ', '@']).next().unwrap_or_default().to_owned(),
        Span::Host => host(entry),
        Span::Flow => flow(entry),
    }
}

fn host(entry: &Entry) -> String {
    match entry {
        Entry::Fault(fault) => match &fault.action {
            Action::Interval { condition: Condition::Link { from, .. }, .. } => from.clone(),
            Action::Moment(incident) => incident.host().to_owned(),
            _ => fault.hosts().first().map(|&host| host.to_owned()).unwrap_or_default(),
        },
        Entry::Clock(clock) => clock.host.clone(),
        Entry::Deviation(deviation) => match &deviation.event {
            EventId::Draw { entity, .. } => entity.clone(),
            event => event.flow().map_or_else(String::new, |flow| {
                let sender = if flow.is_reply { &flow.server } else { &flow.client };
                sender.clone()
            }),
        },
        Entry::Environment(environment) => match &environment.scope {
            Scope::Flow(flow) => flow.client.clone(),
            Scope::Link { from, .. } => from.clone(),
            Scope::Pair(first, _) => first.clone(),
        },
        other => other.to_string(),
    }
}

fn flow(entry: &Entry) -> String {
    match entry {
        Entry::Deviation(deviation) => match &deviation.event {
            EventId::Draw { entity, .. } => entity.clone(),
            event => event.flow().map_or_else(String::new, ToString::to_string),
        },
        other => other.to_string(),
    }
}
