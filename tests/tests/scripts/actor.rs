//! Protocols that act as their script says, and write down what happens to them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};

use sim_core::{BufferedProtocol, Conn, Cx, Eof, Protocol, WriteBufferLimits};

use crate::script::{Act, Character, Reading, Side};

/// From this many bytes on the way, what a survivor of an abrupt end still gets is a question of
/// time. Below it, all of them have arrived.
const SURELY_ARRIVED: u64 = 4_096;

/// What an end is and knows, whichever protocol it has at the moment.
pub(crate) struct End {
    side: Side,
    character: Character,
    peer: RefCell<Weak<Self>>,
    conn: RefCell<Option<Handle>>,
    /// The callbacks since the last look, and breaches of the contract.
    events: RefCell<Vec<String>>,
    breaches: RefCell<Vec<String>>,
    generation: Cell<u32>,
    pub(crate) received: Cell<u64>,
    pub(crate) written: Cell<u64>,
    wrote_eof: Cell<bool>,
    reading_paused: Cell<bool>,
    resuming: Cell<bool>,
    gave_up: Cell<bool>,
    pub(crate) lost: Cell<bool>,
    at_data: RefCell<Vec<Act>>,
    at_resume: RefCell<Vec<Act>>,
    /// What this end still gets is not determined: its peer ended abruptly with data on the way, or
    /// it stopped in the middle of a flood.
    pub(crate) is_cut: Cell<bool>,
}

/// The pair that is in charge.
#[derive(Clone)]
enum Handle {
    Plain(Conn<Actor>),
    Buffered(Conn<BufferedActor>),
}

/// An actor that takes its data by `data_received`.
pub(crate) struct Actor {
    pub(crate) end: Rc<End>,
    generation: u32,
    paused: bool,
}

/// An actor that takes its data by `buffer_updated`.
pub(crate) struct BufferedActor {
    actor: Actor,
    buffer: Vec<u8>,
}

/// Either of them.
trait Acting: Sized + 'static {
    fn end(&self) -> &Rc<End>;
    fn handle(conn: Conn<Self>) -> Handle;
}

impl Acting for Actor {
    fn end(&self) -> &Rc<End> {
        &self.end
    }

    fn handle(conn: Conn<Self>) -> Handle {
        Handle::Plain(conn)
    }
}

impl Acting for BufferedActor {
    fn end(&self) -> &Rc<End> {
        &self.actor.end
    }

    fn handle(conn: Conn<Self>) -> Handle {
        Handle::Buffered(conn)
    }
}

/// The byte at a place of what a side writes.
fn byte_at(side: Side, place: u64) -> u8 {
    (place.wrapping_mul(167) ^ (place >> 8) ^ (side as u64) << 7) as u8
}

impl End {
    pub(crate) fn new(side: Side, character: Character) -> Rc<Self> {
        Rc::new(Self {
            side,
            character,
            peer: RefCell::default(),
            conn: RefCell::default(),
            events: RefCell::default(),
            breaches: RefCell::default(),
            generation: Cell::new(0),
            received: Cell::new(0),
            written: Cell::new(0),
            wrote_eof: Cell::new(false),
            reading_paused: Cell::new(false),
            resuming: Cell::new(false),
            gave_up: Cell::new(false),
            lost: Cell::new(false),
            at_data: RefCell::default(),
            at_resume: RefCell::default(),
            is_cut: Cell::new(false),
        })
    }

    pub(crate) fn introduce(self: &Rc<Self>, peer: &Rc<Self>) {
        self.peer.replace(Rc::downgrade(peer));
    }

    fn peer(&self) -> Rc<Self> {
        self.peer.borrow().upgrade().expect("both ends live as long as the scenario")
    }

    pub(crate) fn character(&self) -> &Character {
        &self.character
    }

    /// The first protocol of the end.
    pub(crate) fn actor(self: &Rc<Self>) -> Actor {
        Actor { end: Rc::clone(self), generation: self.generation.get(), paused: false }
    }

    /// As [`actor`](Self::actor), with a buffer.
    pub(crate) fn buffered(self: &Rc<Self>, size: usize) -> BufferedActor {
        BufferedActor { actor: self.actor(), buffer: vec![0; size] }
    }

