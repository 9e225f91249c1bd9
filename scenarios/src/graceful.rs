//! A server that is asked to end, by `SIGTERM`, and does so without losing what it has begun.
//!
//! Clients ask, some of them several questions ahead; each answer takes a while. When the signal
//! comes the server stops listening, answers what it has read, says good-bye and half-closes every
//! connection, reads on until its clients have closed, and ends. Invariants: every question that the
//! server took is answered, to whom asked it and in order; no question is answered that it did not take; the
//! server ends soon after the signal; whoever comes later is refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use sim_core::stream::{ReadError, StreamReader, StreamWriter};
use sim_core::sync::Event;
use sim_core::{Failure, FaultMix, Loop, Rng, Scenario, Signal, World};

use crate::patience::{all_within, within};
use crate::violation::ensure;

const PORT: u16 = 7000;
/// What TCP stands, and what any stream may show.
const FAULTS: FaultMix =
    FaultMix::new("latency=1ms..10ms,loss=1%,reorder=1%").streams(FaultMix::HARMLESS);
/// How long an answer takes.
const WORK: Duration = Duration::from_millis(3);
/// When the signal comes at the latest.
const ASKED_WITHIN: Duration = Duration::from_millis(60);
/// The server's last word.
const BYE: &[u8] = b"bye\n";

/// What is wrong with a wrong twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Connections are closed as soon as the signal comes, whatever is under way.
    DropsWhatItTook,
    /// The server goes on listening.
    KeepsListening,
}

/// The scenario `graceful`.
pub fn scenario() -> Scenario {
    with_flaw(Flaw::None)
}

/// The scenario with a flaw: its invariants are to catch it.
pub fn with_flaw(flaw: Flaw) -> Scenario {
    let summary = "a server that is sent SIGTERM answers what it has taken, then ends";
    Scenario::new("graceful", summary, move |world| run(world, flaw)).faults(FAULTS)
}

async fn run(world: World, flaw: Flaw) -> Result<(), Failure> {
    let host = world.host("server");
    let service = Service { draining: Event::new(), taken: Rc::default(), flaw };
    let asked = service.draining.clone();
    host.add_signal_handler(Signal::TERM, move || asked.set())?;
    let serving = service.clone();
    let handler = move |reader, writer| {
        let service = serving.clone();
        async move { service.serve(reader, writer).await }
    };
    let server = host.start_server(("server", PORT), handler).await?;

    let clients = world.size("graceful.clients", 1..=4);
    let answered = Answered::default();
    let asking = (0..clients).map(|index| {
        let name = format!("client-{index}");
        let (lp, answered) = (world.host(&name), Rc::clone(&answered));
        let questions = world.size(&format!("graceful.questions-{index}"), 1..=20);
        let client = Client { name: name.clone(), questions, rng: world.rng(&name), answered };
        lp.clone().create_named_task(name, client.run(lp))
    });
    let asking: Vec<_> = asking.collect();

    let nanos = world.rng("signal").below(ASKED_WITHIN.as_nanos() as u64);
    world.sleep(Duration::from_nanos(nanos)).await;
    host.raise_signal(Signal::TERM)?;
    within(&host, "the signal", service.draining.wait()).await?;
    if flaw != Flaw::KeepsListening {
        server.close();
        within(&host, "the end of the server", server.wait_closed()).await?;
    }
    all_within(&host, "the end of client", asking).await?;
    let (taken, answered) = (service.taken.borrow().clone(), answered.borrow().clone());
    ensure!(taken == answered, "the server took {taken:?}, and answered {answered:?}");
    let late = world.host("late").open_connection(("server", PORT)).await;
    let refused = late.err().map(|error| error.kind());
    ensure!(
        refused == Some(io::ErrorKind::ConnectionRefused),
        "whoever comes after the end is refused, and this one was not: {refused:?}"
    );
    ensure!(host.remove_signal_handler(Signal::TERM), "the handler is the server's until now");
    Ok(())
}

