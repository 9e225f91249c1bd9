//! A relay between two sides of TLS, which cuts the stream at a byte.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use sim_core::{Conn, Cx, Eof, Protocol, Server, Transport, World};
use tests::recorder::Recorder;

use crate::tls::Sides;

/// Which way the bytes go that are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// Where the stream is cut, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    pub(crate) way: Way,
    /// So many bytes pass.
    pub(crate) after: usize,
    /// A reset, or the end of the stream.
    pub(crate) reset: bool,
}

/// What both halves of a relay share.
#[derive(Default)]
pub(crate) struct Relay {
    client: RefCell<Option<Transport>>,
    server: RefCell<Option<Transport>>,
    cut: Cell<Option<Cut>>,
    /// What came before there was a server to pass it to.
    early: RefCell<Vec<u8>>,
    /// What goes this way has ended.
    ended: [Cell<bool>; 2],
    /// How many bytes went each way.
    pub(crate) passed: [Cell<usize>; 2],
    listeners: RefCell<Vec<Server>>,
}

impl Relay {
    fn towards(&self, way: Way) -> Option<Transport> {
        match way {
            Way::ToServer => self.server.borrow().clone(),
            Way::ToClient => self.client.borrow().clone(),
        }
    }

    fn pass(&self, way: Way, data: &[u8]) {
        let Some(to) = self.towards(way) else {
            return self.early.borrow_mut().extend_from_slice(data);
        };
        let passed = &self.passed[way as usize];
        let cut = self.cut.get().filter(|cut| cut.way == way);
        let room = cut.map_or(usize::MAX, |cut| cut.after - passed.get().min(cut.after));
        if !self.ended[way as usize].get() {
            to.write(&data[..data.len().min(room)]);
        }
        passed.set(passed.get() + data.len());
        if let Some(cut) = cut
            && passed.get() >= cut.after
        {
            self.end(way, cut.reset);
        }
    }

    /// Ends what goes one way; a reset ends the other too.
    fn end(&self, way: Way, reset: bool) {
        self.ended[way as usize].set(true);
        match self.towards(way) {
            Some(to) if reset => to.abort(),
            Some(to) if !to.is_closing() => to.write_eof(),
            _ => {}
        }
    }

    /// How many connections the server behind the relay has.
    pub(crate) fn open_connections(&self) -> usize {
        self.listeners.borrow()[0].connection_count()
    }

    /// Ends the stream to the client.
    pub(crate) fn end_towards_client(&self, reset: bool) {
        self.end(Way::ToClient, reset);
    }
}

/// One of the two connections of a relay.
struct Half {
    relay: Rc<Relay>,
    way: Way,
}

impl Protocol for Half {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        let transport = Some(cx.transport().clone());
        match self.way {
            Way::ToServer => self.relay.client.replace(transport),
            Way::ToClient => self.relay.server.replace(transport),
        };
        if self.way == Way::ToClient {
            let early = self.relay.early.take();
            self.relay.pass(Way::ToServer, &early);
        }
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
        self.relay.pass(self.way, data);
    }

    fn eof_received(&mut self, _: &mut Cx<'_, Self>) -> Eof {
        self.relay.end(self.way, false);
        Eof::KeepOpen
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.relay.end(self.way, error.is_some());
    }
}

/// A relay on the host `relay`, port 443, with a server behind it.
pub(crate) async fn relay(
    world: &World,
    sides: &Sides,
    cut: Option<Cut>,
    far: impl Fn(Recorder) -> Recorder + 'static,
) -> io::Result<Rc<Relay>> {
    let relay = Rc::new(Relay::default());
    relay.cut.set(cut);
    let log = sides.far.clone();
    let factory = move || far(Recorder::new(&log));
    let server = sides.server.server().tls(&sides.acceptor).bind(("server", 0), factory).await?;
    let port = server.sockets()[0].port();
    let lp = world.host("relay");
    let (shared, onward) = (Rc::clone(&relay), lp.clone());
    let accepting = move || {
        let (relay, lp) = (Rc::clone(&shared), onward.clone());
        let half = Half { relay: Rc::clone(&relay), way: Way::ToServer };
        let connecting = async move {
            let back = Half { relay: Rc::clone(&relay), way: Way::ToClient };
            let conn: Conn<Half> = lp.create_connection(("server", port), || back).await?;
            drop(conn);
            io::Result::Ok(())
        };
        drop(onward.create_task(connecting));
        half
    };
    let listener = lp.create_server(("relay", 443), accepting).await?;
    relay.listeners.borrow_mut().extend([server, listener]);
    Ok(relay)
}

/// A client's connection through a relay.
pub(crate) async fn relayed(
    world: &World,
    sides: &Sides,
    far: impl Fn(Recorder) -> Recorder + 'static,
) -> io::Result<(Conn<Recorder>, Rc<Relay>)> {
    let relay = relay(world, sides, None, far).await?;
    let connecting = sides.client.connection().tls(&sides.connector, "server");
    let near = connecting.connect(("relay", 443), || Recorder::new(&sides.near)).await?;
    for listener in relay.listeners.borrow().iter() {
        listener.close();
    }
    Ok((near, relay))
}
