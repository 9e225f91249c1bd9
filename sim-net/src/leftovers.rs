//! What is still there when a scenario is done.

use std::fmt;

use sim_core::engine::{Leftover, LeftoverKind};

/// How many of a kind are told one by one.
const TOLD_MAX: usize = 3;

/// What user code has left on a host.
///
/// ```
/// use std::time::Duration;
/// use sim_net::Sim;
///
/// let report = Sim::new(1).leftovers(true).run(|world| async move {
///     world.host("server").call_later(Duration::from_secs(9), || {}).detach();
/// });
/// let text = report.leftovers[0].to_string();
/// assert!(text.starts_with("host server: 1 timer pending (at 9.000000000s, created at "), "{text}");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HostLeftovers {
    /// The host's name.
    pub host: String,
    /// What it is: at least one.
    pub items: Vec<Leftover>,
}

impl fmt::Display for HostLeftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}: ", self.host)?;
        let mut separator = "";
        for kind in LeftoverKind::ALL {
            let items: Vec<&Leftover> = self.items.iter().filter(|it| it.kind == kind).collect();
            if items.is_empty() {
                continue;
            }
            let next = if kind == LeftoverKind::Timer && items.len() > 1 { "next " } else { "" };
            write!(f, "{separator}{} {} ({next}", items.len(), kind.what(items.len()))?;
            separator = ", ";
            for (number, item) in items.iter().take(TOLD_MAX).enumerate() {
                let semicolon = if number > 0 { "; " } else { "" };
                write!(f, "{semicolon}{item}")?;
            }
            f.write_str(if items.len() > TOLD_MAX { "; ..)" } else { ")" })?;
        }
        Ok(())
    }
}

/// What a finding says of it: how many of each kind, and then host by host.
pub(crate) fn told(leftovers: &[HostLeftovers]) -> String {
    let count = |kind| {
        let items = leftovers.iter().flat_map(|host| &host.items);
        items.filter(|item| item.kind == kind).count()
    };
    let kinds = LeftoverKind::ALL.into_iter().map(|kind| (kind, count(kind)));
    let kinds =
        kinds.filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{kind} {count}"));
    let first = format!("left over: {}", kinds.collect::<Vec<_>>().join(", "));
    let lines = leftovers.iter().map(|host| format!("\n  {host}"));
    [first].into_iter().chain(lines).collect()
}
