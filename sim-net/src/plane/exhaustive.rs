//! All combinations of choices of a small scope.

use std::fmt;

use super::census::{Census, OfferedPacket};
use crate::plan::{Deviation, EventId, FaultSite, Plan};

/// Plans for every combination of choices about the first packets of a scope: a stack of choices, in
/// which the last one changes first. What one choice makes of a run decides which packets there are
/// to choose about next.
///
/// ```
/// use sim_core::{Cx, Protocol, World};
/// use sim_net::plan::FaultSite;
/// use sim_net::{Exhaustive, Plan, Sim};
/// # struct Quiet;
/// # impl Protocol for Quiet {
/// #     fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
/// # }
///
/// async fn connects(world: World) -> std::io::Result<()> {
///     let (server, client) = (world.host("server"), world.host("client"));
///     let _listening = server.create_server(("server", 7000), || Quiet).await?;
///     client.create_connection(("server", 7000), || Quiet).await?;
///     world.sleep(std::time::Duration::from_secs(1)).await;
///     Ok(())
/// }
///
/// // The first three packets, each of them lost or not.
/// let mut all = Exhaustive::new(Plan::new().seed(1), 3).choice(FaultSite::Loss, 1);
/// let mut runs = 0;
/// loop {
///     let report = Sim::new(1).replay(&all.plan())?.census(true).run(connects);
///     assert!(report.outcome.is_ok(), "{}", all.plan());
///     runs += 1;
///     if !all.advance(&report.census.unwrap()) {
///         break;
///     }
/// }
/// assert_eq!(runs, 8);
/// # Ok::<(), sim_net::plan::PlanError>(())
/// ```
#[must_use = "run its plans until `advance` says that there is no other"]
pub struct Exhaustive {
    base: Plan,
    depth: usize,
    domain: Vec<(FaultSite, u64)>,
    scope: Box<dyn Fn(&OfferedPacket) -> bool>,
    faults_max: usize,
    /// Packets, and what is chosen about each: nothing, or one more than a place in the domain.
    stack: Vec<(EventId, usize)>,
}

impl Exhaustive {
    /// Choices about the first `depth` packets, beside what `base` says. Without a
    /// [`choice`](Self::choice) there is one plan.
    pub fn new(base: Plan, depth: usize) -> Self {
        let (domain, stack) = (Vec::new(), Vec::new());
        Self { base, depth, domain, scope: Box::new(|_| true), faults_max: usize::MAX, stack }
    }

    /// Adds something that may happen to each of the packets; at most one of them does.
    pub fn choice(mut self, site: FaultSite, value: u64) -> Self {
        self.domain.push((site, value));
        self
    }

    /// Looks at these packets alone.
    pub fn scope(mut self, scope: impl Fn(&OfferedPacket) -> bool + 'static) -> Self {
        self.scope = Box::new(scope);
        self
    }

    /// Lets something happen to so many packets of a run at most: a scope of many packets can then be exhausted, too.
    pub fn at_most(mut self, faults: usize) -> Self {
        self.faults_max = faults;
        self
    }

    /// The plan to run next, with a census.
    pub fn plan(&self) -> Plan {
        let chosen = self.stack.iter().filter_map(|(event, choice)| {
            let &(site, value) = self.domain.get(choice.checked_sub(1)?)?;
            Some(Deviation::new(site, event.clone(), value).into())
        });
        let entries = self.base.entries.iter().cloned().chain(chosen);
        Plan { entries: entries.collect(), ..self.base.clone() }
    }

    /// Goes on to the next plan, given the census of the run of the last one. False if that was the
    /// last of all.
    pub fn advance(&mut self, census: &Census) -> bool {
        // As far as the choices go, the run was the one in which they were made.
        let offered = census.packets().filter(|packet| (self.scope)(packet));
        let new = offered.skip(self.stack.len()).take(self.depth.saturating_sub(self.stack.len()));
        let new: Vec<_> = new.map(|packet| (packet.event, 0)).collect();
        self.stack.extend(new);
        let mut faults = self.stack.iter().filter(|(_, choice)| *choice > 0).count();
        while let Some((_, choice)) = self.stack.last_mut() {
            let others = faults - usize::from(*choice > 0);
            if *choice < self.domain.len() && others < self.faults_max {
                *choice += 1;
                return true;
            }
            faults = others;
            self.stack.pop();
        }
        false
    }
}

impl fmt::Debug for Exhaustive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exhaustive").field("plan", &self.plan()).finish_non_exhaustive()
    }
}
