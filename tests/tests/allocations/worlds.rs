//! Worlds one after another: each gives back what it took.

use std::env;
use std::io;
use std::time::Duration;

use sim_core::{Cx, Protocol, World};
use sim_net::{Memory, Sim};
use tests::echo::Echo;

/// How many worlds are run, unless `WORLDS` says otherwise.
const WORLDS: u64 = 1_000;
const SERVER: (&str, u16) = ("server", 7000);

fn worlds() -> u64 {
    let wanted = env::var("WORLDS").ok();
    wanted.map_or(WORLDS, |number| number.parse().expect("WORLDS is a number"))
}

struct Talk;

impl Protocol for Talk {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&[7; 10_000]);
        // Cycles through the loop: a connection that its own protocol holds, a task, a timer.
        let conn = cx.conn();
        cx.spawn(std::future::pending::<()>(), |_, _, ()| {});
        cx.call_later(Duration::from_secs(3_600), move |_, _| drop(conn)).detach();
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, _data: &[u8]) {
        cx.write(b"more");
    }
}

/// Leaves a bit of everything open: connections, tasks, timers, packets in flight.
async fn untidy(world: World) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let listening = server.create_server(SERVER, || Echo).await?;
    let conn = client.create_connection(SERVER, || Talk).await?;
    client.create_connection(("server", 1), || Talk).await.expect_err("nobody listens there");
    let held = conn.clone();
    client.create_named_task("sleeper", {
        let lp = client.clone();
        async move {
            lp.sleep(Duration::from_secs(3_600)).await;
            drop(held);
        }
    });
    let timer = server.call_later(Duration::from_secs(3_600), move || listening.close());
    timer.detach();
    client.sleep(Duration::from_millis(10)).await;
    client.call_soon(|| {});
    Ok(())
}

#[test]
fn a_world_gives_back_what_it_took() {
    let run = |seed| {
        Sim::new(seed).run(untidy).unwrap();
    };
    // What the process and the thread need once.
    run(0);
    for seed in 1..=worlds() {
        let counted = allocation_counter::measure(|| run(seed));
        let left = (counted.count_current, counted.bytes_current);
        assert_eq!(left, (0, 0), "blocks and bytes left by the world with seed {seed}");
    }
}

#[test]
fn a_world_that_failed_gives_back_what_it_took() {
    async fn panics(world: World) -> io::Result<()> {
        untidy(world.clone()).await?;
        // A panic without a line in the test's output, which would be an allocation too.
        world.host("client").call_soon(|| std::panic::resume_unwind(Box::new("on purpose")));
        world.settle().await;
        Ok(())
    }
    let run = |seed| {
        let report = Sim::new(seed).run(panics);
        assert_eq!(report.finding().expect("it panics").message, "on purpose");
    };
    run(0);
    for seed in 1..=worlds() / 10 {
        let counted = allocation_counter::measure(|| run(seed));
        let left = (counted.count_current, counted.bytes_current);
        assert_eq!(left, (0, 0), "blocks and bytes left by the world with seed {seed}");
    }
}

/// A world leaves its tables to the next, which may need larger ones, but has no use for more of them:
/// so what all leave together is little, while one block lost by each would be many.
#[test]
fn worlds_that_leave_their_memory_to_each_other_leave_little() {
    let memory = Memory::default();
    let run = |seed| {
        Sim::new(seed).run_in(&memory, untidy).unwrap();
    };
    run(0);
    let (mut blocks, mut bytes) = (0, 0);
    for seed in 1..=worlds() {
        let counted = allocation_counter::measure(|| run(seed));
        blocks += counted.count_current;
        bytes += counted.bytes_current;
    }
    assert!(blocks <= 32 && bytes <= 16_384, "{blocks} blocks, {bytes} bytes are left");
}

#[test]
fn a_real_world_gives_back_what_it_took() {
    let run = || real_net::run(untidy).unwrap();
    run();
    for number in 1..=worlds() / 20 {
        let counted = allocation_counter::measure(run);
        let left = (counted.count_current, counted.bytes_current);
        assert_eq!(left, (0, 0), "blocks and bytes left by world {number}");
    }
}
