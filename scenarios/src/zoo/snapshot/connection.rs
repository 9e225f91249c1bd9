//! Both sides with connections.

use std::cell::RefCell;
use std::rc::Rc;

use sim_core::{Cx, Loop, LoopFuture, Protocol, Transport};

use super::frame::{Decoder, Frame};
use super::state::{Deposit, Replica, State};
use crate::Progress;

/// The server's state, and who hears of its changes.
#[derive(Debug, Default)]
pub struct Register {
    state: State,
    subscribers: Vec<Transport>,
}

impl Register {
    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Makes a deposit, and tells of it.
    pub fn deposit(&mut self, deposit: Deposit) {
        self.state.apply(deposit);
        self.subscribers.retain(|subscriber| !subscriber.is_closing());
        for subscriber in &self.subscribers {
            subscriber.write(&Frame::Update(deposit).encode());
        }
    }
}

/// The server's side of a connection.
#[derive(Debug)]
pub struct Service {
    register: Rc<RefCell<Register>>,
    decoder: Decoder,
}

impl Service {
    /// A connection to a register.
    pub fn new(register: Rc<RefCell<Register>>) -> Self {
        Self { register, decoder: Decoder::default() }
    }
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
pub struct Keeper {
    copy: Replica,
    subscribed: LoopFuture<()>,
    version: Progress,
}

impl Keeper {
    /// One that has nothing yet.
    pub fn new(lp: &Loop) -> Self {
        let (copy, version) = (Replica::default(), Progress::default());
        Self { copy, subscribed: lp.create_future(), version }
    }

    /// The copy, once the snapshot is there.
    pub fn state(&self) -> Option<&State> {
        self.copy.state()
    }

    /// Completes when updates come from now on.
    pub fn subscribed(&self) -> LoopFuture<()> {
        self.subscribed.clone()
    }

    /// Completes when the copy has this version.
    pub fn reaches(&mut self, lp: &Loop, version: u64) -> LoopFuture<()> {
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

/// One of a client's two connections.
#[derive(Debug)]
pub struct Client {
    keeper: Rc<RefCell<Keeper>>,
    /// What it asks for, at first.
    asks: Frame,
    decoder: Decoder,
}

impl Client {
    /// The connection that updates come over.
    pub fn of_updates(keeper: Rc<RefCell<Keeper>>) -> Self {
        Self { keeper, asks: Frame::Subscribe, decoder: Decoder::default() }
    }

    /// The connection that the snapshot comes over.
    pub fn of_snapshot(keeper: Rc<RefCell<Keeper>>) -> Self {
        Self { keeper, asks: Frame::Ask, decoder: Decoder::default() }
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&self.asks.encode());
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        loop {
            match self.decoder.poll() {
                Ok(Some(frame)) => self.keeper.borrow_mut().note(frame),
                Ok(None) => return,
                Err(error) => return cx.fail(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::super::state::tests::{deposit, state};
    use super::*;

    #[test]
    fn who_subscribes_hears_of_what_comes_after() {
        let register = Rc::<RefCell<Register>>::default();
        register.borrow_mut().deposit(deposit(1));
        let mut peer = testing::drive(Service::new(Rc::clone(&register)));
        peer.feed(b"sa");
        let answers = [Frame::Subscribed, Frame::Snapshot(state(1))];
        assert_eq!(peer.take_written(), answers.iter().flat_map(Frame::encode).collect::<Vec<_>>());
        register.borrow_mut().deposit(deposit(2));
        assert_eq!(peer.take_written(), Frame::Update(deposit(2)).encode());
    }

    #[test]
    fn a_keeper_has_what_both_connections_say() {
        let lp = testing::new_loop();
        let keeper = Rc::new(RefCell::new(Keeper::new(&lp)));
        let mut updates = testing::drive(Client::of_updates(Rc::clone(&keeper)));
        let mut snapshot = testing::drive(Client::of_snapshot(Rc::clone(&keeper)));
        assert_eq!((updates.take_written(), snapshot.take_written()), (b"s".into(), b"a".into()));
        updates.feed(b"y");
        assert!(keeper.borrow().subscribed().done());
        updates.feed(&Frame::Update(deposit(2)).encode());
        assert_eq!(keeper.borrow().state(), None);
        snapshot.feed(&Frame::Snapshot(state(1)).encode());
        assert_eq!(keeper.borrow().state(), Some(&state(2)));
    }
}
