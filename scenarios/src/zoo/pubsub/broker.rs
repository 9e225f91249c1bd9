//! The broker: who hears of what.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use sim_core::{Cx, Loop, Protocol, Transport};

use super::command::{Command, Decoder};
use super::{PORT, SERVER};
use crate::ending::Ending;
use crate::service::stop_at;

/// Who hears of a subject.
#[derive(Debug)]
struct Subscription {
    subject: String,
    number: u32,
    subscriber: Transport,
}

/// The subscriptions of all connections.
type Subscriptions = Rc<RefCell<Vec<Subscription>>>;

/// The broker's side of a connection.
///
/// A subscriber that does not take what it subscribed to is cut off: it may come again.
#[derive(Debug, Default)]
pub struct Caller {
    subscriptions: Subscriptions,
    decoder: Decoder,
}

/// The broker's life, until the end of the scenario.
pub(super) async fn serve(lp: Loop, ending: Ending) -> io::Result<()> {
    let subscriptions = Subscriptions::default();
    let caller =
        move || Caller { subscriptions: Rc::clone(&subscriptions), decoder: Decoder::default() };
    let server = lp.create_server((SERVER, PORT), caller).await?;
    stop_at(&ending, &lp, server).await
}

impl Caller {
    fn obey(&self, command: Command, cx: &Cx<'_, Self>) {
        match command {
            Command::Ping => cx.write(&Command::Pong.encode()),
            Command::Subscribe { subject, number } => {
                let subscriber = cx.transport().clone();
                let subscription = Subscription { subject, number, subscriber };
                self.subscriptions.borrow_mut().push(subscription);
            }
            Command::Publish { subject, payload } => {
                for subscription in self.subscriptions.borrow().iter() {
                    let Subscription { number, subscriber, .. } = subscription;
                    if subscription.subject == subject && !subscriber.is_closing() {
                        let (subject, payload) = (subject.clone(), payload.clone());
                        let message = Command::Message { subject, number: *number, payload };
                        subscriber.write(&message.encode());
                    }
                }
            }
            Command::Message { .. } | Command::Pong => {}
        }
    }
}

impl Protocol for Caller {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        while !cx.is_closing() {
            match self.decoder.poll() {
                Ok(Some(command)) => self.obey(command, cx),
                Ok(None) => return,
                Err(error) => return cx.fail(error.into()),
            }
        }
    }

    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        cx.abort();
    }

    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        let lost = cx.transport();
        self.subscriptions.borrow_mut().retain(|subscription| subscription.subscriber != *lost);
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    #[test]
    fn subscribers_hear_of_their_subject_until_they_are_gone() {
        let mut peer = testing::drive(Caller::default());
        peer.feed(b"SUB news 1\r\nSUB weather 2\r\nSUB news 3\r\nPUB news 2\r\nhi\r\nPING\r\n");
        assert_eq!(peer.take_written(), b"MSG news 1 2\r\nhi\r\nMSG news 3 2\r\nhi\r\nPONG\r\n");
        let subscriptions = peer.with(|caller, _| Rc::clone(&caller.subscriptions));
        assert_eq!(subscriptions.borrow().len(), 3);
        peer.feed(b"what?\r\n");
        assert!(peer.is_lost() && subscriptions.borrow().is_empty());
    }
}
