//! Playing a script on a loop, and what is seen of it.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Eof, Loop, Server, World};
use tests::socket_path::SocketPath;

use crate::actor::End;
use crate::script::{Act, Reading, Round, Script, Side};

const ADDRESS: (&str, u16) = ("server", 7000);

/// The kernel buffers of both ends, in bytes: more than the writes of a script, less than a flood.
const BUFFERS: usize = 64 << 10;

/// How long both ends have to be lost at the end, and how long data has to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one end saw until a barrier.
#[derive(Clone, PartialEq, Eq)]
struct Look {
    events: String,
    state: String,
    received: u64,
    /// How much it received is not determined any more.
    is_cut: bool,
}

/// What was seen of a play: for each barrier, what the client and the server saw.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen(Vec<[Look; 2]>);

impl Seen {
    /// It without what is not determined, in it or in `other`.
    fn compared_with(&self, other: &Self) -> Self {
        let mut cut = [false; 2];
        let mut looks = self.0.clone();
        for (place, pair) in looks.iter_mut().enumerate() {
            for (side, look) in pair.iter_mut().enumerate() {
                let twin = other.0.get(place).is_some_and(|pair| pair[side].is_cut);
                cut[side] |= look.is_cut | twin;
                look.is_cut = cut[side];
                if cut[side] {
                    look.received = 0;
                }
            }
        }
        Self(looks)
    }

    /// What differs between two plays of one script, beyond what may.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let (one, two) = (self.compared_with(other), other.compared_with(self));
        (one != two).then(|| format!("{one:?}\nand\n{two:?}"))
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pair) in self.0.iter().enumerate() {
            for (side, look) in Side::BOTH.iter().zip(pair) {
                write!(f, "  {number}. {side:?}: {}", look.events)?;
                let received = if look.is_cut { "?".to_owned() } else { look.received.to_string() };
                writeln!(f, " | {}, received {received}", look.state)?;
            }
        }
        Ok(())
    }
}

/// What a script is played over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    /// A TCP connection between two hosts.
    Tcp,
    /// A Unix stream on one host.
    Unix,
}

/// Plays a script in a world.
pub(crate) async fn play(world: World, script: Script, over: Over) -> io::Result<Seen> {
    let play = match over {
        Over::Tcp => Play::begin(&world, &script).await?,
        Over::Unix => Play::begin_on_one_host(&world, &script).await?,
    };
    let mut seen = vec![play.look().await];
    for round in &script.rounds {
        play.start(round);
        seen.push(play.look().await);
        for end in &play.ends {
            end.at_data(&[]);
        }
    }
    for (side, act) in [
        (Side::Client, Act::ResumeReading),
        (Side::Server, Act::ResumeReading),
        (Side::Client, Act::Close),
        (Side::Server, Act::Close),
        // Two ends that close, and have paused reading, wait for each other for ever (C-71).
        (Side::Client, Act::Abort),
        (Side::Server, Act::Abort),
    ] {
        play.end(side).act(&[act]);
        seen.push(play.look().await);
    }
    play.check()?;
    Ok(Seen(seen))
}

struct Play {
    world: World,
    clock: Loop,
    ends: [Rc<End>; 2],
}

impl Drop for Play {
    fn drop(&mut self) {
        self.ends.iter().for_each(|end| end.part());
    }
}

impl Play {
    async fn begin(world: &World, script: &Script) -> io::Result<Self> {
        let ends = Side::BOTH.map(|side| End::new(side, script.character(side).clone()));
        ends[0].introduce(&ends[1]);
        ends[1].introduce(&ends[0]);
        let [client, server] = ends.clone();

        let host = world.host("server");
        let builder = host.server().send_buffer(BUFFERS).receive_buffer(BUFFERS);
        let listening = match server.character().reading {
            Reading::Plain => builder.bind(ADDRESS, move || server.actor()).await?,
            Reading::Buffered(size) => builder.bind(ADDRESS, move || server.buffered(size)).await?,
        };
        let clock = world.host("client");
        let connecting = clock.connection().send_buffer(BUFFERS).receive_buffer(BUFFERS);
        match client.character().reading {
            Reading::Plain => drop(connecting.connect(ADDRESS, || client.actor()).await?),
            Reading::Buffered(size) => {
                drop(connecting.connect(ADDRESS, || client.buffered(size)).await?);
            }
        }
        Self { world: world.clone(), clock, ends }.begun(&listening).await
    }

