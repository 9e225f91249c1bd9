//! Schedules in which packets arrive at one instant: which host goes first is drawn.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_check::{Check, Family, Profile, check};
use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};

/// Notes when it heard something, and that it did.
struct Listener {
    name: &'static str,
    heard: Rc<RefCell<Vec<(u64, &'static str)>>>,
}

impl DatagramProtocol for Listener {
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        _data: &[u8],
        _from: SocketAddr,
    ) {
        let now = cx.event_loop().time().since_epoch().as_nanos() as u64;
        self.heard.borrow_mut().push((now, self.name));
    }
}

/// Sends to two hosts at once. It fails where both hear of it at one instant, and `b` goes first.
async fn race(world: World) -> io::Result<()> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let from = world.host("from");
    let mut listening = Vec::new();
    for name in ["a", "b"] {
        let listener = Listener { name, heard: Rc::clone(&heard) };
        let builder = world.host(name).datagram().local((name, 7000));
        listening.push(builder.bind(|| listener).await?);
    }
    let sender = Listener { name: "from", heard: Rc::clone(&heard) };
    let sender = from.datagram().local(("from", 7000)).bind(|| sender).await?;
    for name in ["a", "b"] {
        let to = from.getaddrinfo((name, 7000)).await?[0];
        sender.transport().send_to(b"go", Some(to))?;
    }
    world.sleep(Duration::from_secs(1)).await;
    match heard.borrow()[..] {
        [(one, "b"), (other, "a")] if one == other => Err(io::Error::other("b went first")),
        _ => Ok(()),
    }
}

fn racing(families: &[Family]) -> Check {
    let latency = Duration::from_millis(1)..Duration::from_millis(9);
    check("race").seeds(200).latency(latency).profile(Profile::only(families.to_vec()))
}

#[test]
fn hosts_that_hear_of_something_at_one_instant_go_in_any_order() {
    let verdict = racing(&[Family::Ties]).verdict(race);
    // A quarter of the packets that are sent together arrive together, and in half of these cases b goes first.
    assert!((10..60).contains(&verdict.failed), "{verdict}");
    let explanation = verdict.explanation.expect("it is made small");
    let again = racing(&[Family::Ties]).replay(&explanation.shrunk.plan, race);
    assert_eq!(again.failures[0].signature, verdict.failures[0].signature);
    assert_eq!(again.failures[0].hash, explanation.hash);
}

#[test]
fn delays_of_any_length_make_no_ties() {
    let verdict = racing(&[Family::Delay]).verdict(race);
    assert!(verdict.is_green(), "{verdict}");
}
