//! The side that executes deposits, and remembers them over a crash.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Loop, Rng, Server, ToHostPort};

use super::Flaw;
use super::ledger::{Entry, Ledger};
use crate::journal::Journal;
use crate::service::Service;

/// Calls that take their time take less than this.
const WORK_MAX: Duration = Duration::from_millis(5);
/// What one call in [`LONG_WORK_EVERY`] takes: longer than a client's first patience.
const LONG_WORK: Duration = Duration::from_millis(150);
const LONG_WORK_EVERY: u64 = 24;

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Add an amount; the answer is the balance after it.
    Deposit(u64),
    /// Tell every [`Entry`], in order.
    Audit,
}

impl Request {
    /// A letter, and the amount as 64 bits, big-endian.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Deposit(amount) => [b"d", &amount.to_be_bytes()[..]].concat(),
            Self::Audit => b"a".to_vec(),
        }
    }

    /// The request that `bytes` encode, if they are one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"a" => Some(Self::Audit),
            [b'd', amount @ ..] => Some(Self::Deposit(u64::from_be_bytes(amount.try_into().ok()?))),
            _ => None,
        }
    }
}

/// What the calls of one life of the server share.
struct Account {
    lp: Loop,
    ledger: RefCell<Ledger>,
    journal: Journal,
    rng: RefCell<Rng>,
    flaw: Flaw,
}

/// Listens at `addr`, with everything that the store says was executed before.
pub(super) async fn start(lp: &Loop, addr: impl ToHostPort, flaw: Flaw) -> io::Result<Server> {
    let mut ledger = Ledger::default();
    let replay = |record: &[u8]| {
        if let Some(entry) = Entry::decode(record) {
            ledger.execute(entry);
        }
    };
    let journal = Journal::open(lp.store("ledger")?, replay).await?;
    if flaw == Flaw::ForgetfulRestart {
        ledger.forget_answers();
    }
    let account = Rc::new(Account {
        lp: lp.clone(),
        ledger: RefCell::new(ledger),
        journal,
        rng: RefCell::new(lp.rng("partition.work")),
        flaw,
    });
    let answer = move |number, payload: Vec<u8>| {
        let account = Rc::clone(&account);
        async move { account.answer(number, Request::decode(&payload)?).await.ok() }
    };
    Service::new(answer).listen(lp, addr).await
}

impl Account {
    async fn answer(&self, number: u64, request: Request) -> io::Result<Vec<u8>> {
        match request {
            Request::Audit => {
                let ledger = self.ledger.borrow();
                Ok(ledger.entries().iter().flat_map(|entry| entry.encode()).collect())
            }
            Request::Deposit(amount) => {
                let work = self.work();
                self.lp.sleep(work).await;
                let balance = self.deposit(Entry { number, amount })?;
                // What was executed before may not be durable either: its call may be under way.
                if self.flaw != Flaw::NoSync {
                    self.journal.sync().await?;
                }
                Ok(balance.to_be_bytes().to_vec())
            }
        }
    }

    /// Executes a deposit unless it was executed.
    fn deposit(&self, entry: Entry) -> io::Result<u64> {
        let mut ledger = self.ledger.borrow_mut();
        match ledger.answer_to(entry.number) {
            Some(balance) if self.flaw != Flaw::NoDuplicateFilter => Ok(balance),
            _ => {
                self.journal.append(&entry.encode())?;
                Ok(ledger.execute(entry))
            }
        }
    }

    /// How long a call takes.
    fn work(&self) -> Duration {
        let mut rng = self.rng.borrow_mut();
        if rng.ratio(1, LONG_WORK_EVERY) {
            LONG_WORK
        } else {
            rng.duration(Duration::ZERO..WORK_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_wire() {
        for request in [Request::Audit, Request::Deposit(0), Request::Deposit(u64::MAX)] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for noise in [&b""[..], b"d", b"d1234567", b"d123456789", b"ab", b"x"] {
            assert_eq!(Request::decode(noise), None, "{noise:?}");
        }
    }
}
