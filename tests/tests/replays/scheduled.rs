//! Faults that a plan schedules, beside what links do by chance: the plan of such a run gives it again, and has nothing
//! that its world does not know.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};
use sim_net::{Plan, Recording, Report, Sim};

struct Sink;

impl DatagramProtocol for Sink {
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        data: &[u8],
        _from: SocketAddr,
    ) {
        cx.event_loop().mark("got", u64::from(data[0]));
    }
}

/// Sends sixty datagrams, one each 2 ms.
async fn sends(world: World) -> io::Result<()> {
    let (a, b) = (world.host("a"), world.host("b"));
    a.getaddrinfo(("b", 9)).await?;
    let _sink = b.datagram().local(("b", 9)).bind(|| Sink).await?;
    let source = a.datagram().remote(("b", 9)).bind(|| Sink).await?;
    a.sleep(Duration::from_micros(1)).await;
    for number in 0..60 {
        source.transport().send_to(&[number], None)?;
        a.sleep(Duration::from_millis(2)).await;
    }
    a.sleep(Duration::from_secs(1)).await;
    Ok(())
}

fn plan(text: &str) -> Plan {
    text.parse().unwrap()
}

/// Runs the simulation and the plan of that run, and gives the first of the two.
#[track_caller]
fn again_from_its_plan(sim: &Sim) -> Report<()> {
    let alone = sim.run(sends);
    let found = sim.clone().record(Recording::new()).run(sends);
    let recorded = found.recording.as_ref().unwrap();
    let again = sim.clone().replay(&plan(&recorded.to_string())).unwrap().run(sends);
    let print = |report: &Report<()>| (report.hash, report.events, report.time);
    assert_eq!(print(&alone), print(&found), "who writes it down changes nothing");
    assert_eq!(print(&again), print(&found), "\n{recorded}");
    assert_eq!(again.bindings.unbound().count(), 0, "\n{recorded}");
    found
}

fn got(report: &Report<()>) -> Vec<u64> {
    let log = report.log.as_ref().unwrap();
    let lines = log.entries().map(|entry| log.line(&entry));
    let marked = lines.filter(|line| line.contains("mark "));
    marked.filter_map(|line| line.split_once(" = ")?.1.parse().ok()).collect()
}

/// What a link holds back goes by later packets also when the link is as before by then.
#[test]
fn a_packet_that_is_held_back_outlasts_the_fault_of_its_link() {
    let sim = Sim::new(1).plan(&plan("link a->b 0s..1ms reorder=100%/3\n")).unwrap().trace(true);
    let order = got(&again_from_its_plan(&sim));
    assert_eq!(&order[..5], &[1, 2, 3, 0, 4]);
    let mut held_back = 0;
    for seed in 0..40 {
        let during = plan("link a<->b 5ms..40ms dup=20%,reorder=30%/3\n");
        let jitter = Duration::from_micros(500)..Duration::from_micros(1500);
        let sim = Sim::new(seed).latency(jitter).plan(&during).unwrap();
        held_back += again_from_its_plan(&sim).faults["packet.reorder"];
    }
    assert!(held_back > 40, "{held_back}");
}

/// A link that is bad for good is so after the end of all faults, and in the plan of its run.
#[test]
fn what_a_permanent_link_does_after_all_faults_is_replayed() {
    for link in ["loss=20%", "dup=20%", "corrupt=20%/deliver", "reorder=20%/2"] {
        let for_good = plan(&format!("link a->b 10ms.. {link} permanent\n"));
        let sim = Sim::new(3).plan(&for_good).unwrap().quiesce(Duration::from_millis(50));
        let before = sim.clone().max_time(Duration::from_millis(49)).run(sends);
        let bit = |report: &Report<()>| report.faults.values().sum::<u64>();
        let found = again_from_its_plan(&sim);
        assert!(bit(&found) > bit(&before), "{link}: {:?} {:?}", found.faults, before.faults);
    }
}

/// After the end of all faults no packet is lost by an entry, unless its link loses some for good.
#[test]
fn what_is_not_permanent_does_nothing_after_all_faults() {
    let lost = |link: &str| {
        let report = Sim::new(3).plan(&plan("link a->b 0s..10ms loss=99%\n")).unwrap();
        let recorded = report.record(Recording::new()).run(sends).recording.unwrap();
        let drops = recorded.to_string().replace("link a->b 0s..10ms loss=99%\n", link);
        let sim = Sim::new(3).replay(&plan(&drops)).unwrap().quiesce(Duration::from_nanos(1));
        sim.run(sends).faults.get("packet.loss").copied().unwrap_or_default()
    };
    assert_eq!(lost(""), 0);
    assert_eq!(lost("link a->b 0s.. dup=1%\n"), 0);
    assert!(lost("link a->b 0s.. loss=1% permanent\n") > 0);
}

/// The clock of a host that was not there yet when it was to be stepped is right, before the end of all faults and after it.
#[test]
fn a_step_of_a_clock_that_is_not_there_is_not_taken_back() {
    let step = plan("clock late at 1ms step +250ms\n");
    let sim = Sim::new(1).plan(&step).unwrap().quiesce(Duration::from_secs(1));
    let report = sim.run(|world| async move {
        world.sleep(Duration::from_millis(10)).await;
        let late = world.host("late");
        let epoch = || late.wall_time().checked_sub(world.time().since_epoch());
        let before = epoch();
        world.sleep(Duration::from_secs(2)).await;
        assert_eq!(epoch(), before);
    });
    assert_eq!((report.bindings.bound(), report.finding()), (0, None));
}

/// What is about a host that never comes finds nothing, and is not in the plan of the run.
#[test]
fn an_entry_about_a_host_that_never_comes_finds_nothing() {
    let sim = Sim::new(1).latency(Duration::from_micros(500)..Duration::from_micros(1500));
    let names = sim.clone().plan(&plan("dns late 0s..2s silent\n")).unwrap();
    let report = again_from_its_plan(&names);
    assert_eq!((report.bindings.bound(), report.hash), (0, sim.run(sends).hash));
    let ties = plan("ties a b\nties a late\njitter a->b\n");
    let report = sim.replay(&ties).unwrap().record(Recording::new()).run(sends);
    let unbound: Vec<_> = report.bindings.unbound().map(|(number, _)| number).collect();
    assert!(unbound.contains(&2), "{unbound:?}");
    let hosts: Vec<&str> = report.hosts().collect();
    assert_eq!(report.recording.as_ref().unwrap().check(&hosts), Ok(()));
}

/// One that has its name only later is concerned from then on.
#[test]
fn a_fault_of_names_finds_a_host_that_comes_later() {
    let sim = Sim::new(1).plan(&plan("dns late 1ms..2s nxdomain\n")).unwrap();
    let report = sim.record(Recording::new()).run(|world| async move {
        world.sleep(Duration::from_millis(10)).await;
        let late = world.host("late");
        drop(world.host("b"));
        assert!(late.getaddrinfo(("b", 9)).await.is_err());
    });
    assert_eq!((report.bindings.bound(), report.finding()), (1, None));
    assert_eq!(report.recording.unwrap().entries.len(), 1);
}