    pub(crate) fn is_made(&self) -> bool {
        self.conn.borrow().is_some()
    }

    /// Lets go of the connection, which holds the protocol, which holds this.
    pub(crate) fn part(&self) {
        let conn = self.conn.take();
        drop(conn);
    }

    /// Looks at the transport, which exists.
    fn with_transport<R>(&self, look: impl FnOnce(&sim_core::Transport) -> R) -> R {
        match self.conn.borrow().as_ref().expect("connection_made has been called") {
            Handle::Plain(conn) => look(conn.transport()),
            Handle::Buffered(conn) => look(conn.transport()),
        }
    }

    pub(crate) fn transport(&self) -> sim_core::Transport {
        self.with_transport(Clone::clone)
    }

    /// Acts from outside any callback.
    pub(crate) fn act(&self, acts: &[Act]) {
        let handle = self.conn.borrow().clone().expect("connection_made has been called");
        match handle {
            Handle::Plain(conn) => conn.with(|actor, cx| perform(&actor.end, cx, acts)),
            Handle::Buffered(conn) => conn.with(|actor, cx| perform(&actor.actor.end, cx, acts)),
        }
    }

    /// What to do at the first data from now on.
    pub(crate) fn at_data(&self, acts: &[Act]) {
        self.at_data.replace(acts.to_vec());
    }

    /// What to do when writing resumes.
    pub(crate) fn at_resume(&self, acts: &[Act]) {
        self.at_resume.replace(acts.to_vec());
    }

    /// True if a flood would go out.
    pub(crate) fn can_write(&self) -> bool {
        !self.wrote_eof.get() && !self.transport().is_closing()
    }

    /// True while data of the peer is still to come by itself.
    pub(crate) fn awaits_data(&self) -> bool {
        let reads = !self.lost.get() && self.transport().is_reading();
        reads && !self.is_cut.get() && self.received.get() < self.peer().written.get()
    }

    /// The events since the last look.
    pub(crate) fn take_events(&self) -> String {
        self.events.take().join(" ")
    }

    pub(crate) fn breaches(&self) -> Vec<String> {
        self.breaches.borrow().clone()
    }

    /// How the end looks from outside.
    pub(crate) fn state(&self) -> String {
        self.with_transport(|transport| {
            let words = [
                (transport.is_closing(), "closing"),
                (transport.is_reading(), "reading"),
                (transport.write_buffer_size() > 0, "pending"),
                (self.lost.get(), "lost"),
            ];
            let words: Vec<&str> =
                words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
            words.join(" ")
        })
    }

    fn breach(&self, text: impl Into<String>) {
        self.breaches.borrow_mut().push(format!("{:?}: {}", self.side, text.into()));
    }

    /// A callback of the protocol with this number.
    fn event(&self, generation: u32, event: &str) {
        if generation != self.generation.get() {
            self.breach(format!("{event} for a protocol that was replaced (C-55)"));
        }
        if self.lost.get() {
            self.breach(format!("{event} after connection_lost (C-08)"));
        }
        let entry = match generation {
            0 => event.to_owned(),
            _ => format!("{event}@{generation}"),
        };
        let mut events = self.events.borrow_mut();
        if event != "DR" || events.last() != Some(&entry) {
            events.push(entry);
        }
    }

    fn receive(&self, generation: u32, data: &[u8]) {
        self.event(generation, "DR");
        if data.is_empty() {
            self.breach("no data (C-30)");
        }
        if self.reading_paused.get() {
            self.breach("data while paused (C-37)");
        }
        if self.gave_up.get() {
            self.breach("data after close (C-35)");
        }
        let from = self.received.get();
        let peer = self.side.other();
        if !(from..).zip(data).all(|(place, &byte)| byte == byte_at(peer, place)) {
            self.breach(format!("wrong data between {from} and {}", from + data.len() as u64));
        }
        self.received.set(from + data.len() as u64);
        if self.received.get() > self.peer().written.get() {
            self.breach("more data than was written");
        }
    }

    fn bytes(&self, count: usize) -> Vec<u8> {
        let from = self.written.get();
        (from..from + count as u64).map(|place| byte_at(self.side, place)).collect()
    }