    async fn begin_on_one_host(world: &World, script: &Script) -> io::Result<Self> {
        let ends = Side::BOTH.map(|side| End::new(side, script.character(side).clone()));
        ends[0].introduce(&ends[1]);
        ends[1].introduce(&ends[0]);
        let [client, server] = ends.clone();

        let (host, path) = (world.host("server"), SocketPath::new());
        let builder = host.server().send_buffer(BUFFERS);
        let listening = match server.character().reading {
            Reading::Plain => builder.bind_unix(&path, move || server.actor())?,
            Reading::Buffered(size) => builder.bind_unix(&path, move || server.buffered(size))?,
        };
        let connecting = host.connection().send_buffer(BUFFERS);
        match client.character().reading {
            Reading::Plain => drop(connecting.connect_unix(&path, || client.actor()).await?),
            Reading::Buffered(size) => {
                drop(connecting.connect_unix(&path, || client.buffered(size)).await?);
            }
        }
        Self { world: world.clone(), clock: host, ends }.begun(&listening).await
    }

    /// It, when both ends are made.
    async fn begun(self, listening: &Server) -> io::Result<Self> {
        self.quiet().await;
        listening.close();
        for end in &self.ends {
            assert!(end.is_made(), "a connection that was made has two ends");
        }
        Ok(self)
    }

    fn end(&self, side: Side) -> &Rc<End> {
        &self.ends[side as usize]
    }

    fn start(&self, round: &Round) {
        match round {
            Round::Together { client, server, client_on_data, server_on_data } => {
                self.end(Side::Client).at_data(client_on_data);
                self.end(Side::Server).at_data(server_on_data);
                self.end(Side::Client).act(client);
                self.end(Side::Server).act(server);
            }
            Round::Ask { from, bytes, eof, reaction } => {
                self.end(from.other()).at_data(reaction);
                self.end(*from).act(&[Act::Write(*bytes)]);
                if *eof {
                    self.end(*from).act(&[Act::WriteEof]);
                }
            }
            Round::Flood { from, bytes, high, at_resume, reaction } => {
                let end = self.end(*from);
                if end.can_write() {
                    self.end(from.other()).at_data(reaction);
                    end.at_resume(at_resume);
                    let limits = Act::SetLimits { high: *high, low: high / 4 };
                    end.act(&[limits, Act::Write(*bytes)]);
                }
            }
            Round::Alone { side, acts } => self.end(*side).act(acts),
        }
    }

    /// Waits for the world to be quiet, and looks at both ends.
    async fn look(&self) -> [Look; 2] {
        self.quiet().await;
        self.ends.each_ref().map(|end| Look {
            events: end.take_events(),
            state: end.state(),
            received: end.received.get(),
            is_cut: end.is_cut.get(),
        })
    }

    /// The barrier: nothing is on its way to anyone who reads.
    async fn quiet(&self) {
        let deadline = self.clock.time() + PATIENCE;
        loop {
            self.world.settle().await;
            let made = self.ends.iter().all(|end| end.is_made());
            let arriving = made && self.ends.iter().any(|end| end.awaits_data());
            if made && !arriving || self.clock.time() > deadline {
                return;
            }
            self.clock.sleep(Duration::from_millis(1)).await;
        }
    }

    /// Both ends are lost, and neither saw a breach of the contract.
    fn check(&self) -> io::Result<()> {
        let mut breaches: Vec<String> = self.ends.iter().flat_map(|end| end.breaches()).collect();
        for (side, end) in Side::BOTH.iter().zip(&self.ends) {
            if !end.lost.get() {
                breaches.push(format!("{side:?}: never lost (C-08)"));
            }
            if !end.is_cut.get() && end.character().eof == Eof::KeepOpen && end.awaits_data() {
                breaches.push(format!("{side:?}: data missing"));
            }
        }
        if breaches.is_empty() { Ok(()) } else { Err(io::Error::other(breaches.join("\n"))) }
    }
}
