//! A conversation between a host of ours and a foreign stack, and what each heard of it.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Eof, Protocol, Time, World};
use sim_net::{Capture, LinkRule, Sim, Simulation, Tun};
use smoltcp::socket::tcp;

use crate::stack::{Application, Opening, Options, Stack};

pub(crate) const PORT: u16 = 7_000;

/// When a side ends its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// As soon as it has said everything.
    AtOnce,
    /// When the other side has ended its own.
    AfterPeer,
    /// It says nothing before the other side has ended its stream, then everything, and ends.
    SpeaksAfterPeer,
    /// It resets the connection when it has heard so many bytes.
    Abort(usize),
}

/// What a side does.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) says: Vec<u8>,
    pub(crate) ending: Ending,
    /// For how long it reads nothing.
    pub(crate) deaf_for: Duration,
}

impl Side {
    pub(crate) fn new(bytes: usize, salt: u64, ending: Ending) -> Self {
        Self { says: text(bytes, salt), ending, deaf_for: Duration::ZERO }
    }
}

/// Bytes that differ wherever one looks.
fn text(bytes: usize, salt: u64) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// What a side has heard.
#[derive(PartialEq, Eq, Default)]
pub(crate) struct Heard {
    pub(crate) data: Vec<u8>,
    /// The end of the peer's stream.
    pub(crate) end: bool,
    /// How the connection was lost, once it is.
    pub(crate) lost: Option<Result<(), io::ErrorKind>>,
}

/// A conversation to be.
#[derive(Clone)]
pub(crate) struct Talk {
    pub(crate) seed: u64,
    pub(crate) link: String,
    pub(crate) foreign_opens: bool,
    /// Nobody listens.
    pub(crate) refused: bool,
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    pub(crate) options: Options,
    pub(crate) capture: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) ours: Heard,
    pub(crate) theirs: Heard,
    pub(crate) hash: u64,
    pub(crate) time: Time,
    pub(crate) capture: Option<Capture>,
}

impl Talk {
    pub(crate) fn new(
        seed: u64,
        link: &str,
        foreign_opens: bool,
        ours: Side,
        theirs: Side,
    ) -> Self {
        let (link, options) = (link.to_owned(), Options::default());
        Self { seed, link, foreign_opens, refused: false, ours, theirs, options, capture: false }
    }

    pub(crate) fn run(&self) -> Outcome {
        let rule: LinkRule = self.link.parse().expect("a link");
        let limit = Duration::from_secs(3_600);
        let sim = Sim::new(self.seed).link(rule).capture(self.capture).max_time(limit);
        let simulation: Simulation = sim.build();
        let (world, tun) = (simulation.world(), simulation.tun("foreign"));
        let (ours, theirs) = <(Rc<RefCell<Heard>>, Rc<RefCell<Heard>>)>::default();
        let conversation =
            converse(world, tun.clone(), self.clone(), Rc::clone(&ours), Rc::clone(&theirs));
        if let Err(finding) = simulation.run(conversation) {
            let heard = (told(&ours.borrow()), told(&theirs.borrow()));
            panic!("{} seed {}: {finding}: {heard:?}", self.link, self.seed);
        }
        assert_eq!(tun.refused(), 0);
        Outcome {
            ours: ours.take(),
            theirs: theirs.take(),
            hash: simulation.hash(),
            time: simulation.time(),
            capture: simulation.capture(),
        }
    }

    /// Runs it, and expects that every byte arrives and both streams end well.
    pub(crate) fn succeeds(&self) -> Outcome {
        let outcome = self.run();
        let expected = |says: &Vec<u8>| Heard { data: says.clone(), end: true, lost: Some(Ok(())) };
        let (ours, theirs) = (expected(&self.theirs.says), expected(&self.ours.says));
        let context = || format!("{} seed {}: {:?}", self.link, self.seed, told(&outcome.ours));
        assert!(outcome.ours == ours, "ours: {}", context());
        assert!(outcome.theirs == theirs, "theirs: {} {:?}", context(), told(&outcome.theirs));
        outcome
    }
}

/// What was heard, in short.
fn told(heard: &Heard) -> (usize, bool, Option<Result<(), io::ErrorKind>>) {
    (heard.data.len(), heard.end, heard.lost)
}

