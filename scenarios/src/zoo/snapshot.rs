//! A copy of a server's state: a snapshot over one connection, and updates over another.
//!
//! The server counts deposits to accounts, one after another, and tells each to whoever subscribed
//! until then. A client subscribes over one connection and asks for a snapshot over the other, as in
//! the "clone pattern". Nothing orders the two, so it asks when it has heard that it is subscribed:
//! then every deposit is in the snapshot, among the updates, or both; those that are in both it knows
//! by their numbers. Invariant: the copy is the server's state, in the end and soon.
//!
//! | where | what |
//! | --- | --- |
//! | [`Frame`], [`Decoder`] | what is sent |
//! | [`State`], [`Replica`] | the state, and how a copy of it is kept: values without I/O |
//! | `Updates`, `Snapshots`, `Service` | these with connections |
//! | [`Bug`] | the client as it was shipped |

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{
    Cx, Failure, FaultMix, Loop, LoopFuture, Protocol, Rng, Scenario, Transport, World,
};

use super::Specimen;
use crate::Progress;
use crate::patience::{PATIENCE, within};
use crate::violation::ensure;

const PORT: u16 = 7000;
/// A copy is made once, over two connections, so nothing may end them.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%,reorder=1%")
    .cuts(2, Duration::from_secs(2))
    .within(Duration::from_millis(200))
    .streams(FaultMix::HARMLESS);
/// How many accounts there are.
const ACCOUNTS: usize = 4;
/// How many deposits there are, and how long it takes to the next one, at most.
const DEPOSITS: u64 = 20;
const DEPOSIT_AFTER_MAX: Duration = Duration::from_millis(20);

/// What clients got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// The client asks for the snapshot without waiting to be subscribed.
    ///
    /// It is enough to delay the subscription behind the snapshot and one deposit. With no delay it
    /// arrives first: it was sent before the connection for the snapshot was made.
    Z45,
}

/// The bugs that live here.
pub(super) const SPECIMENS: [Specimen; 1] = [Specimen {
    id: "Z45",
    bug: "an update between the snapshot and the subscription is lost",
    seen_in: "booksbyus/zguide#818",
    minimum: 1,
    twin: scenario,
    mutant: || with_bug(Bug::Z45),
}];

/// The scenario `snapshot`.
pub fn scenario() -> Scenario {
    build("snapshot", None)
}

/// The scenario with a bug, which its invariant is to catch.
pub fn with_bug(bug: Bug) -> Scenario {
    match bug {
        Bug::Z45 => build("Z45", Some(bug)),
    }
}

fn build(name: &'static str, bug: Option<Bug>) -> Scenario {
    let summary = "a copy of a changing state, by a snapshot and updates, misses nothing";
    Scenario::new(name, summary, move |world| run(world, bug)).faults(FAULTS)
}

async fn run(world: World, bug: Option<Bug>) -> Result<(), Failure> {
    let (near, far) = (world.host("client"), world.host("server"));
    let register = Rc::<RefCell<Register>>::default();
    let serving = Rc::clone(&register);
    let service = move || Service { register: Rc::clone(&serving), decoder: Decoder::default() };
    let server = far.create_server(("server", PORT), service).await?;
    let deposits = deposit_all(far.clone(), Rc::clone(&register), world.rng("deposits"));
    let deposits = far.create_named_task("deposits", deposits);

    let copy = Rc::new(RefCell::new(Keeper::new(&near)));
    let (updating, asking) = (Rc::clone(&copy), Rc::clone(&copy));
    let connecting = near.create_connection(("server", PORT), || Updates(Client::new(updating)));
    let updates = within(&near, "the connection for updates", connecting).await??;
    if bug != Some(Bug::Z45) {
        let subscribed = copy.borrow().subscribed.clone();
        within(&near, "the subscription", subscribed).await??;
    }
    let connecting = near.create_connection(("server", PORT), || Snapshots(Client::new(asking)));
    let snapshots = within(&near, "the connection for the snapshot", connecting).await??;

    within(&far, "the last deposit", deposits).await??;
    let up_to_date = copy.borrow_mut().reaches(&near, DEPOSITS);
    // A copy that never gets there is another, too.
    let _ = near.timeout(PATIENCE, up_to_date).await;
    let (copy, original) = (copy.borrow().copy.state().cloned(), register.borrow().state.clone());
    ensure!(copy == Some(original), "the copy is another than the server's state");

    updates.transport().close();
    snapshots.transport().close();
    server.close();
    // A client that closes before it has read everything says goodbye with a reset, which may be lost.
    server.abort_clients();
    within(&far, "the end of the server's connections", server.wait_closed()).await?;
    Ok(())
}

