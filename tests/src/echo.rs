//! The protocol that most tests talk to.

use std::net::SocketAddr;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Protocol};

/// Echoes streams and datagrams.
#[derive(Debug)]
pub struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        cx.write(data);
    }
}

impl DatagramProtocol for Echo {
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        data: &[u8],
        from: SocketAddr,
    ) {
        cx.send_to(data, Some(from)).expect("the endpoint is not connected");
    }
}
