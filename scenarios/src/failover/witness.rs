//! The witness: a register with a store and connections.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use sim_core::{Loop, Server, ToHostPort};

use super::register::{Register, View};
use crate::journal::Journal;
use crate::rpc::Client;
use crate::service::Service;

/// Listens at `addr`, with the view that the store has.
pub(super) async fn start(lp: &Loop, addr: impl ToHostPort) -> io::Result<Server> {
    let mut register = Register::default();
    let journal = Journal::open(lp.store("view")?, |record| {
        if let Some(view) = View::decode(record) {
            register.restore(view);
        }
    });
    let journal = Rc::new(journal.await?);
    let register = Rc::new(RefCell::new(register));
    let answer = move |_, proposal: Vec<u8>| {
        let (register, journal) = (Rc::clone(&register), Rc::clone(&journal));
        async move {
            if let Some(next) = View::decode(&proposal) {
                let before = register.borrow().view();
                if register.borrow_mut().propose(next) && before != next {
                    journal.append(&next.encode()).ok()?;
                }
            }
            let view = register.borrow().view();
            journal.sync().await.ok()?;
            Some(view.encode().to_vec())
        }
    };
    Service::new(answer).listen(lp, addr).await
}

/// The current view, after `proposal` if there is one; `None` if the witness does not answer.
pub(super) async fn ask(witness: &Client, proposal: Option<View>) -> Option<View> {
    let payload = proposal.map_or_else(Vec::new, |view| view.encode().to_vec());
    View::decode(&witness.call(&payload).await.ok()?)
}