/// Makes all deposits, one after another.
async fn deposit_all(lp: Loop, register: Rc<RefCell<Register>>, mut rng: Rng) {
    for number in 1..=DEPOSITS {
        lp.sleep(rng.duration(Duration::from_millis(1)..DEPOSIT_AFTER_MAX)).await;
        let (account, amount) = (rng.below(ACCOUNTS as u64) as u8, 1 + rng.below(1_000));
        register.borrow_mut().deposit(Deposit { number, account, amount });
    }
}

/// One change of the state. They are numbered from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposit {
    /// Its number.
    pub number: u64,
    /// The account.
    pub account: u8,
    /// How much is added to it.
    pub amount: u64,
}

/// What is in each account, after some deposits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The number of the last deposit.
    pub version: u64,
    /// The accounts.
    pub accounts: [u64; ACCOUNTS],
}

impl State {
    /// Takes in the next deposit. One to an account that there is not counts and changes nothing.
    pub fn apply(&mut self, deposit: Deposit) {
        self.version = deposit.number;
        if let Some(account) = self.accounts.get_mut(usize::from(deposit.account)) {
            *account = account.wrapping_add(deposit.amount);
        }
    }
}

/// A copy of a state: updates that come before the snapshot are kept until it is there.
#[derive(Debug, Default)]
pub struct Replica {
    state: Option<State>,
    early: Vec<Deposit>,
}

impl Replica {
    /// The state, once the snapshot is there.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// An update came.
    pub fn update(&mut self, deposit: Deposit) {
        match &mut self.state {
            None => self.early.push(deposit),
            Some(state) if deposit.number > state.version => state.apply(deposit),
            Some(_) => {}
        }
    }

    /// The snapshot came.
    pub fn begin(&mut self, snapshot: State) {
        self.state = Some(snapshot);
        for deposit in std::mem::take(&mut self.early) {
            self.update(deposit);
        }
    }
}

/// What is sent, over either connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The client wants to hear of deposits.
    Subscribe,
    /// It does from now on.
    Subscribed,
    /// A deposit was made.
    Update(Deposit),
    /// The client wants the state.
    Ask,
    /// The state.
    Snapshot(State),
}

impl Frame {
    /// A letter, and numbers, big-endian: how many tells the letter.
    pub fn encode(&self) -> Vec<u8> {
        let with = |letter: u8, numbers: &[u64]| {
            let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
            std::iter::once(letter).chain(numbers).collect()
        };
        match self {
            Self::Subscribe => with(b's', &[]),
            Self::Subscribed => with(b'y', &[]),
            Self::Update(Deposit { number, account, amount }) => {
                with(b'u', &[*number, (*account).into(), *amount])
            }
            Self::Ask => with(b'a', &[]),
            Self::Snapshot(State { version, accounts: [a, b, c, d] }) => {
                with(b'n', &[*version, *a, *b, *c, *d])
            }
        }
    }
}

/// Frames from the bytes of a connection, cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Takes in the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// The next frame; `None` until all of it is there.
    ///
    /// # Errors
    ///
    /// Bytes that are none.
    pub fn poll(&mut self) -> io::Result<Option<Frame>> {
        let error = || io::Error::new(io::ErrorKind::InvalidData, "bytes that are no frame");
        let Some((letter, rest)) = self.bytes.split_first() else { return Ok(None) };
        let count = match letter {
            b's' | b'y' | b'a' => 0,
            b'u' => 3,
            b'n' => 1 + ACCOUNTS,
            _ => return Err(error()),
        };
        let (numbers, _) = rest.as_chunks::<8>();
        let Some(numbers) = numbers.get(..count) else { return Ok(None) };
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        let frame = match (letter, &*numbers) {
            (b's', _) => Frame::Subscribe,
            (b'y', _) => Frame::Subscribed,
            (b'a', _) => Frame::Ask,
            (_, &[number, account, amount]) => {
                let account = u8::try_from(account).map_err(|_| error())?;
                Frame::Update(Deposit { number, account, amount })
            }
            (_, &[version, a, b, c, d]) => {
                Frame::Snapshot(State { version, accounts: [a, b, c, d] })
            }
            _ => return Err(error()),
        };
        self.bytes.drain(..1 + 8 * count);
        Ok(Some(frame))
    }
}

/// The server's state, and who hears of its changes.
#[derive(Debug, Default)]
struct Register {
    state: State,
    subscribers: Vec<Transport>,
}

impl Register {
    fn deposit(&mut self, deposit: Deposit) {
        self.state.apply(deposit);
        self.subscribers.retain(|subscriber| !subscriber.is_closing());
        for subscriber in &self.subscribers {
            subscriber.write(&Frame::Update(deposit).encode());
        }
    }
}

/// The server's side of a connection.
#[derive(Debug)]
struct Service {
    register: Rc<RefCell<Register>>,
    decoder: Decoder,
}

