//! The side that executes calls.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, HostPort, Loop, Protocol, Rng, ToHostPort, Transport};

use super::call_table::{Asked, CallTable};
use super::frame::{self, Decoder, Frame};

/// How many calls may be under way on a server, and how many answers it remembers.
const CALLS_MAX: usize = 65_536;
/// Calls that take their time take less than this, so that answers overtake each other.
const WORK_MAX: Duration = Duration::from_millis(5);
/// The work of one call in [`LONG_WORK_EVERY`]: longer than a client's first patience.
const LONG_WORK: Duration = Duration::from_millis(150);
const LONG_WORK_EVERY: u64 = 24;

/// Executes what a call asks for: gets the number and the payload, returns the answer.
type Execute = dyn FnMut(u64, &[u8]) -> Vec<u8>;

/// What the connections of a server share.
struct Service {
    calls: RefCell<CallTable<Transport>>,
    execute: RefCell<Box<Execute>>,
    rng: RefCell<Rng>,
}

/// The server's side of a connection.
pub struct Server {
    service: Rc<Service>,
    decoder: Decoder,
}

impl Server {
    /// Listens at `addr` on `lp`, and executes each call at most once.
    ///
    /// Calls take random times, so that answers come in another order than their requests. A call
    /// goes on when the connection that asked for it is lost: the answer waits for the repetition.
    ///
    /// # Errors
    ///
    /// As [`Loop::create_server`].
    pub async fn start(
        lp: &Loop,
        addr: impl ToHostPort,
        execute: impl FnMut(u64, &[u8]) -> Vec<u8> + 'static,
    ) -> io::Result<sim_core::Server> {
        let addr: HostPort = addr.to_host_port();
        let service = Service::new(lp.rng("rpc.work"), execute);
        lp.create_server(addr, move || Self::of(&service)).await
    }

    fn of(service: &Rc<Service>) -> Self {
        Self { service: Rc::clone(service), decoder: Decoder::default() }
    }
}

impl Protocol for Server {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        while !cx.is_closing() {
            match self.decoder.poll() {
                Ok(Some(request)) => self.service.ask(request, cx.transport()),
                Ok(None) => return,
                Err(error) => return cx.fail(error.into()),
            }
        }
    }

    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        cx.pause_reading();
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        cx.resume_reading();
    }
}

impl Service {
    fn new(rng: Rng, execute: impl FnMut(u64, &[u8]) -> Vec<u8> + 'static) -> Rc<Self> {
        Rc::new(Self {
            calls: RefCell::new(CallTable::new(CALLS_MAX)),
            execute: RefCell::new(Box::new(execute)),
            rng: RefCell::new(rng),
        })
    }

    fn ask(self: &Rc<Self>, request: Frame, asker: &Transport) {
        let Frame { number, payload } = request;
        let asked = self.calls.borrow_mut().ask(number, asker.clone());
        match asked {
            Asked::Answered(answer) => send(asker, number, &answer),
            Asked::UnderWay => {}
            Asked::Refused => asker.fail(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("more than {CALLS_MAX} calls are under way"),
            )),
            Asked::Execute => {
                let service = Rc::clone(self);
                let execute = move || service.execute(number, &payload);
                // The timer is the loop's, so that it outlives the connection.
                asker.event_loop().call_later(self.work(), execute).detach();
            }
        }
    }

    /// How long a call takes.
    fn work(&self) -> Duration {
        let mut rng = self.rng.borrow_mut();
        if rng.ratio(1, LONG_WORK_EVERY) {
            LONG_WORK
        } else if rng.ratio(1, 2) {
            rng.duration(Duration::ZERO..WORK_MAX)
        } else {
            Duration::ZERO
        }
    }

    fn execute(&self, number: u64, payload: &[u8]) {
        let answer: Rc<[u8]> = (self.execute.borrow_mut())(number, payload).into();
        let asker = self.calls.borrow_mut().finish(number, Rc::clone(&answer));
        if let Some(asker) = asker {
            send(&asker, number, &answer);
        }
    }
}

/// Sends an answer, unless the connection is closing: then the call will be asked again.
fn send(asker: &Transport, number: u64, answer: &[u8]) {
    if asker.is_closing() {
        return;
    }
    match frame::encode(number, answer) {
        Ok(frame) => asker.write(&frame),
        Err(error) => asker.fail(error.into()),
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sim_core::testing;

    use super::*;

    /// A server's side of a connection that answers in capitals, with a count of its executions.
    fn drive() -> (testing::Peer<Server>, Rc<Cell<u32>>) {
        let executions = Rc::new(Cell::new(0));
        let count = Rc::clone(&executions);
        let service = Service::new(Rng::from_seed([1; 32]), move |_, payload| {
            count.set(count.get() + 1);
            payload.to_ascii_uppercase()
        });
        (testing::drive(Server::of(&service)), executions)
    }

    #[test]
    fn a_repeated_request_gets_the_answer_again_and_is_executed_once() {
        let (mut peer, executions) = drive();
        let request = frame::encode(9, b"abc").unwrap();
        let answer = frame::encode(9, b"ABC").unwrap();
        peer.feed(&[&request[..], &request[..]].concat());
        peer.advance(LONG_WORK);
        assert_eq!(peer.take_written(), answer);
        peer.feed(&request);
        assert_eq!((peer.take_written(), executions.get()), (answer, 1));
    }

    #[test]
    fn a_call_goes_on_when_its_connection_is_lost() {
        let (mut peer, executions) = drive();
        for number in 0..10 {
            peer.feed(&frame::encode(number, b"abc").unwrap());
        }
        peer.transport().abort();
        peer.advance(LONG_WORK);
        assert_eq!(executions.get(), 10);
    }

    #[test]
    fn a_frame_that_is_too_long_fails_the_connection() {
        let (mut peer, executions) = drive();
        peer.feed(&u32::MAX.to_be_bytes());
        let error = peer.lost().flatten().expect("an error");
        assert_eq!((error.kind(), executions.get()), (io::ErrorKind::InvalidData, 0));
        assert!(peer.is_reset());
    }
}