    /// This end is about to end the connection, abruptly or gracefully.
    fn gives_up(&self, abruptly: bool) {
        let transport = self.transport();
        let (peer, was_open) = (self.peer(), !self.gave_up.replace(true));
        if was_open && self.received.get() + SURELY_ARRIVED < peer.written.get() {
            // It stops reading in the middle of a flood, and the peer will get a reset.
            self.is_cut.set(true);
            peer.is_cut.set(true);
        }
        let on_the_way = self.written.get() - peer.received.get();
        let is_pending = transport.write_buffer_size() > 0;
        let resets = abruptly || self.received.get() < peer.written.get();
        if resets && (on_the_way > SURELY_ARRIVED || is_pending) {
            peer.is_cut.set(true);
        }
    }
}

fn perform<P: Acting>(end: &Rc<End>, cx: &Cx<'_, P>, acts: &[Act]) {
    for act in acts {
        perform_one(end, cx, act);
    }
}

fn perform_one<P: Acting>(end: &Rc<End>, cx: &Cx<'_, P>, act: &Act) {
    match act {
        Act::Write(bytes) => write(end, cx, &[*bytes], |cx, data| cx.write(data)),
        Act::WriteLines(lines) => write(end, cx, lines, |cx, data| {
            let mut rest = data;
            cx.writelines(lines.iter().map(|&bytes| {
                let (line, others) = rest.split_at(bytes);
                rest = others;
                line
            }));
        }),
        Act::WriteEof => {
            end.wrote_eof.set(true);
            cx.write_eof();
        }
        Act::Close => {
            end.gives_up(false);
            cx.close();
        }
        Act::Abort => {
            end.gives_up(true);
            cx.abort();
        }
        Act::Fail { os } => {
            end.gives_up(true);
            let own = || io::Error::other("the script says so");
            cx.fail(if *os { io::Error::from_raw_os_error(5) } else { own() });
        }
        Act::PauseReading => {
            cx.pause_reading();
            end.reading_paused.set(true);
        }
        Act::ResumeReading => {
            cx.resume_reading();
            end.reading_paused.set(false);
        }
        Act::SetLimits { high, low } => {
            let limits = WriteBufferLimits { high: *high, low: *low };
            cx.set_write_buffer_limits(limits).expect("low is not above high");
        }
        Act::Switch(reading) => {
            // On a lost connection the new protocol is attached to nothing.
            if !end.lost.get() {
                switch(end, cx, *reading);
            }
        }
        Act::Soon(acts) => {
            let acts = acts.clone();
            cx.call_soon(move |actor, cx| perform(&Rc::clone(actor.end()), cx, &acts));
        }
    }
}