/// How many questions of each client were taken, or answered.
type Counts = BTreeMap<String, u64>;
type Answered = Rc<RefCell<Counts>>;

fn count(counts: &RefCell<Counts>, client: &str) {
    *counts.borrow_mut().entry(client.to_owned()).or_default() += 1;
}

/// The server's side.
#[derive(Clone)]
struct Service {
    /// Set by the signal.
    draining: Event,
    taken: Rc<RefCell<Counts>>,
    flaw: Flaw,
}

impl Service {
    async fn serve(self, mut reader: StreamReader, writer: StreamWriter) -> Result<(), Failure> {
        while let Some(line) = self.next_line(&mut reader).await? {
            if line.is_empty() {
                // The client has all that it wanted.
                writer.close();
                return Ok(writer.wait_closed().await?);
            }
            let question = String::from_utf8_lossy(&line).into_owned();
            let (client, number) = question.trim_end().split_once(' ').unwrap_or_default();
            count(&self.taken, client);
            reader.transport().event_loop().sleep(WORK).await;
            if self.flaw == Flaw::DropsWhatItTook && self.draining.is_set() {
                break;
            }
            writer.write(format!("answer {number}\n").as_bytes());
            writer.drain().await?;
        }
        writer.write(BYE);
        writer.write_eof();
        // What comes still is for nobody; closing before its end would reset the connection, and
        // with it what the client has not read.
        while !reader.read(1 << 16).await?.is_empty() {}
        writer.close();
        Ok(writer.wait_closed().await?)
    }

    /// The next question; none once the signal has come and all that is here is taken.
    async fn next_line(&self, reader: &mut StreamReader) -> Result<Option<Vec<u8>>, ReadError> {
        let (mut line, mut asked) = (pin!(reader.read_line()), pin!(self.draining.wait()));
        poll_fn(|cx| match line.as_mut().poll(cx) {
            Poll::Ready(line) => Poll::Ready(line.map(Some)),
            Poll::Pending => asked.as_mut().poll(cx).map(|()| Ok(None)),
        })
        .await
    }
}

/// A client.
struct Client {
    name: String,
    questions: u64,
    rng: Rng,
    answered: Answered,
}

impl Client {
    async fn run(mut self, lp: Loop) -> Result<(), Failure> {
        lp.sleep(Duration::from_micros(self.rng.below(40_000))).await;
        let connecting = lp.open_connection(("server", PORT));
        let connected = within(&lp, "a connection", connecting).await?;
        let (reader, writer) = match connected {
            Ok(halves) => halves,
            Err(error) if is_turned_away(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match self.ask(&lp, reader, &writer).await {
            // It waited to be accepted when the server stopped listening.
            Err(error) if is_turned_away(&error) && !self.was_answered() => Ok(()),
            asked => Ok(asked?),
        }
    }

    fn was_answered(&self) -> bool {
        self.answered.borrow().contains_key(&self.name)
    }

    async fn ask(
        &mut self,
        lp: &Loop,
        mut reader: StreamReader,
        writer: &StreamWriter,
    ) -> io::Result<()> {
        let ahead = self.rng.range(1..4);
        let (mut sent, mut heard) = (0, 0);
        while heard < self.questions {
            while sent < self.questions.min(heard + ahead) {
                writer.write(format!("{} {sent}\n", self.name).as_bytes());
                sent += 1;
            }
            let answer = within(lp, "an answer", reader.read_line()).await;
            let answer = answer.map_err(io::Error::other)??;
            if answer == BYE {
                break;
            }
            if answer != format!("answer {heard}\n").as_bytes() {
                let text = String::from_utf8_lossy(&answer);
                return Err(io::Error::other(format!("question {heard} got {text:?}")));
            }
            heard += 1;
            count(&self.answered, &self.name);
        }
        writer.write_eof();
        let rest = within(lp, "the end of the server's half", reader.read_to_end()).await;
        rest.map_err(io::Error::other)??;
        writer.close();
        writer.wait_closed().await
    }
}

/// True for what a client hears of a server that does not listen any more.
fn is_turned_away(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}
