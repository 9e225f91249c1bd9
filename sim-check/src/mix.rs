//! A scenario's own faults, drawn anew for each seed.

use std::time::Duration;

use sim_core::{FaultMix, Rng};
use sim_net::{Boundary, LinkError, LinkRule, Plan, Probability, Sim, StreamFaults};

/// How much time there is between the end of the last fault of a mix and the end of all faults, those
/// of links included.
const AFTERMATH: Duration = Duration::from_secs(60);
/// For how long a stream's faults hold things up, at most.
const HOLD_UP: Duration = Duration::from_millis(500);
/// The bounds of their probabilities, in billionths, as powers of two: 0.1 % to 27 %.
const LIKELY: std::ops::RangeInclusive<u64> = 20..=28;

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
    let sim = match mix.streams {
        "" => sim,
        words => sim.stream_faults(streams(words, seed)?),
    };
    let plan = plan(mix, hosts, seed);
    let quiesce = mix.within + mix.cut_for.max(mix.down_for * (mix.crashes_max + 1)) + AFTERMATH;
    Ok(sim.plan(&plan).expect("scheduled faults alone").quiesce(quiesce))
}

/// What streams show in a seed: each of `words` in every other seed, with a likelihood of its own.
fn streams(words: &str, seed: u64) -> Result<StreamFaults, LinkError> {
    let mut rng = rng(seed, b"streams");
    let mut faults = StreamFaults::new();
    for word in words.split(',') {
        let is_on = rng.below(2) == 1;
        let power = LIKELY.start() + rng.below(LIKELY.end() - LIKELY.start());
        let billionths = (1 << power) + rng.below(1 << power);
        if !is_on {
            continue;
        }
        let likely = Probability::new(billionths as f64 / 1e9)?;
        faults = match word {
            "boundary" => faults.boundaries(likely, Boundary::Drawn),
            "short-write" => faults.short_writes(likely),
            "coalesce" => faults.held_reads(likely, HOLD_UP),
            "stall" => faults.stalls(likely, HOLD_UP),
            "delay-fin" => faults.late_ends(likely, HOLD_UP),
            "spurious" => faults.spurious_readiness(likely),
            "rst" => faults.resets(likely),
            "accept-reset" => faults.accept_resets(likely),
            "emfile" => faults.accept_errors(likely),
            "connect" => faults.connect_errors(likely),
            word => panic!("FaultMix::streams: {word:?} is none of {}", FaultMix::ROUGH),
        };
    }
    Ok(faults)
}

/// The random numbers of a seed for one purpose.
fn rng(seed: u64, purpose: &[u8]) -> Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..8 + purpose.len()].copy_from_slice(purpose);
    Rng::from_seed(key)
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
    fn what_streams_show_is_a_function_of_the_seed_and_stays_within_the_words() {
        let of = |seed| streams(FaultMix::ROUGH, seed).unwrap();
        let all: std::collections::BTreeSet<_> = (0..50).map(|s| format!("{:?}", of(s))).collect();
        assert!(all.len() > 40 && (0..50).all(|seed| of(seed) == of(seed)));
        let lates = (0..50).map(|seed| streams("delay-fin", seed).unwrap());
        let none = StreamFaults::new();
        let on = lates.filter(|faults| *faults != none).count();
        assert!((10..40).contains(&on), "{on}");
    }

    #[test]
    fn a_world_without_hosts_has_no_plan() {
        assert_eq!(plan(&MIX, &[], 7), Plan::new());
    }
}
