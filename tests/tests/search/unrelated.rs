//! What is taken out of a scenario moves nothing that it has nothing to do with.

use std::io;
use std::time::Duration;

use sim_core::World;
use sim_net::plan::Entry;
use sim_net::{LinkRule, Plan, Recording, Sim};
use tests::workloads::tcp_echo;

/// What a scenario has beside two hosts that talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beside {
    Nothing,
    /// A host that is not there otherwise, made before the others, and busy.
    Host,
    /// A line of a log, in each second.
    LogLines,
    /// One more random number of the application's own.
    Draw,
}

async fn talks(world: World, beside: Beside) -> io::Result<()> {
    match beside {
        Beside::Nothing => {}
        Beside::Host => {
            let other = world.host("other");
            let own = other.clone();
            other.create_task(async move {
                loop {
                    own.sleep(Duration::from_millis(3)).await;
                    own.mark("busy", 1);
                }
            });
        }
        Beside::LogLines => {
            let client = world.host("client");
            client.clone().create_task(async move {
                for n in 0.. {
                    client.sleep(Duration::from_secs(1)).await;
                    client.mark("log", n);
                }
            });
        }
        Beside::Draw => {
            world.host("client").rng("something new").next_u64();
            world.rng("something else").next_u64();
        }
    }
    tcp_echo(world, 40, 64).await
}

/// The plan that a run amounts to: everything that chance did to it.
fn recorded(seed: u64, beside: Beside) -> Plan {
    let link: LinkRule = "latency=1ms..9ms,loss=5%,dup=3%,reorder=3%".parse().unwrap();
    let sim = Sim::new(seed).link(link).record(Recording::new().split_all());
    let report = sim.run(move |world| talks(world, beside));
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    report.recording.unwrap()
}

#[test]
fn an_unrelated_host_log_line_or_draw_leaves_all_other_decisions_as_they_are() {
    for seed in 0..20 {
        let alone = recorded(seed, Beside::Nothing);
        assert!(alone.entries.len() > 50, "{alone}");
        for beside in [Beside::Host, Beside::LogLines, Beside::Draw] {
            let mut other = recorded(seed, beside);
            // Hosts that are ready at the same instant are ties, which are of those hosts.
            other.entries.retain(|entry| !matches!(entry, Entry::Environment(_)));
            let mut alone = alone.clone();
            alone.entries.retain(|entry| !matches!(entry, Entry::Environment(_)));
            assert_eq!(other, alone, "seed {seed}, {beside:?}");
        }
    }
}
