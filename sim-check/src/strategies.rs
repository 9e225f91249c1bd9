//! Strategies for `proptest`: what a network, a plan, water marks and writes may be. They shrink to what
//! changes nothing: a plain link, an empty plan, no bytes.
//!
//! With the feature `proptest`. The seed of a simulation is an input like any other:
//!
//! ```
//! use std::time::Duration;
//!
//! use proptest::prelude::*;
//! use sim_check::strategies::{links, plans};
//! use sim_core::World;
//! use sim_net::Sim;
//!
//! async fn holds(world: World) {
//!     world.host("n1").sleep(Duration::from_secs(1)).await;
//!     world.host("n2");
//! }
//!
//! let faults = plans(&["n1", "n2"], Duration::from_secs(2));
//! proptest!(|(seed in any::<u64>(), link in links(), plan in faults)| {
//!     let sim = Sim::new(seed).link(link).plan(&plan).unwrap().quiesce(Duration::from_secs(60));
//!     prop_assert!(sim.run(holds).outcome.is_ok());
//! });
//! ```

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sim_core::WriteBufferLimits;
use sim_net::{Corruption, Link, Plan, Probability, Rate};

/// The longest delay of a link, in microseconds.
const DELAY_MAX: u64 = 200_000;

/// Any link that lets something through: delays up to 200 ms with up to as much jitter, up to 30 % of
/// each chance, and now and then a rate from 64 kbit/s on. Shrinks to a link without delay or chance.
pub fn links() -> impl Strategy<Value = Link> {
    let chance = || (0_u32..=300_000).prop_map(|parts| parts * 1_000);
    let delays = (0..=DELAY_MAX, 0..=DELAY_MAX);
    let rate = option::weighted(0.2, 64_000_u64..=1_000_000_000);
    (delays, [chance(), chance(), chance(), chance()], rate).prop_map(
        |((least, jitter), [loss, duplicate, corrupt, reorder], rate)| {
            let likely = |parts| Probability::billionths(parts).expect("it is at most 30 %");
            let least = Duration::from_micros(least);
            let most = least + Duration::from_micros(jitter);
            let corruption = Corruption { probability: likely(corrupt), delivers: false };
            let link = Link::default().loss(likely(loss)).duplicate(likely(duplicate));
            let link = link.corrupt(corruption).reorder(likely(reorder), 1).expect("one packet");
            let link = if jitter == 0 { link.latency(least) } else { link.latency(least..most) };
            match rate {
                Some(bits) => link.rate(Rate::bits_per_second(bits).expect("it is not 0")),
                None => link,
            }
        },
    )
}

/// Plans of scheduled faults among hosts, that begin and end within a time: partitions between any
/// two, and at most one crash or pause of each host. Shrinks to fewer, shorter and earlier ones.
pub fn plans(hosts: &[&str], within: Duration) -> impl Strategy<Value = Plan> + use<> {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX).max(2);
    let interval =
        move || (0..nanos - 1).prop_flat_map(move |start| (Just(start), 1..nanos - start));
    let count = hosts.len();
    let cuts = vec((0..count.max(1), 0..count.max(1), interval()), 0..4);
    let stops = vec(option::of((any::<bool>(), interval())), count);
    (cuts, stops).prop_map(move |(cuts, stops)| {
        let time = Duration::from_nanos;
        let mut plan = Plan::new();
        for (a, b, (at, lasts)) in cuts {
            if a != b {
                plan = plan.partition(time(at), &*hosts[a], &*hosts[b], time(lasts));
            }
        }
        for (host, stop) in hosts.iter().zip(stops) {
            plan = match stop {
                Some((true, (at, lasts))) => plan.crash(time(at), host.as_str(), time(lasts)),
                Some((false, (at, lasts))) => plan.pause(time(at), host.as_str(), time(lasts)),
                None => plan,
            };
        }
        plan
    })
}

/// Any water marks, zero and equal ones among them. Shrinks to zero.
pub fn water_marks() -> impl Strategy<Value = WriteBufferLimits> {
    let high = prop_oneof![0_usize..=4, 0_usize..=256 << 10];
    high.prop_flat_map(|high| {
        let low = prop_oneof![Just(high), 0..=high];
        low.prop_map(move |low| WriteBufferLimits { high, low })
    })
}

/// The sizes of up to `count` writes, most of them small and some large. Shrinks to none.
pub fn writes(count: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![0_usize..=16, 0_usize..=4_096, 0_usize..=256 << 10], 0..=count)
}

#[cfg(test)]
mod tests {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    /// The simplest value of a strategy.
    fn simplest<S: Strategy>(strategy: &S) -> S::Value {
        let mut tree = strategy.new_tree(&mut TestRunner::deterministic()).unwrap();
        while tree.simplify() {}
        tree.current()
    }

    #[test]
    fn they_shrink_to_what_changes_nothing() {
        let plain = Link::default().latency(Duration::ZERO);
        assert_eq!(simplest(&links()), plain);
        assert_eq!(simplest(&plans(&["a", "b"], Duration::from_secs(1))), Plan::new());
        let marks = simplest(&water_marks());
        assert_eq!((marks.high, marks.low), (0, 0));
        assert!(simplest(&writes(10)).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_plan_can_be_carried_out(
            plan in plans(&["a", "b", "c"], Duration::from_secs(5)),
            link in links(),
            marks in water_marks(),
        ) {
            prop_assert!(plan.check(&["a", "b", "c"]).is_ok(), "{plan}");
            prop_assert_eq!(link.to_string().parse::<Link>(), Ok(link));
            prop_assert!(marks.low <= marks.high);
        }
    }
}
