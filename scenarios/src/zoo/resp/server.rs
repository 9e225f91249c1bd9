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
    /// What the commands of a read are answered with.
    replies: Vec<u8>,
}

impl Server {
    pub(super) fn new(store: Store) -> Self {
        Self { store, ..Self::default() }
    }

    fn execute(&self, command: Value) -> Value {
        let Value::Array(parts) = command else {
            return Value::Error("ERR that is no command".into());
        };
        let mut parts = parts.into_iter().map(|part| match part {
            Value::Bulk(bytes) => bytes,
            _ => None,
        });
        let mut part = || parts.next().flatten();
        match (part().as_deref(), part(), part(), part()) {
            (Some(b"SET"), Some(key), Some(value), None) => {
                self.store.borrow_mut().insert(key, value);
                Value::Simple("OK".into())
            }
            (Some(b"GET"), Some(key), None, None) => {
                Value::Bulk(self.store.borrow().get(&key).cloned())
            }
            _ => Value::Error("ERR unknown command".into()),
        }
    }
}

impl Protocol for Server {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.decoder.feed(data);
        loop {
            match self.decoder.poll() {
                Ok(Some(command)) => self.execute(command).encode(&mut self.replies),
                Ok(None) => break,
                Err(_) => return cx.abort(),
            }
        }
        if !self.replies.is_empty() {
            cx.write(&self.replies);
            self.replies.clear();
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