async fn converse(
    world: World,
    tun: Tun,
    talk: Talk,
    ours: Rc<RefCell<Heard>>,
    theirs: Rc<RefCell<Heard>>,
) -> io::Result<()> {
    let Talk { foreign_opens, refused, options, .. } = talk;
    let (host, foreign) = (world.host("ours"), world.host("foreign"));
    let heard = Rc::clone(&ours);
    let protocol = move || Talker { side: talk.ours.clone(), heard: Rc::clone(&heard) };
    let application = Speaker { side: talk.theirs, said: 0, heard: Rc::clone(&theirs) };
    let opening = match (foreign_opens, refused) {
        (true, _) => match host.getaddrinfo(("ours", PORT)).await?[0].ip() {
            IpAddr::V4(address) => Opening::Connect(address, PORT),
            IpAddr::V6(_) => unreachable!("names resolve to IPv4"),
        },
        (false, false) => Opening::Listen(PORT),
        (false, true) => Opening::Nothing,
    };
    let _server = match foreign_opens && !refused {
        true => Some(host.create_server(("ours", PORT), protocol.clone()).await?),
        false => None,
    };
    let mut stack = Stack::new(foreign.clone(), tun, opening, options);
    let running = foreign.create_task(async move {
        if !matches!(opening, Opening::Nothing) {
            stack.run(application).await;
        }
        stack.refuse().await;
    });
    if !foreign_opens {
        let (client, heard) = (host.clone(), Rc::clone(&ours));
        host.create_task(async move {
            let connected = client.create_connection(("foreign", PORT), protocol).await;
            if let Err(error) = connected {
                heard.borrow_mut().lost = Some(Err(error.kind()));
            }
        });
    }
    let is_lost = |heard: &RefCell<Heard>| heard.borrow().lost.is_some();
    // Only the side that was refused hears of it.
    while !(is_lost(&ours) || refused && foreign_opens)
        || !(is_lost(&theirs) || refused && !foreign_opens)
    {
        world.sleep(Duration::from_millis(10)).await;
    }
    running.cancel();
    Ok(())
}

/// Our side.
struct Talker {
    side: Side,
    heard: Rc<RefCell<Heard>>,
}

impl Protocol for Talker {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if self.side.ending != Ending::SpeaksAfterPeer {
            cx.write(&self.side.says);
        }
        if self.side.ending == Ending::AtOnce {
            cx.write_eof();
        }
        if !self.side.deaf_for.is_zero() {
            cx.pause_reading();
            cx.call_later(self.side.deaf_for, |_, cx| cx.resume_reading()).detach();
        }
        self.abort_if_due(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.heard.borrow_mut().data.extend_from_slice(data);
        self.abort_if_due(cx);
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.heard.borrow_mut().end = true;
        if self.side.ending == Ending::SpeaksAfterPeer {
            cx.write(&self.side.says);
        }
        Eof::Close
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        let how = error.map_or(Ok(()), |error| Err(error.kind()));
        self.heard.borrow_mut().lost = Some(how);
    }
}

impl Talker {
    fn abort_if_due(&mut self, cx: &mut Cx<'_, Self>) {
        if let Ending::Abort(bytes) = self.side.ending
            && self.heard.borrow().data.len() >= bytes
        {
            cx.abort();
        }
    }
}

/// The foreign side.
struct Speaker {
    side: Side,
    said: usize,
    heard: Rc<RefCell<Heard>>,
}

impl Application for Speaker {
    fn go_on(&mut self, socket: &mut tcp::Socket<'static>, now: Time) -> Option<Time> {
        let hears_from = Time::ZERO + self.side.deaf_for;
        if now >= hears_from {
            self.listen(socket);
        }
        let heard = self.heard.borrow();
        let may_speak = self.side.ending != Ending::SpeaksAfterPeer || heard.end;
        if may_speak && socket.can_send() {
            let rest = &self.side.says[self.said..];
            self.said += socket.send_slice(rest).expect("it can send");
        }
        let has_opened = !matches!(
            socket.state(),
            tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived
        );
        if has_opened && self.said == self.side.says.len() {
            match self.side.ending {
                Ending::AtOnce => socket.close(),
                Ending::AfterPeer | Ending::SpeaksAfterPeer if heard.end => socket.close(),
                Ending::Abort(bytes) if heard.data.len() >= bytes => socket.abort(),
                _ => {}
            }
        }
        drop(heard);
        if socket.state() == tcp::State::Closed {
            let aborts = matches!(self.side.ending, Ending::Abort(_));
            let mut heard = self.heard.borrow_mut();
            let is_well = heard.end || aborts;
            heard.lost = Some(if is_well { Ok(()) } else { Err(io::ErrorKind::ConnectionReset) });
        }
        (now < hears_from).then_some(hears_from)
    }
}

impl Speaker {
    fn listen(&mut self, socket: &mut tcp::Socket<'static>) {
        let mut heard = self.heard.borrow_mut();
        loop {
            let read = socket.recv(|data| {
                heard.data.extend_from_slice(data);
                (data.len(), data.len())
            });
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(tcp::RecvError::Finished) => {
                    heard.end = true;
                    return;
                }
                // Not open yet, or reset.
                Err(tcp::RecvError::InvalidState) => return,
            }
        }
    }
}
