//! A server whose calls take their time: each is answered by a task.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use sim_core::{Cx, Loop, Protocol, Server, ToHostPort};

use crate::ending::Ending;
use crate::rpc::frame::{self, Decoder, Frame};

/// How many calls may be under way on a server.
const CALLS_MAX: usize = 1_024;

/// What becomes of a call: its answer, or none, and who called asks again.
type Answering = Pin<Box<dyn Future<Output = Option<Vec<u8>>>>>;
type Answer = dyn Fn(u64, Vec<u8>) -> Answering;

/// One connection of a server that speaks in [`frame`]s, as [`rpc::Client`](crate::rpc::Client) does.
///
/// A call that is made when too many are under way is passed over. One that is under way when its
/// connection is lost is carried out.
#[derive(Clone)]
pub(crate) struct Service {
    answer: Rc<Answer>,
    under_way: Rc<Cell<usize>>,
    /// The state of what answers, in a few words.
    digest: Option<Rc<dyn Fn() -> String>>,
}

impl Service {
    /// A service that answers the call with this number and payload by `answer`.
    pub(crate) fn new<F, R>(answer: F) -> Self
    where
        F: Fn(u64, Vec<u8>) -> R + 'static,
        R: Future<Output = Option<Vec<u8>>> + 'static,
    {
        let answer = move |number, payload| -> Answering { Box::pin(answer(number, payload)) };
        Self { answer: Rc::new(answer), under_way: Rc::default(), digest: None }
    }

    /// It with what its connections say of the state of what answers.
    pub(crate) fn showing(self, digest: impl Fn() -> String + 'static) -> Self {
        Self { digest: Some(Rc::new(digest)), ..self }
    }

    /// Listens at `addr`.
    pub(crate) async fn listen(self, lp: &Loop, addr: impl ToHostPort) -> io::Result<Server> {
        lp.create_server(addr, move || Caller {
            service: self.clone(),
            decoder: Decoder::default(),
        })
        .await
    }
}

/// Serves until the end of the scenario.
pub(crate) async fn stop_at(ending: &Ending, lp: &Loop, server: Server) -> io::Result<()> {
    ending.comes(lp).await.map_err(io::Error::other)?;
    server.close();
    server.abort_clients();
    server.wait_closed().await;
    Ok(())
}

/// The server's side of a connection.
struct Caller {
    service: Service,
    decoder: Decoder,
}

impl Caller {
    fn take(&self, request: Frame, cx: &Cx<'_, Self>) {
        let under_way = Rc::clone(&self.service.under_way);
        if under_way.get() == CALLS_MAX {
            return;
        }
        under_way.set(under_way.get() + 1);
        let Frame { number, payload } = request;
        let answering = (self.service.answer)(number, payload);
        let transport = cx.transport().clone();
        cx.event_loop().create_named_task("answer", async move {
            let answer = answering.await;
            under_way.set(under_way.get() - 1);
            if let Some(answer) = answer
                && !transport.is_closing()
            {
                match frame::encode(number, &answer) {
                    Ok(frame) => transport.write(&frame),
                    Err(error) => transport.fail(error.into()),
                }
            }
        });
    }
}

impl Protocol for Caller {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        while !cx.is_closing() {
            match self.decoder.poll() {
                Ok(Some(request)) => self.take(request, cx),
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

    fn digest(&self) -> Option<String> {
        self.service.digest.as_ref().map(|digest| digest())
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("under_way", &self.under_way.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sim_core::testing;

    use super::*;

    #[test]
    fn answers_come_as_they_are_ready_and_none_is_sent_for_none() {
        let service = Service::new(|number, payload: Vec<u8>| async move {
            (number != 2).then(|| payload.to_ascii_uppercase())
        });
        let mut peer =
            testing::drive(Caller { service: service.clone(), decoder: Decoder::default() });
        for number in 1..=3 {
            peer.feed(&frame::encode(number, b"abc").unwrap());
        }
        peer.advance(Duration::ZERO);
        let answers = [1, 3].map(|number| frame::encode(number, b"ABC").unwrap()).concat();
        assert_eq!((peer.take_written(), service.under_way.get()), (answers, 0));
    }

    #[test]
    fn a_call_too_many_is_passed_over() {
        let service = Service::new(|_, _| std::future::pending());
        let mut peer =
            testing::drive(Caller { service: service.clone(), decoder: Decoder::default() });
        for number in 0..=CALLS_MAX as u64 {
            peer.feed(&frame::encode(number, b"").unwrap());
        }
        assert_eq!(service.under_way.get(), CALLS_MAX);
    }
}