/// Writes, unless the end of the stream is written: that would be a panic (C-60).
fn write<P: Acting>(
    end: &Rc<End>,
    cx: &Cx<'_, P>,
    lengths: &[usize],
    write: impl FnOnce(&Cx<'_, P>, &[u8]),
) {
    if end.wrote_eof.get() {
        return;
    }
    let data = end.bytes(lengths.iter().sum());
    // What C-67 to C-69 say is dropped; `resume_writing` may write even if nothing is left (C-87).
    let is_dropped = cx.is_closing() && cx.write_buffer_size() == 0 && !end.resuming.get();
    if !is_dropped {
        end.written.set(end.written.get() + data.len() as u64);
        let peer = end.peer();
        if peer.gave_up.get() && !peer.lost.get() && !data.is_empty() {
            // It is flushing, and will find this unread: its tail may be lost to a reset.
            end.is_cut.set(true);
        }
    }
    write(cx, &data);
}

fn switch<P: Acting>(end: &Rc<End>, cx: &Cx<'_, P>, reading: Reading) {
    end.generation.set(end.generation.get() + 1);
    let handle = match reading {
        Reading::Plain => Handle::Plain(cx.set_protocol(end.actor())),
        Reading::Buffered(size) => Handle::Buffered(cx.set_protocol(end.buffered(size))),
    };
    let old = end.conn.replace(Some(handle));
    drop(old);
}

impl Actor {
    fn made<P: Acting>(&self, cx: &Cx<'_, P>) {
        let first = !self.end.is_made();
        self.end.event(self.generation, "CM");
        if !first {
            self.end.breach("a second connection_made (C-55)");
        }
        self.end.conn.replace(Some(P::handle(cx.conn())));
        perform(&self.end, cx, &self.end.character.made);
    }

    fn received<P: Acting>(&self, cx: &Cx<'_, P>, data: &[u8]) {
        self.end.receive(self.generation, data);
        let acts = self.end.at_data.take();
        perform(&self.end, cx, &acts);
    }

    fn ended<P: Acting>(&self, cx: &Cx<'_, P>) -> Eof {
        self.end.event(self.generation, "ER");
        if self.end.reading_paused.get() {
            self.end.breach("the end while paused (C-41)");
        }
        let peer = self.end.peer();
        // A Unix stream has no reset to say that its peer gave up in the middle.
        let may_be_cut = self.end.is_cut.get() && self.end.transport().unix_sockname().is_some();
        if self.end.received.get() != peer.written.get() && !may_be_cut {
            self.end.breach("the end before all data (C-43)");
        }
        if let Some(act) = &self.end.character.at_eof {
            perform_one(&self.end, cx, act);
        }
        if cx.is_reading() {
            self.end.breach("is_reading at the end (C-44)");
        }
        self.end.character.eof
    }

    fn paused(&mut self) {
        if std::mem::replace(&mut self.paused, true) {
            self.end.breach("pause_writing twice (C-82)");
        }
        self.flow("PW");
    }

    fn resumed<P: Acting>(&mut self, cx: &Cx<'_, P>) {
        if !std::mem::take(&mut self.paused) {
            self.end.breach("resume_writing without pause_writing (C-83)");
        }
        self.flow("RW");
        if cx.write_buffer_size() > cx.write_buffer_limits().low {
            self.end.breach("resume_writing above the low mark (C-83)");
        }
        let acts = self.end.at_resume.take();
        if acts.iter().any(Act::is_abrupt) {
            // Somewhere in a flood.
            self.end.peer().is_cut.set(true);
        }
        self.end.resuming.set(true);
        perform(&self.end, cx, &acts);
        self.end.resuming.set(false);
    }

    /// How often writing pauses is the kernel's affair, so it is no event to compare.
    fn flow(&self, event: &str) {
        if self.end.lost.get() || self.generation != self.end.generation.get() {
            self.end.breach(format!("{event} for a protocol that is not in charge"));
        }
    }

    fn lost<P: Acting>(&self, cx: &Cx<'_, P>, error: Option<&io::Error>) {
        let class = match error.map(io::Error::kind) {
            None => "none",
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted,
            ) => "reset",
            Some(_) => "other",
        };
        self.end.event(self.generation, &format!("CL({class})"));
        if !cx.is_closing() || cx.is_reading() || cx.is_writable() || cx.write_buffer_size() > 0 {
            self.end.breach("not in its terminal state in connection_lost (C-13, C-14)");
        }
        self.end.gave_up.set(true);
        self.end.lost.set(true);
        // Harmless, all of it (C-13, C-69).
        cx.pause_reading();
        cx.resume_reading();
        cx.close();
        cx.abort();
        if !self.end.wrote_eof.get() {
            cx.write(b"into the void");
        }
    }
}

impl Protocol for Actor {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.made(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.received(cx, data);
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.ended(cx)
    }

    fn pause_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        self.paused();
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        self.resumed(cx);
    }

    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.lost(cx, error.as_ref());
    }
}

impl BufferedProtocol for BufferedActor {
    fn get_buffer(&mut self, _cx: &mut Cx<'_, Self>, hint: usize) -> &mut [u8] {
        if hint == 0 {
            self.actor.end.breach("a hint of no bytes (C-50)");
        }
        &mut self.buffer
    }

    fn buffer_updated(&mut self, cx: &mut Cx<'_, Self>, bytes: usize) {
        self.actor.received(cx, &self.buffer[..bytes]);
    }

    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.actor.made(cx);
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.actor.ended(cx)
    }

    fn pause_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        self.actor.paused();
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        self.actor.resumed(cx);
    }

    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.actor.lost(cx, error.as_ref());
    }
}