impl Protocol for Service {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        let mut register = self.register.borrow_mut();
        loop {
            let answer = match self.decoder.poll() {
                Ok(Some(Frame::Subscribe)) => {
                    register.subscribers.push(cx.transport().clone());
                    Frame::Subscribed
                }
                Ok(Some(Frame::Ask)) => Frame::Snapshot(register.state.clone()),
                Ok(Some(_)) => continue,
                Ok(None) => return,
                Err(error) => return cx.fail(error),
            };
            cx.write(&answer.encode());
        }
    }
}

/// The client's copy, and how far it is.
#[derive(Debug)]
struct Keeper {
    copy: Replica,
    subscribed: LoopFuture<()>,
    version: Progress,
}

impl Keeper {
    fn new(lp: &Loop) -> Self {
        let (copy, version) = (Replica::default(), Progress::default());
        Self { copy, subscribed: lp.create_future(), version }
    }

    /// Completes when the copy has this version.
    fn reaches(&mut self, lp: &Loop, version: u64) -> LoopFuture<()> {
        self.version.reaches(lp, version)
    }

    fn note(&mut self, frame: Frame) {
        match frame {
            // It is said once.
            Frame::Subscribed => _ = self.subscribed.set_result(()),
            Frame::Update(deposit) => self.copy.update(deposit),
            Frame::Snapshot(state) => self.copy.begin(state),
            Frame::Subscribe | Frame::Ask => {}
        }
        let version = self.copy.state().map_or(0, |state| state.version);
        self.version.add(version - self.version.count());
    }
}

/// What both connections of a client do with what comes.
#[derive(Debug)]
struct Client {
    keeper: Rc<RefCell<Keeper>>,
    decoder: Decoder,
}

impl Client {
    fn new(keeper: Rc<RefCell<Keeper>>) -> Self {
        Self { keeper, decoder: Decoder::default() }
    }

    fn feed(&mut self, data: &[u8]) -> io::Result<()> {
        self.decoder.feed(data);
        while let Some(frame) = self.decoder.poll()? {
            self.keeper.borrow_mut().note(frame);
        }
        Ok(())
    }
}

/// The connection that updates come over.
#[derive(Debug)]
struct Updates(Client);

impl Protocol for Updates {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&Frame::Subscribe.encode());
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if let Err(error) = self.0.feed(data) {
            cx.fail(error);
        }
    }
}

/// The connection that the snapshot comes over.
#[derive(Debug)]
struct Snapshots(Client);

impl Protocol for Snapshots {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&Frame::Ask.encode());
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if let Err(error) = self.0.feed(data) {
            cx.fail(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    fn deposit(number: u64) -> Deposit {
        Deposit { number, account: (number % 3) as u8, amount: 10 * number }
    }

    /// The state after so many deposits.
    fn state(deposits: u64) -> State {
        let mut state = State::default();
        (1..=deposits).for_each(|number| state.apply(deposit(number)));
        state
    }

    #[test]
    fn a_copy_is_the_same_whenever_the_snapshot_comes() {
        for version in 0..=5 {
            for before in version..=5 {
                // Subscribed after `from` deposits, which is not after the snapshot.
                for from in 0..=version {
                    let mut copy = Replica::default();
                    (from + 1..=before).for_each(|number| copy.update(deposit(number)));
                    copy.begin(state(version));
                    (before + 1..=5).for_each(|number| copy.update(deposit(number)));
                    assert_eq!(copy.state(), Some(&state(5)), "{version} {before} {from}");
                }
            }
        }
    }

    #[test]
    fn frames_survive_a_connection_that_is_cut_anywhere() {
        let frames = [
            Frame::Subscribe,
            Frame::Subscribed,
            Frame::Update(deposit(7)),
            Frame::Ask,
            Frame::Snapshot(state(3)),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut came = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                decoder.feed(piece);
                came.extend(std::iter::from_fn(|| decoder.poll().unwrap()));
            }
            assert_eq!(came, frames, "{cut}");
        }
        let mut decoder = Decoder::default();
        decoder.feed(b"x");
        assert!(decoder.poll().is_err());
    }

    #[test]
    fn who_subscribes_hears_of_what_comes_after() {
        let register = Rc::<RefCell<Register>>::default();
        register.borrow_mut().deposit(deposit(1));
        let serving = Rc::clone(&register);
        let mut peer = testing::drive(Service { register: serving, decoder: Decoder::default() });
        peer.feed(b"sa");
        let answers = [Frame::Subscribed, Frame::Snapshot(state(1))];
        assert_eq!(peer.take_written(), answers.iter().flat_map(Frame::encode).collect::<Vec<_>>());
        register.borrow_mut().deposit(deposit(2));
        assert_eq!(peer.take_written(), Frame::Update(deposit(2)).encode());
    }
}
