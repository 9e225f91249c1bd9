//! A two-party handshake, exhaustively: a connection with a question and its answer, and whatever can befall up to two
//! of its packets.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use sim_core::{Cx, Eof, Protocol, World};
use sim_net::plan::FaultSite;
use sim_net::{Exhaustive, Plan, Sim};

const QUESTION: &[u8] = b"what is six times seven?";
const ANSWER: &[u8] = b"forty-two";

/// Answers a whole question, and closes when the other side has.
#[derive(Default)]
struct Server(Vec<u8>);

impl Protocol for Server {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.0.extend_from_slice(data);
        if self.0.len() >= QUESTION.len() {
            assert_eq!(self.0, QUESTION);
            cx.write(ANSWER);
        }
    }

    fn eof_received(&mut self, _cx: &mut Cx<'_, Self>) -> Eof {
        assert_eq!(self.0, QUESTION, "the end comes behind the question");
        Eof::Close
    }
}

/// Asks, and ends its stream when it has the answer.
#[derive(Default)]
struct Client(Vec<u8>);

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(QUESTION);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.0.extend_from_slice(data);
        if self.0.len() >= ANSWER.len() {
            cx.write_eof();
        }
    }
}

async fn asks(world: World) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(("server", 7000), Server::default).await?;
    let conn = client.create_connection(("server", 7000), Client::default).await?;
    conn.closed().await?;
    assert_eq!(conn.with(|client, _| client.0.clone()), ANSWER);
    // Both kernels are done with it.
    world.settle().await;
    Ok(())
}

#[test]
fn a_handshake_a_question_and_a_close_stand_every_two_faults() {
    let faults = [
        (FaultSite::Loss, 1),
        (FaultSite::Duplicate, 1),
        (FaultSite::Corrupt, 1),
        (FaultSite::Delay, Duration::from_millis(350).as_nanos() as u64),
        (FaultSite::Reorder, 1),
    ];
    let mut all = Exhaustive::new(Plan::new().seed(1), usize::MAX).at_most(2);
    for (site, value) in faults {
        all = all.choice(site, value);
    }
    let (mut plans, mut hashes, mut befallen) = (BTreeSet::new(), BTreeSet::new(), [0; 3]);
    loop {
        let plan = all.plan();
        let sim = Sim::new(1).replay(&plan).unwrap().census(true).leftovers(true);
        let report = sim.max_time(Duration::from_secs(600)).run(asks);
        // Bytes, ends and errors as over a link without faults; the oracle of streams looks at each run.
        assert!(report.outcome.is_ok(), "{plan}{:?}\n{}", report.finding(), report.tail);
        assert_eq!(report.bindings.bound(), plan.entries.len(), "{plan}");
        assert!(plans.insert(plan.to_string()), "twice: {plan}");
        assert!(hashes.insert(report.hash), "the same run as another: {plan}");
        befallen[plan.entries.len()] += 1;
        if !all.advance(&report.census.unwrap()) {
            break;
        }
    }
    // Each packet of the calm run with each fault, and with each of those each packet behind it.
    let packets = befallen[1] / faults.len();
    assert_eq!((befallen[0], befallen[1] % faults.len()), (1, 0));
    assert!(packets >= 8, "{befallen:?}");
    assert!(befallen[2] >= packets * (packets - 1) / 2 * faults.len().pow(2), "{befallen:?}");
}
