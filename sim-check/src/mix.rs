//! A scenario's own faults, drawn anew for each seed.

use std::time::Duration;

use sim_core::{FaultMix, Rng};
use sim_net::{LinkError, LinkRule, Plan, Sim};

/// How much time there is between the end of the last fault of a mix and the end of all faults, those
/// of links included.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Puts the faults of `mix` into the simulation of a seed: its links, and a plan of partitions and
/// crashes among `hosts`, all over some time before the scenario must be done.
pub(crate) fn apply(
    mix: &FaultMix,
    hosts: &[String],
    seed: u64,
    sim: Sim,
) -> Result<Sim, LinkError> {
    let sim = match mix.link {
        "" => sim,
        link => sim.link(link.parse::<LinkRule>()?),
    };
    let plan = plan(mix, hosts, seed);
    let quiesce = mix.within + mix.cut_for.max(mix.down_for * (mix.crashes_max + 1)) + AFTERMATH;
    Ok(sim.plan(&plan).expect("scheduled faults alone").quiesce(quiesce))
}

/// The partitions and crashes of a seed.
fn plan(mix: &FaultMix, hosts: &[String], seed: u64) -> Plan {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(b"faultmix");
    let mut rng = Rng::from_seed(key);
    let mut up_to = |most: Duration| {
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(1 + rng.below(most))
    };
    let mut plan = Plan::new();
    let mut choice = {
        let mut key = key;
        key[16] = 1;
        Rng::from_seed(key)
    };
    if !hosts.is_empty() {
        for _ in 0..choice.below(u64::from(mix.cuts) + 1) {
            let host = &hosts[choice.below(hosts.len() as u64) as usize];
            plan = plan.isolate(up_to(mix.within), host.as_str(), up_to(mix.cut_for));
        }
    }
    let known: Vec<_> =
        mix.crashes.iter().filter(|name| hosts.iter().any(|host| host == *name)).collect();
    if !known.is_empty() {
        // One at a time: each begins after the one before has ended.
        let crashes = choice.below(u64::from(mix.crashes_max) + 1);
        let mut at = Duration::ZERO;
        for _ in 0..crashes {
            at += up_to(mix.within / crashes.max(1) as u32);
            let down = up_to(mix.down_for);
            let host = known[choice.below(known.len() as u64) as usize];
            plan = plan.crash(at, *host, down);
            at += down;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIX: FaultMix = FaultMix::new("loss=2%")
        .cuts(2, Duration::from_secs(1))
        .crashes(&["a", "nobody"], 3, Duration::from_secs(2))
        .within(Duration::from_secs(10));

    #[test]
    fn a_plan_is_a_function_of_its_seed_and_names_hosts_that_are_there() {
        let hosts = ["a", "b"].map(String::from);
        let mut texts = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let first = plan(&MIX, &hosts, seed);
            assert_eq!(first, plan(&MIX, &hosts, seed));
            assert!(first.check(&["a", "b"]).is_ok(), "{first}");
            assert!(first.entries.len() <= 5);
            texts.insert(first.to_string());
        }
        assert!(texts.len() > 100);
    }

    #[test]
    fn a_world_without_hosts_has_no_plan() {
        assert_eq!(plan(&MIX, &[], 7), Plan::new());
    }
}
