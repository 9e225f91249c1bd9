//! What protocols say of their state last: in the hash, at the loss of a connection or the end of the run.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::subprocess::SubprocessProtocol;
use sim_core::trace::Record as EngineRecord;
use sim_core::{Cx, DatagramProtocol, DatagramTransport, PanicPolicy, Protocol, World};
use sim_net::{FindingKind, Record, Report, Sim};

/// Says what it is told to say, if anything.
struct Says(Option<&'static str>);

impl Protocol for Says {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}

    fn digest(&self) -> Option<String> {
        self.0.map(str::to_owned)
    }
}

impl DatagramProtocol for Says {
    fn datagram_received(
        &mut self,
        _cx: &mut Cx<'_, Self, DatagramTransport>,
        _data: &[u8],
        _from: SocketAddr,
    ) {
    }

    fn digest(&self) -> Option<String> {
        self.0.map(str::to_owned)
    }
}

impl SubprocessProtocol for Says {
    fn digest(&self) -> Option<String> {
        self.0.map(str::to_owned)
    }
}

/// Of each kind of transport one that is lost in the middle of the run, and one that is there in the end.
async fn of_each_kind(world: World, says: Option<&'static str>) -> io::Result<()> {
    world.program("waits", |process| async move {
        process.event_loop().sleep(Duration::from_secs(9)).await;
        0
    });
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(("server", 7000), || Says(None)).await?;
    for stays in [true, false] {
        let stream = client.create_connection(("server", 7000), || Says(says)).await?;
        let endpoint = client.datagram().local(("client", 0)).bind(|| Says(says)).await?;
        let child = client.subprocess_exec("waits", [""; 0]).connect(|| Says(says)).await?;
        if !stays {
            stream.transport().close();
            endpoint.transport().close();
            child.transport().kill()?;
        }
    }
    world.sleep(Duration::from_secs(1)).await;
    world.host("client").mark("end", 0);
    Ok(())
}

/// The last states of a log and its mark, in order.
fn states<T>(report: &Report<T>) -> Vec<String> {
    let log = report.log.as_ref().expect("it was asked for");
    let states = log.entries().filter_map(|entry| match entry.record {
        Record::Engine(EngineRecord::Mark { .. }) => Some("end".to_owned()),
        Record::Engine(EngineRecord::State { .. }) => {
            Some(format!("{} {}", log.host(entry.host), log.text(&entry)))
        }
        _ => None,
    });
    states.collect()
}

#[test]
fn the_last_state_of_every_protocol_is_a_record_once() {
    let run = |says| Sim::new(1).trace(true).run(move |world| of_each_kind(world, says));
    let told = run(Some("fine"));
    let mut states = states(&told);
    // How they end is up to their kinds; who is there tells in the order of making.
    let end = states.iter().position(|state| state == "end").expect("there is a mark");
    states[..end].sort_unstable();
    let numbers = |states: &[String]| -> Vec<u32> {
        let number = |state: &String| {
            let number = state.strip_prefix("client #")?.strip_suffix(" state: fine")?;
            number.parse().ok()
        };
        states.iter().map(|state| number(state).unwrap_or_else(|| panic!("{state}"))).collect()
    };
    let (lost, there) = (numbers(&states[..end]), numbers(&states[end + 1..]));
    assert_eq!((lost.len(), there.len()), (3, 3), "{states:?}");
    assert!(there.is_sorted() && there.last() < lost.first(), "{states:?}");
    // A protocol without a digest makes no record, and one that says another thing is another run.
    let (other, silent) = (run(Some("bad")), run(None));
    assert_eq!(self::states(&silent), ["end"]);
    assert_eq!((silent.events + 6, told.events), (told.events, other.events));
    assert!(told.hash != other.hash && told.hash != silent.hash);
    let unseen = Sim::new(1).run(|world| of_each_kind(world, Some("fine")));
    assert_eq!((unseen.hash, unseen.events, unseen.time), (told.hash, told.events, told.time));
    told.unwrap();
}

/// Panics when it is asked while it has a fault.
struct Fragile(Rc<Cell<bool>>);

impl Protocol for Fragile {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}

    fn digest(&self) -> Option<String> {
        assert!(!self.0.get(), "no state that makes sense");
        None
    }
}

/// A connection of a host that is ill until a time; `closes` after two seconds, or stays.
async fn fragile(world: World, well_after: u64, closes: bool) -> io::Result<()> {
    let ill = Rc::new(Cell::new(true));
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(("server", 7000), || Says(None)).await?;
    let its = Rc::clone(&ill);
    let conn = client.create_connection(("server", 7000), || Fragile(its)).await?;
    world.sleep(Duration::from_secs(well_after)).await;
    ill.set(false);
    world.sleep(Duration::from_secs(2) - Duration::from_secs(well_after)).await;
    ill.set(well_after == 2);
    if closes {
        conn.transport().close();
        world.sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

#[test]
fn a_digest_that_panics_is_a_finding_where_the_last_state_is_asked_and_nowhere_else() {
    for closes in [false, true] {
        for (well_after, fails) in [(1, false), (2, true)] {
            let run = |log| {
                let sim = Sim::new(1).trace(log);
                let report = sim.run(move |world| fragile(world, well_after, closes));
                let found = report.finding().cloned();
                (report.hash, report.events, report.time, found)
            };
            let plain = run(false);
            assert_eq!(run(true), plain);
            let found = plain.3.as_ref();
            assert_eq!(found.is_some(), fails, "{closes} {found:?}");
            if let Some(found) = found {
                assert_eq!((found.kind, &*found.host), (FindingKind::Panic, "client"));
                assert!(found.message.contains("no state that makes sense"), "{found}");
            }
        }
    }
}

#[test]
fn a_digest_that_panics_is_reported_where_panics_are_contained() {
    for closes in [false, true] {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let ears = Rc::clone(&heard);
        let sim = Sim::new(1).panic_policy(PanicPolicy::Contain);
        let report = sim.run(move |world| {
            let handler = move |_: &sim_core::Loop, context: &sim_core::ErrorContext| {
                ears.borrow_mut().push(context.to_string());
            };
            world.host("client").set_exception_handler(Some(Rc::new(handler)));
            fragile(world, 2, closes)
        });
        report.unwrap();
        let heard = heard.take();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard[0].contains("Exception in digest"), "{heard:?}");
    }
}
