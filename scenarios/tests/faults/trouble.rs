//! What befalls hosts while a scenario runs.

use std::time::Duration;

use sim_core::Scenario;
use sim_net::{Finding, Operator, Sim};

/// What befalls a host, until it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// The machine loses power, and starts again.
    Crash,
    /// The machine loses power after some more outgoing actions, and starts again.
    CrashAfter(u32),
    /// The process dies, and starts again.
    Kill,
    /// The process stands still.
    Pause,
    /// The machine stands still: what comes for it is lost, as behind a partition.
    Freeze,
}

/// What befalls which host, when and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) host: &'static str,
    pub(crate) kind: Kind,
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
}

/// A moment, or a time, in milliseconds.
pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn trouble(host: &'static str, kind: Kind, at: Duration, lasts: Duration) -> Trouble {
    Trouble { host, kind, at, lasts }
}

impl Trouble {
    fn begin(&self, operator: &Operator) {
        let host = operator.host(self.host);
        match self.kind {
            Kind::Crash => _ = host.crash(),
            Kind::CrashAfter(actions) => host.crash_after(actions),
            Kind::Kill => _ = host.kill(),
            Kind::Pause => _ = host.pause(),
            Kind::Freeze => _ = host.freeze(),
        }
    }

    fn end(&self, operator: &Operator) {
        let host = operator.host(self.host);
        match self.kind {
            Kind::Crash | Kind::Kill => _ = host.start(),
            Kind::CrashAfter(_) => {
                host.crash_after(0);
                host.start();
            }
            Kind::Pause => _ = host.resume(),
            Kind::Freeze => _ = host.thaw(),
        }
    }
}

/// Runs a scenario with the check's jitter on a seed, among troubles: the hash of its trace.
pub(crate) fn run(scenario: &Scenario, seed: u64, troubles: &[Trouble]) -> Result<u64, Finding> {
    let jitter = Duration::from_micros(500)..Duration::from_micros(1_500);
    let simulation = Sim::new(seed).latency(jitter).max_time(Duration::from_secs(3_600)).build();
    let world = simulation.world();
    for &trouble in troubles {
        let (lp, operator) = (world.host("operator"), simulation.operator());
        lp.clone().create_task(async move {
            lp.sleep(trouble.at).await;
            trouble.begin(&operator);
            lp.sleep(trouble.lasts).await;
            trouble.end(&operator);
        });
    }
    simulation.run(scenario.run(world))?;
    Ok(simulation.hash())
}

/// Holds if the scenario holds among these troubles, and is the same when it is run again.
#[track_caller]
pub(crate) fn holds(scenario: &Scenario, seed: u64, troubles: &[Trouble]) {
    let once = || {
        run(scenario, seed, troubles).unwrap_or_else(|finding| {
            panic!("{}, seed {seed}, {troubles:?}: {finding}", scenario.name())
        })
    };
    assert_eq!(once(), once(), "{}, seed {seed}, {troubles:?}: two runs differ", scenario.name());
}
