//! The side that keeps values.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sim_core::{Cx, Protocol};

use super::codec::{Decoder, Value};

/// What is kept, by its key. It does not outlast the process.
pub(super) type Store = Rc<RefCell<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// The server's side of a connection. Commands are executed and answered in order.
#[derive(Debug, Default)]
pub(super) struct Server {
    store: Store,
    decoder: Decoder,
}

impl Server {
    pub(super) fn new(store: Store) -> Self {
        Self { store, decoder: Decoder::default() }
    }

    fn execute(&self, command: &Value) -> Value {
        let Value::Array(parts) = command else {
            return Value::Error("ERR that is no command".to_owned());
        };
        let parts: Vec<&[u8]> = parts
            .iter()
            .filter_map(|part| match part {
                Value::Bulk(Some(bytes)) => Some(&bytes[..]),
                _ => None,
            })
            .collect();
        match parts[..] {
            [b"SET", key, value] => {
                self.store.borrow_mut().insert(key.to_vec(), value.to_vec());
                Value::Simple("OK".to_owned())
            }
            [b"GET", key] => Value::Bulk(self.store.borrow().get(key).cloned()),
            _ => Value::Error("ERR unknown command".to_owned()),
        }
    }
}

impl Protocol for Server {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        let mut replies = Vec::new();
        loop {
            match self.decoder.poll() {
                Ok(Some(command)) => self.execute(&command).encode(&mut replies),
                Ok(None) => break,
                Err(_) => return cx.abort(),
            }
        }
        if !replies.is_empty() {
            cx.write(&replies);
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    #[test]
    fn commands_are_executed_in_order() {
        let mut peer = testing::drive(Server::default());
        let mut bytes = Vec::new();
        for parts in [&["SET", "a", "1"][..], &["GET", "a"], &["GET", "b"], &["DEL", "a"]] {
            Value::command(parts).encode(&mut bytes);
        }
        peer.feed(&bytes);
        let replies = b"+OK\r\n$1\r\n1\r\n$-1\r\n-ERR unknown command\r\n";
        assert_eq!(peer.take_written(), replies);
        peer.feed(b"nonsense\r\n");
        assert!(peer.is_reset());
    }
}
