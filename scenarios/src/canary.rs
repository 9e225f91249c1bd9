//! The canary: a scenario that is wrong, and is to be found wrong by every search.
//!
//! A search that has stopped to look, draws no faults or drops what it found is green for everything. So there
//! is a scenario with a known, rare bug: a check of it that is green says that the check is broken. It
//! is not among [`all`](crate::all), and goes by its name, `canary`.
//!
//! A payer makes payments one after the other, and sends each until it is acknowledged. The till books what has
//! an id that it has not booked. The bug: a payer who got no answer to two attempts takes both for
//! lost, and tries the third under a new id. If the till heard one of the two, the payment is booked
//! twice. That takes two faults about one payment, one of them about an answer: no single fault
//! shows it, and few seeds do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{
    Cx, DatagramProtocol, DatagramTransport, Failure, FaultMix, Scenario, Timer, World,
};

use crate::patience::within;
use crate::violation::ensure;

const PORT: u16 = 7000;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..5ms,loss=10%,dup=2%");
const PAYMENTS: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How often a payment is sent before the payer gives up. Never reached under the faults above.
const ATTEMPTS_MAX: u32 = 50;
/// After how many attempts in vain the wrong payer makes up a new id.
const RENEWED_AFTER: u32 = 2;

/// The datagram transport of a callback.
type Datagrams<'a, P> = Cx<'a, P, DatagramTransport>;

/// Books each payment that it has not booked, and acknowledges all.
#[derive(Debug, Default)]
struct Till {
    booked: BTreeSet<u32>,
}

impl DatagramProtocol for Till {
    fn datagram_received(&mut self, cx: &mut Datagrams<'_, Self>, data: &[u8], from: SocketAddr) {
        if let Ok(id) = data.try_into() {
            self.booked.insert(u32::from_be_bytes(id));
            // An answer that cannot be sent is asked for again.
            let _ = cx.send_to(data, Some(from));
        }
    }
}

/// Makes payments one after the other, and closes its endpoint after the last.
#[derive(Debug)]
struct Payer {
    renews: bool,
    acknowledged: u32,
    /// The id of the payment that is under way: what comes next has the next.
    id: u32,
    attempts: u32,
    retry: Option<Timer>,
}

impl Payer {
    fn new(renews: bool) -> Self {
        Self { renews, acknowledged: 0, id: 0, attempts: 0, retry: None }
    }

    fn send(&mut self, cx: &mut Datagrams<'_, Self>) {
        if self.attempts == ATTEMPTS_MAX {
            return cx.abort();
        }
        if self.renews && self.attempts == RENEWED_AFTER {
            self.id += 1;
        }
        self.attempts += 1;
        // What cannot be sent now is sent again later.
        let _ = cx.send_to(&self.id.to_be_bytes(), None);
        self.retry = Some(cx.call_later(RETRY_AFTER, Self::send));
    }
}

impl DatagramProtocol for Payer {
    fn connection_made(&mut self, cx: &mut Datagrams<'_, Self>) {
        self.send(cx);
    }

    fn datagram_received(&mut self, cx: &mut Datagrams<'_, Self>, data: &[u8], _: SocketAddr) {
        if data != self.id.to_be_bytes() {
            return;
        }
        self.acknowledged += 1;
        self.id += 1;
        self.attempts = 0;
        if self.acknowledged < PAYMENTS {
            self.send(cx);
        } else {
            self.retry = None;
            cx.close();
        }
    }
}

/// The scenario `canary`, which is wrong.
///
/// ```
/// let canary = scenarios::canary::scenario();
/// assert_eq!(canary.name(), "canary");
/// assert!(scenarios::all().iter().all(|scenario| scenario.name() != "canary"));
/// ```
pub fn scenario() -> Scenario {
    let summary = "payments that are made twice, rarely: a check that finds nothing is broken";
    Scenario::new("canary", summary, |world| run(world, true)).faults(FAULTS)
}

/// The same without the bug: what a search finds here is the search's own.
pub fn twin() -> Scenario {
    let summary = "payments that are made once";
    Scenario::new("canary-twin", summary, |world| run(world, false)).faults(FAULTS)
}

async fn run(world: World, renews: bool) -> Result<(), Failure> {
    let (host, client) = (world.host("till"), world.host("payer"));
    let till = host.datagram().local(("till", PORT)).bind(Till::default).await?;
    let connecting = client.datagram().remote(("till", PORT)).bind(move || Payer::new(renews));
    let payer = connecting.await?;
    within(&client, "the last payment", payer.closed()).await??;
    let acknowledged = payer.with(|payer, _| payer.acknowledged);
    ensure!(acknowledged == PAYMENTS, "{acknowledged} of {PAYMENTS} payments were made");

    let booked = till.with(|till, _| till.booked.len());
    ensure!(booked == PAYMENTS as usize, "{PAYMENTS} payments were made, {booked} were booked");
    till.transport().close();
    within(&host, "the end of the till's endpoint", till.closed()).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    /// The ids of the first attempts, all in vain.
    fn ids(renews: bool) -> Vec<u32> {
        let till = ([192, 0, 2, 1], PORT).into();
        let mut peer = testing::drive_connected_datagrams(Payer::new(renews), usize::MAX, till);
        peer.advance(3 * RETRY_AFTER);
        let sent = peer.take_sent();
        sent.iter().map(|(data, _)| u32::from_be_bytes(data[..].try_into().unwrap())).collect()
    }

    #[test]
    fn the_third_attempt_goes_by_another_id_if_the_payer_is_wrong() {
        assert_eq!(ids(false), [0, 0, 0, 0]);
        assert_eq!(ids(true), [0, 0, 1, 1]);
    }
}
