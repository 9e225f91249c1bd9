//! The side that answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Protocol, Timer};

use super::message::{self, Decoder, Message};
use super::{ORDERS, PAGES};

/// How long a connection may be idle before the server closes it.
const IDLE_MAX: Duration = Duration::from_millis(50);
/// How many bytes of a body go into a chunk.
const CHUNK_BYTES: usize = 64;

/// How often each order was executed, by its number.
pub(super) type Orders = Rc<RefCell<BTreeMap<u64, u32>>>;

/// The server's side of a connection.
#[derive(Debug)]
pub(super) struct Server {
    orders: Orders,
    decoder: Decoder,
    idle: Option<Timer>,
}

impl Server {
    pub(super) fn new(orders: Orders) -> Self {
        Self { orders, decoder: Decoder::default(), idle: None }
    }

    fn answer(&self, request: &Message) -> Vec<u8> {
        let mut words = request.start.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let number = |prefix: &str| path.strip_prefix(prefix)?.parse().ok();
        let page = number(PAGES).filter(|_| method == "GET");
        let order = number(ORDERS).filter(|_| method == "POST");
        if let Some(page) = page {
            return message::encode("HTTP/1.1 200 OK", page_body(page).chunks(CHUNK_BYTES));
        }
        let Some(order) = order else {
            return message::encode("HTTP/1.1 404 Not Found", []);
        };
        *self.orders.borrow_mut().entry(order).or_default() += 1;
        message::encode("HTTP/1.1 201 Created", [])
    }

    fn rest(&mut self, cx: &Cx<'_, Self>) {
        self.idle = Some(cx.call_later(IDLE_MAX, |_, cx| cx.close()));
    }
}

/// What stands on a page.
pub(super) fn page_body(page: u64) -> Vec<u8> {
    (0..page % 7 * 23 + 1).map(|at| b'a' + ((page + at) % 26) as u8).collect()
}

impl Protocol for Server {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.rest(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        loop {
            match self.decoder.poll() {
                Ok(Some(request)) => cx.write(&self.answer(&request)),
                Ok(None) => return self.rest(cx),
                Err(_) => {
                    cx.write(&message::encode("HTTP/1.1 400 Bad Request", []));
                    return cx.close();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    #[test]
    fn an_order_is_executed_each_time_that_it_is_posted() {
        let orders = Orders::default();
        let mut peer = testing::drive(Server::new(Rc::clone(&orders)));
        let post = message::encode("POST /orders/3 HTTP/1.1", []);
        peer.feed(&[&post[..], &post[..]].concat());
        let created = message::encode("HTTP/1.1 201 Created", []);
        assert_eq!(peer.take_written(), created.repeat(2));
        assert_eq!(*orders.borrow(), BTreeMap::from([(3, 2)]));
    }

    #[test]
    fn pages_are_there_and_nothing_else_is() {
        let mut peer = testing::drive(Server::new(Orders::default()));
        peer.feed(&message::encode("GET /pages/6 HTTP/1.1", []));
        let page = message::encode("HTTP/1.1 200 OK", page_body(6).chunks(CHUNK_BYTES));
        assert_eq!(peer.take_written(), page);
        assert!(page_body(6).len() > 2 * CHUNK_BYTES);
        peer.feed(&message::encode("POST /pages/6 HTTP/1.1", []));
        peer.feed(&message::encode("GET /orders/6 HTTP/1.1", []));
        assert_eq!(peer.take_written(), message::encode("HTTP/1.1 404 Not Found", []).repeat(2));
    }

    #[test]
    fn an_idle_connection_is_closed() {
        let mut peer = testing::drive(Server::new(Orders::default()));
        peer.advance(IDLE_MAX / 2);
        peer.feed(&message::encode("GET /pages/0 HTTP/1.1", []));
        peer.advance(IDLE_MAX - Duration::from_nanos(1));
        assert!(!peer.is_lost());
        peer.advance(Duration::from_nanos(1));
        assert!(matches!(peer.lost(), Some(None)));
    }
}
